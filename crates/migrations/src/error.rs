//! Why migrations are not applied.

use mongo_kit::DatabaseError;

use crate::{StepsError, ledger::LedgerError};

/// Why the migrations are not all applied.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The process is about to end; what was running has its cursor in the ledger.
    #[error("interrupted: the next run goes on where this one stopped")]
    Interrupted,
    /// Another process holds the lease.
    #[error("another process is migrating {0}: wait for it, its lease expires 30 s after its end")]
    LeaseHeld(&'static str),
    /// Another service is needed and cannot be used.
    #[error("{id} cannot run now")]
    Dependency {
        /// The migration that needs it.
        id: &'static str,
        /// Which service, and why it cannot be used.
        source: StepsError,
    },
    /// After a run something was left to do.
    #[error("{id} left something undone: {what}")]
    Unverified {
        /// The migration.
        id: &'static str,
        /// The step and the number of documents.
        what: String,
        /// Whether the last round changed nothing, so that another one would not either.
        is_stuck: bool,
    },
    /// An index cannot be built.
    #[error(
        "{id}: the index {index} cannot be built on {collection}: drop or change what is in its way"
    )]
    Index {
        /// The migration.
        id: &'static str,
        /// The name of the index.
        index: String,
        /// The collection.
        collection: &'static str,
        /// What the database said.
        source: DatabaseError,
    },
    /// The database refused.
    #[error("{id} failed")]
    Database {
        /// The migration.
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
            _ => true,
        }
    }

    pub(crate) fn of_database(id: &'static str, error: mongodb::error::Error) -> Self {
        Self::Database { id, source: error.into() }
    }

    pub(crate) fn of_ledger(id: &'static str, error: LedgerError) -> Self {
        match error {
            LedgerError::Fenced => Self::TakenOver(id),
            LedgerError::Database(error) => Self::of_database(id, error),
        }
    }

    /// The error with its causes, in one text.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
