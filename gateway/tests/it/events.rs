//! Events that a service sends for as long as a client listens.

use crate::support::{Exchange, Setup, TestGateway, Upstream, within_deadline};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-store\r\nsurrogate-key: stories\r\n\
    x-turbulence-revisions: content=4294967296000,sections=4294967296000\r\n\
    transfer-encoding: chunked\r\n\r\n";

/// A service that sends an event to each who listens, and another one with each permit.
async fn service(permits: std::sync::Arc<tokio::sync::Semaphore>) -> Upstream {
    Upstream::start(move |mut exchange: Exchange| {
        let permits = permits.clone();
        async move {
            exchange.connection.write(HEAD).await;
            for number in 1.. {
                let event = format!("data: {number}\n\n");
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                if !exchange.connection.try_write(chunk.as_bytes()).await {
                    return None;
                }
                permits.acquire().await.unwrap().forget();
            }
            None
        }
    })
    .await
}

async fn listen(gateway: &TestGateway) -> reqwest::Response {
    let request = gateway.client.get(gateway.url("/changes?kind=stories"));
    let request = request.header("accept", "text/event-stream");
    let request = request.header("accept-encoding", "gzip, br").header("last-event-id", "7-7");
    request.header("origin", "https://site.example").send().await.unwrap()
}

#[tokio::test]
async fn events_pass_at_once_as_they_are_and_to_each_listener() {
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let upstream = service(permits.clone()).await;
    upstream.feed.report(&["stories", "sections"]);
    let setup =
        Setup { allowed_origins: "https://site.example", ..Setup::new(&upstream, &upstream) };
    let gateway = setup.start().await;
    let mut listeners = Vec::new();
    for _ in 0..3 {
        let mut response = listen(&gateway).await;
        assert_eq!(response.status(), 200);
        for (name, expected) in [
            ("content-type", Some("text/event-stream")),
            ("cache-control", Some("no-store")),
            ("content-encoding", None),
            ("surrogate-key", None),
            ("access-control-allow-origin", Some("https://site.example")),
        ] {
            let value = response.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(value, expected, "{name}");
        }
        let first = within_deadline(response.chunk()).await.unwrap().unwrap();
        assert_eq!(first, "data: 1\n\n");
        listeners.push(response);
    }
    permits.add_permits(3);
    for response in &mut listeners {
        let second = within_deadline(response.chunk()).await.unwrap().unwrap();
        assert_eq!(second, "data: 2\n\n");
    }
    // Each has its own request, with what the client sent.
    let heads = upstream.heads();
    assert_eq!(heads.len(), 3);
    for head in heads {
        assert_eq!(head.target(), "/changes?kind=stories");
        assert_eq!(head.get("accept"), Some("text/event-stream"));
        assert_eq!(head.get("last-event-id"), Some("7-7"));
    }
}

#[tokio::test]
async fn events_end_at_the_beginning_of_the_shutdown() {
    let upstream = service(std::sync::Arc::new(tokio::sync::Semaphore::new(0))).await;
    let gateway = TestGateway::before(&upstream).await;
    let mut response = listen(&gateway).await;
    within_deadline(response.chunk()).await.unwrap().unwrap();
    gateway.shutdown.cancel();
    // The end of a complete answer, not that of a cut one.
    assert_eq!(within_deadline(response.chunk()).await.unwrap(), None);
}

#[tokio::test]
async fn those_who_listen_take_no_place_of_other_requests() {
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let upstream = Upstream::start(move |mut exchange: Exchange| {
        let permits = permits.clone();
        async move {
            if exchange.head.target() == "/stories" {
                return exchange.reply(crate::support::ok("[]")).await;
            }
            exchange.connection.write(HEAD).await;
            permits.acquire().await.unwrap().forget();
            None
        }
    })
    .await;
    let gateway = TestGateway::before(&upstream).await;
    let mut listeners = Vec::new();
    // More than are in flight for long from one address.
    for _ in 0..200 {
        listeners.push(listen(&gateway).await);
    }
    for _ in 0..50 {
        assert_eq!(within_deadline(gateway.get("/stories")).await.status(), 200);
    }
    assert!(listeners.iter().all(|one| one.status() == 200));
}
