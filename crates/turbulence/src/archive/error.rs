//! Errors of exports, and of reading them.

use std::{io, path::Path};

/// An error of writing or reading the folder of an export.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("{folder} is not empty: choose a new folder for the export")]
    NotEmpty { folder: String },
    #[error("{path} is not a folder: choose another name for the export")]
    NotAFolder { path: String },
    #[error(
        "{folder} cannot be replaced by the folder of the export, since a disk is mounted there or the \
         command runs in it: choose a new folder, such as {folder}/export"
    )]
    NotReplaceable { folder: String },
    #[error(
        "{folder} is in the folder of media, {store}, whose files anyone can read: choose another folder \
         for the export"
    )]
    Public { folder: String, store: String },
    #[error(
        "another export writes to {folder}: wait until it has finished, or choose another folder"
    )]
    Busy { folder: String },
    #[error(
        "{folder}, which an export fills before it is renamed, has other files: move them, or choose \
         another folder for the export"
    )]
    Foreign { folder: String },
    #[error("cannot write {path}")]
    Write { path: String, source: io::Error },
    #[error(
        "the disk of {path} is full: free some space, or export to another disk; nothing is left of the export"
    )]
    DiskFull { path: String },
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    #[error(
        "{folder} is an export that was interrupted, and not whole: export again. Nothing was loaded"
    )]
    Interrupted { folder: String },
    #[error("{file} is damaged: {problem}. Use another copy of the export; nothing was loaded")]
    Damaged { file: String, problem: String },
    #[error(
        "{folder} was written by Turbulence {version}, which is newer than this program ({own}): \
         {reason}. Use that version or a newer one; nothing was loaded"
    )]
    Newer { folder: String, version: String, own: &'static str, reason: String },
    #[error("the database {database} has no site to export")]
    NoSite { database: String },
    #[error(
        "the MongoDB server remembers {window} of its history, and the export took longer: run \
         `db.adminCommand({{setParameter: 1, minSnapshotHistoryWindowInSeconds: 3600}})` on it as an \
         administrator for the time of the export, and export again; nothing is left of this one"
    )]
    HistoryLost { window: String },
    #[error(
        "the folder of media, {store}, has none of the files that the collection `media` names \
         ({count}): set `media.store` or --data-dir as the site has it, or leave the files out with \
         --without-media"
    )]
    NoMedia { store: String, count: usize },
    #[error("the folder of media cannot be used: {0}")]
    Media(String),
    /// The database or the folder of media has something that an import would overwrite.
    #[error(
        "an import of an export requires an empty database, and there are already: {names}. Nothing was \
         loaded. To start over, {start_over}"
    )]
    InTheWay { names: String, start_over: String },
    #[error(
        "the folder of media, {store}, has other files with the names of files of the export: {names}. \
         Move them, or choose another folder with `media.store`; nothing was loaded"
    )]
    MediaInTheWay { store: String, names: String },
    #[error("the collection {collection} of the export cannot be loaded; nothing was loaded")]
    Load { collection: String, source: mongo_kit::DatabaseError },
    #[error("interrupted")]
    Cancelled,
    #[error("MongoDB failed")]
    Database(#[source] mongo_kit::DatabaseError),
}

impl From<mongodb::error::Error> for ArchiveError {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Database(error.into())
    }
}

impl ArchiveError {
    /// Returns the error of a file that cannot be written.
    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        let path = path.display().to_string();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Write { path, source },
        }
    }

    /// Returns the error of a file that cannot be read.
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.display().to_string(), source }
    }

    /// Returns the error of a file that is not as it was written.
    pub(crate) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged { file: path.display().to_string(), problem: problem.into() }
    }
}
