//! content-service while sections-service is unavailable, on real processes that are killed.

use std::net::TcpListener;

use mongodb::bson::{DateTime, doc};
use serde_json::{Value, json};
use test_support::{Api, SECTION_DIRECTORY, TestDatabase, eventually};

use crate::{
    services::{Process, settings},
    support::Folder,
};

const READS: [&str; 17] = [
    "/stories",
    "/stories?limit=1",
    "/stories?section=blog",
    "/stories/slug/open",
    "/stories/slug/secret",
    "/projects",
    "/projects/slug/tool",
    "/pages",
    "/pages/type/about",
    "/resolve?path=/blog",
    "/resolve?path=/blog/open",
    "/resolve?path=/about",
    "/resolve?path=/projects/tool",
    "/resolve?path=/hidden",
    "/resolve?path=/hidden/secret",
    "/resolve?path=/former",
    "/resolve?path=/nope",
];

/// Two services as processes, each of which keeps its port when it is started again.
struct Pair {
    folder: Folder,
    database: TestDatabase,
    sections_port: String,
    content_port: String,
}

impl Pair {
    async fn new() -> Self {
        // Reserved together, so that they differ.
        let listeners = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [sections_port, content_port] =
            listeners.map(|listener| listener.local_addr().unwrap().port().to_string());
        let (folder, database) = (Folder::new(), TestDatabase::new().await);
        Self { folder, database, sections_port, content_port }
    }

    async fn sections(&self) -> Process {
        let url = format!("http://127.0.0.1:{}", self.content_port);
        let environment = [&settings(&self.database)[..], &[("TURBULENCE__CONTENT__URL", &*url)]];
        let arguments = ["sections", "--port", &self.sections_port];
        Process::start(&self.folder, &arguments, &environment.concat()).await
    }

    async fn content(&self) -> Process {
        let url = format!("http://127.0.0.1:{}", self.sections_port);
        let environment = [&settings(&self.database)[..], &[("TURBULENCE__SECTIONS__URL", &*url)]];
        let arguments = ["content", "--port", &self.content_port];
        Process::start(&self.folder, &arguments, &environment.concat()).await
    }

    async fn kept(&self) -> String {
        let kept = self.database.collection(SECTION_DIRECTORY).find_one(doc! {}).await;
        kept.unwrap().map_or_else(String::new, |kept| kept.get_str("entries").unwrap().to_owned())
    }
}

/// Ends a process at once, as a crash does.
async fn kill(process: Process) {
    process.turbulence.signal("KILL");
    process.turbulence.ended().await;
}

async fn reads(api: &Api) -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    for path in READS {
        all.push((path, api.get(path).await.shown()));
    }
    all
}

#[tokio::test]
async fn a_content_service_that_starts_while_sections_are_away_answers_as_before() {
    let pair = Pair::new().await;
    let day = |day: i64| DateTime::from_millis(1_704_067_200_000 + day * 86_400_000);
    let story = |slug: &str, number| {
        doc! {
            "title": slug, "slug": slug, "content": "<p>x</p>", "is_published": true,
            "createdDate": day(number),
        }
    };
    pair.database.insert("stories", [story("open", 1), story("other", 2)]).await;
    pair.database
        .insert("projects", [doc! { "title": "Tool", "slug": "tool", "content": "" }])
        .await;
    let about =
        doc! { "title": "About", "content": "x", "page_type": "about", "is_published": true };
    pair.database.insert("pages", [about]).await;

    let sections = pair.sections().await;
    let content = pair.content().await;
    let (sections_api, api) = (Api::new(&sections.url), Api::new(&content.url));
    eventually("all content is linked", async || {
        let mut linked = true;
        for (list, total) in [
            ("/stories?section=blog", 2),
            ("/projects?section=projects", 1),
            ("/pages?section=about", 1),
        ] {
            linked &= api.get(list).await.body["total"] == total;
        }
        linked
    })
    .await;
    let new = |title: &str| json!({ "title": title, "content_type": "story" });
    let hidden = sections_api.call("POST", "/sections", new("Hidden")).await.id();
    let secret = json!({ "title": "Secret", "content": "", "section_id": hidden });
    assert_eq!(api.call("POST", "/stories", secret).await.status, 201);
    let former = sections_api.call("POST", "/sections", new("Former")).await.id();
    for (id, change) in
        [(&hidden, json!({ "is_published": false })), (&former, json!({ "slug": "now" }))]
    {
        let changed = sections_api.call("PATCH", &format!("/sections/{id}"), change).await;
        assert_eq!(changed.status, 200, "{changed:?}");
    }
    eventually("the changes are known", async || {
        api.get("/resolve?path=/former").await.body["moved_to"] == "/now"
            && api.get("/stories/slug/secret").await.status == 404
            && pair.kept().await.contains("/former")
    })
    .await;
    let before = reads(&api).await;
    assert_eq!(
        before.iter().filter(|(_, answer)| answer["status"] == 200).count(),
        13,
        "{before:#?}"
    );

    kill(sections).await;
    assert_eq!(reads(&api).await, before, "sections-service has ended");
    kill(content).await;
    let content = pair.content().await;
    let api = Api::new(&content.url);
    assert_eq!(reads(&api).await, before, "content-service was started again");
    content.ready().await;
    let ready = api.get("/health/ready").await;
    assert!(ready.body["checks"]["sections"]["age_seconds"].is_u64(), "{ready:?}");
    eventually("readiness says so", async || {
        let ready = api.get("/health/ready").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        let detail = ready.body["checks"]["sections"]["detail"].as_str().unwrap_or_default();
        detail.contains("the last known sections are used")
    })
    .await;

    let created = api.call("POST", "/stories", json!({ "title": "Late", "content": "" })).await;
    assert_eq!(created.status, 201, "{created:?}");
    let late = api.get("/resolve?path=/blog/late").await;
    assert_eq!((late.status, &late.body["kind"]), (200, &"item".into()), "{late:?}");
    // A section that is named may be gone.
    let named = json!({ "title": "Named", "content": "", "section_id": former });
    assert_eq!(api.call("POST", "/stories", named).await.status, 503);

    // Sections that change are kept again.
    let sections = pair.sections().await;
    sections.ready().await;
    let blog = sections_api.get("/sections/slug/blog").await.id();
    let hide = json!({ "is_published": false });
    let hide = sections_api.call("PATCH", &format!("/sections/{blog}"), hide).await;
    assert_eq!(hide.status, 200, "{hide:?}");
    eventually("the blog is hidden", async || api.get("/resolve?path=/blog").await.status == 404)
        .await;
    let is_kept = async || {
        let kept: Vec<Value> = serde_json::from_str(&pair.kept().await).unwrap();
        kept.iter().any(|entry| entry["slug"] == "blog" && entry["is_public"] == false)
    };
    eventually("that is kept", is_kept).await;
    kill(sections).await;
    kill(content).await;
    let content = pair.content().await;
    let api = Api::new(&content.url);
    assert_eq!(api.get("/stories").await.body["total"], 0);
    for path in ["/stories/slug/open", "/resolve?path=/blog", "/resolve?path=/blog/open"] {
        assert_eq!(api.get(path).await.status, 404, "{path}");
    }
}
