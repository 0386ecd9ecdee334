//! One request, and its attempts at replicas.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tower::retry::budget::Budget;

use super::{
    Upstream,
    client::{AttemptError, Refusal, Response},
    replica::{Rank, Replica},
};

/// The number of replicas known to be unreachable that are tried for a request.
const MAX_UNREACHABLE_ATTEMPTS: usize = 2;

/// The ways in which a request may be sent more than once. In any case, a replica that accepts no
/// connection has got nothing of it, and the next one is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `true` if the whole body is there for a further attempt: if a replica refuses the request
    /// because it is starting or draining, nothing was done, and the next one is tried.
    pub is_held: bool,
    /// `true` if the request may be sent again although it may have arrived: also while the first
    /// replica is silent.
    pub is_repeatable: bool,
    /// `true` if the request changes nothing (RFC 9110 §9.2.1): it may be processed twice at the same
    /// time, and again if the first response is an error.
    pub is_safe: bool,
}

impl Policy {
    /// A request that changes nothing and has no body.
    pub const SAFE: Self = Self { is_held: true, is_repeatable: true, is_safe: true };
}

/// The reason why no replica gave a response.
#[derive(Debug)]
pub enum SendError<E> {
    /// No replica accepted a connection. With the last error, if there was an attempt.
    Unavailable(Option<super::BoxError>),
    /// The last attempt failed.
    Failed(AttemptError<E>),
}

/// The result of an attempt.
type Outcome<E> = Result<Response, AttemptError<E>>;

/// The step after an attempt.
enum Next {
    /// Return its outcome.
    Finish,
    /// Try another replica. It costs nothing: this one did nothing.
    Continue,
    /// Try another replica if the number of retries and the budget permit.
    Retry {
        /// `true` if the same replica may be tried, if there is no other.
        same: bool,
    },
}

/// The step of a request after the end of one of its attempts.
enum Step<E> {
    /// Start an attempt at this replica.
    Start(Arc<Replica>),
    /// Wait for the other attempt.
    Wait,
    /// Return this result.
    Return(Result<Response, SendError<E>>),
}

/// The attempts of a request.
struct Attempts<'a, E> {
    upstream: &'a Upstream,
    policy: Policy,
    /// The number of the request, for round robin.
    turn: usize,
    /// All replicas that got the request.
    tried: Vec<Arc<Replica>>,
    unreachable_attempts: usize,
    /// The number of times that it may still be repeated.
    retries: u32,
    /// The replicas that have not answered yet, and the times of the attempts.
    waiting: Vec<(Arc<Replica>, Instant)>,
    /// The best of the bad outcomes.
    bad: Option<Outcome<E>>,
}

impl Upstream {
    /// Sends a request to the best replica, and to others if `policy` permits: if a replica did
    /// nothing, if it failed, or if it is silent. `attempt` sends the request to one replica.
    ///
    /// The first good response is returned, and other attempts are cancelled. If there is none, the
    /// last bad one is returned.
    pub async fn send<E, F, R>(
        self: &Arc<Self>,
        policy: Policy,
        attempt: F,
    ) -> Result<Response, SendError<E>>
    where
        F: Fn(Arc<Replica>) -> R,
        R: Future<Output = Outcome<E>>,
    {
        self.ensure_resolving();
        if self.replicas.borrow().is_empty() {
            self.await_addresses().await;
        }
        self.budget.deposit();
        let start = |replica: Arc<Replica>| {
            let attempted = attempt(Arc::clone(&replica));
            async move { (replica, attempted.await) }
        };
        let mut attempts = Attempts::new(self, policy);
        let Some(first) = attempts.pick(Rank::Unreachable) else {
            return Err(SendError::Unavailable(None));
        };
        let mut running = FuturesUnordered::new();
        running.push(start(first));
        loop {
            tokio::select! {
                biased;
                Some((replica, outcome)) = running.next() => {
                    match attempts.ended(&replica, outcome) {
                        Step::Start(next) => running.push(start(next)),
                        Step::Wait => {}
                        Step::Return(result) => return result,
                    }
                }
                () = tokio::time::sleep(self.options.hedge_after), if attempts.may_hedge() => {
                    if let Some(next) = attempts.hedge() {
                        running.push(start(next));
                    }
                }
            }
        }
    }

