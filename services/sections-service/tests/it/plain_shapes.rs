//! Sections whose fields are stored in other types than they should be: each row of what is read
//! leniently, and of what has no plain meaning.

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::TestDatabase;

use crate::support::{Api, Neighbour, id, stored};

/// Field, stored value, and the value that is answered.
fn plain() -> Vec<(&'static str, Bson, Value)> {
    let date = || json!("2015-02-01T02:12:37.000Z");
    let mut rows: Vec<(&str, Bson, Value)> = Vec::new();
    for (stored, read) in [
        (Bson::from("2015-02-01"), json!("2015-02-01T00:00:00.000Z")),
        ("2015-02-01 02:12:37".into(), date()),
        ("2015-02-01T03:12:37+0100".into(), date()),
        ("Sun, 01 Feb 2015 02:12:37 GMT".into(), date()),
        (1_422_756_757.into(), date()),
        (1_422_756_757_000_i64.into(), date()),
        (1_422_756_757_f64.into(), date()),
        (r#"{"$date":"2015-02-01T02:12:37Z"}"#.into(), date()),
        ("0000-00-00 00:00:00".into(), Value::Null),
        ("".into(), Value::Null),
    ] {
        rows.push(("createdDate", stored.clone(), read.clone()));
        rows.push(("updatedDate", stored, read));
    }
    for (stored, read) in [
        (Bson::from("true"), true),
        (1.into(), true),
        (1.0.into(), true),
        ("false".into(), false),
        (0.into(), false),
        (Bson::Null, false),
    ] {
        rows.push(("is_published", stored, json!(read)));
    }
    for stored in [Bson::from("false"), 0.into(), 0.0.into(), Bson::Null, "".into()] {
        rows.push(("is_deleted", stored, Value::Null));
    }
    for (stored, read) in [(Bson::from(7_i64), 7), (7.0.into(), 7), (" 7 ".into(), 7)] {
        rows.push(("sort_order", stored, json!(read)));
    }
    rows.extend([
        ("title", 2015.into(), json!("2015")),
        ("title", 20.5.into(), json!("20.5")),
        ("title", true.into(), json!("true")),
        ("slug", 2015.into(), json!("2015")),
        ("parent_id", "".into(), Value::Null),
        ("content_type", "Project".into(), json!("project")),
        ("content_type", Bson::Null, json!("story")),
        ("display_type", "CARD_GRID".into(), json!("card-grid")),
        ("display_type", Bson::Null, json!("feed")),
        ("nav_visibility", "Footer".into(), json!("footer")),
        ("nav_visibility", Bson::Null, json!("main")),
        ("sort_by", " -title".into(), json!("-title")),
        ("sort_by", Bson::Null, Value::Null),
        ("description", 2015.into(), json!("2015")),
        ("description", " ".into(), Value::Null),
        ("canonical", "see there".into(), json!("see there")),
        ("noindex", "true".into(), json!(true)),
        ("noindex", 0.into(), json!(false)),
    ]);
    rows
}

/// Field, stored value, the value that is answered, and whether the public sees the section.
fn unclear() -> Vec<(&'static str, Bson, Value, bool)> {
    let object = || Bson::from(doc! { "a": 1 });
    vec![
        ("title", object(), json!(""), true),
        ("slug", object(), json!(""), true),
        ("createdDate", "yesterday".into(), Value::Null, true),
        ("updatedDate", Bson::Array(Vec::new()), Value::Null, true),
        ("content_type", "carousel".into(), json!("story"), true),
        ("content_type", 5.into(), json!("story"), true),
        ("display_type", "spiral".into(), json!("feed"), true),
        ("nav_visibility", "left".into(), json!("main"), true),
        ("sort_order", 1.5.into(), json!(0), true),
        ("sort_by", "name".into(), Value::Null, true),
        ("sort_by", 1.into(), Value::Null, true),
        ("description", object(), Value::Null, true),
        ("social_image", Bson::Array(Vec::new()), Value::Null, true),
        ("noindex", "maybe".into(), json!(false), true),
        ("is_published", "maybe".into(), json!(false), false),
        ("is_published", 2.into(), json!(false), false),
        ("is_deleted", "maybe".into(), Value::Null, false),
        ("is_deleted", object(), Value::Null, false),
        ("parent_id", "blog".into(), Value::Null, false),
        ("parent_id", 5.into(), Value::Null, false),
    ]
}

fn section(number: usize, field: &str, value: &Bson) -> Document {
    let mut section = stored(&format!("odd-{number}"), None, true);
    section.insert(field, value.clone());
    section.insert("extra", doc! { "kept": [1, Bson::Null] });
    section
}

/// The sections as they are stored, byte for byte.
async fn all_bytes(database: &TestDatabase) -> Vec<RawDocumentBuf> {
    let sections = database.collection("sections").clone_with_type::<RawDocumentBuf>();
    let sections = sections.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    sections.try_collect().await.unwrap()
}

async fn site() -> (TestDatabase, Neighbour, Api) {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let api = Api::start(&database, &neighbour).await;
    (database, neighbour, api)
}

/// Adds a section for each field with its value. To be done before the service reads any.
async fn add(database: &TestDatabase, rows: &[(&str, Bson)]) -> Vec<Document> {
    let rows = rows.iter().enumerate();
    let sections: Vec<_> =
        rows.map(|(number, (field, value))| section(number, field, value)).collect();
    database.collection("sections").insert_many(&sections).await.unwrap();
    sections
}

fn entry<'a>(entries: &'a Value, section: &Document) -> &'a Value {
    let is_it = |entry: &&Value| entry["id"] == json!(id(section).to_hex());
    entries.as_array().unwrap().iter().find(is_it).unwrap()
}

