//! The facts that every page of the site shows.

use mongodb::bson::{doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::TestDatabase;

use crate::support::{Site, ask, day, send, send_raw, user};

async fn patch(site: &Site, headers: &[(&str, &str)], body: &Value) -> (u16, Value) {
    let url = format!("{}/site", site.content.url);
    let (status, _, body) = send("PATCH", &url, headers, body).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn the_facts_of_the_site_have_defaults_and_are_changed_one_by_one() {
    let database = TestDatabase::new().await;
    // The collection of another program.
    database.insert("content_site", [doc! { "_id": ObjectId::new(), "title": "Another" }]).await;
    let site = Site::start_with(&database, &[("site.url", "https://example.com/")]).await;
    let nothing = json!({
        "title": null, "description": null, "logo": null, "language": null, "social_links": [],
        "url": "https://example.com", "updatedDate": null,
    });
    assert_eq!(site.content.get("/site").await.1, nothing);
    let (status, unchanged) = patch(&site, &[], &json!({ "title": null })).await;
    assert_eq!((status, &unchanged), (200, &nothing));
    let links = json!([{ "name": "GitHub", "url": "https://github.com/example" }]);
    let facts = json!({
        "title": "Tidal notes", "description": "Lamps.\nTides.", "logo": "/uploads/logo.webp",
        "language": "DE-ch", "social_links": links,
    });
    let (status, changed) = patch(&site, &[], &facts).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!((&changed["language"], &changed["social_links"]), (&json!("de-CH"), &links));
    let (_, _, read) = ask(&format!("{}/site", site.content.url), &[]).await;
    assert_eq!(read, changed);
    // An answer can be sent back, and changes nothing.
    assert_eq!(patch(&site, &[], &changed).await, (200, changed.clone()));
    let (_, emptied) = patch(&site, &[], &json!({ "logo": null, "social_links": [] })).await;
    assert_eq!((&emptied["logo"], &emptied["social_links"]), (&json!(null), &json!([])));
    assert_eq!(emptied["title"], "Tidal notes");
    assert_eq!(database.count("content_site", doc! {}).await, 2);
}

#[tokio::test]
async fn a_change_that_another_one_has_overtaken_is_refused() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let url = format!("{}/site", site.content.url);
    let (_, headers, _) = ask(&url, &[]).await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(ask(&url, &[("if-none-match", &tag)]).await.0, 304);
    assert_eq!(patch(&site, &[("if-match", &tag)], &json!({ "title": "One" })).await.0, 200);
    let (status, refused) = patch(&site, &[("if-match", &tag)], &json!({ "title": "Two" })).await;
    assert_eq!((status, &refused["code"]), (412, &json!("precondition_failed")));
    assert_eq!(ask(&url, &[("if-none-match", &tag)]).await.2["title"], "One");
}

#[tokio::test]
async fn wrong_values_are_named_and_only_admins_change_the_facts() {
    let database = TestDatabase::new().await;
    user(&database, "author", "author").await;
    let site = Site::start(&database).await;
    for (body, field) in [
        (json!({ "title": "" }), "title"),
        (json!({ "title": "x".repeat(201) }), "title"),
        (json!({ "description": "x".repeat(1_001) }), "description"),
        (json!({ "logo": "logo.webp" }), "logo"),
        (json!({ "logo": "javascript:alert(1)" }), "logo"),
        (json!({ "logo": { "$ne": null } }), "logo"),
        (json!({ "language": "english language" }), "language"),
        (json!({ "language": "en_US" }), "language"),
        (json!({ "social_links": null }), "social_links"),
        (json!({ "social_links": [{ "name": "x", "url": "ftp://x.example" }] }), "social_links"),
        (json!({ "social_links": ["https://x.example"] }), "social_links"),
        (json!({ "url": "https://other.example" }), "url"),
        (json!({ "name": "x" }), "name"),
    ] {
        let (status, answer) = patch(&site, &[], &body).await;
        assert_eq!(status, 422, "{body}: {answer}");
        let named = answer["errors"][0]["field"].as_str().unwrap();
        assert!(named.starts_with(field), "{body}: {answer}");
    }
    let url = format!("{}/site", site.content.url);
    let json = [("content-type", "application/json")];
    let (status, ..) = send_raw("PATCH", &url, &json, b"{}".to_vec()).await;
    assert_eq!(status, 401);
    let (status, ..) = send("PATCH", &url, &[("authorization", "Bearer wrong")], &json!({})).await;
    assert_eq!(status, 401);
    assert_eq!(site.content.get("/site?x=1").await.0, 422);
    assert_eq!(site.content.get("/site").await.1["title"], Value::Null);
}

#[tokio::test]
async fn facts_that_another_program_has_stored_are_read_as_far_as_they_can_be() {
    let database = TestDatabase::new().await;
    let facts = doc! {
        "_id": "site", "title": 7, "description": ["x"], "logo": "", "language": { "x": 1 },
        "social_links": ["x", { "name": "x" }, { "name": "Feed", "url": "https://x.example/" }],
        "updatedDate": day(1), "theme": "dark",
    };
    database.insert("content_site", [facts]).await;
    let site = Site::start(&database).await;
    let expected = json!({
        "title": "7", "description": null, "logo": null, "language": null,
        "social_links": [{ "name": "Feed", "url": "https://x.example/" }], "url": null,
        "updatedDate": "2024-01-02T00:00:00.000Z",
    });
    assert_eq!(site.content.get("/site").await, (reqwest::StatusCode::OK, expected));
    assert_eq!(patch(&site, &[], &json!({ "language": "en" })).await.1["language"], "en");
    assert_eq!(
        database.one("content_site", doc! { "_id": "site" }).await.get_str("theme").unwrap(),
        "dark"
    );
}
