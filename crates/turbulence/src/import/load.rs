//! Loading documents into MongoDB: all of them or none.
//!
//! The documents are inserted into staging collections, which are renamed to their final names once
//! all are complete. A marker in the database records that the renaming has begun, so that the next
//! start completes it if the process is killed during it.

use std::{collections::HashSet, io};

use mongodb::{
    Collection, Database,
    bson::{Bson, Document, RawDocumentBuf, doc},
    options::WriteConcern,
};
use tokio::{sync::mpsc, task};

use super::{
    error::ImportError,
    input::Input,
    source::{Listing, Source},
    unique_ids::UniqueIds,
};
use crate::progress;

/// Size of the documents in bytes that are inserted at once: bounds the memory of an import.
pub(super) const CHUNK_BYTES: usize = 1024 * 1024;

/// Maximum number of documents that are inserted at once.
pub(super) const CHUNK_DOCUMENTS: usize = 10_000;

/// Number of chunks that are read ahead while one is inserted.
pub(super) const CHUNKS_AHEAD: usize = 1;

/// The collection of the marker, and the prefix of the staging collections.
const MARKERS: &str = "turbulence_import";

/// The documents that were loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The loaded collections with their numbers of documents.
    pub(crate) counts: Vec<(&'static str, u64)>,
    /// The names of files without documents, which were not loaded.
    pub(crate) ignored: Vec<String>,
}

/// Loads the collections of a source, each of which has to be empty in the database.
pub(crate) async fn load(database: &Database, source: Source) -> Result<Loaded, ImportError> {
    complete_renaming(database).await?;
    let listing = check_all(database, source).await?;
    let counts = load_checked(database, &listing).await?;
    Ok(Loaded { counts, ignored: listing.ignored })
}

/// Checks all documents of a source, and that the collections are empty, without writing anything.
pub(super) async fn check_all(database: &Database, source: Source) -> Result<Listing, ImportError> {
    let listing = blocking(move || source.list()).await?;
    for input in &listing.inputs {
        let collection = input.collection;
        if !is_empty(&database.collection(collection)).await? {
            return Err(ImportError::NotEmpty { collection });
        }
    }
    for input in &listing.inputs {
        let input = input.clone();
        blocking(move || check(&input)).await?;
    }
    Ok(listing)
}

async fn load_checked(
    database: &Database,
    listing: &Listing,
) -> Result<Vec<(&'static str, u64)>, ImportError> {
    drop_staged(database).await?;
    let mut counts = Vec::new();
    for input in &listing.inputs {
        match stage(database, input).await {
            Ok(count) => counts.push((input.collection, count)),
            Err(error) => {
                if let Err(error) = drop_staged(database).await {
                    tracing::warn!(%error, "the staged documents are removed by the next import");
                }
                return Err(error);
            }
        }
    }
    for (collection, count) in &counts {
        // Two concurrent imports insert into the same staging collections.
        let staged = database.collection::<Document>(&staging_name(collection));
        if staged.count_documents(doc! {}).await? != *count {
            return Err(ImportError::Concurrent);
        }
    }
    let names: Vec<_> = listing.inputs.iter().map(|input| input.collection).collect();
    begin_renaming(database, doc! { "collections": names }).await?;
    complete_renaming(database).await?;
    Ok(counts)
}

/// Records that all documents are staged: from now on, the import is completed by whoever finds that.
/// `marker` has the names of the collections, and in `others` those of further databases by their names.
/// Fails if one of the collections has got documents during the import.
pub(super) async fn begin_renaming(
    database: &Database,
    mut marker: Document,
) -> Result<(), ImportError> {
    let staged = staged_of(database, &marker);
    if let Some(collection) = filled(&staged).await? {
        for (database, _) in &staged {
            drop_staged(database).await?;
        }
        return Err(ImportError::Filled { collection });
    }
    marker.insert("_id", "renaming");
    markers(database).insert_one(marker).write_concern(WriteConcern::majority()).await?;
    Ok(())
}

/// Completes the renaming of staged collections. Returns `false` if none has begun.
pub(crate) async fn complete_renaming(database: &Database) -> Result<bool, ImportError> {
    let Some(marker) = markers(database).find_one(doc! { "_id": "renaming" }).await? else {
        return Ok(false);
    };
    let staged = staged_of(database, &marker);
    // Before any is renamed: a site is loaded as a whole or not at all.
    if let Some(collection) = filled(&staged).await? {
        return Err(ImportError::NotCompleted { collection });
    }
    for (database, names) in &staged {
        rename_staged(database, names).await?;
    }
    markers(database).drop().await?;
    Ok(true)
}

/// Returns the databases of a marker with the names of their collections, the one with the marker last.
fn staged_of(database: &Database, marker: &Document) -> Vec<(Database, Vec<String>)> {
    let names = |names: &[Bson]| names.iter().filter_map(Bson::as_str).map(str::to_owned).collect();
    let others = marker.get_document("others").into_iter().flatten();
    let others = others.filter_map(|(other, all)| {
        Some((database.client().database(other), names(all.as_array()?)))
    });
    let own = marker.get_array("collections").map(|all| names(all)).unwrap_or_default();
    others.chain([(database.clone(), own)]).collect()
}

