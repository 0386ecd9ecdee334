//! Entries of the navigation that lead to an address or to another section.

use mongodb::bson::{Bson, doc};
use serde_json::{Value, json};
use test_support::{Answer, TestDatabase};

use crate::support::{Api, Neighbour, id, stored};

async fn site() -> (TestDatabase, Neighbour, Api) {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let api = Api::start(&database, &neighbour).await;
    (database, neighbour, api)
}

fn at(section: &Answer) -> String {
    format!("/sections/{}", section.id())
}

async fn add(api: &Api, title: &str, members: Value) -> Answer {
    let mut body = json!({ "title": title, "content_type": "link" });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let answer = api.call("POST", "/sections", body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer
}

async fn change(api: &Api, section: &Answer, body: Value) -> Value {
    let answer = api.call("PATCH", &at(section), body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// Returns the titles and paths of the sections at the top that the public sees, in order.
async fn menu(api: &Api) -> Vec<(String, Value)> {
    let tree = api.get("/sections/tree").await.body;
    let entry =
        |entry: &Value| (entry["title"].as_str().unwrap().to_owned(), entry["path"].clone());
    tree.as_array().unwrap().iter().map(entry).collect()
}

#[tokio::test]
async fn a_link_stands_in_the_menu_and_no_path_leads_to_it() {
    let (database, _neighbour, api) = site().await;
    let url = "https://github.com/example";
    let link = add(&api, "GitHub", json!({ "url": url, "opens_new_tab": true })).await;
    let expected = json!({
        "content_type": "link", "slug": "link-github", "url": url, "section_id": null,
        "opens_new_tab": true, "path": null, "nav_visibility": "main", "sort_order": 4,
    });
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&link.body[member], value, "{member}");
    }
    for path in [at(&link), "/sections/slug/link-github".to_owned()] {
        assert_eq!(api.get(&path).await.body, link.body);
    }
    assert_eq!(api.get("/sections?content_type=link").await.body, json!([link.body]));
    assert_eq!(menu(&api).await.last(), Some(&("GitHub".to_owned(), Value::Null)));
    assert_eq!(api.resolve("/link-github").await, 404);
    // Every other section has the members too.
    let blog = api.get("/sections/slug/blog").await.body;
    let none = (&Value::Null, &Value::Null, &json!(false));
    assert_eq!((&blog["url"], &blog["section_id"], &blog["opens_new_tab"]), none);

    // The first in the menu is not the home.
    let mut ids: Vec<_> = api.get("/sections").await.body.as_array().unwrap().clone();
    ids.rotate_right(1);
    let ids: Vec<_> = ids.iter().map(|section| section["id"].clone()).collect();
    assert_eq!(api.call("PUT", "/sections/order", json!({ "ids": ids })).await.status, 200);
    assert_eq!(menu(&api).await[0].0, "GitHub");
    assert_eq!(api.resolve("/").await["path"], "/blog");

    let present = api.get(&at(&link)).await;
    for method in ["PUT", "PATCH"] {
        assert_eq!(api.call(method, &at(&link), present.body.clone()).await.body, present.body);
    }
    let document = database.one("sections", doc! { "slug": "link-github" }).await;
    assert_eq!(document.get("url"), Some(&Bson::from(url)));
    assert!(!document.contains_key("section_id"));
    let document = database.one("sections", doc! { "slug": "blog" }).await;
    assert!(!document.contains_key("url") && !document.contains_key("opens_new_tab"));
    assert_eq!(api.get("/internal/integrity").await.body, json!({ "findings": [] }));
}

#[tokio::test]
async fn a_link_to_a_section_has_its_present_path_and_is_seen_with_it() {
    let (_database, _neighbour, api) = site().await;
    let parent = api.add("Notes", None).await;
    let target = api.add("Tides", Some(&parent.id())).await;
    let link = add(&api, "Tide tables", json!({ "section_id": target.id() })).await;
    assert_eq!((&link.body["path"], &link.body["url"]), (&"/notes/tides".into(), &Value::Null));
    let shown =
        async || menu(&api).await.last().cloned().filter(|(title, _)| title == "Tide tables");
    let at_path = |path: &str| Some(("Tide tables".to_owned(), Value::from(path)));
    change(&api, &target, json!({ "slug": "ebb" })).await;
    assert_eq!(shown().await, at_path("/notes/ebb"));
    change(&api, &parent, json!({ "slug": "log" })).await;
    assert_eq!(shown().await, at_path("/log/ebb"));
    let drafts = async || api.get(&format!("{}?include_drafts=true", at(&link))).await;
    // Hidden by itself, or with a section above it.
    for hidden in [&target, &parent] {
        change(&api, hidden, json!({ "is_published": false })).await;
        assert_eq!(shown().await, None);
        assert_eq!(api.get(&at(&link)).await.status, 404);
        let draft = drafts().await;
        assert_eq!((draft.status, &draft.body["path"]), (200, &Value::Null));
        assert_eq!(draft.body["section_id"], target.id());
        change(&api, hidden, json!({ "is_published": true })).await;
    }
    // The place of the link decides as well.
    change(&api, &link, json!({ "is_published": false })).await;
    assert_eq!(shown().await, None);
    change(&api, &link, json!({ "is_published": true })).await;
    assert_eq!(shown().await, at_path("/log/ebb"));

    // Deleted with its target, and restored with it.
    assert_eq!(api.call("DELETE", &at(&target), Value::Null).await.status, 204);
    assert_eq!((shown().await, drafts().await.status), (None, 404));
    let restored = api.call("POST", &format!("{}/restore", at(&target)), Value::Null).await;
    assert_eq!(restored.status, 200, "{restored:?}");
    assert_eq!(shown().await, at_path("/log/ebb"));
    assert_eq!(api.call("DELETE", &at(&link), Value::Null).await.status, 204);
    assert_eq!(api.get(&at(&target)).await.status, 200);
}

#[tokio::test]
async fn a_link_is_deleted_and_retyped_without_content_service() {
    let database = TestDatabase::new().await;
    let api = Api::with(&database, &[("content.url", "http://127.0.0.1:1")]).await;
    let link = add(&api, "Out", json!({ "url": "/uploads/terms.pdf" })).await;
    let page = change(&api, &link, json!({ "content_type": "page" })).await;
    let expected = (&"page".into(), &Value::Null, &"/link-out".into());
    assert_eq!((&page["content_type"], &page["url"], &page["path"]), expected);
    let other = add(&api, "Call", json!({ "url": "tel:+441632960961" })).await;
    assert_eq!(api.call("DELETE", &at(&other), Value::Null).await.status, 204);
    // A section may have content.
    let to_link = json!({ "content_type": "link", "url": "/x" });
    assert_eq!(api.call("PATCH", &at(&link), to_link).await.status, 503);
}

#[tokio::test]
async fn what_a_link_cannot_be_is_named() {
    let (_database, neighbour, api) = site().await;
    let blog = api.get("/sections/slug/blog").await;
    let link = add(&api, "Out", json!({ "url": "https://example.com" })).await;
    for (field, members) in [
        ("url", json!({})),
        ("url", json!({ "url": null })),
        ("url", json!({ "url": "javascript:alert(1)" })),
        ("url", json!({ "url": "data:text/html,x" })),
        ("url", json!({ "url": "example.com" })),
        ("url", json!({ "url": { "$gt": "" } })),
        ("section_id", json!({ "url": "/x", "section_id": blog.id() })),
        ("section_id", json!({ "section_id": "626e3e0035b0bc65bb5e154a" })),
        ("section_id", json!({ "section_id": link.id() })),
        ("section_id", json!({ "section_id": "blog" })),
        ("parent_id", json!({ "url": "/x", "parent_id": link.id() })),
        ("is_home", json!({ "url": "/x", "is_home": true })),
        ("opens_new_tab", json!({ "url": "/x", "opens_new_tab": null })),
        ("url", json!({ "url": "/x", "content_type": "story" })),
        ("opens_new_tab", json!({ "opens_new_tab": true, "content_type": "page" })),
    ] {
        let mut body = json!({ "title": "x", "content_type": "link" });
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let refused = api.call("POST", "/sections", body).await;
        assert_eq!(refused.code(), (422, "validation_failed"), "{members}");
        assert_eq!(refused.body["errors"][0]["field"], field, "{members}: {refused:?}");
    }
    let refused = async |section: &Answer, body: Value| {
        let refused = api.call("PATCH", &at(section), body).await;
        refused.body["errors"][0]["field"].as_str().unwrap_or(refused.code().1).to_owned()
    };
    assert_eq!(refused(&blog, json!({ "parent_id": link.id() })).await, "parent_id");
    assert_eq!(refused(&link, json!({ "url": null })).await, "url");
    assert_eq!(refused(&link, json!({ "section_id": link.id() })).await, "section_id");
    let to_link = json!({ "content_type": "link", "url": "/x" });
    neighbour.has(&blog.id(), 1);
    assert_eq!(refused(&blog, to_link.clone()).await, "has_content");
    neighbour.has(&blog.id(), 0);
    api.add("Below", Some(&blog.id())).await;
    assert_eq!(refused(&blog, to_link).await, "content_type");
    assert_eq!(api.call("GET", "/sections?content_type=links", Value::Null).await.status, 422);
}

#[tokio::test]
async fn links_that_other_programs_wrote_lead_the_public_nowhere_unless_they_are_clear() {
    let (database, _neighbour, api) = site().await;
    let blog = id(&database.one("sections", doc! { "slug": "blog" }).await);
    let rows = [
        (doc! { "url": "https://example.com", "opens_new_tab": "true" }, true),
        (doc! { "section_id": blog }, true),
        (doc! { "section_id": blog.to_hex(), "url": null }, true),
        (doc! { "url": "javascript:alert(1)" }, false),
        (doc! { "url": 5 }, false),
        (doc! { "section_id": "blog" }, false),
        (doc! { "section_id": "626e3e0035b0bc65bb5e154a" }, false),
        (doc! {}, false),
    ];
    let mut sections = Vec::new();
    for (number, (fields, _)) in rows.iter().enumerate() {
        let mut section = stored(&format!("odd-{number}"), None, true);
        section.insert("content_type", "Link");
        section.extend(fields.clone());
        sections.push(section);
    }
    // A field of the same name in a section that is no link means something else.
    let mut other = stored("other", None, true);
    other.insert("url", "javascript:alert(1)");
    sections.push(other.clone());
    database.collection("sections").insert_many(&sections).await.unwrap();
    for (section, (fields, shown)) in sections.iter().zip(&rows) {
        let path = format!("/sections/{}", id(section));
        assert_eq!(api.get(&path).await.status == 200, *shown, "{fields}");
        let draft = api.get(&format!("{path}?include_drafts=true")).await;
        assert_eq!((draft.status, &draft.body["content_type"]), (200, &"link".into()));
        let renamed = api.call("PATCH", &path, json!({ "title": "New" })).await;
        assert_eq!(renamed.status, 200, "{fields}: {renamed:?}");
        let after = database.one("sections", doc! { "_id": id(section) }).await;
        assert!(fields.iter().all(|(field, value)| after.get(field) == Some(value)), "{after}");
    }
    let answer = api.get("/sections/slug/other").await;
    assert_eq!((answer.status, &answer.body["url"]), (200, &Value::Null));
    let list = api.get("/sections").await.body.to_string();
    assert!(!list.contains("javascript"), "{list}");
    let report = api.get("/internal/integrity").await.body;
    let finding = &report["findings"][0];
    assert_eq!((&finding["kind"], &finding["count"]), (&"unreadable_field".into(), &2.into()));
}
