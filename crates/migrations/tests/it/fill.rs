//! Filling in documents: interrupted, resumed, over ids of all types, while others write.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use migrations::{Assign, EachDocument, Fill, RunError, RunErrorKind, WaitPolicy};
use mongodb::{
    Client, ClientSession,
    bson::{Bson, DateTime, Document, doc, oid::ObjectId},
    event::command::CommandEvent,
};
use test_support::TestDatabase;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Gate, Given, LEDGER, LOCK, Process, Service, arc, command, concurrently, count_up, each,
    each_with_gate, engine, engine_of, entry, expire_lease, fast, insert_items, monitored, parts,
    run, set_by, state, within,
};

const MANY: i32 = 20_000;

/// Every document was changed, and none twice.
async fn assert_each_once(database: &TestDatabase, count: u64) {
    assert_eq!(database.count("items", doc! { "n": 1, "done": true }).await, count);
    assert_eq!(database.count("items", doc! {}).await, count);
    let entry = entry(database).await;
    assert_eq!(entry.get_str("state").unwrap(), "applied");
    assert_eq!(entry.get("progress"), Some(&Bson::Null));
    let counted = ("items counted".to_owned(), i64::try_from(count).unwrap());
    assert_eq!(parts(database).await, [counted]);
}

#[tokio::test]
async fn every_document_is_changed_once() {
    let database = TestDatabase::new().await;
    insert_items(&database, MANY).await;
    run(&database, [count_up()]).await.unwrap();
    assert_each_once(&database, 20_000).await;
}

#[tokio::test]
async fn a_second_run_writes_nothing() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    run(&database, [count_up()]).await.unwrap();
    let before = database.hash().await;
    run(&database, [count_up()]).await.unwrap();
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
    let single = single.into_iter().chain([f64::NAN.into(), f64::INFINITY.into()]);
    let items: Vec<_> = ids.chain(single).map(|id| doc! { "_id": id }).collect();
    let count = items.len() as u64;
    database.collection("items").insert_many(items).await.unwrap();
    run(&database, [count_up()]).await.unwrap();
    assert_each_once(&database, count).await;
}

#[tokio::test]
async fn an_id_that_is_not_a_number_may_be_the_first_the_last_or_the_only_one() {
    for others in [vec![], vec![Bson::from(1.5), Bson::from(2.5)], vec![Bson::Null, "a".into()]] {
        for step in [set_by("us"), each(doc! { "by": "us" }, |_| async {})] {
            let database = TestDatabase::new().await;
            let ids = others.iter().cloned().chain([f64::NAN.into()]);
            let items = ids.map(|id| doc! { "_id": id });
            database.collection("items").insert_many(items).await.unwrap();
            run(&database, [step]).await.unwrap();
            let count = others.len() as u64 + 1;
            assert_eq!(database.count("items", doc! { "by": "us" }).await, count);
        }
    }
}

#[tokio::test]
async fn documents_that_need_no_change_are_passed_over() {
    let database = TestDatabase::new().await;
    let items = (0..MANY).map(|id| match id % 1_000 {
        7 => doc! { "_id": id },
        _ => doc! { "_id": id, "done": "before" },
    });
    database.collection("items").insert_many(items).await.unwrap();
    run(&database, [count_up()]).await.unwrap();
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 20);
    assert_eq!(
        database.count("items", doc! { "done": "before", "n": { "$exists": false } }).await,
        19_980
    );
}

/// A client that cancels when this many batches are committed.
async fn cancelling(batches: usize) -> (Client, CancellationToken) {
    let cancel = CancellationToken::new();
    let (committed, cancels) = (AtomicUsize::new(0), cancel.clone());
    let client = monitored(move |event| {
        if let CommandEvent::Succeeded(event) = event
            && event.command_name == "commitTransaction"
            && committed.fetch_add(1, Ordering::SeqCst) + 1 == batches
        {
            cancels.cancel();
        }
    });
    (client.await, cancel)
}

