//! `turbulence import`: loads an export ([`restore`]) or the collections of a site, all or none, into an
//! empty database.
//!
//! Every document of every file is read and checked before anything is written. [`source`] finds the
//! files, [`input`] reads their documents, [`load`] writes them.

mod bson;
mod document;
pub(crate) mod error;
pub(crate) mod extended_json;
mod input;
mod json;
pub(crate) mod limits;
pub(crate) mod load;
mod restore;
pub(crate) mod source;
#[cfg(test)]
mod tests;
mod unique_ids;

use std::{path::Path, process::ExitCode, sync::Arc};

use chrono::SecondsFormat;
use tokio_util::sync::CancellationToken;

use crate::{
    archive::{databases::Databases, error::ArchiveError, reader::Archive},
    cli,
    collections::site_names,
    database::{Database, NewSite},
    error::Error,
    export::{self, files::media_store},
    lines::Lines,
    migrate::engines::Engines,
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
    // A folder that cannot be loaded is reported before a server is started.
    let archive = Archive::open(&arguments.folder)?;
    let database = Database::open(&arguments.database, NewSite::Ask, &shutdown).await?;
    let result = match archive {
        Some(archive) => import_export(arguments, &database, archive, &shutdown).await,
        None => tokio::select! {
            result = import_files(arguments, &database) => result,
            // Staged documents are not part of the site; the next start completes a renaming that has
            // begun.
            () = shutdown.cancelled() => Err(Error::Interrupted),
        },
    };
    let closed = database.close().await;
    result?.print();
    closed?;
    Ok(ExitCode::SUCCESS)
}

/// Loads files of other programs. Returns lines about the result.
async fn import_files(arguments: &cli::Import, database: &Database) -> Result<Lines, Error> {
    if !arguments.databases.databases_of.is_empty() {
        let wrong = "`--database-of` is for exports of `turbulence export`: other files are loaded into \
                     the database that `--database` names";
        return Err(Error::Usage(wrong.to_owned()));
    }
    let target = database.connection.database();
    let source = Source::Folder(arguments.folder.clone());
    let loaded = match arguments.dry_run {
        true => load::check_all(target, source).await.map(|listing| (None, listing.ignored)),
        false => {
            load::load(target, source).await.map(|loaded| (Some(counts(&loaded)), loaded.ignored))
        }
    };
    let data_dir = &arguments.database.data_dir;
    let (counts, ignored) = loaded.map_err(|error| explain(error, database, data_dir))?;
    let (name, addresses) = (target.name(), database.connection.addresses());
    let mut lines = match counts {
        Some(counts) => Lines::from(format_args!(
            "Loaded {counts} into the database {name} at {addresses}. The next start links it to its \
             sections."
        )),
        None => Lines::from(format_args!(
            "All files can be loaded into the database {name} at {addresses}. Nothing was written."
        )),
    };
    lines.append(&ignored_files(&ignored));
    Ok(lines)
}

/// Loads an export. Returns lines about the result.
async fn import_export(
    arguments: &cli::Import,
    database: &Database,
    archive: Archive,
    shutdown: &CancellationToken,
) -> Result<Lines, Error> {
    let archive = Arc::new(archive);
    let main = database.connection.database();
    let databases = Databases::new(main, &arguments.databases)?;
    let target = restore_target(&arguments.database, database, &databases)?;
    let place = format!("{} at {}", main.name(), database.connection.addresses());
    if !arguments.dry_run && load::complete_renaming(main).await? {
        return Ok(Lines::from(format_args!(
            "An import into the database {place} that was interrupted is complete now. Nothing else was \
             loaded."
        )));
    }
    restore::check(&target, &archive, shutdown).await?;
    let what = exported(&archive);
    if arguments.dry_run {
        return Ok(Lines::from(format_args!(
            "The export is whole, and can be loaded into the database {place}: {what}. Nothing was \
             written."
        )));
    }
    restore::load(&target, &archive, shutdown).await?;
    Ok(Lines::from(format_args!("Loaded {what} into the database {place}.")))
}

/// Returns the place that an export is loaded into.
fn restore_target<'a>(
    options: &cli::Database,
    database: &Database,
    databases: &'a Databases,
) -> Result<restore::Target<'a>, Error> {
    Ok(restore::Target {
        databases,
        media_store: media_store(&database.settings, options),
        migrations: export::migrations(&Engines::of_database(database)?),
        start_over: database.start_over(&options.data_dir),
    })
}

/// Describes the content of an export.
fn exported(archive: &Archive) -> String {
    let mut parts = Vec::new();
    let mut others = 0;
    for (collection, documents) in archive.documents() {
        match site_names().into_iter().find(|name| *name == collection.name) {
            Some(name) => {
                parts.push(format!("{} {}", documents.count, render::noun(documents.count, name)));
            }
            None => others += documents.count,
        }
    }
    parts.push(render::counted(others, "other document", "other documents"));
    match &archive.manifest.media {
        Some(media) => parts.push(render::counted(media.count, "file of media", "files of media")),
        None => parts.push("no files of media, which the export lacks".to_owned()),
    }
    let at = archive.manifest.server_time.to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("the export as of {at} ({})", parts.join(", "))
}

/// Loads the source before a start, unless the database has content, and completes an interrupted
/// import. Returns lines about the result.
pub(crate) async fn load_at_start(
    database: &Database,
    options: &cli::Database,
    source: Option<Source>,
    shutdown: &CancellationToken,
) -> Result<Lines, Error> {
    let target = database.connection.database();
    let data_dir = &options.data_dir;
    load::complete_renaming(target).await?;
    let Some(source) = source else { return Ok(Lines::default()) };
    let mut lines = Lines::default();
    let loaded = match &source {
        Source::Folder(folder) => match Archive::open(folder)? {
            Some(archive) => {
                let archive = Arc::new(archive);
                let databases = Databases::of_one(target);
                let target = restore_target(options, database, &databases)?;
                let loaded = match restore::check(&target, &archive, shutdown).await {
                    Ok(()) => restore::load(&target, &archive, shutdown).await,
                    Err(error) => Err(error),
                };
                loaded.map(|()| (exported(&archive), Vec::new()))
            }
            None => import_at_start(target, source).await,
        },
        Source::Demo => import_at_start(target, source).await,
    };
    match loaded {
        Ok((counts, ignored)) => {
            _ = writeln!(lines, "{counts}");
            lines.append(&ignored_files(&ignored));
        }
        Err(Error::Import(ImportError::NotEmpty { collection })) => {
            _ = writeln!(lines, "nothing: the collection {collection} already has documents");
            _ = writeln!(lines, "To start over, {}", database.start_over(data_dir));
        }
        Err(Error::Archive(ArchiveError::InTheWay { names, start_over })) => {
            _ = writeln!(lines, "nothing: there are already {names}");
            _ = writeln!(lines, "To start over, {start_over}");
        }
        Err(error) => return Err(error),
    }
    Ok(lines)
}

async fn import_at_start(
    target: &mongodb::Database,
    source: Source,
) -> Result<(String, Vec<String>), Error> {
    let loaded = load::load(target, source).await?;
    Ok((counts(&loaded), loaded.ignored))
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
fn ignored_files(ignored: &[String]) -> Lines {
    let mut lines = Lines::default();
    if !ignored.is_empty() {
        let names = ignored.join(", ");
        _ = writeln!(lines, "Not loaded, since these files contain no documents: {names}");
    }
    lines
}
