//! The integrity report and repairs.

use insta::assert_json_snapshot;
use mongodb::bson::{doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::TestDatabase;

use crate::support::{Api, Neighbour, id, stored};

#[tokio::test]
async fn a_site_in_order_has_no_findings() {
    let database = TestDatabase::new().await;
    let api = Api::with(&database, &[]).await;
    assert_eq!(api.get("/internal/integrity").await.body, json!({ "findings": [] }));
}

#[tokio::test]
async fn faults_are_reported_and_repaired_only_on_request() {
    let database = TestDatabase::new().await;
    let api = Api::with(&database, &[]).await;
    let orphan = stored("orphan", Some(ObjectId::new()), true);
    let below = stored("below-orphan", Some(id(&orphan)), true);
    let was = orphan.clone();
    let mut deleted = stored("deleted", None, true);
    deleted.insert("is_deleted", true);
    let below_deleted = stored("below-deleted", Some(id(&deleted)), true);
    let mut own_parent = stored("own-parent", None, true);
    own_parent.insert("parent_id", id(&own_parent).to_hex());
    let mut odd = stored("odd", None, true);
    odd.insert("_id", "odd");
    let blog = api.get("/sections/slug/blog").await.id();
    database.insert("sections", [orphan, below, deleted, below_deleted, own_parent, odd]).await;
    database
        .insert(
            "section_redirects",
            [
                doc! { "path": "/dead", "section_id": ObjectId::new().to_hex() },
                doc! { "path": "/blog", "section_id": &blog },
                doc! { "path": "/journal", "section_id": &blog },
                doc! { "path": [], "section_id": &blog },
            ],
        )
        .await;

    let report = api.get("/internal/integrity").await;
    assert_json_snapshot!(report.body, { ".findings[].ids[]" => "[id]" });
    let before = database.hash().await;
    let repair = "/internal/integrity/repair";
    let dry_run = api.call("POST", repair, Value::Null).await;
    assert_eq!(dry_run.body["dry_run"], true);
    assert_eq!(database.hash().await, before);
    let repaired = api.call("POST", &format!("{repair}?dry_run=false"), Value::Null).await;
    assert_eq!(repaired.body["repaired"], dry_run.body["repaired"]);
    let kinds = |body: &Value, member: &str| -> Vec<String> {
        let findings = body[member].as_array().unwrap();
        findings.iter().map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        kinds(&repaired.body, "repaired"),
        ["missing_parent", "redirect_loop", "dead_redirect"]
    );
    let after = api.get("/internal/integrity").await;
    assert_eq!(
        kinds(&after.body, "findings"),
        ["unreadable_document", "unreadable_document", "cycle", "deleted_parent"]
    );
    // The section without a parent is a draft at the top, and no document is lost.
    assert_eq!(api.get("/sections/slug/below-orphan").await.status, 404);
    let draft = api.get("/sections/slug/below-orphan?include_drafts=true").await;
    assert_eq!((draft.status, &draft.body["is_published"]), (200, &true.into()));
    let adopted = api.get("/sections/slug/orphan?include_drafts=true").await;
    assert_eq!(adopted.body["is_published"], false);
    assert_eq!(database.count("section_redirects", doc! {}).await, 2);
    let kept = database.one("section_repairs", doc! { "collection": "sections" }).await;
    assert_eq!(kept.get_document("document").unwrap(), &was);
    let kept = doc! { "document.path": { "$in": ["/dead", "/blog"] } };
    assert_eq!(database.count("section_repairs", kept).await, 2);
    let nothing = api.call("POST", &format!("{repair}?dry_run=false"), Value::Null).await;
    assert_eq!(nothing.body["repaired"], json!([]));
}

#[tokio::test]
async fn a_redirect_to_a_section_below_its_own_path_is_no_fault() {
    let database = TestDatabase::new().await;
    let neighbour = Neighbour::start();
    let api = Api::start(&database, &neighbour).await;
    let first = api.add("aaa", None).await.id();
    let at = format!("/sections/{first}");
    assert_eq!(api.call("PATCH", &at, json!({ "slug": "bbb" })).await.status, 200);
    let second = api.add("aaa", None).await.id();
    assert_eq!(api.call("PATCH", &at, json!({ "parent_id": second })).await.status, 200);
    assert_eq!(api.resolve("/aaa").await["section"]["id"], json!(second));
    assert_eq!(api.get("/internal/integrity").await.body, json!({ "findings": [] }));
    // And the address counts once more when its place is free.
    let away = json!({ "slug": "ccc" });
    assert_eq!(api.call("PATCH", &format!("/sections/{second}"), away).await.status, 200);
    let repair = "/internal/integrity/repair?dry_run=false";
    assert_eq!(api.call("POST", repair, Value::Null).await.body["repaired"], json!([]));
    assert_eq!(api.resolve("/bbb").await, json!({ "moved_to": "/ccc/bbb" }));
}
