//! Loading documents into MongoDB: all of them or none.
//!
//! The documents go to staging collections, and when all are there, these are renamed to what they
//! are. A note in the database says that the renaming has begun, so that a start after a kill at
//! that very moment completes it.

use std::collections::HashSet;

use mongodb::{
    Collection, Database as Mongo,
    bson::{Bson, Document, RawDocumentBuf, doc},
    options::WriteConcern,
};
use tokio::{sync::mpsc, task};

use super::{
    collections, documents::Input, error::ImportError, source::Listing, unique_ids::UniqueIds,
};
use crate::progress;

/// The size of the documents in bytes that are inserted at once: bounds the memory of a load.
const CHUNK_BYTES: usize = 1024 * 1024;

/// The most documents that are inserted at once.
const CHUNK_DOCUMENTS: usize = 10_000;

/// How many chunks may wait while one is inserted.
const CHUNKS_AHEAD: usize = 1;

/// The note that renaming has begun.
const NOTE: &str = "turbulence_import";

/// Returns the first of the collections to load that has documents already.
pub(super) async fn not_empty(
    database: &Mongo,
    listing: &Listing,
) -> Result<Option<&'static str>, ImportError> {
    for input in &listing.inputs {
        if is_not_empty(&database.collection(input.collection)).await? {
            return Ok(Some(input.collection));
        }
    }
    Ok(None)
}

/// Loads all inputs into empty collections, and returns the number of documents of each collection.
pub(super) async fn load(
    database: &Mongo,
    listing: &Listing,
) -> Result<Vec<(&'static str, u64)>, ImportError> {
    let inputs = &listing.inputs;
    for input in inputs {
        let input = input.clone();
        blocking(move || check(&input)).await?;
    }
    drop_staged(database).await?;
    let mut loaded = Vec::new();
    for input in inputs {
        match stage(database, input).await {
            Ok(count) => loaded.push((input.collection, count)),
            Err(error) => {
                if let Err(error) = drop_staged(database).await {
                    tracing::warn!(%error, "the next load removes what this one has staged");
                }
                return Err(error);
            }
        }
    }
    for (collection, count) in &loaded {
        // Two imports at once would stage into each other's collections.
        if database.collection::<Document>(&staging(collection)).count_documents(doc! {}).await?
            != *count
        {
            return Err(ImportError::NotAlone);
        }
    }
    let names: Vec<_> = inputs.iter().map(|input| input.collection).collect();
    let note = doc! { "_id": "renaming", "collections": names };
    notes(database).insert_one(note).write_concern(WriteConcern::majority()).await?;
    finish_interrupted(database).await?;
    Ok(loaded)
}

/// Completes the renaming of staged collections, if it has begun.
pub(super) async fn finish_interrupted(database: &Mongo) -> Result<(), ImportError> {
    let Some(note) = notes(database).find_one(doc! { "_id": "renaming" }).await? else {
        return Ok(());
    };
    let existing: HashSet<_> = database.list_collection_names().await?.into_iter().collect();
    let names = note.get_array("collections").into_iter().flatten().filter_map(Bson::as_str);
    for name in names.filter(|name| existing.contains(&staging(name))) {
        let target = database.collection(name);
        if !is_not_empty(&target).await? {
            // It may exist with indexes, which the next start builds anew. One with documents stays,
            // and the renaming fails.
            target.drop().await?;
        }
        let full = |name: &str| format!("{}.{name}", database.name());
        let rename = doc! {
            "renameCollection": full(&staging(name)),
            "to": full(name),
            "writeConcern": { "w": "majority" },
        };
        database.client().database("admin").run_command(rename).await?;
    }
    notes(database).drop().await?;
    Ok(())
}

fn notes(database: &Mongo) -> Collection<Document> {
    database.collection(NOTE)
}

fn staging(collection: &str) -> String {
    format!("{NOTE}_{collection}")
}

async fn is_not_empty(collection: &Collection<Document>) -> Result<bool, ImportError> {
    Ok(collection.find_one(doc! {}).projection(doc! { "_id": 1 }).await?.is_some())
}

/// Removes what a load that failed or was killed has left.
async fn drop_staged(database: &Mongo) -> mongodb::error::Result<()> {
    for collection in collections() {
        database.collection::<Document>(&staging(collection)).drop().await?;
    }
    Ok(())
}

/// Runs work that reads files on a thread that may wait for them.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImportError> + Send + 'static,
) -> Result<T, ImportError> {
    match task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(ImportError::Read {
                what: "the files".to_owned(),
                source: std::io::Error::other(error),
            }),
        },
    }
}

/// Reads everything once, so that a document that cannot be loaded is found before anything is
/// written.
fn check(input: &Input) -> Result<(), ImportError> {
    let bar = progress::bytes(&format!("Reading {}", input.collection), input.bytes);
    let mut ids = UniqueIds::default();
    for located in input.documents(&bar)? {
        let located = located?;
        let Ok(Some(id)) = located.document.get("_id") else { continue };
        if !ids.insert(id) {
            let id = Bson::try_from(id).unwrap_or(Bson::Null);
            return Err(input.error(located.place, format!("a second document with the _id {id}")));
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Inserts all documents of an input into its staging collection, and reads on meanwhile.
async fn stage(database: &Mongo, input: &Input) -> Result<u64, ImportError> {
    let staging = database.collection::<RawDocumentBuf>(&staging(input.collection));
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
        tracing::info!(collection = input.collection, count, "loaded");
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
                // Inserting has failed, and says why.
                return Ok(count);
            }
        }
    }
    if !chunk.is_empty() {
        // As above.
        let _ = sender.blocking_send(chunk);
    }
    bar.finish_and_clear();
    Ok(count)
}
