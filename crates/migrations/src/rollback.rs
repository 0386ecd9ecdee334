//! Undoing what the engine wrote, and nothing else.

use mongodb::{
    ClientSession,
    bson::{Bson, doc},
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    Definition, Engine, RunError, State,
    engine::{Inner, Purpose, bounded, checksum, release},
    journal::Undo,
    lease::Lease,
    ledger::Found,
    operate::OPERATOR,
    transaction::transact,
};

/// What the roll-back of one migration did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolledBack {
    /// The migration.
    pub id: &'static str,
    /// How many documents and indexes are as they were.
    pub undone: i64,
    /// How many were changed or deleted by somebody else since, and stay as they are.
    pub kept: i64,
}

/// Why a roll-back ended before its end, and what it had done by then.
#[derive(Debug, thiserror::Error)]
#[error("not everything is rolled back")]
pub struct RollBackError {
    /// Migrations that are rolled back.
    pub done: Vec<RolledBack>,
    /// Why not all are.
    #[source]
    pub cause: RunError,
}

impl From<RunError> for RollBackError {
    fn from(cause: RunError) -> Self {
        Self { done: Vec::new(), cause }
    }
}

impl Engine {
    /// Rolls back every migration after `to`, the last one first. `to` itself stays applied; none
    /// rolls back all of them.
    ///
    /// A document gets back what it had where the value that the engine wrote still stands; what
    /// somebody changed since is theirs and stays. Before anything is changed, everything is
    /// looked at: what cannot be proven stops it all.
    ///
    /// # Errors
    ///
    /// [`RunError::NotProvable`] with the reason and [`RunError::Paused`]: nothing was changed then,
    /// unless that came about meanwhile. [`RunError::Interrupted`] at a checkpoint: the same call
    /// goes on. [`RunError::Rejected`]: it goes on when the cause is removed.
    pub async fn down(
        &self,
        to: Option<&str>,
        shutdown: &CancellationToken,
    ) -> Result<Vec<RolledBack>, RollBackError> {
        let after = self.after(to)?;
        for definition in &after {
            self.prove(definition).await?;
        }
        // What nobody has to do needs no lease.
        let mut applied = Vec::new();
        for definition in after {
            if self.is_to_roll_back(&definition).await? {
                applied.push(definition);
            }
        }
        if applied.is_empty() {
            return Ok(Vec::new());
        }
        let (engine, token) = (self.clone(), shutdown.clone());
        let run = async move {
            let lease = engine.acquire(Purpose::RollBack, OPERATOR, &token).await?;
            let Some(lease) = lease else { return Ok((Vec::new(), Ok(()))) };
            let mut done = Vec::new();
            let result = engine.roll_back(&applied, &lease, &token, &mut done).await;
            release(Some(lease)).await;
            Ok((done, result))
        };
        let (done, result) = bounded(run, shutdown).await?;
        match result {
            Ok(()) => Ok(done),
            Err(cause) => Err(RollBackError { done, cause }),
        }
    }

    /// The `_id`s of the documents that [`Self::down`] would delete.
    ///
    /// # Errors
    ///
    /// [`RunError::Unknown`], [`RunError::Database`].
    pub async fn inserted_after(&self, to: Option<&str>) -> Result<Vec<Bson>, RunError> {
        let mut ids = Vec::new();
        for Definition { id, .. } in self.after(to)? {
            let inserted = self.0.journal.inserted(id).await;
            ids.extend(inserted.map_err(|source| RunError::of_database(id, source))?);
        }
        Ok(ids)
    }

    /// The migrations after this one, or all, the last one first.
    fn after(&self, to: Option<&str>) -> Result<Vec<Definition>, RunError> {
        let definitions = self.definitions().into_iter().map(|(definition, _)| definition);
        let mut after: Vec<Definition> = definitions.collect();
        if let Some(to) = to {
            let place = after.iter().position(|definition| definition.id == to);
            let place = place.ok_or_else(|| RunError::Unknown(to.to_owned()))?;
            after.drain(..=place);
        }
        after.reverse();
        Ok(after)
    }

