//! Tags: what has not changed is not sent again, and nothing old is taken for new.

use mongodb::bson::doc;
use serde_json::json;
use test_support::{TestDatabase, eventually};

use crate::support::{
    Site, ask, content, created, day, page, profile, profiled, project, send, story,
};

const PATHS: [&str; 7] = [
    "/stories?section=blog&limit=5",
    "/projects",
    "/pages",
    "/stories/slug/a",
    "/projects/slug/a",
    "/pages/type/about",
    "/resolve?path=/blog",
];

async fn insert(database: &TestDatabase) {
    database.insert("stories", [story("a", day(1)), story("b", day(2))]).await;
    database.insert("projects", [project("a")]).await;
    database.insert("pages", [page("about")]).await;
}

async fn tag(url: &str) -> String {
    let (status, headers, body) = ask(url, &[]).await;
    assert_eq!(status, 200, "{url}: {body}");
    headers["etag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again_and_not_read() {
    let database = TestDatabase::new().await;
    insert(&database).await;
    let site = Site::start(&database).await;
    let other = content(&database, &site.sections.url, &[]).await;
    other.migrated().await;
    for path in PATHS {
        let url = format!("{}{path}", site.content.url);
        let tag = tag(&url).await;
        assert_eq!(tag, crate::conditional::tag(&format!("{}{path}", other.url)).await, "{path}");
        for _ in 0..2 {
            let (status, headers, body) = ask(&url, &[("if-none-match", &tag)]).await;
            assert_eq!((status.as_u16(), body), (304, "".into()), "{path}");
            assert_eq!(headers["etag"], tag.as_str());
        }
        profile(&database, 2).await;
        assert_eq!(ask(&url, &[("if-none-match", &tag)]).await.0, 304);
        profile(&database, 0).await;
        let reads = doc! { "ns": { "$regex": "stories|projects|pages" }, "command.find": { "$exists": true } };
        assert_eq!(profiled(&database, reads).await.len(), 0, "{path}");
        database.collection("system.profile").drop().await.unwrap();
        assert_eq!(ask(&url, &[("if-none-match", "\"other\"")]).await.0, 200);
    }
}

#[tokio::test]
async fn a_change_by_this_replica_shows_in_the_next_answer() {
    let database = TestDatabase::new().await;
    insert(&database).await;
    let site = Site::start(&database).await;
    let item = created(&site, "stories", json!({ "title": "C", "content": "" })).await;
    let item = format!("{}/stories/{}", site.content.url, item["id"].as_str().unwrap());
    for path in ["/stories?section=blog&limit=5", "/stories/slug/c", "/resolve?path=/blog/c"] {
        let url = format!("{}{path}", site.content.url);
        for number in 0..10 {
            let tag = tag(&url).await;
            assert_eq!(ask(&url, &[("if-none-match", &tag)]).await.0, 304);
            let change = json!({ "content": format!("Change {number} of {}.", path.len()) });
            assert_eq!(send("PATCH", &item, &[], &change).await.0, 200);
            let (status, _, body) = ask(&url, &[("if-none-match", &tag)]).await;
            assert_eq!(status, 200, "{path}");
            let change = change["content"].as_str().unwrap();
            assert!(body.to_string().contains(change), "{body}");
        }
    }
}

#[tokio::test]
async fn a_change_by_somebody_else_shows_in_lists_items_and_totals() {
    let database = TestDatabase::new().await;
    insert(&database).await;
    let site = Site::start(&database).await;
    for path in ["/stories?section=blog&limit=5", "/stories/slug/a"] {
        let url = format!("{}{path}", site.content.url);
        let tag = tag(&url).await;
        for _ in 0..2 {
            assert_eq!(ask(&url, &[("if-none-match", &tag)]).await.0, 304);
        }
        let change = doc! { "$set": { "content": path } };
        database.collection("stories").update_one(doc! { "slug": "a" }, change).await.unwrap();
        eventually("the change shows", async || {
            ask(&url, &[("if-none-match", &tag)]).await.0 == 200
        })
        .await;
    }
    // A total that is out of date for a moment is never kept with a tag.
    let url = format!("{}/stories", site.content.url);
    for number in 0..5 {
        let tag = tag(&url).await;
        database.insert("stories", [story(&format!("n-{number}"), day(9 + number))]).await;
        eventually("the total is right", async || {
            let (status, headers, _) = ask(&url, &[("if-none-match", &tag)]).await;
            status == 200 && {
                let tag = headers["etag"].to_str().unwrap();
                ask(&url, &[("if-none-match", tag)]).await.0 == 304
                    && ask(&url, &[]).await.2["total"] == 3 + number
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_an_editor_sees_has_another_tag() {
    let database = TestDatabase::new().await;
    insert(&database).await;
    let site = Site::start(&database).await;
    let url = format!("{}/stories", site.content.url);
    let public = tag(&url).await;
    let draft = json!({ "title": "D", "content": "", "is_published": false });
    created(&site, "stories", draft).await;
    let editor =
        [("authorization", "Bearer test-token-of-16-or-more"), ("if-none-match", public.as_str())];
    let (status, _, body) = ask(&format!("{url}?include_drafts=true"), &editor).await;
    assert_eq!((status.as_u16(), &body["total"]), (200, &3.into()));
    // The public sees what it saw.
    assert_eq!(ask(&url, &[("if-none-match", &public)]).await.0, 304);
}
