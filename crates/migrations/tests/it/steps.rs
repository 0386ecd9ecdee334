//! Indexes, insertions, what is left out, and what waits for another service.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use migrations::{Fill, Index, Insert, LeaveOut, Patience, RunError, State, Step, StepsError};
use mongodb::{
    IndexModel,
    bson::{Document, doc},
    event::command::CommandEvent,
    options::IndexOptions,
};
use test_support::{TestDatabase, eventually};
use tokio_util::sync::CancellationToken;

use crate::support::{Given, count_up, engine, engine_of, entry, insert_items, monitored};

async fn run(database: &TestDatabase, steps: impl Into<Vec<Step>>) -> Result<(), RunError> {
    let engine = engine(database, &[Given::steps(steps)]);
    engine.run(Patience::Command, &CancellationToken::new()).await
}

fn index(keys: Document, options: IndexOptions) -> Step {
    let model = IndexModel::builder().keys(keys).options(options).build();
    Step::Index(Index { collection: "items", model })
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
        let step = index(doc! { "a": 1 }, unique());
        let engine = engine(&database, &[Given::steps([step])]);
        // As a service too: waiting does not help.
        let error = engine.run(Patience::Service, &CancellationToken::new()).await.unwrap_err();
        assert!(!error.is_transient(), "{error:?}");
        let entry = entry(&database).await;
        assert_eq!(entry.get_str("state").unwrap(), "failed_fatal");
        let stored = entry.get_document("error").unwrap();
        assert!(!stored.get_bool("retryable").unwrap());
        let message = stored.get_str("message").unwrap();
        for part in ["the index a_1 cannot be built on items", "existing index"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(engine.statuses().borrow()[0].message.as_deref(), Some(message));
        assert_eq!(names(&database).await, ["_id_", "a_1"]);
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
    database.insert("items", [doc! { "a": "twin" }, doc! { "a": "twin" }]).await;
    let options = IndexOptions::builder().name("a_1".to_owned()).unique(true).build();
    run(&database, [index(doc! { "a": 1 }, options)]).await.unwrap_err();
    let entry = entry(&database).await;
    let message = entry.get_document("error").unwrap().get_str("message").unwrap();
    assert!(message.contains("twin"), "{message}");
}

fn insert(documents: impl Into<Vec<Document>>) -> Step {
    Step::Insert(Insert {
        what: "the first items".to_owned(),
        collection: "items",
        unless: doc! { "is_first": true },
        documents: documents.into(),
    })
}

#[tokio::test]
async fn documents_are_inserted_once() {
    let database = TestDatabase::new().await;
    let step = || insert([doc! { "_id": 1, "is_first": true }, doc! { "_id": 2 }]);
    for _ in 0..2 {
        run(&database, [step()]).await.unwrap();
        assert_eq!(database.count("items", doc! {}).await, 2);
    }
    database.collection("items").delete_one(doc! { "_id": 2 }).await.unwrap();
    run(&database, [step()]).await.unwrap();
    assert_eq!(database.count("items", doc! {}).await, 1);
}

#[tokio::test]
async fn documents_are_inserted_all_or_none() {
    let database = TestDatabase::new().await;
    database.insert("items", [doc! { "_id": 2, "theirs": true }]).await;
    let step = insert([doc! { "_id": 1, "is_first": true }, doc! { "_id": 2 }, doc! { "_id": 3 }]);
    let error = run(&database, [step]).await.unwrap_err();
    assert!(!error.is_transient());
    assert_eq!(database.count("items", doc! {}).await, 1);
    assert_eq!(entry(&database).await.get_str("state").unwrap(), "failed_fatal");
}

#[tokio::test]
async fn many_who_insert_at_once_insert_once() {
    let database = TestDatabase::new().await;
    let step = insert([doc! { "is_first": true }, doc! {}, doc! {}]);
    let engines: Vec<_> =
        (0..10).map(|_| engine(&database, &[Given::steps([step.clone()])])).collect();
    let stop = CancellationToken::new();
    let runs = engines.iter().map(|engine| engine.run(Patience::Service, &stop));
    for run in futures_util::future::join_all(runs).await {
        run.unwrap();
    }
    assert_eq!(database.count("items", doc! {}).await, 3);
    assert_eq!(entry(&database).await.get_i64("attempts").unwrap(), 1);
}

fn leave_out(filter: Document) -> Step {
    Step::LeaveOut(LeaveOut {
        what: "items left".to_owned(),
        reason: "somebody chose so".to_owned(),
        documents: Some(("items", filter)),
    })
}

#[tokio::test]
async fn what_is_left_out_is_counted_and_some_of_it_named() {
    let database = TestDatabase::new().await;
    insert_items(&database, 25).await;
    run(&database, [leave_out(doc! {})]).await.unwrap();
    let entry = entry(&database).await;
    assert_eq!(entry.get_str("state").unwrap(), "applied");
    let left = entry.get_array("left_out").unwrap()[0].as_document().unwrap();
    assert_eq!(
        (left.get_i64("count").unwrap(), left.get_array("examples").unwrap().len()),
        (25, 10)
    );
    assert_eq!(left.get_str("reason").unwrap(), "somebody chose so");
}

#[tokio::test]
async fn what_could_be_left_out_but_does_not_exist_is_no_news() {
    let database = TestDatabase::new().await;
    run(&database, [leave_out(doc! {})]).await.unwrap();
    assert!(entry(&database).await.get_array("left_out").unwrap().is_empty());
}

#[tokio::test]
async fn the_ledger_learns_what_came_to_be_left_out_and_what_no_longer_is() {
    let database = TestDatabase::new().await;
    for (is_there, expected) in [(false, 0), (true, 1), (false, 0)] {
        database.collection("items").delete_many(doc! {}).await.unwrap();
        if is_there {
            insert_items(&database, 3).await;
        }
        for _ in 0..2 {
            run(&database, [leave_out(doc! {})]).await.unwrap();
            assert_eq!(entry(&database).await.get_array("left_out").unwrap().len(), expected);
        }
    }
    // Three times there was something new to say.
    assert_eq!(entry(&database).await.get_i64("attempts").unwrap(), 3);
}

/// A migration that needs another service, which is away this many times.
fn dependent(failures: usize) -> Given {
    let asked = Arc::new(AtomicUsize::new(0));
    Given::new(move || {
        if asked.fetch_add(1, Ordering::SeqCst) < failures {
            let cause = "connection refused".into();
            return Err(StepsError::Dependency { name: "the oracle".to_owned(), cause });
        }
        Ok(vec![count_up()])
    })
}

#[tokio::test]
async fn a_service_waits_for_another_and_then_finishes() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let engine = engine(&database, &[dependent(3)]);
    let statuses = engine.statuses();
    let running =
        tokio::spawn(async move { engine.run(Patience::Service, &CancellationToken::new()).await });
    eventually("it waits", async || statuses.borrow()[0].state == State::WaitingDependency).await;
    let message = statuses.borrow()[0].message.clone().unwrap();
    assert_eq!(message, "0001_test cannot run now: waiting for the oracle: connection refused");
    running.await.unwrap().unwrap();
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 10);
    let entry = entry(&database).await;
    assert_eq!(entry.get_str("state").unwrap(), "applied");
    // Waiting is no attempt and no failure.
    assert_eq!(entry.get_i64("attempts").unwrap(), 1);
    assert_eq!(entry.get_array("history").unwrap().len(), 1);
    assert_eq!(statuses.borrow()[0].message, None);
}

