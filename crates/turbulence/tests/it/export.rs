//! `turbulence export`, and `turbulence import` of what it has written.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::Duration,
};

use data_service::Collections;
use futures_util::TryStreamExt;
use local_mongod::{DataDir, LocalMongod, Options};
use mongodb::{
    ClientSession, Database,
    bson::{Decimal128, Document, RawDocumentBuf, Timestamp, doc, rawdoc},
    error::ErrorKind,
};
use serde_json::Value;
use service_kit::web::http_client::service_client;
use test_support::{TestDatabase, eventually};

use crate::{
    media,
    support::{Folder, Site, Summary, Turbulence, own_mongod},
    uninstall::{legacy_site, use_everything},
};

/// The address of the site for visitors, in sitemaps and feeds.
const URL: (&str, &str) = ("TURBULENCE__SITE__URL", "https://example.com");

/// A collection: its options and indexes, and its documents as raw BSON in their order.
#[derive(Debug, PartialEq)]
struct Stored {
    options: Option<Document>,
    indexes: BTreeMap<String, Document>,
    documents: Vec<Vec<u8>>,
}

/// Returns everything in a database.
async fn stored(database: &Database) -> BTreeMap<String, Stored> {
    let list = database.run_cursor_command(doc! { "listCollections": 1 }).await.unwrap();
    let descriptions: Vec<Document> = list.try_collect().await.unwrap();
    let mut all = BTreeMap::new();
    for description in descriptions {
        let name = description.get_str("name").unwrap();
        let list = database.run_cursor_command(doc! { "listIndexes": name }).await.unwrap();
        let indexes: Vec<Document> = list.try_collect().await.unwrap();
        let named = |index: Document| (index.get_str("name").unwrap().to_owned(), index);
        let documents = database.collection::<RawDocumentBuf>(name).find(doc! {}).await.unwrap();
        let documents: Vec<_> = documents.try_collect().await.unwrap();
        let stored = Stored {
            options: description.get_document("options").ok().cloned(),
            indexes: indexes.into_iter().map(named).collect(),
            documents: documents.iter().map(|one| one.as_bytes().to_vec()).collect(),
        };
        all.insert(name.to_owned(), stored);
    }
    all
}

/// Returns the names of the collections whose documents an export leaves out.
fn skipped() -> Vec<String> {
    let all =
        [sections_service::COLLECTIONS, content_service::COLLECTIONS, media_service::COLLECTIONS];
    all.iter().flat_map(Collections::transient).collect()
}

/// Asserts that a database has the collections of another one, but for what an export leaves out.
fn assert_same(loaded: &BTreeMap<String, Stored>, original: &BTreeMap<String, Stored>) {
    assert_eq!(loaded.keys().collect::<Vec<_>>(), original.keys().collect::<Vec<_>>());
    for (name, original) in original {
        let loaded = &loaded[name];
        assert_eq!(loaded.options, original.options, "{name}");
        assert_eq!(loaded.indexes, original.indexes, "{name}");
        if skipped().contains(name) {
            assert_eq!(loaded.documents.len(), 0, "{name}");
            continue;
        }
        assert_eq!(loaded.documents.len(), original.documents.len(), "{name}");
        for (loaded, original) in loaded.documents.iter().zip(&original.documents) {
            let read = |bytes: &Vec<u8>| RawDocumentBuf::from_bytes(bytes.clone());
            assert!(loaded == original, "{name}: {:?}, not {:?}", read(loaded), read(original));
        }
    }
}

