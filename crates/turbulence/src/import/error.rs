//! Errors of an import. After each of them the database is as it was before.

use std::io;

use super::document::Place;

/// The formats that are loaded, for messages.
const FORMATS: &str = "*.jsonl, *.ndjson, *.json or *.bson, each optionally followed by .gz";

/// An error of an import.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// A file or the folder cannot be opened or listed.
    #[error("cannot read {what}")]
    Read { what: String, source: io::Error },
    /// The path does not lead to a folder.
    #[error("{name} is {kind}, not a folder: {remedy}")]
    NotAFolder { name: String, kind: &'static str, remedy: &'static str },
    /// The folder has nothing to load.
    #[error("{folder} contains no file to load: expected {collections} as {FORMATS}")]
    NoFiles { folder: String, collections: String },
    /// The folder contains several folders, each of which may be the site.
    #[error("{folder} contains several folders: choose one of them, such as `{example}`")]
    SeveralFolders { folder: String, example: String },
    /// Some entries of the folder cannot be loaded. An import never ignores an entry silently.
    #[error(
        "{folder} contains entries that cannot be loaded: {entries}. Move them out of the folder: only \
         {collections} can be loaded, as {FORMATS}; nothing was loaded"
    )]
    Unloadable { folder: String, entries: String, collections: String },
    /// Two files contain the same collection.
    #[error(
        "{first} and {second} both contain {collection}: remove one of them; nothing was loaded"
    )]
    TwoFiles { first: String, second: String, collection: &'static str },
    /// A document cannot be read or loaded.
    #[error("{file}, {place}: {problem}; nothing was loaded")]
    Document { file: String, place: Place, problem: String },
    /// The database has documents in a collection that would be loaded.
    #[error("the collection {collection} is not empty")]
    NotEmpty { collection: &'static str },
    /// The staging collections do not contain the documents that were read.
    #[error(
        "another import into the same database is running: wait until it has finished; nothing was \
         loaded"
    )]
    Concurrent,
    /// A collection has got documents during the import.
    #[error(
        "the collection {collection} has got documents during the import: stop the services of the site, \
         delete it if its documents can be lost, and import again; nothing was loaded"
    )]
    Filled { collection: String },
    /// The same after an import was killed while it renamed its collections.
    #[error(
        "an import that was interrupted cannot be completed, since the collection {collection} has got \
         documents: stop the services of the site, delete it if its documents can be lost, and run the \
         same command again. To give up that import, delete the collections whose names begin with \
         `turbulence_import`"
    )]
    NotCompleted { collection: String },
    /// MongoDB failed.
    #[error("nothing was loaded, because MongoDB failed")]
    Database(#[source] mongo_kit::DatabaseError),
}

impl From<mongodb::error::Error> for ImportError {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Database(error.into())
    }
}
