//! The shapes of documents that existing sites really have, in lists and look-ups.

use mongodb::bson::{Bson, Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::TestDatabase;

use crate::support::{Site, day, each, page, project, story, with, without};

/// The site with these stories, and what the list says of the first.
async fn listed(database: &TestDatabase, story: Document) -> (Site, Value) {
    database.insert("stories", [story]).await;
    let site = Site::start(database).await;
    let (status, list) = site.content.get("/stories").await;
    assert_eq!((status.as_u16(), &list["total"]), (200, &json!(1)), "{list}");
    (site, list["items"][0].clone())
}

#[tokio::test]
async fn a_story_with_nothing_but_a_title() {
    let database = TestDatabase::new().await;
    let (_site, item) = listed(&database, doc! { "title": "Bare" }).await;
    assert_eq!(item["slug"], "bare");
    assert_eq!((&item["title"], &item["content"]), (&json!("Bare"), &json!("")));
    assert_eq!(item["is_published"], true);
    for date in ["date", "createdDate", "updatedDate", "user_id"] {
        assert_eq!(item[date], Value::Null, "{date}");
    }
}

#[tokio::test]
async fn a_deleted_story_without_a_slug_is_no_ones_business() {
    let database = TestDatabase::new().await;
    let trash = with(without(story("x", day(1)), "slug"), doc! { "deleted": true });
    database.insert("stories", [trash]).await;
    let site = Site::start(&database).await;
    assert_eq!(site.content.get("/stories").await.1["total"], 0);
    assert_eq!(site.content.get_as_editor("/stories?include_drafts=true").await.1["total"], 0);
}

#[tokio::test]
async fn dates_kept_as_text_are_answered_as_dates() {
    let database = TestDatabase::new().await;
    let dates =
        doc! { "updatedDate": "2024-02-13T13:57:15.5+01:00", "date": "2024-02-13T00:00:00Z" };
    let story = with(story("s", "2024-02-13T12:57:15.500Z"), dates);
    let (site, item) = listed(&database, story.clone()).await;
    for date in ["createdDate", "updatedDate"] {
        assert_eq!(item[date], "2024-02-13T12:57:15.500Z", "{date}");
    }
    assert_eq!(item["date"], "2024-02-13T00:00:00.000Z");
    assert_eq!(site.content.get("/stories/slug/s").await.1, item);
    let stored = database.one("stories", doc! {}).await;
    for date in ["createdDate", "updatedDate", "date"] {
        assert_eq!(stored.get(date), story.get(date), "{date}");
    }
}

#[tokio::test]
async fn an_id_that_is_text_is_listed_as_it_is_and_found_by_slug() {
    let database = TestDatabase::new().await;
    let story = with(story("s", day(1)), doc! { "_id": "post/17 ü" });
    let (site, item) = listed(&database, story).await;
    assert_eq!(item["id"], "post/17 ü");
    assert_eq!(site.content.get("/stories/slug/s").await.1["id"], "post/17 ü");
    let (status, by_id) = site.content.get_as_editor("/stories/post%2F17%20%C3%BC").await;
    assert_eq!((status.as_u16(), &by_id), (200, &item));
    let (status, body) = site.content.get_as_editor("/stories/post-17").await;
    assert_eq!((status.as_u16(), body["code"].as_str()), (400, Some("invalid_id")));
    assert_eq!(body["detail"], "Invalid story ID format");
}

#[tokio::test]
async fn what_is_longer_than_a_new_story_may_be_is_answered_whole() {
    let database = TestDatabase::new().await;
    let (title, content) = ("Ü".repeat(500), "<p>long</p>".repeat(300_000));
    let story = with(story("s", day(1)), doc! { "title": &title, "content": &content });
    let (site, item) = listed(&database, story).await;
    let (_, by_slug) = site.content.get("/stories/slug/s").await;
    for item in [item, by_slug] {
        assert!(item["title"] == title && item["content"] == content);
    }
}

#[tokio::test]
async fn null_means_absent() {
    let database = TestDatabase::new().await;
    let nulls = doc! {
        "content": null, "date": null, "updatedDate": null, "deleted": null, "user_id": null,
        "section_id": null,
    };
    let (site, item) = listed(&database, with(story("s", day(1)), nulls)).await;
    assert_eq!((&item["content"], &item["deleted"]), (&json!(""), &json!(false)));
    assert_eq!(item["section_id"], Value::Null);
    let nulls = doc! {
        "summary": null, "technologies": null, "image_url": null, "is_featured": null,
        "is_published": null, "createdDate": null,
    };
    database.insert("projects", [with(project("p"), nulls)]).await;
    let (status, project) = site.content.get("/projects/slug/p").await;
    assert_eq!((status.as_u16(), &project["technologies"]), (200, &json!([])));
    assert_eq!((&project["is_published"], &project["is_featured"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn an_orphan_is_shown_with_the_section_that_it_names() {
    let database = TestDatabase::new().await;
    let nowhere = ObjectId::new().to_hex();
    let orphan = with(story("s", day(1)), doc! { "section_id": &nowhere });
    let (site, item) = listed(&database, orphan).await;
    assert_eq!(item["section_id"], nowhere);
    assert_eq!(site.content.get("/stories/slug/s").await.1, item);
}

#[tokio::test]
async fn a_reference_kept_as_an_object_id_is_answered_as_text() {
    let database = TestDatabase::new().await;
    let id = ObjectId::new();
    let story = with(story("s", day(1)), doc! { "section_id": id, "user_id": id });
    let (_site, item) = listed(&database, story).await;
    assert_eq!((&item["section_id"], &item["user_id"]), (&json!(id.to_hex()), &json!(id.to_hex())));
}

#[tokio::test]
async fn fields_that_nobody_models_are_not_answered() {
    let database = TestDatabase::new().await;
    let story = with(story("s", day(1)), doc! { "secret_note": "x", "rank": 5, "$odd": [] });
    let (site, item) = listed(&database, story).await;
    assert!(item.get("secret_note").is_none() && item.get("rank").is_none());
    assert_eq!(site.content.get("/stories/slug/s").await.1, item);
}

#[tokio::test]
async fn a_deleted_twin_does_not_hide_the_living() {
    let database = TestDatabase::new().await;
    for kind in ["stories", "projects"] {
        let twin = |title: &str, created, fields: Document| {
            with(with(story("twin", day(created)), doc! { "title": title }), fields)
        };
        database
            .insert(
                kind,
                [
                    twin("Deleted", 3, doc! { "deleted": true }),
                    twin("Alive", 2, doc! {}),
                    twin("Draft", 4, doc! { "is_published": false }),
                    twin("Older", 1, doc! {}),
                ],
            )
            .await;
    }
    let site = Site::start(&database).await;
    for kind in ["stories", "projects"] {
        let (status, body) = site.content.get(&format!("/{kind}/slug/twin")).await;
        assert_eq!((status.as_u16(), &body["title"]), (200, &json!("Alive")), "{kind}");
        let (_, list) = site.content.get(&format!("/{kind}")).await;
        assert_eq!(each(&list, "title"), ["Alive", "Older"], "{kind}");
    }
}

#[tokio::test]
async fn a_twin_that_has_no_address_does_not_hide_the_others() {
    let database = TestDatabase::new().await;
    for kind in ["stories", "projects", "pages"] {
        // A page is the first one of its type, the others are the newest.
        for (created, title, id) in [
            (1, "Older", ObjectId::from_bytes([9; 12]).into()),
            (2, "Next", ObjectId::from_bytes([8; 12]).into()),
            (3, "No address", if kind == "pages" { Bson::Null } else { true.into() }),
        ] {
            let names = doc! { "slug": "twin", "page_type": "twin", "title": title };
            let own = doc! { "_id": id, "createdDate": day(created) };
            database.insert(kind, [with(with(page("twin"), names), own)]).await;
        }
    }
    let site = Site::start(&database).await;
    for (kind, by) in [("stories", "slug"), ("projects", "slug"), ("pages", "type")] {
        let (status, body) = site.content.get(&format!("/{kind}/{by}/twin")).await;
        assert_eq!((status.as_u16(), &body["title"]), (200, &json!("Next")), "{kind}");
    }
}
