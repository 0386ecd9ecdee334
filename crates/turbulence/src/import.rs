//! `turbulence import`: loads the collections of a site, all or none, into an empty database.
//!
//! Every document of every file is read and checked before anything is written. [`source`] finds the
//! files, [`input`] reads their documents, [`load`] writes them.

mod bson;
mod document;
pub(crate) mod error;
mod extended_json;
mod input;
mod json;
mod limits;
pub(crate) mod load;
pub(crate) mod source;
#[cfg(test)]
mod tests;
mod unique_ids;

use std::{path::Path, process::ExitCode};

use tokio_util::sync::CancellationToken;

use crate::{
    cli,
    database::{Database, NewSite},
    error::Error,
    lines::Lines,
    render,
};
use error::ImportError;
use load::Loaded;
use source::Source;

/// Runs `turbulence import`.
pub(crate) async fn run(
    arguments: &cli::Import,
    shutdown: CancellationToken,
) -> Result<ExitCode, Error> {
    let data_dir = &arguments.database.data_dir;
    let database = Database::open(&arguments.database, NewSite::Ask, &shutdown).await?;
    let source = Source::Folder(arguments.folder.clone());
    let result = tokio::select! {
        result = load::load(database.connection.database(), source) => {
            result.map_err(|error| explain(error, &database, data_dir))
        }
        // Staged documents are not part of the site; the next start completes a renaming that has
        // begun.
        () = shutdown.cancelled() => Err(Error::Interrupted),
    };
    let (name, addresses) =
        (database.connection.database().name().to_owned(), database.connection.addresses());
    let closed = database.close().await;
    let loaded = result?;
    let mut lines = Lines::default();
    _ = writeln!(
        lines,
        "Loaded {} into the database {name} at {addresses}. The next start links it to its sections.",
        counts(&loaded)
    );
    lines.append(&ignored(&loaded));
    lines.print();
    closed?;
    Ok(ExitCode::SUCCESS)
}

/// Loads the source before a start, unless the database has content, and completes an interrupted
/// import. Returns lines about the result.
pub(crate) async fn load_at_start(
    database: &Database,
    data_dir: &Path,
    source: Option<Source>,
) -> Result<Lines, Error> {
    let target = database.connection.database();
    let mut lines = Lines::default();
    let Some(source) = source else {
        load::complete_renaming(target).await?;
        return Ok(lines);
    };
    match load::load(target, source).await {
        Ok(loaded) => {
            _ = writeln!(lines, "{}", counts(&loaded));
            lines.append(&ignored(&loaded));
        }
        Err(ImportError::NotEmpty { collection }) => {
            _ = writeln!(lines, "nothing: the collection {collection} already has documents");
            _ = writeln!(lines, "To start over, {}", database.start_over(data_dir));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(lines)
}

/// Adds the ways to start over to the error about a database that is not empty.
fn explain(error: ImportError, database: &Database, data_dir: &Path) -> Error {
    match error {
        ImportError::NotEmpty { collection } => {
            Error::NotEmpty { collection, start_over: database.start_over(data_dir) }
        }
        error => error.into(),
    }
}

/// Returns the numbers of loaded documents, such as `9 stories, 3 projects`.
fn counts(loaded: &Loaded) -> String {
    let counts = loaded.counts.iter();
    let counts =
        counts.map(|(collection, count)| format!("{count} {}", render::noun(*count, collection)));
    counts.collect::<Vec<_>>().join(", ")
}

/// Returns a line about the files that were not loaded, if there are any.
fn ignored(loaded: &Loaded) -> Lines {
    let mut lines = Lines::default();
    if !loaded.ignored.is_empty() {
        let names = loaded.ignored.join(", ");
        _ = writeln!(lines, "Not loaded, since these files contain no documents: {names}");
    }
    lines
}