#[tokio::test]
async fn a_command_does_not_wait_for_another_service() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let engine = engine(&database, &[dependent(usize::MAX)]);
    let error = engine.run(Patience::Command, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, RunError::Dependency { .. }), "{error:?}");
    let entry = entry(&database).await;
    assert_eq!(entry.get_str("state").unwrap(), "waiting_dependency");
    let message = entry.get_document("error").unwrap().get_str("message").unwrap();
    assert!(message.contains("the oracle: connection refused"), "{message}");
    assert!(!entry.contains_key("attempts"));
}

#[tokio::test]
async fn what_was_applied_stays_applied_while_a_service_is_away() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    run(&database, [count_up()]).await.unwrap();
    let before = database.hash().await;
    let engine = engine(&database, &[dependent(usize::MAX)]);
    engine.run(Patience::Command, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn what_waits_can_be_interrupted() {
    let database = TestDatabase::new().await;
    let engine = engine(&database, &[dependent(usize::MAX)]);
    let (statuses, stop) = (engine.statuses(), CancellationToken::new());
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { engine.run(Patience::Service, &stop).await }
    });
    eventually("it waits", async || statuses.borrow()[0].state == State::WaitingDependency).await;
    stop.cancel();
    assert!(matches!(running.await.unwrap(), Err(RunError::Interrupted)));
}

