//! The health of the services, and of the gateway as a result.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use http::{StatusCode, uri::PathAndQuery};
use service_kit::{
    runtime::clock::Clock,
    web::{
        health::{CheckResult, Health},
        upstream::{BoxError, HttpClient, Policy, Replica, Upstream},
    },
};
use tokio::time::timeout;

use super::migrations;
use crate::{proxy::upstream::Upstreams, timeouts::Timeouts};

/// The path that makes a service connect to its database.
const WARMUP: &str = "/warmup";

/// The state of a service that cannot answer.
const NOT_HEALTHY: &str = "no replica is healthy";

/// Returns the health of the gateway: it is ready if each essential service has a ready replica.
pub(crate) fn gateway_health(upstreams: &Upstreams, timeouts: Timeouts) -> Health {
    let mut builder = Health::builder();
    for upstream in upstreams.all() {
        let checked = Arc::clone(upstream);
        let is_essential = upstreams.essential().iter().any(|one| Arc::ptr_eq(one, upstream));
        builder = builder
            .check(upstream.name(), move || std::future::ready(check(&checked, is_essential)));
    }
    let upstreams = upstreams.clone();
    builder
        .warmup(move || warm_up(upstreams.clone(), timeouts.response_head))
        .build(Clock::system())
}

/// Checks a service: it is ready if one of its replicas is. The gateway does without one that is not
/// essential.
fn check(upstream: &Upstream, is_essential: bool) -> CheckResult {
    let replicas = upstream.replicas();
    let is_ready = replicas.iter().any(|replica| replica.is_ready());
    let result = match (is_ready, is_essential) {
        (true, _) => CheckResult::ok(),
        (false, true) => CheckResult::failed(NOT_HEALTHY),
        (false, false) => CheckResult::ok().with("warning", NOT_HEALTHY),
    };
    let replicas: Vec<_> = replicas.iter().map(|replica| replica.describe()).collect();
    let migrations = migrations::summary(replicas.iter().map(|replica| &replica["detail"]));
    let result = match migrations {
        Some(migrations) => result.with("migrations", migrations),
        None => result,
    };
    result.with("replicas", replicas)
}

/// Makes a replica of every essential service connect to its database.
async fn warm_up(upstreams: Upstreams, limit: Duration) -> CheckResult {
    let warmed = upstreams.essential().map(|upstream| is_warm(upstream, limit));
    if join_all(warmed).await.into_iter().all(|is_warm| is_warm) {
        CheckResult::ok()
    } else {
        CheckResult::failed("a service cannot reach its database")
    }
}

async fn is_warm(upstream: &Arc<Upstream>, limit: Duration) -> bool {
    let client = HttpClient::unpooled();
    let attempt = |replica: Arc<Replica>| {
        let client = &client;
        async move { client.get::<BoxError>(&replica, PathAndQuery::from_static(WARMUP)).await }
    };
    let response = timeout(limit, upstream.send(Policy::SAFE, attempt)).await;
    response.is_ok_and(|sent| sent.is_ok_and(|response| response.status() == StatusCode::OK))
}