#[tokio::test]
async fn an_interrupted_run_continues_at_its_cursor() {
    let database = TestDatabase::new().await;
    insert_items(&database, MANY).await;
    let (client, cancel) = cancelling(3).await;
    let first = engine_of(&client, &database, &[Given::steps([count_up()])], fast());
    let end = first.run(WaitPolicy::Forever, &cancel).await;
    assert!(matches!(end, Err(RunError { kind: RunErrorKind::Interrupted, .. })), "{end:?}");

    let interrupted = entry(&database).await;
    assert_eq!(interrupted.get_str("state").unwrap(), "running");
    let progress = interrupted.get_document("progress").unwrap();
    let modified = progress.get_i64("modified").unwrap();
    assert!((1..20_000).contains(&modified), "{modified}");
    // The ids are 0, 1, 2, …
    assert_eq!(i64::from(progress.get_i32("cursor").unwrap()), modified - 1);
    assert_eq!(progress.get_i64("total").unwrap(), 20_000);
    assert_eq!(database.count("items", doc! { "n": 1 }).await, u64::try_from(modified).unwrap());
    // No other process has to wait for it.
    let lease = database.one(LOCK, doc! {}).await;
    assert_eq!(lease.get("owner"), Some(&Bson::Null));

    run(&database, [count_up()]).await.unwrap();
    assert_each_once(&database, 20_000).await;
    assert_eq!(entry(&database).await.get_i64("attempts").unwrap(), 2);
}

#[tokio::test]
async fn a_killed_run_continues_at_its_cursor() {
    let database = TestDatabase::new().await;
    insert_items(&database, 2_500).await;
    let gate = Gate::default();
    let step = each_with_gate("first", &gate, 3);
    let first = Process::start(&database, &[Given::steps([step])], fast());
    gate.reached().await;
    first.kill();
    let interrupted = entry(&database).await;
    assert_eq!(interrupted.get_str("state").unwrap(), "running");
    let cursor = interrupted.get_document("progress").unwrap().get_i32("cursor").unwrap();
    let lease = database.one(LOCK, doc! {}).await;
    assert_ne!(lease.get("owner"), Some(&Bson::Null));

    expire_lease(&database).await;
    run(&database, [each(doc! { "by": "second" }, |_| std::future::ready(()))]).await.unwrap();
    let by_first = doc! { "_id": { "$lte": cursor }, "by": "first" };
    let by_second = doc! { "_id": { "$gt": cursor }, "by": "second" };
    let done = doc! { "$or": [by_first.clone(), by_second] };
    assert_eq!(database.count("items", done).await, 2_500);
    assert!(database.count("items", by_first).await > 0);
    assert_eq!(parts(&database).await, [("items set".to_owned(), 2_500)]);
    assert_eq!(entry(&database).await.get_i64("attempts").unwrap(), 2);
}

/// Writes to all items of this database in the transaction, and stands still there.
#[derive(Debug)]
struct Holding(String, Gate);

