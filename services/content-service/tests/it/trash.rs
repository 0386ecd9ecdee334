//! The trash: what it has, who sees it, what stands in the way of restoring, and what removes it for good.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

use chrono::{DateTime as Time, Utc};
use futures_util::TryStreamExt;
use models::ContentType;
use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{Api, Provider, Service, TestDatabase, eventually, settings};

use crate::{
    changes::Reader,
    support::{Site, created, day, profile, profiled, section, story, user, with},
};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn id(item: &Value) -> &str {
    item["id"].as_str().unwrap_or_else(|| panic!("no id: {item}"))
}

fn path(kind: ContentType, item: &Value) -> String {
    format!("/{}/{}", kind.collection(), id(item))
}

/// Adds an item of a kind.
async fn add(site: &Site, kind: ContentType, fields: Value) -> Value {
    let mut body = json!({ "title": "A lamp", "content": "<p>It burns.</p>" });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    created(site, kind.collection(), body).await
}

/// Returns the items of all pages of the trash.
async fn walk(api: &Api, query: &str) -> Vec<Value> {
    let (mut items, mut next) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/trash?{query}{next}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        items.extend(page.body["items"].as_array().unwrap().iter().cloned());
        assert!(items.len() < 10_000, "the walk does not end");
        let Some(cursor) = page.body["next_cursor"].as_str() else { return items };
        next = format!("&cursor={cursor}");
    }
}

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(id).collect()
}

#[tokio::test]
async fn items_of_every_kind_are_in_one_list_the_last_deleted_first() {
    let database = TestDatabase::new().await;
    let admin = [("admin.email", "admin@example.org")];
    let site = Site::start_with(&database, &admin).await;
    let api = Api::new(site.content.url.clone());
    assert_eq!(api.get("/trash").await.body["items"], json!([]));
    let began = DateTime::now().timestamp_millis();
    let mut expected = Vec::new();
    for round in 0..2 {
        for kind in ContentType::ALL {
            let item = add(&site, kind, json!({ "slug": format!("lamp-{round}") })).await;
            let collection = kind.collection();
            let stored = doc! { "_id": ObjectId::parse_str(id(&item)).unwrap() };
            let as_added = database.one(collection, stored.clone()).await;
            assert_eq!(api.call("DELETE", &path(kind, &item), Value::Null).await.status, 204);
            let deleted = database.one(collection, stored).await;
            // Several people may have the static token.
            assert_eq!(deleted.get("deleted_by"), Some(&Bson::Null));
            let at = deleted.get_datetime("deleted_at").unwrap();
            assert_eq!(at, deleted.get_datetime("updatedDate").unwrap());
            // Nothing else is changed.
            for (field, value) in &as_added {
                if !["deleted", "updatedDate"].contains(&field.as_str()) {
                    assert_eq!(deleted.get(field), Some(value), "{field}");
                }
            }
            expected.push((kind, item, at.timestamp_millis()));
        }
    }
    let place = |kind| ContentType::ALL.iter().position(|one| *one == kind);
    expected
        .sort_by_key(|(kind, item, at)| (Reverse(*at), place(*kind), Reverse(id(item).to_owned())));
    for limit in [1, 2, 3, 50] {
        let items = walk(&api, &format!("limit={limit}")).await;
        let of = expected.iter().map(|(_, item, _)| id(item)).collect::<Vec<_>>();
        assert_eq!(ids(&items), of, "{limit}");
    }
    let items = walk(&api, "limit=4").await;
    for (found, (kind, item, at)) in items.iter().zip(&expected) {
        assert_eq!(found["content_type"], kind.as_str());
        for member in ["title", "slug", "section_id", "user_id", "is_published"] {
            assert_eq!(found[member], item[member], "{member}");
        }
        let time: Time<Utc> = found["deleted_at"].as_str().unwrap().parse().unwrap();
        assert_eq!(time.timestamp_millis(), *at);
        assert!((*at - began).abs() < DAY_MS / 24, "{time}");
        // Its name is its address, which is for nobody.
        assert_eq!(found["deleted_by"], Value::Null);
        assert_eq!(found["obstacles"], json!([]), "{found}");
    }
    for kind in ContentType::ALL {
        let items = walk(&api, &format!("limit=1&content_type={}", kind.as_str())).await;
        let of_kind = expected.iter().filter(|(one, ..)| *one == kind);
        assert_eq!(ids(&items), of_kind.map(|(_, item, _)| id(item)).collect::<Vec<_>>());
    }

    // A restored item has nothing of it left.
    let (kind, item, _) = &expected[0];
    let restored = api.call("POST", &format!("{}/restore", path(*kind, item)), Value::Null).await;
    assert_eq!(restored.status, 200, "{restored:?}");
    let stored = doc! { "_id": ObjectId::parse_str(id(item)).unwrap() };
    let stored = database.one(kind.collection(), stored).await;
    assert!(!stored.get_bool("deleted").unwrap());
    assert!(!stored.contains_key("deleted_at") && !stored.contains_key("deleted_by"), "{stored}");
    assert_eq!(walk(&api, "").await.len(), expected.len() - 1);
    site.stop().await;
}

