//! Bodies: they arrive unchanged, complete or visibly truncated, with bounded memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use gateway::Timeouts;
use models::ErrorCode;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::support::{
    Connection, Exchange, Setup, TestGateway, Upstream, assert_problem, ok, within_deadline,
};

/// More than what all responses of a server may hold.
const LARGE: usize = 70 << 20;
const PIECE: usize = 64 << 10;

/// The number of bytes that a sender may be ahead of a receiver that has stopped. Most of them are in
/// the buffers of the operating system; the gateway itself holds less than a megabyte.
const AHEAD_MAX: usize = LARGE / 4;

/// The shortest time for which Linux delays an acknowledgement (`TCP_DELACK_MIN`).
const DELAYED_ACKNOWLEDGEMENT: Duration = Duration::from_millis(40);

/// The time after which a sender that cannot send counts as blocked.
const BLOCKED: Duration = Duration::from_millis(500);

/// Returns bytes in which a missing or repeated chunk is visible: their period, a prime number, is not
/// a multiple of any buffer's size.
fn pattern(length: usize) -> Vec<u8> {
    const PERIOD: usize = 65_521;
    let period: Vec<u8> = (0..PERIOD).map(|place| (place ^ (place >> 8)) as u8).collect();
    let mut pattern = period.repeat(length.div_ceil(PERIOD));
    pattern.truncate(length);
    pattern
}

#[tokio::test]
async fn compressed_bytes_stay_as_they_are() {
    let gzip = [&[0x1f, 0x8b, 8, 0][..], &pattern(1000)].concat();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\
         vary: accept-encoding\r\ncontent-length: {}\r\n\r\n",
        gzip.len()
    );
    let upstream = Upstream::answering([head.as_bytes(), &gzip].concat()).await;
    let gateway = TestGateway::before(&upstream).await;
    let request = "GET /stories HTTP/1.1\r\nhost: h\r\naccept-encoding: gzip, br\r\n\r\n";
    let answer = gateway.send(request).await;
    assert_eq!(answer.body, gzip);
    assert_eq!(answer.head.get("content-encoding"), Some("gzip"));
    assert_eq!(answer.head.get("content-type"), Some("application/json"));
    assert_eq!(answer.head.get("vary"), Some("accept-encoding"));
    assert_eq!(upstream.only_head().get("accept-encoding"), Some("gzip, br"));
}

#[tokio::test]
async fn the_body_of_a_response_does_not_wait_for_the_acknowledgement_of_its_head() {
    let goes_on = Arc::new(Notify::new());
    let wait = Arc::clone(&goes_on);
    let upstream = Upstream::start(move |mut exchange: Exchange| {
        let wait = Arc::clone(&wait);
        async move {
            exchange.connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
            wait.notified().await;
            exchange.reply("{}").await
        }
    })
    .await;
    let gateway = TestGateway::before(&upstream).await;
    let mut fastest = Duration::MAX;
    for number in 0..40 {
        let head = gateway.get("/stories").await;
        let has_head = Instant::now();
        goes_on.notify_one();
        assert_eq!(head.text().await.unwrap(), "{}");
        // What comes first on a connection is acknowledged at once.
        if number >= 20 {
            fastest = fastest.min(has_head.elapsed());
        }
    }
    assert!(fastest < DELAYED_ACKNOWLEDGEMENT / 2, "{fastest:?}");
}

#[tokio::test]
async fn a_304_keeps_its_etag_and_has_no_body() {
    let upstream = Upstream::answering(
        "HTTP/1.1 304 Not Modified\r\netag: \"v1\"\r\ncache-control: max-age=5\r\n\
         content-length: 77\r\n\r\n",
    )
    .await;
    let gateway = TestGateway::before(&upstream).await;
    let mut connection = gateway.connect().await;
    let request = b"GET /stories HTTP/1.1\r\nhost: h\r\nif-none-match: \"v1\"\r\n\r\n";
    // Twice on one connection: a body, or the lack of one, would confuse the second answer.
    for _ in 0..2 {
        connection.write(request).await;
        let head = within_deadline(connection.head()).await.unwrap();
        assert_eq!(head.status(), 304);
        assert_eq!(head.get("etag"), Some("\"v1\""));
        assert_eq!(head.get("cache-control"), Some("max-age=5"));
        assert_eq!(head.get("content-length"), Some("77"));
        assert_eq!(head.get("transfer-encoding"), None);
    }
    assert_eq!(upstream.heads()[0].get("if-none-match"), Some("\"v1\""));
}