#[async_trait]
impl EachDocument for Holding {
    fn reads(&self) -> &'static [&'static str] {
        &[]
    }

    fn writes(&self) -> &'static [&'static str] {
        &["by"]
    }

    async fn assign(
        &self,
        _: Vec<Document>,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<Vec<(Bson, Document)>> {
        let Self(database, gate) = self;
        let items = session.client().database(database).collection::<Document>("items");
        items.update_many(doc! {}, doc! { "$set": { "by": "killed" } }).session(session).await?;
        gate.pass().await;
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn the_transaction_that_a_killed_process_left_open_is_ended_by_its_successor() {
    let database = TestDatabase::new().await;
    insert_items(&database, 100).await;
    let fill = |assign| {
        let (key, filter) = ("items set".into(), doc! { "by": { "$exists": false } });
        let step = arc(Fill { key, collection: "items", filter, assign });
        Given::steps([step]).declaring(doc! {})
    };
    let gate = Gate::default();
    let holding = Holding(database.name().to_owned(), gate.clone());
    let first = Process::start(&database, &[fill(Assign::Each(Arc::new(holding)))], fast());
    gate.reached().await;
    first.kill();
    expire_lease(&database).await;
    // The server itself would end it after a minute.
    let began = Instant::now();
    let second = fill(Assign::Values(doc! { "by": "second" }));
    command(&engine(&database, &[second])).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(database.count("items", doc! { "by": "second" }).await, 100);
}

#[tokio::test]
async fn an_interrupted_run_does_not_forget_the_steps_that_were_done() {
    let database = TestDatabase::new().await;
    insert_items(&database, MANY).await;
    let others = (0..100).map(|id| doc! { "_id": id });
    database.collection("others").insert_many(others).await.unwrap();
    let fill = |what: &'static str, collection| {
        let filter = doc! { "done": { "$exists": false } };
        arc(Fill::set(what, collection, filter, doc! { "done": true }))
    };
    let steps = [fill("others done", "others"), fill("items done", "items")];
    // Two batches for the others, some for the items.
    let (client, cancel) = cancelling(4).await;
    let first = engine_of(&client, &database, &[Given::steps(steps.clone())], fast());
    let end = first.run(WaitPolicy::Forever, &cancel).await;
    assert!(matches!(end, Err(RunError { kind: RunErrorKind::Interrupted, .. })), "{end:?}");
    run(&database, steps).await.unwrap();
    let done = [("others done".to_owned(), 100), ("items done".to_owned(), 20_000)];
    assert_eq!(parts(&database).await, done);
}

#[tokio::test]
async fn documents_that_are_inserted_during_a_run_are_changed_too() {
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
    run(&database, [step]).await.unwrap();
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 3_004);
    assert_eq!(parts(&database).await, [("items set".to_owned(), 3_004)]);
}

#[tokio::test]
async fn what_other_clients_write_during_a_run_is_not_overwritten() {
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
    run(&database, [step]).await.unwrap();
    assert_eq!(database.one("items", doc! { "_id": 500 }).await.get_str("by").unwrap(), "editor");
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 2_998);
    assert_eq!(parts(&database).await, [("items set".to_owned(), 2_998)]);
}

#[tokio::test]
async fn an_editor_who_writes_all_the_time_loses_nothing() {
    let database = TestDatabase::new().await;
    insert_items(&database, 5_000).await;
    let is_done = Arc::new(AtomicBool::new(false));
    // Back and forth through all of them, so that it meets the batches again and again.
    let editor = tokio::spawn({
        let (items, is_done) = (database.collection("items"), is_done.clone());
        async move {
            let mut edited = HashSet::new();
            let ids = (0..2_500).flat_map(|id| [id * 2, 4_999 - id * 2]).cycle();
            for id in ids {
                if is_done.load(Ordering::SeqCst) {
                    break;
                }
                let edit = doc! { "$set": { "by": "editor" }, "$inc": { "edits": 1 } };
                items.update_one(doc! { "_id": id }, edit).await.unwrap();
                edited.insert(id);
            }
            edited.len()
        }
    });
    let ran = run(&database, [set_by("us")]).await;
    is_done.store(true, Ordering::SeqCst);
    let edited = u64::try_from(editor.await.unwrap()).unwrap();
    ran.unwrap();
    assert_eq!(database.count("items", doc! { "by": "editor" }).await, edited);
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 5_000 - edited);
    assert_eq!(database.count("items", doc! { "edits": { "$gte": 1 } }).await, edited);
}

#[tokio::test]
async fn two_processes_share_the_work_without_doing_any_twice() {
    let database = TestDatabase::new().await;
    insert_items(&database, MANY).await;
    let services: Vec<_> =
        (0..4).map(|_| Service::start(&engine(&database, &[Given::steps([count_up()])]))).collect();
    for service in services {
        service.ends().await;
    }
    assert_each_once(&database, 20_000).await;
    assert_eq!(entry(&database).await.get_i64("attempts").unwrap(), 1);
}

#[tokio::test]
async fn the_status_follows_the_progress() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let gate = Gate::default();
    let engine = engine(&database, &[Given::steps([each_with_gate("us", &gate, 2)])]);
    let statuses = engine.statuses();
    let service = Service::start(&engine);
    gate.reached().await;
    let progress = statuses.borrow()[0].progress.clone().unwrap();
    assert_eq!((progress.modified, progress.total), (1, 10));
    gate.open();
    service.ends().await;
    let status = statuses.borrow()[0].clone();
    assert!(status.is_settled && status.progress.is_none());
    assert_eq!(status.parts[0].modified, 10);
}

