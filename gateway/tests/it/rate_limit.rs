//! The rate limit refuses requests of one sender without an effect on others.

use std::{net::SocketAddr, time::Instant};

use futures_util::future::join_all;
use models::ErrorCode;

use crate::support::{Answer, Connection, Setup, TestGateway, Upstream, assert_problem, ok};

const BURST: u32 = 5;

async fn limited(upstream: &Upstream) -> TestGateway {
    let mut setup = Setup::new(upstream, upstream);
    setup.burst = Some(BURST);
    setup.allowed_origins = "*";
    setup.start().await
}

async fn send(client: [u8; 4], address: SocketAddr, path: &str, headers: &str) -> Answer {
    let mut connection = Connection::from(client, address).await;
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\n{headers}\r\n");
    connection.write(request.as_bytes()).await;
    connection.answer().await
}

/// Sends requests until one is refused. Returns the number of those that were not.
async fn until_refused(client: [u8; 4], address: SocketAddr) -> (u32, Answer) {
    let mut admitted = 0;
    loop {
        // A header with an invented address has no effect.
        let headers = format!(
            "x-forwarded-for: 198.51.100.{admitted}\r\nauthorization: Bearer {admitted}\r\n\
             origin: https://site.example\r\nx-request-id: mine\r\n"
        );
        let answer = send(client, address, "/stories", &headers).await;
        if answer.head.status() != 200 {
            return (admitted, answer);
        }
        admitted += 1;
        assert!(admitted < 1_000, "there is no limit");
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_every_client_has_its_own_limit() {
    let upstream = Upstream::answering(ok("")).await;
    let mut setup = Setup::new(&upstream, &upstream);
    setup.burst = Some(BURST);
    setup.others.push(("server.trusted_proxies", "127.0.0.2".to_owned()));
    let gateway = setup.start().await;
    let one = async |proxy: [u8; 4], client: usize| {
        let header = format!("x-forwarded-for: 6.6.6.{client}, 198.51.100.{client}\r\n");
        send(proxy, gateway.address, "/stories", &header).await.head.status()
    };
    for client in 0..BURST as usize * 3 {
        assert_eq!(one([127, 0, 0, 2], client).await, 200);
    }
    let mut refused = 0;
    for client in 0..BURST as usize * 3 {
        refused += usize::from(one([127, 0, 0, 3], client).await == 429);
    }
    assert!(refused > 0, "another proxy is one client");
}

#[tokio::test]
async fn every_address_has_its_own_limit() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = limited(&upstream).await;
    let (admitted, answer) = until_refused([127, 0, 0, 2], gateway.address).await;
    assert!(admitted >= BURST, "{admitted}");
    let code = ErrorCode::TooManyRequests;
    let problem = assert_problem(answer.head.status(), &answer.body, code);
    assert_eq!(problem.detail, "Too many requests. Try again in 1 s.");
    assert_eq!(answer.head.get("retry-after"), Some("1"));
    assert_eq!(answer.head.get("content-type"), Some("application/json"));
    assert_eq!(answer.head.get("x-request-id"), Some("mine"));
    assert_eq!(answer.head.get("access-control-allow-origin"), Some("*"), "a script reads it");
    let reached = upstream.heads().len();
    assert_eq!(reached, usize::try_from(admitted).unwrap(), "what is refused goes no further");
    assert_eq!(send([127, 0, 0, 3], gateway.address, "/stories", "").await.head.status(), 200);
}

#[tokio::test]
async fn a_token_has_one_limit_from_all_addresses() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = limited(&upstream).await;
    let token = "authorization: Bearer x\r\n";
    let mut refused = None;
    for host in 2..=250 {
        let client = [127, 0, 0, host];
        let answer = send(client, gateway.address, "/stories", token).await;
        if answer.head.status() != 200 {
            assert_problem(answer.head.status(), &answer.body, ErrorCode::TooManyRequests);
            refused = Some(client);
            break;
        }
    }
    let client = refused.expect("there is no limit");
    assert!(u32::from(client[3] - 2) >= BURST, "{client:?}");
    assert_eq!(send(client, gateway.address, "/stories", "").await.head.status(), 200);
}

#[tokio::test]
async fn all_routes_except_those_of_health_count() {
    let upstream = Upstream::answering(ok(r#"{"findings":[]}"#)).await;
    let gateway = limited(&upstream).await;
    for (host, path) in [(2, "/integrity"), (3, "/unknown"), (4, "/sections/../x"), (5, "/resolve")]
    {
        let client = [127, 0, 0, host];
        let mut statuses = Vec::new();
        while statuses.last() != Some(&429) {
            assert!(statuses.len() < 1_000, "{path} has no limit");
            statuses.push(send(client, gateway.address, path, "").await.head.status());
        }
        for path in ["/health", "/health/live", "/health/ready", "/warmup"] {
            for _ in 0..BURST * 2 {
                let answer = send(client, gateway.address, path, "").await;
                assert_ne!(answer.head.status(), 429, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn all_workers_share_one_limit() {
    const CONNECTIONS: usize = 40;
    const EACH: u32 = 10;
    let upstream = Upstream::answering(ok("")).await;
    let mut setup = Setup::new(&upstream, &upstream);
    setup.burst = Some(100);
    let gateway = setup.start().await;
    let began = Instant::now();
    let sending = (0..CONNECTIONS).map(async |_| {
        let mut connection = gateway.connect().await;
        let mut admitted = 0;
        for _ in 0..EACH {
            connection.write(b"GET /unknown HTTP/1.1\r\nhost: h\r\n\r\n").await;
            admitted += u64::from(connection.answer().await.head.status() == 404);
        }
        admitted
    });
    let admitted: u64 = join_all(sending).await.into_iter().sum();
    // One more in each second that it took.
    let most = 100 + began.elapsed().as_secs() + 1;
    assert!((100..=most).contains(&admitted), "{admitted} of {most}");
}
