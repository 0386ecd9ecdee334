//! The changes of some collections of a database, whoever makes them.
//!
//! One change stream on the whole database reports them. It reads the log of the server (`$changeStream`
//! on a database counts as no operation on a collection), and each answer of the server says up to which
//! time it has read: this is the watermark, which a stream of the driver does not show for answers that
//! have events. So the batches of the server are read directly.
//!
//! A collection with very many changes is removed from the stream for a while: reporting each of a
//! million changes would slow down a backfill, and listeners discard everything of the collection anyway.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::StreamExt;
use mongodb::{
    Database,
    bson::{DateTime, Document, RawBsonRef, RawDocument, RawDocumentBuf, Timestamp, doc},
    error::{Error, ErrorKind, Result},
    options::ReadConcern,
    raw_batch_cursor::{RawBatch, RawBatchCursor},
};
use opentelemetry::{Context, context::FutureExt};

use crate::{DatabaseError, lenient::stored_id_text, with_time_limit};

/// The time for which the server waits for a change before it answers: the interval at which the
/// watermark is confirmed.
const MAX_AWAIT_TIME: Duration = Duration::from_millis(25);

/// The time limit of an answer. A server that is frozen is left for the next primary.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest number of events of a batch.
const BATCH_SIZE: u32 = 250;

/// The size of a batch below which the server has not ended it because of its size, which it does at
/// several megabytes.
const SMALL_BATCH_BYTES: usize = 1024 * 1024;

/// The number of changes of a collection within [`FLOOD_WINDOW`] from which on they are too many to be
/// reported: far above what editors cause, and few enough that they cost nothing.
const FLOOD_EVENTS: usize = 200;

/// The time in which the changes of a collection are counted.
const FLOOD_WINDOW: Duration = Duration::from_millis(50);

/// The pauses of a collection with too many changes: the first one, and the longest one, to which it
/// doubles while the changes do not end.
const FLOOD_PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// The pauses before a stream is opened again after an error.
const ERROR_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// Errors after which the changes since a time are no longer known (MongoDB manual, "Error codes"):
/// `InvalidResumeToken`, `ChangeStreamFatalError`, `ChangeStreamHistoryLost`.
const HISTORY_LOST: &[i32] = &[260, 280, 286];

/// A collection whose changes are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedCollection {
    /// The name.
    pub name: &'static str,
    /// The fields of new documents that are reported.
    pub fields: &'static [&'static str],
}

/// A time of the cluster as a number: its seconds in the upper half, the ordinal of the operation within
/// them in the lower half.
pub fn cluster_time(time: Timestamp) -> u64 {
    (u64::from(time.time) << 32) | u64::from(time.increment)
}

/// Returns the time of the cluster that a number stands for.
pub fn timestamp(time: u64) -> Timestamp {
    Timestamp { time: (time >> 32) as u32, increment: time as u32 }
}

/// An event of a feed.
#[derive(Debug, Clone, PartialEq)]
pub enum FeedEvent {
    /// Changes of some collections are reported from a time on. Those before it may be unknown.
    Reset {
        /// The time.
        at: u64,
        /// The names of the collections.
        collections: Vec<&'static str>,
    },
    /// A document has changed.
    Changed(Change),
    /// The changes of a collection are not reported until [`Self::Reset`] names it.
    Suspended {
        /// The name of the collection.
        collection: &'static str,
    },
    /// All changes up to a time were reported. Sent after each answer of the server.
    Confirmed {
        /// The time.
        at: u64,
        /// The moment at which that was true at the latest.
        since: Instant,
    },
}

/// A change of a document. A time can have several changes: those of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The time of the change.
    pub at: u64,
    /// The same by the clock of the server, which tells it from MongoDB 6.0 on.
    pub wall_time: Option<DateTime>,
    /// The name of the collection.
    pub collection: &'static str,
    /// The `_id` as the API shows it, or `None` for one without an address.
    pub id: Option<String>,
    /// The kind of the change.
    pub kind: ChangeKind,
    /// The watched fields of a document that was inserted or that replaces another one. `None` for other
    /// changes: the server would read the document for them, as an operation on the collection.
    pub document: Option<RawDocumentBuf>,
}

/// The kind of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// The document is new.
    Inserted,
    /// The document was replaced by another one.
    Replaced,
    /// Some fields have changed.
    Updated {
        /// Their names, of the fields of the document itself only.
        fields: Vec<String>,
    },
    /// The document was deleted.
    Deleted,
}

