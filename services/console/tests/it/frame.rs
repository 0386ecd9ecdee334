//! All pages: their headers, files and size, and the protection of forms.

use mongodb::bson::{Document, doc};
use serde_json::json;

use crate::support::{Browser, Page, Site};

/// The largest size of a page with all that it loads, in bytes, compressed.
const MAX_PAGE_BYTES: usize = 150_000;

/// Checks what every page promises.
pub(crate) fn check(page: &Page, path: &str) {
    check_headers(page, path);
    // No address of another host, and neither scripts nor styles in the page.
    for wrong in ["http://", "https://", "<style", " style=", "javascript:", " onclick", " onerror"]
    {
        assert!(!page.body.contains(wrong), "{path}: {wrong}");
    }
    for script in page.body.split("<script").skip(1) {
        assert!(script.starts_with(" src=\"/console/assets/"), "{path}: {script}");
    }
}

/// Checks the headers of a page.
pub(crate) fn check_headers(page: &Page, path: &str) {
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{path}");
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "base-uri 'none'",
    ] {
        assert!(policy.split("; ").any(|one| one == part), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(page.header("cache-control"), "no-store", "{path}");
    assert!(page.header("vary").contains("cookie"), "{path}");
    assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
    assert_eq!(page.header("cache-status"), "", "{path}");
}

fn assets(page: &Page) -> Vec<String> {
    let parts = page.body.split('"').filter(|part| part.starts_with("/console/assets/"));
    parts.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_page_forbids_what_it_does_not_need() {
    let site = Site::start().await;
    let id = site.section(json!({ "title": "News", "content_type": "story" })).await;
    let mut stranger = site.browser();
    check(&stranger.get("/console/sign-in").await, "sign-in");
    let missing = stranger.get("/console/elsewhere").await;
    assert_eq!(missing.status, 404);
    check(&missing, "elsewhere");
    let mut browser = site.signed_in().await;
    for (path, status) in [
        ("/console/navigation".to_owned(), 200),
        ("/console/sections/new".to_owned(), 200),
        (format!("/console/sections/{id}"), 200),
        (format!("/console/sections/{id}/delete"), 200),
        ("/console/sections/000000000000000000000000".to_owned(), 404),
        ("/console/sections/x".to_owned(), 404),
        ("/console/elsewhere".to_owned(), 404),
        ("/console/content/projects".to_owned(), 200),
        ("/console/content/pages/new".to_owned(), 200),
        ("/console/content/pages/item?id=x".to_owned(), 404),
        ("/console/content/pages/item".to_owned(), 404),
        ("/console/content/pages/text?id=%00".to_owned(), 404),
        ("/console/trash".to_owned(), 200),
        ("/console/trash?kind=pages".to_owned(), 200),
        ("/console/trash?kind=users".to_owned(), 422),
        ("/console/trash?cursor=x".to_owned(), 422),
        ("/console/redirects".to_owned(), 200),
        ("/console/redirects?prefix=x".to_owned(), 422),
        ("/console/redirects?cursor=x".to_owned(), 422),
        ("/console/redirects/new".to_owned(), 200),
        ("/console/redirects/new?to=stories%2Fx".to_owned(), 200),
        ("/console/redirects/file".to_owned(), 200),
        ("/console/redirects/elsewhere".to_owned(), 404),
        ("/console/site".to_owned(), 200),
        ("/console/webhooks".to_owned(), 200),
        ("/console/webhooks/new".to_owned(), 200),
        ("/console/webhooks/000000000000000000000000".to_owned(), 404),
        ("/console/webhooks/000000000000000000000000/delete".to_owned(), 404),
        ("/console/webhooks/x".to_owned(), 404),
    ] {
        let page = browser.get(&path).await;
        assert_eq!(page.status, status, "{path}");
        check(&page, &path);
        let head = "<html lang=\"en\">";
        assert!(page.body.contains(head) && page.body.contains("<title>"), "{path}");
    }
    let page = browser.send("/console", &[]).await;
    assert_eq!(page.status, 405);
}

#[tokio::test]
async fn files_are_kept_by_browsers_and_compressed() {
    let site = Site::start().await;
    let mut browser = site.browser();
    let page = browser.get("/console/sign-in").await;
    let files = assets(&page);
    assert_eq!(files.len(), 4, "{files:?}");
    for path in files {
        let plain = browser.get(&path).await;
        assert_eq!(plain.status, 200, "{path}");
        assert_eq!(plain.header("cache-control"), "public, max-age=31536000, immutable", "{path}");
        let tag = plain.header("etag").to_owned();
        for coding in ["gzip", "br"] {
            let encoded = browser.get_with(&path, &[("accept-encoding", coding)]).await;
            if path.contains(".svg") {
                continue;
            }
            assert_eq!(encoded.header("content-encoding"), coding, "{path}");
            let length: usize = encoded.header("content-length").parse().unwrap();
            assert!(length < plain.body.len() / 2, "{path} {length}");
        }
        let again = browser.get_with(&path, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
    assert_eq!(browser.get("/console/assets/console-x.js").await.status, 404);
    assert_eq!(browser.get("/console/assets/..%2f").await.status, 400);
}

#[tokio::test]
async fn a_tree_of_2000_sections_is_a_page_of_an_ordinary_size() {
    let site = Site::start().await;
    for index in 0..40 {
        let sections = std::array::from_fn::<_, 50, _>(|number| {
            let number = index * 50 + number;
            section_document(number)
        });
        site.database.insert("sections", sections).await;
    }
    test_support::eventually("the sections are known", async || {
        site.below("null").await.len() >= 2_000
    })
    .await;
    let mut browser = site.signed_in().await;
    let whole = browser.get("/console/navigation").await;
    assert!(whole.body.matches("data-id=").count() >= 2_000);
    check(&whole, "navigation");
    let mut bytes = 0;
    for path in assets(&whole).into_iter().chain(["/console/navigation".to_owned()]) {
        let encoded = browser.get_with(&path, &[("accept-encoding", "gzip, br")]).await;
        bytes += encoded.header("content-length").parse::<usize>().unwrap();
    }
    assert!(bytes < MAX_PAGE_BYTES, "{bytes}");
}

fn section_document(number: usize) -> Document {
    doc! {
        "title": format!("Section {number} of the large site"),
        "slug": format!("section-{number}-of-the-large-site"),
        "parent_id": null, "display_type": "feed", "content_type": "story",
        "nav_visibility": "main", "sort_order": i32::try_from(number).unwrap() + 10,
        "is_published": true, "is_deleted": false,
    }
}

#[tokio::test]
async fn a_form_of_another_site_changes_nothing() {
    let site = Site::start().await;
    let id = site.section(json!({ "title": "News", "content_type": "story" })).await;
    let mut browser = site.signed_in().await;
    let action = format!("/console/sections/{id}");
    let page = browser.get(&action).await;
    let mut fields = page.fields(&action);
    fields.iter_mut().find(|(name, _)| name == "title").unwrap().1 = "Changed".to_owned();
    let form: Vec<_> = fields.iter().map(|(a, b)| (&**a, &**b)).collect();
    let without: Vec<_> = form.iter().copied().filter(|(name, _)| *name != "mark").collect();
    let wrong: Vec<_> = without.iter().copied().chain([("mark", "AAAA")]).collect();
    let other = ("origin", "http://evil.example");
    let cross = ("sec-fetch-site", "cross-site");
    let null = ("origin", "null");
    for (headers, form) in [
        (&[][..], &without),
        (&[], &wrong),
        (&[other], &form),
        (&[cross], &form),
        (&[null], &form),
        (&[cross, ("origin", "http://127.0.0.1")], &form),
    ] {
        let page = browser.send_with(&action, headers, form).await;
        assert_eq!(page.status, 403, "{headers:?}");
        check(&page, "forged");
    }
    for (path, form) in [
        ("/console/sections/new", vec![("title", "x"), ("content_type", "story")]),
        ("/console/navigation", vec![("do", "x")]),
        ("/console/sign-out", vec![]),
        (&format!("{action}/move"), vec![("parent", "")]),
        (&format!("{action}/delete"), vec![]),
        (&format!("{action}/restore"), vec![]),
        ("/console/content/stories/selected", vec![("do", "trash"), ("id", &*id)]),
        ("/console/content/stories/new", vec![("title", "x"), ("content", "x")]),
        ("/console/content/stories/item", vec![("id", &*id)]),
        ("/console/content/stories/link", vec![("id", &*id)]),
        ("/console/trash", vec![("do", "restore"), ("kind", "stories"), ("id", &*id)]),
        ("/console/trash", vec![("do", "delete"), ("kind", "stories"), ("id", &*id)]),
        ("/console/redirects", vec![("delete", "/old")]),
        ("/console/redirects", vec![("from", "/old"), ("to", "/blog")]),
        ("/console/redirects/new", vec![("from", "/old"), ("to", "/blog")]),
        ("/console/redirects/file", vec![("body", "from,to\n/old,/blog")]),
        ("/console/site", vec![("title", "Forged")]),
        ("/console/media", vec![("files", "x")]),
        (&format!("/console/media/{id}"), vec![("do", "delete")]),
        ("/console/webhooks/new", vec![("url", "https://evil.example/")]),
        (&format!("/console/webhooks/{id}"), vec![("do", "secret")]),
        (&format!("/console/webhooks/{id}/delete"), vec![]),
    ] {
        assert_eq!(browser.send(path, &form).await.status, 403, "{path}");
    }
    let page = site.browser().send_with("/console/sign-in", &[cross], &[]).await;
    assert_eq!(page.status, 403);
    assert_eq!(site.stored(&id).await["title"], "News");
    assert_eq!(site.api.get("/redirects").await.body["total"], 0);
    assert_eq!(site.api.get("/site").await.body["title"], serde_json::Value::Null);
    // The form itself is accepted, also after its reader has signed in again.
    let mut again = Browser { cookie: site.signed_in().await.cookie, ..browser };
    let host = site.api.url.clone();
    let page = again.send_with(&action, &[("origin", &host)], &form).await;
    assert_eq!(page.status, 303, "{}", page.body);
    assert_eq!(site.stored(&id).await["title"], "Changed");
}

#[tokio::test]
async fn what_was_typed_is_kept_when_the_site_cannot_be_reached() {
    let site = Site::start().await;
    let id = site.section(json!({ "title": "News", "content_type": "story" })).await;
    let mut browser = site.signed_in().await;
    let (console, _running) = site.unreachable_console();
    let edit = format!("/console/sections/{id}");
    for (action, slug) in [("/console/sections/new", "typed"), (&edit, "typed-too")] {
        let page = browser.get(action).await;
        let mut cut = Browser { url: console.clone(), ..browser.clone() };
        let fields = [("title", "A long story"), ("slug", slug), ("is_published", "")];
        let page = cut.submit(&page, action, &fields).await;
        assert_eq!(page.status, 503, "{}", page.body);
        assert!(page.body.contains("Nothing that you typed is lost"), "{}", page.body);
        assert_eq!(page.field(action, "title"), "A long story");
        assert_eq!(page.field(action, "slug"), slug);
        assert_eq!(page.field(action, "is_published"), "");
        // It is the same form, which works once the site is back.
        let page = browser.submit(&page, action, &[]).await;
        assert_eq!(page.status, 303, "{}", page.body);
    }
    let mut signed_out = Browser { cookie: None, ..browser };
    let page = signed_out.send("/console/sections/new", &[("title", "x")]).await;
    assert_eq!(page.status, 401);
    assert!(page.body.contains("What you typed is kept"), "{}", page.body);
    site.stop_services().await;
}
