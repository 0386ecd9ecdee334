//! The answers that are kept, and for how long.

use models::changes::{FeedMessage, Revision};

use super::{KEYS, PATH, Site, status};
use crate::support::eventually;

#[tokio::test]
async fn an_answer_is_used_until_its_content_changes() {
    let site = Site::start().await;
    site.answers.set("/stories/slug/b", "stories/slug/b", "\"b\"");
    let first = site.get(PATH).await;
    assert_eq!(status(&first.head), "turbulence; fwd=uri-miss; fwd-status=200; stored");
    let second = site.get(PATH).await;
    assert_eq!(status(&second.head), "turbulence; hit");
    assert_eq!((first.body, site.answers.count()), (second.body, 1));
    for name in ["content-type", "etag", "vary", "cache-control", "x-content-type-options", "age"] {
        assert_eq!(first.head.get(name), second.head.get(name), "{name}");
        assert!(first.head.get(name).is_some(), "{name}");
    }
    for name in ["surrogate-key", "cache-tag", "x-turbulence-revisions"] {
        assert_eq!((first.head.get(name), second.head.get(name)), (None, None), "{name}");
    }
    let ids = [&first.head, &second.head].map(|head| head.get("x-request-id").unwrap());
    assert_ne!(ids[0], ids[1]);
    assert_ne!(ids[1], "of-the-service");

    site.miss("/stories/slug/b").await;
    site.answers.set(PATH, KEYS, "\"second\"");
    site.content.feed.change(&["stories", "stories/slug/a"]);
    let changed = site.missed(PATH).await;
    assert_eq!(status(&changed.head), "turbulence; fwd=stale; fwd-status=200; stored");
    assert_eq!(changed.body, b"\"second\"");
    assert_eq!(site.hit(PATH).await, b"\"second\"");
    site.hit("/stories/slug/b").await;
}

#[tokio::test]
async fn a_change_of_one_service_counts_for_the_answers_of_the_other() {
    let site = Site::start().await;
    site.miss(PATH).await;
    site.hit(PATH).await;
    site.sections.feed.change(&["sections"]);
    let confirmed = site.missed(PATH).await;
    assert_eq!(status(&confirmed.head), "turbulence; fwd=stale; fwd-status=304; stored");
    assert_eq!(confirmed.body, b"\"first\"");
    site.hit(PATH).await;
}

#[tokio::test]
async fn families_that_are_reset_or_suspended_are_not_answered_from_memory() {
    let site = Site::start().await;
    site.miss(PATH).await;
    let families = vec!["stories".to_owned()];
    site.content.feed.send(FeedMessage::Suspended { families: families.clone() });
    site.missed(PATH).await;
    site.miss(PATH).await;
    site.hit("/projects").await;
    let revision = Revision::new(site.content.feed.advance());
    site.content.feed.send(FeedMessage::Reset { revision, families });
    eventually(async || (status(&site.get(PATH).await.head) == "turbulence; hit").then_some(()))
        .await;
}

#[tokio::test]
async fn only_answers_that_anyone_may_get_are_kept() {
    let site = Site::start().await;
    let own = "x-turbulence-revisions: content={content},sections={sections}\r\n\
               surrogate-key: stories sections";
    let target = "/stories?limit=1";
    for (head, is_kept) in [
        (format!("200 OK\r\n{own}"), true),
        (format!("404 Not Found\r\ncache-control: no-store\r\n{own}"), true),
        (format!("200 OK\r\nvary: Authorization, accept-encoding\r\nvary: Origin\r\n{own}"), true),
        ("200 OK\r\nsurrogate-key: stories".to_owned(), false),
        ("200 OK\r\nx-turbulence-revisions: content={content}".to_owned(), false),
        (
            "200 OK\r\nx-turbulence-revisions: content={content}\r\nsurrogate-key: ".to_owned(),
            false,
        ),
        ("200 OK\r\nx-turbulence-revisions: many\r\nsurrogate-key: stories".to_owned(), false),
        (format!("200 OK\r\nx-turbulence-valid-ms: soon\r\n{own}"), false),
        (
            "200 OK\r\nx-turbulence-revisions: content={content}\r\nsurrogate-key: sections"
                .to_owned(),
            false,
        ),
        ("200 OK\r\nx-turbulence-revisions: content=5\r\nsurrogate-key: stories".to_owned(), false),
        (format!("200 OK\r\n{own} events/1"), false),
        (format!("200 OK\r\nset-cookie: a=1\r\n{own}"), false),
        (format!("200 OK\r\ncache-control: max-age=5, Private\r\n{own}"), false),
        (format!("200 OK\r\ncache-control: no-store\r\n{own}"), false),
        (format!("200 OK\r\nvary: cookie\r\n{own}"), false),
        (format!("200 OK\r\nvary: *\r\n{own}"), false),
        (format!("200 OK\r\ncontent-encoding: gzip\r\n{own}"), false),
        (format!("401 Unauthorized\r\n{own}"), false),
        (format!("410 Gone\r\n{own}"), false),
        (format!("301 Moved\r\nlocation: /x\r\n{own}"), false),
        (format!("422 Unprocessable\r\n{own}"), false),
        (format!("500 Broken\r\n{own}"), false),
    ] {
        site.answers.set_raw(target, &head, "a body");
        let first = site.get(target).await;
        let second = site.get(target).await;
        let is_hit = status(&second.head) == "turbulence; hit";
        assert_eq!(is_hit, is_kept, "{head}\n{}", status(&second.head));
        assert_eq!((first.head.status(), first.body), (second.head.status(), second.body));
        // The next one begins with nothing.
        site.content.feed.change(&["stories"]);
        if is_kept {
            site.answers.set_raw(target, "410 Gone", "");
            site.missed(target).await;
        }
    }
}

