//! The replicas of a service: their health, and the selection of one for a request.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use service_kit::runtime::{
    error_chain::one_line,
    settings::{
        self,
        url::{HttpUrl, Replicas},
    },
};
use url::Url;

/// The number of consecutive probes without a response in time after which a replica is unhealthy.
/// One is not enough: under load all replicas are slow, and excluding them would turn load into an
/// outage.
const SLOW_PROBES_MAX: u32 = 3;

/// The services behind the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Upstreams {
    pub(crate) sections: Arc<Upstream>,
    pub(crate) content: Arc<Upstream>,
}

impl Upstreams {
    pub(crate) fn new(settings: &settings::Upstreams) -> Self {
        Self {
            sections: Arc::new(Upstream::new("sections-service", &settings.sections)),
            content: Arc::new(Upstream::new("content-service", &settings.content)),
        }
    }

    pub(crate) fn all(&self) -> [&Arc<Upstream>; 2] {
        [&self.sections, &self.content]
    }
}

/// A service and its replicas.
#[derive(Debug)]
pub(crate) struct Upstream {
    name: &'static str,
    replicas: Vec<Arc<Replica>>,
    /// The number of requests so far, for round robin.
    requests: AtomicUsize,
}

impl Upstream {
    fn new(name: &'static str, replicas: &Replicas) -> Self {
        let replicas = replicas.urls().iter().map(|url| Arc::new(Replica::new(name, url)));
        Self { name, replicas: replicas.collect(), requests: AtomicUsize::new(0) }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn replicas(&self) -> &[Arc<Replica>] {
        &self.replicas
    }

    /// Returns the usable replicas, beginning with the next one in turn (round robin).
    pub(crate) fn candidates(&self) -> Vec<&Replica> {
        let mut usable: Vec<_> =
            self.replicas.iter().map(Arc::as_ref).filter(|replica| replica.is_usable()).collect();
        if !usable.is_empty() {
            let first = self.requests.fetch_add(1, Ordering::Relaxed) % usable.len();
            usable.rotate_left(first);
        }
        usable
    }
}

/// One process of a service.
#[derive(Debug)]
pub(crate) struct Replica {
    upstream: &'static str,
    address: HttpUrl,
    state: Mutex<ReplicaState>,
}

/// The last known state of a replica.
#[derive(Debug)]
struct ReplicaState {
    status: Status,
    slow_probes: u32,
    /// The reason why it is unhealthy; public.
    reason: Option<&'static str>,
    /// The body of its readiness response.
    detail: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// Not probed yet: it gets requests, but does not make the service ready.
    Unknown,
    Healthy,
    Unhealthy,
}

/// The result of a probe or a request.
#[derive(Debug)]
pub(crate) enum ProbeResult {
    /// The replica is ready; with the body of its response.
    Ready(Option<Value>),
    /// The replica is not ready; with the body of its response.
    NotReady(Option<Value>),
    /// No response in time.
    Slow,
    /// No connection, or a broken one. The error is for the log.
    Unreachable(reqwest::Error),
}

/// A path that would be another one in the address of a replica.
#[derive(Debug, thiserror::Error)]
#[error("the path {path:?} would change in an address of {upstream}")]
pub(crate) struct PathChanged {
    path: String,
    upstream: &'static str,
}

impl Replica {
    fn new(upstream: &'static str, address: &HttpUrl) -> Self {
        let status = Status::Unknown;
        let state = ReplicaState { status, slow_probes: 0, reason: None, detail: None };
        Self { upstream, address: address.clone(), state: Mutex::new(state) }
    }

    pub(crate) fn address(&self) -> &Url {
        self.address.url()
    }

    /// Returns the address of a path (with its leading slash) and query at this replica.
    ///
    /// Parsing an address normalises it. An address with another host or path is refused. In a query,
    /// characters that should have been percent-encoded are.
    pub(crate) fn url(&self, path: &str, query: Option<&str>) -> Result<Url, PathChanged> {
        let base = self.address();
        let separator = if query.is_some() { "?" } else { "" };
        let text = format!("{}{path}{separator}{}", self.address, query.unwrap_or_default());
        Url::parse(&text)
            .ok()
            .filter(|url| url.origin() == base.origin() && url.path() == path)
            .ok_or_else(|| PathChanged { path: path.to_owned(), upstream: self.upstream })
    }

    /// Records the result of a probe or a request, and logs a change.
    pub(crate) fn record(&self, result: ProbeResult) {
        let mut state = self.state();
        let before = state.status;
        state.slow_probes = match result {
            ProbeResult::Slow => state.slow_probes.saturating_add(1),
            _ => 0,
        };
        let mut cause = None;
        let (status, reason, detail) = match result {
            ProbeResult::Ready(detail) => (Status::Healthy, None, detail),
            ProbeResult::NotReady(detail) => (Status::Unhealthy, Some("not ready"), detail),
            ProbeResult::Slow if state.slow_probes < SLOW_PROBES_MAX => return,
            ProbeResult::Slow => (Status::Unhealthy, Some("no answer in time"), None),
            ProbeResult::Unreachable(error) => {
                cause = Some(one_line(&error.without_url()));
                (Status::Unhealthy, Some("unreachable"), None)
            }
        };
        let (upstream, replica) = (self.upstream, self.address.to_string());
        match (before, status) {
            // Both parts start at the same time.
            (Status::Unknown, Status::Unhealthy) if reason == Some("not ready") => {
                tracing::info!(upstream, replica, "replica is not ready yet");
            }
            (Status::Unknown | Status::Healthy, Status::Unhealthy) => {
                tracing::warn!(upstream, replica, reason, cause, "replica is unhealthy");
            }
            (Status::Unhealthy, Status::Healthy) => {
                tracing::info!(upstream, replica, "replica is healthy again");
            }
            _ => {}
        }
        (state.status, state.reason, state.detail) = (status, reason, detail);
    }