fn path(section: &Document) -> String {
    format!("/sections/{}", id(section))
}

async fn as_editor(api: &Api, section: &Document) -> Value {
    let answer = api.get(&format!("{}?include_drafts=true", path(section))).await;
    assert_eq!(answer.status, 200, "{section}: {answer:?}");
    answer.body
}

async fn is_public(api: &Api, section: &Document) -> bool {
    api.get(&path(section)).await.status == 200
}

async fn patch(api: &Api, section: &Document, body: Value) -> Value {
    let answer = api.call("PATCH", &path(section), body).await;
    assert_eq!(answer.status, 200, "{section}: {answer:?}");
    answer.body
}

async fn stored_field(database: &TestDatabase, section: &Document, field: &str) -> Option<Bson> {
    database.one("sections", doc! { "_id": id(section) }).await.get(field).cloned()
}

#[tokio::test]
async fn a_field_of_another_type_is_read_and_sent_back_unchanged() {
    let (database, _neighbour, api) = site().await;
    let rows = plain().into_iter().map(|(field, stored, read)| (field, stored, read, true));
    let rows: Vec<_> = rows.chain(unclear()).collect();
    let fields: Vec<_> = rows.iter().map(|(field, value, ..)| (*field, value.clone())).collect();
    let sections = add(&database, &fields).await;
    let before = all_bytes(&database).await;
    for (section, (field, _, read, shown)) in sections.iter().zip(&rows) {
        let answer = as_editor(&api, section).await;
        let is_answered = !matches!(*field, "is_deleted");
        assert!(!is_answered || answer[field] == *read, "{section}: {answer}");
        let shown = *shown && answer["is_published"] == true;
        assert_eq!(is_public(&api, section).await, shown, "{section}");
        for method in ["PUT", "PATCH"] {
            let again = api.call(method, &path(section), answer.clone()).await;
            assert_eq!((again.status, &again.body), (200, &answer), "{method} {section}");
        }
    }
    assert!(all_bytes(&database).await == before, "something was rewritten");
    let found = api.get("/sections/slug/2015").await;
    assert_eq!((found.status, &found.body["slug"]), (200, &json!("2015")));
}

#[tokio::test]
async fn a_deleted_section_is_read_however_the_flag_is_stored() {
    let (database, _neighbour, api) = site().await;
    let flags = [Bson::from("true"), 1.into(), 1.0.into(), "True".into()];
    for section in add(&database, &flags.map(|flag| ("is_deleted", flag))).await {
        let drafts = format!("{}?include_drafts=true", path(&section));
        assert_eq!(api.get(&drafts).await.status, 404, "{section}");
        let restored = api.call("POST", &format!("{}/restore", path(&section)), Value::Null).await;
        assert_eq!(restored.status, 200, "{restored:?}");
        assert!(is_public(&api, &section).await, "{section}");
    }
}

