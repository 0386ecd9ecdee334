//! Clocks of clients that are wrong: only the server's decides about a lease.

use std::time::Duration;

use mongodb::bson::DateTime;
use test_support::{eventually, skewed_clock};

use crate::{
    accounts::{Recording, Tally, assert_forward, rounds},
    sites::{BACKFILL, LEASE, Site, TAKEOVER, WAITS, ready_for_backfill, slowly},
    support::Turbulence,
};

const STORIES: u32 = 400;

/// Deviation of the clocks in seconds.
const SKEW: i64 = 600;

/// Starts the program with a clock that is off by so much.
fn start(site: &Site, arguments: &[&str], skew: i64) -> Turbulence {
    let mut command = site.command(arguments);
    command.envs(skewed_clock(skew));
    Turbulence::spawn(command)
}

/// Returns the deviation of a process's clock according to its log.
fn skew(process: &Turbulence) -> i64 {
    let log = process.log();
    let time = log.last().unwrap()["timestamp"].as_str().unwrap();
    let time = chrono::DateTime::parse_from_rfc3339(time).unwrap();
    time.timestamp() - service_kit::runtime::clock::Clock::system().now().timestamp()
}

async fn takeover(holders: i64, successors: i64) -> Tally {
    let site = ready_for_backfill(Site::new().await, STORIES).await;
    let recording = Recording::start(&site.database, "content_migrations").await;
    let holder = start(&site, &slowly("40"), holders);
    site.backfill_moves().await;
    let successor = start(&site, &["migrate", "up", "--to", BACKFILL, "--no-throttle"], successors);
    successor.logged(WAITS).await;
    for (process, seconds) in [(&holder, holders), (&successor, successors)] {
        assert!((skew(process) - seconds).abs() < 60, "{} s", skew(process));
    }

    // For longer than a lease holds, the one that lives keeps it.
    let lease = site.holder().await.unwrap();
    eventually("the lease is renewed", async || {
        let now = site.holder().await.unwrap();
        assert_eq!((&now.owner, now.fence), (&lease.owner, lease.fence), "it was taken away");
        now.expires_at.saturating_duration_since(lease.expires_at) > LEASE
    })
    .await;

    holder.signal("KILL");
    let killed = DateTime::now();
    let expires_at = site.holder().await.unwrap().expires_at;
    successor.ended().await.success();
    let entry = site.entry(BACKFILL).await;
    assert_eq!(entry.attempts, 2, "{entry:#?}");
    let taken_over = entry.started_at.unwrap();
    assert!(taken_over >= expires_at, "at {taken_over}, though the lease held until {expires_at}");
    let waited = taken_over.saturating_duration_since(killed);
    assert!(waited < LEASE + TAKEOVER, "it took {waited:?}");

    // Every time in the ledger is the server's.
    let versions: Vec<migrations::Entry> = recording.versions(BACKFILL).await;
    assert_forward(&versions);
    let times = versions.iter().flat_map(|entry| {
        let updated = entry.progress.as_ref().and_then(|progress| progress.updated_at);
        [entry.started_at, entry.finished_at, updated]
    });
    for time in times.flatten() {
        let off = killed.timestamp_millis().abs_diff(time.timestamp_millis());
        assert!(Duration::from_millis(off) < Duration::from_secs(120), "{time}");
    }
    site.account(STORIES.into()).await
}

pub(crate) async fn wrong_clocks_neither_steal_a_lease_nor_keep_it() -> Tally {
    let mut tally = Tally::default();
    for round in rounds(2) {
        let ahead = if round % 2 == 0 { SKEW } else { -SKEW };
        tally += takeover(ahead, -ahead).await;
    }
    tally
}