    fn is_usable(&self) -> bool {
        self.state().status != Status::Unhealthy
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state().status == Status::Healthy
    }

    /// Returns the state for the readiness of the gateway.
    pub(crate) fn describe(&self) -> Value {
        let state = self.state();
        let status = match state.status {
            Status::Unknown => "unknown",
            Status::Healthy => "healthy",
            Status::Unhealthy => "unhealthy",
        };
        json!({
            "address": self.address.to_string(),
            "status": status,
            "reason": state.reason,
            "detail": state.detail,
        })
    }

    fn state(&self) -> MutexGuard<'_, ReplicaState> {
        // No code panics while it is locked, and the state would be valid even then.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;

    fn upstream(replicas: usize) -> Upstream {
        let urls: Vec<_> = (0..replicas).map(|number| format!("http://r{number}:80")).collect();
        Upstream::new("content-service", &from_value(json!(urls)).unwrap())
    }

    fn hosts(upstream: &Upstream) -> Vec<String> {
        let candidates = upstream.candidates();
        candidates.iter().map(|replica| replica.address().host_str().unwrap().to_owned()).collect()
    }

    /// Returns the result of a request to an address that is invalid.
    fn unreachable() -> ProbeResult {
        let client = service_kit::web::http_client::streaming_client().unwrap();
        ProbeResult::Unreachable(client.get("nowhere").build().unwrap_err())
    }

    #[test]
    fn replicas_are_used_in_turn() {
        let upstream = upstream(3);
        let first: Vec<_> = (0..4).map(|_| hosts(&upstream).remove(0)).collect();
        assert_eq!(first, ["r0", "r1", "r2", "r0"]);
        assert_eq!(hosts(&upstream), ["r1", "r2", "r0"]);
    }

    #[test]
    fn an_unhealthy_replica_is_left_out() {
        let upstream = upstream(3);
        upstream.replicas[1].record(unreachable());
        let first: Vec<_> = (0..4).map(|_| hosts(&upstream).remove(0)).collect();
        assert_eq!(first, ["r0", "r2", "r0", "r2"]);
        upstream.replicas[1].record(ProbeResult::Ready(None));
        assert_eq!(hosts(&upstream).len(), 3);
    }

    #[test]
    fn a_replica_that_was_not_probed_is_tried_but_does_not_make_the_service_ready() {
        let upstream = upstream(1);
        assert_eq!(hosts(&upstream), ["r0"]);
        assert!(!upstream.replicas[0].is_ready());
        upstream.replicas[0].record(ProbeResult::Ready(None));
        assert!(upstream.replicas[0].is_ready());
    }

    #[test]
    fn a_replica_that_is_not_ready_or_unreachable_is_left_out_at_once() {
        for result in [ProbeResult::NotReady(None), unreachable()] {
            let upstream = upstream(1);
            upstream.replicas[0].record(result);
            assert!(upstream.candidates().is_empty());
        }
    }

    #[test]
    fn only_three_slow_probes_in_a_row_make_a_replica_unhealthy() {
        let upstream = upstream(1);
        let replica = &upstream.replicas[0];
        replica.record(ProbeResult::Ready(None));
        for _ in 0..2 {
            replica.record(ProbeResult::Slow);
            replica.record(ProbeResult::Slow);
            assert!(replica.is_ready());
            replica.record(ProbeResult::Ready(None));
        }
        for _ in 0..3 {
            replica.record(ProbeResult::Slow);
        }
        assert!(upstream.candidates().is_empty());
    }

    #[test]
    fn an_address_keeps_path_and_query() {
        let upstream = upstream(1);
        let url = upstream.replicas[0].url("/stories/caf%C3%A9/", Some("a=%2e&b=//c?d")).unwrap();
        assert_eq!(url.as_str(), "http://r0/stories/caf%C3%A9/?a=%2e&b=//c?d");
        let url = upstream.replicas[0].url("/stories", Some("")).unwrap();
        assert_eq!(url.as_str(), "http://r0/stories?");
    }

    #[test]
    fn a_path_that_would_change_gives_no_address() {
        let upstream = upstream(1);
        for path in ["/a/../b", "/a/%2e%2e/b", "/a\\b", "@evil/x", ":81/x", "/a b", "/a?b", ""] {
            assert!(upstream.replicas[0].url(path, None).is_err(), "{path}");
        }
    }
}
