//! Assembles the gateway.

use std::{io, net::SocketAddr, sync::Arc};

use service_kit::{
    runtime::{listen::BindError, process::ServiceError, settings::Settings},
    web::{
        changes::listen,
        internal::InternalSecret,
        origin::NetworkPosition,
        rate_limit::RateLimit,
        server::Server,
        tls::{Tls, TlsError},
        upstream::{ProbeTimes, Resolve, SystemResolver},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    aggregate::health,
    cache::{Cache, Clocks, ReadRoutes},
    docs,
    proxy::upstream::Upstreams,
    routing::{
        LoadLimits, Routes,
        cors::{CorsPolicy, InvalidCors},
        forwarded_route, is_routed,
    },
    timeouts::Timeouts,
};

/// The name of the gateway in logs and traces.
pub const NAME: &str = "gateway";

/// The port of the gateway unless it is configured.
pub const DEFAULT_PORT: u16 = 5001;

/// The reason why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The port cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A setting of CORS is wrong.
    #[error(transparent)]
    Cors(#[from] InvalidCors),
    /// The server cannot run.
    #[error("the server cannot run")]
    Serve(#[from] io::Error),
}

impl ServiceError for StartupError {
    fn is_wrong_setting(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::Cors(_))
    }
}

/// A gateway with its port, ready to run.
#[derive(Debug)]
pub struct Gateway {
    server: Server,
    cors: CorsPolicy,
    limits: RateLimit,
    secret: InternalSecret,
    upstreams: Upstreams,
    timeouts: Timeouts,
    cache: Option<Arc<Cache>>,
    surrogate_keys: bool,
}

impl Gateway {
    /// Binds the port and reads the settings. The services need not run yet.
    pub async fn bind(settings: &Settings) -> Result<Self, StartupError> {
        Self::bind_with(settings, Timeouts::default()).await
    }

    /// Like [`bind`](Self::bind), with other timeouts.
    pub async fn bind_with(settings: &Settings, timeouts: Timeouts) -> Result<Self, StartupError> {
        Self::bind_resolving(settings, timeouts, Arc::new(SystemResolver)).await
    }

    /// Like [`bind_with`](Self::bind_with), with another resolver of the names of services.
    pub async fn bind_resolving(
        settings: &Settings,
        timeouts: Timeouts,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, StartupError> {
        let tls = Tls::load(&settings.server.tls)?;
        let server = Server::bind(&settings.server, NetworkPosition::Edge)?;
        let upstreams = Upstreams::new(&settings.upstreams, &resolver);
        let routes = ReadRoutes::of_description(docs::description(), is_routed);
        let cache = Cache::new(&settings.cache, routes, Arc::clone(&upstreams.sections));
        Ok(Self {
            server: server.forwarding(forwarded_route).with_tls(tls),
            cors: CorsPolicy::new(&settings.cors)?,
            limits: RateLimit::new(&settings.rate_limit),
            secret: InternalSecret::new(&settings.internal),
            upstreams,
            timeouts,
            cache,
            surrogate_keys: settings.cache.surrogate_keys,
        })
    }

    /// Returns the address on which the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the address at which clients on this machine reach the gateway.
    pub fn local_url(&self) -> String {
        self.server.local_url()
    }

    /// Serves until `shutdown` is cancelled and the requests in flight are finished.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StartupError> {
        let Self { server, cors, limits, secret, upstreams, timeouts, cache, surrogate_keys } =
            self;
        let health = health::gateway_health(&upstreams, timeouts);
        let times = ProbeTimes { timeout: timeouts.probe, interval: timeouts.probe_interval };
        let probes = upstreams.all().map(|upstream| upstream.probe(times));
        let feeds = cache.as_ref().map(|cache| {
            let Clocks { content, sections } = &cache.clocks;
            [(&upstreams.content, content), (&upstreams.sections, sections)]
                .map(|(upstream, clock)| listen(upstream, secret.clone(), clock))
        });
        let routes = Routes {
            health: health.clone(),
            cors,
            limits,
            load_limits: LoadLimits::default(),
            secret,
            timeouts,
            upstreams,
            cache,
            surrogate_keys,
            shutdown: shutdown.clone(),
        };
        let configure = move |config: &mut _| routes.configure(config);
        server.run(health, shutdown, configure).await?;
        drop((probes, feeds));
        Ok(())
    }
}

/// Binds and runs the gateway until `shutdown` is cancelled.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), StartupError> {
    Gateway::bind(&settings).await?.run(shutdown).await
}
