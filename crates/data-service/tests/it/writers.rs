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