/// Reports the changes of collections of a database, for as long as the future is polled. The collections
/// need not exist.
///
/// Without a database nothing is reported, and the changes of that time are reported afterwards. If the
/// server does not know them any more, all collections are reset.
pub async fn report_changes(
    database: Database,
    collections: &[WatchedCollection],
    mut report: impl FnMut(FeedEvent) + Send,
) {
    let mut feed = Feed::new(database, collections, None);
    loop {
        feed.next().await.into_iter().for_each(&mut report);
    }
}

fn error_pauses() -> ExponentialBackoff {
    let [first_pause, longest_pause] = ERROR_PAUSES;
    ExponentialBuilder::default()
        .with_min_delay(first_pause)
        .with_max_delay(longest_pause)
        .without_max_times()
        .build()
}

/// The changes of collections of a database, which are read by [`next`](Self::next).
pub struct Feed {
    database: Database,
    collections: Vec<WatchedCollection>,
    /// The time up to which all changes were reported.
    position: Option<u64>,
    floods: HashMap<&'static str, Flood>,
    /// The collections whose changes before the next stream are unknown.
    reset: Vec<&'static str>,
    /// The stream, unless another one has to be opened.
    stream: Option<OpenStream>,
    /// The pauses after the next errors.
    pauses: ExponentialBackoff,
}

/// A change stream of the server.
struct OpenStream {
    cursor: RawBatchCursor,
    /// The time from which on it reports changes, once that is known.
    start: Option<u64>,
    /// The moment of the next request.
    asked_at: Instant,
    has_answered: bool,
}

/// The recent number of changes of a collection.
struct Flood {
    counted_from: Instant,
    events: usize,
    /// The pause after the next flood.
    next_pause: Duration,
    resumed_at: Instant,
    /// The end of the pause.
    suspended_until: Option<Instant>,
}

impl Flood {
    fn new(now: Instant) -> Self {
        let (counted_from, resumed_at, next_pause) = (now, now, FLOOD_PAUSES[0]);
        Self { counted_from, events: 0, next_pause, resumed_at, suspended_until: None }
    }

    /// Counts a change.
    fn count(&mut self, now: Instant) {
        if now.saturating_duration_since(self.counted_from) >= FLOOD_WINDOW {
            (self.counted_from, self.events) = (now, 0);
        }
        // The changes have been few for longer than the last pause.
        if now.saturating_duration_since(self.resumed_at) > self.next_pause {
            self.next_pause = FLOOD_PAUSES[0];
        }
        self.events += 1;
    }

    /// Returns `true` if the changes are too many to be reported.
    fn is_flooded(&self) -> bool {
        self.events > FLOOD_EVENTS
    }

    fn suspend(&mut self, now: Instant) {
        self.suspended_until = Some(now + self.next_pause);
        self.next_pause = (self.next_pause * 2).min(FLOOD_PAUSES[1]);
    }

    fn resume(&mut self, now: Instant) {
        (self.suspended_until, self.resumed_at) = (None, now);
        (self.counted_from, self.events) = (now, 0);
    }
}

impl Feed {
    /// Returns the changes after a time up to which the caller knows all of them, or those from now on:
    /// then all collections are reset first.
    pub fn new(database: Database, collections: &[WatchedCollection], since: Option<u64>) -> Self {
        let names = collections.iter().map(|collection| collection.name);
        Self {
            database,
            collections: collections.to_vec(),
            position: since,
            floods: HashMap::new(),
            reset: if since.is_none() { names.collect() } else { Vec::new() },
            stream: None,
            pauses: error_pauses(),
        }
    }

    /// Waits for the next answer of the server, and returns its events. Nothing is lost if the future is
    /// dropped.
    pub async fn next(&mut self) -> Vec<FeedEvent> {
        loop {
            match self.read().await {
                Ok(events) if events.is_empty() => continue,
                Ok(events) => {
                    self.pauses = error_pauses();
                    return events;
                }
                Err(error) if is_history_lost(&error) => {
                    let error = DatabaseError::from(error);
                    tracing::warn!(%error, "changes of the database were missed");
                    self.lose_position();
                }
                Err(error) => {
                    let error = DatabaseError::from(error);
                    // Requests log what it means for them.
                    tracing::debug!(%error, "the changes of the database cannot be read");
                }
            }
            tokio::time::sleep(self.pauses.next().unwrap_or(ERROR_PAUSES[1])).await;
        }
    }

