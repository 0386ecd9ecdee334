//! A process that lost its lease without knowing changes nothing.

use std::sync::Arc;

use migrations::{Patience, RunError, State};
use mongodb::bson::doc;
use test_support::TestDatabase;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::support::{Given, ID, each, engine, entry, expire_lease, insert_items};

#[tokio::test]
async fn a_claim_under_an_older_fence_is_refused() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let newer = doc! { "_id": ID, "fence": 1_000_i64, "state": "running", "kind": "backfill",
    "blocking": false, "revision": 1, "checksum": "" };
    database.insert("test_migrations", [newer.clone()]).await;
    let engine = engine(&database, &[Given::steps([crate::support::count_up()])]);
    let run = engine.run(Patience::Command, &CancellationToken::new()).await;
    assert!(matches!(run, Err(RunError::TakenOver(ID))), "{run:?}");
    assert_eq!(entry(&database).await, newer);
    assert_eq!(database.count("items", doc! { "n": { "$exists": true } }).await, 0);
}

#[tokio::test]
async fn a_batch_of_a_process_that_was_taken_over_changes_nothing() {
    let database = TestDatabase::new().await;
    insert_items(&database, 2_500).await;
    let (is_in_batch, may_go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let zombie = {
        let (is_in_batch, may_go_on) = (is_in_batch.clone(), may_go_on.clone());
        // The third batch begins, and the process stands still until another is done.
        each(doc! { "by": "zombie" }, move |batch| {
            let (is_in_batch, may_go_on) = (is_in_batch.clone(), may_go_on.clone());
            async move {
                if batch == 3 {
                    is_in_batch.notify_one();
                    may_go_on.notified().await;
                }
            }
        })
    };
    let zombie = engine(&database, &[Given::steps([zombie])]);
    let running = tokio::spawn({
        let zombie = zombie.clone();
        async move { zombie.run(Patience::Command, &CancellationToken::new()).await }
    });
    is_in_batch.notified().await;
    let by_zombie = database.count("items", doc! { "by": "zombie" }).await;
    assert!((1..2_500).contains(&by_zombie), "{by_zombie}");

    expire_lease(&database).await;
    let heir = each(doc! { "by": "heir" }, |_| std::future::ready(()));
    let heir = engine(&database, &[Given::steps([heir])]);
    heir.run(Patience::Command, &CancellationToken::new()).await.unwrap();
    let finished = entry(&database).await;
    assert_eq!(finished.get_str("state").unwrap(), "applied");
    let by_heir = 2_500 - by_zombie;
    assert_eq!(database.count("items", doc! { "by": "heir" }).await, by_heir);

    may_go_on.notify_one();
    let end = running.await.unwrap();
    assert!(matches!(end, Err(RunError::TakenOver(ID))), "{end:?}");
    assert_eq!(zombie.statuses().borrow()[0].state, State::FailedRetryable);
    assert_eq!(database.count("items", doc! { "by": "heir" }).await, by_heir);
    assert_eq!(database.count("items", doc! { "by": "zombie" }).await, by_zombie);
    assert_eq!(entry(&database).await, finished);
    // What both of them did is counted once.
    let part = finished.get_array("parts").unwrap()[0].as_document().unwrap();
    assert_eq!(part.get_i64("modified").unwrap(), 2_500);
}

#[tokio::test]
async fn a_fence_that_grew_during_a_batch_refuses_it() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let ledger = database.collection("test_migrations");
    let step = each(doc! { "by": "zombie" }, move |batch| {
        let ledger = ledger.clone();
        async move {
            if batch == 1 {
                let grow = doc! { "$inc": { "fence": 1_i64 } };
                ledger.update_one(doc! { "_id": ID }, grow).await.unwrap();
            }
        }
    });
    let engine = engine(&database, &[Given::steps([step])]);
    let run = engine.run(Patience::Command, &CancellationToken::new()).await;
    assert!(matches!(run, Err(RunError::TakenOver(ID))), "{run:?}");
    assert_eq!(database.count("items", doc! { "by": { "$exists": true } }).await, 0);
    assert_eq!(entry(&database).await.get_str("state").unwrap(), "running");
}
