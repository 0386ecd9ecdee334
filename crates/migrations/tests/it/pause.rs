//! Pausing, resuming and trying again.

use migrations::{
    Engine, Fill, OperateError, Options, RolledBack, RunError, RunErrorKind, State, Throttle,
};
use mongodb::bson::doc;
use test_support::{TestDatabase, eventually};
use tokio_util::sync::CancellationToken;

use crate::support::{
    Gate, Given, ID, LEDGER, Service, arc, assert_has, command, count_up, each_with_gate, engine,
    engine_of, entry, entry_of, fast, insert_items, run, set_by, state,
};

/// An engine that takes minutes for what the test has.
fn slow_engine(database: &TestDatabase) -> Engine {
    let throttle = Throttle { documents_per_second: 50.try_into().ok(), ..Throttle::OFF };
    let options = Options { throttle, ..fast() };
    engine_of(database.connection().client(), database, &[Given::steps([count_up()])], options)
}

#[tokio::test]
async fn no_batch_is_committed_after_a_pause() {
    let database = TestDatabase::new().await;
    insert_items(&database, 5_000).await;
    let engine = slow_engine(&database);
    let service = Service::start(&engine);
    let changed = async || database.count("items", doc! { "n": 1 }).await;
    eventually("it has begun", async || changed().await > 10).await;
    engine.pause(ID).await.unwrap();
    let (at_once, paused) = (changed().await, entry(&database).await);
    assert_eq!(paused.get_str("state").unwrap(), "paused");
    let message = service.comes_to(ID, State::Paused).await.unwrap();
    assert_eq!(message, "paused: `resume` continues it");
    assert_eq!(changed().await, at_once);
    assert_eq!(entry(&database).await, paused);
    let progress = paused.get_document("progress").unwrap();
    assert_eq!(progress.get_i64("modified").unwrap(), i64::try_from(at_once).unwrap());
    service.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_under_way_when_a_pause_comes_changes_nothing() {
    let database = TestDatabase::new().await;
    insert_items(&database, 2_500).await;
    let gate = Gate::default();
    let engine = engine(&database, &[Given::steps([each_with_gate("us", &gate, 3)])]);
    let service = Service::start(&engine);
    gate.reached().await;
    let changed = async || database.count("items", doc! { "by": "us" }).await;
    let before = changed().await;
    // Not kept waiting by the batch.
    engine.pause(ID).await.unwrap();
    gate.open();
    service.comes_to(ID, State::Paused).await;
    assert_eq!(changed().await, before);
    service.stop().await;
}

#[tokio::test]
async fn a_resumed_migration_continues_at_its_cursor_in_the_same_process() {
    let database = TestDatabase::new().await;
    insert_items(&database, 2_500).await;
    let gate = Gate::default();
    let engine = engine(&database, &[Given::steps([each_with_gate("us", &gate, 3)])]);
    let service = Service::start(&engine);
    gate.reached().await;
    engine.pause(ID).await.unwrap();
    gate.open();
    service.comes_to(ID, State::Paused).await;
    let cursor =
        entry(&database).await.get_document("progress").unwrap().get_i32("cursor").unwrap();
    // The pass does not return there: documents before the cursor come in the pass after it.
    let items = database.collection("items");
    let later = doc! { "$unset": { "by": "" }, "$set": { "later": true } };
    items.update_one(doc! { "_id": cursor }, later).await.unwrap();
    engine.resume(ID).await.unwrap();
    assert_eq!(state(&database).await, "running");
    service.ends().await;
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 2_500);
    let entry = entry(&database).await;
    assert_has(&entry, doc! { "state": "applied", "attempts": 2_i64 });
    // What was done before is not forgotten: one of them was changed twice.
    assert_eq!(crate::support::parts(&database).await, [("items set".to_owned(), 2_501)]);
}

#[tokio::test]
async fn what_never_ran_can_be_paused_and_resumed() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    engine.pause(ID).await.unwrap();
    let paused = database.hash().await;
    let refused = command(&engine).await.unwrap_err();
    assert!(
        matches!(refused, RunError { migration: Some(ID), kind: RunErrorKind::Paused }),
        "{refused:?}"
    );
    let plan = &engine.plan().await.unwrap()[0];
    assert_eq!(plan.waits_for.as_deref(), Some("an operator's `resume`"));
    assert_eq!(database.hash().await, paused);
    engine.resume(ID).await.unwrap();
    assert_eq!(state(&database).await, "pending");
    command(&engine).await.unwrap();
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 10);
}

#[tokio::test]
async fn a_service_does_the_others_while_one_is_paused() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let given = [Given::steps([count_up()]), Given::steps([set_by("us")]).called("0002_next")];
    let engine = engine(&database, &given);
    engine.pause(ID).await.unwrap();
    let service = Service::start(&engine);
    service.comes_to("0002_next", State::Applied).await;
    service.comes_to(ID, State::Paused).await;
    assert_eq!(database.count("items", doc! { "by": "us", "n": null }).await, 10);
    engine.resume(ID).await.unwrap();
    service.ends().await;
    assert_eq!(database.count("items", doc! { "by": "us", "n": 1 }).await, 10);
}

