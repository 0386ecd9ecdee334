//! The reasons why nothing was loaded.

use std::io;

use super::{documents::Place, source::FORMATS};

/// The reason why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// A file or the folder cannot be opened or listed.
    #[error("cannot read {what}")]
    Read { what: String, source: io::Error },
    /// The folder is a file or something else.
    #[error("{name} is {kind}, and no folder: {remedy}")]
    NoFolder { name: String, kind: &'static str, remedy: &'static str },
    /// The folder has nothing to load.
    #[error(
        "{folder} has no file to load: there should be sections, stories, projects, pages or users \
         as {FORMATS}"
    )]
    NoFiles { folder: String },
    /// The folder holds several folders, each of which may be meant.
    #[error("{folder} holds several folders: name one of them, such as `{example}`")]
    SeveralFolders { folder: String, example: String },
    /// Some entries of the folder are not loaded, and none is ignored silently.
    #[error(
        "{folder} contains what cannot be loaded: {entries}. Move it out of the folder: only sections, \
         stories, projects, pages and users are loaded, as {FORMATS}; nothing was loaded"
    )]
    Unloadable { folder: String, entries: String },
    /// Two files have the same collection.
    #[error("{first} and {second} both hold {collection}: remove one; nothing was loaded")]
    TwoFiles { first: String, second: String, collection: &'static str },
    /// A document cannot be read or loaded.
    #[error("{file}, {place}: {problem}; nothing was loaded")]
    Document { file: String, place: Place, problem: String },
    /// The database has content.
    #[error(
        "the collection {collection} is not empty, and an import only loads into an empty \
         database; nothing was loaded. To start over, {start_over}"
    )]
    NotEmpty { collection: &'static str, start_over: String },
    /// The staged documents are not those that were read.
    #[error("another import runs into the same database: let it finish; nothing was loaded")]
    NotAlone,
    /// MongoDB failed.
    #[error("MongoDB failed while documents were loaded; nothing was loaded")]
    Database(#[source] mongo_kit::DatabaseError),
}

impl From<mongodb::error::Error> for ImportError {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Database(error.into())
    }
}
