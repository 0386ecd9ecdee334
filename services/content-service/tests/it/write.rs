//! Writing: what is stored and answered, who may, and what becomes of a mistake.

use std::{collections::HashSet, time::Duration};

use futures_util::{TryStreamExt, future::join_all};
use mongodb::bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use test_support::{Api, Provider, TOKEN, TestDatabase, eventually, migration_id};

use crate::support::{
    Site, content, created, day, migration, page, project, section, section_id, send, send_raw,
    story, user, with,
};

/// Path, name, and a body that creates an item.
fn kinds() -> [(&'static str, &'static str, Value); 3] {
    let body = json!({ "title": "A day", "content": "<p>Text.</p>" });
    let mut about = body.clone();
    about["page_type"] = "about".into();
    [("stories", "Story", body.clone()), ("projects", "Project", body), ("pages", "Page", about)]
}

fn id_of(document: &Document) -> String {
    document.get_object_id("_id").unwrap().to_hex()
}

#[tokio::test]
async fn a_new_item_is_stored_as_the_contract_says() {
    let database = TestDatabase::new().await;
    let site = Site::start_with(&database, &[("admin.email", "admin@example.org")]).await;
    let admin = id_of(&database.one("users", doc! {}).await);
    for ((kind, _, body), slug) in kinds().into_iter().zip(["blog", "projects", "about"]) {
        let item = created(&site, kind, body).await;
        let stored = database.one(kind, doc! { "title": "A day" }).await;
        assert_eq!(id_of(&stored), item["id"].as_str().unwrap());
        let section = section_id(&database, slug).await;
        assert_eq!(stored.get_str("section_id").unwrap(), section);
        assert_eq!(stored.get_str("user_id").unwrap(), admin);
        assert!(stored.get_bool("is_published").unwrap());
        assert!(!stored.get_bool("deleted").unwrap());
        let created: &DateTime = stored.get_datetime("createdDate").unwrap();
        assert_eq!(created, stored.get_datetime("updatedDate").unwrap());
    }
    let imprint = json!({ "title": "I", "content": "", "page_type": "imprint" });
    assert_eq!(created(&site, "pages", imprint).await["section_id"], Value::Null);
    assert!(!database.one("pages", doc! { "title": "I" }).await.contains_key("section_id"));
    let none = json!({ "title": "None", "content": "", "section_id": null });
    created(&site, "stories", none).await;
    let stored = database.one("stories", doc! { "title": "None" }).await;
    assert_eq!(stored.get("section_id"), Some(&Bson::Null));
}

#[tokio::test]
async fn a_change_sets_what_it_names_and_nothing_else() {
    let database = TestDatabase::new().await;
    let odd = doc! {
        "views": 7, "nested": { "a": [1, { "b": null }] }, "live_url": "https://example.org",
        "summary": "old", "updatedDate": day(1), "user_id": "0a0a0a0a0a0a0a0a0a0a0a0a",
        "section_id": "ffffffffffffffffffffffff", "is_published": true,
    };
    let before = with(project("odd"), odd);
    database.insert("projects", [before.clone()]).await;
    let site = Site::start(&database).await;
    let url = format!("{}/projects/{}", site.content.url, id_of(&before));
    let patch = json!({ "summary": null, "technologies": ["C", "Zig"], "is_published": false });
    let (status, _, answer) = send("PATCH", &url, &[], &patch).await;
    assert_eq!(status, 200, "{answer}");
    let mut after = database.one("projects", doc! {}).await;
    assert!(after.get_datetime("updatedDate").unwrap() > &day(300));
    after.insert("updatedDate", day(1));
    let expected = doc! { "summary": null, "technologies": ["C", "Zig"], "is_published": false };
    assert_eq!(after, with(before, expected));
    assert_eq!(
        (&answer["summary"], &answer["live_url"]),
        (&Value::Null, &"https://example.org".into())
    );
}

