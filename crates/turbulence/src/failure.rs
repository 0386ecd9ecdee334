//! Why a command ended without success, and its exit code.

use std::process::ExitCode;

use migrations::{OperateError, RunError, RunErrorKind};
use models::ErrorCode;

use crate::import::ImportError;

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Settings(#[from] service_kit::settings::SettingsError),
    #[error(transparent)]
    Mongod(#[from] local_mongod::Error),
    #[error(transparent)]
    Connect(#[from] mongo_kit::ConnectError),
    #[error(transparent)]
    Deployment(#[from] mongo_kit::DeploymentError),
    #[error(transparent)]
    Collections(#[from] mongo_kit::UnsuitableCollections),
    #[error(transparent)]
    Bind(#[from] service_kit::server::BindError),
    #[error(transparent)]
    Service(#[from] data_service::StartupError),
    #[error(transparent)]
    Gateway(#[from] gateway::StartupError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Migration(#[from] RunError),
    #[error(transparent)]
    Operate(#[from] OperateError),
    /// The lease is alive, and nobody said that this does not matter.
    #[error("{0}, with `--yes`")]
    Live(OperateError),
    #[error("MongoDB failed")]
    Database(#[source] mongo_kit::DatabaseError),
    #[error("the description of the API cannot be written")]
    Openapi(#[from] serde_json::Error),
    #[error("the token cannot be kept in {file}")]
    Token { file: String, source: std::io::Error },
    /// The command line means nothing, which only shows with the migrations at hand.
    #[error("{0}")]
    Usage(String),
    /// Sections are to go to which content belongs.
    #[error(
        "nothing was rolled back: content belongs to the sections that would be deleted \
         ({count}); {way}"
    )]
    Linked { count: u64, way: String },
    #[error("not everything is applied: {0}")]
    Pending(String),
    #[error("{0}. Nothing was run")]
    Refused(String),
    #[error("ledger and program do not agree: {0}")]
    Drifted(String),
    #[error(
        "documents that could not be changed are set aside ({0}): correct them, then `turbulence \
         migrate retry ID` and `up`"
    )]
    SetAside(usize),
    #[error("the data is not as it has to be: what stands above as not ok says what to do")]
    Unverified,
    #[error("the data cannot be looked at")]
    Inspect(#[from] service_kit::ApiError),
    #[error("something is wrong with the data: what stands above says what to do")]
    Unsound,
    #[error("interrupted")]
    Interrupted,
    #[error("a part of the system ended unexpectedly: the log says where")]
    Panicked,
}

impl From<mongodb::error::Error> for Failure {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Database(error.into())
    }
}

impl Failure {
    /// The exit code: see the tables in `docs/reference/cli.md`.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Pending(_) => 3,
            Self::Live(_) => 4,
            Self::Drifted(_) | Self::Refused(_) => 5,
            Self::Unverified | Self::SetAside(_) | Self::Unsound => 6,
            Self::Database(error) => code_of_database(error),
            Self::Inspect(error) => code_of_look(error),
            Self::Deployment(error) if error.is_transient() => 7,
            Self::Interrupted => 130,
            Self::Migration(error) => code_of_run(error),
            Self::Operate(error) => code_of_operate(error),
            _ => 1,
        }
    }
}

fn code_of_run(error: &RunError) -> u8 {
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
            code_of_database(source)
        }
        RunErrorKind::Interrupted => 130,
        RunErrorKind::TooManyQuarantined { .. }
        | RunErrorKind::NotProvable(_)
        | RunErrorKind::Rejected { .. } => 1,
    }
}

fn code_of_operate(error: &OperateError) -> u8 {
    match error {
        OperateError::Unknown(_) => 2,
        OperateError::OtherFence { .. } | OperateError::Live { .. } => 4,
        OperateError::Ledger(error) => code_of_run(error),
        OperateError::Database(error) => code_of_database(error),
        OperateError::WrongState { .. }
        | OperateError::Newer { .. }
        | OperateError::NotHeld(_)
        | OperateError::Raced(_) => 1,
    }
}

fn code_of_look(error: &service_kit::ApiError) -> u8 {
    match error.code() {
        ErrorCode::DatabaseUnavailable | ErrorCode::UpstreamUnavailable => 7,
        _ => 1,
    }
}

/// A database that is away is something else than one that refuses.
fn code_of_database(error: &mongo_kit::DatabaseError) -> u8 {
    if mongo_kit::is_transient(&error.0) { 7 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_an_old_program_goes_on_writing_is_6() {
        let kind = RunErrorKind::Unverified { remaining: String::new(), is_stuck: false };
        let left = RunError { migration: Some("0001_first"), kind };
        assert_eq!(Failure::from(left).code(), 6);
    }

    #[test]
    fn a_database_that_is_away_is_7_and_one_that_refuses_is_1() {
        let away = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(Failure::from(mongodb::error::Error::from(away)).code(), 7);
        let refuses = mongodb::error::Error::custom("no");
        assert_eq!(Failure::from(refuses).code(), 1);
    }
}
