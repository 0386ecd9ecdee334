//! `migrate status`, `plan` and `verify`.

use mongodb::{
    IndexModel,
    bson::{DateTime, doc},
};
use serde_json::{Value, json};
use test_support::migration_id;

use super::{BACKFILL, break_sections, legacy_site, migrated_site, of};
use crate::support::excerpt;

#[tokio::test]
async fn status_plan_and_verify_write_nothing() {
    for site in [legacy_site().await, migrated_site().await] {
        let before = (site.database.hash().await, site.collections().await);
        for action in [&["status"][..], &["status", "--check"], &["plan"], &["verify"]] {
            for json in [&[][..], &["--json"]] {
                site.migrate(&[action, json].concat()).await;
                let after = (site.database.hash().await, site.collections().await);
                assert_eq!(after, before, "{action:?} {json:?}");
            }
        }
    }
}

#[tokio::test]
async fn before_the_first_run_everything_is_pending() {
    let site = legacy_site().await;
    let ended = site.migrate(&["status"]).await;
    insta::assert_snapshot!(excerpt(
        ended.success(),
        &[migration_id("seed_initial_sections"), BACKFILL]
    ));
    let status = site.answer(&["status"]).await;
    for service in ["sections", "content", "media"] {
        assert_eq!(status[service]["lease"], Value::Null);
        let migrations = status[service]["migrations"].as_array().unwrap();
        assert!(!migrations.is_empty());
        for one in migrations {
            assert_eq!((&one["state"], &one["entry"]), (&json!("pending"), &Value::Null));
        }
    }
}

#[tokio::test]
async fn status_after_a_run() {
    let site = migrated_site().await;
    let ended = site.migrate(&["status"]).await;
    let text = site.redact(ended.success());
    insta::assert_snapshot!(excerpt(
        &text,
        &[migration_id("seed_initial_sections"), migration_id("story_dates"), BACKFILL]
    ));
    let status = site.answer(&["status"]).await;
    for service in ["sections", "content", "media"] {
        for one in status[service]["migrations"].as_array().unwrap() {
            assert_eq!(one["state"], "applied", "{one:#}");
            assert_eq!(one["entry"]["attempts"], 1, "{one:#}");
        }
    }
    let sections = site.answer(&["status", "--service", "sections"]).await;
    assert!(sections.get("content").is_none(), "{sections:#}");
}

#[tokio::test]
async fn the_exit_code_of_a_status_check_gives_the_most_severe_reason() {
    let site = legacy_site().await;
    site.migrate(&["status"]).await.success();
    let line = site.refused(3, &["status", "--check", "--service", "sections"]).await;
    let ids = site.ids("sections").await.into_iter().map(|id| format!("sections {id}"));
    let ids = ids.collect::<Vec<_>>().join(", ");
    assert_eq!(line, format!("turbulence: not every migration is applied: {ids}"));
    site.migrate(&["up"]).await.success();
    site.migrate(&["status", "--check"]).await.success();
    // The more severe reason takes precedence.
    site.edit(migration_id("published_flag"), doc! { "state": "running" }).await;
    site.refused(3, &["status", "--check"]).await;
    site.edit(migration_id("story_dates"), doc! { "checksum": "other" }).await;
    let line = site.refused(5, &["status", "--check", "--json"]).await;
    insta::assert_snapshot!(line, @"turbulence: the ledger does not match this program: content 0002_story_dates");
}

