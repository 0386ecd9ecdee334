//! Roll-backs: undoing exactly the changes of the engine.

use mongo_kit::Writer;
use mongodb::bson::{Bson, doc};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    Engine, Shared, WaitPolicy, release, run::record_failure, schedule::Purpose, within_grace,
};
use crate::{
    error::{RunError, RunErrorKind},
    migration::Registered,
    state::{
        entry::State,
        journal::Undo,
        lease::Lease,
        ledger::{Claim, Found, Problem},
    },
};

/// The result of the roll-back of one migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolledBack {
    /// The id of the migration.
    pub id: &'static str,
    /// Number of restored documents and dropped indexes.
    pub undone: i64,
    /// Number of documents that other clients changed or deleted later, and that stay as they are.
    pub kept: i64,
}

/// The reason why a roll-back ended early, and its results so far.
#[derive(Debug, thiserror::Error)]
#[error("not everything is rolled back")]
pub struct RollBackError {
    /// The migrations that are rolled back.
    pub done: Vec<RolledBack>,
    /// The reason why not all are.
    #[source]
    pub cause: RunError,
}

impl From<RunError> for RollBackError {
    fn from(cause: RunError) -> Self {
        Self { done: Vec::new(), cause }
    }
}

impl Engine {
    /// Rolls back every migration after `to`, or all of them, the last one first. `to` itself stays
    /// applied.
    ///
    /// A document gets its earlier values back if it still has those that the engine wrote; later
    /// changes by others stay. Everything is checked before anything is changed: if the changes of
    /// one migration cannot be proven, none is rolled back.
    ///
    /// # Errors
    ///
    /// [`RunErrorKind::NotProvable`] and [`RunErrorKind::Paused`]: nothing was changed, unless the
    /// data changed during the roll-back. [`RunErrorKind::Interrupted`] at a checkpoint: the same
    /// call continues. [`RunErrorKind::Rejected`]: the same call continues once the cause is removed.
    pub async fn down(
        &self,
        to: Option<&str>,
        shutdown: &CancellationToken,
    ) -> Result<Vec<RolledBack>, RollBackError> {
        let applied = self.provable(to).await?;
        // If nothing is to be rolled back, no lease is needed.
        if applied.is_empty() {
            return Ok(Vec::new());
        }
        let (engine, token) = (self.clone(), shutdown.clone());
        let work = async move {
            let lease = engine.acquire(Purpose::RollBack, WaitPolicy::Bounded, &token).await;
            let Some(lease) = lease.map_err(RunError::from)? else { return Ok(Vec::new()) };
            let mut done = Vec::new();
            let result = engine.roll_back(&applied, &lease, &token, &mut done).await;
            release(Some(lease)).await;
            match result {
                Ok(()) => Ok(done),
                Err(cause) => Err(RollBackError { done, cause }),
            }
        };
        within_grace(work, shutdown).await
    }

    /// Checks that [`Self::down`] can undo every change, without changing anything.
    ///
    /// # Errors
    ///
    /// [`RunErrorKind::NotProvable`], [`RunErrorKind::Paused`], [`RunErrorKind::Unknown`],
    /// [`RunErrorKind::Database`].
    pub async fn check_down(&self, to: Option<&str>) -> Result<(), RunError> {
        self.provable(to).await.map(drop)
    }

    /// Returns the migrations that are to be rolled back, the last one first. Fails if the changes of
    /// one cannot be undone exactly.
    async fn provable(&self, to: Option<&str>) -> Result<Vec<Registered>, RunError> {
        let mut applied = Vec::new();
        for registered in self.after(to)? {
            if self.prove(&registered).await.map_err(|error| error.of(registered.id()))? {
                applied.push(registered);
            }
        }
        Ok(applied)
    }

    /// Returns the `_id`s of the documents that [`Self::down`] would delete.
    ///
    /// # Errors
    ///
    /// [`RunErrorKind::Unknown`], [`RunErrorKind::Database`].
    pub async fn inserted_after(&self, to: Option<&str>) -> Result<Vec<Bson>, RunError> {
        let mut ids = Vec::new();
        for registered in self.after(to)? {
            let inserted = self.shared.journal.inserted(registered.id()).await;
            ids.extend(inserted.map_err(|error| RunErrorKind::from(error).of(registered.id()))?);
        }
        Ok(ids)
    }

    /// Returns the migrations after this one, or all of them, the last one first.
    fn after(&self, to: Option<&str>) -> Result<Vec<Registered>, RunError> {
        let first = to.map_or(Ok(0), |to| self.position(to).map(|position| position + 1))?;
        Ok(self.shared.migrations[first..].iter().rev().cloned().collect())
    }

