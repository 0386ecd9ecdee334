//! Looking at the data, whatever the ledger says.

use migrations::{
    Index, Insert, RunError, RunErrorKind, Skip, StepsError, Violation, ViolationKind,
};
use mongodb::{
    bson::{Bson, doc},
    options::IndexOptions,
};
use test_support::TestDatabase;

use crate::support::{
    Commands, Given, Step, arc, command, count_up, engine, engine_of, fast, insert_items,
    refuse_items,
};

/// Returns the violations in the data.
async fn findings(database: &TestDatabase, step: Step) -> (bool, Vec<Violation>) {
    let engine = engine(database, &[Given::steps([step])]);
    let verification = engine.verify().await.unwrap().remove(0);
    (verification.ok, verification.violations)
}

/// The kinds of what is found, how much it is, and the documents that are named.
fn essence(findings: &[Violation]) -> Vec<(ViolationKind, i64, &[Bson])> {
    findings.iter().map(|one| (one.kind, one.count, &one.documents[..])).collect()
}

fn unique() -> Step {
    let options = IndexOptions::builder().unique(true).build();
    arc(Index::new("items", "a_1", doc! { "a": 1 }, options))
}

fn insert() -> Step {
    arc(Insert {
        key: "the first items".into(),
        collection: "items",
        unless: doc! { "is_first": true },
        documents: vec![doc! { "is_first": true }, doc! { "is_first": true }],
    })
}

fn leave_out() -> Step {
    arc(Skip {
        key: "items left".into(),
        reason: "an editor chose so".to_owned(),
        documents: Some(("items", doc! { "_id": { "$lt": 2 } })),
    })
}

#[tokio::test]
async fn documents_that_remain_to_be_changed_are_counted_and_some_are_named() {
    let database = TestDatabase::new().await;
    insert_items(&database, 25).await;
    command(&engine(&database, &[Given::steps([count_up()])])).await.unwrap();
    assert!(findings(&database, count_up()).await.0);
    // An old program continues to write.
    let late = (100..112).map(|id| doc! { "_id": id });
    database.collection("items").insert_many(late).await.unwrap();
    let (ok, findings) = findings(&database, count_up()).await;
    let named: Vec<_> = (100..110).map(Bson::from).collect();
    assert_eq!(essence(&findings), [(ViolationKind::Remaining, 12, &named[..])]);
    assert!(!ok);
}

#[tokio::test]
async fn a_document_that_is_set_aside_does_not_count_as_remaining() {
    let database = TestDatabase::new().await;
    insert_items(&database, 5).await;
    refuse_items(&database, doc! { "_id": 3, "done": true }).await;
    command(&engine(&database, &[Given::steps([count_up()])])).await.unwrap();
    let (ok, findings) = findings(&database, count_up()).await;
    assert_eq!(essence(&findings), [(ViolationKind::Quarantined, 1, &[3.into()][..])]);
    assert!(!ok);
}

#[tokio::test]
async fn an_index_that_does_not_exist_is_found_and_so_are_the_documents_that_stop_it() {
    let database = TestDatabase::new().await;
    let (ok, missing) = findings(&database, unique()).await;
    assert_eq!(essence(&missing), [(ViolationKind::MissingIndex, 1, &[][..])]);
    assert!(!ok);
    for id in 1..=5 {
        database.insert("items", [doc! { "_id": id, "a": id / 2 }]).await;
    }
    let (_, stopped) = findings(&database, unique()).await;
    let expected = [
        (ViolationKind::MissingIndex, 1, &[][..]),
        (ViolationKind::Duplicates, 4, &[2.into(), 3.into(), 4.into(), 5.into()][..]),
    ];
    assert_eq!(essence(&stopped), expected);
    database.collection("items").delete_many(doc! { "_id": { "$in": [3, 5] } }).await.unwrap();
    command(&engine(&database, &[Given::steps([unique()])])).await.unwrap();
    assert_eq!(essence(&findings(&database, unique()).await.1), []);
}

#[tokio::test]
async fn another_index_of_the_name_is_found_with_its_keys() {
    let database = TestDatabase::new().await;
    let other = doc! { "key": { "b": -1 }, "name": "a_1" };
    let create = doc! { "createIndexes": "items", "indexes": [other] };
    database.database().run_command(create).await.unwrap();
    let (ok, findings) = findings(&database, unique()).await;
    assert_eq!(essence(&findings), [(ViolationKind::OtherIndex, 1, &[][..])]);
    assert!(findings[0].remedy.contains("\"b\": -1"), "{}", findings[0].remedy);
    assert!(!ok);
}

#[tokio::test]
async fn documents_that_are_not_inserted_are_counted() {
    let database = TestDatabase::new().await;
    let (ok, missing) = findings(&database, insert()).await;
    assert_eq!(essence(&missing), [(ViolationKind::NotInserted, 2, &[][..])]);
    assert!(!ok);
    command(&engine(&database, &[Given::steps([insert()])])).await.unwrap();
    assert_eq!(essence(&findings(&database, insert()).await.1), []);
}

#[tokio::test]
async fn what_is_left_out_is_named_and_nothing_is_wrong() {
    let database = TestDatabase::new().await;
    insert_items(&database, 5).await;
    let (ok, findings) = findings(&database, leave_out()).await;
    assert_eq!(essence(&findings), [(ViolationKind::Skipped, 2, &[0.into(), 1.into()][..])]);
    assert_eq!(findings[0].remedy, "an editor chose so");
    assert!(ok);
}

#[tokio::test]
async fn all_migrations_are_looked_at_and_nothing_is_written() {
    let database = TestDatabase::new().await;
    insert_items(&database, 5).await;
    let before =
        (database.hash().await, database.database().list_collection_names().await.unwrap());
    let given = [
        Given::steps([count_up(), unique()]),
        Given::steps([leave_out()]).called("0002_left"),
        Given::steps([insert()]).called("0003_insert"),
    ];
    let (client, commands) = Commands::of_a_client().await;
    let verifications = engine_of(&client, &database, &given, fast()).verify().await.unwrap();
    let oks: Vec<_> = verifications.iter().map(|one| (one.id, one.ok)).collect();
    assert_eq!(oks, [("0001_test", false), ("0002_left", true), ("0003_insert", false)]);
    assert_eq!(commands.writes(), Vec::<String>::new());
    let after = (database.hash().await, database.database().list_collection_names().await.unwrap());
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_service_that_is_needed_to_know_and_away_is_an_error() {
    let database = TestDatabase::new().await;
    let given = Given::new(async || {
        let cause = "connection refused".into();
        Err(StepsError::Dependency { name: "the oracle".to_owned(), cause })
    });
    let error = engine(&database, &[given]).verify().await.unwrap_err();
    assert!(matches!(error, RunError { kind: RunErrorKind::Dependency(_), .. }), "{error:?}");
    assert_eq!(database.count("test_migrations", doc! {}).await, 0);
}
