//! The registration of processes that write, and the locks of those that stopped.

use std::time::{Duration, Instant};

use data_service::{Abort, idempotency::KeyReused, transact};
use mongo_kit::{Connection, WRITERS};
use mongodb::{ClientSession, bson::doc};
use test_support::{TestDatabase, eventually, mongodb_uri};
use tokio::sync::Notify;

/// Sets a field of the only thing, and calls `reached` in the middle of the transaction.
async fn set(
    connection: &Connection,
    field: &str,
    reached: impl AsyncFn(),
) -> Result<(), Abort<KeyReused>> {
    let things = connection.database().collection::<mongodb::bson::Document>("things");
    transact(connection.writers(), async |session: &mut ClientSession| {
        let set = doc! { "$set": { field: true } };
        things.update_one(doc! { "_id": 1 }, set).session(session).await?;
        reached().await;
        Ok(())
    })
    .await
}

async fn connect(database: &TestDatabase) -> Connection {
    Connection::new(mongodb_uri(), database.name(), "test").await.unwrap()
}

/// Starts a transaction on a thread that never continues it, and returns once it has written.
fn stopped_process(database: &TestDatabase) -> std::thread::JoinHandle<()> {
    let name = database.name().to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let written = Notify::new();
        runtime.block_on(async {
            let connection = Connection::new(mongodb_uri(), &name, "test").await.unwrap();
            let pending = set(&connection, "stopped", async || {
                written.notify_one();
                std::future::pending::<()>().await;
            });
            tokio::select! {
                _ = Box::pin(pending) => unreachable!("it never ends"),
                // As with a process that is killed, nothing is told to the server: the tasks that
                // would abort the transaction never run.
                () = written.notified() => {}
            }
            std::mem::forget(connection);
        });
        runtime.shutdown_background();
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_heartbeat_stopped_does_not_keep_its_locks() {
    let database = TestDatabase::new().await;
    database.insert("things", [doc! { "_id": 1 }]).await;
    stopped_process(&database).join().unwrap();
    let began = Instant::now();
    let connection = connect(&database).await;
    set(&connection, "next", async || {}).await.unwrap();
    // Otherwise the server would keep the locks for a minute.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let thing = database.one("things", doc! {}).await;
    assert_eq!(thing, doc! { "_id": 1, "next": true });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_leaves_no_transaction_open() {
    let database = TestDatabase::new().await;
    database.insert("things", [doc! { "_id": 1 }]).await;
    let (closed, other) = (connect(&database).await, connect(&database).await);
    let written = Notify::new();
    let open = set(&closed, "open", async || {
        written.notify_one();
        std::future::pending::<()>().await;
    });
    let closing = async {
        written.notified().await;
        closed.close().await;
        assert_eq!(database.count(WRITERS, doc! {}).await, 0);
        let began = Instant::now();
        set(&other, "next", async || {}).await.unwrap();
        // No other process had to find that it has stopped.
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    };
    tokio::select! {
        _ = open => unreachable!("it never ends"),
        () = closing => {}
    }
    assert_eq!(database.one("things", doc! {}).await, doc! { "_id": 1, "next": true });
}

#[tokio::test]
async fn a_transaction_whose_session_is_ended_is_repeated() {
    let database = TestDatabase::new().await;
    database.insert("things", [doc! { "_id": 1 }]).await;
    let connection = connect(&database).await;
    let things = connection.database().collection::<mongodb::bson::Document>("things");
    // The answer of a command that waits while its session is ended.
    let interrupted = doc! {
        "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": {
            "failCommands": ["update"], "errorCode": 11601,
            "namespace": things.namespace().to_string(),
        },
    };
    let admin = database.connection().client().database("admin");
    admin.run_command(interrupted).await.unwrap();
    let mut attempts = 0;
    transact(connection.writers(), async |session: &mut ClientSession| {
        attempts += 1;
        let set = doc! { "$set": { "set": true } };
        things.update_one(doc! { "_id": 1 }, set).session(session).await?;
        Ok::<_, Abort<KeyReused>>(())
    })
    .await
    .unwrap();
    assert_eq!(attempts, 2);
    assert_eq!(database.one("things", doc! {}).await, doc! { "_id": 1, "set": true });
}

#[tokio::test]
async fn the_registration_of_another_database_user_is_left_to_that_user() {
    let database = TestDatabase::new().await;
    let long_ago = mongodb::bson::DateTime::from_millis(0);
    let stopped = |user: Option<&str>| {
        let users = user.into_iter().map(|user| doc! { "user": user, "db": "admin" });
        let users: Vec<_> = users.collect();
        doc! { "_id": user, "users": users, "heartbeat": long_ago, "sessions": [] }
    };
    database.insert(WRITERS, [stopped(None), stopped(Some("other"))]).await;
    let connection = connect(&database).await;
    connection.writers().end_stopped_processes().await;
    assert_eq!(database.one(WRITERS, doc! {}).await.get_str("_id").unwrap(), "other");
    assert!(!connection.writers().have_others().await.unwrap());
}

#[tokio::test]
async fn a_late_heartbeat_does_not_end_a_process() {
    let database = TestDatabase::new().await;
    database.insert("things", [doc! { "_id": 1 }]).await;
    let (connection, other) = (connect(&database).await, connect(&database).await);
    let registrations = database.database().collection::<mongodb::bson::Document>(WRITERS);
    let attempts = std::cell::Cell::new(0);
    set(&connection, "late", async || {
        attempts.set(attempts.get() + 1);
        // Each heartbeat is late, but one follows the other.
        let sessions = database.one(WRITERS, doc! {}).await.get_array("sessions").unwrap().clone();
        let mut beat = 0;
        let beats = async {
            loop {
                beat += 1;
                let heartbeat = mongodb::bson::DateTime::from_millis(beat);
                let late = doc! { "heartbeat": heartbeat, "users": [], "sessions": &sessions };
                let late = registrations.replace_one(doc! { "_id": 1 }, late).upsert(true);
                late.await.unwrap();
            }
        };
        let looks = async {
            eventually("it is registered", async || {
                database.count(WRITERS, doc! { "_id": 1 }).await == 1
            })
            .await;
            other.writers().end_stopped_processes().await;
        };
        tokio::select! {
            () = beats => unreachable!("it never ends"),
            () = looks => {}
        }
    })
    .await
    .unwrap();
    assert_eq!(attempts.get(), 1);
    assert_eq!(database.count(WRITERS, doc! { "_id": 1 }).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_of_a_live_process_is_not_ended() {
    let database = TestDatabase::new().await;
    database.insert("things", [doc! { "_id": 1 }]).await;
    let (connection, other) = (connect(&database).await, connect(&database).await);
    let (written, release) = (Notify::new(), Notify::new());
    let long = set(&connection, "long", async || {
        written.notify_one();
        release.notified().await;
    });
    let waiting = async {
        written.notified().await;
        let began = Instant::now();
        // It is given up after the time for which a request waits.
        assert!(set(&other, "other", async || {}).await.is_err());
        assert!(began.elapsed() > Duration::from_secs(3), "{:?}", began.elapsed());
        release.notify_one();
    };
    let (long, ()) = tokio::join!(long, waiting);
    long.unwrap();
    assert_eq!(database.one("things", doc! {}).await, doc! { "_id": 1, "long": true });
}

#[tokio::test]
async fn a_process_is_registered_while_it_writes_and_not_when_it_is_idle() {
    let database = TestDatabase::new().await;
    database.insert("things", [doc! { "_id": 1 }]).await;
    let connection = connect(&database).await;
    assert_eq!(connection.clock().now(), None);
    for _ in 0..2 {
        set(&connection, "x", async || {
            let registration = database.one(WRITERS, doc! {}).await;
            assert_eq!(registration.get_array("sessions").unwrap().len(), 1);
        })
        .await
        .unwrap();
        // The transaction began by the clock of the server.
        assert!(connection.clock().now().is_some());
        eventually("it is idle", async || database.count(WRITERS, doc! {}).await == 0).await;
    }
}

#[tokio::test]
async fn the_server_clock_is_that_of_the_server() {
    let database = TestDatabase::new().await;
    let connection = connect(&database).await;
    connection.ping().await.unwrap();
    let shown = connection.clock().now().unwrap().timestamp_millis();
    let hello = database.database().run_command(doc! { "hello": 1 }).await.unwrap();
    let server = hello.get_datetime("localTime").unwrap().timestamp_millis();
    assert!((server - 60_000..=server + 1_000).contains(&shown), "{shown}, the server: {server}");
}
