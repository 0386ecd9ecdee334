//! Running migrations: in which order, under which lease, and how patiently.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use mongodb::{
    Client, Database,
    bson::{Document, doc},
};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Definition, Migration, OperationCounter, Report, RunError, State, Status, Throttle,
    foreground::ForegroundProbe,
    journal::Journal,
    lease::{self, Lease},
    ledger::{Found, Ledger},
    metrics,
};

/// The first pause before something is tried again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause before something is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How often a service looks whether an operator let a migration go on.
const OPERATOR_PAUSE: Duration = Duration::from_secs(2);

/// How long a command waits for another process that migrates, and for a database that is away.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);

/// The longest pause between two attempts to get the lease: bounds how long a start behind another
/// replica, or after one that was killed, takes longer than it must.
const LONGEST_LEASE_PAUSE: Duration = Duration::from_secs(1);

/// How long a run that was told to end may take to its next checkpoint. It is over a batch's
/// `maxTimeMS` that a database which does not answer is waited for no longer.
const GRACE: Duration = Duration::from_secs(12);

/// Runs the migrations of one service. Clones are the same engine.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) database: Database,
    pub(crate) service: &'static str,
    /// Identifies this start of this process in lease and ledger.
    pub(crate) owner: String,
    pub(crate) ledger: Ledger,
    pub(crate) journal: Journal,
    pub(crate) migrations: Vec<Arc<dyn Migration>>,
    pub(crate) options: Options,
    pub(crate) foreground: Arc<ForegroundProbe>,
    statuses: watch::Sender<Vec<Status>>,
}

/// How an engine behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the lease holds without a heartbeat, at least [`Options::SHORTEST_LEASE`]. It is
    /// renewed three times as often. After a holder is killed, another process waits for so long.
    pub lease: Duration,
    /// How fast documents may be changed.
    pub throttle: Throttle,
    /// Counts the operations of the client that the engine is given, so that those of others can be
    /// told from them: while there are none, [`Throttle::duty_cycle`] does not slow the engine down.
    /// The client has to be the engine's alone, and migrations have to read through it, too.
    pub operations: Option<OperationCounter>,
}

impl Options {
    /// Below this a busy server or a slow network would take the lease from a healthy holder.
    pub const SHORTEST_LEASE: Duration = Duration::from_secs(1);
}

impl Default for Options {
    fn default() -> Self {
        Self { lease: lease::DURATION, throttle: Throttle::default(), operations: None }
    }
}

/// What to do when something else is needed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As a service: wait for other services, for the lease, for the database and for an operator,
    /// for ever; leave alone what an operator rolled back.
    Service,
    /// As a command: a minute for the lease and for the database, not at all for other services;
    /// apply again what was rolled back.
    Command,
}

/// What a lease is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Applying what is not applied.
    Run,
    /// Undoing what is.
    RollBack,
}

/// When a migration is tried next.
struct Turn {
    due: Instant,
    pause: Duration,
    /// It failed for good in this process: it is tried again when the ledger says something else.
    is_parked: bool,
}

impl Engine {
    /// The engine for the migrations of a service, in the order in which they are to run.
    ///
    /// `service` names the ledger (`<service>_migrations`), the lease
    /// (`<service>_migration_lock`) and the journal (`<service>_migration_journal`).
    pub fn new(
        client: &Client,
        database: &Database,
        service: &'static str,
        app_version: &'static str,
        migrations: Vec<Arc<dyn Migration>>,
        options: Options,
    ) -> Self {
        let owner = Uuid::new_v4().to_string();
        let statuses = migrations.iter().map(|migration| Status::new(&migration.definition()));
        let lease = options.lease.max(Options::SHORTEST_LEASE);
        Self(Arc::new(Inner {
            database: database.clone(),
            service,
            ledger: Ledger::new(client, database, service, &owner, app_version),
            journal: Journal::new(database, service),
            owner,
            foreground: Arc::new(ForegroundProbe::new(database, options.operations.clone())),
            options: Options { lease, throttle: options.throttle.sane(), ..options },
            statuses: watch::Sender::new(statuses.collect()),
            migrations,
        }))
    }

