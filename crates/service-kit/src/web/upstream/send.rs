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
    /// `true` if the request may be sent again although it may have arrived.
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
        let turn = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut tried = Vec::with_capacity(1);
        let mut unreachable_attempts = 0;
        let mut pick = |tried: &mut Vec<Arc<Replica>>, worst: Rank| {
            let (rank, replica) = self.pick(turn, tried, Instant::now())?;
            if rank > worst {
                return None;
            }
            if rank == Rank::Unreachable {
                unreachable_attempts += 1;
                if unreachable_attempts > MAX_UNREACHABLE_ATTEMPTS {
                    return None;
                }
            }
            tried.push(Arc::clone(&replica));
            Some(replica)
        };
        let start = |replica: Arc<Replica>| {
            let attempted = attempt(Arc::clone(&replica));
            async move { (replica, attempted.await) }
        };

        let Some(first) = pick(&mut tried, Rank::Unreachable) else {
            return Err(SendError::Unavailable(None));
        };
        let mut retries = self.options.max_retries;
        let mut waiting = vec![(Arc::clone(&first), Instant::now())];
        let mut running = FuturesUnordered::new();
        running.push(start(first));
        let mut bad: Option<Outcome<E>> = None;
        loop {
            let may_hedge = policy.is_safe && retries > 0;
            tokio::select! {
                biased;
                Some((replica, outcome)) = running.next() => {
                    waiting.retain(|(other, _)| !Arc::ptr_eq(other, &replica));
                    let next = match self.judge(policy, &replica, &outcome) {
                        Next::Finish if is_good(&outcome) || running.is_empty() => {
                            return finish(outcome);
                        }
                        // The other attempt may succeed.
                        Next::Finish => None,
                        Next::Continue => pick(&mut tried, Rank::Unreachable),
                        Next::Retry { same } => {
                            let may_retry = retries > 0 && self.budget.withdraw();
                            if may_retry {
                                retries -= 1;
                            }
                            let other = || pick(&mut tried, Rank::Ejected);
                            may_retry.then(other).flatten().or((may_retry && same).then_some(replica))
                        }
                    };
                    // A response says more than an error, and a break more than a refused connection.
                    if severity(&outcome) <= bad.as_ref().map_or(u8::MAX, severity) {
                        bad = Some(outcome);
                    }
                    match next {
                        Some(next) => {
                            waiting.push((Arc::clone(&next), Instant::now()));
                            running.push(start(next));
                        }
                        None if running.is_empty() => {
                            return bad.map_or(Err(SendError::Unavailable(None)), finish);
                        }
                        None => {}
                    }
                }
                () = tokio::time::sleep(self.options.hedge_after), if may_hedge => {
                    if self.replicas.borrow().len() <= tried.len() {
                        continue;
                    }
                    // Replicas that answer nothing at all are left without regard to the budget: the
                    // request is moved rather than repeated.
                    let now = Instant::now();
                    let mut are_silent = true;
                    for (replica, since) in &waiting {
                        are_silent &= replica.record_silence(*since, now);
                    }
                    if (are_silent || self.budget.withdraw())
                        && let Some(next) = pick(&mut tried, Rank::Usable)
                    {
                        retries -= 1;
                        waiting.push((Arc::clone(&next), now));
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
