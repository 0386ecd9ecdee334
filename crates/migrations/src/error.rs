//! Errors of a run.

use std::{error::Error as StdError, fmt};

use mongo_kit::{DatabaseError, lease::EditedLease};
use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::{state::entry::StoredError, transaction::Rejected};

/// The reason why a run ended before all migrations were applied, or why a roll-back ended early.
#[derive(Debug)]
pub struct RunError {
    /// The id of the migration, or `None` if the error is about all of them.
    pub migration: Option<&'static str>,
    /// The cause.
    pub kind: RunErrorKind,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.migration {
            Some(id) => write!(f, "{id}: {}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl StdError for RunError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.kind.source()
    }
}

impl RunError {
    /// Returns `true` if the error can disappear without intervention.
    pub fn is_transient(&self) -> bool {
        self.kind.is_transient()
    }

    /// Returns the error and its causes in one line.
    pub fn with_causes(&self) -> String {
        with_causes(self)
    }
}

/// The reason why the steps of a migration are not available, or an inspection failed.
#[derive(Debug, thiserror::Error)]
pub enum StepsError {
    /// A required service is unavailable or answers with an error. The migration waits for it.
    #[error("waiting for {name}")]
    Dependency {
        /// The name of the service.
        name: String,
        /// The reason why it cannot be used.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database cannot be read.
    #[error("the database cannot be read")]
    Database(#[from] mongodb::error::Error),
}

/// The cause of a [`RunError`].
#[derive(Debug, thiserror::Error)]
pub enum RunErrorKind {
    /// The process is shutting down. The cursor of the running migration is in the ledger.
    #[error("interrupted: the next run continues at the last checkpoint")]
    Interrupted,
    /// Another process holds the lease.
    #[error(
        "{holder} is migrating {service}: wait until it is done; if it was killed, its lease \
         expires within {seconds} s"
    )]
    LeaseHeld {
        /// The service whose lease is held.
        service: &'static str,
        /// The process and its fence.
        holder: String,
        /// The duration of the lease.
        seconds: u64,
    },
    /// A required service is unavailable.
    #[error("cannot run now")]
    Dependency(#[source] StepsError),
    /// A required migration is not applied.
    #[error("waits for {0}, which is not applied")]
    Requires(&'static str),
    /// An operator paused the migration.
    #[error("paused: `resume` continues it")]
    Paused,
    /// An operator rolled the migration back. A service does not apply it again.
    #[error("rolled back: `up` applies it again")]
    RolledBack,
    /// The ledger has another checksum than this program for the same revision.
    #[error(
        "differs from the migration that was applied: the ledger has the checksum {found}, this \
         program {expected}, both for revision {revision}. Run the matching program or raise the \
         revision; `repair` accepts the checksum of this program"
    )]
    Drift {
        /// The revision of both.
        revision: i32,
        /// The beginning of the checksum in the ledger.
        found: String,
        /// The beginning of the checksum of this program.
        expected: String,
    },
    /// The entry in the ledger does not have the expected shape.
    #[error(
        "its entry in {ledger} cannot be read: {reason}. Correct it, or let `repair` start the \
         migration over and keep the old entry"
    )]
    UnreadableEntry {
        /// The collection of the ledger.
        ledger: String,
        /// The fault of the entry.
        reason: String,
    },
    /// The lease document does not have the expected shape.
    #[error(
        "the document `lease` of {lock} was edited and is not a lease any more ({reason}): delete \
         it while no process migrates"
    )]
    UnreadableLease {
        /// The collection of the lease.
        lock: String,
        /// The fault of the document.
        reason: String,
    },
    /// Some documents still match after a run.
    #[error("incomplete after the run: {remaining}")]
    Unverified {
        /// The step, the number of documents, and some of them.
        remaining: String,
        /// `true` if the last round changed nothing, so that a further one would not either.
        is_stuck: bool,
    },
    /// Too many documents could not be changed.
    #[error("more than {max} documents could not be changed; the last one, {document}: {reason}")]
    TooManyQuarantined {
        /// The most documents that one step may quarantine.
        max: usize,
        /// The `_id` of the last one.
        document: String,
        /// The reason why it could not be changed.
        reason: String,
    },
    /// An index cannot be built.
    #[error(
        "the index {index} cannot be built on {collection}: remove the conflict and try \
         again{obstacles}"
    )]
    Index {
        /// The name of the index.
        index: String,
        /// The collection.
        collection: &'static str,
        /// The conflicting indexes or documents, in words.
        obstacles: String,
        /// The error of the database.
        source: DatabaseError,
    },
    /// A roll-back cannot prove that it would undo exactly the changes of the migration.
    #[error("cannot be rolled back, nothing was changed: {0}")]
    NotProvable(String),
    /// There is no migration with this id.
    #[error("there is no migration {0:?}")]
    Unknown(String),
    /// The database refused a write because of its content: a validator, a unique index, the size.
    #[error("the database refused a write: {reason}")]
    Rejected {
        /// The error code of the server.
        code: i32,
        /// The message of the server and the code.
        reason: String,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] DatabaseError),
    /// Another process took the lease.
    #[error("another process has taken over")]
    TakenOver,
}

