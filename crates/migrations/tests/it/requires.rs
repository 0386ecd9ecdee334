//! Requirements between migrations, and the ways of waiting for them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use migrations::{Fill, Insert, RunError, RunErrorKind, State, StepsError};
use mongodb::bson::doc;
use test_support::{TestDatabase, eventually};
use tokio_util::sync::CancellationToken;

use crate::support::{
    Given, ID, LEDGER, Service, Step, arc, assert_has, command, count_up, engine, entry, entry_of,
    insert_items, run, state,
};

/// A migration that needs another service, which is unavailable this many times.
fn dependent(failures: usize) -> Given {
    given_after(failures, || StepsError::Dependency {
        name: "the oracle".to_owned(),
        cause: "connection refused".into(),
    })
}

/// A migration whose first attempts fail.
fn given_after(failures: usize, error: fn() -> StepsError) -> Given {
    let asked = Arc::new(AtomicUsize::new(0));
    Given::new(move || {
        let is_unavailable = asked.fetch_add(1, Ordering::SeqCst) < failures;
        std::future::ready(if is_unavailable { Err(error()) } else { Ok(vec![count_up()]) })
    })
}

/// The error of a cut network.
fn cut_network() -> StepsError {
    StepsError::Database(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
}

#[tokio::test]
async fn a_service_waits_for_another_and_then_finishes() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let engine = engine(&database, &[dependent(3)]);
    let service = Service::start(&engine);
    let message = service.comes_to(ID, State::WaitingDependency).await;
    let expected = "cannot run now: waiting for the oracle: connection refused";
    assert_eq!(message.as_deref(), Some(expected));
    service.ends().await;
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 10);
    let entry = entry(&database).await;
    assert_eq!(entry.get_str("state").unwrap(), "applied");
    // Waiting is no attempt and no failure.
    assert_eq!(entry.get_i64("attempts").unwrap(), 1);
    assert_eq!(entry.get_array("history").unwrap().len(), 1);
    assert_eq!(engine.statuses().borrow()[0].message, None);
}

#[tokio::test]
async fn a_command_does_not_wait_for_another_service() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let error = command(&engine(&database, &[dependent(usize::MAX)])).await.unwrap_err();
    assert!(matches!(error, RunError { kind: RunErrorKind::Dependency(_), .. }), "{error:?}");
    let entry = entry(&database).await;
    assert_eq!(entry.get_str("state").unwrap(), "waiting_dependency");
    let error = entry.get_document("error").unwrap();
    assert_has(error, doc! { "class": "dependency", "retryable": true });
    let message = error.get_str("message").unwrap();
    assert!(message.contains("the oracle: connection refused"), "{message}");
    assert!(!entry.contains_key("attempts"));
}

#[tokio::test]
async fn an_applied_migration_stays_applied_while_a_service_is_unavailable() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    command(&engine(&database, &[dependent(0)])).await.unwrap();
    let before = database.hash().await;
    command(&engine(&database, &[dependent(usize::MAX)])).await.unwrap_err();
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn what_waits_can_be_interrupted() {
    let database = TestDatabase::new().await;
    let service = Service::start(&engine(&database, &[dependent(usize::MAX)]));
    service.comes_to(ID, State::WaitingDependency).await;
    service.stop().await;
}

/// Inserts a document whose `_id` may be taken.
fn insert_one() -> Step {
    arc(Insert {
        key: "the one".into(),
        collection: "items",
        unless: doc! { "is_one": true },
        documents: vec![doc! { "_id": 1, "is_one": true }],
    })
}

fn mark(what: &'static str) -> Step {
    arc(Fill::set(what, "items", doc! { what: null }, doc! { what: true }))
}

/// Three migrations, the second of which fails until there is no item 1.
fn three() -> [Given; 3] {
    [
        Given::steps([mark("first")]).called("0001_first"),
        Given::steps([insert_one()]).called("0002_second"),
        Given::steps([mark("third")]).called("0003_third"),
    ]
}

#[tokio::test]
async fn a_command_stops_at_the_first_failure() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let engine = engine(&database, &three());
    let error = command(&engine).await.unwrap_err();
    assert!(error.to_string().contains("0002_second"), "{error}");
    let states: Vec<_> = engine.statuses().borrow().iter().map(|status| status.state).collect();
    assert_eq!(states, [State::Applied, State::FailedFatal, State::Pending]);
    assert_eq!(database.count("items", doc! { "first": true }).await, 10);
    assert_eq!(database.count("items", doc! { "third": true }).await, 0);
    assert_eq!(database.count(LEDGER, doc! {}).await, 2);
}

#[tokio::test]
async fn a_service_does_not_go_past_the_failure_of_what_blocks_it() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let [first, _, third] = three();
    let tries = Arc::new(AtomicUsize::new(0));
    let blocking = Given::new({
        let tries = tries.clone();
        move || {
            tries.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Err(cut_network()))
        }
    });
    let blocking = blocking.called("0002_second").blocking(true);
    let service = Service::start(&engine(&database, &[first, blocking, third]));
    // Its pauses grow; in the longer of them nothing else begins.
    eventually("it is tried again", async || tries.load(Ordering::SeqCst) == 5).await;
    service.stop().await;
    assert_eq!(database.count("items", doc! { "first": true }).await, 10);
    assert_eq!(database.count("items", doc! { "third": true }).await, 0);
    assert_eq!(database.count(LEDGER, doc! { "_id": "0003_third" }).await, 0);
}

