//! The health of the services, and of the gateway as a result.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use service_kit::{
    runtime::clock::Clock,
    web::health::{CheckResult, Health},
};
use tokio::{task::JoinSet, time::MissedTickBehavior};

use super::migrations;
use crate::{
    proxy::upstream::{ProbeResult, Replica, Upstream, Upstreams},
    timeouts::Timeouts,
};

/// The number of quick probes after a start: they last three seconds, or until the replica is ready.
const EAGER_PROBES: u32 = 60;

/// The time between two quick probes.
const EAGER_PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// Returns the health of the gateway: it is ready if each service has a ready replica.
pub(crate) fn gateway_health(upstreams: &Upstreams, client: &Client, timeouts: Timeouts) -> Health {
    let mut builder = Health::builder();
    for upstream in upstreams.all() {
        let checked = Arc::clone(upstream);
        builder = builder.check(upstream.name(), move || std::future::ready(check(&checked)));
    }
    let (upstreams, client) = (upstreams.clone(), client.clone());
    builder
        .warmup(move || warm_up(upstreams.clone(), client.clone(), timeouts.response_head))
        .build(Clock::system())
}

/// Probes all replicas until the set is dropped.
pub(crate) fn probe_all(upstreams: &Upstreams, client: &Client, timeouts: Timeouts) -> JoinSet<()> {
    let replicas = upstreams.all().into_iter().flat_map(|upstream| upstream.replicas());
    replicas.map(|replica| keep_probing(Arc::clone(replica), client.clone(), timeouts)).collect()
}

/// Checks a service: it is ready if one of its replicas is.
fn check(upstream: &Upstream) -> CheckResult {
    let is_ready = upstream.replicas().iter().any(|replica| replica.is_ready());
    let result =
        if is_ready { CheckResult::ok() } else { CheckResult::failed("no replica is healthy") };
    let replicas: Vec<_> = upstream.replicas().iter().map(|replica| replica.describe()).collect();
    let migrations = migrations::summary(replicas.iter().map(|replica| &replica["detail"]));
    let result = match migrations {
        Some(migrations) => result.with("migrations", migrations),
        None => result,
    };
    result.with("replicas", replicas)
}

async fn keep_probing(replica: Arc<Replica>, client: Client, timeouts: Timeouts) {
    // The services start at the same time as the gateway, so that each is ready within moments.
    for _ in 0..EAGER_PROBES {
        replica.record(probe(&replica, &client, timeouts.probe).await);
        if replica.is_ready() {
            break;
        }
        tokio::time::sleep(EAGER_PROBE_INTERVAL.min(timeouts.probe_interval)).await;
    }
    let mut interval = tokio::time::interval(timeouts.probe_interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        replica.record(probe(&replica, &client, timeouts.probe).await);
    }
}

async fn probe(replica: &Replica, client: &Client, timeout: Duration) -> ProbeResult {
    let response = async {
        let response = get(replica, client, "/health/ready").timeout(timeout).send().await?;
        let status = response.status();
        Ok::<_, reqwest::Error>((status, response.bytes().await?))
    };
    match response.await {
        Ok((status, body)) => {
            let detail: Option<Value> = serde_json::from_slice(&body).ok();
            if status == StatusCode::OK {
                ProbeResult::Ready(detail)
            } else {
                ProbeResult::NotReady(detail)
            }
        }
        Err(error) if error.is_timeout() && !error.is_connect() => ProbeResult::Slow,
        Err(error) => ProbeResult::Unreachable(error),
    }
}

/// Makes a replica of every service connect to its database.
async fn warm_up(upstreams: Upstreams, client: Client, timeout: Duration) -> CheckResult {
    let warmed = upstreams.all().map(|upstream| is_warm(upstream, &client, timeout));
    if join_all(warmed).await.into_iter().all(|is_warm| is_warm) {
        CheckResult::ok()
    } else {
        CheckResult::failed("a service cannot reach its database")
    }
}

async fn is_warm(upstream: &Upstream, client: &Client, timeout: Duration) -> bool {
    for replica in upstream.candidates() {
        let response = get(replica, client, "/warmup").timeout(timeout).send().await;
        if response.is_ok_and(|response| response.status() == StatusCode::OK) {
            return true;
        }
    }
    false
}

fn get(replica: &Replica, client: &Client, path: &str) -> reqwest::RequestBuilder {
    let mut url = replica.address().clone();
    url.set_path(path);
    client.get(url)
}
