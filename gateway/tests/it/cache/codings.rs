//! Conditional requests, `HEAD`, and content codings.

use super::{KEYS, PATH, Site, status};

/// Returns a body that can be compressed.
fn long() -> String {
    format!("[{}\"end\"]", "\"a word of many that are all the same\",".repeat(100))
}

#[tokio::test]
async fn head_is_answered_from_the_entry_of_get() {
    let site = Site::start().await;
    let head = site.send("HEAD", PATH, "").await.head;
    assert_eq!(status(&head), "turbulence; fwd=uri-miss");
    let get = site.get(PATH).await.head;
    let count = site.answers.count();
    let head = site.send("HEAD", PATH, "").await.head;
    assert_eq!((status(&head), site.answers.count()), ("turbulence; hit", count));
    for name in ["content-length", "content-type", "etag", "vary", "cache-control"] {
        assert_eq!(head.get(name), get.get(name), "{name}");
    }
    assert_eq!(head.get("content-length"), Some("7"));
}

#[tokio::test]
async fn a_client_that_has_the_answer_gets_304() {
    let site = Site::start().await;
    // Also if the gateway does not have it yet.
    let tag = site.gateway.get(PATH).await.headers()["etag"].to_str().unwrap().to_owned();
    site.content.feed.change(&["stories/1"]);
    site.missed(PATH).await;
    let plain = tag.trim_matches('"');
    for known in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"x\", {tag}"),
        "*".to_owned(),
        format!("\"{plain}-gzip\""),
        format!("W/\"{plain}-br\""),
    ] {
        let answer = site.send("GET", PATH, &format!("if-none-match: {known}\r\n")).await;
        assert_eq!(
            (answer.head.status(), status(&answer.head)),
            (304, "turbulence; hit"),
            "{known}"
        );
        assert_eq!(answer.head.get("etag"), Some(&*tag));
        assert_eq!(answer.head.get("cache-control"), Some("no-cache"));
        assert_eq!(answer.head.get("vary"), Some("authorization"));
        assert_eq!((answer.head.get("content-type"), answer.body.len()), (None, 0));
    }
    for unknown in ["\"x\"", "garbage", &format!("\"{plain}-zip\"")] {
        let answer = site.send("GET", PATH, &format!("if-none-match: {unknown}\r\n")).await;
        assert_eq!((answer.head.status(), status(&answer.head)), (200, "turbulence; hit"));
    }
}

#[tokio::test]
async fn a_condition_holds_for_answers_that_are_not_in_memory() {
    let site = Site::start().await;
    // It can be kept: the whole of it is fetched.
    let tag = site.gateway.get(PATH).await.headers()["etag"].to_str().unwrap().to_owned();
    site.answers.set("/stories/slug/b", "stories/slug/b", "\"first\"");
    let known = format!("if-none-match: {tag}\r\n");
    let answer = site.send("GET", "/stories/slug/b", &known).await;
    assert_eq!(answer.head.status(), 304);
    assert_eq!(status(&answer.head), "turbulence; fwd=uri-miss; fwd-status=200; stored");
    site.hit("/stories/slug/b").await;
    // It cannot.
    let head = "200 OK\r\ncontent-type: application/json\r\netag: \"1\"\r\nvary: cookie";
    site.answers.set_raw("/pages", head, "[]");
    let answer = site.send("GET", "/pages", "if-none-match: \"1\"\r\n").await;
    assert_eq!((answer.head.status(), answer.body.len()), (304, 0));
    assert_eq!(answer.head.get("content-type"), None);
}

#[tokio::test]
async fn each_coding_has_a_tag_of_its_own_and_the_same_content() {
    let site = Site::start().await;
    let body = long();
    site.answers.set(PATH, KEYS, &body);
    let mut tags = Vec::new();
    for (accepted, coding) in [
        ("", None),
        ("gzip", Some("gzip")),
        ("gzip, deflate, br, zstd", Some("br")),
        ("br;q=0.5, gzip", Some("gzip")),
        ("identity", None),
        ("gzip;q=0", None),
    ] {
        let accept = format!("accept-encoding: {accepted}\r\n");
        let answer = site.send("GET", PATH, &accept).await;
        assert_eq!(answer.head.get("content-encoding"), coding, "{accepted}");
        assert_eq!(answer.head.get("vary"), Some("authorization, accept-encoding"));
        let decoded = match coding {
            None => answer.body.clone(),
            Some(coding) => decode(coding, &answer.body),
        };
        assert!(decoded == body.as_bytes(), "{accepted}");
        assert!(coding.is_none() || answer.body.len() < 200, "{}", answer.body.len());
        let tag = answer.head.get("etag").unwrap().to_owned();
        assert!(tag.ends_with(&coding.map_or("\"".to_owned(), |coding| format!("-{coding}\""))));
        let length = answer.body.len().to_string();
        let head = site.send("HEAD", PATH, &accept).await.head;
        assert_eq!((head.get("etag"), head.get("content-length")), (Some(&*tag), Some(&*length)));
        let known = format!("{accept}if-none-match: {tag}\r\n");
        let answer = site.send("GET", PATH, &known).await;
        assert_eq!((answer.head.status(), answer.head.get("etag")), (304, Some(&*tag)));
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!((tags.len(), site.answers.count()), (3, 1));
    // The services do not compress.
    let heads = site.content.heads();
    assert_eq!(
        heads.iter().rfind(|head| head.target() == PATH).unwrap().get("accept-encoding"),
        None
    );
}

#[tokio::test]
async fn short_bodies_and_other_types_are_sent_as_they_are() {
    let site = Site::start().await;
    let own = "x-turbulence-revisions: content={content}\r\nsurrogate-key: stories";
    for (number, (kind, body, is_encoded)) in [
        ("application/json", "x".repeat(1023), false),
        ("application/json", "x".repeat(1024), true),
        ("Application/Problem+JSON; charset=utf-8", "x".repeat(2000), true),
        ("text/plain", "x".repeat(2000), true),
        ("image/png", "x".repeat(2000), false),
        ("application/json", "x".repeat(900_000), true),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/stories?offset={number}");
        site.answers.set_raw(&target, &format!("200 OK\r\ncontent-type: {kind}\r\n{own}"), &body);
        for _ in 0..2 {
            let answer = site.send("GET", &target, "accept-encoding: gzip\r\n").await;
            let coding = answer.head.get("content-encoding");
            assert_eq!(coding, is_encoded.then_some("gzip"), "{kind}");
            let decoded =
                if is_encoded { decode("gzip", &answer.body) } else { answer.body.clone() };
            assert!(decoded == body.as_bytes(), "{kind}");
            let vary = answer.head.get("vary");
            assert_eq!(vary, is_encoded.then_some("accept-encoding"), "{kind}");
        }
    }
}

fn decode(coding: &str, body: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut decoded = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut decoded).unwrap(),
        _ => brotli::Decompressor::new(body, 4096).read_to_end(&mut decoded).unwrap(),
    };
    decoded
}
