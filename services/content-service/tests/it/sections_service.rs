//! sections-service is away, at fault, or somebody else.

use std::time::Duration;

use migrations::State;
use mongodb::bson::doc;
use test_support::{Fault, Service, TestDatabase, Unreliable, eventually, settings};

use crate::support::{
    BACKFILL, ask, changed, content, day, entry, migration, page, project, section_id, story,
};

async fn insert_content(database: &TestDatabase) {
    database.insert("stories", [story("one", day(1)), story("two", day(2))]).await;
    database.insert("projects", [project("one")]).await;
    database.insert("pages", [page("about")]).await;
}

async fn linked(database: &TestDatabase) -> u64 {
    let linked = doc! { "section_id": { "$exists": true } };
    let mut count = 0;
    for collection in ["stories", "projects", "pages"] {
        count += database.count(collection, linked.clone()).await;
    }
    count
}

/// Nothing is linked, nothing is marked as applied, and ledger and status say what is waited for.
async fn assert_it_waits(database: &TestDatabase, content: &Service, reason: &str) {
    content
        .wait_for("the backfill waits", |all| {
            migration(all, BACKFILL).state == State::WaitingDependency
        })
        .await;
    let status = migration(&content.statuses(), BACKFILL).clone();
    let message = status.message.unwrap();
    assert!(message.contains(reason), "{message}");
    let entry = entry(database, BACKFILL).await;
    assert_eq!(entry.get_str("state").unwrap(), "waiting_dependency");
    let error = entry.get_document("error").unwrap();
    assert_eq!(error.get_str("message").unwrap(), message);
    assert!(error.get_bool("retryable").unwrap());
    assert_eq!(linked(database).await, 0);
    let (status, body) = content.get("/health/ready").await;
    assert_eq!((status.as_u16(), body["status"].as_str()), (200, Some("ready")));
    let list = content.get("/stories").await.1;
    assert_eq!((&list["total"], list["items"].as_array().unwrap().len()), (&2.into(), 2));
}

async fn assert_it_is_done(database: &TestDatabase) {
    let blog = section_id(database, "blog").await;
    assert_eq!(database.count("stories", doc! { "section_id": blog }).await, 2);
    assert_eq!(linked(database).await, 4);
    let entry = entry(database, BACKFILL).await;
    assert_eq!(entry.get_str("state").unwrap(), "applied");
    // Waiting is no attempt.
    assert_eq!(entry.get_i64("attempts").unwrap(), 1);
    assert_eq!(changed(database, BACKFILL).await["stories → section blog"], 2);
}

async fn sections(database: &TestDatabase) -> Service {
    let sections = Service::sections(&settings(database, &[])).await;
    sections.migrated().await;
    sections
}

/// content-service behind something that is at fault serves, waits, and finishes by itself.
async fn waits_out(fault: Fault, reason: &str) {
    let database = TestDatabase::new().await;
    insert_content(&database).await;
    let sections = sections(&database).await;
    let between = Unreliable::start(fault, &sections.url).await;
    let content = content(&database, &between.url, &[]).await;
    assert_it_waits(&database, &content, reason).await;
    between.heal();
    content.migrated().await;
    assert_it_is_done(&database).await;
}

#[tokio::test]
async fn content_service_may_start_first() {
    let database = TestDatabase::new().await;
    insert_content(&database).await;
    // A port that is free, and that nobody listens on for a while.
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = reserved.local_addr().unwrap().port();
    drop(reserved);
    let content = content(&database, &format!("http://127.0.0.1:{port}"), &[]).await;
    assert_it_waits(&database, &content, "does not answer").await;

    let port = port.to_string();
    let _sections = Service::sections(&settings(&database, &[("server.port", &port)])).await;
    content.migrated().await;
    assert_it_is_done(&database).await;
}

#[tokio::test]
async fn what_comes_before_the_backfill_is_done_while_it_waits() {
    let database = TestDatabase::new().await;
    database.insert("stories", [doc! { "title": "Early", "date": day(1) }]).await;
    let content = content(&database, "http://127.0.0.1:1", &[]).await;
    content
        .wait_for("the backfill waits", |all| {
            migration(all, BACKFILL).state == State::WaitingDependency
        })
        .await;
    assert!(
        content
            .statuses()
            .iter()
            .take_while(|status| status.id != BACKFILL)
            .all(|status| status.is_settled)
    );
    let (status, body) = content.get("/stories/slug/early").await;
    assert_eq!(
        (status.as_u16(), body["createdDate"].as_str()),
        (200, Some("2024-01-02T00:00:00.000Z"))
    );
}

