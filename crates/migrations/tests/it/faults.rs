//! A database that fails for a while: nothing is lost, nothing is done twice, and nothing is said to
//! be applied that is not.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use migrations::{Assign, Fill, Insert, State};
use mongo_kit::{Connection, Work};
use mongodb::{
    Client, ClientSession, Collection,
    bson::{Document, doc},
    options::ClientOptions,
};
use test_support::{TestDatabase, eventually, mongodb_uri};
use tokio::sync::Notify;

use crate::support::{
    Commands, FailCommand, Given, ID, LEDGER, Service, arc, assert_has, command, count_up, each,
    engine, engine_of, entry, fast, insert_items, parts, run, set_by, state,
};

/// Fails commands on one collection of the database.
fn failing(database: &TestDatabase, commands: &[&str], collection: &str, code: i32) -> Document {
    doc! {
        "failCommands": commands, "errorCode": code,
        "namespace": format!("{}.{collection}", database.name()),
    }
}

/// `LockTimeout`: passes by itself.
const BUSY: i32 = 24;

#[tokio::test]
async fn nothing_is_applied_while_the_ledger_cannot_be_written_and_nothing_is_doubled_afterwards() {
    let database = TestDatabase::new().await;
    insert_items(&database, 2_500).await;
    // The claim succeeds and the first batch; then data is written, and the ledger refuses.
    let refuse = failing(&database, &["update"], LEDGER, BUSY);
    let refusing = FailCommand::set(&database, doc! { "skip": 2 }, refuse).await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    let service = Service::start(&engine);
    service.comes_to(ID, State::FailedRetryable).await;
    assert_eq!(database.count("items", doc! { "n": { "$exists": true } }).await, 1);
    assert_eq!(state(&database).await, "running");
    assert!(!engine.statuses().borrow()[0].is_settled);
    refusing.off().await;
    service.ends().await;
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 2_500);
    assert_eq!(parts(&database).await, [("items counted".to_owned(), 2_500)]);
    let entry = entry(&database).await;
    assert_has(&entry, doc! { "state": "applied", "journaled": 2_500_i64 });
}

#[tokio::test]
async fn documents_are_inserted_once_although_the_ledger_could_not_be_written_at_first() {
    let database = TestDatabase::new().await;
    let insert = arc(Insert {
        key: "the first items".into(),
        collection: "items",
        unless: doc! { "is_first": true },
        documents: vec![doc! { "is_first": true }, doc! {}, doc! {}],
    });
    let refuse = failing(&database, &["update"], LEDGER, BUSY);
    let refusing = FailCommand::set(&database, doc! { "skip": 1 }, refuse).await;
    let engine = engine(&database, &[Given::steps([insert])]);
    let service = Service::start(&engine);
    service.comes_to(ID, State::FailedRetryable).await;
    assert_eq!(database.count("items", doc! {}).await, 0);
    refusing.off().await;
    service.ends().await;
    assert_eq!(database.count("items", doc! {}).await, 3);
    assert_eq!(entry(&database).await.get_i64("journaled").unwrap(), 3);
}

#[tokio::test]
async fn a_run_whose_end_cannot_be_written_is_not_applied() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    // The claim, two batches, the step, `verifying`; then the end of the run.
    let refuse = failing(&database, &["update"], LEDGER, BUSY);
    let refusing = FailCommand::set(&database, doc! { "skip": 5 }, refuse).await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    let service = Service::start(&engine);
    service.comes_to(ID, State::FailedRetryable).await;
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 10);
    assert_eq!(state(&database).await, "verifying");
    refusing.off().await;
    service.ends().await;
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 10);
    assert_eq!(parts(&database).await, [("items counted".to_owned(), 10)]);
    assert_eq!(state(&database).await, "applied");
}

/// `MaxTimeMSExpired`.
const TOO_SLOW: i32 = 50;

