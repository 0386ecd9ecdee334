//! Wiring: which migrations, which routes, which shared state.

use std::net::SocketAddr;

use actix_web::web;
use data_service::{DataService, Migrate, StartupError};
use migrations::{Engine, Status};
use mongo_kit::Connection;
use sections_client::SectionsClient;
use service_kit::{
    Settings,
    auth::Authenticator,
    clock::Clock,
    settings::{Admin, HttpUrl},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    http::{self, SectionSlugs},
    store::{self, ContentStore, Pages, Projects, Stories},
};

/// What the service is called in logs and traces.
pub const NAME: &str = "content-service";

/// A service that has its port.
pub struct ContentService {
    service: DataService,
    sections: SectionsClient,
    authenticator: web::Data<Authenticator>,
}

/// Runs the service until `shutdown` is cancelled.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), StartupError> {
    ContentService::bind(&settings).await?.run(Migrate::AtStart, shutdown).await
}

/// The migrations of the service, for its database.
pub fn engine(
    connection: &Connection,
    clock: Clock,
    admin: &Admin,
    sections: &SectionsClient,
) -> Engine {
    let migrations = store::migrations::all(connection.database(), clock, admin, sections);
    data_service::engine(connection, "content", env!("CARGO_PKG_VERSION"), migrations)
}

/// A client of sections-service.
pub fn sections_client(url: &HttpUrl) -> Result<SectionsClient, StartupError> {
    SectionsClient::new(url.clone()).map_err(|error| StartupError::Client(error.into()))
}

impl ContentService {
    /// Takes the port.
    pub async fn bind(settings: &Settings) -> Result<Self, StartupError> {
        let sections = sections_client(&settings.sections.url)?;
        let migrations = |connection: &Connection| {
            engine(connection, Clock::system(), &settings.admin, &sections)
        };
        let service = DataService::bind(settings, NAME, migrations).await?;
        let authenticator = web::Data::new(Authenticator::new(&settings.auth));
        Ok(Self { service, sections, authenticator })
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
        let database = self.service.connection().database();
        let stories = web::Data::new(ContentStore::<Stories>::new(database));
        let projects = web::Data::new(ContentStore::<Projects>::new(database));
        let pages = web::Data::new(ContentStore::<Pages>::new(database));
        let slugs = web::Data::new(SectionSlugs::new(self.sections));
        let authenticator = self.authenticator;
        let routes = move |config: &mut web::ServiceConfig| {
            config
                .app_data(stories.clone())
                .app_data(projects.clone())
                .app_data(pages.clone())
                .app_data(slugs.clone())
                .app_data(authenticator.clone())
                .configure(http::routes);
        };
        self.service.run(migrate, routes, shutdown).await
    }
}
