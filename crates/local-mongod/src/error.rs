//! The errors, in words for the person who started the program.

use std::{
    io,
    path::{Path, PathBuf},
};

const PORT_TAKEN: &str = "Address already in use";

/// The reason why there is no running mongod.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No usable mongod was found, and none could be downloaded.
    #[error(
        "no MongoDB server is available: {reason}.\n\
         To fix this: install MongoDB 6.0 or newer so that `mongod` is on PATH; or set \
         TURBULENCE_MONGOD to the path of a `mongod`; or pass --mongodb-uri with the address of a \
         running replica set."
    )]
    Unavailable {
        /// The failure.
        reason: String,
    },
    /// Another process runs a mongod on the data folder.
    #[error(
        "the data folder {} is in use by another process: end that process, or choose another folder",
        dir.display()
    )]
    InUse {
        /// The data folder.
        dir: PathBuf,
    },
    /// mongod ended by itself before it was ready.
    #[error("mongod ended while it was starting: {reason}")]
    Ended {
        /// The last error of mongod's log, or else its exit status.
        reason: String,
    },
    /// mongod runs, but does not become a primary.
    #[error("mongod was not ready after {seconds} s: {reason}")]
    NotReady {
        /// The timeout.
        seconds: u64,
        /// The last obstacle.
        reason: String,
    },
    /// No node of a replica set becomes the primary in time.
    #[error("the replica set has had no primary for {seconds} s")]
    NoPrimary {
        /// The timeout.
        seconds: u64,
    },
    /// The primary of a replica set refuses to step down.
    #[error("the primary does not step down")]
    StepDown(#[source] mongodb::error::Error),
    /// No node of a replica set has this port.
    #[error("no node of the replica set is on port {port}")]
    NoSuchNode {
        /// The requested port.
        port: u16,
    },
    /// mongod did not end after SIGKILL.
    #[error("mongod (process {pid}) does not end, even after SIGKILL")]
    NotStopped {
        /// Its process id.
        pid: u32,
    },
    /// The client that sets up the replica set cannot be created.
    #[error("cannot create a client for mongod")]
    Client(#[source] mongodb::error::Error),
    /// A file or process operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The operation, a verb.
        action: &'static str,
        /// The file or program.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_owned(), source }
    }

    pub(crate) fn is_port_taken(&self) -> bool {
        matches!(self, Self::Ended { reason } if reason.contains(PORT_TAKEN))
    }
}
