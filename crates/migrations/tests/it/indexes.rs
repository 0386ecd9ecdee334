//! Indexes that exist.

use migrations::{Index, RunError, RunErrorKind, State};
use mongodb::{
    IndexModel,
    bson::{Document, doc},
    options::IndexOptions,
};
use test_support::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Given, ID, JOURNAL, LEDGER, Service, Step, arc, assert_has, command, engine, entry,
    insert_items, run, set_by,
};

fn index(keys: Document, options: IndexOptions) -> Step {
    let model = IndexModel::builder().keys(keys).options(options).build();
    arc(Index { collection: "items", model })
}

fn named(name: &str) -> IndexOptions {
    IndexOptions::builder().name(name.to_owned()).build()
}

async fn by_hand(database: &TestDatabase, index: Document) {
    let create = doc! { "createIndexes": "items", "indexes": [index] };
    database.database().run_command(create).await.unwrap();
}

async fn names(database: &TestDatabase) -> Vec<String> {
    let mut names = database.collection("items").list_index_names().await.unwrap();
    names.sort();
    names
}

#[tokio::test]
async fn an_index_is_built_where_it_is_missing() {
    let database = TestDatabase::new().await;
    run(&database, [index(doc! { "a": 1 }, named("a_1"))]).await.unwrap();
    assert_eq!(names(&database).await, ["_id_", "a_1"]);
    let before = database.hash().await;
    run(&database, [index(doc! { "a": 1 }, named("a_1"))]).await.unwrap();
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn an_index_that_does_the_same_under_another_name_is_enough() {
    for existing in [
        doc! { "key": { "a": 1 }, "name": "other" },
        doc! { "key": { "a": 1.0 }, "name": "other" },
        doc! { "key": { "a": 1 }, "name": "other", "unique": true },
    ] {
        let database = TestDatabase::new().await;
        by_hand(&database, existing).await;
        run(&database, [index(doc! { "a": 1 }, named("a_1"))]).await.unwrap();
        assert_eq!(names(&database).await, ["_id_", "other"]);
    }
}

#[tokio::test]
async fn an_index_that_does_less_is_not_enough() {
    for existing in [
        doc! { "key": { "a": 1 }, "name": "other", "sparse": true },
        doc! { "key": { "a": 1 }, "name": "other", "partialFilterExpression": { "b": 1 } },
        doc! { "key": { "a": 1 }, "name": "other", "collation": { "locale": "en" } },
        doc! { "key": { "a": -1 }, "name": "other" },
        doc! { "key": { "a": 1, "b": 1 }, "name": "other" },
        doc! { "key": { "a": "hashed" }, "name": "other" },
    ] {
        let database = TestDatabase::new().await;
        by_hand(&database, existing.clone()).await;
        run(&database, [index(doc! { "a": 1 }, named("a_1"))]).await.unwrap();
        assert_eq!(names(&database).await, ["_id_", "a_1", "other"], "{existing}");
    }
}

#[tokio::test]
async fn an_index_with_the_same_key_and_other_options_is_an_error_that_says_so() {
    let unique = || IndexOptions::builder().name("a_1".to_owned()).unique(true).build();
    for existing in [
        doc! { "key": { "a": 1 }, "name": "a_1" },
        doc! { "key": { "a": 1 }, "name": "a_1", "sparse": true },
    ] {
        let database = TestDatabase::new().await;
        by_hand(&database, existing.clone()).await;
        let engine = engine(&database, &[Given::steps([index(doc! { "a": 1 }, unique())])]);
        let error = command(&engine).await.unwrap_err();
        assert!(!error.is_transient(), "{error:?}");
        let entry = entry(&database).await;
        assert_eq!(entry.get_str("state").unwrap(), "failed_fatal");
        let stored = entry.get_document("error").unwrap();
        assert_has(stored, doc! { "class": "index", "retryable": false });
        let message = stored.get_str("message").unwrap();
        for part in ["the index a_1 cannot be built on items", "existing index"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(engine.statuses().borrow()[0].message.as_deref(), Some(message));
        assert_eq!(names(&database).await, ["_id_", "a_1"]);
        // A service says so too: waiting does not help.
        let service = Service::start(&engine);
        let shown = service.comes_to(ID, State::FailedFatal).await;
        assert_eq!(shown.as_deref(), Some(message));
        service.stop().await;
    }
}

#[tokio::test]
async fn an_index_that_is_in_conflict_is_no_reason_to_do_without_the_others() {
    let database = TestDatabase::new().await;
    by_hand(&database, doc! { "key": { "b": 1 }, "name": "a_1" }).await;
    let steps = [index(doc! { "a": 1 }, named("a_1")), index(doc! { "c": 1 }, named("c_1"))];
    run(&database, steps).await.unwrap_err();
    assert_eq!(names(&database).await, ["_id_", "a_1", "c_1"]);
    assert_eq!(entry(&database).await.get_str("state").unwrap(), "failed_fatal");
}

#[tokio::test]
async fn duplicates_that_stop_a_unique_index_are_named() {
    let database = TestDatabase::new().await;
    let items = [
        doc! { "_id": "first", "a": "twin" },
        doc! { "_id": "second", "a": "twin" },
        doc! { "_id": "single", "a": "only" },
        // A document without the field has the same key as one with null.
        doc! { "_id": "third" },
        doc! { "_id": "fourth", "a": null },
    ];
    database.insert("items", items).await;
    run(&database, [unique("a_1")]).await.unwrap_err();
    let entry = entry(&database).await;
    let message = entry.get_document("error").unwrap().get_str("message").unwrap();
    assert!(!message.contains("single"), "{message}");
    for id in ["first", "second", "third", "fourth"] {
        assert!(message.contains(&format!("\"{id}\"")), "{id}: {message}");
    }
}

fn unique(name: &str) -> Step {
    let unique = IndexOptions::builder().name(name.to_owned()).unique(true).build();
    index(doc! { "a": 1 }, unique)
}

#[tokio::test]
async fn a_unique_index_is_built_once_its_duplicates_are_gone() {
    let database = TestDatabase::new().await;
    database.insert("items", [doc! { "_id": 1, "a": 1 }, doc! { "_id": 2, "a": 1 }]).await;
    let engine = engine(&database, &[Given::steps([unique("a_1")])]);
    let service = Service::start(&engine);
    service.comes_to(ID, State::FailedFatal).await;
    assert_eq!(names(&database).await, ["_id_"]);
    database.collection("items").delete_one(doc! { "_id": 2 }).await.unwrap();
    engine.retry(ID).await.unwrap();
    service.ends().await;
    assert_eq!(names(&database).await, ["_id_", "a_1"]);
}

#[tokio::test]
async fn an_index_that_forgets_documents_is_built_although_one_that_keeps_them_exists() {
    let database = TestDatabase::new().await;
    by_hand(&database, doc! { "key": { "a": 1 }, "name": "keeps" }).await;
    let forgets = IndexOptions::builder()
        .name("forgets".to_owned())
        .expire_after(std::time::Duration::from_secs(60))
        .build();
    // The server has no two of them with the same keys, and that is said.
    let error = run(&database, [index(doc! { "a": 1 }, forgets)]).await.unwrap_err();
    assert!(matches!(error, RunError { kind: RunErrorKind::Index { .. }, .. }), "{error:?}");
}

/// A migration that builds an index, and a later one that builds it and another.
fn two_of_revision_1() -> [Given; 2] {
    let (a, b) = (index(doc! { "a": 1 }, named("a_1")), index(doc! { "b": 1 }, named("b_1")));
    [Given::steps([set_by("us")]).called("0001_first"), Given::steps([a, b]).called("0002_second")]
}

/// The same where the first index has moved to a new migration before both.
fn three_of_revision_2() -> [Given; 3] {
    let (a, b) = (index(doc! { "a": 1 }, named("a_1")), index(doc! { "b": 1 }, named("b_1")));
    let [first, _] = two_of_revision_1();
    let second = Given::steps([b]).called("0002_second").of_revision(2);
    [Given::steps([a]).called("0000_new"), first, second]
}

#[tokio::test]
async fn an_index_that_moved_to_an_earlier_migration_is_taken_over_and_rolled_back_with_that_one() {
    let database = TestDatabase::new().await;
    insert_items(&database, 3).await;
    command(&engine(&database, &two_of_revision_1())).await.unwrap();
    let engine = engine(&database, &three_of_revision_2());
    command(&engine).await.unwrap();
    assert!(engine.verify().await.unwrap().iter().all(|one| one.ok));
    let journaled = async |id| {
        let entry = database.one(LEDGER, doc! { "_id": id }).await;
        let records = database.count(JOURNAL, doc! { "migration": id }).await;
        (entry.get_i64("journaled").unwrap(), records)
    };
    assert_eq!(journaled("0000_new").await, (1, 1));
    assert_eq!(journaled("0002_second").await, (1, 1));

    let stop = CancellationToken::new();
    engine.down(Some("0001_first"), &stop).await.unwrap();
    assert_eq!(names(&database).await, ["_id_", "a_1"]);
    engine.down(None, &stop).await.unwrap();
    assert_eq!(names(&database).await, ["_id_"]);
    assert_eq!(database.count(JOURNAL, doc! {}).await, 0);
}

#[tokio::test]
async fn an_index_that_was_about_to_be_built_is_built_by_the_migration_that_has_it_now() {
    let database = TestDatabase::new().await;
    insert_items(&database, 3).await;
    command(&engine(&database, &two_of_revision_1())).await.unwrap();
    // As after a kill between the journal and the build.
    database.collection("items").drop_index("a_1").await.unwrap();
    let engine = engine(&database, &three_of_revision_2());
    command(&engine).await.unwrap();
    assert_eq!(names(&database).await, ["_id_", "a_1", "b_1"]);
    assert_eq!(database.count(JOURNAL, doc! { "migration": "0000_new" }).await, 1);
    engine.down(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(names(&database).await, ["_id_"]);
}
