//! The description of the routes, and that no route of it gives away what is hidden.

use serde_json::Value;
use test_support::TestDatabase;

use crate::support::{Api, id, stored};

async fn document(api: &Api) -> Value {
    let answer = api.get("/internal/openapi.json").await;
    assert_eq!(answer.status, 200);
    answer.body
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let database = TestDatabase::new().await;
    let api = Api::with(&database, &[]).await;
    let document = document(&api).await;
    assert_eq!(document["openapi"], "3.1.0");
    let text = document.to_string();
    let references: Vec<_> = text.split("\"$ref\":\"#").skip(1).collect();
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
    for status in ["400", "401", "403", "404", "409", "412", "413", "415", "422", "428", "503"] {
        let response = &document["paths"]["/sections/{id}"]["patch"]["responses"][status];
        assert!(response["content"]["application/json"].is_object(), "{status}");
    }
}

#[tokio::test]
async fn every_method_of_every_path_is_there() {
    let database = TestDatabase::new().await;
    let api = Api::with(&database, &[]).await.sent_by(None);
    for (path, methods) in document(&api).await["paths"].as_object().unwrap() {
        let address = path.replace("{id}", "0").replace("{slug}", "blog");
        for method in methods.as_object().unwrap().keys() {
            let answer = api.send(&method.to_uppercase(), &address, &[], None).await;
            let code = answer.body["code"].as_str().unwrap_or_default();
            assert!(
                !["route_not_found", "method_not_allowed"].contains(&code),
                "{method} {path}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn no_route_gives_away_what_is_hidden() {
    let database = TestDatabase::new().await;
    let draft = stored("hidden-draft", None, false);
    let below_draft = stored("hidden-below-draft", Some(id(&draft)), true);
    let mut deleted = stored("hidden-deleted", None, true);
    deleted.insert("is_deleted", true);
    let below_deleted = stored("hidden-below-deleted", Some(id(&deleted)), true);
    let hidden = [draft, below_draft, deleted, below_deleted];
    let things: Vec<_> = hidden
        .iter()
        .map(|section| (id(section).to_hex(), section.get_str("slug").unwrap().to_owned()))
        .collect();
    database.insert("sections", [stored("shown", None, true)]).await;
    database.insert("sections", hidden).await;
    let api = Api::with(&database, &[]).await.sent_by(None);
    let document = document(&api).await;
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        // For the other services, which have to know of everything.
        if methods.get("get").is_none() || path == "/internal/sections" {
            continue;
        }
        for (id, slug) in &things {
            let address = path.replace("{id}", id).replace("{slug}", slug);
            let addresses = if path == "/internal/resolve" {
                vec![
                    format!("{address}?path=/{slug}"),
                    format!("{address}?path=/hidden-draft/{slug}"),
                    format!("{address}?path=/hidden-deleted/{slug}"),
                ]
            } else {
                vec![address.clone(), format!("{address}?include_drafts=true")]
            };
            for address in addresses {
                let answer = api.get(&address).await;
                let body = answer.body.to_string().to_lowercase();
                assert!(!body.contains("hidden"), "{address}: {body}");
                asked += 1;
            }
        }
    }
    assert!(asked > 40);
    for parent in things.iter().map(|(id, _)| id) {
        let answer = api.get(&format!("/sections?parent_id={parent}")).await;
        assert_eq!(answer.body, serde_json::json!([]));
    }
}