#[tokio::test]
async fn a_plan_shows_the_changes_of_a_run() {
    let site = legacy_site().await;
    let ended = site.migrate(&["plan"]).await;
    insta::assert_snapshot!(site.redact(ended.success()));

    let plan = site.answer(&["plan"]).await;
    let flag = of(&plan["content"], migration_id("published_flag"));
    assert_eq!(flag["steps"][0]["changes"], 1);
    assert_eq!(flag["summary"], "stories say whether they are published");
    assert_eq!(flag["waits_for"], Value::Null);
    let seed = of(&plan["sections"], migration_id("seed_initial_sections"));
    assert_eq!(seed["steps"][0]["changes"], 4);

    // With the sections in place, the links are a part of it.
    site.migrate(&["up", "--service", "sections"]).await.success();
    let plan = site.answer(&["plan"]).await;
    let backfill = of(&plan["content"], BACKFILL);
    let steps = backfill["steps"].as_array().unwrap();
    let changes: Vec<_> = steps.iter().filter_map(|step| step["changes"].as_i64()).collect();
    assert_eq!(changes[..4], [7, 3, 2, 1], "{backfill:#}");
    let left: Vec<_> = steps.iter().filter_map(|step| step["left_out"]["count"].as_i64()).collect();
    assert_eq!(left.iter().sum::<i64>(), 3, "{backfill:#}");
}

#[tokio::test]
async fn a_plan_shows_the_index_and_the_estimated_time() {
    let site = migrated_site().await;
    site.database.insert("stories", [doc! { "title": "New" }]).await;
    let ended = site.migrate(&["plan", "--service", "content"]).await;
    let text = ended.success();
    let slug = "stories without slug ← title: 1 (uses the index look_up_slug; less than 1 s)";
    assert!(text.contains(slug), "{text}");
    let plan = site.answer(&["plan", "--service", "content"]).await;
    let slugs = of(&plan["content"], migration_id("story_slugs"));
    assert_eq!(slugs["steps"][0]["index"], "look_up_slug", "{slugs:#}");
    let seconds = slugs["steps"][0]["estimate_seconds"].as_f64().unwrap();
    assert!(0.0 < seconds && seconds < 1.0, "{seconds}");
}

#[tokio::test]
async fn a_plan_shows_that_an_index_cannot_be_built() {
    let site = legacy_site().await;
    let other = doc! { "createIndexes": "stories", "indexes": [{ "key": { "x": 1 }, "name": "look_up_slug" }] };
    site.database.database().run_command(other).await.unwrap();
    let ended = site.migrate(&["plan", "--service", "content"]).await;
    let text = ended.success();
    let id = migration_id("list_indexes");
    let is_about = |line: &&str| line.contains(id) || line.contains("look_up_slug on stories");
    let lines: Vec<_> = text.lines().filter(is_about).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
      0000_list_indexes           would fail (lists and look-ups are fast)
          index look_up_slug on stories: 1
        obstacle: index look_up_slug on stories: a different index has this name; drop or rename the index with the keys { "x": 1 }
    "#);
}

#[tokio::test]
async fn a_plan_shows_content_that_is_not_linked_because_its_section_does_not_exist() {
    let site = legacy_site().await;
    let now = DateTime::now();
    let journal = doc! {
        "title": "Journal", "slug": "journal", "parent_id": null, "display_type": "feed",
        "content_type": "story", "nav_visibility": "main", "sort_order": 0, "is_published": true,
        "is_deleted": false, "createdDate": now, "updatedDate": now,
    };
    site.database.insert("sections", [journal]).await;
    let ended = site.migrate(&["plan"]).await;
    let text = ended.success();
    let skipped = "skipped:  stories → section blog: 7 (there is no section `blog`";
    assert!(text.contains(skipped), "{text}");
    assert!(text.contains("skipped:      61000000000000000000000a, letter"), "{text}");
}

#[tokio::test]
async fn verify_fails_with_code_6_until_everything_is_migrated() {
    let site = legacy_site().await;
    let ended = site.migrate(&["verify"]).await;
    insta::assert_snapshot!(ended.failure(6), @"turbulence: the data does not have the expected state: see the entries marked NOT OK above");
    insta::assert_snapshot!(
        "verify_before",
        excerpt(&site.redact(&ended.stdout), &[migration_id("seed_initial_sections"), BACKFILL])
    );

    site.migrate(&["up"]).await.success();
    let ended = site.migrate(&["verify"]).await;
    insta::assert_snapshot!(
        "verify_after",
        excerpt(&site.redact(ended.success()), &[migration_id("seed_initial_sections"), BACKFILL])
    );
}

