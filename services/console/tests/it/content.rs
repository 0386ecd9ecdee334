//! Lists of items, actions on several of them, and the pages of one.

use mongodb::bson::{DateTime, doc};
use serde_json::{Value, json};

use crate::{frame, support::Site};

async fn add(site: &Site, kind: &str, body: Value) -> String {
    let added = site.api.call("POST", &format!("/{kind}"), body).await;
    assert_eq!(added.status, 201, "{added:?}");
    added.id()
}

async fn item(site: &Site, kind: &str, id: &str) -> Value {
    site.api.get(&format!("/{kind}/{id}")).await.body
}

#[tokio::test]
async fn lists_of_every_kind_are_filtered_ordered_and_paged() {
    let site = Site::start().await;
    let mut browser = site.signed_in().await;
    for kind in ["stories", "projects", "pages"] {
        let path = format!("/console/content/{kind}");
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("There is nothing here yet"), "{}", page.body);
        for number in 0..60 {
            let body = json!({
                "title": format!("Number {number}"), "content": "<p>of the lamps</p>",
                "is_published": number != 7, "tags": if number < 3 { vec!["few"] } else { vec![] },
                "createdDate": format!("2025-01-{:02}T{:02}:00:00Z", 1 + number / 24, number % 24),
            });
            add(&site, kind, body).await;
        }
        let page = browser.get(&path).await;
        frame::check(&page, &path);
        assert!(page.body.contains("60 items") && page.body.contains("Number 59"), "{}", page.body);
        assert!(!page.body.contains("Number 7<"), "{}", page.body);
        let next = page.body.split("href=\"").find(|part| part.contains("cursor=")).unwrap();
        let next = next.split('"').next().unwrap().replace("&amp;", "&");
        let page = browser.get(&next).await;
        assert!(page.body.contains("Number 7<") && page.body.contains("Draft"), "{}", page.body);
        assert!(page.body.contains("Previous page") && page.body.contains("First page"));
        for (query, present, absent) in [
            ("tag=few", "Number 2<", "Number 3<"),
            ("sort=createdDate&state=public", "Number 0<", "Number 7<"),
            ("after=2025-01-03", "Number 48<", "Number 47<"),
            ("before=2025-01-02", "Number 23<", "Number 24<"),
            ("q=number+lamps+17", "Number 17<", "Number 18<"),
            ("q=nowhere", "Nothing matches", "Number"),
            ("section=000000000000000000000000", "Nothing matches", "Number"),
        ] {
            let page = browser.get(&format!("{path}?{query}")).await;
            assert_eq!(page.status, 200, "{kind} {query}: {}", page.body);
            assert!(page.body.contains(present), "{kind} {query}: {}", page.body);
            assert!(!page.body.contains(absent), "{kind} {query}: {}", page.body);
        }
        let page = browser.get(&format!("{path}?after=yesterday")).await;
        assert!(page.status == 422 && page.body.contains("created_after"), "{}", page.body);
    }
    assert_eq!(browser.get("/console/content/users").await.status, 404);
    assert_eq!(browser.get("/console/content").await.location(), "/console/content/stories");
}