#[tokio::test]
async fn a_service_does_what_it_can_without_a_migration_that_failed() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let service = Service::start(&engine(&database, &three()));
    service.comes_to("0003_third", State::Applied).await;
    service.comes_to("0002_second", State::FailedFatal).await;
    service.stop().await;
    assert_eq!(database.count("items", doc! { "third": true }).await, 10);
}

#[tokio::test]
async fn a_migration_that_requires_a_failed_one_waits_until_the_cause_is_removed() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let [first, second, third] = three();
    let fourth = Given::steps([mark("fourth")]).called("0004_fourth");
    let engine = engine(&database, &[first, second, third.requiring(&["0002_second"]), fourth]);
    let service = Service::start(&engine);
    service.comes_to("0004_fourth", State::Applied).await;
    let message = service.comes_to("0003_third", State::Pending).await.unwrap();
    assert_eq!(message, "waits for 0002_second, which is not applied");
    assert_eq!(database.count("items", doc! { "third": true }).await, 0);
    assert_eq!(database.count(LEDGER, doc! { "_id": "0003_third" }).await, 0);

    // The same process continues without a restart.
    service.comes_to("0002_second", State::FailedFatal).await;
    database.collection("items").delete_one(doc! { "_id": 1 }).await.unwrap();
    engine.retry("0002_second").await.unwrap();
    service.ends().await;
    assert_eq!(database.count("items", doc! { "third": true }).await, 10);
    for id in ["0002_second", "0003_third"] {
        assert_has(&entry_of(&database, id).await, doc! { "state": "applied" });
    }
}

#[tokio::test]
async fn what_waits_for_another_service_holds_up_what_requires_it_and_nothing_else() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let [_, _, third] = three();
    let requiring = Given::steps([mark("second")]).called("0002_second").requiring(&[ID]);
    let engine = engine(&database, &[dependent(usize::MAX), requiring, third]);
    let service = Service::start(&engine);
    service.comes_to(ID, State::WaitingDependency).await;
    service.comes_to("0003_third", State::Applied).await;
    service.comes_to("0002_second", State::Pending).await;
    service.stop().await;
    assert_eq!(database.count("items", doc! { "second": true }).await, 0);
}

#[tokio::test]
async fn a_requirement_that_nothing_fulfils_is_an_error() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let given = Given::steps([count_up()]).requiring(&["0000_nowhere"]);
    let error = command(&engine(&database, &[given])).await.unwrap_err();
    assert_eq!(error.to_string(), "0001_test: waits for 0000_nowhere, which is not applied");
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 0);
}

#[tokio::test]
async fn a_command_tries_again_after_transient_errors_before_it_continues() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let requiring = Given::steps([mark("second")]).called("0002_second").requiring(&[ID]);
    command(&engine(&database, &[given_after(2, cut_network), requiring])).await.unwrap();
    assert_eq!(state(&database).await, "applied");
    assert_eq!(database.count("items", doc! { "n": 1, "second": true }).await, 10);
}

#[tokio::test]
async fn a_run_up_to_a_migration_does_that_one_and_no_more() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let [first, _, third] = three();
    let engine = engine(&database, &[first, third, Given::steps([mark("fourth")]).called("0004")]);
    let stop = CancellationToken::new();
    engine.run_to("0003_third", migrations::WaitPolicy::Bounded, &stop).await.unwrap();
    assert_eq!(database.count("items", doc! { "first": true, "third": true }).await, 10);
    assert_eq!(database.count("items", doc! { "fourth": true }).await, 0);
    let before = database.hash().await;
    let unknown = engine.run_to("0005", migrations::WaitPolicy::Bounded, &stop).await.unwrap_err();
    assert!(
        matches!(&unknown, RunError { kind: RunErrorKind::Unknown(id), .. } if id == "0005"),
        "{unknown:?}"
    );
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn many_services_that_start_at_once_apply_everything_once() {
    let database = TestDatabase::new().await;
    insert_items(&database, 100).await;
    let given = || [Given::steps([count_up(), insert_one_more()]), three()[0].clone()];
    let services: Vec<_> = (0..10).map(|_| Service::start(&engine(&database, &given()))).collect();
    for service in services {
        service.ends().await;
    }
    assert_eq!(database.count("items", doc! { "n": 1, "first": true }).await, 100);
    assert_eq!(database.count("items", doc! {}).await, 101);
    for id in [ID, "0001_first"] {
        let entry = entry_of(&database, id).await;
        assert_has(&entry, doc! { "attempts": 1_i64, "state": "applied" });
    }
}

fn insert_one_more() -> Step {
    arc(Insert {
        key: "one more".into(),
        collection: "items",
        unless: doc! { "is_one": true },
        documents: vec![doc! { "is_one": true, "done": true, "n": 0, "first": true }],
    })
}

#[tokio::test]
async fn a_run_without_anything_to_do_is_written_down_once() {
    let database = TestDatabase::new().await;
    for _ in 0..2 {
        run(&database, [count_up()]).await.unwrap();
    }
    assert_eq!(entry(&database).await.get_i64("attempts").unwrap(), 1);
}
