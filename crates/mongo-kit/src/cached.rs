//! A value read from a collection, kept until the collection changes.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use mongodb::error::Error;

use crate::{Flight, SingleFlight, Stamp, Watch, is_transient, with_time_limit};

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
    reads: SingleFlight<Result<T, Error>>,
    /// The time at which the last read failed for want of a database, if it did.
    failed_at: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Value<T> {
    value: T,
    stamp: Stamp,
    /// The time of the stamp.
    stamped_at: Instant,
    /// The duration of the read.
    taken: Duration,
}

impl<T: Clone + Send + Sync + 'static> Cached<T> {
    /// Returns an empty cache of a value that is read from the watched collection.
    pub fn new(watch: Watch, tolerance: Duration) -> Arc<Self> {
        let (value, failed_at) = (RwLock::new(None), Mutex::new(None));
        Arc::new(Self { watch, tolerance, value, reads: SingleFlight::new(), failed_at })
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
                drop(self.reads.join_or_start(read));
                return Ok(value);
            }
            Stored::Unknown(value) => {
                let (flight, _) = self.reads.join_or_start(read);
                return match tokio::time::timeout(self.patience(&flight), flight).await {
                    Ok(Some(Ok(value))) => Ok(value),
                    Ok(Some(Err(error))) if !is_transient(&error) => Err(error),
                    _ => Ok(value),
                };
            }
            Stored::Nothing => {}
        }
        let (flight, unused) = self.reads.join_or_start(read);
        let result = flight.await.unwrap_or_else(panicked);
        let Some(read) = unused.filter(|_| result.is_ok()) else { return result };
        // The read of another caller may have begun before a change that this caller knows of. The
        // read after it has not.
        match self.stored() {
            Stored::Current(value) | Stored::Stale { value, .. } | Stored::Unknown(value) => {
                Ok(value)
            }
            Stored::Nothing => self.reads.join_or_start(read).0.await.unwrap_or_else(panicked),
        }
    }

    /// Returns the time that a caller should wait for the read under way although it could get an
    /// earlier value: none while the database is known not to answer.
    fn patience(&self, flight: &Flight<Result<T, Error>>) -> Duration {
        let failed_at = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if failed_at.is_some_and(|at| at.elapsed() < READ_TIMEOUT) {
            return Duration::ZERO;
        }
        UNKNOWN_WAIT.saturating_sub(flight.started_at().elapsed())
    }

    async fn read<F>(self: Arc<Self>, read: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        // Otherwise all callers would wait for a read from a server that is frozen, although there is
        // a new primary.
        let result = with_time_limit(READ_TIMEOUT, self.clone().read_and_store(read)).await;
        let is_unavailable = result.as_ref().is_err_and(is_transient);
        let failed_at = is_unavailable.then(Instant::now);
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = failed_at;
        result
    }

    async fn read_and_store<F>(self: Arc<Self>, read: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let began = Instant::now();
        let stamp = self.watch.stamp().await?;
        let stamped_at = Instant::now();
        let value = read.await?;
        let read = Value { value: value.clone(), stamp, stamped_at, taken: began.elapsed() };
        let mut stored = self.value.write().unwrap_or_else(PoisonError::into_inner);
        // A read that took longer than its time limit may end after the one that followed it.
        if stored.as_ref().is_none_or(|stored| stored.stamped_at <= stamped_at) {
            *stored = Some(read);
        }
        Ok(value)
    }

    fn stored(&self) -> Stored<T> {
        let stored = self.value.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Value { value, stamp, taken, .. }) = stored else { return Stored::Nothing };
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

fn panicked<T>() -> Result<T, Error> {
    Err(Error::custom("the read of a cached value panicked"))
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
