//! The treatment of requests that is the same for every route of both services.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use test_support::{Service, TOKEN, TestDatabase};

const BURST: u32 = 3;

/// Starts both services, which allow one request a second after a burst. Returns a route of each.
async fn limited(database: &TestDatabase) -> [(Service, &'static str); 2] {
    let limits = [("rate_limit.requests_per_second", "1"), ("rate_limit.burst", "3")];
    let (sections, content) = Service::both_with(database, &limits).await;
    [(sections, "/sections"), (content, "/stories")]
}

async fn ask(url: &str, headers: &[(&str, &str)]) -> Response {
    let client = service_kit::web::http_client::service_client(Duration::from_secs(30)).unwrap();
    let request = headers
        .iter()
        .fold(client.get(url), |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap()
}

/// Sends requests until one is refused. Returns the number of admitted ones, and the refusal.
async fn until_refused(
    url: &str,
    headers: impl Fn(u32) -> Vec<(&'static str, String)>,
) -> (u32, Response) {
    for admitted in 0..250 {
        let headers = headers(admitted);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let response = ask(url, &headers).await;
        if response.status() == 429 {
            return (admitted, response);
        }
        assert_eq!(response.status(), 200);
    }
    panic!("{url} has no limit");
}

#[tokio::test]
async fn a_client_of_the_gateway_has_its_share_and_others_have_theirs() {
    let database = TestDatabase::new().await;
    for (service, path) in limited(&database).await {
        let url = format!("{}{path}", service.url);
        let client = |_| vec![("x-forwarded-for", "192.0.2.1".to_owned())];
        let (admitted, response) = until_refused(&url, client).await;
        assert!(admitted >= BURST, "{admitted}");
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["content-type"], "application/json");
        assert!(response.headers().contains_key("x-request-id"));
        let mut body: Value = response.json().await.unwrap();
        let trace_id = body["trace_id"].take();
        assert_eq!(trace_id.as_str().unwrap().len(), 32);
        assert_eq!(
            body,
            json!({
                "type": "urn:turbulence:error:too_many_requests", "title": "Too many requests",
                "status": 429, "detail": "Too many requests. Try again in 1 s.",
                "code": "too_many_requests", "trace_id": null,
            })
        );
        assert_eq!(ask(&url, &[("x-forwarded-for", "192.0.2.2")]).await.status(), 200);
        for unlimited in ["/health/live", "/health/ready", "/warmup", "/internal/migrations"] {
            for _ in 0..BURST * 2 {
                let url = format!("{}{unlimited}", service.url);
                assert_eq!(ask(&url, &[("x-forwarded-for", "192.0.2.1")]).await.status(), 200);
            }
        }
    }
}

#[tokio::test]
async fn a_token_has_its_share_wherever_it_comes_from() {
    let database = TestDatabase::new().await;
    for (service, path) in limited(&database).await {
        let url = format!("{}{path}", service.url);
        let moving = |n: u32| {
            let address = format!("192.0.2.{n}");
            vec![("x-forwarded-for", address), ("authorization", format!("Bearer {TOKEN}"))]
        };
        let (admitted, refused) = until_refused(&url, moving).await;
        assert!(admitted >= BURST, "{admitted}");
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], "too_many_requests");
        let without = ask(&url, &[("x-forwarded-for", &format!("192.0.2.{admitted}"))]).await;
        assert_eq!(without.status(), 200);
    }
}

#[tokio::test]
async fn what_one_service_asks_another_for_all_its_callers_has_no_limit() {
    let database = TestDatabase::new().await;
    let [(_sections, _), (content, _)] = limited(&database).await;
    // Each path is one that sections-service is asked for.
    for n in 0..BURST * 4 {
        let url = format!("{}/resolve?path=/no-such-{n}", content.url);
        let response = ask(&url, &[("x-forwarded-for", &format!("192.0.2.{n}"))]).await;
        assert_eq!(response.status(), 404);
    }
}

#[tokio::test]
async fn internal_routes_need_the_secret_that_the_processes_share() {
    const SECRET: &str = "a secret of the tests";
    let database = TestDatabase::new().await;
    let (sections, content) = Service::both_with(&database, &[("internal.secret", SECRET)]).await;
    for (service, path) in [
        (&sections, "/internal/sections"),
        (&sections, "/internal/migrations"),
        (&sections, "/%69nternal/sections"),
        (&content, "/internal/users?email=x"),
        (&content, "/internal/migrations"),
        (&content, "/internal/openapi.json"),
    ] {
        let url = format!("{}{path}", service.url);
        for headers in [&[][..], &[("x-internal-secret", "another secret, as long")]] {
            let refused = ask(&url, headers).await;
            assert_eq!(refused.status(), 403, "{path}");
            let body: Value = refused.json().await.unwrap();
            assert!(body["detail"].as_str().unwrap().contains("internal.secret"), "{body}");
        }
        let status = ask(&url, &[("x-internal-secret", SECRET)]).await.status();
        assert!(status == 200 || status == 404, "{path}: {status}");
    }
    // content-service calls sections-service, and the other way round.
    let resolve = format!("{}/resolve?path=/blog", content.url);
    let resolved: Value = ask(&resolve, &[]).await.json().await.unwrap();
    let section =
        format!("{}/sections/{}", sections.url, resolved["section"]["id"].as_str().unwrap());
    let client = service_kit::web::http_client::service_client(Duration::from_secs(30)).unwrap();
    let deleted = client.delete(&section).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
}

#[tokio::test]
async fn every_answer_of_a_service_says_that_it_is_no_page() {
    let database = TestDatabase::new().await;
    let (sections, content) = Service::both(&database).await;
    for (service, path) in [(&sections, "/sections"), (&content, "/stories")] {
        for path in [path, "/unknown", "/health/live", "/internal/integrity"] {
            let response = ask(&format!("{}{path}", service.url), &[]).await;
            let header = |name: &str| response.headers()[name].to_str().unwrap();
            assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
            let policy = header("content-security-policy");
            assert_eq!(policy, "default-src 'none'; frame-ancestors 'none'", "{path}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_or_too_deep_is_refused_by_both_services() {
    let database = TestDatabase::new().await;
    let (sections, content) =
        Service::both_with(&database, &[("server.max_body_bytes", "900")]).await;
    let large = format!(r#"{{"title":"{}"}}"#, "x".repeat(900));
    let deep = format!(r#"{{"title":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for (service, path) in [(&sections, "/sections"), (&content, "/stories")] {
        for (body, status, code) in
            [(&large, 413, "payload_too_large"), (&deep, 400, "malformed_json")]
        {
            let client =
                service_kit::web::http_client::service_client(Duration::from_secs(30)).unwrap();
            let request = client.request(Method::POST, format!("{}{path}", service.url));
            let request = request.bearer_auth(TOKEN).header("content-type", "application/json");
            let response = request.body(body.clone()).send().await.unwrap();
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.json::<Value>().await.unwrap()["code"], code, "{path}");
        }
    }
}
