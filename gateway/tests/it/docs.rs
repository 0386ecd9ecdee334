//! `/openapi.json`, and `/docs` with everything that it loads.

use std::collections::BTreeSet;

use models::ErrorCode;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::{Setup, TestGateway, assert_problem, nobody};

/// Starts a gateway whose services are down.
async fn alone() -> TestGateway {
    Setup::replicas(vec![nobody().await], vec![nobody().await]).start().await
}

#[tokio::test]
async fn the_description_is_available_while_the_services_are_down() {
    let gateway = alone().await;
    let response = gateway.get("/openapi.json").await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let document: Value = response.json().await.unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/sections",
        "/sections/{id}/restore",
        "/stories/{id}",
        "/pages/type/{page_type}",
        "/content/move",
        "/resolve",
        "/health/ready",
        "/warmup",
        "/openapi.json",
        "/docs",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert!(paths.keys().all(|path| !path.starts_with("/internal")));
}

#[tokio::test]
async fn the_description_has_a_strong_tag_and_a_head() {
    let gateway = alone().await;
    for path in ["/openapi.json", "/docs", "/docs/swagger-ui.css"] {
        let whole = gateway.get(path).await;
        let tag = whole.headers()["etag"].clone();
        assert!(tag.as_bytes().starts_with(b"\""), "{path}: {tag:?}");
        let length = whole.headers()["content-length"].clone();
        assert!(!whole.bytes().await.unwrap().is_empty());

        let known = gateway.client.get(gateway.url(path)).header("if-none-match", &tag);
        let unchanged = known.send().await.unwrap();
        assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED, "{path}");
        assert!(unchanged.bytes().await.unwrap().is_empty());

        let head = gateway.client.head(gateway.url(path)).send().await.unwrap();
        assert_eq!((head.status(), &head.headers()["etag"]), (StatusCode::OK, &tag), "{path}");
        assert_eq!(head.headers()["content-length"], length);
        assert!(head.bytes().await.unwrap().is_empty());
    }
}

/// Returns the addresses in the attributes `href` and `src` of a page.
fn addresses(page: &str) -> BTreeSet<&str> {
    let after = |attribute| page.split(attribute).skip(1);
    let values = after("href=\"").chain(after("src=\""));
    values.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn the_page_loads_files_of_the_gateway_only() {
    let gateway = alone().await;
    let response = gateway.get("/docs").await;
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!policy.contains("http") && !policy.contains('*'), "{policy}");
    let page = response.text().await.unwrap();
    // A script in the page itself would not run.
    assert!(!page.contains("<script>"));
    let addresses = addresses(&page);
    assert_eq!(addresses.len(), 6, "{addresses:?}");
    let base = url::Url::parse(&gateway.url("/docs")).unwrap();
    for address in addresses {
        let url = base.join(address).unwrap();
        assert_eq!(url.origin(), base.origin(), "{address}");
        let file = gateway.client.get(url).send().await.unwrap();
        assert_eq!(file.status(), StatusCode::OK, "{address}");
        assert_eq!(file.headers()["x-content-type-options"], "nosniff");
        let kind = file.headers()["content-type"].to_str().unwrap().to_owned();
        let expected = match address.rsplit_once('.').map(|(_, ending)| ending) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("png") => "image/png",
            Some("json") => "application/json",
            _ => "text/plain; charset=utf-8",
        };
        assert_eq!(kind, expected, "{address}");
        assert!(file.bytes().await.unwrap().len() > 100, "{address}");
    }
}

#[tokio::test]
async fn the_address_of_the_gateway_shows_a_page_that_leads_on() {
    let gateway = alone().await;
    let response = gateway.get("/").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    let page = response.text().await.unwrap();
    let addresses = addresses(&page);
    for address in ["docs", "openapi.json", "sections", "health/ready"] {
        assert!(addresses.contains(&address), "{address}: {addresses:?}");
    }
    let base = url::Url::parse(&gateway.url("/")).unwrap();
    // The services are down, and with them what they answer.
    for address in addresses.iter().filter(|one| !["sections", "health/ready"].contains(*one)) {
        let answer = gateway.client.get(base.join(address).unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{address}");
    }
    for address in ["sections", "health/ready"] {
        let answer = gateway.client.get(base.join(address).unwrap()).send().await.unwrap();
        assert_ne!(answer.status(), StatusCode::NOT_FOUND, "{address}");
    }
}

#[tokio::test]
async fn a_slash_at_the_end_leads_to_the_page() {
    let gateway = alone().await;
    let answer = gateway.send("GET /docs/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!((answer.head.status(), answer.head.get("location")), (307, Some("../docs")));
}

#[tokio::test]
async fn a_missing_file_has_the_one_error_shape() {
    let gateway = alone().await;
    for (method, path, code) in [
        (Method::GET, "/docs/index.html", ErrorCode::RouteNotFound),
        (Method::POST, "/docs", ErrorCode::MethodNotAllowed),
        (Method::DELETE, "/openapi.json", ErrorCode::MethodNotAllowed),
        (Method::GET, "/openapi.json?version=2", ErrorCode::ValidationFailed),
    ] {
        let response = gateway.client.request(method, gateway.url(path)).send().await.unwrap();
        let status = response.status().as_u16();
        assert_problem(status, &response.bytes().await.unwrap(), code);
    }
}
