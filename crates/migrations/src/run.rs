//! Running one migration: looking whether anything is left to do, claiming it, doing it, and
//! looking at the data again.

mod index;

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use mongodb::{
    ClientSession,
    bson::{Bson, Document, doc},
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    Definition, Engine, Entry, LeftOut, Migration, Part, Patience, Progress, RunError, State, Step,
    StepsError,
    engine::{Inner, Purpose, checksum},
    failpoint,
    fill::{FillError, FillRun, SET_ASIDE_MAX},
    insert::Insertion,
    lease::Lease,
    ledger::{Found, LedgerError, literal},
    plan::without_matches,
    throttle::Rests,
    transaction::transact,
};

/// How often the steps of a migration are repeated for documents that arrived meanwhile.
const LARGEST_ROUNDS: u32 = 10;

/// How long work may take to its next checkpoint when the lease is lost. It is the rest of the
/// shortest time for which a lost lease still keeps others out; the fence guards what comes later.
const CHECKPOINT: Duration = Duration::from_secs(5);

/// What is to be done.
struct Task {
    steps: Vec<Step>,
    /// The ledger's entry, if it is of this revision.
    entry: Option<Entry>,
    /// The server session of a run that was interrupted, of whatever revision.
    predecessor: Option<Bson>,
}

/// What a claimed migration works with.
struct Claim<'a> {
    definition: &'a Definition,
    lease: &'a Lease,
    session: Arc<Mutex<ClientSession>>,
    shutdown: &'a CancellationToken,
}

impl Engine {
    /// Applies a migration if it is not applied.
    pub(crate) async fn attempt(
        &self,
        migration: &Arc<dyn Migration>,
        patience: Patience,
        shutdown: &CancellationToken,
        lease: &mut Option<Lease>,
    ) -> Result<(), RunError> {
        if shutdown.is_cancelled() {
            return Err(RunError::Interrupted);
        }
        let definition = migration.definition();
        loop {
            let Some(task) = self.look(&**migration, &definition, patience).await? else {
                return Ok(());
            };
            if let Some(lease) = lease.as_ref() {
                return self.apply(&**migration, &definition, task, lease, shutdown).await;
            }
            // Under the lease everything may look different: it is looked at again.
            *lease = self.acquire(Purpose::Run, patience, shutdown).await?;
        }
    }

    /// What is to be done; none where the ledger says applied and the data agrees.
    async fn look(
        &self,
        migration: &dyn Migration,
        definition: &Definition,
        patience: Patience,
    ) -> Result<Option<Task>, RunError> {
        let ledger = &self.0.ledger;
        let id = definition.id;
        let of_database = |source| RunError::of_database(id, source);
        let expected = checksum(migration);
        let entry = match ledger.find(definition).await.map_err(of_database)? {
            Found::Nothing => None,
            Found::Newer { revision, app_version } => {
                tracing::warn!(
                    migration = id,
                    revision,
                    app_version,
                    "a newer program has run it: left alone"
                );
                self.set(id, |status| {
                    status.is_settled = true;
                    status.message = Some(format!("revision {revision} of {app_version} has run"));
                });
                return Ok(None);
            }
            Found::Unreadable { reason } => {
                let ledger = ledger.name().to_owned();
                return Err(RunError::UnreadableEntry { id, ledger, reason });
            }
            Found::Entry(entry) => Some(entry),
        };
        let state = entry.as_ref().map(|entry| entry.state_of(definition));
        let is_on_its_way = |entry: &&Entry| {
            matches!(entry.state, State::Running | State::Verifying | State::RollingBack)
        };
        let predecessor = entry.as_ref().filter(is_on_its_way);
        let predecessor = predecessor.and_then(|entry| entry.session.clone());
        let entry = entry.filter(|entry| entry.revision == definition.revision);
        if let Some(entry) = entry.as_ref().filter(|entry| entry.checksum != expected) {
            return Err(drift(definition, &entry.checksum, &expected));
        }
        match state {
            Some(State::Paused) => return Err(RunError::Paused(id)),
            Some(State::RolledBack | State::RollingBack) if patience == Patience::Service => {
                return Err(RunError::RolledBack(id));
            }
            _ => {}
        }
        let steps = self.steps(migration, definition, &expected).await?;
        let Some(entry) = entry else {
            return Ok(Some(Task { steps, entry: None, predecessor }));
        };
        let is_settled = entry.state == State::Applied
            && self.holds(&steps, &entry).await.map_err(of_database)?;
        if !is_settled {
            return Ok(Some(Task { steps, entry: Some(entry), predecessor }));
        }
        let is_news = self.has_news(&steps, &entry.left_out, patience).await;
        if is_news.map_err(|error| RunError::of_steps(id, error))? {
            return Ok(Some(Task { steps, entry: Some(entry), predecessor }));
        }
        warn_of(id, &entry.left_out);
        self.set(id, |status| status.settle(&entry));
        Ok(None)
    }

