//! Loading an export: the same documents, options, indexes and files of media.
//!
//! As with other imports, the documents are staged and renamed at the end, so that everything is loaded
//! or nothing. An import that was killed is begun again by the same command, or completed if it had begun
//! to rename. The files of media are stored before that; those that are there already are kept.

use std::{collections::BTreeMap, io::Read, sync::Arc};

use futures_util::TryStreamExt;
use media_service::{FileName, Files};
use mongodb::{
    Collection, Database,
    bson::{
        Bson, Document, RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf, Timestamp, cstr, doc,
        rawdoc,
    },
    error::{Error as MongoError, ErrorKind, Result as MongoResult},
};
use ring::digest::{Context, SHA256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    error::ImportError,
    load::{self, CHUNK_BYTES, CHUNK_DOCUMENTS, CHUNKS_AHEAD, staging_name},
};
use crate::{
    archive::{
        databases::Databases,
        error::ArchiveError,
        folder::hex,
        line,
        manifest::{self, MediaFile},
        reader::{Archive, open_file},
    },
    cli::Service,
    collections::all_names,
    error::Error,
    export::files::media_error,
    progress,
};

/// The number of names that a message has at most.
const MAX_NAMED: usize = 10;

/// Error code of a collection that exists (MongoDB manual, "Error codes": `NamespaceExists`).
const NAMESPACE_EXISTS: i32 = 48;

/// The place that an export is loaded into.
pub(crate) struct Target<'a> {
    pub(crate) databases: &'a Databases,
    /// The folder of media, as a setting names it.
    pub(crate) media_store: String,
    /// The migrations that this program knows, by service, with their revisions.
    pub(crate) migrations: BTreeMap<String, BTreeMap<String, i32>>,
    /// The ways to start over, for a message.
    pub(crate) start_over: String,
}

/// Checks an export and the place that it is loaded into, without writing anything.
pub(crate) async fn check(
    target: &Target<'_>,
    archive: &Arc<Archive>,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    refuse_newer(&target.migrations, archive)?;
    refuse_occupied(target, archive).await?;
    let (checked, shutdown) = (Arc::clone(archive), shutdown.clone());
    let checking = tokio::task::spawn_blocking(move || checked.check(&shutdown));
    checking.await.unwrap_or(Err(ArchiveError::Cancelled))?;
    refuse_other_media(target, archive).await
}

/// Loads an export that was checked.
pub(crate) async fn load(
    target: &Target<'_>,
    archive: &Archive,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    for database in target.databases.all() {
        load::drop_staged(database).await?;
    }
    match stage(target, archive, shutdown).await {
        Ok(()) => {}
        // The staged documents are those of the other one.
        Err(error @ Error::Import(ImportError::Concurrent)) => return Err(error),
        Err(error) => {
            for database in target.databases.all() {
                if let Err(error) = load::drop_staged(database).await {
                    tracing::warn!(%error, "the staged documents are removed by the next import");
                }
            }
            return Err(error);
        }
    }
    load::begin_renaming(&target.databases.main, marker(target, archive)?).await?;
    load::complete_renaming(&target.databases.main).await?;
    Ok(())
}

/// Refuses an export of a program with migrations that this one does not know: the services would refuse
/// the ledger.
fn refuse_newer(
    known: &BTreeMap<String, BTreeMap<String, i32>>,
    archive: &Archive,
) -> Result<(), Error> {
    for (service, migrations) in &archive.manifest.migrations {
        for (id, revision) in migrations {
            let own = known.get(service).and_then(|known| known.get(id));
            let reason = match own {
                None => format!("the migration {id} of {service} is not known here"),
                Some(own) if own < revision => format!(
                    "the migration {id} of {service} has the revision {revision}, and {own} here"
                ),
                Some(_) => continue,
            };
            let (folder, version) =
                (archive.display(), archive.manifest.head.program_version.clone());
            let own = env!("CARGO_PKG_VERSION");
            return Err(ArchiveError::Newer { folder, version, own, reason }.into());
        }
    }
    Ok(())
}

