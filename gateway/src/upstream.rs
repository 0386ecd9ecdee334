//! The replicas of a service: which of them can be used, and whose turn it is.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use service_kit::{health::Report, process::one_line, settings};
use url::Url;

use crate::migrations;

/// After so many probes in a row without an answer in time, a replica counts as gone. One is not
/// enough: under load all replicas are slow, and taking them out would turn load into an outage.
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

/// A service.
#[derive(Debug)]
pub(crate) struct Upstream {
    name: &'static str,
    replicas: Vec<Arc<Replica>>,
    turn: AtomicUsize,
}

impl Upstream {
    fn new(name: &'static str, replicas: &settings::Replicas) -> Self {
        let replicas = replicas.urls().iter().map(|url| Arc::new(Replica::new(name, url)));
        Self { name, replicas: replicas.collect(), turn: AtomicUsize::new(0) }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn replicas(&self) -> &[Arc<Replica>] {
        &self.replicas
    }

    /// The replicas that can be used; the one whose turn it is comes first.
    pub(crate) fn candidates(&self) -> Vec<&Replica> {
        let mut usable: Vec<_> =
            self.replicas.iter().map(Arc::as_ref).filter(|replica| replica.is_usable()).collect();
        if !usable.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let first = turn % usable.len();
            usable.rotate_left(first);
        }
        usable
    }

    /// Ready when a replica is.
    pub(crate) fn report(&self) -> Report {
        let is_ready = self.replicas.iter().any(|replica| replica.is_ready());
        let report = if is_ready { Report::ok() } else { Report::failed("no replica is healthy") };
        let replicas: Vec<_> = self.replicas.iter().map(|replica| replica.report()).collect();
        let migrations = migrations::summary(replicas.iter().map(|replica| &replica["detail"]));
        let report = migrations.into_iter().fold(report, |all, one| all.with("migrations", one));
        report.with("replicas", replicas)
    }
}

/// One process of a service.
#[derive(Debug)]
pub(crate) struct Replica {
    upstream: &'static str,
    address: settings::HttpUrl,
    seen: Mutex<Seen>,
}

/// What the gateway has seen of a replica.
#[derive(Debug)]
struct Seen {
    status: Status,
    slow_probes: u32,
    /// Why it is unhealthy; public.
    reason: Option<&'static str>,
    /// What it says of itself.
    detail: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// Not asked yet: requests are sent to it, but nothing is promised.
    Unknown,
    Healthy,
    Unhealthy,
}

/// What a probe or a request found.
#[derive(Debug)]
pub(crate) enum Finding {
    /// It says that it is ready, and how it is.
    Ready(Option<Value>),
    /// It says that it is not.
    NotReady(Option<Value>),
    /// No answer in time.
    Slow,
    /// No connection, or a broken one. The cause is for the log.
    Unreachable(reqwest::Error),
}

/// The address that results is not the one that was routed.
#[derive(Debug, thiserror::Error)]
#[error("the path {path:?} does not survive in an address of {upstream}")]
pub(crate) struct PathChanged {
    path: String,
    upstream: &'static str,
}

impl Replica {
    fn new(upstream: &'static str, address: &settings::HttpUrl) -> Self {
        let status = Status::Unknown;
        let seen = Seen { status, slow_probes: 0, reason: None, detail: None };
        Self { upstream, address: address.clone(), seen: Mutex::new(seen) }
    }

    pub(crate) fn address(&self) -> &Url {
        self.address.url()
    }

    /// The address of a path (with its leading slash) and query here.
    ///
    /// Parsing an address normalises it, which must not lead anywhere else: neither to another
    /// host nor to another path. In a query, characters that should have been percent-encoded are.
    pub(crate) fn url(&self, path: &str, query: Option<&str>) -> Result<Url, PathChanged> {
        let base = self.address();
        let separator = if query.is_some() { "?" } else { "" };
        let text = format!("{}{path}{separator}{}", self.address, query.unwrap_or_default());
        Url::parse(&text)
            .ok()
            .filter(|url| url.origin() == base.origin() && url.path() == path)
            .ok_or_else(|| PathChanged { path: path.to_owned(), upstream: self.upstream })
    }

