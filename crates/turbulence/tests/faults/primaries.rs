//! Replica sets that lose their primary, and servers that answer as if they had.

use local_mongod::ReplicaSet;
use migrations::State;
use mongodb::bson::{Bson, Document, doc};
use test_support::migration_id;

use crate::{
    accounts::{Recording, Tally, assert_forward, journaled, repeated, rounds, signed},
    servers::{FailPoints, own_mongod},
    sites::{BACKFILL, Site, ready_for_backfill, slowly, stories},
    support::Turbulence,
};

const STORIES: u32 = 200;

/// Time for which a command is held while the primary is lost, in milliseconds.
const HELD_MS: i32 = 3_000;

/// The activity of the primary when it is lost.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Acquire,
    Batch,
    Commit,
    IndexBuild,
}

const PLACES: [Place; 4] = [Place::Acquire, Place::Batch, Place::Commit, Place::IndexBuild];

/// The way in which the primary is lost.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Loss {
    StepDown,
    Kill,
}

impl Place {
    /// Has the primary stand still at this place. Returns the fail point, and how often it will
    /// have been reached then.
    async fn hold(self, primary: &FailPoints, site: &Site) -> (&'static str, i64) {
        let name = site.database.name();
        let held = match self {
            Self::Acquire => {
                doc! { "failCommands": ["update"], "namespace": format!("{name}.content_migration_lock") }
            }
            Self::Batch => {
                doc! { "failCommands": ["update"], "namespace": format!("{name}.stories") }
            }
            Self::Commit => doc! { "failCommands": ["commitTransaction"] },
            Self::IndexBuild => {
                let point = "hangAfterStartingIndexBuild";
                return (point, primary.set(point, "alwaysOn", doc! {}).await + 1);
            }
        };
        let mut held = held;
        held.extend(doc! {
            "blockConnection": true, "blockTimeMS": HELD_MS, "appName": "migrating",
        });
        ("failCommand", primary.fail(doc! { "times": 1 }, held).await + 1)
    }
}

/// The primary is lost at a place; the command survives it by itself.
async fn lose(set: &mut ReplicaSet, loss: Loss, place: Place) -> Tally {
    let site = ready_for_backfill(Site::on(set.uri()).await.with_lease(LEASE), STORIES).await;
    let recording = Recording::start(&site.database, "content_migrations").await;
    let port = set.primary().await.unwrap();
    let primary = FailPoints::of(port).await;
    let (point, times) = place.hold(&primary, &site).await;
    let uri = format!("{}&appName=migrating", site.uri);
    let arguments = ["migrate", "up", "--to", migration_id("content_indexes"), "--no-throttle"];
    let running = Turbulence::spawn(site.command_at(&uri, &arguments));
    primary.reached(point, times).await;

    match loss {
        Loss::StepDown => {
            set.step_down().await.unwrap();
            assert_ne!(set.primary().await.unwrap(), port);
            primary.set(point, "off", doc! {}).await;
        }
        Loss::Kill => {
            set.kill(port).await.unwrap();
            assert_ne!(set.primary().await.unwrap(), port);
            set.restart(port).await.unwrap();
        }
    }
    let ended = running.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{loss:?} {place:?}: {ended:#?}");
    assert_eq!(site.entry(migration_id("content_indexes")).await.state, State::Applied);
    assert_forward(&recording.versions(BACKFILL).await);
    // The later migrations, too.
    site.run(&["migrate", "up"]).await.success();
    site.run(&["migrate", "verify", "--service", "content"]).await.success();
    let built = journaled(&site.database, "content", migration_id("content_indexes")).await;
    site.account(STORIES.into()).await.beside(Tally::round(0, repeated(&built)))
}

/// Longer than an election takes, so that a holder can keep it through one.
const LEASE: std::time::Duration = std::time::Duration::from_secs(15);

async fn lose_at_all_places(loss: Loss) -> Tally {
    let parameters = vec![("enableTestCommands".to_owned(), "1".to_owned())];
    let mut set = ReplicaSet::start(3, parameters).await.unwrap();
    let mut tally = Tally::default();
    for round in rounds(4) {
        tally += lose(&mut set, loss, PLACES[round as usize % PLACES.len()]).await;
    }
    tally
}

pub(crate) async fn a_primary_may_step_down_at_any_place() -> Tally {
    lose_at_all_places(Loss::StepDown).await
}

pub(crate) async fn a_primary_may_be_killed_at_any_place() -> Tally {
    lose_at_all_places(Loss::Kill).await
}

pub(crate) async fn a_backfill_survives_one_election_after_the_other() -> Tally {
    let mut set = ReplicaSet::start(3, vec![]).await.unwrap();
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = ready_for_backfill(Site::on(set.uri()).await.with_lease(LEASE), 600).await;
        let recording = Recording::start(&site.database, "content_migrations").await;
        let running = site.start(&slowly("100"));
        for loss in [Loss::StepDown, Loss::Kill] {
            site.backfill_moves().await;
            match loss {
                Loss::StepDown => set.step_down().await.unwrap(),
                Loss::Kill => {
                    let primary = set.primary().await.unwrap();
                    set.kill(primary).await.unwrap();
                    set.primary().await.unwrap();
                    set.restart(primary).await.unwrap();
                }
            }
        }
        running.ended().await.success();
        assert_forward(&recording.versions(BACKFILL).await);
        tally += site.account(600).await;
    }
    tally
}