    /// Whose migrations they are.
    pub fn service(&self) -> &'static str {
        self.0.service
    }

    /// Where the migrations stand in this process, whenever that changes.
    pub fn statuses(&self) -> watch::Receiver<Vec<Status>> {
        self.0.statuses.subscribe()
    }

    /// Where the migrations stand in the ledger, whoever runs them.
    pub async fn report(&self) -> mongodb::error::Result<Report> {
        let Inner { database, service, ledger, .. } = &*self.0;
        let documents = ledger.documents().await?;
        let lease = lease::holder(database, service).await?;
        Ok(Report::new(service, &self.definitions(), &documents, lease))
    }

    /// What the migrations are, with their checksums.
    pub(crate) fn definitions(&self) -> Vec<(Definition, String)> {
        let definition = |one: &Arc<dyn Migration>| (one.definition(), checksum(&**one));
        self.0.migrations.iter().map(definition).collect()
    }

    /// The migration with this id.
    pub(crate) fn migration(&self, id: &str) -> Result<&Arc<dyn Migration>, RunError> {
        let is_wanted = |migration: &&Arc<dyn Migration>| migration.definition().id == id;
        let migration = self.0.migrations.iter().find(is_wanted);
        migration.ok_or_else(|| RunError::Unknown(id.to_owned()))
    }

    /// Applies what is not applied, in order, until nothing is left to do.
    ///
    /// # Errors
    ///
    /// A command ends with the first error; a service goes on with what does not require the
    /// migration that failed, tries again what can pass, and ends only with
    /// [`RunError::Interrupted`].
    pub async fn run(
        &self,
        patience: Patience,
        shutdown: &CancellationToken,
    ) -> Result<(), RunError> {
        self.run_first(self.0.migrations.len(), patience, shutdown).await
    }

    /// The same up to a migration and including it.
    ///
    /// # Errors
    ///
    /// [`RunError::Unknown`] if there is no such migration, and those of [`Self::run`].
    pub async fn run_to(
        &self,
        last: &str,
        patience: Patience,
        shutdown: &CancellationToken,
    ) -> Result<(), RunError> {
        let mut ids = self.0.migrations.iter().map(|migration| migration.definition().id);
        let place = ids.position(|id| id == last);
        let place = place.ok_or_else(|| RunError::Unknown(last.to_owned()))?;
        self.run_first(place + 1, patience, shutdown).await
    }

    async fn run_first(
        &self,
        count: usize,
        patience: Patience,
        shutdown: &CancellationToken,
    ) -> Result<(), RunError> {
        let (engine, token) = (self.clone(), shutdown.clone());
        let run = async move {
            let mut lease = None;
            let result = engine.turns(count, patience, &token, &mut lease).await;
            release(lease).await;
            result
        };
        bounded(run, shutdown).await
    }

    async fn turns(
        &self,
        count: usize,
        patience: Patience,
        shutdown: &CancellationToken,
        lease: &mut Option<Lease>,
    ) -> Result<(), RunError> {
        let mut settled = HashSet::new();
        let mut turns: Vec<_> = (0..count).map(|_| Turn::new()).collect();
        let mut last_success = Instant::now();
        loop {
            let mut due = None;
            for (migration, turn) in self.0.migrations.iter().zip(&mut turns) {
                let definition = migration.definition();
                if settled.contains(definition.id) {
                    continue;
                }
                // A command does one thing after the other.
                let holds_up = definition.blocking || patience == Patience::Command;
                let requires = definition.requires.iter().find(|id| !settled.contains(*id));
                let began = Instant::now();
                let result = match requires {
                    Some(requires) => Err(RunError::Requires { id: definition.id, requires }),
                    None if !self.is_due(turn, &definition).await => {
                        due = due.into_iter().chain([turn.due]).min();
                        if holds_up {
                            break;
                        }
                        continue;
                    }
                    None => self.attempt(migration, patience, shutdown, lease).await,
                };
                let error = match result {
                    Ok(()) => {
                        settled.insert(definition.id);
                        last_success = Instant::now();
                        continue;
                    }
                    Err(error @ RunError::Interrupted) => return Err(error),
                    Err(error) => error,
                };
                // A lease that failed to renew, or that was taken away, is worth nothing, and a new
                // one has a newer fence.
                let is_lost = lease.as_ref().is_some_and(|lease| lease.lost().is_cancelled());
                if is_lost || matches!(error, RunError::TakenOver(_)) {
                    *lease = None;
                }
                self.note_failure(&definition, &error);
                // What ran for so long had a database all the while.
                if began.elapsed() > COMMAND_PATIENCE {
                    last_success = Instant::now();
                }
                let may_pass = matches!(error, RunError::Database { .. }) && error.is_transient();
                let is_hopeless = !may_pass || last_success.elapsed() > COMMAND_PATIENCE;
                if patience == Patience::Command && is_hopeless {
                    return Err(error);
                }
                turn.after(&error);
                // One that requires another has no time of its own.
                if requires.is_none() {
                    due = due.into_iter().chain([turn.due]).min();
                }
                if holds_up {
                    break;
                }
            }
            if settled.len() == count {
                return Ok(());
            }
            // Nobody else should wait for a process that waits itself.
            release(lease.take()).await;
            let pause =
                due.map_or(FIRST_PAUSE, |due| due.saturating_duration_since(Instant::now()));
            sleep(pause.max(FIRST_PAUSE), shutdown).await?;
        }
    }

    /// Whether it is time for a migration: its pause is over, and if it failed for good, the ledger
    /// says something else by now.
    async fn is_due(&self, turn: &mut Turn, definition: &Definition) -> bool {
        if turn.due > Instant::now() {
            return false;
        }
        let is_due = !turn.is_parked || !self.is_still_failed(definition).await;
        if !is_due {
            turn.delay(OPERATOR_PAUSE);
        }
        is_due
    }

    /// Whether the ledger still says that a migration failed for good. Anything else is news: an
    /// operator's `retry`, or another process.
    async fn is_still_failed(&self, definition: &Definition) -> bool {
        match self.0.ledger.find(definition).await {
            Ok(Found::Entry(entry)) => entry.state == State::FailedFatal,
            Ok(_) => false,
            Err(_) => true,
        }
    }

    /// Says in status and log why a migration is not applied; in the log only when that is news.
    fn note_failure(&self, definition: &Definition, error: &RunError) {
        let (id, message) = (definition.id, error.with_causes());
        let state = match error {
            RunError::Dependency { .. } => State::WaitingDependency,
            RunError::Requires { .. } => State::Pending,
            RunError::Paused(_) => State::Paused,
            RunError::RolledBack(_) => State::RolledBack,
            _ if error.is_transient() => State::FailedRetryable,
            _ => State::FailedFatal,
        };
        let mut is_news = false;
        self.set(id, |status| {
            is_news = status.message.as_ref() != Some(&message);
            status.state = state;
            status.progress = None;
            status.message = Some(message.clone());
        });
        if !is_news {
            tracing::debug!(migration = id, reason = message, "migration waits");
        } else if state == State::FailedFatal {
            tracing::error!(migration = id, error = message, "migration failed");
        } else {
            tracing::warn!(migration = id, reason = message, "migration waits");
        }
    }

    /// Takes the lease; none where it is for a run, and another process settled everything
    /// meanwhile.
    pub(crate) async fn acquire(
        &self,
        purpose: Purpose,
        patience: Patience,
        shutdown: &CancellationToken,
    ) -> Result<Option<Lease>, RunError> {
        let Inner { database, service, owner, options, .. } = &*self.0;
        let of_database = |source| RunError::of_database(service, source);
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let (mut is_news, mut was_pending) = (true, false);
        loop {
            let lease = Lease::acquire(database, service, owner, options.lease).await;
            if let Some(lease) = lease.map_err(of_database)? {
                return Ok(Some(lease));
            }
            if patience == Patience::Command && began.elapsed() > COMMAND_PATIENCE {
                let holder = lease::holder(database, service).await.map_err(of_database)?;
                let holder = holder.map_or_else(
                    || "another process".to_owned(),
                    |holder| {
                        let owner = holder.owner.as_deref().unwrap_or("nobody");
                        format!("process {owner} (fence {})", holder.fence)
                    },
                );
                let seconds = options.lease.as_secs();
                return Err(RunError::LeaseHeld { service, holder, seconds });
            }
            if std::mem::take(&mut is_news) {
                tracing::info!(service, "another process is migrating: waiting for its lease");
            }
            sleep(jittered(pause), shutdown).await?;
            pause = (pause * 2).min(LONGEST_LEASE_PAUSE);
            let is_pending = !self.mirror().await.map_err(of_database)?;
            // Where it was settled all along, the data has something that the ledger knows nothing
            // of, and the lease is needed.
            if purpose == Purpose::Run && was_pending && !is_pending {
                return Ok(None);
            }
            was_pending = is_pending;
        }
    }

    /// Shows what another process does; whether nobody has anything left to do.
    async fn mirror(&self) -> mongodb::error::Result<bool> {
        let report = self.report().await?;
        for one in &report.migrations {
            self.set(one.id, |status| {
                if !status.is_settled && status.state != State::WaitingDependency {
                    status.state = one.state;
                    status.message = Some("another process is migrating".to_owned());
                    status.progress = one.entry.as_ref().and_then(|entry| entry.progress.clone());
                }
            });
        }
        Ok(!report.is_pending())
    }

    pub(crate) fn set(&self, id: &'static str, change: impl FnOnce(&mut Status)) {
        self.0.statuses.send_modify(|statuses| {
            if let Some(status) = statuses.iter_mut().find(|status| status.id == id) {
                let before = status.state;
                change(status);
                metrics::state(id, before, status.state);
            }
        });
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("service", &self.0.service).finish_non_exhaustive()
    }
}

