//! Decides whether a migration has anything left to do.

use std::collections::HashSet;

use futures_util::future::try_join_all;
use mongodb::bson::{Bson, Document};

use super::{Engine, WaitPolicy};
use crate::{
    error::{RunErrorKind, StepsError},
    migration::Registered,
    state::{
        entry::{Entry, Skipped, State},
        ledger::{Found, Problem},
    },
    steps::{Inspection, Steps},
};

/// The most documents, in all collections of an inspection together, that each start of a service
/// reads again: a report should not delay a start by more than a tenth of a second.
const MAX_DOCUMENTS_AT_START: u64 = 20_000;

/// The work that a migration has left.
pub(super) struct Task {
    pub(super) steps: Steps,
    /// The entry in the ledger, if it is of this revision.
    pub(super) entry: Option<Entry>,
    /// The server session of an interrupted run, of any revision.
    pub(super) predecessor: Option<Bson>,
}

impl Engine {
    /// Returns the work that a migration has left, or `None` if it is applied in the ledger and in
    /// the data.
    pub(super) async fn inspect(
        &self,
        registered: &Registered,
        policy: WaitPolicy,
    ) -> Result<Option<Task>, RunErrorKind> {
        let Found { entry, problem } = self.find(registered).await?;
        if let Some(Problem::Newer { revision, app_version }) = problem {
            self.ignore_newer(registered, revision, &app_version);
            return Ok(None);
        }
        if let Some(entry) = &entry {
            require_runnable(entry.state_of(&registered.definition), policy)?;
        }
        let steps = self.steps(registered).await?;
        let interrupted = entry.as_ref().filter(|entry| entry.state.is_under_way());
        let predecessor = interrupted.and_then(|entry| entry.session.clone());
        let entry = entry.filter(|entry| entry.revision == registered.definition.revision);
        if let Some(entry) = &entry
            && entry.state == State::Applied
            && self.holds(&steps, entry).await?
            && !self.has_news(&steps, &entry.skipped, policy).await?
        {
            warn_of_skipped(registered.id(), &entry.skipped);
            self.set_status(registered.id(), |status| status.settle(entry));
            return Ok(None);
        }
        Ok(Some(Task { steps, entry, predecessor }))
    }

    fn ignore_newer(&self, registered: &Registered, revision: i32, app_version: &str) {
        let migration = registered.id();
        tracing::warn!(migration, revision, app_version, "applied by a newer program: ignored");
        self.set_status(migration, |status| {
            status.is_settled = true;
            status.message = Some(format!("revision {revision} was applied by {app_version}"));
        });
    }

    /// Returns the steps of a migration. If they have to wait for another service, the ledger records
    /// it.
    pub(super) async fn steps(&self, registered: &Registered) -> Result<Steps, RunErrorKind> {
        match registered.migration.steps().await {
            Ok(steps) => {
                let collections = steps.iter().filter_map(|step| step.collection());
                self.shared.foreground.watch(collections);
                Ok(steps)
            }
            Err(error) => {
                let error = RunErrorKind::from(error);
                if matches!(error, RunErrorKind::Dependency(_)) {
                    self.shared.ledger.wait(registered, error.stored()).await?;
                }
                Err(error)
            }
        }
    }

    /// Returns `true` if the data is in the state that an applied migration establishes, and the
    /// ledger names the documents that are skipped.
    async fn holds(&self, steps: &Steps, entry: &Entry) -> mongodb::error::Result<bool> {
        let data = self.data(&entry.quarantined);
        let pending = steps.iter().map(|step| step.is_pending(data));
        if try_join_all(pending).await?.contains(&true) {
            return Ok(false);
        }
        for skip in steps.iter().filter_map(|step| step.as_skip()) {
            let is_recorded = entry.skipped.iter().any(|skipped| skip.is_recorded_as(skipped));
            if skip.has_documents(data.database).await? != is_recorded {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns `true` if the inspections of an applied migration report anything else than the
    /// ledger has.
    ///
    /// A command always inspects again. A service does if that is quick, or if its start has changed
    /// something: reading millions of documents at each start would cost more than the news is
    /// worth, and `migrate up` and `migrate verify` read them on demand.
    async fn has_news(
        &self,
        steps: &Steps,
        recorded: &[Skipped],
        policy: WaitPolicy,
    ) -> Result<bool, StepsError> {
        let inspections: Vec<_> = steps.iter().filter_map(|step| step.as_inspection()).collect();
        if inspections.is_empty() {
            return Ok(false);
        }
        if policy == WaitPolicy::Forever
            && !self.has_changed_something()
            && self.count_documents(&inspections).await? > MAX_DOCUMENTS_AT_START
        {
            return Ok(false);
        }
        let mut found = Vec::new();
        for inspection in &inspections {
            found.extend(inspection.inspector.inspect().await?);
        }
        let is_of_filter = |skipped: &&Skipped| {
            let mut skips = steps.iter().filter_map(|step| step.as_skip());
            skips.any(|skip| skip.is_recorded_as(skipped))
        };
        Ok(!recorded.iter().filter(|skipped| !is_of_filter(skipped)).eq(&found))
    }

    fn has_changed_something(&self) -> bool {
        self.shared.statuses.borrow().iter().any(|status| !status.parts.is_empty())
    }

    /// Returns the approximate number of documents in the collections of some inspections.
    async fn count_documents(&self, inspections: &[&Inspection]) -> mongodb::error::Result<u64> {
        let names: HashSet<_> = inspections.iter().flat_map(|one| one.collections).collect();
        let mut count = 0;
        for name in names {
            let collection = self.shared.database.collection::<Document>(name);
            count += collection.estimated_document_count().await?;
        }
        Ok(count)
    }
}

/// Fails if an operator keeps the migration from running.
fn require_runnable(state: State, policy: WaitPolicy) -> Result<(), RunErrorKind> {
    match state {
        State::Paused => Err(RunErrorKind::Paused),
        State::RolledBack | State::RollingBack if policy == WaitPolicy::Forever => {
            Err(RunErrorKind::RolledBack)
        }
        _ => Ok(()),
    }
}

/// Logs the documents that a migration leaves unchanged.
pub(super) fn warn_of_skipped(id: &str, skipped: &[Skipped]) {
    for Skipped { step, reason, count, .. } in skipped {
        match count {
            0 => tracing::info!(migration = id, %step, reason, "skipped"),
            _ => tracing::warn!(migration = id, %step, count, reason, "documents skipped"),
        }
    }
}
