//! The changes of collections, as another program makes them, and faults between them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::TryStreamExt;
use local_mongod::{DataDir, LocalMongod, Options};
use mongo_kit::{
    Connection,
    feed::{Change, ChangeKind, FeedEvent, WatchedCollection, cluster_time, report_changes},
};
use mongodb::{
    Collection, Database,
    bson::{Document, RawDocumentBuf, doc, oid::ObjectId, rawdoc},
    options::WriteConcern,
};
use test_support::{TestDatabase, eventually};
use tokio::task::JoinSet;

/// The collections that the tests watch.
const WATCHED: &[WatchedCollection] = &[
    WatchedCollection { name: "things", fields: &["slug"] },
    WatchedCollection { name: "others", fields: &[] },
];

/// The events of a feed, in their order.
struct Recorder {
    events: Arc<Mutex<Vec<FeedEvent>>>,
    _task: JoinSet<()>,
}

impl Recorder {
    /// Starts a feed and waits for its beginning.
    async fn start(database: &Database) -> Self {
        let this = Self::start_unconfirmed(database);
        eventually("the feed begins", async || this.watermark() > 0).await;
        let begins = matches!(&this.all()[0], FeedEvent::Reset { collections, .. }
            if collections[..] == ["things", "others"]);
        assert!(begins, "{:?}", this.all()[0]);
        this
    }

    fn start_unconfirmed(database: &Database) -> Self {
        let events = Arc::<Mutex<Vec<_>>>::default();
        let (database, recorded) = (database.clone(), events.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            report_changes(database, WATCHED, move |event| recorded.lock().unwrap().push(event))
                .await;
        });
        Self { events, _task: task }
    }

    fn all(&self) -> Vec<FeedEvent> {
        self.events.lock().unwrap().clone()
    }

    fn changes(&self) -> Vec<Change> {
        let changes = self.all().into_iter().filter_map(|event| match event {
            FeedEvent::Changed(change) => Some(change),
            _ => None,
        });
        changes.collect()
    }

    /// Returns the events that are neither changes nor confirmations.
    fn interruptions(&self) -> Vec<FeedEvent> {
        let is_one = |event: &FeedEvent| {
            !matches!(event, FeedEvent::Changed(_) | FeedEvent::Confirmed { .. })
        };
        self.all().into_iter().filter(is_one).collect()
    }

    fn watermark(&self) -> u64 {
        let mut times = self.all().into_iter().filter_map(|event| match event {
            FeedEvent::Confirmed { at, .. } => Some(at),
            _ => None,
        });
        times.next_back().unwrap_or_default()
    }

    /// Waits until all changes up to a time are reported.
    async fn confirmed(&self, time: u64) {
        eventually("the time is confirmed", async || self.watermark() >= time).await;
    }
}

/// Returns the time after all writes so far.
async fn now(database: &Database) -> u64 {
    let ping = database.run_command(doc! { "ping": 1 }).await.unwrap();
    cluster_time(ping.get_timestamp("operationTime").unwrap())
}

fn updated(fields: &[&str]) -> ChangeKind {
    ChangeKind::Updated { fields: fields.iter().map(|field| (*field).to_owned()).collect() }
}

