//! The rules of changing sections, by name.

use std::collections::HashSet;

use futures_util::future::join_all;
use insta::assert_json_snapshot;
use models::Sort;
use mongodb::bson::doc;
use serde_json::{Value, json};
use test_support::{Answer, Service, TestDatabase};

use crate::support::{Api, Neighbour, id, stored};

async fn site() -> (TestDatabase, Neighbour, Api) {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let api = Api::start(&database, &neighbour).await;
    (database, neighbour, api)
}

fn at(answer: &Answer) -> String {
    format!("/sections/{}", answer.id())
}

#[tokio::test]
async fn a_new_section_is_answered_with_its_location_and_etag() {
    let (database, _neighbour, api) = site().await;
    let added = api.add("Field Notes!", None).await;
    assert_json_snapshot!(added.body, {
        ".id" => "[id]", ".createdDate" => "[date]", ".updatedDate" => "[date]",
    });
    assert_eq!(added.header("location"), at(&added));
    let read = api.get(&at(&added)).await;
    assert_eq!((read.status, &read.body), (200, &added.body));
    assert_eq!(read.header("etag"), added.header("etag"));
    let mut document = database.one("sections", doc! { "slug": "field-notes" }).await;
    for field in ["createdDate", "updatedDate"] {
        document.get_datetime(field).unwrap();
        document.remove(field);
    }
    document.remove("_id");
    let expected = doc! {
        "title": "Field Notes!", "slug": "field-notes", "parent_id": null, "display_type": "feed",
        "content_type": "story", "nav_visibility": "main", "sort_order": 4, "is_published": true,
        "is_deleted": false,
    };
    assert_eq!(document, expected);
}

#[tokio::test]
async fn the_order_of_the_content_of_a_section_is_set_and_unset() {
    let (database, _neighbour, api) = site().await;
    let body = json!({ "title": "A", "content_type": "story", "sort_by": "title" });
    let added = api.call("POST", "/sections", body).await;
    assert_eq!((added.status, &added.body["sort_by"]), (201, &"title".into()));
    for sort in Sort::ALL {
        let patched = api.call("PATCH", &at(&added), json!({ "sort_by": sort })).await;
        assert_eq!(patched.body["sort_by"], sort.as_str());
        assert_eq!(api.get(&at(&added)).await.body, patched.body);
    }
    let unset = api.call("PATCH", &at(&added), json!({ "sort_by": null })).await;
    assert_eq!((unset.status, &unset.body["sort_by"]), (200, &Value::Null));
    let wrong = api.call("PATCH", &at(&added), json!({ "sort_by": "name" })).await;
    assert_eq!(wrong.code(), (422, "validation_failed"));
    let message = wrong.body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("`-createdDate`"), "{message}");
    // A section of an existing site gets the field with the first change of it, and no other.
    let blog = api.get("/sections/slug/blog").await;
    assert_eq!(blog.body["sort_by"], Value::Null);
    assert_eq!(api.call("PUT", &at(&blog), blog.body.clone()).await.body, blog.body);
    let stored = database.one("sections", doc! { "slug": "blog" }).await;
    assert!(!stored.contains_key("sort_by"));
}

