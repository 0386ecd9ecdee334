//! Reading the documents of all collections at one time of the cluster.

use std::{collections::HashSet, time::Duration};

use futures_util::TryStreamExt;
use media_service::FileName;
use mongodb::{
    Database,
    bson::{RawDocument, RawDocumentBuf, Timestamp, doc},
    error::{Error as MongoError, ErrorKind},
};
use serde_json::value::RawValue;
use tokio::{sync::mpsc, task, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    archive::{
        databases::Databases,
        error::ArchiveError,
        folder::{COLLECTIONS_FOLDER, ExportFolder, Facts, HashedFile},
        line,
        manifest::{Collection, Documents, documents_path},
    },
    cli::Service,
    collections::collections,
    error::Error,
    progress, removal, render,
};

/// The size of the documents that are written at once, in bytes: bounds the memory of an export, together
/// with an answer of the server (16 MiB).
const CHUNK_BYTES: usize = 1024 * 1024;

/// The number of chunks that are read while one is written.
const CHUNKS_AHEAD: usize = 2;

/// The number of times that the documents are read from the beginning, because collections or indexes were
/// created at the same time. A start of the services does so for a moment.
const MAX_ATTEMPTS: u32 = 5;

/// The pause before another attempt.
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// Error code of a read of a time that the server does not remember any more (MongoDB manual, "Error
/// codes": `SnapshotTooOld`).
const SNAPSHOT_TOO_OLD: i32 = 239;

/// Error code of a read of a time before a collection or an index was created (`SnapshotUnavailable`).
const SNAPSHOT_UNAVAILABLE: i32 = 246;

/// The collections of a site.
pub(super) struct Contents {
    pub(super) collections: Vec<Collection>,
    /// The time that their documents are of.
    pub(super) at: Timestamp,
    /// The names of the files of media that the documents name.
    pub(super) media_names: HashSet<FileName>,
}

/// Writes the documents of all collections.
pub(super) async fn write_all(
    databases: &Databases,
    folder: &ExportFolder,
    shutdown: &CancellationToken,
) -> Result<Contents, Error> {
    let mut attempt = 1;
    loop {
        match try_write_all(databases, folder, shutdown).await {
            Err(Error::Archive(ArchiveError::Database(error)))
                if has_code(&error.0, SNAPSHOT_UNAVAILABLE) && attempt < MAX_ATTEMPTS =>
            {
                tracing::info!(attempt, "collections or indexes were created: reading again");
                attempt += 1;
                folder.remove_folder(COLLECTIONS_FOLDER)?;
                tokio::select! {
                    () = sleep(ATTEMPT_PAUSE) => {}
                    () = shutdown.cancelled() => return Err(Error::Interrupted),
                }
            }
            Err(Error::Archive(ArchiveError::Database(error)))
                if has_code(&error.0, SNAPSHOT_TOO_OLD) =>
            {
                let window = history_window(databases).await;
                return Err(ArchiveError::HistoryLost { window }.into());
            }
            result => return result,
        }
    }
}

fn has_code(error: &MongoError, code: i32) -> bool {
    matches!(&*error.kind, ErrorKind::Command(command) if command.code == code)
}

/// Returns the time that the server remembers, for a message.
async fn history_window(databases: &Databases) -> String {
    let admin = databases.main.client().database("admin");
    let parameter = "minSnapshotHistoryWindowInSeconds";
    let answer = admin.run_command(doc! { "getParameter": 1, parameter: 1 }).await;
    match answer.ok().and_then(|answer| answer.get_i32(parameter).ok()) {
        Some(seconds) => render::counted(seconds, "second", "seconds"),
        None => "some minutes".to_owned(),
    }
}

async fn try_write_all(
    databases: &Databases,
    folder: &ExportFolder,
    shutdown: &CancellationToken,
) -> Result<Contents, Error> {
    let mut found = describe(databases).await?;
    let at = present(&found).await?;
    // A collection that was created in between may have documents of the same transactions.
    let names = |found: &[Found<'_>]| -> Vec<_> {
        found.iter().map(|one| (one.database.name().to_owned(), one.name.clone())).collect()
    };
    loop {
        let again = describe(databases).await?;
        if names(&again) == names(&found) {
            break;
        }
        found = again;
    }
    let mut contents = Contents { collections: Vec::new(), at, media_names: HashSet::new() };
    for one in found {
        let documents = match one.is_skipped {
            true => None,
            false => Some(one.write(folder, &mut contents, shutdown).await?),
        };
        contents.collections.push(one.into_collection(documents)?);
    }
    Ok(contents)
}

/// A collection of a service.
struct Found<'a> {
    service: Service,
    database: &'a Database,
    name: String,
    options: RawDocumentBuf,
    indexes: Vec<RawDocumentBuf>,
    is_skipped: bool,
}

