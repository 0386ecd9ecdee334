//! Filling in documents: interrupted, resumed, over ids of all types, while others write.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::TryStreamExt;
use migrations::{Patience, RunError, Step};
use mongodb::{
    Client,
    bson::{Bson, DateTime, Document, doc, oid::ObjectId},
    event::command::CommandEvent,
};
use test_support::{TestDatabase, eventually};
use tokio_util::sync::CancellationToken;

use crate::support::{
    Given, count_up, each, engine, engine_of, entry, expire_lease, insert_items, monitored,
};

const MANY: i32 = 20_000;

async fn run(database: &TestDatabase, steps: impl Into<Vec<Step>>) {
    let engine = engine(database, &[Given::steps(steps)]);
    engine.run(Patience::Command, &CancellationToken::new()).await.unwrap();
}

/// Every document was changed, and none twice.
async fn assert_each_once(database: &TestDatabase, count: u64) {
    assert_eq!(database.count("items", doc! { "n": 1, "done": true }).await, count);
    assert_eq!(database.count("items", doc! {}).await, count);
    let entry = entry(database).await;
    assert_eq!(entry.get_str("state").unwrap(), "applied");
    assert_eq!(entry.get("progress"), Some(&Bson::Null));
    let part = entry.get_array("parts").unwrap()[0].as_document().unwrap();
    assert_eq!(part.get_i64("modified").unwrap(), i64::try_from(count).unwrap());
}

#[tokio::test]
async fn every_document_is_changed_once() {
    let database = TestDatabase::new().await;
    insert_items(&database, MANY).await;
    run(&database, [count_up()]).await;
    assert_each_once(&database, 20_000).await;
}

#[tokio::test]
async fn a_second_run_writes_nothing() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    run(&database, [count_up()]).await;
    let before = database.hash().await;
    run(&database, [count_up()]).await;
    assert_eq!(database.hash().await, before);
}

#[tokio::test]
async fn ids_of_all_types_in_one_collection() {
    let database = TestDatabase::new().await;
    let of_type: [fn(i32) -> Bson; 9] = [
        |_| ObjectId::new().into(),
        |number| number.to_string().into(),
        |number| number.into(),
        |number| (f64::from(number) + 0.5).into(),
        |number| (i64::from(number) << 40).into(),
        |number| doc! { "a": number, "b": { "c": "x" } }.into(),
        |number| doc! { "b": number }.into(),
        |number| DateTime::from_millis(number.into()).into(),
        |number| Bson::Decimal128(format!("{number}.25").parse().unwrap()),
    ];
    let ids = of_type.iter().flat_map(|id| (1..1_501).map(id));
    let single = [Bson::Null, Bson::MinKey, Bson::MaxKey, true.into(), false.into(), "".into()];
    let items: Vec<_> = ids.chain(single).map(|id| doc! { "_id": id }).collect();
    let count = items.len() as u64;
    database.collection("items").insert_many(items).await.unwrap();
    run(&database, [count_up()]).await;
    assert_each_once(&database, count).await;
}

#[tokio::test]
async fn documents_that_need_no_change_are_passed_over() {
    let database = TestDatabase::new().await;
    let items = (0..MANY).map(|id| match id % 1_000 {
        7 => doc! { "_id": id },
        _ => doc! { "_id": id, "done": "before" },
    });
    database.collection("items").insert_many(items).await.unwrap();
    run(&database, [count_up()]).await;
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 20);
    assert_eq!(
        database.count("items", doc! { "done": "before", "n": { "$exists": false } }).await,
        19_980
    );
}

/// A client that cancels when this many batches are committed, and the sessions that it used.
async fn cancelling(batches: usize) -> (Client, CancellationToken, Arc<Mutex<Vec<Document>>>) {
    let (cancel, sessions) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
    let (committed, cancels, used) = (AtomicUsize::new(0), cancel.clone(), sessions.clone());
    let client = monitored(move |event| match event {
        CommandEvent::Started(event) => {
            used.lock().unwrap().extend(event.command.get_document("lsid").ok().cloned());
        }
        CommandEvent::Succeeded(event)
            if event.command_name == "commitTransaction"
                && committed.fetch_add(1, Ordering::SeqCst) + 1 == batches =>
        {
            cancels.cancel();
        }
        _ => {}
    })
    .await;
    (client, cancel, sessions)
}

