//! Undoing what the engine wrote, and nothing else.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use mongodb::bson::doc;

use crate::{
    Definition, Engine, RunError, State,
    engine::{Inner, Purpose, bounded, checksum, release},
    journal::Undo,
    lease::Lease,
    ledger::{Found, LedgerError},
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
    /// [`RunError::NotProvable`] with the reason; nothing was changed then.
    /// [`RunError::Interrupted`] at a checkpoint: the same call goes on.
    pub async fn down(
        &self,
        to: Option<&str>,
        shutdown: &CancellationToken,
    ) -> Result<Vec<RolledBack>, RunError> {
        let definitions = self.definitions().into_iter().map(|(definition, _)| definition);
        let mut after: Vec<Definition> = definitions.collect();
        if let Some(to) = to {
            let place = after.iter().position(|definition| definition.id == to);
            let place = place.ok_or_else(|| RunError::Unknown(to.to_owned()))?;
            after.drain(..=place);
        }
        after.reverse();
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
            let Some(lease) = lease else { return Ok(Vec::new()) };
            let result = engine.roll_back(&applied, &lease, &token).await;
            release(Some(lease)).await;
            result
        };
        bounded(run, shutdown).await
    }

    /// Whether what a migration wrote can be undone exactly.
    async fn prove(&self, definition: &Definition) -> Result<(), RunError> {
        let Inner { journal, .. } = &*self.0;
        let id = definition.id;
        let of_database = |source| RunError::of_database(id, source);
        let refuse = |reason: String| Err(RunError::NotProvable { id, reason });
        let entry = match self.found(id).await? {
            Found::Entry(entry) => entry,
            Found::Newer { app_version, .. } => {
                return refuse(format!("a newer program, {app_version}, has run it"));
            }
            _ => return Ok(()),
        };
        let journaled = journal.count(id).await.map_err(of_database)?;
        if journaled != entry.journaled {
            return refuse(format!(
                "the ledger counts {} changes, the journal has {journaled}",
                entry.journaled
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
    ) -> Result<Vec<RolledBack>, RunError> {
        let mut all = Vec::new();
        for definition in applied {
            // Once more, as it is under the lease.
            self.prove(definition).await?;
            if self.is_to_roll_back(definition).await? {
                all.push(self.roll_back_one(definition, lease, shutdown).await?);
            }
        }
        Ok(all)
    }

    async fn roll_back_one(
        &self,
        definition: &Definition,
        lease: &Lease,
        shutdown: &CancellationToken,
    ) -> Result<RolledBack, RunError> {
        let Inner { ledger, journal, .. } = &*self.0;
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
        while let Some(record) = journal.newest(id).await.map_err(of_database)? {
            if shutdown.is_cancelled() {
                return Err(RunError::Interrupted);
            }
            if lease.lost().is_cancelled() {
                return Err(RunError::TakenOver(id));
            }
            let undo = Undo { journal, ledger, record: &record, fence };
            let dropped = undo.prepare().await.map_err(of_database)?;
            let undone = match transact(&mut session, lease.lost(), &undo).await {
                Ok(undone) => undone + dropped,
                Err(error) => {
                    let error: LedgerError = ledger.explain(id, fence, error).await;
                    return Err(of_ledger(error));
                }
            };
            rolled_back.undone += undone;
            rolled_back.kept += record.count - undone;
        }
        let fields = doc! {
            "progress": null, "parts": [], "left_out": [], "set_aside": [], "verify": null,
            "error": null,
        };
        let modified = rolled_back.undone;
        let finished = ledger.finish(id, fence, State::RolledBack, modified, fields).await;
        finished.map_err(of_ledger)?;
        tracing::info!(migration = id, undone = modified, kept = rolled_back.kept, "rolled back");
        self.set(id, |status| {
            status.state = State::RolledBack;
            status.is_settled = false;
        });
        Ok(rolled_back)
    }
}
