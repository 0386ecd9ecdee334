//! Paths of the site and redirects from former paths.

use insta::assert_json_snapshot;
use mongodb::bson::{Bson, doc};
use serde_json::{Value, json};
use test_support::{TestDatabase, eventually};

use crate::support::{Api, Neighbour, stored};

async fn site() -> (TestDatabase, Neighbour, Api) {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let api = Api::start(&database, &neighbour).await;
    (database, neighbour, api)
}

async fn change(api: &Api, id: &str, patch: Value) {
    let answer = api.call("PATCH", &format!("/sections/{id}"), patch).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_path_resolves_to_a_section_and_the_rest_of_the_path() {
    let (_database, _neighbour, api) = site().await;
    let blog = api.get("/sections/slug/blog").await.id();
    api.add("Travel Notes", Some(&blog)).await;
    let found = api.resolve("/blog/travel-notes/the-alps").await;
    assert_json_snapshot!(found, {
        ".section.id" => "[id]", ".section.parent_id" => "[blog]",
        ".section.createdDate" => "[date]", ".section.updatedDate" => "[date]",
        ".breadcrumbs[].id" => "[id]",
    });
    assert_eq!(api.resolve("/blog").await["rest"], json!([]));
    assert_eq!(api.resolve("/").await["section"]["slug"], "blog");
    for path in ["//", "/travel-notes", "/nope", "/blog%2Ftravel-notesx"] {
        let found = api.resolve(path).await;
        assert!(found == 404 || found["rest"] == json!(["travel-notesx"]), "{path}: {found}");
    }
    let refused = api.get("/internal/resolve?path=blog").await;
    assert_eq!(refused.code(), (422, "validation_failed"));
    assert_eq!(api.get("/internal/resolve").await.code(), (422, "validation_failed"));
    assert_json_snapshot!(api.get("/internal/resolve?path=/nope").await.shown());
}

#[tokio::test]
async fn each_rename_adds_one_redirect_that_leads_to_the_current_path() {
    let (database, _neighbour, api) = site().await;
    let blog = api.get("/sections/slug/blog").await.id();
    let child = api.add("Travel", Some(&blog)).await.id();
    for slug in ["journal", "notes", "log"] {
        change(&api, &blog, json!({ "slug": slug })).await;
    }
    change(&api, &child, json!({ "slug": "trips" })).await;
    for path in ["/blog", "/journal", "/notes"] {
        assert_eq!(api.resolve(path).await, json!({ "moved_to": "/log" }));
        let item = api.resolve(&format!("{path}/travel/the-alps")).await;
        assert_eq!(item, json!({ "moved_to": "/log/trips/the-alps" }), "{path}");
    }
    // Three for the one, one for the other: none for what is below.
    assert_eq!(database.count("section_redirects", doc! {}).await, 4);
    let rule = database.one("section_redirects", doc! { "path": "/blog" }).await;
    assert_eq!(rule.get_str("section_id").unwrap(), blog);
}

#[tokio::test]
async fn a_section_at_a_path_takes_precedence_over_a_redirect() {
    let (database, _neighbour, api) = site().await;
    let blog = api.get("/sections/slug/blog").await.id();
    change(&api, &blog, json!({ "slug": "journal" })).await;
    let new = api.add("Blog", None).await;
    assert_eq!(api.resolve("/blog").await["section"]["id"], new.body["id"]);
    api.call("DELETE", &format!("/sections/{}", new.id()), Value::Null).await;
    assert_eq!(api.resolve("/blog").await, json!({ "moved_to": "/journal" }));
    // Back where it was: a rule from a path to itself is none.
    change(&api, &blog, json!({ "slug": "blog" })).await;
    assert_eq!(api.resolve("/blog").await["section"]["id"], json!(blog));
    assert_eq!(api.resolve("/journal").await, json!({ "moved_to": "/blog" }));
    assert_eq!(database.count("section_redirects", doc! { "path": "/blog" }).await, 0);
}

#[tokio::test]
async fn repeated_swaps_of_sections_make_no_redirect_loop() {
    let (_database, _neighbour, api) = site().await;
    let a = api.add("a", None).await.id();
    let b = api.add("b", None).await.id();
    for _ in 0..3 {
        change(&api, &a, json!({ "slug": "c" })).await;
        change(&api, &b, json!({ "slug": "a" })).await;
        change(&api, &a, json!({ "slug": "b" })).await;
        change(&api, &a, json!({ "slug": "c", "parent_id": b })).await;
        change(&api, &b, json!({ "slug": "b" })).await;
        change(&api, &a, json!({ "slug": "a", "parent_id": null })).await;
    }
    for (path, to) in [("/c", "/a"), ("/b/c", "/a"), ("/b/c/x", "/a/x"), ("/c/x", "/a/x")] {
        assert_eq!(api.resolve(path).await, json!({ "moved_to": to }), "{path}");
    }
    // `/a/c` was the path of the first section while the other one was at `/a`.
    assert_eq!(api.resolve("/a/c").await["section"]["id"], json!(a));
}

#[tokio::test]
async fn hidden_sections_are_found_by_no_current_or_former_path() {
    let (_database, _neighbour, api) = site().await;
    let blog = api.get("/sections/slug/blog").await.id();
    let child = api.add("Child", Some(&blog)).await.id();
    change(&api, &child, json!({ "slug": "renamed" })).await;
    assert_eq!(api.resolve("/blog/child").await, json!({ "moved_to": "/blog/renamed" }));
    change(&api, &blog, json!({ "slug": "journal", "is_published": false })).await;
    for path in
        ["/blog", "/blog/child", "/journal", "/journal/child", "/journal/renamed", "/renamed"]
    {
        assert_eq!(api.resolve(path).await, 404, "{path}");
    }
}

#[tokio::test]
async fn every_replica_learns_of_a_redirect() {
    let (database, neighbour, one) = site().await;
    let two = Api::start(&database, &neighbour).await;
    assert_eq!(two.resolve("/blog").await["path"], "/blog");
    let blog = one.get("/sections/slug/blog").await.id();
    change(&one, &blog, json!({ "slug": "journal" })).await;
    assert_eq!(one.resolve("/blog").await, json!({ "moved_to": "/journal" }));
    eventually("the other replica redirects", async || {
        two.resolve("/blog").await == json!({ "moved_to": "/journal" })
    })
    .await;
}

#[tokio::test]
async fn the_entries_contain_every_section_with_its_visibility() {
    let (_database, _neighbour, api) = site().await;
    let blog = api.get("/sections/slug/blog").await.id();
    api.add("Child", Some(&blog)).await;
    let deleted = api.get("/sections/slug/about").await.id();
    api.call("DELETE", &format!("/sections/{deleted}"), Value::Null).await;
    change(&api, &blog, json!({ "slug": "journal", "is_published": false })).await;
    let mut entries = api.get("/internal/sections").await.body;
    for entry in entries.as_array_mut().unwrap() {
        entry["id"] = "[id]".into();
        for date in ["createdDate", "updatedDate"] {
            assert!(entry[date].is_string(), "{entry}");
            entry[date] = "[date]".into();
        }
        if entry["parent_id"] == blog {
            entry["parent_id"] = "[blog]".into();
        }
    }
    assert_json_snapshot!(entries);
}

#[tokio::test]
async fn a_section_with_is_published_null_is_a_draft() {
    let database = TestDatabase::new().await;
    let mut undecided = stored("undecided", None, true);
    undecided.insert("is_published", Bson::Null);
    database.insert("sections", [undecided]).await;
    let api = Api::with(&database, &[]).await;
    assert_eq!(api.get("/sections/slug/undecided").await.status, 404);
    let draft = api.get("/sections/slug/undecided?include_drafts=true").await;
    assert_eq!((draft.status, &draft.body["is_published"]), (200, &false.into()));
}

#[tokio::test]
async fn a_section_has_the_path_that_leads_the_public_to_it_in_every_answer() {
    let (_database, _neighbour, api) = site().await;
    let blog = api.get("/sections/slug/blog").await.id();
    let added = api.add("Travel", Some(&blog)).await;
    assert_eq!(added.body["path"], "/blog/travel");
    let travel = added.id();
    let own = format!("/sections/{travel}");
    let path = async |expected: Value| {
        let all = "?include_drafts=true";
        let list = api.get(&format!("/sections{all}&parent_id={blog}")).await;
        let tree = api.get(&format!("/sections/tree{all}")).await;
        let tree = tree.body.as_array().unwrap().iter().find(|one| one["id"] == blog.as_str());
        let entries = api.get("/internal/sections").await;
        let entry =
            entries.body.as_array().unwrap().iter().find(|one| one["id"] == travel.as_str());
        for answer in [
            &api.get(&format!("{own}{all}")).await.body,
            &list.body[0],
            &tree.unwrap()["children"][0],
            entry.unwrap(),
        ] {
            assert_eq!((&answer["id"], &answer["path"]), (&travel.as_str().into(), &expected));
        }
    };
    path(json!("/blog/travel")).await;
    // As it was read, with a new slug; the tag of the answer is that of a read.
    let mut body = api.get(&own).await.body;
    body["slug"] = "trips".into();
    let renamed = api.call("PUT", &own, body.clone()).await;
    assert_eq!(
        (renamed.status, &renamed.body["path"]),
        (200, &"/blog/trips".into()),
        "{renamed:?}"
    );
    assert_eq!(api.get(&own).await.header("etag"), renamed.header("etag"));
    path(json!("/blog/trips")).await;
    for value in [json!("/elsewhere"), json!(null), json!("/blog/travel")] {
        let refused = api.call("PATCH", &own, json!({ "path": value })).await;
        assert_eq!(refused.code(), (422, "validation_failed"), "{value}");
        assert_eq!(refused.body["errors"][0]["field"], "path");
    }
    assert_eq!(api.call("PATCH", &own, json!({ "path": "/blog/trips" })).await.status, 200);
    let hidden = api.call("PATCH", &own, json!({ "is_published": false })).await;
    assert_eq!(hidden.body["path"], Value::Null);
    path(Value::Null).await;
    change(&api, &travel, json!({ "is_published": true })).await;
    // What is above it decides as well.
    let moved = api.call("PATCH", &format!("/sections/{blog}"), json!({ "slug": "log" })).await;
    assert_eq!(moved.body["path"], "/log");
    path(json!("/log/trips")).await;
    change(&api, &blog, json!({ "is_published": false })).await;
    path(Value::Null).await;
    change(&api, &blog, json!({ "is_published": true })).await;
    assert_eq!(api.call("DELETE", &own, Value::Null).await.status, 204);
    let restored = api.call("POST", &format!("{own}/restore"), Value::Null).await;
    assert_eq!(restored.body["path"], "/log/trips");
    let ids = json!({ "parent_id": blog, "ids": [travel] });
    let ordered = api.call("PUT", "/sections/order", ids).await;
    assert_eq!(ordered.body[0]["path"], "/log/trips");
}

#[tokio::test]
async fn one_section_at_most_is_the_home() {
    let (database, _neighbour, api) = site().await;
    let id_of = async |slug: &str| api.get(&format!("/sections/slug/{slug}")).await.id();
    let (about, contact) = (id_of("about").await, id_of("contact").await);
    let home = async || {
        let list = api.get("/sections?include_drafts=true").await.body;
        let homes = list.as_array().unwrap().iter().filter(|one| one["is_home"] == true);
        let homes: Vec<_> = homes.map(|one| one["slug"].as_str().unwrap().to_owned()).collect();
        (homes, api.resolve("/").await["section"]["slug"].as_str().unwrap().to_owned())
    };
    let is = |homes: &[&str], at: &str| {
        (homes.iter().map(|slug| (*slug).to_owned()).collect::<Vec<_>>(), at.to_owned())
    };
    assert_eq!(home().await, is(&[], "blog"));
    change(&api, &about, json!({ "is_home": true })).await;
    assert_eq!(home().await, is(&["about"], "about"));
    change(&api, &contact, json!({ "is_home": true })).await;
    assert_eq!(home().await, is(&["contact"], "contact"));
    let start = json!({ "title": "Start", "content_type": "page", "is_home": true });
    let start = api.call("POST", "/sections", start).await;
    assert_eq!((start.status, &start.body["is_home"]), (201, &true.into()));
    assert_eq!(home().await, is(&["start"], "start"));
    // A draft is not shown, and one that was replaced does not come back as the home.
    change(&api, &start.id(), json!({ "is_published": false })).await;
    assert_eq!(home().await, is(&["start"], "blog"));
    let own = format!("/sections/{}", start.id());
    assert_eq!(api.call("DELETE", &own, Value::Null).await.status, 204);
    assert_eq!(home().await, is(&[], "blog"));
    change(&api, &about, json!({ "is_home": true })).await;
    assert_eq!(api.call("POST", &format!("{own}/restore"), Value::Null).await.status, 200);
    assert_eq!(home().await, is(&["about"], "about"));
    change(&api, &about, json!({ "is_home": false })).await;
    assert_eq!(home().await, is(&[], "blog"));
    for value in [json!(null), json!("yes"), json!(1)] {
        let refused = api.call("PATCH", &own, json!({ "is_home": value })).await;
        assert_eq!(refused.code(), (422, "validation_failed"), "{value}");
    }
    // Sections that were never the home are stored as before.
    assert_eq!(database.count("sections", doc! { "is_home": { "$exists": true } }).await, 3);
}
