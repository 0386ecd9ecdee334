//! Replicas of the services that are replaced, killed, stopped or at fault while clients use the site.

use serde_json::json;
use test_support::{Api, Fault, Link, Unreliable};

use crate::{
    accounts::{Tally, rounds},
    cluster::{Cluster, Gateway, Kind},
};

/// The number of requests of which each phase of a test consists.
const REQUESTS: u64 = 300;

/// The same for requests that write, which take longer.
const WRITES: u64 = 40;

/// The number of times that connections are closed in a round.
const RESETS: usize = 15;

/// Replaces all replicas under the requests of clients, one of each service after the other.
async fn rolling_updates(cluster: &mut Cluster, gateway: &Gateway) -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let readers = gateway.read();
        readers.answered(REQUESTS).await;
        for _ in 0..2 {
            cluster.replace(&Kind::BOTH).await;
            readers.answered(REQUESTS).await;
        }
        tally += Tally::round(0, 0).with_traffic(readers.stop().await);
    }
    tally
}

pub(crate) async fn no_request_fails_during_a_rolling_update_behind_one_name() -> Tally {
    let mut cluster = Cluster::start().await;
    let gateway = cluster.gateway_by_name().await;
    rolling_updates(&mut cluster, &gateway).await
}

pub(crate) async fn no_request_fails_during_a_rolling_update_of_listed_addresses() -> Tally {
    let mut cluster = Cluster::start().await;
    let gateway = cluster.gateway().await;
    rolling_updates(&mut cluster, &gateway).await
}

pub(crate) async fn no_request_fails_when_one_of_two_replicas_is_killed() -> Tally {
    let mut cluster = Cluster::start().await;
    let gateway = cluster.gateway().await;
    let mut tally = Tally::default();
    for _ in rounds(1) {
        for kind in Kind::BOTH {
            let readers = gateway.read();
            readers.answered(REQUESTS).await;
            let address = cluster.kill(kind);
            readers.answered(REQUESTS).await;
            tally += Tally::round(0, 0).with_traffic(readers.stop().await);
            // Nor does a write without a key, once the connections of the dead process are closed.
            let api = Api::new(&*gateway.url);
            for number in 0..10 {
                let story = json!({ "title": format!("Story {number}"), "content": "" });
                assert_eq!(api.call("POST", "/stories", story).await.status, 201);
            }
            cluster.restart(kind, address).await;
        }
    }
    tally
}

pub(crate) async fn reads_leave_a_replica_that_is_stopped() -> Tally {
    let cluster = Cluster::start().await;
    let gateway = cluster.gateway().await;
    let mut tally = Tally::default();
    for _ in rounds(1) {
        for kind in Kind::BOTH {
            let readers = gateway.read();
            readers.answered(REQUESTS).await;
            cluster.replica(kind).turbulence.signal("STOP");
            readers.answered(REQUESTS).await;
            cluster.replica(kind).turbulence.signal("CONT");
            tally += Tally::round(0, 0).with_traffic(readers.stop().await);
        }
    }
    tally
}

pub(crate) async fn a_post_with_a_key_leaves_a_replica_that_is_stopped_and_is_done_once() -> Tally {
    let cluster = Cluster::start().await;
    let gateway = cluster.gateway().await;
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let writers = gateway.write();
        writers.clients.answered(WRITES).await;
        cluster.replica(Kind::Content).turbulence.signal("STOP");
        writers.clients.answered(WRITES).await;
        // It continues with what it had begun.
        cluster.replica(Kind::Content).turbulence.signal("CONT");
        writers.clients.answered(WRITES).await;
        tally += writers.stop(&cluster.database).await;
    }
    tally
}

pub(crate) async fn a_replica_that_fails_half_of_its_requests_is_left() -> Tally {
    let cluster = Cluster::start().await;
    let well = cluster.replica(Kind::Content).url();
    let faults = [Fault::Answers("500 Internal Server Error", "oops"), Fault::Resets, Fault::IsCut];
    let mut tally = Tally::default();
    for _ in rounds(1) {
        for fault in faults {
            let faulty = Unreliable::half_the_time(fault, &well).await;
            let gateway = cluster.gateway_to(&format!("{well},{}", faulty.url)).await;
            let readers = gateway.read();
            readers.answered(REQUESTS * 2).await;
            let traffic = readers.stop().await;
            assert!(faulty.faults() > 0, "{fault:?}");
            tally += Tally::round(0, 0).with_traffic(traffic);
        }
    }
    tally
}

pub(crate) async fn a_post_with_a_key_survives_connections_that_close_and_is_done_once() -> Tally {
    let cluster = Cluster::start().await;
    let address = cluster.replica(Kind::Content).url();
    let link = Link::to(address.trim_start_matches("http://")).await;
    let gateway = cluster.gateway_to(&format!("http://127.0.0.1:{}", link.port())).await;
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let writers = gateway.write();
        for _ in 0..RESETS {
            writers.clients.answered(10).await;
            link.reset();
        }
        tally += writers.stop(&cluster.database).await;
    }
    tally
}
