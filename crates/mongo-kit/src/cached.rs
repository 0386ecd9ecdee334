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

/// A value that may be stale is read anew when half of the tolerance is over, so that a busy writer
/// costs few reads; earlier where what is left is not this many times as long as the last read took.
const READS_IN_TIME: u32 = 3;

/// A read that is under way, and all who wait for it.
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
    /// How long it took to read.
    taken: Duration,
}

impl<T: Clone + Send + Sync + 'static> Cached<T> {
    /// An empty cache of something that is read from the watched collection.
    pub fn new(watch: Watch, tolerance: Duration) -> Arc<Self> {
        let (value, flight) = (RwLock::new(None), Mutex::new(None));
        Arc::new(Self { watch, tolerance, value, flight })
    }

    /// The value, by `read` where there is none that is current enough.
    ///
    /// Callers at the same time share one read, and its error. A read that was begun is finished
    /// even if all callers leave: the next one needs it.
    pub async fn get<F>(self: &Arc<Self>, read: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut read = Some(read);
        match self.stored() {
            Stored::Current(value) | Stored::Stale { value, refresh: false } => return Ok(value),
            Stored::Stale { value, refresh: true } => {
                // A task of its own: it goes on.
                drop(self.join_or_start(&mut read));
                return Ok(value);
            }
            Stored::Nothing => {}
        }
        let result = self.join_or_start(&mut read).await;
        if read.is_none() || result.is_err() {
            return result;
        }
        // Somebody else's read: it may have begun before a change that this caller knows of. The
        // one after it has not.
        match self.stored() {
            Stored::Current(value) | Stored::Stale { value, .. } => Ok(value),
            Stored::Nothing => self.join_or_start(&mut read).await,
        }
    }

    /// The read that is under way, or this one, which is taken and begun.
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
        // Nobody may be waiting, and then nobody learns from the flight itself that it is over.
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

/// What the cache has to offer.
enum Stored<T> {
    /// A value that nothing has changed since.
    Current(T),
    /// A value that may be served for a moment longer.
    Stale { value: T, refresh: bool },
    /// Nothing that may be served.
    Nothing,
}

impl<T: Clone> std::fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cached").field("watch", &self.watch).finish_non_exhaustive()
    }
}
