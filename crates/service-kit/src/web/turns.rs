//! The turns of handlers that read: each address of a client has a limited number of them at a time.
//!
//! A handler that has begun runs to its end (see [`time_limit`](super::time_limit)), so that clients that
//! leave cost as much as those that stay. A request that waits for its turn costs nothing if its client
//! leaves. Neither do the handlers of a client that sends hundreds of requests at a time all compete with
//! those of the others.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
};

use tokio::sync::oneshot;

/// The number of turns of an address for each processor. With this number of clients, a process reaches
/// its capacity, as fault 27 measures it.
const TURNS_PER_PROCESSOR: usize = 8;

/// The turns of a process.
#[derive(Debug)]
pub(crate) struct Turns {
    per_address: usize,
    queues: Mutex<HashMap<IpAddr, Queue>>,
}

/// The requests of an address. None waits while there are fewer than the number of turns.
#[derive(Debug, Default)]
struct Queue {
    running: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// A turn. It is given on when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Option<(Arc<Turns>, IpAddr)>);

impl Default for Turns {
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, Into::into);
        Self::new(processors * TURNS_PER_PROCESSOR)
    }
}

impl Turns {
    pub(super) fn new(per_address: usize) -> Self {
        Self { per_address, queues: Mutex::default() }
    }

    /// Waits for a turn for a client with this address.
    pub(crate) async fn take(self: &Arc<Self>, address: IpAddr) -> Turn {
        let given = {
            let mut queues = self.queues();
            let queue = queues.entry(address).or_default();
            if queue.running < self.per_address {
                queue.running += 1;
                return Turn(Some((Arc::clone(self), address)));
            }
            let (sender, given) = oneshot::channel();
            queue.waiting.push_back(sender);
            given
        };
        // Whoever has a turn gives it on.
        given.await.unwrap_or(Turn(None))
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<IpAddr, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a turn. Returns the next request, which has the turn now.
    fn end(&self, address: IpAddr) -> Option<oneshot::Sender<Turn>> {
        let mut queues = self.queues();
        let queue = queues.get_mut(&address)?;
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.running -= 1;
            if queue.running == 0 {
                queues.remove(&address);
            }
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some((turns, address)) = self.0.take() else { return };
        while let Some(next) = turns.end(address) {
            match next.send(Self(Some((Arc::clone(&turns), address)))) {
                Ok(()) => return,
                // The client has left. The loop gives the turn on.
                Err(mut unused) => unused.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    #[tokio::test]
    async fn an_address_waits_for_its_own_requests_in_their_order() {
        let turns = Arc::new(Turns::new(2));
        let held = [turns.take(address(1)).await, turns.take(address(1)).await];
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(turns.take(address(1)))).collect();
        for taken in &mut waiting {
            assert!(taken.now_or_never().is_none());
        }
        // Others do not wait.
        drop(turns.take(address(2)).await);
        let [one, other] = held;
        drop(one);
        assert!((&mut waiting[1]).now_or_never().is_none());
        drop((&mut waiting[0]).now_or_never().unwrap());
        drop((&mut waiting[1]).now_or_never().unwrap());
        drop(other);
        drop((&mut waiting[2]).now_or_never().unwrap());
        assert!(turns.queues().is_empty());
    }

    #[tokio::test]
    async fn a_request_that_is_gone_uses_no_turn() {
        let turns = Arc::new(Turns::new(2));
        let held = [turns.take(address(1)).await, turns.take(address(1)).await];
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(turns.take(address(1)))).collect();
        for taken in &mut waiting {
            assert!(taken.now_or_never().is_none());
        }
        let mut last = waiting.pop().unwrap();
        // One leaves with its turn on its way to it.
        let mut waiting = waiting.into_iter();
        let on_its_way = waiting.next().unwrap();
        let [one, other] = held;
        drop(one);
        drop(waiting);
        drop(on_its_way);
        drop((&mut last).now_or_never().unwrap());
        drop(other);
        assert!(turns.queues().is_empty());
    }
}
