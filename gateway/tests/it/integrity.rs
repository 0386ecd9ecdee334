//! The report of both services.

use models::ErrorCode;
use serde_json::{Value, json};

use crate::support::{Exchange, Setup, TestGateway, Upstream, assert_problem, nobody, ok};

const ASK: &str = "GET /integrity HTTP/1.1\r\nhost: h\r\nauthorization: Bearer t\r\n\
                   x-request-id: abc\r\nif-none-match: *\r\nrange: bytes=0-1\r\n\
                   x-forwarded-for: 192.0.2.1\r\n\r\n";

async fn finding(kind: &str) -> Upstream {
    Upstream::answering(ok(&json!({ "findings": [{ "kind": kind }] }).to_string())).await
}

#[tokio::test]
async fn the_reports_of_both_services_are_joined() {
    let (sections, content) = (finding("cycle").await, finding("of_a_newer_service").await);
    let gateway = Setup::new(&sections, &content).start().await;
    let answer = gateway.send(ASK).await;
    assert_eq!(answer.head.status(), 200);
    assert_eq!(answer.head.get("content-type"), Some("application/json"));
    let report: Value = serde_json::from_slice(&answer.body).unwrap();
    let kinds = json!({ "findings": [{ "kind": "cycle" }, { "kind": "of_a_newer_service" }] });
    assert_eq!(report, kinds);
    for upstream in [&sections, &content] {
        let head = upstream.only_head();
        assert_eq!(head.first_line, "GET /internal/integrity HTTP/1.1");
        assert_eq!(head.get("authorization"), Some("Bearer t"));
        assert_eq!(head.get("x-request-id"), Some("abc"));
        assert_eq!(head.get("x-forwarded-for"), Some("127.0.0.1"));
        assert!(head.get("traceparent").is_some());
        assert_eq!((head.get("if-none-match"), head.get("range")), (None, None));
    }
}

#[tokio::test]
async fn the_secret_of_the_installation_is_sent_to_internal_routes_only() {
    const SECRET: &str = "a secret of the tests";
    let upstream = finding("cycle").await;
    let mut setup = Setup::new(&upstream, &upstream);
    setup.others.push(("internal.secret", SECRET.to_owned()));
    let gateway = setup.start().await;
    assert_eq!(gateway.send(ASK).await.head.status(), 200);
    assert_eq!(gateway.send("GET /stories HTTP/1.1\r\nhost: h\r\n\r\n").await.head.status(), 200);
    for head in upstream.heads() {
        let is_internal = head.first_line.starts_with("GET /internal/");
        assert_eq!(head.get("x-internal-secret"), is_internal.then_some(SECRET));
    }
}

#[tokio::test]
async fn the_body_of_a_get_is_not_forwarded_and_a_head_has_no_body() {
    let upstream = finding("cycle").await;
    let gateway = TestGateway::before(&upstream).await;
    let with_body = ASK.replace("\r\n\r\n", "\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(gateway.send(with_body).await.head.status(), 200);
    let head = upstream.heads().pop().unwrap();
    assert_eq!((head.get("content-length"), head.get("transfer-encoding")), (None, None));
    let answer = gateway.client.head(gateway.url("/integrity")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), "");
}

#[tokio::test]
async fn a_service_that_is_down_is_named_instead_of_half_a_report() {
    let there = finding("cycle").await;
    let away = nobody().await;
    for (setup, name) in [
        (Setup::replicas(vec![away], vec![there.address]), "sections-service"),
        (Setup::replicas(vec![there.address], vec![away]), "content-service"),
    ] {
        let answer = setup.start().await.send(ASK).await;
        let code = ErrorCode::UpstreamUnavailable;
        let problem = assert_problem(answer.head.status(), &answer.body, code);
        assert!(problem.detail.starts_with(name), "{}", problem.detail);
        assert_eq!(answer.head.get("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn another_replica_answers_if_one_is_down() {
    let (gone, there) = (nobody().await, finding("cycle").await);
    let replicas = vec![gone, there.address];
    let gateway = Setup::replicas(replicas.clone(), replicas).start().await;
    for _ in 0..4 {
        assert_eq!(gateway.send(ASK).await.head.status(), 200);
    }
}

#[tokio::test]
async fn a_refusal_of_a_service_is_returned_unchanged() {
    let body = r#"{"detail":"Authorization header is missing."}"#;
    let refusal = format!(
        "HTTP/1.1 401 X\r\nwww-authenticate: Bearer\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (there, refusing) = (finding("cycle").await, Upstream::answering(refusal).await);
    for setup in [Setup::new(&there, &refusing), Setup::new(&refusing, &there)] {
        let answer = setup.start().await.send("GET /integrity HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(answer.head.status(), 401);
        assert_eq!(answer.head.get("www-authenticate"), Some("Bearer"));
        assert_eq!(answer.body, body.as_bytes());
    }
}

#[tokio::test]
async fn a_truncated_or_invalid_report_is_a_502() {
    for answer in [ok("{}"), ok("nonsense"), ok("[]")] {
        let upstream = Upstream::answering(answer).await;
        let answer = TestGateway::before(&upstream).await.send(ASK).await;
        assert_problem(answer.head.status(), &answer.body, ErrorCode::UpstreamBroken);
    }
    let upstream = Upstream::start(async |mut exchange: Exchange| {
        exchange.connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{").await;
        None
    })
    .await;
    let answer = TestGateway::before(&upstream).await.send(ASK).await;
    assert_problem(answer.head.status(), &answer.body, ErrorCode::UpstreamBroken);
}

#[tokio::test]
async fn the_route_has_get_only_and_no_parameters() {
    let upstream = finding("cycle").await;
    let gateway = TestGateway::before(&upstream).await;
    for (request, code) in [
        ("POST /integrity", ErrorCode::MethodNotAllowed),
        ("POST /integrity/", ErrorCode::MethodNotAllowed),
        ("GET /integrity?dry_run=false", ErrorCode::ValidationFailed),
    ] {
        let answer = gateway.send(format!("{request} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        assert_problem(answer.head.status(), &answer.body, code);
    }
    assert!(upstream.heads().is_empty());
}
