//! Feeds that are silent, and services that do not answer.

use models::{
    ErrorCode,
    changes::{FeedMessage, Revision},
};

use super::{KEYS, PATH, Site, status};
use crate::support::{assert_problem, eventually};

/// The value of `Cache-Status` of an answer that is used though the service does not answer.
const STALE: &str = "turbulence; fwd=stale; detail=\"the service does not answer\"";

#[tokio::test]
async fn an_answer_is_confirmed_while_a_feed_is_silent() {
    for is_of_sections in [false, true] {
        let site = Site::start().await;
        site.miss(PATH).await;
        let feed = if is_of_sections { &site.sections.feed } else { &site.content.feed };
        feed.silence(true);
        let confirmed = site.missed(PATH).await;
        assert!(status(&confirmed.head).starts_with("turbulence; fwd=stale; fwd-status=304"));
        assert_eq!(confirmed.body, b"\"first\"");
        site.miss(PATH).await;
        // What changes without a word is seen at once.
        site.answers.set(PATH, KEYS, "\"second\"");
        assert_eq!(site.miss(PATH).await, b"\"second\"");
        feed.silence(false);
        eventually(async || {
            (status(&site.get(PATH).await.head) == "turbulence; hit").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_service_without_a_feed_is_asked_each_time() {
    let site = Site::start_unheard(&[], false).await;
    for number in 1..=5 {
        let tag = site.get(PATH).await.head.get("etag").unwrap().to_owned();
        assert_eq!(site.answers.count(), 2 * number - 1);
        let answer = site.send("GET", PATH, &format!("if-none-match: {tag}\r\n")).await;
        assert_eq!((answer.head.status(), status(&answer.head)), (304, "turbulence; fwd=uri-miss"));
        assert_eq!(site.answers.count(), 2 * number);
    }
}

#[tokio::test]
async fn what_was_true_is_used_while_the_service_does_not_answer() {
    let site = Site::start().await;
    site.miss(PATH).await;
    site.answers.set("/stories/slug/b", "stories/slug/b", "\"b\"");
    site.miss("/stories/slug/b").await;
    // What is unpublished is not.
    site.content.feed.change(&["stories/slug/b"]);
    site.missed("/stories/slug/b").await;
    site.answers.set_raw("/stories/slug/b", "", "");
    site.content.feed.change(&["stories/slug/b"]);
    eventually(async || (site.get("/stories/slug/b").await.head.status() == 502).then_some(()))
        .await;

    let Site { gateway, content, sections: _sections, answers: _answers } = site;
    drop(content);
    let get = async |target: &str| {
        gateway.send(format!("GET {target} HTTP/1.1\r\nhost: h\r\n\r\n")).await
    };
    let stale = eventually(async || {
        let answer = get(PATH).await;
        (status(&answer.head) != "turbulence; hit").then_some(answer)
    })
    .await;
    assert_eq!((stale.head.status(), status(&stale.head)), (200, STALE));
    assert_eq!(stale.body, b"\"first\"");
    assert!(stale.head.get("age").is_some());
    let changed = get("/stories/slug/b").await;
    assert_problem(changed.head.status(), &changed.body, ErrorCode::UpstreamUnavailable);
    let unknown = get("/stories/slug/c").await;
    assert_problem(unknown.head.status(), &unknown.body, ErrorCode::UpstreamUnavailable);
}

#[tokio::test]
async fn what_was_true_is_not_used_for_longer_than_the_setting_says() {
    let site = Site::start_with(&[("cache.stale_if_error_seconds", "0")]).await;
    site.miss(PATH).await;
    site.answers.set_raw(PATH, "503 Unavailable", "");
    site.content.feed.silence(true);
    assert_eq!(site.missed(PATH).await.head.status(), 503);
}

#[tokio::test]
async fn an_error_of_the_service_is_as_good_as_no_answer() {
    let site = Site::start().await;
    site.miss(PATH).await;
    site.content.feed.silence(true);
    for head in ["500 Broken", "503 Unavailable\r\nretry-after: 1", ""] {
        site.answers.set_raw(PATH, head, "");
        let answer = site.missed(PATH).await;
        assert_eq!((answer.head.status(), status(&answer.head)), (200, STALE), "{head}");
    }
    // A service that hangs is not waited for.
    site.answers.hold();
    let answer = site.missed(PATH).await;
    assert_eq!((answer.head.status(), status(&answer.head)), (200, STALE));
    site.answers.permits.add_permits(100);
    // Another answer is an answer.
    site.answers.set_raw(PATH, "401 Unauthorized", "");
    assert_eq!(site.missed(PATH).await.head.status(), 401);
}

#[tokio::test]
async fn a_database_that_begins_again_makes_everything_unknown() {
    let site = Site::start().await;
    site.miss(PATH).await;
    site.hit(PATH).await;
    let revision = Revision::new(site.content.feed.revision() - (900 << 32));
    site.content.feed.send(FeedMessage::Watermark { revision, age_ms: 0 });
    site.missed(PATH).await;
    eventually(async || (status(&site.get(PATH).await.head) == "turbulence; hit").then_some(()))
        .await;
}
