//! Hostile and unlucky clients: a site of three processes, each under a limit of memory, with readers
//! beside each kind of client. `docs/reference/faults.md` has the table that this prints.
//!
//! A row fails if a process is killed or takes more memory than the limit, or if the site does not
//! answer soon after the client has left. To add a client, write it in `clients.rs` and add a row to the
//! list. With `TURBULENCE_HOSTILE_SECONDS=6` each client acts for six seconds, and a row fails as well if
//! the readers notice more than it allows: that needs optimised processes, and a machine without other
//! work. It also fills a disk. With `TURBULENCE_HOSTILE_PROGRAM` the processes are those of another program.

#![expect(clippy::unwrap_used, reason = "a test fails where its set-up does")]

mod clients;
mod cluster;
mod disk;
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
use test_support::markdown_table;
use tokio::runtime::Runtime;

use clients::Target;
use cluster::Cluster;
use memory::{LIMIT_BYTES, MemoryGroup};
use readers::{Outcomes, Readers, Reading, run_hostile};

/// The time for which a client acts, unless the environment says so.
const SECONDS: f64 = 1.0;

/// A kind of client, and what readers may notice of it.
#[derive(Clone, Copy)]
struct Row {
    rule: &'static str,
    /// The description in the table.
    does: &'static str,
    client: fn(Target) -> LocalBoxFuture<'static, ()>,
    readers: Readers,
    limit: Limit,
}

/// The most that readers may notice.
#[derive(Debug, Clone, Copy)]
enum Limit {
    /// No request fails, and 99 of 100 take at most so many times as long as without the client.
    Slower(f64),
    /// One request of a hundred fails, and 99 of 100 take at most so many milliseconds. The clients are
    /// as many as the site can serve, and would be welcome if they were not hostile.
    Busy(u64),
}

