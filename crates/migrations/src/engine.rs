//! Running migrations: what to do, in which order, under which lease, and what to say about it.

use std::{sync::Arc, time::Duration};

use mongodb::{Client, Database};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Definition, Entry, LeftOut, Migration, Part, Plan, Progress, RunError, State, Status, Step,
    StepsError, StoredError,
    fill::{FillError, FillRun},
    lease::Lease,
    ledger::Ledger,
};

/// The first pause before something is tried again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause before something is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How often the steps of a migration are repeated for documents that arrived meanwhile.
const LARGEST_ROUNDS: u32 = 10;

/// How long a command waits for another process that migrates.
const COMMAND_WAITS_FOR_LEASE: Duration = Duration::from_secs(60);

/// Runs the migrations of one service.
pub struct Engine {
    database: Database,
    service: &'static str,
    /// Identifies this start of this process in lease and ledger.
    owner: String,
    ledger: Ledger,
    migrations: Vec<Arc<dyn Migration>>,
    statuses: watch::Sender<Vec<Status>>,
}

/// What to do when something else is needed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As a service: wait for other services, for the lease and for the database, for ever.
    Service,
    /// As a command: a minute for the lease, not at all for other services.
    Command,
}

impl Engine {
    /// The engine for the migrations of a service, in the order in which they are to run.
    ///
    /// `service` names the ledger (`<service>_migrations`) and the lease.
    pub fn new(
        client: &Client,
        database: &Database,
        service: &'static str,
        app_version: &'static str,
        migrations: Vec<Arc<dyn Migration>>,
    ) -> Self {
        let owner = Uuid::new_v4().to_string();
        let statuses = migrations.iter().map(|migration| Status::new(&migration.definition()));
        Self {
            database: database.clone(),
            service,
            ledger: Ledger::new(client, database, service, &owner, app_version),
            owner,
            statuses: watch::Sender::new(statuses.collect()),
            migrations,
        }
    }

    /// Where the migrations stand, whenever that changes.
    pub fn statuses(&self) -> watch::Receiver<Vec<Status>> {
        self.statuses.subscribe()
    }

    /// What the ledger says of the migrations that ever ran or waited.
    pub async fn entries(&self) -> mongodb::error::Result<Vec<Entry>> {
        self.ledger.entries().await
    }

    /// What a run would do now. Writes nothing.
    pub async fn plan(&self) -> mongodb::error::Result<Vec<Plan>> {
        let mut plans = Vec::new();
        for migration in &self.migrations {
            let Definition { id, summary, .. } = migration.definition();
            let mut plan = Plan { id, summary, steps: Vec::new(), waits_for: None };
            match migration.steps().await {
                Ok(steps) => {
                    for step in steps {
                        plan.steps.extend(step.plan(&self.database).await?);
                    }
                }
                Err(StepsError::Database(error)) => return Err(error),
                Err(StepsError::Dependency { name, cause }) => {
                    plan.waits_for = Some(format!("{name}: {cause}"));
                }
            }
            plans.push(plan);
        }
        Ok(plans)
    }