#[tokio::test]
async fn an_answer_of_more_than_a_megabyte_is_passed_on() {
    let site = Site::start().await;
    let own = "x-turbulence-revisions: content={content}\r\nsurrogate-key: stories";
    for (bytes, is_kept) in [(1024 * 1024, true), (1024 * 1024 + 1, false)] {
        let target = format!("/stories?limit={bytes}");
        site.answers.set_raw(&target, &format!("200 OK\r\n{own}"), &"x".repeat(bytes));
        assert_eq!(site.miss(&target).await.len(), bytes);
        assert_eq!(status(&site.get(&target).await.head) == "turbulence; hit", is_kept, "{bytes}");
    }
}

#[tokio::test]
async fn an_answer_with_an_end_is_used_until_then() {
    let site = Site::start().await;
    let head = "200 OK\r\nx-turbulence-revisions: content={content}\r\nsurrogate-key: stories\r\n\
                x-turbulence-valid-ms: ";
    for (target, milliseconds) in [("/stories?limit=1", "3600000"), ("/stories?limit=2", "200")] {
        site.answers.set_raw(target, &format!("{head}{milliseconds}"), "now");
        site.miss(target).await;
    }
    site.answers.set_raw("/stories?limit=2", &format!("{head}60000"), "later");
    assert_eq!(site.missed("/stories?limit=2").await.body, b"later");
    site.hit("/stories?limit=1").await;
}

#[tokio::test]
async fn requests_with_a_token_pass_by() {
    let site = Site::start().await;
    site.miss(PATH).await;
    site.answers.set(PATH, KEYS, "\"a draft\"");
    let answer = site.send("GET", PATH, "authorization: Bearer x\r\n").await;
    assert_eq!(
        (&answer.body[..], status(&answer.head)),
        (&b"\"a draft\""[..], "turbulence; fwd=bypass")
    );
    assert_eq!(answer.head.get("cache-control"), Some("private, no-store"));
    assert_eq!(site.hit(PATH).await, b"\"first\"");
}

#[tokio::test]
async fn a_client_cannot_poison_what_others_get() {
    let site = Site::start().await;
    let list = "/stories?limit=1&offset=2";
    site.answers.set(list, "stories", "\"the list\"");
    for odd in [
        "/stories?limit=1&offset=2&limit=3",
        "/stories?limit=1&offset=2&unknown=1",
        "/stories?limit=1&offset=2&=",
        "/stories?limit=1&offset=2;x",
        "/stories/?offset=2&&limit=1&",
        "/stories?offset=2&l%69mit=1",
    ] {
        site.answers.set(odd, "stories", "\"odd\"");
        site.get(odd).await;
    }
    // Other spellings of the same request reach the service in one.
    let heads = site.content.heads();
    let targets: Vec<_> = heads.iter().map(crate::support::Head::target).collect();
    assert_eq!(targets.iter().filter(|target| **target == list).count(), 1, "{targets:?}");
    assert!(!targets.contains(&"/stories/?offset=2&&limit=1&"), "{targets:?}");
    for spelling in [list, "/stories?offset=2&limit=1", "/stories/?limit=1&offset=%32"] {
        assert_eq!(site.hit(spelling).await, b"\"the list\"");
    }

    // The headers between the processes are the gateway's.
    let sent = "x-turbulence-revisions: content=1,sections=1\r\nx-turbulence-valid-ms: 1\r\n\
                surrogate-key: x\r\nconnection: x-turbulence-revisions, surrogate-key\r\n";
    site.answers.set("/pages", "pages", "[]");
    site.send("GET", "/pages", sent).await;
    let heads = site.content.heads();
    let head = heads.iter().rfind(|head| head.target() == "/pages").unwrap();
    let newest = format!(
        "content={},sections={}",
        site.content.feed.revision(),
        site.sections.feed.revision()
    );
    assert_eq!(head.all("x-turbulence-revisions"), [newest]);
    assert_eq!((head.get("x-turbulence-valid-ms"), head.get("surrogate-key")), (None, None));
    site.hit("/pages").await;
}

