//! Paths: accepted or refused, and the service that each leads to.

use models::ErrorCode;

use crate::support::{Head, Setup, TestGateway, Upstream, assert_problem, ok};

#[tokio::test]
async fn an_ambiguous_path_is_refused_before_it_is_routed() {
    let upstream = Upstream::answering(ok("reached")).await;
    let gateway = TestGateway::before(&upstream).await;
    for path in [
        "/sections/../internal/sections",
        "/sections/..",
        "/sections/./x",
        "/sections/%2e%2e/internal",
        "/sections/%2E%2e/internal",
        "/sections/.%2E/internal",
        "/sections/%2e",
        "/sections\\..\\internal",
        "/sections/..\\internal",
        "/sections/%5c..%5Cinternal",
        "/sections/..%2finternal",
        "/sections%2Fx",
        "/stories/slug/..%2F..%2Finternal",
        "/stories/slug/a%5C..%5Cb",
        "/sections/slug%2Fa",
        "/stories/slug/a%2Fb/restore",
        "//evil.example/sections",
        "//sections",
        "/sections//x",
        "/sections//",
        "/health//ready",
        "/health/../sections",
        "/sections/%09x",
        "/sections/%00",
        "/sections/%0d%0ax-evil:1",
        "/sections/%7f",
        "/sections/%",
        "/sections/%2",
        "/sections/%zz",
        "/sections/{x}",
    ] {
        let answer = gateway.send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        assert_problem(answer.head.status(), &answer.body, ErrorCode::InvalidPath);
    }
    assert!(upstream.heads().is_empty(), "{:?}", upstream.heads());
}

#[tokio::test]
async fn bytes_that_an_address_may_not_contain_are_refused_by_the_parser() {
    let upstream = Upstream::answering(ok("reached")).await;
    let gateway = TestGateway::before(&upstream).await;
    for path in ["/sections/\t/x", "/sections/\0", "/sections/\x7f", "/sections/\x01", "/é", "/ x"]
    {
        let answer = gateway.send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        assert_eq!(answer.head.status(), 400, "{path:?}");
    }
    assert!(upstream.heads().is_empty(), "{:?}", upstream.heads());
}

#[tokio::test]
async fn path_and_query_arrive_byte_for_byte() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = TestGateway::before(&upstream).await;
    let targets = [
        "/sections",
        "/sections/",
        "/sections?",
        "/sections/caf%C3%A9-%f0%9F%8d%b0/?q=a%2Fb+c&path=/a/../b//c&x=%2e%2e\\",
        "/sections/a:b@c;d=e,f!g$h&i'j(k)l*m+n~o_p/...?a[]=1&b={x}",
        "/stories/slug/%2f2015%2F02%2fhello%5Cworld%252F%20%3F%23%2F",
    ];
    for target in targets {
        let answer = gateway.send(format!("GET {target} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        assert_eq!(answer.head.status(), 200, "{target}");
    }
    let arrived = upstream.heads();
    assert_eq!(arrived.iter().map(Head::target).collect::<Vec<_>>(), targets);
}

#[tokio::test]
async fn the_first_segment_decides_which_service_answers() {
    let sections = Upstream::answering(ok("sections")).await;
    let content = Upstream::answering(ok("content")).await;
    let gateway = Setup::new(&sections, &content).start().await;
    for (path, service) in [
        ("/sections", "sections"),
        ("/sections/slug/stories", "sections"),
        ("/stories", "content"),
        ("/stories/slug/sections", "content"),
        ("/projects/1", "content"),
        ("/pages/type/about", "content"),
        ("/content/move", "content"),
    ] {
        assert_eq!(gateway.get(path).await.text().await.unwrap(), service, "{path}");
    }
}

#[tokio::test]
async fn every_method_is_forwarded() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = TestGateway::before(&upstream).await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        let request = format!("{method} /stories HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(gateway.send(request).await.head.status(), 200, "{method}");
        let head = upstream.heads().pop().unwrap();
        assert_eq!(head.first_line, format!("{method} /stories HTTP/1.1"));
    }
}

#[tokio::test]
async fn unknown_and_internal_routes_are_answered_by_the_gateway() {
    let upstream = Upstream::answering(ok("reached")).await;
    let gateway = TestGateway::before(&upstream).await;
    for path in [
        "/unknown",
        "/internal",
        "/internal/sections",
        "/internal/migrations",
        "/internal/integrity/repair",
        "/internal/integrity",
        "/integrity/repair",
        "/integrityx",
        "/sectionsx",
        "/Sections",
        "/%73ections",
        "/%69nternal",
        "/health/other",
        "/.well-known/x",
        "/favicon.ico?/sections",
        "*",
    ] {
        let answer = gateway.send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        let problem = assert_problem(answer.head.status(), &answer.body, ErrorCode::RouteNotFound);
        assert_eq!(answer.head.get("content-type"), Some("application/json"));
        assert!(problem.detail.contains(path.split('?').next().unwrap()), "{}", problem.detail);
    }
    assert!(upstream.heads().is_empty(), "{:?}", upstream.heads());
}