#[tokio::test]
async fn a_service_that_waits_can_be_stopped() {
    let database = TestDatabase::new().await;
    insert_content(&database).await;
    let content = content(&database, "http://127.0.0.1:1", &[]).await;
    assert_it_waits(&database, &content, "does not answer").await;
    tokio::time::timeout(Duration::from_secs(10), content.stop()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_service_that_waits_keeps_nobody_else_from_migrating() {
    let database = TestDatabase::new().await;
    insert_content(&database).await;
    let sections = sections(&database).await;
    let waiting = content(&database, "http://127.0.0.1:1", &[]).await;
    assert_it_waits(&database, &waiting, "does not answer").await;
    let able = content(&database, &sections.url, &[]).await;
    able.migrated().await;
    assert_it_is_done(&database).await;
}

#[tokio::test]
async fn internal_errors_are_waited_out() {
    waits_out(Fault::Answers("500 Internal Server Error", "oops"), "500").await;
}

#[tokio::test]
async fn a_connection_that_is_cut_half_way_is_waited_out() {
    waits_out(Fault::IsCut, "does not answer").await;
}

#[tokio::test]
async fn silence_is_waited_out() {
    waits_out(Fault::IsSilent, "does not answer").await;
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_no_list_of_sections() {
    waits_out(Fault::Answers("200 OK", "<html>Welcome</html>"), "sections.url").await;
}

#[tokio::test]
async fn json_of_another_shape_is_no_list_of_sections() {
    waits_out(Fault::Answers("200 OK", r#"{"items":[]}"#), "sections.url").await;
}

#[tokio::test]
async fn a_strangers_404_is_not_taken_for_a_missing_section() {
    waits_out(Fault::Answers("404 Not Found", "<html>404</html>"), "sections.url").await;
}

#[tokio::test]
async fn a_strangers_404_in_json_is_not_taken_for_a_missing_section() {
    waits_out(Fault::Answers("404 Not Found", r#"{"detail":"Not found"}"#), "sections.url").await;
}

#[tokio::test]
async fn another_part_of_the_system_at_the_address_is_told_apart() {
    let route_not_found = r#"{"type":"urn:turbulence:error:route_not_found",
        "title":"Route not found","status":404,"detail":"There is no route /internal/sections",
        "code":"route_not_found"}"#;
    waits_out(Fault::Answers("404 Not Found", route_not_found), "sections.url").await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    waits_out(Fault::Answers("302 Found", ""), "sections.url").await;
}

#[tokio::test]
async fn a_service_that_dies_between_two_answers_is_waited_out() {
    for well in 1..4 {
        let database = TestDatabase::new().await;
        insert_content(&database).await;
        let sections = sections(&database).await;
        let between = Unreliable::after(well, Fault::IsCut, &sections.url).await;
        let content = content(&database, &between.url, &[]).await;
        eventually("the service is dead or was not needed any more", async || {
            between.faults() > 0 || content.statuses().iter().all(|status| status.is_settled)
        })
        .await;
        let linked = linked(&database).await;
        assert!(linked == 0 || linked == 4, "all or none are linked: {linked}");
        between.heal();
        content.migrated().await;
        assert_it_is_done(&database).await;
    }
}

#[tokio::test]
async fn a_list_by_slug_says_that_sections_are_away_and_when_to_ask_again() {
    let database = TestDatabase::new().await;
    insert_content(&database).await;
    let content = content(&database, "http://127.0.0.1:1", &[]).await;
    for kind in ["stories", "projects", "pages"] {
        let url = format!("{}/{kind}?section=blog", content.url);
        let (status, headers, body) = ask(&url, &[]).await;
        assert_eq!((status.as_u16(), body["code"].as_str()), (503, Some("upstream_unavailable")));
        assert!(headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
        assert!(!body.to_string().contains("127.0.0.1"), "{body}");
    }
}

#[tokio::test]
async fn a_list_by_slug_does_not_believe_a_strangers_404() {
    let database = TestDatabase::new().await;
    let sections = sections(&database).await;
    let fault = Fault::Answers("404 Not Found", "nothing here");
    let between = Unreliable::start(fault, &sections.url).await;
    let content = content(&database, &between.url, &[]).await;
    assert_eq!(content.get("/stories?section=blog").await.0, 503);
    between.heal();
    assert_eq!(content.get("/stories?section=blog").await.0, 200);
    assert_eq!(content.get("/stories?section=nope").await.0, 404);
}
