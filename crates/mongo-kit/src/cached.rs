//! A value read from a collection, kept until the collection changes.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use mongodb::error::Error;

use crate::{Stamp, Watch};

/// The number of reads that must fit into the rest of the tolerance. A stale value is read again after
/// half of the tolerance, so that a busy writer causes few reads, or earlier if the rest is shorter
/// than this many reads.
const READS_IN_TIME: u32 = 3;

/// A read that is under way, shared by all callers that wait for it.
type Flight<T> = Shared<BoxFuture<'static, Result<T, Error>>>;

/// A value read from a collection, kept until the collection changes.
///
/// A value may be served for as long as `tolerance` after a change, while a new one is read in the
/// background; after that a caller waits for the new one.
pub struct Cached<T: Clone> {
    watch: Watch,
    tolerance: Duration,
    value: RwLock<Option<Value<T>>>,
    flight: Mutex<Option<Flight<T>>>,
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
        let (value, flight) = (RwLock::new(None), Mutex::new(None));
        Arc::new(Self { watch, tolerance, value, flight })
    }

    /// Returns the value. Calls `read` if there is no value that is current enough.
    ///
    /// Concurrent callers share one read and its error. A read that has begun is finished even if
    /// all callers leave, for the next one.
    pub async fn get<F>(self: &Arc<Self>, read: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut read = Some(read);
        match self.stored() {
            Stored::Current(value) | Stored::Stale { value, refresh: false } => return Ok(value),
            Stored::Stale { value, refresh: true } => {
                // It continues on a task of its own.
                drop(self.join_or_start(&mut read));
                return Ok(value);
            }
            Stored::Nothing => {}
        }
        let result = self.join_or_start(&mut read).await;
        if read.is_none() || result.is_err() {
            return result;
        }
        // The read of another caller may have begun before a change that this caller knows of. The
        // read after it has not.
        match self.stored() {
            Stored::Current(value) | Stored::Stale { value, .. } => Ok(value),
            Stored::Nothing => self.join_or_start(&mut read).await,
        }
    }

    /// Returns the read that is under way, or takes and begins this one.
    fn join_or_start<F>(self: &Arc<Self>, read: &mut Option<F>) -> Flight<T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut flight = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = flight.as_ref().filter(|flight| flight.peek().is_none());
        match (under_way, read.take()) {
            (Some(under_way), unused) => {
                *read = unused;
                under_way.clone()
            }
            (None, Some(read)) => {
                let task = tokio::spawn(self.clone().read(read));
                let started = task.map(|ended| {
                    ended.unwrap_or_else(|panic| Err(Error::custom(panic.to_string())))
                });
                flight.insert(started.boxed().shared()).clone()
            }
            (None, None) => {
                let nothing = Err(Error::custom("nothing to read"));
                std::future::ready(nothing).boxed().shared()
            }
        }
    }

    async fn read<F>(self: Arc<Self>, read: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let result = self.read_and_store(read).await;
        // If no caller waits, the flight itself is not polled and does not show that it is over.
        *self.flight.lock().unwrap_or_else(PoisonError::into_inner) = None;
        result
    }

    async fn read_and_store<F>(&self, read: F) -> Result<T, Error>
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