#[tokio::test]
async fn a_204_has_neither_body_nor_length() {
    let upstream = Upstream::answering("HTTP/1.1 204 No Content\r\nx-kept: 1\r\n\r\n").await;
    let gateway = TestGateway::before(&upstream).await;
    let mut connection = gateway.connect().await;
    let request =
        b"DELETE /stories/1 HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\r\n";
    for _ in 0..2 {
        connection.write(request).await;
        let head = within_deadline(connection.head()).await.unwrap();
        assert_eq!((head.status(), head.get("x-kept")), (204, Some("1")));
        assert_eq!((head.get("content-length"), head.get("transfer-encoding")), (None, None));
    }
    let head = &upstream.heads()[0];
    assert_eq!(head.get("content-type"), Some("application/json"));
    assert_eq!((head.get("content-length"), head.get("transfer-encoding")), (None, None));
}

#[tokio::test]
async fn a_head_keeps_the_length_and_has_no_body() {
    let upstream = Upstream::start(async |exchange: Exchange| {
        let is_known = exchange.head.target() == "/stories/known";
        let framing = if is_known { "content-length: 1234" } else { "transfer-encoding: chunked" };
        exchange.reply(format!("HTTP/1.1 200 OK\r\netag: \"e\"\r\n{framing}\r\n\r\n")).await
    })
    .await;
    let gateway = TestGateway::before(&upstream).await;
    let mut connection = gateway.connect().await;
    for (path, length) in [("known", Some("1234")), ("unknown", None), ("known", Some("1234"))] {
        let request = format!("HEAD /stories/{path} HTTP/1.1\r\nhost: h\r\n\r\n");
        connection.write(request.as_bytes()).await;
        let head = within_deadline(connection.head()).await.unwrap();
        assert_eq!((head.status(), head.get("content-length")), (200, length));
        assert_eq!(head.get("etag"), Some("\"e\""));
    }
}

