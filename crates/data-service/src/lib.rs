//! The start-up of services that own data: they bind their port, connect to their database, migrate it
//! while they already answer, and serve.
//!
//! A service passes its migrations and its routes to [`DataService::bind`].

pub mod changes;
mod collections;
pub mod idempotency;
pub mod integrity;
pub mod page_meta;
pub mod report;
pub mod revisions;
mod transaction;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{
    Error as ActixError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::{Next, from_fn},
    web,
};
use futures_util::future::BoxFuture;
use migrations::{
    Engine, Migration, OperationCounter, Options, RunError, RunErrorKind, State, Status, Throttle,
    WaitPolicy,
};
use models::ErrorCode;
use mongo_kit::{
    ConnectError, Connection, DatabaseError, DeploymentError, UnsuitableCollections, database_of,
    refuse_unsuitable, unsuitable_collections,
};
use mongodb::Database;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use service_kit::{
    runtime::{
        clock::Clock,
        listen::BindError,
        process::ServiceError,
        settings::{self, DEFAULT_DATABASE, Settings},
    },
    web::{
        changes::CHANGES_PATH,
        error::ApiError,
        health::{CheckResult, Health, HealthBuilder},
        internal::{InternalSecret, refuse_strangers},
        origin::NetworkPosition,
        overload::{LoadLimit, limit_load},
        rate_limit::{RateLimit, rate_limit},
        routing::read,
        server::Server,
        time_limit::{TimeLimit, outcome_unknown},
    },
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use changes::{Changes, ChangesRoute, changes, describe_answers};
pub use collections::Collections;
pub use transaction::{Abort, transact};

/// The time limit of requests: clients see an answer within 5 s, which people take for a failure
/// otherwise (the transport has the rest).
const REQUEST_TIMEOUT: Duration = Duration::from_millis(4_500);

/// The longest pause between two attempts to reach the database.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A service with its port and its database.
pub struct DataService {
    server: Server,
    connection: Connection,
    collections: Collections,
    changes: Changes,
    engine: Engine,
    limits: RateLimit,
    secret: InternalSecret,
    routes: Routes,
    health: HealthBuilder,
    background: Option<Background>,
}

/// The parts of a service that use its database.
pub struct Parts {
    /// The migrations.
    pub engine: Engine,
    /// The routes.
    pub routes: Routes,
    /// The checks of its readiness, besides those of the database and the migrations.
    pub health: HealthBuilder,
    /// The task that runs beside the requests, if any.
    pub background: Option<Background>,
}

/// A task that runs until its token is cancelled, and then ends by itself.
pub type Background = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// Cancelled at the beginning of the shutdown, when answers without an end have to end. In the data of the
/// routes.
#[derive(Debug, Clone)]
pub struct Shutdown(pub CancellationToken);

/// A function that adds the routes of a service and their state to a server. It is called once for
/// each thread.
pub type Routes = Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync>;

/// The way in which a start treats the migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrate {
    /// Applies them while the service runs.
    AtStart,
    /// Ignores them, for a command that plans or applies migrations itself.
    Never,
}

