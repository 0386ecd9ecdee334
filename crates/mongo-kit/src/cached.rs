//! A value read from a collection, kept until the collection changes.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use mongodb::error::Error;
use tokio::sync::Mutex;

use crate::{Stamp, Watch};

/// How long changes are gathered before a value that may be stale is read anew, so that a burst of
/// writes costs one read.
const GATHER: Duration = Duration::from_millis(200);

/// A value read from a collection, kept until the collection changes.
///
/// A value may be served for as long as `tolerance` after a change, while a new one is read in the
/// background; after that a caller waits for the new one.
#[derive(Debug)]
pub struct Cached<T> {
    watch: Watch,
    tolerance: Duration,
    value: RwLock<Option<(Stamp, T)>>,
    /// Held while the value is being read: one reader at a time, the others wait for its result.
    reading: Mutex<()>,
}

impl<T: Clone + Send + Sync + 'static> Cached<T> {
    /// An empty cache of something that is read from the watched collection.
    pub fn new(watch: Watch, tolerance: Duration) -> Arc<Self> {
        let (value, reading) = (RwLock::new(None), Mutex::new(()));
        Arc::new(Self { watch, tolerance, value, reading })
    }

    /// The value, by `read` where there is none that is current enough.
    ///
    /// A read that was begun is finished even if the caller leaves: the next one needs it.
    pub async fn get<F>(self: &Arc<Self>, read: F) -> mongodb::error::Result<T>
    where
        F: Future<Output = mongodb::error::Result<T>> + Send + 'static,
    {
        match self.stored() {
            Stored::Current(value) => Ok(value),
            Stored::Stale { value, refresh } => {
                if refresh && self.reading.try_lock().is_ok() {
                    drop(tokio::spawn(self.clone().read(read)));
                }
                Ok(value)
            }
            Stored::Nothing => {
                tokio::spawn(self.clone().read(read)).await.map_err(Error::custom)?
            }
        }
    }

    async fn read<F>(self: Arc<Self>, read: F) -> mongodb::error::Result<T>
    where
        F: Future<Output = mongodb::error::Result<T>>,
    {
        let _one_at_a_time = self.reading.lock().await;
        if let Stored::Current(value) | Stored::Stale { value, refresh: false } = self.stored() {
            return Ok(value);
        }
        let stamp = self.watch.stamp().await?;
        let value = read.await?;
        let mut stored = self.value.write().unwrap_or_else(PoisonError::into_inner);
        *stored = Some((stamp, value.clone()));
        Ok(value)
    }

    fn stored(&self) -> Stored<T> {
        let stored = self.value.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((stamp, value)) = stored else { return Stored::Nothing };
        match stamp.changed_at().map(|changed| changed.elapsed()) {
            None => Stored::Current(value),
            Some(age) if age < self.tolerance => Stored::Stale { value, refresh: age >= GATHER },
            _ => Stored::Nothing,
        }
    }
}

/// What the cache has to offer.
enum Stored<T> {
    /// A value that nothing has changed since.
    Current(T),
    /// A value that may be served for a moment longer.
    Stale { value: T, refresh: bool },
    /// Nothing that may be served.
    Nothing,
}