/// Returns the ways in which a server fails a command.
fn failures() -> [(&'static str, Document); 4] {
    [
        ("NotWritablePrimary", doc! { "errorCode": 10_107 }),
        ("PrimarySteppedDown", doc! { "errorCode": 189 }),
        ("a connection that is cut", doc! { "closeConnection": true }),
        // The command succeeds, but its reply is an error (`ShutdownInProgress`).
        (
            "an unknown outcome",
            doc! { "writeConcernError": { "code": 91, "errmsg": "shutting down" } },
        ),
    ]
}

/// The commands that fail: what they are for, and where.
const COMMANDS: [(&str, &str, &str); 6] = [
    ("acquire", "update", "content_migration_lock"),
    ("ledger", "update", "content_migrations"),
    ("batch", "update", "stories"),
    ("journal", "insert", "content_migration_journal"),
    ("commit", "commitTransaction", ""),
    ("index build", "createIndexes", "stories"),
];

pub(crate) async fn a_command_that_fails_for_now_is_repeated() -> Tally {
    let mongod = own_mongod().await;
    let fail_points = FailPoints::of(mongod.port()).await;
    let site = ready_for_backfill(Site::on(mongod.uri()).await.with_lease(LEASE), 0).await;
    site.migrate_to(migration_id("content_indexes")).await;
    // The driver waits up to 10 s for a notice of a new primary. A server that never stopped being the
    // primary sends none, so that the driver has to poll it every half second.
    let uri =
        format!("{}&appName=unlucky&serverMonitoringMode=poll&heartbeatFrequencyMS=500", site.uri);
    let mut count = 0;
    let mut tally = Tally::default();
    for round in rounds(1) {
        for (failure, how) in failures() {
            for (place, command, collection) in COMMANDS {
                // In a transaction only its end has a write concern.
                if how.contains_key("writeConcernError") && ["batch", "journal"].contains(&place) {
                    continue;
                }
                site.collection("stories").insert_many(stories(count..count + 50)).await.unwrap();
                count += 50;
                site.collection("stories").drop_index("section_id_1").await.unwrap();
                let mut data = doc! { "failCommands": [command], "appName": "unlucky" };
                if !collection.is_empty() {
                    data.insert("namespace", format!("{}.{collection}", site.database.name()));
                }
                data.extend(how.clone());
                // The driver repeats some commands once by itself.
                let times = Bson::from(doc! { "times": 1 + i32::try_from(round).unwrap() * 2 });
                let before = fail_points.fail(times, data).await;
                let arguments = ["migrate", "up", "--to", migration_id("content_indexes")];
                let ended = Turbulence::spawn(site.command_at(&uri, &arguments)).ended().await;
                let after = fail_points.heal().await;
                assert!(after > before, "{place} was not reached: {ended:#?}");
                assert_eq!(ended.status.code(), Some(0), "{failure} at {place}: {ended:#?}");

                let blog = site.section("blog").await;
                let linked = site.count("stories", doc! { "section_id": blog }).await;
                let changes = journaled(&site.database, "content", BACKFILL).await;
                let built =
                    journaled(&site.database, "content", migration_id("content_indexes")).await;
                let journaled = site.entry(BACKFILL).await.journaled;
                let count = i64::from(count);
                let round = Tally::counted(count, linked)
                    .and(Tally::counted(count, signed(changes.len())))
                    .and(Tally::counted(count, journaled))
                    .and(Tally::round(0, repeated(&changes)))
                    .beside(Tally::round(0, repeated(&built)));
                assert!(round.is_clean(), "{failure} at {place}: {round}");
                tally += round;
            }
        }
    }
    // The later migrations, too.
    site.run(&["migrate", "up"]).await.success();
    site.run(&["migrate", "verify", "--service", "content"]).await.success();
    tally
}
