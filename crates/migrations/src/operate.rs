//! What operators do: look, pause, resume, retry, repair, unlock.

use mongodb::bson::{Document, RawDocumentBuf, doc};
use serde::Serialize;

use crate::{
    Engine, Entry, Finding, FindingKind, MigrationReport, Patience, Plan, Report, RunError, State,
    StepsError, Verification,
    engine::{Inner, checksum},
    lease::{self, Holder},
    ledger::{Found, literal},
    run::drift,
};

/// Why an operator's wish is not fulfilled. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// There is no such migration.
    #[error("there is no migration {0:?}")]
    Unknown(String),
    /// The migration is not in a state for that.
    #[error("{id} is {state}: {why}", state = state.as_str())]
    WrongState {
        /// The migration.
        id: &'static str,
        /// Where it stands.
        state: State,
        /// What can be done instead.
        why: &'static str,
    },
    /// The ledger's entry cannot be trusted.
    #[error(transparent)]
    Ledger(RunError),
    /// A newer program has run it.
    #[error("{id}: a newer program, {app_version}, has run its revision {revision}: use that one")]
    Newer {
        /// The migration.
        id: &'static str,
        /// The revision that ran.
        revision: i32,
        /// The version of the program that ran it.
        app_version: String,
    },
    /// Nobody holds the lease.
    #[error("nobody holds the lease of {0}: there is nothing to unlock")]
    NotHeld(&'static str),
    /// The lease has another fence than the one that was given.
    #[error(
        "the lease of {service} has the fence {}, not {given}: it changed hands since; look again",
        holder.fence
    )]
    OtherFence {
        /// Whose migrations.
        service: &'static str,
        /// Who holds it now.
        holder: Box<Holder>,
        /// The fence that was given.
        given: i64,
    },
    /// The holder is alive.
    #[error(
        "process {} holds the lease of {service} and renewed it, it has {} ms left: end that \
         process; unlock it only if it cannot be reached",
        holder.owner.as_deref().unwrap_or("?"), holder.remaining_ms
    )]
    Live {
        /// Whose migrations.
        service: &'static str,
        /// Who holds it.
        holder: Box<Holder>,
    },
    /// Somebody changed the entry at the same moment.
    #[error("the entry {0} was changed by somebody else at the same moment: look again")]
    Raced(&'static str),
    /// The database refused.
    #[error("the database refused")]
    Database(#[source] mongo_kit::DatabaseError),
}

impl From<mongodb::error::Error> for OperateError {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Database(error.into())
    }
}

/// What [`Engine::repair`] did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// The migration.
    pub id: &'static str,
    /// What was wrong, and what was done about it.
    pub what: String,
}

impl Engine {
    /// What a run would do now. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`RunError::Drift`] and [`RunError::UnreadableEntry`] where a run would be refused;
    /// [`RunError::Database`].
    pub async fn plan(&self) -> Result<Vec<Plan>, RunError> {
        let mut plans = Vec::new();
        for migration in &self.0.migrations {
            let definition = migration.definition();
            let id = definition.id;
            let of_database = |source| RunError::of_database(id, source);
            let mut left_alone = None;
            let (state, entry) = match self.found(id).await? {
                Found::Entry(entry) => {
                    let is_current = entry.revision == definition.revision;
                    (entry.state_of(&definition), is_current.then_some(entry))
                }
                Found::Newer { revision, app_version } => {
                    let why = format!("revision {revision} of {app_version} has run");
                    left_alone = Some(why);
                    (State::Pending, None)
                }
                _ => (State::Pending, None),
            };
            let set_aside = entry.as_ref().map(|entry| entry.set_aside.clone()).unwrap_or_default();
            let rate = entry.as_ref().and_then(|entry| entry.progress.as_ref());
            let rate = rate.map(|progress| progress.rate).filter(|rate| *rate > 0.0);
            let can_tell = self.0.foreground.can_tell();
            let rate = rate.unwrap_or_else(|| self.0.options.throttle.usual_rate(can_tell));
            let mut plan = Plan {
                id,
                summary: definition.summary,
                state,
                steps: Vec::new(),
                waits_for: None,
                left_alone,
                set_aside: set_aside.clone(),
            };
            if plan.left_alone.is_some() {
                plans.push(plan);
                continue;
            }
            let would_wait = |id: &&&str| {
                plans.iter().any(|other| other.id == **id && other.waits_for.is_some())
            };
            let requires = definition.requires.iter().find(would_wait);
            plan.waits_for = requires.map(|id| format!("{id}, which would wait"));
            match (state, migration.steps().await) {
                (State::Paused, _) => plan.waits_for = Some("an operator's `resume`".to_owned()),
                (_, Ok(steps)) => {
                    let database = &self.0.database;
                    for (place, step) in steps.iter().enumerate() {
                        match step.plan(database, &steps[..place], &set_aside, rate).await {
                            Ok(planned) => plan.steps.extend(planned),
                            Err(StepsError::Database(error)) => return Err(of_database(error)),
                            Err(StepsError::Dependency { name, cause }) => {
                                plan.waits_for = Some(format!("{name}: {cause}"));
                            }
                        }
                    }
                }
                (_, Err(StepsError::Database(error))) => return Err(of_database(error)),
                (_, Err(StepsError::Dependency { name, cause })) => {
                    plan.waits_for = Some(format!("{name}: {cause}"));
                }
            }
            plans.push(plan);
        }
        Ok(plans)
    }

