//! Wiring: which migrations, which routes, which shared state.

use std::sync::Arc;

use actix_web::web;
use data_service::{DataService, Migrate, Routes, StartupError, integrity::Inspect};
use migrations::Engine;
use mongo_kit::Connection;
use service_kit::{
    auth::authenticator::Authenticator,
    runtime::{
        clock::Clock,
        settings::{Settings, url::HttpUrl},
    },
    web::{body::BodyLimit, conditional::RequireIfMatch},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    content_client::ContentClient,
    http,
    store::{self, SectionStore},
};

/// What the service is called in logs and traces.
pub const NAME: &str = "sections-service";

/// The port of the service unless it is configured.
pub const DEFAULT_PORT: u16 = 5002;

/// Runs the service until `shutdown` is cancelled.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), StartupError> {
    bind(&settings).await?.run(Migrate::AtStart, shutdown).await
}

/// Takes the port of the service.
pub async fn bind(settings: &Settings) -> Result<DataService, StartupError> {
    bind_beside(settings, fixed(settings)).await
}

/// Takes the port of a service whose content-service gets its address later. Until then it is asked
/// where the first value says.
pub async fn bind_beside(
    settings: &Settings,
    content: watch::Receiver<HttpUrl>,
) -> Result<DataService, StartupError> {
    bind_with(settings, content, |store| store).await
}

/// Takes the port of a service that answers as if its migrations had run. For planning: it is to
/// be run without migrating.
pub async fn bind_preview(settings: &Settings) -> Result<DataService, StartupError> {
    bind_with(settings, fixed(settings), SectionStore::previewing_seed).await
}

/// What nobody sends to keeps its last value.
fn fixed(settings: &Settings) -> watch::Receiver<HttpUrl> {
    watch::channel(settings.content.url.clone()).1
}

async fn bind_with(
    settings: &Settings,
    content: watch::Receiver<HttpUrl>,
    change: impl FnOnce(SectionStore) -> SectionStore,
) -> Result<DataService, StartupError> {
    let content =
        ContentClient::new(content).map_err(|error| StartupError::Client(error.into()))?;
    let authenticator = Authenticator::new(&settings.auth).with_users(Arc::new(content.clone()));
    let (authenticator, content) = (web::Data::new(authenticator), web::Data::new(content));
    let body_limit = BodyLimit::new(&settings.server);
    let if_match = RequireIfMatch::new(&settings.server);
    DataService::bind(settings, NAME, store::COLLECTIONS, |connection| {
        let store = SectionStore::new(connection, Clock::system());
        let store = Arc::new(change(store));
        let inspector: web::Data<dyn Inspect> = web::Data::from(store.clone() as Arc<dyn Inspect>);
        let store = web::Data::from(store);
        let routes: Routes = Arc::new(move |config| {
            config
                .app_data(store.clone())
                .app_data(content.clone())
                .app_data(inspector.clone())
                .app_data(authenticator.clone())
                .app_data(body_limit)
                .app_data(if_match)
                .configure(http::routes);
        });
        (engine(connection, Clock::system(), settings), routes)
    })
    .await
}

/// Who looks at everything that the service has stored.
pub fn inspector(connection: &Connection) -> Arc<dyn Inspect> {
    Arc::new(SectionStore::new(connection, Clock::system()))
}

/// The migrations of the service, for its database.
pub fn engine(connection: &Connection, clock: Clock, settings: &Settings) -> Engine {
    let (version, migrations) =
        (env!("CARGO_PKG_VERSION"), |_: &_| store::migrations::all(connection, clock));
    data_service::engine(connection, store::SERVICE, version, migrations, &settings.migrations)
}
