//! How the gateway is put together.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use reqwest::Client;
use service_kit::{
    Settings, http,
    rate_limit::{Place, RateLimit},
    server::{self, BindError},
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{
    cors::{CorsPolicy, InvalidCors},
    health,
    proxy::Proxy,
    routes::{self, Routes},
    upstream::Upstreams,
};

/// The name of the gateway in logs and traces.
pub const NAME: &str = "gateway";

/// The port of the gateway unless it is configured.
pub const DEFAULT_PORT: u16 = 5001;

/// How long the gateway waits for others. Opening a connection has its own limit,
/// [`http::CONNECT_TIMEOUT`].
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the head of an answer, after the request has been sent. Thirty seconds are more than
    /// the services allow themselves, and less than the minute after which common load balancers
    /// give up (nginx `proxy_read_timeout`, AWS ALB).
    pub response_head: Duration,
    /// For the next piece of a body, in either direction, from whoever is to send or take it.
    pub body_idle: Duration,
    /// For the answer to a probe.
    pub probe: Duration,
    /// Between two probes of a replica: for so long one that comes back is not used yet.
    pub probe_interval: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            response_head: Duration::from_secs(30),
            body_idle: Duration::from_secs(30),
            probe: Duration::from_secs(1),
            probe_interval: Duration::from_secs(1),
        }
    }
}

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A setting of CORS is wrong.
    #[error(transparent)]
    Cors(#[from] InvalidCors),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Client(#[from] reqwest::Error),
    /// The server cannot run.
    #[error("the server cannot run")]
    Serve(#[from] io::Error),
}

/// A gateway that has its port and waits to be run.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    drain: Duration,
    cors: CorsPolicy,
    limits: RateLimit,
    upstreams: Upstreams,
    client: Client,
    timeouts: Timeouts,
}

impl Gateway {
    /// Takes the port and reads the settings. The services need not run yet.
    pub async fn bind(settings: &Settings) -> Result<Self, StartupError> {
        Self::bind_with(settings, Timeouts::default()).await
    }

    /// Like [`bind`](Self::bind), with other timeouts.
    pub async fn bind_with(settings: &Settings, timeouts: Timeouts) -> Result<Self, StartupError> {
        let listener = server::bind(&settings.server)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            drain: Duration::from_secs(settings.server.drain_seconds.into()),
            cors: CorsPolicy::new(&settings.cors)?,
            limits: RateLimit::new(&settings.rate_limit, Place::Edge),
            upstreams: Upstreams::new(&settings.upstreams),
            client: http::streaming_client()?,
            timeouts,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is cancelled and the requests in flight are finished.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StartupError> {
        let Self { listener, address: _, drain, cors, limits, upstreams, client, timeouts } = self;
        let health = health::of_gateway(&upstreams, &client, timeouts);
        let probes = health::probe_all(&upstreams, &client, timeouts);
        let proxy = Arc::new(Proxy { client, runtime: Handle::current(), timeouts });
        let routes = Routes { health: health.clone(), cors, limits, proxy, upstreams };
        let configure = move |config: &mut _| routes.configure(config);
        let stays = routes::path_stays;
        server::serve_passing_on(listener, health, drain, shutdown, stays, configure).await?;
        drop(probes);
        Ok(())
    }
}

/// Binds and runs: everything that the process does.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), StartupError> {
    Gateway::bind(&settings).await?.run(shutdown).await
}
