//! Replicas: round robin, failure and recovery; and the shutdown of the gateway.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

use gateway::Timeouts;
use models::ErrorCode;
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
