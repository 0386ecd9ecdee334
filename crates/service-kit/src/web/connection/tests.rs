//! A server on a real port, with and without TLS, and clients that send exact bytes.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use models::ErrorCode;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Timeouts;
use crate::{
    runtime::{clock::Clock, settings},
    web::{
        error::ApiError,
        health::Health,
        origin::{NetworkPosition, RequestOrigin},
        server::Server,
        tls::{Tls, tests::TestCertificate},
    },
};

/// The longest time that a test waits for a condition.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The time of each part in tests: actix measures the one of the first head to half a second.
const HEAD: Duration = Duration::from_millis(1_500);

/// A response that no buffer between server and client holds.
const LARGE: usize = 16 * 1024 * 1024;

/// The tests run with both.
const PLAIN_AND_TLS: [bool; 2] = [false, true];

pub(crate) const GET: &str = "GET /small HTTP/1.1\r\nhost: h\r\n\r\n";

/// The number of handlers that run, or whose response is not sent.
#[derive(Clone, Default)]
struct Running(Arc<AtomicUsize>);

struct Run(Running);

impl Running {
    fn begin(&self) -> Run {
        self.0.fetch_add(1, Ordering::Relaxed);
        Run(self.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A server that runs until this is dropped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    running: Running,
    certificate: Option<TestCertificate>,
    _shutdown: DropGuard,
}

impl TestServer {
    fn start(timeouts: Timeouts, max_connections: usize, is_proxy: bool, has_tls: bool) -> Self {
        let certificate = has_tls.then(TestCertificate::new);
        let tls = certificate.as_ref().and_then(|one| Tls::load(&one.settings()).unwrap());
        let this = Self::start_with(timeouts, max_connections, is_proxy, tls);
        Self { certificate, ..this }
    }

    pub(crate) fn start_with(
        timeouts: Timeouts,
        max_connections: usize,
        is_proxy: bool,
        tls: Option<Tls>,
    ) -> Self {
        let settings = settings::Server {
            port: 0,
            drain_seconds: 0,
            max_connections: NonZeroUsize::new(max_connections).unwrap(),
            ..settings::Server::default()
        };
        let server = Server::bind(&settings, NetworkPosition::Edge).unwrap().timeouts(timeouts);
        let address = server.address();
        let health = Health::builder().build(Clock::system());
        let running = Running::default();
        let counted = running.clone();
        let server = if is_proxy { server.forwarding(|_| Some("/proxied")) } else { server };
        let server = server.with_tls(tls);
        let shutdown = CancellationToken::new();
        actix_web::rt::spawn(server.run(health, shutdown.clone(), move |config| {
            let waiting = counted.clone();
            let large = counted.clone();
            config
                .route("/small", web::get().to(|| async { HttpResponse::Ok().body("small") }))
                .route(
                    "/scheme",
                    web::get().to(|request: HttpRequest| async move {
                        let origin = request.extensions().get::<RequestOrigin>().cloned();
                        HttpResponse::Ok().body(origin.unwrap_or_default().scheme)
                    }),
                )
                .route(
                    "/large",
                    web::get().to(move || {
                        let run = large.begin();
                        let chunk = web::Bytes::from(vec![b'x'; 64 * 1024]);
                        let chunks = futures_util::stream::repeat_with(move || {
                            let _ = &run;
                            Ok::<_, ApiError>(chunk.clone())
                        });
                        let body = chunks.take(LARGE / (64 * 1024));
                        async move { HttpResponse::Ok().streaming(body) }
                    }),
                )
                .route(
                    "/forever",
                    web::get().to(move || {
                        let run = waiting.begin();
                        async move {
                            let _run = run;
                            std::future::pending::<HttpResponse>().await
                        }
                    }),
                )
                .route(
                    "/body",
                    web::post().to(|mut payload: web::Payload| async move {
                        let mut length = 0;
                        while let Some(chunk) = payload.next().await {
                            let chunk = chunk.map_err(|error| {
                                let detail = "The body did not arrive complete.";
                                ApiError::new(ErrorCode::BadRequest, detail).because(error)
                            })?;
                            length += chunk.len();
                        }
                        Ok::<_, ApiError>(HttpResponse::Ok().body(length.to_string()))
                    }),
                );
        }));
        let _shutdown = shutdown.drop_guard();
        Self { address, running, certificate: None, _shutdown }
    }

    async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        match &self.certificate {
            None => Client::new(stream),
            Some(certificate) => Client::new(certificate.connect(stream).await.unwrap()),
        }
    }
}

fn short_heads() -> Timeouts {
    Timeouts { head: HEAD, ..Timeouts::default() }
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

pub(crate) struct Client(pub(crate) Box<dyn Stream>);

impl Client {
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        Self(Box::new(stream))
    }

    pub(crate) async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Reads until a text has arrived.
    pub(crate) async fn read_to(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let mut buffer = [0; 4096];
            let read = timeout(DEADLINE, self.0.read(&mut buffer)).await.unwrap().unwrap();
            assert!(read > 0, "closed after {text:?}");
            text.push_str(str::from_utf8(&buffer[..read]).unwrap());
        }
        text
    }

