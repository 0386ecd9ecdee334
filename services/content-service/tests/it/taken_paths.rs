//! Two things on one path: refused where one would hide the other, and reported in older data.

use models::ContentType;
use mongodb::bson::doc;
use serde_json::{Value, json};
use test_support::TestDatabase;

use crate::support::{Site, day, section, send, story, with};

struct Places {
    site: Site,
}

impl Places {
    async fn start(database: &TestDatabase) -> Self {
        Self { site: Site::start(database).await }
    }

    async fn section(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{path}", self.site.sections.url);
        let (status, _, answer) = send(method, &url, &[], &body).await;
        (status.as_u16(), answer)
    }

    async fn content(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{path}", self.site.content.url);
        let (status, _, answer) = send(method, &url, &[], &body).await;
        (status.as_u16(), answer)
    }

    /// Asserts that the path of an item leads to it.
    async fn leads_to(&self, item: &Value) {
        let path = item["path"].as_str().unwrap_or_else(|| panic!("no path: {item}"));
        let (_, found) = self.site.content.get(&format!("/resolve?path={path}")).await;
        assert_eq!(found["content"]["id"], item["id"], "{path}: {found}");
    }
}

/// Asserts that a request was refused, for a reason that names this.
fn refused((status, answer): (u16, Value), name: &str) {
    assert_eq!((status, &answer["code"]), (409, &"slug_taken".into()), "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains(name), "{name}: {answer}");
}

fn id(answer: &Value) -> &str {
    answer["id"].as_str().unwrap_or_else(|| panic!("no id: {answer}"))
}

#[tokio::test]
async fn no_item_gets_the_path_of_a_section_or_of_a_redirect() {
    let database = TestDatabase::new().await;
    let mut sections = Vec::new();
    for kind in ContentType::ALL {
        let fields = doc! { "content_type": kind.as_str() };
        sections.push(section(&database, &format!("of-{}", kind.collection()), fields).await);
    }
    let places = Places::start(&database).await;
    for (kind, parent) in ContentType::ALL.into_iter().zip(sections) {
        let (kind, collection) = (kind.as_str(), kind.collection());
        let add = async |title: &str, fields: Value| {
            let body = json!({
                "title": title, "content_type": kind, "parent_id": parent,
                "slug": format!("{}-{collection}", title.to_lowercase()),
            });
            let body = merged(body, fields);
            let (status, added) = places.section("POST", "/sections", body).await;
            assert_eq!(status, 201, "{added}");
            added
        };
        // One that is shown, one that is not, and one that was renamed.
        add("Shown", json!({})).await;
        add("Draft", json!({ "is_published": false })).await;
        let renamed = add("Former", json!({})).await;
        let change = json!({ "slug": format!("latter-{collection}") });
        let (status, renamed) = places.section("PATCH", &path_of(&renamed), change).await;
        assert_eq!(status, 200, "{renamed}");
        let other = add("Other", json!({})).await;

        let all = format!("/{collection}");
        let body = |slug: Value, section: &str| {
            let body = json!({ "title": "T", "content": "", "section_id": section });
            merged(body, if slug.is_null() { json!({}) } else { json!({ "slug": slug }) })
        };
        let free = format!("free-{collection}");
        let (status, free) = places.content("POST", &all, body(free.into(), &parent)).await;
        assert_eq!(status, 201, "{free}");
        let own = format!("{all}/{}", id(&free));
        for (name, reason) in [
            ("shown", format!("`shown-{collection}`")),
            ("draft", format!("`draft-{collection}`")),
            ("latter", format!("`latter-{collection}`")),
            ("former", format!("`/of-{collection}/former-{collection}`")),
        ] {
            let slug = format!("{name}-{collection}");
            refused(
                places.content("POST", &all, body(slug.as_str().into(), &parent)).await,
                &reason,
            );
            refused(places.content("PATCH", &own, json!({ "slug": slug })).await, &reason);
            // Below another section it is free, and it stays there.
            let (status, elsewhere) =
                places.content("POST", &all, body(slug.into(), id(&other))).await;
            assert_eq!(status, 201, "{elsewhere}");
            places.leads_to(&elsewhere).await;
            let to_parent = json!({ "section_id": parent });
            let elsewhere = [id(&elsewhere)];
            refused(
                places.content("PATCH", &format!("{all}/{}", elsewhere[0]), to_parent).await,
                &reason,
            );
            let many = json!({
                "content_type": kind, "content": { "ids": elsewhere }, "section_id": parent,
            });
            refused(places.content("POST", "/content/move", many).await, &reason);
        }
        // A slug that is made from the title takes the next free one.
        if free["slug"].is_string() && kind != "page" {
            for title in ["Shown", "Draft", "Former"] {
                let title = format!("{title} {collection}");
                let body = json!({ "title": title, "content": "", "section_id": parent });
                let (status, item) = places.content("POST", &all, body).await;
                assert_eq!(status, 201, "{item}");
                let expected = format!("{}-2", title.to_lowercase().replace(' ', "-"));
                assert_eq!(item["slug"], expected);
                places.leads_to(&item).await;
            }
        }
        places.leads_to(&free).await;
    }
}

#[tokio::test]
async fn no_section_gets_the_path_of_an_item() {
    let database = TestDatabase::new().await;
    let blog = section(&database, "blog", doc! {}).await;
    let notes = section(&database, "notes", doc! {}).await;
    let items = [
        with(story("gallery", day(1)), doc! { "section_id": &blog }),
        with(story("hidden", day(1)), doc! { "section_id": &blog, "is_published": false }),
        with(story("2015/02/hello", day(1)), doc! { "section_id": &blog }),
        with(story("gone", day(1)), doc! { "section_id": &blog, "deleted": true }),
        with(story("elsewhere", day(1)), doc! { "section_id": &notes }),
    ];
    database.insert("stories", items).await;
    let places = Places::start(&database).await;
    let new = |slug: &str| json!({ "title": "New", "content_type": "story", "parent_id": blog, "slug": slug });
    let (status, child) = places.section("POST", "/sections", new("free")).await;
    assert_eq!(status, 201, "{child}");
    let (_, top) = places
        .section(
            "POST",
            "/sections",
            json!({ "title": "G", "content_type": "story", "slug": "hidden" }),
        )
        .await;
    for (slug, title) in [("gallery", "gallery"), ("hidden", "hidden"), ("2015", "2015/02/hello")] {
        let reason = format!("the story \"Story {title}\" with the slug `{title}`");
        if slug != "hidden" {
            refused(places.section("POST", "/sections", new(slug)).await, &reason);
        }
        if slug == "hidden" {
            // By its move, also together with the move of what is above it.
            let moved = json!({ "parent_id": blog });
            refused(places.section("PATCH", &path_of(&top), moved).await, &reason);
            continue;
        }
        let renamed = json!({ "slug": slug });
        refused(places.section("PATCH", &path_of(&child), renamed.clone()).await, &reason);
        let body = merged(child.clone(), renamed);
        refused(places.section("PUT", &path_of(&child), body).await, &reason);
    }
    // Whatever hides nothing is possible.
    for slug in ["gone", "elsewhere", "galler", "gallery-2", "2015-02"] {
        let (status, answer) = places.section("POST", "/sections", new(slug)).await;
        assert_eq!(status, 201, "{answer}");
    }
    let title = json!({ "title": "Gallery", "content_type": "story", "parent_id": blog });
    let (status, made) = places.section("POST", "/sections", title).await;
    assert_eq!((status, &made["slug"]), (201, &"gallery-3".into()), "{made}");

    // One that is restored, and one that moves up because that above it is deleted.
    assert_eq!(places.section("DELETE", &path_of(&child), Value::Null).await.0, 204);
    let body = json!({ "title": "T", "content": "", "section_id": blog, "slug": "free" });
    let (status, item) = places.content("POST", "/stories", body).await;
    assert_eq!(status, 201, "{item}");
    let restore = format!("{}/restore", path_of(&child));
    refused(places.section("POST", &restore, Value::Null).await, "`free`");
    places.leads_to(&item).await;
    let (_, above) = places.section("POST", "/sections", new("above")).await;
    let below = merged(new("below"), json!({ "parent_id": id(&above) }));
    assert_eq!(places.section("POST", "/sections", below).await.0, 201);
    let body = json!({ "title": "T", "content": "", "section_id": blog, "slug": "below" });
    assert_eq!(places.content("POST", "/stories", body).await.0, 201);
    let delete = format!("{}?on_children=reparent", path_of(&above));
    refused(places.section("DELETE", &delete, Value::Null).await, "`below`");
}

#[tokio::test]
async fn an_item_whose_path_was_taken_is_not_restored() {
    let database = TestDatabase::new().await;
    let blog = section(&database, "blog", doc! {}).await;
    let places = Places::start(&database).await;
    let body = json!({ "title": "T", "content": "", "section_id": blog, "slug": "gallery" });
    let (_, item) = places.content("POST", "/stories", body).await;
    let own = format!("/stories/{}", id(&item));
    assert_eq!(places.content("DELETE", &own, Value::Null).await.0, 204);
    let body =
        json!({ "title": "G", "content_type": "story", "parent_id": blog, "slug": "gallery" });
    let (status, gallery) = places.section("POST", "/sections", body).await;
    assert_eq!(status, 201, "{gallery}");
    let restore = format!("{own}/restore");
    refused(places.content("POST", &restore, Value::Null).await, "`gallery`");
    assert_eq!(places.section("DELETE", &path_of(&gallery), Value::Null).await.0, 204);
    let (status, restored) = places.content("POST", &restore, Value::Null).await;
    assert_eq!(status, 200, "{restored}");
    places.leads_to(&restored).await;
}

#[tokio::test]
async fn the_integrity_report_has_the_items_of_older_data_to_which_no_path_leads() {
    let database = TestDatabase::new().await;
    let blog = section(&database, "blog", doc! {}).await;
    section(&database, "gallery", doc! { "parent_id": &blog }).await;
    let moved = section(&database, "moved", doc! {}).await;
    let items = [
        with(story("gallery", day(1)), doc! { "section_id": &blog }),
        with(story("gallery/of", day(1)), doc! { "section_id": &blog }),
        with(story("former", day(1)), doc! { "section_id": &blog }),
        with(story("free", day(1)), doc! { "section_id": &blog }),
        with(story("gallery", day(1)), doc! { "section_id": &blog, "deleted": true }),
        with(story("moved", day(1)), doc! { "section_id": &moved }),
    ];
    let mut expected: Vec<_> =
        items[..3].iter().map(|item| item.get_object_id("_id").unwrap().to_hex()).collect();
    database.insert("stories", items).await;
    let places = Places::start(&database).await;
    let redirect = doc! { "path": "/blog/former", "section_id": &moved };
    database.insert("section_redirects", [redirect]).await;
    let report = async || {
        let report = places.site.content.get_as_editor("/internal/integrity").await.1;
        let findings = report["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|finding| finding["kind"] == "path_taken")
    };
    test_support::eventually("the redirect is known", async || {
        report().await.is_some_and(|finding| finding["count"] == 3)
    })
    .await;
    let mut ids: Vec<String> =
        serde_json::from_value(report().await.unwrap()["ids"].clone()).unwrap();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    // With other slugs nothing is wrong.
    for id in ids {
        let slug = json!({ "slug": format!("s-{id}") });
        let (status, item) = places.content("PATCH", &format!("/stories/{id}"), slug).await;
        assert_eq!(status, 200, "{item}");
        places.leads_to(&item).await;
    }
    assert_eq!(report().await, None);
}

fn path_of(section: &Value) -> String {
    format!("/sections/{}", id(section))
}

fn merged(mut value: Value, other: Value) -> Value {
    if let (Value::Object(value), Value::Object(other)) = (&mut value, other) {
        value.extend(other);
    }
    value
}
