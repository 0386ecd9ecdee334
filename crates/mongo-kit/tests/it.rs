//! Tests on a real MongoDB: what is remembered of a collection, and when it is read anew.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where its set-up does")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use local_mongod::{DataDir, LocalMongod, Options};
use mongo_kit::{Cached, Connection, Watch};
use mongodb::{Collection, bson::Document, bson::doc};
use test_support::{TestDatabase, eventually};
use tokio::{sync::Semaphore, time::timeout};

/// Counts documents, and how often it was asked to.
#[derive(Clone)]
struct Counter {
    collection: Collection<Document>,
    reads: Arc<AtomicUsize>,
    /// Each read takes one of its permits before it ends.
    gate: Arc<Semaphore>,
}

impl Counter {
    fn new(database: &TestDatabase) -> Self {
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { collection: database.collection("things"), reads: Arc::default(), gate }
    }

    async fn get(&self, cached: &Arc<Cached<u64>>) -> u64 {
        let this = self.clone();
        let read = async move {
            this.reads.fetch_add(1, Ordering::SeqCst);
            this.gate.acquire().await.expect("it stays open").forget();
            this.collection.count_documents(doc! {}).await
        };
        cached.get(read).await.unwrap()
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn what_has_not_changed_is_read_once() {
    let database = TestDatabase::new().await;
    database.insert("things", [doc! {}, doc! {}]).await;
    let cached = Cached::new(Watch::new(database.database(), "things"), Duration::ZERO);
    let counter = Counter::new(&database);
    for _ in 0..100 {
        assert_eq!(counter.get(&cached).await, 2);
    }
    database.insert("others", [doc! {}]).await;
    assert_eq!((counter.get(&cached).await, counter.reads()), (2, 1));
}

#[tokio::test]
async fn a_read_that_ends_late_does_not_replace_a_newer_value() {
    let database = TestDatabase::new().await;
    let watch = Watch::new(database.database(), "things");
    let cached = Cached::new(watch, Duration::from_secs(600));
    let (has_ended, ended) = tokio::sync::oneshot::channel();
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let late = cached.get(async move {
        released.await.unwrap();
        // The value is stored before the test continues: both run on one thread.
        drop(has_ended);
        Ok(1)
    });
    // It is given up after the time for which a request waits, and continues.
    assert!(late.await.is_err());
    let stamp = Watch::new(database.database(), "things").stamp().await.unwrap();
    database.insert("things", [doc! {}]).await;
    eventually("the change is seen", async || stamp.changed_at().is_some()).await;
    let get = async || cached.get(std::future::ready(Ok(2))).await.unwrap();
    assert_eq!(get().await, 2);
    release.send(()).unwrap();
    let _: Result<(), _> = ended.await;
    for _ in 0..100 {
        assert_eq!(get().await, 2);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_change_is_seen_whatever_it_is() {
    for fields in [&[][..], &["shown"]] {
        let database = TestDatabase::new().await;
        let watch = Watch::of_fields(database.database(), "things", fields);
        let cached = Cached::new(watch, Duration::ZERO);
        let counter = Counter::new(&database);
        assert_eq!(counter.get(&cached).await, 0);
        for (expected, change) in [(1, "insert"), (0, "delete"), (1, "insert"), (0, "drop")] {
            match change {
                "insert" => database.insert("things", [doc! {}]).await,
                "delete" => drop(counter.collection.delete_one(doc! {}).await.unwrap()),
                _ => counter.collection.drop().await.unwrap(),
            }
            eventually("the change is seen", async || counter.get(&cached).await == expected).await;
        }
    }
}

#[tokio::test]
async fn of_fields_only_what_concerns_them_is_a_change() {
    let database = TestDatabase::new().await;
    let things = database.collection("things");
    database
        .insert("things", [doc! { "_id": 1, "shown": true, "place": 1 }, doc! { "_id": 2 }])
        .await;
    let matters: [(&str, Document); 4] = [
        ("written", doc! { "$set": { "shown": false } }),
        ("renamed to", doc! { "$rename": { "text": "shown" } }),
        ("with others", doc! { "$set": { "text": "b", "place": 2 } }),
        ("removed", doc! { "$unset": { "place": "" } }),
    ];
    let watch = Watch::of_fields(database.database(), "things", &["shown", "place"]);
    for (what, update) in matters {
        let stamp = watch.stamp().await.unwrap();
        // By the time that another stream has told of the second, this one had time for the first.
        for text in ["a", "b"] {
            let all = Watch::new(database.database(), "things").stamp().await.unwrap();
            let other =
                doc! { "$set": { "text": text, "shown_at": text, "in": { "shown": text } } };
            things.update_many(doc! {}, other).await.unwrap();
            eventually("a change", async || all.changed_at().is_some()).await;
        }
        assert_eq!(stamp.changed_at(), None, "before it is {what}");
        things.update_one(doc! { "_id": 1 }, update).await.unwrap();
        eventually(what, async || stamp.changed_at().is_some()).await;
    }
    let stamp = watch.stamp().await.unwrap();
    things.replace_one(doc! { "_id": 2 }, doc! { "text": "replaced" }).await.unwrap();
    eventually("replaced", async || stamp.changed_at().is_some()).await;
    let stamp = watch.stamp().await.unwrap();
    things.delete_one(doc! { "_id": 2 }).await.unwrap();
    eventually("deleted", async || stamp.changed_at().is_some()).await;
}

#[tokio::test]
async fn what_was_read_after_two_stamps_is_old_with_either() {
    let database = TestDatabase::new().await;
    let stamp_of =
        async |collection| Watch::new(database.database(), collection).stamp().await.unwrap();
    let both = stamp_of("others").await.and(stamp_of("things").await);
    assert_eq!(both.changed_at(), None);
    database.insert("things", [doc! {}]).await;
    eventually("one has changed", async || both.changed_at().is_some()).await;
    let first = both.changed_at();
    database.insert("others", [doc! {}]).await;
    let later = both.clone().and(stamp_of("more").await);
    assert_eq!((both.changed_at(), later.changed_at()), (first, first));
}

#[tokio::test]
async fn many_callers_at_once_cost_one_read() {
    let database = TestDatabase::new().await;
    let cached = Cached::new(Watch::new(database.database(), "things"), Duration::ZERO);
    let counter = Counter::new(&database);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (counter, cached) = (counter.clone(), cached.clone());
        callers.spawn(async move { counter.get(&cached).await });
    }
    callers.join_all().await;
    assert_eq!(counter.reads(), 1);
}

#[tokio::test]
async fn within_the_tolerance_nobody_waits_for_a_new_value() {
    let database = TestDatabase::new().await;
    let watch = Watch::new(database.database(), "things");
    let cached = Cached::new(watch.clone(), Duration::from_secs(4));
    let mut counter = Counter::new(&database);
    assert_eq!(counter.get(&cached).await, 0);
    // More than once: nobody has waited for the end of the first one.
    for changes in 1..=3 {
        let stamp = watch.stamp().await.unwrap();
        database.insert("things", [doc! {}]).await;
        eventually("the change is known", async || stamp.changed_at().is_some()).await;
        counter.gate = Arc::new(Semaphore::new(0));
        eventually("it is read behind the callers' backs", async || {
            let stale = timeout(Duration::from_secs(10), counter.get(&cached)).await;
            assert_eq!(stale.expect("nobody waits"), changes - 1);
            counter.reads() as u64 == changes + 1
        })
        .await;
        counter.gate.add_permits(1);
        eventually("the new value is there", async || counter.get(&cached).await == changes).await;
        assert_eq!(counter.reads() as u64, changes + 1);
    }
}

#[tokio::test]
async fn a_stamp_belongs_to_its_own_change() {
    let database = TestDatabase::new().await;
    let watch = Watch::new(database.database(), "things");
    let first = watch.stamp().await.unwrap();
    database.insert("things", [doc! {}]).await;
    eventually("the change is known", async || first.changed_at().is_some()).await;
    let second = watch.stamp().await.unwrap();
    assert!(second.changed_at().is_none());
    let when = first.changed_at();
    database.insert("things", [doc! {}]).await;
    eventually("the next change is known", async || second.changed_at().is_some()).await;
    assert_eq!(first.changed_at(), when);
}

#[tokio::test]
async fn what_could_not_be_read_is_tried_again() {
    let database = TestDatabase::new().await;
    let cached = Cached::new(Watch::new(database.database(), "things"), Duration::ZERO);
    let failed = cached.get(async { Err(mongodb::error::Error::custom("no")) }).await;
    assert!(failed.is_err());
    assert_eq!(Counter::new(&database).get(&cached).await, 0);
}

/// Returns a MongoDB of its own, with a collection of three things.
async fn own_mongod() -> (LocalMongod, Connection) {
    let options = Options { data: DataDir::Temporary, server_parameters: vec![], cache_mb: None };
    let mongod = LocalMongod::start(options).await.unwrap();
    let connection = Connection::new(mongod.uri(), "site", "test").await.unwrap();
    let things = connection.database().collection::<Document>("things");
    things.insert_many([doc! {}, doc! {}, doc! {}]).await.unwrap();
    (mongod, connection)
}

#[tokio::test]
async fn without_a_database_a_value_is_answered_from_memory_and_without_waiting() {
    let (mongod, connection) = own_mongod().await;
    let things = connection.database().collection::<Document>("things");
    let cached = Cached::new(Watch::new(connection.database(), "things"), Duration::ZERO);
    let count = || {
        let things = things.clone();
        async move { things.count_documents(doc! {}).await }
    };
    assert_eq!(cached.get(count()).await.unwrap(), 3);
    mongod.stop().await.unwrap();
    eventually("the database is missed", async || things.find_one(doc! {}).await.is_err()).await;
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(cached.get(count()).await.unwrap(), 3);
    }
    // A single attempt to reach the database takes three seconds.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn without_a_database_a_value_that_has_changed_is_not_answered() {
    let (mongod, connection) = own_mongod().await;
    let watch = Watch::new(connection.database(), "things");
    let things = connection.database().collection::<Document>("things");
    let cached = Cached::new(watch.clone(), Duration::ZERO);
    let count = || {
        let things = things.clone();
        async move { things.count_documents(doc! {}).await }
    };
    assert_eq!(cached.get(count()).await.unwrap(), 3);
    let stamp = watch.stamp().await.unwrap();
    things.insert_one(doc! {}).await.unwrap();
    eventually("the change is seen", async || stamp.changed_at().is_some()).await;
    assert!(!stamp.is_unknown());
    mongod.stop().await.unwrap();
    assert!(cached.get(count()).await.is_err());
}
