//! Two replicas of each service as processes behind one gateway: replaced, killed and stopped while
//! clients read.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, join_all};
use gateway::{Gateway, Timeouts};
use mongodb::bson::doc;
use service_kit::{
    runtime::settings::url::local_url,
    web::{http_client::service_client, upstream::Resolve},
};
use test_support::{Api, TOKEN, TestDatabase, eventually, get, mongodb_uri, settings};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{Folder, Turbulence};

/// The paths that clients read: one of each service, and one for which content-service asks
/// sections-service.
const PATHS: [&str; 3] = ["/sections", "/stories?limit=1", "/resolve?path=/blog"];

/// The number of clients.
const CLIENTS: usize = 6;

/// The number of requests of which each of the phases of a test consists.
const REQUESTS: usize = 300;

/// The addresses of the services' names, as a name server of a cluster has them.
#[derive(Debug, Clone, Default)]
struct Names(Arc<Mutex<HashMap<&'static str, Vec<IpAddr>>>>);

impl Resolve for Names {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let found = self.0.lock().unwrap().get(host.as_str()).cloned().unwrap_or_default();
        Box::pin(async move { Ok(found) })
    }
}

/// A process of a service on a loopback address of its own.
struct Process {
    turbulence: Turbulence,
    service: &'static str,
    address: SocketAddr,
}

/// A site with two replicas of each service, whose gateway knows one name of each.
struct Cluster {
    database: TestDatabase,
    folder: Folder,
    ports: [u16; 2],
    names: Names,
    processes: Vec<Process>,
    gateway: String,
    _stops_at_the_end: DropGuard,
}

impl Cluster {
    async fn start() -> Self {
        let names = Names::default();
        let free_port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (database, ports) = (TestDatabase::new().await, [free_port(), free_port()]);
        let story = doc! { "title": "Old", "content": "", "is_published": true };
        database.insert("stories", [story]).await;
        let [sections, content] = [("sections.test", ports[0]), ("content.test", ports[1])]
            .map(|(name, port)| format!("http://{name}:{port}"));
        let upstreams = [("upstreams.sections", &*sections), ("upstreams.content", &*content)];
        let settings = settings(&database, &upstreams);
        let resolver = Arc::new(names.clone());
        let gateway =
            Gateway::bind_resolving(&settings, Timeouts::default(), resolver).await.unwrap();
        let address = local_url(gateway.address());
        let shutdown = CancellationToken::new();
        tokio::spawn(gateway.run(shutdown.clone()));
        let mut cluster = Self {
            database,
            folder: Folder::new(),
            ports,
            names,
            processes: Vec::new(),
            gateway: address,
            _stops_at_the_end: shutdown.drop_guard(),
        };
        // Addresses that no other test uses: the port is free on all of them.
        for (service, last) in
            [("sections", 11), ("sections", 12), ("content", 11), ("content", 12)]
        {
            cluster.add(service, last).await;
        }
        eventually("the site is migrated and linked", async || {
            get(&format!("{}/stories?section=blog", cluster.gateway), None).await.1["total"] == 1
        })
        .await;
        cluster
    }

    /// Starts a replica with the default settings of a process of its own, and adds its address to the
    /// name when it is ready.
    async fn add(&mut self, service: &'static str, last: u8) {
        let port = self.ports[usize::from(service == "content")];
        let address = SocketAddr::from(([127, 0, 0, last], port));
        let mut command = self.folder.command(&[service]);
        let both = |port| format!("http://127.0.0.11:{port},http://127.0.0.12:{port}");
        command
            .env_remove("TURBULENCE__SERVER__DRAIN_SECONDS")
            .env("TURBULENCE__MONGODB__URI", mongodb_uri())
            .env("TURBULENCE__MONGODB__DATABASE", self.database.name())
            .env("TURBULENCE__AUTH__STATIC_TOKEN", TOKEN)
            .env("TURBULENCE__SECTIONS__URL", both(self.ports[0]))
            .env("TURBULENCE__CONTENT__URL", both(self.ports[1]))
            .args(["--host", &address.ip().to_string(), "--port", &port.to_string()]);
        let turbulence = Turbulence::spawn(command);
        let url = format!("http://{address}/health/ready");
        // The address refuses connections until the process listens.
        let client = service_client(Duration::from_secs(5)).unwrap();
        eventually("the replica is ready", async || {
            client.get(&url).send().await.is_ok_and(|response| response.status() == 200)
        })
        .await;
        let name = if service == "content" { "content.test" } else { "sections.test" };
        self.names.0.lock().unwrap().entry(name).or_default().push(address.ip());
        self.processes.push(Process { turbulence, service, address });
    }

    fn of(&self, service: &str) -> &Process {
        self.processes.iter().find(|process| process.service == service).unwrap()
    }

    /// Takes the oldest replica of a service out of the list.
    fn take(&mut self, service: &str) -> Process {
        let place = self.processes.iter().position(|one| one.service == service).unwrap();
        self.processes.remove(place)
    }

