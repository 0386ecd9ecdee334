//! The health of the process: `/health`, `/health/live`, `/health/ready`, `/warmup`.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use futures_util::{FutureExt, future::BoxFuture, future::join_all};
use serde_json::{Map, Value, json};
use utoipa::{OpenApi, ToSchema};

use super::routing::read;
use crate::runtime::clock::Clock;

/// The longest duration of one check. By default, orchestrators give up after a second (Kubernetes,
/// `timeoutSeconds`), so that the response has to arrive before.
const CHECK_TIMEOUT: Duration = Duration::from_millis(800);

/// The time after a success for which a check that is too slow counts as slow, not as failed: a process
/// that is busy still answers, and taking it out would leave its requests to others that are as busy.
/// MongoDB elects a new primary within that time.
const SLOW_TOLERANCE: Duration = Duration::from_secs(10);

/// The time for which the result of a warm-up is answered to further requests. The route is open to
/// all and has no rate limit.
const WARMUP_INTERVAL: Duration = Duration::from_secs(1);

/// The health of a process, shared by all its parts.
///
/// ```
/// use service_kit::{runtime::clock::Clock, web::health::{CheckResult, Health}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let health = Health::builder()
///     .check("queue", || async { CheckResult::failed("it is full") })
///     .build(Clock::system());
/// let (is_ready, body) = health.ready().await;
/// assert!(!is_ready);
/// assert_eq!(body["checks"]["queue"]["reason"], "it is full");
/// # }
/// ```
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    clock: Clock,
    is_draining: AtomicBool,
    checks: Vec<Check>,
    warmup: Option<Check>,
    /// The time and result of the last warm-up. Locked during one, so that there is one at a time.
    last_warmup: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

struct Check {
    name: &'static str,
    succeeded_at: Arc<Mutex<Option<Instant>>>,
    run: Box<dyn Fn() -> BoxFuture<'static, CheckResult> + Send + Sync>,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckResult {
    is_ok: bool,
    detail: Map<String, Value>,
}

impl CheckResult {
    /// Returns the result of a check that succeeded.
    pub fn ok() -> Self {
        Self::new(true)
    }

    /// Returns the result of a check that failed; the reason is public.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::new(false).with("reason", reason.into())
    }

    fn new(is_ok: bool) -> Self {
        let status = if is_ok { "ok" } else { "failed" };
        Self { is_ok, detail: Map::new() }.with("status", status)
    }

    /// Adds a member to the result, for the people who read it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }
}

/// The checks of a process, while they are being collected.
#[derive(Default)]
pub struct HealthBuilder {
    checks: Vec<Check>,
    warmup: Option<Check>,
}

impl HealthBuilder {
    /// Adds a check. The process is ready if all checks succeed.
    #[must_use]
    pub fn check<F, R>(mut self, name: &'static str, run: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = CheckResult> + Send + 'static,
    {
        self.checks.push(Check::new(name, move || run().boxed()));
        self
    }

    /// Sets the action of `/warmup`: connect to the database, so that the next request need not.
    #[must_use]
    pub fn warmup<F, R>(mut self, run: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = CheckResult> + Send + 'static,
    {
        self.warmup = Some(Check::new("database", move || run().boxed()));
        self
    }

    /// Returns the finished health.
    pub fn build(self, clock: Clock) -> Health {
        let Self { checks, warmup } = self;
        let (is_draining, last_warmup) = (AtomicBool::new(false), tokio::sync::Mutex::new(None));
        Health(Arc::new(Inner { clock, is_draining, checks, warmup, last_warmup }))
    }
}

impl Health {
    /// Returns a builder without checks.
    pub fn builder() -> HealthBuilder {
        HealthBuilder::default()
    }

    /// Makes the process not ready from now on, because it is about to stop.
    pub fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if the process is about to stop.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Relaxed)
    }

    /// Runs the checks. Returns `true` if the process is ready, and the body of the response.
    pub async fn ready(&self) -> (bool, Value) {
        let checks =
            self.0.checks.iter().map(|check| async { (check.name.to_owned(), check.run().await) });
        let reports = join_all(checks).await;
        let is_draining = self.is_draining();
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
            Some(check) => self.warmed(check).await,
            None => true,
        };
        let (status, database) =
            if is_warm { ("warm", "connected") } else { ("cold", "disconnected") };
        let timestamp = self.0.clock.timestamp();
        (is_warm, json!({ "status": status, "database": database, "timestamp": timestamp }))
    }

    /// Runs the warm-up unless it was run within the last second. Returns its result.
    async fn warmed(&self, check: &Check) -> bool {
        let mut last = self.0.last_warmup.lock().await;
        if let Some((at, is_warm)) = *last
            && at.elapsed() < WARMUP_INTERVAL
        {
            return is_warm;
        }
        let is_warm = check.run().await.is_ok;
        *last = Some((Instant::now(), is_warm));
        is_warm
    }

    /// Adds the routes. [`super::server::Server`] does so itself unless it is the server of a proxy.
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
    fn new(
        name: &'static str,
        run: impl Fn() -> BoxFuture<'static, CheckResult> + Send + Sync + 'static,
    ) -> Self {
        Self { name, succeeded_at: Arc::default(), run: Box::new(run) }
    }

    async fn run(&self) -> CheckResult {
        // On a task of its own, so that a check that is too slow is not cancelled half-way.
        let (run, succeeded_at) = ((self.run)(), Arc::clone(&self.succeeded_at));
        let run = tokio::spawn(async move {
            let result = run.await;
            if result.is_ok {
                *succeeded_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
            result
        });
        match tokio::time::timeout(CHECK_TIMEOUT, run).await {
            Ok(Ok(report)) => report,
            Ok(Err(_)) => CheckResult::failed("the check itself failed"),
            Err(_) if self.has_succeeded_lately() => CheckResult::ok().with("slow", true),
            Err(_) => CheckResult::failed("no answer in time"),
        }
    }

    fn has_succeeded_lately(&self) -> bool {
        let succeeded_at = *self.succeeded_at.lock().unwrap_or_else(PoisonError::into_inner);
        succeeded_at.is_some_and(|at| at.elapsed() < SLOW_TOLERANCE)
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
    tags((name = "health", description = "The health of the system."))
)]
struct Document;

