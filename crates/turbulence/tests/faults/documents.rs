//! Documents and indexes that are in the way.

use migrations::State;
use mongodb::{
    IndexModel,
    bson::{Bson, Document, doc, oid::ObjectId},
    options::IndexOptions,
};
use test_support::{eventually, migration_id};

use crate::{
    accounts::{Tally, journaled, repeated, rounds},
    sites::{BACKFILL, Site, stories},
};

const STORIES: u32 = 200;

pub(crate) async fn a_document_that_cannot_be_updated_is_set_aside_and_the_rest_goes_on() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = Site::new().await;
        let locked = |mut story: Document| {
            let slug = story.get_str("slug").unwrap().to_owned();
            story.extend(slug.ends_with("77").then(|| ("locked".to_owned(), Bson::from(true))));
            story
        };
        site.collection("stories").insert_many(stories(0..STORIES).map(locked)).await.unwrap();
        let either =
            [doc! { "locked": { "$ne": true } }, doc! { "section_id": { "$exists": false } }];
        let rule = doc! { "collMod": "stories", "validator": { "$or": either.to_vec() } };
        site.database.run_command(rule).await.unwrap();
        let locked = doc! { "locked": true };
        let ids = site.collection("stories").distinct("_id", locked.clone()).await.unwrap();
        assert_eq!(ids.len(), 2);

        let ended = site.run(&["migrate", "up"]).await;
        assert!(ended.failure(6).contains("quarantined"), "{ended:#?}");
        let entry = site.entry(BACKFILL).await;
        assert_eq!(entry.state, State::Applied, "{entry:#?}");
        let set_aside: Vec<_> = entry.quarantined.iter().map(|one| one.document.clone()).collect();
        assert_eq!(set_aside, ids);
        assert!(entry.quarantined.iter().all(|one| one.reason.contains("failed validation")));
        assert_eq!(site.entry(migration_id("content_indexes")).await.state, State::Applied);
        let linked = site.count("stories", doc! { "section_id": { "$exists": true } }).await;
        let first = Tally::counted(i64::from(STORIES) - 2, linked)
            .and(Tally::counted(i64::from(STORIES) - 2, entry.journaled));

        let unlocked = doc! { "$unset": { "locked": "" } };
        site.collection("stories").update_many(locked, unlocked).await.unwrap();
        site.run(&["migrate", "retry", BACKFILL]).await.success();
        site.run(&["migrate", "up"]).await.success();
        let entry = site.entry(BACKFILL).await;
        assert_eq!((entry.state, entry.quarantined.len()), (State::Applied, 0), "{entry:#?}");
        let linked = site.count("stories", doc! { "section_id": { "$exists": true } }).await;
        let changes = journaled(&site.database, "content", BACKFILL).await;
        tally += Tally::counted(STORIES.into(), linked)
            .and(Tally::counted(STORIES.into(), entry.journaled))
            .and(Tally::round(0, repeated(&changes)))
            .and(first);
    }
    tally
}

/// Returns the number of a migration's indexes that are missing, and of those that are recorded twice.
async fn indexes(site: &Site, service: &str, migration: &str) -> Tally {
    let built = journaled(&site.database, service, migration).await;
    let mut missing = 0;
    for (_, index) in &built {
        let (collection, name) = index.as_str().unwrap().split_once('.').unwrap();
        let names = site.collection(collection).list_index_names().await.unwrap();
        missing += i64::from(!names.iter().any(|existing| existing == name));
    }
    Tally::round(missing, repeated(&built))
}

pub(crate) async fn duplicates_under_a_unique_index_are_named_and_one_renamed_makes_it_ready()
-> Tally {
    let unique = migration_id("section_indexes");
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = Site::new().await;
        let ids = [ObjectId::new(), ObjectId::new()];
        let sections = ids.map(|id| {
            doc! {
                "_id": id, "title": "Blog", "slug": "blog", "parent_id": null,
                "display_type": "feed", "content_type": "story", "nav_visibility": "main",
                "sort_order": 0, "is_published": true, "is_deleted": false,
            }
        });
        site.collection("sections").insert_many(sections).await.unwrap();
        site.collection("stories").insert_many(stories(0..10)).await.unwrap();

        let up = site.start(&["up", "--port", "0"]);
        let summary = up.ready().await;
        assert_eq!(summary.get("/health/live").await.0, 200);
        let (status, readiness) = summary.get("/health/ready").await;
        assert_eq!(status, 503, "{readiness}");
        let status = site.run(&["migrate", "status"]).await;
        for id in ids.map(ObjectId::to_hex) {
            assert!(readiness.to_string().contains(&id), "{id}: {readiness:#}");
            assert!(status.success().contains(&id), "{id}: {status:#?}");
        }
        assert_eq!(summary.get("/sections").await.0, 503);
        let entry = site.find_entry_of("sections", unique).await.unwrap();
        assert_eq!(entry.state, State::FailedFatal);
        assert_eq!(entry.error.unwrap().code, Some(11_000));

        let renamed = doc! { "$set": { "slug": "journal" } };
        site.collection("sections").update_one(doc! { "_id": ids[1] }, renamed).await.unwrap();
        site.run(&["migrate", "retry", unique]).await.success();
        eventually("it is ready", async || summary.get("/health/ready").await.0 == 200).await;
        assert_eq!(site.count("sections", doc! {}).await, 2);
        eventually("the backfill is applied", async || {
            site.find_entry(BACKFILL).await.is_some_and(|entry| entry.state == State::Applied)
        })
        .await;
        let linked = doc! { "section_id": ids[0].to_hex() };
        tally += indexes(&site, "sections", unique)
            .await
            .beside(Tally::counted(10, site.count("stories", linked).await));
    }
    tally
}

pub(crate) async fn an_index_with_other_options_is_named_and_keeps_no_other_from_being_built()
-> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = Site::new().await;
        site.collection("stories").insert_many(stories(0..10)).await.unwrap();
        let name = "section_id_1".to_owned();
        let options = IndexOptions::builder().name(name.clone()).sparse(true).build();
        let sparse = IndexModel::builder().keys(doc! { "section_id": 1 }).options(options).build();
        site.collection("stories").create_index(sparse).await.unwrap();

        for _ in 0..2 {
            let ended = site.run(&["migrate", "up"]).await;
            let why = ended.failure(1);
            assert!(why.contains("section_id_1 cannot be built on stories"), "{why}");
            let entry = site.entry(migration_id("content_indexes")).await;
            assert_eq!(entry.state, State::FailedFatal, "{entry:#?}");
        }
        let verified = site.run(&["migrate", "verify"]).await;
        verified.failure(6);
        assert!(verified.stdout.contains("section_id_1"), "{verified:#?}");
        let up = site.start(&["up", "--port", "0"]);
        assert_eq!(up.ready().await.get("/stories").await.1["total"], 10);
        up.stop().await;

        site.collection("stories").drop_index(name).await.unwrap();
        site.run(&["migrate", "up"]).await.success();
        site.run(&["migrate", "verify"]).await.success();
        tally += indexes(&site, "content", migration_id("content_indexes")).await;
    }
    tally
}
