//! The routes for the other service and for operators.

use std::collections::HashSet;

use models::ContentType;
use mongodb::bson::{DateTime, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{Provider, TOKEN, TestDatabase};

use crate::support::{
    Site, all_content, ask, day, page, project, section, section_id, send, story, user, with,
};

#[tokio::test]
async fn a_user_is_found_by_their_address_in_any_case() {
    let database = TestDatabase::new().await;
    let id = user(&database, "ann", "author").await;
    let site = Site::start(&database).await;
    for email in ["ann@Example.org", "ANN@EXAMPLE.ORG", "ann@example.org"] {
        let (status, answer) = site.content.get(&format!("/internal/users?email={email}")).await;
        let ann = json!({ "id": id, "email": "ann@Example.org", "name": "ann", "role": "author" });
        assert_eq!((status.as_u16(), answer), (200, ann));
    }
    // The collation takes most of them for the same.
    for email in [
        "bob@example.org",
        "%EF%BD%81nn@example.org",
        "an%E2%80%8Bn@example.org",
        "%C3%A1nn@example.org",
        "ann@example.or%C7%A5",
        "%20ann@example.org",
        "ann@example.org%20",
        "ann@example.org%0A",
        "%09ann@example.org",
        "a%00nn@example.org",
        "ann%01@example.org",
        "ann@example.org%C2%A0",
        ".*",
        "",
    ] {
        let (status, answer) = site.content.get(&format!("/internal/users?email={email}")).await;
        assert_eq!(
            (status.as_u16(), &answer["detail"]),
            (404, &"User not found".into()),
            "{email}"
        );
    }
    assert_eq!(site.content.get("/internal/users").await.0, 422);
}

#[tokio::test]
async fn a_sign_in_with_another_spelling_of_an_address_is_another_user() {
    let database = TestDatabase::new().await;
    let provider = Provider::start();
    user(&database, "kate", "author").await;
    let site = Site::start_with(&database, &provider.settings()).await;
    // The provider confirms the address `TOKEN@example.org`; U+212A is the Kelvin sign.
    for (token, status) in [
        ("kate", 200),
        ("KATE", 200),
        ("%E2%84%AAate", 403),
        ("k%C3%A1te", 403),
        ("kate%01", 403),
        ("%20kate", 403),
        ("%09kate", 403),
        ("k%E2%80%8Bate", 403),
    ] {
        let header = format!("Bearer {token}");
        let url = format!("{}/stories?include_drafts=true", site.content.url);
        let (found, ..) = ask(&url, &[("authorization", header.as_str())]).await;
        assert_eq!(found, status, "{token:?}");
    }
}

#[tokio::test]
async fn content_of_all_kinds_that_is_not_deleted_is_counted() {
    let database = TestDatabase::new().await;
    let object_id = ObjectId::from_bytes([0xab; 12]);
    let there = doc! { "section_id": object_id.to_hex() };
    let deleted = doc! { "section_id": object_id.to_hex(), "deleted": true };
    database
        .insert(
            "stories",
            [
                with(story("a", day(1)), there.clone()),
                with(story("b", day(1)), doc! { "section_id": object_id, "is_published": false }),
                with(story("c", day(1)), deleted.clone()),
                with(story("d", day(1)), doc! { "section_id": object_id.to_hex().to_uppercase() }),
            ],
        )
        .await;
    database.insert("projects", [with(project("a"), there.clone())]).await;
    database.insert("pages", [with(page("x"), there), with(page("y"), deleted)]).await;
    let site = Site::start(&database).await;
    let (id, other) = (object_id.to_hex(), ObjectId::new().to_hex());
    let (status, answer) =
        site.content.get(&format!("/internal/content/counts?section_ids={id},{other}")).await;
    assert_eq!((status.as_u16(), answer), (200, json!({ id: 5, other: 0 })));
    for ids in ["", "x", "%24gt", "a,b"] {
        let path = format!("/internal/content/counts?section_ids={ids}");
        assert_eq!(site.content.get(&path).await.0, 422, "{ids}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_content_is_reported_and_nothing_is_changed() {
    let database = TestDatabase::new().await;
    let provider = Provider::start();
    let owner = user(&database, "admin", "admin").await;
    user(&database, "ann", "author").await;
    let unreadable_user = user(&database, "bob", "owner").await;
    let gone = section(&database, "gone", doc! { "is_deleted": true }).await;
    let blog = section(&database, "blog", doc! {}).await;
    section(&database, "ab", doc! { "_id": ObjectId::from_bytes([0xab; 12]) }).await;
    let unreadable = section(&database, "odd", doc! { "is_published": "perhaps" }).await;
    let item = |number: u8, slug: &str, fields| {
        let own = doc! {
            "_id": ObjectId::from_bytes([number; 12]), "section_id": &blog, "user_id": &owner,
        };
        with(with(story(slug, day(i64::from(number))), own), fields)
    };
    database
        .insert(
            "stories",
            [
                item(1, "fine", doc! {}),
                item(2, "orphan", doc! { "section_id": "ffffffffffffffffffffffff" }),
                item(3, "in-trash", doc! { "section_id": &gone }),
                item(4, "twin", doc! {}),
                item(5, "twin", doc! { "is_published": false }),
                item(6, "twin", doc! { "deleted": true, "section_id": "x" }),
                item(7, "odd", doc! { "content": [], "date": "soon" }),
                item(8, "strangers", doc! { "user_id": "ffffffffffffffffffffffff" }),
                item(12, "of-unreadable", doc! { "user_id": &unreadable_user }),
                item(10, "mixed-case", doc! { "section_id": "Ab".repeat(12) }),
                item(11, "upper-case", doc! { "section_id": "AB".repeat(12) }),
                item(9, "in-unreadable", doc! { "section_id": &unreadable }),
            ],
        )
        .await;
    database.insert("projects", [with(project("p"), doc! { "section_id": &blog })]).await;
    let site = Site::start_with(&database, &provider.settings()).await;
    let before = all_content(&database).await;
    let url = format!("{}/internal/integrity", site.content.url);
    let admin = [("authorization", "Bearer admin")];
    let (status, _, report) = ask(&url, &admin).await;
    assert_eq!(status, 200, "{report}");
    let found: Vec<_> = report["findings"].as_array().unwrap().iter().collect();
    let ids = |numbers: &[u8]| {
        numbers
            .iter()
            .map(|number| ObjectId::from_bytes([*number; 12]).to_hex())
            .collect::<Vec<_>>()
    };
    for (kind, numbers) in [
        ("unreadable_field", &[7][..]),
        ("missing_section", &[2, 10]),
        ("deleted_section", &[3]),
        ("duplicate_slug", &[4, 5]),
        ("missing_user", &[8]),
    ] {
        let finding = found
            .iter()
            .find(|finding| finding["kind"] == kind && finding["collection"] == "stories")
            .unwrap_or_else(|| panic!("{kind}: {report:#}"));
        let found: HashSet<_> =
            finding["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        let ids = ids(numbers);
        assert_eq!(found, ids.iter().map(String::as_str).collect(), "{kind}");
        assert_eq!(finding["count"], numbers.len());
    }
    let fields = found.iter().find(|finding| finding["kind"] == "unreadable_field").unwrap();
    assert_eq!(fields["reasons"], json!(["date: text that is no date; content: array"]));
    assert_eq!(found.len(), 7, "{report:#}");
    assert_eq!(found[5]["kind"], "wrong_type");
    let users = [&found[6]["kind"], &found[6]["collection"], &found[6]["ids"]];
    assert_eq!(users, [&json!("unreadable_document"), &json!("users"), &json!([unreadable_user])]);
    assert!(found[6]["reasons"][0].as_str().unwrap().contains("role"), "{report:#}");
    let (status, _, repair) =
        send("POST", &format!("{url}/repair?dry_run=false"), &admin, &json!({})).await;
    assert_eq!((status.as_u16(), repair), (200, json!({ "dry_run": false, "repaired": [] })));
    assert_eq!(all_content(&database).await, before);
    assert_eq!(ask(&url, &[]).await.0, 401);
    assert_eq!(ask(&url, &[("authorization", "Bearer ann")]).await.0, 403);
}

#[tokio::test]
async fn the_description_has_every_route_and_nothing_that_is_no_route() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let (status, document) = site.content.get("/internal/openapi.json").await;
    assert_eq!((status.as_u16(), &document["openapi"]), (200, &"3.1.0".into()));
    let bearer = format!("Bearer {TOKEN}");
    let mut operations = HashSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let url = format!("{}{}", site.content.url, path.replace(['{', '}'], ""));
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operations.insert(operation["operationId"].as_str().unwrap()), "{operation}");
            let method = method.to_uppercase();
            let headers = [("authorization", bearer.as_str())];
            let (status, _, answer) = send(&method, &url, &headers, &json!({})).await;
            assert_ne!(answer["code"], "route_not_found", "{method} {path}");
            assert_ne!(status, 405, "{method} {path}");
            let statuses = operation["responses"].as_object().unwrap();
            assert!(statuses.contains_key(status.as_str()), "{method} {path}: {status} {answer}");
            for needed in ["429", "500", "503"] {
                assert!(statuses.contains_key(needed), "{method} {path}: {needed}");
            }
        }
    }
    assert_eq!(operations.len(), 17 * ContentType::ALL.len() + 6 + 9 + 6 + 9 + 2);
    assert_all_references_lead_somewhere(&document, &document);
    insta::assert_json_snapshot!(document["paths"]["/stories/{id}"]["put"]);
}

fn assert_all_references_lead_somewhere(value: &Value, document: &Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if let ("$ref", Value::String(reference)) = (name.as_str(), member) {
                    let pointer = reference.trim_start_matches('#');
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                assert_all_references_lead_somewhere(member, document);
            }
        }
        Value::Array(items) => {
            for item in items {
                assert_all_references_lead_somewhere(item, document);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_operator_without_a_user_writes_for_nobody_and_content_gets_the_admin_later() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let body = json!({ "title": "T", "content": "" });
    let url = format!("{}/stories", site.content.url);
    assert_eq!(send("POST", &url, &[], &body).await.0, 201);
    assert!(!database.one("stories", doc! {}).await.contains_key("user_id"));
    site.stop().await;
    crate::support::migrate_with_admin(&database, "admin@example.org").await;
    let stored = database.one("stories", doc! {}).await;
    let admin = database.one("users", doc! {}).await.get_object_id("_id").unwrap().to_hex();
    assert_eq!(stored.get_str("user_id").unwrap(), admin);
    assert!(stored.get_datetime("createdDate").unwrap() > &DateTime::from_millis(0));
    assert_eq!(stored.get_str("section_id").unwrap(), section_id(&database, "blog").await);
}
