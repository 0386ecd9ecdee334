//! A value read from a collection, kept until the collection changes.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use mongodb::error::Error;

use crate::{Stamp, Watch, is_transient, with_time_limit};

/// The number of reads that must fit into the rest of the tolerance. A stale value is read again after
/// half of the tolerance, so that a busy writer causes few reads, or earlier if the rest is shorter
/// than this many reads.
const READS_IN_TIME: u32 = 3;

/// The time limit of a read: as long as a request waits for the database. A read that takes longer
/// stores its value all the same.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for which callers wait for a read if the watch of the value has failed. A read takes a few
/// milliseconds, unless the database is unavailable.
const UNKNOWN_WAIT: Duration = Duration::from_millis(300);

/// A read that is under way, shared by all callers that wait for it.
type Flight<T> = Shared<BoxFuture<'static, Result<T, Error>>>;

/// A value read from a collection, kept until the collection changes.
///
/// A value may be served for as long as `tolerance` after a change, while a new one is read in the
/// background; after that a caller waits for the new one.
///
/// If the database becomes unavailable, the value is served until it answers again
/// ([ADR 0021](../../../docs/adr/0021-time-limits-of-requests.md)). A value of which a change is known
/// is not.
pub struct Cached<T: Clone> {
    watch: Watch,
    tolerance: Duration,
    value: RwLock<Option<Value<T>>>,
    reads: Mutex<Reads<T>>,
}

/// The reads of a value.
struct Reads<T> {
    /// The read that is under way, and its start.
    flight: Option<(Flight<T>, Instant)>,
    /// The time at which the last read failed for want of a database, if it did.
    failed_at: Option<Instant>,
}

impl<T> Reads<T> {
    /// Returns the time that a caller should wait for the read under way although it could get an
    /// earlier value: none while the database is known not to answer.
    fn patience(&self) -> Duration {
        if self.failed_at.is_some_and(|at| at.elapsed() < READ_TIMEOUT) {
            return Duration::ZERO;
        }
        let waited = self.flight.as_ref().map(|(_, began)| began.elapsed());
        UNKNOWN_WAIT.saturating_sub(waited.unwrap_or_default())
    }
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
        let reads = Mutex::new(Reads { flight: None, failed_at: None });
        Arc::new(Self { watch, tolerance, value: RwLock::new(None), reads })
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
            Stored::Unknown(value) => {
                let flight = self.join_or_start(&mut read);
                let patience = self.reads().patience();
                return match tokio::time::timeout(patience, flight).await {
                    Ok(Ok(value)) => Ok(value),
                    Ok(Err(error)) if !is_transient(&error) => Err(error),
                    _ => Ok(value),
                };
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
            Stored::Current(value) | Stored::Stale { value, .. } | Stored::Unknown(value) => {
                Ok(value)
            }
            Stored::Nothing => self.join_or_start(&mut read).await,
        }
    }

    /// Returns the read that is under way, or takes and begins this one.
    fn join_or_start<F>(self: &Arc<Self>, read: &mut Option<F>) -> Flight<T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut reads = self.reads();
        let under_way = reads.flight.as_ref().filter(|(flight, _)| flight.peek().is_none());
        match (under_way, read.take()) {
            (Some((under_way, _)), unused) => {
                *read = unused;
                under_way.clone()
            }
            (None, Some(read)) => {
                let task = tokio::spawn(self.clone().read(read));
                let started = task.map(|ended| {
                    ended.unwrap_or_else(|panic| Err(Error::custom(panic.to_string())))
                });
                let flight = started.boxed().shared();
                reads.flight = Some((flight.clone(), Instant::now()));
                flight
            }
            (None, None) => {
                let nothing = Err(Error::custom("nothing to read"));
                std::future::ready(nothing).boxed().shared()
            }
        }
    }

    async fn read<F>(self: Arc<Self>, read: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        // Otherwise all callers would wait for a read from a server that is frozen, although there is
        // a new primary.
        let result = with_time_limit(READ_TIMEOUT, self.clone().read_and_store(read)).await;
        let is_unavailable = result.as_ref().is_err_and(is_transient);
        // If no caller waits, the flight itself is not polled and does not show that it is over.
        *self.reads() = Reads { flight: None, failed_at: is_unavailable.then(Instant::now) };
        result
    }

    async fn read_and_store<F>(self: Arc<Self>, read: F) -> Result<T, Error>
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

    fn reads(&self) -> MutexGuard<'_, Reads<T>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored(&self) -> Stored<T> {
        let stored = self.value.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Value { value, stamp, taken }) = stored else { return Stored::Nothing };
        if stamp.is_unknown() {
            return Stored::Unknown(value);
        }
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
    /// A value whose watch has failed. It is the current one as long as the database is unavailable.
    Unknown(T),
    /// No value that may be served.
    Nothing,
}

impl<T: Clone> std::fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cached").field("watch", &self.watch).finish_non_exhaustive()
    }
}
