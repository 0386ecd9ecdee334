//! The order of migrations, the lease, and attempts after errors.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    Engine, Shared, WaitPolicy, release,
    retry::{FIRST_PAUSE, RetryState, backoff},
};
use crate::{
    error::{RunError, RunErrorKind},
    migration::Registered,
    state::{
        entry::State,
        lease::{self, Lease},
    },
};

/// The time that a command waits for another process that migrates, and for the database.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest pause between two attempts to acquire the lease. It bounds the delay of a start behind
/// another replica, or after one that was killed.
const MAX_LEASE_PAUSE: Duration = Duration::from_secs(1);

/// The purpose of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To apply migrations.
    Run,
    /// To roll migrations back.
    RollBack,
}

/// Applies the first migrations of an engine in order, until all of them are applied.
pub(super) struct Runner {
    engine: Engine,
    policy: WaitPolicy,
    shutdown: CancellationToken,
    lease: Option<Lease>,
    /// One for each migration to apply.
    retries: Vec<RetryState>,
    /// The ids of the migrations that are applied.
    settled: HashSet<&'static str>,
    last_success: Instant,
}

/// The result of one attempt, or of none because it is not due.
enum Outcome {
    Settled,
    /// Waits until this time, or for a required migration.
    Waits(Option<Instant>),
}

impl Runner {
    pub(super) fn new(
        engine: Engine,
        count: usize,
        policy: WaitPolicy,
        shutdown: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let retries = (0..count).map(|_| RetryState::new(now)).collect();
        let (lease, settled, last_success) = (None, HashSet::new(), now);
        Self { engine, policy, shutdown, lease, retries, settled, last_success }
    }

    pub(super) async fn run(mut self) -> Result<(), RunError> {
        let result = self.run_loop().await;
        release(self.lease).await;
        result
    }

    async fn run_loop(&mut self) -> Result<(), RunError> {
        loop {
            let next = self.pass().await?;
            if self.settled.len() == self.retries.len() {
                return Ok(());
            }
            // Other processes should not wait for one that waits itself.
            release(self.lease.take()).await;
            let pause = next.map(|next| next.saturating_duration_since(Instant::now()));
            let pause = pause.unwrap_or_default().max(FIRST_PAUSE);
            sleep(pause, &self.shutdown).await?;
        }
    }

    /// Tries each migration once. Returns the time of the earliest attempt that has to wait.
    async fn pass(&mut self) -> Result<Option<Instant>, RunError> {
        let mut next: Option<Instant> = None;
        for position in 0..self.retries.len() {
            let registered = self.engine.shared.migrations[position].clone();
            if self.settled.contains(registered.id()) {
                continue;
            }
            if let Outcome::Waits(until) = self.try_one(&registered, position).await? {
                next = next.into_iter().chain(until).min();
                // A command applies one migration after the other.
                if registered.definition.blocking || self.policy == WaitPolicy::Bounded {
                    break;
                }
            }
        }
        Ok(next)
    }

    /// Tries to apply a migration if it is due.
    async fn try_one(
        &mut self,
        registered: &Registered,
        position: usize,
    ) -> Result<Outcome, RunError> {
        let requires = registered.definition.requires;
        if let Some(missing) = requires.iter().find(|id| !self.settled.contains(*id)) {
            self.handle_failure(registered, position, RunErrorKind::Requires(missing))?;
            return Ok(Outcome::Waits(None));
        }
        if !self.is_due(registered, position).await {
            return Ok(Outcome::Waits(Some(self.retries[position].due())));
        }
        let began = Instant::now();
        let result = self.attempt(registered).await;
        // A long attempt had a database.
        if result.is_ok() || began.elapsed() > COMMAND_TIMEOUT {
            self.last_success = Instant::now();
        }
        match result {
            Ok(()) => {
                self.settled.insert(registered.id());
                Ok(Outcome::Settled)
            }
            Err(error) => {
                self.handle_failure(registered, position, error)?;
                Ok(Outcome::Waits(Some(self.retries[position].due())))
            }
        }
    }

    /// Returns `true` if the pause of a migration is over and, after an error that does not disappear
    /// by itself, its entry in the ledger has changed.
    async fn is_due(&mut self, registered: &Registered, position: usize) -> bool {
        let retry = &mut self.retries[position];
        if !retry.is_due(Instant::now()) {
            return false;
        }
        if retry.waits_for_operator() && self.engine.is_still_failed(registered).await {
            retry.postpone(Instant::now());
            return false;
        }
        true
    }

    /// Applies a migration if it is not applied.
    async fn attempt(&mut self, registered: &Registered) -> Result<(), RunErrorKind> {
        if self.shutdown.is_cancelled() {
            return Err(RunErrorKind::Interrupted);
        }
        loop {
            let Some(task) = self.engine.inspect(registered, self.policy).await? else {
                return Ok(());
            };
            if let Some(lease) = &self.lease {
                return self.engine.apply(registered, task, lease, &self.shutdown).await;
            }
            // Another process may have changed the data before the lease was acquired: it is
            // inspected again.
            self.lease = self.engine.acquire(Purpose::Run, self.policy, &self.shutdown).await?;
        }
    }

