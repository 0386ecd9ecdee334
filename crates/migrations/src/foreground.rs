//! Finding out whether others use the collections that are migrated.
//!
//! The server counts the operations on each collection (MongoDB manual, "$collStats",
//! `latencyStats`), which every user with the role `read` may look at. The operations of the engine
//! itself are counted at the driver and subtracted. The rest is foreground work.
//!
//! [`Detector`] decides and knows no database; [`ForegroundProbe`] asks for the numbers.

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

use crate::throttle::ALERT_BATCH_TIME;

/// The span in which foreground operations are added up.
const WINDOW: Duration = Duration::from_millis(500);

/// The fewest operations within [`WINDOW`] that count as foreground work. A change stream that waits
/// for a change asks again from time to time, which is one now and then.
const FEWEST: f64 = 2.0;

/// The time without foreground work after which the database counts as idle again: a site with a
/// few requests a second does not make the pace change with each of them.
const QUIET: Duration = Duration::from_secs(1);

/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(200);

// Looks are between batches. Foreground work is noticed within half a second of its beginning.
const _: () = assert!(
    INTERVAL.as_millis() + ALERT_BATCH_TIME.end.as_millis() < WINDOW.as_millis(),
    "a look comes too late",
);

/// The time between two looks at a server that refuses to answer.
const INTERVAL_IF_REFUSED: Duration = Duration::from_secs(60);

/// Whether others use the collections that are migrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreground {
    /// Nobody does.
    Absent,
    /// Somebody does.
    Present,
    /// The server does not tell, or nobody counts the operations of the engine.
    Unknown,
}

/// Counts the operations that a client sends, as the server counts them in `latencyStats`: one for
/// each command that reads or inserts, one for each batch of a cursor, and one for each statement of
/// an update or a delete.
///
/// The client has to be the engine's alone, since its operations are not foreground work. Give
/// [`Self::handler`] to the options of the client, and the counter to the options of the engine
/// ([`Options::operations`](crate::Options::operations)).
#[derive(Debug, Clone, Default)]
pub struct OperationCounter(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    done: HashMap<Namespace, i64>,
    /// Commands that are not answered yet, by the number of their request.
    under_way: HashMap<i32, (Namespace, i64)>,
}

/// A database and a collection in it.
type Namespace = (String, String);

