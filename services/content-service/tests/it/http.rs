//! The routes: what they answer, to whom, and what they say to a mistake.

use mongodb::bson::{Bson, Document, doc, oid::ObjectId};
use test_support::{TOKEN, TestDatabase};

use crate::support::{Site, ask, day, page, project, section_id, story, with};

/// Content whose ids are the same in every run.
async fn insert_fixed(database: &TestDatabase) {
    let id = |number| ObjectId::from_bytes([number; 12]);
    let by = doc! { "user_id": "0a0a0a0a0a0a0a0a0a0a0a0a" };
    let fixed =
        |document: Document, number| with(with(document, doc! { "_id": id(number) }), by.clone());
    let older = fixed(story("older", day(1)), 1);
    let newer = with(fixed(story("newer", day(2)), 2), doc! { "date": day(3) });
    database.insert("stories", [older, newer]).await;
    let complete = doc! {
        "summary": "A summary.", "image_url": "/a.png", "github_url": "https://example.org/a",
        "live_url": "https://example.org", "is_featured": true, "is_published": true,
        "updatedDate": day(5),
    };
    database
        .insert(
            "projects",
            [with(fixed(project("complete"), 4), complete), fixed(project("bare"), 3)],
        )
        .await;
    database.insert("pages", [fixed(page("about"), 5), fixed(page(Bson::Null), 6)]).await;
}

#[tokio::test]
async fn a_list_of_stories() {
    let database = TestDatabase::new().await;
    insert_fixed(&database).await;
    let site = Site::start(&database).await;
    let (status, list) = site.content.get("/stories").await;
    assert_eq!(status, 200);
    insta::assert_json_snapshot!(list, { ".items[].section_id" => "[section]" });
    let item = &list["items"][0];
    assert_eq!(item["section_id"], section_id(&database, "blog").await);
    assert_eq!(site.content.get("/stories/slug/newer").await.1, *item);
    let id = item["id"].as_str().unwrap();
    assert_eq!(site.content.get_as_editor(&format!("/stories/{id}")).await.1, *item);
}

#[tokio::test]
async fn a_list_of_projects_has_cards_without_content() {
    let database = TestDatabase::new().await;
    insert_fixed(&database).await;
    let site = Site::start(&database).await;
    let (status, list) = site.content.get("/projects").await;
    assert_eq!(status, 200);
    insta::assert_json_snapshot!(list, { ".items[].section_id" => "[section]" });
    let (status, mut project) = site.content.get("/projects/slug/complete").await;
    assert_eq!(status, 200);
    let content = project.as_object_mut().unwrap().remove("content");
    assert_eq!(content, Some("<p>Long.</p>".into()));
    assert_eq!(project, list["items"][0]);
}

#[tokio::test]
async fn a_list_of_pages() {
    let database = TestDatabase::new().await;
    insert_fixed(&database).await;
    let site = Site::start(&database).await;
    let (status, list) = site.content.get("/pages").await;
    assert_eq!(status, 200);
    insta::assert_json_snapshot!(list, { ".items[].section_id" => "[section]" });
}

#[tokio::test]
async fn an_error_has_the_one_shape() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let (status, headers, body) = ask(&format!("{}/stories?limit=0", site.content.url), &[]).await;
    assert_eq!(
        (status.as_u16(), &headers["content-type"]),
        (422, &"application/json".parse().unwrap())
    );
    insta::assert_json_snapshot!(body, { ".trace_id" => "[trace]" });
    let problem = [("accept", "application/problem+json")];
    let (_, headers, _) = ask(&format!("{}/stories?limit=0", site.content.url), &problem).await;
    assert_eq!(headers["content-type"], "application/problem+json");
}

#[tokio::test]
async fn drafts_are_for_callers_with_a_token_who_ask_for_them() {
    let database = TestDatabase::new().await;
    let draft = doc! { "is_published": false, "title": "Draft", "slug": "draft" };
    for kind in ["stories", "projects", "pages"] {
        database.insert(kind, [with(page("about"), draft.clone())]).await;
    }
    let site = Site::start(&database).await;
    let invalid = "The token is invalid or has expired.";
    for kind in ["stories", "projects", "pages"] {
        let url = format!("{}/{kind}", site.content.url);
        for (authorization, status, detail) in [
            (None, 401, "Authorization header is missing."),
            (
                Some("Basic dGVzdA=="),
                401,
                "Authorization header must be of the form `Bearer <token>`.",
            ),
            (Some(TOKEN), 401, "Authorization header must be of the form `Bearer <token>`."),
            (Some("Bearer"), 401, "The token is missing after `Bearer`."),
            (Some("Bearer   "), 401, "The token is missing after `Bearer`."),
            (Some("Bearer wrong"), 401, invalid),
            (Some("Bearer test-toke"), 401, invalid),
            (Some("Bearer test-token-of-16-or-more2"), 401, invalid),
            (Some("Bearer test-token-of-16-or-more"), 200, ""),
            (Some("bearer test-token-of-16-or-more"), 200, ""),
        ] {
            let headers: Vec<_> =
                authorization.into_iter().map(|value| ("authorization", value)).collect();
            let (actual, answered, body) =
                ask(&format!("{url}?include_drafts=true"), &headers).await;
            assert_eq!(actual, status, "{authorization:?}: {body}");
            if status == 200 {
                assert_eq!(body["items"][0]["title"], "Draft");
            } else {
                assert_eq!(
                    (body["code"].as_str(), body["detail"].as_str()),
                    (Some("unauthorized"), Some(detail))
                );
                assert_eq!(answered["www-authenticate"], "Bearer");
                assert!(!body.to_string().contains("Draft"));
            }
            // Who does not ask for drafts gets none, with any header.
            for query in ["", "?include_drafts=false"] {
                let (actual, _, body) = ask(&format!("{url}{query}"), &headers).await;
                assert_eq!((actual.as_u16(), &body["total"]), (200, &0.into()), "{body}");
                assert_eq!(body["items"], serde_json::json!([]));
            }
        }
    }
}

