//! Processes that receive SIGKILL, SIGSTOP and SIGTERM.

use migrations::State;
use mongodb::bson::{Bson, DateTime, doc};
use test_support::migration_id;

use crate::{
    accounts::{Recording, Tally, assert_forward, journaled, repeated, rounds, signed},
    sites::{BACKFILL, LEASE, Site, TAKEOVER, WAITS, ready_for_backfill, slowly},
    support::Turbulence,
};

const STORIES: u32 = 300;

/// Kills a process that is held at a fail point while another one waits for its lease, and returns
/// when that has finished. The migration is `running` or verifying at the time of the kill.
async fn kill(site: &Site, held: Turbulence, arguments: &[&str], migration: &str) {
    held.logged("\"failpoint\":").await;
    let successor = site.start(arguments);
    successor.logged(WAITS).await;
    let killed = DateTime::now();
    held.signal("KILL");
    successor.ended().await.success();

    let ended = held.ended().await;
    assert_eq!(ended.status.code(), None, "{ended:#?}");
    let entry = site.entry(migration).await;
    assert_eq!((entry.state, entry.attempts), (State::Applied, 2), "{entry:#?}");
    let taken_over = entry.started_at.unwrap().saturating_duration_since(killed);
    assert!(taken_over < LEASE + TAKEOVER, "it took {taken_over:?}");
    let [run] = entry.history.as_slice() else { panic!("{entry:#?}") };
    assert_eq!((run.state, run.fence), (State::Applied, entry.fence), "{entry:#?}");
}

/// Kills a backfill at a place that it has passed so many times.
async fn kill_backfill(place: &str, times: u32) -> Tally {
    let site = ready_for_backfill(Site::new().await, STORIES).await;
    let recording = Recording::start(&site.database, "content_migrations").await;
    let held = site.start_held(&slowly("400"), place, times);
    held.logged("\"failpoint\":").await;

    // Data, cursor and journal agree at any time.
    let at_kill = site.entry(BACKFILL).await;
    assert_eq!((at_kill.state, at_kill.attempts), (State::Running, 1), "{at_kill:#?}");
    let progress = at_kill.progress.unwrap();
    let linked = site.count("stories", doc! { "section_id": { "$exists": true } }).await;
    assert_eq!((progress.modified, at_kill.journaled), (linked, linked));
    let up_to_cursor = doc! { "_id": { "$lte": &progress.cursor } };
    assert_eq!(site.count("stories", up_to_cursor).await, linked);
    assert!(0 < linked && linked < STORIES.into(), "{linked} of {STORIES} are linked");

    kill(&site, held, &slowly("400"), BACKFILL).await;
    assert_forward(&recording.versions(BACKFILL).await);
    // The successor begins just behind the cursor, and ends at the last story.
    let changes = journaled(&site.database, "content", BACKFILL).await;
    let by_successor = changes.iter().filter(|(fence, _)| *fence > at_kill.fence);
    assert_eq!(signed(by_successor.clone().count()), i64::from(STORIES) - linked);
    let id = |id: &Bson| id.as_object_id().unwrap();
    assert!(by_successor.clone().all(|(_, one)| id(one) > id(&progress.cursor)));
    site.account(STORIES.into()).await
}

async fn kill_backfills(place: &str) -> Tally {
    let mut tally = Tally::default();
    for round in rounds(2) {
        // Of nine transactions, the third to the eighth.
        tally += kill_backfill(place, 2 + round * 4 % 6).await;
    }
    tally
}

pub(crate) async fn killed_before_the_write_it_resumes_at_the_cursor() -> Tally {
    kill_backfills("transaction_before_write").await
}

pub(crate) async fn killed_before_the_commit_it_resumes_at_the_cursor() -> Tally {
    kill_backfills("transaction_before_commit").await
}

pub(crate) async fn killed_after_the_commit_it_resumes_at_the_cursor() -> Tally {
    kill_backfills("transaction_after_commit").await
}

pub(crate) async fn killed_before_applied_it_is_verified_again() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = ready_for_backfill(Site::new().await, STORIES).await;
        let arguments = ["migrate", "up", "--to", BACKFILL, "--no-throttle"];
        let held = site.start_held(&arguments, "before_applied", 0);
        held.logged("\"failpoint\":").await;
        let at_kill = site.entry(BACKFILL).await;
        assert_eq!(at_kill.state, State::Verifying);
        let changes = journaled(&site.database, "content", BACKFILL).await;

        kill(&site, held, &arguments, BACKFILL).await;
        // Nothing was left to do but to look.
        assert_eq!(journaled(&site.database, "content", BACKFILL).await, changes);
        let entry = site.entry(BACKFILL).await;
        assert!(entry.verify.unwrap().ok);
        assert_eq!(entry.parts, at_kill.parts);
        tally += site.account(STORIES.into()).await;
    }
    tally
}

pub(crate) async fn killed_before_an_index_is_built_it_is_built_once() -> Tally {
    let mut tally = Tally::default();
    for round in rounds(2) {
        let site = ready_for_backfill(Site::new().await, 10).await;
        site.migrate_to(BACKFILL).await;
        let arguments = ["migrate", "up", "--to", migration_id("content_indexes")];
        // There are eleven: it is held at the second, fifth, eighth or last.
        let held = site.start_held(&arguments, "index_before_build", 1 + round * 3 % 10);
        kill(&site, held, &arguments, migration_id("content_indexes")).await;

        let built = journaled(&site.database, "content", migration_id("content_indexes")).await;
        let mut missing = 0;
        for (_, index) in &built {
            let (collection, name) = index.as_str().unwrap().split_once('.').unwrap();
            let names = site.collection(collection).list_index_names().await.unwrap();
            missing += i64::from(!names.iter().any(|existing| existing == name));
        }
        let different = signed(built.len()) - repeated(&built);
        assert_eq!(different, 11);
        let journaled = site.entry(migration_id("content_indexes")).await.journaled;
        tally += Tally::round(missing, repeated(&built)).and(Tally::counted(different, journaled));
        // The later migrations, too.
        site.run(&["migrate", "up"]).await.success();
        site.run(&["migrate", "verify", "--service", "content"]).await.success();
    }
    tally
}

pub(crate) async fn killed_around_the_seed_there_are_four_sections() -> Tally {
    let mut tally = Tally::default();
    for round in rounds(2) {
        let place = ["transaction_before_commit", "transaction_after_commit"][round as usize % 2];
        let site = Site::new().await;
        let arguments = ["migrate", "up", "--service", "sections"];
        // The first two say that an index is about to be built.
        let held = site.start_held(&arguments, place, 2);
        held.logged("\"failpoint\":").await;
        let successor = site.start(&arguments);
        successor.logged(WAITS).await;
        held.signal("KILL");
        successor.ended().await.success();

        let seed = migration_id("seed_initial_sections");
        let entry = site.find_entry_of("sections", seed).await.unwrap();
        assert_eq!((entry.state, entry.attempts), (State::Applied, 2), "{entry:#?}");
        let inserted = journaled(&site.database, "sections", seed).await;
        tally += Tally::counted(4, site.count("sections", doc! {}).await)
            .and(Tally::counted(4, signed(inserted.len())))
            .and(Tally::counted(4, entry.journaled));
    }
    tally
}