#[tokio::test]
async fn changes_by_any_program_are_reported() {
    let database = TestDatabase::new().await;
    let feed = Recorder::start(database.database()).await;
    let things = database.collection("things");
    let id = ObjectId::new();
    let filter = doc! { "_id": id };
    let long = "x".repeat(100_000);
    let thing = doc! { "_id": id, "slug": "a", "text": &long, "list": [1, 2, 3], "in": { "a": 1 } };
    things.insert_one(thing).await.unwrap();
    for update in [
        doc! { "$set": { "slug": "b", "text": "short" } },
        doc! { "$unset": { "text": "" }, "$set": { "in.a": 2 } },
        doc! { "$push": { "list": 4 } },
    ] {
        things.update_one(filter.clone(), update).await.unwrap();
    }
    let shortened = vec![doc! { "$set": { "list": { "$slice": ["$list", 2] } } }];
    things.update_one(filter.clone(), shortened).await.unwrap();
    things.replace_one(filter.clone(), doc! { "slug": 7, "long": &long }).await.unwrap();
    let kept = now(database.database()).await;
    feed.confirmed(kept).await;
    things.delete_one(filter).await.unwrap();
    let odd = [doc! { "_id": "text" }, doc! { "_id": 1.5 }, doc! { "_id": { "compound": 1 } }];
    database.insert("others", odd).await;
    database.insert("unwatched", [doc! { "_id": "unwatched" }]).await;
    feed.confirmed(now(database.database()).await).await;

    let hex = id.to_hex();
    let changes = feed.changes();
    let kinds: Vec<_> = changes.iter().map(|change| (change.id.as_deref(), &change.kind)).collect();
    let (inserted, hex) = (ChangeKind::Inserted, Some(&*hex));
    let expected = [
        (hex, &inserted),
        (hex, &updated(&["slug", "text"])),
        (hex, &updated(&["in", "text"])),
        (hex, &updated(&["list"])),
        (hex, &updated(&["list"])),
        (hex, &ChangeKind::Replaced),
        (hex, &ChangeKind::Deleted),
        (Some("text"), &inserted),
        (Some("1.5"), &inserted),
        (None, &inserted),
    ];
    assert_eq!(kinds, expected);
    // Nothing but the watched fields is sent, however large the document is.
    let replaced = changes[5].document.clone().unwrap();
    assert_eq!(replaced, RawDocumentBuf::try_from(&doc! { "slug": 7 }).unwrap());
    assert!(changes[1..5].iter().chain([&changes[6]]).all(|change| change.document.is_none()));
    assert!(changes.is_sorted_by_key(|change| change.at));
    assert_eq!(feed.interruptions().len(), 1, "only the beginning");
}

#[tokio::test]
async fn a_transaction_is_confirmed_as_a_whole() {
    let database = TestDatabase::new().await;
    let collections = ["things", "others"].map(|name| database.collection(name));
    for collection in &collections {
        collection.insert_one(doc! {}).await.unwrap();
    }
    let feed = Recorder::start(database.database()).await;
    let mut session = database.connection().client().start_session().await.unwrap();
    session.start_transaction().write_concern(WriteConcern::majority()).await.unwrap();
    for _ in 0..20 {
        for collection in &collections {
            collection.insert_one(doc! {}).session(&mut session).await.unwrap();
        }
    }
    assert_eq!(feed.changes(), []);
    session.commit_transaction().await.unwrap();
    let committed = cluster_time(session.operation_time().unwrap());
    feed.confirmed(committed).await;
    let changes = feed.changes();
    assert_eq!(changes.len(), 40);
    let times: HashSet<_> = changes.iter().map(|change| change.at).collect();
    assert_eq!(times.len(), 1, "a transaction has one time");
    assert!(changes[0].at <= committed);
    // No confirmation of the time is before the last change.
    let events = feed.all();
    let is_change = |event: &FeedEvent| matches!(event, FeedEvent::Changed(_));
    let last = events.iter().rposition(is_change).unwrap();
    let is_early = |event: &FeedEvent| matches!(event, FeedEvent::Confirmed { at, .. } if *at >= changes[0].at);
    assert!(!events[..last].iter().any(is_early));
}

#[tokio::test]
async fn no_time_is_confirmed_before_its_changes_even_at_the_beginning() {
    let database = TestDatabase::new().await;
    for _ in 0..10 {
        let feed = Recorder::start(database.database()).await;
        let confirmed = feed.watermark();
        database.insert("things", [doc! {}]).await;
        feed.confirmed(now(database.database()).await).await;
        let [change] = &feed.changes()[..] else { panic!("{:?}", feed.changes()) };
        assert!(confirmed < change.at, "{confirmed} {change:?}");
    }
}

#[tokio::test]
async fn a_write_is_confirmed_soon_also_if_nothing_follows() {
    let database = TestDatabase::new().await;
    let feed = Recorder::start(database.database()).await;
    let mut worst = Duration::ZERO;
    for _ in 0..20 {
        database.insert("things", [doc! {}]).await;
        let (written, began) = (now(database.database()).await, Instant::now());
        while feed.watermark() < written {
            tokio::task::yield_now().await;
            assert!(began.elapsed() < Duration::from_secs(5));
        }
        worst = worst.max(began.elapsed());
    }
    // 25 ms on a machine without other work. A server without writes confirms a time each 10 s.
    assert!(worst < Duration::from_secs(2), "{worst:?}");
}

