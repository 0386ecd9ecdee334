//! A value read from a collection, kept until the collection changes.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use mongodb::error::Error;

use crate::{SingleFlight, Stamp, Watch};

/// The number of reads that must fit into the rest of the tolerance. A stale value is read again after
/// half of the tolerance, so that a busy writer causes few reads, or earlier if the rest is shorter
/// than this many reads.
const READS_IN_TIME: u32 = 3;

/// A value read from a collection, kept until the collection changes.
///
/// A value may be served for as long as `tolerance` after a change, while a new one is read in the
/// background; after that a caller waits for the new one.
pub struct Cached<T: Clone> {
    watch: Watch,
    tolerance: Duration,
    value: RwLock<Option<Value<T>>>,
    flight: SingleFlight<Result<T, Error>>,
}

#[derive(Clone)]
struct Value<T> {
    value: T,
    stamp: Stamp,
    /// The duration of the read.
    taken: Duration,
}

impl<T: Clone + Send + Sync + 'static> Cached<T> {
    /// Returns an empty cache of a value that is read from the watched collection.
    pub fn new(watch: Watch, tolerance: Duration) -> Arc<Self> {
        Arc::new(Self { watch, tolerance, value: RwLock::new(None), flight: SingleFlight::new() })
    }

    /// Returns the value. Calls `read` if there is no value that is current enough.
    ///
    /// Concurrent callers share one read and its error. A read that has begun is finished even if
    /// all callers leave, for the next one.
    pub async fn get<F>(self: &Arc<Self>, read: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let read = self.clone().read(read);
        match self.stored() {
            Stored::Current(value) | Stored::Stale { value, refresh: false } => return Ok(value),
            Stored::Stale { value, refresh: true } => {
                drop(self.flight.join_or_start(read));
                return Ok(value);
            }
            Stored::Nothing => {}
        }
        let (flight, unused) = self.flight.join_or_start(read);
        let result = flight.await.unwrap_or_else(panicked);
        let Some(read) = unused.filter(|_| result.is_ok()) else { return result };
        // The read of another caller may have begun before a change that this caller knows of. The
        // read after it has not.
        match self.stored() {
            Stored::Current(value) | Stored::Stale { value, .. } => Ok(value),
            Stored::Nothing => self.flight.join_or_start(read).0.await.unwrap_or_else(panicked),
        }
    }

    /// Reads the value and stores it.
    async fn read<F>(self: Arc<Self>, read: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let began = Instant::now();
        let stamp = self.watch.stamp().await?;
        let value = read.await?;
        let read = Value { value: value.clone(), stamp, taken: began.elapsed() };
        *self.value.write().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(value)
    }

    fn stored(&self) -> Stored<T> {
        let stored = self.value.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Value { value, stamp, taken }) = stored else { return Stored::Nothing };
        match stamp.changed_at().map(|changed| changed.elapsed()) {
            None => Stored::Current(value),
            Some(age) if age < self.tolerance => {
                let refresh =
                    age + (taken * READS_IN_TIME).max(self.tolerance / 2) >= self.tolerance;
                Stored::Stale { value, refresh }
            }
            _ => Stored::Nothing,
        }
    }
}

fn panicked<T>() -> Result<T, Error> {
    Err(Error::custom("the read of a cached value panicked"))
}

/// The content of the cache.
enum Stored<T> {
    /// A value that has not changed since it was read.
    Current(T),
    /// A value that has changed and may be served within the tolerance.
    Stale { value: T, refresh: bool },
    /// No value that may be served.
    Nothing,
}

impl<T: Clone> std::fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cached").field("watch", &self.watch).finish_non_exhaustive()
    }
}
