//! The way through the gateway: answers from memory against a bare server and against nginx, answers
//! of a service against those without the gateway, and the age and memory of what is kept.

mod cached;
mod freshness;
mod hello;
mod memory;
mod nginx;
mod passed_on;
mod writer;

use serde_json::Value;

use crate::{
    connection::Connection,
    support::{FEW, connect, insert_stories},
    table::Table,
    up::Up,
    wrk::{Get, median, rate_with},
};

/// The database, the number of connections, and the rounds in which the sides take turns.
const DATABASE: &str = "site_gateway";
const CONNECTIONS: u32 = 32;
const ROUNDS: usize = 5;
const WRK_TIME: &str = "2s";

/// The reads of a site that count most.
const PATHS: [&str; 4] = ["/sections", "/stories?limit=10", SLUG, "/resolve?path=/blog"];
const SLUG: &str = "/stories/slug/story-1";

/// The token of the editors, and the secret of the processes.
const TOKEN: &str = "5d3c0c4f6a7b4f0f9d1e2a3b4c5d6e7f";
const SECRET: &str = "0f9d1e2a3b4c5d6e7f5d3c0c4f6a7b4f";

/// The settings of all gateways here: a log as in production, which is discarded, and limits that are
/// checked but not reached.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("RUST_LOG", "info"),
    ("TURBULENCE__RATE_LIMIT__REQUESTS_PER_SECOND", "1000000"),
    ("TURBULENCE__RATE_LIMIT__BURST", "1000000"),
    ("TURBULENCE__AUTH__STATIC_TOKEN", TOKEN),
    ("TURBULENCE__INTERNAL__SECRET", SECRET),
];

/// The parts for which `is_asked` is true, or all of them.
pub(crate) async fn gateway(uri: &str, is_asked: impl Fn(&str) -> bool, table: &mut Table) {
    let parts = ["cached", "writes", "passed-on", "freshness", "memory"];
    let is_all = !parts.into_iter().any(&is_asked);
    let is_asked = |part| is_all || is_asked(part);
    let connection = connect(uri, DATABASE).await;
    insert_stories(&connection, "stories", FEW, 500).await;
    if is_asked("cached") {
        cached::cached(uri, table).await;
    }
    if is_asked("writes") {
        cached::beside_writes(uri, table).await;
    }
    if is_asked("passed-on") {
        passed_on::passed_on(uri, table).await;
    }
    if is_asked("freshness") {
        freshness::freshness(uri, table).await;
    }
    if is_asked("memory") {
        memory::memory(uri, table);
    }
}

/// Starts the whole system with [`ENVIRONMENT`] and these variables.
fn start(uri: &str, variables: &[(&str, &str)]) -> Up {
    let up = Up::start_with(uri, DATABASE, &[], &[&ENVIRONMENT, variables].concat());
    up.wait_until_ready();
    up
}

/// Returns the address of a service behind the gateway.
fn service_address(gateway: &str, service: &str) -> String {
    let report = Connection::open(gateway).get("/health/ready").json();
    let address = &report["checks"][service]["replicas"][0]["address"];
    address.as_str().unwrap_or_else(|| panic!("{report}")).to_owned()
}

/// Returns the JSON of a path.
fn json(address: &str, path: &str) -> Value {
    let answer = Connection::open(address).get(path);
    assert_eq!(answer.status, 200, "{path}");
    answer.json()
}

/// Returns the median rates of requests that take turns. `before` and `after` surround each of them.
fn medians(gets: &[Get<'_>]) -> Vec<f64> {
    let mut measured = vec![Vec::new(); gets.len()];
    for _ in 0..ROUNDS {
        for (rates, get) in measured.iter_mut().zip(gets) {
            rates.push(rate_with(CONNECTIONS, WRK_TIME, *get));
        }
    }
    measured.into_iter().map(median).collect()
}