    /// Fails if the changes of a migration cannot be undone exactly. Returns `true` if it is to be
    /// rolled back.
    async fn prove(&self, registered: &Registered) -> Result<bool, RunErrorKind> {
        let Shared { journal, .. } = &*self.shared;
        let Found { entry, problem } = self.find(registered).await?;
        if let Some(Problem::Newer { app_version, .. }) = problem {
            let reason = format!("it was applied by a newer program, {app_version}");
            return Err(RunErrorKind::NotProvable(reason));
        }
        let state = entry.as_ref().map(|entry| entry.state);
        if state == Some(State::Paused) {
            return Err(RunErrorKind::Paused);
        }
        // Without an entry it never ran, or the entry was deleted: the journal decides.
        let counted = entry.map_or(0, |entry| entry.journaled);
        let id = registered.id();
        let journaled = journal.count(id).await?;
        if journaled != counted {
            return Err(RunErrorKind::NotProvable(format!(
                "the ledger counts {counted} changes, the journal has {journaled}"
            )));
        }
        match journal.unprovable(id).await? {
            Some(reason) => Err(RunErrorKind::NotProvable(reason)),
            None => Ok(state.is_some_and(|state| state != State::RolledBack)),
        }
    }

    async fn roll_back(
        &self,
        applied: &[Registered],
        lease: &Lease,
        shutdown: &CancellationToken,
        done: &mut Vec<RolledBack>,
    ) -> Result<(), RunError> {
        for registered in applied {
            let result = self.roll_back_one(registered, lease, shutdown).await;
            done.extend(result.map_err(|error| error.of(registered.id()))?);
        }
        Ok(())
    }

    async fn roll_back_one(
        &self,
        registered: &Registered,
        lease: &Lease,
        shutdown: &CancellationToken,
    ) -> Result<Option<RolledBack>, RunErrorKind> {
        // Again, because the data may have changed before the lease was acquired.
        if !self.prove(registered).await? {
            return Ok(None);
        }
        let Shared { ledger, .. } = &*self.shared;
        let (id, fence) = (registered.id(), lease.fence());
        let mut writer = ledger.start_session().await?;
        let others = doc! { "state": State::RollingBack, "session": writer.session_id() };
        let claim = ledger.claim(registered, fence, others).await?;
        self.set_status(id, |status| status.state = State::RollingBack);
        tracing::info!(migration = id, fence, "roll-back started");

        let mut rolled_back = RolledBack { id, undone: 0, kept: 0 };
        let result = self.undo(&claim, &mut rolled_back, lease, &mut writer, shutdown).await;
        let RolledBack { undone, kept, .. } = rolled_back;
        match result {
            Ok(()) => {}
            Err(error) if error.keeps_entry() => return Err(error),
            // The same call continues with the rest.
            Err(error) => {
                return Err(record_failure(&claim, State::RollingBack, error, undone).await);
            }
        }
        let fields = doc! {
            "progress": null, "parts": [], "left_out": [], "set_aside": [], "verify": null,
            "error": null,
        };
        claim.finish(State::RolledBack, undone, fields).await?;
        tracing::info!(migration = id, undone, kept, "rolled back");
        self.set_status(id, |status| {
            status.state = State::RolledBack;
            status.is_settled = false;
        });
        Ok(Some(rolled_back))
    }

    /// Undoes the records of the journal, the newest first.
    async fn undo(
        &self,
        claim: &Claim,
        rolled_back: &mut RolledBack,
        lease: &Lease,
        writer: &mut Writer,
        shutdown: &CancellationToken,
    ) -> Result<(), RunErrorKind> {
        let Shared { journal, .. } = &*self.shared;
        // No process adds records any more: the entry has the fence of this lease.
        for record in journal.newest_first(claim.id).await? {
            if shutdown.is_cancelled() {
                return Err(RunErrorKind::Interrupted);
            }
            if lease.lost().is_cancelled() {
                return Err(RunErrorKind::TakenOver);
            }
            // It is missing only if another process, which has taken over, has undone it.
            let Some(record) = journal.find(record).await? else {
                return Err(RunErrorKind::TakenOver);
            };
            let undo = Undo { journal, claim, record: &record };
            let dropped = undo.prepare().await?;
            let undone = claim.transact(writer, lease.lost(), undo).await? + dropped;
            rolled_back.undone += undone;
            rolled_back.kept += record.count - undone;
        }
        Ok(())
    }
}
