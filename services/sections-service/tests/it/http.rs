//! The routes: what they answer, to whom, and what they say to a mistake.

use mongodb::bson::{Document, doc, oid::ObjectId};
use serde_json::Value;
use test_support::{Service, TestDatabase, eventually, settings};

async fn started(database: &TestDatabase) -> Service {
    let service = Service::sections(&settings(database, &[])).await;
    service.migrated().await;
    service
}

fn section(slug: &str, parent: Option<ObjectId>, is_published: bool) -> Document {
    doc! {
        "_id": ObjectId::new(), "title": slug.to_uppercase(), "slug": slug,
        "parent_id": parent.map(ObjectId::to_hex), "display_type": "feed",
        "content_type": "story", "nav_visibility": "main", "sort_order": 10,
        "is_published": is_published, "is_deleted": false,
    }
}

fn id(section: &Document) -> ObjectId {
    section.get_object_id("_id").unwrap()
}

fn slugs(body: &Value) -> Vec<&str> {
    body.as_array().unwrap().iter().map(|section| section["slug"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_sections_of_a_fresh_site() {
    let database = TestDatabase::new().await;
    let service = started(&database).await;
    let (status, body) = service.get("/sections").await;
    assert_eq!(status, 200);
    insta::assert_json_snapshot!(body, {
        "[].id" => "[id]", "[].createdDate" => "[date]", "[].updatedDate" => "[date]",
    });
    let (status, tree) = service.get("/sections/tree").await;
    assert_eq!(status, 200);
    assert_eq!(slugs(&tree), slugs(&body));
    assert!(tree.as_array().unwrap().iter().all(|node| node["children"] == serde_json::json!([])));
}

#[tokio::test]
async fn filters_narrow_the_list() {
    let database = TestDatabase::new().await;
    let parent = section("parent", None, true);
    let child = section("child", Some(id(&parent)), true);
    let mut hidden = section("hidden", None, true);
    hidden.insert("nav_visibility", "hidden");
    let parent_id = id(&parent);
    database.insert("sections", [parent, child, hidden]).await;
    let service = started(&database).await;
    for (query, expected) in [
        ("nav_visibility=hidden", vec!["hidden"]),
        ("content_type=story", vec!["parent", "child", "hidden"]),
        ("content_type=page", vec![]),
        (&format!("parent_id={parent_id}"), vec!["child"]),
        ("parent_id=null", vec!["parent", "hidden"]),
        ("parent_id=null&nav_visibility=main", vec!["parent"]),
    ] {
        let (status, body) = service.get(&format!("/sections?{query}")).await;
        assert_eq!((status.as_u16(), slugs(&body)), (200, expected), "{query}");
    }
    let (_, tree) = service.get("/sections/tree").await;
    assert_eq!(tree[0]["children"][0]["slug"], "child");
}

#[tokio::test]
async fn drafts_deleted_sections_and_what_is_below_them_are_for_editors_alone() {
    let database = TestDatabase::new().await;
    let shown = section("shown", None, true);
    let draft = section("draft", None, false);
    let below_draft = section("below-draft", Some(id(&draft)), true);
    let mut deleted = section("deleted", None, true);
    deleted.insert("is_deleted", true);
    let below_deleted = section("below-deleted", Some(id(&deleted)), true);
    let hidden = [id(&draft), id(&below_draft), id(&deleted), id(&below_deleted)];
    let deleted_id = id(&deleted);
    database.insert("sections", [shown, draft, below_draft, deleted, below_deleted]).await;
    let service = started(&database).await;

    for path in ["/sections", "/sections/tree"] {
        assert_eq!(slugs(&service.get(path).await.1), ["shown"], "{path}");
        let path = format!("{path}?include_drafts=true");
        assert_eq!(service.get(&path).await.0, 401, "{path}");
        let (status, body) = service.get_as_editor(&path).await;
        assert_eq!(status, 200);
        let slugs = body.to_string();
        for slug in ["draft", "below-draft", "below-deleted"] {
            assert!(slugs.contains(&format!("\"slug\":\"{slug}\"")), "{path}: {slugs}");
        }
        assert!(!slugs.contains("\"slug\":\"deleted\""), "{path}: {slugs}");
    }
    for (slug, id) in ["draft", "below-draft", "deleted", "below-deleted"].iter().zip(hidden) {
        for path in [format!("/sections/slug/{slug}"), format!("/sections/{id}")] {
            let (status, body) = service.get(&path).await;
            assert_eq!(status, 404, "{path}");
            assert_eq!(body["detail"], "Section not found");
            // A token without `include_drafts` shows no drafts.
            assert_eq!(service.get_as_editor(&path).await.0, 404, "{path}");
            let expected = if id == deleted_id { 404 } else { 200 };
            let path = format!("{path}?include_drafts=true");
            assert_eq!(service.get_as_editor(&path).await.0, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn a_change_is_seen_at_once_by_every_replica() {
    let database = TestDatabase::new().await;
    let (one, two) = (started(&database).await, started(&database).await);
    assert_eq!(slugs(&one.get("/sections").await.1).len(), 4);
    assert_eq!(slugs(&two.get("/sections").await.1).len(), 4);
    let hide = doc! { "$set": { "is_published": false } };
    database.collection("sections").update_one(doc! { "slug": "about" }, hide).await.unwrap();
    for service in [&one, &two] {
        eventually("the hidden section is gone", async || {
            slugs(&service.get("/sections").await.1) == ["blog", "projects", "contact"]
        })
        .await;
    }
}

#[tokio::test]
async fn a_section_that_cannot_be_read_does_not_hide_the_others() {
    let database = TestDatabase::new().await;
    let mut odd = section("odd", None, true);
    odd.insert("_id", "odd");
    database.insert("sections", [section("good", None, true), odd]).await;
    let service = started(&database).await;
    let (status, body) = service.get("/sections").await;
    assert_eq!((status.as_u16(), slugs(&body)), (200, vec!["good"]));
}

#[tokio::test]
async fn invalid_requests_are_answered_with_their_fault() {
    let database = TestDatabase::new().await;
    let service = started(&database).await;
    for (path, status, code, detail) in [
        ("/sections/not-an-id", 400, "invalid_id", "Invalid section ID format"),
        ("/sections/ffffffffffffffffffffffff", 404, "not_found", "Section not found"),
        ("/sections/slug/nope", 404, "not_found", "Section not found"),
        ("/sections/slug/nope/more", 404, "route_not_found", "/sections/slug/nope/more"),
        ("/nope", 404, "route_not_found", "/nope"),
        ("/sections?colour=red", 422, "validation_failed", "colour"),
        ("/sections?content_type=poem", 422, "validation_failed", "content_type"),
        ("/sections?nav_visibility=top", 422, "validation_failed", "nav_visibility"),
        ("/sections?parent_id=7", 422, "validation_failed", "parent_id"),
        ("/sections/tree?depth=2", 422, "validation_failed", "depth"),
        ("/sections/slug/blog?x=1", 422, "validation_failed", "`x`"),
        ("/sections?include_drafts=perhaps", 422, "validation_failed", "include_drafts"),
    ] {
        let (actual, body) = service.get(path).await;
        assert_eq!(
            (actual.as_u16(), body["code"].as_str()),
            (status, Some(code)),
            "{path}: {body}"
        );
        assert!(body["detail"].as_str().unwrap().contains(detail), "{path}: {body}");
        assert_eq!(body["status"], status);
        assert_eq!(body["trace_id"].as_str().unwrap_or_default().len(), 32, "{body}");
    }
}

#[tokio::test]
async fn routes_for_reading_answer_head_and_refuse_other_methods() {
    let database = TestDatabase::new().await;
    let service = started(&database).await;
    let client =
        service_kit::web::http_client::service_client(std::time::Duration::from_secs(30)).unwrap();
    let url = format!("{}/sections", service.url);
    let length = client.get(&url).send().await.unwrap().content_length();
    let head = client.head(&url).send().await.unwrap();
    assert_eq!(head.status(), 200);
    let told = head.headers()["content-length"].to_str().unwrap().parse().ok();
    assert_eq!(told, length);
    let deleted = client.delete(&url).send().await.unwrap();
    assert_eq!(deleted.status(), 405);
    assert_eq!(deleted.headers()["allow"], "GET, HEAD, POST");
    let body: Value = deleted.json().await.unwrap();
    assert_eq!(body["code"], "method_not_allowed");
}

#[tokio::test]
async fn the_health_routes_report_the_state_of_the_service() {
    let database = TestDatabase::new().await;
    let service = started(&database).await;
    let (status, body) = service.get("/health").await;
    assert_eq!((status.as_u16(), body["status"].as_str()), (200, Some("healthy")));
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(service.get("/health/live").await.0, 200);
    let (status, body) = service.get("/health/ready").await;
    assert_eq!((status.as_u16(), body["status"].as_str()), (200, Some("ready")));
    let migrations = &body["checks"]["migrations"];
    assert_eq!(migrations["applied"], migrations["total"], "{body}");
    let (status, body) = service.get("/warmup").await;
    assert_eq!((status.as_u16(), body["status"].as_str()), (200, Some("warm")));
    assert_eq!(body["database"], "connected");
}

#[tokio::test]
async fn without_a_database_the_service_is_live_and_not_ready() {
    let database = TestDatabase::new().await;
    let away = [("mongodb.uri", "mongodb://127.0.0.1:1/?replicaSet=rs0")];
    let service = Service::sections(&settings(&database, &away)).await;
    assert_eq!(service.get("/health").await.0, 200);
    assert_eq!(service.get("/health/live").await.0, 200);
    let (status, body) = service.get("/health/ready").await;
    assert_eq!(status, 503);
    assert_eq!(body["checks"]["database"]["status"], "failed");
    let (status, body) = service.get("/warmup").await;
    assert_eq!((status.as_u16(), body["status"].as_str()), (503, Some("cold")));
    assert_eq!(service.get("/sections").await.0, 503);
    service.stop().await.unwrap();
}
