//! Detects whether other clients use the collections that are migrated.
//!
//! The server counts the operations on each collection (MongoDB manual, "$collStats",
//! `latencyStats`), which every user with the role `read` may read. The operations of the engine
//! itself are counted at the driver and subtracted. The rest is foreground work.
//!
//! [`Detector`] decides without a database; [`ForegroundProbe`] reads the numbers.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::TryStreamExt;
use mongodb::{
    Database,
    bson::{Bson, Document, doc},
    error::{Error, ErrorKind},
    event::{EventHandler, command::CommandEvent},
};
use tokio::time::Instant;

/// The time over which foreground operations are added up.
pub(super) const WINDOW: Duration = Duration::from_millis(500);

/// The fewest operations within [`WINDOW`] that count as foreground work. An idle change stream
/// sends one now and then.
const MIN_OPERATIONS: f64 = 2.0;

/// The time without foreground work after which the database counts as idle again: a site with a
/// few requests a second does not make the pace change with each of them.
const QUIET: Duration = Duration::from_secs(1);

/// The time that the first observation covers. Until then it is unknown whether the database is idle.
/// A small fill waits for it about as long as for its commits.
const FIRST_INTERVAL: Duration = Duration::from_millis(100);

/// The time between two observations at full speed, at which requests are slower. An observation
/// takes about a hundredth of it.
pub(super) const INTERVAL: Duration = Duration::from_millis(50);

/// The time between two observations during foreground work, which costs the requests time, too.
const INTERVAL_IF_PRESENT: Duration = Duration::from_millis(200);

/// The time between two observations if the server refuses the command.
const INTERVAL_IF_REFUSED: Duration = Duration::from_secs(60);

/// The use of the migrated collections by other clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreground {
    /// No other client uses them.
    Absent,
    /// Other clients use them.
    Present,
    /// It is not observed yet, the server does not report it, or the operations of the engine are not
    /// counted.
    Unknown,
}

/// Counts the operations that a client sends, as the server counts them in `latencyStats`: one for
/// each command that reads or inserts, one for each batch of a cursor, and one for each statement of
/// an update or a delete.
///
/// Only the engine may use the client, because its operations do not count as foreground work. Pass
/// [`Self::handler`] to the options of the client, and the counter to the options of the engine
/// ([`Options::operations`](crate::Options::operations)).
#[derive(Debug, Clone, Default)]
pub struct OperationCounter(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    done: HashMap<Namespace, i64>,
    /// Commands without an answer so far, by the id of their request.
    under_way: HashMap<i32, (Namespace, i64)>,
}

/// A database and a collection in it.
type Namespace = (String, String);

impl OperationCounter {
    /// Returns a handler that counts the commands of a client.
    pub fn handler(&self) -> EventHandler<CommandEvent> {
        let counter = self.clone();
        EventHandler::callback(move |event| counter.count(event))
    }

