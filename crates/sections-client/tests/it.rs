//! The client on a real sections-service, and on what is none.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

use sections_client::{Error, SectionsClient};
use serde_json::json;
use service_kit::web::internal::InternalSecret;
use test_support::{Api, Fault, Service, TestDatabase, Unreliable, settings};

fn client(url: &str) -> SectionsClient {
    SectionsClient::new(url.parse().unwrap(), InternalSecret::default())
}

async fn sections() -> (TestDatabase, Service) {
    let database = TestDatabase::new().await;
    let sections = Service::sections(&settings(&database, &[])).await;
    sections.migrated().await;
    (database, sections)
}

#[tokio::test]
async fn the_other_services_learn_the_paths_of_what_the_public_sees() {
    let database = TestDatabase::new().await;
    // A section below another one needs content-service, which may have an item at its path.
    let (sections, _content) = Service::both(&database).await;
    let (client, api) = (client(&sections.url), Api::new(&*sections.url));
    let blog = api.get("/sections/slug/blog").await.id();
    let about = api.get("/sections/slug/about").await.id();
    let body = json!({ "title": "Notes", "content_type": "story", "parent_id": blog });
    assert_eq!(api.call("POST", "/sections", body).await.status, 201);
    let hide = json!({ "is_published": false });
    assert_eq!(api.call("PATCH", &format!("/sections/{about}"), hide).await.status, 200);
    let entries = client.entries().await.unwrap();
    let path = |slug: &str| {
        entries.iter().find(|entry| entry.section.slug == slug).unwrap().section.path.as_deref()
    };
    assert_eq!(
        (path("blog"), path("notes"), path("about")),
        (Some("/blog"), Some("/blog/notes"), None)
    );
    assert_eq!(client.by_slug("notes").await.unwrap().unwrap().slug, "notes");
    assert_eq!(client.by_slug("about").await.unwrap(), None);
}

#[tokio::test]
async fn what_answers_something_else_is_told_apart_from_what_is_away() {
    let (_database, sections) = sections().await;
    let away = client("http://127.0.0.1:1").entries().await;
    assert!(matches!(away, Err(Error::Unreachable { .. })), "{away:?}");
    for (fault, is_transient) in [
        (Fault::IsCut, true),
        (Fault::Answers("503 Service Unavailable", "busy"), true),
        (Fault::Answers("404 Not Found", "nothing here"), false),
        (Fault::Answers("404 Not Found", "{\"detail\": \"Path not found\"}"), false),
        (Fault::Answers("200 OK", "{\"kind\": \"section\"}"), false),
        (Fault::Answers("200 OK", "<p>Welcome</p>"), false),
        (Fault::Answers("200 OK", ""), false),
    ] {
        let between = Unreliable::start(fault, &sections.url).await;
        let client = client(&between.url);
        let error = client.entries().await.unwrap_err();
        let is_stranger = matches!(error, Error::NotSectionsService { .. });
        assert_eq!(is_stranger, !is_transient, "{fault:?}: {error}");
        // What can pass by itself is tried again at once; what cannot is not.
        assert_eq!(between.faults(), if is_transient { 3 } else { 1 }, "{fault:?}");
        between.heal();
        assert!(client.entries().await.is_ok());
    }
}