#[tokio::test]
async fn a_field_without_a_plain_meaning_is_reported_with_its_section() {
    let (database, _neighbour, api) = site().await;
    let rows: Vec<_> = unclear().into_iter().map(|(field, value, ..)| (field, value)).collect();
    let sections = add(&database, &rows).await;
    let report = api.get("/internal/integrity").await.body;
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{report}");
    let finding = &findings[0];
    assert_eq!(
        (&finding["kind"], &finding["collection"]),
        (&json!("unreadable_field"), &json!("sections"))
    );
    let reasons: Vec<_> = finding["reasons"].as_array().unwrap().iter().collect();
    for (section, (field, _)) in sections.iter().zip(rows) {
        let id = json!(id(section).to_hex());
        let at = finding["ids"].as_array().unwrap().iter().position(|one| *one == id);
        let reason = reasons[at.unwrap()].as_str().unwrap();
        assert!(reason.starts_with(&format!("{field}: ")), "{reason}");
    }
}

#[tokio::test]
async fn a_section_with_an_unclear_field_is_changed_deleted_and_restored() {
    let (database, _neighbour, api) = site().await;
    let rows: Vec<_> = unclear().into_iter().map(|(field, value, ..)| (field, value)).collect();
    let sections = add(&database, &rows).await;
    for (before, (field, _, _, shown)) in sections.into_iter().zip(unclear()) {
        let title = patch(&api, &before, json!({ "title": "New" })).await["title"].clone();
        assert_eq!(title, "New");
        let mut expected = before.clone();
        expected.insert("title", "New");
        let mut after = database.one("sections", doc! { "_id": id(&before) }).await;
        for document in [&mut expected, &mut after] {
            document.remove("updatedDate");
        }
        assert_eq!(after, expected, "{field}");
        assert_eq!(is_public(&api, &before).await, shown, "{before}");

        let deleted = api.call("DELETE", &path(&before), Value::Null).await;
        assert_eq!(deleted.status, 204, "{before}: {deleted:?}");
        let restored = api.call("POST", &format!("{}/restore", path(&before)), Value::Null).await;
        assert_eq!(restored.status, 200, "{before}: {restored:?}");
        assert_eq!(as_editor(&api, &before).await, restored.body);
        // Restoring publishes nothing.
        assert_eq!(is_public(&api, &before).await, shown, "{before}");
        let after = stored_field(&database, &before, "extra").await;
        assert_eq!(after, before.get("extra").cloned());
    }
}

#[tokio::test]
async fn a_hidden_section_with_an_unclear_field_is_published_as_editors_see_it() {
    let (database, _neighbour, api) = site().await;
    let hidden = unclear().into_iter().filter(|(.., shown)| !shown);
    let rows: Vec<_> = hidden.map(|(field, value, ..)| (field, value)).collect();
    let sections = add(&database, &rows).await;
    let below = |section| stored(&format!("below-{}", id(section)), Some(id(section)), true);
    let children: Vec<_> = sections.iter().map(below).collect();
    database.collection("sections").insert_many(&children).await.unwrap();
    let tree = api.get("/sections/tree?include_drafts=true").await.body;
    for (section, child) in sections.iter().zip(&children) {
        assert_eq!(entry(&tree, section)["children"][0]["id"], json!(id(child).to_hex()));
        assert!(!is_public(&api, child).await, "{section}");

        let published = patch(&api, section, json!({ "is_published": true })).await;
        assert_eq!(
            (&published["is_published"], &published["parent_id"]),
            (&json!(true), &Value::Null)
        );
        assert_eq!(as_editor(&api, section).await, published);
        assert!(is_public(&api, section).await && is_public(&api, child).await, "{section}");
        let path = format!("/{}", published["slug"].as_str().unwrap());
        assert_eq!(api.resolve(&path).await["section"], published);
    }
    assert_eq!(api.get("/internal/integrity").await.body, json!({ "findings": [] }));
}