    /// Records the outcome of an attempt, and decides about another one.
    fn judge<E>(&self, policy: Policy, replica: &Arc<Replica>, outcome: &Outcome<E>) -> Next {
        let now = Instant::now();
        if let Ok(_) | Err(AttemptError::Broken(_) | AttemptError::Truncated(_)) = outcome {
            replica.record_reaction(now);
        }
        match outcome.as_ref().ok().and_then(Response::refusal) {
            Some(Refusal::NotReady) => {
                replica.record_refusal(now);
                return if policy.is_held { Next::Continue } else { Next::Finish };
            }
            // It works as well as it can. Without it, the others would get even more requests.
            Some(Refusal::Overloaded) => {
                replica.record_answer(now);
                return Next::Finish;
            }
            None => {}
        }
        match outcome {
            Ok(response) if response.status().is_server_error() => {
                self.record_failure_at(replica, now);
                // With `Retry-After`, the service says when to ask again, and a repetition at once
                // would only add to the problem.
                let is_deliberate = response.head.headers.contains_key(http::header::RETRY_AFTER);
                if policy.is_safe && !is_deliberate {
                    Next::Retry { same: false }
                } else {
                    Next::Finish
                }
            }
            Ok(_) => {
                replica.record_answer(now);
                Next::Finish
            }
            Err(AttemptError::NotConnected(error)) => {
                replica.record_unreachable(&**error, now);
                self.resolve_now.notify_one();
                Next::Continue
            }
            // The replica was killed, or closed an idle connection as the request arrived. The request
            // may have arrived (RFC 9110 §9.2.2).
            Err(AttemptError::Broken(_)) => {
                self.record_failure_at(replica, now);
                if policy.is_repeatable { Next::Retry { same: true } } else { Next::Finish }
            }
            Err(AttemptError::Truncated(_)) => {
                self.record_failure_at(replica, now);
                if policy.is_repeatable { Next::Retry { same: false } } else { Next::Finish }
            }
            Err(AttemptError::Timeout) => {
                self.record_failure_at(replica, now);
                Next::Finish
            }
            Err(AttemptError::Other(_)) => Next::Finish,
        }
    }
}

impl<'a, E> Attempts<'a, E> {
    fn new(upstream: &'a Upstream, policy: Policy) -> Self {
        Self {
            upstream,
            policy,
            turn: upstream.requests.fetch_add(1, Ordering::Relaxed),
            tried: Vec::with_capacity(1),
            unreachable_attempts: 0,
            retries: upstream.options.max_retries,
            waiting: Vec::with_capacity(1),
            bad: None,
        }
    }

    /// Selects the best replica of those that were not tried, of this rank or a better one.
    fn pick(&mut self, worst: Rank) -> Option<Arc<Replica>> {
        let now = Instant::now();
        let (rank, replica) = self.upstream.pick(self.turn, &self.tried, now)?;
        if rank > worst {
            return None;
        }
        if rank == Rank::Unreachable {
            self.unreachable_attempts += 1;
            if self.unreachable_attempts > MAX_UNREACHABLE_ATTEMPTS {
                return None;
            }
        }
        self.tried.push(Arc::clone(&replica));
        self.waiting.push((Arc::clone(&replica), now));
        Some(replica)
    }

    /// Decides about the request after the end of an attempt.
    fn ended(&mut self, replica: &Arc<Replica>, outcome: Outcome<E>) -> Step<E> {
        self.waiting.retain(|(other, _)| !Arc::ptr_eq(other, replica));
        let next = match self.upstream.judge(self.policy, replica, &outcome) {
            Next::Finish if is_good(&outcome) || self.waiting.is_empty() => {
                return Step::Return(finish(outcome));
            }
            // The other attempt may succeed.
            Next::Finish => None,
            Next::Continue => self.pick(Rank::Unreachable),
            Next::Retry { same } => self.retry(replica, same),
        };
        // A response says more than an error, and a break more than a refused connection.
        if severity(&outcome) <= self.bad.as_ref().map_or(u8::MAX, severity) {
            self.bad = Some(outcome);
        }
        match next {
            Some(next) => Step::Start(next),
            None if self.waiting.is_empty() => {
                Step::Return(self.bad.take().map_or(Err(SendError::Unavailable(None)), finish))
            }
            None => Step::Wait,
        }
    }

    /// Selects the replica of a repetition if the number of retries and the budget permit one: another
    /// replica, or the same one if it may be and there is no other.
    fn retry(&mut self, replica: &Arc<Replica>, same: bool) -> Option<Arc<Replica>> {
        if self.retries == 0 || !self.upstream.budget.withdraw() {
            return None;
        }
        self.retries -= 1;
        let other = self.pick(Rank::Ejected);
        if other.is_none() && same {
            self.waiting.push((Arc::clone(replica), Instant::now()));
            return Some(Arc::clone(replica));
        }
        other
    }

    fn may_hedge(&self) -> bool {
        self.policy.is_repeatable && self.retries > 0
    }

    /// Selects a further replica for a request that waits for a long time.
    fn hedge(&mut self) -> Option<Arc<Replica>> {
        if self.upstream.replicas.borrow().len() <= self.tried.len() {
            return None;
        }
        let now = Instant::now();
        let mut are_silent = true;
        for (replica, since) in &self.waiting {
            are_silent &= replica.record_silence(*since, now);
        }
        // Replicas that answer nothing at all are left without regard to the budget: the request is
        // moved rather than repeated. Only a safe request is processed twice for speed.
        let may_start = are_silent || self.policy.is_safe && self.upstream.budget.withdraw();
        let next = may_start.then(|| self.pick(Rank::Usable)).flatten()?;
        self.retries -= 1;
        Some(next)
    }
}

fn is_good<E>(outcome: &Outcome<E>) -> bool {
    outcome.as_ref().is_ok_and(|response| !response.status().is_server_error())
}

fn severity<E>(outcome: &Outcome<E>) -> u8 {
    match outcome {
        Ok(_) => 0,
        Err(AttemptError::NotConnected(_)) => 2,
        Err(_) => 1,
    }
}

fn finish<E>(outcome: Outcome<E>) -> Result<Response, SendError<E>> {
    outcome.map_err(|error| match error {
        AttemptError::NotConnected(error) => SendError::Unavailable(Some(error)),
        error => SendError::Failed(error),
    })
}
