//! Wiring: which migrations, which routes, which shared state.

use std::sync::Arc;

use actix_web::web;
use data_service::{DataService, Migrate, Routes, StartupError};
use migrations::Engine;
use mongo_kit::Connection;
use sections_client::SectionsClient;
use service_kit::{
    Settings,
    auth::Authenticator,
    clock::Clock,
    settings::{Admin, HttpUrl},
};
use tokio_util::sync::CancellationToken;

use crate::{
    http::{self, SectionSlugs},
    store::{self, ContentStore, Pages, Projects, Stories},
};

/// What the service is called in logs and traces.
pub const NAME: &str = "content-service";

/// Runs the service until `shutdown` is cancelled.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), StartupError> {
    bind(&settings).await?.run(Migrate::AtStart, shutdown).await
}

/// Takes the port of the service.
pub async fn bind(settings: &Settings) -> Result<DataService, StartupError> {
    let sections = sections_client(&settings.sections.url)?;
    let authenticator = web::Data::new(Authenticator::new(&settings.auth));
    DataService::bind(settings, NAME, |connection| {
        let database = connection.database();
        let stories = web::Data::new(ContentStore::<Stories>::new(database));
        let projects = web::Data::new(ContentStore::<Projects>::new(database));
        let pages = web::Data::new(ContentStore::<Pages>::new(database));
        let slugs = web::Data::new(SectionSlugs::new(sections.clone()));
        let routes: Routes = Arc::new(move |config| {
            config
                .app_data(stories.clone())
                .app_data(projects.clone())
                .app_data(pages.clone())
                .app_data(slugs.clone())
                .app_data(authenticator.clone())
                .configure(http::routes);
        });
        (engine(connection, Clock::system(), &settings.admin, &sections), routes)
    })
    .await
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