#[tokio::test]
async fn several_items_are_published_moved_and_deleted_at_once() {
    let site = Site::start().await;
    let path = "/console/content/stories";
    let mut ids = Vec::new();
    for title in ["One", "Two", "Three"] {
        let body = json!({ "title": title, "content": "x", "is_published": false });
        ids.push(add(&site, "stories", body).await);
    }
    let news = site.section(json!({ "title": "News", "content_type": "story" })).await;
    let gallery = site.section(json!({ "title": "Gallery", "content_type": "project" })).await;
    let mut browser = site.signed_in().await;
    let mark = browser.get(path).await.field(&format!("{path}/selected"), "mark");
    let with = |action, more: &[(&'static str, String)]| {
        let selected = ids.iter().map(|id| ("id", id.clone()));
        let all = [("mark", mark.clone()), ("do", String::from(action))];
        all.into_iter().chain(selected).chain(more.iter().cloned()).collect::<Vec<_>>()
    };
    let form = |fields: Vec<(&'static str, String)>| fields;
    let mut send = async |fields: Vec<(&'static str, String)>| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
        browser.send(&format!("{path}/selected"), &fields).await
    };
    let page = send(form(with("publish", &[("id", "0".repeat(24))]))).await;
    assert!(page.body.contains("3 items were published."), "{}", page.body);
    assert!(page.body.contains("1 item was not:") && page.body.contains("Story not found"));
    assert_eq!(site.api.get("/stories").await.body["total"], 3);
    let page = send(with("unpublish", &[])).await;
    assert!(page.body.contains("3 items were made drafts."), "{}", page.body);
    assert_eq!(item(&site, "stories", &ids[0]).await["is_published"], false);

    let page = send(with("move", &[("to", news.clone())])).await;
    assert!(page.body.contains("3 items were moved."), "{}", page.body);
    assert_eq!(item(&site, "stories", &ids[2]).await["section_id"], json!(news));
    let page = send(with("move", &[("to", gallery)])).await;
    assert!(page.status == 200 && page.body.contains("role=\"alert\""), "{}", page.body);
    assert_eq!(item(&site, "stories", &ids[2]).await["section_id"], json!(news));

    let page = send(with("trash", &[])).await;
    assert!(page.body.contains("3 items were deleted."), "{}", page.body);
    assert_eq!(item(&site, "stories", &ids[0]).await["code"], "not_found");
    let page = send(with("restore", &[])).await;
    assert!(page.body.contains("3 items were restored."), "{}", page.body);
    assert_eq!(item(&site, "stories", &ids[0]).await["title"], "One");
    let page = send(vec![("mark", mark.clone()), ("do", "trash".to_owned())]).await;
    assert!(page.body.contains("Nothing is selected"), "{}", page.body);
    let page = send(with("explode", &[])).await;
    assert!(page.body.contains("3 items were not:"), "{}", page.body);
}

#[tokio::test]
async fn an_item_that_is_not_changed_stays_byte_for_byte() {
    let site = Site::start().await;
    let odd = "<p onclick=\"x()\">Old\r\ntext\r\r\n\n</p><script>legacy()</script><custom-block a=b>é\u{0}";
    let title = "A title\nof another program ".repeat(20);
    let story = doc! {
        "title": &title, "content": odd, "slug": "Odd/Slug", "tags": "a, b", "is_published": 1,
        "date": "2015-02-01", "views": { "kept": [1, 2] }, "createdDate": DateTime::from_millis(1_400_000_000_000),
    };
    site.database.insert("stories", [story]).await;
    let before = site.database.one("stories", doc! {}).await;
    let id = before.get_object_id("_id").unwrap().to_hex();
    let mut browser = site.signed_in().await;
    let (page, action) =
        (format!("/console/content/stories/item?id={id}"), "/console/content/stories/item");
    let sent = browser.fill(&page, action, &[]).await;
    assert!(sent.location().ends_with("&saved=no"), "{} {}", sent.status, sent.body);
    assert_eq!(site.database.one("stories", doc! {}).await, before);

    // Another field is changed, and the text stays.
    let sent = browser.fill(&page, action, &[("title", "New title")]).await;
    assert!(sent.location().ends_with("&saved=yes"), "{} {}", sent.status, sent.body);
    let after = site.database.one("stories", doc! {}).await;
    assert_eq!(after.get_str("title").unwrap(), "New title");
    for name in ["content", "tags", "is_published", "date", "views", "slug", "createdDate"] {
        assert_eq!(after.get(name), before.get(name), "{name}");
    }
    // The text is shown in a frame that runs nothing.
    let text = browser.get(&format!("/console/content/stories/text?id={id}")).await;
    let policy = text.header("content-security-policy");
    assert!(policy.starts_with("sandbox allow-same-origin; default-src 'none'"), "{policy}");
    assert!(!policy.contains("script-src") && text.body.contains("<script>legacy()"), "{policy}");
}

#[tokio::test]
async fn an_item_is_added_changed_previewed_and_deleted() {
    let site = Site::start().await;
    let mut browser = site.signed_in().await;
    for kind in ["stories", "projects", "pages"] {
        let new = format!("/console/content/{kind}/new");
        let page = browser.fill(&new, &new, &[("title", "\u{200b}")]).await;
        assert_eq!(page.status, 422);
        assert!(page.body.contains("id=\"field-title-error\""), "{}", page.body);
        let fields = [("title", "A walk"), ("content", "<p>One</p>\r\n<p>Two</p>")];
        let page = browser.submit(&page, &new, &fields).await;
        assert_eq!(page.status, 303, "{}", page.body);
        let path = page.location().to_owned();
        let page = browser.get(&path).await;
        frame::check(&page, &path);
        assert!(page.body.contains("Added."), "{}", page.body);
        let action = format!("/console/content/{kind}/item");
        let id = page.field(&action, "id");
        let stored = item(&site, kind, &id).await;
        assert_eq!(stored["content"], "<p>One</p>\n<p>Two</p>");
        assert_eq!(stored["is_published"], false);
        // The usual section of the kind, if it has one.
        assert_eq!(stored["section_id"].is_null(), kind == "pages", "{stored}");

        let fields = [
            ("title", "A longer walk"),
            ("tags", "Paths\r\n lamps \r\n"),
            ("is_published", "yes"),
            ("content", "<p onclick=\"x()\">Three</p>"),
            ("date", "2026-05-01"),
        ];
        let page = browser.submit(&page, &action, &fields).await;
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(
            page.body.contains("The sanitiser removed") && page.body.contains("&lt;p onclick&gt;")
        );
        let stored = item(&site, kind, &id).await;
        assert_eq!(
            (&stored["title"], &stored["tags"]),
            (&json!("A longer walk"), &json!(["Paths", "lamps"]))
        );
        assert_eq!(
            (&stored["content"], &stored["is_published"]),
            (&json!("<p>Three</p>"), &json!(true))
        );
        assert_eq!(stored["date"], "2026-05-01T00:00:00.000Z");

        // Someone else changes it in between.
        site.api.call("PATCH", &format!("/{kind}/{id}"), json!({ "title": "Theirs" })).await;
        let page = browser.submit(&page, &action, &[("title", "Mine")]).await;
        assert_eq!((page.status, page.field(&action, "title").as_str()), (412, "Mine"));
        assert!(page.body.contains("id=\"field-title-stored\"") && page.body.contains("Theirs"));
        let page = browser.submit(&page, &action, &[("date", "yesterday")]).await;
        assert_eq!(page.status, 422);
        assert!(page.body.contains("id=\"field-date-error\""), "{}", page.body);
        let page = browser.submit(&page, &action, &[("date", "")]).await;
        assert!(page.location().ends_with("&saved=yes"), "{} {}", page.status, page.body);
        let stored = item(&site, kind, &id).await;
        assert_eq!((&stored["title"], &stored["date"]), (&json!("Mine"), &Value::Null));

        let page = browser.get(&path).await;
        let page = browser.submit(&page, &format!("/console/content/{kind}/link"), &[]).await;
        let link = page.body.split("<code>").find(|part| part.starts_with("/preview?token="));
        let link = link.unwrap_or_else(|| panic!("{}", page.body)).split('<').next().unwrap();
        let shown = test_support::get(&format!("{}{link}", site.api.url), None).await;
        assert_eq!(shown.1["item"]["title"], "Mine");
        let list = format!("/console/content/{kind}/selected");
        let page = browser.submit(&page, &list, &[("do", "trash")]).await;
        assert!(page.body.contains("1 item was deleted."), "{}", page.body);
        assert_eq!(browser.get(&path).await.status, 404);
        let page = browser.submit(&page, &list, &[("do", "restore")]).await;
        assert!(page.body.contains("1 item was restored."), "{}", page.body);
        assert_eq!(browser.get(&path).await.status, 200);
    }
}

#[tokio::test]
async fn items_with_ids_of_any_text_have_pages() {
    let site = Site::start().await;
    let id = "2015/02/hello world?&#%2F";
    site.database
        .insert(
            "stories",
            [doc! { "_id": id, "title": "Old", "content": "x", "is_published": true }],
        )
        .await;
    let mut browser = site.signed_in().await;
    let list = browser.get("/console/content/stories").await;
    let link = list.body.split("href=\"").find(|part| part.contains("/item?id=")).unwrap();
    let link = link.split('"').next().unwrap().replace("&amp;", "&");
    let action = "/console/content/stories/item";
    let page = browser.fill(&link, action, &[("title", "New")]).await;
    assert!(page.location().ends_with("&saved=yes"), "{} {}", page.status, page.body);
    let after = site.database.one("stories", doc! { "_id": id }).await;
    assert_eq!(after.get_str("title").unwrap(), "New");
}

#[tokio::test]
async fn what_was_typed_is_kept_when_the_site_cannot_be_reached() {
    let site = Site::start().await;
    let id = add(&site, "stories", json!({ "title": "T", "content": "<p>x</p>" })).await;
    let mut browser = site.signed_in().await;
    let (console, _running) = site.unreachable_console();
    let item = format!("/console/content/stories/item?id={id}");
    let new = "/console/content/stories/new".to_owned();
    for (page, action) in [(&item, "/console/content/stories/item"), (&new, &new)] {
        let opened = browser.get(page).await;
        let mut cut = crate::support::Browser { url: console.clone(), ..browser.clone() };
        let fields =
            [("title", "Typed"), ("content", "\n<p>A long\ntext</p>"), ("is_published", "")];
        let page = cut.submit(&opened, action, &fields).await;
        assert_eq!(page.status, 503, "{}", page.body);
        assert_eq!(page.field(action, "title"), "Typed");
        assert_eq!(page.field(action, "content"), "\n<p>A long\ntext</p>");
        let sent = browser.submit(&page, action, &[]).await;
        assert_eq!(sent.status, 303, "{}", sent.body);
    }
    assert_eq!(item_text(&site, &id).await, "\n<p>A long\ntext</p>");
}

async fn item_text(site: &Site, id: &str) -> String {
    item(site, "stories", id).await["content"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_text_is_as_long_as_the_api_accepts_and_a_longer_one_is_refused_with_a_page() {
    let site = Site::start().await;
    let id = add(&site, "stories", json!({ "title": "T", "content": "<p>x</p>" })).await;
    let mut browser = site.signed_in().await;
    let page = format!("/console/content/stories/item?id={id}");
    let action = "/console/content/stories/item";
    // Browsers send three characters for each byte.
    let long = format!("<p>{}</p>", "é".repeat(90_000));
    let sent = browser.fill(&page, action, &[("content", &long)]).await;
    assert!(sent.location().ends_with("&saved=yes"), "{} {}", sent.status, sent.body.len());
    assert_eq!(item_text(&site, &id).await, long);
    // The API says what is too long.
    let longer = "é".repeat(600_000);
    let sent = browser.fill(&page, action, &[("content", &longer)]).await;
    assert!(sent.status == 422 && sent.body.contains("id=\"field-content-error\""));
    assert!(sent.field(action, "content") == longer);
    let longest = "é".repeat(2_200_000);
    let sent = browser.fill(&page, action, &[("content", &longest)]).await;
    assert_eq!(sent.status, 413, "{}", sent.body);
    assert!(sent.body.contains("That is longer than the site accepts."), "{}", sent.body);
}

#[tokio::test]
async fn what_was_typed_is_kept_when_the_item_was_deleted() {
    let site = Site::start().await;
    let id = add(&site, "stories", json!({ "title": "T", "content": "<p>x</p>" })).await;
    let mut browser = site.signed_in().await;
    let action = "/console/content/stories/item";
    let opened = browser.get(&format!("{action}?id={id}")).await;
    let deleted = site.api.call("DELETE", &format!("/stories/{id}"), Value::Null).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    let page = browser.submit(&opened, action, &[("content", "<p>Long work</p>")]).await;
    assert!(
        page.status == 404 && page.body.contains("was deleted in the meantime"),
        "{}",
        page.body
    );
    assert_eq!(page.field(action, "content"), "<p>Long work</p>");
    let restored = site.api.call("POST", &format!("/stories/{id}/restore"), Value::Null).await;
    assert_eq!(restored.status, 200, "{restored:?}");
    let mut page = browser.submit(&page, action, &[]).await;
    if page.status == 412 {
        page = browser.submit(&page, action, &[]).await;
    }
    assert!(page.location().ends_with("&saved=yes"), "{} {}", page.status, page.body);
    assert_eq!(item_text(&site, &id).await, "<p>Long work</p>");
}

#[tokio::test]
async fn a_field_that_a_form_lacks_stays_as_it_is() {
    let site = Site::start().await;
    let story = json!({
        "title": "T", "content": "<p>x</p>", "tags": ["a"], "description": "About it",
        "is_published": true,
    });
    let id = add(&site, "stories", story).await;
    let before = item(&site, "stories", &id).await;
    let mut browser = site.signed_in().await;
    let action = "/console/content/stories/item";
    // As an earlier version of the console has sent it, which did not have all fields.
    let page = browser.get(&format!("{action}?id={id}")).await;
    let has = |name: &str| ["mark", "id", "tag", "title", "is_published"].contains(&name);
    let mut fields = page.fields(action);
    fields.retain(|(name, _)| has(name));
    for (name, value) in &mut fields {
        if name == "title" {
            *value = "Renamed".to_owned();
        }
    }
    let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let sent = browser.send(action, &fields).await;
    assert!(sent.location().ends_with("&saved=yes"), "{} {}", sent.status, sent.body);
    let after = item(&site, "stories", &id).await;
    assert_eq!(after["title"], "Renamed");
    for name in ["content", "tags", "description", "section_id", "slug", "is_published"] {
        assert_eq!(after[name], before[name], "{name}");
    }
}