#[tokio::test]
async fn a_page_of_the_trash_is_for_callers_with_a_token_and_for_valid_parameters() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let api = Api::new(site.content.url.clone());
    add(&site, ContentType::Story, json!({})).await;
    let stranger = api.clone().sent_by(None);
    for path in ["/trash", "/trash?limit=x"] {
        assert_eq!(stranger.get(path).await.code(), (401, "unauthorized"));
    }
    let gone = format!("/trash/story/{}", ObjectId::new());
    assert_eq!(stranger.call("DELETE", &gone, Value::Null).await.code(), (401, "unauthorized"));
    for query in [
        "limit=0",
        "limit=51",
        "cursor=x",
        "cursor=",
        "content_type=stories",
        "content_type=",
        "kind=story",
        "limit=1&limit=2",
    ] {
        assert_eq!(api.get(&format!("/trash?{query}")).await.status, 422, "{query}");
    }
    let page = api.get("/trash").await;
    assert_eq!(page.header("cache-control"), "private, no-store");
    assert_eq!(page.header("vary"), "authorization");
    let known = [("if-none-match", page.header("etag"))];
    assert_eq!(api.send("GET", "/trash", &known, None).await.status, 304);
    site.stop().await;
}

/// A deleted item of a former site.
fn old(fields: Document) -> Document {
    let item = doc! { "_id": ObjectId::new(), "title": "Old", "deleted": true };
    with(item, fields)
}