#[tokio::test]
async fn what_was_read_can_be_sent_back_whatever_rules_came_after_it() {
    let database = TestDatabase::new().await;
    let nowhere = doc! { "section_id": "ffffffffffffffffffffffff", "user_id": "a" };
    let long = format!("<p>{}</p>", "x".repeat(600_000));
    let deep = "<div>".repeat(5_000);
    let many = vec!["Rust"; 60];
    for (kind, old) in [
        ("stories", with(story("title", day(1)), doc! { "title": "Ü".repeat(300) })),
        ("stories", with(story("untitled", day(1)), doc! { "title": "" })),
        ("stories", with(story("nowhere", day(1)), nowhere.clone())),
        ("stories", with(story("long", day(1)), doc! { "content": &long })),
        ("stories", with(story("deep", day(1)), doc! { "content": &deep })),
        ("pages", with(page("y".repeat(150)), nowhere.clone())),
        (
            "projects",
            with(project("addresses"), doc! { "live_url": "tide.example.org", "github_url": "" }),
        ),
        (
            "projects",
            with(project("many"), doc! { "technologies": many, "summary": "s".repeat(3_000) }),
        ),
    ] {
        database.insert(kind, [with(old, doc! { "updatedDate": day(2) })]).await;
    }
    let site = Site::start(&database).await;
    for kind in ["stories", "projects", "pages"] {
        let all = database.collection(kind).find(doc! {}).await.unwrap();
        for before in all.try_collect::<Vec<_>>().await.unwrap() {
            let url = format!("{}/{kind}/{}", site.content.url, id_of(&before));
            for method in ["PUT", "PATCH"] {
                let (_, _, read) = send("GET", &url, &[], &json!({})).await;
                let (status, _, answer) = send(method, &url, &[], &read).await;
                assert_eq!(status, 200, "{method} {kind}: {answer:.300}");
                let id = before.get_object_id("_id").unwrap();
                let after = database.one(kind, doc! { "_id": id }).await;
                for (field, value) in &before {
                    assert_eq!(after.get(field), Some(value), "{method} {kind} {field}");
                }
            }
        }
    }
    // What is not as it was has to be as the rules are, and is the only thing to be named.
    let addresses = database.one("projects", doc! { "slug": "addresses" }).await;
    let url = format!("{}/projects/{}", site.content.url, id_of(&addresses));
    let (_, _, mut read) = send("GET", &url, &[], &json!({})).await;
    read["github_url"] = "tide.example.org".into();
    let (status, _, answer) = send("PUT", &url, &[], &read).await;
    assert_eq!((status.as_u16(), &answer["errors"][0]["field"]), (422, &"github_url".into()));
    assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1), "{answer}");
    read.as_object_mut().unwrap().remove("title");
    let (_, _, answer) = send("PUT", &url, &[], &read).await;
    assert_eq!(answer["errors"].as_array().map(Vec::len), Some(2), "{answer}");
    read["title"] = "New".into();
    read["github_url"] = Value::Null;
    let (_, _, answer) = send("PUT", &url, &[], &read).await;
    assert_eq!(
        (&answer["title"], &answer["live_url"]),
        (&"New".into(), &"tide.example.org".into())
    );
}

#[tokio::test]
async fn the_longest_text_that_may_be_written_fits_however_it_is_escaped() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let item = created(&site, "stories", json!({ "title": "Long", "content": "" })).await;
    let url = format!("{}/stories/{}", site.content.url, item["id"].as_str().unwrap());
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("content-type", "application/json"), ("authorization", &*bearer)];
    let longest = 500_000;
    let body = format!(r#"{{"content": "{}"}}"#, "\\u00fc".repeat(longest));
    let (status, _, answer) = send_raw("PATCH", &url, &headers, body.into_bytes()).await;
    assert_eq!(status, 200);
    assert_eq!(answer["content"].as_str().map(|text| text.chars().count()), Some(longest));
}

#[tokio::test]
async fn content_is_sanitised_when_it_is_written_and_never_when_it_is_read() {
    let database = TestDatabase::new().await;
    let evil = "<p onclick=\"x()\">a</p><script>b</script>";
    let old = with(story("old", day(1)), doc! { "content": evil });
    database.insert("stories", [old.clone()]).await;
    let site = Site::start(&database).await;
    assert_eq!(site.content.get("/stories/slug/old").await.1["content"], evil);
    let item = created(&site, "stories", json!({ "title": "New", "content": evil })).await;
    assert_eq!(item["content"], "<p>a</p>");
    let url = format!("{}/stories/{}", site.content.url, id_of(&old));
    let renamed = send("PATCH", &url, &[], &json!({ "title": "Other" })).await.2;
    assert_eq!(renamed["content"], evil);
    let unchanged = send("PATCH", &url, &[], &json!({ "content": evil })).await.2;
    assert_eq!(unchanged["content"], evil);
    let changed = send("PATCH", &url, &[], &json!({ "content": format!("{evil}c") })).await.2;
    assert_eq!(changed["content"], "<p>a</p>c");
    let deep = json!({ "title": "Deep", "content": "<div>".repeat(5_000) });
    let url = format!("{}/stories", site.content.url);
    let (status, _, answer) = send("POST", &url, &[], &deep).await;
    assert_eq!((status.as_u16(), &answer["errors"][0]["field"]), (422, &"content".into()));
}

