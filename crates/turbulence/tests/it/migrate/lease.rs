//! Leases of other processes: waiting for them, and `migrate force-unlock`.

use std::time::Duration;

use mongodb::bson::{Bson, DateTime, doc};
use serde_json::Value;
use test_support::migration_id;

use super::{legacy_site, linked, migrated_site};
use crate::support::{Site, Turbulence};

async fn fence(site: &Site, service: &str) -> i64 {
    let lease = site.database.one(&format!("{service}_migration_lock"), doc! {}).await;
    lease.get_i64("fence").unwrap()
}

#[tokio::test]
async fn a_run_waits_for_the_lease_of_another_process_and_logs_it() {
    let site = legacy_site().await;
    site.lease("content", 7, 1).await;
    let up = Turbulence::spawn(site.command(&["migrate", "up"]));
    up.logged("waiting for the lease of another process").await;
    let ended = site.migrate(&["status", "--service", "content"]).await;
    let text = ended.success();
    assert!(
        text.contains("process another (fence 7) is migrating, its lease expires in "),
        "{text}"
    );
    // The other process ends.
    site.lease("content", 7, -1).await;
    up.ended().await.success();
    assert_eq!(fence(&site, "content").await, 8);
    assert_eq!(site.database.count("stories", linked()).await, 7);
}

#[tokio::test]
async fn a_lease_that_is_held_for_a_minute_is_code_4() {
    let site = migrated_site().await;
    site.database.insert("stories", [doc! { "_id": "new" }]).await;
    site.lease("content", 7, 1).await;
    let before = site.database.hash().await;
    let wait = |arguments: &[&str]| Turbulence::spawn(site.command(arguments));
    let up = wait(&["migrate", "up"]);
    let down = wait(&["migrate", "down", "--to", migration_id("user_id")]);
    for waiting in [up, down] {
        let ended = waiting.ended_within(Duration::from_secs(90)).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(ended.failure(4), @"turbulence: process another (fence 7) is migrating content: wait until it is done; if it was killed, its lease expires within 30 s");
        }
    }
    assert_eq!(site.database.hash().await, before);
}

#[tokio::test]
async fn a_waiting_process_can_be_stopped() {
    let site = legacy_site().await;
    site.lease("sections", 7, 1).await;
    let up = Turbulence::spawn(site.command(&["migrate", "up"]));
    up.logged("waiting for the lease of another process").await;
    up.signal("TERM");
    up.ended().await.failure(130);
    assert_eq!(site.database.count("sections", doc! {}).await, 0);
}

#[tokio::test]
async fn no_lease_is_needed_if_nothing_is_pending() {
    let site = migrated_site().await;
    site.lease("sections", 7, 1).await;
    site.lease("content", 7, 1).await;
    site.migrate(&["up"]).await.success();
}

#[tokio::test]
async fn a_live_lease_is_only_revoked_with_yes() {
    let site = legacy_site().await;
    site.lease("content", 7, 1).await;
    let line = site.refused(4, &["force-unlock", "--fence", "7"]).await;
    let (begin, end) = line.split_once(" ms: ").unwrap();
    let begin = begin.trim_end_matches(|c: char| c.is_ascii_digit());
    insta::assert_snapshot!(format!("{begin}[n] ms: {end}"), @"turbulence: process another holds the lease of content and renewed it for another [n] ms: stop that process; unlock the lease only if the process cannot be reached; `--yes` revokes the lease anyway");
    let ended = site.migrate(&["force-unlock", "--fence", "7"]).await;
    let holder = "content: process another (fence 7), whose lease expires in ";
    assert!(ended.results().starts_with(holder), "{ended:#?}");
    assert!(ended.stdout.ends_with(" min: the lease was not revoked\n"), "{ended:#?}");

    let ended = site.migrate(&["force-unlock", "--fence", "7", "--yes", "--json"]).await;
    let answer: Value = serde_json::from_str(ended.success()).unwrap();
    assert_eq!(answer["content"]["unlocked"], true);
    assert_eq!(answer["content"]["lease"]["owner"], "another");
    assert_eq!(answer["content"]["lease"]["fence"], 7);
    let lease = site.database.one("content_migration_lock", doc! {}).await;
    assert_eq!(lease.get("owner"), Some(&Bson::Null));
    assert_eq!(lease.get_i64("fence").unwrap(), 8);
    assert!(*lease.get_datetime("expires_at").unwrap() < DateTime::now());
    site.migrate(&["up"]).await.success();
}

