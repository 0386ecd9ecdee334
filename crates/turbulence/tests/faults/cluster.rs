//! Two replicas of each service as processes, and gateways before them.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use mongodb::bson::doc;
use serde_json::json;
use service_kit::{
    runtime::settings::url::local_url,
    web::{http_client::service_client, upstream::Resolve},
};
use test_support::{Api, TOKEN, TestDatabase, eventually, get, mongodb_uri, settings};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    accounts::{Tally, signed},
    support::{Folder, PROGRAM, Turbulence},
    traffic::Clients,
};

/// The paths that clients read: one of each service, and one for which content-service needs the
/// sections.
const PATHS: [&str; 3] = ["/sections", "/stories?limit=1", "/resolve?path=/blog"];

/// The number of clients that read, and of those that write.
const READERS: usize = 6;
const WRITERS: usize = 2;

/// The last numbers of the addresses of the two replicas of a service, which no other test uses.
const ADDRESSES: [u8; 2] = [11, 12];

/// The addresses of the services' names, as a name server of a cluster has them.
#[derive(Debug, Clone, Default)]
struct Names(Arc<Mutex<HashMap<&'static str, Vec<IpAddr>>>>);

impl Names {
    fn add(&self, kind: Kind, ip: IpAddr) {
        self.0.lock().unwrap().entry(kind.host()).or_default().push(ip);
    }

    fn remove(&self, kind: Kind, ip: IpAddr) {
        self.0.lock().unwrap().entry(kind.host()).or_default().retain(|one| *one != ip);
    }
}

impl Resolve for Names {
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let found = self.0.lock().unwrap().get(host.as_str()).cloned().unwrap_or_default();
        Box::pin(async move { Ok(found) })
    }
}

/// One of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sections,
    Content,
}

impl Kind {
    pub(crate) const BOTH: [Self; 2] = [Self::Sections, Self::Content];

    /// Returns the command that starts the service.
    fn command(self) -> &'static str {
        match self {
            Self::Sections => "sections",
            Self::Content => "content",
        }
    }

    /// Returns the name of the service in the cluster.
    fn host(self) -> &'static str {
        match self {
            Self::Sections => "sections.test",
            Self::Content => "content.test",
        }
    }
}

/// A process of a service on a loopback address of its own.
pub(crate) struct Replica {
    pub(crate) turbulence: Turbulence,
    kind: Kind,
    address: SocketAddr,
}

impl Replica {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A site with two replicas of each service.
pub(crate) struct Cluster {
    pub(crate) database: TestDatabase,
    folder: Folder,
    /// The program of the next process.
    program: PathBuf,
    /// The port of each service, which is the same on all addresses.
    ports: [u16; 2],
    names: Names,
    replicas: Vec<Replica>,
}

impl Cluster {
    /// Starts the services and waits until the site is migrated.
    pub(crate) async fn start() -> Self {
        Self::start_with(PathBuf::from(PROGRAM)).await
    }

    /// Starts the services of another version of the program.
    pub(crate) async fn start_with(program: PathBuf) -> Self {
        // Reserved together, so that they differ. They are free on the other addresses, too.
        let listeners = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = listeners.map(|listener| listener.local_addr().unwrap().port());
        let database = TestDatabase::new().await;
        let story = doc! { "title": "Old", "content": "", "is_published": true };
        database.insert("stories", [story]).await;
        let (folder, names, replicas) = (Folder::new(), Names::default(), Vec::new());
        let mut cluster = Self { database, folder, program, ports, names, replicas };
        for kind in Kind::BOTH {
            for last in ADDRESSES {
                cluster.add(kind, last).await;
            }
        }
        let stories = format!("{}/stories?section=blog", cluster.replica(Kind::Content).url());
        eventually("the site is migrated and linked", async || {
            get(&stories, None).await.1["total"] == 1
        })
        .await;
        cluster
    }

    fn port(&self, kind: Kind) -> u16 {
        self.ports[usize::from(kind == Kind::Content)]
    }

