//! `migrate down`: undoes exactly the changes of the migrations, or nothing.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, RawDocumentBuf, doc};
use serde_json::{Value, json};
use test_support::migration_id;

use super::{BACKFILL, legacy_site, linked, migrated_site, of};
use crate::support::{Site, Turbulence, excerpt};

const COLLECTIONS: [&str; 5] = ["stories", "projects", "pages", "users", "sections"];

/// Returns every document byte by byte, and the names of all indexes.
async fn everything(site: &Site) -> BTreeMap<String, (Vec<Vec<u8>>, Vec<String>)> {
    let mut all = BTreeMap::new();
    for name in COLLECTIONS {
        let collection = site.database.collection(name).clone_with_type::<RawDocumentBuf>();
        let documents = collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
        let documents: Vec<_> = documents.try_collect().await.unwrap();
        let bytes = documents.into_iter().map(RawDocumentBuf::into_bytes).collect();
        // A missing collection has no indexes.
        let mut indexes = collection.list_index_names().await.unwrap_or_default();
        indexes.retain(|index| index != "_id_");
        all.insert(name.to_owned(), (bytes, indexes));
    }
    all
}

async fn down_all(site: &Site) {
    for service in ["content", "sections"] {
        site.migrate(&["down", "--all", "--service", service]).await.success();
    }
}

#[tokio::test]
async fn the_previous_documents_are_restored_byte_by_byte() {
    let site = legacy_site().await;
    // With one of everything: the user too is inserted, and undone.
    let admin = ("TURBULENCE__ADMIN__EMAIL", "admin@example.com");
    let before = everything(&site).await;
    let mut command = site.command(&["migrate", "up"]);
    command.envs([admin]);
    Turbulence::spawn(command).ended().await.success();
    let migrated = everything(&site).await;
    for name in COLLECTIONS {
        assert_ne!(migrated[name], before[name], "{name}");
    }

    let ended = site.migrate(&["down", "--all", "--service", "content"]).await;
    insta::assert_snapshot!(excerpt(ended.success(), &[BACKFILL, "0004_create_admin_user"]));
    let ended = site.migrate(&["down", "--all", "--service", "sections"]).await;
    insta::assert_snapshot!(
        "of_sections",
        excerpt(ended.success(), &[migration_id("seed_initial_sections")])
    );
    assert_eq!(everything(&site).await, before);
    let ended = site.migrate(&["status"]).await;
    insta::assert_snapshot!(
        "status_after_down",
        excerpt(&site.redact(ended.success()), &[migration_id("seed_initial_sections"), BACKFILL])
    );
    site.refused(3, &["status", "--check"]).await;

    // On demand it is applied again, with the same result but for ids and dates of what is new.
    let mut command = site.command(&["migrate", "up"]);
    command.envs([admin]);
    Turbulence::spawn(command).ended().await.success();
    assert_eq!(site.database.count("stories", linked()).await, 7);
    site.migrate(&["status", "--check"]).await.success();
}