    /// Reads until the connection is closed.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        // A reset is an end, too.
        let _ = timeout(DEADLINE, self.0.read_to_end(&mut bytes)).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "this has not become true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[actix_web::test]
async fn the_head_of_every_request_has_a_limit_of_time() {
    for has_tls in PLAIN_AND_TLS {
        let server = TestServer::start(short_heads(), 100, false, has_tls);
        let mut idle = server.connect().await;
        idle.send(GET).await;
        idle.read_to("small").await;
        let half = "GET /small HTTP/1.1\r\nhost: h\r\n";
        // The half of a further head, alone and in the packet of the request before.
        let mut client = server.connect().await;
        client.send(GET).await;
        client.read_to("small").await;
        client.send(half).await;
        assert_eq!(client.read_to_end().await, "");
        let mut client = server.connect().await;
        client.send(&format!("{GET}{half}")).await;
        let answer = client.read_to_end().await;
        assert!(answer.ends_with("small"), "{answer:?}");
        // Bytes that arrive one by one do not prolong it.
        let mut client = server.connect().await;
        client.send(GET).await;
        client.read_to("small").await;
        let (mut reader, mut writer) = tokio::io::split(client.0);
        let drip = async {
            writer.write_all(half.as_bytes()).await.unwrap();
            while writer.write_all(b"a: b\r\n").await.is_ok() {
                tokio::time::sleep(HEAD / 10).await;
            }
        };
        let mut rest = Vec::new();
        let closed = async { timeout(DEADLINE, reader.read_to_end(&mut rest)).await };
        tokio::select! {
            () = drip => {}
            closed = closed => drop(closed.unwrap()),
        }
        // The first head is answered.
        let mut client = server.connect().await;
        client.send(half).await;
        assert!(client.read_to_end().await.starts_with("HTTP/1.1 408"));
        // A connection between two requests has no such limit.
        idle.send(GET).await;
        idle.read_to("small").await;
    }
}

#[actix_web::test]
async fn a_whole_head_and_a_body_are_no_half_of_a_head() {
    let server = TestServer::start(short_heads(), 100, false, false);
    let mut clients = Vec::new();
    for body in ["", "x", "{\"a\":1}\n"] {
        let length = body.len();
        let head = format!("POST /body HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n");
        let mut client = server.connect().await;
        client.send(&format!("{head}{body}")).await;
        client.read_to(&format!("\r\n\r\n{length}")).await;
        clients.push(client);
    }
    // This one is closed, after the time in which the others would be.
    let mut half = server.connect().await;
    half.send(&format!("{GET}GET")).await;
    half.read_to_end().await;
    for mut client in clients {
        client.send(GET).await;
        client.read_to("small").await;
    }
}

#[actix_web::test]
async fn at_the_limit_of_connections_the_longest_idle_one_is_closed() {
    for has_tls in PLAIN_AND_TLS {
        let server = TestServer::start(Timeouts::default(), 3, false, has_tls);
        let mut busy = server.connect().await;
        busy.send("GET /forever HTTP/1.1\r\nhost: h\r\n\r\n").await;
        eventually("the handler runs", || server.running.count() == 1).await;
        let mut idle = Vec::new();
        for _ in 0..3 {
            let mut client = server.connect().await;
            client.send(GET).await;
            client.read_to("small").await;
            idle.push(client);
        }
        assert_eq!(idle[0].read_to_end().await, "");
        for client in &mut idle[1..] {
            client.send(GET).await;
            client.read_to("small").await;
        }
        assert_eq!(server.running.count(), 1, "a request in flight is not cut");
    }
}

#[actix_web::test]
async fn a_client_that_does_not_read_is_cut() {
    for has_tls in PLAIN_AND_TLS {
        let timeouts = Timeouts { reader: HEAD, ..Timeouts::default() };
        let server = TestServer::start(timeouts, 100, false, has_tls);
        let request = "GET /large HTTP/1.1\r\nhost: h\r\n\r\n";
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut client = server.connect().await;
            client.send(&request.repeat(30)).await;
            clients.push(client);
        }
        eventually("responses are sent", || server.running.count() > 0).await;
        eventually("all are cut", || server.running.count() == 0).await;
        for mut client in clients {
            assert!(client.0.write_all(&[b'x'; LARGE]).await.is_err());
        }
        // A client that reads gets everything.
        let mut client = server.connect().await;
        client.send("GET /large HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
        assert!(client.read_to_end().await.len() > LARGE);
    }
}

#[actix_web::test]
async fn a_body_that_is_broken_short_or_late_is_answered_with_400() {
    let timeouts = Timeouts { body: HEAD, ..Timeouts::default() };
    for (is_proxy, has_tls) in [(false, false), (true, false), (true, true)] {
        let server = TestServer::start(timeouts, 100, is_proxy, has_tls);
        let head = "POST /body HTTP/1.1\r\nhost: h\r\n";
        for (what, rest, closes) in [
            ("a broken chunk", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", false),
            ("a cut chunk", "transfer-encoding: chunked\r\n\r\n5\r\nhel", true),
            ("a missing last chunk", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", true),
            ("a short body", "content-length: 10\r\n\r\nhello", true),
            ("a late body", "content-length: 10\r\n\r\nhello", false),
            ("a late chunk", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", false),
        ] {
            let mut client = server.connect().await;
            client.send(&format!("{head}{rest}")).await;
            if closes {
                client.0.shutdown().await.unwrap();
            }
            let answer = client.read_to_end().await;
            assert!(answer.starts_with("HTTP/1.1 400"), "{what}, {is_proxy}: {answer:?}");
            assert!(answer.contains("\"code\":\"bad_request\""), "{what}, {is_proxy}: {answer:?}");
        }
    }
}

#[actix_web::test]
async fn a_client_that_leaves_cancels_its_request_at_a_proxy_only() {
    for has_tls in PLAIN_AND_TLS {
        for is_proxy in [true, false] {
            let server = TestServer::start(Timeouts::default(), 100, is_proxy, has_tls);
            let mut client = server.connect().await;
            client.send("GET /forever HTTP/1.1\r\nhost: h\r\n\r\n").await;
            eventually("the handler runs", || server.running.count() == 1).await;
            client.0.shutdown().await.unwrap();
            if is_proxy {
                eventually("the handler is cancelled", || server.running.count() == 0).await;
            } else {
                let mut other = server.connect().await;
                other.send(GET).await;
                other.read_to("small").await;
                assert_eq!(server.running.count(), 1);
            }
        }
    }
}