/// Inserts documents that a site may have and that few programs can keep.
async fn insert_hostile(database: &Database) {
    let raw = |elements: &[u8]| {
        let length = i32::try_from(elements.len() + 5).unwrap().to_le_bytes();
        RawDocumentBuf::from_bytes([&length[..], elements, &[0]].concat()).unwrap()
    };
    let id = |id: &str| {
        [b"\x02_id\0", &[id.len() as u8 + 1, 0, 0, 0][..], id.as_bytes(), b"\0"].concat()
    };
    let with = |name: &str, elements: &[u8]| raw(&[&id(name)[..], elements].concat());
    let mut deep = rawdoc! { "end": true };
    for _ in 0..150 {
        deep = rawdoc! { "below": deep };
    }
    let documents = vec![
        with("a field twice", b"\x10a\0\x01\0\0\0\x10a\0\x02\0\0\0"),
        with("not UTF-8", b"\x02a\0\x03\0\0\0\xc3\x28\0"),
        with("a name that is not UTF-8", b"\x08\xff\xfe\0\x01"),
        with("a NaN with a payload", b"\x01a\0\x01\x02\x03\0\0\0\xf8\xff"),
        with("an array with other keys", b"\x04a\0\x0c\0\0\0\x10x\0\x01\0\0\0\0"),
        with(
            "a DBPointer",
            b"\x0ca\0\x02\0\0\0b\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c",
        ),
        with("a decimal of another form", b"\x13a\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x6c"),
        rawdoc! { "_id": 1, "stored": { "$oid": "not an id" }, "$set": 1, "a.b": { "$date": 1 } },
        rawdoc! { "_id": 2_i64, "$binary": { "base64": "BQAAAAA=", "subType": "00" } },
        rawdoc! { "_id": 3.5, "nan": f64::NAN, "minus": f64::NEG_INFINITY, "zero": -0.0 },
        rawdoc! { "_id": { "b": 1, "a": 2 }, "b": 1, "a": 2, "": "empty name" },
        rawdoc! { "_id": "1e1", "decimal": "1.50E+10".parse::<Decimal128>().unwrap(), "long": 1_i64 },
        rawdoc! { "_id": true, "date": mongodb::bson::DateTime::from_millis(i64::MIN) },
        rawdoc! { "_id": "line\nbreak \u{2028}\u{0}", "text": "\u{0}\n\"\\\u{7f}\u{fffd}\u{1f6a2}" },
        rawdoc! { "_id": "deep", "deep": deep },
        rawdoc! { "_id": "large", "numbers": vec![7_i32; 600_000].into_iter().collect::<mongodb::bson::RawArrayBuf>() },
    ];
    let stories = database.collection::<RawDocumentBuf>("stories");
    stories.insert_many(documents).bypass_document_validation(true).await.unwrap();
    // The server replaces an empty timestamp of an insert, but not that of a pipeline.
    stories.insert_one(rawdoc! { "_id": "empty timestamp" }).await.unwrap();
    let empty = Timestamp { time: 0, increment: 0 };
    let set = vec![doc! { "$set": { "a": 1, "at": { "$literal": empty }, "b": 2 } }];
    stories.update_one(doc! { "_id": "empty timestamp" }, set).await.unwrap();
    let found = database.collection::<Document>("stories");
    let found = found.find_one(doc! { "_id": "empty timestamp" }).await.unwrap().unwrap();
    assert_eq!(found.get_timestamp("at").unwrap(), empty);
}

/// Returns the answers of all described routes for reading, to the public and to an editor.
async fn answers(summary: &Summary, folder: &Path) -> BTreeMap<String, String> {
    let description = include_str!("../../../../docs/openapi.json");
    let description: Value = serde_json::from_str(description).unwrap();
    let routes = description["paths"].as_object().unwrap();
    let routes = routes.iter().filter(|(_, route)| route.get("get").is_some());
    let mut paths = BTreeSet::new();
    for (route, _) in routes {
        for path in requests(summary, route, folder).await {
            paths.insert(path);
        }
    }
    let client = service_client(Duration::from_secs(60)).unwrap();
    let mut answers = BTreeMap::new();
    for path in paths {
        for token in [None, Some(&summary.token)] {
            let mut request = client.get(format!("{}{path}", summary.address));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let response = request.send().await.unwrap();
            let status = response.status();
            let body = response.bytes().await.unwrap();
            let body = match std::str::from_utf8(&body) {
                Ok(text) => without_id_of_request(text).replace(&summary.address, "[address]"),
                Err(_) => format!("{:?}", ring::digest::digest(&ring::digest::SHA256, &body)),
            };
            let who = if token.is_some() { "an editor" } else { "the public" };
            answers.insert(format!("{path} for {who}"), format!("{status} {body}"));
        }
    }
    answers
}

/// Waits until a site gives these answers: the words of the search are added after a start.
async fn same_answers(expected: &BTreeMap<String, String>, summary: &Summary, folder: &Path) {
    let different = RefCell::new(Vec::new());
    let waiting = eventually("the answers are the same", async || {
        let found = answers(summary, folder).await;
        let others =
            expected.iter().filter(|(request, answer)| found.get(*request) != Some(answer));
        let others = others
            .map(|(request, answer)| format!("{request}: {:?}, not {answer}", found.get(request)));
        *different.borrow_mut() = others.collect();
        different.borrow().is_empty()
    });
    if tokio::time::timeout(Duration::from_secs(50), waiting).await.is_err() {
        panic!("{:#?}", different.borrow());
    }
}

/// Removes what differs from request to request in errors.
fn without_id_of_request(text: &str) -> String {
    let Ok(mut body) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    if let Some(body) = body.as_object_mut() {
        for member in ["trace_id", "request_id", "timestamp", "checked_at"] {
            body.remove(member);
        }
    }
    body.to_string()
}

