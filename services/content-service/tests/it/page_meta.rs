//! The facts for search engines and previews of links: of items of every kind, and in the sitemap and the
//! feeds.

use std::collections::BTreeSet;

use models::ContentType;
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};
use test_support::{TestDatabase, eventually};

use crate::{
    sitemap::{URL, addresses},
    support::{Site, created, day, heard, page, project, section, send, stored, story, with},
};

const MEMBERS: [&str; 4] = ["description", "social_image", "canonical", "noindex"];

/// Values of all members.
fn full() -> Value {
    json!({
        "description": "A lamp <b>at sea</b>.\nIt is lit.", "social_image": "/uploads/lamp.webp",
        "canonical": "https://example.org/lamp?a=b", "noindex": true,
    })
}

fn empty() -> Value {
    json!({ "description": null, "social_image": null, "canonical": null, "noindex": false })
}

/// Returns the members of an item.
fn members(item: &Value) -> Value {
    MEMBERS.iter().map(|member| ((*member).to_owned(), item[*member].clone())).collect()
}

#[tokio::test]
async fn items_of_every_kind_have_them_in_all_answers_and_writes() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for kind in ContentType::ALL {
        let collection = kind.collection();
        let of_kind = doc! { "content_type": kind.as_str() };
        let section = section(&database, &format!("of-{collection}"), of_kind).await;
        let mut body = json!({ "title": "x", "content": "", "slug": "x", "section_id": section });
        let bare = created(&site, collection, body.clone()).await;
        assert_eq!(members(&bare), empty(), "{collection}");
        let id = Bson::from(
            bare["id"].as_str().unwrap().parse::<mongodb::bson::oid::ObjectId>().unwrap(),
        );
        let document = database.one(collection, doc! { "_id": id.clone() }).await;
        assert!(MEMBERS.iter().all(|field| !document.contains_key(field)), "{document}");

        body["slug"] = "y".into();
        body.as_object_mut().unwrap().extend(full().as_object().unwrap().clone());
        let item = created(&site, collection, body).await;
        assert_eq!(members(&item), full(), "{collection}");
        heard(&database, &site.content).await;
        let path = item["path"].as_str().unwrap();
        let resolved = site.content.get(&format!("/resolve?path={path}")).await.1;
        assert_eq!(resolved["content"], item);
        for query in ["view=full", "view=card", "fields=description,social_image,canonical,noindex"]
        {
            let list =
                site.content.get(&format!("/{collection}?section_id={section}&{query}")).await.1;
            assert_eq!(members(&list["items"][0]), full(), "{collection} {query}");
            assert_eq!(members(&list["items"][1]), empty(), "{collection} {query}");
        }

        // The file is in use.
        let places = "/internal/content/media-places?names=lamp.webp&limit=20";
        let places = site.content.get(places).await.1["lamp.webp"].clone();
        assert!(places.as_array().unwrap().iter().any(|place| place["id"] == item["id"]));

        // What was read can be sent back, and null empties.
        let url = |item: &Value| {
            format!("{}/{collection}/{}", site.content.url, item["id"].as_str().unwrap())
        };
        for (item, id) in [(&bare, &id)] {
            let before = stored(&database, collection, id).await;
            for method in ["PUT", "PATCH"] {
                let (status, _, answer) = send(method, &url(item), &[], item).await;
                assert_eq!((status.as_u16(), &answer), (200, item), "{method}");
            }
            assert_eq!(stored(&database, collection, id).await, before);
        }
        assert_eq!(send("PUT", &url(&item), &[], &item).await.2, item);
        let (_, _, changed) = send("PATCH", &url(&item), &[], &json!({ "canonical": null })).await;
        assert_eq!((&changed["canonical"], &changed["noindex"]), (&Value::Null, &true.into()));
        assert_ne!(changed["updatedDate"], item["updatedDate"]);
        assert_eq!(members(&send("PATCH", &url(&item), &[], &empty()).await.2), empty());
        let blank = json!({ "description": " \n" });
        assert_eq!(send("PATCH", &url(&item), &[], &blank).await.2["description"], Value::Null);
    }
}

#[tokio::test]
async fn wrong_values_are_named() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for kind in ContentType::ALL.map(ContentType::collection) {
        let post = async |member: &str, value: Value| {
            let mut body = json!({ "title": "x", "content": "" });
            body[member] = value;
            send("POST", &format!("{}/{kind}", site.content.url), &[], &body).await
        };
        let ok = [
            ("description", json!("é".repeat(500))),
            ("social_image", json!("https://cdn.example.org/a.png")),
            ("canonical", json!("/notes/lamp")),
        ];
        for (member, value) in ok {
            let (status, _, answer) = post(member, value.clone()).await;
            assert_eq!((status.as_u16(), &answer[member]), (201, &value), "{answer}");
        }
        for (member, value) in [
            ("description", json!("é".repeat(501))),
            ("description", json!("a\u{0}b")),
            ("description", json!({ "$gt": "" })),
            ("social_image", json!("uploads/a.webp")),
            ("social_image", json!("javascript:alert(1)")),
            ("social_image", json!("data:image/png;base64,x")),
            ("canonical", json!("example.org")),
            ("canonical", json!("//example.org/x")),
            ("canonical", json!("mailto:a@example.org")),
            ("canonical", json!("")),
            ("canonical", json!(["/x"])),
            ("noindex", Value::Null),
            ("noindex", json!("true")),
            ("noindex", json!(1)),
        ] {
            let (status, _, answer) = post(member, value.clone()).await;
            assert_eq!(status, 422, "{kind} {value}: {answer}");
            assert_eq!(answer["errors"][0]["field"], member, "{answer}");
        }
    }
}

