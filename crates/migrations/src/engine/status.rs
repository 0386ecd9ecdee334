//! The states of migrations: in this process, and in the ledger.

use mongodb::bson::RawDocumentBuf;
use serde::Serialize;

use crate::{
    definition::{Definition, MigrationKind},
    migration::Registered,
    state::{
        entry::{Entry, Part, Progress, Quarantined, Skipped, State, StoredError},
        lease::Holder,
        ledger::{Found, Problem},
    },
};

/// The state of a migration in this process.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Status {
    /// The id of the migration.
    pub id: &'static str,
    /// A short description for people.
    pub summary: &'static str,
    /// `true` if the service is not ready before the migration is applied.
    pub blocking: bool,
    /// The state.
    pub state: State,
    /// `true` if this process has inspected the data and found nothing left to do.
    pub is_settled: bool,
    /// The reason why the migration waits or failed.
    pub message: Option<String>,
    /// The progress of the running step.
    pub progress: Option<Progress>,
    /// The changes of each step in this process. Empty if nothing was left to do.
    pub parts: Vec<Part>,
    /// Documents that were left unchanged, with the reason.
    #[serde(rename = "left_out")]
    pub skipped: Vec<Skipped>,
    /// Documents that could not be changed, with the reason.
    #[serde(rename = "set_aside")]
    pub quarantined: Vec<Quarantined>,
}

impl Status {
    pub(crate) fn new(definition: &Definition) -> Self {
        Self {
            id: definition.id,
            summary: definition.summary,
            blocking: definition.blocking,
            ..Self::default()
        }
    }

    /// Adopts the state of an entry that has nothing left to do.
    pub(crate) fn settle(&mut self, entry: &Entry) {
        self.state = entry.state;
        self.is_settled = true;
        self.message = None;
        self.progress = None;
        self.skipped.clone_from(&entry.skipped);
        self.quarantined.clone_from(&entry.quarantined);
    }
}

/// The states of the migrations of a service in its ledger.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LedgerReport {
    /// The name of the service.
    pub service: &'static str,
    /// The present or last holder of the lease.
    pub lease: Option<Holder>,
    /// The migrations, in the order in which they run.
    pub migrations: Vec<MigrationReport>,
    /// The ids of entries that this program does not know, which belong to a newer one.
    pub unknown: Vec<String>,
}

/// The state of a migration in the ledger.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MigrationReport {
    /// The id of the migration.
    pub id: &'static str,
    /// A short description for people.
    pub summary: &'static str,
    /// The kind of change.
    pub kind: MigrationKind,
    /// `true` if the service is not ready before the migration is applied.
    pub blocking: bool,
    /// The ids of migrations that must be applied first.
    pub requires: &'static [&'static str],
    /// The state.
    pub state: State,
    /// `true` if the migration is under way but no process runs it: the next run continues it.
    pub is_interrupted: bool,
    /// The disagreement of ledger and program, if any.
    pub problem: Option<Problem>,
    /// The remaining time of the running step at its present rate, in seconds.
    pub eta_seconds: Option<f64>,
    /// The entry in the ledger, or `None` if the migration never ran or the entry cannot be read.
    pub entry: Option<Entry>,
}

impl LedgerReport {
    /// Returns the report of a ledger with these documents.
    pub(crate) fn new(
        service: &'static str,
        migrations: &[Registered],
        documents: &[RawDocumentBuf],
        lease: Option<Holder>,
    ) -> Self {
        let id_of = |document: &RawDocumentBuf| document.get_str("_id").unwrap_or("?").to_owned();
        let is_unknown = |id: &String| migrations.iter().all(|known| known.id() != id);
        let unknown = documents.iter().map(id_of).filter(is_unknown).collect();
        let report = |registered: &Registered| {
            let document = documents.iter().find(|document| id_of(document) == registered.id());
            let found = document.map(|found| Found::read(found, registered)).unwrap_or_default();
            MigrationReport::new(registered, found, lease.as_ref())
        };
        let migrations = migrations.iter().map(report).collect();
        Self { service, lease, migrations, unknown }
    }

    /// Returns `true` if any migration is not applied.
    pub fn is_pending(&self) -> bool {
        self.migrations.iter().any(MigrationReport::is_pending)
    }

    /// Returns `true` if ledger and program disagree about a migration that this program runs.
    pub fn has_drifted(&self) -> bool {
        let is_newer = |problem: &Problem| matches!(problem, Problem::Newer { .. });
        let mut problems = self.migrations.iter().filter_map(|one| one.problem.as_ref());
        problems.any(|problem| !is_newer(problem))
    }
}

impl MigrationReport {
    fn new(registered: &Registered, found: Found, lease: Option<&Holder>) -> Self {
        let definition = &registered.definition;
        let Found { entry, problem } = found;
        let mut report = Self {
            id: definition.id,
            summary: definition.summary,
            kind: definition.kind,
            blocking: definition.blocking,
            requires: definition.requires,
            state: State::Pending,
            is_interrupted: false,
            problem,
            eta_seconds: None,
            entry: None,
        };
        if let Some(entry) = entry {
            report.state = entry.state_of(definition);
            let is_held = lease.is_some_and(|lease| {
                lease.is_live() && lease.owner == entry.owner && lease.fence == entry.fence
            });
            if report.state.is_under_way() {
                report.is_interrupted = !is_held;
                let progress = entry.progress.as_ref().filter(|_| is_held);
                report.eta_seconds = progress.and_then(Progress::eta_seconds);
            }
            report.entry = Some(entry);
        }
        report
    }

    /// Returns `true` if the migration is not applied, and this program is to apply it.
    pub fn is_pending(&self) -> bool {
        !matches!(self.problem, Some(Problem::Newer { .. })) && self.state != State::Applied
    }

    /// Returns the reason why the migration failed or waits.
    pub fn error(&self) -> Option<&StoredError> {
        self.entry.as_ref().and_then(|entry| entry.error.as_ref())
    }
}
