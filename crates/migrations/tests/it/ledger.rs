//! The ledger tells the truth.

use migrations::{Fill, Kind, Patience, State};
use mongodb::bson::{Bson, DateTime, doc};
use test_support::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::support::{Given, ID, count_up, engine, entry, insert_items};

#[tokio::test]
async fn an_entry_says_what_ran_when_by_whom_and_with_what_result() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    let before = DateTime::now();
    engine.run(Patience::Command, &CancellationToken::new()).await.unwrap();

    let stored = entry(&database).await;
    for (field, expected) in [
        ("kind", Bson::from("backfill")),
        ("blocking", false.into()),
        ("revision", 1.into()),
        ("state", "applied".into()),
        ("fence", 1_i64.into()),
        ("attempts", 1_i64.into()),
        ("app_version", "1.2.3".into()),
        ("error", Bson::Null),
        ("progress", Bson::Null),
        ("left_out", Bson::Array(Vec::new())),
        ("parts", vec![Bson::from(doc! { "what": "items counted", "modified": 10_i64 })].into()),
    ] {
        assert_eq!(stored.get(field), Some(&expected), "{field}");
    }
    assert_eq!(stored.get_str("checksum").unwrap().len(), 64);
    let at = |field| *stored.get_datetime(field).unwrap();
    assert!(before <= at("started_at") && at("started_at") <= at("finished_at"));
    assert!(at("finished_at") <= DateTime::now());

    let entries = engine.entries().await.unwrap();
    assert_eq!(entries.len(), 1);
    let read = &entries[0];
    assert_eq!((read.id.as_str(), read.kind, read.state), (ID, Kind::Backfill, State::Applied));
    assert_eq!(read.owner.as_deref(), stored.get_str("owner").ok());
    assert_eq!((read.history.len(), read.history[0].modified), (1, 10));
    assert_eq!(read.history[0].state, State::Applied);
}

#[tokio::test]
async fn a_later_run_is_another_line_in_the_history() {
    let database = TestDatabase::new().await;
    let mut owners = Vec::new();
    for run in 1..=25 {
        database.insert("items", [doc! { "_id": run }]).await;
        let engine = engine(&database, &[Given::steps([count_up()])]);
        engine.run(Patience::Command, &CancellationToken::new()).await.unwrap();
        owners.push(entry(&database).await.get_str("owner").unwrap().to_owned());
    }
    let entry = entry(&database).await;
    assert_eq!((entry.get_i64("attempts").unwrap(), entry.get_i64("fence").unwrap()), (25, 25));
    let history = entry.get_array("history").unwrap().iter();
    let history: Vec<_> =
        history.map(|run| run.as_document().unwrap().get_str("owner").unwrap()).collect();
    assert_eq!(history, &owners[5..]);
}

#[tokio::test]
async fn a_failure_is_kept_with_its_cause_until_a_run_succeeds() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let validator = doc! { "collMod": "items", "validator": { "done": { "$exists": false } } };
    database.database().run_command(validator).await.unwrap();
    let engine = engine(&database, &[Given::steps([count_up()])]);
    engine.run(Patience::Command, &CancellationToken::new()).await.unwrap_err();
    let failed = entry(&database).await;
    assert_eq!(failed.get_str("state").unwrap(), "failed_fatal");
    let message = failed.get_document("error").unwrap().get_str("message").unwrap();
    assert!(
        message.starts_with("0001_test failed: ") && message.contains("validation"),
        "{message}"
    );
    assert_eq!(database.count("items", doc! { "n": { "$exists": true } }).await, 0);

    let anything = doc! { "collMod": "items", "validator": {} };
    database.database().run_command(anything).await.unwrap();
    engine.run(Patience::Command, &CancellationToken::new()).await.unwrap();
    let applied = entry(&database).await;
    assert_eq!(
        (applied.get_str("state").unwrap(), applied.get("error")),
        ("applied", Some(&Bson::Null))
    );
    let states: Vec<_> = applied
        .get_array("history")
        .unwrap()
        .iter()
        .map(|run| run.as_document().unwrap().get_str("state").unwrap())
        .collect();
    assert_eq!(states, ["failed_fatal", "applied"]);
}

#[tokio::test]
async fn a_migration_whose_data_changed_since_runs_again() {
    let database = TestDatabase::new().await;
    let fill = || Fill::set("items seen", "items", doc! { "seen": null }, doc! { "seen": true });
    let engine = engine(&database, &[Given::steps([fill()])]);
    for count in [3, 5] {
        database.insert("items", [doc! {}]).await;
        insert_more(&database, count).await;
        engine.run(Patience::Command, &CancellationToken::new()).await.unwrap();
        assert_eq!(database.count("items", doc! { "seen": null }).await, 0);
    }
    assert_eq!(entry(&database).await.get_i64("attempts").unwrap(), 2);
}

async fn insert_more(database: &TestDatabase, count: usize) {
    database.collection("items").insert_many(vec![doc! {}; count]).await.unwrap();
}
