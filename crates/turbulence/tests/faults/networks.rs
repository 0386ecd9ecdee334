//! Processes that are cut off from MongoDB.

use std::time::{Duration, Instant};

use migrations::State;
use test_support::Link;

use crate::{
    accounts::{Recording, Tally, assert_forward, rounds},
    sites::{BACKFILL, Site, ready_for_backfill, slow_service, slowly},
    support::Turbulence,
};

const STORIES: u32 = 400;

/// A third of it is the margin in which a holder that cannot renew it has stopped already.
const LEASE: Duration = Duration::from_secs(3);

/// Time that a process has to end after SIGTERM: the grace period in `docker-compose.yml`.
const GRACE: Duration = Duration::from_secs(30);

const SUCCESSOR: [&str; 5] = ["migrate", "up", "--to", BACKFILL, "--no-throttle"];

async fn site() -> Site {
    ready_for_backfill(Site::new().await.with_lease(LEASE), STORIES).await
}

/// The connection through which a process reaches the site's MongoDB.
async fn link(site: &Site) -> Link {
    let address = site.uri.split('/').nth(2).unwrap();
    Link::to(address).await
}

pub(crate) async fn cut_off_the_holder_stops_before_its_lease_ends() -> Tally {
    let mut tally = Tally::default();
    for round in rounds(2) {
        let site = site().await;
        let recording = Recording::start(&site.database, "content_migrations").await;
        let link = link(&site).await;
        let holder = Turbulence::spawn(site.command_at(&link.mongodb_uri(), &slowly("100")));
        let owner = site.backfill_moves().await.owner;
        link.cut();
        let cut = Instant::now();

        holder.logged("the lease is lost").await;
        assert!(cut.elapsed() < LEASE, "it took {:?}", cut.elapsed());
        let lease = site.holder().await.unwrap();
        assert!(lease.is_live() && lease.owner == owner, "it was lost already: {lease:#?}");
        site.run(&SUCCESSOR).await.success();
        let entry = site.entry(BACKFILL).await;
        assert_eq!((entry.state, entry.attempts), (State::Applied, 2), "{entry:#?}");

        let before = site.hash().await;
        // The delayed commands arrive now, unless their sender has ended.
        let ended = if round % 2 == 0 {
            link.restore();
            holder.ended().await
        } else {
            let ended = holder.ended().await;
            link.restore();
            ended
        };
        let why = ended.failure(4);
        assert!(why.contains("another process has taken over"), "{why}");
        assert_eq!(site.hash().await, before);
        assert_forward(&recording.versions(BACKFILL).await);
        tally += site.account(STORIES.into()).await;
    }
    tally
}

/// Cuts a process off, tells it to end, and returns its exit code.
async fn tell_to_end(site: &Site, link: &Link, running: Turbulence) -> Option<i32> {
    site.backfill_moves().await;
    link.cut();
    let signalled = Instant::now();
    running.signal("TERM");
    let ended = running.ended().await;
    assert!(signalled.elapsed() < GRACE, "it took {:?}: {ended:#?}", signalled.elapsed());
    ended.status.code()
}

pub(crate) async fn cut_off_a_process_can_be_told_to_end() -> Tally {
    let mut tally = Tally::default();
    for round in rounds(2) {
        let site = site().await;
        let recording = Recording::start(&site.database, "content_migrations").await;
        let link = link(&site).await;
        if round % 2 == 0 {
            let command = site.command_at(&link.mongodb_uri(), &slowly("100"));
            assert_eq!(tell_to_end(&site, &link, Turbulence::spawn(command)).await, Some(130));
        } else {
            let mut up = site.command_at(&link.mongodb_uri(), &["up", "--port", "0"]);
            up.envs(slow_service("100"));
            assert_eq!(tell_to_end(&site, &link, Turbulence::spawn(up)).await, Some(0));
        }
        link.restore();
        site.run(&SUCCESSOR).await.success();
        assert_forward(&recording.versions(BACKFILL).await);
        tally += site.account(STORIES.into()).await;
    }
    tally
}
