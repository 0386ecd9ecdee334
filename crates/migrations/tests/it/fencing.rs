//! A process that lost its lease without knowing changes nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use migrations::{RunError, RunErrorKind, State};
use mongodb::{bson::doc, event::command::CommandEvent};
use test_support::TestDatabase;

use crate::support::{
    Gate, Given, ID, LEDGER, command, concurrently, count_up, each, each_with_gate, engine,
    engine_of, entry, expire_lease, fast, insert_items, monitored, parts, run, state, within,
};

#[tokio::test]
async fn a_claim_under_an_older_fence_is_refused() {
    let database = TestDatabase::new().await;
    run(&database, [count_up()]).await.unwrap();
    insert_items(&database, 10).await;
    let name = database.name().to_owned();
    let is_claimed = AtomicBool::new(false);
    let client = monitored(move |event| {
        if let CommandEvent::Started(event) = event
            && event.command.get_str("update").is_ok_and(|name| name == LEDGER)
            && !is_claimed.swap(true, Ordering::SeqCst)
        {
            let newer = doc! { "$set": { "fence": 1_000_i64, "state": "running" } };
            concurrently(&name, LEDGER, async |ledger| {
                ledger.update_one(doc! { "_id": ID }, newer).await.unwrap();
            });
        }
    });
    let engine = engine_of(&client.await, &database, &[Given::steps([count_up()])], fast());
    let refused = command(&engine).await;
    assert!(
        matches!(refused, Err(RunError { migration: Some(ID), kind: RunErrorKind::TakenOver })),
        "{refused:?}"
    );
    assert_eq!(entry(&database).await.get_i64("fence").unwrap(), 1_000);
    assert_eq!(database.count("items", doc! { "n": { "$exists": true } }).await, 0);
}

#[tokio::test]
async fn a_batch_of_a_process_that_was_taken_over_changes_nothing() {
    let database = TestDatabase::new().await;
    insert_items(&database, 2_500).await;
    let gate = Gate::default();
    let zombie = engine(&database, &[Given::steps([each_with_gate("zombie", &gate, 3)])]);
    // The third batch begins, and the process stands still until another is done.
    let running = tokio::spawn({
        let zombie = zombie.clone();
        async move { command(&zombie).await }
    });
    gate.reached().await;
    let by_zombie = database.count("items", doc! { "by": "zombie" }).await;
    assert!((1..2_500).contains(&by_zombie), "{by_zombie}");

    expire_lease(&database).await;
    run(&database, [each(doc! { "by": "heir" }, |_| std::future::ready(()))]).await.unwrap();
    let finished = entry(&database).await;
    assert_eq!(finished.get_str("state").unwrap(), "applied");
    let by_heir = 2_500 - by_zombie;
    assert_eq!(database.count("items", doc! { "by": "heir" }).await, by_heir);

    gate.open();
    let end = within("the zombie ends", running).await.unwrap();
    assert!(
        matches!(end, Err(RunError { migration: Some(ID), kind: RunErrorKind::TakenOver })),
        "{end:?}"
    );
    assert_eq!(zombie.statuses().borrow()[0].state, State::FailedRetryable);
    assert_eq!(database.count("items", doc! { "by": "heir" }).await, by_heir);
    assert_eq!(database.count("items", doc! { "by": "zombie" }).await, by_zombie);
    assert_eq!(entry(&database).await, finished);
    // What both of them did is counted once.
    assert_eq!(parts(&database).await, [("items set".to_owned(), 2_500)]);
}

#[tokio::test]
async fn a_fence_that_grew_during_a_batch_refuses_it() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let ledger = database.collection(LEDGER);
    let step = each(doc! { "by": "zombie" }, move |batch| {
        let ledger = ledger.clone();
        async move {
            if batch == 1 {
                let grow = doc! { "$inc": { "fence": 1_i64 } };
                ledger.update_one(doc! { "_id": ID }, grow).await.unwrap();
            }
        }
    });
    let refused = run(&database, [step]).await;
    assert!(
        matches!(refused, Err(RunError { migration: Some(ID), kind: RunErrorKind::TakenOver })),
        "{refused:?}"
    );
    assert_eq!(database.count("items", doc! { "by": { "$exists": true } }).await, 0);
    assert_eq!(state(&database).await, "running");
}
