//! A cache that the process can empty after its own writes.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use mongo_kit::{Cached, Watch};
use mongodb::{Database, error::Result};

/// A value that is read from a collection and kept until the collection changes.
///
/// A process clears the cache after its own writes, so that it does not have to wait for the change
/// stream to report them.
#[derive(Debug)]
pub(super) struct Cache<T: Clone> {
    database: Database,
    collection: &'static str,
    cached: RwLock<Arc<Cached<T>>>,
}

impl<T: Clone + Send + Sync + 'static> Cache<T> {
    pub(super) fn new(database: &Database, collection: &'static str) -> Self {
        let cached = RwLock::new(Self::empty(database, collection));
        Self { database: database.clone(), collection, cached }
    }

    /// No value is answered after its change is known: navigations are shown on every page.
    fn empty(database: &Database, collection: &'static str) -> Arc<Cached<T>> {
        Cached::new(Watch::new(database, collection), Duration::ZERO)
    }

    /// Returns the cached value, or reads it.
    pub(super) async fn get(
        &self,
        read: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let cached = self.cached.read().unwrap_or_else(PoisonError::into_inner).clone();
        cached.get(read).await
    }

    /// Discards the cached value.
    pub(super) fn clear(&self) {
        let empty = Self::empty(&self.database, self.collection);
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = empty;
    }
}