/// The error code of a command whose session another process ended (MongoDB manual, "Error Codes":
/// `Interrupted`), because this one was suspended.
const INTERRUPTED: i32 = 11_601;

impl RunErrorKind {
    /// Returns the error of this migration.
    pub(crate) fn of(self, migration: &'static str) -> RunError {
        let is_general = matches!(
            self,
            Self::Interrupted
                | Self::LeaseHeld { .. }
                | Self::UnreadableLease { .. }
                | Self::Unknown(_)
        );
        RunError { migration: (!is_general).then_some(migration), kind: self }
    }

    /// Returns `true` if the error can disappear without intervention.
    pub fn is_transient(&self) -> bool {
        match self {
            // The ledger tells whether an interrupted commit has taken place.
            Self::Database(source) if server_code(&source.0) == Some(INTERRUPTED) => true,
            Self::Database(source) | Self::Index { source, .. } => {
                mongo_kit::is_transient(&source.0)
            }
            Self::Unverified { is_stuck, .. } => !is_stuck,
            Self::Drift { .. }
            | Self::UnreadableEntry { .. }
            | Self::UnreadableLease { .. }
            | Self::TooManyQuarantined { .. }
            | Self::NotProvable(_)
            | Self::Rejected { .. }
            | Self::Unknown(_) => false,
            _ => true,
        }
    }

    /// Returns `true` if the entry in the ledger stays as it is, so that the next run continues it.
    pub(crate) fn keeps_entry(&self) -> bool {
        matches!(self, Self::Interrupted | Self::TakenOver | Self::Paused)
    }

    /// Returns the class that the ledger stores.
    fn class(&self) -> &'static str {
        match self {
            Self::Dependency(_) => "dependency",
            Self::Unverified { .. } => "verification",
            Self::TooManyQuarantined { .. } => "document",
            Self::Index { .. } => "index",
            Self::Drift { .. } | Self::UnreadableEntry { .. } | Self::UnreadableLease { .. } => {
                "ledger"
            }
            Self::Rejected { .. } | Self::Database(_) => "database",
            _ => "engine",
        }
    }

    /// Returns the error code of the server, if it is the server's error (MongoDB manual, "Error
    /// Codes").
    fn code(&self) -> Option<i32> {
        match self {
            Self::Rejected { code, .. } => Some(*code),
            Self::Database(source) | Self::Index { source, .. } => server_code(&source.0),
            _ => None,
        }
    }

    /// Returns the form that the ledger stores.
    pub(crate) fn stored(&self) -> StoredError {
        StoredError {
            class: self.class().to_owned(),
            code: self.code(),
            message: with_causes(self),
            retryable: self.is_transient(),
        }
    }
}

impl From<RunErrorKind> for RunError {
    /// Returns the error of no particular migration.
    fn from(kind: RunErrorKind) -> Self {
        Self { migration: None, kind }
    }
}

impl From<Error> for RunErrorKind {
    fn from(error: Error) -> Self {
        // The driver has no message for errors that are not its own.
        if let Some(rejected) = error.get_custom::<Rejected>() {
            return Self::Rejected { code: rejected.code, reason: rejected.to_string() };
        }
        match error.get_custom::<EditedLease>().cloned() {
            Some(EditedLease { lock, reason }) => Self::UnreadableLease { lock, reason },
            None => Self::Database(error.into()),
        }
    }
}

impl From<StepsError> for RunErrorKind {
    fn from(error: StepsError) -> Self {
        match error {
            StepsError::Database(error) => error.into(),
            StepsError::Dependency { .. } => Self::Dependency(error),
        }
    }
}

/// Returns the error code of the server.
pub(crate) fn server_code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => Some(error.code),
        ErrorKind::InsertMany(failure) => {
            failure.write_errors.as_ref().and_then(|errors| errors.first()).map(|error| error.code)
        }
        _ => None,
    }
}

fn with_causes(error: &dyn StdError) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