/// The reason why a service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// Its port cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The settings of the database are invalid.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database cannot be used, and waiting would not help.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The database has views or other kinds of collections in place of the service's collections.
    #[error(transparent)]
    Collections(#[from] UnsuitableCollections),
    /// A setting of the service is wrong.
    #[error("wrong setting: `{key}`: {cause}")]
    Setting {
        /// The key of the setting.
        key: &'static str,
        /// The reason, for a person.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The HTTP server failed.
    #[error("the HTTP server stopped")]
    Serve(#[from] std::io::Error),
}

impl ServiceError for StartupError {
    fn is_wrong_setting(&self) -> bool {
        matches!(self, Self::Setting { .. })
    }
}

impl DataService {
    /// Binds the port and creates the client of the database, without connecting.
    pub async fn bind(
        settings: &Settings,
        name: &'static str,
        collections: Collections,
        changes: impl FnOnce(&Connection) -> Changes,
        parts: impl FnOnce(&Connection, &Changes) -> Parts,
    ) -> Result<Self, StartupError> {
        let server = Server::bind(&settings.server, NetworkPosition::BehindGateway)?;
        let connection = connect(&settings.mongodb, name).await?;
        let changes = changes(&connection);
        let Parts { engine, routes, health, background } = parts(&connection, &changes);
        let limits = RateLimit::new(&settings.rate_limit);
        let secret = InternalSecret::new(&settings.internal);
        Ok(Self {
            server,
            connection,
            collections,
            changes,
            engine,
            limits,
            secret,
            routes,
            health,
            background,
        })
    }

    /// Returns the address of the service.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the statuses of the migrations, and their changes.
    pub fn statuses(&self) -> watch::Receiver<Vec<Status>> {
        self.engine.statuses()
    }

    /// Serves until `shutdown` is cancelled.
    ///
    /// HTTP requests are answered at once. Until the blocking migrations are applied, the routes
    /// answer 503: the service is not ready.
    pub async fn run(
        self,
        migrate: Migrate,
        shutdown: CancellationToken,
    ) -> Result<(), StartupError> {
        let Self {
            server,
            connection,
            collections,
            changes: heard,
            engine,
            limits,
            secret,
            routes,
            health,
            background,
        } = self;
        let statuses = engine.statuses();
        let health = with_checks(health, &connection, &statuses, migrate);
        // A failed start stops the server.
        let stop = shutdown.child_token();
        let guarded = GuardedRoutes {
            engine: web::Data::new(engine.clone()),
            secret: web::Data::new(secret),
            changes: web::Data::new(heard.clone()),
            listeners: web::Data::new(ChangesRoute::new(heard.clone(), stop.clone())),
            shutdown: web::Data::new(Shutdown(stop.clone())),
            gate: web::Data::new(Gate { statuses, migrate }),
            limits: web::Data::new(limits),
            load_limit: web::Data::new(LoadLimit::default()),
            routes,
        };
        let routes = move |config: &mut web::ServiceConfig| guarded.configure(config);
        let migrating = async {
            let result = match migrate {
                Migrate::AtStart => {
                    migrate_database(&connection, collections, &engine, &shutdown).await
                }
                Migrate::Never => Ok(()),
            };
            if result.is_err() {
                stop.cancel();
            }
            result
        };
        let serving = async {
            let served = server.run(health, stop.clone(), routes).await;
            stop.cancel();
            served
        };
        // On a task of its own, which ends with this future.
        let mut following = JoinSet::new();
        following.spawn(async move { heard.follow().await });
        let working = async {
            if let Some(background) = background.filter(|_| migrate == Migrate::AtStart) {
                // A task of its own, so that it gets a share of all threads.
                let _ = tokio::spawn(background(stop.clone())).await;
            }
        };
        let (migrated, served, ()) = tokio::join!(migrating, serving, working);
        drop(following);
        connection.close().await;
        migrated?;
        Ok(served?)
    }
}

/// The routes of a service behind the middleware that all services have, shared by its workers.
#[derive(Clone)]
struct GuardedRoutes {
    engine: web::Data<Engine>,
    secret: web::Data<InternalSecret>,
    changes: web::Data<Changes>,
    listeners: web::Data<ChangesRoute>,
    shutdown: web::Data<Shutdown>,
    gate: web::Data<Gate>,
    limits: web::Data<RateLimit>,
    load_limit: web::Data<LoadLimit>,
    routes: Routes,
}

impl GuardedRoutes {
    /// Adds the routes to a worker of the server.
    fn configure(&self, config: &mut web::ServiceConfig) {
        let gated = web::scope("")
            .app_data(self.gate.clone())
            .app_data(self.limits.clone())
            .app_data(self.load_limit.clone())
            .app_data(TimeLimit(Some(REQUEST_TIMEOUT)))
            .app_data(self.changes.clone())
            .app_data(self.shutdown.clone())
            .wrap(from_fn(describe_answers))
            .wrap(from_fn(refuse_until_ready))
            .wrap(from_fn(limit_load))
            .wrap(from_fn(rate_limit))
            .configure(|config| (self.routes)(config));
        let all = web::scope("")
            .app_data(self.engine.clone())
            .app_data(self.secret.clone())
            .app_data(self.listeners.clone())
            .wrap(from_fn(refuse_strangers))
            // Outside of the gate: operators need it while the gate is closed, and listeners need no
            // time limit.
            .service(read("/internal/migrations", progress))
            .service(read(CHANGES_PATH, changes))
            .service(gated);
        config.service(all);
    }
}

/// Returns a connection to the database of the settings: the one that they name, or else the one that
/// the connection string names, or else [`DEFAULT_DATABASE`].
pub async fn connect(
    settings: &settings::Mongodb,
    app_name: &str,
) -> Result<Connection, ConnectError> {
    let uri = settings.uri.expose_secret();
    let database = settings.database.clone().or_else(|| database_of(uri));
    Connection::new(uri, database.as_deref().unwrap_or(DEFAULT_DATABASE), app_name).await
}

/// Waits for the database, then applies the migrations. Fails only if waiting would not help. A failed
/// migration does not stop the service; readiness and ledger show it until its cause is removed.
async fn migrate_database(
    connection: &Connection,
    collections: Collections,
    engine: &Engine,
    shutdown: &CancellationToken,
) -> Result<(), StartupError> {
    let (addresses, database) = (connection.addresses(), connection.database().name());
    tracing::info!(addresses, database, "using the database");
    let mut pause = Duration::from_millis(100);
    loop {
        let waits_for = match check_database(connection, collections).await {
            Ok(()) => break,
            Err(CheckError::Permanent(error)) => return Err(error),
            Err(CheckError::Transient(reason)) => reason,
        };
        tracing::warn!(error = waits_for, "waiting for the database");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        pause = (pause * 2).min(MAX_PAUSE);
    }
    match engine.run(WaitPolicy::Forever, shutdown).await {
        Ok(()) => tracing::info!("all migrations are applied"),
        Err(RunError { kind: RunErrorKind::Interrupted, .. }) => {
            tracing::info!("migrations interrupted at a checkpoint");
        }
        // The engine logs it, and readiness shows it.
        Err(_) => {}
    }
    Ok(())
}

/// The reason why a database cannot be used.
enum CheckError {
    /// A reason that can disappear by itself.
    Transient(String),
    /// A reason that an operator has to remove.
    Permanent(StartupError),
}

/// Checks that the server and the collections of the service can be used.
async fn check_database(
    connection: &Connection,
    collections: Collections,
) -> Result<(), CheckError> {
    match connection.check_deployment().await {
        Ok(()) => {}
        Err(error) if error.is_transient() => return Err(CheckError::Transient(error.to_string())),
        Err(error) => return Err(CheckError::Permanent(error.into())),
    }
    match unsuitable_collections(connection.database(), &collections.all()).await {
        Ok(found) => refuse_unsuitable(found).map_err(|error| CheckError::Permanent(error.into())),
        Err(error) if mongo_kit::is_transient(&error) => {
            Err(CheckError::Transient(DatabaseError::from(error).to_string()))
        }
        // A user without the right to list collections may still use them.
        Err(error) => {
            let error = DatabaseError::from(error);
            tracing::warn!(%error, "the kinds of the collections are unknown");
            Ok(())
        }
    }
}

/// Adds the checks of the database and the migrations.
fn with_checks(
    health: HealthBuilder,
    connection: &Connection,
    statuses: &watch::Receiver<Vec<Status>>,
    migrate: Migrate,
) -> Health {
    let (pinged, warmed) = (connection.clone(), connection.clone());
    let statuses = statuses.clone();
    health
        .check("database", move || ping(pinged.clone()))
        .check("migrations", move || {
            let report = migrations_report(&statuses.borrow(), migrate);
            async move { report }
        })
        .warmup(move || ping(warmed.clone()))
        .build(Clock::system())
}

async fn ping(connection: Connection) -> CheckResult {
    match connection.ping().await {
        Ok(()) => CheckResult::ok(),
        Err(error) => {
            let error = DatabaseError::from(error);
            tracing::warn!(%error, "the database does not answer");
            CheckResult::failed("the database does not answer")
        }
    }
}

/// Returns the states of the migrations in the ledger, whichever replica runs them. An internal route
/// that the gateway does not forward.
async fn progress(
    engine: web::Data<Engine>,
) -> Result<web::Json<migrations::LedgerReport>, ApiError> {
    Ok(web::Json(engine.report().await.map_err(database_error)?))
}

/// Returns `true` if a migration keeps the service from being ready.
fn blocks(status: &Status) -> bool {
    status.blocking && !status.is_settled
}

fn migrations_report(statuses: &[Status], migrate: Migrate) -> CheckResult {
    if migrate == Migrate::Never {
        return CheckResult::ok();
    }
    let report = match statuses.iter().find(|status| blocks(status)) {
        None => CheckResult::ok(),
        Some(Status { id, state: State::FailedFatal, message, .. }) => {
            let why = message.as_deref().unwrap_or("the log says why");
            CheckResult::failed(format!("{id} failed: {why}"))
        }
        Some(Status { id, message: Some(why), .. }) => {
            CheckResult::failed(format!("{id} is not applied yet: {why}"))
        }
        Some(Status { id, .. }) => CheckResult::failed(format!("{id} is not applied yet")),
    };
    let applied = statuses.iter().filter(|status| status.is_settled).count();
    let details = statuses.iter().map(|status| {
        let mut detail = json!({ "id": status.id, "state": status.state });
        if let Some(progress) = &status.progress {
            detail["step"] = progress.step.as_str().into();
            detail["modified"] = progress.modified.into();
            detail["total"] = progress.total.into();
            detail["documents_per_second"] = progress.rate.round().into();
            detail["eta_seconds"] = progress.eta_seconds().map(f64::round).into();
            detail["throttled_by"] = json!(progress.throttled_by);
        }
        if !status.quarantined.is_empty() {
            detail["set_aside"] = status.quarantined.len().into();
        }
        detail
    });
    report
        .with("applied", applied)
        .with("total", statuses.len())
        .with("migrations", Value::Array(details.collect()))
}

/// The condition for routes to answer.
struct Gate {
    statuses: watch::Receiver<Vec<Status>>,
    migrate: Migrate,
}

async fn refuse_until_ready(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, ActixError> {
    let is_blocked = request.app_data::<web::Data<Gate>>().is_some_and(|gate| {
        gate.migrate == Migrate::AtStart && gate.statuses.borrow().iter().any(blocks)
    });
    if is_blocked {
        let detail = "The service is starting: its database is being prepared.";
        let error = ApiError::new(ErrorCode::NotReady, detail).retry_after_seconds(1);
        return Ok(request.error_response(error).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// Returns the clock of the database server, for dates that are stored: the clocks of replicas differ.
pub fn server_clock(connection: &Connection) -> Clock {
    let clock = connection.clock().clone();
    Clock::of(move || clock.now())
}

/// Returns the error of a request for which the database failed: 503 if a later request can succeed.
pub fn database_error(error: mongodb::error::Error) -> ApiError {
    if mongo_kit::is_unknown_commit(&error) {
        outcome_unknown().because(DatabaseError::from(error))
    } else if mongo_kit::is_transient(&error) {
        ApiError::new(ErrorCode::DatabaseUnavailable, "The database does not answer.")
            .retry_after_seconds(2)
            .because(DatabaseError::from(error))
    } else {
        ApiError::internal(DatabaseError::from(error))
    }
}

/// Returns the engine of a service's migrations.
///
/// It has a client of its own, whose operations are counted, to detect the use of the site by others.
/// `migrations` returns the migrations, which must read through that client as well.
pub fn engine(
    connection: &Connection,
    service: &'static str,
    app_version: &'static str,
    migrations: impl FnOnce(&Database) -> Vec<Arc<dyn Migration>>,
    settings: &settings::Migrations,
) -> Engine {
    let throttle = Throttle {
        documents_per_second: settings.documents_per_second,
        ..match settings.throttle {
            settings::Throttle::Gentle => Throttle::GENTLE,
            settings::Throttle::Off => Throttle::OFF,
        }
    };
    let counter = OperationCounter::default();
    let (connection, operations) = match connection.monitored(counter.handler()) {
        Ok(monitored) => (monitored, Some(counter)),
        Err(error) => {
            // Unlikely, because the same options were accepted before. Without a count, migrations
            // always leave time to others.
            tracing::warn!(%error, "migrations have no client of their own");
            (connection.clone(), None)
        }
    };
    let options = Options { lease: settings.lease_seconds.duration(), throttle, operations };
    let (client, database) = (connection.client(), connection.database());
    let (writers, migrations) = (connection.writers(), migrations(database));
    Engine::new(client, database, writers, service, app_version, migrations, options)
}
