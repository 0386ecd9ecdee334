//! Why a command ended without success, and its exit code.

use std::process::ExitCode;

use migrations::RunError;

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
    Bind(#[from] service_kit::server::BindError),
    #[error(transparent)]
    Service(#[from] data_service::StartupError),
    #[error(transparent)]
    Gateway(#[from] gateway::StartupError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Migration(#[from] RunError),
    #[error("MongoDB failed")]
    Database(#[source] mongo_kit::DatabaseError),
    #[error("the token cannot be kept in {file}")]
    Token { file: String, source: std::io::Error },
    #[error("something is left to migrate: `turbulence migrate plan` says what")]
    Unverified,
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
    /// The exit code: see the table in `docs/OPERATIONS.md`.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Migration(RunError::LeaseHeld(_)) => 4,
            Self::Migration(RunError::Unverified { .. }) | Self::Unverified => 6,
            Self::Migration(RunError::Dependency { .. }) => 7,
            Self::Migration(RunError::Interrupted) | Self::Interrupted => 130,
            _ => 1,
        })
    }
}
