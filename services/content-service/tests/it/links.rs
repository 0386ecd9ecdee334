//! Sections that are links, for everything that goes over the sections of the site.

use mongodb::bson::{doc, oid::ObjectId};
use reqwest::StatusCode;
use serde_json::{Value, json};
use test_support::{Api, TestDatabase};

use crate::{
    changes::{Reader, change, short},
    sitemap::{URL, addresses},
    support::{Site, created, day, section, send, story, with},
};

#[tokio::test]
async fn a_link_holds_no_content_and_has_no_page() {
    let database = TestDatabase::new().await;
    let notes = section(&database, "notes", doc! {}).await;
    let github = doc! { "content_type": "link", "url": "https://github.com/example" };
    let github = section(&database, "github", github).await;
    let again = doc! { "content_type": "link", "section_id": &notes };
    let again = section(&database, "again", again).await;
    let of = |slug: &str| with(story(slug, day(1)), doc! { "section_id": &notes });
    // One that another program put into a link.
    let lost = with(of("lost"), doc! { "section_id": &github });
    database.insert("stories", [of("github"), of("a"), lost]).await;
    let site = Site::start_with(&database, &[("site.url", URL)]).await;
    let refused = async |method: &str, path: &str, body: Value| {
        let (status, _, answer) =
            send(method, &format!("{}{path}", site.content.url), &[], &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {answer}");
        assert_eq!(answer["errors"][0]["field"], "section_id");
        assert!(answer["errors"][0]["message"].as_str().unwrap().contains("is a link"), "{answer}");
    };
    for link in [&github, &again] {
        let body = json!({ "title": "x", "content": "", "section_id": link });
        refused("POST", "/stories", body).await;
        let item = created(&site, "stories", json!({ "title": "x", "content": "" })).await;
        let path = format!("/stories/{}", item["id"].as_str().unwrap());
        refused("PATCH", &path, json!({ "section_id": link })).await;
        let content = json!({ "ids": [item["id"]] });
        let body = json!({ "content_type": "story", "content": content, "section_id": link });
        refused("POST", "/content/move", body).await;
    }
    for (path, expected) in [
        ("/stories?section=github", 404),
        ("/search?q=story&section=github", 404),
        ("/resolve?path=/github", 404),
        ("/resolve?path=/again", 404),
        ("/feeds/github.rss", 404),
        ("/feeds/notes.rss", 200),
        ("/resolve?path=/notes/github", 200),
    ] {
        assert_eq!(site.content.get(path).await.0, expected, "{path}");
    }
    let found = addresses(&site).await;
    for path in ["/notes", "/notes/a", "/notes/github"] {
        assert_eq!(found.iter().filter(|one| *one == path).count(), 1, "{path}: {found:?}");
    }
    assert!(!found.iter().any(|path| path.starts_with("/github") || path.starts_with("/again")));
    let lost = site.content.get("/stories/slug/lost").await.1;
    assert_eq!(lost["path"], Value::Null);
    let report = site.content.get_as_editor("/internal/integrity").await.1;
    let findings = report["findings"].as_array().unwrap();
    let wrong = findings.iter().find(|finding| finding["kind"] == "wrong_type").unwrap();
    assert_eq!(wrong["ids"], json!([lost["id"]]));
}

#[tokio::test]
async fn a_changed_link_is_told_as_a_section_without_content() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let sections = Api::new(site.sections.url.clone());
    let mut reader = Reader::start(&site.content).await;
    let blog = database.one("sections", doc! { "slug": "blog" }).await;
    let blog = blog.get_object_id("_id").map(ObjectId::to_hex).unwrap();
    let link = json!({ "title": "Out", "content_type": "link", "url": "https://example.com" });
    let link = sections.call("POST", "/sections", link).await.id();
    let path = format!("/sections/{link}");
    let told = reader.next(1).await;
    assert_eq!(short(&told), [change("sections", "created", None, None)]);
    assert_eq!((&told[0]["id"], &told[0]["slug"]), (&link.as_str().into(), &"link-out".into()));
    for body in [json!({ "url": "https://example.org" }), json!({ "section_id": blog })] {
        assert_eq!(sections.call("PATCH", &path, body).await.status, 200);
        assert_eq!(short(&reader.next(1).await), [change("sections", "updated", None, None)]);
    }
    assert_eq!(sections.call("DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(short(&reader.next(1).await), [change("sections", "deleted", None, None)]);
    assert_eq!(reader.until_now(&database).await, [] as [Value; 0]);
}