#[tokio::test]
async fn the_facts_for_search_engines_are_set_and_unset() {
    let (database, _neighbour, api) = site().await;
    let facts = json!({
        "description": "Of lamps", "social_image": "/uploads/a.webp", "canonical": "/lamps",
        "noindex": true,
    });
    let empty =
        json!({ "description": null, "social_image": null, "canonical": null, "noindex": false });
    let of = |section: &Value| -> Value {
        let members = empty.as_object().unwrap().keys();
        members.map(|member| (member.clone(), section[member].clone())).collect()
    };
    let mut body = json!({ "title": "A", "content_type": "story" });
    assert_eq!(of(&api.call("POST", "/sections", body.clone()).await.body), empty);
    body.as_object_mut().unwrap().extend(facts.as_object().unwrap().clone());
    let added = api.call("POST", "/sections", body).await;
    assert_eq!((added.status, of(&added.body)), (201, facts.clone()));
    assert_eq!(api.get(&at(&added)).await.body, added.body);
    let tree = api.get("/sections/tree").await.body;
    let in_tree = tree.as_array().unwrap().iter().find(|one| one["id"] == added.id()).unwrap();
    assert_eq!(of(in_tree), facts);
    let resolved = api.resolve(added.body["path"].as_str().unwrap()).await;
    assert_eq!(of(&resolved["section"]), facts);
    for method in ["PUT", "PATCH"] {
        assert_eq!(api.call(method, &at(&added), added.body.clone()).await.body, added.body);
    }
    let blank = api.call("PATCH", &at(&added), json!({ "description": " " })).await.body;
    assert_eq!((&blank["description"], &blank["noindex"]), (&Value::Null, &true.into()));
    assert_eq!(of(&api.call("PATCH", &at(&added), empty.clone()).await.body), empty);
    for (member, wrong) in [
        ("description", json!("x".repeat(501))),
        ("social_image", json!("javascript:alert(1)")),
        ("canonical", json!("example.org")),
        ("noindex", Value::Null),
    ] {
        let refused = api.call("PATCH", &at(&added), json!({ member: wrong })).await;
        assert_eq!(refused.code(), (422, "validation_failed"), "{member}");
        assert_eq!(refused.body["errors"][0]["field"], member);
    }
    // Sections that have none get no fields.
    let blog = api.get("/sections/slug/blog").await;
    assert_eq!(of(&blog.body), empty);
    assert_eq!(api.call("PUT", &at(&blog), blog.body.clone()).await.body, blog.body);
    for slug in ["blog", "a"] {
        let stored = database.one("sections", doc! { "slug": slug }).await;
        assert!(empty.as_object().unwrap().keys().all(|field| !stored.contains_key(field)));
    }
}

#[tokio::test]
async fn a_slug_that_is_taken_is_numbered_and_an_empty_one_has_a_fallback() {
    let (_database, _neighbour, api) = site().await;
    for (title, slug) in [
        ("Blog", "blog-2"),
        ("blog!", "blog-3"),
        ("日本語", "ri-ben-yu"),
        ("日本語", "ri-ben-yu-2"),
        ("!!!", "section"),
        ("???", "section-2"),
        ("  Über   uns -- heute ", "uber-uns-heute"),
    ] {
        assert_eq!(api.add(title, None).await.body["slug"], slug);
    }
}

#[tokio::test]
async fn a_slug_of_an_unreadable_section_is_numbered_too() {
    let (database, _neighbour, api) = site().await;
    let mut odd = stored("news", None, true);
    odd.insert("_id", "odd");
    let hidden = doc! { "_id": 7, "slug": 7, "is_deleted": false };
    database.insert("sections", [odd, hidden]).await;
    assert_eq!(api.add("News", None).await.body["slug"], "news-2");
}

#[tokio::test]
async fn a_hundred_creates_of_one_title_at_once_give_a_hundred_slugs() {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let (one, two) =
        (Api::start(&database, &neighbour).await, Api::start(&database, &neighbour).await);
    let body = json!({ "title": "Race", "content_type": "story" });
    let adding =
        (0..100).map(|n| if n % 2 == 0 { &one } else { &two }.create_once("/sections", &body));
    let added = join_all(adding).await;
    assert!(added.iter().all(|answer| answer.status == 201), "{added:?}");
    let slugs: HashSet<_> =
        added.iter().map(|answer| answer.body["slug"].as_str().unwrap()).collect();
    assert_eq!(slugs.len(), 100);
    let races = doc! { "title": "Race" };
    assert_eq!(database.count("sections", races).await, 100);
    assert!(slugs.contains("race") && slugs.contains("race-100"));
}