#[tokio::test]
async fn statuses_and_bodies_of_errors_pass_unchanged() {
    for status in [200, 201, 400, 401, 404, 409, 418, 422, 500, 503] {
        let upstream = Upstream::answering(format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/problem+json\r\nretry-after: 7\r\n\
             content-length: 5\r\n\r\n{{\"a\"}}"
        ))
        .await;
        let gateway = TestGateway::before(&upstream).await;
        let answer = gateway.send("GET /stories HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!((answer.head.status(), answer.body.as_slice()), (status, &b"{\"a\"}"[..]));
        assert_eq!(answer.head.get("content-type"), Some("application/problem+json"));
        assert_eq!(answer.head.get("retry-after"), Some("7"));
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_forwarded_while_it_arrives() {
    let (more, wait_for_more) = oneshot::channel::<()>();
    let wait_for_more = std::sync::Mutex::new(Some(wait_for_more));
    let upstream = Upstream::start(move |mut exchange: Exchange| {
        let wait_for_more = wait_for_more.lock().unwrap().take().unwrap();
        async move {
            let first = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            exchange.connection.write(first).await;
            wait_for_more.await.unwrap();
            exchange.reply("6\r\nsecond\r\n0\r\n\r\n").await
        }
    })
    .await;
    let gateway = TestGateway::before(&upstream).await;
    let mut response = gateway.get("/stories").await;
    assert_eq!(response.content_length(), None);
    assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
    more.send(()).unwrap();
    assert_eq!(response.text().await.unwrap(), "second");
}

#[tokio::test]
async fn an_upload_arrives_with_its_length() {
    let upstream = Upstream::start(async |mut exchange: Exchange| {
        let body = exchange.body().await.unwrap();
        exchange.reply(ok(&String::from_utf8(body).unwrap())).await
    })
    .await;
    let gateway = TestGateway::before(&upstream).await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
        let sized = "\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello";
        let answer = gateway.send(format!("{method} /stories HTTP/1.1{sized}")).await;
        assert_eq!(answer.body, b"hello", "{method}");
        let head = upstream.heads().pop().unwrap();
        assert_eq!(head.get("content-length"), Some("5"), "{method}");
        assert_eq!(head.get("transfer-encoding"), None, "{method}");

        let chunked =
            "\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
        let answer = gateway.send(format!("{method} /stories HTTP/1.1{chunked}")).await;
        assert_eq!(answer.body, b"hello", "{method}");
        let head = upstream.heads().pop().unwrap();
        assert_eq!(head.get("transfer-encoding"), Some("chunked"), "{method}");
        assert_eq!(head.get("content-length"), None, "{method}");
    }
}

#[tokio::test]
async fn an_empty_body_of_a_post_stays_empty() {
    let upstream = Upstream::answering(ok("")).await;
    let gateway = TestGateway::before(&upstream).await;
    let request = "POST /stories/1/restore HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(gateway.send(request).await.head.status(), 200);
    let head = upstream.only_head();
    assert_eq!(head.get("content-length"), Some("0"));
    assert_eq!(head.get("transfer-encoding"), None);
}

#[tokio::test]
async fn a_client_that_expects_a_100_gets_one_and_then_the_answer() {
    let upstream = Upstream::answering(ok("done")).await;
    let gateway = TestGateway::before(&upstream).await;
    let mut connection = gateway.connect().await;
    let head = b"POST /stories HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n\
        content-length: 5\r\n\r\n";
    connection.write(head).await;
    assert_eq!(within_deadline(connection.head()).await.unwrap().status(), 100);
    connection.write(b"hello").await;
    assert_eq!(connection.answer().await.body, b"done");
    assert_eq!(upstream.only_head().get("expect"), None);
}

#[tokio::test]
async fn a_large_answer_arrives_whole_and_a_slow_reader_slows_the_service_down() {
    let sent = Arc::new(AtomicUsize::new(0));
    let (blocked, mut is_blocked) = mpsc::unbounded_channel();
    let counter = Arc::clone(&sent);
    let upstream = Upstream::start(move |mut exchange: Exchange| {
        let (sent, blocked) = (Arc::clone(&counter), blocked.clone());
        async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
            exchange.connection.write(head.as_bytes()).await;
            write_noticing_blocks(&mut exchange.connection, &sent, &blocked).await;
            Some(exchange)
        }
    })
    .await;
    let gateway = TestGateway::before(&upstream).await;
    let mut reader = Connection::slow_to(gateway.address).await;
    reader.write(b"GET /stories HTTP/1.1\r\nhost: h\r\n\r\n").await;

    within_deadline(is_blocked.recv()).await.unwrap();
    let ahead = sent.load(Ordering::Relaxed);
    assert!(ahead < AHEAD_MAX, "{ahead} bytes were sent to somebody who reads nothing");

    let answer = reader.answer().await;
    assert_eq!(answer.head.get("content-length"), Some(LARGE.to_string().as_str()));
    assert!(answer.body == pattern(LARGE), "the bytes are not the same");
}

#[tokio::test]
async fn a_large_upload_arrives_whole_and_a_slow_service_slows_the_client_down() {
    let goes_on = Arc::new(Notify::new());
    let wait = Arc::clone(&goes_on);
    let upstream = Upstream::start(move |mut exchange: Exchange| {
        let wait = Arc::clone(&wait);
        async move {
            wait.notified().await;
            let body = exchange.body().await.unwrap();
            exchange.reply(ok(if body == pattern(LARGE) { "same" } else { "different" })).await
        }
    })
    .await;
    let gateway = TestGateway::before(&upstream).await;
    let mut connection = gateway.connect().await;
    let head = format!("POST /stories HTTP/1.1\r\nhost: h\r\ncontent-length: {LARGE}\r\n\r\n");
    connection.write(head.as_bytes()).await;

    let sent = Arc::new(AtomicUsize::new(0));
    let (blocked, mut is_blocked) = mpsc::unbounded_channel();
    let counter = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        write_noticing_blocks(&mut connection, &counter, &blocked).await;
        connection
    });
    within_deadline(is_blocked.recv()).await.unwrap();
    let ahead = sent.load(Ordering::Relaxed);
    assert!(ahead < AHEAD_MAX, "{ahead} bytes were taken for somebody who reads nothing");

    goes_on.notify_one();
    let mut connection = within_deadline(sending).await.unwrap();
    assert_eq!(connection.answer().await.body, b"same");
}

