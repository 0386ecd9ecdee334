//! `turbulence up` with a migration that is stuck: the site is served, and the summary gives the
//! reason.

use mongodb::bson::doc;
use test_support::{eventually, migration_id};

use super::{BACKFILL, legacy_site, linked, migrated_site};
use crate::support::{Site, says};

const NOT_EVERY: &str = "Not every migration is applied";

/// Returns a site with two sections of one slug: their unique index cannot be built, so that
/// sections-service does not get ready.
async fn site_with_twin_sections() -> Site {
    let site = legacy_site().await;
    let twin = doc! { "slug": "twin", "is_deleted": false };
    site.database.insert("sections", [twin.clone(), twin]).await;
    site
}

#[tokio::test]
async fn a_paused_migration_is_reported_and_continues_when_it_is_resumed() {
    let site = legacy_site().await;
    site.migrate(&["pause", BACKFILL]).await.success();
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    assert!(summary.text.contains(NOT_EVERY), "{}", summary.text);
    assert!(says(&summary.text, BACKFILL, "paused: "), "{}", summary.text);
    let waits = format!("pending: waits for {BACKFILL}");
    assert!(says(&summary.text, migration_id("content_indexes"), &waits), "{}", summary.text);
    assert_eq!(summary.get("/stories").await.0, 200);

    site.migrate(&["resume", BACKFILL]).await.success();
    eventually("the content is linked", async || {
        site.database.count("stories", linked()).await == 7
    })
    .await;
    turbulence.stop().await;
}

#[tokio::test]
async fn a_rolled_back_migration_is_not_applied_again_and_is_reported() {
    let site = migrated_site().await;
    site.migrate(&["down", "--to", migration_id("user_id")]).await.success();
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    assert!(summary.text.contains(NOT_EVERY), "{}", summary.text);
    assert!(says(&summary.text, BACKFILL, "rolled back: "), "{}", summary.text);
    turbulence.stop().await;
    assert_eq!(site.database.count("stories", linked()).await, 0);
}

#[tokio::test]
async fn a_failure_is_reported_with_its_reason() {
    let site = site_with_twin_sections().await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    assert!(summary.text.contains(NOT_EVERY), "{}", summary.text);
    assert!(says(&summary.text, migration_id("section_indexes"), "failed: "), "{}", summary.text);
    assert!(summary.text.contains("have the same key"), "{}", summary.text);
    assert_eq!(summary.get("/sections").await.0, 503);
    turbulence.stop().await;
}

#[tokio::test]
async fn waiting_for_another_service_is_reported_after_a_while() {
    let site = site_with_twin_sections().await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    assert!(summary.text.contains(NOT_EVERY), "{}", summary.text);
    assert!(says(&summary.text, BACKFILL, "waiting: "), "{}", summary.text);
    turbulence.stop().await;
}
