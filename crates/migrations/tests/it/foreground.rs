//! Leaving room for others only while they are there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::TryStreamExt;
use migrations::{
    Assign, Engine, Fill, Index, OperationCounter, Options, Progress, Skip, Steps, Throttle,
    ThrottledBy,
};
use mongo_kit::feed::{FeedEvent, WatchedCollection, report_changes};
use mongodb::{
    Client,
    bson::{Document, doc},
    options::{ClientOptions, IndexOptions},
};
use test_support::{TestDatabase, eventually, mongodb_uri};

use crate::support::{
    FailCommand, Gate, Given, Service, Step, arc, command, count_up, each, each_with_gate,
    engine_of, fast, insert_items, refuse_items, set_by, within,
};

/// A client whose operations are counted.
async fn counted() -> (Client, OperationCounter) {
    let counter = OperationCounter::default();
    let uri = tokio::task::spawn_blocking(mongodb_uri).await.unwrap();
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.command_event_handler = Some(counter.handler());
    (Client::with_options(options).unwrap(), counter)
}

/// An engine as a service has it: gentle by default, with operations that are counted.
async fn gentle(database: &TestDatabase, steps: impl Into<Steps>) -> Engine {
    let (client, counter) = counted().await;
    let options =
        Options { throttle: Throttle::GENTLE, operations: Some(counter), ..Options::default() };
    engine_of(&client, database, &[Given::steps(steps)], options)
}

/// Inserts documents of which a first step takes long enough to tell that the database is idle.
async fn step_until_known_to_be_idle(database: &TestDatabase) -> Step {
    let others = (0..600).map(|id| doc! { "_id": id });
    database.collection("others").insert_many(others).await.unwrap();
    let missing = doc! { "by": { "$exists": false } };
    arc(Fill::set("others set", "others", missing, doc! { "by": "us" }))
}

/// The reads and writes on `items` that the server has counted.
async fn served(database: &TestDatabase) -> i64 {
    let stats = doc! { "$collStats": { "latencyStats": {} } };
    let mut found = database.collection("items").aggregate([stats]).await.unwrap();
    assert!(found.advance().await.unwrap());
    let found = found.deserialize_current().unwrap();
    let latencies = found.get_document("latencyStats").unwrap();
    let count = |kind| latencies.get_document(kind).unwrap().get_i64("ops").unwrap();
    count("reads") + count("writes")
}

/// The progress of a run with `items`.
fn shown(engine: &Engine) -> Option<Progress> {
    let progress = engine.statuses().borrow()[0].progress.clone();
    progress.filter(|progress| progress.step.as_str().starts_with("items"))
}

fn throttled_by(engine: &Engine) -> Option<ThrottledBy> {
    shown(engine).and_then(|progress| progress.throttled_by)
}

#[tokio::test]
async fn the_operations_of_every_kind_of_step_are_counted_as_the_server_counts_them() {
    let expressions = arc(Fill {
        key: "items named".into(),
        collection: "items",
        filter: doc! { "name": { "$exists": false } },
        assign: Assign::Expressions(doc! { "name": { "$toString": "$_id" } }),
    });
    let index = Index::new("items", "by_name", doc! { "name": 1 }, IndexOptions::default());
    let left = Skip {
        key: "items".into(),
        reason: "they are there".to_owned(),
        documents: Some(("items", doc! {})),
    };
    let one_by_one = each(doc! { "by": "us" }, |_| std::future::ready(()));
    for (kind, steps) in [
        ("values", vec![set_by("us")]),
        ("update", vec![count_up()]),
        ("expressions", vec![expressions]),
        ("each", vec![one_by_one]),
        ("index", vec![arc(index)]),
        ("left out", vec![arc(left)]),
    ] {
        for throttle in [Throttle::OFF, Throttle::GENTLE] {
            let database = TestDatabase::new().await;
            insert_items(&database, 1_300).await;
            // Some have the fields already, and one document is refused.
            let some = doc! { "_id": { "$gte": 1_200 } };
            let others = doc! { "$set": { "by": null } };
            database.collection("items").update_many(some, others).await.unwrap();
            refuse_items(&database, doc! { "_id": 700, "by": "us" }).await;
            let (client, counter) = counted().await;
            let options =
                Options { throttle, operations: Some(counter.clone()), ..Options::default() };
            let engine = engine_of(&client, &database, &[Given::steps(steps.clone())], options);
            let before = served(&database).await;
            command(&engine).await.unwrap();
            // The question before is an operation itself.
            let own = served(&database).await - before - 1;
            assert_eq!(counter.done(database.name(), "items"), own, "{kind}, {throttle:?}");
            // Building an index is neither a read nor a write.
            assert_eq!(own > 0, kind != "index", "{kind}");
        }
    }
}