#[tokio::test]
async fn a_run_that_was_interrupted_goes_on_at_its_cursor() {
    let database = TestDatabase::new().await;
    insert_items(&database, MANY).await;
    let (client, cancel, _) = cancelling(3).await;
    let first = engine_of(&client, &database, &[Given::steps([count_up()])]);
    let end = first.run(Patience::Service, &cancel).await;
    assert!(matches!(end, Err(RunError::Interrupted)), "{end:?}");

    let interrupted = entry(&database).await;
    assert_eq!(interrupted.get_str("state").unwrap(), "running");
    let progress = interrupted.get_document("progress").unwrap();
    let modified = progress.get_i64("modified").unwrap();
    assert!((1..20_000).contains(&modified), "{modified}");
    // The ids are 0, 1, 2, …
    assert_eq!(i64::from(progress.get_i32("cursor").unwrap()), modified - 1);
    assert_eq!(progress.get_i64("total").unwrap(), 20_000);
    assert_eq!(database.count("items", doc! { "n": 1 }).await, u64::try_from(modified).unwrap());
    // Nobody has to wait for it.
    let lease = database.one("test_migration_lock", doc! {}).await;
    assert_eq!(lease.get("owner"), Some(&Bson::Null));

    run(&database, [count_up()]).await;
    assert_each_once(&database, 20_000).await;
    assert_eq!(entry(&database).await.get_i64("attempts").unwrap(), 2);
}

#[tokio::test]
async fn a_run_that_was_killed_goes_on_at_its_cursor() {
    let database = TestDatabase::new().await;
    insert_items(&database, MANY).await;
    let (client, killed, sessions) = cancelling(3).await;
    let first = engine_of(&client, &database, &[Given::steps([count_up()])]);
    let running =
        tokio::spawn(async move { first.run(Patience::Service, &CancellationToken::new()).await });
    killed.cancelled().await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    let interrupted = entry(&database).await;
    assert_eq!(interrupted.get_str("state").unwrap(), "running");
    let lease = database.one("test_migration_lock", doc! {}).await;
    assert_ne!(lease.get("owner"), Some(&Bson::Null));

    expire_lease(&database).await;
    // The server forgets the transactions of a process that is gone after a minute; here at once.
    let sessions = sessions.lock().unwrap().clone();
    let admin = database.connection().client().database("admin");
    admin.run_command(doc! { "killSessions": sessions }).await.unwrap();
    run(&database, [count_up()]).await;
    assert_each_once(&database, 20_000).await;
}

#[tokio::test]
async fn an_interrupted_run_does_not_forget_the_steps_that_were_done() {
    let database = TestDatabase::new().await;
    insert_items(&database, MANY).await;
    let others = (0..100).map(|id| doc! { "_id": id });
    database.collection("others").insert_many(others).await.unwrap();
    let fill = |what: &str, collection| {
        let filter = doc! { "done": { "$exists": false } };
        migrations::Fill::set(what, collection, filter, doc! { "done": true })
    };
    let steps = [fill("others done", "others"), fill("items done", "items")];
    // Two batches for the others, some for the items.
    let (client, cancel, _) = cancelling(4).await;
    let first = engine_of(&client, &database, &[Given::steps(steps.clone())]);
    let end = first.run(Patience::Service, &cancel).await;
    assert!(matches!(end, Err(RunError::Interrupted)), "{end:?}");
    run(&database, steps).await;
    let entry = entry(&database).await;
    let parts: Vec<_> = entry
        .get_array("parts")
        .unwrap()
        .iter()
        .map(|part| part.as_document().unwrap())
        .map(|part| (part.get_str("what").unwrap(), part.get_i64("modified").unwrap()))
        .collect();
    assert_eq!(parts, [("others done", 100), ("items done", 20_000)]);
}

#[tokio::test]
async fn documents_that_are_inserted_meanwhile_are_changed_too() {
    let database = TestDatabase::new().await;
    insert_items(&database, 3_000).await;
    let items = database.collection("items");
    // Before the cursor, behind the end, and in types that were not there.
    let step = each(doc! { "by": "us" }, move |batch| {
        let items = items.clone();
        async move {
            if batch == 3 {
                let ids = [Bson::from(-5), 1_000_000.into(), "text".into(), ObjectId::new().into()];
                items.insert_many(ids.map(|id| doc! { "_id": id })).await.unwrap();
            }
        }
    });
    run(&database, [step]).await;
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 3_004);
    let entry = entry(&database).await;
    let part = entry.get_array("parts").unwrap()[0].as_document().unwrap();
    assert_eq!(part.get_i64("modified").unwrap(), 3_004);
}