    /// Returns the addresses of both replicas of a service, separated by a comma.
    pub(crate) fn urls(&self, kind: Kind) -> String {
        ADDRESSES.map(|last| format!("http://127.0.0.{last}:{}", self.port(kind))).join(",")
    }

    /// Starts a replica with the default settings of a process of its own, and adds its address to the
    /// name when it is ready.
    async fn add(&mut self, kind: Kind, last: u8) {
        let address = SocketAddr::from(([127, 0, 0, last], self.port(kind)));
        let mut command = self.folder.command_of(&self.program, &[kind.command()]);
        command
            .env_remove("TURBULENCE__SERVER__DRAIN_SECONDS")
            .env("TURBULENCE__MONGODB__URI", mongodb_uri())
            .env("TURBULENCE__MONGODB__DATABASE", self.database.name())
            .env("TURBULENCE__AUTH__STATIC_TOKEN", TOKEN)
            .env("TURBULENCE__SECTIONS__URL", self.urls(Kind::Sections))
            .env("TURBULENCE__CONTENT__URL", self.urls(Kind::Content))
            // Clients send all that they can.
            .env("TURBULENCE__RATE_LIMIT__REQUESTS_PER_SECOND", "0")
            .args(["--host", &address.ip().to_string(), "--port", &address.port().to_string()]);
        let replica = Replica { turbulence: Turbulence::spawn(command), kind, address };
        let url = format!("{}/health/ready", replica.url());
        // The address refuses connections until the process listens.
        let client = service_client(Duration::from_secs(5)).unwrap();
        eventually("the replica is ready", async || {
            client.get(&url).send().await.is_ok_and(|response| response.status() == 200)
        })
        .await;
        self.names.add(kind, address.ip());
        self.replicas.push(replica);
    }

    /// Returns the oldest replica of a service.
    pub(crate) fn replica(&self, kind: Kind) -> &Replica {
        self.replicas.iter().find(|replica| replica.kind == kind).unwrap()
    }

    /// Takes the oldest replica of a service out of the list.
    fn take(&mut self, kind: Kind) -> Replica {
        let place = self.replicas.iter().position(|replica| replica.kind == kind).unwrap();
        self.replicas.remove(place)
    }

    /// Sets the program of the processes that are started from now on.
    pub(crate) fn use_program(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Replaces one replica of each of these services at the same time, as a rolling update does. The
    /// new one has the address of the old one, as a port can be used again at once.
    pub(crate) async fn replace(&mut self, kinds: &[Kind]) {
        let old: Vec<_> = kinds.iter().map(|kind| self.take(*kind)).collect();
        let stopped = old.into_iter().map(|Replica { turbulence, kind, address }| async move {
            turbulence.stop().await;
            (kind, address)
        });
        for (kind, address) in join_all(stopped).await {
            // The name server learns later than the gateway that the address is gone.
            self.names.remove(kind, address.ip());
            self.restart(kind, address).await;
        }
    }

    /// Kills a replica with SIGKILL. Returns its address.
    pub(crate) fn kill(&mut self, kind: Kind) -> SocketAddr {
        let killed = self.take(kind);
        self.names.remove(kind, killed.address.ip());
        killed.address
    }

    /// Starts a replica at the address of one that has ended.
    pub(crate) async fn restart(&mut self, kind: Kind, address: SocketAddr) {
        let IpAddr::V4(ip) = address.ip() else { unreachable!("loopback addresses are IPv4") };
        self.add(kind, ip.octets()[3]).await;
    }

    /// Starts a gateway that knows one name of each service. It runs in this process, since the names
    /// are those of no real name server.
    pub(crate) async fn gateway_by_name(&self) -> Gateway {
        let url = |kind: Kind| format!("http://{}:{}", kind.host(), self.port(kind));
        let [sections, content] = Kind::BOTH.map(url);
        let settings = settings(
            &self.database,
            &[
                ("upstreams.sections", &sections),
                ("upstreams.content", &content),
                ("rate_limit.requests_per_second", "0"),
                ("cache.max_bytes", "0"),
            ],
        );
        let resolver = Arc::new(self.names.clone());
        let timeouts = gateway::Timeouts::default();
        let gateway = gateway::Gateway::bind_resolving(&settings, timeouts, resolver).await;
        let gateway = gateway.unwrap();
        let (url, shutdown) = (local_url(gateway.address()), CancellationToken::new());
        tokio::spawn(gateway.run(shutdown.clone()));
        Gateway::ready(url, Running::InThisProcess(shutdown.drop_guard())).await
    }

    /// Starts a gateway process that knows the addresses of both replicas.
    pub(crate) async fn gateway(&self) -> Gateway {
        self.gateway_to(&self.urls(Kind::Content)).await
    }

    /// Starts a gateway process with other addresses of content-service.
    pub(crate) async fn gateway_to(&self, content: &str) -> Gateway {
        let mut command = self.folder.command_of(&self.program, &["gateway", "--port", "0"]);
        command
            .env("TURBULENCE__UPSTREAMS__SECTIONS", self.urls(Kind::Sections))
            .env("TURBULENCE__UPSTREAMS__CONTENT", content)
            // All requests reach the services.
            .env("TURBULENCE__CACHE__MAX_BYTES", "0")
            .env("TURBULENCE__RATE_LIMIT__REQUESTS_PER_SECOND", "0");
        let turbulence = Turbulence::spawn(command);
        let url = turbulence.listens().await;
        Gateway::ready(url, Running::AsProcess(turbulence)).await
    }
}

/// A running gateway. It is stopped at the end of the test.
pub(crate) struct Gateway {
    pub(crate) url: String,
    _running: Running,
}

#[expect(dead_code, reason = "kept, not read")]
enum Running {
    InThisProcess(DropGuard),
    AsProcess(Turbulence),
}

impl Gateway {
    async fn ready(url: String, running: Running) -> Self {
        let ready = format!("{url}/health/ready");
        eventually("the gateway is ready", async || get(&ready, None).await.0 == 200).await;
        Self { url, _running: running }
    }

