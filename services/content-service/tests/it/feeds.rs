//! The feeds of sections, as their readers understand them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use feed_rs::{
    model::{Feed, FeedType},
    parser,
};
use mongodb::bson::doc;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use service_kit::web::http_client::service_client;
use test_support::{TestDatabase, eventually};

use crate::support::{Site, ask, created, day, page, project, section, send, story, with};

const URL: &str = "https://example.com";

/// The text of an item that would break a document which only pasted it.
const TEXT: &str = "<p>Tom &amp; Jerry ]]> <b>bold</b> \u{1b}\u{ffff}é 𝄞 \"q\"</p>";

async fn get(site: &Site, path: &str) -> (HeaderMap, String) {
    let (status, headers, body) = ask(&format!("{}{path}", site.content.url), &[]).await;
    assert_eq!(status, 200, "{path}: {body}");
    // A feed in JSON is read from its text as well.
    let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
    (headers, text)
}

async fn feed(site: &Site, path: &str) -> Feed {
    let (_, text) = get(site, path).await;
    parser::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
}

fn links(feed: &Feed) -> Vec<&str> {
    feed.entries.iter().map(|entry| entry.links[0].href.as_str()).collect()
}

#[tokio::test]
async fn each_format_has_the_newest_items_of_the_section() {
    let database = TestDatabase::new().await;
    let notes = section(&database, "notes", doc! { "title": "Notes & more" }).await;
    let tides = section(&database, "tides", doc! { "parent_id": &notes }).await;
    let of = |slug: &str, day_: i64| {
        with(story(slug, day(day_)), doc! { "section_id": &tides, "content": TEXT })
    };
    for number in 0..25 {
        database.insert("stories", [of(&format!("s-{number}"), number)]).await;
    }
    let hidden = doc! { "is_published": false };
    database.insert("stories", [with(of("draft", 99), hidden), of("a & b", 100)]).await;
    database.insert("stories", [with(of("trash", 99), doc! { "deleted": true })]).await;
    let site = Site::start_with(&database, &[("site.url", URL)]).await;
    let facts = json!({ "title": "Tidal <notes>", "language": "de", "description": "About" });
    let facts = send("PATCH", &format!("{}/site", site.content.url), &[], &facts).await;
    assert_eq!(facts.0, 200);
    for (format, kind, media_type) in [
        ("rss", FeedType::RSS2, "application/rss+xml; charset=utf-8"),
        ("atom", FeedType::Atom, "application/atom+xml; charset=utf-8"),
        ("json", FeedType::JSON, "application/feed+json; charset=utf-8"),
    ] {
        let path = format!("/feeds/notes/tides.{format}");
        let (headers, _) = get(&site, &path).await;
        assert_eq!(headers["content-type"], media_type);
        let feed = feed(&site, &path).await;
        assert_eq!(feed.feed_type, kind);
        assert_eq!(feed.title.as_ref().unwrap().content, "tides – Tidal <notes>");
        let first = &feed.entries[0];
        assert_eq!(first.title.as_ref().unwrap().content, "Story a & b", "{path}");
        let expected = TEXT.replace(['\u{1b}', '\u{ffff}'], "");
        let content = first.content.as_ref().unwrap().body.as_deref().unwrap();
        match kind {
            // JSON has all characters.
            FeedType::JSON => assert_eq!(content, TEXT),
            _ => assert_eq!(content, expected, "{path}"),
        }
        let created: DateTime<Utc> = "2024-04-10T00:00:00Z".parse().unwrap();
        assert_eq!(first.published, Some(created), "{path}");
        let links = links(&feed);
        assert_eq!(links.len(), 20, "{path}");
        assert_eq!(
            links[..2],
            [&*format!("{URL}/notes/tides/a%20&%20b"), &*format!("{URL}/notes/tides/s-24")]
        );
        assert!(
            feed.entries.iter().all(|entry| entry.id.starts_with("tag:example.com,2024:/stories/"))
        );
    }
    let etag = get(&site, "/feeds/notes/tides.rss").await.0["etag"].to_str().unwrap().to_owned();
    let url = format!("{}/feeds/notes/tides.rss", site.content.url);
    assert_eq!(ask(&url, &[("if-none-match", &etag)]).await.0, 304);
}

#[tokio::test]
async fn a_feed_exists_for_each_kind_and_follows_its_section() {
    let database = TestDatabase::new().await;
    let long = doc! { "content": "x".repeat(600_000), "summary": "In short" };
    database.insert("projects", [project("lamp"), with(project("long"), long)]).await;
    database.insert("pages", [page("about")]).await;
    let site = Site::start_with(&database, &[("site.url", URL)]).await;
    let projects = feed(&site, "/feeds/projects.atom").await;
    let of = |slug: &str| {
        let link = format!("{URL}/projects/{slug}");
        projects.entries.iter().find(|entry| entry.links[0].href == link).unwrap()
    };
    // A card has no text, and a feed does.
    assert_eq!(of("lamp").content.as_ref().unwrap().body.as_deref(), Some("<p>Long.</p>"));
    assert_eq!(
        (of("long").content.is_none(), &*of("long").summary.as_ref().unwrap().content),
        (true, "In short")
    );
    assert_eq!(links(&feed(&site, "/feeds/about.json").await), [&*format!("{URL}/about")]);
    assert_eq!(links(&feed(&site, "/feeds/blog.rss").await), [""; 0]);
    created(&site, "stories", json!({ "title": "New", "content": "<p>x</p>" })).await;
    assert_eq!(links(&feed(&site, "/feeds/blog.rss").await), [&*format!("{URL}/blog/new")]);
    // The section is renamed: its former feed leads to the new one.
    let (_, blog) = site.sections.get("/sections/slug/blog").await;
    let url = format!("{}/sections/{}", site.sections.url, blog["id"].as_str().unwrap());
    let renamed = send("PATCH", &url, &[], &json!({ "slug": "journal" })).await;
    assert_eq!(renamed.0, 200, "{}", renamed.2);
    let client = service_client(Duration::from_secs(30)).unwrap();
    let former = format!("{}/feeds/blog.rss", site.content.url);
    eventually("the former feed leads to the new one", async || {
        let answer = client.get(&former).send().await.unwrap();
        let location = format!("{URL}/feeds/journal.rss");
        answer.status() == 301 && answer.headers()["location"] == location.as_str()
    })
    .await;
    assert_eq!(links(&feed(&site, "/feeds/journal.rss").await), [&*format!("{URL}/journal/new")]);
    send("PATCH", &url, &[], &json!({ "is_published": false })).await;
    eventually("a hidden section has no feed", async || {
        site.content.get("/feeds/journal.rss").await.0 == 404
    })
    .await;
    for path in [
        "/feeds/journal",
        "/feeds/.rss",
        "/feeds/nope.rss",
        "/feeds/about.xml",
        "/feeds/projects/lamp.rss",
    ] {
        let (status, answer): (_, Value) = site.content.get(path).await;
        assert_eq!((status.as_u16(), &answer["detail"]), (404, &json!("Feed not found")), "{path}");
    }
    assert_eq!(site.content.get("/feeds/about.rss?x=1").await.0, 422);
}