/// Returns the full name of a collection that has documents although its staged one has not been renamed.
async fn filled(staged: &[(Database, Vec<String>)]) -> mongodb::error::Result<Option<String>> {
    for (database, names) in staged {
        let existing = database.list_collection_names().await?;
        for name in names.iter().filter(|name| existing.contains(&staging_name(name))) {
            if !is_empty(&database.collection(name)).await? {
                return Ok(Some(format!("{}.{name}", database.name())));
            }
        }
    }
    Ok(None)
}

async fn rename_staged(database: &Database, names: &[String]) -> Result<(), ImportError> {
    let existing: HashSet<_> = database.list_collection_names().await?.into_iter().collect();
    for name in names.iter().filter(|name| existing.contains(&staging_name(name))) {
        let target = database.collection(name);
        if is_empty(&target).await? {
            // It may exist with indexes, which the next start builds again. A collection with
            // documents remains, and the renaming fails.
            target.drop().await?;
        }
        let full_name = |name: &str| format!("{}.{name}", database.name());
        let rename = doc! {
            "renameCollection": full_name(&staging_name(name)),
            "to": full_name(name),
            "writeConcern": { "w": "majority" },
        };
        database.client().database("admin").run_command(rename).await?;
    }
    Ok(())
}

fn markers(database: &Database) -> Collection<Document> {
    database.collection(MARKERS)
}

/// Returns the name of a collection before an import is complete.
pub(super) fn staging_name(collection: &str) -> String {
    format!("{MARKERS}_{collection}")
}

async fn is_empty(collection: &Collection<Document>) -> mongodb::error::Result<bool> {
    Ok(collection.find_one(doc! {}).projection(doc! { "_id": 1 }).await?.is_none())
}

/// Returns the names of the collections of imports that are not complete.
pub(crate) async fn staged_names(database: &Database) -> mongodb::error::Result<Vec<String>> {
    let mut names = database.list_collection_names().await?;
    let prefix = staging_name("");
    names.retain(|name| name.starts_with(&prefix) || name == MARKERS);
    Ok(names)
}

/// Removes the staging collections of an import that failed or was killed.
pub(super) async fn drop_staged(database: &Database) -> mongodb::error::Result<()> {
    let names = staged_names(database).await?;
    // The marker belongs to one that is complete.
    for collection in names.into_iter().filter(|name| name != MARKERS) {
        database.collection::<Document>(&collection).drop().await?;
    }
    Ok(())
}

/// Runs work that reads files on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImportError> + Send + 'static,
) -> Result<T, ImportError> {
    match task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(ImportError::Read {
                what: "the files".to_owned(),
                source: io::Error::other(error),
            }),
        },
    }
}

/// Reads all documents once, so that one that cannot be loaded is found before anything is written.
fn check(input: &Input) -> Result<(), ImportError> {
    let bar = progress::bytes(&format!("Reading {}", input.collection), input.bytes);
    let mut ids = UniqueIds::default();
    for located in input.documents(&bar)? {
        let located = located?;
        let Ok(Some(id)) = located.document.get("_id") else { continue };
        if !ids.insert(id) {
            let id = Bson::try_from(id).unwrap_or(Bson::Null);
            let problem = format!("another document has the same _id, {id}");
            return Err(input.error(located.place, problem));
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Inserts all documents of an input into its staging collection, reading ahead at the same time.
/// Returns their number.
async fn stage(database: &Database, input: &Input) -> Result<u64, ImportError> {
    let staging = database.collection::<RawDocumentBuf>(&staging_name(input.collection));
    let (sender, mut chunks) = mpsc::channel::<Vec<RawDocumentBuf>>(CHUNKS_AHEAD);
    let reading = blocking({
        let input = input.clone();
        move || read_chunks(&input, &sender)
    });
    let inserting = async move {
        while let Some(chunk) = chunks.recv().await {
            staging.insert_many(chunk).await?;
        }
        Ok(())
    };
    // If inserting fails, the receiver is dropped with it, and reading ends.
    let (count, inserted) = tokio::join!(reading, inserting);
    inserted.and(count).inspect(|count| {
        tracing::info!(collection = input.collection, count, "collection loaded");
    })
}

/// Sends the documents in chunks, and returns their number.
fn read_chunks(
    input: &Input,
    sender: &mpsc::Sender<Vec<RawDocumentBuf>>,
) -> Result<u64, ImportError> {
    let bar = progress::bytes(&format!("Loading {}", input.collection), input.bytes);
    let (mut count, mut chunk, mut chunk_bytes) = (0, Vec::new(), 0);
    for located in input.documents(&bar)? {
        let document = located?.document;
        count += 1;
        chunk_bytes += document.as_bytes().len();
        chunk.push(document);
        if chunk_bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_DOCUMENTS {
            chunk_bytes = 0;
            if sender.blocking_send(std::mem::take(&mut chunk)).is_err() {
                // Inserting has failed, and returns the error.
                return Ok(count);
            }
        }
    }
    if !chunk.is_empty() {
        // Fails for the same reason.
        let _ = sender.blocking_send(chunk);
    }
    bar.finish_and_clear();
    Ok(count)
}
