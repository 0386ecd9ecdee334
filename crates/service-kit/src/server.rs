//! Serving HTTP, and stopping without cutting anybody off.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::{
    App, HttpServer,
    dev::ServiceRequest,
    http::uri::{PathAndQuery, Uri},
    middleware::{Condition, Next, NormalizePath, from_fn},
    web,
};
use tokio_util::sync::CancellationToken;

use crate::{error::route_not_found, health::Health, observe::observe, settings};

pub use crate::routing::{Route, read, route};

/// How long a connection without a request is kept. Clients between the services give up theirs
/// much earlier ([`crate::http::IDLE_TIMEOUT`]).
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a client may take to send the head of its request.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests in flight may take to finish after the process was told to stop.
const SHUTDOWN_TIMEOUT_SECONDS: u64 = 20;

/// The header that carries the id of a request through all services.
pub const REQUEST_ID: &str = "x-request-id";

/// The id of a request, from the caller or made on arrival. It is among the request's extensions.
#[derive(Debug, Clone)]
pub struct RequestId(String);

impl RequestId {
    pub(crate) fn new(id: String) -> Self {
        Self(id)
    }

    /// The id: printable ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The port cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error(
        "port {port} on {host} is in use: stop what listens there, or choose another port with \
         --port or TURBULENCE__SERVER__PORT"
    )]
    InUse {
        /// The address that was asked for.
        host: String,
        /// The port that was asked for.
        port: u16,
    },
    /// The address is not one of this machine's, or the port needs privileges.
    #[error("cannot listen on {host} port {port} (`server.host`, `server.port`)")]
    Refused {
        /// The address that was asked for.
        host: String,
        /// The port that was asked for.
        port: u16,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Takes the port, so that whatever follows in a start has it.
pub fn bind(server: &settings::Server) -> Result<TcpListener, BindError> {
    let (host, port) = (server.host.clone(), server.port);
    let bind = || {
        let listener = TcpListener::bind((host.as_str(), port))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { host: host.clone(), port },
        _ => BindError::Refused { host: host.clone(), port, source },
    })
}

/// Serves the routes until `shutdown` is cancelled and the requests in flight are finished.
///
/// The health routes are added to those of `routes`. Every request gets its ids, span and log
/// line, and every error the one shape. A slash at the end of a path makes no difference.
pub async fn serve<F>(
    listener: TcpListener,
    health: Health,
    drain: Duration,
    shutdown: CancellationToken,
    routes: F,
) -> io::Result<()>
where
    F: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
{
    let app_health = health.clone();
    let routes = move |config: &mut web::ServiceConfig| {
        app_health.routes(config);
        routes(config);
    };
    listen(listener, health, drain, shutdown, Requests::Handled, routes).await
}

/// Like [`serve`], for a process that passes requests on instead of handling them.
///
/// Paths that `stays` says yes to stay as the client sent them; a slash at the end of any other
/// makes no difference. A client that leaves ends the handling of its request, so that what it waited
/// for can be cancelled. `routes` places [`Health::routes`] itself.
pub async fn serve_passing_on<F>(
    listener: TcpListener,
    health: Health,
    drain: Duration,
    shutdown: CancellationToken,
    stays: fn(&str) -> bool,
    routes: F,
) -> io::Result<()>
where
    F: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
{
    listen(listener, health, drain, shutdown, Requests::PassedOn { stays }, routes).await
}

/// What happens to requests here.
#[derive(Clone, Copy)]
enum Requests {
    /// A handler answers, and is not dropped half-way when the client leaves: it may be writing.
    Handled,
    /// Somebody else answers those whose path `stays`, and has to see what the client sent.
    PassedOn {
        /// Returns whether the path is that of a request that is passed on.
        stays: fn(&str) -> bool,
    },
}

async fn listen<F>(
    listener: TcpListener,
    health: Health,
    drain: Duration,
    shutdown: CancellationToken,
    requests: Requests,
    routes: F,
) -> io::Result<()>
where
    F: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
{
    let address = listener.local_addr()?;
    let (is_handled, stays): (_, fn(&str) -> bool) = match requests {
        Requests::Handled => (true, |_| false),
        Requests::PassedOn { stays } => (false, stays),
    };
    let server = HttpServer::new(move || {
        App::new()
            // Also makes several slashes one, which nothing may do to what is passed on.
            .wrap(Condition::new(is_handled, NormalizePath::trim()))
            .wrap(from_fn(move |request, next: Next<_>| {
                next.call(without_final_slash(request, stays))
            }))
            .wrap(from_fn(observe))
            .configure(routes.clone())
            .default_service(web::to(route_not_found))
    })
    .keep_alive(KEEP_ALIVE)
    // Else the body of an answer waits until the client has acknowledged its head, which it puts
    // off for 40 ms (RFC 1122 §4.2.3.2, §4.2.3.4).
    .tcp_nodelay(true)
    .client_request_timeout(REQUEST_HEAD_TIMEOUT)
    .h1_allow_half_closed(is_handled)
    .shutdown_timeout(SHUTDOWN_TIMEOUT_SECONDS)
    .disable_signals()
    .listen(listener)?
    .run();
    tracing::info!(%address, "listening");

    let handle = server.handle();
    let stop = async {
        shutdown.cancelled().await;
        health.drain();
        tokio::time::sleep(drain).await;
        handle.stop(true).await;
    };
    let (served, ()) = tokio::join!(server, stop);
    tracing::info!(%address, "stopped");
    served
}

/// The request without the slash at the end of its path, unless that stays or is all there is.
fn without_final_slash(mut request: ServiceRequest, stays: fn(&str) -> bool) -> ServiceRequest {
    let uri = request.uri();
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty() && !path.ends_with('/'));
    let Some(path) = path.filter(|_| !stays(uri.path())) else { return request };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("{path}{query}")).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    request
}

/// Where the listener listens, as an address for clients on this machine.
pub fn local_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}