    fn count(&self, event: CommandEvent) {
        let mut counts = self.counts();
        match event {
            CommandEvent::Started(event) => {
                if let Some((collection, operations)) =
                    operations(&event.command_name, &event.command)
                {
                    let namespace = (event.db, collection);
                    counts.under_way.insert(event.request_id, (namespace, operations));
                }
            }
            CommandEvent::Succeeded(event) => {
                let Some((namespace, operations)) = counts.under_way.remove(&event.request_id)
                else {
                    return;
                };
                let executed = executed(&event.reply).unwrap_or(operations);
                *counts.done.entry(namespace).or_default() += executed;
            }
            CommandEvent::Failed(event) => {
                // The number of statements before the one that failed is unknown. Counting too few
                // makes the engine gentle for a moment; too many would hide foreground work.
                if let Some((namespace, _)) = counts.under_way.remove(&event.request_id) {
                    *counts.done.entry(namespace).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    /// Returns the number of completed operations on a collection.
    pub fn done(&self, database: &str, collection: &str) -> i64 {
        let namespace = (database.to_owned(), collection.to_owned());
        self.counts().done.get(&namespace).copied().unwrap_or_default()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the collection of a command, and the number of operations that the server counts for it
/// if all of it is executed, or `None` for a command that is neither a read nor a write.
fn operations(name: &str, command: &Document) -> Option<(String, i64)> {
    let statements = |field: &str| {
        let count = command.get_array(field).map_or(1, Vec::len);
        i64::try_from(count).unwrap_or(i64::MAX)
    };
    let (field, operations) = match name {
        "find" | "aggregate" | "count" | "distinct" | "insert" | "findAndModify" => (name, 1),
        "getMore" => ("collection", 1),
        "update" => (name, statements("updates")),
        "delete" => (name, statements("deletes")),
        _ => return None,
    };
    // An aggregation of a whole database has a number there.
    Some((command.get_str(field).ok()?.to_owned(), operations))
}

/// Returns the number of executed statements of a command whose answer names a failed one: the
/// statements after it are not executed.
fn executed(reply: &Document) -> Option<i64> {
    let first = reply.get_array("writeErrors").ok()?.first()?.as_document()?;
    Some(i64::from(first.get_i32("index").ok()?) + 1)
}

/// Decides whether there is foreground work from the number of operations of other clients.
#[derive(Debug, Default)]
struct Detector {
    /// The operations within the last [`WINDOW`], with the times of their observations.
    recent: VecDeque<(Instant, f64)>,
    /// The last time of foreground work.
    present_at: Option<Instant>,
    is_present: bool,
}

impl Detector {
    /// Adds the number of operations of other clients within the time `elapsed`. Returns `true` if
    /// there is foreground work. The number may be negative: the driver may count an operation of
    /// the engine before the server does, or after.
    fn observe(&mut self, now: Instant, elapsed: Duration, operations: i64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "compared with a small number")]
        let mut operations = operations as f64;
        if elapsed > WINDOW {
            // The share of one window.
            operations *= WINDOW.as_secs_f64() / elapsed.as_secs_f64();
        }
        self.recent.push_back((now, operations));
        while self.recent.front().is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.recent.pop_front();
        }
        if self.recent.iter().map(|(_, operations)| operations).sum::<f64>() >= MIN_OPERATIONS {
            self.is_present = true;
            if operations > 0.0 {
                self.present_at = Some(now);
            }
        } else if self.present_at.is_none_or(|at| now.duration_since(at) >= QUIET) {
            self.is_present = false;
        }
        self.is_present
    }
}

/// Observes the use of the collections of an engine by other clients.
#[derive(Debug)]
pub(crate) struct ForegroundProbe {
    database: Database,
    counter: Option<OperationCounter>,
    /// The collections of the migrations.
    collections: Mutex<BTreeSet<&'static str>>,
    state: tokio::sync::Mutex<ProbeState>,
}

#[derive(Debug)]
struct ProbeState {
    foreground: Foreground,
    /// `true` if the server refuses the command.
    is_refused: bool,
    detector: Detector,
    /// The time of the last observation, whether or not it succeeded.
    observed_at: Option<Instant>,
    /// The time of the last observation that succeeded.
    counted_at: Option<Instant>,
    /// The operations on each collection at that time.
    counted: HashMap<&'static str, Operations>,
}

#[derive(Debug, Clone, Copy)]
struct Operations {
    all: i64,
    own: i64,
}

impl ForegroundProbe {
    pub(crate) fn new(database: &Database, counter: Option<OperationCounter>) -> Self {
        let state = tokio::sync::Mutex::new(ProbeState::new());
        Self { database: database.clone(), counter, collections: Mutex::default(), state }
    }

    /// Returns `true` if operations of the engine can be distinguished from those of others.
    pub(crate) fn can_tell(&self) -> bool {
        self.counter.is_some()
    }

    /// Adds collections to be observed.
    pub(crate) fn watch(&self, collections: impl IntoIterator<Item = &'static str>) {
        self.collections().extend(collections);
    }

    fn collections(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.collections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the foreground work, observed now or a moment ago.
    ///
    /// The engine must have no command on these collections under way: the server counts a command
    /// when it is done, and the driver when it is answered.
    pub(crate) async fn observe(&self) -> Foreground {
        let Some(counter) = &self.counter else { return Foreground::Unknown };
        let mut state = self.state.lock().await;
        if state.is_recent() {
            return state.foreground;
        }
        state.observed_at = Some(Instant::now());
        match self.count(counter).await {
            Ok(counted) => state.update(counted, Instant::now()),
            Err(error) if matches!(*error.kind, ErrorKind::Command(_)) => state.refused(&error),
            Err(error) => {
                tracing::debug!(%error, "foreground work is unknown: the pace stays as it is");
            }
        }
        state.foreground
    }

    /// Counts the operations on each collection, all of them and those of the engine.
    async fn count(
        &self,
        counter: &OperationCounter,
    ) -> mongodb::error::Result<HashMap<&'static str, Operations>> {
        let collections: Vec<_> = self.collections().iter().copied().collect();
        let name = self.database.name();
        // First, because the server counts the command below only after it has answered it.
        let own: Vec<_> =
            collections.iter().map(|collection| counter.done(name, collection)).collect();
        let all = self.operations(&collections).await?;
        let counted = collections.into_iter().zip(all.into_iter().zip(own));
        Ok(counted.map(|(collection, (all, own))| (collection, Operations { all, own })).collect())
    }

    /// Returns the number of reads and writes on each collection since the start of the server. A
    /// collection that does not exist has none.
    async fn operations(&self, collections: &[&str]) -> mongodb::error::Result<Vec<i64>> {
        let Some((first, others)) = collections.split_first() else { return Ok(Vec::new()) };
        let stats = doc! { "$collStats": { "latencyStats": {} } };
        // All of them in one command.
        let mut pipeline = vec![stats.clone()];
        pipeline.extend(others.iter().map(|collection| {
            doc! { "$unionWith": { "coll": *collection, "pipeline": [stats.clone()] } }
        }));
        let cursor = self.database.collection::<Document>(first).aggregate(pipeline).await?;
        let found: Vec<Document> = cursor.try_collect().await?;
        let name = self.database.name();
        let operations = collections.iter().map(|collection| {
            let namespace = format!("{name}.{collection}");
            // One document for each shard, if there are any.
            let of_collection =
                found.iter().filter(|one| one.get_str("ns").is_ok_and(|ns| ns == namespace));
            of_collection.map(reads_and_writes).sum::<Option<i64>>()
        });
        operations.collect::<Option<_>>().ok_or_else(|| Error::custom("`latencyStats` is missing"))
    }
}

impl ProbeState {
    fn new() -> Self {
        Self {
            foreground: Foreground::Unknown,
            is_refused: false,
            detector: Detector::default(),
            observed_at: None,
            counted_at: None,
            counted: HashMap::new(),
        }
    }

    fn is_recent(&self) -> bool {
        let interval = match self.foreground {
            Foreground::Unknown if self.is_refused => INTERVAL_IF_REFUSED,
            Foreground::Unknown => FIRST_INTERVAL,
            Foreground::Absent => INTERVAL,
            Foreground::Present => INTERVAL_IF_PRESENT,
        };
        self.observed_at.is_some_and(|observed| observed.elapsed() < interval)
    }

    /// Derives the foreground work from the number of operations at this time.
    fn update(&mut self, counted: HashMap<&'static str, Operations>, now: Instant) {
        let foreign = counted.iter().filter_map(|(collection, now)| {
            let before = self.counted.get(collection)?;
            // The numbers of a restarted server, another primary or a new collection begin at 0.
            (now.all >= before.all).then_some((now.all - before.all) - (now.own - before.own))
        });
        let foreign = foreign.sum();
        self.counted = counted;
        self.is_refused = false;
        // The first numbers have nothing to be compared with.
        let Some(before) = self.counted_at.replace(now) else { return };
        let is_present = self.detector.observe(now, now.duration_since(before), foreign);
        let found = if is_present { Foreground::Present } else { Foreground::Absent };
        match (std::mem::replace(&mut self.foreground, found), found) {
            (Foreground::Absent | Foreground::Unknown, Foreground::Present) => {
                tracing::info!(
                    operations = foreign,
                    "the site is in use: migrations leave room for it"
                );
            }
            (Foreground::Present, Foreground::Absent) => {
                tracing::info!("the site is idle: migrations run at full speed");
            }
            _ => {}
        }
    }

    fn refused(&mut self, error: &Error) {
        self.foreground = Foreground::Unknown;
        if !std::mem::replace(&mut self.is_refused, true) {
            tracing::info!(
                error = error as &dyn std::error::Error,
                "the server does not report whether the site is in use: migrations leave room for it"
            );
        }
    }
}

/// Returns the reads and writes in the answer of `$collStats`. Other commands, such as closing a
/// cursor, do not count as work.
fn reads_and_writes(stats: &Document) -> Option<i64> {
    let latencies = stats.get_document("latencyStats").ok()?;
    let operations = |kind: &str| match latencies.get_document(kind).ok()?.get("ops")? {
        Bson::Int64(count) => Some(*count),
        Bson::Int32(count) => Some(i64::from(*count)),
        _ => None,
    };
    Some(operations("reads")? + operations("writes")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// Returns the decisions of a detector for the operations observed at these times, in
    /// milliseconds.
    fn observed(observations: &[(u32, i64)]) -> Vec<bool> {
        let began = Instant::now();
        let mut detector = Detector::default();
        let mut before = 0;
        let observe = |(at, operations): &(u32, i64)| {
            let elapsed = MILLI * (at - std::mem::replace(&mut before, *at));
            detector.observe(began + MILLI * *at, elapsed, *operations)
        };
        observations.iter().map(observe).collect()
    }

    #[test]
    fn two_operations_within_half_a_second_are_foreground_work() {
        assert_eq!(observed(&[(200, 2)]), [true]);
        assert_eq!(observed(&[(200, 1), (400, 1)]), [false, true]);
        assert_eq!(observed(&[(200, 1), (700, 1)]), [false, false]);
        assert_eq!(observed(&[(200, 1), (400, 0), (600, 0), (800, 1)]), [false; 4]);
    }

    #[test]
    fn foreground_work_ends_after_an_idle_second() {
        let observations = [(200, 40), (400, 0), (600, 0), (1_000, 1), (1_199, 0), (1_200, 0)];
        assert_eq!(observed(&observations), [true, true, true, true, true, false]);
        let again = [(200, 2), (1_100, 5), (1_300, 0), (2_000, 0), (2_100, 0)];
        assert_eq!(observed(&again), [true, true, true, true, false]);
    }

    /// Returns the state after these numbers of operations on one collection, all and own, observed
    /// at these times in milliseconds.
    fn state_after(observations: &[(u32, i64, i64)]) -> ProbeState {
        let (began, mut state) = (Instant::now(), ProbeState::new());
        for (at, all, own) in observations {
            let counted = Operations { all: *all, own: *own };
            state.update(HashMap::from([("items", counted)]), began + MILLI * *at);
        }
        state
    }

    #[test]
    fn a_database_is_idle_only_after_a_time_without_operations_of_others() {
        let foreground = |observations: &[_]| state_after(observations).foreground;
        assert_eq!(ProbeState::new().foreground, Foreground::Unknown);
        assert_eq!(foreground(&[(0, 9_000, 0)]), Foreground::Unknown);
        assert_eq!(foreground(&[(0, 9_000, 0), (100, 9_003, 3)]), Foreground::Absent);
        assert_eq!(foreground(&[(0, 9_000, 0), (100, 9_005, 3)]), Foreground::Present);
        let (idle, used) = ((150, 9_010, 10), (200, 9_022, 20));
        assert_eq!(foreground(&[(0, 9_000, 0), (100, 9_003, 3), idle]), Foreground::Absent);
        assert_eq!(foreground(&[(0, 9_000, 0), (100, 9_003, 3), idle, used]), Foreground::Present);
    }

    #[tokio::test(start_paused = true)]
    async fn work_of_others_is_looked_for_most_often_at_full_speed() {
        let intervals = [
            (&[][..], FIRST_INTERVAL),
            (&[(0, 0, 0)], FIRST_INTERVAL),
            (&[(0, 0, 0), (100, 0, 0)], INTERVAL),
            (&[(0, 0, 0), (100, 9, 0)], INTERVAL_IF_PRESENT),
        ];
        for (observations, interval) in intervals {
            let mut state = state_after(observations);
            assert!(!state.is_recent());
            state.observed_at = Some(Instant::now());
            tokio::time::advance(interval - MILLI).await;
            assert!(state.is_recent(), "{observations:?}");
            tokio::time::advance(MILLI).await;
            assert!(!state.is_recent(), "{observations:?}");
        }
        let mut state = state_after(&[(0, 0, 0), (100, 0, 0)]);
        state.refused(&Error::custom("not authorized"));
        assert_eq!(state.foreground, Foreground::Unknown);
        state.observed_at = Some(Instant::now());
        tokio::time::advance(INTERVAL_IF_REFUSED - MILLI).await;
        assert!(state.is_recent());
    }

    #[test]
    fn operations_of_a_longer_time_count_by_their_rate() {
        assert_eq!(observed(&[(10_000, 39)]), [false]);
        assert_eq!(observed(&[(10_000, 40)]), [true]);
    }

    #[test]
    fn an_operation_of_the_engine_that_is_counted_early_or_late_is_not_foreground_work() {
        assert_eq!(observed(&[(200, 1), (400, -1), (600, 1), (800, -1), (1_000, 1)]), [false; 5]);
    }

    #[test]
    fn a_command_counts_as_often_as_the_server_counts_it() {
        let statements = [doc! { "q": {}, "u": {} }, doc! { "q": {}, "u": {} }];
        for (command, expected) in [
            (doc! { "find": "items", "limit": 3 }, Some(("items", 1))),
            (doc! { "getMore": 7_i64, "collection": "items" }, Some(("items", 1))),
            (doc! { "aggregate": "items", "pipeline": [] }, Some(("items", 1))),
            (doc! { "aggregate": 1, "pipeline": [] }, None),
            (doc! { "insert": "items", "documents": [{}, {}, {}] }, Some(("items", 1))),
            (doc! { "update": "items", "updates": statements.to_vec() }, Some(("items", 2))),
            (doc! { "delete": "items", "deletes": [{ "q": {}, "limit": 1 }] }, Some(("items", 1))),
            (doc! { "createIndexes": "items" }, None),
            (doc! { "commitTransaction": 1 }, None),
        ] {
            let name = command.keys().next().unwrap();
            let expected = expected.map(|(collection, count)| (collection.to_owned(), count));
            assert_eq!(operations(name, &command), expected, "{command}");
        }
        let failed = doc! { "n": 3, "writeErrors": [{ "index": 3, "code": 121 }] };
        assert_eq!(executed(&failed), Some(4));
        assert_eq!(executed(&doc! { "n": 3 }), None);
    }
}
