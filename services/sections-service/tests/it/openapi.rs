//! The description of the routes.

use serde_json::Value;
use test_support::TestDatabase;

use crate::support::Api;

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