#[tokio::test]
async fn a_slug_is_made_once_and_numbered_where_it_is_taken() {
    let database = TestDatabase::new().await;
    let trash = with(story("news-2", day(1)), doc! { "deleted": true });
    database.insert("stories", [story("news", day(1)), story("news", day(2)), trash]).await;
    let site = Site::start(&database).await;
    for (title, slug) in [
        ("News", "news-3"),
        ("  NEWS! ", "news-4"),
        ("News 3", "news-3-2"),
        ("日本語", "ri-ben-yu"),
        ("日本語", "ri-ben-yu-2"),
        ("مرحبا", "mrhb"),
        ("Crème brûlée", "creme-brulee"),
        ("Cre\u{300}me bru\u{302}le\u{301}e", "creme-brulee-2"),
        ("!!", "story"),
        ("??", "story-2"),
        ("constructor", "constructor"),
    ] {
        let item = created(&site, "stories", json!({ "title": title, "content": "" })).await;
        assert_eq!(item["slug"], slug);
        let url = format!("{}/stories/{}", site.content.url, item["id"].as_str().unwrap());
        let (status, _, answer) =
            send("PATCH", &url, &[], &json!({ "title": "Other", "slug": "Not a slug" })).await;
        assert_eq!((status.as_u16(), &answer["errors"][0]["field"]), (422, &"slug".into()));
        let renamed = send("PATCH", &url, &[], &json!({ "title": "Other", "slug": slug })).await.2;
        assert_eq!((&renamed["title"], &renamed["slug"]), (&"Other".into(), &slug.into()));
    }
    let item = created(&site, "projects", json!({ "title": "?", "content": "" })).await;
    assert_eq!(item["slug"], "project");
    // What was there before is as it was.
    assert_eq!(database.count("stories", doc! { "slug": "news" }).await, 2);
}

#[tokio::test]
async fn a_long_slug_has_room_for_its_number() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let word = "x".repeat(200);
    let words = format!("{}ab", "wort ".repeat(39));
    for (title, slugs) in [
        (&word, [word.clone(), format!("{}-2", "x".repeat(198)), format!("{}-3", "x".repeat(198))]),
        (&words, {
            let full = format!("{}-ab", ["wort"; 39].join("-"));
            [full.clone(), format!("{full}-2"), format!("{full}-3")]
        }),
        (&"ß".repeat(150), {
            let stem = "s".repeat(198);
            ["s".repeat(200), format!("{stem}-2"), format!("{stem}-3")]
        }),
    ] {
        for slug in slugs {
            let item = created(&site, "stories", json!({ "title": title, "content": "" })).await;
            assert_eq!(item["slug"], slug.as_str());
            assert!(slug.len() <= 200, "{slug}");
        }
    }
}

#[tokio::test]
async fn a_hundred_creates_of_one_title_at_two_replicas_have_a_hundred_slugs() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let other = content(&database, &site.sections.url, &[]).await;
    other.migrated().await;
    // A title whose slug is what another one gets with its number.
    let titles = ["News", "News", "News 2"];
    let apis = [&site.content.url, &other.url].map(|url| Api::new(url.clone()));
    let posts = (0..100).map(|number| {
        let api = &apis[number % 2];
        async move {
            let body = json!({ "title": titles[number % 3], "content": "" });
            let created = api.create_once("/stories", &body).await;
            assert_eq!(created.status, 201, "{created:?}");
            created.body["slug"].as_str().unwrap().to_owned()
        }
    });
    let slugs: HashSet<_> = join_all(posts).await.into_iter().collect();
    assert_eq!(slugs.len(), 100);
    assert!(slugs.contains("news") && slugs.contains("news-2"));
    assert_eq!(database.count("stories", doc! {}).await, 100);
}

#[tokio::test]
async fn a_section_that_does_not_exist_or_does_not_fit_is_named() {
    let database = TestDatabase::new().await;
    let gone = section(&database, "gone", doc! { "is_deleted": true }).await;
    let draft = section(&database, "draft", doc! { "is_published": false }).await;
    for slug in ["blog", "projects", "about"] {
        let content_type = match slug {
            "blog" => "story",
            "projects" => "project",
            _ => "page",
        };
        section(&database, slug, doc! { "content_type": content_type }).await;
    }
    let site = Site::start(&database).await;
    let projects = section_id(&database, "projects").await;
    let url = format!("{}/stories", site.content.url);
    let existing = created(&site, "stories", json!({ "title": "Here", "content": "" })).await;
    for section in [gone.as_str(), &projects, "ffffffffffffffffffffffff"] {
        let body = json!({ "title": "T", "content": "", "section_id": section });
        let item = format!("{url}/{}", existing["id"].as_str().unwrap());
        for (method, url) in [("POST", &url), ("PUT", &item), ("PATCH", &item)] {
            let (status, _, answer) = send(method, url, &[], &body).await;
            assert_eq!(status, 422, "{method} {answer}");
            assert_eq!(
                (&answer["code"], &answer["errors"][0]["field"]),
                (&"validation_failed".into(), &"section_id".into())
            );
        }
    }
    assert_eq!(database.count("stories", doc! {}).await, 1);
    let body = json!({ "title": "T", "content": "", "section_id": draft });
    assert_eq!(created(&site, "stories", body).await["section_id"], draft.as_str());
    // One that was made a moment ago is known.
    let new = section(&database, "new", doc! {}).await;
    eventually("sections-service knows the section", async || {
        site.sections.get("/sections/slug/new").await.0 == 200
    })
    .await;
    let body = json!({ "title": "T", "content": "", "section_id": new });
    assert_eq!(created(&site, "stories", body).await["section_id"], new.as_str());
}