#[tokio::test]
async fn a_batch_that_takes_the_server_too_long_is_halved() {
    let database = TestDatabase::new().await;
    insert_items(&database, 3_000).await;
    // The single document that a pass begins with goes through.
    let refuse = failing(&database, &["update"], "items", TOO_SLOW);
    let refusing = FailCommand::set(&database, doc! { "skip": 1 }, refuse).await;
    let refusing = Arc::new(Mutex::new(Some(refusing)));
    let step = each(doc! { "by": "us" }, move |batch| {
        let refusing = (batch == 7).then(|| refusing.lock().unwrap().take()).flatten();
        async move {
            if let Some(refusing) = refusing {
                refusing.off().await;
            }
        }
    });
    let (client, commands) = Commands::of_a_client().await;
    command(&engine_of(&client, &database, &[Given::steps([step])], fast())).await.unwrap();
    let updates = commands.of("update", "items");
    let sizes: Vec<_> =
        updates.iter().map(|update| update.get_array("updates").unwrap().len()).collect();
    assert_eq!(sizes[..7], [1, 1_000, 500, 250, 125, 62, 31]);
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 3_000);
    assert_eq!(parts(&database).await, [("items set".to_owned(), 3_000)]);
    let entry = entry(&database).await;
    assert!(entry.get_array("set_aside").unwrap().is_empty(), "{entry}");
}

#[tokio::test]
async fn a_single_document_that_takes_the_server_too_long_is_set_aside() {
    let database = TestDatabase::new().await;
    insert_items(&database, 1).await;
    let refuse = failing(&database, &["update"], "items", TOO_SLOW);
    let refusing = FailCommand::set(&database, "alwaysOn", refuse).await;
    let engine = engine(&database, &[Given::steps([set_by("us")])]);
    command(&engine).await.unwrap();
    refusing.off().await;
    let entry = entry(&database).await;
    let aside = entry.get_array("set_aside").unwrap()[0].as_document().unwrap();
    assert_has(aside, doc! { "document": 0 });
    assert!(aside.get_str("reason").unwrap().contains("MaxTimeMSExpired"), "{aside}");
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 0);
}

/// A client that the server knows by this name.
async fn client_called(name: &str) -> Client {
    let uri = tokio::task::spawn_blocking(mongodb_uri).await.unwrap();
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.app_name = Some(name.to_owned());
    // After a cut connection it looks again at once.
    options.heartbeat_freq = Some(Duration::from_millis(500));
    Client::with_options(options).unwrap()
}

#[tokio::test]
async fn a_commit_whose_answer_says_nothing_counts_once() {
    let database = TestDatabase::new().await;
    insert_items(&database, 2_500).await;
    let client = client_called(database.name()).await;
    // Committed, but not yet known to be so by the majority.
    let unknown = doc! {
        "failCommands": ["commitTransaction"], "appName": database.name(),
        "writeConcernError": { "code": 91, "errmsg": "shutting down" },
    };
    let refusing = FailCommand::set(&database, doc! { "times": 2 }, unknown).await;
    let engine = engine_of(&client, &database, &[Given::steps([count_up()])], fast());
    command(&engine).await.unwrap();
    refusing.off().await;
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 2_500);
    assert_eq!(parts(&database).await, [("items counted".to_owned(), 2_500)]);
}

#[tokio::test]
async fn a_commit_whose_connection_was_cut_counts_once() {
    let database = TestDatabase::new().await;
    insert_items(&database, 2_500).await;
    let client = client_called(database.name()).await;
    let cut = doc! {
        "failCommands": ["commitTransaction"], "appName": database.name(), "closeConnection": true,
    };
    let cutting = FailCommand::set(&database, doc! { "times": 3 }, cut).await;
    let engine = engine_of(&client, &database, &[Given::steps([count_up()])], fast());
    command(&engine).await.unwrap();
    cutting.off().await;
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 2_500);
    assert_eq!(parts(&database).await, [("items counted".to_owned(), 2_500)]);
}

/// `Interrupted`: the session was ended by another process.
const INTERRUPTED: i32 = 11_601;

#[tokio::test]
async fn a_run_whose_session_another_process_ended_is_repeated() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    // The claim, two batches, the step, `verifying`; then the end of the run.
    let interrupt = failing(&database, &["update"], LEDGER, INTERRUPTED);
    let interrupting = FailCommand::set(&database, doc! { "skip": 5 }, interrupt).await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    let service = Service::start(&engine);
    service.comes_to(ID, State::FailedRetryable).await;
    interrupting.off().await;
    service.ends().await;
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 10);
    assert_eq!(parts(&database).await, [("items counted".to_owned(), 10)]);
}