#[tokio::test]
async fn what_a_former_site_deleted_comes_last_and_is_never_lost() {
    let database = TestDatabase::new().await;
    let at = |ms: i64| DateTime::from_millis(1_700_000_000_000 + ms);
    let mut all = BTreeSet::new();
    let mut dated = HashMap::new();
    for kind in ContentType::ALL {
        let (collection, word) = (kind.collection(), kind.as_str());
        let items = [
            // At the same time in all kinds.
            old(doc! { "deleted_at": at(5) }),
            old(doc! { "deleted_at": at(5), "deleted_by": Bson::Null }),
            old(doc! { "_id": format!("2015/02/{word}"), "deleted_at": at(5) }),
            old(doc! { "deleted_at": at(7) }),
            old(doc! { "deleted_at": [at(9), at(1)] }),
            old(doc! { "deleted_at": [Bson::Null, at(9), "x"] }),
            old(doc! { "deleted_at": [Bson::Null, "x"] }),
            old(doc! { "deleted_at": [Bson::Null] }),
            old(doc! {}),
            old(doc! { "deleted_at": Bson::Null }),
            old(doc! { "deleted_at": [] }),
            old(doc! { "deleted": 1 }),
            old(doc! { "deleted": "true", "deleted_at": "2019-05-01T00:00:00Z" }),
            old(doc! { "deleted": "1", "deleted_at": 1_556_668_800_i64 }),
            old(doc! { "deleted_at": { "by": "me" } }),
            old(doc! { "deleted_at": true, "deleted_by": 7, "slug": 7, "title": [1] }),
            old(doc! { "_id": format!("{word}?&#%2F"), "section_id": "x", "user_id": "y" }),
            old(doc! { "_id": 1.5 }),
        ];
        for item in &items {
            let id = match item.get("_id").unwrap() {
                Bson::ObjectId(id) => id.to_hex(),
                Bson::String(id) => id.clone(),
                other => other.to_string(),
            };
            let time = match item.get("deleted_at") {
                Some(Bson::DateTime(date)) => Some(date.timestamp_millis()),
                Some(Bson::Array(dates)) if dates.contains(&at(9).into()) => {
                    Some(at(9).timestamp_millis())
                }
                _ => None,
            };
            dated.insert((word.to_owned(), id.clone()), time);
            all.insert((word.to_owned(), id));
        }
        let count = items.len();
        database.insert(collection, items).await;
        // Not in the trash.
        let present = [
            doc! { "deleted": false, "deleted_at": at(5) },
            doc! { "deleted_at": at(5) },
            doc! { "deleted": [true] },
            doc! { "deleted": "perhaps" },
            doc! { "deleted": Bson::Null },
        ];
        let present = present.map(|fields| with(story("present", day(1)), fields));
        database.insert(collection, present).await;
        assert_eq!(count, 18);
    }
    let site = Site::start(&database).await;
    let api = Api::new(site.content.url.clone());
    let key =
        |item: &Value| (item["content_type"].as_str().unwrap().to_owned(), id(item).to_owned());
    for limit in [1, 4, 50] {
        let items = walk(&api, &format!("limit={limit}")).await;
        let found: Vec<_> = items.iter().map(key).collect();
        assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), all, "{limit}");
        assert_eq!(found.len(), all.len(), "each once: {found:#?}");
        let times: Vec<_> = found.iter().map(|item| dated[item]).collect();
        let mut sorted = times.clone();
        sorted.sort_by(|one, other| other.cmp(one));
        assert_eq!(times, sorted, "{limit}");
    }
    let items = walk(&api, "content_type=story").await;
    let of = |value: &str| items.iter().filter(|item| item["deleted_at"] == value).count();
    assert_eq!(of("2019-05-01T00:00:00.000Z"), 2, "{items:#?}");
    assert!(items.iter().all(|item| item["deleted_by"].is_null()), "{items:#?}");
    // Each can be restored.
    for item in items {
        let id = id(&item).replace('%', "%25").replace('/', "%2F").replace('?', "%3F");
        let id = id.replace('#', "%23");
        let restored = api.call("POST", &format!("/stories/{id}/restore"), Value::Null).await;
        assert_eq!(restored.status, 200, "{item}: {restored:?}");
    }
    assert_eq!(walk(&api, "content_type=story").await, Vec::<Value>::new());
    site.stop().await;
}

#[tokio::test]
async fn authors_see_what_is_theirs_and_admins_alone_delete_for_good() {
    let database = TestDatabase::new().await;
    let provider = Provider::start();
    let ann = user(&database, "ann", "author").await;
    user(&database, "bob", "author").await;
    user(&database, "admin", "admin").await;
    let site = Site::start_with(&database, &provider.settings()).await;
    let as_ = |name| Api::new(site.content.url.clone()).sent_by(Some(name));
    let (as_ann, as_bob, as_admin) = (as_("ann"), as_("bob"), as_("admin"));
    let mut own = Vec::new();
    for kind in ContentType::ALL {
        let body = json!({ "title": "Mine", "content": "" });
        let collection = format!("/{}", kind.collection());
        for api in [&as_ann, &as_bob] {
            let item = api.call("POST", &collection, body.clone()).await.body;
            assert_eq!(api.call("DELETE", &path(kind, &item), Value::Null).await.status, 204);
            if item["user_id"] == ann.as_str() {
                own.insert(0, id(&item).to_owned());
            }
        }
        database.insert(kind.collection(), [old(doc! {})]).await;
        let theirs = old(doc! { "user_id": ObjectId::parse_str(&ann).unwrap() });
        own.push(theirs.get_object_id("_id").unwrap().to_hex());
        database.insert(kind.collection(), [theirs]).await;
    }
    let items = walk(&as_ann, "limit=2").await;
    assert_eq!(ids(&items), own);
    assert_eq!(items[0]["deleted_by"], json!({ "id": ann, "name": "ann" }));
    assert_eq!(walk(&as_admin, "limit=2").await.len(), 4 * ContentType::ALL.len());

    let item = &walk(&as_ann, "").await[0];
    let gone = format!("/trash/{}/{}", item["content_type"].as_str().unwrap(), id(item));
    assert_eq!(as_ann.call("DELETE", &gone, Value::Null).await.code(), (403, "forbidden"));
    assert_eq!(as_admin.call("DELETE", &gone, Value::Null).await.status, 204);
    assert_eq!(ids(&walk(&as_ann, "").await), own[1..]);
    site.stop().await;
}

