//! The client against feeds that a test writes byte by byte, on real sockets.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::web::{changes::clock::Keys, upstream::Options};

/// The longest time that a test waits for a condition.
const DEADLINE: Duration = Duration::from_secs(60);

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// A service whose feed a test writes.
struct FakeService(TcpListener);

/// A connection of a listener, with the head of its request.
struct Subscriber {
    stream: TcpStream,
    head: String,
}

impl FakeService {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    async fn accept(&self) -> Subscriber {
        let accepting = tokio::time::timeout(DEADLINE, self.0.accept());
        let (mut stream, _) = accepting.await.expect("no connection").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        Subscriber { stream, head: String::from_utf8(head).unwrap().to_lowercase() }
    }

    /// Accepts a connection and begins a feed.
    async fn begin(&self, number: u64) -> Subscriber {
        let mut subscriber = self.accept().await;
        subscriber.write(OK).await;
        subscriber.send(&hello(number)).await;
        subscriber
    }
}

impl Subscriber {
    async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn send(&mut self, message: &FeedMessage) {
        let json = serde_json::to_string(message).unwrap();
        self.write(&format!("data: {json}\n\n")).await;
    }

    /// Confirms a revision until the clock has heard it in time.
    async fn confirm(&mut self, number: u64, clock: &KeyClock) {
        let confirming = async {
            while !clock.is_live() {
                self.send(&watermark(number)).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, confirming).await.expect("the feed is not heard");
    }

    /// Waits until the listener has closed the connection.
    async fn closed(mut self) {
        let closing = async { while self.stream.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {} };
        tokio::time::timeout(DEADLINE, closing).await.expect("the connection stays");
    }
}

fn revision(number: u64) -> Revision {
    Revision::new((1_000 + number) << 32)
}

fn hello(number: u64) -> FeedMessage {
    let families = vec!["stories".to_owned()];
    FeedMessage::Hello { service: "content".to_owned(), families, revision: revision(number) }
}

fn changed(number: u64, key: &str) -> FeedMessage {
    FeedMessage::Changed { revision: revision(number), keys: vec![key.to_owned()] }
}

fn watermark(number: u64) -> FeedMessage {
    FeedMessage::Watermark { revision: revision(number), age_ms: 0 }
}

fn listener(services: &[&FakeService]) -> (Arc<KeyClock>, JoinSet<()>) {
    let addresses: Vec<_> =
        services.iter().map(|service| format!("http://{}", service.address())).collect();
    let addresses = addresses.join(",").parse().unwrap();
    let upstream = Upstream::new("content-service", addresses, Options::default());
    let clock = Arc::new(KeyClock::default());
    let secret = crate::runtime::settings::Internal {
        secret: Some("a secret of the tests".parse().unwrap()),
    };
    let listening = listen(&upstream, InternalSecret::new(&secret), &clock);
    (clock, listening)
}

fn keys(clock: &KeyClock, key: &str) -> Keys {
    clock.keys(clock.generation(), [key]).unwrap()
}

async fn eventually(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("the condition is not met");
}

#[tokio::test]
async fn a_clock_follows_a_feed_and_a_cut_one_is_continued() {
    let service = FakeService::start().await;
    let (clock, _listening) = listener(&[&service]);
    let mut feed = service.begin(10).await;
    assert!(feed.head.starts_with("get /internal/changes http/1.1\r\n"), "{}", feed.head);
    assert!(feed.head.contains("\r\nx-internal-secret: a secret of the tests\r\n"));
    assert!(!feed.head.contains("last-event-id"), "{}", feed.head);
    feed.confirm(11, &clock).await;
    let (a, b) = (keys(&clock, "stories/a"), keys(&clock, "stories/b"));
    assert!(clock.is_current(&a, revision(11)));
    feed.send(&changed(12, "stories/a")).await;
    eventually(|| !clock.is_current(&a, revision(11))).await;
    assert!(clock.is_current(&b, revision(11)));

    // In the middle of an event, after a change whose revision others may have, too.
    feed.write(r#"data: {"type":"changed","revision":"4354561"#).await;
    drop(feed);
    let mut feed = service.begin(11).await;
    let last = format!("\r\nlast-event-id: {}\r\n", revision(11));
    assert!(feed.head.contains(&last), "{}", feed.head);
    // The same again, and the one that was cut.
    feed.send(&changed(12, "stories/a")).await;
    assert!(clock.is_current(&b, revision(11)));
    feed.send(&changed(12, "stories/b")).await;
    eventually(|| !clock.is_current(&b, revision(11))).await;
    feed.send(&watermark(12)).await;
    eventually(|| clock.watermark() == revision(12)).await;
    assert!(clock.is_current(&a, revision(12)) && clock.is_current(&b, revision(12)));
}

#[tokio::test]
async fn a_feed_that_stalls_confirms_nothing_and_is_left_for_another_replica() {
    let (one, two) = (FakeService::start().await, FakeService::start().await);
    let (clock, _listening) = listener(&[&one, &two]);
    let mut stalled = one.begin(10).await;
    stalled.confirm(10, &clock).await;
    eventually(|| !clock.is_live()).await;
    let mut other = two.begin(10).await;
    stalled.closed().await;
    other.confirm(10, &clock).await;
}

#[tokio::test]
async fn a_feed_that_breaks_the_rules_is_left_and_what_it_said_before_stays() {
    let service = FakeService::start().await;
    let (clock, _listening) = listener(&[&service]);
    let mut feed = service.begin(10).await;
    feed.confirm(10, &clock).await;
    let a = keys(&clock, "stories/a");
    let long = format!("data: {}\n\n", "x".repeat(10 * 1024 * 1024));
    for garbage in [
        "data: garbage\n\n",
        "data: {\"type\":\"changed\",\"revision\":\"-1\",\"keys\":[]}\n\n",
        "data: {\"type\":\"changed\",\"revision\":\"5\"}\n\n",
        "data: {\"kind\":\"changed\"}\n\n",
        "data: [1]\n\n",
        &long,
    ] {
        // The rest of a long event may not arrive any more.
        let _ = feed.stream.write_all(garbage.as_bytes()).await;
        feed.closed().await;
        assert!(clock.is_current(&a, revision(10)));
        feed = service.begin(10).await;
    }
    feed.write("data: {\"type\":\"added_later\",\"revision\":7}\n\n: comment\nid: x\n\n").await;
    feed.send(&changed(11, "stories/a")).await;
    eventually(|| !clock.is_current(&a, revision(10))).await;
    // Revisions that begin again.
    feed.send(&watermark(100)).await;
    feed.send(&watermark(100 - 61)).await;
    feed.closed().await;
    assert!(!clock.is_live() && !clock.is_current(&a, revision(100)));
    let feed = service.begin(5).await;
    assert!(!feed.head.contains("last-event-id"), "{}", feed.head);
}

#[tokio::test]
async fn a_feed_without_a_beginning_is_not_used() {
    let service = FakeService::start().await;
    let (clock, _listening) = listener(&[&service]);
    let mut feed = service.accept().await;
    feed.write(OK).await;
    feed.send(&watermark(10)).await;
    feed.closed().await;
    assert!(!clock.is_live());
    assert_eq!(clock.newest(), Revision::ZERO);
}

#[tokio::test]
async fn a_service_of_an_older_version_is_asked_again() {
    let service = FakeService::start().await;
    let (clock, _listening) = listener(&[&service]);
    for _ in 0..3 {
        let mut subscriber = service.accept().await;
        subscriber.write("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}").await;
        subscriber.closed().await;
    }
    assert!(!clock.is_live());
    let mut feed = service.begin(10).await;
    feed.confirm(10, &clock).await;
}

#[tokio::test]
async fn the_clocks_of_two_services_have_nothing_in_common() {
    let (content, sections) = (FakeService::start().await, FakeService::start().await);
    let (of_content, _listening) = listener(&[&content]);
    let (of_sections, _listening_too) = listener(&[&sections]);
    let (mut new, mut old) = (content.begin(1_000_000).await, sections.begin(1).await);
    new.confirm(1_000_000, &of_content).await;
    old.confirm(1, &of_sections).await;
    assert_eq!(of_sections.newest(), revision(1));
    new.send(&changed(1_000_001, "stories/a")).await;
    eventually(|| of_content.newest() == revision(1_000_001)).await;
    assert!(of_sections.is_current(&keys(&of_sections, "stories/a"), revision(1)));
    old.send(&changed(2, "stories/b")).await;
    eventually(|| of_sections.newest() == revision(2)).await;
    assert!(of_content.is_current(&keys(&of_content, "stories/b"), revision(1_000_000)));
}
