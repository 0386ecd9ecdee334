//! Slugs that no program of ours would make: permalinks and whatever else a site was written with.

use mongodb::bson::{Bson, doc};
use serde_json::{Value, json};
use test_support::TestDatabase;

use crate::support::{Site, day, project, section, send, story, with};

/// Slugs as other programs made them. None is what another one may be read as.
const SLUGS: [&str; 20] = [
    "2015/02/hello-world",
    "2015/02/hello-world-2",
    "/leading",
    "trailing/",
    "/both/ends/",
    "CamelCase",
    "ALL_CAPS.HTML",
    "100%",
    "50%25off",
    "a%2Fb",
    "%d0%bf%d1%80%d0%b8",
    "two words",
    "what?",
    "c#",
    "v1..2",
    "back\\slash",
    "a+b&c=d;e",
    "naïve",
    "de\u{301}ja\u{300}-vu",
    "日本語",
];

/// Percent-encodes every byte that is no letter or digit, slashes too unless told otherwise.
fn encoded(text: &str, kept: &[u8]) -> String {
    let byte = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || kept.contains(&byte) => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

async fn resolved(site: &Site, path: &str) -> (u16, Value) {
    let path = format!("/resolve?path={}", encoded(path, b""));
    let (status, body) = site.content.get(&path).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn every_slug_of_an_old_site_is_reachable() {
    let database = TestDatabase::new().await;
    database.insert("stories", SLUGS.map(|slug| story(slug, day(1)))).await;
    database.insert("projects", SLUGS.map(project)).await;
    let site = Site::start(&database).await;
    for (kind, section) in [("stories", "blog"), ("projects", "projects")] {
        for slug in SLUGS {
            let (status, item) =
                site.content.get(&format!("/{kind}/slug/{}", encoded(slug, b""))).await;
            assert_eq!((status.as_u16(), &item["slug"]), (200, &slug.into()), "{slug}");

            // As its text, as a browser has it in an address, and as this service writes it.
            let text = format!("/{section}/{}", slug.trim_start_matches('/'));
            let address = format!("/{section}/{}", encoded(slug.trim_start_matches('/'), b"/-_."));
            let (status, answer) = resolved(&site, &text).await;
            assert_eq!((status, &answer["kind"]), (200, &"item".into()), "{text}");
            assert_eq!(answer["content"], item, "{text}");
            let canonical = answer["canonical_path"].as_str().unwrap();
            let decoded = percent_decoded(canonical);
            assert_eq!(decoded, format!("/{section}/{}", slug.trim_matches('/')));
            for path in [address.as_str(), canonical] {
                assert_eq!(resolved(&site, path).await.1["content"], item, "{path}");
            }
        }
    }
}

fn percent_decoded(path: &str) -> String {
    let mut bytes = path.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap();
        decoded.push(if byte == b'%' {
            (digit() * 16 + digit()).try_into().unwrap()
        } else {
            byte
        });
    }
    String::from_utf8(decoded).unwrap()
}

#[tokio::test]
async fn a_path_is_decoded_once_and_what_it_says_wins_over_what_it_may_mean() {
    let database = TestDatabase::new().await;
    let slugs = ["a", "/a", "a/", "50%", "50%25", "x/y", "x%2Fy", "x%252Fy"];
    database.insert("stories", slugs.map(|slug| story(slug, day(1)))).await;
    let site = Site::start(&database).await;
    for slug in slugs {
        let (_, item) = site.content.get(&format!("/stories/slug/{}", encoded(slug, b""))).await;
        assert_eq!(item["slug"], slug);
        let (_, answer) = resolved(&site, &format!("/blog/{slug}")).await;
        let found = if slug == "a/" { "a" } else { slug };
        assert_eq!(answer["content"]["slug"], found, "{slug}");
    }
    for (path, slug) in [("/stories/slug/x%252Fy", "x%2Fy"), ("/stories/slug/x%25252Fy", "x%252Fy")]
    {
        assert_eq!(site.content.get(path).await.1["slug"], slug);
    }
    // Nothing is decoded a second time.
    for path in ["/blog/x%2525252Fy", "/blog/%2561", "/blog/A", "/blog/b", "/blog//", "/blog/%2F"] {
        let (status, answer) = resolved(&site, path).await;
        assert_eq!(status, 404, "{path} {answer}");
    }
}

#[tokio::test]
async fn a_longer_section_wins_and_the_rest_of_the_path_is_the_slug() {
    let database = TestDatabase::new().await;
    let blog = section(&database, "blog", doc! {}).await;
    let year = section(&database, "2015", doc! { "parent_id": &blog }).await;
    let within = |slug, section: &str| with(story(slug, day(1)), doc! { "section_id": section });
    let stories =
        [within("2015/02/in-blog", &blog), within("02/in-year", &year), within("2016/x", &blog)];
    database.insert("stories", stories).await;
    let hidden = with(within("2017/draft", &blog), doc! { "is_published": false });
    let loose = with(story("2018/loose", day(1)), doc! { "section_id": Bson::Null });
    database.insert("stories", [hidden, loose]).await;
    let site = Site::start(&database).await;
    let (_, answer) = resolved(&site, "/blog/2015/02/in-year").await;
    assert_eq!(
        (&answer["section"]["slug"], &answer["content"]["slug"]),
        (&"2015".into(), &"02/in-year".into())
    );
    let (_, answer) = resolved(&site, "/blog/2016/x/").await;
    assert_eq!(answer["canonical_path"], "/blog/2016/x");
    // The section `2015` stands where the item would.
    for path in ["/blog/2015/02/in-blog", "/blog/2017/draft", "/blog/2018/loose", "/2016/x"] {
        assert_eq!(resolved(&site, path).await.0, 404, "{path}");
    }
    let deep = format!("{}end", "a/".repeat(200));
    database.insert("stories", [within(&deep, &blog)]).await;
    let (status, answer) = resolved(&site, &format!("/blog/{deep}")).await;
    assert_eq!((status, &answer["content"]["slug"]), (200, &deep.into()));
}

#[tokio::test]
async fn a_permalink_that_was_moved_answers_with_where_it_is_now() {
    let database = TestDatabase::new().await;
    let notes = section(&database, "Feld Notizen/Ä", doc! {}).await;
    section(&database, "blog", doc! {}).await;
    let moved = with(story("/2015/02/Größe 100%", day(1)), doc! { "section_id": &notes });
    database.insert("stories", [moved]).await;
    let site = Site::start(&database).await;
    let now = "/Feld%20Notizen/%C3%84/2015/02/Gr%C3%B6%C3%9Fe%20100%25";
    for old in ["/blog/2015/02/Größe 100%", "/gone/below/2015/02/Gr%C3%B6%C3%9Fe%20100%25/"] {
        let moved = (200, json!({ "kind": "moved", "moved_to": now, "status": 301 }));
        assert_eq!(resolved(&site, old).await, moved, "{old}");
    }
    let (_, answer) = resolved(&site, now).await;
    assert_eq!((&answer["kind"], &answer["canonical_path"]), (&"item".into(), &now.into()));
    assert_eq!(answer["breadcrumbs"][0]["path"], "/Feld%20Notizen/%C3%84");

    // What was renamed through the API leaves a redirect that holds for the old spelling too.
    let url = format!("{}/sections/{notes}", site.sections.url);
    let (status, _, answer) = send("PATCH", &url, &[], &json!({ "slug": "notes" })).await;
    assert_eq!(status, 200, "{answer}");
    let moved = json!({ "kind": "moved", "moved_to": "/notes/2015/02/Gr%C3%B6%C3%9Fe%20100%25", "status": 301 });
    for old in [now, "/Feld Notizen/Ä/2015/02/Größe 100%"] {
        test_support::eventually("the redirect is known", async || {
            resolved(&site, old).await.1 == moved
        })
        .await;
    }
    let (_, list) = site.content.get("/stories?section=notes").await;
    assert_eq!(list["total"], 1);
}
