//! Headers that are forwarded, replaced or added.

use crate::support::{Setup, TestGateway, Upstream, ok};

#[tokio::test]
async fn headers_for_one_connection_do_not_reach_the_service() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = TestGateway::before(&upstream).await;
    let request = "GET /stories HTTP/1.1\r\nhost: h\r\n\
        connection: keep-alive, X-Named\r\nconnection: x-also-named\r\n\
        x-named: 1\r\nx-also-named: 2\r\nkeep-alive: timeout=5\r\nproxy-connection: keep-alive\r\n\
        te: trailers\r\ntrailer: x-sum\r\nupgrade: h2c\r\nproxy-authorization: Basic eA==\r\n\
        x-kept: 1\r\nx-kept: 2\r\nauthorization: Bearer t\r\n\r\n";
    assert_eq!(gateway.send(request).await.head.status(), 200);
    let head = upstream.only_head();
    for name in [
        "connection",
        "x-named",
        "x-also-named",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "proxy-authorization",
        "transfer-encoding",
        "content-length",
    ] {
        assert_eq!(head.all(name), Vec::<&str>::new(), "{name}");
    }
    assert_eq!(head.all("x-kept"), ["1", "2"]);
    assert_eq!(head.get("authorization"), Some("Bearer t"));
}

#[tokio::test]
async fn headers_for_one_connection_do_not_reach_the_client() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: x-named, Keep-Alive\r\n\
         x-named: 1\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\ntrailer: x-sum\r\n\
         upgrade: h2c\r\nx-kept: 1\r\n\r\nhi",
    )
    .await;
    let gateway = TestGateway::before(&upstream).await;
    let answer = gateway.send("GET /stories HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let none: [&str; 0] = [];
    for name in ["connection", "x-named", "keep-alive", "proxy-authenticate", "trailer", "upgrade"]
    {
        assert_eq!(answer.head.all(name), none, "{name}");
    }
    assert_eq!(answer.head.all("x-kept"), ["1"]);
    assert_eq!(answer.body, b"hi");
}

#[tokio::test]
async fn cookies_are_for_the_console_alone() {
    let set =
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\nhi";
    let none: [&str; 0] = [];
    for (path, sent, received) in [
        ("/console", &["s=1", "t=2"][..], &["a=1", "b=2"][..]),
        ("/console/navigation?x=1", &["s=1", "t=2"], &["a=1", "b=2"]),
        ("/stories", &none, &none),
        ("/stories/console", &none, &none),
        ("/sections/tree", &none, &none),
        ("/uploads/console", &none, &none),
    ] {
        let upstream = Upstream::answering(set).await;
        let gateway = TestGateway::before(&upstream).await;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: h\r\ncookie: s=1\r\ncookie: t=2\r\n\r\n");
        let answer = gateway.send(&request).await;
        assert_eq!(upstream.only_head().all("cookie"), sent, "{path}");
        assert_eq!(answer.head.all("set-cookie"), received, "{path}");
        assert_eq!(answer.body, b"hi", "{path}");
    }
}

#[tokio::test]
async fn the_origin_of_a_request_is_set_by_the_gateway_alone() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = TestGateway::before(&upstream).await;
    let request = "GET /stories HTTP/1.1\r\nhost: site.example:8080\r\n\
        x-forwarded-for: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\nx-forwarded-host: evil\r\n\
        x-forwarded-proto: https\r\nx-forwarded-port: 443\r\nforwarded: for=6.6.6.6\r\n\r\n";
    assert_eq!(gateway.send(request).await.head.status(), 200);
    let head = upstream.only_head();
    assert_eq!(head.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.get("x-forwarded-host"), Some("site.example:8080"));
    assert_eq!(head.get("x-forwarded-proto"), Some("http"));
    assert_eq!(head.get("x-forwarded-port"), None);
    assert_eq!(head.get("forwarded"), None);
    assert_eq!(head.get("host"), Some(upstream.address.to_string().as_str()));
}

