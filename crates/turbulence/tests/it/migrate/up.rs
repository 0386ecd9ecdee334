//! `migrate up`: its end, its rate and its output.

use mongodb::bson::{Document, doc};
use serde_json::Value;
use test_support::{eventually, migration_id};

use super::{BACKFILL, legacy_site, linked, of};
use crate::support::{Site, Turbulence, excerpt, says};

/// More documents than a few batches contain.
const MANY: usize = 200;

/// Creates a site with stories without `is_published`, and runs `up` at ten of them per second.
async fn slow_up() -> (Site, Turbulence) {
    let site = Site::new().await;
    let stories = (0..MANY).map(|number| doc! { "_id": i64::try_from(number).unwrap() });
    site.database.collection("stories").insert_many(stories).await.unwrap();
    // Only the limit slows it down.
    let arguments = ["migrate", "up", "--no-throttle", "--documents-per-second", "10"];
    let up = Turbulence::spawn(site.command(&arguments));
    (site, up)
}

fn published() -> Document {
    doc! { "is_published": true }
}

impl Site {
    /// Waits until some stories are done.
    async fn is_under_way(&self) {
        eventually("some stories are done", async || {
            self.database.count("stories", published()).await > 3
        })
        .await;
    }
}

#[tokio::test]
async fn everything_is_applied_and_a_second_run_writes_nothing() {
    let site = legacy_site().await;
    let ended = site.migrate(&["up"]).await;
    insta::assert_snapshot!(site.redact(ended.success()));
    for (collection, count) in [("stories", 7), ("projects", 3), ("pages", 3)] {
        assert_eq!(site.database.count(collection, linked()).await, count, "{collection}");
    }
    let before = site.database.hash().await;
    let again = site.answer(&["up"]).await;
    assert_eq!(site.database.hash().await, before);
    for status in again["content"].as_array().unwrap() {
        assert_eq!(status["is_settled"], true, "{status:#}");
        assert_eq!(status["parts"], Value::Array(vec![]), "{status:#}");
    }
}

#[tokio::test]
async fn up_to_a_migration_of_sections_runs_none_of_content() {
    let site = legacy_site().await;
    let answer = site.answer(&["up", "--to", migration_id("section_indexes")]).await;
    assert_eq!(answer["sections"].as_array().unwrap().len(), 1, "{answer:#}");
    assert!(answer.get("content").is_none(), "{answer:#}");
    assert_eq!(site.database.count("sections", doc! {}).await, 0);
    assert!(!site.collections().await.contains(&"content_migrations".to_owned()));
}

#[tokio::test]
async fn up_to_a_migration_of_content_runs_all_of_sections_first_and_none_after_it() {
    let site = legacy_site().await;
    let ended = site.migrate(&["up", "--to", BACKFILL]).await;
    assert!(!ended.success().contains(migration_id("content_indexes")), "{ended:#?}");
    assert_eq!(site.database.count("sections", doc! {}).await, 4);
    assert_eq!(site.database.count("stories", linked()).await, 7);
    let [before, after] = site.states_around(migration_id("content_indexes")).await;
    assert!(before.iter().all(|state| state.as_deref() == Some("applied")), "{before:?}");
    assert!(after.iter().all(Option::is_none), "{after:?}");
}

#[tokio::test]
async fn without_sections_content_is_not_linked_and_it_is_once_they_exist() {
    let site = legacy_site().await;
    let ended = site.migrate(&["up", "--service", "content"]).await;
    insta::assert_snapshot!(excerpt(&site.redact(ended.success()), &[BACKFILL]));
    assert_eq!(site.database.count("sections", doc! {}).await, 0);
    assert_eq!(site.database.count("stories", linked()).await, 0);

    let sections = site.answer(&["up", "--service", "sections"]).await;
    assert!(sections.get("content").is_none());
    assert_eq!(site.database.count("stories", linked()).await, 0);
    site.migrate(&["up", "--service", "content"]).await.success();
    assert_eq!(site.database.count("stories", linked()).await, 7);
    site.migrate(&["up", "--service", "media"]).await.success();
    site.migrate(&["verify"]).await.success();
}

#[tokio::test]
async fn a_configured_admin_is_created_and_owns_content_without_an_owner() {
    let site = legacy_site().await;
    let mut command = site.command(&["migrate", "up"]);
    command.env("TURBULENCE__ADMIN__EMAIL", "admin@example.com");
    Turbulence::spawn(command).ended().await.success();
    let admin = site.database.one("users", doc! { "email": "admin@example.com" }).await;
    let id = admin.get_object_id("_id").unwrap().to_hex();
    assert_eq!(site.database.count("stories", doc! { "user_id": &id }).await, 8);
    assert_eq!(site.database.count("stories", doc! { "user_id": { "$ne": &id } }).await, 1);
}

