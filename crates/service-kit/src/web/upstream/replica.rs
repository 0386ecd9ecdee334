//! One process of a service: its address and its state.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::{
    HeaderMap, HeaderValue, Request, Uri,
    header::HOST,
    uri::{Authority, PathAndQuery, Scheme},
};
use serde_json::{Value, json};

use super::{
    outlier::{Counts, Ejections, Window},
    probe::ProbeResult,
};
use crate::runtime::{error_chain::one_line, settings::url::HttpUrl};

/// The number of consecutive probes without a response in time after which a replica counts as slow.
/// Under load all replicas are slow now and then.
const SLOW_PROBES_MAX: u32 = 3;

/// The time for which a replica is not used after it refused a request because it is not ready. Probes
/// correct that earlier.
const NOT_READY_PAUSE: Duration = Duration::from_secs(1);

/// The time for which the report of a probe holds: several times the interval of probes.
const PROBE_VALIDITY: Duration = Duration::from_secs(10);

/// The time for which a replica is not used after it refused a connection; each further refusal
/// doubles it. Probes correct that earlier.
const FIRST_UNREACHABLE_PAUSE: Duration = Duration::from_secs(1);

/// The longest time for which a replica that refuses connections is not used.
const MAX_UNREACHABLE_PAUSE: Duration = Duration::from_secs(30);

/// The suitability of a replica for the next request, best first. Replicas of a lower rank are used if
/// there are none of a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Usable,
    /// It did not answer in time, neither probes nor requests.
    Slow,
    /// It fails more requests than the others.
    Ejected,
    /// It is starting or draining.
    NotReady,
    /// It accepts no connections.
    Unreachable,
}

/// One process of a service.
#[derive(Debug)]
pub struct Replica {
    upstream: &'static str,
    /// The configured address, which may be a name with several IP addresses.
    configured: HttpUrl,
    socket: SocketAddr,
    authority: Authority,
    host: HeaderValue,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `true` if the last probe that was answered was positive. `None` before the first one.
    is_ready: Option<bool>,
    slow_probes: u32,
    /// `true` if requests got no answer since the last answer.
    is_silent: bool,
    last_answer: Option<Instant>,
    /// The reason why it is not used, and the end of that.
    pause: Option<(Rank, Instant)>,
    connect_failures: u32,
    window: Window,
    ejections: Ejections,
    /// The body of its readiness response.
    detail: Option<Value>,
}

impl Replica {
    pub(super) fn new(upstream: &'static str, configured: &HttpUrl, socket: SocketAddr) -> Self {
        #[expect(clippy::expect_used, reason = "an IP address and a port make an authority")]
        let authority = Authority::try_from(socket.to_string()).expect("a socket is an authority");
        let host = configured.to_string();
        let host = HeaderValue::try_from(host.trim_start_matches("http://"));
        let state = State {
            is_ready: None,
            slow_probes: 0,
            is_silent: false,
            last_answer: None,
            pause: None,
            connect_failures: 0,
            window: Window::new(Instant::now()),
            ejections: Ejections::default(),
            detail: None,
        };
        Self {
            upstream,
            configured: configured.clone(),
            socket,
            authority,
            host: host.unwrap_or_else(|_| HeaderValue::from_static("localhost")),
            state: Mutex::new(state),
        }
    }

