//! `turbulence export`: writes all data and media of a site to a folder.
//!
//! All documents are of one time of the cluster, so that each transaction is in the export as a whole or
//! not at all. [`collections`] reads them, [`files`] copies the files of media, and [`crate::archive`] is
//! the folder.

mod collections;
pub(crate) mod files;

use std::{collections::BTreeMap, process::ExitCode};

use chrono::{DateTime, Utc};
use media_service::Files;
use mongodb::{
    bson::{Document, doc},
    error::Error as MongoError,
};
use ring::digest::{SHA256, digest};
use service_kit::runtime::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::{
    archive::{
        databases::Databases,
        error::ArchiveError,
        folder::{ExportFolder, hex},
        manifest::{ClusterTime, FORMAT, FORMAT_VERSION, Head, Manifest},
    },
    cli,
    database::{Database, NewSite},
    error::Error,
    lines::Lines,
    migrate::engines::Engines,
    render,
};
use collections::Contents;
use files::{Copies, media_error, media_store};

/// Runs `turbulence export`.
pub(crate) async fn run(
    arguments: &cli::Export,
    shutdown: CancellationToken,
) -> Result<ExitCode, Error> {
    // A folder that cannot be used is reported before a server is started.
    let folder = ExportFolder::create(&arguments.folder)?;
    let database = Database::open(&arguments.database, NewSite::Refuse, &shutdown).await?;
    let result = write(arguments, &database, folder, &shutdown).await;
    let described = database.describe(&arguments.database.data_dir);
    let closed = database.close().await;
    let manifest = result?;
    summary(&manifest, &arguments.folder.display().to_string(), &described).print();
    closed?;
    Ok(ExitCode::SUCCESS)
}

async fn write(
    arguments: &cli::Export,
    database: &Database,
    folder: ExportFolder,
    shutdown: &CancellationToken,
) -> Result<Manifest, Error> {
    let databases = Databases::new(database.connection.database(), &arguments.databases)?;
    if let Some(database) = databases.without_site().await? {
        return Err(ArchiveError::NoSite { database }.into());
    }
    database.check_collections(None).await?;
    let store = media_store(&database.settings, &arguments.database);
    let files = Files::open_existing(&store).map_err(media_error)?;
    if files.as_ref().is_some_and(|files| folder.is_within(files.folder())) {
        let folder = arguments.folder.display().to_string();
        return Err(ArchiveError::Public { folder, store }.into());
    }
    database.keep_history().await?;
    let admin = database.connection.client().database("admin");
    let hello = admin.run_command(doc! { "hello": 1 }).await?;
    let build = admin.run_command(doc! { "buildInfo": 1 }).await?;
    let exported_at = Clock::system().now();

    // Files first: those that are added until the documents are read are copied after them.
    let mut copies = None;
    if !arguments.without_media {
        let mut opened = Copies::new(store, files);
        opened.copy_all(&folder, shutdown).await?;
        copies = Some(opened);
    }
    let Contents { collections, at, media_names } =
        collections::write_all(&databases, &folder, shutdown).await?;
    let media = match &mut copies {
        None => None,
        Some(copies) => Some(copies.finish(&media_names, &folder, shutdown).await?),
    };

    let manifest = Manifest {
        head: Head {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        exported_at,
        server_time: server_time(&hello)?,
        server_version: build.get_str("version").unwrap_or_default().to_owned(),
        cluster_time: ClusterTime { t: at.time, i: at.increment },
        migrations: migrations(&Engines::of_database(database)?),
        collections,
        media,
    };
    write_manifest(&manifest, &folder)?;
    folder.complete()?;
    Ok(manifest)
}

/// Returns the time of a server by its answer to `hello`.
fn server_time(hello: &Document) -> Result<DateTime<Utc>, MongoError> {
    let time = hello.get_datetime("localTime").map_err(MongoError::custom)?;
    let time = DateTime::from_timestamp_millis(time.timestamp_millis());
    time.ok_or_else(|| MongoError::custom("the server has no time"))
}

/// Returns the migrations of this program by service, with their revisions.
pub(crate) fn migrations(engines: &Engines) -> BTreeMap<String, BTreeMap<String, i32>> {
    let all = engines.selected().map(|engine| {
        let migrations = engine.revisions().map(|(id, revision)| (id.to_owned(), revision));
        (engine.service().to_owned(), migrations.collect())
    });
    all.collect()
}

fn write_manifest(manifest: &Manifest, folder: &ExportFolder) -> Result<(), Error> {
    let text = format!("{}\n", serde_json::to_string_pretty(manifest)?);
    let mut file = folder.file("manifest.json")?;
    file.write(text.as_bytes())?;
    file.finish()?;
    let sha256 = hex(digest(&SHA256, text.as_bytes()).as_ref());
    let mut file = folder.file("manifest.sha256")?;
    file.write(format!("{sha256}  manifest.json\n").as_bytes())?;
    file.finish()?;
    Ok(())
}

/// Describes the export.
fn summary(manifest: &Manifest, folder: &str, database: &str) -> Lines {
    let mut lines = Lines::default();
    let documents = manifest.collections.iter().filter_map(|one| one.documents.as_ref());
    let count: u64 = documents.clone().map(|documents| documents.count).sum();
    let (documents, count) = (documents.count(), render::counted(count, "document", "documents"));
    let collections = render::counted(documents as u64, "collection", "collections");
    let media = match &manifest.media {
        Some(media) => render::counted(media.count, "file of media", "files of media"),
        None => "no files of media".to_owned(),
    };
    _ = writeln!(
        lines,
        "Exported {count} of {collections} and {media} from {database} to {folder}, as of {}.",
        manifest.server_time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    );
    _ = writeln!(
        lines,
        "It has secrets of webhooks and addresses of users: keep it where only you can read it."
    );
    lines
}