#[tokio::test]
async fn without_the_section_of_its_kind_an_item_gets_none_and_is_linked_later() {
    let database = TestDatabase::new().await;
    section(&database, "blog", doc! { "content_type": "page" }).await;
    let site = Site::start(&database).await;
    let item = created(&site, "stories", json!({ "title": "T", "content": "" })).await;
    assert_eq!(item["section_id"], Value::Null);
    let stored = database.one("stories", doc! {}).await;
    assert!(!stored.contains_key("section_id"));
}

#[tokio::test]
async fn a_new_item_goes_to_the_section_of_its_kind_also_when_that_is_renamed_or_moved() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let above = section_id(&database, "contact").await;
    for (slug, kind, change) in [
        ("blog", "stories", json!({ "slug": "journal", "is_published": false })),
        ("projects", "projects", json!({ "slug": "works", "parent_id": above })),
        ("about", "pages", json!({ "slug": "who-we-are" })),
    ] {
        let id = section_id(&database, slug).await;
        let url = format!("{}/sections/{id}", site.sections.url);
        assert_eq!(send("PATCH", &url, &[], &change).await.0, 200, "{slug}");
        let mut body = json!({ "title": "T", "content": "" });
        if kind == "pages" {
            body["page_type"] = slug.into();
        }
        assert_eq!(created(&site, kind, body).await["section_id"], id.as_str(), "{slug}");
    }
}

#[tokio::test]
async fn while_sections_are_away_nothing_is_written_that_needs_them() {
    let database = TestDatabase::new().await;
    let item = story("a", day(1));
    database.insert("stories", [item.clone()]).await;
    let content = content(&database, "http://127.0.0.1:1", &[]).await;
    content
        .wait_for("what comes first is done", |all| {
            migration(all, migration_id("user_id")).is_settled
        })
        .await;
    let url = format!("{}/stories", content.url);
    let body = json!({ "title": "T", "content": "" });
    let (status, headers, answer) = send("POST", &url, &[], &body).await;
    assert_eq!((status.as_u16(), &answer["code"]), (503, &"upstream_unavailable".into()));
    assert!(headers.contains_key("retry-after"));
    assert_eq!(database.count("stories", doc! {}).await, 1);
    let no_section = json!({ "title": "T", "content": "", "section_id": null });
    assert_eq!(send("POST", &url, &[], &no_section).await.0, 201);
    let item = format!("{url}/{}", id_of(&item));
    assert_eq!(send("PATCH", &item, &[], &body).await.0, 200);
    let linked = json!({ "section_id": "ffffffffffffffffffffffff" });
    assert_eq!(send("PATCH", &item, &[], &linked).await.0, 503);
}

#[tokio::test]
async fn what_is_in_the_trash_is_gone_until_it_is_restored() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for (kind, name, body) in kinds() {
        let item = created(&site, kind, body.clone()).await;
        let url = format!("{}/{kind}/{}", site.content.url, item["id"].as_str().unwrap());
        assert_eq!(send("DELETE", &url, &[], &json!({})).await.0, 204);
        assert!(database.one(kind, doc! {}).await.get_bool("deleted").unwrap());
        let not_found = format!("{name} not found");
        for (method, body) in
            [("GET", json!({})), ("PUT", body.clone()), ("PATCH", json!({})), ("DELETE", json!({}))]
        {
            let (status, _, answer) = send(method, &url, &[], &body).await;
            assert_eq!(status, 404, "{method} {kind}");
            assert_eq!(answer["detail"], not_found.as_str());
        }
        assert_eq!(site.content.get(&format!("/{kind}")).await.1["total"], 0);
        for _ in 0..2 {
            let (status, headers, answer) =
                send("POST", &format!("{url}/restore"), &[], &json!({})).await;
            assert_eq!((status.as_u16(), &answer["deleted"]), (200, &false.into()));
            assert!(headers.contains_key("etag"));
        }
        assert_eq!(send("GET", &url, &[], &json!({})).await.0, 200);
        let other = format!("{}/{kind}/ffffffffffffffffffffffff/restore", site.content.url);
        assert_eq!(send("POST", &other, &[], &json!({})).await.0, 404);
    }
}