#[tokio::test]
async fn the_origin_that_a_trusted_proxy_reports_is_forwarded() {
    let upstream = Upstream::answering(ok("")).await;
    let mut setup = Setup::new(&upstream, &upstream);
    setup.others.push(("server.trusted_proxies", "127.0.0.0/8, 10.0.0.0/8".to_owned()));
    let gateway = setup.start().await;
    let request = "GET /stories HTTP/1.1\r\nhost: internal.example\r\n\
        x-forwarded-for: 6.6.6.6, 198.51.100.1, 10.0.0.2\r\nx-forwarded-host: site.example\r\n\
        x-forwarded-proto: https\r\nx-forwarded-port: 443\r\n\
        x-internal-secret: a guess of a client\r\n\r\n";
    assert_eq!(gateway.send(request).await.head.status(), 200);
    let head = upstream.only_head();
    assert_eq!(head.all("x-forwarded-for"), ["198.51.100.1"]);
    assert_eq!(head.all("x-forwarded-host"), ["site.example"]);
    assert_eq!(head.all("x-forwarded-proto"), ["https"]);
    assert_eq!((head.get("x-forwarded-port"), head.get("x-internal-secret")), (None, None));
}

#[tokio::test]
async fn a_request_id_is_accepted_forwarded_and_returned() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-request-id: another\r\n\r\n";
    let upstream = Upstream::answering(answer).await;
    let gateway = TestGateway::before(&upstream).await;
    let request = "GET /stories HTTP/1.1\r\nhost: h\r\nx-request-id: from-the-client\r\n\r\n";
    let answer = gateway.send(request).await;
    assert_eq!(answer.head.get("x-request-id"), Some("from-the-client"));
    assert_eq!(upstream.only_head().get("x-request-id"), Some("from-the-client"));
}

#[tokio::test]
async fn a_missing_or_invalid_request_id_is_replaced() {
    for header in ["", "x-request-id: two words\r\n", "x-request-id: \r\n"] {
        let upstream = Upstream::answering(ok("")).await;
        let gateway = TestGateway::before(&upstream).await;
        let answer =
            gateway.send(format!("GET /stories HTTP/1.1\r\nhost: h\r\n{header}\r\n")).await;
        let id = answer.head.get("x-request-id").unwrap();
        assert_eq!(id.len(), 36, "{id}");
        assert_eq!(upstream.only_head().get("x-request-id"), Some(id));
    }
}

#[tokio::test]
async fn the_trace_of_the_caller_continues_in_the_service() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = TestGateway::before(&upstream).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = format!(
        "GET /stories HTTP/1.1\r\nhost: h\r\n\
         traceparent: 00-{trace}-b7ad6b7169203331-01\r\ntracestate: vendor=1\r\n\r\n"
    );
    assert_eq!(gateway.send(request).await.head.status(), 200);
    let head = upstream.only_head();
    let parts: Vec<_> = head.get("traceparent").unwrap().split('-').collect();
    assert_eq!((parts[0], parts[1], parts[3]), ("00", trace, "01"));
    assert_ne!(parts[2], "b7ad6b7169203331", "the span has to be the gateway's");
    assert_eq!(head.get("tracestate"), Some("vendor=1"));
}

#[tokio::test]
async fn a_trace_begins_if_the_caller_has_none() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = TestGateway::before(&upstream).await;
    assert_eq!(gateway.get("/stories").await.status(), 200);
    let head = upstream.only_head();
    let traceparent = head.get("traceparent").unwrap();
    assert!(traceparent.len() == 55 && !traceparent.contains("-000000000000"), "{traceparent}");
}

#[tokio::test]
async fn large_headers_pass_both_ways() {
    let long = "x".repeat(60_000);
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-long: {long}\r\n\r\n"
    ))
    .await;
    let gateway = TestGateway::before(&upstream).await;
    let request = format!("GET /stories HTTP/1.1\r\nhost: h\r\nx-long: {long}\r\n\r\n");
    let answer = gateway.send(request).await;
    assert!(answer.head.get("x-long") == Some(&long));
    assert!(upstream.only_head().get("x-long") == Some(&long));
}

#[tokio::test]
async fn every_response_has_the_security_headers() {
    let upstream = Upstream::answering(ok("passed on")).await;
    let gateway = TestGateway::before(&upstream).await;
    for path in ["/stories", "/unknown", "/sections/../x", "/health/live", "/integrity"] {
        let answer = gateway.send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        assert_eq!(answer.head.get("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.head.get("referrer-policy"), Some("no-referrer"), "{path}");
        let policy = "default-src 'none'; frame-ancestors 'none'";
        assert_eq!(answer.head.get("content-security-policy"), Some(policy), "{path}");
    }
}
