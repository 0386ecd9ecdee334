//! Calls of a service with several replicas.
//!
//! An [`Upstream`] is a service at one or more addresses. A name is resolved again and again
//! (`resolve`), and each of its IP addresses is a [`Replica`] with a state of its own (`replica`): what
//! probes report (`probe`), and what requests meet (`outlier`). [`Upstream::send`] (`send`) selects a
//! replica for a request, tries another one if that is safe, and bounds the number of repetitions.
//! [`HttpClient`] (`client`) carries a single exchange; [`ServiceClient`] (`service_client`) is for
//! calls between the services.
//!
//! No replica is ever excluded for good: states only determine the order in which replicas are tried,
//! so that a request fails only if no replica answers it.

mod client;
mod outlier;
mod probe;
mod replica;
mod resolve;
mod send;
mod service_client;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};
use tower::retry::budget::TpsBudget;

pub use http::StatusCode;

pub use self::{
    client::{
        AttemptError, BoxError, HOLD_MAX_BYTES, HOLD_TIMEOUT, Held, HttpClient, RequestBody,
        Response, hold, streamed_body, whole_body,
    },
    probe::{ProbeResult, ProbeTimes},
    replica::Replica,
    resolve::{Resolve, SystemResolver},
    send::{Policy, SendError},
    service_client::{CallError, ServiceClient},
};
use self::{outlier::Counts, replica::Rank};
use crate::runtime::settings::url::Replicas;

/// The replicas of a service at one moment.
pub type ReplicaList = Arc<[Arc<Replica>]>;

/// The time for which requests count for the budget of retries (the default of `tower` and Finagle).
const BUDGET_WINDOW: Duration = Duration::from_secs(10);

/// The number of retries in a second that need no budget, so that a quiet service has some, too (the
/// default of `tower` and Finagle).
const BUDGET_RESERVE_PER_SECOND: u32 = 10;

/// The share of requests that may be repeated in addition: retries never add more than a fifth to the
/// load of a service that has a problem already (the default of `tower`, Finagle and linkerd).
const BUDGET_SHARE: f32 = 0.2;

/// The settings of an [`Upstream`].
#[derive(Debug, Clone)]
pub struct Options {
    /// The number of times that a request may be repeated, or sent to a second replica because the
    /// first one is silent.
    pub max_retries: u32,
    /// The time without an answer after which a second replica gets the request, too.
    pub hedge_after: Duration,
    /// The resolver of names.
    pub resolver: Arc<dyn Resolve>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_retries: 1,
            // Much longer than an answer takes, and short enough for three seconds in all.
            hedge_after: Duration::from_secs(1),
            resolver: Arc::new(SystemResolver),
        }
    }
}

/// A service and its replicas.
#[derive(Debug)]
pub struct Upstream {
    name: &'static str,
    options: Options,
    addresses: Mutex<Replicas>,
    replicas: watch::Sender<ReplicaList>,
    /// The number of requests so far, for round robin.
    requests: AtomicUsize,
    budget: TpsBudget,
    has_names: AtomicBool,
    is_resolving: AtomicBool,
    /// Changes whenever all names were looked up, with or without a result.
    resolved: watch::Sender<()>,
    resolve_now: Arc<Notify>,
}

impl Upstream {
    /// Creates the service with this name, which is used in messages, at these addresses.
    pub fn new(name: &'static str, addresses: Replicas, options: Options) -> Arc<Self> {
        let this = Self {
            name,
            options,
            replicas: watch::Sender::new(Arc::from([])),
            requests: AtomicUsize::new(0),
            budget: TpsBudget::new(BUDGET_WINDOW, BUDGET_RESERVE_PER_SECOND, BUDGET_SHARE),
            has_names: AtomicBool::new(addresses.have_names()),
            is_resolving: AtomicBool::new(false),
            resolved: watch::Sender::default(),
            resolve_now: Arc::default(),
            addresses: Mutex::new(addresses),
        };
        this.update(&resolve::literals(&this.addresses()));
        Arc::new(this)
    }

    /// Returns the name of the service.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the configured addresses.
    pub fn addresses(&self) -> Replicas {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the configured addresses.
    pub fn set_addresses(&self, addresses: Replicas) {
        self.update(&resolve::literals(&addresses));
        self.has_names.store(addresses.have_names(), Ordering::Relaxed);
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        self.resolve_now.notify_one();
    }

    /// Returns the replicas that are known now.
    pub fn replicas(&self) -> ReplicaList {
        self.replicas.borrow().clone()
    }

    /// Returns the best replica for a connection that is no request, in turn among equals.
    pub(super) fn best(self: &Arc<Self>, turn: usize) -> Option<Arc<Replica>> {
        self.ensure_resolving();
        self.pick(turn, &[], Instant::now()).map(|(_, replica)| replica)
    }

    /// Selects the best replica except those that were tried, in turn among equals. Returns it with its
    /// rank.
    fn pick(
        &self,
        turn: usize,
        tried: &[Arc<Replica>],
        now: Instant,
    ) -> Option<(Rank, Arc<Replica>)> {
        let replicas = self.replicas.borrow();
        let is_tried = |replica: &Arc<Replica>| tried.iter().any(|one| Arc::ptr_eq(one, replica));
        let ranked: Vec<_> = replicas
            .iter()
            .filter(|replica| !is_tried(replica))
            .map(|replica| (replica.rank(now), replica))
            .collect();
        let best = ranked.iter().map(|(rank, _)| *rank).min()?;
        let mut equals = ranked.iter().filter(|(rank, _)| *rank == best);
        let count = equals.clone().count();
        equals.nth(turn % count).map(|(rank, replica)| (*rank, Arc::clone(replica)))
    }

    /// Records that a replica failed a request, and excludes it for some time if it does so much more
    /// often than the others. At most half of the replicas are excluded at a time.
    pub fn record_failure(&self, replica: &Arc<Replica>) {
        self.record_failure_at(replica, Instant::now());
    }

    fn record_failure_at(&self, replica: &Arc<Replica>, now: Instant) {
        let counts = replica.count_failure(now);
        let replicas = self.replicas.borrow();
        let others = || replicas.iter().filter(|other| !Arc::ptr_eq(other, replica));
        let of_others =
            others().map(|other| other.counts(now)).fold(Counts::default(), Counts::add);
        let ejected = others().filter(|other| other.rank(now) == Rank::Ejected).count();
        if counts.is_outlier(of_others) && (ejected + 1) * 2 <= replicas.len() {
            replica.eject(now);
        }
    }
}

#[cfg(test)]
mod tests;