#[tokio::test]
async fn of_two_moves_that_would_make_a_cycle_one_is_refused() {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let (one, two) =
        (Api::start(&database, &neighbour).await, Api::start(&database, &neighbour).await);
    for round in 0..10 {
        let a = one.add(&format!("a{round}"), None).await;
        let b = one.add(&format!("b{round}"), None).await;
        let (path_a, path_b) = (at(&a), at(&b));
        let (under_b, under_a) = (json!({ "parent_id": b.id() }), json!({ "parent_id": a.id() }));
        let (first, second) =
            tokio::join!(one.call("PATCH", &path_a, under_b), two.call("PATCH", &path_b, under_a),);
        let mut statuses = [first.code(), second.code()];
        statuses.sort_unstable();
        assert_eq!(statuses, [(200, ""), (422, "cycle")]);
    }
}

#[tokio::test]
async fn of_two_concurrent_edits_with_the_same_if_match_one_fails() {
    let (_database, _neighbour, api) = site().await;
    let section = api.add("Notes", None).await;
    let path = at(&section);
    let etag = [("if-match", section.header("etag"))];
    let (one, two) = tokio::join!(
        api.send("PATCH", &path, &etag, Some(json!({ "title": "One" }).to_string())),
        api.send("PATCH", &path, &etag, Some(json!({ "title": "Two" }).to_string())),
    );
    let mut statuses = [one.code(), two.code()];
    statuses.sort_unstable();
    assert_eq!(statuses, [(200, ""), (412, "precondition_failed")]);
    let winner = if one.status == 200 { &one } else { &two };
    let read = api.get(&path).await;
    assert_eq!((&read.body, read.header("etag")), (&winner.body, winner.header("etag")));
    let deleted = api.send("DELETE", &path, &etag, None).await;
    assert_eq!(deleted.code(), (412, "precondition_failed"));
    let loser = if one.status == 200 { &two } else { &one };
    let newest = json!({ "etag": winner.header("etag"), "value": winner.body });
    for refused in [loser, &deleted] {
        assert_eq!(refused.body["current"], newest, "both can be shown");
    }
}

#[tokio::test]
async fn a_write_needs_if_match_where_the_configuration_says_so() {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let others = [("content.url", &*neighbour.url), ("server.require_if_match", "true")];
    let api = Api::with(&database, &others).await;
    let section = api.add("Notes", None).await;
    let path = at(&section);
    for (method, body) in
        [("PUT", json!({ "title": "x" })), ("PATCH", json!({})), ("DELETE", Value::Null)]
    {
        let refused = api.call(method, &path, body).await;
        assert_eq!(refused.code(), (428, "precondition_required"), "{method}");
    }
    let etag = [("if-match", section.header("etag"))];
    assert_eq!(api.send("DELETE", &path, &etag, None).await.status, 204);
}