impl Limit {
    fn allows(self, without: &Reading, with: &Reading) -> bool {
        match self {
            Self::Slower(factor) => with.failed == 0 && with.p99() <= without.p99().mul_f64(factor),
            Self::Busy(limit) => {
                with.failed * 100 <= with.requests() && with.p99() <= Duration::from_millis(limit)
            }
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slower(factor) => write!(f, "0 failed, {factor} ×"),
            Self::Busy(limit) => write!(f, "1 % failed, {limit} ms"),
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
    const TWICE: Limit = Limit::Slower(2.0);
    // The latency beyond which the services count as overloaded.
    const BUSY: Limit = Limit::Busy(250);
    // Google takes 100 ms.
    const SIGN_IN: Limit = Limit::Busy(1_000);
    vec![
        row!(
            bodies_of_unknown_members,
            "100 bodies with 400,000 unknown members, at once, with a token",
            Public,
            TWICE
        ),
        row!(bodies_of_nested_arrays, "50 bodies of 2,000,000 nested arrays", Public, TWICE),
        row!(bodies_of_long_lists, "50 bodies with lists of 80,000 to 150,000 ids", Public, TWICE),
        row!(bodies_of_much_markup, "50 stories with 20,000 open elements", Public, TWICE),
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
        row!(
            lists_from_memory_that_are_not_read,
            "the same from the memory of the gateway",
            Public,
            BUSY
        ),
        row!(large_pages_that_are_not_read, "300 pages of 4 MiB, nothing read", Public, BUSY),
        row!(
            lists_that_are_read_byte_by_byte,
            "300 lists of 450 kB, read by 160 bytes a second",
            Public,
            TWICE
        ),
        row!(large_pages, "40 readers of a page with 50 stories of 480 kB", Public, BUSY),
        row!(offsets, "40 clients with offsets up to 10,000 and of 2147483647", Public, BUSY),
        row!(
            lists_that_are_kept,
            "40 clients, each request for another list of 450 kB that the gateway keeps",
            Public,
            BUSY
        ),
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

/// The columns of the table, and `true` for numbers.
const COLUMNS: [(&str, bool); 9] = [
    ("client", false),
    ("its requests", false),
    ("peak of gateway, sections, content", false),
    ("killed", false),
    ("requests of readers", true),
    ("failed", true),
    ("p99 without → with", false),
    ("ratio", true),
    ("limit", false),
];

type Table = Arc<Mutex<Vec<[String; COLUMNS.len()]>>>;

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
    let full_disk = Trial::test("a_full_disk", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(disk::a_full_disk_is_named_and_the_site_recovers_when_there_is_space());
        Ok(())
    });
    // It takes a minute and more.
    let full_disk = full_disk.with_ignored_flag(!duration().1);
    let conclusion = libtest_mimic::run(&arguments, trials.chain([full_disk]).collect());
    site.lock().unwrap_or_else(PoisonError::into_inner).cluster.take();
    let table = table.lock().unwrap();
    if !table.is_empty() {
        let limit = match MemoryGroup::create("trial") {
            Some(_) => "the kernel kills a process that takes more than 256 MiB",
            None => "the kernel limits nothing here; the peaks are compared with 256 MiB",
        };
        let table = markdown_table(&COLUMNS, &table);
        // No reader is left if that fails.
        let _ = write!(std::io::stdout(), "Memory: {limit}.\n\n{table}");
    }
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
    let observed = Observation::make(row, runtime, &mut running);
    if observed.has_recovered {
        *cluster = Some(running);
    }
    let cells = observed.cells(row);
    let line = cells.join(" | ");
    table.lock().unwrap().push(cells);
    if observed.is_within_limits(row) {
        return Ok(());
    }
    let Observation { has_recovered, beside, .. } = observed;
    let failures = beside.failures;
    Err(Failed::from(format!("{line}; recovered: {has_recovered}; failed readers: {failures:?}")))
}

/// The site while a client acted.
struct Observation {
    outcomes: Outcomes,
    /// The readers without the client, and beside it.
    calm: Reading,
    beside: Reading,
    /// The most memory of each process; `None` for one that was killed.
    peaks: [Option<u64>; 3],
    killed: Vec<&'static str>,
    is_limited: bool,
    has_recovered: bool,
}

impl Observation {
    fn make(row: &Row, runtime: &Runtime, site: &mut Cluster) -> Self {
        let (time, is_long) = duration();
        let url = site.url().to_owned();
        runtime.block_on(site.answers());
        let calm_time = if is_long { time } else { time / 2 };
        let calm = runtime.block_on(row.readers.read(&url, calm_time));
        site.reset_peaks();
        let outcomes = Outcomes::default();
        let target = Target { socket: site.socket(), outcomes: outcomes.clone() };
        let client = row.client;
        let hostile = run_hostile(time, is_long, move || client(target));
        let beside = runtime.block_on(row.readers.read(&url, time));
        hostile.join().unwrap();
        let has_recovered = runtime.block_on(site.recovers());
        let (peaks, killed) = (site.peaks(), site.killed());
        let is_limited = site.is_limited();
        Self { outcomes, calm, beside, peaks, killed, is_limited, has_recovered }
    }

    fn cells(&self, row: &Row) -> [String; COLUMNS.len()] {
        let (calm, beside) = (self.calm.p99(), self.beside.p99());
        let peaks = self.peaks.map(|peak| match peak {
            Some(bytes) => format!("{} MiB", bytes / 1024 / 1024),
            None => "–".to_owned(),
        });
        [
            row.does.to_owned(),
            self.outcomes.to_string(),
            peaks.join(", "),
            if self.killed.is_empty() { "no".to_owned() } else { self.killed.join(", ") },
            self.beside.requests().to_string(),
            self.beside.failed.to_string(),
            format!("{calm:.1?} → {beside:.1?}"),
            format!("{:.1}", beside.as_secs_f64() / calm.as_secs_f64()),
            row.limit.to_string(),
        ]
    }

    fn is_within_limits(&self, row: &Row) -> bool {
        let mut peaks = self.peaks.into_iter().flatten();
        // The peak includes what the kernel can take back, such as the program itself.
        let has_memory = self.is_limited || peaks.all(|peak| peak <= LIMIT_BYTES);
        let is_measured = duration().1;
        let is_noticed = is_measured && !row.limit.allows(&self.calm, &self.beside);
        self.killed.is_empty() && self.has_recovered && has_memory && !is_noticed
    }
}