#[tokio::test]
async fn a_section_with_an_unclear_parent_stays_a_draft_where_it_is_moved() {
    let (database, _neighbour, api) = site().await;
    let blog = id(&database.one("sections", doc! { "slug": "blog" }).await).to_hex();
    let section = section(0, "parent_id", &Bson::from("blog"));
    database.insert("sections", [section.clone()]).await;
    let moved = patch(&api, &section, json!({ "parent_id": blog })).await;
    assert_eq!((&moved["parent_id"], &moved["is_published"]), (&json!(blog), &json!(false)));
    assert_eq!(as_editor(&api, &section).await, moved);
    assert!(!is_public(&api, &section).await);
    assert_eq!(stored_field(&database, &section, "is_published").await, Some(false.into()));
}

#[tokio::test]
async fn the_other_services_are_told_that_a_section_is_hidden_by_an_unclear_field() {
    let (database, _neighbour, api) = site().await;
    let rows: Vec<_> = unclear().into_iter().map(|(field, value, ..)| (field, value)).collect();
    let sections = add(&database, &rows).await;
    let entries = api.get("/internal/sections").await.body;
    for (section, (.., shown)) in sections.iter().zip(unclear()) {
        let entry = entry(&entries, section);
        for (member, expected) in
            [("is_public", shown), ("is_unreadable", !shown), ("is_deleted", false)]
        {
            assert_eq!(entry[member], expected, "{section}: {entry}");
        }
    }
}

#[tokio::test]
async fn an_unclear_content_type_can_be_changed_although_the_section_has_content() {
    let (database, neighbour, api) = site().await;
    let unclear = section(0, "content_type", &Bson::from("carousel"));
    let plain = section(1, "content_type", &Bson::from("story"));
    database.insert("sections", [unclear.clone(), plain.clone()]).await;
    for section in [&unclear, &plain] {
        neighbour.has(&id(section).to_hex(), 3);
    }
    let body = json!({ "content_type": "project" });
    assert_eq!(patch(&api, &unclear, body.clone()).await["content_type"], "project");
    assert_eq!(api.call("PATCH", &path(&plain), body).await.code(), (409, "has_content"));
    let back = json!({ "content_type": "page" });
    assert_eq!(api.call("PATCH", &path(&unclear), back).await.code(), (409, "has_content"));
}

#[tokio::test]
async fn a_section_without_a_slug_is_listed_and_has_no_path_until_it_gets_one() {
    let (database, _neighbour, api) = site().await;
    let mut section = section(0, "title", &Bson::from("No slug"));
    section.remove("slug");
    let child = stored("child", Some(id(&section)), true);
    database.insert("sections", [section.clone(), child.clone()]).await;
    let list = api.get("/sections").await.body;
    let listed = list.as_array().unwrap().iter().find(|one| one["title"] == "No slug").unwrap();
    assert_eq!(listed["slug"], "");
    assert_eq!(api.resolve("/").await["path"], "/blog");
    for path in ["//", "//child", "/child"] {
        assert_eq!(api.resolve(path).await, 404, "{path}");
    }
    let entries = api.get("/internal/sections").await.body;
    for one in [&section, &child] {
        let entry = entry(&entries, one);
        assert_eq!((&entry["is_public"], &entry["path"]), (&json!(true), &Value::Null), "{entry}");
    }
    let report = api.get("/internal/integrity").await.body;
    assert_eq!(report["findings"][0]["reasons"], json!(["slug: missing"]));

    patch(&api, &section, json!({ "slug": "named" })).await;
    assert_eq!(api.resolve("/named/child").await["path"], "/named/child");
    assert_eq!(database.count("section_redirects", doc! {}).await, 0);
}

