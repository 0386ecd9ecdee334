//! The turns of handlers that read: a limited number of them runs at a time, and the addresses of clients
//! get turns one after the other.
//!
//! A handler that has begun runs to its end (see [`time_limit`](super::time_limit)), so that clients that
//! leave cost as much as those that stay. A request that waits for its turn costs nothing if its client
//! leaves. Neither does a client that sends hundreds of requests at a time keep the others waiting.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
};

use tokio::sync::oneshot;

/// The number of turns for each processor. A handler uses a processor for a part of its time, and waits
/// for the database in the rest; with one on another machine, that is up to ten times as long.
const TURNS_PER_PROCESSOR: usize = 16;

/// The turns of a process.
#[derive(Debug)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    /// None is free while any request waits.
    free: usize,
    /// The requests that wait, by the addresses of their clients. The first address is the next one.
    waiting: VecDeque<(Option<IpAddr>, VecDeque<oneshot::Sender<Turn>>)>,
}

/// A turn. It is given on when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Option<Arc<Turns>>);

impl Default for Turns {
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, Into::into);
        Self::new(processors * TURNS_PER_PROCESSOR)
    }
}

impl Turns {
    pub(super) fn new(free: usize) -> Self {
        Self(Mutex::new(State { free, waiting: VecDeque::new() }))
    }

    /// Waits for a turn for a client with this address.
    pub(crate) async fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Turn {
        let given = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Turn(Some(Arc::clone(self)));
            }
            state.wait(address)
        };
        // Whoever has a turn gives it on.
        given.await.unwrap_or(Turn(None))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, address: Option<IpAddr>) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        match self.waiting.iter_mut().find(|(of, _)| *of == address) {
            Some((_, requests)) => requests.push_back(sender),
            None => self.waiting.push_back((address, VecDeque::from([sender]))),
        }
        receiver
    }

    /// Returns the next request that waits.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let (address, mut requests) = self.waiting.pop_front()?;
        let next = requests.pop_front();
        if !requests.is_empty() {
            self.waiting.push_back((address, requests));
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        let mut turn = Turn(Some(Arc::clone(&turns)));
        loop {
            let mut state = turns.state();
            let Some(next) = state.next() else {
                state.free += 1;
                turn.0 = None;
                return;
            };
            drop(state);
            match next.send(turn) {
                Ok(()) => return,
                // The client has left.
                Err(unused) => turn = unused,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(number: u8) -> Option<IpAddr> {
        Some([192, 0, 2, number].into())
    }

    #[tokio::test]
    async fn addresses_get_turns_one_after_the_other() {
        let turns = Arc::new(Turns::new(1));
        let first = turns.take(address(1)).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for from in [1, 1, 1, 1, 2, 3, 2] {
            let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
            let mut taken = Box::pin(async move {
                let turn = turns.take(address(from)).await;
                order.lock().unwrap().push(from);
                drop(turn);
            });
            assert!((&mut taken).now_or_never().is_none());
            waiting.push(tokio::spawn(taken));
        }
        drop(first);
        for taken in waiting {
            taken.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 1, 2, 1, 1]);
        assert_eq!(turns.state().free, 1);
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
        drop(waiting);
        let [one, other] = held;
        drop(one);
        drop(on_its_way);
        assert!((&mut last).now_or_never().is_some());
        drop(other);
        assert_eq!(turns.state().free, 2);
        assert!(turns.state().waiting.is_empty());
    }
}