#[tokio::test]
async fn a_replica_is_not_made_to_wait_for_states_without_a_change() {
    let site = Site::start().await;
    let feed = &site.content.feed;
    let change = feed.advance();
    for _ in 0..5 {
        feed.advance();
    }
    // The later state is known first.
    feed.send(FeedMessage::Watermark { revision: Revision::new(feed.revision()), age_ms: 0 });
    let keys = vec!["pages".to_owned()];
    feed.send(FeedMessage::Changed { revision: Revision::new(change), keys });
    let expected = format!("content={change},sections={}", site.sections.feed.revision());
    eventually(async || {
        site.send("GET", "/pages", "authorization: Bearer x\r\n").await;
        let heads = site.content.heads();
        let head = heads.iter().rfind(|head| head.target() == "/pages").unwrap();
        (head.all("x-turbulence-revisions") == [expected.as_str()]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn other_media_types_of_errors_and_parts_are_not_answered_from_memory() {
    let site = Site::start().await;
    site.miss(PATH).await;
    for header in ["accept: application/problem+json", "range: bytes=0-1", "if-match: \"1\""] {
        let answer = site.send("GET", PATH, &format!("{header}\r\n")).await;
        assert_eq!(status(&answer.head), "turbulence; fwd=bypass", "{header}");
    }
    let answer = site.send("GET", PATH, "content-length: 0\r\n").await;
    assert_eq!(status(&answer.head), "turbulence; hit");
    assert_eq!(
        status(&site.get("/stories/0123456789abcdef01234567").await.head),
        "turbulence; fwd=bypass"
    );
}

#[tokio::test]
async fn an_error_that_is_kept_has_the_trace_id_of_each_request() {
    let site = Site::start().await;
    let id = "0af7651916cd43dd8448eb211c80319c";
    let head = "404 Not Found\r\ncontent-type: application/json\r\n\
                x-turbulence-revisions: content={content}\r\nsurrogate-key: stories/slug/x";
    let target = "/stories/slug/x";
    site.answers.set_raw(target, head, &format!("{{\"trace_id\":\"{id}\"}}"));
    let trace = |id: &str| format!("traceparent: 00-{id}-b7ad6b7169203331-01\r\n");
    let first = site.send("GET", target, &trace(id)).await;
    assert_eq!(first.body, format!("{{\"trace_id\":\"{id}\"}}").as_bytes());
    let other = "1af7651916cd43dd8448eb211c80319d";
    let second = site.send("GET", target, &trace(other)).await;
    assert_eq!(status(&second.head), "turbulence; hit");
    assert_eq!(second.body, format!("{{\"trace_id\":\"{other}\"}}").as_bytes());
}

#[tokio::test]
async fn keys_are_passed_on_to_a_cdn_if_a_setting_says_so() {
    let site = Site::start_with(&[("cache.surrogate_keys", "true")]).await;
    for _ in 0..2 {
        let head = site.get(PATH).await.head;
        assert_eq!(head.get("surrogate-key"), Some(KEYS));
        assert_eq!(head.get("cache-tag"), Some("stories/slug/a,stories/1,sections"));
        assert_eq!(head.get("x-turbulence-revisions"), None);
    }
}

#[tokio::test]
async fn a_cache_that_is_turned_off_keeps_nothing_and_says_nothing() {
    let site = Site::start_unheard(&[("cache.max_bytes", "0")], true).await;
    for number in 1..=3 {
        let answer = site.get(PATH).await;
        assert_eq!((answer.head.get("cache-status"), answer.head.get("age")), (None, None));
        assert_eq!(answer.head.get("x-turbulence-revisions"), None);
        assert_eq!(site.answers.count(), number);
    }
}
