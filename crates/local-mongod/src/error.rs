//! What can go wrong, in words for the person who started the program.

use std::{
    io,
    path::{Path, PathBuf},
};

const PORT_TAKEN: &str = "Address already in use";

/// Why there is no running mongod.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No usable mongod was found, nor could one be fetched.
    #[error(
        "no MongoDB server can be had: {reason}.\n\
         Ways out: install MongoDB 6.0 or newer so that `mongod` is on PATH; or set \
         TURBULENCE_MONGOD to the path of a `mongod`; or pass --mongodb-uri with the address of a \
         running replica set."
    )]
    Unavailable {
        /// What failed.
        reason: String,
    },
    /// Another process runs a mongod on the data folder.
    #[error(
        "the data folder {} is in use by another process: end that one, or choose another folder",
        dir.display()
    )]
    InUse {
        /// The data folder.
        dir: PathBuf,
    },
    /// mongod ended by itself instead of getting ready.
    #[error("mongod ended while it was starting: {reason}")]
    Ended {
        /// mongod's last words, or else its exit status.
        reason: String,
    },
    /// mongod runs, but does not become a primary.
    #[error("mongod was not ready after {seconds} s: {reason}")]
    NotReady {
        /// How long it had.
        seconds: u64,
        /// What hindered it last.
        reason: String,
    },
    /// No node of a replica set becomes the primary.
    #[error("the replica set has had no primary for {seconds} s")]
    NoPrimary {
        /// How long it had.
        seconds: u64,
    },
    /// The primary of a replica set refuses to step down.
    #[error("the primary does not step down")]
    StepDown(#[source] mongodb::error::Error),
    /// No node of a replica set has this port.
    #[error("no node of the replica set is on port {port}")]
    NoSuchNode {
        /// The port that was asked for.
        port: u16,
    },
    /// mongod survived being killed.
    #[error("mongod (process {pid}) does not end, even when killed")]
    NotStopped {
        /// Its process id.
        pid: u32,
    },
    /// The client that sets up the replica set cannot be made.
    #[error("cannot make a client for mongod")]
    Client(#[source] mongodb::error::Error),
    /// A file or process operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
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