/// Returns requests of a described route, for all that the site has.
async fn requests(summary: &Summary, route: &str, folder: &Path) -> Vec<String> {
    let all = async |path: &str| -> Vec<Value> {
        let mut all = Vec::new();
        let (status, body) = summary.get_as_editor(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        let items = body.get("items").unwrap_or(&body).as_array().cloned();
        all.extend(items.unwrap_or_default());
        all
    };
    let members = |all: Vec<Value>, member: &str| -> Vec<String> {
        let member = |one: &Value| one[member].as_str().map(str::to_owned);
        let values: Vec<_> = all.iter().filter_map(member).filter(|one| !one.is_empty()).collect();
        values.iter().map(|value| encoded(value)).collect()
    };
    let lists = ["/stories", "/projects", "/pages"];
    let items = |list: &str| format!("{list}?limit=50&include_drafts=true");
    let one = |prefix: &str, values: Vec<String>| -> Vec<String> {
        values.iter().map(|value| format!("{prefix}{value}")).collect()
    };
    if let Some(list) = lists.into_iter().find(|list| *list == route) {
        let sorts = ["createdDate", "-createdDate", "title", "-title", "date", "updatedDate"];
        let mut all = one(&format!("{list}?limit=50&sort="), sorts.map(str::to_owned).to_vec());
        all.extend([items(list), format!("{list}?view=card"), format!("{list}?limit=3&offset=2")]);
        return all;
    }
    if let Some(list) = lists.into_iter().find(|list| format!("{list}/{{id}}") == route) {
        return one(&format!("{list}/"), members(all(&items(list)).await, "id"));
    }
    if let Some(list) = lists.into_iter().find(|list| format!("{list}/{{id}}/draft") == route) {
        let ids = members(all(&items(list)).await, "id");
        return ids.iter().take(5).map(|id| format!("{list}/{id}/draft")).collect();
    }
    if let Some(list) = lists.into_iter().find(|list| format!("{list}/slug/{{slug}}") == route) {
        return one(&format!("{list}/slug/"), members(all(&items(list)).await, "slug"));
    }
    for list in lists.into_iter().chain(["/sections"]) {
        let path = if list == "/sections" { list.to_owned() } else { items(list) };
        let ids = async || one(&format!("{list}/"), members(all(&path).await, "id"));
        let end = match route.strip_prefix(list) {
            Some("/{id}/revisions") => "/revisions",
            Some("/{id}/revisions/{number}") => "/revisions/1",
            _ => continue,
        };
        return ids().await.iter().map(|item| format!("{item}{end}")).collect();
    }
    match route {
        // They never end, are of the process, or need the token of a link.
        "/changes" | "/preview" | "/docs" | "/openapi.json" | "/health" | "/health/live"
        | "/health/ready" | "/warmup" => Vec::new(),
        "/feeds/{path}" => one("/feeds/", members(all("/sections").await, "slug")),
        "/pages/type/{page_type}" => {
            one("/pages/type/", members(all(&items("/pages")).await, "page_type"))
        }
        "/resolve" => {
            let mut paths = members(all("/sections").await, "path");
            for list in lists {
                paths.extend(members(all(&items(list)).await, "path"));
            }
            paths.push("/".to_owned());
            one("/resolve?path=", paths)
        }
        "/search" => ["letter", "tides", "lamps", "same title", "SW"]
            .map(|words| format!("/search?q={}", encoded(words)))
            .to_vec(),
        "/sections/{id}" => one("/sections/", members(all("/sections").await, "id")),
        "/sections/slug/{slug}" => one("/sections/slug/", members(all("/sections").await, "slug")),
        "/media/{id}" => one("/media/", members(all("/media").await, "id")),
        "/uploads/{path}" => {
            let names = fs::read_dir(folder).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            one("/uploads/", names.collect())
        }
        "/webhooks/{id}" => one("/webhooks/", members(all("/webhooks").await, "id")),
        "/webhooks/{id}/deliveries" => {
            let ids = members(all("/webhooks").await, "id");
            ids.iter().map(|id| format!("/webhooks/{id}/deliveries")).collect()
        }
        // None were made.
        "/webhooks/{id}/deliveries/{delivery_id}" => Vec::new(),
        "/sitemap.xml" => vec!["/sitemap.xml".to_owned(), "/sitemap.xml?part=1".to_owned()],
        route => {
            assert!(!route.contains('{'), "{route} needs values");
            vec![route.to_owned()]
        }
    }
}

/// Encodes a part of an address.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Replaces the sizes of files in a message: those of ledgers differ from run to run.
fn without_sizes(line: &str) -> String {
    let Some((before, rest)) = line.split_once("it has ") else { return line.to_owned() };
    let (_, after) = rest.split_once(". ").unwrap();
    format!("{before}it has [n] bytes instead of [n]. {after}")
}

/// Reads the manifest of an export.
fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

#[tokio::test]
async fn an_import_of_an_export_is_the_same_site() {
    let site = legacy_site().await;
    use_everything(&site).await;
    insert_hostile(site.database.database()).await;
    let validated = doc! {
        "collMod": "projects", "validationLevel": "strict",
        "validator": { "title": { "$ne": "Folded tides" } },
    };
    site.database.database().run_command(validated).await.unwrap();

    // While the site runs.
    let turbulence = site.up_with(&[], &[URL]);
    let summary = turbulence.ready().await;
    let (status, uploaded) = media::upload_picture(&summary).await;
    assert_eq!(status, 200, "{uploaded}");
    fs::write(site.folder.path(".turbulence/media/by-hand.txt"), "put there by hand").unwrap();
    site.database.leases_released().await;
    let original = stored(site.database.database()).await;
    let ended = site.run(&["export", "backup"]).await;
    let text = ended.success();
    assert!(text.contains("files of media from"), "{text}");
    assert_eq!(
        manifest(&site.folder.path("backup"))["collections"].as_array().unwrap().len(),
        original.len() - 1,
        "`letters` is of another program"
    );

    let copy = Site::new().await;
    let backup = site.folder.path("backup").display().to_string();
    let checked = copy.run(&["import", &backup, "--dry-run"]).await;
    assert!(checked.success().starts_with("The export is whole"), "{checked:#?}");
    assert_eq!(copy.collections().await, [""; 0]);
    assert!(!copy.folder.path(".turbulence/media").exists());
    let loaded = copy.run(&["import", &backup]).await;
    assert!(loaded.success().starts_with("Loaded the export as of "), "{loaded:#?}");
    let mut without_letters = original;
    without_letters.remove("letters");
    assert_same(&stored(copy.database.database()).await, &without_letters);

    // No migration is left to do, and none is done.
    copy.run(&["migrate", "status", "--check"]).await.success();
    let ledgers = async || {
        let mut all = stored(copy.database.database()).await;
        all.retain(|name, _| name.ends_with("_migrations") || name.ends_with("_migration_journal"));
        all
    };
    let before = ledgers().await;
    let restarted = copy.up_with(&[], &[URL]);
    let copied = restarted.ready().await;
    assert_eq!(ledgers().await, before);
    let folder = site.folder.path(".turbulence/media");
    let expected = answers(&summary, &folder).await;
    assert!(expected.len() > 100, "{}", expected.len());
    same_answers(&expected, &copied, &folder).await;
    restarted.stop().await;
    turbulence.stop().await;
}

#[tokio::test]
async fn services_with_databases_of_their_own_are_one_export() {
    let site = legacy_site().await;
    site.run(&["migrate", "up"]).await.success();
    let original = stored(site.database.database()).await;
    site.run(&["export", "one", "--without-media"]).await.success();
    let (sections, copy) = (TestDatabase::new().await, Site::new().await);
    let one = site.folder.path("one").display().to_string();
    let of_sections = format!("sections={}", sections.name());
    copy.run(&["import", &one, "--database-of", &of_sections]).await.success();
    let mut names = sections.database().list_collection_names().await.unwrap();
    names.retain(|name| !sections_service::COLLECTIONS.all().contains(name));
    assert_eq!(names, [""; 0]);
    assert_eq!(sections.count("sections", doc! {}).await, 4);
    assert_eq!(copy.database.count("stories", doc! {}).await, 9);

    // Renaming was interrupted before the collections of the second database.
    let back = "turbulence_import_sections";
    let rename = |from: &str, to: &str| {
        let name = |collection: &str| format!("{}.{collection}", sections.name());
        doc! { "renameCollection": name(from), "to": name(to) }
    };
    let admin = sections.connection().client().database("admin");
    admin.run_command(rename("sections", back)).await.unwrap();
    let marker = doc! { "_id": "renaming", "collections": ["stories"], "others": { sections.name(): ["sections"] } };
    copy.database.insert("turbulence_import", [marker]).await;
    let ended = copy.run(&["import", &one, "--database-of", &of_sections]).await;
    assert!(ended.success().contains("that was interrupted is complete now"), "{ended:#?}");
    assert_eq!(sections.count("sections", doc! {}).await, 4);

    copy.run(&["export", "two", "--without-media", "--database-of", &of_sections]).await.success();
    let again = Site::new().await;
    let two = copy.folder.path("two").display().to_string();
    again.run(&["import", &two]).await.success();
    let mut original = original;
    original.remove("letters");
    assert_same(&stored(again.database.database()).await, &original);

    let ended = copy.run(&["export", "three", "--database-of", "sections=none_of_this_name"]).await;
    let wrong = "the database none_of_this_name has no site to export";
    assert!(ended.failure(1).ends_with(wrong), "{ended:#?}");
    for wrong in ["sections", "sections=", "letters=x", "=x"] {
        let ended = copy.run(&["export", "three", "--database-of", wrong]).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:#?}");
    }
    let ended = copy.run(&["export", "three", "--database-of", "sections=a.b"]).await;
    ended.failure(2);
    assert!(!copy.folder.path("three").exists() && !copy.folder.path("three.partial").exists());
}

/// Writes pairs of documents in transactions: an item, and an entry of the journal of its collection.
async fn write_pairs(database: Database, pairs: std::sync::Arc<std::sync::atomic::AtomicI32>) {
    let mut session: ClientSession = database.client().start_session().await.unwrap();
    let (items, journal) = (
        database.collection::<Document>("stories"),
        database.collection::<Document>("content_migration_journal"),
    );
    for number in 0.. {
        session.start_transaction().await.unwrap();
        let item = doc! { "_id": format!("pair {number}"), "title": "x".repeat(2_000) };
        items.insert_one(item).session(&mut session).await.unwrap();
        let entry = doc! { "_id": format!("pair {number}") };
        journal.insert_one(entry).session(&mut session).await.unwrap();
        if number > 0 {
            let last = doc! { "_id": format!("pair {}", number - 1) };
            let set = doc! { "$set": { "changed": number } };
            items.update_one(last.clone(), set.clone()).session(&mut session).await.unwrap();
            journal.update_one(last, set).session(&mut session).await.unwrap();
        }
        session.commit_transaction().await.unwrap();
        pairs.store(number, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Returns the pairs of an exported collection, each with its last change.
fn pairs_of(folder: &Path, collection: &str) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(folder.join(format!("collections/{collection}.jsonl"))).unwrap();
    let documents = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let pairs = documents.filter_map(|one| {
        let id = one["_id"].as_str().filter(|id| id.starts_with("pair "))?.to_owned();
        Some((id, one["changed"].clone()))
    });
    pairs.collect()
}

#[tokio::test]
async fn an_export_has_each_transaction_as_a_whole_or_not_at_all() {
    let site = Site::new().await;
    site.run(&["migrate", "up"]).await.success();
    let pairs = std::sync::Arc::default();
    let writing =
        tokio::spawn(write_pairs(site.database.database().clone(), std::sync::Arc::clone(&pairs)));
    let written = || pairs.load(std::sync::atomic::Ordering::Relaxed);
    let mut last = 0;
    for round in 0..3 {
        let before = written();
        eventually("pairs are written", async || written() > before + 10).await;
        let begun = written();
        let folder = format!("export{round}");
        site.run(&["export", &folder]).await.success();
        assert!(written() > begun, "nothing was written during the export");
        let folder = site.folder.path(&folder);
        let items = pairs_of(&folder, "stories");
        assert_eq!(items, pairs_of(&folder, "content_migration_journal"));
        assert!(items.len() > last, "{} after {last}", items.len());
        // The last transaction of the export changed the pair before it.
        let number = items.len();
        assert_eq!(items[&format!("pair {}", number - 2)]["$numberInt"], (number - 1).to_string());
        last = number;
    }
    writing.abort();
}

#[tokio::test]
async fn an_export_that_is_killed_is_never_taken_for_a_whole_one() {
    let site = Site::new().await;
    site.run(&["migrate", "up"]).await.success();
    let text = "x".repeat(4_000);
    for part in 0..10 {
        let stories = (0..2_000).map(|at| doc! { "_id": part * 2_000 + at, "content": &text });
        site.database.collection("stories").insert_many(stories).await.unwrap();
    }
    let partial = site.folder.path("backup.partial");
    let file = partial.join("collections/stories.jsonl");
    for (signal, code) in [("KILL", None), ("TERM", Some(130))] {
        let export = Turbulence::spawn(site.command(&["export", "backup"]));
        // What a killed one has left is removed by now.
        export.logged("collection written").await;
        let bytes = || fs::metadata(&file).map_or(0, |file| file.len());
        eventually("documents are written", async || bytes() > 0).await;
        export.signal("STOP");
        assert!(!site.folder.path("backup").exists(), "it is complete");
        let other = site.run(&["export", "backup"]).await;
        assert!(other.failure(1).contains("another export writes to "), "{other:#?}");
        export.signal(signal);
        export.signal("CONT");
        let ended = export.ended().await;
        assert_eq!(ended.status.code(), code, "{ended:#?}");
        assert_eq!(ended.stdout, "");
        assert!(!site.folder.path("backup").exists());
        assert_eq!(partial.exists(), signal == "KILL");
        if signal == "KILL" {
            let copy = Site::new().await;
            let ended = copy.run(&["import", &partial.display().to_string()]).await;
            let line = ended.failure(1);
            assert!(line.contains("is an export that was interrupted, and not whole"), "{line}");
            assert_eq!(copy.collections().await, [""; 0]);
        }
    }
    site.run(&["export", "backup"]).await.success();
    assert!(!partial.exists());
    let mode = |path: &str| {
        fs::metadata(site.folder.path("backup").join(path)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(["", "collections"].map(mode), [0o700; 2]);
    assert_eq!(["manifest.json", "collections/stories.jsonl"].map(mode), [0o600; 2]);
    let ended = site.run(&["export", "backup"]).await;
    assert!(ended.failure(1).contains("is not empty: choose a new folder"), "{ended:#?}");

    // An import that is killed leaves nothing of a site, and the next one begins again.
    let original = stored(site.database.database()).await;
    let copy = Site::new().await;
    let backup = site.folder.path("backup").display().to_string();
    let staged = async || copy.database.count("turbulence_import_stories", doc! {}).await;
    for (signal, code) in [("KILL", None), ("TERM", Some(130))] {
        let import = Turbulence::spawn(copy.command(&["import", &backup]));
        // What a killed one has left is removed by now.
        import.logged("collection loaded").await;
        eventually("documents are loaded", async || (1..20_000).contains(&staged().await)).await;
        import.signal(signal);
        let ended = import.ended().await;
        assert_eq!(ended.status.code(), code, "{ended:#?}");
        assert_eq!(ended.stdout, "");
        let names = copy.collections().await;
        assert!(names.iter().all(|name| name.starts_with("turbulence_import_")), "{names:?}");
        assert_eq!(names.is_empty(), signal == "TERM", "{names:?}");
    }
    // A service that was started too early has written something.
    let import = Turbulence::spawn(copy.command(&["import", &backup]));
    import.logged("collection loaded").await;
    import.signal("STOP");
    copy.database.insert("pages", [doc! { "title": "Of a service" }]).await;
    import.signal("CONT");
    let ended = import.ended().await;
    let line = ended.failure(1);
    assert!(line.contains(".pages has got documents during the import"), "{line}");
    assert_eq!(copy.collections().await, ["pages"]);
    copy.database.database().drop().await.unwrap();
    // As an export leaves it that was killed after the folder had its name: it is whole.
    let lock = site.folder.path("backup/turbulence-export.lock");
    fs::write(&lock, "").unwrap();
    copy.run(&["import", &backup]).await.success();
    assert_same(&stored(copy.database.database()).await, &original);
    fs::remove_file(lock).unwrap();
}

#[tokio::test]
async fn a_damaged_export_is_refused_before_anything_is_written() {
    let site = legacy_site().await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let (_, uploaded) = media::upload_picture(&summary).await;
    let picture = uploaded["urls"][0].as_str().unwrap().strip_prefix("/uploads/").unwrap();
    turbulence.stop().await;
    site.run(&["export", "backup"]).await.success();
    let backup = site.folder.path("backup");
    let copy = Site::new().await;
    let mut said = String::new();
    let mut refused = async |file: &str, change: &dyn Fn(Vec<u8>) -> Option<Vec<u8>>| {
        let path = backup.join(file);
        let original = fs::read(&path).unwrap();
        match change(original.clone()) {
            Some(changed) => fs::write(&path, changed).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        for arguments in [&["import"][..], &["import", "--dry-run"]] {
            let backup = backup.display().to_string();
            let ended = copy.run(&[arguments, &[&*backup]].concat()).await;
            let line = ended.failure(1).replace(&backup, "backup").replace(picture, "[picture]");
            let line = without_sizes(&line);
            if arguments.len() == 1 {
                said += &format!("{}\n", copy.redact(&line));
            }
            assert_eq!(copy.collections().await, [""; 0], "{line}");
            assert!(!copy.folder.path(".turbulence/media").exists(), "{line}");
        }
        fs::write(&path, original).unwrap();
    };
    let of_picture = format!("media/{picture}");
    let changed_byte = |mut text: Vec<u8>| {
        let place = text.len() / 2;
        text[place] ^= 1;
        Some(text)
    };
    let truncated = |text: Vec<u8>| Some(text[..text.len() - 1].to_vec());
    let removed = |_| None;
    let files: [&str; 4] = [
        "collections/stories.jsonl",
        "collections/sections_migrations.jsonl",
        "media.jsonl",
        &of_picture,
    ];
    for file in files {
        refused(file, &changed_byte).await;
        refused(file, &truncated).await;
        refused(file, &removed).await;
    }
    let replaced = |from: &'static str, to: &'static str| {
        move |text: Vec<u8>| {
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains(from));
            Some(text.replacen(from, to, 1).into_bytes())
        }
    };
    refused("manifest.json", &truncated).await;
    refused("manifest.json", &replaced("\"unique\":", "\"sparse\":")).await;
    refused("manifest.json", &replaced("turbulence-export", "another format")).await;
    refused("manifest.json", &replaced("\"format_version\": 1", "\"format_version\": 2")).await;
    refused("manifest.sha256", &removed).await;
    // A newer program with the same format: it has one more migration, and another revision of one.
    for (from, to) in [
        ("\"0000_list_indexes\": 1", "\"0000_list_indexes\": 1, \"9999_later\": 1"),
        ("\"0000_list_indexes\": 1", "\"0000_list_indexes\": 77"),
    ] {
        let digest = fs::read(backup.join("manifest.sha256")).unwrap();
        let newer = replaced(from, to)(fs::read(backup.join("manifest.json")).unwrap()).unwrap();
        write_digest(&backup, &newer);
        refused("manifest.json", &move |_| Some(newer.clone())).await;
        fs::write(backup.join("manifest.sha256"), digest).unwrap();
    }
    insta::assert_snapshot!(said);

    // A device that never ends, and pipes, which never begin.
    for file in ["manifest.sha256", "manifest.json", "media.jsonl", files[0], &of_picture] {
        let (path, kept) = (backup.join(file), backup.join("kept"));
        fs::rename(&path, &kept).unwrap();
        match file {
            "manifest.sha256" => std::os::unix::fs::symlink("/dev/zero", &path).unwrap(),
            _ => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
        }
        let ended = copy.run(&["import", &backup.display().to_string()]).await;
        let line = ended.failure(1);
        assert!(line.contains(file) && line.contains("it is not a file"), "{line}");
        fs::rename(&kept, &path).unwrap();
    }

    // A database that has something, and a folder of media that has another file of this name.
    let backup = backup.display().to_string();
    copy.folder.write(&format!(".turbulence/media/{picture}"), "another picture");
    let ended = copy.run(&["import", &backup]).await;
    let line = ended.failure(1);
    assert!(line.contains("has other files with the names of files of the export"), "{line}");
    assert!(line.contains(picture), "{line}");
    assert_eq!(copy.collections().await, [""; 0]);
    fs::remove_file(copy.folder.path(format!(".turbulence/media/{picture}"))).unwrap();
    let database = copy.database.database();
    database.create_collection("pages").await.unwrap();
    copy.database.insert("newsletters", [doc! { "title": "Another program's" }]).await;
    let before = stored(database).await;
    let ended = copy.run(&["import", &backup]).await;
    insta::assert_snapshot!(copy.redact(ended.failure(1)));
    assert_eq!(stored(database).await, before);
    database.collection::<Document>("pages").drop().await.unwrap();
    copy.run(&["import", &backup]).await.success();
    assert_eq!(copy.database.count("newsletters", doc! {}).await, 1);
    // A second import changes nothing.
    let before = stored(database).await;
    copy.run(&["import", &backup]).await.failure(1);
    assert_eq!(stored(database).await, before);
}

/// Writes the digest of a manifest.
fn write_digest(folder: &Path, manifest: &[u8]) {
    let sum = ring::digest::digest(&ring::digest::SHA256, manifest);
    let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(folder.join("manifest.sha256"), format!("{sum}  manifest.json\n")).unwrap();
}

#[tokio::test]
async fn indexes_with_options_of_earlier_servers_are_loaded() {
    let site = Site::new().await;
    let database = site.database.database();
    site.database.insert("stories", [doc! { "title": "One", "slug": "one" }]).await;
    let index =
        doc! { "key": { "slug": 1 }, "name": "by_slug", "background": true, "sparse": true };
    let build = doc! { "createIndexes": "stories", "indexes": [index] };
    database.run_command(build).await.unwrap();
    site.run(&["export", "backup"]).await.success();
    let original = stored(database).await;
    // As listed by a server that keeps what a driver of long ago has sent.
    let backup = site.folder.path("backup");
    let text = fs::read_to_string(backup.join("manifest.json")).unwrap();
    let with_option =
        text.replacen("\"name\":\"by_slug\"", "\"name\":\"by_slug\",\"safe\":true", 1);
    assert_ne!(text, with_option);
    fs::write(backup.join("manifest.json"), &with_option).unwrap();
    write_digest(&backup, with_option.as_bytes());
    let copy = Site::new().await;
    copy.run(&["import", &backup.display().to_string()]).await.success();
    assert_same(&stored(copy.database.database()).await, &original);
}

#[tokio::test]
async fn files_that_the_site_lacks_are_named() {
    let site = Site::new().await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let [one, two] = [(), ()].map(|()| media::upload_picture(&summary));
    let names = [one.await.1, two.await.1]
        .map(|answer| answer["urls"][0].as_str().unwrap()["/uploads/".len()..].to_owned());
    turbulence.stop().await;
    fs::remove_file(site.folder.path(".turbulence/media").join(&names[0])).unwrap();
    let ended = site.run(&["export", "some"]).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert!(ended.stderr.contains("the folder of media lacks 1 of the files"), "{ended:#?}");
    assert_eq!(
        manifest(&site.folder.path("some"))["media"]["missing"],
        serde_json::json!([names[0]])
    );
    // Everyone could read it.
    let ended = site.run(&["export", ".turbulence/media/public"]).await;
    assert!(ended.failure(1).contains("whose files anyone can read"), "{ended:#?}");
    assert!(!site.folder.path(".turbulence/media/public.partial").exists());
    // The wrong folder, or another machine.
    let mut elsewhere = site.command(&["export", "none"]);
    elsewhere.env("TURBULENCE__MEDIA__STORE", site.folder.path("elsewhere"));
    let ended = Turbulence::spawn(elsewhere).ended().await;
    assert!(
        ended.failure(1).contains("has none of the files that the collection `media` names (2)"),
        "{ended:#?}"
    );
    assert!(!site.folder.path("none").exists() && !site.folder.path("elsewhere").exists());
    site.run(&["export", "none", "--without-media"]).await.success();
    assert_eq!(manifest(&site.folder.path("none"))["media"], Value::Null);
}

#[tokio::test]
async fn a_database_without_a_site_is_not_exported() {
    let folder = Folder::new();
    let database = TestDatabase::new().await;
    let uri = test_support::mongodb_uri();
    let target = ["--mongodb-uri", uri, "--database", database.name(), "--create"];
    let ended = folder.run(&[&["export", "backup"], &target[..]].concat()).await;
    assert!(ended.failure(1).contains("has no site to export"), "{ended:#?}");
    folder.write("file", "a file");
    let ended = folder.run(&[&["export", "file"], &target[..]].concat()).await;
    assert!(ended.failure(1).contains("is not a folder"), "{ended:#?}");
    folder.write("mine.partial/notes.txt", "mine");
    let ended = folder.run(&[&["export", "mine"], &target[..]].concat()).await;
    assert!(ended.failure(1).contains("has other files: move them"), "{ended:#?}");
    assert!(folder.path("mine.partial/notes.txt").exists());
}

#[tokio::test]
async fn an_export_that_takes_longer_than_the_server_remembers_fails_and_says_what_to_do() {
    let _turn = own_mongod().await;
    let options =
        Options { data: DataDir::Temporary, server_parameters: Vec::new(), cache_mb: Some(256) };
    let mongod = LocalMongod::start(options).await.unwrap();
    let client = mongodb::Client::with_uri_str(mongod.uri()).await.unwrap();
    let (folder, database) = (Folder::new(), client.database("site"));
    // Several answers of the server, and more than the memory between.
    let text = "x".repeat(100_000);
    for part in 0..16 {
        let stories = (0..100).map(|at| doc! { "_id": part * 100 + at, "content": &text });
        database.collection("stories").insert_many(stories).await.unwrap();
    }
    let arguments = ["export", "backup", "--mongodb-uri", mongod.uri(), "--database", "site"];
    let export = Turbulence::spawn(folder.command(&arguments));
    let file = folder.path("backup.partial/collections/stories.jsonl");
    eventually("documents are written", async || {
        fs::metadata(&file).is_ok_and(|file| file.len() > 0)
    })
    .await;
    export.signal("STOP");
    let admin = client.database("admin");
    let nothing = doc! { "setParameter": 1, "minSnapshotHistoryWindowInSeconds": 0 };
    admin.run_command(nothing).await.unwrap();
    let find = doc! { "find": "stories", "limit": 1, "singleBatch": true, "readConcern": { "level": "snapshot" } };
    let now = database.run_command(find.clone()).await.unwrap();
    let now = now.get_document("cursor").unwrap().get_timestamp("atClusterTime").unwrap();
    let mut earlier = find;
    earlier.insert("readConcern", doc! { "level": "snapshot", "atClusterTime": now });
    eventually("the server has forgotten that time", async || {
        database.collection("pages").insert_one(doc! { "title": "New" }).await.unwrap();
        let error = database.run_command(earlier.clone()).await.err();
        error.is_some_and(
            |error| matches!(&*error.kind, ErrorKind::Command(error) if error.code == 239),
        )
    })
    .await;
    export.signal("CONT");
    let ended = export.ended().await;
    insta::assert_snapshot!(ended.failure(1));
    assert!(!folder.path("backup.partial").exists() && !folder.path("backup").exists());
    mongod.stop().await.unwrap();
}

/// Returns the commands of a guide that are marked as run by this test.
fn commands_of_the_guide() -> Vec<String> {
    let guide = include_str!("../../../../docs/guides/backup.md");
    let blocks = guide.split("<!-- run -->\n```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_commands_of_the_guide_save_and_restore_a_site() {
    let _turn = own_mongod().await;
    let folder = Folder::new();
    let up = |arguments: &[&str]| {
        let mut command = folder.command(&[&["up", "--port", "0"], arguments].concat());
        command.envs([URL]);
        Turbulence::spawn(command)
    };
    let turbulence = up(&["--demo"]);
    let summary = turbulence.ready().await;
    let (status, uploaded) = media::upload_picture(&summary).await;
    assert_eq!(status, 200, "{uploaded}");
    let media = folder.path(".turbulence/media");
    let expected = answers(&summary, &media).await;
    let uri = format!("mongodb://127.0.0.1:{}/?directConnection=true", summary.mongodb_port());
    let run = async |commands: &str| {
        let program = Path::new(crate::support::PROGRAM).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let mut command = folder.command_of(Path::new("sh"), &["-euc", commands]);
        command.env("PATH", path).env("URI", &uri);
        let ended = Turbulence::spawn(command).ended().await;
        assert_eq!(ended.status.code(), Some(0), "{commands}\n{ended:#?}");
    };
    let [running, stopped, restore, copy, restore_copy] =
        commands_of_the_guide().try_into().unwrap();
    run(&running).await;
    turbulence.stop().await;
    run(&stopped).await;
    run(&restore).await;
    let turbulence = up(&[]);
    let summary = turbulence.ready().await;
    same_answers(&expected, &summary, &media).await;
    turbulence.stop().await;
    run(&copy).await;
    run(&restore_copy).await;
    let turbulence = up(&[]);
    same_answers(&expected, &turbulence.ready().await, &media).await;
    turbulence.stop().await;
}