    /// Compares the data with what has to hold, whatever the ledger says: where that is wrong, this
    /// is said beside it. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`RunError::Dependency`] where another service is needed and away; [`RunError::Database`].
    pub async fn verify(&self) -> Result<Vec<Verification>, RunError> {
        let Inner { database, service, migrations, ledger, .. } = &*self.0;
        let documents = ledger.documents().await;
        let documents = documents.map_err(|source| RunError::of_database(service, source))?;
        // Who migrates is nobody's business here.
        let report = Report::new(service, &self.definitions(), &documents, None);
        let mut verifications = Vec::new();
        for (migration, MigrationReport { id, problem, entry, .. }) in
            migrations.iter().zip(report.migrations)
        {
            let set_aside = entry.map(|entry| entry.set_aside).unwrap_or_default();
            let of_steps = |error| RunError::of_steps(id, error);
            let steps = migration.steps().await.map_err(of_steps)?;
            let mut findings: Vec<Finding> = Vec::new();
            for step in steps {
                let found = step.verify(database, &set_aside).await;
                findings.extend(found.map_err(of_steps)?);
            }
            let ok = findings.iter().all(|finding| finding.kind == FindingKind::LeftOut);
            verifications.push(Verification { id, ok, findings, problem });
        }
        Ok(verifications)
    }

    /// Lets no further batch of a migration happen until [`Self::resume`]. Takes effect at once: a
    /// batch that is under way is either committed by then or not at all.
    ///
    /// # Errors
    ///
    /// [`OperateError::WrongState`] where it is applied or rolled back.
    pub async fn pause(&self, id: &str) -> Result<(), OperateError> {
        self.set_state(id, |id, state, _| match state {
            State::Paused => Ok(None),
            state @ (State::Applied | State::RolledBack | State::RollingBack) => {
                Err(OperateError::WrongState { id, state, why: "nothing of it runs" })
            }
            _ => Ok(Some(doc! { "state": State::Paused })),
        })
        .await
    }

    /// Lets a paused migration go on where it stopped, by whoever runs migrations next: an
    /// engine that goes round notices when what it runs is done, or within 15 s.
    ///
    /// # Errors
    ///
    /// [`OperateError::WrongState`] where it is not paused.
    pub async fn resume(&self, id: &str) -> Result<(), OperateError> {
        self.set_state(id, |id, state, entry| {
            if state != State::Paused {
                let why = "only what is paused can be resumed";
                return Err(OperateError::WrongState { id, state, why });
            }
            let has_begun = |entry: &Entry| entry.progress.is_some() || !entry.parts.is_empty();
            // Nobody has its lease, so that it counts as interrupted.
            let state = if entry.is_some_and(has_begun) { State::Running } else { State::Pending };
            Ok(Some(doc! { "state": state }))
        })
        .await
    }

