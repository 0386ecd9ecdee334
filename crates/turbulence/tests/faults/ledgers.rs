//! Ledgers that are not as the program left them, and ledgers that cannot be written.

use futures_util::TryStreamExt;
use migrations::{Entry, State};
use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use test_support::migration_id;

use crate::{
    accounts::{Tally, journaled, rounds, signed},
    servers::{FailPoints, own_mongod},
    sites::{BACKFILL, Site, ready_for_backfill, slowly, stories},
    support::Turbulence,
};

/// A site with ten stories on which everything is applied, and then five more.
async fn migrated_site() -> Site {
    let site = Site::new().await;
    // Nothing is wrong with the content, so that the report of it stays as it is.
    let author = ObjectId::parse_str("6158913c04f8996da763b7a9").unwrap();
    let author = doc! { "_id": author, "email": "author@example.com", "role": "admin" };
    site.collection("users").insert_one(author).await.unwrap();
    site.collection("stories").insert_many(stories(0..10)).await.unwrap();
    site.run(&["migrate", "up"]).await.success();
    site.collection("stories").insert_many(stories(10..15)).await.unwrap();
    site
}

/// Returns the number of stories without a section.
async fn unlinked(site: &Site) -> i64 {
    site.count("stories", doc! { "section_id": { "$exists": false } }).await
}

async fn all_linked(site: &Site) -> Tally {
    let changes = journaled(&site.database, "content", BACKFILL).await;
    Tally::counted(15, 15 - unlinked(site).await).and(Tally::counted(15, signed(changes.len())))
}

/// The ledger's entries of content but one, whatever they are.
async fn others(site: &Site, id: &str) -> Vec<Document> {
    let entries = site.collection("content_migrations");
    let others = entries.find(doc! { "_id": { "$ne": id } }).sort(doc! { "_id": 1 });
    others.await.unwrap().try_collect().await.unwrap()
}

pub(crate) async fn a_migration_out_of_order_is_applied_and_the_others_are_left_alone() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = Site::new().await;
        site.collection("stories").insert_many(stories(0..10)).await.unwrap();
        site.run(&["migrate", "up"]).await.success();
        let dates = migration_id("story_dates");
        let entries = site.collection("content_migrations");
        entries.delete_one(doc! { "_id": dates }).await.unwrap();
        // It has something to do, too.
        let date = DateTime::from_millis(1_600_000_000_000);
        let early = doc! { "date": date };
        let undated = doc! { "$unset": { "createdDate": "" }, "$set": early };
        site.collection("stories").update_one(doc! { "slug": "story-3" }, undated).await.unwrap();
        let before = others(&site, dates).await;

        site.run(&["migrate", "up"]).await.success();
        let entry = site.entry(dates).await;
        assert_eq!((entry.state, entry.attempts), (State::Applied, 1), "{entry:#?}");
        assert_eq!(others(&site, dates).await, before);
        let dated = site.count("stories", doc! { "slug": "story-3", "createdDate": date }).await;
        tally += Tally::counted(1, dated).and(Tally::counted(1, entry.journaled));
    }
    tally
}

pub(crate) async fn an_edited_checksum_is_refused_until_it_is_repaired() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = migrated_site().await;
        let edited = doc! { "$set": { "checksum": "0".repeat(64) } };
        let entries = site.collection("content_migrations");
        entries.update_one(doc! { "_id": BACKFILL }, edited).await.unwrap();
        let before = site.hash().await;

        for command in [&["migrate", "up"][..], &["migrate", "status", "--check"]] {
            let ended = site.run(command).await;
            let why = ended.failure(5);
            assert!(why.contains(BACKFILL), "{why}");
        }
        // A service reports it and serves, since this migration does not block it.
        let up = site.start(&["up", "--port", "0"]);
        up.logged("differs from the migration that was applied").await;
        assert_eq!(up.ready().await.get("/stories").await.0, 200);
        up.stop().await;
        assert_eq!(site.hash().await, before);

        site.run(&["migrate", "repair"]).await.success();
        site.run(&["migrate", "up"]).await.success();
        assert_eq!(site.entry(BACKFILL).await.attempts, 2);
        tally += all_linked(&site).await;
    }
    tally
}

