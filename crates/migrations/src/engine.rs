//! The engine: the migrations of one service and the operations on them.

mod inspect;
mod operate;
mod plan;
mod retry;
mod rollback;
mod run;
mod schedule;
mod status;

use std::{fmt, sync::Arc, time::Duration};

use mongo_kit::Writers;
use mongodb::{Client, Database};
use tokio::{sync::watch, task::JoinError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    error::{RunError, RunErrorKind},
    metrics,
    migration::{Migration, Registered},
    state::{
        entry::Quarantined,
        journal::Journal,
        lease::{self, Lease},
        ledger::{Found, Ledger, Problem},
    },
    steps::{
        Data,
        fill::{
            foreground::{ForegroundProbe, OperationCounter},
            throttle::Throttle,
        },
    },
};
use schedule::Runner;

pub use operate::{OperateError, Repaired};
pub use plan::{Plan, Verification};
pub use rollback::{RollBackError, RolledBack};
pub use status::{LedgerReport, MigrationReport, Status};

/// The longest time from a shutdown to the next checkpoint of a run. A little more than the time
/// limit of a batch (`maxTimeMS`), because a database that does not answer is not waited for.
const GRACE: Duration = Duration::from_secs(12);

/// Runs the migrations of one service. Clones share their state.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    service: &'static str,
    /// Identifies this start of this process in lease and ledger.
    owner: String,
    ledger: Ledger,
    journal: Journal,
    migrations: Vec<Registered>,
    options: Options,
    foreground: Arc<ForegroundProbe>,
    statuses: watch::Sender<Vec<Status>>,
}

/// Options of an engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// The duration of the lease without a heartbeat, at least [`Options::MIN_LEASE`]. It is renewed
    /// three times in that time. After a holder is killed, another process waits for so long.
    pub lease: Duration,
    /// The limits to the speed of changes.
    pub throttle: Throttle,
    /// The counter of the operations of the client that the engine uses, to distinguish them from
    /// those of others: while there are no others, [`Throttle::duty_cycle`] does not slow the engine
    /// down. Only the engine and its migrations may use the client.
    pub operations: Option<OperationCounter>,
}

impl Options {
    /// The shortest lease. With a shorter one, a busy server or a slow network would take the lease
    /// from a healthy holder.
    pub const MIN_LEASE: Duration = Duration::from_secs(1);
}

impl Default for Options {
    fn default() -> Self {
        Self { lease: lease::DURATION, throttle: Throttle::default(), operations: None }
    }
}

/// The way in which a run waits for other services, processes and people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitPolicy {
    /// For services: waits for other services, for the lease, for the database and for operators
    /// without a limit. Does not apply again what an operator rolled back.
    Forever,
    /// For commands: waits a minute for the lease and for the database, and not at all for other
    /// services. Applies again what was rolled back.
    Bounded,
}

impl Engine {
    /// Returns an engine for the migrations of a service, in the order in which they run.
    ///
    /// `writers` are those of this process, which register its sessions: if it is killed, others end
    /// its transaction. `service` is the prefix of the ledger (`<service>_migrations`), the lease
    /// (`<service>_migration_lock`) and the journal (`<service>_migration_journal`).
    pub fn new(
        client: &Client,
        database: &Database,
        writers: &Writers,
        service: &'static str,
        app_version: &'static str,
        migrations: Vec<Arc<dyn Migration>>,
        options: Options,
    ) -> Self {
        let owner = Uuid::new_v4().to_string();
        let migrations: Vec<_> = migrations.into_iter().map(Registered::new).collect();
        let statuses = migrations.iter().map(|one| Status::new(&one.definition)).collect();
        let lease = options.lease.max(Options::MIN_LEASE);
        let throttle = options.throttle.clamped();
        let shared = Shared {
            database: database.clone(),
            service,
            ledger: Ledger::new(client, database, writers, service, &owner, app_version),
            journal: Journal::new(database, service),
            owner,
            foreground: Arc::new(ForegroundProbe::new(database, options.operations.clone())),
            options: Options { lease, throttle, ..options },
            statuses: watch::Sender::new(statuses),
            migrations,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the name of the service.
    pub fn service(&self) -> &'static str {
        self.shared.service
    }

    /// Returns the ids of the migrations, in the order in which they run.
    pub fn ids(&self) -> impl Iterator<Item = &'static str> {
        self.shared.migrations.iter().map(|migration| migration.id())
    }

    /// Returns the ids of the migrations with their revisions.
    pub fn revisions(&self) -> impl Iterator<Item = (&'static str, i32)> {
        let all = self.shared.migrations.iter();
        all.map(|migration| (migration.id(), migration.definition.revision))
    }

    /// Returns the statuses of the migrations in this process, and their changes.
    pub fn statuses(&self) -> watch::Receiver<Vec<Status>> {
        self.shared.statuses.subscribe()
    }