    /// Reads the next answer of the stream, or opens one. Returns no events if another one is needed.
    async fn read(&mut self) -> Result<Vec<FeedEvent>> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let asked_at = Instant::now();
                self.resume_collections(asked_at);
                let (start, cursor) = (self.position, self.open().await?);
                OpenStream { cursor, start, asked_at, has_answered: false }
            }
        };
        let (cursor, batch) = next_batch(stream.cursor).await?;
        stream.cursor = cursor;
        // The cursor has ended: the database was dropped.
        let Some(batch) = batch else {
            self.lose_position();
            return Ok(Vec::new());
        };
        let mut batch = Batch::read(&batch)?;
        if !stream.has_answered && stream.start.is_some_and(|start| batch.server_time < start) {
            tracing::warn!("the database is an earlier state of itself");
            self.lose_position();
            return Ok(Vec::new());
        }
        stream.has_answered = true;
        // The token of a stream that has read nothing is that of its start: what happens at that
        // time is still to come.
        let start = *stream.start.get_or_insert(batch.confirmed.unwrap_or(batch.server_time + 1));
        let has_events = !batch.events.is_empty();
        let is_read = |time: &u64| has_events || *time > start;
        batch.confirmed = batch.confirmed.filter(is_read).or(start.checked_sub(1));
        let mut events = self.events(batch, stream.asked_at);
        let now = Instant::now();
        let suspended = self.suspend_collections(now);
        let is_needed = suspended.is_empty() && !self.has_ended_pauses(now);
        events.extend(suspended);
        stream.asked_at = now;
        self.stream = is_needed.then_some(stream);
        Ok(events)
    }

    /// Forgets the position: changes may have been missed.
    fn lose_position(&mut self) {
        self.position = None;
        self.reset = self.collections.iter().map(|collection| collection.name).collect();
    }

    /// Opens a stream. The future does not borrow the feed, whose stream no two threads may share.
    fn open(&self) -> impl Future<Output = Result<RawBatchCursor>> + Send + use<> {
        let mut options = Document::new();
        if let Some(position) = self.position {
            // Changes of that time are reported again, which does no harm.
            options.insert("startAtOperationTime", timestamp(position));
        }
        let mut pipeline = vec![doc! { "$changeStream": options }];
        pipeline.extend(stages(&self.watched()));
        let database = self.database.clone();
        let opened = async move {
            let stream = database.aggregate(pipeline).batch_size(BATCH_SIZE);
            let stream = stream.max_await_time(MAX_AWAIT_TIME);
            stream.read_concern(ReadConcern::majority()).batch().await
        };
        with_time_limit(READ_TIMEOUT, opened.with_context(without_telemetry()))
    }

    /// Returns the collections whose changes are not suspended.
    fn watched(&self) -> Vec<WatchedCollection> {
        let is_watched = |one: &&WatchedCollection| {
            self.floods.get(one.name).is_none_or(|flood| flood.suspended_until.is_none())
        };
        self.collections.iter().filter(is_watched).copied().collect()
    }

    fn events(&mut self, batch: Batch, asked_at: Instant) -> Vec<FeedEvent> {
        let Batch { events, confirmed, server_time } = batch;
        let mut position = self.position.unwrap_or(confirmed.unwrap_or(server_time));
        let mut reported = Vec::with_capacity(events.len() + 1);
        if !self.reset.is_empty() {
            let collections = std::mem::take(&mut self.reset);
            reported.push(FeedEvent::Reset { at: position, collections });
        }
        for event in events {
            position = position.max(event.at.saturating_sub(1));
            let name = event.collection.as_str();
            let collection = self.collections.iter().find(|one| one.name == name);
            match event.content {
                Content::Document(id, kind, document) => {
                    let Some(collection) = collection.map(|one| one.name) else { continue };
                    let flood = self.floods.entry(collection);
                    flood.or_insert_with(|| Flood::new(asked_at)).count(asked_at);
                    let Event { at, wall_time, .. } = event;
                    let change = Change { at, wall_time, collection, id, kind, document };
                    reported.push(FeedEvent::Changed(change));
                }
                Content::Collection { other } => {
                    let is_named = |one: &&WatchedCollection| {
                        one.name == name || other.as_ref().is_some_and(|other| other == one.name)
                    };
                    let named = self.collections.iter().filter(is_named);
                    let collections: Vec<_> = named.map(|one| one.name).collect();
                    if !collections.is_empty() {
                        reported.push(FeedEvent::Reset { at: event.at, collections });
                    }
                }
            }
        }
        let position = position.max(confirmed.unwrap_or_default());
        self.position = Some(position);
        reported.push(FeedEvent::Confirmed { at: position, since: asked_at });
        reported
    }

    /// Suspends the collections with too many changes, and returns the events that say so.
    fn suspend_collections(&mut self, now: Instant) -> Vec<FeedEvent> {
        let mut suspended = Vec::new();
        for (collection, flood) in &mut self.floods {
            if flood.is_flooded() && flood.suspended_until.is_none() {
                flood.suspend(now);
                suspended.push(FeedEvent::Suspended { collection });
            }
        }
        suspended
    }

    /// Returns `true` if a collection has been suspended for long enough.
    fn has_ended_pauses(&self, now: Instant) -> bool {
        self.floods.values().any(|flood| flood.suspended_until.is_some_and(|until| until <= now))
    }

    /// Includes the collections that have been suspended for long enough in the next stream.
    fn resume_collections(&mut self, now: Instant) {
        for (collection, flood) in &mut self.floods {
            if flood.suspended_until.is_some_and(|until| until <= now) {
                flood.resume(now);
                self.reset.push(collection);
            }
        }
    }
}

