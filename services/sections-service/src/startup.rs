//! Wiring of migrations, routes and shared state.

use std::sync::Arc;

use actix_web::web;
use content_client::ContentClient;
use data_service::{DataService, Migrate, Parts, Routes, StartupError, integrity::Inspect};
use migrations::Engine;
use mongo_kit::Connection;
use service_kit::{
    auth::authenticator::Authenticator,
    runtime::{
        clock::Clock,
        settings::{Settings, url::Replicas},
    },
    web::{body::BodyLimit, conditional::RequireIfMatch, health::Health, internal::InternalSecret},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    http,
    migrations::Context,
    store::{
        self, SectionStore,
        collections::{COLLECTIONS, SERVICE},
    },
};

/// The name of the service in logs and traces.
pub const NAME: &str = "sections-service";

/// The port of the service unless it is configured.
pub const DEFAULT_PORT: u16 = 5002;

/// Runs the service until `shutdown` is cancelled.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), StartupError> {
    bind(&settings).await?.run(Migrate::AtStart, shutdown).await
}

/// Binds the port of the service.
pub async fn bind(settings: &Settings) -> Result<DataService, StartupError> {
    bind_beside(settings, fixed(settings)).await
}

/// Binds the port of a service that shares its process with content-service, whose address becomes
/// known later. The first value of `content` is used until then.
pub async fn bind_beside(
    settings: &Settings,
    content: watch::Receiver<Replicas>,
) -> Result<DataService, StartupError> {
    bind_with(settings, content, |store| store).await
}

/// Binds the port of a service that answers as if its migrations had run. It is for planning, and must
/// be run without migrating.
pub async fn bind_preview(settings: &Settings) -> Result<DataService, StartupError> {
    bind_with(settings, fixed(settings), SectionStore::previewing_seed).await
}

/// Returns a receiver of the configured address, which does not change.
fn fixed(settings: &Settings) -> watch::Receiver<Replicas> {
    watch::channel(settings.content.url.clone()).1
}

async fn bind_with(
    settings: &Settings,
    content: watch::Receiver<Replicas>,
    change: impl FnOnce(SectionStore) -> SectionStore,
) -> Result<DataService, StartupError> {
    let content = ContentClient::new(content, InternalSecret::new(&settings.internal));
    let authenticator = Authenticator::new(&settings.auth).with_users(Arc::new(content.clone()));
    let (authenticator, content) = (web::Data::new(authenticator), web::Data::new(content));
    let body_limit = BodyLimit::new(&settings.server);
    let if_match = RequireIfMatch::new(&settings.server);
    DataService::bind(settings, NAME, COLLECTIONS, store::changes, |connection, changes| {
        let store = SectionStore::new(connection, changes, settings.revisions);
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
        let engine = engine(connection, Clock::system(), settings);
        Parts { engine, routes, health: Health::builder(), background: None }
    })
    .await
}

/// Returns the inspector of the stored sections.
pub fn inspector(connection: &Connection) -> Arc<dyn Inspect> {
    Arc::new(SectionStore::open_alone(connection))
}

/// Returns the engine with the migrations of the service.
pub fn engine(connection: &Connection, clock: Clock, settings: &Settings) -> Engine {
    let version = env!("CARGO_PKG_VERSION");
    let migrations = |_: &_| crate::migrations::all(&Context { connection, clock });
    data_service::engine(connection, SERVICE, version, migrations, &settings.migrations)
}
