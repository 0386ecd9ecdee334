//! Hostile and unlucky clients: a site of three processes, each under a limit of memory, with a reader
//! beside each kind of client. `docs/reference/faults.md` has the table that this prints.
//!
//! A row fails if a process is killed, if it takes more memory than the limit, or if the readers notice
//! more than the row allows. To add a client, write it in `clients.rs` and add a row to the list.
//! `TURBULENCE_HOSTILE_SECONDS=10` has each client act for ten seconds, and checks the times of the
//! readers: they need a machine without other work, and optimised processes.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod clients;
mod cluster;
mod memory;
mod provider;
mod raw;
mod readers;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    fmt,
    io::Write,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use clients::Target;
use cluster::Cluster;
use memory::LIMIT_BYTES;
use readers::{Outcomes, Readers, run_hostile};

/// The time for which a client acts, unless the environment says so.
const SECONDS: f64 = 1.5;

/// The largest time of 99 of 100 readers in a short run, whatever else the machine does.
const SHORT_RUN_LIMIT: Duration = Duration::from_secs(5);

/// A kind of client, and what readers may notice of it.
#[derive(Clone, Copy)]
struct Row {
    rule: &'static str,
    /// The description in the table.
    does: &'static str,
    client: fn(Target) -> LocalBoxFuture<'static, ()>,
    readers: Readers,
    /// The limit for the time of 99 of 100 readers.
    limit: Limit,
}

/// A limit for the time of 99 of 100 readers.
#[derive(Debug, Clone, Copy)]
enum Limit {
    /// A multiple of the time without the client.
    Times(f64),
    /// A number of milliseconds: the clients are as many readers as the site can serve, and would be
    /// welcome if they were not hostile.
    Milliseconds(u64),
}

impl Limit {
    fn allows(self, without: Duration, with: Duration) -> bool {
        match self {
            Self::Times(factor) => with <= without.mul_f64(factor),
            Self::Milliseconds(limit) => with <= Duration::from_millis(limit),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(factor) => write!(f, "{factor} ×"),
            Self::Milliseconds(limit) => write!(f, "{limit} ms"),
        }
    }
}

macro_rules! row {
    ($client:ident, $does:literal, $readers:ident, $limit:expr) => {
        Row {
            rule: stringify!($client),
            does: $does,
            client: |target| Box::pin(clients::$client(target)),
            readers: Readers::$readers,
            limit: $limit,
        }
    };
}

fn rows() -> Vec<Row> {
    const TWICE: Limit = Limit::Times(2.0);
    // The latency beyond which the services count as overloaded.
    const BUSY: Limit = Limit::Milliseconds(250);
    // Google takes 100 ms.
    const SIGN_IN: Limit = Limit::Milliseconds(1_000);
    vec![
        row!(
            bodies_of_unknown_members,
            "100 bodies with 400,000 unknown members, at once, with a token",
            Public,
            TWICE
        ),
        row!(bodies_of_nested_arrays, "50 bodies of 2,000,000 nested arrays", Public, TWICE),
        row!(bodies_of_long_lists, "50 bodies with lists of 80,000 to 150,000 ids", Public, TWICE),
        row!(bodies_of_much_markup, "50 stories with 90,000 open elements", Public, TWICE),
        row!(compressed_bodies, "50 bodies that say that they are compressed", Public, TWICE),
        row!(chunked_bodies, "100 chunked bodies of 4 MB that do not end", Public, TWICE),
        row!(bodies_byte_by_byte, "500 bodies of 4 MB, two bytes a second", Public, TWICE),
        row!(
            half_heads_after_a_request,
            "1,000 connections with half a second head",
            Public,
            TWICE
        ),
        row!(heads_without_an_end, "200 heads that do not end", Public, TWICE),
        row!(
            pipelined_requests_that_are_not_read,
            "150 connections with 30 pipelined requests, nothing read",
            Public,
            BUSY
        ),
        row!(lists_that_are_not_read, "1,000 lists of 450 kB, nothing read", Public, BUSY),
        row!(large_pages_that_are_not_read, "300 pages of 4 MiB, nothing read", Public, BUSY),
        row!(
            lists_that_are_read_byte_by_byte,
            "300 lists of 450 kB, read by 160 bytes a second",
            Public,
            TWICE
        ),
        row!(large_pages, "40 readers of a page with 50 stories of 480 kB", Public, BUSY),
        row!(offsets, "40 clients with offsets up to 10,000 and of 2147483647", Public, BUSY),
        row!(warmups, "64 clients of /warmup", Public, TWICE),
        row!(many_addresses_of_items, "40 clients, each request for another address", Public, BUSY),
        row!(
            conditions_and_ranges,
            "40 clients with 1,000 ranges and 1,000 tags in each request",
            Public,
            BUSY
        ),
        row!(many_keys, "20 editors, each request with another `Idempotency-Key`", Public, BUSY),
        row!(connections_that_break, "500 clients that break their connection", Public, BUSY),
        row!(
            made_up_tokens,
            "400 connections of one address, each request with another made-up token",
            Editors,
            SIGN_IN
        ),
        row!(made_up_tokens_of_many_addresses, "the same from 400 addresses", Editors, SIGN_IN),
    ]
}