/// Returns the collections of the services that exist.
async fn describe(databases: &Databases) -> Result<Vec<Found<'_>>, Error> {
    let mut found: Vec<Found<'_>> = Vec::new();
    for service in Service::ALL {
        let database = databases.of(service);
        let list = database.run_cursor_command(doc! { "listCollections": 1 }).await?;
        let list: Vec<RawDocumentBuf> = list.with_type().try_collect().await?;
        for one in collections(Some(service)) {
            let skipped = removal::without_earlier(database, one, one.transient()).await?;
            for name in one.all() {
                // Services share some of their collections.
                let is_known = |other: &Found<'_>| {
                    other.name == name && other.database.name() == database.name()
                };
                if found.iter().any(is_known) {
                    continue;
                }
                let is_named =
                    |one: &&RawDocumentBuf| one.get_str("name").is_ok_and(|one| one == name);
                let Some(description) = list.iter().find(is_named) else { continue };
                let options = description.get_document("options").map(RawDocument::to_owned);
                let options = options.unwrap_or_default();
                let indexes = database.run_cursor_command(doc! { "listIndexes": &name }).await?;
                let indexes: Vec<RawDocumentBuf> = indexes.with_type().try_collect().await?;
                let is_of_id =
                    |index: &RawDocumentBuf| index.get_str("name").is_ok_and(|name| name == "_id_");
                let indexes = indexes.into_iter().filter(|index| !is_of_id(index)).collect();
                let is_skipped = skipped.contains(&name);
                found.push(Found { service, database, name, options, indexes, is_skipped });
            }
        }
    }
    Ok(found)
}

/// Returns the latest time that a majority of the servers has.
async fn present(found: &[Found<'_>]) -> Result<Timestamp, Error> {
    let Some(first) = found.first() else {
        return Err(ArchiveError::NoSite { database: String::new() }.into());
    };
    let find = doc! {
        "find": &first.name, "limit": 1, "singleBatch": true, "readConcern": { "level": "snapshot" },
    };
    let answer = first.database.run_command(find).await.map_err(ArchiveError::from)?;
    let at = answer.get_document("cursor").and_then(|cursor| cursor.get_timestamp("atClusterTime"));
    Ok(at.map_err(MongoError::custom)?)
}

impl Found<'_> {
    /// Writes the documents.
    async fn write(
        &self,
        folder: &ExportFolder,
        contents: &mut Contents,
        shutdown: &CancellationToken,
    ) -> Result<Documents, Error> {
        let Self { database, name, .. } = self;
        let file = folder.file(&documents_path(name))?;
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let writing = task::spawn_blocking(move || write_chunks(file, chunks));
        let count = self.read(contents, &sender, shutdown).await;
        drop(sender);
        let written = writing.await.unwrap_or_else(|_| Err(Error::Panicked));
        // If writing has failed, so has sending.
        let Facts { bytes, sha256 } = written?;
        let count = count?;
        let collection = name.as_str();
        tracing::info!(database = database.name(), collection, count, bytes, "collection written");
        Ok(Documents { count, bytes, sha256 })
    }

    /// Sends the documents in chunks, and returns their number.
    async fn read(
        &self,
        contents: &mut Contents,
        chunks: &mpsc::Sender<Vec<RawDocumentBuf>>,
        shutdown: &CancellationToken,
    ) -> Result<u64, Error> {
        let Self { database, name, .. } = self;
        let total = database.collection::<RawDocumentBuf>(name).estimated_document_count().await?;
        let bar = progress::documents(&format!("Writing {name}"), total);
        let is_media = self.service == Service::Media && name == media_service::COLLECTION;
        // In the order in which the server stores them, which an import keeps.
        let find = doc! {
            "find": name, "readConcern": { "level": "snapshot", "atClusterTime": contents.at },
        };
        let failed = |error: MongoError| Error::from(ArchiveError::from(error));
        let documents = database.run_cursor_command(find).await.map_err(failed)?;
        let mut documents = documents.with_type::<RawDocumentBuf>();
        let (mut count, mut chunk, mut chunk_bytes) = (0, Vec::new(), 0);
        loop {
            let document = tokio::select! {
                document = documents.try_next() => document.map_err(failed)?,
                () = shutdown.cancelled() => return Err(Error::Interrupted),
            };
            let is_last = document.is_none();
            if let Some(document) = document {
                if is_media {
                    contents.media_names.extend(media_service::file_names(&document));
                }
                count += 1;
                chunk_bytes += document.as_bytes().len();
                chunk.push(document);
            }
            if is_last || chunk_bytes >= CHUNK_BYTES {
                chunk_bytes = 0;
                bar.set_position(count);
                if chunks.send(std::mem::take(&mut chunk)).await.is_err() {
                    // Writing has failed, and returns the error.
                    return Ok(count);
                }
            }
            if is_last {
                return Ok(count);
            }
        }
    }

    fn into_collection(self, documents: Option<Documents>) -> Result<Collection, Error> {
        Ok(Collection {
            name: self.name,
            service: self.service.name().to_owned(),
            database: self.database.name().to_owned(),
            options: json(&self.options)?,
            indexes: self.indexes.iter().map(|index| json(index)).collect::<Result<_, _>>()?,
            documents,
        })
    }
}

/// Returns a document as a value of the manifest.
fn json(document: &RawDocument) -> Result<Box<RawValue>, Error> {
    let mut text = String::new();
    line::encode(document, &mut text);
    Ok(RawValue::from_string(text.trim_end().to_owned())?)
}

/// Writes chunks of documents until there are no more.
fn write_chunks(
    mut file: HashedFile,
    mut chunks: mpsc::Receiver<Vec<RawDocumentBuf>>,
) -> Result<Facts, Error> {
    let mut text = String::new();
    while let Some(chunk) = chunks.blocking_recv() {
        for document in chunk {
            text.clear();
            line::encode(&document, &mut text);
            file.write(text.as_bytes())?;
        }
    }
    Ok(file.finish()?)
}
