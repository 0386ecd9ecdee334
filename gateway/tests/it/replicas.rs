//! Replicas: round robin, failure and recovery; and the shutdown of the gateway.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Instant,
};

use futures_util::future::BoxFuture;
use gateway::Timeouts;
use models::{ErrorCode, Problem};
use service_kit::web::upstream::Resolve;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};

use crate::support::{
    Connection, DEADLINE, Exchange, Setup, TestGateway, Upstream, assert_problem, eventually,
    nobody, ok, within_deadline,
};

/// Starts replicas that close each connection after the response, so that each request needs a new
/// one.
async fn two_replicas() -> (Upstream, Upstream, TestGateway) {
    let answer = |body: &str| {
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\n{body}")
    };
    let one = Upstream::answering(answer("one")).await;
    let two = Upstream::answering(answer("two")).await;
    let addresses = vec![one.address, two.address];
    let gateway = Setup::replicas(addresses.clone(), addresses).start().await;
    (one, two, gateway)
}

async fn answers(gateway: &TestGateway, count: usize) -> Vec<String> {
    let mut answers = Vec::new();
    for _ in 0..count {
        let response = gateway.get("/stories").await;
        assert_eq!(response.status(), 200);
        answers.push(response.text().await.unwrap());
    }
    answers
}

#[tokio::test]
async fn replicas_are_used_in_turn() {
    let (_one, _two, gateway) = two_replicas().await;
    assert_eq!(answers(&gateway, 4).await, ["one", "two", "one", "two"]);
}

#[tokio::test]
async fn no_request_fails_because_of_a_dead_replica() {
    let (one, two, gateway) = two_replicas().await;
    answers(&gateway, 2).await;
    let address = one.address;
    drop(one);
    eventually(async || TcpStream::connect(address).await.is_err().then_some(())).await;
    assert_eq!(answers(&gateway, 20).await, vec!["two"; 20]);
    assert_eq!(two.heads().len(), 21);
}

#[tokio::test]
async fn no_repeatable_request_fails_because_of_a_replica_that_closes_the_connection() {
    let broken = Upstream::start(async |_: Exchange| None).await;
    let alive = Upstream::answering(ok("alive")).await;
    let addresses = vec![broken.address, alive.address];
    let gateway = Setup::replicas(addresses.clone(), addresses).start().await;
    assert_eq!(answers(&gateway, 4).await, vec!["alive"; 4]);
    assert_eq!(broken.heads().len(), 2);

    let before = (broken.heads().len(), alive.heads().len());
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let answer = gateway.send("POST /stories HTTP/1.1\r\nhost: h\r\n\r\n").await;
        statuses.push(answer.head.status());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502], "what may have changed something is not repeated");
    assert_eq!((broken.heads().len(), alive.heads().len()), (before.0 + 1, before.1 + 1));
}

/// A request that creates something, with these headers.
fn post(headers: &str) -> String {
    format!("POST /stories HTTP/1.1\r\nhost: h\r\n{headers}content-length: 5\r\n\r\nhello")
}

/// Starts a server that answers the first request of each connection, and closes the connection when
/// the second one arrives. Requests with a key are answered in any case.
async fn closing_as_a_request_arrives() -> Upstream {
    let served = Mutex::new(std::collections::HashSet::new());
    Upstream::start(move |mut exchange: Exchange| {
        let is_first = served.lock().unwrap().insert(exchange.connection.peer());
        async move {
            let body = exchange.body().await.ok()?;
            is_first.then_some(())?;
            exchange.reply(ok(&String::from_utf8(body).unwrap())).await
        }
    })
    .await
}

#[tokio::test]
async fn a_post_on_a_connection_that_closes_is_sent_again_only_with_a_key() {
    for (headers, status) in [("idempotency-key: k\r\n", 200), ("", 502)] {
        let upstream = closing_as_a_request_arrives().await;
        let gateway = TestGateway::before(&upstream).await;
        // On one connection, and so by one worker of the gateway.
        let mut connection = gateway.connect().await;
        connection.write(post(headers).as_bytes()).await;
        assert_eq!(connection.answer().await.head.status(), 200);
        connection.write(post(headers).as_bytes()).await;
        let answer = connection.answer().await;
        assert_eq!(answer.head.status(), status, "{headers}");
        if status == 200 {
            assert_eq!(answer.body, b"hello");
        }
        let attempts = if status == 200 { 3 } else { 2 };
        assert_eq!(upstream.heads().len(), attempts, "{headers}");
    }
}

