//! Why migrations are not applied.

use mongo_kit::DatabaseError;
use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::{StepsError, StoredError, lease::Edited, ledger::LedgerError, transaction::Rejected};

/// Why the migrations are not all applied.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The process is about to end; what was running has its cursor in the ledger.
    #[error("interrupted: the next run goes on where this one stopped")]
    Interrupted,
    /// Another process holds the lease.
    #[error(
        "{holder} is migrating {service}: wait for it; if it was killed, its lease ends within \
         {seconds} s"
    )]
    LeaseHeld {
        /// Whose migrations.
        service: &'static str,
        /// Which process, and under which fence.
        holder: String,
        /// How long the lease lasts unless it is renewed.
        seconds: u64,
    },
    /// Another service is needed and cannot be used.
    #[error("{id} cannot run now")]
    Dependency {
        /// The migration that needs it.
        id: &'static str,
        /// Which service, and why it cannot be used.
        source: StepsError,
    },
    /// What it requires is not applied.
    #[error("{id} waits for {requires}, which is not applied")]
    Requires {
        /// The migration.
        id: &'static str,
        /// The first of its requirements that is not applied.
        requires: &'static str,
    },
    /// An operator paused it.
    #[error("{0} is paused: `resume` lets it go on")]
    Paused(&'static str),
    /// An operator rolled it back, so that a service leaves it alone.
    #[error("{0} is rolled back: `up` applies it again")]
    RolledBack(&'static str),
    /// The ledger's entry has another checksum than the program.
    #[error(
        "{id} is not what was applied: the ledger has the checksum {found}, this program \
         {expected}, both of revision {revision}. Run the program that fits, or raise the revision; \
         `repair` accepts this program's"
    )]
    Drift {
        /// The migration.
        id: &'static str,
        /// The revision of both.
        revision: i32,
        /// The beginning of the ledger's checksum.
        found: String,
        /// The beginning of this program's.
        expected: String,
    },
    /// The ledger's entry is none that this program could have written.
    #[error(
        "the entry {id} of {ledger} cannot be read: {reason}. Correct it; `repair` keeps the text \
         and begins anew"
    )]
    UnreadableEntry {
        /// The migration.
        id: &'static str,
        /// The ledger.
        ledger: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The lease is none that this program could have written.
    #[error(
        "the document `lease` of {lock} was edited and is no lease any more ({reason}): delete it \
         while nothing migrates"
    )]
    UnreadableLease {
        /// The collection that has it.
        lock: String,
        /// What is wrong with it.
        reason: String,
    },
    /// After a run something was left to do.
    #[error("{id} left something undone: {what}")]
    Unverified {
        /// The migration.
        id: &'static str,
        /// The step, the number of documents, and some of them.
        what: String,
        /// Whether the last round changed nothing, so that another one would not either.
        is_stuck: bool,
    },
    /// Too many documents could not be changed for this to be about single ones.
    #[error("{id}: more than {count} documents could not be changed; {document}: {reason}")]
    TooManySetAside {
        /// The migration.
        id: &'static str,
        /// How many may be set aside.
        count: usize,
        /// The `_id` of the last one.
        document: String,
        /// Why.
        reason: String,
    },
    /// An index cannot be built.
    #[error(
        "{id}: the index {index} cannot be built on {collection}: drop or change what is in its \
         way{documents}"
    )]
    Index {
        /// The migration.
        id: &'static str,
        /// The name of the index.
        index: String,
        /// The collection.
        collection: &'static str,
        /// The documents that stop a unique index, if that is it.
        documents: String,
        /// What the database said.
        source: DatabaseError,
    },
    /// A roll-back would be more, or less, than undoing what the engine wrote.
    #[error("{id} cannot be rolled back, nothing was changed: {reason}")]
    NotProvable {
        /// The migration.
        id: &'static str,
        /// What cannot be proven.
        reason: String,
    },
    /// There is no such migration.
    #[error("there is no migration {0:?}")]
    Unknown(String),
    /// The database refused a write because of what it is about: a validator, a unique index, the
    /// size.
    #[error("{id}: the database refused a write: {reason}")]
    Rejected {
        /// The migration.
        id: &'static str,
        /// The server's number of the error.
        code: i32,
        /// What the server said, and the number.
        reason: String,
    },
    /// The database refused.
    #[error("{id} failed")]
    Database {
        /// The migration, or the service where it is about all of them.
        id: &'static str,
        /// What the database said.
        source: DatabaseError,
    },
    /// Another process took over while this one did not answer.
    #[error("{0} was taken over by another process")]
    TakenOver(&'static str),
}

impl RunError {
    /// Whether it can pass by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database { source, .. } => mongo_kit::is_transient(&source.0),
            Self::Index { source, .. } => mongo_kit::is_transient(&source.0),
            Self::Unverified { is_stuck, .. } => !is_stuck,
            Self::Drift { .. }
            | Self::UnreadableEntry { .. }
            | Self::UnreadableLease { .. }
            | Self::TooManySetAside { .. }
            | Self::NotProvable { .. }
            | Self::Rejected { .. }
            | Self::Unknown(_) => false,
            _ => true,
        }
    }

    /// What kind of error it is, as the ledger has it.
    fn class(&self) -> &'static str {
        match self {
            Self::Dependency { .. } => "dependency",
            Self::Unverified { .. } => "verification",
            Self::TooManySetAside { .. } => "document",
            Self::Index { .. } => "index",
            Self::Drift { .. } | Self::UnreadableEntry { .. } | Self::UnreadableLease { .. } => {
                "ledger"
            }
            Self::Rejected { .. } | Self::Database { .. } => "database",
            _ => "engine",
        }
    }

    /// The server's number of the error, if it is the server's (MongoDB manual, "Error Codes").
    fn code(&self) -> Option<i32> {
        match self {
            Self::Rejected { code, .. } => Some(*code),
            Self::Database { source, .. } | Self::Index { source, .. } => server_code(&source.0),
            _ => None,
        }
    }

    /// As the ledger keeps it.
    pub(crate) fn stored(&self) -> StoredError {
        StoredError {
            class: self.class().to_owned(),
            code: self.code(),
            message: self.with_causes(),
            retryable: self.is_transient(),
        }
    }

    pub(crate) fn of_database(id: &'static str, error: Error) -> Self {
        // The driver has no words for what is not its own.
        if let Some(rejected) = error.get_custom::<Rejected>() {
            return Self::Rejected { id, code: rejected.code, reason: rejected.to_string() };
        }
        match error.get_custom::<Edited>() {
            Some(Edited { lock, reason }) => {
                Self::UnreadableLease { lock: lock.clone(), reason: reason.clone() }
            }
            None => Self::Database { id, source: error.into() },
        }
    }

    pub(crate) fn of_steps(id: &'static str, error: StepsError) -> Self {
        match error {
            StepsError::Database(source) => Self::of_database(id, source),
            source @ StepsError::Dependency { .. } => Self::Dependency { id, source },
        }
    }

    pub(crate) fn of_ledger(id: &'static str, error: LedgerError) -> Self {
        match error {
            LedgerError::Fenced => Self::TakenOver(id),
            LedgerError::Paused => Self::Paused(id),
            LedgerError::Database(error) => Self::of_database(id, error),
        }
    }

    /// The error with its causes, in one text.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

/// The server's number of an error.
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
