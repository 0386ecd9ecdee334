//! The classification of database errors.

use std::fmt;

use mongodb::error::{Error, ErrorKind, UNKNOWN_TRANSACTION_COMMIT_RESULT, WriteFailure};

use crate::time_limit::TimedOut;

/// An error of the driver with a readable message: without labels, and without the bytes of the
/// server's answer, which the driver's own message contains.
#[derive(Debug, Clone)]
pub struct DatabaseError(pub Box<Error>);

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0.kind {
            ErrorKind::Write(WriteFailure::WriteError(error)) => f.write_str(&error.message),
            ErrorKind::InsertMany(failure) => {
                match failure.write_errors.as_ref().and_then(|errors| errors.first()) {
                    Some(error) => f.write_str(&error.message),
                    None => f.write_str("not all documents could be inserted"),
                }
            }
            kind => match self.0.get_custom::<TimedOut>() {
                Some(timed_out) => timed_out.fmt(f),
                None => kind.fmt(f),
            },
        }
    }
}

impl std::error::Error for DatabaseError {}

impl From<Error> for DatabaseError {
    fn from(error: Error) -> Self {
        Self(Box::new(error))
    }
}

/// Error code of a write that a unique index refused (MongoDB manual, "Error codes": `DuplicateKey`).
const DUPLICATE_KEY: i32 = 11000;

/// Transient errors of the server: elections, shutdowns, cut networks, busy documents
/// (MongoDB's retryable-writes specification, "Determining Retryable Errors", and
/// `WriteConflict`, `MaxTimeMSExpired`, `LockTimeout`).
const TRANSIENT: &[i32] =
    &[6, 7, 24, 50, 64, 89, 91, 112, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436];

/// Returns `true` if a unique index refused the write.
pub fn is_duplicate_key(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        ErrorKind::InsertMany(error) => error
            .write_errors
            .as_ref()
            .is_some_and(|errors| errors.iter().any(|error| error.code == DUPLICATE_KEY)),
        _ => false,
    }
}

/// Returns `true` if a transaction may or may not have been committed.
pub fn is_unknown_commit(error: &Error) -> bool {
    error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
}

/// Returns `true` if the same operation can succeed later without intervention.
pub fn is_transient(error: &Error) -> bool {
    if error.contains_label("TransientTransactionError")
        || error.contains_label("RetryableWriteError")
        || is_unknown_commit(error)
    {
        return true;
    }
    match &*error.kind {
        ErrorKind::Io(_)
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. } => true,
        ErrorKind::Command(error) => TRANSIENT.contains(&error.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => TRANSIENT.contains(&error.code),
        ErrorKind::InsertMany(failure) => {
            let is_unwritten = failure.write_errors.as_ref().is_none_or(Vec::is_empty);
            let concern = failure.write_concern_error.as_ref();
            is_unwritten && concern.is_some_and(|error| TRANSIENT.contains(&error.code))
        }
        _ => error.get_custom::<TimedOut>().is_some(),
    }
}