#[tokio::test]
async fn findings_have_a_kind_and_name_documents_and_remedies() {
    let site = migrated_site().await;
    let stories = site.database.collection("stories");
    let letter = doc! { "_id": "letter" };
    stories.update_one(letter, doc! { "$unset": { "is_published": "" } }).await.unwrap();
    stories.drop_index("section_id_1").await.unwrap();
    stories.drop_index("pending_user_id").await.unwrap();
    let other = IndexModel::builder().keys(doc! { "title": 1 }).build();
    let mut other = other;
    let name = "pending_user_id".to_owned();
    other.options = Some(mongodb::options::IndexOptions::builder().name(name).build());
    stories.create_index(other).await.unwrap();
    let sections = site.database.collection("sections");
    sections.drop_index("slug_1_not_deleted").await.unwrap();
    site.database.insert("sections", [doc! { "slug": "blog", "is_deleted": false }]).await;

    let ended = site.migrate(&["verify", "--json"]).await;
    ended.failure(6);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    let findings = |service: &str, id: &str| -> Vec<Value> {
        let one = of(&answer[service], id);
        let is_ok = one["ok"].as_bool().unwrap();
        let all = one["findings"].as_array().unwrap();
        let bad: Vec<_> = all.iter().filter(|one| one["kind"] != "left_out").cloned().collect();
        assert_eq!(is_ok, bad.is_empty(), "{one:#}");
        bad
    };
    let kinds = |all: &[Value]| -> Vec<String> {
        all.iter().map(|one| one["kind"].as_str().unwrap().to_owned()).collect()
    };
    let flag = findings("content", migration_id("published_flag"));
    assert_eq!(kinds(&flag), ["remaining"]);
    assert_eq!(flag[0]["documents"], json!(["letter"]));
    assert_eq!(flag[0]["remedy"], "`up` changes them");
    let indexes = findings("content", migration_id("content_indexes"));
    assert_eq!(kinds(&indexes), ["missing_index", "other_index"]);
    let unique = findings("sections", migration_id("section_indexes"));
    assert_eq!(kinds(&unique), ["missing_index", "duplicates"]);
    assert_eq!(unique[1]["documents"].as_array().unwrap().len(), 2);
    assert!(findings("content", BACKFILL).is_empty());
}

#[tokio::test]
async fn a_required_service_that_fails_is_code_7_and_a_plan_shows_that_it_waits() {
    let site = legacy_site().await;
    break_sections(&site).await;
    let of_content = ["--service", "content"];
    let ended = site.migrate(&[&["plan"], &of_content[..]].concat()).await;
    let text = site.redact(ended.success());
    insta::assert_snapshot!(excerpt(&text, &[BACKFILL, "0007_content_indexes"]));
    let line = site.refused(7, &[&["verify"], &of_content[..]].concat()).await;
    insta::assert_snapshot!(site.redact(&line), @"turbulence: 0006_backfill_section_id: cannot run now: waiting for sections-service: sections-service at http://127.0.0.1:[port] answers 500 Internal Server Error: Something went wrong on our side. The trace id leads to the log.");
    let ended = site.migrate(&[&["up"], &of_content[..]].concat()).await;
    insta::assert_snapshot!(site.redact(ended.failure(7)), @"turbulence: 0006_backfill_section_id: cannot run now: waiting for sections-service: sections-service at http://127.0.0.1:[port] answers 500 Internal Server Error: Something went wrong on our side. The trace id leads to the log.");
    let text = site.redact(&ended.stdout);
    insta::assert_snapshot!("up_without_sections", excerpt(&text, &[BACKFILL]));
    let ended = site.migrate(&[&["status"], &of_content[..]].concat()).await;
    let text = site.redact(ended.success());
    let ids = [BACKFILL, migration_id("content_indexes"), migration_id("content_dates")];
    insta::assert_snapshot!("status_while_waiting", excerpt(&text, &ids));
    site.refused(3, &["status", "--check"]).await;

    // Once the service works again, another run is sufficient.
    site.database.collection("sections").drop().await.unwrap();
    site.migrate(&["up"]).await.success();
    assert_eq!(site.database.count("stories", super::linked()).await, 7);
}