#[tokio::test]
async fn a_section_whose_id_is_stored_as_text_is_one_like_any_other() {
    let (database, _neighbour, api) = site().await;
    let (upper, twin) = (ObjectId::new(), ObjectId::new());
    let mut section = section(0, "_id", &Bson::from(upper.to_hex().to_uppercase()));
    section.remove("is_deleted");
    let child = stored("child", Some(upper), true);
    let orphan = stored("orphan", Some(ObjectId::new()), true);
    let twins = [(Bson::from(twin), "one"), (twin.to_hex().into(), "two")].map(|(id, slug)| {
        let mut section = stored(slug, None, true);
        section.insert("_id", id);
        section
    });
    database.insert("sections", [section, child, orphan]).await;
    database.insert("sections", twins).await;
    assert_eq!(api.resolve("/odd-0/child").await["path"], "/odd-0/child");
    let path = format!("/sections/{upper}");
    let changed = api.call("PATCH", &path, json!({ "title": "New" })).await;
    assert_eq!((changed.status, changed.id()), (200, upper.to_hex()));
    let stored = database.one("sections", doc! { "title": "New" }).await;
    assert_eq!(stored.get_str("_id").unwrap(), upper.to_hex().to_uppercase());
    let deleted = api.call("DELETE", &format!("{path}?on_children=cascade"), Value::Null).await;
    assert_eq!(deleted.status, 204);
    assert_eq!(api.call("POST", &format!("{path}/restore"), Value::Null).await.status, 200);
    assert_eq!(api.resolve("/odd-0/child").await["path"], "/odd-0/child");

    // Of two with one id, the ObjectId is it.
    assert_eq!(api.get(&format!("/sections/{twin}")).await.body["slug"], "one");
    assert_eq!(api.get("/sections/slug/two").await.status, 404);
    let report = api.get("/internal/integrity").await.body;
    assert_eq!(report["findings"][0]["kind"], "unreadable_document");
    assert_eq!(report["findings"][0]["ids"], json!([twin.to_hex()]));
}

#[tokio::test]
async fn a_section_with_another_kind_of_id_is_reported_and_is_a_500_for_editors() {
    let (database, _neighbour, api) = site().await;
    let ids = [Bson::from("odd"), 7.into(), mongodb::bson::Uuid::from_bytes([7; 16]).into()];
    for (number, id) in ids.iter().enumerate() {
        database.insert("sections", [section(number, "_id", id)]).await;
    }
    let before = all_bytes(&database).await;
    for id in ["odd", "7", "07070707-0707-0707-0707-070707070707"] {
        let path = format!("/sections/{id}");
        assert_eq!(api.get(&path).await.code(), (400, "invalid_id"));
        for (method, path, body) in [
            ("GET", format!("{path}?include_drafts=true"), Value::Null),
            ("PATCH", path.clone(), json!({ "title": "x" })),
            ("DELETE", path.clone(), Value::Null),
        ] {
            let answer = api.call(method, &path, body).await;
            assert_eq!(answer.code(), (500, "unreadable_document"), "{method} {path}");
        }
    }
    assert!(all_bytes(&database).await == before);
    // Their slugs are taken.
    assert_eq!(api.add("Odd 0", None).await.body["slug"], "odd-0-2");
    let report = api.get("/internal/integrity").await.body;
    assert_eq!(report["findings"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["findings"][0]["kind"], "unreadable_document");
    assert_eq!(report["findings"][0]["count"], 3);
}

#[tokio::test]
async fn the_date_of_creation_can_be_changed_up_to_a_day_ahead() {
    let (database, _neighbour, api) = site().await;
    let far = DateTime::from_millis(DateTime::now().timestamp_millis() + 10 * 86_400_000);
    let section = section(0, "createdDate", &Bson::from(far));
    database.insert("sections", [section.clone()]).await;
    let answer = as_editor(&api, &section).await;
    for method in ["PUT", "PATCH"] {
        let again = api.call(method, &path(&section), answer.clone()).await;
        assert_eq!((again.status, &again.body), (200, &answer), "{method}");
        // The same moment in another spelling.
        let mut respelled = answer.clone();
        let moment = answer["createdDate"].as_str().unwrap().replace('Z', "+00:00");
        respelled["createdDate"] = moment.into();
        let again = api.call(method, &path(&section), respelled).await;
        assert_eq!((again.status, &again.body), (200, &answer), "{method}");
    }
    let date = json!({ "createdDate": "2019-05-01T09:30:00Z" });
    let changed = patch(&api, &section, date).await;
    assert_eq!(changed["createdDate"], "2019-05-01T09:30:00.000Z");
    assert_eq!(as_editor(&api, &section).await, changed);
    let ahead = json!({ "title": "T", "createdDate": answer["createdDate"] });
    for method in ["PUT", "PATCH"] {
        let refused = api.call(method, &path(&section), ahead.clone()).await;
        assert_eq!(refused.code(), (422, "validation_failed"), "{method}");
        assert_eq!(refused.body["errors"][0]["field"], "createdDate");
    }
}