#[tokio::test]
async fn many_changes_are_reported_as_one_reset_and_other_collections_are_reported_meanwhile() {
    let database = TestDatabase::new().await;
    let things = database.collection("things");
    things.insert_many((0..20_000).map(|number| doc! { "number": number })).await.unwrap();
    let feed = Recorder::start(database.database()).await;
    let update = doc! { "$set": { "section": "blog" } };
    let flood = tokio::spawn(async move { things.update_many(doc! {}, update).await.unwrap() });
    let is_suspended = |event: &FeedEvent| *event == FeedEvent::Suspended { collection: "things" };
    eventually("it is suspended", async || feed.all().iter().any(is_suspended)).await;
    database.insert("others", [doc! { "_id": "beside" }]).await;
    assert_eq!(flood.await.unwrap().modified_count, 20_000);
    let written = now(database.database()).await;
    let is_reset = |event: &FeedEvent| {
        matches!(event, FeedEvent::Reset { at, collections }
            if *at >= written && collections[..] == ["things"])
    };
    eventually("it is reported again", async || feed.all().iter().any(is_reset)).await;
    database.insert("things", [doc! { "_id": "after" }]).await;
    feed.confirmed(now(database.database()).await).await;
    let ids: Vec<_> = feed.changes().into_iter().filter_map(|change| change.id).collect();
    assert!(ids.iter().any(|id| id == "beside") && ids.iter().any(|id| id == "after"));
    assert!(ids.len() < 5_000, "{} changes are reported", ids.len());
    let interruptions = feed.interruptions();
    assert!(interruptions.len() < 20, "{interruptions:?}");
    // Each suspension ends.
    for pair in interruptions[1..].chunks(2) {
        let ends = |event| {
            matches!(event, Some(FeedEvent::Reset { collections, .. })
            if collections[..] == ["things"])
        };
        assert!(is_suspended(&pair[0]) && ends(pair.get(1).cloned()), "{interruptions:?}");
    }
}

#[tokio::test]
async fn a_collection_or_database_that_is_dropped_or_renamed_is_reset() {
    let database = TestDatabase::new().await;
    database.insert("things", [doc! {}]).await;
    let feed = Recorder::start(database.database()).await;
    let resets = |name: &'static str| {
        let is_reset = |event: &&FeedEvent| matches!(event, FeedEvent::Reset { collections, .. } if collections.contains(&name));
        feed.all().iter().filter(is_reset).count()
    };
    let rename = async |from: &str, to: &str| {
        let [from, to] = [from, to].map(|name| format!("{}.{name}", database.name()));
        let command = doc! { "renameCollection": from, "to": to };
        let admin = database.connection().client().database("admin");
        admin.run_command(command).await.unwrap();
    };
    database.collection("things").drop().await.unwrap();
    eventually("it was dropped", async || resets("things") == 2).await;
    database.insert("elsewhere", [doc! {}]).await;
    rename("elsewhere", "things").await;
    eventually("another one has its name", async || resets("things") == 3).await;
    rename("things", "elsewhere").await;
    eventually("it has another name", async || resets("things") == 4).await;
    assert_eq!(resets("others"), 1);
    database.database().drop().await.unwrap();
    eventually("all are reset", async || resets("others") == 2).await;
    database.insert("things", [doc! { "_id": "after" }]).await;
    eventually("changes are reported again", async || {
        feed.changes().iter().any(|change| change.id.as_deref() == Some("after"))
    })
    .await;
}

#[tokio::test]
async fn changes_during_a_cut_are_reported_afterwards() {
    let database = TestDatabase::new().await;
    let link = database.link().await;
    let linked = Connection::new(&link.mongodb_uri(), database.name(), "test").await.unwrap();
    let feed = Recorder::start(linked.database()).await;
    for round in 0..3 {
        link.reset();
        link.cut();
        database.insert("things", [doc! { "_id": round }]).await;
        link.restore();
        feed.confirmed(now(database.database()).await).await;
    }
    let ids: HashSet<_> = feed.changes().into_iter().filter_map(|change| change.id).collect();
    assert_eq!(ids, ["0", "1", "2"].map(str::to_owned).into());
    assert_eq!(feed.interruptions().len(), 1);
}

