//! Documents whose fields are stored in other types than they should be: each row of what is read
//! leniently, in every kind of content.

use std::collections::HashSet;

use futures_util::TryStreamExt;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, RawDocumentBuf, doc, oid::ObjectId,
    spec::BinarySubtype,
};
use serde_json::{Value, json};
use test_support::{Service, TestDatabase, eventually, settings};

use crate::support::{
    Site, all_content, ask, day, each, page, project, section, send, stored, story, with,
};

const KINDS: [&str; 3] = ["stories", "projects", "pages"];

const TOKEN_HEADER: (&str, &str) = ("authorization", "Bearer test-token-of-16-or-more");

/// Field, stored value, and the value that is answered.
fn plain() -> Vec<(&'static str, Bson, Value)> {
    let decimal: Decimal128 = "1422756757".parse().unwrap();
    let long_date = || "2015-02-01T02:12:37.000Z".into();
    let mut rows: Vec<(&str, Bson, Value)> = Vec::new();
    for (stored, read) in [
        (Bson::from("2015-02-01"), json!("2015-02-01T00:00:00.000Z")),
        ("2015-02-01T02:12".into(), json!("2015-02-01T02:12:00.000Z")),
        ("2015-02-01T02:12:37".into(), long_date()),
        ("2015-02-01T02:12:37.123".into(), json!("2015-02-01T02:12:37.123Z")),
        ("2015-02-01 02:12:37".into(), long_date()),
        ("2015-02-01T03:12:37+0100".into(), long_date()),
        ("2015-02-01T02:12Z".into(), json!("2015-02-01T02:12:00.000Z")),
        ("Sun, 01 Feb 2015 02:12:37 GMT".into(), long_date()),
        (1_422_756_757.into(), long_date()),
        (1_422_756_757_i64.into(), long_date()),
        (1_422_756_757_f64.into(), long_date()),
        (decimal.into(), long_date()),
        (1_422_756_757_000_i64.into(), long_date()),
        (1_422_756_757_000_f64.into(), long_date()),
        ("".into(), Value::Null),
        ("0000-00-00 00:00:00".into(), Value::Null),
        (r#"{"$date":"2015-02-01T02:12:37Z"}"#.into(), long_date()),
        (r#"{"$date":{"$numberLong":"1422756757000"}}"#.into(), long_date()),
    ] {
        for field in ["createdDate", "updatedDate", "date"] {
            rows.push((field, stored.clone(), read.clone()));
        }
    }
    for field in ["title", "content", "slug", "summary", "page_type"] {
        rows.push((field, 2015.into(), json!("2015")));
        rows.push((field, 20.5.into(), json!("20.5")));
        rows.push((field, true.into(), json!("true")));
    }
    for (stored, read) in [
        (Bson::from("true"), true),
        (1.into(), true),
        (1.0.into(), true),
        ("false".into(), false),
        (0.into(), false),
    ] {
        rows.push(("is_featured", stored.clone(), json!(read)));
        rows.push(("is_published", stored.clone(), json!(read)));
        rows.push(("deleted", stored, json!(read)));
    }
    rows.push(("technologies", "Rust, Go".into(), json!(["Rust", "Go"])));
    rows.push(("description", 2015.into(), json!("2015")));
    rows.push(("canonical", "see the other page".into(), json!("see the other page")));
    rows.push(("noindex", "True".into(), json!(true)));
    rows.push(("noindex", 0.0.into(), json!(false)));
    rows
}

/// Field and stored value.
fn unclear() -> Vec<(&'static str, Bson)> {
    let mut rows: Vec<(&str, Bson)> = Vec::new();
    for field in ["createdDate", "updatedDate", "date"] {
        rows.extend([(field, "yesterday".into()), (field, 5.into()), (field, vec![day(1)].into())]);
    }
    for field in ["title", "content", "slug", "summary", "page_type", "technologies"] {
        rows.extend([(field, doc! { "html": "x" }.into()), (field, Bson::from(day(1)))]);
    }
    rows.extend([
        ("section_id", 5.into()),
        ("user_id", Bson::Array(Vec::new())),
        ("is_featured", "maybe".into()),
        ("description", doc! { "html": "x" }.into()),
        ("social_image", vec![Bson::from("/uploads/a.webp")].into()),
        ("canonical", day(1).into()),
        ("noindex", "maybe".into()),
        ("technologies", vec![Bson::from(doc! {})].into()),
    ]);
    rows
}

fn item(kind: &str, slug: &str) -> Document {
    let base = match kind {
        "stories" => story(slug, day(1)),
        "projects" => project(slug),
        _ => page(slug),
    };
    with(base, doc! { "is_published": true })
}

/// The members that an item of a kind is answered with.
fn has(kind: &str, field: &str) -> bool {
    match field {
        "date" => kind == "stories",
        "slug" => kind != "pages",
        "page_type" => kind == "pages",
        "summary" | "technologies" | "is_featured" => kind == "projects",
        _ => true,
    }
}

/// The ids of a list, walked by cursor and by offset.
async fn walked(service: &Service, path: &str, limit: usize) -> (Vec<String>, u64) {
    let (mut by_cursor, mut page) = (Vec::new(), format!("{path}&limit={limit}"));
    let total = loop {
        let (status, list) = service.get_as_editor(&page).await;
        assert_eq!(status, 200, "{page}: {list}");
        by_cursor.extend(each(&list, "id").into_iter().map(str::to_owned));
        assert!(by_cursor.len() < 10_000, "the walk does not end");
        let Some(cursor) = list["next_cursor"].as_str() else { break list["total"].clone() };
        page = format!("{path}&limit={limit}&cursor={cursor}");
    };
    let mut by_offset: Vec<String> = Vec::new();
    loop {
        let page = format!("{path}&limit={limit}&offset={}", by_offset.len());
        let (_, list) = service.get_as_editor(&page).await;
        let ids = each(&list, "id");
        if ids.is_empty() {
            break;
        }
        by_offset.extend(ids.into_iter().map(str::to_owned));
    }
    assert_eq!(by_offset, by_cursor, "{path} {limit}");
    (by_cursor, total.as_u64().unwrap())
}

/// Asserts that a list has exactly these ids, in the order of the dates that are answered.
async fn assert_listed(service: &Service, path: &str, ids: &HashSet<String>) {
    for limit in [1, 7, 50] {
        let (walked, total) = walked(service, path, limit).await;
        assert_eq!(walked.len() as u64, total, "{path} {limit}");
        assert_eq!(&walked.iter().cloned().collect::<HashSet<_>>(), ids, "{path} {limit}");
    }
    let mut dates = Vec::new();
    let mut offset = 0;
    while offset < ids.len() {
        let (_, list) = service.get_as_editor(&format!("{path}&limit=50&offset={offset}")).await;
        let items = list["items"].as_array().unwrap();
        dates.extend(items.iter().map(|item| item["createdDate"].as_str().map(str::to_owned)));
        offset += items.len();
    }
    // None comes last, as it sorts before every text.
    assert!(dates.is_sorted_by(|one, other| one >= other), "{path}: {dates:?}");
}

#[tokio::test]
async fn a_field_of_another_type_is_read_in_every_kind_and_the_item_is_whole() {
    let database = TestDatabase::new().await;
    let mut all: Vec<(&str, Document, &str, Value)> = Vec::new();
    for kind in KINDS {
        for (number, (field, stored, read)) in plain().into_iter().enumerate() {
            let document = with(item(kind, &format!("{kind}-{number}")), doc! { field: stored });
            all.push((kind, document, field, read));
        }
    }
    for (kind, document, ..) in &all {
        database.insert(kind, [document.clone()]).await;
    }
    let site = Site::start(&database).await;
    let migrated = all_content(&database).await;
    for kind in KINDS {
        let ids = |drafts: bool| -> HashSet<String> {
            let of_kind = all.iter().filter(|(one, ..)| *one == kind);
            let is_listed = |(_, _, field, read): &&(&str, Document, &str, Value)| {
                *field != "deleted" || *read == json!(false)
            };
            let is_public = |(_, _, field, read): &&(&str, Document, &str, Value)| {
                drafts || *field != "is_published" || *read == json!(true)
            };
            let listed = of_kind.filter(is_listed).filter(is_public);
            listed
                .map(|(_, document, ..)| document.get_object_id("_id").unwrap().to_hex())
                .collect()
        };
        assert_listed(&site.content, &format!("/{kind}?include_drafts=true"), &ids(true)).await;
        assert_listed(&site.content, &format!("/{kind}?include_drafts=false"), &ids(false)).await;
    }
    for (kind, document, field, read) in &all {
        if *field == "deleted" && *read == json!(true) {
            continue;
        }
        let id = document.get_object_id("_id").unwrap().to_hex();
        let (status, answer) = site.content.get_as_editor(&format!("/{kind}/{id}")).await;
        assert_eq!(status, 200, "{kind} {document}: {answer}");
        // A migration gives a story the dates and the slug that it has not.
        if has(kind, field) && !read.is_null() {
            assert_eq!(&answer[*field], read, "{kind} {document}");
        }
        // Sent back as it was read it stays byte for byte.
        let url = format!("{}/{kind}/{id}", site.content.url);
        for method in ["PUT", "PATCH"] {
            let (status, _, again) = send(method, &url, &[], &answer).await;
            assert_eq!((status.as_u16(), &again), (200, &answer), "{method} {document}");
        }
    }
    assert!(all_content(&database).await == migrated, "something was rewritten");
    // Found by what it is read as.
    for (kind, by) in [("stories", "slug"), ("projects", "slug"), ("pages", "type")] {
        for text in ["2015", "20.5", "true"] {
            let (status, answer) = site.content.get(&format!("/{kind}/{by}/{text}")).await;
            assert_eq!(status, 200, "{kind} {text}: {answer}");
        }
        for text in ["2015.0", "20.50", "True", "1"] {
            let (status, _) = site.content.get(&format!("/{kind}/{by}/{text}")).await;
            assert_eq!(status, 404, "{kind} {text}");
        }
    }
}

#[tokio::test]
async fn an_odd_item_is_changed_deleted_and_restored_like_any_other() {
    let database = TestDatabase::new().await;
    let rows = plain().into_iter().map(|(field, stored, _)| (field, stored)).chain(unclear());
    for (number, (field, stored)) in rows.enumerate() {
        if field == "deleted" {
            continue;
        }
        for kind in KINDS {
            let document = item(kind, &format!("{kind}-{number}"));
            database
                .insert(kind, [with(document, doc! { field: stored.clone(), "extra": 1 })])
                .await;
        }
    }
    let site = Site::start(&database).await;
    for kind in KINDS {
        let all = database.collection(kind).find(doc! {}).await.unwrap();
        for before in all.try_collect::<Vec<Document>>().await.unwrap() {
            let id = before.get_object_id("_id").unwrap();
            let url = format!("{}/{kind}/{id}", site.content.url);
            let (status, _, answer) = send("PATCH", &url, &[], &json!({ "title": "New" })).await;
            assert_eq!((status.as_u16(), &answer["title"]), (200, &json!("New")), "{before}");
            let (status, ..) = send("DELETE", &url, &[], &json!({})).await;
            assert_eq!(status, 204, "{before}");
            let (status, ..) = ask(&url, &[TOKEN_HEADER]).await;
            assert_eq!(status, 404, "{before}");
            let (status, _, answer) =
                send("POST", &format!("{url}/restore"), &[], &json!({})).await;
            let has_twin = answer["code"] == "slug_taken";
            assert!(status == 200 || has_twin, "{before}: {answer}");
            let mut after = database.one(kind, doc! { "_id": id }).await;
            for field in ["title", "deleted", "updatedDate"] {
                after.remove(field);
            }
            let mut before = before;
            for field in ["title", "deleted", "updatedDate"] {
                before.remove(field);
            }
            assert_eq!(after, before, "{kind}");
        }
    }
}

#[tokio::test]
async fn a_field_without_a_plain_meaning_is_absent_and_named_and_never_hides_the_item() {
    let database = TestDatabase::new().await;
    let mut all: Vec<(&str, &str, Document)> = Vec::new();
    for kind in KINDS {
        for (number, (field, stored)) in unclear().into_iter().enumerate() {
            let document = with(item(kind, &format!("{kind}-{number}")), doc! { field: stored });
            all.push((kind, field, document));
        }
    }
    for (kind, _, document) in &all {
        database.insert(kind, [document.clone()]).await;
    }
    let site = Site::start(&database).await;
    for kind in KINDS {
        let of_kind = all.iter().filter(|(one, ..)| *one == kind);
        let ids = of_kind.map(|(_, _, document)| document.get_object_id("_id").unwrap().to_hex());
        let ids: HashSet<_> = ids.collect();
        assert_listed(&site.content, &format!("/{kind}?include_drafts=false"), &ids).await;
    }
    let url = format!("{}/internal/integrity", site.content.url);
    let (_, _, report) = ask(&url, &[TOKEN_HEADER]).await;
    for (kind, field, document) in &all {
        let id = document.get_object_id("_id").unwrap().to_hex();
        let (status, answer) = site.content.get_as_editor(&format!("/{kind}/{id}")).await;
        assert_eq!(status, 200, "{kind} {document}: {answer}");
        if !has(kind, field) {
            continue;
        }
        let is_empty = match &answer[*field] {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(values) => values.is_empty(),
            _ => false,
        };
        assert!(is_empty, "{kind} {document}: {answer}");
        let findings = report["findings"].as_array().unwrap();
        let finding = findings
            .iter()
            .find(|one| one["kind"] == "unreadable_field" && one["collection"] == *kind)
            .unwrap();
        let place = finding["ids"].as_array().unwrap().iter().position(|one| *one == id);
        let reason = &finding["reasons"][place.unwrap_or_else(|| panic!("{document} {report:#}"))];
        assert!(reason.as_str().unwrap().starts_with(&format!("{field}: ")), "{reason} {document}");
    }
}

#[tokio::test]
async fn an_id_is_addressed_as_it_is_listed() {
    let database = TestDatabase::new().await;
    let hex = ObjectId::new();
    let uuid = Binary { subtype: BinarySubtype::Uuid, bytes: (0..16).collect() };
    let ids = [
        Bson::from(hex),
        hex.to_hex().into(),
        hex.to_hex().to_uppercase().into(),
        "post/17 ü?#%2F".into(),
        " a".into(),
        7.into(),
        "7".into(),
        8_i64.into(),
        7.5.into(),
        (-3).into(),
        uuid.into(),
    ];
    for (number, id) in ids.iter().enumerate() {
        for kind in KINDS {
            let own = doc! { "_id": id.clone(), "title": number.to_string() };
            database.insert(kind, [with(item(kind, &format!("n{number}")), own)]).await;
        }
    }
    let site = Site::start(&database).await;
    for kind in KINDS {
        let (_, list) = site.content.get(&format!("/{kind}?limit=50")).await;
        assert_eq!(list["total"], ids.len());
        for item in list["items"].as_array().unwrap() {
            let (id, title) = (item["id"].as_str().unwrap(), item["title"].as_str().unwrap());
            let url = format!("{}/{kind}/{}", site.content.url, encoded(id));
            let (status, _, answer) = ask(&url, &[TOKEN_HEADER]).await;
            assert_eq!(status, 200, "{id}: {answer}");
            // An ObjectId wins over equal text, and text over an equal number.
            let winner = match title {
                "1" => "0",
                "5" => "6",
                title => title,
            };
            assert_eq!((&answer["id"], &answer["title"]), (&json!(id), &json!(winner)));
            if title != winner {
                continue;
            }
            let (status, _, answer) = send("PATCH", &url, &[], &json!({ "content": "x" })).await;
            assert_eq!((status.as_u16(), &answer["content"]), (200, &json!("x")), "{id}");
            assert_eq!(send("DELETE", &url, &[], &json!({})).await.0, 204, "{id}");
            assert_eq!(ask(&url, &[TOKEN_HEADER]).await.0, 404, "{id}");
            let restore = format!("{url}/restore");
            assert_eq!(send("POST", &restore, &[], &json!({})).await.0, 200, "{id}");
        }
        for (id, status) in
            [("nobody", 400), ("9", 400), ("7.0", 400), (&ObjectId::new().to_hex(), 404)]
        {
            let (_, _, answer) =
                ask(&format!("{}/{kind}/{id}", site.content.url), &[TOKEN_HEADER]).await;
            assert_eq!(answer["status"], status, "{id}");
        }
    }
    // Moved by the same ids.
    let notes = section(&database, "notes", doc! { "content_type": "story" }).await;
    eventually("the section is known", async || {
        site.sections.get("/sections/slug/notes").await.0 == 200
    })
    .await;
    let body = json!({
        "content_type": "story", "section_id": notes,
        "content": { "ids": [hex.to_hex(), "post/17 ü?#%2F", "7", "7.5"] },
    });
    let (status, _, answer) =
        send("POST", &format!("{}/content/move", site.content.url), &[], &body).await;
    assert_eq!((status.as_u16(), &answer["moved"]), (200, &json!(4)), "{answer}");
    let moved = database.collection("stories").find(doc! { "section_id": notes }).await.unwrap();
    let moved: Vec<Document> = moved.try_collect().await.unwrap();
    let titles: HashSet<_> = moved.iter().map(|one| one.get_str("title").unwrap()).collect();
    assert_eq!(titles, ["0", "3", "6", "8"].into());
}

/// A segment of a path.
fn encoded(id: &str) -> String {
    id.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[tokio::test]
async fn a_page_has_at_most_4_mib_and_at_least_one_item() {
    let database = TestDatabase::new().await;
    // The second one alone is larger than a page; the others are three a page.
    for number in 0..9_i64 {
        let letters = if number == 1 { 5_000_000 } else { 1_300_000 };
        let text = doc! { "content": "x".repeat(letters) };
        database.insert("stories", [with(story(&number.to_string(), day(number)), text)]).await;
    }
    // A control character is six bytes of JSON.
    let text = doc! { "content": "\u{1}".repeat(600_000), "createdDate": "2024-01-20" };
    database.insert("stories", [with(story("escaped", day(20)), text)]).await;
    let site = Site::start(&database).await;
    let (mut sizes, mut slugs, mut path) = (Vec::new(), Vec::new(), "/stories?limit=50".to_owned());
    loop {
        let (_, list) = site.content.get(&path).await;
        let items = serde_json::to_vec(&list["items"]).unwrap().len();
        assert!(items <= 4 * 1024 * 1024 + 2 || each(&list, "slug").len() == 1, "{items}");
        sizes.push(each(&list, "slug").len());
        slugs.extend(each(&list, "slug").into_iter().map(str::to_owned));
        assert_eq!(list["total"], 10);
        let Some(cursor) = list["next_cursor"].as_str() else { break };
        path = format!("/stories?limit=50&cursor={cursor}");
    }
    assert_eq!(slugs, ["escaped", "8", "7", "6", "5", "4", "3", "2", "1", "0"]);
    assert_eq!(sizes, [1, 3, 3, 1, 1, 1]);
    let mut by_offset = Vec::new();
    while by_offset.len() < 10 {
        let (_, list) =
            site.content.get(&format!("/stories?limit=50&offset={}", by_offset.len())).await;
        by_offset.extend(each(&list, "slug").into_iter().map(str::to_owned));
    }
    assert_eq!(by_offset, slugs);
}

#[tokio::test]
async fn a_plain_draft_without_a_flag_is_not_public_in_any_kind() {
    let database = TestDatabase::new().await;
    let drafts = [
        doc! { "status": "draft" },
        doc! { "status": "Pending" },
        doc! { "status": "private" },
        doc! { "status": "trash" },
        doc! { "status": "scheduled" },
        doc! { "status": " FUTURE " },
        doc! { "draft": true },
        doc! { "draft": "true" },
        doc! { "draft": 1 },
        doc! { "published": false },
        doc! { "published": "false" },
        doc! { "published": 0 },
        doc! { "visibility": "private" },
        doc! { "visibility": "members" },
    ];
    let others = [
        doc! { "status": "published" },
        doc! { "status": "publish" },
        doc! { "draft": false },
        doc! { "published": true },
        doc! { "visibility": "public" },
        doc! { "visibility": "" },
        doc! { "status": 5 },
        doc! {},
    ];
    for kind in KINDS {
        for (number, fields) in drafts.iter().enumerate() {
            let mut document = item(kind, &format!("draft-{number}"));
            document.remove("is_published");
            database.insert(kind, [with(document, fields.clone())]).await;
            // Who says that it is published is believed.
            let said = with(item(kind, &format!("said-{number}")), fields.clone());
            database.insert(kind, [said]).await;
        }
        for (number, fields) in others.iter().enumerate() {
            let mut document = item(kind, &format!("other-{number}"));
            document.remove("is_published");
            database.insert(kind, [with(document, fields.clone())]).await;
        }
    }
    let site = Site::start(&database).await;
    for (kind, by) in [("stories", "slug"), ("projects", "slug"), ("pages", "type")] {
        let editors = drafts.len() * 2 + others.len();
        // A page without the flag is a draft.
        let expected = drafts.len() + if kind == "pages" { 0 } else { others.len() };
        let (walked, total) =
            walked(&site.content, &format!("/{kind}?include_drafts=false"), 7).await;
        assert_eq!((walked.len(), total), (expected, expected as u64), "{kind}");
        let path = format!("/{kind}?include_drafts=true");
        assert_eq!(site.content.get_as_editor(&path).await.1["total"], editors, "{kind}");
        for (number, fields) in drafts.iter().enumerate() {
            let (status, _) = site.content.get(&format!("/{kind}/{by}/draft-{number}")).await;
            assert_eq!(status, 404, "{kind} {fields}");
            let (status, _) = site.content.get(&format!("/{kind}/{by}/said-{number}")).await;
            assert_eq!(status, 200, "{kind} {fields}");
        }
        let (_, list) = site.content.get_as_editor(&format!("{path}&limit=50")).await;
        for item in list["items"].as_array().unwrap() {
            let name = item["slug"].as_str().or(item["page_type"].as_str()).unwrap();
            let is_published =
                !name.starts_with("draft") && (kind != "pages" || name.starts_with("said"));
            assert_eq!(item["is_published"], is_published, "{kind} {name}");
        }
    }
}

#[tokio::test]
async fn more_odd_dates_than_are_put_in_place_are_all_listed() {
    let database = TestDatabase::new().await;
    let stories = (0..1_005).map(|number| {
        let date = DateTime::from_millis(1_700_000_000_000 + number).try_to_rfc3339_string();
        story(&number.to_string(), date.unwrap())
    });
    database.collection("stories").insert_many(stories).await.unwrap();
    database.insert("stories", [story("dated", day(1))]).await;
    // A migration gives them dates.
    let settings = settings(&database, &[("sections.url", "http://127.0.0.1:9")]);
    let content = Service::content_without_migrations(&settings).await;
    let (walked, total) = walked(&content, "/stories?include_drafts=true", 50).await;
    assert_eq!((walked.len(), total), (1_006, 1_006));
}

#[tokio::test]
async fn text_that_is_not_utf_8_stops_no_migration_and_no_write() {
    let database = TestDatabase::new().await;
    let fields = doc! { "title": "caf__", "content": "na__ve", "extra": "__" };
    let mut story = with(item("stories", "x"), fields);
    let id = story.get_object_id("_id").unwrap();
    for missing in ["slug", "is_published"] {
        story.remove(missing);
    }
    let mut bytes = RawDocumentBuf::try_from(&story).unwrap().into_bytes();
    while let Some(at) = bytes.windows(2).position(|pair| pair == b"__") {
        bytes[at..at + 2].copy_from_slice(b"\xe9\xff");
    }
    let stories = database.database().collection::<RawDocumentBuf>("stories");
    stories.insert_one(RawDocumentBuf::from_bytes(bytes).unwrap()).await.unwrap();
    let site = Site::start(&database).await;
    let (status, by_slug) = site.content.get("/stories/slug/caf").await;
    assert_eq!((status.as_u16(), &by_slug["title"]), (200, &json!("caf\u{fffd}\u{fffd}")));
    assert!(by_slug["section_id"].is_string(), "{by_slug}");
    let before = stored(&database, "stories", &id.into()).await;
    let url = format!("{}/stories/{id}", site.content.url);
    let (status, _, again) = send("PUT", &url, &[], &by_slug).await;
    assert_eq!((status.as_u16(), &again), (200, &by_slug));
    assert!(stored(&database, "stories", &id.into()).await == before);
    let (status, _, answer) = send("PATCH", &url, &[], &json!({ "title": "Café" })).await;
    assert_eq!((status.as_u16(), &answer["title"]), (200, &json!("Café")), "{answer}");
    assert_eq!(send("DELETE", &url, &[], &json!({})).await.0, 204);
    assert_eq!(send("POST", &format!("{url}/restore"), &[], &json!({})).await.0, 200);
    let after = stored(&database, "stories", &id.into()).await;
    let count = |bytes: &[u8]| bytes.windows(2).filter(|pair| *pair == b"\xe9\xff").count();
    assert_eq!((count(&before), count(&after)), (3, 2), "the rest is as it was");
}
