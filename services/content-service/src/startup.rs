//! The wiring of migrations, routes and shared state.

use std::sync::Arc;

use actix_web::web;
use data_service::{
    Background, DataService, Migrate, Parts, Routes, StartupError, integrity::Inspect,
};
use migrations::Engine;
use mongo_kit::Connection;
use mongodb::Database;
use sections_client::SectionsClient;
use service_kit::{
    auth::authenticator::Authenticator,
    runtime::{
        clock::Clock,
        settings::{self, Settings, url::Replicas},
    },
    web::{
        body::BodyLimit, conditional::RequireIfMatch, health::Health, internal::InternalSecret,
        outbound::OutboundClient,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    delivery::Webhooks,
    domain::preview::PreviewKey,
    events::{hub::Hub, projector::Source},
    html::Sanitiser,
    http::{
        api, changes::Listeners, integrity::Inspector, preview::Previews, sections::Sections,
        tags::Tags,
    },
    kinds::{self, Collections},
    migrations::Context,
    scheduling, search_filling,
    sections_feed::{self, fetched::FetchedSections},
    store::{
        collections::{COLLECTIONS, SERVICE},
        redirects::RedirectStore,
        schedule::ScheduleStore,
        search::SearchStore,
        section_directory::DirectoryStore,
        site::SiteStore,
        users::UserStore,
    },
    trash_emptying,
};

/// The name of the service in logs and traces.
pub const NAME: &str = "content-service";

/// The port of the service unless it is configured.
pub const DEFAULT_PORT: u16 = 5003;

/// Runs the service until `shutdown` is cancelled.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), StartupError> {
    bind(&settings).await?.run(Migrate::AtStart, shutdown).await
}

/// Binds the port of the service.
pub async fn bind(settings: &Settings) -> Result<DataService, StartupError> {
    let sections = sections_client(&settings.sections.url, &settings.internal);
    let body_limit = BodyLimit::new(&settings.server);
    let if_match = RequireIfMatch::new(&settings.server);
    let outbound = OutboundClient::new(settings.webhooks.allow_private_networks);
    DataService::bind(settings, NAME, COLLECTIONS, kinds::changes, |connection, changes| {
        let users = Arc::new(UserStore::new(connection.database()));
        let authenticator = Authenticator::new(&settings.auth)
            .with_users(users.clone())
            .with_operator(settings.admin.email.clone());
        let (users, authenticator) = (web::Data::from(users), web::Data::new(authenticator));
        let collections = Collections::open(connection, changes, settings.revisions);
        let store = DirectoryStore::new(connection.database());
        let feed = Arc::new(FetchedSections::new(sections.clone(), store));
        let known_sections = web::Data::new(Sections::new(feed.clone()));
        let source = Source::new(connection, collections.clone(), feed.clone());
        let listeners = web::Data::new(Listeners::new(Hub::new(source.clone())));
        let tags = web::Data::new(Tags::new(changes));
        let url =
            settings.site.url.clone().map(|url| String::from(url).trim_end_matches('/').to_owned());
        let searched = SearchStore::new(connection);
        let search = web::Data::new(searched.clone());
        let redirects = web::Data::new(RedirectStore::new(connection, changes, url.clone()));
        let site = web::Data::new(SiteStore::new(connection, changes, url));
        let sanitiser = web::Data::new(Sanitiser::new(&settings.html));
        let previews = settings.internal.secret.as_ref().map(PreviewKey::new);
        let previews = web::Data::new(Previews(previews));
        let inspector = web::Data::from(inspector(connection, &sections));
        let delivering = Webhooks::new(connection, &settings.webhooks, outbound, source);
        let webhooks = web::Data::new(delivering.clone());
        let routes: Routes = Arc::new(move |config| {
            config
                .app_data(web::Data::new(collections.clone()))
                .app_data(users.clone())
                .app_data(known_sections.clone())
                .app_data(listeners.clone())
                .app_data(tags.clone())
                .app_data(site.clone())
                .app_data(redirects.clone())
                .app_data(search.clone())
                .app_data(sanitiser.clone())
                .app_data(inspector.clone())
                .app_data(previews.clone())
                .app_data(webhooks.clone())
                .app_data(authenticator.clone())
                .app_data(body_limit)
                .app_data(if_match)
                .configure(|config| api::routes(config, &collections));
        });
        let health = Health::builder().check("sections", move || {
            let result = sections_feed::check(&feed);
            async move { result }
        });
        let engine = engine(connection, Clock::system(), settings, &sections);
        let filled = Collections::open(connection, changes, settings.revisions);
        let scheduled = ScheduleStore::new(connection);
        let (emptied, after) = (filled.clone(), settings.trash.empty_after());
        let connection = connection.clone();
        let background: Background = Box::new(move |stop| {
            let filling = search_filling::run(filled, searched, stop.clone());
            let scheduling = scheduling::run(scheduled, stop.clone());
            let emptying = trash_emptying::run(connection, emptied, after, stop.clone());
            Box::pin(async move {
                tokio::join!(delivering.run(stop), filling, scheduling, emptying);
            })
        });
        Parts { engine, routes, health, background: Some(background) }
    })
    .await
}

/// Returns the migrations of the service, for its database.
pub fn engine(
    connection: &Connection,
    clock: Clock,
    settings: &Settings,
    sections: &SectionsClient,
) -> Engine {
    let collections = Collections::open_alone(connection);
    let migrations = |database: &Database| {
        let admin = &settings.admin;
        crate::migrations::all(&Context::new(database, clock, admin, sections, &collections))
    };
    let version = env!("CARGO_PKG_VERSION");
    data_service::engine(connection, SERVICE, version, migrations, &settings.migrations)
}

/// Returns the inspector of everything that the service has stored.
pub fn inspector(connection: &Connection, sections: &SectionsClient) -> Arc<dyn Inspect> {
    let collections = Collections::open_alone(connection);
    Arc::new(Inspector::new(connection.database(), collections, sections))
}

/// Returns a client of sections-service at these addresses.
pub fn sections_client(addresses: &Replicas, internal: &settings::Internal) -> SectionsClient {
    SectionsClient::new(addresses.clone(), InternalSecret::new(internal))
}
