//! `turbulence sections`, `content`, `media`, `gateway` and `console`: the services as processes of the one binary.

use std::net::TcpListener;

use mongodb::bson::doc;
use reqwest::StatusCode;
use serde_json::{Value, json};
use test_support::{Api, TOKEN, TestDatabase, eventually, get, mongodb_uri};

use crate::support::{Folder, Turbulence};

/// A service as a process of its own.
pub(crate) struct Process {
    pub(crate) turbulence: Turbulence,
    pub(crate) url: String,
}

impl Process {
    /// Starts a service and waits until it listens.
    pub(crate) async fn start(
        folder: &Folder,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = folder.command(arguments);
        command.envs(environment.iter().copied());
        let turbulence = Turbulence::spawn(command);
        let url = turbulence.listens().await;
        Self { turbulence, url }
    }

    /// Waits until the service is ready.
    pub(crate) async fn ready(&self) {
        let url = format!("{}/health/ready", self.url);
        eventually("the service is ready", async || get(&url, None).await.0.is_success()).await;
    }
}

/// Returns the settings of a service with this database.
pub(crate) fn settings(database: &TestDatabase) -> [(&'static str, &str); 3] {
    [
        ("TURBULENCE__MONGODB__URI", mongodb_uri()),
        ("TURBULENCE__MONGODB__DATABASE", database.name()),
        ("TURBULENCE__AUTH__STATIC_TOKEN", TOKEN),
    ]
}

#[tokio::test]
async fn each_service_answers_health_and_ends_with_code_0_on_sigterm() {
    let database = TestDatabase::new().await;
    let folder = Folder::new();
    for service in ["sections", "content", "media", "gateway", "console"] {
        let arguments = [service, "--port", "0"];
        let process = Process::start(&folder, &arguments, &settings(&database)).await;
        for path in ["/health", "/health/live"] {
            let (status, _) = get(&format!("{}{path}", process.url), None).await;
            assert_eq!(status, StatusCode::OK, "{service} {path}");
        }
        process.turbulence.stop().await;
    }
}

#[tokio::test]
async fn an_error_at_the_start_is_one_line_with_the_name_of_the_service_and_code_1() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for (command, name) in [
        ("sections", "sections-service"),
        ("content", "content-service"),
        ("media", "media-service"),
        ("gateway", "gateway"),
        ("console", "console"),
    ] {
        let ended = folder.run(&[command, "--port", &port]).await;
        let line = ended.failure(1);
        assert!(line.starts_with(&format!("{name}: port {port} on 127.0.0.1 is in use")), "{line}");
    }
}

#[tokio::test]
async fn a_site_of_five_processes_serves() {
    let database = TestDatabase::new().await;
    database
        .insert("stories", [doc! { "title": "Old", "content": "", "is_published": true }])
        .await;
    let folder = Folder::new();
    // The two services need each other's address before they start.
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let content_url = format!("http://{reserved}");
    let environment = [&settings(&database)[..], &[("TURBULENCE__CONTENT__URL", &content_url)]];
    let sections =
        Process::start(&folder, &["sections", "--port", "0"], &environment.concat()).await;
    let port = reserved.port().to_string();
    let environment = [&settings(&database)[..], &[("TURBULENCE__SECTIONS__URL", &sections.url)]];
    let content =
        Process::start(&folder, &["content", "--port", &port], &environment.concat()).await;
    let environment = [&settings(&database)[..], &[("TURBULENCE__CONTENT__URL", &content_url)]];
    let media = Process::start(&folder, &["media", "--port", "0"], &environment.concat()).await;
    // The console needs the address of the gateway, and the other way round.
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway_url = format!("http://{reserved}");
    let environment = [("TURBULENCE__GATEWAY__URL", &*gateway_url)];
    let console = Process::start(&folder, &["console", "--port", "0"], &environment).await;
    let upstreams = [
        ("TURBULENCE__UPSTREAMS__CONSOLE", &*console.url),
        ("TURBULENCE__UPSTREAMS__SECTIONS", &*sections.url),
        ("TURBULENCE__UPSTREAMS__MEDIA", &*media.url),
        ("TURBULENCE__UPSTREAMS__CONTENT", &*content.url),
    ];
    let port = reserved.port().to_string();
    let gateway = Process::start(&folder, &["gateway", "--port", &port], &upstreams).await;
    gateway.ready().await;

    let api = Api::new(&gateway.url);
    let slugs = |sections: &Value| -> Vec<String> {
        let sections = sections.as_array().unwrap().iter();
        sections.map(|section| section["slug"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(slugs(&api.get("/sections").await.body), ["blog", "about", "projects", "contact"]);
    // content-service has linked the old story with the help of sections-service.
    eventually("the old story is linked", async || {
        api.get("/stories?section=blog").await.body["total"] == 1
    })
    .await;
    let new = api.call("POST", "/stories", json!({ "title": "New", "content": "" })).await;
    assert_eq!(new.status, 201, "{new:?}");
    let found = api.get(&format!("/stories/{}", new.id())).await;
    assert_eq!(found.body["title"], "New", "{found:?}");
    media.ready().await;
    assert_eq!(api.get("/uploads/20241201_123456_abc12345.webp").await.code(), (404, "not_found"));
    console.ready().await;
    let (status, page) = get(&format!("{}/console/sign-in", gateway.url), None).await;
    assert!(status.is_success() && page.as_str().unwrap().contains("<form"), "{page}");
    for process in [gateway, console, media, content, sections] {
        process.turbulence.stop().await;
    }
}