#[tokio::test]
async fn without_a_configured_token_nobody_sees_drafts() {
    let database = TestDatabase::new().await;
    let site = Site::start_with(&database, &[("auth.static_token", "")]).await;
    for header in ["Bearer ", "Bearer x", "Bearer test-token-of-16-or-more"] {
        let url = format!("{}/stories?include_drafts=true", site.content.url);
        assert_eq!(ask(&url, &[("authorization", header)]).await.0, 401, "{header}");
    }
}

#[tokio::test]
async fn an_item_by_its_id_needs_a_token_before_anything_else_is_said() {
    let database = TestDatabase::new().await;
    let (shown, draft) = (page("about"), with(page("about"), doc! { "is_published": false }));
    let trash = with(page("about"), doc! { "deleted": true });
    let id = |document: &Document| document.get_object_id("_id").unwrap().to_hex();
    let (shown_id, draft_id, trash_id) = (id(&shown), id(&draft), id(&trash));
    for kind in ["stories", "projects", "pages"] {
        database.insert(kind, [shown.clone(), draft.clone(), trash.clone()]).await;
    }
    let site = Site::start(&database).await;
    for (kind, name) in [("stories", "Story"), ("projects", "Project"), ("pages", "Page")] {
        let invalid = format!("Invalid {} ID format", name.to_lowercase());
        let not_found = format!("{name} not found");
        for (id, status, detail) in [
            (shown_id.as_str(), 200, None),
            (&shown_id.to_uppercase(), 200, None),
            (&draft_id, 200, None),
            (&trash_id, 404, Some(&not_found)),
            ("ffffffffffffffffffffffff", 404, Some(&not_found)),
            ("fffffffffffffffffffffff", 400, Some(&invalid)),
            ("gggggggggggggggggggggggg", 400, Some(&invalid)),
            ("not-an-id", 400, Some(&invalid)),
        ] {
            let path = format!("/{kind}/{id}");
            let (actual, body) = site.content.get(&path).await;
            assert_eq!(
                (actual.as_u16(), body["code"].as_str()),
                (401, Some("unauthorized")),
                "{path}"
            );
            let (actual, body) = site.content.get_as_editor(&path).await;
            assert_eq!(actual, status, "{path}: {body}");
            assert_eq!(body["detail"].as_str(), detail.map(String::as_str), "{path}");
        }
    }
}

#[tokio::test]
async fn by_slug_only_what_is_published_is_found() {
    let database = TestDatabase::new().await;
    for kind in ["stories", "projects"] {
        database
            .insert(
                kind,
                [
                    story("shown", day(1)),
                    with(story("draft", day(1)), doc! { "is_published": false }),
                    with(story("trash", day(1)), doc! { "deleted": true }),
                ],
            )
            .await;
    }
    let site = Site::start(&database).await;
    for (kind, name) in [("stories", "Story"), ("projects", "Project")] {
        assert_eq!(site.content.get(&format!("/{kind}/slug/shown")).await.0, 200);
        for slug in ["draft", "trash", "nope", "Shown", "shown%20"] {
            let path = format!("/{kind}/slug/{slug}");
            // A token makes no difference.
            for (status, body) in
                [site.content.get(&path).await, site.content.get_as_editor(&path).await]
            {
                assert_eq!(
                    (status.as_u16(), body["code"].as_str()),
                    (404, Some("not_found")),
                    "{path}"
                );
                assert_eq!(body["detail"], format!("{name} not found"));
            }
        }
    }
}