    /// Whether the data is as an applied migration says, and the ledger names what is left out.
    async fn holds(&self, steps: &[Step], entry: &Entry) -> mongodb::error::Result<bool> {
        let database = &self.0.database;
        let pending = steps.iter().map(|step| step.is_pending(database, &entry.set_aside));
        if try_join_all(pending).await?.contains(&true) {
            return Ok(false);
        }
        // What is left out has no part in that, but the ledger has to say so.
        for step in steps {
            if let Step::LeaveOut(leave_out) = step
                && leave_out.is_there(database).await?
                    != entry.left_out.iter().any(|left| left.is_of(leave_out))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The steps, or the entry in the ledger that says what they wait for.
    async fn steps(
        &self,
        migration: &dyn Migration,
        definition: &Definition,
        checksum: &str,
    ) -> Result<Vec<Step>, RunError> {
        let id = definition.id;
        match migration.steps().await {
            Ok(steps) => {
                self.0.foreground.watch(steps.iter().filter_map(Step::collection));
                Ok(steps)
            }
            Err(StepsError::Database(source)) => Err(RunError::of_database(id, source)),
            Err(source @ StepsError::Dependency { .. }) => {
                let error = RunError::Dependency { id, source };
                match self.0.ledger.wait(definition, checksum, error.stored()).await {
                    Ok(()) => Err(error),
                    Err(ledger) => Err(RunError::of_ledger(id, ledger)),
                }
            }
        }
    }

    /// Claims the migration and does what is left to do.
    async fn apply(
        &self,
        migration: &dyn Migration,
        definition: &Definition,
        task: Task,
        lease: &Lease,
        shutdown: &CancellationToken,
    ) -> Result<(), RunError> {
        let Inner { ledger, .. } = &*self.0;
        let (id, fence) = (definition.id, lease.fence());
        let Task { steps, entry, predecessor } = task;
        let of_database = |source| RunError::of_database(id, source);
        let of_ledger = |error| RunError::of_ledger(id, error);
        if let Some(session) = predecessor {
            self.end_session(session).await;
        }
        let session = ledger.client().start_session().await.map_err(of_database)?;
        let is_over = |entry: &Entry| {
            matches!(entry.state, State::Applied | State::RolledBack | State::RollingBack)
        };
        let resumed = entry.as_ref().filter(|entry| !is_over(entry));
        // What was set aside stays so until somebody says `retry`.
        let set_aside = entry.as_ref().filter(|entry| entry.state != State::RolledBack);
        let set_aside = set_aside.map(|entry| entry.set_aside.clone()).unwrap_or_default();
        let mut parts = resumed.map(|entry| entry.parts.clone()).unwrap_or_default();
        let interrupted = resumed.and_then(|entry| entry.progress.clone());
        let mut fields = doc! { "session": session.id().get("id").cloned() };
        if resumed.is_none() {
            fields.extend(doc! { "progress": null, "parts": [] });
        }
        if set_aside.is_empty() {
            fields.insert("set_aside", Vec::<Document>::new());
        }
        let checksum = checksum(migration);
        ledger.claim(definition, &checksum, fence, fields).await.map_err(of_ledger)?;
        self.set(id, |status| {
            status.state = State::Running;
            status.message = None;
        });
        tracing::info!(migration = id, fence, "migration started");

        let session = Arc::new(Mutex::new(session));
        let claim = Claim { definition, lease, session, shutdown };
        let result = self.rounds(migration, &claim, steps, interrupted, &mut parts).await;
        match result {
            Ok(()) => Ok(()),
            Err(error) => Err(self.record_failure(definition, lease, error, &parts).await),
        }
    }

    /// Ends the transaction in which a killed process may have left documents locked: MongoDB
    /// itself would do so only after a minute.
    async fn end_session(&self, session: Bson) {
        let kill = doc! { "killSessions": [{ "id": session }] };
        if let Err(error) = self.0.database.run_command(kill).await {
            // Without it the run takes longer, no more.
            tracing::debug!(%error, "the session of the process before is not ended");
        }
    }

    /// Does the steps and looks at the data, until nothing is left.
    async fn rounds(
        &self,
        migration: &dyn Migration,
        claim: &Claim<'_>,
        mut steps: Vec<Step>,
        mut interrupted: Option<Progress>,
        parts: &mut Vec<Part>,
    ) -> Result<(), RunError> {
        let Inner { database, ledger, .. } = &*self.0;
        let (id, fence) = (claim.definition.id, claim.lease.fence());
        let of_database = |source| RunError::of_database(id, source);
        let of_ledger = |error| RunError::of_ledger(id, error);
        let mut set_aside = self.set_aside(claim.definition).await?;
        // What was interrupted goes on first: what another step records would take its place.
        steps.sort_by_key(|step| !interrupted.as_ref().is_some_and(|one| step.is_of(one)));
        let mut left_before = None;
        for round in 1.. {
            let before = parts.clone();
            let mut failed = None;
            for step in &steps {
                let resumed = interrupted.take_if(|progress| step.is_of(progress));
                let stop = CancellationToken::new();
                let work = self.clone().apply_step(
                    id,
                    fence,
                    step.clone(),
                    resumed,
                    claim.session.clone(),
                    set_aside.clone(),
                    stop.clone(),
                );
                match watching(id, work, &stop, claim).await {
                    Ok(Some(part)) => {
                        add(parts, part);
                        ledger.step_done(id, fence, parts).await.map_err(of_ledger)?;
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
            let verifying = doc! { "state": State::Verifying };
            ledger.update(id, fence, verifying).await.map_err(of_ledger)?;
            // With what other services and the settings say now.
            steps = self.steps(migration, claim.definition, &checksum(migration)).await?;
            set_aside = self.set_aside(claim.definition).await?;
            let clean = without_matches(database, &steps, &set_aside);
            let clean = clean.await.map_err(of_database)?;
            let is_clean = |step: &Step| {
                step.documents(&set_aside).is_some_and(|(one, _)| clean.contains(one))
            };
            steps.retain(|step| !is_clean(step));
            let left = steps.iter().map(|step| step.remaining(database, &set_aside));
            let left = try_join_all(left).await.map_err(of_database)?;
            let remaining: i64 = left.iter().sum();
            let undone = steps.iter().zip(left).find(|(_, left)| *left > 0);
            let ok = undone.is_none();
            let verify = doc! { "at": "$$NOW", "remaining": remaining, "ok": ok };
            let Some((step, left)) = undone else {
                return self.finish(claim, &steps, parts, verify).await;
            };
            ledger.update(id, fence, doc! { "verify": verify }).await.map_err(of_ledger)?;
            // An old program that goes on writing is always a document ahead: what a round changed
            // nothing of has to be the same as before it.
            let findings = step.verify(database, &set_aside).await;
            let findings = findings.map_err(|error| RunError::of_steps(id, error))?;
            let some = findings.first().map(|finding| finding.documents.clone());
            let some = some.unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>();
            let what = format!("{} ({left} left: {})", step.what(), some.join(", "));
            let is_stuck = *parts == before && left_before.as_ref() == Some(&what);
            if is_stuck || round == LARGEST_ROUNDS {
                return Err(RunError::Unverified { id, what, is_stuck });
            }
            left_before = Some(what);
        }
        Ok(())
    }

    /// Records that all that has to hold holds.
    async fn finish(
        &self,
        claim: &Claim<'_>,
        steps: &[Step],
        parts: &[Part],
        verify: Document,
    ) -> Result<(), RunError> {
        let Inner { database, ledger, .. } = &*self.0;
        let (id, fence) = (claim.definition.id, claim.lease.fence());
        let of_database = |source| RunError::of_database(id, source);
        let reports = steps.iter().map(|step| step.report(database));
        let reports = try_join_all(reports).await;
        let reports = reports.map_err(|error| RunError::of_steps(id, error))?;
        let left_out: Vec<_> = reports.into_iter().flatten().flatten().collect();
        failpoint::at("before_applied").await;
        let set_aside = self.set_aside(claim.definition).await?;
        let modified: i64 = parts.iter().map(|part| part.modified).sum();
        let fields = doc! {
            "parts": literal(parts).map_err(of_database)?,
            "left_out": literal(&left_out).map_err(of_database)?,
            "verify": verify,
            "progress": null,
            "error": null,
        };
        let finished = ledger.finish(id, fence, State::Applied, modified, fields).await;
        finished.map_err(|error| RunError::of_ledger(id, error))?;
        warn_of(id, &left_out);
        tracing::info!(migration = id, modified, set_aside = set_aside.len(), "migration applied");
        self.set(id, |status| {
            status.state = State::Applied;
            status.is_settled = true;
            status.progress = None;
            status.parts = parts.to_vec();
            status.left_out = left_out;
            status.set_aside = set_aside;
        });
        Ok(())
    }

    /// Documents that are set aside, as the ledger has it.
    async fn set_aside(&self, definition: &Definition) -> Result<Vec<crate::SetAside>, RunError> {
        let found = self.0.ledger.find(definition).await;
        match found.map_err(|source| RunError::of_database(definition.id, source))? {
            Found::Entry(entry) => Ok(entry.set_aside),
            _ => Ok(Vec::new()),
        }
    }

    /// Does one step; how much it changed, if anything.
    #[expect(clippy::too_many_arguments, reason = "owned, since it runs on a task of its own")]
    async fn apply_step(
        self,
        id: &'static str,
        fence: i64,
        step: Step,
        interrupted: Option<Progress>,
        session: Arc<Mutex<ClientSession>>,
        set_aside: Vec<crate::SetAside>,
        stop: CancellationToken,
    ) -> Result<Option<Part>, RunError> {
        let Inner { database, ledger, journal, options, foreground, .. } = &*self.0;
        let mut session = session.lock().await;
        let (what, modified) = match step {
            Step::Fill(fill) => {
                let what = fill.what.clone();
                let engine = self.clone();
                let on_progress = move |progress: &Progress| {
                    engine.set(id, |status| status.progress = Some(progress.clone()));
                };
                let run = FillRun {
                    database: database.clone(),
                    ledger: ledger.clone(),
                    journal: journal.clone(),
                    migration: id,
                    fence,
                    throttle: options.throttle,
                    rests: Rests::new(options.throttle),
                    foreground: foreground.clone(),
                    set_aside: set_aside.into_iter().filter(|one| one.what == what).collect(),
                    stop,
                    on_progress: Arc::new(on_progress),
                    fill,
                };
                let modified = run.run(interrupted, &mut session).await;
                (what, modified.map_err(|error| of_fill(id, error))?)
            }
            Step::Index(index) => {
                let what = format!("indexes on {}", index.collection);
                (what, self.build(id, fence, &index, &mut session, &stop).await?)
            }
            Step::Insert(insert) => {
                let insertion =
                    Insertion { insert: &insert, database, ledger, journal, migration: id, fence };
                let inserted = transact(&mut session, &stop, &insertion).await;
                (insert.what.clone(), self.told_apart(id, fence, inserted).await?)
            }
            Step::LeaveOut(_) | Step::Inspect(_) => return Ok(None),
        };
        Ok((modified > 0).then_some(Part { what, modified }))
    }

    /// The error of a transaction, in the words of a run.
    pub(crate) async fn told_apart<T>(
        &self,
        id: &'static str,
        fence: i64,
        result: mongodb::error::Result<T>,
    ) -> Result<T, RunError> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                Err(RunError::of_ledger(id, self.0.ledger.explain(id, fence, error).await))
            }
        }
    }

    /// Records why a run failed. Returns what is to be said of it: a successor ends what its
    /// predecessor had under way, so that the first error may be only a consequence.
    async fn record_failure(
        &self,
        definition: &Definition,
        lease: &Lease,
        error: RunError,
        parts: &[Part],
    ) -> RunError {
        let state = match &error {
            // The entry stays as it is: it will be resumed at its cursor.
            RunError::Interrupted | RunError::TakenOver(_) | RunError::Paused(_) => return error,
            RunError::Dependency { .. } => State::WaitingDependency,
            error if error.is_transient() => State::FailedRetryable,
            _ => State::FailedFatal,
        };
        let modified = parts.iter().map(|part| part.modified).sum();
        self.record(definition.id, lease.fence(), state, error, modified).await
    }

    /// Records that something failed which has changed so many documents, and what state that
    /// leaves. Returns what is to be said of it.
    pub(crate) async fn record(
        &self,
        id: &'static str,
        fence: i64,
        state: State,
        error: RunError,
        modified: i64,
    ) -> RunError {
        let recorded = match literal(error.stored()) {
            Ok(error) => {
                let fields = doc! { "error": error };
                self.0.ledger.finish(id, fence, state, modified, fields).await
            }
            Err(error) => Err(error.into()),
        };
        match recorded {
            Ok(()) => error,
            Err(LedgerError::Fenced) => RunError::TakenOver(id),
            Err(LedgerError::Paused) => RunError::Paused(id),
            Err(unrecorded @ LedgerError::Database(_)) => {
                // The entry stays on its way, which is resumed as well.
                tracing::warn!(migration = id, error = %unrecorded, "failure not recorded");
                error
            }
        }
    }
}

/// The checksums do not fit.
pub(crate) fn drift(definition: &Definition, found: &str, expected: &str) -> RunError {
    let short = |checksum: &str| checksum.chars().take(12).collect();
    RunError::Drift {
        id: definition.id,
        revision: definition.revision,
        found: short(found),
        expected: short(expected),
    }
}

fn of_fill(id: &'static str, error: FillError) -> RunError {
    match error {
        FillError::Stopped => RunError::Interrupted,
        FillError::Ledger(error) => RunError::of_ledger(id, error),
        FillError::TooManySetAside(last) => RunError::TooManySetAside {
            id,
            count: SET_ASIDE_MAX,
            document: last.document.to_string(),
            reason: last.reason,
        },
    }
}

/// Waits for `work`, which is told to stop when the process is about to end or the lease is lost.
/// It is not dropped half-way but comes to an end by itself, at the next batch; if the database
/// does not answer, without us: whatever it still sends is fenced.
async fn watching<T: Send + 'static>(
    id: &'static str,
    work: impl Future<Output = Result<T, RunError>> + Send + 'static,
    stop: &CancellationToken,
    claim: &Claim<'_>,
) -> Result<T, RunError> {
    let mut work = tokio::spawn(work);
    let ended = |ended: Result<Result<T, RunError>, tokio::task::JoinError>| match ended {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    tokio::select! {
        result = &mut work => return ended(result),
        () = claim.lease.lost().cancelled() => {}
        () = claim.shutdown.cancelled() => {}
    }
    stop.cancel();
    let was_lost = claim.lease.lost().is_cancelled() && !claim.shutdown.is_cancelled();
    let why = if was_lost { RunError::TakenOver(id) } else { RunError::Interrupted };
    match tokio::time::timeout(CHECKPOINT, work).await {
        Ok(result) => ended(result).map_err(|error| if was_lost { why } else { error }),
        Err(_) => Err(why),
    }
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
