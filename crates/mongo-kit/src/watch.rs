//! Detects whether a collection has changed since it was read.
//!
//! A change stream is opened when a value is to be cached and closed at the first relevant change, so
//! that a busy writer causes one event for each cached read, and a collection that is not read causes
//! none.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use mongodb::{
    Database,
    bson::{Document, RawDocumentBuf, doc},
    change_stream::ChangeStream,
};
use tokio::sync::Mutex;

use crate::{is_transient, with_time_limit};

/// The time that the server waits for a change before it answers. Each answer is an operation on the
/// collection: with the default of a second, a site with many idle replicas would look as if it were
/// in use.
const MAX_AWAIT_TIME: Duration = Duration::from_secs(60);

/// The time limit for opening a change stream, for which all readers of the collection wait: as long as
/// the driver looks for a primary.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// Watches one collection for the next change.
#[derive(Debug, Clone)]
pub struct Watch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    collection: &'static str,
    /// The relevant fields, or none if every change is relevant.
    fields: &'static [&'static str],
    /// The stamp of the change stream that was opened last; held while one is being opened.
    latest: Mutex<Option<Stamp>>,
}

/// A moment from which on a collection is being watched, and the end of that.
#[derive(Debug, Clone)]
pub struct Stamp(Vec<Arc<OnceLock<End>>>);

/// The end of a change stream.
#[derive(Debug, Clone, Copy)]
struct End {
    at: Instant,
    /// `true` if the stream failed without reporting a change.
    is_failure: bool,
}

impl Stamp {
    /// Returns the time of the first change since this moment, or of the failure after which changes
    /// are unknown. Returns `None` if nothing has changed.
    pub fn changed_at(&self) -> Option<Instant> {
        self.ends().map(|end| end.at).min()
    }

    /// Returns `true` if changes since this moment are unknown, and none is known.
    pub fn is_unknown(&self) -> bool {
        let mut ends = self.ends().peekable();
        ends.peek().is_some() && ends.all(|end| end.is_failure)
    }

    fn ends(&self) -> impl Iterator<Item = End> {
        self.0.iter().filter_map(|end| end.get().copied())
    }

    /// Returns the stamp of a value that was read from two collections: it changes with either.
    pub fn and(mut self, mut other: Self) -> Self {
        self.0.append(&mut other.0);
        self
    }
}

impl Watch {
    /// Returns a watch for all changes of a collection, which need not exist yet.
    pub fn new(database: &Database, collection: &'static str) -> Self {
        Self::of_fields(database, collection, &[])
    }

    /// Returns a watch for documents that are inserted, deleted or replaced, and for changes of these
    /// fields. A change within the value of a field (an element of an array) does not count.
    pub fn of_fields(
        database: &Database,
        collection: &'static str,
        fields: &'static [&'static str],
    ) -> Self {
        let latest = Mutex::new(None);
        Self(Arc::new(Inner { database: database.clone(), collection, fields, latest }))
    }

    /// Starts to watch the collection if it is not being watched. Values that are read from it after
    /// this returns are current until the stamp has changed.
    pub async fn stamp(&self) -> mongodb::error::Result<Stamp> {
        let mut latest = self.0.latest.lock().await;
        if let Some(stamp) = latest.as_ref().filter(|stamp| stamp.changed_at().is_none()) {
            return Ok(stamp.clone());
        }
        let collection = self.0.database.collection::<RawDocumentBuf>(self.0.collection);
        let fields = self.0.fields;
        let opened = async move {
            // The stream is closed after the first event.
            let stream = collection.watch().pipeline(pipeline(fields)).batch_size(1);
            stream.max_await_time(MAX_AWAIT_TIME).await
        };
        let stream = with_time_limit(OPEN_TIMEOUT, opened).await?.with_type::<RawDocumentBuf>();
        let end = Arc::new(OnceLock::new());
        let stamp = Stamp(vec![end.clone()]);
        *latest = Some(stamp.clone());
        tokio::spawn(wait_for_change(stream, end));
        Ok(stamp)
    }
}

/// Returns the pipeline of the change stream. The server evaluates conditions as simple as these on
/// its log (MongoDB 6.0, "Change Streams Production Recommendations"). For a computed condition it
/// decodes each event first, which is slower than a backfill writes.
fn pipeline(fields: &[&str]) -> Vec<Document> {
    // The resume token only: the content of the change is not used.
    let token = doc! { "$project": { "_id": 1 } };
    if fields.is_empty() {
        return vec![token];
    }
    let written = fields.iter().map(|field| {
        let path = format!("updateDescription.updatedFields.{field}");
        doc! { path: { "$exists": true } }
    });
    let mut relevant = vec![
        doc! { "operationType": { "$ne": "update" } },
        doc! { "updateDescription.removedFields": { "$in": fields } },
    ];
    relevant.extend(written);
    vec![doc! { "$match": { "$or": relevant } }, token]
}

/// Waits for the first event, or for the first error, after which changes are unknown.
async fn wait_for_change(mut stream: ChangeStream<RawDocumentBuf>, end: Arc<OnceLock<End>>) {
    let is_failure = loop {
        match stream.next_if_any().await {
            Ok(None) if stream.is_alive() => {}
            Ok(_) => break false,
            Err(error) => break is_transient(&error),
        }
    };
    // Only this task sets it, once.
    let _ = end.set(End { at: Instant::now(), is_failure });
}
