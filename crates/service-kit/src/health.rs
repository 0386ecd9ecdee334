//! How the process is: `/health`, `/health/live`, `/health/ready`, `/warmup`.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use futures_util::{FutureExt, future::BoxFuture, future::join_all};
use serde_json::{Map, Value, json};

use utoipa::{OpenApi, ToSchema};

use crate::{clock::Clock, server::read};

/// How long one check may take. Orchestrators give up after a second unless told otherwise
/// (Kubernetes, `timeoutSeconds`), so the answer has to be there by then.
const CHECK_TIMEOUT: Duration = Duration::from_millis(800);

/// The state of a process, shared by all its parts.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    clock: Clock,
    is_draining: AtomicBool,
    checks: Vec<Check>,
    warmup: Option<Check>,
}

struct Check {
    name: &'static str,
    run: Box<dyn Fn() -> BoxFuture<'static, Report> + Send + Sync>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    is_ok: bool,
    detail: Map<String, Value>,
}

impl Report {
    /// All is well.
    pub fn ok() -> Self {
        Self::new(true)
    }

    /// Something is wrong; the reason is public.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::new(false).with("reason", reason.into())
    }

    fn new(is_ok: bool) -> Self {
        let status = if is_ok { "ok" } else { "failed" };
        Self { is_ok, detail: Map::new() }.with("status", status)
    }

    /// Adds what a person who looks at it would like to know.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }
}

/// Collects the checks of a process.
#[derive(Default)]
pub struct HealthBuilder {
    checks: Vec<Check>,
    warmup: Option<Check>,
}

impl HealthBuilder {
    /// Adds a check that has to be ok for the process to be ready.
    #[must_use]
    pub fn check<F, R>(mut self, name: &'static str, run: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Report> + Send + 'static,
    {
        self.checks.push(Check { name, run: Box::new(move || run().boxed()) });
        self
    }

    /// Sets what `/warmup` does: reach the database, so that the next request finds it warm.
    #[must_use]
    pub fn warmup<F, R>(mut self, run: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Report> + Send + 'static,
    {
        self.warmup = Some(Check { name: "database", run: Box::new(move || run().boxed()) });
        self
    }

    /// The finished state.
    pub fn build(self, clock: Clock) -> Health {
        let Self { checks, warmup } = self;
        Health(Arc::new(Inner { clock, is_draining: AtomicBool::new(false), checks, warmup }))
    }
}

impl Health {
    /// Collects the checks of a process.
    pub fn builder() -> HealthBuilder {
        HealthBuilder::default()
    }

    /// From now on the process is not ready: it is about to stop.
    pub fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    /// Whether the process is ready, and why not.
    pub async fn ready(&self) -> (bool, Value) {
        let checks =
            self.0.checks.iter().map(|check| async { (check.name.to_owned(), check.run().await) });
        let reports = join_all(checks).await;
        let is_draining = self.0.is_draining.load(Ordering::Relaxed);
        let is_ready = !is_draining && reports.iter().all(|(_, report)| report.is_ok);
        let status = match (is_ready, is_draining) {
            (true, _) => "ready",
            (false, true) => "draining",
            (false, false) => "not_ready",
        };
        let checks: Map<_, _> =
            reports.into_iter().map(|(name, report)| (name, report.detail.into())).collect();
        let timestamp = self.0.clock.timestamp();
        (is_ready, json!({ "status": status, "checks": checks, "timestamp": timestamp }))
    }

    async fn warm_up(&self) -> (bool, Value) {
        let is_warm = match &self.0.warmup {
            Some(check) => check.run().await.is_ok,
            None => true,
        };
        let (status, database) =
            if is_warm { ("warm", "connected") } else { ("cold", "disconnected") };
        let timestamp = self.0.clock.timestamp();
        (is_warm, json!({ "status": status, "database": database, "timestamp": timestamp }))
    }

    /// Adds the routes. [`crate::server::serve`] does it by itself.
    pub fn routes(&self, config: &mut web::ServiceConfig) {
        config
            .app_data(web::Data::new(self.clone()))
            .service(read("/health", healthy))
            .service(read("/health/live", live))
            .service(read("/health/ready", ready))
            .service(read("/warmup", warmup));
    }
}

impl Check {
    async fn run(&self) -> Report {
        // On a task of its own: a check that is too slow is left to finish, not dropped half-way.
        let run = tokio::spawn((self.run)());
        match tokio::time::timeout(CHECK_TIMEOUT, run).await {
            Ok(Ok(report)) => report,
            Ok(Err(_)) => Report::failed("the check itself failed"),
            Err(_) => Report::failed("no answer in time"),
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("is_draining", &self.0.is_draining).finish_non_exhaustive()
    }
}

#[derive(OpenApi)]
#[openapi(
    paths(healthy, live, ready, warmup),
    tags((name = "health", description = "How the system is."))
)]
struct Document;

/// The description of the routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The process answers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
struct Healthy {
    #[schema(pattern = "^healthy$")]
    status: String,
    timestamp: DateTime<Utc>,
}

/// The process runs.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
struct Live {
    #[schema(pattern = "^live$")]
    status: String,
}

/// Whether the process is ready, and what each of its checks found.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
struct Readiness {
    #[schema(pattern = "^(ready|not_ready|draining)$")]
    status: String,
    checks: BTreeMap<String, Finding>,
    timestamp: DateTime<Utc>,
}

/// What a check found, with what a person who looks at it would like to know.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
struct Finding {
    #[schema(pattern = "^(ok|failed)$")]
    status: String,
    /// Why it failed.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// Whether the database is reached.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
struct Warmth {
    #[schema(pattern = "^(warm|cold)$")]
    status: String,
    #[schema(pattern = "^(connected|disconnected)$")]
    database: String,
    timestamp: DateTime<Utc>,
}

/// Whether the process answers.
///
/// Touches neither the database nor another service.
#[utoipa::path(
    get, path = "/health", tag = "health", operation_id = "health",
    responses((status = 200, description = "It does.", body = Healthy))
)]
async fn healthy(health: web::Data<Health>) -> HttpResponse {
    let timestamp = health.0.clock.timestamp();
    HttpResponse::Ok().json(json!({ "status": "healthy", "timestamp": timestamp }))
}

/// Whether the process runs.
///
/// For a liveness probe: restart the process if this does not answer.
#[utoipa::path(
    get, path = "/health/live", tag = "health", operation_id = "health_live",
    responses((status = 200, description = "It does.", body = Live))
)]
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// Whether requests can be answered.
///
/// For a readiness probe: what is not ready gets no requests. `checks` says which part is not.
#[utoipa::path(
    get, path = "/health/ready", tag = "health", operation_id = "health_ready",
    responses(
        (status = 200, description = "They can.", body = Readiness),
        (status = 503, description = "They cannot.", body = Readiness)
    )
)]
async fn ready(health: web::Data<Health>) -> HttpResponse {
    answer(health.ready().await)
}

/// Reaches the database, so that the next request finds it warm.
///
/// For a scheduler that keeps an idle installation awake.
#[utoipa::path(
    get, path = "/warmup", tag = "health", operation_id = "warmup",
    responses(
        (status = 200, description = "It is reached.", body = Warmth),
        (status = 503, description = "It is not.", body = Warmth)
    )
)]
async fn warmup(health: web::Data<Health>) -> HttpResponse {
    answer(health.warm_up().await)
}

fn answer((is_ok, body): (bool, Value)) -> HttpResponse {
    if is_ok {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}
