//! Loading a site: all of it or nothing, once.

use std::fmt::Write;

use mongodb::bson::doc;
use test_support::eventually;

use crate::{
    legacy,
    support::{Site, Turbulence},
};

/// The files of a folder, by name.
type Files<'a> = &'a [(&'a str, &'a [u8])];

#[tokio::test]
async fn everything_is_loaded_and_said() {
    let site = Site::new().await;
    legacy::write(&site.folder);
    let ended = site.run(&["import", legacy::FOLDER]).await;
    insta::assert_snapshot!(ended.success(), @"Loaded 9 stories, 3 projects, 4 pages, 1 users. The next start links it to its sections.");
    assert_eq!(site.collections().await, ["pages", "projects", "stories", "users"]);
    assert_eq!(site.database.count("stories", doc! {}).await, 9);
    // Nothing is migrated yet.
    assert_eq!(site.database.count("stories", doc! { "slug": null }).await, 2);
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_file_and_line_and_nothing_is_loaded() {
    let story = br#"{"_id":{"$oid":"61000000000000000000000a"},"title":"One"}"#.as_slice();
    let cases: &[(&str, Files<'_>)] = &[
        (
            "broken JSON in the last line of the last file",
            &[("stories", story), ("users", b"{\"_id\":1}\n\n  \n{\"_id\":2}\n{\"_id\":3,")],
        ),
        ("an ObjectId that is none", &[("stories", br#"{"_id":{"$oid":"short"}}"#)]),
        ("a date that is none", &[("stories", br#"{"date":{"$date":"yesterday"}}"#)]),
        ("a list", &[("projects", b"[{\"_id\":1}]")]),
        ("nothing that is an object", &[("projects", b"{\"_id\":1}\nnull")]),
        ("two objects in a line", &[("pages", br#"{"_id":1} {"_id":2}"#)]),
        ("an _id twice", &[("stories", b"{\"_id\":\"a\"}\n{\"_id\":\"b\"}\n{\"_id\":\"a\"}")]),
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
    for folder in ["nowhere", "file"] {
        let ended = site.run(&["import", folder]).await;
        _ = writeln!(said, "{folder}\n    {}", ended.failure(1));
    }
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn a_start_with_a_broken_import_ends_at_once_and_loads_nothing() {
    let site = Site::new().await;
    legacy::write(&site.folder);
    site.folder.write("site/users.jsonl", "{");
    let ended = site.up(&["--import", "site"]).ended().await;
    assert!(ended.failure(1).contains("site/users.jsonl, line 1"), "{ended:#?}");
    assert_eq!(ended.stdout, "");
    assert_eq!(site.collections().await, [""; 0]);
}

#[tokio::test]
async fn a_collection_that_has_documents_is_left_alone() {
    let site = Site::new().await;
    site.database.insert("projects", [doc! { "_id": 1, "title": "Mine" }]).await;
    let before = site.database.hash().await;
    legacy::write(&site.folder);
    let ended = site.run(&["import", legacy::FOLDER]).await;
    insta::assert_snapshot!(ended.failure(1), @"turbulence: the collection projects is not empty, and an import only loads into an empty database; nothing was loaded");
    assert_eq!(site.database.hash().await, before);
}

#[tokio::test]
async fn an_import_that_is_cut_off_leaves_the_site_empty_and_the_next_one_succeeds() {
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

    // Neither what it needs nor what it does not need is left.
    site.database.insert("turbulence_import_sections", [doc! { "title": "Left" }]).await;
    legacy::write(&site.folder);
    site.run(&["import", legacy::FOLDER]).await.success();
    assert_eq!(site.collections().await, ["pages", "projects", "stories", "users"]);
    assert_eq!(site.database.count("stories", doc! {}).await, 9);
}

#[tokio::test]
async fn an_import_that_was_cut_off_while_it_renamed_is_completed_by_the_next_start() {
    let site = Site::new().await;
    // The first collection has its name already, the second does not.
    let database = &site.database;
    database.insert("stories", [doc! { "_id": 1, "title": "One" }]).await;
    database.insert("turbulence_import_pages", [doc! { "_id": 2, "page_type": "about" }]).await;
    let note = doc! { "_id": "renaming", "collections": ["stories", "pages"] };
    database.insert("turbulence_import", [note]).await;

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
