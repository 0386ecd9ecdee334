//! `migrate pause`, `resume` and `retry`, and unknown ids.

use mongodb::bson::doc;
use test_support::migration_id;

use super::{BACKFILL, legacy_site, migrated_site};
use crate::support::{Site, excerpt};

#[tokio::test]
async fn a_paused_migration_does_not_run_until_it_is_resumed() {
    let site = legacy_site().await;
    let ended = site.migrate(&["pause", BACKFILL]).await;
    ended.success();
    insta::assert_snapshot!(ended.results(), @"0006_backfill_section_id is paused: continue it with `turbulence migrate resume 0006_backfill_section_id`");
    // A second pause succeeds.
    let paused = site.answer(&["pause", BACKFILL]).await;
    assert_eq!(paused["content"]["state"], "paused", "{paused:#}");

    let ended = site.migrate(&["plan"]).await;
    assert!(ended.success().contains("for an operator's `resume`"), "{ended:#?}");
    let ended = site.migrate(&["up"]).await;
    insta::assert_snapshot!(ended.failure(3), @"turbulence: 0006_backfill_section_id: paused: `resume` continues it");
    insta::assert_snapshot!("up_while_paused", excerpt(&site.redact(&ended.stdout), &[BACKFILL]));
    assert_eq!(site.database.count("stories", super::linked()).await, 0);
    let ended = site.migrate(&["status"]).await;
    let text = site.redact(ended.success());
    let ids = [BACKFILL, migration_id("content_indexes")];
    insta::assert_snapshot!("status_while_paused", excerpt(&text, &ids));

    let ended = site.migrate(&["resume", BACKFILL]).await;
    ended.success();
    insta::assert_snapshot!(ended.results(), @"0006_backfill_section_id is resumed; it is run by a running service whose migrations are not complete, the next start of a service, or `turbulence migrate up`");
    site.migrate(&["up"]).await.success();
    assert_eq!(site.database.count("stories", super::linked()).await, 7);
}

#[tokio::test]
async fn an_action_that_the_state_does_not_allow_changes_nothing() {
    let site = migrated_site().await;
    let line = site.refused(1, &["pause", BACKFILL]).await;
    insta::assert_snapshot!(line, @"turbulence: 0006_backfill_section_id is applied: only a migration that is to be applied can be paused");
    let line = site.refused(1, &["resume", BACKFILL]).await;
    insta::assert_snapshot!(line, @"turbulence: 0006_backfill_section_id is applied: only a paused migration can be resumed");
    let line = site.refused(1, &["retry", BACKFILL, "--json"]).await;
    insta::assert_snapshot!(line, @"turbulence: 0006_backfill_section_id is applied: only a migration that failed or quarantined documents can be retried");
}

#[tokio::test]
async fn a_failed_migration_can_be_retried_after_its_cause_is_removed() {
    let site = legacy_site().await;
    let twin = doc! { "slug": "twin", "is_deleted": false };
    let twins = [twin.clone(), twin];
    site.database.insert("sections", twins).await;
    let ended = site.migrate(&["up"]).await;
    let line = ended.failure(1);
    assert!(line.contains("the index slug_1_not_deleted cannot be built on sections"), "{line}");
    assert!(line.contains("have the same key"), "{line}");
    let ended = site.migrate(&["status"]).await;
    let text = ended.success();
    assert!(text.contains("FAILED at "), "{text}");
    let retry = format!("`turbulence migrate retry {}` or `up`", migration_id("section_indexes"));
    assert!(text.contains(&format!("remove the cause, then run {retry}")), "{text}");
    assert!(text.contains("have the same key"), "{text}");

    site.database.collection("sections").delete_one(doc! { "slug": "twin" }).await.unwrap();
    let retried = site.answer(&["retry", migration_id("section_indexes")]).await;
    assert_eq!(retried["sections"]["state"], "pending", "{retried:#}");
    site.migrate(&["up"]).await.success();
}

#[tokio::test]
async fn an_unknown_id_is_an_invalid_command_line() {
    let site = migrated_site().await;
    let line = site.refused(2, &["pause", "0006"]).await;
    insta::assert_snapshot!(line, @"turbulence: there is no migration \"0006\": did you mean 0006_backfill_section_id (content)?");
    let line = site.refused(2, &["resume", "0002_dates"]).await;
    insta::assert_snapshot!(line, @"turbulence: there is no migration \"0002_dates\": did you mean 0002_story_dates (content)?");
    let line = site.refused(2, &["retry", "indexes"]).await;
    insta::assert_snapshot!(line, @"turbulence: there is no migration \"indexes\": did you mean 0001_section_indexes (sections) or 0000_list_indexes (content) or 0007_content_indexes (content) or 0010_sort_indexes (content) or 0011_search_index (content) or 0013_tag_indexes (content) or 0014_trash_indexes (content) or 0001_media_indexes (media)?");
    let line = site.refused(2, &["up", "--to", "nonsense"]).await;
    let mut all = Vec::new();
    for service in ["sections", "content", "media"] {
        let ids = site.ids(service).await.into_iter();
        all.extend(ids.map(|id| format!("{id} ({service})")));
    }
    let all = all.join(", ");
    let expected =
        format!("turbulence: there is no migration \"nonsense\": the migrations are {all}");
    assert_eq!(line, expected);
    let line = site.refused(2, &["down", "--to", ""]).await;
    let list = format!("the migrations are {}", migration_id("section_indexes"));
    assert!(line.contains(&format!("there is no migration \"\": {list}")), "{line}");
    let line = site.refused(2, &["up", "--to", BACKFILL, "--service", "sections"]).await;
    insta::assert_snapshot!(line, @"turbulence: 0006_backfill_section_id is a migration of content: omit `--service`, or use `--service content`");
}

#[tokio::test]
async fn a_refused_command_prints_nothing() {
    let site = Site::new().await;
    let ended = site.migrate(&["pause", "nonsense", "--json"]).await;
    ended.failure(2);
    assert_eq!(ended.stdout, "");
}

#[tokio::test]
async fn an_id_is_required() {
    let site = Site::new().await;
    for action in ["pause", "resume", "retry"] {
        let ended = site.migrate(&[action]).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:#?}");
        assert!(ended.stderr.contains("<ID>"), "{ended:#?}");
    }
}