#[tokio::test]
async fn deleting_for_good_leaves_nothing_of_the_item() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let api = Api::new(site.content.url.clone());
    for kind in ContentType::ALL {
        let (collection, word) = (kind.collection(), kind.as_str());
        let item = add(&site, kind, json!({ "slug": "first" })).await;
        let other = add(&site, kind, json!({ "slug": "other" })).await;
        for (item, slug) in [(&item, "second"), (&item, "third"), (&other, "another")] {
            let renamed = api.call("PATCH", &path(kind, item), json!({ "slug": slug })).await;
            assert_eq!(renamed.status, 200, "{renamed:?}");
        }
        let object_id = ObjectId::parse_str(id(&item)).unwrap();
        let kept = [
            ("content_search", doc! { "_id": { "kind": collection, "item": object_id } }),
            ("content_former_slugs", doc! { "_id.collection": collection, "item_id": object_id }),
            (collection, doc! { "_id": object_id }),
        ];
        let counts = async || {
            let mut counts = Vec::new();
            for (collection, filter) in &kept {
                counts.push(database.count(collection, filter.clone()).await);
            }
            counts
        };
        assert_eq!(counts().await, [1, 2, 1], "{word}");
        let draft = json!({ "title": "Draft", "content": "" });
        let draft = api.call("PUT", &format!("{}/draft", path(kind, &item)), draft).await;
        assert_eq!(draft.status, 200, "{draft:?}");
        let of_draft = doc! { "_id.collection": collection, "_id.item": id(&item) };
        let of_revisions = doc! { "_id.kind": collection, "_id.item": object_id };
        let has_more = async || {
            let drafts = database.count("content_drafts", of_draft.clone()).await;
            let revisions = database.count("content_revisions", of_revisions.clone()).await;
            [drafts > 0, revisions > 0]
        };
        let gone = format!("/trash/{word}/{}", id(&item));
        let refused = api.call("DELETE", &gone, Value::Null).await;
        assert_eq!(refused.code(), (409, "conflict"), "{refused:?}");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("DELETE {}", path(kind, &item))), "{detail}");

        assert_eq!(api.call("DELETE", &path(kind, &item), Value::Null).await.status, 204);
        let listed = walk(&api, "").await[0].clone();
        let etag = listed["etag"].as_str().unwrap();
        let send = async |tag: &str| api.send("DELETE", &gone, &[("if-match", tag)], None).await;
        assert_eq!(send("\"another\"").await.code(), (412, "precondition_failed"));
        // Restored, changed and deleted again since the list was read.
        let restore = format!("{}/restore", path(kind, &item));
        assert_eq!(api.call("POST", &restore, Value::Null).await.status, 200);
        assert_eq!(api.call("DELETE", &path(kind, &item), Value::Null).await.status, 204);
        assert_eq!(send(etag).await.code(), (412, "precondition_failed"));
        assert_eq!((counts().await, has_more().await), (vec![1, 2, 1], [true; 2]), "{word}");
        let listed = walk(&api, "").await[0].clone();
        assert_eq!(send(listed["etag"].as_str().unwrap()).await.status, 204);
        assert_eq!((counts().await, has_more().await), (vec![0; 3], [false; 2]), "{word}");
        assert_eq!(send("*").await.code(), (404, "not_found"));
        assert_eq!(api.call("POST", &restore, Value::Null).await.code(), (404, "not_found"));
        assert_eq!(walk(&api, "").await, Vec::<Value>::new());

        // What is kept about the other one stays, and the slugs are free.
        let other_id = ObjectId::parse_str(id(&other)).unwrap();
        assert_eq!(database.count("content_search", doc! { "_id.item": other_id }).await, 1);
        assert_eq!(database.count("content_former_slugs", doc! { "item_id": other_id }).await, 1);
        let again = add(&site, kind, json!({ "slug": "third" })).await;
        assert_eq!(again["slug"], "third");
    }
    for (path, status) in [
        ("/trash/story/x", 400),
        ("/trash/stories/626e3e0035b0bc65bb5e1545", 404),
        ("/trash/story/626e3e0035b0bc65bb5e1545", 404),
        ("/trash/%24gt/626e3e0035b0bc65bb5e1545", 404),
        ("/trash/story/626e3e0035b0bc65bb5e1545?force=true", 422),
    ] {
        assert_eq!(api.call("DELETE", path, Value::Null).await.status, status, "{path}");
    }
    site.stop().await;

    let required = [("server.require_if_match", "true")];
    let site = Site::start_with(&database, &required).await;
    let api = Api::new(site.content.url.clone());
    let item = old(doc! {});
    let gone = format!("/trash/page/{}", item.get_object_id("_id").unwrap());
    database.insert("pages", [item]).await;
    let missing = api.call("DELETE", &gone, Value::Null).await;
    assert_eq!(missing.code(), (428, "precondition_required"));
    let etag = walk(&api, "content_type=page").await[0]["etag"].as_str().unwrap().to_owned();
    assert_eq!(api.send("DELETE", &gone, &[("if-match", &etag)], None).await.status, 204);
    site.stop().await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_what_restoring_would_meet() {
    let database = TestDatabase::new().await;
    let mut parents = HashMap::new();
    for kind in ContentType::ALL {
        let fields = doc! { "content_type": kind.as_str() };
        for name in ["open", "deleted", "hidden", "changed"] {
            let slug = format!("{name}-{}", kind.collection());
            parents.insert((kind, name), section(&database, &slug, fields.clone()).await);
        }
    }
    let site = Site::start(&database).await;
    let api = Api::new(site.content.url.clone());
    let sections = Api::new(site.sections.url.clone());
    for kind in ContentType::ALL {
        let mut items = HashMap::new();
        for (name, parent) in [
            ("free", Some("open")),
            ("loose", None),
            ("twin", Some("open")),
            ("place", Some("open")),
            ("of-deleted", Some("deleted")),
            ("of-hidden", Some("hidden")),
            ("of-changed", Some("changed")),
        ] {
            let parent = parent.map(|parent| &parents[&(kind, parent)]);
            let item = add(&site, kind, json!({ "slug": name, "section_id": parent })).await;
            assert_eq!(api.call("DELETE", &path(kind, &item), Value::Null).await.status, 204);
            items.insert(name, item);
        }
        let missing = old(doc! { "slug": "of-missing", "section_id": "f".repeat(24) });
        items.insert("of-missing", json!({ "id": missing.get_object_id("_id").unwrap().to_hex() }));
        database.insert(kind.collection(), [missing]).await;

        add(&site, kind, json!({ "slug": "twin", "section_id": null, "is_published": false }))
            .await;
        let below = json!({
            "title": "Below", "slug": "place", "content_type": kind,
            "parent_id": parents[&(kind, "open")],
        });
        // Slugs of sections are unique.
        let below = sections.call("POST", "/sections", below).await;
        assert_eq!(below.status, 201, "{below:?}");
        let at = |name| format!("/sections/{}", parents[&(kind, name)]);
        let other = ContentType::ALL.into_iter().find(|one| *one != kind).unwrap();
        for (method, path, body, status) in [
            ("DELETE", at("deleted"), Value::Null, 204),
            ("PATCH", at("hidden"), json!({ "is_published": false }), 200),
            ("PATCH", at("changed"), json!({ "content_type": other }), 200),
        ] {
            let answer = sections.call(method, &path, body).await;
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        }

        let expected: HashMap<&str, Vec<(&str, bool)>> = HashMap::from([
            ("free", vec![]),
            ("loose", vec![]),
            ("twin", vec![("slug_taken", true)]),
            ("place", vec![("slug_taken", true)]),
            ("of-deleted", vec![("section_deleted", false)]),
            ("of-hidden", vec![("section_hidden", false)]),
            ("of-changed", vec![("section_of_other_kind", false)]),
            ("of-missing", vec![("section_missing", false)]),
        ]);
        let query = format!("content_type={}", kind.as_str());
        let found = async || {
            let items = walk(&api, &query).await;
            let obstacles = items.into_iter().map(|item| {
                let slug = item["slug"].as_str().unwrap().to_owned();
                (slug, item["obstacles"].as_array().unwrap().clone())
            });
            obstacles.collect::<HashMap<_, _>>()
        };
        let shown = |obstacles: &[Value]| {
            let code = |one: &Value| one["code"].as_str().unwrap().to_owned();
            let all = obstacles.iter();
            all.map(|one| (code(one), one["is_blocking"] == true)).collect::<Vec<_>>()
        };
        let wanted = |codes: &[(&str, bool)]| {
            codes.iter().map(|(code, flag)| ((*code).to_owned(), *flag)).collect::<Vec<_>>()
        };
        eventually("the sections are known", async || {
            let found = found().await;
            expected.iter().all(|(name, codes)| shown(&found[*name]) == wanted(codes))
        })
        .await;
        let found = found().await;
        assert_eq!(found.len(), expected.len());
        // Restoring meets the same.
        for (name, item) in &items {
            let restore = format!("{}/restore", path(kind, item));
            let restored = api.call("POST", &restore, Value::Null).await;
            match found[*name].iter().find(|one| one["is_blocking"] == true) {
                Some(obstacle) => {
                    assert_eq!(restored.code(), (409, "slug_taken"), "{name}: {restored:?}");
                    assert_eq!(restored.body["code"], obstacle["code"]);
                    assert_eq!(restored.body["detail"], obstacle["detail"], "{name}");
                }
                None => assert_eq!(restored.status, 200, "{name}: {restored:?}"),
            }
        }
        // The next kind has a section with this slug of its own.
        let below = format!("/sections/{}", below.id());
        assert_eq!(sections.call("DELETE", &below, Value::Null).await.status, 204);
    }
    site.stop().await;
}

