//! The paths of items, wherever they are answered.

use models::ContentType;
use mongodb::bson::{Bson, doc};
use reqwest::StatusCode;
use serde_json::{Value, json};
use test_support::{TOKEN, TestDatabase, eventually};

use crate::support::{Site, ask, day, page, section, send, story, with};

async fn found(site: &Site, path: &str) -> Value {
    let (status, body) = site.content.get(path).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

#[tokio::test]
async fn every_answer_with_an_item_has_the_path_that_leads_to_it() {
    let database = TestDatabase::new().await;
    let above = section(&database, "above", doc! {}).await;
    let mut sections = Vec::new();
    for kind in ContentType::ALL {
        let fields = doc! { "content_type": kind.as_str(), "parent_id": &above };
        sections.push(section(&database, &format!("of-{}", kind.collection()), fields).await);
    }
    let site = Site::start(&database).await;
    for (kind, section) in ContentType::ALL.into_iter().zip(sections) {
        let collection = kind.collection();
        let path = format!("/above/of-{collection}/one");
        let url = format!("{}/{collection}", site.content.url);
        let body = json!({ "title": "T", "content": "", "slug": "one", "section_id": section });
        let (status, _, item) = send("POST", &url, &[], &body).await;
        assert_eq!((status.as_u16(), &item["path"]), (201, &path.as_str().into()), "{item}");
        let url = format!("{url}/{}", item["id"].as_str().unwrap());
        let own = format!("/{collection}/{}", item["id"].as_str().unwrap());
        let resolved = found(&site, &format!("/resolve?path={path}")).await;
        assert_eq!(
            (&resolved["canonical_path"], &resolved["content"]),
            (&path.as_str().into(), &item)
        );
        let list = format!("/{collection}?section=of-{collection}");
        let in_section = found(&site, &format!("/resolve?path=/above/of-{collection}")).await;
        for answer in [
            site.content.get_as_editor(&own).await.1,
            found(&site, &list).await["items"][0].clone(),
            in_section["content"]["items"][0].clone(),
            send("PUT", &url, &[], &item).await.2,
            send("PATCH", &url, &[], &json!({ "path": path })).await.2,
        ] {
            assert_eq!(answer["path"], path, "{answer}");
        }
        // A draft has the path at which it will be, also after the change that makes it one.
        let (_, _, draft) = send("PATCH", &url, &[], &json!({ "is_published": false })).await;
        assert_eq!(draft["path"], path);
        for (change, expected) in [
            (json!({ "slug": "two" }), json!(format!("/above/of-{collection}/two"))),
            (json!({ "section_id": null }), Value::Null),
        ] {
            let (_, _, changed) = send("PATCH", &url, &[], &change).await;
            assert_eq!(changed["path"], expected, "{change}");
        }
        // The path follows from the section and the slug, and is not set.
        for path in [json!("/elsewhere"), json!(path), json!(7)] {
            let (status, _, answer) = send("PATCH", &url, &[], &json!({ "path": path })).await;
            assert_eq!(
                (status.as_u16(), &answer["errors"][0]["field"]),
                (422, &"path".into()),
                "{path}"
            );
        }
        let (status, _, restored) = send("DELETE", &url, &[], &Value::Null).await;
        assert_eq!(status, 204, "{restored}");
    }
}

#[tokio::test]
async fn an_item_to_which_no_path_leads_has_none() {
    let database = TestDatabase::new().await;
    let shown = section(&database, "shown", doc! {}).await;
    let draft = section(&database, "draft", doc! { "is_published": false }).await;
    let below = section(&database, "below", doc! { "parent_id": &draft }).await;
    let projects = section(&database, "projects", doc! { "content_type": "project" }).await;
    section(&database, "child", doc! { "parent_id": &shown }).await;
    let cases = [
        ("shown", Bson::from(&shown), json!("/shown/shown")),
        (
            "2015/02/Größe 100%",
            Bson::from(&shown),
            json!("/shown/2015/02/Gr%C3%B6%C3%9Fe%20100%25"),
        ),
        ("loose", Bson::Null, Value::Null),
        ("dangling", "ffffffffffffffffffffffff".into(), Value::Null),
        ("in-draft", Bson::from(&draft), Value::Null),
        ("below-draft", Bson::from(&below), Value::Null),
        ("of-another-kind", Bson::from(&projects), Value::Null),
        // A section is at this path.
        ("child", Bson::from(&shown), Value::Null),
        ("child/of", Bson::from(&shown), Value::Null),
        ("", Bson::from(&shown), Value::Null),
    ];
    for (slug, section, _) in cases.clone() {
        database
            .insert("stories", [with(story(slug, day(1)), doc! { "section_id": section })])
            .await;
    }
    // Not migrated: a story without a slug would get one.
    let site = Site::start(&database).await;
    let unset = doc! { "$set": { "slug": "" } };
    database.collection("stories").update_one(doc! { "title": "Story " }, unset).await.unwrap();
    let (_, list) = site.content.get_as_editor("/stories?include_drafts=true&limit=50").await;
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), cases.len());
    for (slug, _, path) in cases {
        let title = format!("Story {slug}");
        let item = items.iter().find(|item| item["title"] == title.as_str()).unwrap();
        assert_eq!(item["path"], path, "{slug}");
        if let Some(path) = path.as_str() {
            let encoded = path.replace('%', "%25");
            let resolved = found(&site, &format!("/resolve?path={encoded}")).await;
            assert_eq!(resolved["content"]["id"], item["id"], "{slug}");
        }
    }
}

