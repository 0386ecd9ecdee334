//! Limits and permissions that apply across the processes of a site.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use service_kit::runtime::resources::raise_descriptor_limit;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    legacy,
    support::{Folder, Site, Turbulence},
};

#[tokio::test]
async fn too_many_requests_are_refused() {
    let site = Site::new().await;
    // The start itself sends a few requests.
    let limits = [
        ("TURBULENCE__RATE_LIMIT__REQUESTS_PER_SECOND", "1"),
        ("TURBULENCE__RATE_LIMIT__BURST", "40"),
    ];
    let turbulence = site.up_with(&[], &limits);
    let summary = turbulence.ready().await;
    let mut last = summary.get("/stories").await;
    for _ in 0..1_000 {
        if last.0 != 200 {
            break;
        }
        last = summary.get("/stories").await;
    }
    assert_eq!((last.0.as_u16(), &last.1["code"]), (429, &"too_many_requests".into()));
    assert_eq!(summary.get("/health/ready").await.0, 200);
    turbulence.stop().await;
}

#[tokio::test]
async fn the_default_limits_allow_the_requests_of_a_frontend_build() {
    let site = Site::new().await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let client = service_kit::web::http_client::service_client(Duration::from_secs(30)).unwrap();
    let url = format!("{}/sections", summary.address);
    for _ in 0..20 {
        let sent = (0..50).map(|_| client.get(&url).send());
        for answer in futures_util::future::join_all(sent).await {
            assert_eq!(answer.unwrap().status(), 200);
        }
    }
    turbulence.stop().await;
}

/// Opens a connection and sends a request. Returns the connection, and the time until its answer.
async fn first_answer(address: &str) -> (TcpStream, Duration) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\"live\"}") {
        let read = stream.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    (stream, began.elapsed())
}

#[tokio::test]
async fn three_thousand_connections_at_once_are_answered() {
    const CONNECTIONS: usize = 3_000;
    if raise_descriptor_limit().is_some_and(|limit| limit < 8_192) {
        return println!("not tested: this machine allows fewer than 8,192 file descriptors");
    }
    let folder = Folder::new();
    let gateway = folder.command(&["gateway", "--port", "0"]);
    // As a shell or a service manager starts it: with a limit that it may raise.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -n 256 && exec \"$0\" \"$@\""]);
    command.arg(gateway.get_program()).args(gateway.get_args()).current_dir(folder.path(""));
    let turbulence = Turbulence::spawn(command);
    turbulence.logged("\"message\":\"listening\"").await;
    let log = turbulence.log();
    let line = log.iter().find(|line| line["message"] == "listening").unwrap();
    let address = line["address"].as_str().unwrap();
    // All stay open, so that each needs a descriptor.
    let answers = (0..CONNECTIONS).map(|_| first_answer(address));
    let answers = futures_util::future::join_all(answers).await;
    let took = answers.iter().map(|(_, took)| took).max().unwrap();
    println!("the longest wait was {took:?}");
    // A connection that the listen queue does not take is tried again after 1, 3 and 7 seconds.
    assert!(*took < Duration::from_secs(10), "one waited {took:?}");
    drop(answers);
    turbulence.stop().await;
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_through_the_gateway() {
    let site = Site::new().await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let client = service_kit::web::http_client::service_client(Duration::from_secs(30)).unwrap();
    for path in ["/sections", "/stories"] {
        for megabytes in [5, 10] {
            let body = format!(r#"{{"title":"{}"}}"#, "x".repeat(megabytes * 1024 * 1024));
            let request = client.post(format!("{}{path}", summary.address));
            let request = request.bearer_auth(&summary.token);
            let request = request.header("content-type", "application/json").body(body);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 413, "{path} {megabytes}");
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["detail"], "The body may have at most 4194304 bytes.");
        }
    }
    turbulence.stop().await;
}

#[tokio::test]
async fn the_integrity_report_requires_a_token() {
    let site = Site::new().await;
    legacy::write(&site.folder);
    let turbulence = site.up(&["--import", legacy::FOLDER]);
    let summary = turbulence.ready().await;
    let (status, problem) = summary.get("/integrity").await;
    assert_eq!((status.as_u16(), &problem["code"]), (401, &"unauthorized".into()));
    let (status, report) = summary.get_as_editor("/integrity").await;
    assert_eq!(status, 200);
    insta::assert_json_snapshot!(report);
    for path in ["/internal/integrity", "/integrity/repair", "/internal/integrity/repair"] {
        assert_eq!(summary.get_as_editor(path).await.0, 404, "{path}");
    }
    turbulence.stop().await;
}
