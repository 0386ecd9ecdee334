//! The operations of operators: pause, resume, retry, repair, unlock.

use mongodb::{
    bson::{Array, Bson, Document, RawDocumentBuf, doc},
    error::{Error, Result as MongoResult},
};
use serde::Serialize;

use super::{Engine, Shared};
use crate::{
    error::{RunError, RunErrorKind},
    migration::Registered,
    state::{
        entry::{Entry, State},
        lease::{self, Holder},
        ledger::{Found, Problem, literal},
    },
};

/// The reason why an operation was refused. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// There is no migration with this id.
    #[error("there is no migration {0:?}")]
    Unknown(String),
    /// The state of the migration does not allow the operation.
    #[error("{id} is {state}: {why}", state = state.as_str())]
    WrongState {
        /// The id of the migration.
        id: &'static str,
        /// The state.
        state: State,
        /// The condition of the operation.
        why: &'static str,
    },
    /// The entry in the ledger cannot be trusted.
    #[error(transparent)]
    Ledger(RunError),
    /// A newer program has applied the migration.
    #[error(
        "{id}: revision {revision} was applied by a newer program, {app_version}: use that one"
    )]
    Newer {
        /// The id of the migration.
        id: &'static str,
        /// The applied revision.
        revision: i32,
        /// The version of the newer program.
        app_version: String,
    },
    /// No process holds the lease.
    #[error("no process holds the lease of {0}: there is nothing to unlock")]
    NotHeld(&'static str),
    /// The lease has another fence than the given one.
    #[error(
        "the lease of {service} has the fence {}, not {given}: another process has acquired it; \
         check the status again",
        holder.fence
    )]
    OtherFence {
        /// The name of the service.
        service: &'static str,
        /// The present holder.
        holder: Box<Holder>,
        /// The given fence.
        given: i64,
    },
    /// The holder renews the lease.
    #[error(
        "process {} holds the lease of {service} and renewed it for another {} ms: stop that \
         process; unlock the lease only if the process cannot be reached",
        holder.owner.as_deref().unwrap_or("?"), holder.remaining_ms
    )]
    Live {
        /// The name of the service.
        service: &'static str,
        /// The present holder.
        holder: Box<Holder>,
    },
    /// Another client changed the entry at the same time.
    #[error("the entry {0} was changed by another client at the same time: check the status again")]
    Raced(&'static str),
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] mongo_kit::DatabaseError),
}

impl From<Error> for OperateError {
    fn from(error: Error) -> Self {
        Self::Database(error.into())
    }
}

/// The result of [`Engine::repair`] for one migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// The id of the migration.
    pub id: &'static str,
    /// The problem and the repair.
    pub what: String,
}

impl Engine {
    /// Pauses a migration until [`Self::resume`]. Takes effect at once: no batch is committed after
    /// this returns.
    ///
    /// # Errors
    ///
    /// [`OperateError::WrongState`] if the migration is applied or rolled back.
    pub async fn pause(&self, id: &str) -> Result<(), OperateError> {
        self.set_state(id, |id, state, _| match state {
            State::Paused => Ok(None),
            state @ (State::Applied | State::RolledBack | State::RollingBack) => {
                let why = "only a migration that is to be applied can be paused";
                Err(OperateError::WrongState { id, state, why })
            }
            _ => Ok(Some(doc! { "state": State::Paused })),
        })
        .await
    }

    /// Resumes a paused migration at its cursor, by the next process that runs migrations. A running
    /// engine notices it when its present migration is done, or within 15 s.
    ///
    /// # Errors
    ///
    /// [`OperateError::WrongState`] if the migration is not paused.
    pub async fn resume(&self, id: &str) -> Result<(), OperateError> {
        self.set_state(id, |id, state, entry| {
            if state != State::Paused {
                let why = "only a paused migration can be resumed";
                return Err(OperateError::WrongState { id, state, why });
            }
            let has_begun = |entry: &Entry| entry.progress.is_some() || !entry.parts.is_empty();
            // Without a live lease, `running` means interrupted.
            let state = if entry.is_some_and(has_begun) { State::Running } else { State::Pending };
            Ok(Some(doc! { "state": state }))
        })
        .await
    }

    /// Lets a running engine try a failed migration again at once, and the next run the documents
    /// that were quarantined.
    ///
    /// # Errors
    ///
    /// [`OperateError::WrongState`] if there is nothing to try again.
    pub async fn retry(&self, id: &str) -> Result<(), OperateError> {
        self.set_state(id, |id, state, entry| {
            let has_failed = matches!(state, State::FailedRetryable | State::FailedFatal);
            let has_quarantined = entry.is_some_and(|entry| !entry.quarantined.is_empty());
            let is_applied = state == State::Applied;
            if !(has_failed || has_quarantined && is_applied) {
                let why = "only a migration that failed or quarantined documents can be retried";
                return Err(OperateError::WrongState { id, state, why });
            }
            let mut fields = doc! {
                "state": State::Pending, "set_aside": [], "error": null, "progress": null,
            };
            if is_applied {
                // The next run counts its own changes.
                fields.insert("parts", Array::new());
            }
            Ok(Some(fields))
        })
        .await
    }

    /// Makes the ledger agree with this program: accepts the checksums of this program, and starts
    /// migrations over whose entries cannot be read. The old content is kept in `repaired_from`.
    /// Migrations are convergent, so that starting over changes nothing that is done.
    ///
    /// # Errors
    ///
    /// [`OperateError::Raced`], [`OperateError::Database`].
    pub async fn repair(&self) -> Result<Vec<Repaired>, OperateError> {
        let mut repaired = Vec::new();
        for document in self.shared.ledger.documents().await? {
            let id = document.get_str("_id").unwrap_or_default();
            let Ok(registered) = self.registered(id) else { continue };
            let what = match Found::read(&document, registered).problem {
                Some(Problem::Drift { found, .. }) => {
                    self.accept_checksum(registered, &document, &found).await?
                }
                Some(Problem::Unreadable { reason }) => {
                    self.start_over(registered, &document, &reason).await?
                }
                Some(Problem::Newer { .. }) | None => continue,
            };
            repaired.push(Repaired { id: registered.id(), what });
        }
        Ok(repaired)
    }