/// The time for which each client acts.
fn duration() -> (Duration, bool) {
    match std::env::var("TURBULENCE_HOSTILE_SECONDS") {
        Ok(seconds) => (Duration::from_secs_f64(seconds.parse().unwrap()), true),
        Err(_) => (Duration::from_secs_f64(SECONDS), false),
    }
}

/// The site, which the rows use one after the other.
struct Site {
    runtime: Runtime,
    cluster: Option<Cluster>,
}

type Table = Arc<Mutex<Vec<[String; 9]>>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let table = Table::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let site = Arc::new(Mutex::new(Site { runtime, cluster: None }));
    let trials = rows().into_iter().map(|row| {
        let (table, site) = (table.clone(), site.clone());
        Trial::test(row.rule, move || {
            run(&row, &mut site.lock().unwrap_or_else(PoisonError::into_inner), &table)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    site.lock().unwrap_or_else(PoisonError::into_inner).cluster.take();
    let _ = std::io::stdout().write_all(markdown(&table.lock().unwrap()).as_bytes());
    conclusion.exit_code()
}

fn run(row: &Row, site: &mut Site, table: &Table) -> Result<(), Failed> {
    let Site { runtime, cluster } = site;
    // Taken, so that the next row has a new one if this one panics.
    let running = cluster.take().map(|mut running| (running.killed().is_empty(), running));
    let mut running = match running {
        Some((true, running)) => running,
        _ => runtime.block_on(Cluster::start()),
    };
    let (time, is_long) = duration();
    let url = running.url().to_owned();
    runtime.block_on(running.answers());
    let calm = runtime.block_on(row.readers.read(&url, time));
    running.reset_peaks();
    let outcomes = Outcomes::default();
    let target = Target { socket: running.socket(), outcomes: outcomes.clone() };
    let client = row.client;
    let hostile = run_hostile(time, move || client(target));
    let beside = runtime.block_on(row.readers.read(&url, time));
    hostile.join().unwrap();
    let recovered = runtime.block_on(running.recovers());
    let (peaks, killed) = (running.peaks(), running.killed());
    if recovered {
        *cluster = Some(running);
    }

    let slower = beside.p99().as_secs_f64() / calm.p99().as_secs_f64();
    let mebibytes = |bytes: Option<u64>| match bytes {
        Some(bytes) => format!("{} MiB", bytes / 1024 / 1024),
        None => "–".to_owned(),
    };
    let [gateway, sections, content] = peaks.map(mebibytes);
    let killed_names = if killed.is_empty() { "no".to_owned() } else { killed.join(", ") };
    let times = format!("{:.1?} → {:.1?}", calm.p99(), beside.p99());
    let cells = [
        row.does.to_owned(),
        outcomes.to_string(),
        format!("{gateway}, {sections}, {content}"),
        killed_names,
        beside.requests().to_string(),
        beside.failed.to_string(),
        times,
        format!("{slower:.1}"),
        format!("0 failed, {}", row.limit),
    ];
    let line = cells.join(" | ");
    table.lock().unwrap().push(cells);

    let is_within = peaks.into_iter().flatten().all(|peak| peak <= LIMIT_BYTES);
    let is_quick = match is_long {
        true => row.limit.allows(calm.p99(), beside.p99()),
        false => beside.p99() <= SHORT_RUN_LIMIT,
    };
    if killed.is_empty() && recovered && is_within && beside.failed == 0 && is_quick {
        return Ok(());
    }
    let failures = &beside.failures;
    Err(Failed::from(format!("{line}; recovered: {recovered}; failures of readers: {failures:?}")))
}

fn markdown(rows: &[[String; 9]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head = "| client | its requests | peak of gateway, sections, content | killed | requests of \
                readers | failed | p99 without → with | ratio | limit |\n\
                |---|---|---|---|--:|--:|---|--:|---|\n";
    let lines = rows.iter().map(|cells| format!("| {} |\n", cells.join(" | ")));
    head.to_owned() + &lines.collect::<String>()
}
