//! The client on a real sections-service, and on what is none.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

use models::PathResolution;
use sections_client::{Error, SectionsClient};
use serde_json::json;
use service_kit::web::internal::InternalSecret;
use test_support::{Api, Fault, Service, TestDatabase, Unreliable, eventually, settings};

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
async fn a_path_leads_to_a_section_and_what_is_left_of_it() {
    let (_database, sections) = sections().await;
    let client = client(&sections.url);
    for (path, rest) in [
        ("/blog", vec![]),
        ("/blog/", vec![]),
        ("/blog/first-light", vec!["first-light"]),
        ("/blog/a/b", vec!["a", "b"]),
        // Whatever characters a path has, it arrives as it is.
        ("/blog/a b+c&path=/about", vec!["a b+c&path=", "about"]),
        ("/blog/ä?x=1#y", vec!["ä?x=1#y"]),
        ("/blog/%2e%2e", vec!["%2e%2e"]),
        ("/blog/\0\r\n", vec!["\0\r\n"]),
    ] {
        let Some(PathResolution::Found(found)) = client.resolve(path).await.unwrap() else {
            panic!("{path:?} leads nowhere");
        };
        assert_eq!((found.section.slug.as_str(), found.path.as_str()), ("blog", "/blog"));
        assert_eq!(found.rest, rest, "{path:?}");
        assert_eq!(found.breadcrumbs.len(), 1);
    }
    for path in ["/", "/nope", "/nope/blog", "//blog"] {
        assert_eq!(client.resolve(path).await.unwrap(), None, "{path}");
    }
}

#[tokio::test]
async fn a_path_that_was_moved_leads_to_the_new_one() {
    let (_database, sections) = sections().await;
    let (client, api) = (client(&sections.url), Api::new(&*sections.url));
    let blog = api.get("/sections/slug/blog").await.id();
    let renamed =
        api.call("PATCH", &format!("/sections/{blog}"), json!({ "slug": "journal" })).await;
    assert_eq!(renamed.status, 200);
    let moved = Some(PathResolution::Moved { moved_to: "/journal/first-light".to_owned() });
    eventually("the old path redirects", async || {
        client.resolve("/blog/first-light").await.unwrap() == moved
    })
    .await;
}

#[tokio::test]
async fn the_other_services_learn_the_paths_of_what_the_public_sees() {
    let (_database, sections) = sections().await;
    let (client, api) = (client(&sections.url), Api::new(&*sections.url));
    let blog = api.get("/sections/slug/blog").await.id();
    let about = api.get("/sections/slug/about").await.id();
    let body = json!({ "title": "Notes", "content_type": "story", "parent_id": blog });
    assert_eq!(api.call("POST", "/sections", body).await.status, 201);
    let hide = json!({ "is_published": false });
    assert_eq!(api.call("PATCH", &format!("/sections/{about}"), hide).await.status, 200);
    let entries = client.entries().await.unwrap();
    let path =
        |slug: &str| entries.iter().find(|entry| entry.slug == slug).unwrap().path.as_deref();
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
    let away = client("http://127.0.0.1:1").resolve("/blog").await;
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
        let error = client.resolve("/blog").await.unwrap_err();
        let is_stranger = matches!(error, Error::NotSectionsService { .. });
        assert_eq!(is_stranger, !is_transient, "{fault:?}: {error}");
        // What can pass by itself is tried again at once; what cannot is not.
        assert_eq!(between.faults(), if is_transient { 3 } else { 1 }, "{fault:?}");
        between.heal();
        assert!(client.resolve("/blog").await.unwrap().is_some());
    }
}
