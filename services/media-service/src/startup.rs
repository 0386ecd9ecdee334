//! Wiring of migrations, routes and shared state.

use std::sync::Arc;

use actix_web::web;
use content_client::ContentClient;
use data_service::{
    DataService, Migrate, Parts, Routes, StartupError,
    changes::{Changes, Source},
};
use migrations::Engine;
use mongo_kit::Connection;
use service_kit::{
    auth::authenticator::Authenticator,
    runtime::settings::{DEFAULT_MEDIA_FOLDER, Settings},
    web::{body::BodyLimit, conditional::RequireIfMatch, health::Health, internal::InternalSecret},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    http::{self, serve::Fallback, upload::Uploads},
    migrations::Context,
    store::{
        collections::{COLLECTIONS, SERVICE},
        files::Files,
        media::MediaStore,
    },
};

/// The name of the service in logs and traces.
pub const NAME: &str = "media-service";

/// The port of the service unless it is configured.
pub const DEFAULT_PORT: u16 = 5004;

/// Runs the service until `shutdown` is cancelled.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), StartupError> {
    bind(&settings).await?.run(Migrate::AtStart, shutdown).await
}

/// Binds the port of the service and opens the store of its files.
pub async fn bind(settings: &Settings) -> Result<DataService, StartupError> {
    let store = settings.media.store.as_deref().unwrap_or(DEFAULT_MEDIA_FOLDER);
    let files = Files::open(store)
        .map_err(|error| StartupError::Setting { key: "media.store", cause: Box::new(error) })?;
    let addresses = watch::channel(settings.content.url.clone()).1;
    let content = ContentClient::new(addresses, InternalSecret::new(&settings.internal));
    let authenticator = Authenticator::new(&settings.auth)
        .with_users(Arc::new(content.clone()))
        .with_operator(settings.admin.email.clone());
    let (authenticator, content) = (web::Data::new(authenticator), web::Data::new(content));
    let fallback = web::Data::new(Fallback(settings.media.fallback_url.clone().map(Into::into)));
    let body_limit = BodyLimit::new(&settings.server);
    let if_match = RequireIfMatch::new(&settings.server);
    // The gateway keeps none of its answers, so that there is no listener.
    let changes = |connection: &_| Changes::unheard(Source::Media, connection);
    DataService::bind(settings, NAME, COLLECTIONS, changes, |connection, _| {
        let media = MediaStore::new(connection);
        let uploads = web::Data::new(Uploads::new(&settings.media, files, media));
        let routes: Routes = Arc::new(move |config| {
            config
                .app_data(uploads.clone())
                .app_data(content.clone())
                .app_data(fallback.clone())
                .app_data(authenticator.clone())
                .app_data(body_limit)
                .app_data(if_match)
                .configure(http::routes);
        });
        Parts {
            engine: engine(connection, settings),
            routes,
            health: Health::builder(),
            background: None,
        }
    })
    .await
}

/// Returns the engine with the migrations of the service.
pub fn engine(connection: &Connection, settings: &Settings) -> Engine {
    let version = env!("CARGO_PKG_VERSION");
    let migrations = |_: &_| crate::migrations::all(&Context);
    data_service::engine(connection, SERVICE, version, migrations, &settings.migrations)
}
