//! From a path of the site to what stands there.

use mongodb::bson::{Bson, doc};
use serde_json::{Value, json};
use test_support::{TestDatabase, eventually};

use crate::support::{Site, content, day, page, project, section, section_id, send, story, with};

async fn resolved(site: &Site, path: &str) -> (u16, Value) {
    let (status, body) = site.content.get(&format!("/resolve?path={path}")).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn a_section_answers_with_the_first_page_of_its_content() {
    let database = TestDatabase::new().await;
    for number in 0..12 {
        database.insert("stories", [story(&format!("s-{number}"), day(number))]).await;
    }
    database.insert("projects", [project("p")]).await;
    let site = Site::start(&database).await;
    let (status, blog) = resolved(&site, "/blog").await;
    assert_eq!(status, 200, "{blog}");
    assert_eq!(blog["kind"], "section");
    assert_eq!((&blog["canonical_path"], &blog["display_type"]), (&"/blog".into(), &"feed".into()));
    assert_eq!(blog["section"], site.sections.get("/sections/slug/blog").await.1);
    assert_eq!(blog["breadcrumbs"][0]["path"], "/blog");
    assert_eq!(blog["content"], site.content.get("/stories?section=blog").await.1);
    let (_, few) = resolved(&site, "/blog&limit=2").await;
    assert_eq!(few["content"]["items"].as_array().unwrap().len(), 2);
    let (_, projects) = resolved(&site, "/projects").await;
    assert_eq!(projects["content"], site.content.get("/projects?section=projects").await.1);
    let cursor = few["content"]["next_cursor"].as_str().unwrap();
    let next = site.content.get(&format!("/stories?section=blog&limit=2&cursor={cursor}")).await.1;
    assert_eq!(next["items"][0]["slug"], "s-9");
}

#[tokio::test]
async fn an_item_answers_with_itself_below_its_section_alone() {
    let database = TestDatabase::new().await;
    let draft = with(story("draft", day(1)), doc! { "is_published": false });
    let loose = with(story("loose", day(1)), doc! { "section_id": Bson::Null });
    database.insert("stories", [story("first", day(1)), draft, loose]).await;
    database.insert("projects", [project("p")]).await;
    let site = Site::start(&database).await;
    let (status, item) = resolved(&site, "/blog/first").await;
    assert_eq!((status, &item["kind"]), (200, &"item".into()), "{item}");
    assert_eq!(item["canonical_path"], "/blog/first");
    assert_eq!(item["content"], site.content.get("/stories/slug/first").await.1);
    assert_eq!(item["section"]["slug"], "blog");
    let (_, project) = resolved(&site, "/projects/p/").await;
    assert_eq!(
        (&project["canonical_path"], &project["kind"]),
        (&"/projects/p".into(), &"item".into())
    );
    assert_eq!(project["content"]["content"], "<p>Long.</p>");
    let (_, home) = resolved(&site, "/").await;
    assert_eq!(home, resolved(&site, "/blog").await.1);
    for path in [
        "//",
        "/nope",
        "/blog/nope",
        "/blog/draft",
        "/blog/loose",
        "/blog/p",
        "/projects/first",
        "/blog/first/more",
        "/first",
        "/about/first",
        "/blog/%24gt",
        "//blog",
    ] {
        let (status, answer) = resolved(&site, path).await;
        assert_eq!((status, &answer["code"]), (404, &"not_found".into()), "{path}: {answer}");
        assert_eq!(answer["detail"], "Path not found");
    }
    for path in ["", "blog", &format!("/{}", "x".repeat(2_100)), "/blog&x=1", "/blog&limit=0"] {
        assert_eq!(resolved(&site, path).await.0, 422, "{path:.50}");
    }
    assert_eq!(site.content.get("/resolve").await.0, 422);
}

#[tokio::test]
async fn a_static_page_answers_with_its_page() {
    let database = TestDatabase::new().await;
    let draft = with(page("contact"), doc! { "is_published": false });
    database.insert("pages", [page("about"), page("about"), draft]).await;
    let site = Site::start(&database).await;
    let (status, about) = resolved(&site, "/about").await;
    assert_eq!((status, &about["kind"]), (200, &"item".into()), "{about}");
    assert_eq!(
        (&about["canonical_path"], &about["display_type"]),
        (&"/about".into(), &"static-page".into())
    );
    assert_eq!(about["content"], site.content.get("/pages/type/about").await.1);
    // One that has nothing to show yet is the empty section that it is.
    let (status, contact) = resolved(&site, "/contact").await;
    assert_eq!((status, &contact["kind"]), (200, &"section".into()));
    assert_eq!(contact["content"]["items"], json!([]));
}

#[tokio::test]
async fn a_moved_path_answers_with_where_it_is_now() {
    let database = TestDatabase::new().await;
    database.insert("stories", [story("first", day(1))]).await;
    let site = Site::start(&database).await;
    let url = format!("{}/sections/{}", site.sections.url, section_id(&database, "blog").await);
    let (status, _, answer) = send("PATCH", &url, &[], &json!({ "slug": "journal" })).await;
    assert_eq!(status, 200, "{answer}");
    for (old, new) in [("/blog", "/journal"), ("/blog/first", "/journal/first")] {
        let moved = (200, json!({ "kind": "moved", "moved_to": new, "status": 301 }));
        eventually("the move is known", async || resolved(&site, old).await == moved).await;
        assert_eq!(resolved(&site, new).await.1["canonical_path"], new);
    }
}

#[tokio::test]
async fn an_item_that_was_moved_answers_with_where_it_is_now_as_far_as_the_public_sees_it() {
    let database = TestDatabase::new().await;
    let above = section(&database, "above", doc! {}).await;
    let notes = section(&database, "notes", doc! { "parent_id": &above }).await;
    let draft = section(&database, "draft", doc! { "is_published": false }).await;
    let unlisted = with(story("unlisted", day(1)), doc! { "is_published": false });
    database.insert("stories", [story("first", day(1)), story("other", day(1)), unlisted]).await;
    section(&database, "blog", doc! {}).await;
    let work = section(&database, "work", doc! { "content_type": "project" }).await;
    database.insert("projects", [with(project("p"), doc! { "section_id": &work })]).await;
    let site = Site::start(&database).await;
    let move_all = async |section: &str| {
        let to = doc! { "$set": { "section_id": section } };
        database.collection("stories").update_many(doc! {}, to).await.unwrap();
    };
    assert_eq!(resolved(&site, "/blog/first").await.1["kind"], "item");
    move_all(&notes).await;
    let moved = |to: &str| (200, json!({ "kind": "moved", "moved_to": to, "status": 301 }));
    // Its section may have been deleted since, which nobody is told.
    for old in ["/blog/first", "/blog/first/", "/gone/first", "/draft/first", "/blog/gone/first"] {
        assert_eq!(resolved(&site, old).await, moved("/above/notes/first"), "{old}");
    }
    assert_eq!(resolved(&site, "/gone/p").await, moved("/work/p"));
    assert_eq!(resolved(&site, "/above/notes/first").await.1["kind"], "item");
    for path in ["/first", "/blog/unlisted", "/gone/unlisted", "/blog/p", "/work/first"] {
        assert_eq!(resolved(&site, path).await.0, 404, "{path}");
    }
    for hidden in [draft.as_str(), "ffffffffffffffffffffffff"] {
        move_all(hidden).await;
        for path in ["/blog/first", "/gone/first", "/above/notes/first", "/draft/first"] {
            assert_eq!(resolved(&site, path).await.0, 404, "{path} {hidden}");
        }
    }
}

#[tokio::test]
async fn nested_sections_have_their_way_and_hidden_ones_are_nowhere() {
    let database = TestDatabase::new().await;
    let above = section(&database, "above", doc! {}).await;
    let below = section(&database, "below", doc! { "parent_id": &above }).await;
    database.insert("stories", [with(story("deep", day(1)), doc! { "section_id": &below })]).await;
    let site = Site::start(&database).await;
    let (status, item) = resolved(&site, "/above/below/deep").await;
    assert_eq!(status, 200, "{item}");
    let path = |number: usize| item["breadcrumbs"][number]["path"].as_str().unwrap();
    assert_eq!((path(0), path(1)), ("/above", "/above/below"));
    let hide = doc! { "$set": { "is_published": false } };
    database.collection("sections").update_one(doc! { "slug": "above" }, hide).await.unwrap();
    for path in ["/above", "/above/below", "/above/below/deep"] {
        eventually("it is hidden", async || resolved(&site, path).await.0 == 404).await;
    }
}

#[tokio::test]
async fn while_sections_are_away_a_path_cannot_be_resolved() {
    let database = TestDatabase::new().await;
    let content = content(&database, "http://127.0.0.1:1", &[]).await;
    let (status, answer) = content.get("/resolve?path=/blog").await;
    assert_eq!((status.as_u16(), &answer["code"]), (503, &"upstream_unavailable".into()));
}

#[tokio::test]
async fn a_path_leads_to_the_section_that_sections_service_finds() {
    let database = TestDatabase::new().await;
    let above = section(&database, "Über uns", doc! { "sort_order": 3 }).await;
    let below = section(&database, "a/b", doc! { "parent_id": &above }).await;
    section(&database, "100%", doc! { "parent_id": &below }).await;
    section(&database, "%d0%bf", doc! {}).await;
    section(&database, "draft", doc! { "is_published": false }).await;
    section(&database, "gone", doc! { "is_deleted": true }).await;
    section(&database, "", doc! {}).await;
    let blog = section(&database, "blog", doc! {}).await;
    let notes = section(&database, "notes", doc! { "parent_id": &blog }).await;
    let site = Site::start(&database).await;
    for (id, change) in [
        (&notes, json!({ "slug": "log" })),
        (&blog, json!({ "slug": "journal" })),
        (&notes, json!({ "parent_id": null })),
        (&above, json!({ "slug": "about-us" })),
    ] {
        let url = format!("{}/sections/{id}", site.sections.url);
        let (status, _, answer) = send("PATCH", &url, &[], &change).await;
        assert_eq!(status, 200, "{answer}");
    }
    eventually("the last change is known", async || resolved(&site, "/about-us").await.0 == 200)
        .await;
    let mut found = 0;
    for path in [
        "/blog",
        "/blog/",
        "/journal",
        "/journal/x/y",
        "/blog/notes/x",
        "/blog/log",
        "/journal/log/a b+c&d",
        "/log",
        "/%C3%9Cber%20uns",
        "/Über uns/a/b/100%/deep",
        "/about-us/a%2Fb/100%25",
        "/about-us/a/b/",
        "/ABOUT-US",
        "/п",
        "/%25d0%25bf/x",
        "/draft",
        "/draft/x",
        "/gone",
        "/",
        "//",
        "//blog",
        "/nope",
        "/blog/%2e%2e",
        "/blog/\0\r\n",
        "/blog/ä?x=1#y",
    ] {
        let encoded: String = path.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (status, expected) =
            site.sections.get(&format!("/internal/resolve?path={encoded}")).await;
        let (own_status, answer) = resolved(&site, &encoded).await;
        if let Some(moved_to) = expected.get("moved_to") {
            assert_eq!(
                answer,
                json!({ "kind": "moved", "moved_to": moved_to, "status": 301 }),
                "{path:?}"
            );
            found += 1;
        } else if expected["rest"] == json!([]) {
            for member in ["section", "breadcrumbs"] {
                assert_eq!(answer[member], expected[member], "{path:?}");
            }
            assert_eq!(answer["canonical_path"], expected["path"], "{path:?}");
            found += 1;
        } else {
            assert!(status == 404 || expected["rest"].is_array(), "{path:?}: {expected}");
            assert_eq!(own_status, 404, "{path:?}: {answer}");
        }
    }
    assert!(found >= 12, "{found} paths lead anywhere");
}

#[tokio::test]
async fn a_section_is_found_as_soon_as_it_exists() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for number in 0..3 {
        assert_eq!(resolved(&site, "/blog").await.0, 200);
        let body = json!({ "title": format!("New {number}"), "content_type": "story" });
        let url = format!("{}/sections", site.sections.url);
        let (status, _, answer) = send("POST", &url, &[], &body).await;
        assert_eq!(status, 201, "{answer}");
        let (status, answer) = resolved(&site, &format!("/new-{number}")).await;
        assert_eq!((status, &answer["kind"]), (200, &"section".into()), "{answer}");
    }
}