/// Three migrations, the second of which fails; which of them block; how far an engine comes.
async fn run_three(database: &TestDatabase, patience: Patience, blocking: bool) -> [State; 3] {
    insert_items(database, 10).await;
    let fill = |what: &str, filter| Fill::set(what, "items", filter, doc! { what: true });
    let first = fill("first", doc! { "first": null });
    let third = fill("third", doc! { "third": null });
    let second = insert([doc! { "_id": 1, "is_first": true }]);
    let given = [
        Given::steps([first]).called("0001_first"),
        Given::steps([second]).called("0002_second").blocking(blocking),
        Given::steps([third]).called("0003_third"),
    ];
    let engine = engine(database, &given);
    let error = engine.run(patience, &CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("0002_second"), "{error}");
    assert_eq!(database.count("items", doc! { "first": true }).await, 10);
    let states: Vec<_> = engine.statuses().borrow().iter().map(|status| status.state).collect();
    states.try_into().unwrap()
}

#[tokio::test]
async fn a_command_stops_at_the_first_failure() {
    let database = TestDatabase::new().await;
    let states = run_three(&database, Patience::Command, false).await;
    assert_eq!(states, [State::Applied, State::FailedFatal, State::Pending]);
    assert_eq!(database.count("items", doc! { "third": true }).await, 0);
    assert_eq!(database.count("test_migrations", doc! {}).await, 2);
}

#[tokio::test]
async fn a_service_stops_at_the_failure_of_what_blocks_it() {
    let database = TestDatabase::new().await;
    let states = run_three(&database, Patience::Service, true).await;
    assert_eq!(states, [State::Applied, State::FailedFatal, State::Pending]);
    assert_eq!(database.count("items", doc! { "third": true }).await, 0);
}

#[tokio::test]
async fn a_service_does_what_it_can_without_a_migration_that_failed() {
    let database = TestDatabase::new().await;
    let states = run_three(&database, Patience::Service, false).await;
    assert_eq!(states, [State::Applied, State::FailedFatal, State::Applied]);
    assert_eq!(database.count("items", doc! { "third": true }).await, 10);
}

#[tokio::test]
async fn a_plan_says_what_a_run_would_do_and_writes_nothing() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let commands = Arc::new(Mutex::new(Vec::new()));
    let seen = commands.clone();
    let client = monitored(move |event| {
        if let CommandEvent::Started(event) = event {
            seen.lock().unwrap().push(event.command_name.clone());
        }
    })
    .await;
    let steps = [
        count_up(),
        index(doc! { "a": 1 }, named("a_1")),
        insert([doc! { "is_first": true }, doc! {}]),
        leave_out(doc! { "_id": { "$lt": 4 } }),
    ];
    let given = [Given::steps(steps), dependent(usize::MAX).called("0002_waiting")];
    let engine = engine_of(&client, &database, &given);
    let before = database.hash().await;
    let plans = engine.plan().await.unwrap();
    assert_eq!(database.hash().await, before);
    let collections = database.database().list_collection_names().await.unwrap();
    assert_eq!(collections, ["items"]);

    let changes: Vec<_> = plans[0].steps.iter().map(|step| step.changes).collect();
    assert_eq!(changes, [10, 1, 2, 0]);
    assert_eq!(plans[0].steps[3].left_out.as_ref().unwrap().count, 4);
    assert_eq!(plans[1].waits_for.as_deref(), Some("the oracle: connection refused"));
    assert!(plans.iter().all(migrations::Plan::is_pending));
    let commands = commands.lock().unwrap();
    let reads = ["hello", "aggregate", "find", "listIndexes", "endSessions"];
    assert!(commands.iter().all(|command| reads.contains(&command.as_str())), "{commands:?}");
    assert!(commands.iter().any(|command| command == "find"), "{commands:?}");
}

#[tokio::test]
async fn after_a_run_the_plan_is_empty() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let steps = [
        count_up(),
        index(doc! { "a": 1 }, named("a_1")),
        insert([doc! { "is_first": true, "done": true }]),
    ];
    run(&database, steps.clone()).await.unwrap();
    let plans = engine(&database, &[Given::steps(steps)]).plan().await.unwrap();
    assert!(!plans[0].is_pending(), "{plans:?}");
}