#[tokio::test]
async fn a_slug_that_was_taken_meanwhile_is_a_conflict() {
    let database = TestDatabase::new().await;
    let trash = with(story("news", day(1)), doc! { "deleted": true });
    database.insert("stories", [trash.clone(), story("news", day(2))]).await;
    let site = Site::start(&database).await;
    let url = format!("{}/stories/{}/restore", site.content.url, id_of(&trash));
    let (status, _, answer) = send("POST", &url, &[], &json!({})).await;
    assert_eq!((status.as_u16(), &answer["code"]), (409, &"slug_taken".into()));
    assert_eq!(answer["detail"], "Another story already has the slug `news`.");
    assert_eq!(database.count("stories", doc! { "deleted": true }).await, 1);
}

#[tokio::test]
async fn an_author_changes_what_is_theirs() {
    let database = TestDatabase::new().await;
    let provider = Provider::start();
    let (ann, bob) =
        (user(&database, "ann", "author").await, user(&database, "bob", "author").await);
    user(&database, "admin", "admin").await;
    database.insert("users", [doc! { "email": "odd@example.org", "role": "owner" }]).await;
    let site = Site::start_with(&database, &provider.settings()).await;
    let nobodys = with(story("nobodys", day(1)), doc! { "user_id": null });
    database.insert("stories", [nobodys.clone()]).await;
    let as_ann = [("authorization", "Bearer ann")];
    let as_admin = [("authorization", "Bearer admin")];
    for (kind, _, body) in kinds() {
        let url = format!("{}/{kind}", site.content.url);
        let own = send("POST", &url, &as_ann, &body).await.2;
        assert_eq!(own["user_id"], ann.as_str(), "{own}");
        let others = send("POST", &url, &[("authorization", "Bearer bob")], &body).await.2;
        assert_eq!(others["user_id"], bob.as_str());
        let path = |item: &Value| format!("{url}/{}", item["id"].as_str().unwrap());
        let restore = |item: &Value| format!("{}/restore", path(item));
        for (method, one, other, allowed) in [
            ("PUT", path(&own), path(&others), 200),
            ("PATCH", path(&own), path(&others), 200),
            ("DELETE", path(&own), path(&others), 204),
            ("POST", restore(&own), restore(&others), 200),
        ] {
            assert_eq!(send(method, &one, &as_ann, &body).await.0, allowed, "{method} {one}");
            let mut wrong = body.clone();
            wrong["section_id"] = "ffffffffffffffffffffffff".into();
            let sent = if method == "POST" { &body } else { &wrong };
            let (status, _, answer) = send(method, &other, &as_ann, sent).await;
            assert_eq!((status.as_u16(), &answer["code"]), (403, &"forbidden".into()), "{method}");
            assert_eq!(answer["detail"], "An author can change only what is theirs.");
            assert_eq!(send(method, &other, &as_admin, &body).await.0, allowed, "{method} {other}");
        }
    }
    let url = format!("{}/stories/{}", site.content.url, id_of(&nobodys));
    assert_eq!(send("PATCH", &url, &as_ann, &json!({})).await.0, 403);
    assert_eq!(send("PATCH", &url, &as_admin, &json!({})).await.0, 200);
    for stranger in ["Bearer nobody", "Bearer odd"] {
        let (status, _, answer) =
            send("PATCH", &url, &[("authorization", stranger)], &json!({})).await;
        assert_eq!((status.as_u16(), &answer["code"]), (403, &"forbidden".into()));
    }
}

