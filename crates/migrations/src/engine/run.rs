//! One run of one migration: its claim, its steps, and the verification of the data.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::try_join_all;
use mongo_kit::Writer;
use mongodb::{
    bson::{Bson, Document, doc},
    error::{Error, Result as MongoResult},
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    Engine,
    inspect::{Task, warn_of_skipped},
    resume_panic,
};
use crate::{
    error::RunErrorKind,
    failpoint,
    migration::Registered,
    state::{
        entry::{Part, Progress, Quarantined, Skipped, State},
        lease::Lease,
        ledger::{Claim, literal},
        step_key::StepKey,
    },
    steps::{Data, Step, StepContext, Steps},
};

/// The number of times that the steps of a migration are repeated for documents that arrive while it
/// runs.
const MAX_ROUNDS: u32 = 10;

/// The time that a step has to reach its next checkpoint when the lease is lost. It is the rest of
/// the shortest time for which a lost lease still keeps other processes out; later writes are
/// refused because of the fence.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(5);

impl Engine {
    /// Claims a migration and does the work that it has left.
    pub(super) async fn apply(
        &self,
        registered: &Registered,
        task: Task,
        lease: &Lease,
        shutdown: &CancellationToken,
    ) -> Result<(), RunErrorKind> {
        let mut run = self.claim(registered, task, lease, shutdown).await?;
        match run.rounds().await {
            Ok(()) => Ok(()),
            Err(error) => Err(run.record_failure(error).await),
        }
    }

    /// Claims a migration under the lease. A run that was interrupted keeps its progress.
    async fn claim<'a>(
        &'a self,
        registered: &'a Registered,
        task: Task,
        lease: &'a Lease,
        shutdown: &'a CancellationToken,
    ) -> Result<MigrationRun<'a>, RunErrorKind> {
        let (id, fence) = (registered.id(), lease.fence());
        let Task { steps, entry, predecessor } = task;
        if let Some(session) = predecessor {
            self.end_session(session).await;
        }
        let writer = self.shared.ledger.start_session().await?;
        let mut fields = doc! { "session": writer.session_id() };
        // Quarantined documents stay so until an operator's `retry`.
        let keeps_quarantined = entry
            .as_ref()
            .is_some_and(|entry| entry.state != State::RolledBack && !entry.quarantined.is_empty());
        if !keeps_quarantined {
            fields.insert("set_aside", Vec::<Document>::new());
        }
        let is_over =
            |state| matches!(state, State::Applied | State::RolledBack | State::RollingBack);
        let (interrupted, parts) = match entry.filter(|entry| !is_over(entry.state)) {
            Some(entry) => (entry.progress, entry.parts),
            None => {
                fields.extend(doc! { "progress": null, "parts": [] });
                (None, Vec::new())
            }
        };
        let claim = self.shared.ledger.claim(registered, fence, fields).await?;
        let has_fill = steps.iter().any(|step| step.as_fill().is_some());
        if has_fill && self.shared.options.throttle.is_gentle() {
            // The fill soon compares its numbers with these.
            self.shared.foreground.observe().await;
        }
        self.set_status(id, |status| {
            status.state = State::Running;
            status.message = None;
        });
        tracing::info!(migration = id, fence, "migration started");
        Ok(MigrationRun {
            engine: self,
            registered,
            lease,
            shutdown,
            claim,
            writer: Arc::new(Mutex::new(writer)),
            steps,
            interrupted,
            parts,
            quarantined: Vec::new(),
        })
    }

    /// Ends the transaction in which a killed process may have left documents locked. MongoDB itself
    /// would end it only after a minute.
    pub(super) async fn end_session(&self, session: Bson) {
        if let Err(error) = mongo_kit::end_sessions(&self.shared.database, [session]).await {
            // Without it the run only takes longer.
            tracing::debug!(%error, "the session of the previous process could not be ended");
        }
    }
}

/// One run of a claimed migration.
struct MigrationRun<'a> {
    engine: &'a Engine,
    registered: &'a Registered,
    lease: &'a Lease,
    shutdown: &'a CancellationToken,
    claim: Claim,
    writer: Arc<Mutex<Writer>>,
    steps: Steps,
    /// The progress of the step that was interrupted.
    interrupted: Option<Progress>,
    /// The changes so far, including those of the interrupted run.
    parts: Vec<Part>,
    quarantined: Vec<Quarantined>,
}