/// Returns the description of the routes.
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

/// The readiness of the process, with the result of each check.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
struct Readiness {
    #[schema(pattern = "^(ready|not_ready|draining)$")]
    status: String,
    checks: BTreeMap<String, CheckDescription>,
    timestamp: DateTime<Utc>,
}

/// The result of a check, with more members for the people who read it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
#[schema(as = Finding)]
struct CheckDescription {
    #[schema(pattern = "^(ok|failed)$")]
    status: String,
    /// The reason why it failed.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// The state of the connection to the database.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
struct Warmth {
    #[schema(pattern = "^(warm|cold)$")]
    status: String,
    #[schema(pattern = "^(connected|disconnected)$")]
    database: String,
    timestamp: DateTime<Utc>,
}

/// Returns 200 while the process answers.
///
/// Uses neither the database nor another service.
#[utoipa::path(
    get, path = "/health", tag = "health", operation_id = "health",
    responses((status = 200, description = "The process answers.", body = Healthy))
)]
async fn healthy(health: web::Data<Health>) -> HttpResponse {
    let timestamp = health.0.clock.timestamp();
    HttpResponse::Ok().json(json!({ "status": "healthy", "timestamp": timestamp }))
}

/// Returns 200 while the process runs.
///
/// For a liveness probe: restart the process if this does not answer.
#[utoipa::path(
    get, path = "/health/live", tag = "health", operation_id = "health_live",
    responses((status = 200, description = "The process runs.", body = Live))
)]
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// Returns 200 if the process can answer requests, else 503.
///
/// For a readiness probe: send no requests to a process that is not ready. `checks` has the result of
/// each check.
#[utoipa::path(
    get, path = "/health/ready", tag = "health", operation_id = "health_ready",
    responses(
        (status = 200, description = "The process is ready.", body = Readiness),
        (status = 503, description = "The process is not ready.", body = Readiness)
    )
)]
async fn ready(health: web::Data<Health>) -> HttpResponse {
    response(health.ready().await)
}

/// Connects to the database, so that the next request need not.
///
/// For a scheduler that keeps an idle installation awake.
#[utoipa::path(
    get, path = "/warmup", tag = "health", operation_id = "warmup",
    responses(
        (status = 200, description = "The database answers.", body = Warmth),
        (status = 503, description = "The database does not answer.", body = Warmth)
    )
)]
async fn warmup(health: web::Data<Health>) -> HttpResponse {
    response(health.warm_up().await)
}

fn response((is_ok, body): (bool, Value)) -> HttpResponse {
    if is_ok {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_check_is_slow_and_one_that_never_answered_has_failed() {
        let delay = Arc::new(Mutex::new(Duration::from_secs(2)));
        let set = Arc::clone(&delay);
        let health = Health::builder()
            .check("database", move || {
                let delay = *delay.lock().unwrap();
                async move {
                    tokio::time::sleep(delay).await;
                    CheckResult::ok()
                }
            })
            .build(Clock::system());
        let (is_ready, body) = health.ready().await;
        assert!(!is_ready, "{body}");
        *set.lock().unwrap() = Duration::ZERO;
        assert!(health.ready().await.0);
        *set.lock().unwrap() = Duration::from_secs(2);
        let (is_ready, body) = health.ready().await;
        assert!(is_ready && body["checks"]["database"]["slow"] == true, "{body}");
        // A check that fails is not slow.
        let failing = Health::builder()
            .check("x", || async { CheckResult::failed("no") })
            .build(Clock::system());
        assert!(!failing.ready().await.0);
    }

    #[tokio::test]
    async fn many_warm_ups_ask_once_a_second() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        // Cold at first: that is answered for as long as warmth.
        let health = Health::builder().warmup(move || {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            async move { if number == 0 { CheckResult::failed("cold") } else { CheckResult::ok() } }
        });
        let health = health.build(Clock::system());
        let began = Instant::now();
        let mut answers = 0;
        while asked.load(Ordering::SeqCst) < 3 {
            let all = join_all((0..50).map(|_| health.warm_up())).await;
            answers += all.len();
            tokio::task::yield_now().await;
        }
        // The third begins at the end of the second second.
        assert!(began.elapsed() >= WARMUP_INTERVAL * 2, "{:?}", began.elapsed());
        assert!(answers >= 150, "{answers}");
        assert!(health.warm_up().await.0);
    }
}