#[tokio::test]
async fn fields_that_nobody_models_survive_every_write() {
    let (database, _neighbour, api) = site().await;
    let mut section = stored("kept", None, true);
    section.insert("icon", doc! { "name": "leaf", "sizes": [1, 2] });
    section.insert("createdDate", "2020-01-01T00:00:00Z");
    let path = format!("/sections/{}", id(&section));
    database.insert("sections", [section.clone()]).await;
    let replaced = api.call("PUT", &path, json!({ "title": "New" })).await;
    assert_eq!((replaced.status, &replaced.body["slug"]), (200, &json!("kept")));
    assert_eq!(api.call("DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(api.call("POST", &format!("{path}/restore"), Value::Null).await.status, 200);
    let mut document = database.one("sections", doc! { "_id": id(&section) }).await;
    document.get_datetime("updatedDate").unwrap();
    document.remove("updatedDate");
    section.insert("title", "New");
    assert_eq!(document, section);
}

#[tokio::test]
async fn sending_back_an_answer_changes_nothing() {
    let (database, _neighbour, api) = site().await;
    let blog = api.get("/sections/slug/blog").await;
    let before = database.one("sections", doc! { "slug": "blog" }).await;
    for method in ["PUT", "PATCH"] {
        let answer = api.call(method, &at(&blog), blog.body.clone()).await;
        assert_eq!((answer.status, &answer.body), (200, &blog.body), "{method}");
    }
    assert_eq!(database.one("sections", doc! { "slug": "blog" }).await, before);
}

#[tokio::test]
async fn a_replica_answers_with_its_own_changes_at_once() {
    let (_database, _neighbour, api) = site().await;
    let path = at(&api.get("/sections/slug/blog").await);
    for round in 0..20 {
        let title = format!("Blog {round}");
        let before = api.get("/sections").await;
        api.call("PATCH", &path, json!({ "title": title })).await;
        assert_eq!(api.get(&path).await.body["title"], title);
        let known = [("if-none-match", before.header("etag"))];
        assert_eq!(api.send("GET", "/sections", &known, None).await.status, 200);
    }
}

#[tokio::test]
async fn an_unchanged_answer_is_a_304() {
    let (_database, _neighbour, api) = site().await;
    let blog = at(&api.get("/sections/slug/blog").await);
    for path in [
        "/sections",
        "/sections?content_type=page",
        "/sections?include_drafts=true",
        "/sections/tree",
        "/sections/slug/blog",
        &blog,
        "/internal/sections",
        "/internal/resolve?path=/blog",
    ] {
        let first = api.get(path).await;
        assert!(first.header("etag").starts_with('"'), "{path}: {first:?}");
        let known = [("if-none-match", first.header("etag"))];
        let second = api.send("GET", path, &known, None).await;
        assert_eq!((second.status, &second.body), (304, &json!("")), "{path}");
        assert_eq!(second.header("etag"), first.header("etag"), "{path}");
    }
    let tags = [
        api.get("/sections").await,
        api.get("/sections?content_type=page").await,
        api.get("/sections?include_drafts=true").await,
        api.get("/sections/tree").await,
    ];
    let tags: HashSet<_> = tags.iter().map(|answer| answer.header("etag")).collect();
    assert_eq!(tags.len(), 4);
}

#[tokio::test]
async fn the_same_key_adds_one_section_and_gives_one_answer() {
    let (database, _neighbour, api) = site().await;
    let body = json!({ "title": "Once", "content_type": "story" }).to_string();
    let key = [("idempotency-key", "8e03978e-40d5-43e8-bc93-6894a57f9324")];
    let sending = (0..10).map(|_| api.send("POST", "/sections", &key, Some(body.clone())));
    let answers = join_all(sending).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (201, &answers[0].body), "{answer:?}");
        assert_eq!(answer.header("location"), answers[0].header("location"));
        assert_eq!(answer.header("etag"), answers[0].header("etag"));
    }
    assert_eq!(database.count("sections", doc! { "title": "Once" }).await, 1);
    assert_eq!(database.count("sections_idempotency_keys", doc! {}).await, 1);

    let other = json!({ "title": "Twice", "content_type": "story" }).to_string();
    let reused = api.send("POST", "/sections", &key, Some(other)).await;
    assert_eq!(reused.code(), (422, "idempotency_key_reused"));
    let refused = api.send("POST", "/sections", &[("idempotency-key", " ")], Some(body)).await;
    assert_eq!(refused.code(), (422, "validation_failed"));
}

#[tokio::test]
async fn the_key_of_a_refused_request_can_be_used_again() {
    let (_database, _neighbour, api) = site().await;
    let key = [("idempotency-key", "k")];
    let taken = json!({ "title": "x", "slug": "blog", "content_type": "story" }).to_string();
    let refused = api.send("POST", "/sections", &key, Some(taken)).await;
    assert_eq!(refused.code(), (409, "slug_taken"));
    let free = json!({ "title": "x", "slug": "free", "content_type": "story" }).to_string();
    assert_eq!(api.send("POST", "/sections", &key, Some(free)).await.status, 201);
}

