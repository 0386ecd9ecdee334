//! Knowing that a collection has not changed since it was read.
//!
//! A change stream is opened when something is to be cached and closed at the first change, so
//! that a busy writer costs one event a cached read, and a collection that nobody reads costs none.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use mongodb::{
    Database,
    bson::{RawDocumentBuf, doc},
    change_stream::ChangeStream,
};
use tokio::sync::Mutex;

/// Watches one collection for the next change.
#[derive(Debug, Clone)]
pub struct Watch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    collection: &'static str,
    /// The stamp of the change stream that was opened last; held while one is being opened.
    latest: Mutex<Option<Stamp>>,
}

/// A moment from which on a collection is being watched, and the time of the first change since.
#[derive(Debug, Clone, Default)]
pub struct Stamp(Arc<OnceLock<Instant>>);

impl Stamp {
    /// When the first change since this moment became known; none while nothing has changed.
    pub fn changed_at(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}

impl Watch {
    /// Watches this collection, which need not exist yet.
    pub fn new(database: &Database, collection: &'static str) -> Self {
        let latest = Mutex::new(None);
        Self(Arc::new(Inner { database: database.clone(), collection, latest }))
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
            // The resume token alone: what changed does not matter.
            .pipeline([doc! { "$project": { "_id": 1 } }])
            .await?
            .with_type::<RawDocumentBuf>();
        let stamp = Stamp::default();
        *latest = Some(stamp.clone());
        tokio::spawn(wait_for_change(stream, stamp.clone()));
        Ok(stamp)
    }
}

/// Ends at the first event and at the first error alike: after an error nobody knows.
async fn wait_for_change(mut stream: ChangeStream<RawDocumentBuf>, stamp: Stamp) {
    while let Ok(None) = stream.next_if_any().await {
        if !stream.is_alive() {
            break;
        }
    }
    // Set once: this task alone holds the right to.
    let _ = stamp.0.set(Instant::now());
}
