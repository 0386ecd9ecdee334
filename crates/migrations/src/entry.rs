//! What the ledger has of a migration.

use mongodb::bson::{Bson, DateTime};
use serde::{Deserialize, Serialize};

use crate::{Definition, Kind, LeaveOut, ledger::EXAMPLES};

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It never ran.
    Pending,
    /// It is running; under an expired lease it was interrupted and will be resumed.
    Running,
    /// An operator paused it; its cursor stands.
    Paused,
    /// Another service is needed and away.
    WaitingDependency,
    /// It ran, and the data is being checked.
    Verifying,
    /// The data was checked: all that has to hold holds, but for what is listed as left out or set
    /// aside.
    Applied,
    /// It failed for a reason that can pass.
    FailedRetryable,
    /// It failed for a reason that somebody has to remove.
    FailedFatal,
    /// What it wrote is being undone.
    RollingBack,
    /// What it wrote was undone. A service leaves it so; a run on demand applies it again.
    RolledBack,
}

impl State {
    /// As the ledger has it.
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
}

impl From<State> for Bson {
    fn from(state: State) -> Self {
        state.as_str().into()
    }
}

/// What the ledger says about a migration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The migration's id.
    #[serde(rename = "_id")]
    pub id: String,
    /// What kind of change it is.
    pub kind: Kind,
    /// Whether the service waits for it.
    pub blocking: bool,
    /// What has to be applied before it.
    #[serde(default)]
    pub requires: Vec<String>,
    /// The revision of its specification that ran last.
    pub revision: i32,
    /// SHA-256 over id, revision and specification, in hexadecimal.
    pub checksum: String,
    /// Where it stands.
    pub state: State,
    /// The fencing token of the lease under which it ran last.
    #[serde(default)]
    pub fence: i64,
    /// The process that ran it last.
    #[serde(default)]
    pub owner: Option<String>,
    /// The server session of the run that claimed it last, so that a successor can end its
    /// transaction.
    #[serde(default)]
    pub session: Option<Bson>,
    /// How often it was started.
    #[serde(default)]
    pub attempts: i64,
    /// When it was started last, on the server's clock.
    #[serde(default)]
    pub started_at: Option<DateTime>,
    /// When it finished last, on the server's clock.
    #[serde(default)]
    pub finished_at: Option<DateTime>,
    /// The version of the program that ran it last.
    #[serde(default)]
    pub app_version: String,
    /// How far the running step has come; none between runs.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// What each step of the last run changed, so far as it came.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Documents that could not be changed, and why.
    #[serde(default)]
    pub set_aside: Vec<SetAside>,
    /// What the last run left out, and why.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// What the last look at the data after a run found.
    #[serde(default)]
    pub verify: Option<Verified>,
    /// Why it failed or what it waits for.
    #[serde(default)]
    pub error: Option<StoredError>,
    /// How many changes of this migration are in the journal, and so can be undone.
    #[serde(default)]
    pub journaled: i64,
    /// Earlier runs, oldest first.
    #[serde(default)]
    pub history: Vec<History>,
}

impl Entry {
    /// Where a migration stands whose entry this is. After an earlier revision it is pending again,
    /// but what an operator paused or rolled back stays so until an operator says otherwise.
    pub(crate) fn state_of(&self, definition: &Definition) -> State {
        let is_of_operator =
            matches!(self.state, State::Paused | State::RolledBack | State::RollingBack);
        let is_current = self.revision == definition.revision;
        if is_current || is_of_operator { self.state } else { State::Pending }
    }
}

/// How far a step has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Which step it is.
    pub what: String,
    /// The last `_id` that is done.
    pub cursor: Bson,
    /// The last `_id` of this pass; documents that come later wait for the next one.
    pub upper_id: Bson,
    /// How many documents were found to need a change.
    #[serde(default)]
    pub matched: i64,
    /// How many documents were changed.
    pub modified: i64,
    /// How many somebody else changed or deleted before their turn came.
    #[serde(default)]
    pub skipped: i64,
    /// How many could not be changed and were set aside.
    #[serde(default)]
    pub failed: i64,
    /// How many there were to change when the step began; 0 while they are being counted.
    pub total: i64,
    /// Documents changed a second, lately.
    #[serde(default)]
    pub rate: f64,
    /// What keeps it from being faster, if that is not the work itself.
    #[serde(default)]
    pub throttled_by: Option<ThrottledBy>,
    /// When this was written, on the server's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime>,
}

/// What slows a backfill down on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThrottledBy {
    /// The configured number of documents a second.
    RateLimit,
    /// Time is left to others, who use the database or may use it.
    DutyCycle,
    /// The server says that its secondaries lag (MongoDB manual, "Flow Control").
    FlowControl,
    /// Commits wait for the majority of the replica set.
    Replication,
}

impl ThrottledBy {
    /// In words for a person.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate limit",
            Self::DutyCycle => "the site is in use",
            Self::FlowControl => "flow control of the server",
            Self::Replication => "waits for replicas",
        }
    }
}

/// What a step changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which step it is.
    pub what: String,
    /// How many documents were changed or inserted, or indexes built.
    pub modified: i64,
}

/// A document that could not be changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetAside {
    /// The step that was to change it.
    pub what: String,
    /// Its `_id`.
    pub document: Bson,
    /// What the server said.
    pub reason: String,
}

/// What was left out, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What it is.
    pub what: String,
    /// Why it was left.
    pub reason: String,
    /// How many documents.
    pub count: i64,
    /// Some of their `_id`s.
    pub examples: Vec<Bson>,
    /// Whether they are published and yet neither in a list nor found by a look-up. Such documents
    /// make `verify` fail; they keep no migration from being applied.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unreachable: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

impl LeftOut {
    /// The most documents that [`LeftOut::examples`] names.
    pub const MAX_EXAMPLES: usize = EXAMPLES;

    /// Whether this is about what that leaves, for the same reason.
    pub(crate) fn is_of(&self, leave_out: &LeaveOut) -> bool {
        self.what == leave_out.what && self.reason == leave_out.reason
    }
}

/// What a look at the data after a run found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When, on the server's clock.
    #[serde(default)]
    pub at: Option<DateTime>,
    /// How many documents, indexes and insertions were left to do, without what was set aside.
    pub remaining: i64,
    /// Whether that is none.
    pub ok: bool,
}

/// Why a migration failed or waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredError {
    /// What kind of error: `database`, `dependency`, `document`, `index`, `verification`, `ledger`
    /// or `engine`.
    #[serde(default)]
    pub class: String,
    /// The server's number of the error, if it is the server's.
    #[serde(default)]
    pub code: Option<i32>,
    /// What happened, with its causes.
    pub message: String,
    /// Whether it can pass by itself.
    pub retryable: bool,
}

/// An earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When it ended, on the server's clock.
    #[serde(default)]
    pub ended_at: Option<DateTime>,
    /// The process that ran it.
    pub owner: String,
    /// Under which fencing token.
    #[serde(default)]
    pub fence: i64,
    /// How it ended.
    pub state: State,
    /// How many documents it changed.
    pub modified: i64,
}