#[tokio::test]
async fn an_order_is_set_at_once_and_changes_nothing_else() {
    let (database, _neighbour, api) = site().await;
    let before = api.get("/sections").await;
    let sections = before.body.as_array().unwrap();
    let ids: Vec<_> = sections.iter().rev().map(|section| section["id"].clone()).collect();
    let ordered = api.call("PUT", "/sections/order", json!({ "ids": ids })).await;
    assert_eq!(ordered.status, 200, "{ordered:?}");
    let after = api.get("/sections").await;
    assert_eq!(after.body, ordered.body);
    let mut expected: Vec<_> = sections.iter().rev().cloned().collect();
    for (section, place) in expected.iter_mut().zip(0..) {
        section["sort_order"] = place.into();
    }
    assert_eq!(after.body, Value::Array(expected));
    assert_eq!(database.count("sections", doc! { "is_published": true }).await, 4);
}

#[tokio::test]
async fn an_order_of_other_sections_than_those_there_is_refused() {
    let (_database, _neighbour, api) = site().await;
    let blog = at(&api.get("/sections/slug/blog").await)["/sections/".len()..].to_owned();
    let child = api.add("Child", Some(&blog)).await.id();
    let refused = api.call("PUT", "/sections/order", json!({ "ids": [blog, child] })).await;
    assert_eq!(refused.code(), (409, "order_mismatch"));
    let body = json!({ "parent_id": blog, "ids": [child] });
    assert_eq!(api.call("PUT", "/sections/order", body).await.status, 200);
    let nowhere = json!({ "parent_id": child.replace(|_| true, "f"), "ids": [child] });
    let refused = api.call("PUT", "/sections/order", nowhere).await;
    assert_eq!(refused.code(), (422, "validation_failed"));
}

/// `/top`, `/top/middle`, `/top/middle/bottom`.
async fn three(api: &Api) -> [String; 3] {
    let top = api.add("Top", None).await.id();
    let middle = api.add("Middle", Some(&top)).await.id();
    let bottom = api.add("Bottom", Some(&middle)).await.id();
    [top, middle, bottom]
}

#[tokio::test]
async fn on_children_decides_about_the_sections_below_a_deleted_one() {
    let (_database, _neighbour, api) = site().await;
    let [top, middle, bottom] = three(&api).await;
    let path = format!("/sections/{middle}");
    assert_eq!(api.call("DELETE", &path, Value::Null).await.code(), (409, "has_children"));
    let reparent = format!("{path}?on_children=reparent");
    assert_eq!(api.call("DELETE", &reparent, Value::Null).await.status, 204);
    assert_eq!(api.get(&path).await.status, 404);
    assert_eq!(api.get(&format!("/sections/{bottom}")).await.body["parent_id"], json!(top));
    assert_eq!(api.resolve("/top/middle/bottom/x").await["moved_to"], "/top/bottom/x");
    let cascade = format!("/sections/{top}?on_children=cascade");
    assert_eq!(api.call("DELETE", &cascade, Value::Null).await.status, 204);
    for id in [&top, &bottom] {
        assert_eq!(api.get(&format!("/sections/{id}")).await.status, 404);
        let again = api.call("DELETE", &format!("/sections/{id}"), Value::Null).await;
        assert_eq!(again.code(), (404, "not_found"));
    }
}