#[tokio::test]
async fn what_others_write_meanwhile_is_not_overwritten() {
    let database = TestDatabase::new().await;
    insert_items(&database, 3_000).await;
    let items = database.collection("items");
    let step = each(doc! { "by": "us" }, move |batch| {
        let items = items.clone();
        async move {
            // The first time that the batch with 500 in it is tried.
            if batch == 2 {
                let by_editor = doc! { "$set": { "by": "editor" } };
                items.update_one(doc! { "_id": 500 }, by_editor).await.unwrap();
                items.delete_one(doc! { "_id": 501 }).await.unwrap();
            }
        }
    });
    run(&database, [step]).await;
    assert_eq!(database.one("items", doc! { "_id": 500 }).await.get_str("by").unwrap(), "editor");
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 2_998);
    let entry = entry(&database).await;
    let part = entry.get_array("parts").unwrap()[0].as_document().unwrap();
    assert_eq!(part.get_i64("modified").unwrap(), 2_998);
}

#[tokio::test]
async fn two_processes_share_the_work_without_doing_any_twice() {
    let database = TestDatabase::new().await;
    insert_items(&database, MANY).await;
    let engines: Vec<_> =
        (0..4).map(|_| engine(&database, &[Given::steps([count_up()])])).collect();
    let stop = CancellationToken::new();
    let runs = engines.iter().map(|engine| engine.run(Patience::Service, &stop));
    for run in futures_util::future::join_all(runs).await {
        run.unwrap();
    }
    assert_each_once(&database, 20_000).await;
    assert_eq!(entry(&database).await.get_i64("attempts").unwrap(), 1);
    for engine in engines {
        assert!(engine.statuses().borrow()[0].is_settled);
    }
}

#[tokio::test]
async fn the_status_follows_the_progress() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let gate = Arc::new(tokio::sync::Notify::new());
    let step = {
        let gate = gate.clone();
        each(doc! { "by": "us" }, move |batch| {
            let gate = gate.clone();
            async move {
                if batch == 2 {
                    gate.notified().await;
                }
            }
        })
    };
    let engine = engine(&database, &[Given::steps([step])]);
    let statuses = engine.statuses();
    let running =
        tokio::spawn(async move { engine.run(Patience::Command, &CancellationToken::new()).await });
    eventually("the first batch is told", async || {
        let progress = statuses.borrow()[0].progress.clone();
        progress.is_some_and(|progress| (progress.modified, progress.total) == (1, 10))
    })
    .await;
    gate.notify_one();
    running.await.unwrap().unwrap();
    let status = statuses.borrow()[0].clone();
    assert!(status.is_settled && status.progress.is_none());
    assert_eq!(status.parts[0].modified, 10);
}

#[tokio::test]
async fn a_change_that_leaves_a_document_as_it_was_is_a_failure_and_ends() {
    let database = TestDatabase::new().await;
    insert_items(&database, 3).await;
    let unchanging = doc! { "other": true };
    let step = migrations::Fill::set("items done", "items", doc! { "done": null }, unchanging);
    let engine = engine(&database, &[Given::steps([step])]);
    let end = engine.run(Patience::Service, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(end, RunError::Unverified { .. }) && !end.is_transient(), "{end:?}");
    assert_eq!(end.to_string(), "0001_test left something undone: items done (3 left)");
    assert_eq!(entry(&database).await.get_str("state").unwrap(), "failed_fatal");
}

#[tokio::test]
async fn nothing_is_done_to_other_documents() {
    let database = TestDatabase::new().await;
    let other: Vec<Document> = vec![doc! { "_id": 1, "done": null, "x": [1.0, { "y": 2_i64 }] }];
    database.collection("items").insert_many(&other).await.unwrap();
    insert_items_from(&database, 2).await;
    run(&database, [count_up()]).await;
    let all = database.collection("items").find(doc! { "_id": 1 }).await.unwrap();
    assert_eq!(all.try_collect::<Vec<_>>().await.unwrap(), other);
}

async fn insert_items_from(database: &TestDatabase, id: i32) {
    database.insert("items", [doc! { "_id": id }, doc! { "_id": id + 1 }]).await;
}
