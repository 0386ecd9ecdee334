//! The services in the process of the test, on real ports.

use std::{collections::HashMap, sync::OnceLock};

use data_service::{DataService, Migrate, StartupError};
use migrations::Status;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use service_kit::runtime::{
    settings::{ENVIRONMENT_PREFIX, Metrics, Settings, Sources, url::local_url},
    telemetry::Telemetry,
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{TestDatabase, eventually, mongodb_uri};

/// The token that the services of tests accept.
pub const TOKEN: &str = "test-token-of-16-or-more";

/// Returns the settings of a service in a test: a free port, the database and the token of the test,
/// and others that are given as dotted keys with values.
pub fn settings(database: &TestDatabase, others: &[(&str, &str)]) -> Settings {
    start_telemetry();
    let defaults = [
        ("server.port", "0"),
        ("mongodb.uri", mongodb_uri()),
        ("mongodb.database", database.name()),
        ("auth.static_token", TOKEN),
        // No other operation needs room.
        ("migrations.throttle", "off"),
    ];
    let environment: HashMap<_, _> = defaults
        .iter()
        .chain(others)
        .map(|(key, value)| {
            let key = format!("{ENVIRONMENT_PREFIX}__{}", key.replace('.', "__")).to_uppercase();
            (key, (*value).to_owned())
        })
        .collect();
    Settings::load(0, &Sources { environment, ..Sources::default() }).unwrap()
}

/// Starts telemetry as the process of a service does, so that errors have trace ids. It logs nothing
/// unless `RUST_LOG` is set.
fn start_telemetry() {
    static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();
    TELEMETRY.get_or_init(|| Telemetry::start("test", "off", &Metrics::default()).unwrap());
}

/// A running service. It is stopped at the end of the test.
pub struct Service {
    /// The address of the service, such as `http://127.0.0.1:40000`.
    pub url: String,
    statuses: watch::Receiver<Vec<Status>>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), StartupError>>,
}

impl Service {
    /// Starts sections-service with these settings.
    pub async fn sections(settings: &Settings) -> Self {
        Self::start(sections_service::bind(settings).await.unwrap())
    }

    /// Starts content-service with these settings.
    pub async fn content(settings: &Settings) -> Self {
        Self::start(content_service::bind(settings).await.unwrap())
    }

    /// Starts content-service with these settings on a database that it does not migrate.
    pub async fn content_without_migrations(settings: &Settings) -> Self {
        Self::run(content_service::bind(settings).await.unwrap(), Migrate::Never)
    }

    /// Starts media-service with these settings.
    pub async fn media(settings: &Settings) -> Self {
        Self::start(media_service::bind(settings).await.unwrap())
    }

    fn start(service: DataService) -> Self {
        Self::run(service, Migrate::AtStart)
    }

    fn run(service: DataService, migrate: Migrate) -> Self {
        let (url, statuses) = (local_url(service.address()), service.statuses());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(service.run(migrate, shutdown.clone()));
        Self { url, statuses, shutdown, task }
    }

    /// Starts both services on one database and waits for their migrations.
    pub async fn both(database: &TestDatabase) -> (Self, Self) {
        Self::both_with(database, &[]).await
    }

    /// Starts both services with these settings on one database and waits for their migrations.
    pub async fn both_with(database: &TestDatabase, others: &[(&str, &str)]) -> (Self, Self) {
        let of_sections = settings(database, others);
        // Each service calls the other: the first one gets the address of the second one later.
        let (content_url_sender, content_url) = watch::channel(of_sections.content.url.clone());
        let sections = sections_service::bind_beside(&of_sections, content_url).await.unwrap();
        let sections = Self::start(sections);
        let others = [others, &[("sections.url", &sections.url)]].concat();
        let content = content_service::bind(&settings(database, &others)).await.unwrap();
        content_url_sender.send_replace(content.address().into());
        let content = Self::start(content);
        sections.migrated().await;
        content.migrated().await;
        database.leases_released().await;
        (sections, content)
    }

    /// Waits until all migrations are applied.
    pub async fn migrated(&self) {
        let mut statuses = self.statuses.clone();
        let settled = statuses.wait_for(|all| all.iter().all(|status| status.is_settled));
        let settled = tokio::time::timeout(crate::DEADLINE, settled).await;
        if settled.is_err() {
            panic!("the migrations are not applied in time: {:#?}", self.statuses());
        }
    }

    /// Returns the statuses of the migrations.
    pub fn statuses(&self) -> Vec<Status> {
        self.statuses.borrow().clone()
    }

    /// Waits until the statuses of the migrations fulfil a condition.
    pub async fn wait_for(&self, what: &str, mut condition: impl FnMut(&[Status]) -> bool) {
        eventually(what, || std::future::ready(condition(&self.statuses.borrow()))).await;
    }

    /// Sends a GET request without a token.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        get(&format!("{}{path}", self.url), None).await
    }

    /// Sends a GET request with the token.
    pub async fn get_as_editor(&self, path: &str) -> (StatusCode, Value) {
        get(&format!("{}{path}", self.url), Some(TOKEN)).await
    }

    /// Stops the service as SIGTERM does.
    pub async fn stop(self) -> Result<(), StartupError> {
        self.shutdown.cancel();
        self.task.await.unwrap()
    }
}

/// Sends a GET request and returns the status and body of the response.
pub async fn get(url: &str, token: Option<&str>) -> (StatusCode, Value) {
    let client =
        service_kit::web::http_client::service_client(std::time::Duration::from_secs(30)).unwrap();
    let mut request = client.get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response: Response = request.send().await.unwrap();
    let status = response.status();
    let body = response.text().await.unwrap();
    let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
    (status, body)
}