#[tokio::test]
async fn sections_that_were_deleted_together_are_restored_together() {
    let (_database, _neighbour, api) = site().await;
    let [top, middle, bottom] = three(&api).await;
    let earlier = api.add("Earlier", Some(&top)).await.id();
    api.call("DELETE", &format!("/sections/{earlier}"), Value::Null).await;
    let cascade = format!("/sections/{top}?on_children=cascade");
    assert_eq!(api.call("DELETE", &cascade, Value::Null).await.status, 204);

    let restore =
        async |id: &str| api.call("POST", &format!("/sections/{id}/restore"), Value::Null).await;
    let refused = restore(&middle).await;
    assert_eq!(refused.code(), (409, "conflict"));
    assert!(refused.body["detail"].as_str().unwrap().contains("\"Top\""), "{refused:?}");
    let usurper = api.add("Bottom", None).await;
    let refused = restore(&top).await;
    assert_eq!(refused.code(), (409, "slug_taken"));
    assert!(refused.body["detail"].as_str().unwrap().contains("`bottom`"), "{refused:?}");
    assert_eq!(api.get(&format!("/sections/{top}")).await.status, 404);
    api.call("PATCH", &at(&usurper), json!({ "slug": "else" })).await;
    assert_eq!(restore(&top).await.status, 200);
    assert_eq!(restore(&top).await.status, 200);
    for (id, status) in [(&top, 200), (&middle, 200), (&bottom, 200), (&earlier, 404)] {
        assert_eq!(api.get(&format!("/sections/{id}")).await.status, status);
    }
    assert_eq!(restore("ffffffffffffffffffffffff").await.code(), (404, "not_found"));
}

#[tokio::test]
async fn a_section_with_content_is_neither_deleted_nor_given_another_type() {
    let (database, neighbour, api) = site().await;
    let [top, middle, bottom] = three(&api).await;
    neighbour.has(&bottom, 12);
    neighbour.has(&middle, 1);
    let before = database.hash().await;
    let cascade =
        api.call("DELETE", &format!("/sections/{top}?on_children=cascade"), Value::Null).await;
    let single = api.call("DELETE", &format!("/sections/{bottom}"), Value::Null).await;
    let other = json!({ "content_type": "page" });
    let retyped = api.call("PATCH", &format!("/sections/{bottom}"), other.clone()).await;
    assert_eq!(database.hash().await, before);
    assert_json_snapshot!([cascade.shown(), single.shown(), retyped.shown()]);
    neighbour.has(&bottom, 0);
    assert_eq!(api.call("PATCH", &format!("/sections/{bottom}"), other).await.status, 200);
}

#[tokio::test]
async fn the_real_content_service_counts_the_content_of_a_section() {
    let database = TestDatabase::new().await;
    let (sections, _content) = Service::both(&database).await;
    let api = Api::of(sections);
    let section = api.add("Notes", None).await;
    let story = doc! { "title": "x", "section_id": section.id(), "is_published": false };
    let mut gone = story.clone();
    gone.insert("deleted", true);
    let page = doc! { "title": "x", "section_id": section.id() };
    database.insert("stories", [story, gone]).await;
    database.insert("pages", [page]).await;
    let refused = api.call("DELETE", &at(&section), Value::Null).await;
    assert_eq!(refused.code(), (409, "has_content"));
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.starts_with("2 items of content"), "{detail}");
    for kind in ["stories", "pages"] {
        let delete = doc! { "$set": { "deleted": true } };
        database.collection(kind).update_many(doc! {}, delete).await.unwrap();
    }
    assert_eq!(api.call("DELETE", &at(&section), Value::Null).await.status, 204);
}

#[tokio::test]
async fn without_content_service_nothing_is_deleted() {
    let database = TestDatabase::new().await;
    let api = Api::with(&database, &[("content.url", "http://127.0.0.1:1")]).await;
    let blog = at(&api.get("/sections/slug/blog").await);
    let before = database.hash().await;
    let deleted = api.call("DELETE", &blog, Value::Null).await;
    let retyped = api.call("PATCH", &blog, json!({ "content_type": "page" })).await;
    assert_eq!(database.hash().await, before);
    assert_json_snapshot!([deleted.shown(), retyped.shown()]);
    // Changes that do not depend on content are made.
    assert_eq!(api.call("PATCH", &blog, json!({ "title": "Notes" })).await.status, 200);
}

#[tokio::test]
async fn an_answer_of_another_server_does_not_count_as_no_content() {
    let database = TestDatabase::new().await;
    let other = TestDatabase::new().await;
    let other_service = Api::with(&other, &[]).await;
    let api = Api::with(&database, &[("content.url", &other_service.service.url)]).await;
    let blog = at(&api.get("/sections/slug/blog").await);
    let deleted = api.call("DELETE", &blog, Value::Null).await;
    assert_eq!(deleted.code(), (503, "upstream_unavailable"));
    assert_eq!(api.get(&blog).await.status, 200);
}