#[tokio::test]
async fn a_key_makes_only_creating_requests_repeatable() {
    let broken = Upstream::start(async |_: Exchange| None).await;
    let gateway = TestGateway::before(&broken).await;
    for (line, attempts) in [
        ("POST /sections", 2),
        ("POST /stories?x", 2),
        ("POST /pages", 2),
        ("POST /content/move", 1),
        ("POST /content", 1),
        ("POST /stories/0123456789abcdef01234567/restore", 1),
        ("PUT /sections/order", 1),
        ("PATCH /projects/0123456789abcdef01234567", 1),
        ("DELETE /stories/0123456789abcdef01234567", 1),
        ("PUT /stories", 1),
    ] {
        let before = broken.heads().len();
        let request = format!("{line} HTTP/1.1\r\nhost: h\r\nidempotency-key: k\r\n\r\n");
        assert_eq!(gateway.send(request).await.head.status(), 502, "{line}");
        assert_eq!(broken.heads().len() - before, attempts, "{line}");
    }
}

#[tokio::test]
async fn a_post_on_a_connection_that_was_closed_before_is_sent_on_a_new_one() {
    let upstream = Upstream::start(async |mut exchange: Exchange| {
        exchange.body().await.ok()?;
        exchange.reply(ok("done")).await;
        None
    })
    .await;
    let gateway = TestGateway::before(&upstream).await;
    let mut connection = gateway.connect().await;
    for _ in 0..20 {
        connection.write(post("").as_bytes()).await;
        assert_eq!(connection.answer().await.head.status(), 200);
    }
}