    /// Returns the states of the migrations in the ledger, whichever process runs them.
    pub async fn report(&self) -> mongodb::error::Result<LedgerReport> {
        let Shared { database, service, ledger, migrations, .. } = &*self.shared;
        let documents = ledger.documents().await?;
        let lease = lease::holder(database, service).await?;
        Ok(LedgerReport::new(service, migrations, &documents, lease))
    }

    /// Applies all migrations that are not applied, in order.
    ///
    /// # Errors
    ///
    /// With [`WaitPolicy::Bounded`], the first error. With [`WaitPolicy::Forever`] only
    /// [`RunErrorKind::Interrupted`]: a migration that fails is tried again when its cause may have
    /// disappeared, and the migrations that do not require it are applied.
    pub async fn run(
        &self,
        policy: WaitPolicy,
        shutdown: &CancellationToken,
    ) -> Result<(), RunError> {
        self.run_first(self.shared.migrations.len(), policy, shutdown).await
    }

    /// Applies the migrations up to and including this one.
    ///
    /// # Errors
    ///
    /// [`RunErrorKind::Unknown`] if there is no such migration, and those of [`Self::run`].
    pub async fn run_to(
        &self,
        last: &str,
        policy: WaitPolicy,
        shutdown: &CancellationToken,
    ) -> Result<(), RunError> {
        let count = self.position(last)? + 1;
        self.run_first(count, policy, shutdown).await
    }

    async fn run_first(
        &self,
        count: usize,
        policy: WaitPolicy,
        shutdown: &CancellationToken,
    ) -> Result<(), RunError> {
        let runner = Runner::new(self.clone(), count, policy, shutdown.clone());
        within_grace(runner.run(), shutdown).await
    }

    /// Returns the position of the migration with this id.
    fn position(&self, id: &str) -> Result<usize, RunError> {
        let position = self.ids().position(|known| known == id);
        position.ok_or_else(|| RunErrorKind::Unknown(id.to_owned()).into())
    }

    /// Returns the migration with this id.
    fn registered(&self, id: &str) -> Result<&Registered, RunError> {
        Ok(&self.shared.migrations[self.position(id)?])
    }

    /// Returns the document of a migration in the ledger.
    ///
    /// # Errors
    ///
    /// [`RunErrorKind::Drift`] and [`RunErrorKind::UnreadableEntry`] if the document cannot be
    /// trusted.
    async fn find(&self, registered: &Registered) -> Result<Found, RunErrorKind> {
        let found = self.shared.ledger.find(registered).await?;
        match found.problem {
            Some(Problem::Drift { found, expected }) => {
                let short = |checksum: String| checksum.chars().take(12).collect();
                let (found, expected) = (short(found), short(expected));
                let revision = registered.definition.revision;
                Err(RunErrorKind::Drift { revision, found, expected })
            }
            Some(Problem::Unreadable { reason }) => {
                let ledger = self.shared.ledger.name().to_owned();
                Err(RunErrorKind::UnreadableEntry { ledger, reason })
            }
            Some(Problem::Newer { .. }) | None => Ok(found),
        }
    }

    /// Returns the data without these documents.
    fn data<'a>(&'a self, quarantined: &'a [Quarantined]) -> Data<'a> {
        Data { database: &self.shared.database, quarantined }
    }

    /// Changes the status of a migration in this process.
    fn set_status(&self, id: &'static str, change: impl FnOnce(&mut Status)) {
        self.shared.statuses.send_modify(|statuses| {
            if let Some(status) = statuses.iter_mut().find(|status| status.id == id) {
                let before = status.state;
                change(status);
                metrics::state(id, before, status.state);
            }
        });
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("service", &self.shared.service).finish_non_exhaustive()
    }
}

/// Releases a lease. A lease that could not be renewed expires by itself, and its database does not
/// answer.
async fn release(lease: Option<Lease>) {
    if let Some(lease) = lease.filter(|lease| !lease.lost().is_cancelled())
        && let Err(error) = lease.release().await
    {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "the lease could not be released and expires by itself");
    }
}

/// Runs work on a task of its own, and waits for it no longer than [`GRACE`] after a shutdown. The
/// task is not dropped half-way, and a database that does not answer does not keep the process from
/// ending.
async fn within_grace<T: Send + 'static, E: From<RunError> + Send + 'static>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
    shutdown: &CancellationToken,
) -> Result<T, E> {
    let mut task = tokio::spawn(work);
    let too_long = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = &mut task => ended.unwrap_or_else(resume_panic),
        () = too_long => Err(RunError::from(RunErrorKind::Interrupted).into()),
    }
}

/// Continues the panic of a task.
fn resume_panic<T>(error: JoinError) -> T {
    std::panic::resume_unwind(error.into_panic())
}