impl Turn {
    fn new() -> Self {
        Self { due: Instant::now(), pause: FIRST_PAUSE, is_parked: false }
    }

    fn delay(&mut self, pause: Duration) {
        self.due = Instant::now() + jittered(pause);
    }

    fn after(&mut self, error: &RunError) {
        self.is_parked = false;
        match error {
            RunError::Requires { .. } => {}
            RunError::Paused(_) | RunError::RolledBack(_) => self.delay(OPERATOR_PAUSE),
            _ if error.is_transient() => {
                self.delay(self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
            _ => {
                self.is_parked = true;
                self.delay(OPERATOR_PAUSE);
            }
        }
    }
}

/// SHA-256 over what a migration declares, never over its source text.
pub(crate) fn checksum(migration: &dyn Migration) -> String {
    let Definition { id, revision, .. } = migration.definition();
    let declared: Document =
        doc! { "id": id, "revision": revision, "specification": migration.specification() };
    let bytes = declared.to_vec().unwrap_or_default();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Gives a lease back. One that failed to renew is over by itself, and its database does not answer.
pub(crate) async fn release(lease: Option<Lease>) {
    if let Some(lease) = lease.filter(|lease| !lease.lost().is_cancelled())
        && let Err(error) = lease.release().await
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "lease not released: it expires");
    }
}

/// Runs on a task of its own and waits for it, after a shutdown no longer than [`GRACE`]. The task
/// is not dropped half-way, and a database that does not answer keeps no process from ending.
pub(crate) async fn bounded<T: Send + 'static>(
    run: impl Future<Output = Result<T, RunError>> + Send + 'static,
    shutdown: &CancellationToken,
) -> Result<T, RunError> {
    let mut task = tokio::spawn(run);
    let too_long = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = &mut task => match ended {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        },
        () = too_long => Err(RunError::Interrupted),
    }
}

async fn sleep(duration: Duration, shutdown: &CancellationToken) -> Result<(), RunError> {
    tokio::select! {
        () = tokio::time::sleep(duration) => Ok(()),
        () = shutdown.cancelled() => Err(RunError::Interrupted),
    }
}

/// Between half of it and all of it, so that replicas do not try in step.
fn jittered(pause: Duration) -> Duration {
    let random = f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + random / 2.0)
}