/// Returns the ids of the migrations that a command rolled back.
fn rolled_back(answer: &Value) -> Vec<String> {
    let all = answer["content"].as_array().unwrap().iter();
    all.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// Returns the ids of content's migrations after this one, the last one first.
async fn after(site: &Site, id: &str) -> Vec<String> {
    let ids = site.ids("content").await;
    ids.into_iter().rev().take_while(|other| other != id).collect()
}

#[tokio::test]
async fn down_to_a_migration_leaves_it_and_all_before_it_applied() {
    let site = migrated_site().await;
    let answer = site.answer(&["down", "--to", migration_id("user_id")]).await;
    assert_eq!(rolled_back(&answer), after(&site, migration_id("user_id")).await);
    assert_eq!(of(&answer["content"], BACKFILL)["undone"], 13);
    assert_eq!(site.database.count("stories", linked()).await, 0);
    let [kept, undone] = site.states_around(BACKFILL).await;
    assert!(kept.iter().all(|state| state.as_deref() == Some("applied")), "{kept:?}");
    assert!(undone.iter().all(|state| state.as_deref() == Some("rolled_back")), "{undone:?}");

    // No later migration is applied any more.
    let before = site.database.hash().await;
    let answer = site.answer(&["down", "--to", migration_id("content_indexes")]).await;
    assert_eq!(answer, json!({ "content": [] }));
    assert_eq!(site.database.hash().await, before);
}

#[tokio::test]
async fn later_changes_are_kept() {
    let site = migrated_site().await;
    let theirs = doc! { "$set": { "section_id": "an editor's" } };
    let letter = doc! { "_id": "letter" };
    site.database.collection("stories").update_one(letter.clone(), theirs).await.unwrap();
    let ended = site.migrate(&["down", "--to", migration_id("user_id")]).await;
    let kept = "rolled back; undone changes: 12, not undone because of later changes: 1";
    assert!(ended.success().contains(kept), "{ended:#?}");
    let letter = site.database.one("stories", letter).await;
    assert_eq!(letter.get_str("section_id").unwrap(), "an editor's");
}

#[tokio::test]
async fn without_a_journal_nothing_is_changed() {
    let site = migrated_site().await;
    site.database.collection("content_migration_journal").drop().await.unwrap();
    // The last migration that changed anything is rolled back first.
    let changed = doc! { "journaled": { "$gt": 0 } };
    let last = site.entries("content").find_one(changed).sort(doc! { "_id": -1 }).await;
    let last = last.unwrap().unwrap();
    let (id, count) = (last.get_str("_id").unwrap(), last.get_i64("journaled").unwrap());
    let line = site.refused(1, &["down", "--all", "--service", "content"]).await;
    let expected = format!(
        "turbulence: {id}: cannot be rolled back, nothing was changed: the ledger counts {count} \
         changes, the journal has 0"
    );
    assert_eq!(line, expected);
}

#[tokio::test]
async fn an_edited_section_is_not_deleted() {
    let site = legacy_site().await;
    site.migrate(&["up", "--service", "sections"]).await.success();
    let edited = doc! { "$set": { "title": "Journal" } };
    let sections = site.database.collection("sections");
    sections.update_one(doc! { "slug": "blog" }, edited).await.unwrap();
    for down in
        [&["--to", migration_id("section_indexes")][..], &["--all", "--service", "sections"]]
    {
        let line = site.refused(1, &[&["down"], down].concat()).await;
        let (begin, end) = line.split_once("ObjectId(").unwrap();
        let (_, end) = end.split_once(')').unwrap();
        insta::allow_duplicates! {
            insta::assert_snapshot!(format!("{begin}[id]{end}"), @"turbulence: 0002_seed_initial_sections: cannot be rolled back, nothing was changed: the document [id] of sections, inserted by `the sections blog, about, projects and contact`, was changed or deleted later");
        }
    }
}

#[tokio::test]
async fn sections_with_content_are_not_deleted() {
    let site = migrated_site().await;
    let refused =
        async || site.refused(1, &["down", "--to", migration_id("section_indexes")]).await;
    insta::assert_snapshot!(refused().await, @"turbulence: nothing was rolled back, because content belongs to the sections that would be deleted (number of items: 13); undo the links first with `turbulence migrate down --to 0005_user_id`");
    // The remedy of the message.
    site.migrate(&["down", "--to", migration_id("user_id")]).await.success();
    // Content that was written later, and that no ledger records.
    let blog = site.database.one("sections", doc! { "slug": "blog" }).await;
    let blog = blog.get_object_id("_id").unwrap();
    for (collection, section) in [("stories", Bson::from(blog.to_hex())), ("pages", blog.into())] {
        let written = doc! { "_id": "theirs", "section_id": section, "deleted": true };
        site.database.insert(collection, [written]).await;
        let line = refused().await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(line, @"turbulence: nothing was rolled back, because content belongs to the sections that would be deleted (number of items: 1); move that content to other sections first");
        }
        let collection = site.database.collection(collection);
        collection.delete_one(doc! { "_id": "theirs" }).await.unwrap();
    }
    site.migrate(&["down", "--to", migration_id("section_indexes")]).await.success();
    assert_eq!(site.database.count("sections", doc! {}).await, 0);
}

