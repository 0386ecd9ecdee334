//! Changes that are made through the gateway.

use super::{KEYS, PATH, Site, status};
use crate::support::assert_problem;
use models::ErrorCode;

/// Makes a write whose answer has this status and these headers. Nothing is reported by the feed.
async fn write(site: &Site, head: &str) -> u16 {
    site.content.feed.advance();
    site.answers.set_raw("/stories/1", head, "{}");
    let answer = site.send("PATCH", "/stories/1", "authorization: Bearer x\r\n").await;
    assert_eq!(answer.head.get("surrogate-key"), None);
    assert_eq!(status(&answer.head), "turbulence; fwd=method");
    answer.head.status()
}

#[tokio::test]
async fn a_write_counts_before_its_answer_is_returned() {
    let site = Site::start().await;
    site.answers.set("/stories/slug/b", "stories/slug/b", "\"b\"");
    let head = "200 OK\r\nx-turbulence-revisions: content={content}\r\n\
                surrogate-key: stories stories/slug/a";
    site.miss("/stories/slug/b").await;
    for number in 0..20 {
        site.get(PATH).await;
        site.answers.set(PATH, KEYS, &format!("\"{number}\""));
        assert_eq!(write(&site, head).await, 200);
        assert_eq!(site.miss(PATH).await, format!("\"{number}\"").as_bytes());
    }
    site.hit("/stories/slug/b").await;
    site.hit("/projects").await;
}

#[tokio::test]
async fn a_write_that_names_no_keys_counts_for_its_whole_kind() {
    let site = Site::start().await;
    for head in [
        "200 OK",
        "204 No Content\r\nsurrogate-key: stories",
        "201 Created\r\nx-turbulence-revisions: content={content}",
        "200 OK\r\nx-turbulence-revisions: sections={sections}\r\nsurrogate-key: stories",
        "200 OK\r\nx-turbulence-revisions: x\r\nsurrogate-key: stories",
        "500 Broken",
        "503 Unavailable",
        "504 Late",
    ] {
        site.get(PATH).await;
        site.content.feed.change(&["stories/none"]);
        site.get(PATH).await;
        let before = site.answers.count();
        write(&site, head).await;
        site.get(PATH).await;
        assert_eq!(site.answers.count(), before + 2, "{head}");
        site.hit("/projects").await;
    }
}

#[tokio::test]
async fn a_write_whose_outcome_is_unknown_counts_for_its_whole_kind() {
    let site = Site::start().await;
    site.miss(PATH).await;
    site.hit(PATH).await;
    // The connection closes without an answer.
    site.answers.set_raw("/stories/1", "", "");
    let answer = site.send("PATCH", "/stories/1", "authorization: Bearer x\r\n").await;
    assert_problem(answer.head.status(), &answer.body, ErrorCode::UpstreamBroken);
    site.miss(PATH).await;
    site.hit("/projects").await;
    // A move may change all kinds.
    let site = Site::start().await;
    site.answers.set_raw("/content/move", "", "");
    site.send("POST", "/content/move", "authorization: Bearer x\r\n").await;
    site.miss("/projects").await;
}

#[tokio::test]
async fn a_write_that_was_refused_changes_nothing() {
    let site = Site::start().await;
    site.miss(PATH).await;
    let refused = r#"{"code":"overloaded","status":503}"#;
    for (head, body) in [
        ("401 Unauthorized", ""),
        ("403 Forbidden", ""),
        ("404 Not Found", ""),
        ("409 Conflict", ""),
        ("412 Precondition Failed", ""),
        ("422 Invalid", ""),
        ("429 Too Many", ""),
        ("503 Unavailable\r\nretry-after: 1", refused),
    ] {
        site.answers.set_raw("/stories", head, body);
        site.send("POST", "/stories", "").await;
        site.hit(PATH).await;
    }
    // Nor does one that is cut off, which anyone can send.
    let mut client = site.gateway.connect().await;
    client.write(b"POST /stories HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\nx").await;
    drop(client);
    site.hit(PATH).await;
}