/// Refuses databases that have collections of a site, or with the names of those of the export.
async fn refuse_occupied(target: &Target<'_>, archive: &Archive) -> Result<(), Error> {
    let mut occupied = Vec::new();
    for service in Service::ALL {
        let database = target.databases.of(service);
        let existing = database.list_collection_names().await?;
        let exported = archive.manifest.collections.iter();
        let exported = exported.filter(|one| one.service == service.name());
        let mut names = all_names(Some(service));
        names.extend(exported.map(|one| one.name.clone()));
        for name in names.into_iter().filter(|name| existing.contains(name)) {
            let name = format!("{}.{name}", database.name());
            if !occupied.contains(&name) {
                occupied.push(name);
            }
        }
    }
    if occupied.is_empty() {
        return Ok(());
    }
    let (names, start_over) = (listed(&occupied), target.start_over.clone());
    Err(ArchiveError::InTheWay { names, start_over }.into())
}

/// Refuses a folder of media that has other files with the names of those of the export.
async fn refuse_other_media(target: &Target<'_>, archive: &Archive) -> Result<(), Error> {
    if archive.manifest.media.is_none() {
        return Ok(());
    }
    let store = &target.media_store;
    let Some(files) = Files::open_existing(store).map_err(media_error)? else { return Ok(()) };
    let mut others = Vec::new();
    for file in archive.media()? {
        let file = file?;
        if stored(&files, &file).await? == Stored::Other {
            others.push(file.name);
        }
    }
    if others.is_empty() {
        return Ok(());
    }
    let (store, names) = (store.clone(), listed(&others));
    Err(ArchiveError::MediaInTheWay { store, names }.into())
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMED) {
        0 => shown,
        rest => format!("{shown} and {rest} more"),
    }
}

/// Returns the names of all staged collections.
fn marker(target: &Target<'_>, archive: &Archive) -> Result<Document, Error> {
    let (mut own, mut others) = (Vec::new(), Document::new());
    for collection in &archive.manifest.collections {
        let database = database_of(target, collection)?.name();
        let name = Bson::from(&collection.name);
        if database == target.databases.main.name() {
            own.push(name);
        } else if let Ok(names) = others.get_array_mut(database) {
            names.push(name);
        } else {
            others.insert(database, vec![name]);
        }
    }
    Ok(doc! { "collections": own, "others": others })
}

/// Returns the database that a collection is loaded into.
fn database_of<'a>(
    target: &Target<'a>,
    collection: &manifest::Collection,
) -> Result<&'a Database, Error> {
    match Service::from_name(&collection.service) {
        Some(service) => Ok(target.databases.of(service)),
        None => Err(Error::Usage(format!(
            "the export has a collection of a service that this program does not have: {}",
            collection.service
        ))),
    }
}

async fn stage(
    target: &Target<'_>,
    archive: &Archive,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    for collection in &archive.manifest.collections {
        let database = database_of(target, collection)?;
        stage_collection(database, archive, collection, shutdown).await?;
    }
    store_media(target, archive, shutdown).await?;
    for collection in &archive.manifest.collections {
        // Two concurrent imports insert into the same staging collections.
        let expected = collection.documents.as_ref().map_or(0, |documents| documents.count);
        let staged = database_of(target, collection)?
            .collection::<RawDocumentBuf>(&staging_name(&collection.name));
        if staged.count_documents(doc! {}).await? != expected {
            return Err(ImportError::Concurrent.into());
        }
    }
    Ok(())
}