    /// Learns from what was found.
    pub(crate) fn learn(&self, finding: Finding) {
        let mut seen = self.seen();
        let before = seen.status;
        seen.slow_probes = match finding {
            Finding::Slow => seen.slow_probes.saturating_add(1),
            _ => 0,
        };
        let mut cause = None;
        let (status, reason, detail) = match finding {
            Finding::Ready(detail) => (Status::Healthy, None, detail),
            Finding::NotReady(detail) => (Status::Unhealthy, Some("not ready"), detail),
            Finding::Slow if seen.slow_probes < SLOW_PROBES_MAX => return,
            Finding::Slow => (Status::Unhealthy, Some("no answer in time"), None),
            Finding::Unreachable(error) => {
                cause = Some(one_line(&error.without_url()));
                (Status::Unhealthy, Some("unreachable"), None)
            }
        };
        let (upstream, replica) = (self.upstream, self.address.to_string());
        match (before, status) {
            (Status::Unknown | Status::Healthy, Status::Unhealthy) => {
                tracing::warn!(upstream, replica, reason, cause, "replica is unhealthy");
            }
            (Status::Unhealthy, Status::Healthy) => {
                tracing::info!(upstream, replica, "replica is healthy again");
            }
            _ => {}
        }
        (seen.status, seen.reason, seen.detail) = (status, reason, detail);
    }

    fn is_usable(&self) -> bool {
        self.seen().status != Status::Unhealthy
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.seen().status == Status::Healthy
    }

    fn report(&self) -> Value {
        let seen = self.seen();
        let status = match seen.status {
            Status::Unknown => "unknown",
            Status::Healthy => "healthy",
            Status::Unhealthy => "unhealthy",
        };
        json!({
            "address": self.address.to_string(),
            "status": status,
            "reason": seen.reason,
            "detail": seen.detail,
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics while it is locked, and if something did, it would still be whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// What a client says that was given an address it cannot connect to.
    fn unreachable() -> Finding {
        let client = service_kit::http::streaming_client().unwrap();
        Finding::Unreachable(client.get("nowhere").build().unwrap_err())
    }

    #[test]
    fn replicas_take_turns() {
        let upstream = upstream(3);
        let first: Vec<_> = (0..4).map(|_| hosts(&upstream).remove(0)).collect();
        assert_eq!(first, ["r0", "r1", "r2", "r0"]);
        assert_eq!(hosts(&upstream), ["r1", "r2", "r0"]);
    }

    #[test]
    fn the_others_share_the_turns_of_an_unhealthy_replica() {
        let upstream = upstream(3);
        upstream.replicas[1].learn(unreachable());
        let first: Vec<_> = (0..4).map(|_| hosts(&upstream).remove(0)).collect();
        assert_eq!(first, ["r0", "r2", "r0", "r2"]);
        upstream.replicas[1].learn(Finding::Ready(None));
        assert_eq!(hosts(&upstream).len(), 3);
    }

    #[test]
    fn a_replica_that_nobody_has_asked_is_tried_but_does_not_make_ready() {
        let upstream = upstream(1);
        assert_eq!(hosts(&upstream), ["r0"]);
        assert!(!upstream.replicas[0].is_ready());
        upstream.replicas[0].learn(Finding::Ready(None));
        assert!(upstream.replicas[0].is_ready());
    }

    #[test]
    fn a_replica_that_is_not_ready_or_not_there_is_out_at_once() {
        for finding in [Finding::NotReady(None), unreachable()] {
            let upstream = upstream(1);
            upstream.replicas[0].learn(finding);
            assert!(upstream.candidates().is_empty());
        }
    }

    #[test]
    fn only_three_slow_answers_in_a_row_take_a_replica_out() {
        let upstream = upstream(1);
        let replica = &upstream.replicas[0];
        replica.learn(Finding::Ready(None));
        for _ in 0..2 {
            replica.learn(Finding::Slow);
            replica.learn(Finding::Slow);
            assert!(replica.is_ready());
            replica.learn(Finding::Ready(None));
        }
        for _ in 0..3 {
            replica.learn(Finding::Slow);
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