    /// Decides about the next attempt after an error.
    ///
    /// # Errors
    ///
    /// The error itself if it ends the run.
    fn handle_failure(
        &mut self,
        registered: &Registered,
        position: usize,
        error: RunErrorKind,
    ) -> Result<(), RunError> {
        if matches!(error, RunErrorKind::Interrupted) {
            return Err(error.of(registered.id()));
        }
        // A lease that could not be renewed or was taken away is worthless, and a new one has a
        // newer fence.
        let is_lost = self.lease.as_ref().is_some_and(|lease| lease.lost().is_cancelled());
        if is_lost || matches!(error, RunErrorKind::TakenOver) {
            self.lease = None;
        }
        self.engine.note_failure(registered, &error);
        let may_pass = matches!(error, RunErrorKind::Database(_)) && error.is_transient();
        let is_hopeless = !may_pass || self.last_success.elapsed() > COMMAND_TIMEOUT;
        if self.policy == WaitPolicy::Bounded && is_hopeless {
            return Err(error.of(registered.id()));
        }
        self.retries[position].schedule_after(Instant::now(), &error);
        Ok(())
    }
}

impl Engine {
    /// Acquires the lease. Returns `None` if the purpose is a run and another process has applied
    /// everything while this one waited.
    pub(super) async fn acquire(
        &self,
        purpose: Purpose,
        policy: WaitPolicy,
        shutdown: &CancellationToken,
    ) -> Result<Option<Lease>, RunErrorKind> {
        let Shared { database, service, owner, options, .. } = &*self.shared;
        let began = Instant::now();
        let (mut is_first, mut was_pending) = (true, false);
        for pause in backoff(MAX_LEASE_PAUSE) {
            if let Some(lease) = lease::acquire(database, service, owner, options.lease).await? {
                return Ok(Some(lease));
            }
            if policy == WaitPolicy::Bounded && began.elapsed() > COMMAND_TIMEOUT {
                return Err(self.lease_held().await?);
            }
            if std::mem::take(&mut is_first) {
                tracing::info!(service, "waiting for the lease of another process that migrates");
            }
            sleep(pause, shutdown).await?;
            let is_pending = self.mirror().await?;
            // If nothing was pending all the time, the data has something to migrate that the ledger
            // does not show, and the lease is needed.
            if purpose == Purpose::Run && was_pending && !is_pending {
                break;
            }
            was_pending = is_pending;
        }
        Ok(None)
    }

    /// Returns the error of a lease that another process holds.
    async fn lease_held(&self) -> Result<RunErrorKind, RunErrorKind> {
        let Shared { database, service, options, .. } = &*self.shared;
        let holder = match lease::holder(database, service).await? {
            Some(lease::Holder { owner: Some(owner), fence, .. }) => {
                format!("process {owner} (fence {fence})")
            }
            _ => "another process".to_owned(),
        };
        Ok(RunErrorKind::LeaseHeld { service, holder, seconds: options.lease.as_secs() })
    }

    /// Shows the progress of another process in the statuses of this one. Returns `true` if any
    /// migration is pending.
    async fn mirror(&self) -> mongodb::error::Result<bool> {
        let report = self.report().await?;
        for one in &report.migrations {
            self.set_status(one.id, |status| {
                if !status.is_settled && status.state != State::WaitingDependency {
                    status.state = one.state;
                    status.message = Some("another process is migrating".to_owned());
                    status.progress = one.entry.as_ref().and_then(|entry| entry.progress.clone());
                }
            });
        }
        Ok(report.is_pending())
    }

    /// Returns `true` if the ledger still has the error of a migration. Any other state is due to an
    /// operator's `retry` or to another process.
    async fn is_still_failed(&self, registered: &Registered) -> bool {
        match self.shared.ledger.find(registered).await {
            Ok(found) => found.entry.is_some_and(|entry| entry.state == State::FailedFatal),
            Err(_) => true,
        }
    }

    /// Shows in the status why a migration is not applied, and logs it if the reason is new.
    fn note_failure(&self, registered: &Registered, error: &RunErrorKind) {
        let (id, message) = (registered.id(), error.stored().message);
        let state = match error {
            RunErrorKind::Dependency(_) => State::WaitingDependency,
            RunErrorKind::Requires(_) => State::Pending,
            RunErrorKind::Paused => State::Paused,
            RunErrorKind::RolledBack => State::RolledBack,
            _ if error.is_transient() => State::FailedRetryable,
            _ => State::FailedFatal,
        };
        let mut is_new = false;
        self.set_status(id, |status| {
            is_new = status.message.as_ref() != Some(&message);
            status.state = state;
            status.progress = None;
            status.message = Some(message.clone());
        });
        if !is_new {
            tracing::debug!(migration = id, reason = message, "migration waits");
        } else if state == State::FailedFatal {
            tracing::error!(migration = id, error = message, "migration failed");
        } else {
            tracing::warn!(migration = id, reason = message, "migration waits");
        }
    }
}

/// Waits; fails at a shutdown.
async fn sleep(pause: Duration, shutdown: &CancellationToken) -> Result<(), RunErrorKind> {
    tokio::select! {
        () = tokio::time::sleep(pause) => Ok(()),
        () = shutdown.cancelled() => Err(RunErrorKind::Interrupted),
    }
}
