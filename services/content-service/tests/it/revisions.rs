//! The earlier states of items: what is kept, for how long, who sees it, and how it comes back.

use std::collections::BTreeSet;

use data_service::revisions::merge;
use futures_util::{TryStreamExt, future::join_all};
use models::ContentType;
use mongodb::bson::{
    Bson, DateTime, Document, RawDocument, RawDocumentBuf, doc, oid::ObjectId, rawdoc,
};
use serde_json::{Value, json};
use test_support::{Answer, Api, Provider, TestDatabase};

use crate::support::{Site, day, heard, section, stored, story, user, with};

const REVISIONS: &str = "content_revisions";

/// The numbers of the revisions of a page of the list.
fn numbers(list: &Answer) -> Vec<i64> {
    assert_eq!(list.status, 200, "{list:?}");
    let items = list.body["items"].as_array().unwrap();
    items.iter().map(|one| one["number"].as_i64().unwrap()).collect()
}

/// One member of each revision of a page of the list.
fn each(list: &Answer, member: &str) -> Vec<Value> {
    list.body["items"].as_array().unwrap().iter().map(|one| one[member].clone()).collect()
}

async fn raw(database: &TestDatabase, collection: &str, id: &Bson) -> RawDocumentBuf {
    RawDocumentBuf::from_bytes(stored(database, collection, id).await).unwrap()
}

/// Asserts that two documents have the same bytes, except in `updatedDate`.
fn assert_same(after: &RawDocument, before: &RawDocument) {
    let dated = merge(after, before, |field| field == "updatedDate").unwrap();
    assert_eq!(dated.as_bytes(), before.as_bytes(), "{after:?}\n{before:?}");
}