    /// Returns the IP address and port.
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// Returns a `GET` request for this replica, with its header `Host`: the configured name. Path,
    /// query and the other headers stay as they are.
    pub fn request<B>(&self, target: PathAndQuery, headers: HeaderMap, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.uri_mut() = self.uri(target);
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, self.host.clone());
        request
    }

    fn uri(&self, target: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(target);
        #[expect(clippy::expect_used, reason = "all parts are given")]
        Uri::from_parts(parts).expect("the parts make an address")
    }

    /// Returns `true` if this is the replica at an address.
    pub(super) fn is_at(&self, configured: &HttpUrl, socket: SocketAddr) -> bool {
        self.socket == socket && self.configured == *configured
    }

    /// Returns the configured address.
    pub(super) fn configured(&self) -> &HttpUrl {
        &self.configured
    }

    /// Returns `true` if the replica has reported that it is ready, and is neither draining nor
    /// unreachable since then, and has answered something lately.
    pub fn is_ready(&self) -> bool {
        self.is_ready_at(Instant::now())
    }

    pub(super) fn is_ready_at(&self, now: Instant) -> bool {
        let state = self.state();
        state.is_ready == Some(true) && state.rank(now) < Rank::NotReady && !state.is_hung(now)
    }

    pub(super) fn rank(&self, now: Instant) -> Rank {
        self.state().rank(now)
    }

    pub(super) fn counts(&self, now: Instant) -> Counts {
        self.state().window.counts(now)
    }

    /// Records the result of a probe, and logs a change.
    pub fn record_probe(&self, result: ProbeResult, now: Instant) {
        let mut cause = None;
        self.change(now, &mut cause, |state, cause| {
            state.slow_probes = match result {
                ProbeResult::Slow => state.slow_probes.saturating_add(1),
                _ => 0,
            };
            match result {
                ProbeResult::Ready(detail) => {
                    state.is_ready = Some(true);
                    state.detail = detail;
                    state.answered(now);
                    state.pause = None;
                }
                ProbeResult::NotReady(detail) => {
                    state.is_ready = Some(false);
                    state.detail = detail;
                    state.answered(now);
                    state.pause = Some((Rank::NotReady, now + PROBE_VALIDITY));
                }
                ProbeResult::Slow => {}
                ProbeResult::Unreachable(error) => {
                    *cause = Some(one_line(&*error));
                    state.detail = None;
                    state.unreachable(now);
                }
            }
        });
    }

    /// Records that the replica answered a request.
    pub(super) fn record_answer(&self, now: Instant) {
        let mut state = self.state();
        state.window.count(false, now);
        state.answered(now);
        if state.pause.is_some_and(|(rank, _)| rank == Rank::Unreachable) {
            state.pause = None;
        }
    }

    /// Records that the replica failed a request. Returns its counts.
    pub(super) fn count_failure(&self, now: Instant) -> Counts {
        let mut state = self.state();
        state.window.count(true, now);
        state.window.counts(now)
    }

    /// Records that the replica reacted to a request, if only by an error.
    pub(super) fn record_reaction(&self, now: Instant) {
        self.state().last_answer = Some(now);
    }

    /// Records that the replica refused a request because it is starting or draining.
    pub(super) fn record_refusal(&self, now: Instant) {
        self.change(now, &mut None, |state, _| {
            state.answered(now);
            let end = now + NOT_READY_PAUSE;
            if state.pause.is_none_or(|(_, known)| known < end) {
                state.pause = Some((Rank::NotReady, end));
            }
        });
    }

    /// Records that the replica accepted no connection.
    pub(super) fn record_unreachable(
        &self,
        error: &(dyn std::error::Error + 'static),
        now: Instant,
    ) {
        let mut cause = Some(one_line(error));
        self.change(now, &mut cause, |state, _| state.unreachable(now));
    }

    /// Records that a request of that time has no answer yet. Returns `true` if the replica has
    /// answered no other request since then.
    pub(super) fn record_silence(&self, since: Instant, now: Instant) -> bool {
        let mut is_silent = false;
        self.change(now, &mut None, |state, _| {
            is_silent = state.last_answer.is_none_or(|last| last < since);
            state.is_silent |= is_silent;
        });
        is_silent
    }

    pub(super) fn eject(&self, now: Instant) {
        self.change(now, &mut None, |state, _| {
            state.ejections.start(now);
            state.window = Window::new(now);
        });
    }

    /// Changes the state, and logs if that changes the rank.
    fn change(
        &self,
        now: Instant,
        cause: &mut Option<String>,
        change: impl FnOnce(&mut State, &mut Option<String>),
    ) {
        let mut state = self.state();
        let (before, was_known) = (state.rank(now), state.is_ready.is_some());
        change(&mut state, cause);
        let after = state.rank(now);
        drop(state);
        if before == after {
            return;
        }
        let (upstream, replica) = (self.upstream, self.to_string());
        match after.reason() {
            // Both processes may have started at the same time.
            Some(_) if after == Rank::NotReady && !was_known => {
                tracing::info!(upstream, replica, "replica is not ready yet");
            }
            Some(reason) => {
                tracing::warn!(upstream, replica, reason, cause, "replica is unhealthy");
            }
            None => tracing::info!(upstream, replica, "replica is healthy again"),
        }
    }

    /// Returns the state for the readiness of the gateway.
    pub fn describe(&self) -> Value {
        let state = self.state();
        let reason = state.rank(Instant::now()).reason();
        let status = match (reason, state.is_ready) {
            (Some(_), _) => "unhealthy",
            (None, None) => "unknown",
            (None, Some(_)) => "healthy",
        };
        let mut description = json!({
            "address": format!("http://{}", self.socket),
            "status": status,
            "reason": reason,
            "detail": state.detail,
        });
        if self.configured.ip().is_none() {
            description["name"] = self.configured.to_string().into();
        }
        description
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it is locked, and the state would be valid even then.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.socket)
    }
}

