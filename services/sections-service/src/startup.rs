//! Wiring: which migrations, which routes, which shared state.

use std::net::SocketAddr;

use actix_web::web;
use data_service::{DataService, Migrate, StartupError};
use migrations::{Engine, Status};
use mongo_kit::Connection;
use service_kit::{Settings, auth::Authenticator, clock::Clock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    http,
    store::{self, SectionStore},
};

/// What the service is called in logs and traces.
pub const NAME: &str = "sections-service";

/// A service that has its port.
pub struct SectionsService {
    service: DataService,
    store: SectionStore,
    authenticator: web::Data<Authenticator>,
}

/// Runs the service until `shutdown` is cancelled.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), StartupError> {
    SectionsService::bind(&settings).await?.run(Migrate::AtStart, shutdown).await
}

/// The migrations of the service, for its database.
pub fn engine(connection: &Connection, clock: Clock) -> Engine {
    data_service::engine(connection, "sections", env!("CARGO_PKG_VERSION"), store::migrations::all(clock))
}

impl SectionsService {
    /// Takes the port.
    pub async fn bind(settings: &Settings) -> Result<Self, StartupError> {
        let migrations = |connection: &Connection| engine(connection, Clock::system());
        let service = DataService::bind(settings, NAME, migrations).await?;
        let store = SectionStore::new(service.connection().database());
        let authenticator = web::Data::new(Authenticator::new(&settings.auth));
        Ok(Self { service, store, authenticator })
    }

    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// Where the migrations stand, whenever that changes.
    pub fn statuses(&self) -> watch::Receiver<Vec<Status>> {
        self.service.statuses()
    }

    /// Serves until `shutdown` is cancelled.
    pub async fn run(
        self,
        migrate: Migrate,
        shutdown: CancellationToken,
    ) -> Result<(), StartupError> {
        let store = web::Data::new(self.store);
        let authenticator = self.authenticator;
        let routes = move |config: &mut web::ServiceConfig| {
            config
                .app_data(store.clone())
                .app_data(authenticator.clone())
                .configure(http::routes);
        };
        self.service.run(migrate, routes, shutdown).await
    }
}