impl OperationCounter {
    /// A handler that counts the commands of the client that it is given to.
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
                // The number of statements before the one that failed is unknown. Too few make the
                // engine gentle for a moment, too many would hide others.
                if let Some((namespace, _)) = counts.under_way.remove(&event.request_id) {
                    *counts.done.entry(namespace).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    /// The number of operations on a collection that were answered.
    pub fn done(&self, database: &str, collection: &str) -> i64 {
        let namespace = (database.to_owned(), collection.to_owned());
        self.counts().done.get(&namespace).copied().unwrap_or_default()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The collection of a command, and the number of operations that the server counts for it if all of
/// it is executed. Returns `None` for a command that does not count as a read or write.
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

/// The number of statements that were executed of a command whose answer names one that failed: the
/// others come after it in order, and are not tried.
fn executed(reply: &Document) -> Option<i64> {
    let first = reply.get_array("writeErrors").ok()?.first()?.as_document()?;
    Some(i64::from(first.get_i32("index").ok()?) + 1)
}

/// Decides whether there is foreground work, from the number of operations of others.
#[derive(Debug, Default)]
struct Detector {
    /// The operations of the last [`WINDOW`], by the time at which they became known.
    recent: VecDeque<(Instant, f64)>,
    /// The last time at which there was foreground work.
    present_at: Option<Instant>,
    is_present: bool,
}

impl Detector {
    /// Learns that there were so many operations of others within the time `elapsed`, and says
    /// whether that is foreground work. The number may be negative: an operation of the engine may
    /// be counted a moment before the server counts it, or after.
    fn observe(&mut self, now: Instant, elapsed: Duration, operations: i64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "compared with a small number")]
        let mut operations = operations as f64;
        if elapsed > WINDOW {
            // As many as there are in one window of that time.
            operations *= WINDOW.as_secs_f64() / elapsed.as_secs_f64();
        }
        self.recent.push_back((now, operations));
        while self.recent.front().is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.recent.pop_front();
        }
        if self.recent.iter().map(|(_, operations)| operations).sum::<f64>() >= FEWEST {
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

/// Asks the server whether others use the collections of an engine.
#[derive(Debug)]
pub(crate) struct ForegroundProbe {
    database: Database,
    counter: Option<OperationCounter>,
    /// The collections that the migrations are about.
    collections: Mutex<BTreeSet<&'static str>>,
    state: tokio::sync::Mutex<State>,
}

#[derive(Debug)]
struct State {
    foreground: Foreground,
    detector: Detector,
    /// The last look, whether it succeeded or not.
    asked_at: Option<Instant>,
    /// The last look that succeeded.
    counted_at: Option<Instant>,
    /// The operations on each collection at that look: all of them, and the engine's.
    counted: HashMap<&'static str, Operations>,
}

#[derive(Debug, Clone, Copy)]
struct Operations {
    all: i64,
    own: i64,
}

impl ForegroundProbe {
    pub(crate) fn new(database: &Database, counter: Option<OperationCounter>) -> Self {
        // Until there is a second number to compare with, the database counts as idle.
        let foreground = if counter.is_some() { Foreground::Absent } else { Foreground::Unknown };
        Self {
            database: database.clone(),
            counter,
            collections: Mutex::default(),
            state: tokio::sync::Mutex::new(State {
                foreground,
                detector: Detector::default(),
                asked_at: None,
                counted_at: None,
                counted: HashMap::new(),
            }),
        }
    }

    /// Returns whether operations of the engine can be told from those of others.
    pub(crate) fn can_tell(&self) -> bool {
        self.counter.is_some()
    }

    /// Adds to the collections whose operations count.
    pub(crate) fn watch(&self, collections: impl IntoIterator<Item = &'static str>) {
        let mut watched = self.collections.lock().unwrap_or_else(PoisonError::into_inner);
        watched.extend(collections);
    }

    /// Returns whether there is foreground work, from what the server said a moment ago or says now.
    ///
    /// The engine must have no command for these collections under way: the server counts one when
    /// it is done, and the driver when it is answered.
    pub(crate) async fn look(&self) -> Foreground {
        let Some(counter) = &self.counter else { return Foreground::Unknown };
        let mut state = self.state.lock().await;
        let interval = match state.foreground {
            Foreground::Unknown => INTERVAL_IF_REFUSED,
            Foreground::Absent | Foreground::Present => INTERVAL,
        };
        if state.asked_at.is_some_and(|asked| asked.elapsed() < interval) {
            return state.foreground;
        }
        state.asked_at = Some(Instant::now());
        let collections: Vec<_> = {
            let watched = self.collections.lock().unwrap_or_else(PoisonError::into_inner);
            watched.iter().copied().collect()
        };
        let name = self.database.name();
        // Before the server is asked: the question itself counts after its answer is made.
        let own: Vec<_> =
            collections.iter().map(|collection| counter.done(name, collection)).collect();
        let counted = match self.operations(&collections).await {
            Ok(all) => (collections.iter().zip(all).zip(own))
                .map(|((collection, all), own)| (*collection, Operations { all, own }))
                .collect(),
            Err(error) if matches!(*error.kind, ErrorKind::Command(_)) => {
                if state.foreground != Foreground::Unknown {
                    let error = &error as &dyn std::error::Error;
                    tracing::info!(
                        error,
                        "the server does not say whether the site is in use: migrations leave \
                         room for it"
                    );
                }
                state.foreground = Foreground::Unknown;
                return state.foreground;
            }
            Err(error) => {
                tracing::debug!(%error, "the server does not answer: the pace stays as it is");
                return state.foreground;
            }
        };
        state.learn(counted, Instant::now());
        state.foreground
    }

    /// The number of reads and writes on each collection since the server was started. A collection
    /// that does not exist has none.
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
            // One for each shard, if there are any.
            let of_collection =
                found.iter().filter(|one| one.get_str("ns").is_ok_and(|ns| ns == namespace));
            of_collection.map(reads_and_writes).sum::<Option<i64>>()
        });
        operations.collect::<Option<_>>().ok_or_else(|| Error::custom("`latencyStats` is missing"))
    }
}

impl State {
    fn learn(&mut self, counted: HashMap<&'static str, Operations>, now: Instant) {
        let foreign = counted.iter().filter_map(|(collection, now)| {
            let before = self.counted.get(collection)?;
            // A server that was restarted, another primary and a new collection begin at zero.
            (now.all >= before.all).then_some((now.all - before.all) - (now.own - before.own))
        });
        let foreign = foreign.sum();
        self.counted = counted;
        let Some(before) = self.counted_at.replace(now) else {
            self.foreground = Foreground::Absent;
            return;
        };
        let is_present = self.detector.observe(now, now.duration_since(before), foreign);
        let (found, news) = if is_present {
            (Foreground::Present, "the site is in use: migrations leave room for it")
        } else {
            (Foreground::Absent, "the site is idle: migrations run at full speed")
        };
        if std::mem::replace(&mut self.foreground, found) != found {
            tracing::info!(operations = foreign, "{news}");
        }
    }
}

/// The reads and writes in the answer of `$collStats`. Other commands are left out: a client that
/// closes a cursor is no work.
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

    /// The answers of a detector to operations of others that become known at these times, in
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
    fn an_idle_second_ends_it() {
        let observations = [(200, 40), (400, 0), (600, 0), (1_000, 1), (1_199, 0), (1_200, 0)];
        assert_eq!(observed(&observations), [true, true, true, true, true, false]);
        let again = [(200, 2), (1_100, 5), (1_300, 0), (2_000, 0), (2_100, 0)];
        assert_eq!(observed(&again), [true, true, true, true, false]);
    }

    #[test]
    fn operations_of_a_longer_time_count_by_their_rate() {
        assert_eq!(observed(&[(10_000, 39)]), [false]);
        assert_eq!(observed(&[(10_000, 40)]), [true]);
    }

    #[test]
    fn an_operation_that_is_counted_early_or_late_is_none() {
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