#[tokio::test]
async fn the_page_of_a_type_is_the_published_one_that_was_there_first() {
    let database = TestDatabase::new().await;
    let titled = |number: u8, title: &str, fields: Document| {
        let id = doc! { "_id": ObjectId::from_bytes([number; 12]), "title": title };
        with(with(page("about"), id), fields)
    };
    database
        .insert(
            "pages",
            [
                titled(4, "Later", doc! {}),
                titled(3, "First", doc! {}),
                titled(2, "Draft", doc! { "is_published": false }),
                titled(1, "Trash", doc! { "deleted": true }),
                titled(5, "Hidden", doc! { "page_type": "imprint", "is_published": false }),
            ],
        )
        .await;
    let site = Site::start(&database).await;
    let (status, body) = site.content.get("/pages/type/about").await;
    assert_eq!((status.as_u16(), body["title"].as_str()), (200, Some("First")));
    for page_type in ["imprint", "nope", "About"] {
        let (status, body) = site.content.get(&format!("/pages/type/{page_type}")).await;
        assert_eq!((status.as_u16(), body["detail"].as_str()), (404, Some("Page not found")));
    }
}

#[tokio::test]
async fn mistakes_in_a_query_are_named() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let id = "ffffffffffffffffffffffff";
    for kind in ["stories", "projects", "pages"] {
        for (query, field, code) in [
            ("limit=0", "limit", "invalid"),
            ("limit=51", "limit", "invalid"),
            ("limit=ten", "limit", "invalid"),
            ("limit=", "limit", "invalid"),
            ("limit=1.5", "limit", "invalid"),
            ("limit=1&limit=2", "limit", "invalid"),
            ("offset=1&offset=1", "offset", "invalid"),
            ("section=a&section=b", "section", "invalid"),
            ("offset=-1", "offset", "invalid"),
            ("offset=10001", "offset", "invalid"),
            ("offset=2147483648", "offset", "invalid"),
            ("cursor=nonsense", "cursor", "invalid"),
            ("cursor=", "cursor", "invalid"),
            ("section_id=7", "section_id", "invalid"),
            ("section_id=null", "section_id", "invalid"),
            (&format!("section=blog&section_id={id}"), "section", "invalid"),
            ("include_drafts=perhaps", "include_drafts", "invalid"),
            ("include_drafts=", "include_drafts", "invalid"),
            ("colour=red", "colour", "unknown"),
            ("Limit=1", "Limit", "unknown"),
            ("page=2", "page", "unknown"),
        ] {
            let (status, body) = site.content.get(&format!("/{kind}?{query}")).await;
            assert_eq!(
                (status.as_u16(), body["code"].as_str()),
                (422, Some("validation_failed")),
                "{query}: {body}"
            );
            let error = &body["errors"][0];
            assert_eq!(
                (error["field"].as_str(), error["code"].as_str()),
                (Some(field), Some(code)),
                "{query}"
            );
            assert!(body["detail"].as_str().unwrap().contains(field), "{query}: {body}");
        }
    }
    for path in ["/stories/slug/x", "/projects/slug/x", "/pages/type/x"] {
        let (status, body) = site.content.get(&format!("{path}?x=1")).await;
        assert_eq!(
            (status.as_u16(), body["errors"][0]["field"].as_str()),
            (422, Some("x")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_cursor_and_an_offset_exclude_each_other() {
    let database = TestDatabase::new().await;
    database.insert("stories", [story("a", day(1)), story("b", day(2))]).await;
    let site = Site::start(&database).await;
    let (_, list) = site.content.get("/stories?limit=1").await;
    let cursor = list["next_cursor"].as_str().unwrap();
    let (status, body) = site.content.get(&format!("/stories?cursor={cursor}&offset=1")).await;
    assert_eq!((status.as_u16(), body["errors"][0]["field"].as_str()), (422, Some("cursor")));
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_are_told_apart() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for path in ["/", "/nope", "/stories/slug/a/b", "/pages/slug/a", "/users", "/stories/type/a"] {
        let (status, body) = site.content.get(path).await;
        assert_eq!(
            (status.as_u16(), body["code"].as_str()),
            (404, Some("route_not_found")),
            "{path}"
        );
    }
    let client =
        service_kit::web::http_client::service_client(std::time::Duration::from_secs(30)).unwrap();
    let response = client.delete(format!("{}/stories", site.content.url)).send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(site.content.get("/stories/").await.0, 200);
}

#[tokio::test]
async fn health_says_how_the_service_is() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let (status, body) = site.content.get("/health").await;
    assert_eq!((status.as_u16(), body["status"].as_str()), (200, Some("healthy")));
    for path in ["/health/live", "/health/", "/health/live/", "/health/ready/", "/warmup/"] {
        assert_eq!(site.content.get(path).await.0, 200, "{path}");
    }
    let (status, body) = site.content.get("/health/ready").await;
    assert_eq!((status.as_u16(), body["status"].as_str()), (200, Some("ready")));
    let migrations = &body["checks"]["migrations"];
    assert_eq!(migrations["applied"], migrations["total"], "{body}");
    let (status, body) = site.content.get("/warmup").await;
    assert_eq!((status.as_u16(), body["database"].as_str()), (200, Some("connected")));
}