#[tokio::test]
async fn who_has_no_token_is_told_so_whatever_they_send() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for kind in ["stories", "projects", "pages"] {
        let list = format!("{}/{kind}", site.content.url);
        let item = format!("{list}/ffffffffffffffffffffffff");
        let restore = format!("{item}/restore");
        let moving = format!("{}/content/move", site.content.url);
        for (method, url) in [
            ("POST", &list),
            ("PUT", &item),
            ("PATCH", &item),
            ("DELETE", &item),
            ("POST", &restore),
            ("POST", &moving),
        ] {
            for body in ["", "{", "{}"] {
                let (status, headers, answer) =
                    send_raw(method, url, &[], body.as_bytes().to_vec()).await;
                assert_eq!((status.as_u16(), &answer["code"]), (401, &"unauthorized".into()));
                assert_eq!(answer["detail"], "Authorization header is missing.");
                assert_eq!(headers["www-authenticate"], "Bearer");
            }
        }
    }
    assert_eq!(database.count("stories", doc! {}).await, 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_nothing_to_tell_who_may_not_send_it() {
    let database = TestDatabase::new().await;
    let provider = Provider::start();
    let site = Site::start_with(&database, &provider.settings()).await;
    let json_type = ("content-type", "application/json");
    let stranger = ("authorization", "Bearer nobody");
    for path in ["stories", "projects", "pages", "content/move"] {
        let list = format!("{}/{path}", site.content.url);
        let item = format!("{list}/ffffffffffffffffffffffff");
        let restore = format!("{item}/restore");
        let requests = [
            ("POST", &list),
            ("PUT", &item),
            ("PATCH", &item),
            ("DELETE", &item),
            ("POST", &restore),
            ("GET", &item),
        ];
        let routes = if path == "content/move" { &requests[..1] } else { &requests };
        for (method, url) in routes {
            let with_query = format!("{url}?x=1");
            for (url, header, body) in [
                (*url, json_type, "{"),
                (url, json_type, r#"{"nope": 1}"#),
                (url, ("content-type", "text/plain"), "x"),
                (url, ("idempotency-key", ""), "{}"),
                (&with_query, json_type, "{}"),
            ] {
                let body = body.as_bytes().to_vec();
                let (status, _, answer) = send_raw(method, url, &[header, stranger], body).await;
                assert_eq!(status, 403, "{method} {url} {header:?}: {answer}");
            }
        }
    }
}

/// Every mistake of the contract's table, for every kind and method.
#[tokio::test]
async fn a_mistake_has_its_status_and_its_code() {
    let database = TestDatabase::new().await;
    let site = Site::start_with(&database, &[("server.max_body_bytes", "5000")]).await;
    let json_type = ("content-type", "application/json");
    let token = ("authorization", "Bearer test-token-of-16-or-more");
    for (kind, name, body) in kinds() {
        let item = created(&site, kind, body.clone()).await;
        let list = format!("{}/{kind}", site.content.url);
        let item = format!("{list}/{}", item["id"].as_str().unwrap());
        let valid = body.to_string();
        let with = |field: &str, value: Value| {
            let mut body = body.clone();
            body[field] = value;
            body.to_string()
        };
        let long = format!("{{\"title\": \"{}\"", "x".repeat(6_000));
        let deep = format!("{{\"title\": {}1{}}}", "[".repeat(1_000), "]".repeat(1_000));
        for (method, url) in [("POST", &list), ("PUT", &item), ("PATCH", &item)] {
            for (sent, status, code, field) in [
                ("", 400, "malformed_json", None),
                ("{", 400, "malformed_json", None),
                (r#"{"title": "a", "title": "b"}"#, 400, "malformed_json", None),
                (&deep, 400, "malformed_json", None),
                ("\u{0}", 400, "malformed_json", None),
                ("[]", 422, "validation_failed", Some("body")),
                (&with("views", 1.into()), 422, "validation_failed", Some("views")),
                (&with("$set", json!({})), 422, "validation_failed", Some("$set")),
                (&with("title", json!({ "$gt": "" })), 422, "validation_failed", Some("title")),
                (&with("title", "a\u{0}b".into()), 422, "validation_failed", Some("title")),
                (&with("title", "x".repeat(201).into()), 422, "validation_failed", Some("title")),
                (&with("title", " ".into()), 422, "validation_failed", Some("title")),
                (&with("title", Value::Null), 422, "validation_failed", Some("title")),
                (&with("content", "a\u{0}".into()), 422, "validation_failed", Some("content")),
                (
                    &with("is_published", "yes".into()),
                    422,
                    "validation_failed",
                    Some("is_published"),
                ),
                (
                    &with("section_id", json!({ "$ne": null })),
                    422,
                    "validation_failed",
                    Some("section_id"),
                ),
                (&with("section_id", "x".into()), 422, "validation_failed", Some("section_id")),
                (&long, 413, "payload_too_large", None),
            ] {
                let body = sent.as_bytes().to_vec();
                let (actual, _, answer) = send_raw(method, url, &[json_type, token], body).await;
                assert_eq!(
                    (actual.as_u16(), answer["code"].as_str()),
                    (status, Some(code)),
                    "{method} {kind} {sent:.200}: {answer}"
                );
                assert_eq!(answer["errors"][0]["field"].as_str(), field, "{answer}");
                assert_eq!(answer["status"], status);
            }
            for content_type in ["text/plain", "application/x-www-form-urlencoded"] {
                let headers = [("content-type", content_type), token];
                let (status, _, answer) =
                    send_raw(method, url, &headers, valid.clone().into_bytes()).await;
                assert_eq!(
                    (status.as_u16(), &answer["code"]),
                    (415, &"unsupported_media_type".into())
                );
            }
            let (status, _, answer) = send(method, &format!("{url}?x=1"), &[], &body).await;
            assert_eq!((status.as_u16(), &answer["errors"][0]["field"]), (422, &"x".into()));
        }
        for (id, status, code, detail) in [
            ("1", 400, "invalid_id", format!("Invalid {} ID format", name.to_lowercase())),
            ("%24gt", 400, "invalid_id", format!("Invalid {} ID format", name.to_lowercase())),
            ("ffffffffffffffffffffffff", 404, "not_found", format!("{name} not found")),
        ] {
            for (method, end) in
                [("PUT", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/restore"), ("GET", "")]
            {
                let url = format!("{list}/{id}{end}");
                let (actual, _, answer) = send(method, &url, &[], &body).await;
                assert_eq!((actual.as_u16(), answer["code"].as_str()), (status, Some(code)));
                assert_eq!(answer["detail"], detail.as_str(), "{method} {url}");
            }
        }
        let (status, headers, _) = send("DELETE", &list, &[], &json!({})).await;
        assert_eq!(
            (status.as_u16(), &headers["allow"]),
            (405, &"GET, HEAD, POST".parse().unwrap())
        );
        let (status, headers, _) = send("POST", &item, &[], &json!({})).await;
        assert_eq!(status, 405);
        assert_eq!(headers["allow"], "GET, HEAD, PUT, PATCH, DELETE");
        assert_eq!(database.count(kind, doc! {}).await, 1);
    }
    let headers = [json_type, token];
    let url = format!("{}/stories", site.content.url);
    let (status, _, _) = send_raw("POST", &url, &headers, vec![b'x'; 10_000_000]).await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn a_request_that_is_sent_again_with_its_key_is_answered_again() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for (kind, _, body) in kinds() {
        let url = format!("{}/{kind}", site.content.url);
        let key = [("idempotency-key", "8e03978e")];
        let (status, first, item) = send("POST", &url, &key, &body).await;
        assert_eq!(status, 201, "{item}");
        // The first answer may never have arrived.
        let (status, again, answer) = send("POST", &url, &key, &body).await;
        assert_eq!((status.as_u16(), &answer), (201, &item));
        assert_eq!((&first["location"], &first["etag"]), (&again["location"], &again["etag"]));
        let mut other = body.clone();
        other["title"] = "Other".into();
        let (status, _, answer) = send("POST", &url, &key, &other).await;
        assert_eq!((status.as_u16(), &answer["code"]), (422, &"idempotency_key_reused".into()));
        assert_eq!(database.count(kind, doc! {}).await, 1);
        database.collection("content_idempotency_keys").delete_many(doc! {}).await.unwrap();
    }
    let (url, body) =
        (format!("{}/stories", site.content.url), json!({ "title": "B", "content": "" }));
    let key = [("idempotency-key", "together")];
    let answers = join_all((0..10).map(|_| send("POST", &url, &key, &body))).await;
    assert!(answers.iter().all(|(status, _, item)| *status == 201 && *item == answers[0].2));
    assert_eq!(database.count("stories", doc! { "title": "B" }).await, 1);
    let (status, _, answer) = send("POST", &url, &[("idempotency-key", "")], &body).await;
    assert_eq!((status.as_u16(), &answer["errors"][0]["field"]), (422, &"Idempotency-Key".into()));
}

#[tokio::test]
async fn a_response_that_an_earlier_version_stored_is_sent_again() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let url = format!("{}/stories", site.content.url);
    let stored = database.collection("content_idempotency_keys");
    for (key, content) in [("clean", "<p>x</p>"), ("sanitized", "<p onclick='x()'>x</p>")] {
        let (key, body) = ([("idempotency-key", key)], json!({ "title": "A", "content": content }));
        let (status, first, answer) = send("POST", &url, &key, &body).await;
        assert_eq!(status, 201, "{answer}");
        // Earlier versions stored the item, and made the rest of the response again.
        let mut item = answer.clone();
        item.as_object_mut().unwrap().remove("sanitized");
        let earlier = doc! {
            "$set": { "body": item.to_string() }, "$unset": { "etag": "", "location": "" },
        };
        stored.update_one(doc! { "_id.key": key[0].1 }, earlier).await.unwrap();
        let (status, again, replayed) = send("POST", &url, &key, &body).await;
        assert_eq!((status.as_u16(), &replayed), (201, &answer));
        assert_eq!((&first["location"], &first["etag"]), (&again["location"], &again["etag"]));
    }
    assert_eq!(database.count("stories", doc! {}).await, 2);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_has_written_all_or_nothing() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let url = format!("{}/stories", site.content.url);
    let body = json!({ "title": "Left", "content": "" });
    let key = [("idempotency-key", "left")];
    for micros in [200, 1_000, 5_000, 20_000] {
        let sent = send("POST", &url, &key, &body);
        let _ = tokio::time::timeout(Duration::from_micros(micros), sent).await;
    }
    let (status, _, item) = send("POST", &url, &key, &body).await;
    assert_eq!(status, 201, "{item}");
    let stored = database.one("stories", doc! {}).await;
    assert_eq!(id_of(&stored), item["id"].as_str().unwrap());
}

#[tokio::test]
async fn of_two_editors_who_have_read_the_same_one_is_told_to_read_again() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for (kind, _, body) in kinds() {
        let (_, headers, item) =
            send("POST", &format!("{}/{kind}", site.content.url), &[], &body).await;
        let url = format!("{}/{kind}/{}", site.content.url, item["id"].as_str().unwrap());
        let (_, read, _) = send("GET", &url, &[], &json!({})).await;
        let tag = headers["etag"].to_str().unwrap();
        assert_eq!(read["etag"], tag);
        let changes: Vec<_> =
            (0..10).map(|number| json!({ "title": format!("T {number}") })).collect();
        let if_match = [("if-match", tag)];
        let sent = changes.iter().map(|change| send("PATCH", &url, &if_match, change));
        let answers = join_all(sent).await;
        let (done, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|(status, ..)| *status == 200);
        assert_eq!((done.len(), refused.len()), (1, 9));
        let tag_of = |headers: &HeaderMap| headers["etag"].to_str().unwrap().to_owned();
        let newest = json!({ "etag": tag_of(&done[0].1), "value": done[0].2 });
        for (status, _, answer) in refused {
            assert_eq!((status.as_u16(), &answer["code"]), (412, &"precondition_failed".into()));
            assert_eq!(answer["current"], newest, "both can be shown");
        }
        let (_, _, now) = send("GET", &url, &[], &json!({})).await;
        assert_eq!(now, done[0].2);
        let mut put = now.clone();
        put["title"] = "Second".into();
        for (method, body) in [("PUT", &put), ("DELETE", &json!({}))] {
            let (status, _, answer) = send(method, &url, &if_match, body).await;
            assert_eq!((status.as_u16(), &answer["current"]), (412, &newest), "{method}");
        }
        let tag = done[0].1["etag"].to_str().unwrap();
        assert_eq!(send("PUT", &url, &[("if-match", tag)], &put).await.0, 200);
        assert_eq!(send("DELETE", &url, &[("if-match", "*")], &json!({})).await.0, 204);
    }
}

#[tokio::test]
async fn changes_of_different_fields_at_the_same_time_are_all_kept() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let body = json!({ "title": "P", "content": "" });
    let item = created(&site, "projects", body).await;
    let url = format!("{}/projects/{}", site.content.url, item["id"].as_str().unwrap());
    let changes = [
        json!({ "title": "New" }),
        json!({ "content": "<p>New</p>" }),
        json!({ "summary": "New" }),
        json!({ "is_featured": true }),
    ];
    for (status, _, answer) in
        join_all(changes.iter().map(|change| send("PATCH", &url, &[], change))).await
    {
        assert_eq!(status, 200, "{answer}");
    }
    let stored = database.one("projects", doc! {}).await;
    for (field, value) in [("title", "New"), ("content", "<p>New</p>"), ("summary", "New")] {
        assert_eq!(stored.get_str(field).unwrap(), value);
    }
    assert!(stored.get_bool("is_featured").unwrap());
}

#[tokio::test]
async fn if_match_is_required_where_the_configuration_says_so() {
    let database = TestDatabase::new().await;
    let item = with(page("about"), doc! { "_id": ObjectId::new() });
    database.insert("pages", [item.clone()]).await;
    let site = Site::start_with(&database, &[("server.require_if_match", "true")]).await;
    let url = format!("{}/pages/{}", site.content.url, id_of(&item));
    let body = json!({ "title": "T", "content": "" });
    for method in ["PUT", "PATCH", "DELETE"] {
        let (status, _, answer) = send(method, &url, &[], &body).await;
        assert_eq!((status.as_u16(), &answer["code"]), (428, &"precondition_required".into()));
    }
    let bearer = format!("Bearer {TOKEN}");
    let (_, headers, _) = send("GET", &url, &[("authorization", &bearer)], &json!({})).await;
    let tag = headers["etag"].to_str().unwrap();
    assert_eq!(send("PATCH", &url, &[("if-match", tag)], &body).await.0, 200);
}