    async fn accept_checksum(
        &self,
        registered: &Registered,
        document: &RawDocumentBuf,
        before: &str,
    ) -> Result<String, OperateError> {
        let mut accepted = decode(document)?;
        accepted.insert("checksum", &registered.checksum);
        accepted.insert("repaired_from", doc! { "checksum": before });
        self.replace(registered.id(), Some(document), accepted).await?;
        let before: String = before.chars().take(12).collect();
        Ok(format!("checksum {before} replaced by that of this program"))
    }

    async fn start_over(
        &self,
        registered: &Registered,
        document: &RawDocumentBuf,
        reason: &str,
    ) -> Result<String, OperateError> {
        let id = registered.id();
        let old = decode(document)?;
        let mut entry = doc! { "_id": id, "state": State::Pending };
        entry.extend(self.shared.ledger.describe(registered));
        // A process that wrote under a lease must not write any more, and the changes in the
        // journal can still be rolled back.
        entry.insert("fence", old.get_i64("fence").unwrap_or_default());
        entry.insert("journaled", self.shared.journal.count(id).await?);
        entry.insert("repaired_from", old);
        self.replace(id, Some(document), entry).await?;
        Ok(format!("started over: {reason}"))
    }

    /// Takes the lease from the holder with this fence. Before the lease expires, only with
    /// `even_if_live`: a holder that was killed after its last heartbeat cannot be distinguished from
    /// one that is running. The next batch of the holder is refused.
    ///
    /// # Errors
    ///
    /// [`OperateError::NotHeld`], [`OperateError::OtherFence`], [`OperateError::Live`].
    pub async fn force_unlock(
        &self,
        fence: i64,
        even_if_live: bool,
    ) -> Result<Holder, OperateError> {
        let Shared { database, service, ledger, .. } = &*self.shared;
        let held = lease::holder(database, service).await?;
        let Some(holder) = held.filter(|holder| holder.owner.is_some()) else {
            return Err(OperateError::NotHeld(service));
        };
        let other_fence =
            |holder| OperateError::OtherFence { service, holder: Box::new(holder), given: fence };
        if holder.fence != fence {
            return Err(other_fence(holder));
        }
        if holder.is_live() && !even_if_live {
            return Err(OperateError::Live { service, holder: Box::new(holder) });
        }
        if !lease::revoke(database, service, fence).await? {
            return Err(other_fence(lease::holder(database, service).await?.unwrap_or(holder)));
        }
        // The heartbeat of the holder would notice it only after some seconds; its next batch
        // notices it at once.
        let states = [State::Running, State::Verifying, State::RollingBack].map(Bson::from);
        let under_way = doc! { "fence": fence, "state": { "$in": states.to_vec() } };
        ledger.change(under_way, doc! { "fence": fence + 1 }).await?;
        Ok(holder)
    }

    /// Changes the fields of an entry that `change` returns for the state of the migration and its
    /// entry of the present revision. Fails if another client changed the entry at the same time.
    async fn set_state(
        &self,
        id: &str,
        change: impl Fn(&'static str, State, Option<&Entry>) -> Result<Option<Document>, OperateError>,
    ) -> Result<(), OperateError> {
        let Ok(registered) = self.registered(id) else {
            return Err(OperateError::Unknown(id.to_owned()));
        };
        let id = registered.id();
        let Found { entry, problem } =
            self.find(registered).await.map_err(|error| match error {
                RunErrorKind::Database(error) => OperateError::Database(error),
                error => OperateError::Ledger(error.of(id)),
            })?;
        if let Some(Problem::Newer { revision, app_version }) = problem {
            return Err(OperateError::Newer { id, revision, app_version });
        }
        let state =
            entry.as_ref().map_or(State::Pending, |one| one.state_of(&registered.definition));
        let current = entry.as_ref().filter(|one| one.revision == registered.definition.revision);
        let Some(changes) = change(id, state, current)? else { return Ok(()) };
        let mut fields = Document::new();
        if current.is_none() {
            fields.extend(self.shared.ledger.describe(registered));
        }
        let Some(entry) = &entry else {
            fields.insert("_id", id);
            fields.extend(changes);
            return self.replace(id, None, fields).await;
        };
        if current.is_none() {
            // Results of the earlier revision; this one starts at its beginning.
            fields.extend(doc! { "progress": null, "parts": [], "set_aside": [], "error": null });
        }
        fields.extend(changes);
        let unchanged = doc! { "_id": id, "state": entry.state, "revision": entry.revision };
        let literals = fields
            .into_iter()
            .map(|(field, value)| Ok((field, literal(value)?.into())))
            .collect::<MongoResult<Document>>()?;
        if self.shared.ledger.change(unchanged, literals).await? {
            Ok(())
        } else {
            Err(OperateError::Raced(id))
        }
    }

    async fn replace(
        &self,
        id: &'static str,
        before: Option<&RawDocumentBuf>,
        after: Document,
    ) -> Result<(), OperateError> {
        if self.shared.ledger.replace(before, after).await? {
            Ok(())
        } else {
            Err(OperateError::Raced(id))
        }
    }
}

fn decode(document: &RawDocumentBuf) -> MongoResult<Document> {
    Document::try_from(document.as_ref()).map_err(Error::custom)
}
