//! The sitemap, and the rules for crawlers.

use std::collections::BTreeSet;

use mongodb::bson::{Bson, doc, oid::ObjectId};
use quick_xml::{Reader, events::Event};
use reqwest::StatusCode;
use test_support::TestDatabase;

use crate::support::{Site, ask, created, day, heard, page, project, section, story, with};

pub(crate) const URL: &str = "https://example.com/site";

/// Returns the texts of all elements with a name, in a document that is well-formed.
pub(crate) fn texts(document: &str, element: &str) -> Vec<String> {
    let mut reader = Reader::from_str(document);
    let (mut texts, mut open, mut depth) = (Vec::new(), None, 0);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                depth += 1;
                if start.name().as_ref() == element {
                    open = Some(String::new());
                }
            }
            Event::Text(text) => {
                if let Some(open) = &mut open {
                    open.push_str(&text);
                }
            }
            Event::GeneralRef(reference) => {
                let resolved = quick_xml::escape::resolve_predefined_entity(&reference);
                open.iter_mut().for_each(|open| open.push_str(resolved.unwrap()));
            }
            Event::End(end) => {
                depth -= 1;
                if end.name().as_ref() == element {
                    texts.extend(open.take());
                }
            }
            Event::Eof => {
                assert_eq!(depth, 0, "the document is not whole");
                return texts;
            }
            _ => {}
        }
    }
}

async fn text(site: &Site, path: &str) -> String {
    let (status, headers, body) = ask(&format!("{}{path}", site.content.url), &[]).await;
    assert_eq!(status, 200, "{path}: {body}");
    assert!(headers["content-type"].to_str().unwrap().contains("; charset=utf-8"), "{headers:?}");
    body.as_str().unwrap().to_owned()
}

/// Returns the addresses of all parts.
pub(crate) async fn addresses(site: &Site) -> Vec<String> {
    let mut all = Vec::new();
    for part in texts(&text(site, "/sitemap.xml").await, "loc") {
        let path = part.strip_prefix(URL).unwrap();
        let addresses = texts(&text(site, path).await, "loc");
        assert!(addresses.len() <= 50_000, "{part}");
        all.extend(addresses.iter().map(|one| one.strip_prefix(URL).unwrap().to_owned()));
    }
    all
}

#[tokio::test]
async fn the_sitemap_has_the_paths_of_what_the_public_sees() {
    let database = TestDatabase::new().await;
    let hidden = section(&database, "hidden", doc! { "is_published": false }).await;
    let below = section(&database, "below", doc! { "parent_id": &hidden }).await;
    let blog = section(&database, "notes", doc! {}).await;
    let child = section(&database, "tides", doc! { "parent_id": &blog }).await;
    let of_projects = doc! { "content_type": "project", "display_type": "card-grid" };
    let projects = section(&database, "projects", of_projects).await;
    let of_pages = doc! { "content_type": "page", "display_type": "static-page" };
    let about = section(&database, "about", of_pages).await;
    let other = ObjectId::new().to_hex();
    let of = |slug: &str, section: &str| with(story(slug, day(1)), doc! { "section_id": section });
    database
        .insert(
            "stories",
            [
                of("first & last", &blog),
                with(of("upper", &blog), doc! { "section_id": child.to_uppercase() }),
                with(of("by-id", &blog), doc! { "section_id": child.parse::<ObjectId>().unwrap() }),
                with(of("odd-id", &blog), doc! { "_id": "text" }),
                of("a-draft", &blog),
                with(of("draft", &blog), doc! { "is_published": false }),
                with(of("trash", &blog), doc! { "deleted": true }),
                with(of("odd", &blog), doc! { "is_published": "perhaps" }),
                of("in-hidden", &hidden),
                of("in-below", &below),
                of("dangling", &other),
                with(of("loose", &blog), doc! { "section_id": Bson::Null }),
                // Hidden by the section that is at its path.
                of("tides", &blog),
                of("", &blog),
            ],
        )
        .await;
    let of_projects = |slug: &str| with(project(slug), doc! { "section_id": &projects });
    let draft = with(of_projects("sketch"), doc! { "status": "draft" });
    database.insert("projects", [of_projects("lamp"), draft]).await;
    let of_about = |fields| with(with(page("about"), doc! { "section_id": &about }), fields);
    database.insert("pages", [of_about(doc! {}), of_about(doc! { "slug": "team" })]).await;
    let site = Site::start_with(&database, &[("site.url", URL)]).await;
    let found = addresses(&site).await;
    // A story without a slug has got one.
    let expected = [
        "/",
        "/about",
        "/about/team",
        "/notes",
        "/notes/a-draft",
        "/notes/first%20&%20last",
        "/notes/odd-id",
        "/notes/story",
        "/notes/tides",
        "/notes/tides/by-id",
        "/notes/tides/upper",
        "/projects",
        "/projects/lamp",
    ];
    let distinct: BTreeSet<_> = found.iter().map(String::as_str).collect();
    assert_eq!(distinct, expected.into(), "{found:?}");
    assert_eq!(distinct.len(), found.len(), "{found:?}");
    // Each of them leads somewhere.
    for path in &expected[1..] {
        let path = path.replace('&', "%26");
        assert_eq!(site.content.get(&format!("/resolve?path={path}")).await.0, 200, "{path}");
    }
    let stories = text(&site, "/sitemap.xml?part=stories").await;
    assert_eq!(texts(&stories, "lastmod")[0], "2024-10-27T00:00:00Z", "{stories}");
    // A change shows at once.
    let new = serde_json::json!({ "title": "New", "content": "", "section_id": blog });
    created(&site, "stories", new).await;
    heard(&database, &site.content).await;
    assert!(addresses(&site).await.contains(&"/notes/new".to_owned()));
}

