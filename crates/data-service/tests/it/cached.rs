//! Values that are kept until their keys change.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use data_service::{
    Abort,
    changes::{Cached, Changes, Family, Knowledge, Source},
    transact,
};
use local_mongod::{DataDir, LocalMongod, Options};
use mongo_kit::{
    Connection,
    feed::{Change, WatchedCollection},
};
use mongodb::{Collection, bson::Document, bson::doc};
use service_kit::web::error::ApiError;
use test_support::{TestDatabase, eventually};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

/// The key of all things.
const KEY: &str = "things";

/// The changes of the collection `things`, which are followed until this is dropped.
pub(crate) struct Things {
    pub(crate) changes: Changes,
    _task: JoinSet<()>,
}

impl Things {
    /// Waits until changes are heard.
    pub(crate) async fn follow(connection: &Connection) -> Self {
        let keys = |change: &Change| {
            let id = change.id.as_deref().map(|id| format!("{KEY}/{id}"));
            [KEY.to_owned()].into_iter().chain(id).collect()
        };
        let collections = vec![WatchedCollection { name: "things", fields: &[] }];
        let family = Family { name: KEY, collections, keys, public: vec![KEY.to_owned()] };
        let changes = Changes::new(Source::Content, vec![family], connection);
        let mut task = JoinSet::new();
        let followed = changes.clone();
        task.spawn(async move { followed.follow().await });
        eventually("changes are heard", async || changes.is_live()).await;
        Self { changes, _task: task }
    }

    fn cached(&self, tolerance: Duration) -> Arc<Cached<u64>> {
        Cached::new(&self.changes, vec![KEY.to_owned()], tolerance)
    }

    /// Waits until a change of a key since a validity is known.
    async fn changed(&self, validity: &data_service::changes::Validity) {
        eventually("the change is known", async || {
            self.changes.knowledge(validity) == Knowledge::Changed
        })
        .await;
    }
}

/// Counts documents, and how often it was asked to.
#[derive(Clone)]
struct Counter {
    collection: Collection<Document>,
    reads: Arc<AtomicUsize>,
    /// Each read takes one of its permits before it ends.
    gate: Arc<Semaphore>,
}

impl Counter {
    fn new(connection: &Connection) -> Self {
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let collection = connection.database().collection("things");
        Self { collection, reads: Arc::default(), gate }
    }