    /// Whether what a migration wrote can be undone exactly.
    async fn prove(&self, definition: &Definition) -> Result<(), RunError> {
        let Inner { journal, .. } = &*self.0;
        let id = definition.id;
        let of_database = |source| RunError::of_database(id, source);
        let refuse = |reason: String| Err(RunError::NotProvable { id, reason });
        let counted = match self.found(id).await? {
            Found::Entry(entry) if entry.state == State::Paused => {
                return Err(RunError::Paused(id));
            }
            Found::Entry(entry) => entry.journaled,
            Found::Newer { app_version, .. } => {
                return refuse(format!("a newer program, {app_version}, has run it"));
            }
            // It never ran, or somebody deleted its entry: the journal tells.
            _ => 0,
        };
        let journaled = journal.count(id).await.map_err(of_database)?;
        if journaled != counted {
            return refuse(format!(
                "the ledger counts {counted} changes, the journal has {journaled}"
            ));
        }
        match journal.unprovable(id).await.map_err(of_database)? {
            Some(reason) => refuse(reason),
            None => Ok(()),
        }
    }

    async fn is_to_roll_back(&self, definition: &Definition) -> Result<bool, RunError> {
        let found = self.found(definition.id).await?;
        Ok(matches!(found, Found::Entry(entry) if entry.state != State::RolledBack))
    }

    async fn roll_back(
        &self,
        applied: &[Definition],
        lease: &Lease,
        shutdown: &CancellationToken,
        done: &mut Vec<RolledBack>,
    ) -> Result<(), RunError> {
        for definition in applied {
            // Once more, as it is under the lease.
            self.prove(definition).await?;
            if self.is_to_roll_back(definition).await? {
                done.push(self.roll_back_one(definition, lease, shutdown).await?);
            }
        }
        Ok(())
    }

    async fn roll_back_one(
        &self,
        definition: &Definition,
        lease: &Lease,
        shutdown: &CancellationToken,
    ) -> Result<RolledBack, RunError> {
        let Inner { ledger, .. } = &*self.0;
        let (id, fence) = (definition.id, lease.fence());
        let of_database = |source| RunError::of_database(id, source);
        let of_ledger = |error| RunError::of_ledger(id, error);
        let mut session = ledger.client().start_session().await.map_err(of_database)?;
        let checksum = checksum(&**self.migration(id)?);
        let others = doc! {
            "state": State::RollingBack, "session": session.id().get("id").cloned(),
        };
        ledger.claim(definition, &checksum, fence, others).await.map_err(of_ledger)?;
        self.set(id, |status| status.state = State::RollingBack);
        tracing::info!(migration = id, fence, "roll-back started");

        let mut rolled_back = RolledBack { id, undone: 0, kept: 0 };
        let undone = self.undo(&mut rolled_back, lease, &mut session, shutdown).await;
        let RolledBack { undone: modified, kept, .. } = rolled_back;
        match undone {
            Ok(()) => {}
            // The entry stays as it is.
            Err(error @ (RunError::Interrupted | RunError::TakenOver(_) | RunError::Paused(_))) => {
                return Err(error);
            }
            // What is left is to be undone all the same: the same call goes on.
            Err(error) => {
                let state = State::RollingBack;
                return Err(self.record(id, fence, state, error, modified).await);
            }
        }
        let fields = doc! {
            "progress": null, "parts": [], "left_out": [], "set_aside": [], "verify": null,
            "error": null,
        };
        let finished = ledger.finish(id, fence, State::RolledBack, modified, fields).await;
        finished.map_err(of_ledger)?;
        tracing::info!(migration = id, undone = modified, kept, "rolled back");
        self.set(id, |status| {
            status.state = State::RolledBack;
            status.is_settled = false;
        });
        Ok(rolled_back)
    }

    /// Undoes what is in the journal, the newest record first.
    async fn undo(
        &self,
        rolled_back: &mut RolledBack,
        lease: &Lease,
        session: &mut ClientSession,
        shutdown: &CancellationToken,
    ) -> Result<(), RunError> {
        let Inner { ledger, journal, .. } = &*self.0;
        let (id, fence) = (rolled_back.id, lease.fence());
        let of_database = |source| RunError::of_database(id, source);
        // Nobody adds to it any more: the entry has the fence of this lease.
        for record in journal.newest_first(id).await.map_err(of_database)? {
            if shutdown.is_cancelled() {
                return Err(RunError::Interrupted);
            }
            if lease.lost().is_cancelled() {
                return Err(RunError::TakenOver(id));
            }
            // Gone only where another process has undone it, which then has taken over.
            let record = journal.find(record).await.map_err(of_database)?;
            let Some(record) = record else { return Err(RunError::TakenOver(id)) };
            let undo = Undo { journal, ledger, record: &record, fence };
            let dropped = undo.prepare().await.map_err(of_database)?;
            let undone = transact(session, lease.lost(), &undo).await;
            let undone = self.told_apart(id, fence, undone).await? + dropped;
            rolled_back.undone += undone;
            rolled_back.kept += record.count - undone;
        }
        Ok(())
    }
}
