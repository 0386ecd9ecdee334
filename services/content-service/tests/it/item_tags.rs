//! Tags of items: written, listed and counted.

use models::ContentType;
use mongodb::bson::{Bson, doc};
use serde_json::{Value, json};
use test_support::{Service, TestDatabase};

use crate::support::{Site, created, day, each, page, section, send, story, walk, with};

async fn tags(service: &Service, path: &str) -> Vec<(String, u64)> {
    let (status, body) = service.get_as_editor(path).await;
    assert_eq!(status, 200, "{path}: {body}");
    let items = body["items"].as_array().unwrap().iter();
    items
        .map(|item| (item["tag"].as_str().unwrap().to_owned(), item["count"].as_u64().unwrap()))
        .collect()
}

fn counted(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(tag, count)| ((*tag).to_owned(), *count)).collect()
}

#[tokio::test]
async fn tags_of_any_kind_are_written_changed_listed_and_counted() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let kinds = ContentType::ALL.len() as u64;
    for kind in ContentType::ALL {
        let collection = kind.collection();
        let body = json!({ "title": "A", "content": "<p>x</p>", "tags": [" Rust ", "rust", "Öl"] });
        let item = created(&site, collection, body).await;
        assert_eq!(item["tags"], json!(["Rust", "Öl"]), "{collection}");
        let stored = database.one(collection, doc! { "title": "A" }).await;
        assert_eq!(stored.get_array("tags").unwrap(), &[Bson::from("Rust"), "Öl".into()]);
        let bare = created(&site, collection, json!({ "title": "B", "content": "<p>x</p>" })).await;
        assert_eq!(bare["tags"], json!([]), "{collection}");
        for tag in ["rust", "RUST", " Rust ", "%C3%B6l"] {
            let path = format!("/{collection}?tag={}", tag.replace(' ', "%20"));
            let (_, list) = site.content.get(&path).await;
            assert_eq!((each(&list, "title"), &list["total"]), (vec!["A"], &1.into()), "{path}");
        }
        let url = format!("{}/{collection}/{}", site.content.url, bare["id"].as_str().unwrap());
        let (status, _, changed) = send("PATCH", &url, &[], &json!({ "tags": ["RUST"] })).await;
        assert_eq!((status.as_u16(), &changed["tags"]), (200, &json!(["RUST"])));
        let (_, list) = site.content.get(&format!("/{collection}?tag=rust&sort=title")).await;
        assert_eq!((each(&list, "title"), &list["total"]), (vec!["A", "B"], &2.into()));
        let of_kind = tags(&site.content, &format!("/tags?content_type={}", kind.as_str())).await;
        assert_eq!(of_kind.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [2, 1]);
        let (status, _, unset) = send("PATCH", &url, &[], &json!({ "tags": [] })).await;
        assert_eq!((status.as_u16(), &unset["tags"]), (200, &json!([])));
        for wrong in
            [json!(null), json!("a"), json!([1]), json!(["a,b"]), json!([""]), json!(vec!["x"; 21])]
        {
            let (status, _, answer) = send("PATCH", &url, &[], &json!({ "tags": wrong })).await;
            assert_eq!(status, 422, "{wrong}: {answer}");
            let field = answer["errors"][0]["field"].as_str().unwrap();
            assert!(field.starts_with("tags"), "{wrong}: {answer}");
        }
    }
    assert_eq!(tags(&site.content, "/tags").await, counted(&[("Rust", kinds), ("Öl", kinds)]));
    assert_eq!(tags(&site.content, "/tags?limit=1").await, counted(&[("Rust", kinds)]));
    let (_, body) = site.content.get("/tags?limit=1").await;
    assert_eq!(body["total"], 2);
}

