//! A value read from the database, kept until its keys change.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use models::changes::Revision;
use mongo_kit::{SingleFlight, is_transient, with_time_limit};
use mongodb::error::Error;

use super::{Changes, Knowledge, Validity};

/// The number of reads that must fit into the rest of the tolerance. A stale value is read again after
/// half of the tolerance, so that a busy writer causes few reads, or earlier if the rest is shorter
/// than this many reads.
const READS_IN_TIME: u32 = 3;

/// The time limit of a read: as long as a request waits for the database. A read that takes longer
/// stores its value all the same.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for which a caller waits for the present value although it could get a stale one: a read
/// from an index of an ordinary site takes a few milliseconds.
const STALE_WAIT: Duration = Duration::from_millis(200);

/// The time for which callers wait for a read if changes are not heard. A read takes a few
/// milliseconds, unless the database is unavailable.
const UNKNOWN_WAIT: Duration = Duration::from_millis(300);

/// A value read from the database, kept until its keys change.
///
/// While a read takes longer than callers should wait, a value may be served that was the present one
/// within the last `tolerance`.
///
/// If the database becomes unavailable, the value is served until it answers again
/// ([ADR 0021](../../../../docs/adr/0021-time-limits-of-requests.md)). A value of which a change is
/// known is not.
pub struct Cached<T: Clone> {
    changes: Changes,
    keys: Vec<String>,
    tolerance: Duration,
    created_at: Instant,
    value: RwLock<Option<Arc<Value<T>>>>,
    reads: SingleFlight<Result<Arc<Value<T>>, Error>>,
    /// The time at which the last read failed for want of a database, if it did.
    failed_at: Mutex<Option<Instant>>,
}

/// A value, and the state of the database that it includes at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read<T> {
    /// The value.
    pub value: T,
    /// The state.
    pub revision: Revision,
}

struct Value<T> {
    value: T,
    validity: Validity,
    read_at: Instant,
    /// The last moment at which it was known to be the present value, in nanoseconds after the creation.
    current_at: AtomicU64,
    /// The duration of the read.
    taken: Duration,
}

impl<T: Clone> Value<T> {
    fn to_read(&self) -> Read<T> {
        Read { value: self.value.clone(), revision: self.validity.revision }
    }
}

impl<T: Clone + Send + Sync + 'static> Cached<T> {
    /// Returns an empty cache of a value that depends on these keys.
    pub fn new(changes: &Changes, keys: Vec<String>, tolerance: Duration) -> Arc<Self> {
        Arc::new(Self {
            changes: changes.clone(),
            keys,
            tolerance,
            created_at: Instant::now(),
            value: RwLock::new(None),
            reads: SingleFlight::new(),
            failed_at: Mutex::new(None),
        })
    }

    /// Returns the value. Calls `read` if there is no value that is current enough.
    ///
    /// Concurrent callers share one read and its error. A read that has begun is finished even if
    /// all callers leave, for the next one.
    pub async fn get<F>(self: &Arc<Self>, read: F) -> Result<Read<T>, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let asked_at = Instant::now();
        let stored = self.value.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(stored) = stored else { return self.fetch(read, asked_at).await };
        let knowledge = self.changes.knowledge(&stored.validity);
        if let Knowledge::Current(revision) = knowledge {
            stored.current_at.store(self.nanoseconds(asked_at), Ordering::Relaxed);
            return Ok(Read { value: stored.value.clone(), revision });
        }
        let stale = stored.to_read();
        let current_at = Duration::from_nanos(stored.current_at.load(Ordering::Relaxed));
        let age = (asked_at - self.created_at).saturating_sub(current_at);
        if age < self.tolerance {
            let refresh =
                age + (stored.taken * READS_IN_TIME).max(self.tolerance / 2) >= self.tolerance;
            // As long as a read is quick, it is waited for.
            if stored.taken >= STALE_WAIT && !refresh {
                return Ok(stale);
            }
            // On a task of its own, which continues if this caller no longer waits.
            let this = self.clone();
            let fetched = tokio::spawn(async move { this.fetch(read, asked_at).await });
            return match tokio::time::timeout(STALE_WAIT, fetched).await {
                Ok(Ok(Ok(read))) => Ok(read),
                Ok(Ok(Err(error))) if !is_transient(&error) => Err(error),
                _ => Ok(stale),
            };
        }
        if knowledge == Knowledge::Changed {
            return self.fetch(read, asked_at).await;
        }
        let (flight, _) = self.reads.join_or_start(self.clone().read(read));
        let patience = self.patience(stored.taken).saturating_sub(flight.started_at().elapsed());
        match tokio::time::timeout(patience, flight).await {
            Ok(Some(Ok(value))) => Ok(value.to_read()),
            Ok(Some(Err(error))) if !is_transient(&error) => Err(error),
            _ => Ok(stale),
        }
    }

    /// Reads the value at this moment or later.
    async fn fetch<F>(self: &Arc<Self>, read: F, asked_at: Instant) -> Result<Read<T>, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (flight, unused) = self.reads.join_or_start(self.clone().read(read));
        let started_at = flight.started_at();
        let result = flight.await.unwrap_or_else(panicked);
        let result = match (result, unused) {
            // The read of another caller may have begun before a change that this caller knows of. The
            // read after it has not.
            (Ok(value), Some(read))
                if started_at < asked_at
                    && !matches!(
                        self.changes.knowledge(&value.validity),
                        Knowledge::Current(_)
                    ) =>
            {
                self.reads.join_or_start(read).0.await.unwrap_or_else(panicked)
            }
            (result, _) => result,
        };
        result.map(|value| value.to_read())
    }

    /// Returns the time that a caller should wait for a read although no change of the earlier value
    /// is known: none while the database is known not to answer.
    fn patience(&self, taken: Duration) -> Duration {
        let failed_at = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if failed_at.is_some_and(|at| at.elapsed() < READ_TIMEOUT) {
            return Duration::ZERO;
        }
        (taken * READS_IN_TIME).max(UNKNOWN_WAIT)
    }

    async fn read<F>(self: Arc<Self>, read: F) -> Result<Arc<Value<T>>, Error>
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

    async fn read_and_store<F>(self: Arc<Self>, read: F) -> Result<Arc<Value<T>>, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let read_at = Instant::now();
        let validity = self.changes.validity(self.keys.iter().map(String::as_str));
        let value = read.await?;
        let current_at = AtomicU64::new(self.nanoseconds(read_at));
        let taken = read_at.elapsed();
        let value = Arc::new(Value { value, validity, read_at, current_at, taken });
        let mut stored = self.value.write().unwrap_or_else(PoisonError::into_inner);
        // A read that took longer than its time limit may end after the one that followed it.
        if stored.as_ref().is_none_or(|stored| stored.read_at <= read_at) {
            *stored = Some(value.clone());
        }
        Ok(value)
    }

    fn nanoseconds(&self, moment: Instant) -> u64 {
        let elapsed = moment.saturating_duration_since(self.created_at);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }
}

fn panicked<T>() -> Result<T, Error> {
    Err(Error::custom("the read of a cached value panicked"))
}

impl<T: Clone> std::fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cached").field("keys", &self.keys).finish_non_exhaustive()
    }
}
