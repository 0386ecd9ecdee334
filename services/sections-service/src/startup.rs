//! Wiring: which migrations, which routes, which shared state.

use std::sync::Arc;

use actix_web::web;
use data_service::{DataService, Migrate, Routes, StartupError};
use migrations::Engine;
use mongo_kit::Connection;
use service_kit::{Settings, auth::Authenticator, clock::Clock};
use tokio_util::sync::CancellationToken;

use crate::{
    http,
    store::{self, SectionStore},
};

/// What the service is called in logs and traces.
pub const NAME: &str = "sections-service";

/// Runs the service until `shutdown` is cancelled.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), StartupError> {
    bind(&settings).await?.run(Migrate::AtStart, shutdown).await
}

/// Takes the port of the service.
pub async fn bind(settings: &Settings) -> Result<DataService, StartupError> {
    bind_with(settings, |store| store).await
}

/// Takes the port of a service that answers as if its migrations had run. For planning: it is to
/// be run without migrating.
pub async fn bind_preview(settings: &Settings) -> Result<DataService, StartupError> {
    bind_with(settings, |store| store.previewing_seed(&Clock::system())).await
}

async fn bind_with(
    settings: &Settings,
    change: impl FnOnce(SectionStore) -> SectionStore,
) -> Result<DataService, StartupError> {
    let authenticator = web::Data::new(Authenticator::new(&settings.auth));
    DataService::bind(settings, NAME, |connection| {
        let store = web::Data::new(change(SectionStore::new(connection.database())));
        let routes: Routes = Arc::new(move |config| {
            config.app_data(store.clone()).app_data(authenticator.clone()).configure(http::routes);
        });
        (engine(connection, Clock::system()), routes)
    })
    .await
}

/// The migrations of the service, for its database.
pub fn engine(connection: &Connection, clock: Clock) -> Engine {
    data_service::engine(
        connection,
        "sections",
        env!("CARGO_PKG_VERSION"),
        store::migrations::all(clock),
    )
}