#[tokio::test]
async fn tags_count_what_the_caller_sees() {
    let database = TestDatabase::new().await;
    let hidden = section(&database, "hidden", doc! { "is_published": false }).await;
    let tagged = |slug: &str, tag: &str| with(story(slug, day(1)), doc! { "tags": [tag] });
    database
        .insert(
            "stories",
            [
                tagged("a", "open"),
                tagged("b", "Open"),
                tagged("c", "Open"),
                with(tagged("draft", "secret"), doc! { "is_published": false }),
                with(tagged("d2", "open"), doc! { "is_published": false }),
                with(tagged("hidden", "secret"), doc! { "section_id": hidden }),
                with(tagged("trash", "gone"), doc! { "deleted": true }),
            ],
        )
        .await;
    let site = Site::start(&database).await;
    let (_, public) = site.content.get("/tags").await;
    let expected = json!({ "items": [{ "tag": "Open", "count": 3 }], "total": 1 });
    assert_eq!(public, expected);
    let all = tags(&site.content, "/tags?include_drafts=true").await;
    assert_eq!(all, counted(&[("Open", 4), ("secret", 2)]));
    assert_eq!(site.content.get("/tags?include_drafts=true").await.0, 401);
    for tag in ["secret", "gone", "nothing"] {
        let (status, list) = site.content.get(&format!("/stories?tag={tag}")).await;
        assert_eq!((status.as_u16(), &list["items"], &list["total"]), (200, &json!([]), &0.into()));
    }
    // At once after an item is unpublished.
    let story = database.one("stories", doc! { "slug": "a" }).await;
    let id = story.get_object_id("_id").unwrap().to_hex();
    let url = format!("{}/stories/{id}", site.content.url);
    assert_eq!(send("PATCH", &url, &[], &json!({ "is_published": false })).await.0, 200);
    let (_, public) = site.content.get("/tags").await;
    assert_eq!(public["items"][0], json!({ "tag": "Open", "count": 2 }));
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("content_type=stories", "content_type"),
        ("tag=a", "tag"),
    ] {
        let (status, body) = site.content.get(&format!("/tags?{query}")).await;
        assert_eq!((status.as_u16(), &body["errors"][0]["field"]), (422, &field.into()), "{body}");
    }
    let (status, body) = site.content.get("/stories?tag=").await;
    assert_eq!((status.as_u16(), &body["errors"][0]["field"]), (422, &"tag".into()), "{body}");
}

#[tokio::test]
async fn tags_of_existing_sites_are_found_in_every_shape() {
    let database = TestDatabase::new().await;
    let shapes = [
        Bson::from("rust, web"),
        vec![Bson::from("Web"), " rust".into()].into(),
        "[\"web\"]".into(),
        2024.into(),
        vec![Bson::from(2024), "rust,web".into()].into(),
        doc! { "rust": true }.into(),
        Bson::Null,
    ];
    for (number, shape) in (0..).zip(shapes) {
        let fields = doc! { "tags": shape, "slug": number.to_string(), "createdDate": day(number) };
        database.insert("stories", [with(page("about"), fields)]).await;
    }
    let site = Site::start(&database).await;
    for (tag, expected) in
        [("rust", vec!["4", "1", "0"]), ("web", vec!["4", "2", "1", "0"]), ("2024", vec!["4", "3"])]
    {
        let path = format!("/stories?tag={tag}");
        let (_, list) = site.content.get(&path).await;
        assert_eq!(
            (each(&list, "slug"), &list["total"]),
            (expected.clone(), &expected.len().into())
        );
        assert_eq!(walk(&site.content, &format!("{path}&limit=1")).await, expected);
        let mut by_title = walk(&site.content, &format!("{path}&limit=1&sort=title")).await;
        by_title.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(by_title, expected);
    }
    let all = tags(&site.content, "/tags").await;
    assert_eq!(all, counted(&[("web", 4), ("rust", 3), ("2024", 2)]));
    let (_, list) = site.content.get("/stories?fields=tags&sort=createdDate").await;
    let read: Vec<Value> =
        list["items"].as_array().unwrap().iter().map(|item| item["tags"].clone()).collect();
    let expected = [
        json!(["rust", "web"]),
        json!(["Web", "rust"]),
        json!(["web"]),
        json!(["2024"]),
        json!(["2024", "rust", "web"]),
        json!([]),
        json!([]),
    ];
    assert_eq!(read, expected);
}