/// Creates a collection with its options, documents and indexes under its staging name.
async fn stage_collection(
    database: &Database,
    archive: &Archive,
    collection: &manifest::Collection,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let name = staging_name(&collection.name);
    let failed = |error: MongoError| {
        let collection = collection.name.clone();
        Error::from(ArchiveError::Load { collection, source: error.into() })
    };
    let damaged = |problem| ArchiveError::damaged(&archive.path("manifest.json"), problem);
    let mut create = RawDocumentBuf::new();
    create.append(cstr!("create"), name.as_str());
    let options = line::decode(collection.options.get()).map_err(damaged)?;
    for field in &options {
        let (name, value) = field.map_err(|error| damaged(error.to_string()))?;
        create.append(name, value);
    }
    database.run_raw_command(create).await.map_err(|error| match &*error.kind {
        ErrorKind::Command(command) if command.code == NAMESPACE_EXISTS => {
            ImportError::Concurrent.into()
        }
        _ => failed(error),
    })?;
    if let Some(documents) = &collection.documents {
        let count = insert(database, archive, collection, shutdown).await?;
        if count != documents.count {
            let problem = format!("it has {count} documents instead of {}", documents.count);
            let path = archive.path(&collection.path());
            return Err(ArchiveError::damaged(&path, problem).into());
        }
        tracing::info!(collection = collection.name, count, "collection loaded");
    }
    if collection.indexes.is_empty() {
        return Ok(());
    }
    let mut indexes = RawArrayBuf::new();
    for index in &collection.indexes {
        indexes.push(line::decode(index.get()).map_err(damaged)?);
    }
    let mut command = RawDocumentBuf::new();
    command.append(cstr!("createIndexes"), name.as_str());
    command.append(cstr!("indexes"), indexes);
    // Earlier servers stored options that have no meaning, such as `safe`, and later ones refuse them.
    command.append(cstr!("ignoreUnknownIndexOptions"), true);
    let _spinner = progress::spinner(format!("Building the indexes of {}", collection.name));
    database.run_raw_command(command).await.map_err(failed)?;
    Ok(())
}

/// Inserts the documents of a collection, reading ahead at the same time. Returns their number.
async fn insert(
    database: &Database,
    archive: &Archive,
    collection: &manifest::Collection,
    shutdown: &CancellationToken,
) -> Result<u64, Error> {
    let bytes = collection.documents.as_ref().map_or(0, |documents| documents.bytes);
    let bar = progress::bytes(&format!("Loading {}", collection.name), bytes);
    let documents = archive.read(collection, &bar)?;
    let (sender, mut chunks) = mpsc::channel(CHUNKS_AHEAD);
    let reading = tokio::task::spawn_blocking(move || send_chunks(documents, &sender));
    let staging = database.collection::<RawDocumentBuf>(&staging_name(&collection.name));
    let inserted = async {
        let mut count = 0;
        while let Some(chunk) = chunks.recv().await {
            if shutdown.is_cancelled() {
                return Err(Error::Interrupted);
            }
            count += chunk.len() as u64;
            let result = insert_chunk(database, &staging, chunk).await;
            result.map_err(|error| {
                let collection = collection.name.clone();
                Error::from(ArchiveError::Load { collection, source: error.into() })
            })?;
        }
        Ok(count)
    };
    let inserted = inserted.await;
    // Ends the reading if inserting has failed.
    drop(chunks);
    let read = reading.await.unwrap_or(Err(Error::Panicked));
    let count = inserted?;
    read?;
    Ok(count)
}

/// Sends documents in chunks.
fn send_chunks(
    documents: impl Iterator<Item = Result<RawDocumentBuf, ArchiveError>>,
    sender: &mpsc::Sender<Vec<RawDocumentBuf>>,
) -> Result<(), Error> {
    let (mut chunk, mut chunk_bytes) = (Vec::new(), 0);
    for document in documents {
        let document = document?;
        chunk_bytes += document.as_bytes().len();
        chunk.push(document);
        if chunk_bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_DOCUMENTS {
            chunk_bytes = 0;
            if sender.blocking_send(std::mem::take(&mut chunk)).is_err() {
                // Inserting has failed, and returns the error.
                return Ok(());
            }
        }
    }
    if !chunk.is_empty() {
        // Fails for the same reason.
        let _ = sender.blocking_send(chunk);
    }
    Ok(())
}