/// Returns the stages that select the events of the collections. The server evaluates conditions as
/// simple as these on its log (MongoDB 6.0, "Change Streams Production Recommendations").
fn stages(collections: &[WatchedCollection]) -> [Document; 2] {
    let names: Vec<_> = collections.iter().map(|collection| collection.name).collect();
    let is_relevant = doc! { "$or": [
        { "ns.coll": { "$in": &names } },
        { "to.coll": { "$in": names } },
        { "operationType": { "$in": ["dropDatabase", "invalidate"] } },
    ] };
    let names_of_fields = doc! { "$map": {
        "input": { "$objectToArray": "$updateDescription.updatedFields" },
        "in": "$$this.k",
    } };
    let mut shown = doc! {
        "operationType": 1, "ns": 1, "to": 1, "documentKey._id": 1, "clusterTime": 1, "wallTime": 1,
        "updated": names_of_fields,
        "updateDescription.removedFields": 1, "updateDescription.truncatedArrays.field": 1,
    };
    for field in collections.iter().flat_map(|collection| collection.fields) {
        shown.insert(format!("fullDocument.{field}"), 1);
    }
    [doc! { "$match": is_relevant }, doc! { "$project": shown }]
}

/// Returns the next batch, and the cursor. The batch is `None` if the cursor has ended.
async fn next_batch(mut cursor: RawBatchCursor) -> Result<(RawBatchCursor, Option<RawBatch>)> {
    let next = async move {
        let batch = cursor.next().await.transpose()?;
        Ok((cursor, batch))
    };
    with_time_limit(READ_TIMEOUT, next.with_context(without_telemetry())).await
}

/// Returns a context without traces: 40 commands a second would hide those of requests.
fn without_telemetry() -> Context {
    Context::new().with_telemetry_suppressed()
}

fn is_history_lost(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if HISTORY_LOST.contains(&error.code))
}

/// A batch of events.
struct Batch {
    events: Vec<Event>,
    /// The time up to which the events are complete, if the server names it.
    confirmed: Option<u64>,
    /// The time of the server.
    server_time: u64,
}

struct Event {
    at: u64,
    wall_time: Option<DateTime>,
    collection: String,
    content: Content,
}

enum Content {
    Document(Option<String>, ChangeKind, Option<RawDocumentBuf>),
    /// The collection was dropped or renamed, or something else has happened to it.
    Collection {
        /// Its new name.
        other: Option<String>,
    },
}

impl Batch {
    fn read(batch: &RawBatch) -> Result<Self> {
        let reply = batch.as_raw_document();
        let mut events = Vec::new();
        let mut last_token = None;
        for event in batch.doc_slices()? {
            let event =
                event?.as_document().ok_or_else(|| Error::custom("an event is no document"))?;
            last_token = event.get_document("_id").ok().map(RawDocument::as_bytes);
            events.extend(Event::read(event));
        }
        let cursor = reply.get_document("cursor").map_err(Error::custom)?;
        let token = cursor.get_document("postBatchResumeToken").ok();
        // The token of the last event says nothing of others with the same time, unless the server has
        // sent all that there were.
        let is_complete = last_token.is_none()
            || token.map(RawDocument::as_bytes) != last_token
            || (events.len() < BATCH_SIZE as usize && reply.as_bytes().len() < SMALL_BATCH_BYTES);
        let time = token.and_then(|token| token_time(token.get_str("_data").ok()?));
        let confirmed = time.map(|time| if is_complete { time } else { time.saturating_sub(1) });
        let server_time = reply.get_timestamp("operationTime").map_err(Error::custom)?;
        Ok(Self { events, confirmed, server_time: cluster_time(server_time) })
    }
}