#[tokio::test]
async fn the_ledger_says_how_far_a_run_has_come() {
    let database = TestDatabase::new().await;
    insert_items(&database, 3_000).await;
    let items = database.collection("items");
    let gate = Gate::default();
    let step = each(doc! { "by": "us" }, {
        let gate = gate.clone();
        move |batch| {
            let (gate, items) = (gate.clone(), items.clone());
            async move {
                if batch == 2 {
                    // In this page: the transaction begins again, as the third, without it.
                    let by_editor = doc! { "$set": { "by": "editor" } };
                    items.update_one(doc! { "_id": 7 }, by_editor).await.unwrap();
                }
                if batch == 4 {
                    gate.pass().await;
                }
            }
        }
    });
    let before = server_time(&database).await;
    let service = Service::start(&engine(&database, &[Given::steps([step])]));
    gate.reached().await;
    let entry = entry(&database).await;
    let progress = entry.get_document("progress").unwrap();
    let number = |field| progress.get_i64(field).unwrap();
    let cursor = i64::from(progress.get_i32("cursor").unwrap());
    assert_eq!(progress.get_str("what").unwrap(), "items set");
    assert_eq!(progress.get("upper_id"), Some(&Bson::from(2_999)));
    assert_eq!(number("total"), 3_000);
    // Ids are 0, 1, 2, …, and one of them was not ours to change.
    assert!(cursor > 7);
    assert_eq!((number("matched"), number("modified")), (cursor + 1, cursor));
    assert_eq!((number("skipped"), number("failed")), (1, 0));
    let updated_at = *progress.get_datetime("updated_at").unwrap();
    assert!(before <= updated_at && updated_at <= server_time(&database).await);
    gate.open();
    service.ends().await;
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 2_999);
}

/// Returns the time of the server.
async fn server_time(database: &TestDatabase) -> DateTime {
    let hello = database.database().run_command(doc! { "hello": 1 }).await.unwrap();
    *hello.get_datetime("localTime").unwrap()
}

#[tokio::test]
async fn the_cursor_never_goes_back() {
    let database = TestDatabase::new().await;
    insert_items(&database, MANY).await;
    let mut changes = database.collection(LEDGER).watch().await.unwrap();
    for batches in [2, 3, usize::MAX] {
        let (client, cancel) = cancelling(batches).await;
        let engine = engine_of(&client, &database, &[Given::steps([count_up()])], fast());
        let ended = engine.run(WaitPolicy::Forever, &cancel).await;
        assert_eq!(ended.is_ok(), batches == usize::MAX, "{ended:?}");
    }
    let mut cursors = Vec::new();
    // Every change of the ledger that was committed, until it says that all is done.
    loop {
        let change = within("the ledger changes", changes.next()).await.unwrap().unwrap();
        let Some(update) = change.update_description else { continue };
        let fields = update.updated_fields;
        let progress = fields.get_document("progress").ok();
        let cursor = progress.map_or(fields.get("progress.cursor"), |all| all.get("cursor"));
        cursors.extend(cursor.and_then(Bson::as_i32));
        if fields.get_str("state").is_ok_and(|state| state == "applied") {
            break;
        }
    }
    assert!(cursors.len() > 5 && cursors.is_sorted(), "{cursors:?}");
    assert_eq!(cursors.last(), Some(&(MANY - 1)));
    assert_each_once(&database, 20_000).await;
}

#[tokio::test]
async fn a_change_that_leaves_a_document_as_it_was_is_a_failure_and_ends() {
    let database = TestDatabase::new().await;
    insert_items(&database, 3).await;
    let unchanging = doc! { "other": true };
    let step = arc(Fill::set("items done", "items", doc! { "done": null }, unchanging));
    let end = run(&database, [step]).await.unwrap_err();
    assert!(
        matches!(end, RunError { kind: RunErrorKind::Unverified { .. }, .. })
            && !end.is_transient(),
        "{end:?}"
    );
    let message = "0001_test: incomplete after the run: items done (3 left: 0, 1, 2)";
    assert_eq!(end.to_string(), message);
    assert_eq!(state(&database).await, "failed_fatal");
}