    async fn get(&self, cached: &Arc<Cached<u64>>) -> u64 {
        let this = self.clone();
        let read = async move {
            this.reads.fetch_add(1, Ordering::SeqCst);
            this.gate.acquire().await.unwrap().forget();
            this.collection.count_documents(doc! {}).await
        };
        cached.get(read).await.unwrap().value
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_value_that_has_not_changed_is_read_once() {
    let database = TestDatabase::new().await;
    database.insert("things", [doc! {}, doc! {}]).await;
    let things = Things::follow(database.connection()).await;
    let (cached, counter) = (things.cached(Duration::ZERO), Counter::new(database.connection()));
    // Once more if the machine was too busy to hear of changes for a moment.
    eventually("it is not read again", async || {
        let before = counter.reads();
        for _ in 0..100 {
            assert_eq!(counter.get(&cached).await, 2);
        }
        database.insert("others", [doc! {}]).await;
        assert_eq!(counter.get(&cached).await, 2);
        counter.reads() == before
    })
    .await;
}

#[tokio::test]
async fn a_change_is_seen_whatever_it_is() {
    let database = TestDatabase::new().await;
    let things = Things::follow(database.connection()).await;
    let (cached, counter) = (things.cached(Duration::ZERO), Counter::new(database.connection()));
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

#[tokio::test]
async fn a_value_depends_on_its_keys_alone() {
    let database = TestDatabase::new().await;
    database.insert("things", [doc! { "_id": "a" }, doc! { "_id": "b" }]).await;
    let things = Things::follow(database.connection()).await;
    let [a, b] = ["things/a", "things/b"].map(|key| things.changes.validity([key]));
    let set = doc! { "$set": { "text": "new" } };
    database.collection("things").update_one(doc! { "_id": "a" }, set).await.unwrap();
    things.changed(&a).await;
    assert_ne!(things.changes.knowledge(&b), Knowledge::Changed);
}

#[tokio::test]
async fn own_changes_are_known_at_once() {
    let database = TestDatabase::new().await;
    let things = Things::follow(database.connection()).await;
    for _ in 0..20 {
        let validity = things.changes.validity([KEY]);
        let writers = database.connection().writers();
        let thing = database.collection("things");
        let inserted = transact(writers, async |session| {
            Ok::<_, Abort<ApiError>>(thing.insert_one(doc! {}).session(session).await?)
        });
        let inserted = inserted.await;
        things.changes.record(&[KEY.to_owned()], &inserted);
        inserted.unwrap();
        assert_eq!(things.changes.knowledge(&validity), Knowledge::Changed);
        let later = things.changes.validity([KEY]);
        assert_ne!(things.changes.knowledge(&later), Knowledge::Changed);
    }
}

#[tokio::test]
async fn many_callers_at_once_cost_one_read() {
    let database = TestDatabase::new().await;
    let things = Things::follow(database.connection()).await;
    let (cached, mut counter) =
        (things.cached(Duration::ZERO), Counter::new(database.connection()));
    counter.gate = Arc::new(Semaphore::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let (counter, cached) = (counter.clone(), cached.clone());
        callers.spawn(async move { counter.get(&cached).await });
    }
    eventually("it is read", async || counter.reads() == 1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(counter.reads(), 1);
    counter.gate.add_permits(2);
    callers.join_all().await;
    // Some callers may have come after the read had begun, and changes may not have been heard then.
    assert!(counter.reads() <= 2);
}

#[tokio::test]
async fn a_quick_read_is_waited_for_and_a_slow_one_is_not_within_the_tolerance() {
    let database = TestDatabase::new().await;
    let things = Things::follow(database.connection()).await;
    let cached = things.cached(Duration::from_secs(600));
    let mut counter = Counter::new(database.connection());
    assert_eq!(counter.get(&cached).await, 0);
    for changes in 1..=3 {
        let validity = things.changes.validity([KEY]);
        database.insert("things", [doc! {}]).await;
        things.changed(&validity).await;
        assert_eq!(counter.get(&cached).await, changes, "the present one is read");
    }
    let validity = things.changes.validity([KEY]);
    database.insert("things", [doc! {}]).await;
    things.changed(&validity).await;
    counter.gate = Arc::new(Semaphore::new(0));
    let stale = timeout(Duration::from_secs(30), counter.get(&cached)).await;
    assert_eq!(stale.ok(), Some(3), "no caller waits for a slow read");
    counter.gate.add_permits(1_000);
    eventually("the new value is there", async || counter.get(&cached).await == 4).await;
}

#[tokio::test]
async fn a_stale_value_says_so() {
    let database = TestDatabase::new().await;
    let things = Things::follow(database.connection()).await;
    let cached = things.cached(Duration::from_secs(600));
    let first = cached.get(std::future::ready(Ok(1))).await.unwrap();
    let validity = things.changes.validity([KEY]);
    database.insert("things", [doc! {}]).await;
    things.changed(&validity).await;
    let stale = cached.get(std::future::pending()).await.unwrap();
    assert_eq!(stale.value, 1);
    assert!(stale.revision < things.changes.revision(), "{first:?} {stale:?}");
}

#[tokio::test]
async fn a_read_that_has_failed_is_repeated() {
    let database = TestDatabase::new().await;
    let things = Things::follow(database.connection()).await;
    let cached = things.cached(Duration::ZERO);
    let failed = cached.get(async { Err(mongodb::error::Error::custom("no")) }).await;
    assert!(failed.is_err());
    assert_eq!(Counter::new(database.connection()).get(&cached).await, 0);
}

#[tokio::test]
async fn a_read_that_ends_late_does_not_replace_a_newer_value() {
    let database = TestDatabase::new().await;
    let things = Things::follow(database.connection()).await;
    let cached = things.cached(Duration::ZERO);
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
    let get = async || cached.get(std::future::ready(Ok(2))).await.unwrap().value;
    assert_eq!(get().await, 2);
    release.send(()).unwrap();
    let _: Result<(), _> = ended.await;
    for _ in 0..100 {
        assert_eq!(get().await, 2);
        tokio::task::yield_now().await;
    }
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
    let things = Things::follow(&connection).await;
    let (cached, counter) = (things.cached(Duration::ZERO), Counter::new(&connection));
    assert_eq!(counter.get(&cached).await, 3);
    let stored = counter.collection.clone();
    mongod.stop().await.unwrap();
    eventually("the database is missed", async || stored.find_one(doc! {}).await.is_err()).await;
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(counter.get(&cached).await, 3);
    }
    // A single attempt to reach the database takes three seconds.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn without_a_database_a_value_that_has_changed_is_not_answered() {
    let (mongod, connection) = own_mongod().await;
    let things = Things::follow(&connection).await;
    let (cached, counter) = (things.cached(Duration::ZERO), Counter::new(&connection));
    assert_eq!(counter.get(&cached).await, 3);
    let validity = things.changes.validity([KEY]);
    counter.collection.insert_one(doc! {}).await.unwrap();
    things.changed(&validity).await;
    let stored = counter.collection.clone();
    mongod.stop().await.unwrap();
    assert!(cached.get(async move { stored.count_documents(doc! {}).await }).await.is_err());
}
