//! Errors of the commands, and their exit codes.

use std::process::ExitCode;

use migrations::{OperateError, RunError, RunErrorKind};
use models::ErrorCode;
use service_kit::runtime::process::ServiceError;

use crate::{archive::error::ArchiveError, import::error::ImportError};

/// An error that ends a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Settings(#[from] service_kit::runtime::settings::SettingsError),
    #[error(transparent)]
    Telemetry(#[from] service_kit::runtime::telemetry::TelemetryError),
    #[error(transparent)]
    Mongod(#[from] local_mongod::Error),
    #[error(transparent)]
    Connect(#[from] mongo_kit::ConnectError),
    #[error(transparent)]
    Deployment(#[from] mongo_kit::DeploymentError),
    #[error(transparent)]
    Collections(#[from] mongo_kit::UnsuitableCollections),
    #[error(transparent)]
    Bind(#[from] service_kit::runtime::listen::BindError),
    #[error(transparent)]
    Tls(#[from] service_kit::web::tls::TlsError),
    #[error(transparent)]
    Service(#[from] data_service::StartupError),
    #[error(transparent)]
    Gateway(#[from] gateway::StartupError),
    #[error(transparent)]
    Console(#[from] console_service::StartupError),
    /// The name of the database is probably misspelt.
    #[error(
        "`{name}` has no collection of a site; databases here: {others}. Correct the name, or begin a \
         new site in `{name}` with `--create`"
    )]
    NoSite { name: String, others: String },
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Archive(ArchiveError),
    /// The database to import into has content.
    #[error(
        "the collection {collection} is not empty, and an import requires an empty database; nothing \
         was loaded. To start over, {start_over}"
    )]
    NotEmpty { collection: &'static str, start_over: String },
    #[error(transparent)]
    Migration(#[from] RunError),
    #[error(transparent)]
    Operate(#[from] OperateError),
    /// The holder of the lease still renews it, and `--yes` is missing.
    #[error("{0}; `--yes` revokes the lease anyway")]
    LeaseIsLive(OperateError),
    #[error("MongoDB failed")]
    Database(#[source] mongo_kit::DatabaseError),
    #[error("the description of the API cannot be serialised")]
    Openapi(#[from] serde_json::Error),
    #[error("the token in {file} cannot be used")]
    Token { file: String, source: std::io::Error },
    /// A mistake in the command line that the parser cannot find.
    #[error("{0}")]
    Usage(String),
    /// Content belongs to the sections that a rollback would delete.
    #[error(
        "nothing was rolled back, because content belongs to the sections that would be deleted \
         (number of items: {count}); {remedy}"
    )]
    SectionsInUse { count: u64, remedy: String },
    /// The same, found after content was rolled back.
    #[error(
        "the sections were not rolled back, because content belongs to those that would be deleted \
         (number of items: {count}); migrations of content that are listed above were rolled back. To \
         roll back the rest, {remedy}, then run the same command again"
    )]
    SectionsStillInUse { count: u64, remedy: String },
    #[error(
        "nothing was changed, because another process writes to the database: stop the services, then \
         run the same command again. Of a process that was killed, that shows for 2 s"
    )]
    InUse,
    #[error("not every migration is applied: {0}")]
    Pending(String),
    #[error("{0}. No migration was run")]
    Refused(String),
    #[error("the ledger does not match this program: {0}")]
    Drifted(String),
    #[error(
        "documents that could not be changed are quarantined ({0}): correct them, then run `turbulence \
         migrate retry ID` and `turbulence migrate up`"
    )]
    Quarantined(usize),
    #[error("the data does not have the expected state: see the entries marked NOT OK above")]
    Unverified,
    #[error("the data cannot be checked")]
    Inspect(#[from] service_kit::web::error::ApiError),
    #[error("the check found problems in the data: see above for each problem and its remedy")]
    Unsound,
    /// Files of a former site that are not in the store.
    #[error("files are missing or were not stored ({0}): see above for their names")]
    MediaNotImported(usize),
    #[error("interrupted")]
    Interrupted,
    /// `up` was stopped before its migrations were complete.
    #[error("interrupted before all migrations were applied: {0}; the next start continues there")]
    InterruptedStart(String),
    #[error("a part of the system stopped unexpectedly: see the log")]
    Panicked,
}

impl From<mongodb::error::Error> for Error {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<ArchiveError> for Error {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Cancelled => Self::Interrupted,
            error => Self::Archive(error),
        }
    }
}

impl Error {
    /// Returns the exit code of the command: see `docs/reference/cli.md`.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Settings(_) | Self::Connect(_) | Self::Tls(_) => 2,
            Self::Gateway(error) if error.is_wrong_setting() => 2,
            Self::Pending(_) => 3,
            Self::LeaseIsLive(_) => 4,
            Self::Drifted(_) | Self::Refused(_) => 5,
            Self::Unverified | Self::Quarantined(_) | Self::Unsound | Self::MediaNotImported(_) => {
                6
            }
            Self::Database(error)
            | Self::Archive(
                ArchiveError::Database(error) | ArchiveError::Load { source: error, .. },
            ) => database_code(error),
            Self::Inspect(error) => inspect_code(error),
            Self::Deployment(error) if error.is_transient() => 7,
            Self::Interrupted | Self::InterruptedStart(_) => 130,
            Self::Migration(error) => run_code(error),
            Self::Operate(error) => operate_code(error),
            _ => 1,
        }
    }
}

