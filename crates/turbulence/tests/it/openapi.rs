//! `turbulence openapi`, and the document that the gateway serves.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Folder, Site};

/// Returns the document that the gateway serves at `/openapi.json`.
const COMMITTED: &str = include_str!("../../../../docs/openapi.json");

fn document() -> Value {
    serde_json::from_str(COMMITTED).unwrap()
}

#[tokio::test]
async fn the_committed_document_is_what_the_code_says() {
    let ended = Folder::new().run(&["openapi"]).await;
    let is_the_same = ended.success() == COMMITTED;
    assert!(is_the_same, "docs/openapi.json differs from the code: run `just openapi`");
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
    let [sections, content, media] =
        [sections_service::openapi(), content_service::openapi(), media_service::openapi()]
            .map(|document| document.components.unwrap().schemas);
    for (one, other, least) in
        [(&sections, &content, 6), (&sections, &media, 3), (&content, &media, 4)]
    {
        let both: Vec<_> = one.keys().filter(|name| other.contains_key(*name)).collect();
        assert!(both.len() >= least, "{both:?}");
        for name in both {
            assert!(one[name] == other[name], "two schemas are called {name}");
        }
    }
}

#[tokio::test]
async fn every_operation_is_answered_with_a_status_that_is_described() {
    let site = Site::new().await;
    let turbulence = site.up(&["--demo"]);
    let summary = turbulence.ready().await;
    let client =
        service_kit::web::http_client::service_client(std::time::Duration::from_secs(30)).unwrap();
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

#[test]
fn every_operation_says_what_it_does_and_who_may_ask() {
    let document = document();
    assert_eq!(document["servers"][0]["url"], "/");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for member in ["summary", "description"] {
                let text = operation[member].as_str().unwrap_or_default();
                assert!(text.ends_with('.'), "{method} {path}: {member} {text:?}");
            }
            let security = operation["security"].as_array();
            let security = security.unwrap_or_else(|| panic!("{method} {path}: no security"));
            let bearer = || serde_json::json!({ "bearer": [] });
            let is_answered_401 = operation["responses"].get("401").is_some();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let has_drafts = |parameter: &Value| parameter["name"] == "include_drafts";
            let expected = match (is_answered_401, parameters.clone().any(has_drafts)) {
                (false, false) => vec![],
                (true, true) => vec![serde_json::json!({}), bearer()],
                (true, false) => vec![bearer()],
                (false, true) => panic!("{method} {path}: drafts for everybody"),
            };
            assert_eq!(*security, expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_examples_of_bodies_work_and_what_they_make_is_in_a_section() {
    let site = Site::new().await;
    let turbulence = site.up(&["--demo"]);
    let summary = turbulence.ready().await;
    let client =
        service_kit::web::http_client::service_client(std::time::Duration::from_secs(30)).unwrap();
    let document = document();
    let send = async |method: &str, path: &str, schema: &str| {
        let body = &document["components"]["schemas"][schema]["examples"][0];
        assert!(body.is_object(), "{schema} has no example");
        let url = format!("{}{path}", summary.address);
        let request = client.request(method.parse().unwrap(), url).bearer_auth(&summary.token);
        let response = request.json(body).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.unwrap())
    };
    for (kind, name, section) in [
        ("stories", "Story", "blog"),
        ("projects", "Project", "projects"),
        ("pages", "Page", "about"),
        ("sections", "Section", ""),
    ] {
        let (status, made) = send("POST", &format!("/{kind}"), &format!("{name}Create")).await;
        assert_eq!(status, 201, "{made}");
        if kind != "sections" {
            let (_, section) = summary.get(&format!("/sections/slug/{section}")).await;
            assert_eq!(made["section_id"], section["id"], "{made}");
            assert_eq!(made["is_published"], true);
        }
        let path = format!("/{kind}/{}", made["id"].as_str().unwrap());
        for (method, body) in [("PUT", "Replace"), ("PATCH", "Patch")] {
            let (status, changed) = send(method, &path, &format!("{name}{body}")).await;
            assert_eq!(status, 200, "{method} {changed}");
            assert_eq!(changed["section_id"], made["section_id"]);
        }
    }
    turbulence.stop().await;
}