#[tokio::test]
async fn a_run_slows_down_beside_foreground_work_and_continues_at_full_speed_after_it() {
    let database = TestDatabase::new().await;
    insert_items(&database, 20_000).await;
    let gate = Gate::default();
    // The batches are one document, then a thousand, then up to two thousand.
    let steps = [step_until_known_to_be_idle(&database).await, each_with_gate("us", &gate, 3)];
    let engine = gentle(&database, steps).await;
    let service = Service::start(&engine);
    gate.reached().await;
    let before = shown(&engine).unwrap();
    assert_eq!((before.modified, before.throttled_by), (1_001, None));

    // While the batch stands still, which is longer than the time between two looks.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(250) {
        database.collection("items").find_one(doc! { "_id": 1 }).await.unwrap();
    }
    gate.open();
    eventually("it leaves room", async || throttled_by(&engine) == Some(ThrottledBy::DutyCycle))
        .await;
    let slowed = shown(&engine).unwrap();
    assert!(slowed.modified < 4_000, "{slowed:?}");
    eventually("it is fast again", async || {
        shown(&engine).is_none_or(|progress| progress.throttled_by.is_none())
    })
    .await;
    service.ends().await;
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 20_000);
}

#[tokio::test]
async fn a_run_on_a_database_in_use_is_gentle_from_its_first_batch_on() {
    let database = TestDatabase::new().await;
    insert_items(&database, 1_301).await;
    let items = database.collection("items");
    let used = each(doc! { "by": "us" }, move |_| {
        let items = items.clone();
        async move {
            for _ in 0..50 {
                items.find_one(doc! { "_id": 1 }).await.unwrap();
            }
        }
    });
    command(&gentle(&database, [used]).await).await.unwrap();
    let journal = database.collection("test_migration_journal");
    let records = journal.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    let records: Vec<Document> = records.try_collect().await.unwrap();
    let counts = records.iter().map(|record| record.get_i64("count").unwrap());
    let counts: Vec<_> = counts.collect();
    assert_eq!((counts.iter().sum::<i64>(), counts[0]), (1_301, 1));
    assert!(counts.iter().all(|count| *count <= 100), "{counts:?}");
}

/// Runs the migration to its end, and says whether it left room for others at any time.
async fn was_ever_gentle(engine: &Engine) -> bool {
    let mut statuses = engine.statuses();
    let service = Service::start(engine);
    let mut was_gentle = false;
    let watching = async {
        while !statuses.borrow_and_update()[0].is_settled {
            was_gentle |= throttled_by(engine) == Some(ThrottledBy::DutyCycle);
            statuses.changed().await.unwrap();
        }
    };
    within("the run ends", watching).await;
    service.ends().await;
    was_gentle
}

#[tokio::test]
async fn replicas_that_watch_and_wait_are_no_reason_to_slow_down() {
    let database = TestDatabase::new().await;
    insert_items(&database, 60_000).await;
    // The operations of an unused service: it waits for changes, and reads the progress of others.
    let (feed, changes) = (database.database().clone(), Arc::<AtomicUsize>::default());
    let (has_begun, begun) = tokio::sync::oneshot::channel();
    let counted = changes.clone();
    let listening = tokio::spawn(async move {
        let mut has_begun = Some(has_begun);
        let watched = [WatchedCollection { name: "items", fields: &["title"] }];
        report_changes(feed, &watched, |event| match event {
            FeedEvent::Changed(_) => drop(counted.fetch_add(1, Ordering::Relaxed)),
            _ => drop(has_begun.take().map(|has_begun| has_begun.send(()))),
        })
        .await;
    });
    begun.await.unwrap();
    let steps = [step_until_known_to_be_idle(&database).await, set_by("us")];
    let engine = gentle(&database, steps).await;
    let replica = crate::support::engine(&database, &[Given::steps([set_by("us")])]);
    let polling = tokio::spawn(async move {
        loop {
            replica.report().await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(!was_ever_gentle(&engine).await);
    polling.abort();
    listening.abort();
    // They are not worth a message each.
    let changes = changes.load(Ordering::Relaxed);
    assert!((1..20_000).contains(&changes), "{changes}");
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 60_000);
}

#[tokio::test]
async fn a_run_leaves_room_where_the_server_does_not_say_who_uses_it() {
    let database = TestDatabase::new().await;
    insert_items(&database, 300).await;
    // `Unauthorized`.
    let refused: Document = doc! {
        "failCommands": ["aggregate"], "errorCode": 13,
        "namespace": format!("{}.items", database.name()),
    };
    let refusing = FailCommand::set(&database, doc! { "times": 1 }, refused).await;
    let engine = gentle(&database, [count_up()]).await;
    assert!(was_ever_gentle(&engine).await);
    refusing.off().await;
}

#[tokio::test]
async fn a_run_leaves_room_if_its_operations_are_not_counted() {
    let database = TestDatabase::new().await;
    insert_items(&database, 300).await;
    let client = database.connection().client();
    let options = Options { throttle: Throttle::GENTLE, ..fast() };
    let engine = engine_of(client, &database, &[Given::steps([count_up()])], options);
    assert!(was_ever_gentle(&engine).await);
}
