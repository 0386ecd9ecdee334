//! How the services are, and how the gateway is as a result.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use service_kit::{
    clock::Clock,
    health::{Health, Report},
};
use tokio::{task::JoinSet, time::MissedTickBehavior};

use crate::{
    Timeouts,
    upstream::{Finding, Replica, Upstream, Upstreams},
};

/// How many probes in a row come quickly after a start: for three seconds, until the replica is
/// ready.
const EAGER_PROBES: u32 = 60;

/// How long after a probe the next one comes after a start.
const EAGER_PROBE_INTERVAL: Duration = Duration::from_millis(50);

/// The gateway's own state: ready when each service has a replica that is.
pub(crate) fn of_gateway(upstreams: &Upstreams, client: &Client, timeouts: Timeouts) -> Health {
    let mut builder = Health::builder();
    for upstream in upstreams.all() {
        let checked = Arc::clone(upstream);
        builder = builder.check(upstream.name(), move || std::future::ready(checked.report()));
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

async fn keep_probing(replica: Arc<Replica>, client: Client, timeouts: Timeouts) {
    // The services are started together: in the beginning each moment counts.
    for _ in 0..EAGER_PROBES {
        replica.learn(probe(&replica, &client, timeouts.probe).await);
        if replica.is_ready() {
            break;
        }
        tokio::time::sleep(EAGER_PROBE_INTERVAL.min(timeouts.probe_interval)).await;
    }
    let mut interval = tokio::time::interval(timeouts.probe_interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        replica.learn(probe(&replica, &client, timeouts.probe).await);
    }
}

async fn probe(replica: &Replica, client: &Client, timeout: Duration) -> Finding {
    let answer = async {
        let response = get(replica, client, "/health/ready").timeout(timeout).send().await?;
        let status = response.status();
        Ok::<_, reqwest::Error>((status, response.bytes().await?))
    };
    match answer.await {
        Ok((status, body)) => {
            let detail: Option<Value> = serde_json::from_slice(&body).ok();
            if status == StatusCode::OK {
                Finding::Ready(detail)
            } else {
                Finding::NotReady(detail)
            }
        }
        Err(error) if error.is_timeout() && !error.is_connect() => Finding::Slow,
        Err(error) => Finding::Unreachable(error),
    }
}

/// Makes a replica of every service reach its database.
async fn warm_up(upstreams: Upstreams, client: Client, timeout: Duration) -> Report {
    let warmed = upstreams.all().map(|upstream| is_warm(upstream, &client, timeout));
    if join_all(warmed).await.into_iter().all(|is_warm| is_warm) {
        Report::ok()
    } else {
        Report::failed("a service cannot reach its database")
    }
}

async fn is_warm(upstream: &Upstream, client: &Client, timeout: Duration) -> bool {
    for replica in upstream.candidates() {
        let answer = get(replica, client, "/warmup").timeout(timeout).send().await;
        if answer.is_ok_and(|response| response.status() == StatusCode::OK) {
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