/// Returns the time of a resume token, or `None` for a token of another format.
///
/// Its text is the hexadecimal form of a key whose first part is a timestamp: the byte 0x82, then the
/// seconds and the ordinal, both in 4 bytes ("KeyString" in the source code of MongoDB 4.0 to 8.x). If
/// that should change, the position follows from the events alone.
fn token_time(data: &str) -> Option<u64> {
    u64::from_str_radix(data.strip_prefix("82")?.get(..16)?, 16).ok()
}

impl Event {
    /// Reads an event. Returns `None` for one without a time or a collection.
    fn read(event: &RawDocument) -> Option<Self> {
        let at = cluster_time(event.get_timestamp("clusterTime").ok()?);
        let name = |field| event.get_document(field).ok()?.get_str("coll").ok().map(str::to_owned);
        let kind = match event.get_str("operationType").ok()? {
            "insert" => Some(ChangeKind::Inserted),
            "replace" => Some(ChangeKind::Replaced),
            "update" => Some(ChangeKind::Updated { fields: updated_fields(event) }),
            "delete" => Some(ChangeKind::Deleted),
            _ => None,
        };
        let content = match kind {
            None => Content::Collection { other: name("to") },
            Some(kind) => {
                let id = event.get_document("documentKey").ok();
                let id = id.and_then(|key| key.get("_id").ok().flatten());
                let document = event.get_document("fullDocument").ok().map(RawDocument::to_owned);
                Content::Document(id.and_then(|id| stored_id_text(id).ok()), kind, document)
            }
        };
        let wall_time = event.get_datetime("wallTime").ok();
        Some(Self { at, wall_time, collection: name("ns")?, content })
    }
}

/// Returns the names of the fields of the document itself that an update has set, removed or shortened.
fn updated_fields(event: &RawDocument) -> Vec<String> {
    let mut fields = Vec::new();
    let mut add = |path: &str| {
        let field = path.split('.').next().unwrap_or(path);
        if !fields.iter().any(|known| known == field) {
            fields.push(field.to_owned());
        }
    };
    for path in event.get_array("updated").into_iter().flatten().flatten() {
        path.as_str().into_iter().for_each(&mut add);
    }
    if let Ok(description) = event.get_document("updateDescription") {
        for path in description.get_array("removedFields").into_iter().flatten().flatten() {
            path.as_str().into_iter().for_each(&mut add);
        }
        for array in description.get_array("truncatedArrays").into_iter().flatten().flatten() {
            if let RawBsonRef::Document(array) = array {
                array.get_str("field").ok().into_iter().for_each(&mut add);
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_resume_token_is_read_from_its_first_bytes() {
        let token = "8265A1B2C30000000F2B0429296E1404";
        assert_eq!(token_time(token), Some((0x65A1_B2C3 << 32) | 15));
        assert_eq!(timestamp((7 << 32) | 9), Timestamp { time: 7, increment: 9 });
        for other in ["", "82", "8265A1B2C3", "8365A1B2C30000000F2B", "82ZZA1B2C30000000F2B"] {
            assert_eq!(token_time(other), None, "{other}");
        }
    }

    #[test]
    fn the_pause_of_a_collection_grows_while_its_changes_do_not_end() {
        let mut now = Instant::now();
        let mut flood = Flood::new(now);
        let count = |flood: &mut Flood, events, now| {
            (0..events).for_each(|_| flood.count(now));
            flood.is_flooded()
        };
        assert!(!count(&mut flood, FLOOD_EVENTS, now));
        assert!(count(&mut flood, 1, now));
        let mut pauses = Vec::new();
        for _ in 0..7 {
            flood.suspend(now);
            let until = flood.suspended_until.unwrap();
            pauses.push((until - now).as_millis());
            now = until;
            flood.resume(now);
            assert!(count(&mut flood, FLOOD_EVENTS + 1, now));
        }
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        // Few changes are none too many, however long they last.
        flood.resume(now);
        for _ in 0..200 {
            now += FLOOD_WINDOW;
            assert!(!count(&mut flood, FLOOD_EVENTS, now));
        }
        flood.suspend(now);
        assert_eq!(flood.suspended_until, Some(now + FLOOD_PAUSES[0]));
    }
}