    /// Lets a migration that failed be tried again at once by an engine that goes round, and the
    /// documents that were set aside by the next run.
    ///
    /// # Errors
    ///
    /// [`OperateError::WrongState`] where there is nothing to try again.
    pub async fn retry(&self, id: &str) -> Result<(), OperateError> {
        self.set_state(id, |id, state, entry| {
            let has_failed = matches!(state, State::FailedRetryable | State::FailedFatal);
            let has_set_aside = entry.is_some_and(|entry| !entry.set_aside.is_empty());
            let is_over = matches!(state, State::Applied);
            if !(has_failed || has_set_aside && is_over) {
                let why = "only what failed or set documents aside can be tried again";
                return Err(OperateError::WrongState { id, state, why });
            }
            let mut anew = doc! {
                "state": State::Pending, "set_aside": [], "error": null, "progress": null,
            };
            if is_over {
                // What follows is another run, which counts for itself.
                anew.insert("parts", mongodb::bson::Array::new());
            }
            Ok(Some(anew))
        })
        .await
    }

    /// Makes ledger and program agree: accepts the checksums of this program, and begins entries
    /// anew that cannot be read, with the old text kept in `repaired_from`. Migrations are
    /// convergent, so that beginning anew changes nothing that is done.
    ///
    /// # Errors
    ///
    /// [`OperateError::Raced`], [`OperateError::Database`].
    pub async fn repair(&self) -> Result<Vec<Repaired>, OperateError> {
        let Inner { ledger, .. } = &*self.0;
        let mut repaired = Vec::new();
        for document in ledger.documents().await? {
            let id = document.get_str("_id").unwrap_or_default();
            let Ok(migration) = self.migration(id) else { continue };
            let (definition, expected) = (migration.definition(), checksum(&**migration));
            let id = definition.id;
            match Found::read(&document, &definition) {
                Found::Entry(entry)
                    if entry.revision == definition.revision && entry.checksum != expected =>
                {
                    let mut accepted = Document::try_from(document.as_ref())
                        .map_err(mongodb::error::Error::custom)?;
                    accepted.insert("checksum", expected.as_str());
                    accepted.insert("repaired_from", doc! { "checksum": &entry.checksum });
                    self.put(Some(&document), accepted, id).await?;
                    let before = entry.checksum.chars().take(12).collect::<String>();
                    let what = format!("checksum {before} replaced by this program's");
                    repaired.push(Repaired { id, what });
                }
                Found::Unreadable { reason } => {
                    let old = Document::try_from(document.as_ref())
                        .map_err(mongodb::error::Error::custom)?;
                    let mut anew = doc! { "_id": id, "state": State::Pending };
                    anew.extend(ledger.describe(&definition, &expected));
                    // A process that wrote under a lease must not write any more, and what is in
                    // the journal stays provable.
                    anew.insert("fence", old.get_i64("fence").unwrap_or_default());
                    anew.insert("journaled", self.0.journal.count(id).await?);
                    anew.insert("repaired_from", old);
                    self.put(Some(&document), anew, id).await?;
                    repaired.push(Repaired { id, what: format!("begun anew: {reason}") });
                }
                _ => {}
            }
        }
        Ok(repaired)
    }

    /// Takes the lease away from its holder, who has this fence. Before the lease is over, only
    /// with `even_if_live`: nobody can tell a holder that was killed since its last heartbeat from
    /// one that goes on. The holder's next batch is refused.
    ///
    /// # Errors
    ///
    /// [`OperateError::NotHeld`], [`OperateError::OtherFence`], [`OperateError::Live`].
    pub async fn force_unlock(
        &self,
        fence: i64,
        even_if_live: bool,
    ) -> Result<Holder, OperateError> {
        let Inner { database, service, ledger, .. } = &*self.0;
        let held = lease::holder(database, service).await?;
        let Some(holder) = held.filter(|holder| holder.owner.is_some()) else {
            return Err(OperateError::NotHeld(service));
        };
        let other = |holder| OperateError::OtherFence { service, holder, given: fence };
        if holder.fence != fence {
            return Err(other(Box::new(holder)));
        }
        if holder.is_live() && !even_if_live {
            return Err(OperateError::Live { service, holder: Box::new(holder) });
        }
        if !lease::revoke(database, service, fence).await? {
            let holder = lease::holder(database, service).await?.unwrap_or(holder);
            return Err(other(Box::new(holder)));
        }
        // Its heartbeat would tell it only in some seconds; its next batch tells it at once.
        let states = [State::Running, State::Verifying, State::RollingBack];
        let states = states.map(mongodb::bson::Bson::from).to_vec();
        let its_own = doc! { "fence": fence, "state": { "$in": states } };
        ledger.change(its_own, doc! { "fence": fence + 1 }).await?;
        Ok(holder)
    }