    /// Starts clients that read without pause.
    pub(crate) fn read(&self) -> Clients {
        let api = Api::new(&*self.url).sent_by(None);
        let number = Arc::new(AtomicUsize::new(0));
        Clients::start(READERS, move || {
            let (api, number) = (api.clone(), number.fetch_add(1, Ordering::Relaxed));
            async move {
                let path = PATHS[number % PATHS.len()];
                let answer = api.get(path).await;
                if answer.status != 200 {
                    eprintln!("{path}: {answer:?}");
                }
                answer.status == 200
            }
        })
    }

    /// Starts clients that create stories without pause, each with a key.
    pub(crate) fn write(&self) -> Writers {
        let api = Api::new(&*self.url);
        let (number, created) = (Arc::new(AtomicUsize::new(0)), Arc::<Mutex<Vec<_>>>::default());
        let acknowledged = Arc::clone(&created);
        let clients = Clients::start(WRITERS, move || {
            let (api, created) = (api.clone(), Arc::clone(&created));
            let title = format!("Story {}", number.fetch_add(1, Ordering::Relaxed));
            async move {
                let story = json!({ "title": title, "content": "" }).to_string();
                let headers = [("idempotency-key", &*title)];
                let answer = api.send("POST", "/stories", &headers, Some(story)).await;
                if answer.status == 201 {
                    created.lock().unwrap().push(title);
                    return true;
                }
                eprintln!("{title}: {answer:?}");
                false
            }
        });
        Writers { clients, acknowledged }
    }
}

/// Clients that create stories.
pub(crate) struct Writers {
    pub(crate) clients: Clients,
    acknowledged: Arc<Mutex<Vec<String>>>,
}

impl Writers {
    /// Stops the clients. Returns their requests, the number of stories that were acknowledged and are
    /// missing, and of those that were created more than once.
    pub(crate) async fn stop(self, database: &TestDatabase) -> Tally {
        let traffic = self.clients.stop().await;
        let stories = database.collection("stories");
        let mut tally = Tally::round(0, 0).with_traffic(traffic);
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        for title in acknowledged {
            let count = stories.count_documents(doc! { "title": title }).await.unwrap();
            tally = tally.beside(Tally::counted(1, signed(count)));
        }
        tally
    }
}