#[tokio::test]
async fn an_expired_lease_is_revoked_without_yes() {
    let site = legacy_site().await;
    site.lease("content", 7, -1).await;
    let ended = site.migrate(&["status", "--service", "content"]).await;
    let text = ended.success();
    let expired = "no process is migrating; process another (fence 7) did not release its lease, \
                   which expired 60 min ago";
    assert!(text.contains(expired), "{text}");
    let ended = site.migrate(&["force-unlock", "--fence", "7"]).await;
    ended.success();
    insta::assert_snapshot!(ended.results(), @"content: process another (fence 7), whose lease expired 60 min ago: the lease was revoked, and the next batch of the process will be rejected");
}

#[tokio::test]
async fn a_lease_with_another_fence_is_not_revoked() {
    let site = legacy_site().await;
    site.lease("sections", 8, 1).await;
    let line = site.refused(4, &["force-unlock", "--fence", "7", "--yes"]).await;
    insta::assert_snapshot!(line, @"turbulence: the lease of sections has the fence 8, not 7: another process has acquired it; check the status again");
    assert_eq!(fence(&site, "sections").await, 8);
}

#[tokio::test]
async fn a_lease_without_a_holder_cannot_be_revoked() {
    let site = migrated_site().await;
    let line = site.refused(1, &["force-unlock", "--fence", "1", "--yes"]).await;
    insta::assert_snapshot!(line, @"turbulence: no process holds the lease of sections or content: there is nothing to unlock");
    let unlock = ["force-unlock", "--fence", "1", "--yes", "--service", "content"];
    let line = site.refused(1, &unlock).await;
    insta::assert_snapshot!(line, @"turbulence: no process holds the lease of content: there is nothing to unlock");
}

#[tokio::test]
async fn one_of_two_held_leases_has_to_be_chosen() {
    let site = legacy_site().await;
    site.lease("sections", 7, 1).await;
    site.lease("content", 9, 1).await;
    let line = site.refused(2, &["force-unlock", "--fence", "9", "--yes"]).await;
    insta::assert_snapshot!(line, @"turbulence: two leases are held, the lease of sections by process another (fence 7), the lease of content by process another (fence 9): choose one with `--service`");
    let unlock = ["force-unlock", "--fence", "9", "--yes", "--service", "content"];
    site.migrate(&unlock).await.success();
    assert_eq!((fence(&site, "sections").await, fence(&site, "content").await), (7, 10));
}

#[tokio::test]
async fn a_fence_is_required() {
    let site = Site::new().await;
    for arguments in [&["force-unlock"][..], &["force-unlock", "--fence", "x"]] {
        let ended = site.migrate(arguments).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:#?}");
        assert!(ended.stderr.contains("--fence <N>"), "{ended:#?}");
    }
}

#[tokio::test]
async fn a_process_whose_lease_was_revoked_writes_nothing_more() {
    let site = Site::new().await;
    let stories = (0..200).map(|number| doc! { "_id": number });
    site.database.collection("stories").insert_many(stories).await.unwrap();
    let up = ["migrate", "up", "--no-throttle", "--documents-per-second", "10"];
    let up = Turbulence::spawn(site.command(&up));
    let published = doc! { "is_published": true };
    test_support::eventually("some stories are done", async || {
        site.database.count("stories", published.clone()).await > 3
    })
    .await;
    let fence = fence(&site, "content").await.to_string();
    site.refused_while_writing(4, &["force-unlock", "--fence", &fence]).await;
    site.migrate(&["force-unlock", "--fence", &fence, "--yes"]).await.success();
    let ended = up.ended().await;
    let expected =
        format!("turbulence: {}: another process has taken over", migration_id("published_flag"));
    assert_eq!(ended.failure(4), expected);
    assert!(site.database.count("stories", published.clone()).await < 200);
    site.migrate(&["up", "--no-throttle"]).await.success();
    assert_eq!(site.database.count("stories", published).await, 200);
}

impl Site {
    /// Runs a command that fails while another process writes.
    async fn refused_while_writing(&self, code: i32, arguments: &[&str]) {
        self.migrate(arguments).await.failure(code);
    }
}