#[tokio::test]
async fn an_interrupted_run_ends_at_a_checkpoint_from_which_the_next_run_continues() {
    let (site, up) = slow_up().await;
    site.is_under_way().await;

    let status = site.answer(&["status", "--service", "content"]).await;
    let flag = of(&status["content"]["migrations"], migration_id("published_flag"));
    assert_eq!((&flag["state"], &flag["is_interrupted"]), (&"running".into(), &false.into()));
    let ended = site.migrate(&["status", "--service", "content"]).await;
    let text = site.redact(ended.success());
    assert!(text.contains("RUNNING since [date], by process [process]"), "{text}");
    assert!(text.contains("throttled: rate limit"), "{text}");
    let count = site.ids("content").await.len();
    let none = format!("content: 1 of {count} applied; process [process] (fence 1)");
    assert!(text.contains(&none), "{text}");

    up.signal("TERM");
    let ended = up.ended().await;
    assert_eq!(
        ended.failure(130),
        "turbulence: interrupted: the next run continues at the last checkpoint"
    );
    assert!(says(&ended.stdout, migration_id("published_flag"), "interrupted: "), "{ended:#?}");
    let done = site.database.count("stories", published()).await;
    let entry = site.entry(migration_id("published_flag")).await;
    assert_eq!(entry.get_str("state").unwrap(), "running");
    let progress = entry.get_document("progress").unwrap();
    assert_eq!(progress.get_i64("modified").unwrap(), i64::try_from(done).unwrap());

    let ended = site.migrate(&["status", "--service", "content"]).await;
    let text = ended.success();
    let interrupted = "interrupted: the next run continues from the last checkpoint";
    assert!(text.contains(interrupted) && text.contains(&format!("{done} of 200")), "{text}");

    let ended = site.migrate(&["up", "--no-throttle"]).await;
    let all = "stories without is_published become public: 200";
    assert!(ended.success().contains(all), "{ended:#?}");
    assert_eq!(site.database.count("stories", published()).await, 200);
}

#[tokio::test]
async fn without_a_terminal_progress_is_logged_in_lines_of_json() {
    let (site, up) = slow_up().await;
    up.logged("\"rate_limit\"").await;
    let log = up.log();
    let mut lines = log.iter().filter(|line| line["message"] == "progress");
    let line = lines.next_back().unwrap();
    assert_eq!(line["service"], "content", "{line:#}");
    assert_eq!(line["migration"], migration_id("published_flag"));
    assert_eq!(line["step"], "stories without is_published become public");
    assert_eq!(line["total"], 200);
    assert!(line["modified"].as_i64().unwrap() > 0, "{line:#}");
    assert!(line["rate"].as_f64().unwrap() > 0.0, "{line:#}");
    assert!(line["eta_seconds"].as_f64().unwrap() > 0.0, "{line:#}");
    up.signal("TERM");
    up.ended().await.failure(130);
    drop(site);
}

#[tokio::test]
async fn no_throttle_overrides_the_limit_of_the_settings() {
    let (site, up) = slow_up().await;
    up.signal("TERM");
    up.ended().await;
    let mut command = site.command(&["migrate", "up", "--no-throttle"]);
    // It would take three minutes.
    command.env("TURBULENCE__MIGRATIONS__DOCUMENTS_PER_SECOND", "1");
    let ended = Turbulence::spawn(command).ended().await;
    ended.success();
    assert!(ended.took.as_secs() < 60, "{:?}", ended.took);
    assert_eq!(site.database.count("stories", published()).await, 200);
}

#[tokio::test]
async fn a_limit_of_zero_is_an_invalid_command_line() {
    let site = Site::new().await;
    let ended = site.migrate(&["up", "--documents-per-second", "0"]).await;
    assert_eq!(ended.status.code(), Some(2), "{ended:#?}");
}

#[tokio::test]
async fn a_pause_stops_a_running_process_and_after_a_resume_the_next_run_continues() {
    let (site, up) = slow_up().await;
    site.is_under_way().await;
    site.migrate(&["pause", migration_id("published_flag")]).await.success();
    let ended = up.ended().await;
    let expected =
        format!("turbulence: {}: paused: `resume` continues it", migration_id("published_flag"));
    assert_eq!(ended.failure(3), expected);
    let done = site.database.count("stories", published()).await;
    assert!(done < 200, "{done}");

    let ended = site.migrate(&["status"]).await;
    let text = ended.success();
    let resume = format!("`turbulence migrate resume {}`", migration_id("published_flag"));
    assert!(
        text.contains(&format!("PAUSED: continue it with {resume}"))
            && text.contains(&format!("{done} of 200")),
        "{text}"
    );
    site.migrate(&["resume", migration_id("published_flag")]).await.success();
    let ended = site.migrate(&["up", "--no-throttle"]).await;
    let all = "stories without is_published become public: 200";
    assert!(ended.success().contains(all), "{ended:#?}");
}