/// Inserts documents as they are, whatever a validator of the collection says: they were stored before.
async fn insert_chunk(
    database: &Database,
    staging: &Collection<RawDocumentBuf>,
    chunk: Vec<RawDocumentBuf>,
) -> MongoResult<()> {
    let altered: Vec<_> = chunk.iter().filter(|one| is_altered(one)).cloned().collect();
    staging.insert_many(chunk).bypass_document_validation(true).await?;
    for document in altered {
        // An update by a pipeline stores every value as it is.
        let id = document.get("_id")?.unwrap_or(RawBsonRef::Null);
        let update = rawdoc! {
            "q": { "_id": { "$eq": id } }, "u": [{ "$replaceWith": { "$literal": document.clone() } }],
        };
        let command = rawdoc! {
            "update": staging.name(), "updates": [update], "bypassDocumentValidation": true,
        };
        let answer = database.run_raw_command(command).await?;
        if answer.get_i32("nModified").ok() != Some(1) {
            return Err(MongoError::custom(format!("an empty timestamp was not stored: {answer}")));
        }
    }
    Ok(())
}

/// Returns `true` for a document with an empty timestamp, in place of which the server inserts the present
/// time (MongoDB manual, "Timestamps").
fn is_altered(document: &RawDocument) -> bool {
    let empty = RawBsonRef::Timestamp(Timestamp { time: 0, increment: 0 });
    document.iter().flatten().any(|(name, value)| name.as_str() != "_id" && value == empty)
}

/// A file of the export in the folder of media.
#[derive(Debug, PartialEq, Eq)]
enum Stored {
    Absent,
    Same,
    Other,
}

async fn stored(files: &Files, file: &MediaFile) -> Result<Stored, Error> {
    let name = name_of(file)?;
    match files.facts(&name).await.map_err(media_error)? {
        None => Ok(Stored::Absent),
        Some(facts) if facts.bytes != file.bytes => Ok(Stored::Other),
        Some(_) => match digest_of(files, &name, file.bytes).await? == file.sha256 {
            true => Ok(Stored::Same),
            false => Ok(Stored::Other),
        },
    }
}

async fn digest_of(files: &Files, name: &FileName, bytes: u64) -> Result<String, Error> {
    let mut digest = Context::new(&SHA256);
    if bytes > 0 {
        let mut parts = files.read(name, 0..bytes).await.map_err(media_error)?;
        while let Some(part) = parts.try_next().await.map_err(media_error)? {
            digest.update(&part);
        }
    }
    Ok(hex(digest.finish().as_ref()))
}

fn name_of(file: &MediaFile) -> Result<FileName, Error> {
    Ok(file.name.parse().map_err(media_error)?)
}

/// Stores the files of media that are not there yet. Each is visible as a whole or not at all.
async fn store_media(
    target: &Target<'_>,
    archive: &Archive,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let Some(media) = &archive.manifest.media else { return Ok(()) };
    if media.count == 0 {
        return Ok(());
    }
    let files = Files::open(&target.media_store).map_err(media_error)?;
    let bar = progress::bytes("Storing media", media.bytes);
    for file in archive.media()? {
        let file = file?;
        if stored(&files, &file).await? == Stored::Absent {
            store(&files, archive, &file, shutdown).await?;
        }
        bar.inc(file.bytes);
    }
    tracing::info!(files = media.count, "media stored");
    Ok(())
}

async fn store(
    files: &Files,
    archive: &Archive,
    file: &MediaFile,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let name = name_of(file)?;
    let path = archive.path(&file.path());
    let mut source = open_file(&path)?;
    let mut writer = files.writer(&name).await.map_err(media_error)?;
    let mut part = vec![0; 256 * 1024];
    loop {
        let read = match source.read(&mut part) {
            Ok(_) if shutdown.is_cancelled() => Err(Error::Interrupted),
            Ok(read) => Ok(read),
            Err(error) => Err(ArchiveError::read(&path, error).into()),
        };
        let written = match read {
            Ok(0) => break,
            Ok(read) => {
                writer.write(&part[..read]).await.map_err(|error| media_error(error).into())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            writer.abort().await;
            return Err(error);
        }
    }
    writer.finish().await.map_err(media_error)?;
    Ok(())
}
