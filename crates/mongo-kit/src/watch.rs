//! Knowing that a collection has not changed since it was read.
//!
//! A change stream is opened when something is to be cached and closed at the first change that
//! matters, so that a busy writer costs one event a cached read, and a collection that nobody has
//! read costs none.

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

/// How long the server waits for a change before it answers that there is none. Each answer is an
/// operation on the collection: a server of many idle replicas would look like one in use if they
/// asked every second, as they do unless told otherwise.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Watches one collection for the next change.
#[derive(Debug, Clone)]
pub struct Watch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    collection: &'static str,
    /// What matters; every change where none are given.
    fields: &'static [&'static str],
    /// The stamp of the change stream that was opened last; held while one is being opened.
    latest: Mutex<Option<Stamp>>,
}

/// A moment from which on a collection is being watched, and the time of the first change since.
#[derive(Debug, Clone)]
pub struct Stamp(Vec<Arc<OnceLock<Instant>>>);

impl Stamp {
    /// When the first change since this moment became known; none while nothing has changed.
    pub fn changed_at(&self) -> Option<Instant> {
        self.0.iter().filter_map(|changed| changed.get().copied()).min()
    }

    /// Of an answer whose parts were read after one or the other: it changes with either.
    pub fn and(mut self, mut other: Self) -> Self {
        self.0.append(&mut other.0);
        self
    }
}

impl Watch {
    /// Watches this collection, which need not exist yet.
    pub fn new(database: &Database, collection: &'static str) -> Self {
        Self::of_fields(database, collection, &[])
    }

    /// Watches for documents that come, go or are replaced, and for changes of these fields of the
    /// others. A change of what is within one (an element of a list) does not count.
    pub fn of_fields(
        database: &Database,
        collection: &'static str,
        fields: &'static [&'static str],
    ) -> Self {
        let latest = Mutex::new(None);
        Self(Arc::new(Inner { database: database.clone(), collection, fields, latest }))
    }

    /// Makes sure that the collection is being watched. What is read from it after this returns
    /// is current until the stamp says otherwise.
    pub async fn stamp(&self) -> mongodb::error::Result<Stamp> {
        let mut latest = self.0.latest.lock().await;
        if let Some(stamp) = latest.as_ref().filter(|stamp| stamp.changed_at().is_none()) {
            return Ok(stamp.clone());
        }
        let stream = self
            .0
            .database
            .collection::<RawDocumentBuf>(self.0.collection)
            .watch()
            .pipeline(pipeline(self.0.fields))
            // The first event is the last one.
            .batch_size(1)
            .max_await_time(LONGEST_WAIT)
            .await?
            .with_type::<RawDocumentBuf>();
        let changed = Arc::new(OnceLock::new());
        let stamp = Stamp(vec![changed.clone()]);
        *latest = Some(stamp.clone());
        tokio::spawn(wait_for_change(stream, changed));
        Ok(stamp)
    }
}

/// The server looks for these conditions in its log itself, as long as they are as plain as this
/// (MongoDB 6.0, "Change Streams Production Recommendations"); for a computed one it takes each
/// event apart first, and a backfill outruns it.
fn pipeline(fields: &[&str]) -> Vec<Document> {
    // The resume token alone: what changed does not matter.
    let token = doc! { "$project": { "_id": 1 } };
    if fields.is_empty() {
        return vec![token];
    }
    let written = fields.iter().map(|field| {
        let path = format!("updateDescription.updatedFields.{field}");
        doc! { path: { "$exists": true } }
    });
    let mut matters = vec![
        doc! { "operationType": { "$ne": "update" } },
        doc! { "updateDescription.removedFields": { "$in": fields } },
    ];
    matters.extend(written);
    vec![doc! { "$match": { "$or": matters } }, token]
}

/// Ends at the first event and at the first error alike: after an error nobody knows.
async fn wait_for_change(
    mut stream: ChangeStream<RawDocumentBuf>,
    changed: Arc<OnceLock<Instant>>,
) {
    while let Ok(None) = stream.next_if_any().await {
        if !stream.is_alive() {
            break;
        }
    }
    // Set once: this task alone holds the right to.
    let _ = changed.set(Instant::now());
}