impl State {
    fn rank(&self, now: Instant) -> Rank {
        match self.pause {
            Some((rank, end)) if now < end => rank,
            _ if self.ejections.is_ejected(now) => Rank::Ejected,
            _ if self.is_silent || self.slow_probes >= SLOW_PROBES_MAX => Rank::Slow,
            _ => Rank::Usable,
        }
    }

    /// Returns `true` if it has answered nothing, neither probes nor requests, for longer than any load
    /// explains.
    fn is_hung(&self, now: Instant) -> bool {
        let is_old = |last| now.saturating_duration_since(last) >= PROBE_VALIDITY;
        self.slow_probes >= SLOW_PROBES_MAX && self.last_answer.is_none_or(is_old)
    }

    fn answered(&mut self, now: Instant) {
        self.last_answer = Some(now);
        self.is_silent = false;
        self.slow_probes = 0;
        self.connect_failures = 0;
    }

    fn unreachable(&mut self, now: Instant) {
        let pause = FIRST_UNREACHABLE_PAUSE * 2_u32.pow(self.connect_failures.min(5));
        self.connect_failures = self.connect_failures.saturating_add(1);
        self.pause = Some((Rank::Unreachable, now + pause.min(MAX_UNREACHABLE_PAUSE)));
    }
}

impl Rank {
    /// Returns the reason why a replica of this rank is unhealthy; public.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Usable => None,
            Self::Slow => Some("no answer in time"),
            Self::Ejected => Some("too many errors"),
            Self::NotReady => Some("not ready"),
            Self::Unreachable => Some("unreachable"),
        }
    }
}

/// Returns the replicas for addresses: known ones with their state, and new ones.
pub(super) fn update(
    upstream: &'static str,
    known: &[Arc<Replica>],
    found: &[(HttpUrl, SocketAddr)],
) -> Vec<Arc<Replica>> {
    let mut replicas: Vec<Arc<Replica>> = Vec::with_capacity(found.len());
    for (configured, socket) in found {
        let is_same = |replica: &&Arc<Replica>| replica.is_at(configured, *socket);
        if replicas.iter().any(|replica| replica.socket == *socket) {
            continue;
        }
        let known = known.iter().find(is_same).cloned();
        let new = || Arc::new(Replica::new(upstream, configured, *socket));
        replicas.push(known.unwrap_or_else(new));
    }
    replicas
}