    /// What the ledger has of a migration, unless that cannot be trusted.
    pub(crate) async fn found(&self, id: &str) -> Result<Found, RunError> {
        let migration = self.migration(id)?;
        let definition = migration.definition();
        let found = self.0.ledger.find(&definition).await;
        let found = found.map_err(|source| RunError::of_database(definition.id, source))?;
        let expected = checksum(&**migration);
        match found {
            Found::Unreadable { reason } => {
                let ledger = self.0.ledger.name().to_owned();
                Err(RunError::UnreadableEntry { id: definition.id, ledger, reason })
            }
            Found::Entry(entry)
                if entry.revision == definition.revision && entry.checksum != expected =>
            {
                Err(drift(&definition, &entry.checksum, &expected))
            }
            found => Ok(found),
        }
    }

    /// Changes the state of an entry, if it is still what `change` saw: where the migration stands,
    /// and what the ledger has of the revision that this program is to run.
    async fn set_state(
        &self,
        id: &str,
        change: impl Fn(&'static str, State, Option<&Entry>) -> Result<Option<Document>, OperateError>,
    ) -> Result<(), OperateError> {
        let Inner { ledger, .. } = &*self.0;
        let found = self.found(id).await.map_err(|error| match error {
            RunError::Unknown(id) => OperateError::Unknown(id),
            error => OperateError::Ledger(error),
        })?;
        let migration = self.migration(id).map_err(OperateError::Ledger)?;
        let definition = migration.definition();
        let entry = match &found {
            Found::Entry(entry) => Some(entry),
            Found::Newer { revision, app_version } => {
                let (revision, app_version) = (*revision, app_version.clone());
                return Err(OperateError::Newer { id: definition.id, revision, app_version });
            }
            _ => None,
        };
        let state = entry.map_or(State::Pending, |entry| entry.state_of(&definition));
        let current = entry.filter(|entry| entry.revision == definition.revision);
        let Some(changes) = change(definition.id, state, current)? else { return Ok(()) };
        let mut fields = Document::new();
        if current.is_none() {
            fields.extend(ledger.describe(&definition, &checksum(&**migration)));
        }
        let Some(entry) = entry else {
            fields.insert("_id", definition.id);
            fields.extend(changes);
            return self.put(None, fields, definition.id).await;
        };
        if current.is_none() {
            // Those of the earlier revision: this one begins at its beginning.
            let none = mongodb::bson::Array::new();
            let of_run =
                doc! { "progress": null, "parts": &none, "set_aside": none, "error": null };
            fields.extend(of_run);
        }
        fields.extend(changes);
        let unchanged = doc! { "_id": id, "state": entry.state, "revision": entry.revision };
        let literals = fields
            .into_iter()
            .map(|(field, value)| Ok((field, literal(value)?.into())))
            .collect::<mongodb::error::Result<Document>>()?;
        if ledger.change(unchanged, literals).await? {
            Ok(())
        } else {
            Err(OperateError::Raced(definition.id))
        }
    }

    async fn put(
        &self,
        before: Option<&RawDocumentBuf>,
        after: Document,
        id: &'static str,
    ) -> Result<(), OperateError> {
        if self.0.ledger.replace(before, after).await? {
            Ok(())
        } else {
            Err(OperateError::Raced(id))
        }
    }
}

/// Who is patient where the engine does something for an operator.
pub(crate) const OPERATOR: Patience = Patience::Command;
