//! `turbulence migrate`: looking without touching, and doing exactly what was said.

use mongodb::bson::{Document, doc};
use serde_json::Value;

use crate::{legacy, support::Site};

/// A site as it was before there were sections.
async fn legacy_site() -> Site {
    let site = Site::new().await;
    legacy::write(&site.folder);
    site.run(&["import", legacy::FOLDER]).await.success();
    site
}

async fn json(site: &Site, arguments: &[&str]) -> Value {
    let ended = site.run(&[&["migrate", "--json"], arguments].concat()).await;
    serde_json::from_str(ended.success()).unwrap()
}

fn linked() -> Document {
    doc! { "section_id": { "$regex": "^[0-9a-e]" } }
}

/// The entry of a migration in an answer.
fn of<'a>(answer: &'a Value, service: &str, key: &str, id: &str) -> &'a Value {
    let all = answer[service].as_array().unwrap();
    all.iter().find(|entry| entry[key] == id).unwrap()
}

#[tokio::test]
async fn what_only_looks_writes_nothing() {
    let site = legacy_site().await;
    let before = (site.database.hash().await, site.collections().await);
    for action in ["status", "plan", "verify"] {
        for json in [&[][..], &["--json"]] {
            site.run(&[&["migrate", action], json].concat()).await;
            let after = (site.database.hash().await, site.collections().await);
            assert_eq!(after, before, "{action} {json:?}");
        }
    }
}

#[tokio::test]
async fn a_plan_says_what_would_run() {
    let site = legacy_site().await;
    let ended = site.run(&["migrate", "plan"]).await;
    insta::assert_snapshot!(site.redact(ended.success()));

    let plan = json(&site, &["plan"]).await;
    let flag = of(&plan, "content", "id", "0001_published_flag");
    assert_eq!(flag["steps"][0]["changes"], 1);
    assert_eq!(flag["summary"], "stories say whether they are published");
    assert_eq!(flag["waits_for"], Value::Null);
    let seed = of(&plan, "sections", "id", "0002_seed_initial_sections");
    assert_eq!(seed["steps"][0]["changes"], 4);

    // With the sections in place, the links are a part of it.
    site.run(&["migrate", "up", "--service", "sections"]).await.success();
    let plan = json(&site, &["plan"]).await;
    let backfill = of(&plan, "content", "id", "0006_backfill_section_id");
    let steps = backfill["steps"].as_array().unwrap();
    let changes: Vec<_> = steps.iter().filter_map(|step| step["changes"].as_i64()).collect();
    assert_eq!(changes[..4], [7, 3, 2, 1], "{backfill:#}");
    let left: Vec<_> = steps.iter().filter_map(|step| step["left_out"]["count"].as_i64()).collect();
    assert_eq!(left.iter().sum::<i64>(), 3, "{backfill:#}");
}

#[tokio::test]
async fn verify_fails_with_code_6_until_everything_is_migrated() {
    let site = legacy_site().await;
    let ended = site.run(&["migrate", "verify"]).await;
    insta::assert_snapshot!(ended.failure(6), @"turbulence: something is left to migrate: `turbulence migrate plan` says what");
    let ended = site.run(&["migrate", "verify", "--json"]).await;
    ended.failure(6);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(of(&answer, "content", "id", "0001_published_flag")["steps"][0]["changes"], 1);

    let ended = site.run(&["migrate", "up"]).await;
    insta::assert_snapshot!("up", site.redact(ended.success()));
    assert_eq!(site.database.count("stories", linked()).await, 7);
    assert_eq!(site.database.count("projects", linked()).await, 3);
    assert_eq!(site.database.count("pages", linked()).await, 3);

    let ended = site.run(&["migrate", "verify"]).await;
    insta::assert_snapshot!("verify_after_up", site.redact(ended.success()));

    let ended = site.run(&["migrate", "status"]).await;
    insta::assert_snapshot!("status_after_up", site.redact(ended.success()));
    let status = json(&site, &["status"]).await;
    for (service, count) in [("sections", 2), ("content", 7)] {
        let entries = status[service].as_array().unwrap();
        assert_eq!(entries.len(), count);
        for entry in entries {
            assert_eq!(entry["state"], "applied", "{entry:#}");
            assert_eq!(entry["attempts"], 1, "{entry:#}");
        }
    }
    let before = site.database.hash().await;
    let again = json(&site, &["up"]).await;
    assert_eq!(site.database.hash().await, before);
    for status in again["content"].as_array().unwrap() {
        assert_eq!(
            (&status["is_settled"], &status["parts"]),
            (&true.into(), &Value::Array(vec![]))
        );
    }
}

#[tokio::test]
async fn before_the_first_run_everything_is_pending() {
    let site = legacy_site().await;
    let ended = site.run(&["migrate", "status"]).await;
    insta::assert_snapshot!(ended.success());
    assert_eq!(
        json(&site, &["status"]).await,
        serde_json::json!({ "sections": [], "content": [] })
    );
}

#[tokio::test]
async fn without_sections_content_is_left_out_with_a_reason_and_linked_when_they_exist() {
    let site = legacy_site().await;
    let ended = site.run(&["migrate", "up", "--service", "content"]).await;
    insta::assert_snapshot!(site.redact(ended.success()));
    assert_eq!(site.database.count("sections", doc! {}).await, 0);
    assert_eq!(site.database.count("stories", linked()).await, 0);

    let sections = json(&site, &["up", "--service", "sections"]).await;
    assert!(sections.get("content").is_none());
    assert_eq!(site.database.count("stories", linked()).await, 0);
    site.run(&["migrate", "up", "--service", "content"]).await.success();
    assert_eq!(site.database.count("stories", linked()).await, 7);
    site.run(&["migrate", "verify"]).await.success();
}

#[tokio::test]
async fn an_admin_that_is_configured_is_created_and_gets_what_has_nobody() {
    let site = legacy_site().await;
    let mut command = site.command(&["migrate", "up"]);
    command.env("TURBULENCE__ADMIN__EMAIL", "admin@example.com");
    let ended = crate::support::Turbulence::spawn(command).ended().await;
    ended.success();
    let admin = site.database.one("users", doc! { "email": "admin@example.com" }).await;
    let id = admin.get_object_id("_id").unwrap().to_hex();
    assert_eq!(site.database.count("stories", doc! { "user_id": &id }).await, 8);
    assert_eq!(site.database.count("stories", doc! { "user_id": { "$ne": &id } }).await, 1);
}
