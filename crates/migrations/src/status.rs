//! Where migrations stand: as this process sees it, and as the ledger has it.

use mongodb::bson::{RawDocumentBuf, doc};
use serde::Serialize;

use crate::{
    Definition, Entry, Kind, LeftOut, Part, Progress, SetAside, State, StoredError, lease::Holder,
    ledger::Found,
};

/// Where one migration stands, as far as this process knows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The migration's id.
    pub id: &'static str,
    /// What it does, for a person.
    pub summary: &'static str,
    /// Whether the service waits for it.
    pub blocking: bool,
    /// Where it stands.
    pub state: State,
    /// Whether this process has looked at it and found nothing left to do.
    pub is_settled: bool,
    /// What it waits for, or why it failed.
    pub message: Option<String>,
    /// How far the running step has come.
    pub progress: Option<Progress>,
    /// What each step changed in this process; empty where nothing was left to do.
    pub parts: Vec<Part>,
    /// What was left out, and why.
    pub left_out: Vec<LeftOut>,
    /// Documents that could not be changed, and why.
    pub set_aside: Vec<SetAside>,
}

impl Status {
    pub(crate) fn new(definition: &Definition) -> Self {
        Self {
            id: definition.id,
            summary: definition.summary,
            blocking: definition.blocking,
            state: State::Pending,
            is_settled: false,
            message: None,
            progress: None,
            parts: Vec::new(),
            left_out: Vec::new(),
            set_aside: Vec::new(),
        }
    }

    pub(crate) fn settle(&mut self, entry: &Entry) {
        self.state = entry.state;
        self.is_settled = true;
        self.message = None;
        self.progress = None;
        self.left_out.clone_from(&entry.left_out);
        self.set_aside.clone_from(&entry.set_aside);
    }
}

/// Where the migrations of a service stand, as its ledger has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whose migrations.
    pub service: &'static str,
    /// Who migrates, or did last.
    pub lease: Option<Holder>,
    /// In the order in which they run.
    pub migrations: Vec<MigrationReport>,
    /// Entries of migrations that this program does not know: a newer one's.
    pub unknown: Vec<String>,
}

/// Where one migration stands, as the ledger has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MigrationReport {
    /// The migration's id.
    pub id: &'static str,
    /// What it does, for a person.
    pub summary: &'static str,
    /// What kind of change it is.
    pub kind: Kind,
    /// Whether the service waits for it.
    pub blocking: bool,
    /// What has to be applied before it.
    pub requires: &'static [&'static str],
    /// Where it stands.
    pub state: State,
    /// Whether nobody is running it although it is on its way: the next run goes on with it.
    pub is_interrupted: bool,
    /// Why the ledger and this program do not agree about it.
    pub problem: Option<Problem>,
    /// How long the running step will take at its present rate, in seconds.
    pub eta_seconds: Option<f64>,
    /// What the ledger says; none where it never ran or cannot be read.
    pub entry: Option<Entry>,
}

/// Why the ledger and this program do not agree about a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Problem {
    /// The same revision with another checksum.
    Drift {
        /// The ledger's checksum.
        found: String,
        /// This program's.
        expected: String,
    },
    /// A newer program has run it.
    Newer {
        /// The revision that ran.
        revision: i32,
        /// The version of the program that ran it.
        app_version: String,
    },
    /// Something that no version of this program wrote.
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
}

impl Report {
    /// The report of a ledger: `documents` are all that are in it.
    pub(crate) fn new(
        service: &'static str,
        definitions: &[(Definition, String)],
        documents: &[RawDocumentBuf],
        lease: Option<Holder>,
    ) -> Self {
        let id_of = |document: &RawDocumentBuf| document.get_str("_id").unwrap_or("?").to_owned();
        let migrations = definitions
            .iter()
            .map(|(definition, checksum)| {
                let document = documents.iter().find(|document| id_of(document) == definition.id);
                let found = document.map_or(Found::Nothing, |found| Found::read(found, definition));
                MigrationReport::new(definition, checksum, found, lease.as_ref())
            })
            .collect();
        let is_unknown = |id: &String| definitions.iter().all(|(known, _)| known.id != id);
        let unknown = documents.iter().map(id_of).filter(is_unknown).collect();
        Self { service, lease, migrations, unknown }
    }

    /// Whether anything is not applied that this program knows.
    pub fn is_pending(&self) -> bool {
        self.migrations.iter().any(MigrationReport::is_pending)
    }

    /// Whether ledger and program do not agree about something that this program is to run.
    pub fn has_drifted(&self) -> bool {
        let is_newer = |problem: &Problem| matches!(problem, Problem::Newer { .. });
        let mut problems = self.migrations.iter().filter_map(|one| one.problem.as_ref());
        problems.any(|problem| !is_newer(problem))
    }
}

impl MigrationReport {
    fn new(definition: &Definition, checksum: &str, found: Found, lease: Option<&Holder>) -> Self {
        let mut report = Self {
            id: definition.id,
            summary: definition.summary,
            kind: definition.kind,
            blocking: definition.blocking,
            requires: definition.requires,
            state: State::Pending,
            is_interrupted: false,
            problem: None,
            eta_seconds: None,
            entry: None,
        };
        match found {
            Found::Nothing => {}
            Found::Newer { revision, app_version } => {
                report.problem = Some(Problem::Newer { revision, app_version });
            }
            Found::Unreadable { reason } => {
                report.problem = Some(Problem::Unreadable { reason });
            }
            Found::Entry(entry) => {
                let is_current = entry.revision == definition.revision;
                report.state = entry.state_of(definition);
                if is_current && entry.checksum != checksum {
                    let (found, expected) = (entry.checksum.clone(), checksum.to_owned());
                    report.problem = Some(Problem::Drift { found, expected });
                }
                let is_on_its_way =
                    matches!(report.state, State::Running | State::Verifying | State::RollingBack);
                let is_held = lease.is_some_and(|lease| {
                    lease.is_live() && lease.owner == entry.owner && lease.fence == entry.fence
                });
                report.is_interrupted = is_on_its_way && !is_held;
                if is_on_its_way && is_held {
                    report.eta_seconds = entry.progress.as_ref().and_then(Progress::eta_seconds);
                }
                report.entry = Some(entry);
            }
        }
        report
    }

    /// Whether it is not applied, as far as this program is to apply it.
    pub fn is_pending(&self) -> bool {
        !matches!(self.problem, Some(Problem::Newer { .. })) && self.state != State::Applied
    }

    /// Why it failed or what it waits for.
    pub fn error(&self) -> Option<&StoredError> {
        self.entry.as_ref().and_then(|entry| entry.error.as_ref())
    }
}

impl Progress {
    /// How long the rest will take at the present rate, in seconds; none while it is unknown.
    pub fn eta_seconds(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let left = (self.total - self.modified - self.failed).max(0) as f64;
        (self.total > 0 && self.rate > 0.0).then(|| left / self.rate)
    }
}