#[tokio::test]
async fn a_part_has_at_most_50_000_addresses() {
    const STORIES: usize = 100_001;
    let database = TestDatabase::new().await;
    let blog = section(&database, "notes", doc! {}).await;
    let collection = database.collection("stories");
    for block in 0..=STORIES / 10_000 {
        let numbers = (block * 10_000..STORIES).take(10_000);
        let stories = numbers.map(|number| {
            with(story(&format!("s-{number}"), day(1)), doc! { "section_id": &blog, "content": "" })
        });
        collection.insert_many(stories.collect::<Vec<_>>()).await.unwrap();
    }
    let site = Site::start_with(&database, &[("site.url", URL)]).await;
    let parts = texts(&text(&site, "/sitemap.xml").await, "loc");
    assert_eq!(parts.iter().filter(|part| part.contains("=stories")).count(), 3, "{parts:?}");
    let found = addresses(&site).await;
    let stories = found.iter().filter(|path| path.starts_with("/notes/"));
    assert_eq!(stories.collect::<BTreeSet<_>>().len(), STORIES);
    // The addresses of the parts stay valid after a change before them.
    collection.delete_many(doc! { "slug": { "$regex": "^s-2" } }).await.unwrap();
    let path = parts.last().unwrap().strip_prefix(URL).unwrap();
    assert_eq!(texts(&text(&site, path).await, "loc").len(), 1);
}

#[tokio::test]
async fn without_an_address_there_is_no_sitemap_and_wrong_parts_are_named() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for path in ["/sitemap.xml", "/sitemap.xml?part=stories", "/feeds/blog.rss"] {
        let (status, answer) = site.content.get(path).await;
        assert_eq!(status, 404, "{path}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains("site.url"), "{answer}");
    }
    assert_eq!(text(&site, "/robots.txt").await, "User-agent: *\nAllow: /\n");
    site.stop().await;
    let site = Site::start_with(&database, &[("site.url", URL)]).await;
    let robots = text(&site, "/robots.txt").await;
    assert!(robots.ends_with("\nSitemap: https://example.com/site/sitemap.xml\n"), "{robots}");
    for part in ["", "users", "stories-1", "stories-AAAA", "sections-1", "%24gt"] {
        let (status, answer) = site.content.get(&format!("/sitemap.xml?part={part}")).await;
        assert_eq!(
            (status, &answer["errors"][0]["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &"part".into())
        );
    }
    assert_eq!(site.content.get("/sitemap.xml?page=1").await.0, 422);
    assert_eq!(site.content.get("/robots.txt?x").await.0, 422);
}
