//! Operations that run once at a time, for any number of callers.

use std::{
    future::Future,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::task::AbortHandle;

/// An operation of which one run at a time is under way. All callers that wait share its output.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let sections = mongo_kit::SingleFlight::new();
/// let (flight, unused) = sections.join_or_start(async { 4 });
/// assert!(unused.is_none());
/// // The first run has not ended: the second operation is not started.
/// let (joined, unused) = sections.join_or_start(async { 5 });
/// assert!(unused.is_some());
/// assert_eq!((flight.await, joined.await), (Some(4), Some(4)));
/// # }
/// ```
#[derive(Debug)]
pub struct SingleFlight<T: Clone>(Mutex<Option<Flight<T>>>);

/// A run of an operation on a task of its own. It ends even if no caller waits for it. Its output is
/// `None` if it panicked.
#[derive(Debug, Clone)]
pub struct Flight<T: Clone> {
    started_at: Instant,
    task: AbortHandle,
    output: Shared<BoxFuture<'static, Option<T>>>,
}

impl<T: Clone + Send + Sync + 'static> SingleFlight<T> {
    /// Returns a flight that has not started.
    pub fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns the run that is under way, and the operation, which is not needed. If there is none,
    /// starts the operation.
    pub fn join_or_start<F>(&self, operation: F) -> (Flight<T>, Option<F>)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The shared output alone does not tell: it is polled only while a caller waits.
        if let Some(flight) = current.as_ref().filter(|flight| !flight.task.is_finished()) {
            return (flight.clone(), Some(operation));
        }
        let started_at = Instant::now();
        let task = tokio::spawn(operation);
        let abort_handle = task.abort_handle();
        let output = task.map(Result::ok).boxed().shared();
        let flight = Flight { started_at, task: abort_handle, output };
        *current = Some(flight.clone());
        (flight, None)
    }
}

impl<T: Clone + Send + Sync + 'static> Default for SingleFlight<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> Flight<T> {
    /// Returns the time at which the run started.
    pub fn started_at(&self) -> Instant {
        self.started_at
    }
}

impl<T: Clone> Future for Flight<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.output.poll_unpin(context)
    }
}
