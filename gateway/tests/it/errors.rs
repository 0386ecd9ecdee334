//! Failures of the services, as a client of the gateway sees them.

use std::time::Duration;

use gateway::{Gateway, StartupError, Timeouts};
use models::ErrorCode;
use service_kit::runtime::error_chain::one_line;

use crate::support::{Exchange, Setup, TestGateway, Upstream, assert_problem, nobody, ok};

#[tokio::test]
async fn a_service_that_is_too_slow_is_a_504() {
    let upstream = Upstream::start(async |mut exchange: Exchange| {
        exchange.connection.closed().await;
        None
    })
    .await;
    let mut setup = Setup::new(&upstream, &upstream);
    let response_head = Duration::from_millis(100);
    setup.timeouts = Timeouts { response_head, ..Timeouts::default() };
    let gateway = setup.start().await;
    for request in [
        "GET /stories HTTP/1.1\r\nhost: h\r\n\r\n",
        "POST /stories HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi",
    ] {
        let answer = gateway.send(request).await;
        assert_problem(answer.head.status(), &answer.body, ErrorCode::UpstreamTimeout);
    }
}

#[tokio::test]
async fn a_service_that_closes_the_connection_or_does_not_speak_http_is_a_502() {
    for nonsense in [
        "",
        "HTTP/1.1 200 O",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    ] {
        let upstream = Upstream::start(async move |mut exchange: Exchange| {
            exchange.connection.write(nonsense.as_bytes()).await;
            None
        })
        .await;
        let gateway = TestGateway::before(&upstream).await;
        let answer = gateway.send("POST /stories HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let problem = assert_problem(answer.head.status(), &answer.body, ErrorCode::UpstreamBroken);
        let address = upstream.address.to_string();
        assert!(!problem.detail.contains(&address), "{}", problem.detail);
        assert_eq!(upstream.heads().len(), 1, "a request that may have arrived is not sent again");
    }
}

#[tokio::test]
async fn errors_have_the_media_type_of_rfc_9457_if_the_client_accepts_it() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = Setup::replicas(vec![upstream.address], vec![nobody().await]).start().await;
    for path in ["/unknown", "/sections/../x", "/stories"] {
        for (accept, media_type) in [
            ("application/problem+json", "application/problem+json"),
            ("text/html, application/problem+json;q=0.9", "application/problem+json"),
            ("application/json", "application/json"),
            ("*/*", "application/json"),
        ] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\naccept: {accept}\r\n\r\n");
            let answer = gateway.send(request).await;
            assert!(answer.head.status() >= 400);
            assert_eq!(answer.head.get("content-type"), Some(media_type), "{path} {accept}");
            assert!(answer.head.get("x-request-id").is_some());
        }
    }
}

#[tokio::test]
async fn a_port_in_use_ends_the_start_with_the_remedy() {
    let upstream = Upstream::answering(ok("")).await;
    let mut settings = Setup::new(&upstream, &upstream).settings();
    settings.server.port = upstream.address.port();
    let error = Gateway::bind(&settings).await.unwrap_err();
    let line = one_line(&error);
    assert!(matches!(error, StartupError::Bind(_)));
    assert!(line.contains("in use") && line.contains("TURBULENCE__SERVER__PORT"), "{line}");
}

#[test]
fn the_version_names_the_binary() {
    let command =
        std::process::Command::new(env!("CARGO_BIN_EXE_gateway")).arg("--version").output();
    let expected = concat!("gateway ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(String::from_utf8(command.unwrap().stdout).unwrap(), expected);
}
