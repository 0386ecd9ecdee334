//! The HTTP server: binds a port, serves, and stops without interrupting requests.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use actix_http::{HttpService, Request, error::DispatchError};
use actix_server::GracefulShutdownSignal;
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::{
    App, Error,
    body::MessageBody,
    dev::{AppConfig, ServiceRequest, ServiceResponse},
    http::{
        ConnectionType,
        uri::{PathAndQuery, Uri},
    },
    middleware::{Condition, Next, NormalizePath, from_fn},
    web,
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connections, GuardedStream, Held, Timeouts, Transport, track},
    health::Health,
    observe::observe,
    origin::{NetworkPosition, TrustedProxies},
    routing::route_not_found,
    tls::Tls,
};
use crate::runtime::{
    listen::{BindError, Endpoint},
    settings::{self, url::local_url},
};

/// The time for which a connection without a request is kept. Clients between the services close
/// theirs much earlier ([`crate::web::http_client::IDLE_TIMEOUT`]).
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The memory of a forwarded response, in bytes, however long it is: the queue of its body, the buffer
/// of the client of the service, and that of the socket.
const FORWARDED_BODY_BYTES: usize = 256 * 1024;

/// The longest time for closing a connection after the response to a request whose body was not read.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest time that requests in flight may take after the shutdown has begun.
const SHUTDOWN_TIMEOUT_SECONDS: u64 = 20;

/// Returns the name of the route if a proxy forwards requests for a path.
pub type ForwardedRoute = fn(&str) -> Option<&'static str>;

/// An HTTP server with a port.
///
/// Every request gets its ids, its span and its line in the log, and every error has the one shape.
/// A slash at the end of a path makes no difference.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    drain: Duration,
    trusted_proxies: TrustedProxies,
    max_connections: NonZeroUsize,
    timeouts: Timeouts,
    forwarded_route: Option<ForwardedRoute>,
    tls: Option<Tls>,
}

