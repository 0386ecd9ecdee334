//! The entry of a migration in the ledger.

use mongodb::bson::{Bson, DateTime};
use serde::{Deserialize, Serialize};

use super::step_key::StepKey;
use crate::definition::{Definition, MigrationKind};

/// The most documents that a report names.
pub(crate) const MAX_EXAMPLES: usize = 10;

/// The state of a migration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Never run.
    #[default]
    Pending,
    /// Running. Under an expired lease: interrupted, to be resumed.
    Running,
    /// Paused by an operator. The cursor is kept.
    Paused,
    /// Waiting for another service.
    WaitingDependency,
    /// Run; the data is being verified.
    Verifying,
    /// Applied and verified in the data, except for what is listed as skipped or quarantined.
    Applied,
    /// Failed for a transient reason.
    FailedRetryable,
    /// Failed for a reason that an operator has to remove.
    FailedFatal,
    /// Being rolled back.
    RollingBack,
    /// Rolled back. A service does not apply it again; a run on demand does.
    RolledBack,
}

impl State {
    /// Returns the name that the ledger stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::WaitingDependency => "waiting_dependency",
            Self::Verifying => "verifying",
            Self::Applied => "applied",
            Self::FailedRetryable => "failed_retryable",
            Self::FailedFatal => "failed_fatal",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
        }
    }

    /// Returns `true` if a process is working on the migration, or was interrupted.
    pub(crate) const fn is_under_way(self) -> bool {
        matches!(self, Self::Running | Self::Verifying | Self::RollingBack)
    }
}

impl From<State> for Bson {
    fn from(state: State) -> Self {
        state.as_str().into()
    }
}

/// The entry of a migration in the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The id of the migration.
    #[serde(rename = "_id")]
    pub id: String,
    /// The kind of change.
    pub kind: MigrationKind,
    /// `true` if the service is not ready before the migration is applied.
    pub blocking: bool,
    /// The ids of migrations that must be applied first.
    #[serde(default)]
    pub requires: Vec<String>,
    /// The revision of its specification that ran last.
    pub revision: i32,
    /// SHA-256 over id, revision and specification, in hexadecimal.
    pub checksum: String,
    /// The state.
    pub state: State,
    /// The fencing token of the lease of the last run.
    #[serde(default)]
    pub fence: i64,
    /// The process of the last run.
    pub owner: Option<String>,
    /// The server session of the last run, so that a successor can end its transaction.
    pub session: Option<Bson>,
    /// Number of starts.
    #[serde(default)]
    pub attempts: i64,
    /// The time of the last start, on the server's clock.
    pub started_at: Option<DateTime>,
    /// The time of the last end, on the server's clock.
    pub finished_at: Option<DateTime>,
    /// The version of the program of the last run.
    #[serde(default)]
    pub app_version: String,
    /// The progress of the running step, or `None` between runs.
    pub progress: Option<Progress>,
    /// The changes of each step in the last run.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Documents that could not be changed, with the reason.
    #[serde(default, rename = "set_aside")]
    pub quarantined: Vec<Quarantined>,
    /// Documents that the last run left unchanged, with the reason.
    #[serde(default, rename = "left_out")]
    pub skipped: Vec<Skipped>,
    /// The result of the verification after the last run.
    pub verify: Option<Verified>,
    /// The reason why the migration failed or waits.
    pub error: Option<StoredError>,
    /// Number of changes in the journal, which can be rolled back.
    #[serde(default)]
    pub journaled: i64,
    /// Earlier runs, the oldest first.
    #[serde(default)]
    pub history: Vec<History>,
}

impl Entry {
    /// Returns the state of the migration with this definition. After an earlier revision it is
    /// pending again, unless an operator paused it or rolled it back.
    pub(crate) fn state_of(&self, definition: &Definition) -> State {
        let is_of_operator =
            matches!(self.state, State::Paused | State::RolledBack | State::RollingBack);
        let is_current = self.revision == definition.revision;
        if is_current || is_of_operator { self.state } else { State::Pending }
    }
}