/// Writes the large pattern, counts the bytes, and reports when the other side takes nothing.
async fn write_noticing_blocks(
    connection: &mut Connection,
    sent: &AtomicUsize,
    blocked: &mpsc::UnboundedSender<()>,
) {
    let pattern = pattern(LARGE);
    let mut rest = pattern.as_slice();
    while !rest.is_empty() {
        let piece = &rest[..rest.len().min(PIECE)];
        let written = loop {
            match tokio::time::timeout(BLOCKED, connection.write_some(piece)).await {
                Ok(written) => break written.unwrap(),
                Err(_) => blocked.send(()).unwrap(),
            }
        };
        sent.fetch_add(written, Ordering::Relaxed);
        rest = &rest[written..];
    }
}

/// Starts a server that reports when a request has arrived, sends `first`, and reports when the other
/// side has disconnected.
async fn watching_upstream(
    first: &'static str,
) -> (Upstream, mpsc::UnboundedReceiver<&'static str>) {
    let (say, said) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |mut exchange: Exchange| {
        let say = say.clone();
        async move {
            exchange.connection.write(first.as_bytes()).await;
            say.send("came").unwrap();
            exchange.connection.closed().await;
            say.send("left").unwrap();
            None
        }
    })
    .await;
    (upstream, said)
}

#[tokio::test]
async fn a_client_that_disconnects_before_the_response_cancels_the_request() {
    let (upstream, mut said) = watching_upstream("").await;
    let gateway = TestGateway::before(&upstream).await;
    let mut connection = gateway.connect().await;
    connection.write(b"GET /stories HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(within_deadline(said.recv()).await, Some("came"));
    drop(connection);
    assert_eq!(within_deadline(said.recv()).await, Some("left"));
}

#[tokio::test]
async fn a_client_that_disconnects_during_the_response_cancels_the_request() {
    let first = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let (upstream, mut said) = watching_upstream(first).await;
    let gateway = TestGateway::before(&upstream).await;
    let mut response = gateway.get("/stories").await;
    assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
    assert_eq!(within_deadline(said.recv()).await, Some("came"));
    drop(response);
    assert_eq!(within_deadline(said.recv()).await, Some("left"));
}

#[tokio::test]
async fn a_truncated_upload_is_never_taken_for_a_complete_one() {
    let (say, mut said) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |mut exchange: Exchange| {
        let say = say.clone();
        async move {
            say.send(None).unwrap();
            say.send(Some(exchange.body().await)).unwrap();
            None
        }
    })
    .await;
    let gateway = TestGateway::before(&upstream).await;
    for framing in
        ["content-length: 10\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"]
    {
        let mut connection = gateway.connect().await;
        let request = format!("POST /stories HTTP/1.1\r\nhost: h\r\n{framing}");
        connection.write(request.as_bytes()).await;
        assert_eq!(within_deadline(said.recv()).await, Some(None));
        drop(connection);
        let body = within_deadline(said.recv()).await.unwrap().unwrap();
        assert!(body.is_err(), "{framing:?}: {body:?}");
    }
}