    /// Starts clients that read without pause.
    fn read(&self) -> Readers {
        let stop = CancellationToken::new();
        let log = Arc::new(Mutex::new(Log::default()));
        let clients = (0..CLIENTS).map(|number| {
            let (stop, log, base) = (stop.clone(), Arc::clone(&log), self.gateway.clone());
            tokio::spawn(async move {
                let client = service_client(Duration::from_secs(60)).unwrap();
                for path in PATHS.iter().cycle().skip(number) {
                    if stop.is_cancelled() {
                        return;
                    }
                    let started = Instant::now();
                    let response = client.get(format!("{base}{path}")).send().await;
                    let status = response.map(|response| response.status().as_u16());
                    let mut log = log.lock().unwrap();
                    log.durations.push(started.elapsed());
                    if !matches!(status, Ok(200)) {
                        log.failures.push(format!("{path}: {status:?}"));
                    }
                }
            })
        });
        Readers { clients: clients.collect(), stop, log }
    }
}

#[derive(Default)]
struct Log {
    durations: Vec<Duration>,
    failures: Vec<String>,
}

/// Clients that read until they are stopped.
struct Readers {
    clients: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    log: Arc<Mutex<Log>>,
}

impl Readers {
    /// Waits until so many more requests are answered.
    async fn answered(&self, more: usize) {
        let count = || self.log.lock().unwrap().durations.len();
        let before = count();
        eventually("requests are answered", || std::future::ready(count() >= before + more)).await;
    }

    /// Stops the clients. Asserts that no request failed and returns the time within which 99 of 100
    /// were answered.
    async fn none_failed(self) -> Duration {
        self.answered(REQUESTS).await;
        self.stop.cancel();
        join_all(self.clients).await;
        let mut log = self.log.lock().unwrap();
        let failures = &log.failures;
        assert!(failures.is_empty(), "{} of {}: {failures:?}", failures.len(), log.durations.len());
        log.durations.sort_unstable();
        log.durations[log.durations.len() * 99 / 100]
    }
}

#[tokio::test]
async fn no_request_fails_during_a_rolling_update_behind_one_name() {
    let mut cluster = Cluster::start().await;
    let readers = cluster.read();
    readers.answered(REQUESTS).await;
    // One after the other, both services at the same time. The new replica has the address of the old
    // one, as a port can be used again at once.
    for _ in 0..2 {
        let old = [cluster.take("sections"), cluster.take("content")];
        let restarted = old.map(|Process { turbulence, service, address }| async move {
            turbulence.stop().await;
            (service, address)
        });
        for (service, address) in join_all(restarted).await {
            let IpAddr::V4(ip) = address.ip() else { unreachable!() };
            let name = if service == "content" { "content.test" } else { "sections.test" };
            // The name server learns later than the gateway that the address is gone.
            cluster.names.0.lock().unwrap().get_mut(name).unwrap().retain(|one| *one != ip);
            cluster.add(service, ip.octets()[3]).await;
        }
        readers.answered(REQUESTS).await;
    }
    readers.none_failed().await;
}

#[tokio::test]
async fn no_read_fails_when_one_of_two_replicas_is_killed() {
    let mut cluster = Cluster::start().await;
    for service in ["sections", "content"] {
        let readers = cluster.read();
        readers.answered(REQUESTS).await;
        // Killed with SIGKILL.
        drop(cluster.take(service));
        readers.none_failed().await;
        cluster.add(service, 11).await;
    }
    // Nor a write, once the connections of the dead process are known to be closed.
    drop(cluster.take("content"));
    let api = Api::new(&cluster.gateway);
    for number in 0..10 {
        let story = serde_json::json!({ "title": format!("Story {number}"), "content": "" });
        assert_eq!(api.call("POST", "/stories", story).await.status, 201);
    }
}

#[tokio::test]
async fn reads_wait_seconds_at_most_when_one_of_two_replicas_is_stopped() {
    let cluster = Cluster::start().await;
    for service in ["content", "sections"] {
        let readers = cluster.read();
        readers.answered(REQUESTS).await;
        cluster.of(service).turbulence.signal("STOP");
        let slowest = readers.none_failed().await;
        cluster.of(service).turbulence.signal("CONT");
        // The rule is three seconds; the machine of a test may be busy.
        assert!(slowest < Duration::from_secs(5), "{service}: {slowest:?}");
    }
}

#[tokio::test]
async fn a_process_that_drains_answers_and_closes_its_connections() {
    let cluster = Cluster::start().await;
    let process = cluster.of("content");
    let url = format!("http://{}", process.address);
    let client = service_client(Duration::from_secs(10)).unwrap();
    let connection = async |path: &str| {
        let response = client.get(format!("{url}{path}")).send().await.unwrap();
        let header = response.headers().get("connection").map(|value| value.as_bytes().to_vec());
        (response.status().as_u16(), header)
    };
    assert_eq!(connection("/stories").await, (200, None));
    process.turbulence.signal("TERM");
    eventually("the process drains", async || {
        connection("/health/ready").await == (503, Some(b"close".to_vec()))
    })
    .await;
    assert_eq!(connection("/stories").await, (200, Some(b"close".to_vec())));
}
