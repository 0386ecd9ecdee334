//! The state of the site.

use mongodb::bson::doc;

use crate::{frame, support::Site};

#[tokio::test]
async fn the_state_of_all_parts_is_shown_with_what_is_wrong_with_the_data() {
    let site = Site::start().await;
    let mut browser = site.signed_in().await;
    let page = browser.get("/console/health").await;
    assert_eq!(page.status, 200, "{}", page.body);
    for text in
        ["content-service", "sections-service", "In order", "Nothing is wrong with the data"]
    {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    // Without media-service, which the gateway of the test has not.
    assert!(page.body.contains("Not in order") && page.body.contains("no replica is healthy"));
    let story = doc! {
        "title": "Lost", "content": "x", "slug": "lost", "is_published": true,
        "section_id": "ffffffffffffffffffffffff",
    };
    site.database.insert("stories", [story]).await;
    let lost = site.database.one("stories", doc! {}).await;
    let id = lost.get_object_id("_id").unwrap().to_hex();
    let page = browser.get("/console/health").await;
    assert!(page.body.contains("stories: missing section"), "{}", page.body);
    assert!(
        page.body.contains(&format!("/console/content/stories/item?id={id}\"")),
        "{}",
        page.body
    );
    let (console, _running) = site.unreachable_console();
    let mut cut = crate::support::Browser { url: console, ..browser };
    assert_eq!(cut.get("/console/health").await.status, 503);
    site.stop_services().await;
}

#[tokio::test]
async fn the_page_keeps_the_promises_of_all_pages() {
    let site = Site::start().await;
    let page = site.signed_in().await.get("/console/health").await;
    // The addresses of replicas are texts, not links.
    let body = page.body.replace("<code>http://127.0.0.1", "<code>127.0.0.1");
    frame::check(&crate::support::Page { body, ..page }, "health");
}