#[tokio::test]
async fn of_the_pages_of_a_section_that_shows_one_the_oldest_has_its_path() {
    let database = TestDatabase::new().await;
    let old = [
        with(page("about"), doc! { "title": "draft", "is_published": false }),
        with(page("about"), doc! { "title": "first", "slug": "team" }),
        with(page("about"), doc! { "title": "second" }),
        with(page("about"), doc! { "title": "third", "slug": "history" }),
    ];
    database.insert("pages", old).await;
    let site = Site::start(&database).await;
    let paths = async || {
        let (_, list) = site.content.get_as_editor("/pages?include_drafts=true").await;
        let path = |title: &str| {
            let items = list["items"].as_array().unwrap();
            items.iter().find(|item| item["title"] == title).unwrap()["path"].clone()
        };
        ["draft", "first", "second", "third"].map(path)
    };
    let expected = [Value::Null, json!("/about"), Value::Null, json!("/about/history")];
    assert_eq!(paths().await, expected);
    let first = found(&site, "/pages/type/about").await;
    assert_eq!((&first["title"], &first["path"]), (&"first".into(), &"/about".into()));
    for path in ["/about", "/about/team"] {
        let resolved = found(&site, &format!("/resolve?path={path}")).await;
        assert_eq!((&resolved["canonical_path"], &resolved["content"]), (&"/about".into(), &first));
    }
    // The next one takes its place at once, in the answer to the change already.
    let url = format!("{}/pages/{}", site.content.url, first["id"].as_str().unwrap());
    let (_, _, first) = send("PATCH", &url, &[], &json!({ "is_published": false })).await;
    assert_eq!(first["path"], "/about/team");
    let expected = [Value::Null, json!("/about/team"), json!("/about"), json!("/about/history")];
    assert_eq!(paths().await, expected);
    assert_eq!(found(&site, "/pages/type/about").await["path"], "/about");
}

#[tokio::test]
async fn a_section_that_is_renamed_or_hidden_changes_the_paths_of_its_items_and_their_tags() {
    let database = TestDatabase::new().await;
    let above = section(&database, "above", doc! {}).await;
    let notes = section(&database, "notes", doc! { "parent_id": &above }).await;
    database.insert("stories", [with(story("one", day(1)), doc! { "section_id": &notes })]).await;
    let site = Site::start(&database).await;
    let routes = ["/stories/slug/one", "/stories", "/resolve?path=/above/notes/one"];
    let path = |answer: &Value| {
        [&answer["path"], &answer["items"][0]["path"], &answer["content"]["path"]]
            .into_iter()
            .find(|path| !path.is_null())
            .cloned()
            .unwrap_or_default()
    };
    let mut tags = Vec::new();
    for route in routes {
        let url = format!("{}{route}", site.content.url);
        let (_, headers, answer) = ask(&url, &[]).await;
        assert_eq!(path(&answer), "/above/notes/one", "{route}");
        let keys = headers["surrogate-key"].to_str().unwrap();
        assert!(keys.split(' ').any(|key| key == "sections"), "{route}: {keys}");
        let tag = headers["etag"].to_str().unwrap().to_owned();
        // Also from the memory of tags.
        for _ in 0..2 {
            assert_eq!(ask(&url, &[("if-none-match", &tag)]).await.0, StatusCode::NOT_MODIFIED);
        }
        tags.push((url, tag));
    }
    let section = format!("{}/sections/{above}", site.sections.url);
    assert_eq!(send("PATCH", &section, &[], &json!({ "slug": "over" })).await.0, 200);
    for (url, tag) in &tags {
        eventually("the new path is answered", async || {
            let (status, _, answer) = ask(url, &[("if-none-match", tag)]).await;
            let is_moved = answer["kind"] == "moved" && answer["moved_to"] == "/over/notes/one";
            status == StatusCode::OK && (is_moved || path(&answer) == "/over/notes/one")
        })
        .await;
    }
    assert_eq!(send("PATCH", &section, &[], &json!({ "is_published": false })).await.0, 200);
    let bearer = format!("Bearer {TOKEN}");
    let all = format!("{}/stories?include_drafts=true", site.content.url);
    eventually("no path leads to it", async || {
        ask(&all, &[("authorization", &bearer)]).await.2["items"][0]["path"].is_null()
    })
    .await;
}

#[tokio::test]
async fn the_tag_of_every_answer_with_an_item_permits_its_change() {
    let database = TestDatabase::new().await;
    database.insert("stories", [story("one", day(1))]).await;
    let site = Site::start(&database).await;
    let item = found(&site, "/stories/slug/one").await;
    let own = format!("{}/stories/{}", site.content.url, item["id"].as_str().unwrap());
    let bearer = format!("Bearer {TOKEN}");
    let (_, headers, _) = ask(&own, &[("authorization", &bearer)]).await;
    let read = headers["etag"].to_str().unwrap().to_owned();
    let (_, headers, _) = ask(&format!("{}/stories/slug/one", site.content.url), &[]).await;
    assert_eq!(headers["etag"], read.as_str());
    let change = json!({ "slug": "two" });
    let (status, headers, changed) = send("PATCH", &own, &[("if-match", &read)], &change).await;
    assert_eq!((status, &changed["path"]), (StatusCode::OK, &"/blog/two".into()));
    let written = headers["etag"].to_str().unwrap().to_owned();
    let change = json!({ "slug": "three" });
    assert_eq!(send("PATCH", &own, &[("if-match", &read)], &change).await.0, 412);
    assert_eq!(send("PATCH", &own, &[("if-match", &written)], &change).await.0, 200);
}