#[tokio::test]
async fn a_truncated_response_is_never_taken_for_a_complete_one() {
    let long = "x".repeat(2 * PIECE);
    for (answer, is_passed_on) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello".to_owned(), false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n".to_owned(), false),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"
                .to_owned(),
            false,
        ),
        (format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{long}", 3 * PIECE), true),
        (format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20000\r\n{long}\r\n"), true),
    ] {
        let upstream = Upstream::start(move |mut exchange: Exchange| {
            let answer = answer.clone();
            async move {
                exchange.connection.write(answer.as_bytes()).await;
                None
            }
        })
        .await;
        let gateway = TestGateway::before(&upstream).await;
        let response = gateway.client.get(gateway.url("/stories")).send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await;
        if is_passed_on {
            assert_eq!(status, 200);
            body.unwrap_err();
        } else {
            // Nothing was passed on, so that the client gets an error instead of half a response.
            assert_problem(status, &body.unwrap(), ErrorCode::UpstreamBroken);
        }
    }
}

#[tokio::test]
async fn a_response_that_stalls_is_truncated() {
    let first = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let (upstream, mut said) = watching_upstream(first).await;
    let mut setup = Setup::new(&upstream, &upstream);
    setup.timeouts = Timeouts { body_idle: Duration::from_millis(100), ..Timeouts::default() };
    let gateway = setup.start().await;
    let response = gateway.get("/stories").await;
    assert_eq!(response.status(), 200);
    within_deadline(response.bytes()).await.unwrap_err();
    assert_eq!(within_deadline(said.recv()).await, Some("came"));
    assert_eq!(within_deadline(said.recv()).await, Some("left"));
}

#[tokio::test]
async fn an_upload_that_stalls_is_answered_with_an_error() {
    let (upstream, mut said) = watching_upstream("").await;
    let mut setup = Setup::new(&upstream, &upstream);
    setup.timeouts = Timeouts { body_idle: Duration::from_millis(100), ..Timeouts::default() };
    let gateway = setup.start().await;
    let request = "POST /stories HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhello";
    let answer = gateway.send(request).await;
    assert_problem(answer.head.status(), &answer.body, ErrorCode::BadRequest);
    assert_eq!(within_deadline(said.recv()).await, Some("came"));
    assert_eq!(within_deadline(said.recv()).await, Some("left"));
}

#[tokio::test]
async fn a_long_upload_may_take_longer_than_the_timeout_of_the_response() {
    let upstream = Upstream::start(async |mut exchange: Exchange| {
        let body = exchange.body().await.unwrap();
        exchange.reply(ok(&body.len().to_string())).await
    })
    .await;
    let mut setup = Setup::new(&upstream, &upstream);
    let response_head = Duration::from_millis(300);
    setup.timeouts = Timeouts { response_head, ..Timeouts::default() };
    let gateway = setup.start().await;
    let mut connection = gateway.connect().await;
    connection.write(b"POST /stories HTTP/1.1\r\nhost: h\r\ncontent-length: 20\r\n\r\n").await;
    // A slow client: twenty bytes, which together take longer than the timeout of the response.
    let mut clock = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..20 {
        clock.tick().await;
        connection.write(b"x").await;
    }
    assert_eq!(connection.answer().await.body, b"20");
}

#[tokio::test]
async fn an_early_response_is_forwarded_during_the_upload() {
    let upstream = Upstream::start(async |mut exchange: Exchange| {
        let answer = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\n\
                      connection: close\r\n\r\ntoo large";
        exchange.connection.write(answer.as_bytes()).await;
        exchange.connection.closed().await;
        None
    })
    .await;
    let gateway = TestGateway::before(&upstream).await;
    let mut connection = gateway.connect().await;
    let head = format!("POST /stories HTTP/1.1\r\nhost: h\r\ncontent-length: {LARGE}\r\n\r\nbegin");
    connection.write(head.as_bytes()).await;
    let answer = connection.answer().await;
    assert_eq!((answer.head.status(), answer.body.as_slice()), (413, &b"too large"[..]));
}