impl Server {
    /// Binds the port of a server that handles its requests itself. It accepts connections for the
    /// configured time after the shutdown has begun.
    ///
    /// A handler is not cancelled if its client disconnects: it may be writing.
    pub fn bind(settings: &settings::Server, position: NetworkPosition) -> Result<Self, BindError> {
        let (listener, address) = Endpoint::of_server(settings).bind()?;
        Ok(Self {
            listener,
            address,
            drain: Duration::from_secs(settings.drain_seconds.into()),
            trusted_proxies: TrustedProxies::new(settings, position),
            max_connections: settings.max_connections,
            timeouts: Timeouts::default(),
            forwarded_route: None,
            tls: None,
        })
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address at which clients on this machine reach the server.
    pub fn local_url(&self) -> String {
        let url = local_url(self.address);
        if self.tls.is_some() { url.replacen("http:", "https:", 1) } else { url }
    }

    /// Makes clients use TLS, unless it is `None`.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Sets the times that clients have.
    #[cfg(test)]
    pub(super) fn timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// Makes this the server of a proxy. `forwarded_route` decides by the path of a request if it is
    /// forwarded: such a path stays as the client sent it.
    ///
    /// A handler is cancelled if its client disconnects, so that what it waits for is cancelled too.
    /// The routes of the proxy include [`Health::routes`].
    #[must_use]
    pub fn forwarding(self, forwarded_route: ForwardedRoute) -> Self {
        Self { forwarded_route: Some(forwarded_route), ..self }
    }

    /// Serves the routes, and those of `health` unless it is the server of a proxy, until `shutdown`
    /// is cancelled and the requests in flight are finished.
    pub async fn run<F>(
        self,
        health: Health,
        shutdown: CancellationToken,
        routes: F,
    ) -> io::Result<()>
    where
        F: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    {
        let Self { listener, address, drain, trusted_proxies, max_connections, tls, .. } = self;
        let connections =
            Connections::new(max_connections.get(), trusted_proxies.clone(), self.timeouts);
        let worker = Worker {
            address,
            connections,
            trusted_proxies,
            timeouts: self.timeouts,
            forwarded_route: self.forwarded_route,
            health: health.clone(),
            routes,
            tls: tls.clone(),
        };
        let builder = actix_server::Server::build()
            .shutdown_timeout(SHUTDOWN_TIMEOUT_SECONDS)
            .disable_signals();
        let shutdown_begins = builder.graceful_shutdown_signal();
        // As `actix_web::HttpServer` does, with a socket of ours.
        let server = builder.listen(address.to_string(), listener, move || {
            let accepting = worker.clone();
            let stops = shutdown_begins.clone();
            fn_service(move |stream| accepting.clone().accept(stream, stops.clone()))
                .and_then(worker.http(shutdown_begins.clone()))
        })?;
        let server = server.run();
        tracing::info!(%address, "listening");

        let handle = server.handle();
        let stop = async {
            shutdown.cancelled().await;
            health.drain();
            tokio::time::sleep(drain).await;
            handle.stop(true).await;
        };
        let serving = async { tokio::join!(server, stop) };
        let (served, ()) = match tls {
            None => serving.await,
            Some(tls) => tokio::select! {
                ended = serving => ended,
                never = tls.keep_current() => never,
            },
        };
        tracing::info!(%address, "stopped");
        served
    }
}

/// The parts of a server that each of its threads has.
#[derive(Clone)]
struct Worker<F> {
    address: SocketAddr,
    connections: Connections,
    trusted_proxies: TrustedProxies,
    timeouts: Timeouts,
    forwarded_route: Option<ForwardedRoute>,
    health: Health,
    routes: F,
    tls: Option<Tls>,
}

impl<F> Worker<F>
where
    F: Fn(&mut web::ServiceConfig) + Clone + 'static,
{
    /// Returns the socket of a new connection. Fails if there are too many, or its client does not
    /// perform the handshake of TLS.
    async fn accept(
        self,
        stream: TcpStream,
        shutdown_begins: GracefulShutdownSignal,
    ) -> Result<(GuardedStream, Option<SocketAddr>), DispatchError> {
        // Otherwise the body of a response waits until the client has acknowledged its head, which may
        // take 40 ms (RFC 1122 §4.2.3.2, §4.2.3.4).
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr().ok();
        let place = self.connections.add(peer.map(|peer| peer.ip()));
        let place = place.ok_or_else(|| io::Error::other("there are too many connections"))?;
        let transport = match &self.tls {
            None => Transport::Plain(stream),
            Some(tls) => tokio::select! {
                secured = place.during_handshake(tls.accept(stream)) => {
                    Transport::Tls(Box::new(secured?))
                }
                () = shutdown_begins.notified() => {
                    return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
                }
            },
        };
        Ok((GuardedStream::new(transport, place, self.forwarded_route.is_some()), peer))
    }

    /// Returns the service that reads requests from connections and answers them.
    fn http(
        &self,
        shutdown_begins: GracefulShutdownSignal,
    ) -> impl ServiceFactory<
        (GuardedStream, Option<SocketAddr>),
        Config = (),
        Response = (),
        Error = DispatchError,
        InitError = (),
    > + use<F> {
        let app = IntoServiceFactory::<_, Request>::into_factory(self.app());
        let app = app.map_err(|error: actix_web::Error| error.error_response());
        HttpService::build()
            .graceful_shutdown_signal(move || {
                let shutdown_begins = shutdown_begins.clone();
                async move { shutdown_begins.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(self.timeouts.head)
            .client_disconnect_timeout(CLOSE_TIMEOUT)
            .local_addr(self.address)
            .on_connect_ext(|stream: &GuardedStream, data| {
                data.insert(Arc::clone(stream.connection()));
            })
            .h1(map_config(app, |_| AppConfig::default()))
    }

    /// Returns the routes, with what surrounds every request.
    fn app(
        &self,
    ) -> App<
        impl ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<impl MessageBody + use<F>>,
            Error = Error,
            InitError = (),
        > + use<F>,
    > {
        let Self { forwarded_route, health, routes, .. } = self.clone();
        let is_proxy = forwarded_route.is_some();
        let surroundings = Arc::new(Surroundings {
            connections: self.connections.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            has_tls: self.tls.is_some(),
            forwarded_route,
            health: health.clone(),
        });
        App::new()
            // Also merges repeated slashes, which must not happen to a forwarded path.
            .wrap(Condition::new(!is_proxy, NormalizePath::trim()))
            .wrap(from_fn(move |request: ServiceRequest, next: Next<_>| {
                surround(Arc::clone(&surroundings), request, next)
            }))
            .configure(move |config| {
                if !is_proxy {
                    health.routes(config);
                }
                routes(config);
            })
            .default_service(web::to(route_not_found))
    }
}

/// The parts of a server that surround every request.
struct Surroundings {
    connections: Connections,
    trusted_proxies: TrustedProxies,
    has_tls: bool,
    forwarded_route: Option<ForwardedRoute>,
    health: Health,
}

/// The middleware around every request. It is one, because each middleware of actix-web moves the
/// request and its response to the heap twice.
async fn surround(
    surroundings: Arc<Surroundings>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Surroundings { connections, trusted_proxies, has_tls, forwarded_route, health } =
        &*surroundings;
    let forwarded = forwarded_route.and_then(|route| route(request.path()));
    let held = match forwarded_route {
        Some(_) => Held::AtMost(FORWARDED_BODY_BYTES),
        None => Held::Whole,
    };
    let handle = async |request| {
        let request = if forwarded.is_some() { request } else { without_final_slash(request) };
        next.call(request).await
    };
    let tracked = async |request| track(connections, held, request, handle).await;
    let mut response = observe(trusted_proxies, *has_tls, forwarded, request, tracked).await?;
    if health.is_draining() {
        // Clients open new connections elsewhere instead of losing a request with this one.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// Removes the slash at the end of the path, unless the path is `/` or ends in several.
fn without_final_slash(mut request: ServiceRequest) -> ServiceRequest {
    let uri = request.uri();
    let path = uri.path().strip_suffix('/').filter(|path| !path.is_empty() && !path.ends_with('/'));
    let Some(path) = path else { return request };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("{path}{query}")).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    request
}