fn run_code(error: &RunError) -> u8 {
    match &error.kind {
        RunErrorKind::Unknown(_) => 2,
        RunErrorKind::Paused | RunErrorKind::RolledBack | RunErrorKind::Requires(_) => 3,
        RunErrorKind::LeaseHeld { .. } | RunErrorKind::TakenOver => 4,
        RunErrorKind::Drift { .. }
        | RunErrorKind::UnreadableEntry { .. }
        | RunErrorKind::UnreadableLease { .. } => 5,
        RunErrorKind::Unverified { .. } => 6,
        RunErrorKind::Dependency(_) => 7,
        RunErrorKind::Database(source) | RunErrorKind::Index { source, .. } => {
            database_code(source)
        }
        RunErrorKind::Interrupted => 130,
        RunErrorKind::TooManyQuarantined { .. }
        | RunErrorKind::NotProvable(_)
        | RunErrorKind::Rejected { .. } => 1,
    }
}

fn operate_code(error: &OperateError) -> u8 {
    match error {
        OperateError::Unknown(_) => 2,
        OperateError::OtherFence { .. } | OperateError::Live { .. } => 4,
        OperateError::Ledger(error) => run_code(error),
        OperateError::Database(error) => database_code(error),
        OperateError::WrongState { .. }
        | OperateError::Newer { .. }
        | OperateError::NotHeld(_)
        | OperateError::Raced(_) => 1,
    }
}

fn inspect_code(error: &service_kit::web::error::ApiError) -> u8 {
    match error.code() {
        ErrorCode::DatabaseUnavailable | ErrorCode::UpstreamUnavailable => 7,
        _ => 1,
    }
}

/// Returns 7 for an unavailable database, and 1 for one that rejects an operation.
fn database_code(error: &mongo_kit::DatabaseError) -> u8 {
    if mongo_kit::is_transient(&error.0) { 7 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_an_old_program_still_changes_is_code_6() {
        let kind = RunErrorKind::Unverified { remaining: String::new(), is_stuck: false };
        let left = RunError { migration: Some("first"), kind };
        assert_eq!(Error::from(left).code(), 6);
    }

    #[test]
    fn an_unavailable_database_is_code_7_and_a_rejected_operation_code_1() {
        let unavailable = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(Error::from(mongodb::error::Error::from(unavailable)).code(), 7);
        let rejected = mongodb::error::Error::custom("no");
        assert_eq!(Error::from(rejected).code(), 1);
    }
}