#[tokio::test]
async fn the_trash_is_emptied_of_what_was_deleted_some_days_ago() {
    let database = TestDatabase::new().await;
    let ago = |days: i64| DateTime::from_millis(DateTime::now().timestamp_millis() - days * DAY_MS);
    let deleted = |days: i64| doc! { "deleted_at": ago(days), "deleted_by": Bson::Null };
    for kind in ContentType::ALL {
        let aged =
            (0..250).map(|number| old(with(deleted(4), doc! { "_id": format!("aged-{number}") })));
        database.collection(kind.collection()).insert_many(aged).await.unwrap();
        let kept = [
            ("young", deleted(2)),
            ("without", doc! {}),
            ("of-the-former-site", doc! { "deleted_at": ago(400) }),
            ("text", doc! { "deleted_at": "2019-05-01", "deleted_by": "me" }),
            ("several", doc! { "deleted_at": [ago(400)], "deleted_by": "me" }),
            ("null", doc! { "deleted_at": Bson::Null, "deleted_by": Bson::Null }),
            ("present", with(deleted(4), doc! { "deleted": false })),
            ("odd", with(deleted(4), doc! { "deleted": [true] })),
        ];
        let kept = kept.map(|(id, fields)| old(with(fields, doc! { "_id": id })));
        database.insert(kind.collection(), kept).await;
        let of_aged = doc! { "_id": { "kind": kind.collection(), "item": "aged-7" }, "text": "x" };
        database.insert("content_search", [of_aged]).await;
        let former = doc! {
            "_id": { "collection": kind.collection(), "slug": "was" }, "item_id": "aged-7",
        };
        database.insert("content_former_slugs", [former]).await;
    }
    let before = async |collection: &str| {
        let collection = database.database().collection::<RawDocumentBuf>(collection);
        let young = doc! { "_id": { "$not": { "$regex": "^aged" } } };
        let all = collection.find(young).sort(doc! { "_id": 1 }).await.unwrap();
        all.try_collect::<Vec<_>>().await.unwrap()
    };
    // Without the setting, nothing is ever removed.
    let site = Site::start(&database).await;
    assert_eq!(walk(&Api::new(site.content.url.clone()), "limit=50").await.len(), 3 * 256);
    let mut kept = Vec::new();
    for kind in ContentType::ALL {
        kept.push(before(kind.collection()).await);
    }
    assert_eq!(database.count("content_trash", doc! {}).await, 0);
    let with_days = [("trash.empty_after_days", "3"), ("sections.url", &site.sections.url)];
    let replicas = [
        Service::content(&settings(&database, &with_days)).await,
        Service::content(&settings(&database, &with_days)).await,
    ];
    let aged = doc! { "_id": { "$regex": "^aged" } };
    eventually("the old items are removed", async || {
        let mut left = 0;
        for kind in ContentType::ALL {
            left += database.count(kind.collection(), aged.clone()).await;
        }
        left == 0
    })
    .await;
    for collection in ["content_search", "content_former_slugs"] {
        let of_aged = doc! { "$or": [{ "_id.item": "aged-7" }, { "item_id": "aged-7" }] };
        assert_eq!(database.count(collection, of_aged).await, 0, "{collection}");
    }
    for (kind, kept) in ContentType::ALL.into_iter().zip(kept) {
        assert_eq!(kept.len(), 8);
        assert_eq!(before(kind.collection()).await, kept, "{}", kind.collection());
    }
    for replica in replicas {
        replica.stop().await.unwrap();
    }
    // The next one need not wait.
    let lease = database.one("content_trash", doc! {}).await;
    assert_eq!(lease.get("owner"), Some(&Bson::Null), "{lease}");
    site.stop().await;
}

