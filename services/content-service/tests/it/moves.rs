//! Moving content between sections.

use mongodb::bson::{Bson, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{Provider, TestDatabase};

use crate::support::{
    Site, all_content, day, page, project, section, section_id, send, story, user, with,
};

fn id(number: u8) -> String {
    ObjectId::from_bytes([number; 12]).to_hex()
}

async fn site(database: &TestDatabase) -> Site {
    let numbered = |number: u8| doc! { "_id": ObjectId::from_bytes([number; 12]) };
    let trash = with(numbered(3), doc! { "deleted": true });
    let linked = |number| with(numbered(number), doc! { "section_id": "ffffffffffffffffffffffff" });
    database
        .insert(
            "stories",
            [
                with(story("one", day(1)), numbered(1)),
                with(story("two", day(2)), linked(2)),
                with(story("three", day(3)), trash),
            ],
        )
        .await;
    database.insert("projects", [with(project("p"), numbered(4))]).await;
    database.insert("pages", [with(page("imprint"), numbered(5))]).await;
    Site::start(database).await
}

async fn moved(site: &Site, content_type: &str, content: Value, section: &str) -> (u16, Value) {
    let url = format!("{}/content/move", site.content.url);
    let body = json!({ "content_type": content_type, "content": content, "section_id": section });
    let (status, _, answer) = send("POST", &url, &[], &body).await;
    (status.as_u16(), answer)
}

#[tokio::test]
async fn content_is_moved_by_its_ids() {
    let database = TestDatabase::new().await;
    let site = site(&database).await;
    let fresh = section_with_wait(&database, &site, "fresh").await;
    let ids = json!({ "ids": [id(1), id(2)] });
    assert_eq!(moved(&site, "story", ids.clone(), &fresh).await, (200, json!({ "moved": 2 })));
    assert_eq!(database.count("stories", doc! { "section_id": &fresh }).await, 2);
    assert_eq!(moved(&site, "story", ids, &fresh).await, (200, json!({ "moved": 0 })));
    let list = site.content.get("/stories?section=fresh").await.1;
    assert_eq!(list["total"], 2);
}

#[tokio::test]
async fn all_content_of_a_section_is_moved_with_what_is_in_the_trash() {
    let database = TestDatabase::new().await;
    let site = site(&database).await;
    let blog = section_id(&database, "blog").await;
    let fresh = section_with_wait(&database, &site, "fresh").await;
    let from = json!({ "section_id": blog });
    assert_eq!(moved(&site, "story", from, &fresh).await, (200, json!({ "moved": 2 })));
    assert_eq!(database.count("stories", doc! { "section_id": &fresh }).await, 2);
    // From a section that does not exist, too.
    let from = json!({ "section_id": "ffffffffffffffffffffffff" });
    assert_eq!(moved(&site, "story", from, &fresh).await, (200, json!({ "moved": 1 })));
}

#[tokio::test]
async fn all_or_nothing_is_moved_and_what_is_wrong_is_named() {
    let database = TestDatabase::new().await;
    let site = site(&database).await;
    let blog = section_id(&database, "blog").await;
    let projects = section_id(&database, "projects").await;
    let before = all_content(&database).await;
    for (content_type, content, section, field, message) in [
        ("story", json!({ "ids": [id(1), id(9)] }), &blog, "content.ids", id(9)),
        ("story", json!({ "ids": [id(2), id(3)] }), &blog, "content.ids", id(3)),
        ("story", json!({ "ids": [id(4)] }), &blog, "content.ids", id(4)),
        ("story", json!({ "ids": [id(1)] }), &projects, "section_id", "for other content".into()),
        ("page", json!({ "ids": [id(5)] }), &blog, "section_id", "for other content".into()),
        ("story", json!({ "ids": [id(1)] }), &id(9), "section_id", "no such section".into()),
        ("story", json!({ "ids": [] }), &blog, "content", "from 1 to 5000".into()),
        ("poem", json!({ "ids": [id(1)] }), &blog, "content_type", "unknown variant".into()),
    ] {
        let (status, answer) = moved(&site, content_type, content, section).await;
        assert_eq!(status, 422, "{answer}");
        let error = &answer["errors"][0];
        assert!(error["field"].as_str().unwrap().starts_with(field), "{answer}");
        assert!(error["message"].as_str().unwrap().contains(&message), "{answer}");
    }
    assert_eq!(all_content(&database).await, before);
}

#[tokio::test]
async fn more_than_fits_a_transaction_is_refused() {
    let database = TestDatabase::new().await;
    let many = (0..5_001).map(|number| {
        with(story(&number.to_string(), day(1)), doc! { "section_id": "ffffffffffffffffffffffff" })
    });
    database.collection("stories").insert_many(many).await.unwrap();
    let site = Site::start(&database).await;
    let blog = section_id(&database, "blog").await;
    let from = json!({ "section_id": "ffffffffffffffffffffffff" });
    let (status, answer) = moved(&site, "story", from.clone(), &blog).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (422, &"content.section_id".into()));
    assert_eq!(database.count("stories", doc! { "section_id": &blog }).await, 0);
    database.collection("stories").delete_one(doc! { "slug": "0" }).await.unwrap();
    assert_eq!(moved(&site, "story", from, &blog).await, (200, json!({ "moved": 5_000 })));
}

#[tokio::test]
async fn an_author_moves_what_is_theirs() {
    let database = TestDatabase::new().await;
    let provider = Provider::start();
    let ann = user(&database, "ann", "author").await;
    let own = with(story("own", day(1)), doc! { "user_id": &ann });
    let other = with(story("other", day(2)), doc! { "user_id": Bson::Null });
    database.insert("stories", [own.clone(), other.clone()]).await;
    let site = Site::start_with(&database, &provider.settings()).await;
    let blog = section_id(&database, "blog").await;
    let fresh = section_with_wait(&database, &site, "fresh").await;
    let url = format!("{}/content/move", site.content.url);
    let ids = |documents: &[&mongodb::bson::Document]| {
        let ids = documents.iter().map(|one| one.get_object_id("_id").unwrap().to_hex());
        json!({ "ids": ids.collect::<Vec<_>>() })
    };
    for (content, status) in
        [(ids(&[&own, &other]), 403), (json!({ "section_id": blog }), 403), (ids(&[&own]), 200)]
    {
        assert_eq!(database.count("stories", doc! { "section_id": &fresh }).await, 0);
        let body = json!({ "content_type": "story", "content": content, "section_id": fresh });
        let headers = [("authorization", "Bearer ann")];
        assert_eq!(send("POST", &url, &headers, &body).await.0, status);
    }
    assert_eq!(database.count("stories", doc! { "section_id": &fresh }).await, 1);
}

/// A section that sections-service knows of.
async fn section_with_wait(database: &TestDatabase, site: &Site, slug: &str) -> String {
    let id = section(database, slug, doc! {}).await;
    test_support::eventually("sections-service knows the section", async || {
        site.sections.get(&format!("/sections/slug/{slug}")).await.0 == 200
    })
    .await;
    id
}