#[tokio::test]
async fn the_picture_of_a_project_can_be_an_uploaded_one() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let body = |url: &str| json!({ "title": "x", "content": "", "image_url": url });
    let item = created(&site, "projects", body("/uploads/a.webp")).await;
    assert_eq!(item["image_url"], "/uploads/a.webp");
    for wrong in ["//example.org/a.png", "javascript:alert(1)", "uploads/a.webp", "/a\"b"] {
        let url = format!("{}/projects", site.content.url);
        let (status, _, answer) = send("POST", &url, &[], &body(wrong)).await;
        assert_eq!((status.as_u16(), &answer["errors"][0]["field"]), (422, &"image_url".into()));
    }
}

#[tokio::test]
async fn the_sitemap_has_the_pages_that_search_engines_may_list_at_their_own_addresses() {
    let database = TestDatabase::new().await;
    let notes = section(&database, "notes", doc! {}).await;
    section(&database, "secret", doc! { "noindex": true }).await;
    section(&database, "copied", doc! { "canonical": "https://example.org/" }).await;
    section(&database, "own", doc! { "canonical": format!("{URL}/own/") }).await;
    let below = section(&database, "below", doc! { "noindex": "true" }).await;
    let of_pages =
        |fields| with(doc! { "content_type": "page", "display_type": "static-page" }, fields);
    let quiet = section(&database, "quiet", of_pages(doc! {})).await;
    let loud = section(&database, "loud", of_pages(doc! {})).await;
    let page_of = |section: &str, fields: Document| {
        with(with(page(Bson::Null), doc! { "section_id": section }), fields)
    };
    let pages = [
        page_of(&quiet, doc! { "noindex": true }),
        page_of(&quiet, doc! { "slug": "further" }),
        page_of(&loud, doc! { "canonical": "/loud" }),
        page_of(&loud, doc! { "slug": "further", "noindex": 1 }),
    ];
    database.insert("pages", pages).await;
    let of = |slug: &str, fields: Document| {
        with(with(story(slug, day(1)), doc! { "section_id": &notes }), fields)
    };
    let stories = [
        of("plain", doc! {}),
        of("hidden", doc! { "noindex": true }),
        of("elsewhere", doc! { "canonical": "https://example.org/x" }),
        of("other", doc! { "canonical": "/notes/plain" }),
        of("own-path", doc! { "canonical": "/notes/own-path" }),
        of("own-url", doc! { "canonical": format!("{URL}/notes/own-url") }),
        of("odd", doc! { "canonical": 5, "noindex": "perhaps" }),
        // Hidden is the page of the section, not what is in it.
        with(of("in-below", doc! {}), doc! { "section_id": &below }),
    ];
    database.insert("stories", stories).await;
    let site = Site::start_with(&database, &[("site.url", URL)]).await;
    let found: BTreeSet<_> = addresses(&site).await.into_iter().collect();
    let mut expected = BTreeSet::from(
        [
            "/",
            "/below/in-below",
            "/loud",
            "/notes",
            "/notes/odd",
            "/notes/own-path",
            "/notes/own-url",
            "/notes/plain",
            "/own",
            "/quiet/further",
        ]
        .map(str::to_owned),
    );
    assert_eq!(found, expected);

    // Everything is as before in lists, search and feeds.
    let list = site.content.get("/stories?limit=50").await.1;
    assert_eq!(list["total"], 8);
    // The words of what other programs wrote are added after the start.
    eventually("the story is found", async || {
        site.content.get("/search?q=hidden").await.1["items"][0]["path"] == "/notes/hidden"
    })
    .await;
    let feed = site.content.get("/feeds/notes.json").await.1;
    let urls: BTreeSet<_> = feed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["url"].as_str().unwrap())
        .collect();
    assert!(urls.contains(&*format!("{URL}/notes/elsewhere")), "{feed}");
    assert_eq!(urls.len(), 7);

    // A change shows at once: of an item that a section shows, and of the home.
    let shown = database.one("pages", doc! { "section_id": &loud, "slug": null }).await;
    let url = format!("{}/pages/{}", site.content.url, shown.get_object_id("_id").unwrap());
    assert_eq!(send("PATCH", &url, &[], &json!({ "noindex": true })).await.0, 200);
    expected.remove("/loud");
    let url = format!("{}/sections/{notes}", site.sections.url);
    let (status, ..) = send("PATCH", &url, &[], &json!({ "is_home": true, "noindex": true })).await;
    assert_eq!(status, 200);
    expected.remove("/");
    expected.remove("/notes");
    heard(&database, &site.content).await;
    assert_eq!(addresses(&site).await.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn feeds_have_the_description_and_the_picture() {
    let database = TestDatabase::new().await;
    let notes = section(&database, "notes", doc! {}).await;
    let facts =
        doc! { "section_id": &notes, "description": "A lamp", "social_image": "/uploads/a.webp" };
    database.insert("stories", [with(story("a", day(1)), facts)]).await;
    let of_projects = section(&database, "works", doc! { "content_type": "project" }).await;
    let own = doc! {
        "section_id": &of_projects, "summary": "Short", "image_url": "/own.png",
        "social_image": "/uploads/a.webp",
    };
    database.insert("projects", [with(project("a"), own)]).await;
    let site = Site::start_with(&database, &[("site.url", URL)]).await;
    for (path, summary, image) in
        [("notes", "A lamp", "/uploads/a.webp"), ("works", "Short", "/own.png")]
    {
        let feed = site.content.get(&format!("/feeds/{path}.json")).await.1;
        let item = &feed["items"][0];
        assert_eq!(item["summary"], summary, "{feed}");
        assert_eq!(item["image"], format!("{URL}{image}"), "{feed}");
    }
}