#[tokio::test]
async fn a_page_far_behind_in_a_large_trash_reads_little_more_than_it_has() {
    let database = TestDatabase::new().await;
    let provider = Provider::start();
    let ann = user(&database, "ann", "author").await;
    user(&database, "admin", "admin").await;
    let at = |number: i64| DateTime::from_millis(1_700_000_000_000 + number);
    let stories = (0..6_000_i64).map(|number| {
        let mut item = story(&number.to_string(), day(1));
        match number % 3 {
            0 => item.extend(doc! { "deleted": true, "deleted_at": at(number), "deleted_by": "x" }),
            1 => item.extend(
                doc! { "deleted": if number % 2 == 0 { 1.into() } else { Bson::from(true) } },
            ),
            _ => {}
        }
        if [5_997, 100].contains(&number) {
            item.insert("user_id", &ann);
        }
        item
    });
    database.collection("stories").insert_many(stories).await.unwrap();
    let site = Site::start_with(&database, &provider.settings()).await;
    let as_ = |name| Api::new(site.content.url.clone()).sent_by(Some(name));
    let (as_admin, as_ann) = (as_("admin"), as_("ann"));
    // A place among the dated ones, and one among the others.
    let mut cursors = vec![String::new()];
    let mut cursor = String::new();
    for page in 0..70 {
        let found = as_admin.get(&format!("/trash?limit=50&content_type=story{cursor}")).await;
        cursor = format!("&cursor={}", found.body["next_cursor"].as_str().unwrap());
        if [20, 69].contains(&page) {
            cursors.push(cursor.clone());
        }
    }
    for (number, cursor) in cursors.iter().enumerate() {
        profile(&database, 2).await;
        let page = as_admin.get(&format!("/trash?limit=10&content_type=story{cursor}")).await;
        profile(&database, 0).await;
        assert_eq!(page.body["items"].as_array().unwrap().len(), 10, "{page:?}");
        assert_eq!(page.body["items"][0]["deleted_at"].is_null(), number == 2, "{page:?}");
        let finds = profiled(&database, doc! { "command.find": "stories" }).await;
        assert!(!finds.is_empty());
        for find in finds {
            let examined = |field| find.get_i32(field).unwrap();
            assert!(examined("docsExamined") <= 30, "{find:#?}");
            assert!(examined("keysExamined") <= 60, "{find:#?}");
            assert!(!find.get_bool("hasSortStage").unwrap_or_default(), "{find:#?}");
        }
        database.collection("system.profile").drop().await.unwrap();
    }
    // Those of others are passed over in the index.
    profile(&database, 2).await;
    let own = walk(&as_ann, "content_type=story").await;
    profile(&database, 0).await;
    assert_eq!(own.len(), 2, "{own:?}");
    for find in profiled(&database, doc! { "command.find": "stories" }).await {
        assert!(find.get_i32("docsExamined").unwrap() <= 10, "{find:#?}");
    }
    site.stop().await;
}

#[tokio::test]
async fn nothing_is_told_of_an_item_that_is_deleted_for_good() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let api = Api::new(site.content.url.clone());
    let mut gone = Vec::new();
    for kind in ContentType::ALL {
        let item = add(&site, kind, json!({})).await;
        assert_eq!(api.call("DELETE", &path(kind, &item), Value::Null).await.status, 204);
        gone.push(format!("/trash/{}/{}", kind.as_str(), id(&item)));
    }
    let mut reader = Reader::start(&site.content).await;
    for path in gone {
        assert_eq!(api.call("DELETE", &path, Value::Null).await.status, 204);
    }
    assert_eq!(reader.until_now(&database).await, Vec::<Value>::new());
    site.stop().await;
}