pub(crate) async fn an_old_program_leaves_alone_what_a_newer_one_wrote() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = migrated_site().await;
        let dates = migration_id("story_dates");
        let entries = site.collection("content_migrations");
        // Of kinds and states that this program has never heard of.
        let newer =
            doc! { "revision": 2, "state": "archiving", "kind": "archive", "app_version": "9" };
        entries.update_one(doc! { "_id": dates }, doc! { "$set": &newer }).await.unwrap();
        let mut unknown = doc! { "_id": "9999_archive" };
        unknown.extend(newer);
        entries.insert_one(&unknown).await.unwrap();
        let theirs = doc! { "_id": { "$in": [dates, "9999_archive"] } };
        let before = others(&site, BACKFILL).await;

        let ended = site.run(&["migrate", "up"]).await;
        ended.success();
        assert!(ended.stderr.contains("applied by a newer program: ignored"), "{ended:#?}");
        assert!(
            ended.stderr.contains("the migration is unknown to this program and is not run"),
            "{ended:#?}"
        );
        assert_eq!(entries.count_documents(theirs).await.unwrap(), 2);
        let after = others(&site, BACKFILL).await;
        assert_eq!(after, before);
        let up = site.start(&["up", "--port", "0"]);
        assert_eq!(up.ready().await.get("/health/ready").await.0, 200);
        up.stop().await;
        assert_eq!(others(&site, BACKFILL).await, before);
        tally += all_linked(&site).await;
    }
    tally
}

/// Stories in a run whose ledger fails: the first alone, then 40, 40, and 19.
const STORIES: u32 = 100;

/// Writes to the ledger in such a run, with the one that each is.
const WRITES: [&str; 8] = [
    "the end",
    "a batch in the middle",
    "the end of a step",
    "the state `verifying`",
    "the claim",
    "the first batch",
    "the second batch",
    "the last batch",
];

/// Number of writes before each of them.
const BEFORE: [i32; 8] = [7, 2, 5, 6, 0, 1, 3, 4];

pub(crate) async fn without_the_ledgers_word_nothing_is_applied() -> Tally {
    let mongod = own_mongod().await;
    let fail_points = FailPoints::of(mongod.port()).await;
    let mut tally = Tally::default();
    for round in rounds(4) {
        let place = round as usize % WRITES.len();
        let what = WRITES[place];
        let site = ready_for_backfill(Site::on(mongod.uri()).await, STORIES).await;
        // The disk is full from then on (`OutOfDiskSpace`).
        let full = doc! {
            "failCommands": ["update"], "appName": "unlucky", "errorCode": 14031,
            "namespace": format!("{}.content_migrations", site.database.name()),
        };
        fail_points.fail(doc! { "skip": BEFORE[place] }, full).await;
        let uri = format!("{}&appName=unlucky", site.uri);
        let ended = Turbulence::spawn(site.command_at(&uri, &slowly("400"))).ended().await;
        let failures = fail_points.heal().await;
        assert!(failures > 0, "the ledger never failed at {what}: {ended:#?}");
        let why = ended.failure(1);
        assert!(why.contains(BACKFILL), "at {what}: {why}");
        assert_unapplied(&site, what).await;

        site.run(&["migrate", "up", "--to", BACKFILL, "--no-throttle"]).await.success();
        tally += site.account(STORIES.into()).await;
    }
    tally
}

/// Whatever happened, the ledger claims no more than what the data shows.
async fn assert_unapplied(site: &Site, what: &str) {
    let check = site.run(&["migrate", "status", "--check"]).await;
    assert!(check.failure(3).contains(BACKFILL), "at {what}");
    let linked = i64::from(STORIES) - unlinked(site).await;
    let Some(entry) = site.find_entry(BACKFILL).await else {
        assert_eq!(linked, 0, "at {what}");
        return;
    };
    assert_ne!(entry.state, State::Applied, "at {what}");
    assert_eq!(entry.history, [], "at {what}");
    let counted = |entry: &Entry| match &entry.progress {
        Some(progress) => progress.modified,
        None => entry.parts.iter().map(|part| part.modified).sum(),
    };
    assert_eq!((counted(&entry), entry.journaled), (linked, linked), "at {what}");
}