/// The example of a new item of a kind, from the description of the API.
fn example(kind: ContentType) -> Value {
    let document = serde_json::to_value(content_service::openapi()).unwrap();
    let create = &document["paths"][format!("/{}", kind.collection())]["post"]["requestBody"];
    let schema = create["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
    document.pointer(schema.trim_start_matches('#')).unwrap()["examples"][0].clone()
}

#[tokio::test]
async fn each_change_of_each_kind_keeps_the_item_as_it_was() {
    let database = TestDatabase::new().await;
    let mut places = Vec::new();
    for kind in ContentType::ALL {
        let display = serde_json::to_value(kind.usual_display()).unwrap();
        let fields = doc! {
            "content_type": kind.as_str(), "display_type": display.as_str().unwrap(),
        };
        let slugs = ["from", "to"].map(|place| format!("{place}-{}", kind.collection()));
        let [from, to] = slugs.each_ref().map(|slug| section(&database, slug, fields.clone()));
        places.push((kind, from.await, to.await));
    }
    let site = Site::start(&database).await;
    let api = Api::new(&*site.content.url);
    for (kind, from, to) in places {
        let collection = kind.collection();
        let mut body = example(kind);
        (body["section_id"], body["title"]) = (from.as_str().into(), "First".into());
        // The same request with the same key is no change.
        let keyed = [("idempotency-key", collection)];
        let create = async || {
            let body = Some(body.to_string());
            api.send("POST", &format!("/{collection}"), &keyed, body).await
        };
        let (created, again) = (create().await, create().await);
        assert_eq!((created.status, &again.body), (201, &created.body), "{created:?}");
        let id = ObjectId::parse_str(created.id()).unwrap();
        let path = format!("/{collection}/{}", id.to_hex());
        let revisions = format!("{path}/revisions");
        assert_eq!(numbers(&api.get(&revisions).await), [0_i64; 0]);
        let original = raw(&database, collection, &id.into()).await;

        let patch = json!({ "title": "Second", "content": "<p>Other words.</p>", "tags": ["a"] });
        assert_eq!(api.call("PATCH", &path, patch.clone()).await.status, 200);
        // What changes nothing is no change.
        let read = api.get(&path).await.body;
        assert_eq!(api.call("PUT", &path, read).await.status, 200);
        assert_eq!(api.call("PATCH", &path, patch).await.status, 200);
        assert_eq!(api.call("PATCH", &path, json!({ "is_published": false })).await.status, 200);
        assert_eq!(api.call("DELETE", &path, Value::Null).await.status, 204);
        assert_eq!(api.get(&revisions).await.code(), (404, "not_found"));
        assert_eq!(api.call("POST", &format!("{path}/restore"), Value::Null).await.status, 200);
        assert_eq!(api.call("POST", &format!("{path}/restore"), Value::Null).await.status, 200);
        let word = kind.as_str();
        let moved =
            json!({ "content_type": word, "content": { "ids": [id.to_hex()] }, "section_id": to });
        let moved = api.call("POST", "/content/move", moved).await;
        assert_eq!((moved.status, &moved.body["moved"]), (200, &1.into()), "{moved:?}");
        assert_eq!(api.call("PATCH", &path, json!({ "title": "Third" })).await.status, 200);

        let list = api.get(&revisions).await;
        assert_eq!(numbers(&list), [6, 5, 4, 3, 2, 1], "{collection}");
        assert_eq!(list.header("cache-control"), "private, no-store");
        assert!(each(&list, "user_id").iter().all(Value::is_null), "{list:?}");
        let actions = ["changed", "moved", "restored", "deleted", "changed", "changed"];
        assert_eq!(each(&list, "action"), actions);
        let fields = each(&list, "fields");
        assert_eq!(
            fields[..4],
            [json!(["title"]), json!(["section_id"]), json!(["deleted"]), json!(["deleted"])]
        );
        assert_eq!(fields[4], json!(["is_published"]));
        let first: BTreeSet<_> =
            fields[5].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        assert_eq!(first, BTreeSet::from(["content", "tags", "title"]));

        // The item before the move is whole, though the move has recorded its section alone.
        let before_move = api.get(&format!("{revisions}/5")).await;
        assert_eq!(before_move.body["item"]["title"], "Second");
        assert_eq!(before_move.body["item"]["section_id"], from.as_str());
        let changes = before_move.body["changes"].as_array().unwrap();
        assert_eq!(changes.len(), 1, "{before_move:?}");
        assert_eq!(
            (&changes[0]["field"], &changes[0]["after"]),
            (&"section_id".into(), &to.as_str().into())
        );

        let restored = api.call("POST", &format!("{revisions}/1/restore"), Value::Null).await;
        assert_eq!(restored.status, 200, "{restored:?}");
        assert_eq!(restored.header("etag"), api.get(&path).await.header("etag"));
        // It stays a draft, since it is one now.
        let after = raw(&database, collection, &id.into()).await;
        let expected = merge(&original, &after, |field| field == "is_published").unwrap();
        assert_same(&after, &expected);
        let list = api.get(&format!("{revisions}?limit=1")).await;
        assert_eq!((numbers(&list), &each(&list, "action")[0]), (vec![7], &"reverted".into()));
        let again = api.call("POST", &format!("{revisions}/1/restore"), Value::Null).await;
        assert_eq!(
            (again.status, numbers(&api.get(&format!("{revisions}?limit=1")).await)),
            (200, vec![7])
        );
    }
    site.stop().await;
}

#[tokio::test]
async fn a_difference_is_readable_and_pages_lead_to_all_revisions() {
    let database = TestDatabase::new().await;
    let before = with(story("tides", day(1)), doc! { "content": "<p>The tide rises.</p>" });
    database.insert("stories", [before.clone()]).await;
    let site = Site::start(&database).await;
    site.content.migrated().await;
    let api = Api::new(&*site.content.url);
    let path = format!("/stories/{}", before.get_object_id("_id").unwrap().to_hex());
    for words in ["falls", "turns", "sleeps"] {
        let content = format!("<p>The tide {words}.</p>");
        assert_eq!(api.call("PATCH", &path, json!({ "content": content })).await.status, 200);
    }
    let mut found = Vec::new();
    let mut next = format!("{path}/revisions?limit=2");
    loop {
        let page = api.get(&next).await;
        found.push(numbers(&page));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        next = format!("{path}/revisions?limit=2&cursor={cursor}");
    }
    assert_eq!(found, [vec![3, 2], vec![1]]);

    let content = |with: &str| {
        let path = format!("{path}/revisions/2{with}");
        let api = api.clone();
        async move {
            let answer = api.get(&path).await;
            assert_eq!(answer.body["item"]["content"], "<p>The tide falls.</p>", "{answer:?}");
            let changes = answer.body["changes"].as_array().unwrap().clone();
            assert_eq!(changes.len(), 1, "{answer:?}");
            assert_eq!(changes[0]["field"], "content");
            changes[0].clone()
        }
    };
    let part = |kind: &str, text: &str| json!({ "type": kind, "text": text });
    for (with, word) in
        [("", "turns"), ("?compare_with=next", "turns"), ("?compare_with=present", "sleeps")]
    {
        let change = content(with).await;
        assert_eq!(change["after"], format!("<p>The tide {word}.</p>"));
        let expected = [
            part("equal", "<p>The tide "),
            part("removed", "falls"),
            part("added", word),
            part("equal", ".</p>"),
        ];
        assert_eq!(change["parts"], json!(expected));
        assert_eq!(change["is_omitted"], false);
    }
    site.stop().await;
}

#[tokio::test]
async fn an_old_document_comes_back_byte_for_byte() {
    let database = TestDatabase::new().await;
    let id = ObjectId::new();
    // A text in Latin-1, dates and numbers of other types, and fields that nothing models.
    let mut odd = rawdoc! {
        "views": 7_i64, "_id": id, "title": "Old", "content": "<p onclick=\"x()\">Kept as it is</p>",
        "slug": 2015, "date": "2015-02-01", "summary": "caf@", "nested": { "a": [1, { "b": null }], "c": f64::NAN },
        "createdDate": day(1), "updatedDate": "long ago", "is_published": "true", "section_id": "nowhere",
        "user_id": "0a0a0a0a0a0a0a0a0a0a0a0a", "technologies": "C, Zig", "is_featured": 1, "tags": { "odd": true },
    }
    .into_bytes();
    let at = odd.windows(4).position(|bytes| bytes == b"caf@").unwrap() + 3;
    odd[at] = 0xe9;
    let odd = RawDocumentBuf::from_bytes(odd).unwrap();
    database.database().collection::<RawDocumentBuf>("projects").insert_one(&odd).await.unwrap();
    let site = Site::start(&database).await;
    site.content.migrated().await;
    let before = raw(&database, "projects", &id.into()).await;
    let api = Api::new(&*site.content.url);
    let path = format!("/projects/{}", id.to_hex());
    let everything = json!({
        "title": "New", "content": "<p>New.</p>", "slug": "new", "date": "2020-01-01", "summary": "New",
        "section_id": null, "technologies": ["Rust"], "is_featured": false, "tags": ["new"],
        "live_url": "https://example.org", "description": "New", "noindex": true,
    });
    let changed = api.call("PATCH", &path, everything).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let restored = api.call("POST", &format!("{path}/revisions/1/restore"), Value::Null).await;
    assert_eq!(restored.status, 200, "{restored:?}");
    assert_same(&raw(&database, "projects", &id.into()).await, &before);
    // And forth again: the revision of the restoration has what was there before it.
    let forth = api.call("POST", &format!("{path}/revisions/2/restore"), Value::Null).await;
    assert_eq!((&forth.body["title"], &forth.body["summary"]), (&"New".into(), &"New".into()));
    let back = api.call("POST", &format!("{path}/revisions/3/restore"), Value::Null).await;
    assert_eq!(back.status, 200);
    assert_same(&raw(&database, "projects", &id.into()).await, &before);
    site.stop().await;
}

#[tokio::test]
async fn a_document_as_large_as_the_database_stores_is_kept_whole() {
    let database = TestDatabase::new().await;
    let large = with(story("large", day(1)), doc! { "blob": "x".repeat(16 * 1024 * 1024 - 4_000) });
    database.insert("stories", [large.clone()]).await;
    let site = Site::start(&database).await;
    site.content.migrated().await;
    let id = Bson::from(large.get_object_id("_id").unwrap());
    let before = raw(&database, "stories", &id).await;
    let api = Api::new(&*site.content.url);
    let path = format!("/stories/{}", large.get_object_id("_id").unwrap().to_hex());
    assert_eq!(api.call("PATCH", &path, json!({ "title": "Other" })).await.status, 200);
    let parts = doc! { "document": { "$exists": true } };
    assert_eq!(database.count(REVISIONS, parts).await, 2, "it is stored in two parts");
    let view = api.get(&format!("{path}/revisions/1")).await;
    assert_eq!(view.body["item"]["title"], "Story large");
    assert_eq!(numbers(&api.get(&format!("{path}/revisions")).await), [1]);
    let restored = api.call("POST", &format!("{path}/revisions/1/restore"), Value::Null).await;
    assert_eq!(restored.status, 200, "{restored:?}");
    assert_same(&raw(&database, "stories", &id).await, &before);
    // The change stream has the whole document of a replacement.
    heard(&database, &site.content).await;
    site.stop().await;
}

#[tokio::test]
async fn editors_at_once_get_numbers_of_their_own_and_nothing_is_lost() {
    const EDITORS: usize = 8;
    let database = TestDatabase::new().await;
    let before = story("shared", day(1));
    database.insert("stories", [before.clone()]).await;
    let site = Site::start(&database).await;
    site.content.migrated().await;
    let api = Api::new(&*site.content.url);
    let path = format!("/stories/{}", before.get_object_id("_id").unwrap().to_hex());
    let titles: Vec<_> = (0..EDITORS).map(|number| format!("Title {number}")).collect();
    let patches = titles.iter().map(|title| api.call("PATCH", &path, json!({ "title": title })));
    for answer in join_all(patches).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let expected: Vec<_> = (1..=EDITORS as i64).rev().collect();
    assert_eq!(numbers(&api.get(&format!("{path}/revisions")).await), expected);
    // Each state but the present one is in a revision, once.
    let mut states = vec![api.get(&path).await.body["title"].clone()];
    for number in &expected {
        let view = api.get(&format!("{path}/revisions/{number}")).await.body;
        let change = &view["changes"][0];
        assert_eq!(&change["after"], states.last().unwrap(), "the states follow each other");
        states.push(view["item"]["title"].clone());
    }
    assert_eq!(states.pop().unwrap(), "Story shared");
    let states: BTreeSet<_> = states.iter().map(|title| title.as_str().unwrap()).collect();
    assert_eq!(states, titles.iter().map(String::as_str).collect());
    site.stop().await;
}

#[tokio::test]
async fn a_write_that_fails_makes_no_revision_and_a_revision_that_fails_no_write() {
    let database = TestDatabase::new().await;
    let [first, second] = ["first", "second"].map(|slug| story(slug, day(1)));
    database.insert("stories", [first.clone(), second]).await;
    let site = Site::start(&database).await;
    site.content.migrated().await;
    let api = Api::new(&*site.content.url);
    let id = first.get_object_id("_id").unwrap();
    let path = format!("/stories/{}", id.to_hex());
    let before = raw(&database, "stories", &id.into()).await;
    let stale = [("if-match", "\"stale\"")];
    let patch = |body: Value| Some(body.to_string());
    for (answer, status) in [
        (api.call("PATCH", &path, json!({ "slug": "second" })).await, 409),
        (api.call("PATCH", &path, json!({ "title": "" })).await, 422),
        (api.send("PATCH", &path, &stale, patch(json!({ "title": "B" }))).await, 412),
        (api.send("DELETE", &path, &stale, None).await, 412),
        (api.call("PATCH", &path, json!({ "section_id": ObjectId::new().to_hex() })).await, 422),
    ] {
        assert_eq!(answer.status, status, "{answer:?}");
    }
    // The server refuses the last write of the transaction, and the one of the revision itself.
    for collection in ["content_search", REVISIONS] {
        let database = database.database();
        let _ = database.create_collection(collection).await;
        let refuse = |validator: Document| doc! { "collMod": collection, "validator": validator };
        database.run_command(refuse(doc! { "never": true })).await.unwrap();
        let answer = api.call("PATCH", &path, json!({ "title": "Refused" })).await;
        assert_eq!(answer.status, 500, "{collection}: {answer:?}");
        database.run_command(refuse(doc! {})).await.unwrap();
    }
    assert_eq!(database.count(REVISIONS, doc! {}).await, 0);
    assert_eq!(raw(&database, "stories", &id.into()).await, before);
    assert_eq!(api.call("PATCH", &path, json!({ "title": "B" })).await.status, 200);
    assert_eq!(numbers(&api.get(&format!("{path}/revisions")).await), [1]);
    site.stop().await;
}

#[tokio::test]
async fn old_revisions_are_removed_as_the_settings_say() {
    let database = TestDatabase::new().await;
    let documents = ["few", "many", "large"].map(|slug| story(slug, day(1)));
    database.insert("stories", documents.clone()).await;
    let paths =
        documents.map(|one| format!("/stories/{}", one.get_object_id("_id").unwrap().to_hex()));
    let settings = [
        ("revisions.min_count", "2"),
        ("revisions.max_count", "4"),
        ("revisions.max_bytes", "6000"),
    ];
    let site = Site::start_with(&database, &settings).await;
    site.content.migrated().await;
    let api = Api::new(&*site.content.url);
    let change = async |path: &str, title: &str, content: &str| {
        let body = json!({ "title": title, "content": content });
        let answer = api.call("PATCH", path, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let kept = async |path: &str| numbers(&api.get(&format!("{path}/revisions")).await);
    let [few, many, large] = &paths;

    // Those of the last day are kept, up to the largest number.
    for number in 1..=6 {
        change(few, &format!("Title {number}"), "").await;
    }
    assert_eq!(kept(few).await, [6, 5, 4, 3]);
    // Older ones up to the smallest number.
    for number in 1..=3 {
        change(many, &format!("Title {number}"), "").await;
    }
    let old = DateTime::from_millis(DateTime::now().timestamp_millis() - 25 * 60 * 60 * 1_000);
    let revisions = database.collection(REVISIONS);
    let all = doc! { "createdDate": { "$exists": true } };
    revisions.update_many(all, doc! { "$set": { "createdDate": old } }).await.unwrap();
    change(many, "Title 4", "").await;
    assert_eq!(kept(many).await, [4, 3]);
    change(few, "Title 7", "").await;
    assert_eq!(kept(few).await, [7, 6]);
    // And no more than the largest size, but for the newest.
    for number in 1..=4 {
        change(large, &format!("Title {number}"), &"x".repeat(2_500)).await;
    }
    assert_eq!(kept(large).await, [4, 3]);
    change(large, "Title 5", &"x".repeat(9_000)).await;
    change(large, "Title 6", "").await;
    assert_eq!(kept(large).await, [6]);
    let view = api.get(&format!("{large}/revisions/6")).await;
    assert_eq!(view.body["item"]["content"].as_str().map(str::len), Some(9_000));
    for number in [0, 5, 7] {
        let gone = api.get(&format!("{large}/revisions/{number}")).await;
        assert_eq!(gone.code(), (404, "not_found"), "{gone:?}");
        assert_eq!(gone.body["detail"], "Revision not found");
    }
    // Nothing of the others is left in the database either.
    let left = revisions.find(doc! { "document": { "$exists": true } }).await.unwrap();
    let left: Vec<Document> = left.try_collect().await.unwrap();
    assert_eq!(left.len(), 5);
    site.stop().await;
}

#[tokio::test]
async fn a_restoration_keeps_what_is_not_the_work_of_an_editor_and_obeys_the_rules() {
    let database = TestDatabase::new().await;
    let notes = section(&database, "notes", doc! {}).await;
    let owner = ObjectId::new().to_hex();
    let item = with(story("old-slug", day(1)), doc! { "section_id": &notes, "user_id": &owner });
    database.insert("stories", [item.clone()]).await;
    let site = Site::start_with(&database, &[("server.require_if_match", "true")]).await;
    site.content.migrated().await;
    let (api, of_sections) = (Api::new(&*site.content.url), Api::new(&*site.sections.url));
    let path = format!("/stories/{}", item.get_object_id("_id").unwrap().to_hex());
    let any = async |method: &str, path: &str, body: Option<Value>| {
        let item = path.split("/revisions").next().unwrap().to_owned();
        let tag = api.get(&item).await.header("etag").to_owned();
        let body = body.map(|body| body.to_string());
        api.send(method, path, &[("if-match", &tag)], body).await
    };
    let patch = json!({
        "title": "New", "slug": "new-slug", "is_published": false, "createdDate": "2024-02-02T00:00:00Z",
    });
    assert_eq!(any("PATCH", &path, Some(patch)).await.status, 200);
    let stolen = doc! { "$set": { "user_id": "0b0b0b0b0b0b0b0b0b0b0b0b" } };
    let one = doc! { "slug": "new-slug" };
    database.collection("stories").update_one(one, stolen).await.unwrap();

    // The state is required, and has to be that of the item.
    let restore = format!("{path}/revisions/1/restore");
    assert_eq!(
        api.call("POST", &restore, Value::Null).await.code(),
        (428, "precondition_required")
    );
    let stale = api.send("POST", &restore, &[("if-match", "\"stale\"")], None).await;
    assert_eq!(stale.code(), (412, "precondition_failed"));
    // The slug is another item's now.
    let taken = json!({ "title": "Old slug", "content": "", "slug": "old-slug" });
    let taken = api.call("POST", "/stories", taken).await;
    assert_eq!(any("POST", &restore, None).await.code(), (409, "slug_taken"));
    let other = format!("/stories/{}", taken.id());
    assert_eq!(any("PATCH", &other, Some(json!({ "slug": "elsewhere" }))).await.status, 200);

    let present = api.get(&path).await.body;
    let restored = any("POST", &restore, None).await;
    assert_eq!(restored.status, 200, "{restored:?}");
    let is = |member: &str, value: Value| assert_eq!(restored.body[member], value, "{member}");
    is("title", "Story old-slug".into());
    is("slug", "old-slug".into());
    is("is_published", false.into());
    is("createdDate", present["createdDate"].clone());
    is("user_id", "0b0b0b0b0b0b0b0b0b0b0b0b".into());
    is("deleted", false.into());
    let resolved = api.get("/stories/slug/new-slug?include_drafts=true").await;
    assert_eq!(resolved.header("content-location"), "/stories/slug/old-slug", "{resolved:?}");
    // The words of the search are those of the restored title.
    assert_eq!(any("PATCH", &path, Some(json!({ "is_published": true }))).await.status, 200);
    let search = database.one("content_search", doc! { "title": "story old slug" }).await;
    assert!(search.contains_key("text"));

    // A section that is gone: the members are chosen.
    let patch = json!({ "section_id": null, "title": "Loose" });
    assert_eq!(any("PATCH", &path, Some(patch)).await.status, 200);
    let section_path = format!("/sections/{notes}");
    let tag = of_sections.get(&section_path).await.header("etag").to_owned();
    let deleted = of_sections.send("DELETE", &section_path, &[("if-match", &tag)], None).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    let gone = any("POST", &restore, None).await;
    assert_eq!(
        (gone.status, &gone.body["errors"][0]["field"]),
        (422, &"section_id".into()),
        "{gone:?}"
    );
    let some = any("POST", &format!("{restore}?fields=title,content"), None).await;
    assert_eq!(some.status, 200, "{some:?}");
    assert_eq!(
        (&some.body["title"], &some.body["section_id"]),
        (&"Story old-slug".into(), &Value::Null)
    );
    let wrong = any("POST", &format!("{restore}?fields=title,is_published"), None).await;
    assert_eq!(
        (wrong.status, &wrong.body["errors"][0]["field"]),
        (422, &"fields".into()),
        "{wrong:?}"
    );
    let list = api.get(&format!("{path}/revisions?limit=1")).await;
    assert_eq!(
        (each(&list, "action"), each(&list, "fields")),
        (vec!["reverted".into()], vec![json!(["title"])])
    );
    site.stop().await;
}

#[tokio::test]
async fn revisions_are_for_those_who_may_change_the_item() {
    let database = TestDatabase::new().await;
    let provider = Provider::start();
    let ann = user(&database, "ann", "author").await;
    user(&database, "eve", "author").await;
    let own = with(story("own", day(1)), doc! { "user_id": &ann });
    database.insert("stories", [own.clone()]).await;
    let site = Site::start_with(&database, &provider.settings()).await;
    site.content.migrated().await;
    let [ann_api, eve, public] =
        [Some("ann"), Some("eve"), None].map(|token| Api::new(&*site.content.url).sent_by(token));
    let path = format!("/stories/{}", own.get_object_id("_id").unwrap().to_hex());
    assert_eq!(ann_api.call("PATCH", &path, json!({ "title": "Hers" })).await.status, 200);
    let list = ann_api.get(&format!("{path}/revisions")).await;
    assert_eq!(each(&list, "user_id"), [json!(ann)]);
    assert_eq!(each(&list, "author"), [json!({ "name": "ann" })]);
    for (method, end) in [("GET", ""), ("GET", "/1"), ("POST", "/1/restore")] {
        let path = format!("{path}/revisions{end}");
        assert_eq!(public.call(method, &path, Value::Null).await.code(), (401, "unauthorized"));
        assert_eq!(eve.call(method, &path, Value::Null).await.code(), (403, "forbidden"));
    }
    let restored = ann_api.call("POST", &format!("{path}/revisions/1/restore"), Value::Null).await;
    assert_eq!((restored.status, &restored.body["title"]), (200, &"Story own".into()));
    site.stop().await;
}

#[tokio::test]
async fn wrong_numbers_ids_and_parameters_are_named() {
    let database = TestDatabase::new().await;
    let item = story("one", day(1));
    database.insert("stories", [item.clone()]).await;
    let site = Site::start(&database).await;
    site.content.migrated().await;
    let api = Api::new(&*site.content.url);
    let path = format!("/stories/{}", item.get_object_id("_id").unwrap().to_hex());
    assert_eq!(api.call("PATCH", &path, json!({ "title": "B" })).await.status, 200);
    let nobody = ObjectId::new().to_hex();
    for (end, code) in [
        ("/revisions/x".to_owned(), (400, "invalid_id")),
        ("/revisions/-1".to_owned(), (400, "invalid_id")),
        ("/revisions/1e0".to_owned(), (400, "invalid_id")),
        ("/revisions/%7B%22$gt%22:0%7D".to_owned(), (400, "invalid_id")),
        ("/revisions/0".to_owned(), (404, "not_found")),
        ("/revisions/2".to_owned(), (404, "not_found")),
        ("/revisions/99999999999999999999999".to_owned(), (404, "not_found")),
        ("/revisions/1?compare_with=last".to_owned(), (422, "validation_failed")),
        ("/revisions?cursor=-1".to_owned(), (422, "validation_failed")),
        ("/revisions?cursor[$gt]=1".to_owned(), (422, "validation_failed")),
        ("/revisions?limit=51".to_owned(), (422, "validation_failed")),
    ] {
        let answer = api.get(&format!("{path}{end}")).await;
        assert_eq!(answer.code(), code, "{end}: {answer:?}");
    }
    for id in [nobody.as_str(), "no-id"] {
        let status = if id == nobody { 404 } else { 400 };
        for end in ["revisions", "revisions/1"] {
            assert_eq!(api.get(&format!("/stories/{id}/{end}")).await.status, status, "{id} {end}");
        }
        let restore = format!("/stories/{id}/revisions/1/restore");
        assert_eq!(api.call("POST", &restore, Value::Null).await.status, status, "{id}");
    }
    // A document of another program in the collection is none.
    let foreign = doc! {
        "_id": { "kind": "stories", "item": item.get_object_id("_id").unwrap(), "n": 7_i64 },
        "createdDate": "yesterday",
    };
    database.insert(REVISIONS, [foreign]).await;
    assert_eq!(numbers(&api.get(&format!("{path}/revisions")).await), [1]);
    assert_eq!(api.get(&format!("{path}/revisions/7")).await.status, 404);
    site.stop().await;
}