impl MigrationRun<'_> {
    /// Applies the steps and verifies the data, until nothing is left to do.
    async fn rounds(&mut self) -> Result<(), RunErrorKind> {
        self.quarantined = self.read_quarantined().await?;
        // The interrupted step comes first: another step would overwrite its progress.
        if let Some(Progress { step, .. }) = &self.interrupted {
            self.steps.sort_by_key(|one| one.key() != *step);
        }
        let mut remaining_before = None;
        for round in 1.. {
            let parts_before = self.parts.clone();
            self.apply_steps().await?;
            let Some(remaining) = self.verify().await? else { break };
            // An old program that continues to write is always a document ahead. A further round is
            // only hopeless if this one changed nothing and left the same.
            let is_stuck =
                self.parts == parts_before && remaining_before.as_ref() == Some(&remaining);
            if is_stuck || round == MAX_ROUNDS {
                return Err(RunErrorKind::Unverified { remaining, is_stuck });
            }
            remaining_before = Some(remaining);
        }
        self.finish().await
    }

    /// Applies all steps. An index that has a conflict does not keep the other steps from being
    /// applied.
    async fn apply_steps(&mut self) -> Result<(), RunErrorKind> {
        let mut first_conflict = None;
        for step in self.steps.clone() {
            match self.apply_step(step).await {
                Ok(()) => {}
                Err(error @ RunErrorKind::Index { .. }) => {
                    first_conflict = first_conflict.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        first_conflict.map_or(Ok(()), Err)
    }

    /// Applies a step and records its changes.
    async fn apply_step(&mut self, step: Arc<dyn Step>) -> Result<(), RunErrorKind> {
        let (key, part_key) = (step.key(), step.part_key());
        let interrupted = self.interrupted.take_if(|progress| progress.step == key);
        let stop = CancellationToken::new();
        let context = self.context(interrupted, stop.clone());
        let writer = self.writer.clone();
        let work = async move { step.apply(context, &mut *writer.lock().await).await };
        let modified = self.supervise(work, &stop).await?;
        if modified > 0 {
            self.add(part_key, modified);
            // The next step begins without progress.
            let fields = doc! { "parts": literal(&self.parts)?, "progress": null };
            self.claim.update(fields).await?;
        }
        Ok(())
    }

    fn context(&self, interrupted: Option<Progress>, stop: CancellationToken) -> StepContext {
        let (id, engine) = (self.registered.id(), self.engine.clone());
        let on_progress = move |progress: &Progress| {
            engine.set_status(id, |status| status.progress = Some(progress.clone()));
        };
        let shared = &self.engine.shared;
        StepContext {
            database: shared.database.clone(),
            journal: shared.journal.clone(),
            claim: self.claim.clone(),
            later: self.engine.ids().skip_while(|other| *other != id).skip(1).collect(),
            throttle: shared.options.throttle,
            foreground: shared.foreground.clone(),
            quarantined: self.quarantined.clone(),
            interrupted,
            stop,
            on_progress: Arc::new(on_progress),
        }
    }

    /// Adds the changes of a step to those before an interruption.
    fn add(&mut self, step: StepKey, modified: i64) {
        match self.parts.iter_mut().find(|part| part.step == step) {
            Some(part) => part.modified += modified,
            None => self.parts.push(Part { step, modified }),
        }
    }

    /// Waits for work, and cancels `stop` if the process shuts down or the lease is lost. The work
    /// then ends at its next checkpoint; it is not dropped half-way. If the database does not
    /// answer, it is left behind, and its later writes are refused because of the fence.
    async fn supervise(
        &self,
        work: impl Future<Output = Result<i64, RunErrorKind>> + Send + 'static,
        stop: &CancellationToken,
    ) -> Result<i64, RunErrorKind> {
        let mut work = tokio::spawn(work);
        tokio::select! {
            ended = &mut work => return ended.unwrap_or_else(resume_panic),
            () = self.lease.lost().cancelled() => {}
            () = self.shutdown.cancelled() => {}
        }
        stop.cancel();
        let is_lost = self.lease.lost().is_cancelled() && !self.shutdown.is_cancelled();
        let cause = if is_lost { RunErrorKind::TakenOver } else { RunErrorKind::Interrupted };
        match tokio::time::timeout(CHECKPOINT_TIMEOUT, work).await {
            Ok(ended) => {
                let result = ended.unwrap_or_else(resume_panic);
                result.map_err(|error| if is_lost { cause } else { error })
            }
            Err(_) => Err(cause),
        }
    }

    /// Compares the data with the steps. Returns a description of the first step that is not done,
    /// or `None` if all are.
    async fn verify(&mut self) -> Result<Option<String>, RunErrorKind> {
        self.engine.set_status(self.registered.id(), |status| {
            status.state = State::Verifying;
            status.progress = None;
        });
        self.claim.update(doc! { "state": State::Verifying }).await?;
        // Other services and the settings may have changed.
        self.steps = self.engine.steps(self.registered).await?;
        self.quarantined = self.read_quarantined().await?;
        let data = self.engine.data(&self.quarantined);
        let clean = collections_without_matches(data, &self.steps).await?;
        self.steps.retain(|step| {
            let documents = step.documents(data.quarantined);
            documents.is_none_or(|(collection, _)| !clean.contains(collection))
        });
        let remaining = self.steps.iter().map(|step| step.remaining(data));
        let remaining = try_join_all(remaining).await?;
        let undone = self.steps.iter().zip(&remaining).find(|(_, remaining)| **remaining > 0);
        let Some((step, count)) = undone else { return Ok(None) };
        let total: i64 = remaining.iter().sum();
        let verify = doc! { "at": "$$NOW", "remaining": total, "ok": false };
        self.claim.update(doc! { "verify": verify }).await?;
        let violations = step.verify(data).await?;
        let documents = violations.first().map(|one| one.documents.as_slice()).unwrap_or_default();
        let documents = documents.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Ok(Some(format!("{} ({count} left: {documents})", step.key())))
    }

    /// Records that the migration is applied.
    async fn finish(&self) -> Result<(), RunErrorKind> {
        let reports = self.steps.iter().map(|step| step.report(&self.engine.shared.database));
        let skipped: Vec<Skipped> = try_join_all(reports).await?.into_iter().flatten().collect();
        failpoint::at("before_applied").await;
        let quarantined = self.read_quarantined().await?;
        let fields = doc! {
            "parts": literal(&self.parts)?,
            "left_out": literal(&skipped)?,
            "verify": { "at": "$$NOW", "remaining": 0_i64, "ok": true },
            "progress": null,
            "error": null,
        };
        let (id, modified) = (self.registered.id(), self.modified());
        self.claim.finish(State::Applied, modified, fields).await?;
        warn_of_skipped(id, &skipped);
        tracing::info!(
            migration = id,
            modified,
            quarantined = quarantined.len(),
            "migration applied"
        );
        self.engine.set_status(id, |status| {
            status.state = State::Applied;
            status.is_settled = true;
            status.progress = None;
            status.parts.clone_from(&self.parts);
            status.skipped = skipped;
            status.quarantined = quarantined;
        });
        Ok(())
    }

    fn modified(&self) -> i64 {
        self.parts.iter().map(|part| part.modified).sum()
    }

    /// Returns the quarantined documents in the ledger.
    async fn read_quarantined(&self) -> Result<Vec<Quarantined>, RunErrorKind> {
        let entry = self.engine.shared.ledger.find(self.registered).await?.entry;
        Ok(entry.map(|entry| entry.quarantined).unwrap_or_default())
    }

    /// Records the error of the run. Returns the error to report.
    async fn record_failure(&self, error: RunErrorKind) -> RunErrorKind {
        if error.keeps_entry() {
            return error;
        }
        let state = match &error {
            RunErrorKind::Dependency(_) => State::WaitingDependency,
            error if error.is_transient() => State::FailedRetryable,
            _ => State::FailedFatal,
        };
        record_failure(&self.claim, state, error, self.modified()).await
    }
}

/// Records an error, the state after it, and the number of changes before it. Returns the error to
/// report: a successor ends the transaction of its predecessor, so that the first error may only be
/// a consequence.
pub(super) async fn record_failure(
    claim: &Claim,
    state: State,
    error: RunErrorKind,
    modified: i64,
) -> RunErrorKind {
    let recorded = match literal(error.stored()) {
        Ok(stored) => claim.finish(state, modified, doc! { "error": stored }).await,
        Err(error) => Err(error.into()),
    };
    match recorded {
        Ok(()) => error,
        Err(RunErrorKind::Database(unrecorded)) => {
            // The entry stays under way, and is resumed as well.
            tracing::warn!(migration = claim.id, error = %unrecorded, "failure not recorded");
            error
        }
        Err(refusal) => refusal,
    }
}

/// Returns the collections in which no document is left to change or to report. One query for each
/// collection finds this out for all steps together; one for each step would read the whole
/// collection several times.
async fn collections_without_matches(
    data: Data<'_>,
    steps: &Steps,
) -> MongoResult<BTreeSet<&'static str>> {
    let mut filters = BTreeMap::<_, Vec<_>>::new();
    for (collection, filter) in steps.iter().filter_map(|step| step.documents(data.quarantined)) {
        filters.entry(collection).or_default().push(filter);
    }
    let queries = filters.into_iter().map(async |(collection, filters)| {
        let any = doc! { "$or": filters };
        let documents = data.database.collection::<Document>(collection);
        let found = documents.find_one(any).projection(doc! { "_id": 1 }).await?;
        Ok::<_, Error>(found.is_none().then_some(collection))
    });
    Ok(try_join_all(queries).await?.into_iter().flatten().collect())
}
