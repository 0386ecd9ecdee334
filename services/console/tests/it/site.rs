//! The facts that every page of the site shows.

use serde_json::{Value, json};

use crate::{
    frame,
    support::{Browser, Site},
};

const PATH: &str = "/console/site";

#[tokio::test]
async fn the_facts_of_the_site_are_changed_one_by_one() {
    let site = Site::start().await;
    let mut browser = site.signed_in().await;
    let page = browser.get(PATH).await;
    frame::check(&page, PATH);
    let links = "GitHub https://github.com/example\r\n\r\nMy other page  https://example.org/a";
    let fields = [
        ("title", "Tidal <notes>"),
        ("description", "Lamps\r\nand tides"),
        ("logo", "/uploads/logo.webp"),
        ("language", "DE-ch"),
        ("social_links", links),
    ];
    let page = browser.submit(&page, PATH, &fields).await;
    assert_eq!(page.location(), format!("{PATH}?saved=yes"), "{}", page.body);
    let facts = site.api.get("/site").await.body;
    let names = ["title", "description", "logo", "language", "social_links"];
    let expected = [
        json!("Tidal <notes>"),
        json!("Lamps\nand tides"),
        json!("/uploads/logo.webp"),
        json!("de-CH"),
        json!([
            { "name": "GitHub", "url": "https://github.com/example" },
            { "name": "My other page", "url": "https://example.org/a" },
        ]),
    ];
    assert_eq!(names.map(|name| facts[name].clone()), expected);

    // What is not changed is not written.
    let page = browser.get(&format!("{PATH}?saved=yes")).await;
    assert!(page.body.contains("Saved.") && page.body.contains("Tidal &lt;notes&gt;"));
    let sent = browser.submit(&page, PATH, &[]).await;
    assert_eq!(sent.location(), format!("{PATH}?saved=no"), "{}", sent.body);
    assert_eq!(site.api.get("/site").await.body, facts);
    let fields = [("title", ""), ("logo", ""), ("social_links", "\n")];
    let sent = browser.submit(&page, PATH, &fields).await;
    assert_eq!(sent.location(), format!("{PATH}?saved=yes"), "{}", sent.body);
    let facts = site.api.get("/site").await.body;
    assert_eq!(
        names.map(|name| facts[name].clone()),
        [Value::Null, expected[1].clone(), Value::Null, expected[3].clone(), json!([])]
    );
}

#[tokio::test]
async fn what_is_wrong_is_beside_its_field_and_names_the_line_of_a_link() {
    let site = Site::start().await;
    let mut browser = site.signed_in().await;
    let long = "x".repeat(201);
    for (name, text, expected) in [
        ("title", &*long, "200"),
        ("description", &"y".repeat(1_001), "1000"),
        ("logo", "javascript:alert(1)", "must"),
        ("language", "Swiss German", "BCP 47"),
        ("social_links", "Good https://example.org\n\nBad /about", "line 3: "),
        ("social_links", "https://example.org/without-a-name", "line 1: "),
        ("social_links", &"A https://example.org\n".repeat(51), "50"),
    ] {
        let page = browser.fill(PATH, PATH, &[(name, text)]).await;
        assert_eq!(page.status, 422, "{name}: {}", page.body);
        let error = page.body.split(&format!("id=\"field-{name}-error\">")).nth(1);
        let error = error.unwrap_or_else(|| panic!("{name}: {}", page.body));
        let error = error.split('<').next().unwrap();
        assert!(error.contains(expected), "{name}: {error}");
        assert_eq!(page.field(PATH, name), text);
    }
    assert_eq!(site.api.get("/site").await.body["updatedDate"], Value::Null);
}

#[tokio::test]
async fn two_people_who_change_the_facts_see_both_versions() {
    let site = Site::start().await;
    let mut browser = site.signed_in().await;
    let page = browser.get(PATH).await;
    let theirs = json!({ "title": "Theirs", "language": "en" });
    assert_eq!(site.api.call("PATCH", "/site", theirs).await.status, 200);
    let page = browser.submit(&page, PATH, &[("title", "Mine")]).await;
    assert_eq!((page.status, page.field(PATH, "title").as_str()), (412, "Mine"));
    assert!(page.body.contains("Someone else has changed the site settings"), "{}", page.body);
    for (name, theirs) in [("title", "Theirs"), ("language", "en")] {
        let stored = page.body.split(&format!("id=\"field-{name}-stored\">")).nth(1).unwrap();
        assert!(stored.split("</p>").next().unwrap().contains(&format!("<bdi>{theirs}</bdi>")));
    }
    let page = browser.submit(&page, PATH, &[]).await;
    assert_eq!(page.location(), format!("{PATH}?saved=yes"), "{}", page.body);
    let facts = site.api.get("/site").await.body;
    assert_eq!((&facts["title"], &facts["language"]), (&json!("Mine"), &Value::Null));
}

#[tokio::test]
async fn what_was_typed_is_kept_when_the_site_cannot_be_reached() {
    let site = Site::start().await;
    let mut browser = site.signed_in().await;
    let (console, _running) = site.unreachable_console();
    let opened = browser.get(PATH).await;
    let mut cut = Browser { url: console, ..browser.clone() };
    let page = cut.submit(&opened, PATH, &[("title", "Typed")]).await;
    assert_eq!((page.status, page.field(PATH, "title").as_str()), (503, "Typed"));
    let page = browser.submit(&page, PATH, &[]).await;
    assert_eq!(page.location(), format!("{PATH}?saved=yes"), "{}", page.body);
    assert_eq!(site.api.get("/site").await.body["title"], "Typed");
}