#[tokio::test]
async fn content_whose_links_are_not_in_the_ledger_stays_linked() {
    let site = migrated_site().await;
    site.entries("content").delete_one(doc! { "_id": BACKFILL }).await.unwrap();
    let line = site.refused(1, &["down", "--all", "--service", "content"]).await;
    insta::assert_snapshot!(line, @"turbulence: 0006_backfill_section_id: cannot be rolled back, nothing was changed: the ledger counts 0 changes, the journal has 13");
    site.refused(1, &["down", "--all", "--service", "sections"]).await;
}

#[tokio::test]
async fn a_failed_rollback_and_the_status_show_its_result_and_the_reason() {
    let site = migrated_site().await;
    let rule = doc! { "collMod": "stories", "validator": { "section_id": { "$exists": true } } };
    site.database.database().run_command(rule).await.unwrap();
    let ended = site.migrate(&["down", "--to", migration_id("user_id"), "--json"]).await;
    insta::assert_snapshot!(ended.failure(1), @"turbulence: 0006_backfill_section_id: the database refused a write: Document failed validation (error 121)");
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(rolled_back(&answer), after(&site, BACKFILL).await, "{answer:#}");
    let ended = site.migrate(&["status"]).await;
    let text = site.redact(ended.success());
    let lines: Vec<_> = text.lines().skip_while(|line| !line.contains(BACKFILL)).take(2).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    0006_backfill_section_id    ROLLBACK FAILED at [date]: remove the cause, then run the same `down` again
        the database refused a write: Document failed validation (error 121)
    ");
}

#[tokio::test]
async fn without_a_target_both_services_are_rolled_back_content_first() {
    for arguments in [&["down"][..], &["down", "--all"]] {
        let site = legacy_site().await;
        let before = everything(&site).await;
        site.migrate(&["up"]).await.success();
        let ended = site.migrate(arguments).await;
        let text = ended.success();
        let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}: {text}"));
        assert!(place(BACKFILL) < place(migration_id("seed_initial_sections")), "{text}");
        assert_eq!(everything(&site).await, before, "{arguments:?}");
    }
    let site = Site::new().await;
    let ended = site.migrate(&["down", "--all", "--to", migration_id("section_indexes")]).await;
    assert_eq!(ended.status.code(), Some(2), "{ended:#?}");
    assert!(ended.stderr.contains("cannot be used with"), "{ended:#?}");
    assert_eq!(site.collections().await, [""; 0]);
}

#[tokio::test]
async fn a_rollback_waits_for_a_running_migration() {
    let site = migrated_site().await;
    site.lease("content", 9, 1).await;
    let command = site.command(&["migrate", "down", "--to", migration_id("user_id"), "--json"]);
    let down = Turbulence::spawn(command);
    down.logged("waiting for the lease of another process").await;
    // The other process ends.
    site.lease("content", 9, -1).await;
    let ended = down.ended().await;
    let answer: Value = serde_json::from_str(ended.success()).unwrap();
    assert_eq!(rolled_back(&answer), after(&site, migration_id("user_id")).await);
    assert_eq!(site.database.count("stories", linked()).await, 0);
    down_all(&site).await;
}

#[tokio::test]
async fn added_dates_are_removed_and_the_old_values_restored_byte_by_byte() {
    let site = legacy_site().await;
    let odd = |number: i32| {
        doc! {
            "title": "Odd", "slug": format!("odd-{number}"), "is_published": true,
            "createdDate": 1_700_000_000 + number, "updatedDate": "2015-02-01 02:12:37",
        }
    };
    site.database.collection("stories").insert_many((0..1_100).map(odd)).await.unwrap();
    let planned = site.answer(&["plan"]).await;
    let planned = of(&planned["content"], migration_id("content_dates")).to_string();
    assert!(
        planned.contains("createdDate of another type") && planned.contains("1100"),
        "{planned}"
    );
    let before = everything(&site).await;
    site.migrate(&["up"]).await.success();
    let dated = doc! { "slug": { "$regex": "^odd-" }, "createdDate": { "$type": "date" } };
    assert_eq!(site.database.count("stories", dated).await, 1_100);
    down_all(&site).await;
    assert_eq!(everything(&site).await, before);
}
