//! Cross-origin requests: the settings decide alone.

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
        assert_eq!(names(answer.head.get("access-control-allow-headers")).len(), 12);
        assert!(answer.head.get("vary").unwrap().contains("Origin"));
    }
    assert!(upstream.heads().is_empty(), "a preflight is no business of the services");
}

#[tokio::test]
async fn headers_of_tracing_and_caching_clients_are_allowed_and_so_is_an_empty_list() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = allowing(&upstream, SITE).await;
    for headers in [
        "accept",
        "baggage",
        "cache-control",
        "sentry-trace",
        "traceparent",
        "tracestate",
        "Accept, Authorization,Baggage, cache-control,content-type,sentry-trace,traceparent",
        "",
        " ",
        ",",
        "traceparent,,  ,tracestate,",
    ] {
        let answer = gateway.send(preflight(SITE, "GET", headers)).await;
        assert_eq!(answer.head.status(), 200, "{headers:?}");
        assert_eq!(answer.head.get("access-control-allow-origin"), Some(SITE), "{headers:?}");
    }
    let without = format!(
        "OPTIONS /stories HTTP/1.1\r\nhost: h\r\norigin: {SITE}\r\n\
         access-control-request-method: GET\r\n\r\n"
    );
    assert_eq!(gateway.send(without).await.head.status(), 200);
    assert!(upstream.heads().is_empty());
}

#[tokio::test]
async fn a_refusal_names_the_setting_that_would_allow_the_request() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = allowing(&upstream, SITE).await;
    for (request, words) in [
        (
            preflight("https://evil.example", "GET", "authorization"),
            ["https://evil.example", "`cors.allowed_origins`"],
        ),
        (
            preflight("https://site.example.evil.example", "GET", ""),
            ["https://site.example.evil.example", "`cors.allowed_origins`"],
        ),
        (
            preflight("http://site.example", "GET", "authorization"),
            ["http://site.example may", "`cors.allowed_origins`"],
        ),
        (preflight(SITE, "TRACE", "authorization"), ["GET, POST, PUT", "DELETE"]),
        (
            preflight(SITE, "GET", "accept, x-other,,X-More"),
            ["`x-other`, `X-More`", "`cors.allowed_headers`"],
        ),
    ] {
        let answer = gateway.send(&request).await;
        let problem = assert_problem(answer.head.status(), &answer.body, ErrorCode::Forbidden);
        for word in words {
            assert!(problem.detail.contains(word), "{}", problem.detail);
        }
        assert_eq!(answer.head.get("access-control-allow-origin"), None, "{request}");
    }
    let malformed = gateway.send(preflight(SITE, "GET", "a b")).await;
    assert_problem(malformed.head.status(), &malformed.body, ErrorCode::BadRequest);
    assert!(upstream.heads().is_empty());
}

#[tokio::test]
async fn the_setting_decides_which_headers_scripts_may_set() {
    let upstream = Upstream::answering(ok("")).await;
    for (setting, headers, status) in [
        ("x-one, X-Two", "x-two,X-ONE", 200),
        ("x-one, X-Two", "traceparent", 403),
        ("*", "anything,x-at-all", 200),
    ] {
        let mut setup = Setup::new(&upstream, &upstream);
        (setup.allowed_origins, setup.allowed_headers) = (SITE, setting);
        let gateway = setup.start().await;
        let answer = gateway.send(preflight(SITE, "PUT", headers)).await;
        assert_eq!(answer.head.status(), status, "{setting}: {headers}");
    }
}

#[tokio::test]
async fn responses_have_each_cors_header_once() {
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
            ["content-location", "etag", "location", "retry-after", "x-request-id"]
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
async fn without_the_setting_the_response_to_a_preflight_names_it_and_nothing_else_changes() {
    let upstream = Upstream::answering(ok("hi")).await;
    let gateway = allowing(&upstream, "").await;
    let request = format!("GET /stories HTTP/1.1\r\nhost: h\r\norigin: {SITE}\r\n\r\n");
    let answer = gateway.send(request).await;
    assert_eq!((answer.head.status(), answer.body.as_slice()), (200, &b"hi"[..]));
    for name in ["access-control-allow-origin", "access-control-expose-headers", "vary"] {
        assert_eq!(answer.head.get(name), None);
    }
    for (origin, example) in
        [(SITE, SITE), ("null", "https://site.example"), ("<b>", "https://site.example")]
    {
        for path in ["/stories/1", "/health", "/unknown"] {
            let request = preflight(origin, "GET", "authorization").replace("/stories/1", path);
            let answer = gateway.send(request).await;
            let problem = assert_problem(answer.head.status(), &answer.body, ErrorCode::Forbidden);
            let variable = format!("TURBULENCE__CORS__ALLOWED_ORIGINS={example}.");
            assert!(problem.detail.contains("`cors.allowed_origins`"), "{}", problem.detail);
            assert!(problem.detail.ends_with(&variable), "{}", problem.detail);
            assert_eq!(answer.head.get("access-control-allow-origin"), None);
        }
    }
    let options = "OPTIONS /stories HTTP/1.1\r\nhost: h\r\n\r\n";
    assert_eq!(gateway.send(options).await.head.status(), 200);
    assert_eq!(upstream.heads().len(), 2, "OPTIONS without an origin is an ordinary method");
}

#[tokio::test]
async fn a_wrong_origin_ends_the_start_with_its_key() {
    let upstream = Upstream::answering(ok("")).await;
    let mut setup = Setup::new(&upstream, &upstream);
    setup.allowed_origins = "https://site.example/";
    let error = Gateway::bind(&setup.settings()).await.unwrap_err();
    assert!(error.to_string().contains("`cors.allowed_origins`"), "{error}");
}

#[tokio::test]
async fn a_wrong_header_ends_the_start_with_its_key() {
    let upstream = Upstream::answering(ok("")).await;
    let mut setup = Setup::new(&upstream, &upstream);
    setup.allowed_headers = "x-one,x two";
    let error = Gateway::bind(&setup.settings()).await.unwrap_err().to_string();
    assert!(error.contains("`cors.allowed_headers`") && error.contains("x two"), "{error}");
}