#[tokio::test]
async fn a_document_that_arrives_during_the_last_look_is_changed_too() {
    let database = TestDatabase::new().await;
    let items = database.collection("items");
    let asked = Arc::new(AtomicUsize::new(0));
    // Asked for the third time, the fill has found nothing to do and the data is looked at.
    let given = Given::new(move || {
        let (items, asked) = (items.clone(), asked.fetch_add(1, Ordering::SeqCst));
        async move {
            if asked == 2 {
                items.insert_one(doc! { "_id": 1 }).await.unwrap();
            }
            Ok(vec![count_up()])
        }
    });
    command(&engine(&database, &[given])).await.unwrap();
    assert_each_once(&database, 1).await;
}

#[tokio::test]
async fn a_run_is_not_over_as_long_as_it_leaves_other_documents_each_time() {
    let database = TestDatabase::new().await;
    let items = database.collection("items");
    let asked = Arc::new(AtomicUsize::new(0));
    // Asked at the end of each round, before the data is looked at.
    let given = Given::new(move || {
        let (items, asked) = (items.clone(), asked.fetch_add(1, Ordering::SeqCst));
        async move {
            if asked >= 2 {
                items.delete_many(doc! {}).await.unwrap();
            }
            if (2..6).contains(&asked) {
                // Changing it comes to nothing.
                let other = doc! { "_id": i64::try_from(asked).unwrap(), "other": true };
                items.insert_one(other).await.unwrap();
            }
            let unchanging = doc! { "other": true };
            Ok(vec![arc(Fill::set("items done", "items", doc! { "done": null }, unchanging))])
        }
    });
    command(&engine(&database, &[given])).await.unwrap();
    assert_eq!(state(&database).await, "applied");
}

#[tokio::test]
async fn a_change_by_another_client_after_the_read_stays_and_is_not_in_the_journal() {
    let database = TestDatabase::new().await;
    insert_items(&database, 4).await;
    let (name, updates) = (database.database().name().to_owned(), AtomicUsize::new(0));
    let client = monitored(move |event| {
        // The first document is alone, the others are a batch: they have been looked up.
        if let CommandEvent::Started(event) = event
            && event.command.get("update") == Some(&"items".into())
            && updates.fetch_add(1, Ordering::SeqCst) == 1
        {
            concurrently(&name, "items", async |items| {
                let them = doc! { "$set": { "by": "them" } };
                items.update_one(doc! { "_id": 2 }, them).await.unwrap();
            });
        }
    });
    let engine = engine_of(&client.await, &database, &[Given::steps([set_by("us")])], fast());
    command(&engine).await.unwrap();
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 3);
    assert_eq!(database.count("items", doc! { "_id": 2, "by": "them" }).await, 1);
    assert_eq!(parts(&database).await, [("items set".to_owned(), 3)]);
    let journaled = entry(&database).await.get_i64("journaled").unwrap();
    assert_eq!(journaled, 3);
    let undone = engine.down(None, &CancellationToken::new()).await.unwrap();
    assert_eq!((undone[0].undone, undone[0].kept), (3, 0));
}

#[tokio::test]
async fn nothing_is_done_to_other_documents() {
    let database = TestDatabase::new().await;
    let other: Vec<Document> = vec![doc! { "_id": 1, "done": null, "x": [1.0, { "y": 2_i64 }] }];
    database.collection("items").insert_many(&other).await.unwrap();
    database.insert("items", [doc! { "_id": 2 }, doc! { "_id": 3 }]).await;
    run(&database, [count_up()]).await.unwrap();
    let all = database.collection("items").find(doc! { "_id": 1 }).await.unwrap();
    assert_eq!(all.try_collect::<Vec<_>>().await.unwrap(), other);
}