#[tokio::test]
async fn a_second_pause_changes_nothing() {
    let database = TestDatabase::new().await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    engine.pause(ID).await.unwrap();
    let before = database.hash().await;
    engine.pause(ID).await.unwrap();
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn what_has_been_applied_or_rolled_back_cannot_be_paused_resumed_or_tried_again() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let engine = engine(&database, &[Given::steps([set_by("us")])]);
    for expected in [State::Applied, State::RolledBack] {
        match expected {
            State::Applied => command(&engine).await.unwrap(),
            _ => drop(engine.down(None, &CancellationToken::new()).await.unwrap()),
        }
        let before = database.hash().await;
        for refused in [engine.pause(ID).await, engine.resume(ID).await, engine.retry(ID).await] {
            let refused = refused.unwrap_err();
            assert!(
                matches!(refused, OperateError::WrongState { id: ID, state, .. } if state == expected),
                "{refused:?}"
            );
        }
        assert_eq!(database.hash().await, before);
    }
}

#[tokio::test]
async fn what_is_applied_of_an_earlier_revision_is_paused_like_what_never_ran() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    command(&engine(&database, &[Given::steps([set_by("us")])])).await.unwrap();
    let mark = arc(Fill::set("marked", "items", doc! { "mark": null }, doc! { "mark": true }));
    let engine = engine(&database, &[Given::steps([mark]).of_revision(2)]);
    let state = async || engine.report().await.unwrap().migrations[0].state;
    assert_eq!(state().await, State::Pending);
    engine.pause(ID).await.unwrap();
    assert_eq!(state().await, State::Paused);
    let refused = command(&engine).await.unwrap_err();
    assert!(
        matches!(refused, RunError { migration: Some(ID), kind: RunErrorKind::Paused }),
        "{refused:?}"
    );
    engine.resume(ID).await.unwrap();
    assert_eq!(state().await, State::Pending);
    command(&engine).await.unwrap();
    assert_eq!(database.count("items", doc! { "by": "us", "mark": true }).await, 10);
    assert_eq!(crate::support::parts(&database).await, [("marked".to_owned(), 10)]);
    // What either revision wrote can still be undone.
    let undone = engine.down(None, &CancellationToken::new()).await.unwrap();
    assert_eq!(undone, [RolledBack { id: ID, undone: 20, kept: 0 }]);
}

#[tokio::test]
async fn a_pause_holds_when_the_revision_is_raised() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    engine(&database, &[Given::steps([count_up()])]).pause(ID).await.unwrap();
    let engine = engine(&database, &[Given::steps([set_by("us")]).of_revision(2)]);
    assert_eq!(engine.report().await.unwrap().migrations[0].state, State::Paused);
    let plan = &engine.plan().await.unwrap()[0];
    assert_eq!(plan.waits_for.as_deref(), Some("an operator's `resume`"));
    let refused = command(&engine).await.unwrap_err();
    assert!(
        matches!(refused, RunError { migration: Some(ID), kind: RunErrorKind::Paused }),
        "{refused:?}"
    );
    engine.resume(ID).await.unwrap();
    command(&engine).await.unwrap();
    assert_eq!(database.count("items", doc! { "by": "us", "n": null }).await, 10);
}

#[tokio::test]
async fn what_never_ran_can_be_neither_resumed_nor_tried_again() {
    let database = TestDatabase::new().await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    for refused in [engine.resume(ID).await, engine.retry(ID).await] {
        let refused = refused.unwrap_err();
        let state = State::Pending;
        assert!(matches!(refused, OperateError::WrongState { state: found, .. } if found == state));
    }
    assert_eq!(database.count(LEDGER, doc! {}).await, 0);
}

#[tokio::test]
async fn a_migration_that_does_not_exist_is_an_error() {
    let database = TestDatabase::new().await;
    run(&database, [count_up()]).await.unwrap();
    let before = database.hash().await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    for refused in
        [engine.pause("0009").await, engine.resume("0009").await, engine.retry("0009").await]
    {
        let refused = refused.unwrap_err();
        assert!(matches!(&refused, OperateError::Unknown(id) if id == "0009"), "{refused:?}");
        assert_eq!(refused.to_string(), "there is no migration \"0009\"");
    }
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn a_paused_migration_stops_a_roll_back_before_anything_is_changed() {
    let database = TestDatabase::new().await;
    insert_items(&database, 2_500).await;
    let gate = Gate::default();
    let given =
        [Given::steps([each_with_gate("us", &gate, 3)]), Given::steps([]).called("0002_next")];
    let engine = engine(&database, &given);
    let service = Service::start(&engine);
    gate.reached().await;
    engine.pause(ID).await.unwrap();
    gate.open();
    service.comes_to(ID, State::Paused).await;
    service.comes_to("0002_next", State::Applied).await;
    service.stop().await;
    let before = database.hash().await;
    let refused = engine.down(None, &CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(refused.cause, RunError { migration: Some(ID), kind: RunErrorKind::Paused }),
        "{refused:?}"
    );
    assert_eq!(database.hash().await, before);
    // Those after it are rolled back where they are all that is asked for.
    engine.down(Some(ID), &CancellationToken::new()).await.unwrap();
    assert_has(&entry_of(&database, "0002_next").await, doc! { "state": "rolled_back" });
}
