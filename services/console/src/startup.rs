//! Wiring of routes and shared state.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::web;
use service_kit::{
    runtime::{
        clock::Clock,
        listen::BindError,
        process::ServiceError,
        settings::{Settings, auth::AuthMode, secret::Secret},
    },
    web::{health::Health, http_client, origin::NetworkPosition, server::Server},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Api, UPLOAD_TIMEOUT},
    guard::{SignInCodes, SignInLimit},
    pages,
    session::Keys,
};

/// The name of the console in logs and traces.
pub const NAME: &str = "console";

/// The port of the console unless it is configured.
pub const DEFAULT_PORT: u16 = 5005;

/// The longest time without a byte of an answer of the gateway: a little more than it gives its
/// services.
const READ_TIMEOUT: Duration = Duration::from_secs(31);

/// The number of bytes of a form for a byte of what is typed, at most: browsers percent-encode it. So what the
/// API accepts arrives, and the API says what is too long.
const FORM_EXPANSION: usize = 3;

/// The reason why the console does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The port cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The client of the gateway cannot be made.
    #[error("the client of the gateway cannot be made")]
    Client(#[from] reqwest::Error),
    /// The server cannot run.
    #[error("the server cannot run")]
    Serve(#[from] io::Error),
}

impl ServiceError for StartupError {}

/// The state behind the pages, shared by all workers.
pub(crate) struct State {
    pub(crate) api: Api,
    pub(crate) keys: Keys,
    pub(crate) codes: SignInCodes,
    pub(crate) mode: AuthMode,
    pub(crate) clock: Clock,
}

/// A console with its port, ready to run.
pub struct Console {
    server: Server,
    settings: Settings,
    codes: SignInCodes,
}

impl Console {
    /// Binds the port. The gateway need not run yet.
    pub fn bind(settings: &Settings) -> Result<Self, StartupError> {
        let server = Server::bind(&settings.server, NetworkPosition::BehindGateway)?;
        let codes = SignInCodes::default();
        Ok(Self { server, settings: settings.clone(), codes })
    }

    /// Returns the address on which the console listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns a code that signs in once, within a few minutes, with this token.
    pub fn sign_in_code(&self, token: &Secret) -> String {
        self.codes.issue(token, Clock::system().now())
    }

    /// Serves until `shutdown` is cancelled and the requests in flight are finished.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StartupError> {
        let client = http_client::service_client(READ_TIMEOUT)?;
        let uploads = http_client::service_client(UPLOAD_TIMEOUT)?;
        let gateway: String = self.settings.gateway.url.clone().into();
        self.serve(Api::new(client, uploads, &gateway), shutdown).await
    }

    /// Like [`run`](Self::run), with the gateway of this process, whatever its certificate is for.
    pub async fn run_beside(
        self,
        gateway: String,
        shutdown: CancellationToken,
    ) -> Result<(), StartupError> {
        let client = http_client::own_gateway_client(READ_TIMEOUT)?;
        let uploads = http_client::own_gateway_client(UPLOAD_TIMEOUT)?;
        self.serve(Api::new(client, uploads, &gateway), shutdown).await
    }

    async fn serve(self, api: Api, shutdown: CancellationToken) -> Result<(), StartupError> {
        let Self { server, settings, codes } = self;
        let keys = Keys::new(settings.internal.secret.as_ref());
        let max_body_bytes = settings.server.max_body_bytes.get();
        let forms = web::PayloadConfig::new(max_body_bytes.saturating_mul(FORM_EXPANSION));
        let clock = Clock::system();
        let mode = settings.auth.mode;
        let state = State { api, keys, codes, mode, clock: clock.clone() };
        let state = web::Data::from(Arc::new(state));
        let sign_ins = web::Data::new(SignInLimit::default());
        let routes = move |config: &mut web::ServiceConfig| {
            let scope = web::scope("")
                .app_data(state.clone())
                .app_data(sign_ins.clone())
                .app_data(forms.clone())
                .configure(pages::routes)
                .default_service(web::to(pages::not_found));
            config.service(scope);
        };
        // Ready without the gateway, which is not ready before this process is: its own probes tell.
        let health = Health::builder().build(clock);
        server.run(health, shutdown, routes).await?;
        Ok(())
    }
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("server", &self.server).finish_non_exhaustive()
    }
}

/// Binds and runs the console until `shutdown` is cancelled.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), StartupError> {
    Console::bind(&settings)?.run(shutdown).await
}
