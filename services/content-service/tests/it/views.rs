//! Lists of cards, and lists with chosen members.

use models::ContentType;
use mongodb::bson::doc;
use serde_json::Value;
use test_support::{Service, TestDatabase};

use crate::support::{Site, day, page, profile, profiled, project, story, with};

async fn items(service: &Service, path: &str) -> Vec<Value> {
    let (status, body) = service.get(path).await;
    assert_eq!(status, 200, "{path}: {body}");
    body["items"].as_array().unwrap().clone()
}

fn names(item: &Value) -> Vec<&str> {
    item.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_card_of_any_kind_has_an_excerpt_and_a_picture_in_place_of_the_text() {
    let database = TestDatabase::new().await;
    let text = "word ".repeat(100);
    let content =
        format!("<h2>A&amp;B</h2><p>{text}</p><img src=\"/uploads/a.webp\"><img src=\"b\">");
    for kind in ContentType::ALL {
        let document = with(page("about"), doc! { "slug": "a", "content": &content });
        database.insert(kind.collection(), [document]).await;
    }
    let site = Site::start(&database).await;
    for kind in ContentType::ALL {
        let collection = kind.collection();
        let full = items(&site.content, &format!("/{collection}?view=full")).await.remove(0);
        assert_eq!(full["content"], content.as_str(), "{collection}");
        let card = items(&site.content, &format!("/{collection}?view=card")).await.remove(0);
        let expected = format!("A&B {}", "word ".repeat(39).trim());
        assert_eq!(card["excerpt"], expected.as_str());
        assert_eq!(card["image_url"], "/uploads/a.webp");
        // Everything else is the same.
        let mut expected = full.clone();
        expected.as_object_mut().unwrap().shift_remove("content");
        let mut rest = card.clone();
        for member in ["excerpt", "image_url"] {
            rest[member] = expected[member].clone();
        }
        expected["excerpt"] = Value::Null;
        expected["image_url"] = full["image_url"].clone();
        assert_eq!(rest, expected, "{collection}");
    }
}

#[tokio::test]
async fn the_picture_that_an_editor_has_chosen_is_that_of_the_card() {
    let database = TestDatabase::new().await;
    let content = doc! { "content": "<img src=\"/first.png\">" };
    let own = with(project("own"), doc! { "image_url": "/own.png", "createdDate": day(2) });
    database.insert("projects", [with(own, content.clone()), with(project("none"), content)]).await;
    let site = Site::start(&database).await;
    let pictures = async |query: &str| {
        let items = items(&site.content, &format!("/projects?{query}")).await;
        items.iter().map(|item| item["image_url"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(pictures("view=card").await, ["/own.png", "/first.png"]);
    assert_eq!(pictures("").await, [Value::from("/own.png"), Value::Null]);
    assert_eq!(pictures("fields=image_url").await, [Value::from("/own.png"), Value::Null]);
}

#[tokio::test]
async fn a_list_has_the_members_that_were_asked_for_and_no_others() {
    let database = TestDatabase::new().await;
    for kind in ContentType::ALL {
        let document = with(page("about"), doc! { "slug": "a", "date": day(1) });
        database.insert(kind.collection(), [document]).await;
    }
    let site = Site::start(&database).await;
    for kind in ContentType::ALL {
        let collection = kind.collection();
        let full = items(&site.content, &format!("/{collection}?view=full")).await.remove(0);
        for name in names(&full) {
            let item =
                items(&site.content, &format!("/{collection}?fields={name}")).await.remove(0);
            assert_eq!(names(&item), [name], "{collection}");
            assert_eq!(item[name], full[name], "{collection}: {name}");
        }
        let all = names(&full).join(",");
        let item = items(&site.content, &format!("/{collection}?fields={all}")).await.remove(0);
        assert_eq!(item, full);
        let path = format!("/{collection}?fields=title,excerpt,id,title&sort=-title&limit=1");
        let item = items(&site.content, &path).await.remove(0);
        assert_eq!(names(&item), ["id", "title", "excerpt"]);
        assert_eq!(item["excerpt"], "Text.");
    }
}

#[tokio::test]
async fn a_wrong_view_or_member_is_refused_with_those_there_are() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let refused = async |path: &str| {
        let (status, body) = site.content.get(path).await;
        assert_eq!(status, 422, "{path}: {body}");
        let error = body["errors"][0].clone();
        (error["field"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    };
    for wrong in ["cards", "", "Card"] {
        let (field, message) = refused(&format!("/stories?view={wrong}")).await;
        assert_eq!(field, "view");
        assert!(message.contains("`full`") && message.contains("`card`"), "{message}");
    }
    for wrong in
        ["name", "", "title,", "title,,id", "Title", "_id", "$where", "title%20", "content.x"]
    {
        let (field, message) = refused(&format!("/stories?fields={wrong}")).await;
        assert_eq!(field, "fields");
        assert!(message.contains("`title`") && message.contains("`excerpt`"), "{message}");
    }
    let (_, message) = refused("/stories?view=card&fields=content").await;
    assert!(
        message.contains("no member `content`") && !message.contains(", `content`"),
        "{message}"
    );
    let long = "x".repeat(3_000);
    assert!(refused(&format!("/stories?fields={long}")).await.1.len() < 1_000);
}

#[tokio::test]
async fn a_text_that_is_not_answered_is_not_sent_by_the_database() {
    let database = TestDatabase::new().await;
    let long = doc! { "content": "x".repeat(100_000), "legacy_markdown": "y".repeat(100_000) };
    let stories = (0..10).map(|number| with(story(&number.to_string(), day(number)), long.clone()));
    database.collection("stories").insert_many(stories).await.unwrap();
    let site = Site::start(&database).await;
    let sent = async |query: &str| {
        profile(&database, 2).await;
        assert_eq!(items(&site.content, &format!("/stories?limit=9&{query}")).await.len(), 9);
        profile(&database, 0).await;
        let finds =
            profiled(&database, doc! { "command.find": "stories", "command.limit": 10 }).await;
        database.collection("system.profile").drop().await.unwrap();
        finds.iter().map(|find| find.get_i32("responseLength").unwrap()).sum::<i32>()
    };
    assert!(sent("").await > 1_000_000);
    assert!(sent("fields=id,title,slug,createdDate").await < 10_000);
    assert!(sent("fields=title&sort=title").await < 10_000);
}

#[tokio::test]
async fn cards_of_any_content_are_answered() {
    let database = TestDatabase::new().await;
    let contents = [
        doc! { "content": null },
        doc! { "content": 7 },
        doc! { "content": ["<p>x</p>"] },
        doc! { "content": { "html": "<p>x</p>" } },
        doc! { "content": "x".repeat(3_000_000) },
        doc! { "content": "<p>".repeat(100_000) },
    ];
    for (number, content) in (0..).zip(contents) {
        database.insert("stories", [with(story(&number.to_string(), day(1)), content)]).await;
    }
    let site = Site::start(&database).await;
    let cards = items(&site.content, "/stories?view=card&limit=50&sort=title").await;
    let excerpts: Vec<_> = cards.iter().map(|card| card["excerpt"].as_str().unwrap()).collect();
    assert_eq!(excerpts, ["", "7", "", "", &"x".repeat(200), ""]);
    assert!(cards.iter().all(|card| card["image_url"].is_null()));
}
