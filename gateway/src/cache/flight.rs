//! One request to a service, for all clients that wait for its answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use tokio::{sync::watch, task::AbortHandle};

use super::entry::Entry;

/// The requests that are on their way, by their keys.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<Box<str>, Weak<Flight>>>);

/// A request that is on its way. It is cancelled when nothing waits for it any more.
#[derive(Debug)]
pub(crate) struct Flight {
    key: Box<str>,
    flights: Arc<Flights>,
    result: watch::Receiver<Option<Arc<Entry>>>,
    task: OnceLock<AbortHandle>,
}

/// The part of a client in a request.
#[derive(Debug)]
pub(crate) enum Role {
    /// It makes the request, and reports its result: an entry that others may use, or nothing.
    Leader(Arc<Flight>, watch::Sender<Option<Arc<Entry>>>),
    /// It waits for the result.
    Follower(Arc<Flight>),
}

impl Flights {
    /// Joins the request with this key, or begins one.
    pub(crate) fn join(self: &Arc<Self>, key: &str) -> Role {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(key).and_then(Weak::upgrade) {
            return Role::Follower(flight);
        }
        let (sender, result) = watch::channel(None);
        let flight = Arc::new(Flight {
            key: key.into(),
            flights: Arc::clone(self),
            result,
            task: OnceLock::new(),
        });
        flights.insert(key.into(), Arc::downgrade(&flight));
        Role::Leader(flight, sender)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Weak<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Sets the task that makes the request.
    pub(crate) fn runs_as(&self, task: AbortHandle) {
        // Set once, by the leader.
        let _ = self.task.set(task);
    }

    /// Waits for the result. Returns `None` if there is none that others may use.
    pub(crate) async fn result(&self) -> Option<Arc<Entry>> {
        let mut result = self.result.clone();
        // An error is the end of the task without a result.
        result.wait_for(Option::is_some).await.ok()?.clone()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
        let mut flights = self.flights.lock();
        // Another one with the same key may have begun.
        if flights.get(&self.key).is_some_and(|flight| flight.strong_count() == 0) {
            flights.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_ends_with_the_last_that_waits_for_it() {
        let flights = Arc::<Flights>::default();
        let Role::Leader(leader, sender) = flights.join("a") else { panic!("no leader") };
        let task = tokio::spawn(async move {
            let _sender = sender;
            std::future::pending::<()>().await;
        });
        leader.runs_as(task.abort_handle());
        let Role::Follower(follower) = flights.join("a") else { panic!("no follower") };
        assert!(matches!(flights.join("b"), Role::Leader(..)));
        drop(leader);
        assert!(matches!(flights.join("a"), Role::Follower(_)), "it continues for the others");
        let waiting = tokio::spawn(async move { follower.result().await.is_none() });
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        waiting.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn a_request_without_a_result_for_others_ends_their_waiting() {
        let flights = Arc::<Flights>::default();
        let Role::Leader(_leader, sender) = flights.join("a") else { panic!("no leader") };
        let Role::Follower(follower) = flights.join("a") else { panic!("no follower") };
        drop(sender);
        assert!(follower.result().await.is_none());
    }
}