/// The progress of a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The key of the step.
    #[serde(rename = "what")]
    pub step: StepKey,
    /// The last `_id` that is done.
    pub cursor: Bson,
    /// The last `_id` of this pass. Documents after it belong to the next pass.
    pub upper_id: Bson,
    /// Number of documents that matched.
    #[serde(default)]
    pub matched: i64,
    /// Number of changed documents.
    pub modified: i64,
    /// Number of documents that other clients changed or deleted first.
    #[serde(default, rename = "skipped")]
    pub raced: i64,
    /// Number of documents that could not be changed and were quarantined.
    #[serde(default)]
    pub failed: i64,
    /// Number of documents to change at the beginning of the step; 0 while they are being counted.
    pub total: i64,
    /// Documents a second of the last batches.
    #[serde(default)]
    pub rate: f64,
    /// The reason for pauses, if there are any.
    pub throttled_by: Option<ThrottledBy>,
    /// The time of this record, on the server's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime>,
}

impl Progress {
    /// Returns the remaining time at the present rate in seconds, or `None` while it is unknown.
    pub fn eta_seconds(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let left = (self.total - self.modified - self.failed).max(0) as f64;
        (self.total > 0 && self.rate > 0.0).then(|| left / self.rate)
    }
}

/// The reason for pauses of a backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThrottledBy {
    /// The configured limit of documents a second.
    RateLimit,
    /// Other clients use the database, or may use it.
    DutyCycle,
    /// The server reports that its secondaries lag (MongoDB manual, "Flow Control").
    FlowControl,
    /// Commits wait for the majority of the replica set.
    Replication,
}

impl ThrottledBy {
    /// Returns the reason in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate limit",
            Self::DutyCycle => "the site is in use",
            Self::FlowControl => "flow control of the server",
            Self::Replication => "waiting for replicas",
        }
    }
}

/// The changes of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The key under which the changes are added up.
    #[serde(rename = "what")]
    pub step: StepKey,
    /// Number of documents changed or inserted, or of indexes built.
    pub modified: i64,
}

/// A document that could not be changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The key of the step.
    #[serde(rename = "what")]
    pub step: StepKey,
    /// The `_id` of the document.
    pub document: Bson,
    /// The error of the server.
    pub reason: String,
}

/// Documents that a step left unchanged, with the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// The key of the step, or a description of the documents.
    #[serde(rename = "what")]
    pub step: StepKey,
    /// The reason.
    pub reason: String,
    /// Number of documents.
    pub count: i64,
    /// Some of their `_id`s.
    pub examples: Vec<Bson>,
    /// `true` if they are published and yet neither in a list nor found by a look-up. Such documents
    /// make `verify` fail but do not keep a migration from being applied.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unreachable: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Skipped {
    /// The most documents in [`Skipped::examples`].
    pub const MAX_EXAMPLES: usize = MAX_EXAMPLES;
}

/// The result of a verification after a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The time, on the server's clock.
    pub at: Option<DateTime>,
    /// Number of missing changes, indexes and insertions, without quarantined documents.
    pub remaining: i64,
    /// `true` if nothing is missing.
    pub ok: bool,
}

/// The reason why a migration failed or waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredError {
    /// The class of error: `database`, `dependency`, `document`, `index`, `verification`, `ledger`
    /// or `engine`.
    #[serde(default)]
    pub class: String,
    /// The error code of the server, if it is the server's error.
    pub code: Option<i32>,
    /// The error and its causes.
    pub message: String,
    /// `true` if the error can disappear without intervention.
    pub retryable: bool,
}

/// An earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The time of its end, on the server's clock.
    pub ended_at: Option<DateTime>,
    /// The process.
    pub owner: String,
    /// The fencing token of its lease.
    #[serde(default)]
    pub fence: i64,
    /// The state at its end.
    pub state: State,
    /// Number of changed documents.
    pub modified: i64,
}
