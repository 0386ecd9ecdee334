//! `turbulence openapi`, and the file that the gateway answers.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Folder, Site};

/// What the gateway answers at `/openapi.json`.
const COMMITTED: &str = include_str!("../../../../docs/openapi.json");

fn document() -> Value {
    serde_json::from_str(COMMITTED).unwrap()
}

#[tokio::test]
async fn the_committed_document_is_what_the_code_says() {
    let ended = Folder::new().run(&["openapi"]).await;
    let is_the_same = ended.success() == COMMITTED;
    assert!(is_the_same, "docs/openapi.json is not what the code says: run `just openapi`");
}

#[test]
fn every_reference_leads_somewhere_and_nothing_is_left_over() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let references: BTreeSet<_> = COMMITTED
        .split("\"$ref\": \"#")
        .skip(1)
        .map(|reference| reference.split('"').next().unwrap())
        .collect();
    assert!(references.len() > 30);
    for pointer in &references {
        assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let pointer = format!("/components/{kind}/{name}");
            assert!(references.contains(pointer.as_str()), "{pointer} is used nowhere");
        }
    }
}

#[test]
fn what_services_describe_under_one_name_is_one_thing() {
    let [sections, content] = [sections_service::openapi(), content_service::openapi()]
        .map(|document| document.components.unwrap().schemas);
    let both: Vec<_> = sections.keys().filter(|name| content.contains_key(*name)).collect();
    assert!(both.len() > 5);
    for name in both {
        assert!(sections[name] == content[name], "two schemas are called {name}");
    }
}

#[tokio::test]
async fn every_operation_is_answered_with_a_status_that_is_described() {
    let site = Site::new().await;
    let turbulence = site.up(&["--demo"]);
    let summary = turbulence.ready().await;
    let client = service_kit::http::client(std::time::Duration::from_secs(30)).unwrap();
    let mut operations = BTreeSet::new();
    for (path, methods) in document()["paths"].as_object().unwrap() {
        assert!(!path.starts_with("/internal"), "{path}");
        let url = format!("{}{}", summary.address, path.replace(['{', '}'], ""));
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(operations.insert(id.to_owned()), "{id} is there twice");
            let method = method.to_uppercase().parse().unwrap();
            let request = client.request(method, &url).bearer_auth(&summary.token);
            let response = request.json(&serde_json::json!({})).send().await.unwrap();
            let status = response.status().as_u16();
            let body: Value = response.json().await.unwrap_or_default();
            let statuses = operation["responses"].as_object().unwrap();
            assert!(statuses.contains_key(&status.to_string()), "{id}: {status} {body}");
            assert_ne!(body["code"], "route_not_found", "{id}");
        }
    }
    assert!(operations.len() > 40, "{operations:?}");
    turbulence.stop().await;
}
