//! Probes of readiness.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use http::{StatusCode, uri::PathAndQuery};
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, timeout},
};

use super::{AttemptError, BoxError, HttpClient, Replica, Upstream};

/// The path of readiness.
const READY: &str = "/health/ready";

/// The largest report of readiness, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// The number of quick probes of a new replica: they last three seconds, or until it is ready.
const EAGER_PROBES: u32 = 60;

/// The time between two quick probes.
const EAGER_INTERVAL: Duration = Duration::from_millis(50);

/// The result of a probe.
#[derive(Debug)]
pub enum ProbeResult {
    /// The replica is ready; with the body of its response.
    Ready(Option<Value>),
    /// The replica is not ready; with the body of its response.
    NotReady(Option<Value>),
    /// No response in time. A replica that is slow is not dead.
    Slow,
    /// No connection, or a broken one. The error is for the log.
    Unreachable(BoxError),
}

/// The times of probes.
#[derive(Debug, Clone, Copy)]
pub struct ProbeTimes {
    /// The longest time for a response.
    pub timeout: Duration,
    /// The time between two probes of a replica: one that recovers is used after that time.
    pub interval: Duration,
}

impl Upstream {
    /// Probes all replicas until the returned set is dropped. Each probe has a connection of its own:
    /// a connection that is kept may lead to another process than new ones do.
    pub fn probe(self: &Arc<Self>, times: ProbeTimes) -> JoinSet<()> {
        let upstream = Arc::clone(self);
        let client = HttpClient::unpooled();
        let mut supervisor = JoinSet::new();
        supervisor.spawn(async move {
            let mut lists = upstream.replicas.subscribe();
            let mut probed: Vec<Weak<Replica>> = Vec::new();
            let mut probes = JoinSet::new();
            upstream.ensure_resolving();
            loop {
                let replicas = lists.borrow_and_update().clone();
                probed.retain(|replica| replica.strong_count() > 0);
                for replica in replicas.iter() {
                    let weak = Arc::downgrade(replica);
                    if !probed.iter().any(|known| known.ptr_eq(&weak)) {
                        probes.spawn(keep_probing(weak.clone(), client.clone(), times));
                        probed.push(weak);
                    }
                }
                // Ended probes are removed.
                while probes.try_join_next().is_some() {}
                if lists.changed().await.is_err() {
                    return;
                }
            }
        });
        supervisor
    }
}

/// Probes a replica until it is removed.
async fn keep_probing(replica: Weak<Replica>, client: HttpClient, times: ProbeTimes) {
    let probe = async || {
        let replica = replica.upgrade()?;
        let result = probe(&replica, &client, times.timeout).await;
        replica.record_probe(result, Instant::now());
        Some(replica.is_ready())
    };
    // The services start at the same time as the gateway, so that each is ready within moments.
    for _ in 0..EAGER_PROBES {
        match probe().await {
            None => return,
            Some(true) => break,
            Some(false) => tokio::time::sleep(EAGER_INTERVAL.min(times.interval)).await,
        }
    }
    let mut interval = tokio::time::interval(times.interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if probe().await.is_none() {
            return;
        }
    }
}

async fn probe(replica: &Arc<Replica>, client: &HttpClient, limit: Duration) -> ProbeResult {
    let response = async {
        let response = client.get(replica, PathAndQuery::from_static(READY)).await?;
        let status = response.status();
        let body = response.bytes(MAX_BYTES, limit).await.map_err(AttemptError::Truncated)?;
        Ok::<_, AttemptError<BoxError>>((status, body))
    };
    match timeout(limit, response).await {
        Ok(Ok((status, body))) => {
            let detail: Option<Value> = serde_json::from_slice(&body).ok();
            if status == StatusCode::OK {
                ProbeResult::Ready(detail)
            } else {
                ProbeResult::NotReady(detail)
            }
        }
        Ok(Err(AttemptError::Timeout)) | Err(_) => ProbeResult::Slow,
        Ok(Err(
            AttemptError::NotConnected(error)
            | AttemptError::Broken(error)
            | AttemptError::Truncated(error)
            | AttemptError::Other(error),
        )) => ProbeResult::Unreachable(error),
    }
}
