//! `turbulence import`: loads all collections of a site or none.

use std::{
    fmt::Write as _, io::Write as _, os::unix::net::UnixListener, path::PathBuf, process::Command,
};

use flate2::{Compression, write::GzEncoder};
use futures_util::TryStreamExt;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, Document, RawDocumentBuf, Regex, Timestamp, cstr, doc,
    oid::ObjectId, rawdoc, spec::BinarySubtype,
};
use test_support::eventually;

use crate::{
    legacy,
    support::{Site, Turbulence},
};

/// The files of a folder, by name.
type Files<'a> = &'a [(&'a str, &'a [u8])];

#[tokio::test]
async fn all_collections_are_loaded_and_counted() {
    let site = Site::new().await;
    legacy::write(&site.folder);
    let ended = site.run(&["import", legacy::FOLDER]).await;
    insta::assert_snapshot!(site.redact(ended.success()), @r"
    Loaded 9 stories, 3 projects, 4 pages, 1 user into the database [database] at [mongodb]. The next start links it to its sections.
    Not loaded, since these files contain no documents: README.txt
    ");
    assert_eq!(site.collections().await, ["pages", "projects", "stories", "users"]);
    assert_eq!(site.database.count("stories", doc! {}).await, 9);
    // Nothing is migrated yet.
    assert_eq!(site.database.count("stories", doc! { "slug": null }).await, 2);
}

#[tokio::test]
async fn an_error_names_its_file_and_line_and_nothing_is_loaded() {
    let story = br#"{"_id":{"$oid":"61000000000000000000000a"},"title":"One"}"#.as_slice();
    let cases: &[(&str, Files<'_>)] = &[
        (
            "broken JSON in the last line of the last file",
            &[("stories", story), ("users", b"{\"_id\":1}\n\n  \n{\"_id\":2}\n{\"_id\":3,")],
        ),
        ("an ObjectId that is none", &[("stories", br#"{"_id":{"$oid":"short"}}"#)]),
        ("a date that is none", &[("stories", br#"{"date":{"$date":"yesterday"}}"#)]),
        ("a list in a list", &[("projects", b"[{\"_id\":1},\n[]]")]),
        ("nothing that is an object", &[("projects", b"{\"_id\":1}\nnull")]),
        ("a comma between two lines", &[("pages", b"{\"_id\":1},\n{\"_id\":2}")]),
        ("an _id twice", &[("stories", b"{\"_id\":\"a\"}\n{\"_id\":\"b\"}\n{\"_id\":\"a\"}")]),
        (
            "an _id twice in other types",
            &[("stories", b"{\"_id\":1}\n{\"_id\":{\"$numberDecimal\":\"1.0\"}}")],
        ),
        ("an _id that MongoDB refuses", &[("stories", b"{\"_id\":1}\n{\"_id\":[2]}")]),
        ("bytes that are no UTF-8", &[("stories", b"{\"_id\":1}\n{\"title\":\"\xff\"}")]),
        ("a file with an unknown name", &[("stories", story), ("storys", story)]),
        ("a folder without files", &[]),
    ];
    let site = Site::new().await;
    let mut said = String::new();
    for (number, (case, files)) in cases.iter().enumerate() {
        let folder = number.to_string();
        std::fs::create_dir(site.folder.path(&folder)).unwrap();
        for (name, content) in *files {
            site.folder.write(&format!("{folder}/{name}.jsonl"), content);
        }
        let ended = site.run(&["import", &folder]).await;
        _ = writeln!(said, "{case}\n    {}", ended.failure(1));
        assert_eq!(ended.stdout, "");
        assert_eq!(site.collections().await, [""; 0], "{case}");
    }
    site.folder.write("file", "");
    std::fs::create_dir(site.folder.path("empty")).unwrap();
    make_fifo(&site, "pipe");
    for folder in ["nowhere", "file", "pipe", "empty"] {
        let ended = site.run(&["import", folder]).await;
        _ = writeln!(said, "{folder}\n    {}", ended.failure(1));
    }
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn a_start_with_an_invalid_import_fails_and_loads_nothing() {
    let site = Site::new().await;
    legacy::write(&site.folder);
    site.folder.write("site/users.jsonl", "{");
    let ended = site.up(&["--import", "site"]).ended().await;
    assert!(ended.failure(1).contains("site/users.jsonl, line 1"), "{ended:#?}");
    assert_eq!(ended.stdout, "");
    assert_eq!(site.collections().await, [""; 0]);
}

#[tokio::test]
async fn a_collection_with_documents_is_not_changed() {
    let site = Site::new().await;
    site.database.insert("projects", [doc! { "_id": 1, "title": "Mine" }]).await;
    let before = site.database.hash().await;
    legacy::write(&site.folder);
    let ended = site.run(&["import", legacy::FOLDER]).await;
    insta::assert_snapshot!(site.redact(ended.failure(1)), @r#"turbulence: the collection projects is not empty, and an import requires an empty database; nothing was loaded. To start over, load into another database with `--database NAME --create`, or delete this one, with its data: `mongosh "$URI" --eval 'db.getSiblingDB("[database]").dropDatabase()'`"#);
    assert_eq!(site.database.hash().await, before);
}

#[tokio::test]
async fn an_interrupted_import_leaves_the_site_empty_and_the_next_one_succeeds() {
    const STORIES: u64 = 40_000;
    let site = Site::new().await;
    let content = "x".repeat(400);
    let mut lines = String::new();
    for number in 0..STORIES {
        _ = writeln!(lines, r#"{{"_id":{number},"title":"Story","content":"{content}"}}"#);
    }
    site.folder.write("large/stories.jsonl", lines);
    let staged = async || site.database.count("turbulence_import_stories", doc! {}).await;
    for (signal, code) in [("TERM", Some(130)), ("KILL", None)] {
        site.database.collection("turbulence_import_stories").drop().await.unwrap();
        let import = Turbulence::spawn(site.command(&["import", "large"]));
        eventually("the load has begun", async || staged().await > 0).await;
        import.signal(signal);
        let ended = import.ended().await;
        assert_eq!(ended.status.code(), code, "{ended:#?}");
        assert_eq!(ended.stdout, "");
        assert!(staged().await < STORIES, "it was over before it was cut off");
        assert_eq!(site.collections().await, ["turbulence_import_stories"]);
    }

    // The next import removes all staging collections.
    site.database.insert("turbulence_import_sections", [doc! { "title": "Left" }]).await;
    legacy::write(&site.folder);
    site.run(&["import", legacy::FOLDER]).await.success();
    assert_eq!(site.collections().await, ["pages", "projects", "stories", "users"]);
    assert_eq!(site.database.count("stories", doc! {}).await, 9);
}

#[tokio::test]
async fn an_import_that_was_killed_while_renaming_is_completed_by_the_next_start() {
    let site = Site::new().await;
    // The first collection has its name already, the second does not.
    let database = &site.database;
    database.insert("stories", [doc! { "_id": 1, "title": "One" }]).await;
    database.insert("turbulence_import_pages", [doc! { "_id": 2, "page_type": "about" }]).await;
    let note = doc! { "_id": "renaming", "collections": ["stories", "pages"] };
    database.insert("turbulence_import", [note]).await;

    // A service that was started too early has written something: nothing of it is lost.
    database.insert("pages", [doc! { "_id": 3 }]).await;
    let ended = site.run(&["up", "--port", "0"]).await;
    assert!(ended.failure(1).contains(".pages has got documents: stop"), "{ended:#?}");
    assert_eq!(database.count("pages", doc! {}).await, 1);
    database.collection("pages").drop().await.unwrap();

    let turbulence = site.up(&[]);
    turbulence.ready().await;
    turbulence.stop().await;

    let left = site.collections().await.into_iter().filter(|name| name.contains("import"));
    assert_eq!(left.collect::<Vec<_>>(), [""; 0]);
    for collection in ["stories", "pages"] {
        let document = database.one(collection, doc! {}).await;
        assert!(document.get_str("section_id").is_ok(), "{document}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Creates a named pipe that has no writer.
fn make_fifo(site: &Site, name: &str) -> PathBuf {
    let path = site.folder.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

impl Site {
    /// Returns the documents of a collection as they are stored, in the order of their `_id`.
    async fn stored(&self, collection: &str) -> Vec<RawDocumentBuf> {
        let collection = self.database.database().collection::<RawDocumentBuf>(collection);
        let documents = collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
        documents.try_collect().await.unwrap()
    }
}

/// Returns documents with every BSON type, and with properties that a map would lose: the order of the
/// fields, and a field that occurs twice.
fn every_type() -> Vec<RawDocumentBuf> {
    let binary = |subtype, bytes: &[u8]| Binary { subtype, bytes: bytes.to_vec() };
    let rare = doc! {
        "_id": 2, "undefined": Bson::Undefined, "min": Bson::MinKey, "max": Bson::MaxKey,
        "symbol": Bson::Symbol("s".to_owned()), "code": Bson::JavaScriptCode("f()".to_owned()),
    };
    let first = rawdoc! {
        "_id": 1,
        "z": "first", "a": "second", "z2": { "b": 1, "a": 2 },
        "int": 5, "long": 5i64, "large": 9_007_199_254_740_993i64, "double": 5.0,
        "fraction": 65.613_616_999_999_98, "zero": -0.0, "infinite": f64::INFINITY,
        "decimal": "1.10".parse::<Decimal128>().unwrap(),
        "before": DateTime::from_millis(-1), "after": DateTime::from_millis(i64::MAX),
        "id": ObjectId::from_bytes([7; 12]), "timestamp": Timestamp { time: 1, increment: 2 },
        "regex": Regex { pattern: cstr!("^a").to_owned(), options: cstr!("i").to_owned() },
        "generic": binary(BinarySubtype::Generic, b"\xff\0"),
        "old": binary(BinarySubtype::BinaryOld, b"a"),
        "uuid": binary(BinarySubtype::Uuid, &[4; 16]),
        "own": binary(BinarySubtype::UserDefined(0x80), b"a"),
        "empty": {}, "list": [1, "a", [], { "x": null }], "text": "\u{0}\u{1b}\u{feff}\u{1f980}",
    };
    let mut twice = rawdoc! { "_id": 3, "x": 1 };
    twice.append(cstr!("y"), 2);
    twice.append(cstr!("x"), 3);
    vec![first, RawDocumentBuf::try_from(&rare).unwrap(), twice]
}

/// Returns the documents that JSON can represent, and their JSON: no name occurs twice in an object.
fn in_json(is_pretty: bool) -> (Vec<RawDocumentBuf>, String) {
    let documents = every_type()[..2].to_vec();
    let mut text = String::new();
    for document in &documents {
        let value = Bson::Document(Document::try_from(document).unwrap()).into_canonical_extjson();
        _ = if is_pretty { writeln!(text, "{value:#}") } else { writeln!(text, "{value}") };
    }
    (documents, text)
}

#[tokio::test]
async fn every_kind_of_file_is_loaded_with_the_exact_values() {
    let (documents, canonical) = in_json(false);
    let (_, pretty) = in_json(true);
    let array = format!("\u{feff}[\r\n{}\r\n]", canonical.trim().replace('\n', ",\r\n"));
    let bson = every_type().concat_bytes();
    let cases: Vec<(&str, Vec<u8>, &[RawDocumentBuf])> = vec![
        ("stories.jsonl", canonical.clone().into(), &documents),
        ("STORIES.NDJSON", canonical.replace('\n', "\r\n").into(), &documents),
        ("Stories.json", array.into(), &documents),
        ("stories.json.gz", gzip(pretty.as_bytes()), &documents),
        ("stories.JSONL.GZ", gzip(canonical.as_bytes()), &documents),
    ];
    let all = every_type();
    let dumps = [("stories.bson", bson.clone()), ("stories.bson.gz", gzip(&bson))];
    let dumps = dumps.map(|(name, bytes)| (name, bytes, &*all));
    for (name, bytes, expected) in cases.into_iter().chain(dumps) {
        let site = Site::new().await;
        site.folder.write(&format!("site/{name}"), bytes);
        let ended = site.run(&["import", "site"]).await;
        let said = format!(
            "Loaded {} into the database [database] at [mongodb]. The next start links it to its \
             sections.",
            if expected.len() == 1 {
                "1 story".to_owned()
            } else {
                format!("{} stories", expected.len())
            }
        );
        assert_eq!(site.redact(ended.success()), said, "{name}");
        assert_eq!(site.stored("stories").await, expected, "{name}");
    }
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl ConcatBytes for Vec<RawDocumentBuf> {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|document| document.as_bytes().to_vec()).collect()
    }
}

#[tokio::test]
async fn the_export_of_an_old_mongodb_is_loaded_with_the_exact_values() {
    let site = Site::new().await;
    let line = r#"{ "_id" : { "$oid" : "54f0e9d8c1a1a6a4d9c8b7a6" }, "date" : { "$date" : "2015-02-28T02:12:37.123+0000" }, "old" : { "$date" : -1 }, "views" : { "$numberLong" : "3" }, "key" : { "$binary" : "BwcHBwcHBwcHBwcHBwcHBw==", "$type" : "03" }, "like" : { "$regex" : "^a", "$options" : "i" }, "by" : { "$ref" : "users", "$id" : { "$oid" : "54f0e9d8c1a1a6a4d9c8b7a7" } }, "gone" : { "$undefined" : true }, "at" : { "$timestamp" : { "t" : 1, "i" : 2 } }, "end" : { "$maxKey" : 1 } }"#;
    site.folder.write("site/stories.json", format!("{line}\n"));
    site.run(&["import", "site"]).await.success();
    let expected = doc! {
        "_id": ObjectId::parse_str("54f0e9d8c1a1a6a4d9c8b7a6").unwrap(),
        "date": DateTime::from_millis(1_425_089_557_123),
        "old": DateTime::from_millis(-1),
        "views": 3i64,
        "key": Binary { subtype: BinarySubtype::UuidOld, bytes: vec![7; 16] },
        "like": Regex { pattern: cstr!("^a").to_owned(), options: cstr!("i").to_owned() },
        "by": { "$ref": "users", "$id": ObjectId::parse_str("54f0e9d8c1a1a6a4d9c8b7a7").unwrap() },
        "gone": Bson::Undefined,
        "at": Timestamp { time: 1, increment: 2 },
        "end": Bson::MaxKey,
    };
    assert_eq!(site.stored("stories").await, [RawDocumentBuf::try_from(&expected).unwrap()]);
}

#[tokio::test]
async fn the_output_of_mongodump_is_loaded_from_its_folder_and_from_the_one_above() {
    for (folder, end) in [("dump/my site", ""), ("dump", ""), ("dump", ".gz")] {
        let site = Site::new().await;
        let write = |name: &str, bytes: &[u8]| {
            let bytes = if end.is_empty() { bytes.to_vec() } else { gzip(bytes) };
            site.folder.write(&format!("{name}{end}"), bytes);
        };
        write("dump/prelude.json", b"{\"ServerVersion\":\"6.0.5\"}");
        write("dump/my site/stories.bson", &every_type().concat_bytes());
        write("dump/my site/stories.metadata.json", b"{\"options\":{},\"indexes\":[]}");
        write("dump/my site/users.bson", b"");
        write("dump/my site/users.metadata.json", b"{}");
        let ended = site.run(&["import", folder]).await;
        let prelude = if folder == "dump" { format!(", prelude.json{end}") } else { String::new() };
        let said = format!(
            "Loaded 3 stories, 0 users into the database [database] at [mongodb]. The next start \
             links it to its sections.\nNot loaded, since these files contain no documents: \
             stories.metadata.json{end}, users.metadata.json{end}{prelude}"
        );
        assert_eq!(site.redact(ended.success()), said);
        assert_eq!(site.stored("stories").await, every_type());
    }
}

#[tokio::test]
async fn a_document_of_the_maximum_depth_is_loaded() {
    // As many levels as `MAX_DEPTH` of the import has.
    let deep = |levels: usize| (1..levels).fold(rawdoc! {}, |inner, _| rawdoc! { "a": inner });
    let site = Site::new().await;
    let documents: Vec<_> = [1, 2].map(|id| rawdoc! { "_id": id, "a": deep(180) }).into();
    let value = Bson::Document(Document::try_from(&documents[0]).unwrap()).into_canonical_extjson();
    site.folder.write("json/stories.json", value.to_string());
    site.folder.write("bson/pages.bson", documents[1].as_bytes());
    site.run(&["import", "json"]).await.success();
    site.run(&["import", "bson"]).await.success();
    assert_eq!(site.stored("stories").await, documents[..1]);
    assert_eq!(site.stored("pages").await, documents[1..]);
    // MongoDB rejects one more level, and so does the import, before anything is written.
    let deeper = rawdoc! { "_id": 1, "a": deep(181) };
    let users = site.database.database().collection::<RawDocumentBuf>("users");
    users.insert_one(&deeper).await.unwrap_err();
    site.folder.write("deeper/users.bson", deeper.as_bytes());
    let ended = site.run(&["import", "deeper"]).await;
    insta::assert_snapshot!(ended.failure(1), @"turbulence: deeper/users.bson, document 1: nested deeper than 181 levels; nothing was loaded");
}

#[tokio::test]
async fn entries_that_cannot_be_loaded_are_named() {
    let story = b"{\"_id\":1}".as_slice();
    let cases: [(&str, &[&str]); 12] = [
        ("CSV", &["stories.csv", "stories.jsonl"]),
        ("another collection", &["comments.json.gz", "stories.jsonl"]),
        ("a collection of another name", &["Stories 2015.jsonl"]),
        ("a hidden file", &[".stories.jsonl", "stories.jsonl"]),
        (
            "something else",
            &["photo.jpg", "notes.txt", "stories", "stories.jsonl.bak", "stories.gz"],
        ),
        ("a folder", &["stories.jsonl", "old/stories.jsonl"]),
        ("two files for a collection", &["stories.json", "STORIES.bson"]),
        ("a file and the same packed", &["stories.jsonl", "stories.jsonl.gz"]),
        ("system collections and the oplog", &["oplog.bson", "stories.bson", "system.views.bson"]),
        ("a view", &["pages.bson", "pages.metadata.json", "stories.metadata.json"]),
        ("several databases", &["admin/system.version.bson", "site/stories.bson"]),
        (
            "many",
            &[
                "1.a", "2.a", "3.a", "4.a", "5.a", "6.a", "7.a", "8.a", "9.a", "10.a", "11.a",
                "12.a",
            ],
        ),
    ];
    let site = Site::new().await;
    let mut said = String::new();
    for (number, (case, files)) in cases.iter().enumerate() {
        for name in *files {
            site.folder.write(&format!("{number}/{name}"), story);
        }
        let ended = site.run(&["import", &number.to_string()]).await;
        _ = writeln!(said, "{case}\n    {}", ended.failure(1));
        assert_eq!(ended.stdout, "");
    }
    for (name, is_pipe) in [("stories.jsonl", true), ("pages.bson.gz", false)] {
        let folder = format!("special-{is_pipe}");
        std::fs::create_dir(site.folder.path(&folder)).unwrap();
        let name = format!("{folder}/{name}");
        let _listener = if is_pipe {
            make_fifo(&site, &name);
            None
        } else {
            Some(UnixListener::bind(site.folder.path(&name)).unwrap())
        };
        let ended = site.run(&["import", &folder]).await;
        _ = writeln!(said, "{folder}\n    {}", ended.failure(1));
    }
    std::fs::create_dir(site.folder.path("linked")).unwrap();
    for (link, target) in [("stories.jsonl", "/dev/zero"), ("pages.jsonl", "nowhere")] {
        let link = site.folder.path(format!("linked/{link}"));
        std::os::unix::fs::symlink(target, &link).unwrap();
        let ended = site.run(&["import", "linked"]).await;
        _ = writeln!(said, "a link to {target}\n    {}", ended.failure(1));
    }
    assert_eq!(site.collections().await, [""; 0]);
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn a_document_without_an_end_is_refused_in_bounded_memory() {
    let site = Site::new().await;
    // Half a gigabyte in a file of half a megabyte.
    let begin = gzip(b"{\"_id\":1}\n{\"_id\":2,\"title\":\"");
    let rest = gzip(&vec![b'x'; 1024 * 1024]).repeat(512);
    site.folder.write("site/stories.jsonl.gz", [begin, rest].concat());
    // 256 MiB for the data of the program (setrlimit(2), `RLIMIT_DATA`): half of the line.
    let limited = format!("ulimit -d {}; exec \"$0\" \"$@\"", 256 * 1024);
    let program = site.command(&["import", "site"]);
    let mut command = Command::new("sh");
    command.args(["-c", &*limited]).arg(program.get_program()).args(program.get_args());
    command.current_dir(site.folder.path("."));
    let ended = Turbulence::spawn(command).ended().await;
    insta::assert_snapshot!(ended.failure(1), @"turbulence: site/stories.jsonl.gz, line 2: larger than 16 MiB (the limit of MongoDB); nothing was loaded");
    assert_eq!(site.collections().await, [""; 0]);
}

#[tokio::test]
async fn a_document_that_only_the_server_rejects_leaves_nothing_behind() {
    let site = Site::new().await;
    // Fractions of two types that MongoDB considers equal.
    let lines = "{\"_id\":0.5}\n{\"_id\":{\"$numberDecimal\":\"0.5\"}}\n";
    site.folder.write("site/pages.jsonl", "{\"_id\":1}");
    site.folder.write("site/stories.jsonl", lines);
    let ended = site.run(&["import", "site"]).await;
    let line = ended.failure(1).to_owned();
    assert!(line.contains("nothing was loaded") && line.contains("duplicate key"), "{line}");
    assert_eq!(site.collections().await, [""; 0]);
}

#[tokio::test]
async fn the_command_to_start_over_works() {
    let site = Site::new().await;
    site.folder.write("site/stories.jsonl", "{\"_id\":1,\"title\":\"One\"}");
    site.run(&["import", "site"]).await.success();
    let line = site.run(&["import", "site"]).await.failure(1).to_owned();
    assert!(
        line.contains("To start over, load into another database with `--database NAME --create`")
    );
    let other = format!("{}_2", site.database.name());
    let uri = test_support::mongodb_uri();
    let arguments = ["import", "site", "--mongodb-uri", uri, "--database", &other, "--create"];
    site.folder.run(&arguments).await.success();
    site.database.connection().client().database(&other).drop().await.unwrap();
}
