//! The shared parts of the tests: a gateway, servers behind it, and clients that send exact bytes.

mod feed;
mod raw;
mod upstream;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use gateway::{Gateway, StartupError, Timeouts};
use models::{ErrorCode, Problem};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use reqwest::Client;
use service_kit::{
    runtime::settings::{Settings, Sources},
    web::upstream::{Resolve, SystemResolver},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;

pub(crate) use feed::Feed;
pub(crate) use raw::{Answer, Connection, Head};
pub(crate) use upstream::{Exchange, Upstream, ok};

/// The longest time that a test waits for a condition.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A gateway that runs until it is dropped.
pub(crate) struct TestGateway {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<Result<(), StartupError>>,
}

/// The configuration of a gateway.
pub(crate) struct Setup {
    pub(crate) sections: Vec<SocketAddr>,
    pub(crate) content: Vec<SocketAddr>,
    /// The replicas of content-service unless a test sets others.
    pub(crate) media: Vec<SocketAddr>,
    pub(crate) console: Vec<SocketAddr>,
    pub(crate) allowed_origins: &'static str,
    /// The default if empty.
    pub(crate) allowed_headers: &'static str,
    /// The number of requests that a client may send at once; after that, one in a second.
    pub(crate) burst: Option<u32>,
    /// Other settings, by their keys.
    pub(crate) others: Vec<(&'static str, String)>,
    pub(crate) timeouts: Timeouts,
}

impl Setup {
    /// Returns a configuration with one replica of each service.
    pub(crate) fn new(sections: &Upstream, content: &Upstream) -> Self {
        Self::replicas(vec![sections.address], vec![content.address])
    }

    pub(crate) fn replicas(sections: Vec<SocketAddr>, content: Vec<SocketAddr>) -> Self {
        let timeouts = Timeouts::default();
        Self {
            sections,
            media: content.clone(),
            console: content.clone(),
            content,
            allowed_origins: "",
            allowed_headers: "",
            burst: None,
            others: Vec::new(),
            timeouts,
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        let urls = |addresses: &[SocketAddr]| {
            addresses
                .iter()
                .map(|address| format!("http://{address}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        let mut command_line = vec![
            ("server.port", "0".to_owned()),
            ("upstreams.sections", urls(&self.sections)),
            ("upstreams.content", urls(&self.content)),
            ("upstreams.media", urls(&self.media)),
            ("upstreams.console", urls(&self.console)),
            ("cors.allowed_origins", self.allowed_origins.to_owned()),
        ];
        if !self.allowed_headers.is_empty() {
            command_line.push(("cors.allowed_headers", self.allowed_headers.to_owned()));
        }
        if let Some(burst) = self.burst {
            command_line.push(("rate_limit.requests_per_second", "1".to_owned()));
            command_line.push(("rate_limit.burst", burst.to_string()));
        }
        command_line.extend(self.others.iter().cloned());
        Settings::load(0, &Sources { command_line, ..Sources::default() }).unwrap()
    }

    pub(crate) async fn start(self) -> TestGateway {
        let settings = self.settings();
        self.start_with(&settings, Arc::new(SystemResolver)).await
    }

    /// Starts a gateway with these settings and this resolver of names.
    pub(crate) async fn start_with(
        self,
        settings: &Settings,
        resolver: Arc<dyn Resolve>,
    ) -> TestGateway {
        trace_ids_are_made();
        let gateway = Gateway::bind_resolving(settings, self.timeouts, resolver).await.unwrap();
        let address = gateway.address();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(gateway.run(shutdown.clone()));
        let client = service_kit::web::http_client::service_client(DEADLINE).unwrap();
        TestGateway { address, client, shutdown, running }
    }
}

impl TestGateway {
    /// Starts a gateway in front of one server that is both services.
    pub(crate) async fn before(upstream: &Upstream) -> Self {
        Setup::new(upstream, upstream).start().await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::to(self.address).await
    }

    /// Sends exactly these bytes and reads the one answer.
    pub(crate) async fn send(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut connection = self.connect().await;
        connection.write(bytes.as_ref()).await;
        connection.answer().await
    }

    /// Waits until `/health/ready` answers with this status.
    pub(crate) async fn readiness(&self, status: u16) -> serde_json::Value {
        eventually(async || {
            let response = self.get("/health/ready").await;
            let is_it = response.status() == status;
            let body = response.json().await.unwrap();
            is_it.then_some(body)
        })
        .await
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Asserts the one error shape.
pub(crate) fn assert_problem(status: u16, body: &[u8], code: ErrorCode) -> Problem {
    let text = String::from_utf8_lossy(body);
    let problem: Problem = serde_json::from_slice(body).unwrap_or_else(|_| panic!("{text:?}"));
    assert_eq!((status, problem.status, problem.code), (code.status(), code.status(), code));
    assert_eq!(problem.kind, format!("urn:turbulence:error:{}", code.as_str()));
    assert!(problem.detail.len() > 10, "{text}");
    assert!(problem.trace_id.as_ref().is_some_and(|id| id.len() == 32), "{text}");
    problem
}

/// Repeats a check until it returns a value.
pub(crate) async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        let mut pause = tokio::time::interval(Duration::from_millis(5));
        loop {
            pause.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    within_deadline(asking).await
}

pub(crate) async fn within_deadline<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it takes too long")
}

/// Returns an address without a listener.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Installs the tracing of a real process, without an exporter.
fn trace_ids_are_made() {
    static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber).unwrap();
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        provider
    });
}