#[tokio::test]
async fn without_a_database_nothing_is_confirmed() {
    let database = TestDatabase::new().await;
    let link = database.link().await;
    let linked = Connection::new(&link.mongodb_uri(), database.name(), "test").await.unwrap();
    link.cut();
    let feed = Recorder::start_unconfirmed(linked.database());
    database.insert("things", [doc! {}]).await;
    assert_eq!(feed.all(), []);
    link.restore();
    eventually("the feed begins", async || feed.watermark() > 0).await;
    link.cut();
    let last = |events: Vec<FeedEvent>| match events.last() {
        Some(FeedEvent::Confirmed { since, .. }) => since.elapsed(),
        other => panic!("{other:?}"),
    };
    eventually("its last confirmation is old", async || {
        last(feed.all()) > Duration::from_millis(500)
    })
    .await;
    link.restore();
    feed.confirmed(now(database.database()).await).await;
}

#[tokio::test]
async fn changes_that_the_server_has_forgotten_reset_everything() {
    let database = TestDatabase::new().await;
    let app = format!("forgotten-{}", database.name());
    let connection =
        Connection::new(test_support::mongodb_uri(), database.name(), &app).await.unwrap();
    let feed = Recorder::start(connection.database()).await;
    let admin = connection.client().database("admin");
    let failure = doc! {
        "configureFailPoint": "failCommand", "mode": { "times": 1 },
        "data": { "failCommands": ["getMore"], "errorCode": 286, "appName": app },
    };
    admin.run_command(failure).await.unwrap();
    eventually("everything is reset", async || feed.interruptions().len() == 2).await;
    let reset = feed.interruptions().pop().unwrap();
    let FeedEvent::Reset { collections, .. } = reset else { panic!("{reset:?}") };
    assert_eq!(collections, ["things", "others"]);
    database.insert("things", [doc! { "_id": "after" }]).await;
    feed.confirmed(now(database.database()).await).await;
    assert_eq!(feed.changes().len(), 1);
}

#[tokio::test]
async fn changes_are_complete_after_a_killed_cursor_and_after_an_election() {
    let options = Options { data: DataDir::Temporary, server_parameters: vec![], cache_mb: None };
    let mongod = LocalMongod::start(options).await.unwrap();
    let connection = Connection::new(mongod.uri(), "site", "test").await.unwrap();
    let (database, admin) = (connection.database(), connection.client().database("admin"));
    let things: Collection<RawDocumentBuf> = database.collection("things");
    let feed = Recorder::start(database).await;
    admin.run_command(doc! { "killAllSessions": [] }).await.unwrap();
    things.insert_one(rawdoc! { "_id": "killed" }).await.unwrap();
    feed.confirmed(now(database).await).await;
    // The connection may be closed before the answer.
    let _ = admin.run_command(doc! { "replSetStepDown": 1, "force": true }).await;
    eventually("there is a primary", async || {
        things.insert_one(rawdoc! { "_id": ObjectId::new() }).await.is_ok()
    })
    .await;
    feed.confirmed(now(database).await).await;
    let stored: Vec<RawDocumentBuf> =
        things.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    let reported: HashSet<_> = feed.changes().into_iter().filter_map(|change| change.id).collect();
    assert!(reported.contains("killed") && reported.len() == stored.len(), "{reported:?}");
    assert_eq!(feed.interruptions().len(), 1);
    mongod.stop().await.unwrap();
}

#[tokio::test]
async fn a_feed_is_no_operation_on_a_collection() {
    let database = TestDatabase::new().await;
    database.insert("things", [doc! {}]).await;
    let feed = Recorder::start(database.database()).await;
    let operations = async || {
        let stats = vec![doc! { "$collStats": { "latencyStats": {} } }];
        let mut found = database.collection("things").aggregate(stats).await.unwrap();
        let found: Document = found.try_next().await.unwrap().unwrap();
        let kinds = found.get_document("latencyStats").unwrap();
        let count = |kind| kinds.get_document(kind).unwrap().get_i64("ops").unwrap();
        (count("reads"), count("writes"))
    };
    let (before, _) = operations().await;
    let writes = 20;
    for number in 0..writes {
        let update = doc! { "$set": { "number": number } };
        database.collection("things").update_one(doc! {}, update).await.unwrap();
    }
    feed.confirmed(now(database.database()).await).await;
    assert_eq!(feed.changes().len(), writes as usize);
    let (after, _) = operations().await;
    // One is the look at the statistics itself.
    assert_eq!(after - before, 1, "the feed counts as foreground work for migrations");
}
