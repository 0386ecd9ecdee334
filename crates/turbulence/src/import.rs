//! `turbulence import`: loading a site's collections, all of them or none, into an empty database,
//! once.
//!
//! Every document of every file is read before anything is written. [`source`] finds the files,
//! [`documents`] reads them, [`mod@load`] writes.

mod documents;
mod error;
mod extended_json;
mod load;
mod source;
#[cfg(test)]
mod tests;
mod unique_ids;

use std::{path::Path, process::ExitCode};

use tokio_util::sync::CancellationToken;

use crate::{cli, database::Database, failure::Failure, lines::Lines};
pub(crate) use error::ImportError;
pub(crate) use source::Source;

/// The collections of a site.
const COLLECTIONS: [&str; 5] = ["sections", "stories", "projects", "pages", "users"];

/// The largest document of MongoDB in bytes (MongoDB manual, "Limits and Thresholds"), and the
/// longest text of one in JSON.
const MAX_DOCUMENT_BYTES: usize = 16 * 1024 * 1024;

/// The most levels of documents and arrays that MongoDB stores, the document itself included: below
/// it, 20 less than the 200 that it can read (`BSONDepth::getMaxDepthForUserStorage` of its source).
const MAX_DEPTH: usize = 181;

/// The result of a load.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// No source was named.
    Nothing,
    /// The database had content already.
    Skipped {
        collection: &'static str,
        /// The ways to load it all the same.
        start_over: String,
    },
    /// These collections, with their numbers of documents.
    Collections {
        counts: Vec<(&'static str, u64)>,
        /// The names of files beside them that hold no documents.
        unread: Vec<String>,
    },
}

/// Runs `turbulence import`.
pub(crate) async fn run(
    arguments: &cli::Import,
    shutdown: CancellationToken,
) -> Result<ExitCode, Failure> {
    let data_dir = &arguments.database.data_dir;
    let database = Database::open(&arguments.database, &shutdown).await?;
    let source = Source::Folder(arguments.folder.clone());
    let result = tokio::select! {
        result = load(&database, data_dir, source) => result.map_err(Failure::from),
        // What is staged is no part of the site; a renaming that has begun is completed later.
        () = shutdown.cancelled() => Err(Failure::Interrupted),
    };
    let closed = database.close().await;
    let mut lines = Lines::default();
    let said = result?.describe();
    for (place, line) in said.iter().enumerate() {
        if place == 0 {
            _ = writeln!(lines, "Loaded {line}. The next start links it to its sections.");
        } else {
            _ = writeln!(lines, "{line}");
        }
    }
    lines.print();
    closed?;
    Ok(ExitCode::SUCCESS)
}

/// Loads the source, unless the database has content already.
pub(crate) async fn load_once(
    database: &Database,
    data_dir: &Path,
    source: Option<Source>,
) -> Result<Loaded, ImportError> {
    let Some(source) = source else {
        load::finish_interrupted(database.connection.database()).await?;
        return Ok(Loaded::Nothing);
    };
    match load(database, data_dir, source).await {
        Err(ImportError::NotEmpty { collection, start_over }) => {
            Ok(Loaded::Skipped { collection, start_over })
        }
        result => result,
    }
}

async fn load(database: &Database, data_dir: &Path, source: Source) -> Result<Loaded, ImportError> {
    let target = database.connection.database();
    load::finish_interrupted(target).await?;
    let listing = load::blocking(move || source.list()).await?;
    if let Some(collection) = load::not_empty(target, &listing).await? {
        let start_over = database.start_over(data_dir);
        return Err(ImportError::NotEmpty { collection, start_over });
    }
    let counts = load::load(target, &listing).await?;
    Ok(Loaded::Collections { counts, unread: listing.unread })
}

impl Loaded {
    /// Returns lines for a person; none if no source was named.
    pub(crate) fn describe(&self) -> Vec<String> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Skipped { collection, start_over } => vec![
                format!("nothing: the collection {collection} has content already"),
                format!("To start over, {start_over}"),
            ],
            Self::Collections { counts, unread } => {
                let counts = counts.iter().map(|(name, count)| format!("{count} {name}"));
                let mut lines = vec![counts.collect::<Vec<_>>().join(", ")];
                if !unread.is_empty() {
                    lines.push(format!(
                        "Not loaded, since no documents are in it: {}",
                        unread.join(", ")
                    ));
                }
                lines
            }
        }
    }
}
