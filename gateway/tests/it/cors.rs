//! Browsers: who may call is decided by the settings alone.

use gateway::Gateway;
use models::ErrorCode;

use crate::support::{Setup, TestGateway, Upstream, assert_problem, ok};

const SITE: &str = "https://site.example";

async fn allowing(upstream: &Upstream, allowed_origins: &'static str) -> TestGateway {
    let mut setup = Setup::new(upstream, upstream);
    setup.allowed_origins = allowed_origins;
    setup.start().await
}

fn preflight(origin: &str, method: &str, headers: &str) -> String {
    format!(
        "OPTIONS /stories/1 HTTP/1.1\r\nhost: h\r\norigin: {origin}\r\n\
         access-control-request-method: {method}\r\n\
         access-control-request-headers: {headers}\r\n\r\n"
    )
}

fn names(list: Option<&str>) -> Vec<String> {
    let mut names: Vec<_> =
        list.unwrap().split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_allowed_origin_gets_its_permission_from_the_gateway() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = allowing(&upstream, "https://other.example,https://site.example").await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] {
        let headers =
            "authorization,content-type,if-match,if-none-match,idempotency-key,x-request-id";
        let answer = gateway.send(preflight(SITE, method, headers)).await;
        assert_eq!(answer.head.status(), 200, "{method}");
        assert_eq!(answer.head.get("access-control-allow-origin"), Some(SITE));
        assert_eq!(answer.head.get("access-control-max-age"), Some("3600"));
        assert_eq!(
            names(answer.head.get("access-control-allow-methods")),
            ["delete", "get", "head", "options", "patch", "post", "put"]
        );
        assert_eq!(names(answer.head.get("access-control-allow-headers")).len(), 6);
        assert!(answer.head.get("vary").unwrap().contains("Origin"));
    }
    assert!(upstream.heads().is_empty(), "a preflight is no business of the services");
}

#[tokio::test]
async fn other_origins_methods_and_headers_are_refused_in_the_one_error_shape() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = allowing(&upstream, SITE).await;
    for request in [
        preflight("https://evil.example", "GET", "authorization"),
        preflight("https://site.example.evil.example", "GET", "authorization"),
        preflight("http://site.example", "GET", "authorization"),
        preflight(SITE, "TRACE", "authorization"),
        preflight(SITE, "GET", "x-other"),
    ] {
        let answer = gateway.send(&request).await;
        assert_problem(answer.head.status(), &answer.body, ErrorCode::BadRequest);
        assert_eq!(answer.head.get("access-control-allow-origin"), None, "{request}");
    }
    assert!(upstream.heads().is_empty());
}

#[tokio::test]
async fn answers_say_once_who_may_read_them() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\naccess-control-allow-origin: *\r\n\
         access-control-allow-credentials: true\r\nvary: accept-encoding\r\n\
         vary: authorization\r\n\r\nhi",
    )
    .await;
    let gateway = allowing(&upstream, SITE).await;
    for (path, status) in [("/stories", 200), ("/unknown", 404), ("/x/../y", 400), ("/health", 200)]
    {
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\norigin: {SITE}\r\n\r\n");
        let answer = gateway.send(request).await;
        assert_eq!(answer.head.status(), status, "{path}");
        assert_eq!(answer.head.get("access-control-allow-origin"), Some(SITE), "{path}");
        assert_eq!(answer.head.get("access-control-allow-credentials"), None);
        assert_eq!(
            names(answer.head.get("access-control-expose-headers")),
            ["etag", "location", "retry-after", "x-request-id"]
        );
        assert!(answer.head.get("vary").unwrap().contains("Origin"));
    }
    let request = format!("GET /stories HTTP/1.1\r\nhost: h\r\norigin: {SITE}\r\n\r\n");
    let vary = gateway.send(request).await.head.get("vary").unwrap().to_owned();
    assert!(vary.starts_with("accept-encoding, authorization, Origin"), "{vary}");
}

#[tokio::test]
async fn another_origin_is_answered_but_may_not_read_it() {
    let upstream = Upstream::answering(ok("hi")).await;
    let gateway = allowing(&upstream, SITE).await;
    let request = "GET /stories HTTP/1.1\r\nhost: h\r\norigin: https://evil.example\r\n\r\n";
    let answer = gateway.send(request).await;
    assert_eq!((answer.head.status(), answer.body.as_slice()), (200, &b"hi"[..]));
    assert_eq!(answer.head.get("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_star_allows_every_origin() {
    let upstream = Upstream::answering(ok("hi")).await;
    let gateway = allowing(&upstream, "*").await;
    let answer = gateway.send(preflight("https://any.example", "PUT", "if-match")).await;
    assert_eq!(answer.head.status(), 200);
    assert_eq!(answer.head.get("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn without_the_setting_there_is_no_cors_at_all() {
    let upstream = Upstream::answering(ok("hi")).await;
    let gateway = allowing(&upstream, "").await;
    let request = format!("GET /stories HTTP/1.1\r\nhost: h\r\norigin: {SITE}\r\n\r\n");
    for request in [request, preflight(SITE, "GET", "authorization")] {
        let answer = gateway.send(request).await;
        for name in ["access-control-allow-origin", "access-control-expose-headers", "vary"] {
            assert_eq!(answer.head.get(name), None);
        }
    }
    assert_eq!(upstream.heads().len(), 2, "OPTIONS is an ordinary method then");
}

#[tokio::test]
async fn a_wrong_origin_ends_the_start_with_its_key() {
    let upstream = Upstream::answering(ok("")).await;
    let mut setup = Setup::new(&upstream, &upstream);
    setup.allowed_origins = "https://site.example/";
    let error = Gateway::bind(&setup.settings()).await.unwrap_err();
    assert!(error.to_string().contains("`cors.allowed_origins`"), "{error}");
}