#[tokio::test]
async fn a_command_waits_for_a_database_that_is_unavailable_for_a_moment() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let refuse = failing(&database, &["find", "aggregate"], LEDGER, BUSY);
    let refusing = FailCommand::set(&database, doc! { "times": 3 }, refuse).await;
    let engine = engine(&database, &[Given::steps([count_up()])]);
    command(&engine).await.unwrap();
    refusing.off().await;
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 10);
}

#[tokio::test]
async fn what_is_too_large_for_one_transaction_is_halved() {
    let database = TestDatabase::new().await;
    // 30 MB, in documents that are no problem one by one.
    let text = "x".repeat(100_000);
    for part in 0..3 {
        let items = (0..100).map(|id| doc! { "_id": part * 100 + id, "text": &text });
        database.collection("items").insert_many(items).await.unwrap();
    }
    let replace = arc(Fill {
        key: "texts replaced".into(),
        collection: "items",
        filter: doc! { "text": { "$regex": "^x" } },
        assign: Assign::Values(doc! { "text": "y".repeat(100_000) }),
    });
    run(&database, [replace]).await.unwrap();
    assert_eq!(database.count("items", doc! { "text": { "$regex": "^y" } }).await, 300);
    let entry = entry(&database).await;
    assert!(entry.get_array("set_aside").unwrap().is_empty());
}

#[tokio::test]
async fn a_run_ends_in_time_although_the_database_does_not_answer() {
    let database = TestDatabase::new().await;
    insert_items(&database, 10).await;
    let hold = doc! {
        "failCommands": ["update"], "namespace": format!("{}.items", database.name()),
        "blockConnection": true, "blockTimeMS": 8_000,
    };
    let holding = FailCommand::set(&database, doc! { "times": 1 }, hold).await;
    let (client, commands) = Commands::of_a_client().await;
    let engine = engine_of(&client, &database, &[Given::steps([count_up()])], fast());
    let service = Service::start(&engine);
    let is_held = async || !commands.of("update", "items").is_empty();
    eventually("the first batch is held", is_held).await;
    service.stop().await;
    // An answer would have been followed by a commit.
    assert_eq!(database.count("items", doc! { "n": { "$exists": true } }).await, 0);
    assert_eq!(state(&database).await, "running");
    holding.off().await;
    // Whatever becomes of what it sent, the next run does what is left.
    command(&engine_of(&client, &database, &[Given::steps([count_up()])], fast())).await.unwrap();
    assert_eq!(database.count("items", doc! { "n": 1 }).await, 10);
}

/// A transaction that changes an item and never ends.
struct Hold<'a> {
    items: Collection<Document>,
    has_written: &'a Notify,
}

impl Work for Hold<'_> {
    type Output = ();
    type Error = mongodb::error::Error;

    async fn run(&mut self, session: &mut ClientSession) -> mongodb::error::Result<()> {
        let change = doc! { "$set": { "locked": true } };
        self.items.update_one(doc! { "_id": 700 }, change).session(session).await?;
        self.has_written.notify_one();
        std::future::pending().await
    }
}

/// Changes an item in the transaction of a process that is killed then.
fn lock_and_be_killed(name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = Connection::new(mongodb_uri(), name, "test").await.unwrap();
        let mut writer = connection.writers().start_session().await.unwrap();
        let has_written = Notify::new();
        let items = connection.database().collection("items");
        let hold = Hold { items, has_written: &has_written };
        let held = writer.transact(Duration::ZERO, |_| None, hold);
        tokio::select! {
            _ = Box::pin(held) => unreachable!("it never ends"),
            () = has_written.notified() => {}
        }
        // As with a process that is killed, nothing is told to the server.
        std::mem::forget((writer, connection));
    });
    runtime.shutdown_background();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_locks_of_a_killed_process_do_not_stop_a_run() {
    let database = TestDatabase::new().await;
    insert_items(&database, 1_300).await;
    let name = database.name().to_owned();
    std::thread::spawn(move || lock_and_be_killed(&name)).join().unwrap();
    let began = Instant::now();
    run(&database, [set_by("us")]).await.unwrap();
    // Otherwise the server would keep the locks for a minute.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(database.count("items", doc! { "by": "us" }).await, 1_300);
    assert_eq!(database.count("items", doc! { "locked": true }).await, 0);
}