#[tokio::test]
async fn each_invalid_request_has_its_status_and_detail() {
    let (_database, _neighbour, api) = site().await;
    let blog = api.get("/sections/slug/blog").await.id();
    let [top, middle, _bottom] = three(&api).await;
    let mut deepest = api.add("1", None).await.id();
    for level in 2..=8 {
        deepest = api.add(&level.to_string(), Some(&deepest)).await.id();
    }
    let nobody = "ffffffffffffffffffffffff";
    let section = |id: &str| format!("/sections/{id}");
    let new = |more: Value| {
        let mut body = json!({ "title": "x", "content_type": "story" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Some(body.to_string())
    };
    let some = |body: Value| Some(body.to_string());
    let json = "application/json";
    let mut shown = serde_json::Map::new();
    for (what, method, path, content_type, body) in [
        ("malformed JSON", "POST", "/sections".to_owned(), json, Some("{\"title\":".to_owned())),
        ("no JSON object", "POST", "/sections".to_owned(), json, Some("[]".to_owned())),
        ("an id that is none", "PATCH", section("blog"), json, some(json!({}))),
        ("an unknown section", "PATCH", section(nobody), json, some(json!({}))),
        ("an unknown section to delete", "DELETE", section(nobody), json, None),
        ("an unknown section to restore", "POST", section(nobody) + "/restore", json, None),
        ("another media type", "POST", "/sections".to_owned(), "text/plain", new(json!({}))),
        ("a body that is too large", "PATCH", section(&blog), json, Some(" ".repeat(5_000_000))),
        ("unknown fields", "POST", "/sections".to_owned(), json, new(json!({ "colour": "red" }))),
        ("missing fields", "POST", "/sections".to_owned(), json, some(json!({}))),
        ("a blank title", "PATCH", section(&blog), json, some(json!({ "title": " " }))),
        ("an operator", "PATCH", section(&blog), json, some(json!({ "slug": { "$gt": "" } }))),
        ("a slug that is none", "PATCH", section(&blog), json, some(json!({ "slug": "No Slug" }))),
        ("a slug that is taken", "PATCH", section(&blog), json, some(json!({ "slug": "about" }))),
        (
            "a slug taken from the start",
            "POST",
            "/sections".to_owned(),
            json,
            new(json!({ "slug": "about" })),
        ),
        (
            "a parent that is missing",
            "POST",
            "/sections".to_owned(),
            json,
            new(json!({ "parent_id": nobody })),
        ),
        ("below itself", "PATCH", section(&top), json, some(json!({ "parent_id": middle }))),
        ("too deep", "POST", "/sections".to_owned(), json, new(json!({ "parent_id": deepest }))),
        ("children", "DELETE", section(&top), json, None),
        (
            "an order of others",
            "PUT",
            "/sections/order".to_owned(),
            json,
            some(json!({ "ids": [blog, nobody] })),
        ),
        ("an unknown way to delete", "DELETE", section(&top) + "?on_children=eat", json, None),
        ("an unknown parameter", "POST", "/sections?dry=1".to_owned(), json, new(json!({}))),
        ("a method that is not there", "POST", section(&top), json, new(json!({}))),
        ("no method for reading", "GET", "/sections/order".to_owned(), json, None),
    ] {
        let answer = api.send(method, &path, &[("content-type", content_type)], body).await;
        assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
        shown.insert(what.to_owned(), answer.shown());
    }
    let shown = Value::Object(shown).to_string();
    let shown = [(&blog, "[blog]"), (&top, "[top]"), (&deepest, "[deepest]")]
        .iter()
        .fold(shown, |text, (id, name)| text.replace(id.as_str(), name));
    assert_json_snapshot!(serde_json::from_str::<Value>(&shown).unwrap());
}

#[tokio::test]
async fn only_admins_change_sections() {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let info = format!("{}/tokeninfo", neighbour.url);
    let google = [
        ("content.url", &*neighbour.url),
        ("auth.mode", "google"),
        ("auth.google.audience", "site"),
        ("auth.google.tokeninfo_url", &info),
    ];
    let author = Api::with(&database, &google).await.sent_by(Some("ann"));
    let stranger = Api::with(&database, &google).await.sent_by(Some("stranger"));
    let nobody = Api::with(&database, &google).await.sent_by(None);
    let blog = at(&author.get("/sections/slug/blog").await);
    let before = database.hash().await;
    let drafts = author.get("/sections?include_drafts=true").await;
    assert_eq!(drafts.status, 200, "{drafts:?}");
    let mut shown = Vec::new();
    for (method, path, body) in [
        ("POST", "/sections", json!({ "title": "x", "content_type": "story" })),
        ("PUT", &*blog, json!({ "title": "x" })),
        ("PATCH", &blog, json!({ "title": "x" })),
        ("DELETE", &blog, Value::Null),
        ("POST", &format!("{blog}/restore"), Value::Null),
        ("PUT", "/sections/order", json!({ "ids": ["ffffffffffffffffffffffff"] })),
        ("GET", "/internal/integrity", Value::Null),
        ("POST", "/internal/integrity/repair?dry_run=false", Value::Null),
    ] {
        let refused = author.call(method, path, body.clone()).await;
        assert_eq!(refused.code(), (403, "forbidden"), "{method} {path}");
        // What is wrong with a request is nothing to tell who may not send it.
        let with_query = format!("{path}{}x=1", if path.contains('?') { '&' } else { '?' });
        for (path, header, body) in [
            (path, ("content-type", "application/json"), "{"),
            (path, ("content-type", "application/json"), r#"{"nope": 1}"#),
            (path, ("content-type", "text/plain"), "x"),
            (path, ("idempotency-key", ""), "{}"),
            (&with_query, ("content-type", "application/json"), "{}"),
        ] {
            for api in [&author, &stranger] {
                let refused = api.send(method, path, &[header], Some(body.to_owned())).await;
                assert_eq!(refused.code(), (403, "forbidden"), "{method} {path} {header:?}");
            }
        }
        let refused = stranger.call(method, path, body.clone()).await;
        assert_eq!(refused.code(), (403, "forbidden"), "{method} {path}");
        let refused = nobody.call(method, path, body).await;
        assert_eq!(refused.code(), (401, "unauthorized"), "{method} {path}");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
        shown = vec![refused.shown()];
    }
    shown.push(author.call("DELETE", &blog, Value::Null).await.shown());
    shown.push(stranger.call("DELETE", &blog, Value::Null).await.shown());
    let nobody = nobody.sent_by(Some(""));
    shown.push(nobody.call("DELETE", &blog, Value::Null).await.shown());
    assert_json_snapshot!(shown);
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn a_failed_look_up_of_the_user_is_answered_with_retry_after() {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let info = format!("{}/tokeninfo", neighbour.url);
    let google = [
        ("content.url", "http://127.0.0.1:1"),
        ("auth.mode", "google"),
        ("auth.google.audience", "site"),
        ("auth.google.tokeninfo_url", &*info),
    ];
    let api = Api::with(&database, &google).await.sent_by(Some("ann"));
    let answer = api.add_refused().await;
    assert_json_snapshot!(answer.shown());
}

#[tokio::test]
async fn without_a_database_a_change_is_answered_with_retry_after() {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let link = database.link().await;
    let uri = link.mongodb_uri();
    let others = [
        ("content.url", &*neighbour.url),
        ("mongodb.uri", &*format!("{uri}&serverSelectionTimeoutMS=300")),
    ];
    let api = Api::with(&database, &others).await;
    drop(link);
    let answer = api.add_refused().await;
    assert_eq!(answer.code(), (503, "database_unavailable"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), "2");
}