#[tokio::test]
async fn a_request_that_a_replica_refuses_because_it_is_not_ready_goes_to_the_next() {
    let refusal = |body: String| {
        let length = body.len();
        format!("HTTP/1.1 503 X\r\ncontent-length: {length}\r\nretry-after: 1\r\n\r\n{body}")
    };
    let problem = Problem::new(ErrorCode::NotReady, "The service is starting.");
    let problem = serde_json::to_string(&problem).unwrap();
    let not_ready = Upstream::answering(refusal(problem)).await;
    let draining = Upstream::answering(refusal(r#"{"status":"draining"}"#.to_owned())).await;
    let ready = Upstream::answering(ok("done")).await;
    for upstream in [&not_ready, &draining] {
        let gateway = Setup::replicas(vec![ready.address], vec![upstream.address, ready.address]);
        let gateway = gateway.start().await;
        for _ in 0..4 {
            assert_eq!(gateway.send(post("")).await.body, b"done");
            assert_eq!(gateway.get("/stories").await.text().await.unwrap(), "done");
        }
        assert!(!upstream.heads().is_empty());
    }
    // Without another replica, the refusal is the answer.
    let gateway = TestGateway::before(&not_ready).await;
    let answer = gateway.send(post("")).await;
    assert_eq!((answer.head.status(), answer.head.get("retry-after")), (503, Some("1")));
}

#[tokio::test]
async fn a_get_that_ends_its_replica_does_not_end_all() {
    let mut replicas = Vec::new();
    for _ in 0..4 {
        replicas.push(Upstream::start(async |_: Exchange| None).await);
    }
    let addresses: Vec<_> = replicas.iter().map(|replica| replica.address).collect();
    let gateway = Setup::replicas(addresses.clone(), addresses).start().await;
    let answer = gateway.send("GET /stories HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(answer.head.status(), 502);
    let reached: usize = replicas.iter().map(|replica| replica.heads().len()).sum();
    assert_eq!(reached, 2);
}

/// A fault of every second response of a replica.
#[derive(Clone, Copy, Debug)]
enum HalfTheTime {
    Fails(u16),
    Resets,
    Truncates,
    TruncatesLongBodies,
}

#[tokio::test]
async fn a_replica_that_fails_half_of_its_requests_is_taken_out() {
    const LONG: usize = 200_000;
    use HalfTheTime::*;
    for fault in [Fails(500), Fails(503), Resets, Truncates, TruncatesLongBodies] {
        let long = "x".repeat(if matches!(fault, TruncatesLongBodies) { LONG } else { 10 });
        let good = ok(&long);
        let well = Upstream::answering(good.clone()).await;
        let count = std::sync::atomic::AtomicUsize::new(0);
        let faulty = Upstream::start(move |mut exchange: Exchange| {
            let good = good.clone();
            let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let is_bad = number.is_multiple_of(2);
            async move {
                match fault {
                    _ if !is_bad => exchange.reply(good).await,
                    Fails(status) => {
                        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                        exchange.reply(head).await
                    }
                    Resets => None,
                    Truncates | TruncatesLongBodies => {
                        exchange.connection.write(&good.as_bytes()[..good.len() - 5]).await;
                        None
                    }
                }
            }
        })
        .await;
        let addresses = vec![well.address, faulty.address];
        let gateway = Setup::replicas(addresses.clone(), addresses).start().await;
        let mut failed = Vec::new();
        for number in 0..400 {
            let response = gateway.get("/stories").await;
            let is_ok = response.status() == 200;
            if !is_ok || response.bytes().await.is_err() {
                failed.push(number);
            }
        }
        // What was passed on in part cannot be repeated; the replica is taken out after five of them.
        let limit = if matches!(fault, TruncatesLongBodies) { 5 } else { 0 };
        assert!(failed.len() <= limit, "{fault:?}: {failed:?}");
        assert!(faulty.heads().len() < 40, "{fault:?}: {}", faulty.heads().len());
        let body = gateway.readiness(200).await;
        let replica = &body["checks"]["content-service"]["replicas"][1];
        assert_eq!(replica["reason"], "too many errors", "{fault:?}");
    }
}

#[tokio::test]
async fn a_get_at_a_replica_that_is_silent_is_answered_by_another_one() {
    let silent = Upstream::start(async |mut exchange: Exchange| {
        exchange.connection.closed().await;
        None
    })
    .await;
    let well = Upstream::answering(ok("well")).await;
    let addresses = vec![silent.address, well.address];
    let gateway = Setup::replicas(addresses.clone(), addresses).start().await;
    let started = Instant::now();
    assert_eq!(answers(&gateway, 10).await, vec!["well"; 10]);
    // The timeout of a response is thirty seconds. Only the first request waits: the others avoid the
    // replica, except after a probe that it answers.
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    assert!(silent.heads().len() < 10);
}

/// A resolver whose answer a test sets.
#[derive(Debug, Default)]
struct Name(Arc<Mutex<Vec<IpAddr>>>);

impl Resolve for Name {
    fn resolve(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let found = self.0.lock().unwrap().clone();
        Box::pin(async move { Ok(found) })
    }
}

#[tokio::test]
async fn each_address_of_a_name_is_a_replica_and_new_ones_are_found() {
    let one = Upstream::answering(ok("one")).await;
    let port = one.address.port();
    let at = |ip: [u8; 4]| SocketAddr::from((ip, port));
    let answer = async |exchange: Exchange| exchange.reply(ok("two")).await;
    let two = Upstream::on(TcpListener::bind(at([127, 0, 0, 2])).await.unwrap(), answer);
    let name = Name::default();
    let addresses = Arc::clone(&name.0);
    addresses.lock().unwrap().push(one.address.ip());
    let mut settings = Setup::new(&one, &one).settings();
    settings.upstreams.content = format!("http://content.test:{port}").parse().unwrap();
    let gateway = Setup::new(&one, &one).start_with(&settings, Arc::new(name)).await;
    gateway.readiness(200).await;
    assert_eq!(answers(&gateway, 2).await, ["one", "one"]);
    assert_eq!(one.heads()[0].get("host"), Some(format!("content.test:{port}").as_str()));

    addresses.lock().unwrap().push(two.address.ip());
    eventually(async || answers(&gateway, 2).await.contains(&"two".to_owned()).then_some(())).await;
    let body = gateway.readiness(200).await;
    let replicas = body["checks"]["content-service"]["replicas"].as_array().unwrap();
    let shown: Vec<_> =
        replicas.iter().map(|one| [one["address"].clone(), one["name"].clone()]).collect();
    let named = format!("http://content.test:{port}");
    let expected = [one.address, two.address].map(|at| [format!("http://{at}"), named.clone()]);
    assert_eq!(serde_json::to_value(shown).unwrap(), serde_json::to_value(expected).unwrap());

    addresses.lock().unwrap().remove(0);
    eventually(async || (answers(&gateway, 4).await == ["two"; 4]).then_some(())).await;
}

#[tokio::test]
async fn an_upload_to_a_dead_replica_arrives_complete_at_another() {
    let alive = Upstream::start(async |mut exchange: Exchange| {
        let body = exchange.body().await.unwrap();
        exchange.reply(ok(&String::from_utf8(body).unwrap())).await
    })
    .await;
    for request in [
        "POST /stories HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello",
        "POST /stories HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
    ] {
        let content = vec![nobody().await, nobody().await, alive.address];
        let gateway = Setup::replicas(vec![alive.address], content).start().await;
        assert_eq!(gateway.send(request).await.body, b"hello");
    }
    assert_eq!(alive.heads().len(), 2);
}

#[tokio::test]
async fn without_a_replica_the_response_is_an_immediate_503() {
    let alive = Upstream::answering(ok("")).await;
    let content = vec![nobody().await, nobody().await];
    let gateway = Setup::replicas(vec![alive.address], content).start().await;
    // The first request may detect the failure, the second one is refused at once.
    for _ in 0..2 {
        let started = Instant::now();
        let answer = gateway.send("GET /stories HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert!(started.elapsed().as_millis() < 1000, "{:?}", started.elapsed());
        let problem =
            assert_problem(answer.head.status(), &answer.body, ErrorCode::UpstreamUnavailable);
        insta::allow_duplicates! {
        insta::assert_json_snapshot!(problem, { ".trace_id" => "[trace id]" }, @r#"
        {
          "type": "urn:turbulence:error:upstream_unavailable",
          "title": "Upstream unavailable",
          "status": 503,
          "detail": "content-service is not available at the moment. Try again in a second.",
          "code": "upstream_unavailable",
          "trace_id": "[trace id]"
        }
        "#);
        }
        assert_eq!(answer.head.get("retry-after"), Some("1"));
        assert_eq!(answer.head.get("content-type"), Some("application/json"));
    }
    assert_eq!(gateway.get("/sections").await.status(), 200, "the other service is not affected");
}

#[tokio::test]
async fn a_replica_that_recovers_is_used_again() {
    let address: SocketAddr = nobody().await;
    let gateway = Setup::replicas(vec![address], vec![address]).start().await;
    gateway.readiness(503).await;
    assert_eq!(gateway.get("/stories").await.status(), 503);
    let listener = TcpListener::bind(address).await.unwrap();
    let _back = Upstream::on(listener, async |exchange: Exchange| exchange.reply(ok("back")).await);
    gateway.readiness(200).await;
    assert_eq!(answers(&gateway, 1).await, ["back"]);
}

#[tokio::test]
async fn a_replica_that_is_not_ready_gets_no_requests() {
    let (one, two, gateway) = two_replicas().await;
    gateway.readiness(200).await;
    one.set_ready_status(503);
    eventually(async || (answers(&gateway, 2).await == ["two", "two"]).then_some(())).await;
    one.set_ready_status(200);
    eventually(async || answers(&gateway, 1).await.contains(&"one".to_owned()).then_some(())).await;
    two.set_ready_status(503);
    eventually(async || (answers(&gateway, 2).await == ["one", "one"]).then_some(())).await;
}

#[tokio::test]
async fn requests_in_flight_finish_when_the_gateway_stops() {
    let (say, mut said) = mpsc::unbounded_channel();
    let release = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&release);
    let upstream = Upstream::start(move |exchange: Exchange| {
        let (say, wait) = (say.clone(), Arc::clone(&wait));
        async move {
            say.send(()).unwrap();
            wait.acquire().await.unwrap().forget();
            exchange.reply(ok("finished")).await
        }
    })
    .await;
    let mut setup = Setup::new(&upstream, &upstream);
    setup.timeouts = Timeouts { probe_interval: DEADLINE, ..Timeouts::default() };
    let mut gateway = setup.start().await;
    // The server's workers take turns in accepting connections.
    let [mut first, mut second] = [gateway.connect().await, gateway.connect().await];
    let [mut third, mut fourth] = [gateway.connect().await, gateway.connect().await];
    let mut ask = async |connection: &mut Connection, header: &str| {
        let request = format!("GET /stories HTTP/1.1\r\nhost: h\r\n{header}\r\n");
        connection.write(request.as_bytes()).await;
        within_deadline(said.recv()).await.unwrap();
    };

    // One worker opens connections to the service, another one uses them next, and then the
    // first has nothing left to do and stops at once.
    ask(&mut second, "connection: close\r\n").await;
    ask(&mut fourth, "connection: close\r\n").await;
    release.add_permits(2);
    for mut connection in [second, fourth] {
        assert_eq!(connection.answer().await.body, b"finished");
        connection.closed().await;
    }
    ask(&mut first, "").await;
    ask(&mut third, "").await;
    gateway.shutdown.cancel();
    // As soon as the port is free, the gateway has stopped its workers. (A connection as a test would
    // give them work.)
    let address = gateway.address;
    eventually(async || TcpListener::bind(address).await.ok()).await;

    release.add_permits(2);
    assert_eq!(first.answer().await.body, b"finished");
    assert_eq!(third.answer().await.body, b"finished");
    drop((first, third));
    within_deadline(&mut gateway.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_to_a_service_are_reused() {
    let ports = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let seen = Arc::clone(&ports);
    let upstream = Upstream::start(move |exchange: Exchange| {
        seen.lock().unwrap().insert(exchange.connection.peer());
        exchange.reply(ok(""))
    })
    .await;
    let gateway = TestGateway::before(&upstream).await;
    for _ in 0..20 {
        let mut connection = Connection::to(gateway.address).await;
        connection.write(b"GET /stories HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(connection.answer().await.head.status(), 200);
    }
    let used = ports.lock().unwrap().len();
    assert!(used < 5, "{used} connections for 20 requests one after the other");
}