    /// Applies what is not applied, in order, until nothing is left to do.
    pub async fn run(
        &self,
        patience: Patience,
        shutdown: &CancellationToken,
    ) -> Result<(), RunError> {
        let mut lease = None;
        let result = self.run_all(patience, shutdown, &mut lease).await;
        if let Some(lease) = lease
            && let Err(error) = lease.release().await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "lease not released: it expires"
            );
        }
        result
    }

    async fn run_all(
        &self,
        patience: Patience,
        shutdown: &CancellationToken,
        lease: &mut Option<Lease>,
    ) -> Result<(), RunError> {
        let mut failure = None;
        'migrations: for migration in &self.migrations {
            let definition = migration.definition();
            let mut pause = FIRST_PAUSE;
            while let Err(error) = self.run_one(&**migration, patience, shutdown, lease).await {
                // A lease that failed to renew is worth nothing, and a new one has a newer fence.
                if lease.as_ref().is_some_and(|lease| lease.lost().is_cancelled()) {
                    *lease = None;
                }
                let message = error.with_causes();
                let is_waiting = matches!(error, RunError::Dependency { .. });
                let is_final = patience == Patience::Command || !error.is_transient();
                if matches!(error, RunError::Interrupted) {
                    return Err(error);
                }
                self.set(definition.id, |status| {
                    status.state = match (is_waiting, error.is_transient()) {
                        (true, _) => State::WaitingDependency,
                        (false, true) => State::FailedRetryable,
                        (false, false) => State::FailedFatal,
                    };
                    status.message = Some(message.clone());
                });
                if is_final {
                    tracing::error!(migration = definition.id, error = message, "migration failed");
                    if patience == Patience::Command || definition.blocking {
                        return Err(error);
                    }
                    // A service does what it can without it.
                    failure = failure.or(Some(error));
                    continue 'migrations;
                }
                tracing::warn!(migration = definition.id, reason = message, "migration waits");
                if is_waiting {
                    // Nobody else should wait for a process that waits itself.
                    if let Some(lease) = lease.take() {
                        let _ = lease.release().await;
                    }
                }
                sleep(jittered(pause), shutdown).await?;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn run_one(
        &self,
        migration: &dyn Migration,
        patience: Patience,
        shutdown: &CancellationToken,
        lease: &mut Option<Lease>,
    ) -> Result<(), RunError> {
        let definition = migration.definition();
        let id = definition.id;
        let Some(mut steps) = self.unsettled(migration, &definition).await? else { return Ok(()) };
        if lease.is_none() {
            match self.acquire(migration, &definition, patience, shutdown).await? {
                Some(acquired) => *lease = Some(acquired),
                // Another process did it meanwhile.
                None => return Ok(()),
            }
            // The ledger and the data as they are under the lease.
            match self.unsettled(migration, &definition).await? {
                Some(under_lease) => steps = under_lease,
                None => return Ok(()),
            }
        }
        let Some(lease) = lease.as_ref() else { return Err(RunError::TakenOver(id)) };
        let mut parts = Vec::new();
        let result = self.apply(&definition, &steps, lease, shutdown, &mut parts).await;
        if let Err(error) = &result {
            self.record_failure(&definition, lease, error, &parts).await;
        }
        result
    }

    /// The steps to run; none where the ledger says applied and the data agrees.
    async fn unsettled(
        &self,
        migration: &dyn Migration,
        definition: &Definition,
    ) -> Result<Option<Vec<Step>>, RunError> {
        let id = definition.id;
        let database = |source| RunError::of_database(id, source);
        let steps = self.steps(migration, definition).await?;
        let entry = self.ledger.entry(id).await.map_err(database)?;
        let Some(entry) = entry.filter(|entry| entry.state == State::Applied) else {
            return Ok(Some(steps));
        };
        let pending = steps.iter().map(|step| step.is_pending(&self.database));
        let pending = futures_util::future::try_join_all(pending).await.map_err(database)?;
        if pending.contains(&true) {
            return Ok(Some(steps));
        }
        // What is left out has no part in that, but the ledger has to say so.
        for step in &steps {
            if let Step::LeaveOut(leave_out) = step {
                let is_there = leave_out.is_there(&self.database).await.map_err(database)?;
                if is_there != entry.left_out.iter().any(|left| left.is_of(leave_out)) {
                    return Ok(Some(steps));
                }
            }
        }
        warn_of(id, &entry.left_out);
        self.set(id, |status| status.settle(&entry));
        Ok(None)
    }

    /// The steps, or the entry in the ledger that says what they wait for.
    async fn steps(
        &self,
        migration: &dyn Migration,
        definition: &Definition,
    ) -> Result<Vec<Step>, RunError> {
        let id = definition.id;
        match migration.steps().await {
            Ok(steps) => Ok(steps),
            Err(StepsError::Database(source)) => Err(RunError::of_database(id, source)),
            Err(source @ StepsError::Dependency { .. }) => {
                let error = RunError::Dependency { id, source };
                match self.ledger.wait(definition, &error.with_causes()).await {
                    Ok(()) => Err(error),
                    Err(ledger) => Err(RunError::of_ledger(id, ledger)),
                }
            }
        }
    }

    /// Takes the lease; none when another process settled the migration meanwhile.
    async fn acquire(
        &self,
        migration: &dyn Migration,
        definition: &Definition,
        patience: Patience,
        shutdown: &CancellationToken,
    ) -> Result<Option<Lease>, RunError> {
        let id = definition.id;
        let began = std::time::Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let lease = Lease::acquire(&self.database, self.service, &self.owner).await;
            if let Some(lease) = lease.map_err(|source| RunError::of_database(id, source))? {
                return Ok(Some(lease));
            }
            if patience == Patience::Command && began.elapsed() > COMMAND_WAITS_FOR_LEASE {
                return Err(RunError::LeaseHeld(self.service));
            }
            self.set(id, |status| {
                status.message = Some("another process is migrating".to_owned());
            });
            sleep(jittered(pause), shutdown).await?;
            // Often enough that a start behind another replica takes no longer than it must.
            pause = (pause * 2).min(Duration::from_secs(1));
            if self.unsettled(migration, definition).await?.is_none() {
                return Ok(None);
            }
        }
    }

    /// Does what is left to do and checks it.
    async fn apply(
        &self,
        definition: &Definition,
        steps: &[Step],
        lease: &Lease,
        shutdown: &CancellationToken,
        parts: &mut Vec<Part>,
    ) -> Result<(), RunError> {
        let (id, fence) = (definition.id, lease.fence());
        let database = |source| RunError::of_database(id, source);
        let unfinished = self.ledger.entry(id).await.map_err(database)?;
        let unfinished = unfinished.filter(|entry| entry.state != State::Applied);
        let (mut interrupted, done_before) =
            unfinished.map(|entry| (entry.progress, entry.parts)).unwrap_or_default();
        *parts = done_before;
        self.ledger
            .claim(definition, fence, parts)
            .await
            .map_err(|error| RunError::of_ledger(id, error))?;
        self.set(id, |status| {
            status.state = State::Running;
            status.message = None;
        });
        tracing::info!(migration = id, fence, "migration started");

        let stop = CancellationToken::new();
        for round in 1.. {
            let before = parts.clone();
            let mut failed = None;
            for step in steps {
                let resumed = interrupted.take_if(|progress| step.is_of(progress));
                let work = self.apply_step(id, fence, step, resumed, &stop);
                match watching(id, work, &stop, lease, shutdown).await {
                    Ok(Some(part)) => {
                        add(parts, part);
                        let done = self.ledger.step_done(id, fence, parts).await;
                        done.map_err(|error| RunError::of_ledger(id, error))?;
                    }
                    Ok(None) => {}
                    // One index that is in conflict is no reason to do without the others.
                    Err(error @ RunError::Index { .. }) => failed = failed.or(Some(error)),
                    Err(error) => return Err(error),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            self.set(id, |status| {
                status.state = State::Verifying;
                status.progress = None;
            });
            let Some(what) = self.undone(id, steps).await? else { break };
            // An old program that goes on writing is always a document ahead.
            let is_stuck = *parts == before;
            if is_stuck || round == LARGEST_ROUNDS {
                return Err(RunError::Unverified { id, what, is_stuck });
            }
        }
        let left_out = self.left_out(id, steps).await?;
        self.ledger
            .finish(definition, fence, State::Applied, parts, &left_out, None)
            .await
            .map_err(|error| RunError::of_ledger(id, error))?;
        warn_of(id, &left_out);
        let modified: i64 = parts.iter().map(|part| part.modified).sum();
        tracing::info!(migration = id, modified, "migration applied");
        self.set(id, |status| {
            status.state = State::Applied;
            status.is_settled = true;
            status.parts.clone_from(parts);
            status.left_out = left_out;
        });
        Ok(())
    }

    async fn apply_step(
        &self,
        id: &'static str,
        fence: i64,
        step: &Step,
        interrupted: Option<Progress>,
        stop: &CancellationToken,
    ) -> Result<Option<Part>, RunError> {
        let database = |source| RunError::of_database(id, source);
        let modified = match step {
            Step::Fill(fill) => {
                let on_progress = |progress: &Progress| {
                    self.set(id, |status| status.progress = Some(progress.clone()));
                };
                let run = FillRun {
                    fill,
                    database: &self.database,
                    ledger: &self.ledger,
                    migration: id,
                    fence,
                    stop,
                    on_progress: &on_progress,
                };
                let modified = run.run(interrupted).await.map_err(|error| match error {
                    FillError::Stopped => RunError::Interrupted,
                    FillError::Ledger(error) => RunError::of_ledger(id, error),
                })?;
                (fill.what.clone(), modified)
            }
            Step::Index(index) => {
                let exists = index.exists(&self.database).await.map_err(database)?;
                if !exists {
                    index.create(&self.database).await.map_err(|source| RunError::Index {
                        id,
                        index: index.name(),
                        collection: index.collection,
                        source: source.into(),
                    })?;
                }
                (format!("indexes on {}", index.collection), i64::from(!exists))
            }
            Step::Insert(insert) => {
                let inserted = insert.run(&self.database, &self.ledger, id, fence).await;
                (insert.what.clone(), inserted.map_err(|error| RunError::of_ledger(id, error))?)
            }
            Step::LeaveOut(_) => return Ok(None),
        };
        let (what, modified) = modified;
        Ok((modified > 0).then_some(Part { what, modified }))
    }

    /// Looks at the data again: the first step that is not done, with what is left of it.
    async fn undone(&self, id: &'static str, steps: &[Step]) -> Result<Option<String>, RunError> {
        let database = |source| RunError::of_database(id, source);
        for step in steps {
            if step.is_pending(&self.database).await.map_err(database)? {
                let plan = step.plan(&self.database).await.map_err(database)?;
                let left = plan.map(|plan| format!("{} ({} left)", plan.what, plan.changes));
                return Ok(left);
            }
        }
        Ok(None)
    }

    /// What the steps leave as it is.
    async fn left_out(&self, id: &'static str, steps: &[Step]) -> Result<Vec<LeftOut>, RunError> {
        let database = |source| RunError::of_database(id, source);
        let mut left_out = Vec::new();
        for step in steps {
            if let Step::LeaveOut(leave_out) = step {
                left_out.extend(leave_out.report(&self.database).await.map_err(database)?);
            }
        }
        Ok(left_out)
    }

    async fn record_failure(
        &self,
        definition: &Definition,
        lease: &Lease,
        error: &RunError,
        parts: &[Part],
    ) {
        if matches!(error, RunError::Interrupted | RunError::TakenOver(_)) {
            // The entry stays `running`: it will be resumed at its cursor.
            return;
        }
        let retryable = error.is_transient();
        let state = if retryable { State::FailedRetryable } else { State::FailedFatal };
        let stored = StoredError { message: error.with_causes(), retryable };
        let recorded =
            self.ledger.finish(definition, lease.fence(), state, parts, &[], Some(stored)).await;
        if let Err(error) = recorded {
            // The entry stays `running`, which is resumed as well.
            tracing::warn!(migration = definition.id, %error, "failure not recorded");
        }
    }

    fn set(&self, id: &str, change: impl FnOnce(&mut Status)) {
        self.statuses.send_modify(|statuses| {
            if let Some(status) = statuses.iter_mut().find(|status| status.id == id) {
                change(status);
            }
        });
    }
}

/// Waits for `work`, which is told to stop when the process is about to end or the lease is lost.
/// Work is never dropped half-way: it comes to an end by itself, at the next batch.
async fn watching<T>(
    id: &'static str,
    work: impl Future<Output = Result<T, RunError>>,
    stop: &CancellationToken,
    lease: &Lease,
    shutdown: &CancellationToken,
) -> Result<T, RunError> {
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return result,
        () = lease.lost().cancelled() => {}
        () = shutdown.cancelled() => {}
    }
    stop.cancel();
    let was_lost = lease.lost().is_cancelled() && !shutdown.is_cancelled();
    work.await.map_err(|error| if was_lost { RunError::TakenOver(id) } else { error })
}

fn warn_of(id: &str, left_out: &[LeftOut]) {
    for LeftOut { what, reason, count, .. } in left_out {
        tracing::warn!(migration = id, what, count, reason, "left out");
    }
}

impl Step {
    /// Whether it was this step that came so far.
    fn is_of(&self, progress: &Progress) -> bool {
        matches!(self, Self::Fill(fill) if fill.what == progress.what)
    }
}

/// Adds what a step changed to what it changed before it was interrupted.
fn add(parts: &mut Vec<Part>, part: Part) {
    match parts.iter_mut().find(|earlier| earlier.what == part.what) {
        Some(earlier) => earlier.modified += part.modified,
        None => parts.push(part),
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
