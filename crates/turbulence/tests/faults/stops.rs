//! Processes that are stopped with SIGSTOP for longer than their lease, and processes that receive
//! SIGTERM.

use std::time::{Duration, Instant};

use migrations::State;
use mongodb::bson::doc;

use crate::{
    accounts::{Recording, Tally, assert_forward, rounds},
    servers::{FailPoints, own_mongod},
    sites::{BACKFILL, Site, WAITS, ready_for_backfill, slow_service, slowly},
    support::{Ended, Turbulence},
};

const STORIES: u32 = 400;

/// Time that a process has until its checkpoint after SIGTERM.
const GRACE: Duration = Duration::from_secs(12);

/// Stops the holder of the lease, has another process finish, and continues the first one.
async fn stop_and_continue(site: &Site, first: Turbulence) -> Tally {
    first.signal("STOP");
    let fence = site.entry(BACKFILL).await.fence;
    let successor = site.start(&["migrate", "up", "--to", BACKFILL, "--no-throttle"]);
    successor.logged(WAITS).await;
    successor.ended().await.success();
    let entry = site.entry(BACKFILL).await;
    assert_eq!((entry.state, entry.attempts), (State::Applied, 2), "{entry:#?}");
    assert!(entry.fence > fence, "{entry:#?}");

    // Not a byte is different afterwards: neither content nor ledger, journal or lease.
    let before = site.hash().await;
    first.signal("CONT");
    let ended = first.ended().await;
    let why = ended.failure(4);
    assert!(why.contains(&format!("{BACKFILL}: another process has taken over")), "{why}");
    assert_eq!(site.hash().await, before);
    site.account(STORIES.into()).await
}

pub(crate) async fn stopped_beyond_its_lease_a_process_ends_without_a_write() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(2) {
        let site = ready_for_backfill(Site::new().await, STORIES).await;
        let first = site.start(&slowly("100"));
        site.backfill_moves().await;
        tally += stop_and_continue(&site, first).await;
    }
    tally
}

pub(crate) async fn stopped_while_it_commits_its_commit_is_refused() -> Tally {
    let mongod = own_mongod().await;
    let fail_points = FailPoints::of(mongod.port()).await;
    let mut tally = Tally::default();
    for _ in rounds(2) {
        let site = ready_for_backfill(Site::on(mongod.uri()).await, STORIES).await;
        let uri = format!("{}&appName=first", site.uri);
        let first = Turbulence::spawn(site.command_at(&uri, &slowly("100")));
        site.backfill_moves().await;
        // The commit has arrived at the server, which takes its time.
        let long = doc! {
            "failCommands": ["commitTransaction"], "appName": "first",
            "blockConnection": true, "blockTimeMS": 60_000,
        };
        let before = fail_points.fail(doc! { "times": 1 }, long).await;
        fail_points.reached("failCommand", before + 1).await;
        tally += stop_and_continue(&site, first).await;
    }
    tally
}

/// Tells a process to end in the middle of the backfill, and looks at the checkpoint.
async fn tell_to_end(site: &Site, running: Turbulence, signal: &str) -> Ended {
    site.backfill_moves().await;
    site.backfill_moves().await;
    let signalled = Instant::now();
    running.signal(signal);
    let ended = running.ended().await;
    assert!(signalled.elapsed() < GRACE, "it took {:?}", signalled.elapsed());

    let entry = site.entry(BACKFILL).await;
    assert_eq!((entry.state, entry.attempts), (State::Running, 1), "{entry:#?}");
    let progress = entry.progress.unwrap();
    let linked = doc! { "section_id": { "$exists": true } };
    let up_to_cursor =
        doc! { "_id": { "$lte": &progress.cursor }, "section_id": { "$exists": true } };
    let counts = [linked, up_to_cursor, doc! { "_id": { "$lte": &progress.cursor } }];
    for filter in counts {
        assert_eq!(site.count("stories", filter.clone()).await, progress.modified, "{filter}");
    }
    assert_eq!(entry.journaled, progress.modified);
    assert!(progress.modified < STORIES.into(), "it was over already");
    assert!(!site.holder().await.unwrap().is_live(), "nobody should have to wait for the lease");
    ended
}

/// Goes on after the checkpoint, at once.
async fn go_on(site: &Site, recording: Recording) -> Tally {
    let ended = site.run(&["migrate", "up", "--to", BACKFILL, "--no-throttle"]).await;
    ended.success();
    assert!(!ended.stderr.contains(WAITS), "{ended:#?}");
    assert_eq!(site.entry(BACKFILL).await.attempts, 2);
    assert_forward(&recording.versions(BACKFILL).await);
    site.account(STORIES.into()).await
}

pub(crate) async fn a_command_that_is_told_to_end_stops_at_a_checkpoint() -> Tally {
    let mut tally = Tally::default();
    for round in rounds(2) {
        let site = ready_for_backfill(Site::new().await, STORIES).await;
        let recording = Recording::start(&site.database, "content_migrations").await;
        let running = site.start(&slowly("100"));
        let signal = ["TERM", "INT"][round as usize % 2];
        let ended = tell_to_end(&site, running, signal).await;
        let why = ended.failure(130);
        assert!(why.contains("the next run continues at the last checkpoint"), "{why}");
        tally += go_on(&site, recording).await;
    }
    tally
}

pub(crate) async fn a_service_that_is_told_to_end_stops_at_a_checkpoint() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = ready_for_backfill(Site::new().await, STORIES).await;
        let recording = Recording::start(&site.database, "content_migrations").await;
        let mut command = site.command(&["up", "--port", "0"]);
        command.envs(slow_service("100"));
        let ended = tell_to_end(&site, Turbulence::spawn(command), "TERM").await;
        ended.success();
        tally += go_on(&site, recording).await;
    }
    tally
}
