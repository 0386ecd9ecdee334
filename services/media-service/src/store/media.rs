//! The collection `media`.
//!
//! A file has a document before it has content. The document is marked until the whole upload is stored,
//! and again while the file is removed, so that nothing is left of what is interrupted: later uploads
//! remove files that have been marked for a day.

use std::time::Duration;

use data_service::{Abort, server_clock, transact};
use futures_util::TryStreamExt;
use mongo_kit::{Connection, Writers, document::readable};
use mongodb::{
    ClientSession, Collection,
    bson::{self, Document, RawDocumentBuf, doc, oid},
    error::{Error, Result},
};
use service_kit::{runtime::clock::Clock, web::error::ApiError};

use super::{
    collections::COLLECTION,
    document::{IS_PENDING, StoredMedia, stored_date},
};

/// The time after which a marked file was abandoned: longer than any upload takes.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The most abandoned files that are removed at a time.
const MAX_ABANDONED: i64 = 20;

/// The collection `media`.
#[derive(Debug, Clone)]
pub(crate) struct MediaStore {
    collection: Collection<RawDocumentBuf>,
    writers: Writers,
    /// The clock of the database server.
    pub(crate) clock: Clock,
}

impl MediaStore {
    pub(crate) fn new(connection: &Connection) -> Self {
        Self {
            collection: connection.database().collection(COLLECTION),
            writers: connection.writers().clone(),
            clock: server_clock(connection),
        }
    }

    /// Adds a file whose content is not stored yet.
    pub(crate) async fn begin(&self, media: &StoredMedia) -> Result<()> {
        let documents = self.collection.clone_with_type::<StoredMedia>();
        documents.insert_one(media).await.map(drop)
    }

    /// Adds a file that is stored already, unless there is one of this name. Returns `true` if it was added.
    pub(crate) async fn adopt(&self, media: &StoredMedia) -> Result<bool> {
        let document = bson::serialize_to_document(media).map_err(Error::custom)?;
        let added = self
            .collection
            .update_one(doc! { "name": &media.name }, doc! { "$setOnInsert": document });
        match added.upsert(true).await {
            Ok(added) => Ok(added.upserted_id.is_some()),
            // Another one has added it.
            Err(error) if mongo_kit::is_duplicate_key(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Shows the files of an upload, all or none.
    pub(crate) async fn publish(&self, all: &[StoredMedia]) -> std::result::Result<(), ApiError> {
        let published = transact(&self.writers, async |session: &mut ClientSession| {
            for media in all {
                let change =
                    doc! { "$set": { "bytes": media.bytes }, "$unset": { IS_PENDING: "" } };
                let filter = doc! { "_id": media.id, IS_PENDING: true };
                let done =
                    self.collection.update_one(filter, change).session(&mut *session).await?;
                if done.matched_count == 0 {
                    let removed = "an upload was taken for an abandoned one";
                    return Err(Abort::Refused(ApiError::internal(removed)));
                }
            }
            Ok(())
        });
        Ok(published.await?)
    }

    /// Marks a file that is about to be removed. Returns `false` if it is not there any more.
    pub(crate) async fn mark(&self, id: oid::ObjectId) -> Result<bool> {
        let now = stored_date(self.clock.now());
        let change = doc! { "$set": { IS_PENDING: true, "updatedDate": now } };
        Ok(self.collection.update_one(doc! { "_id": id }, change).await?.matched_count > 0)
    }

    /// Forgets a file.
    pub(crate) async fn forget(&self, id: oid::ObjectId) -> Result<()> {
        self.collection.delete_one(doc! { "_id": id, IS_PENDING: true }).await.map(drop)
    }

    /// Returns some files of interrupted uploads and removals.
    pub(crate) async fn abandoned(&self) -> Result<Vec<StoredMedia>> {
        let before = stored_date(self.clock.now() - ABANDONED_AFTER);
        let filter = doc! { IS_PENDING: true, "updatedDate": { "$lt": before } };
        let documents = self.collection.find(filter).limit(MAX_ABANDONED).await?;
        Ok(read_all(&documents.try_collect::<Vec<_>>().await?))
    }
}

/// The place of a file in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) millis: i64,
    pub(crate) id: oid::ObjectId,
}

impl Position {
    pub(crate) fn of(media: &StoredMedia) -> Self {
        Self { millis: media.created_date.timestamp_millis(), id: media.id }
    }
}

/// The files of a list.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// A part of a name, title or text.
    pub(crate) text: Option<String>,
}

/// The fields that are searched.
const SEARCHED: [&str; 4] = ["name", "original_name", "title", "alt"];

impl Search {
    fn filter(&self) -> Document {
        let mut filter = doc! { IS_PENDING: { "$ne": true } };
        if let Some(text) = &self.text {
            let pattern = literal(text);
            let any = SEARCHED.map(|field| doc! { field: { "$regex": &pattern, "$options": "i" } });
            filter.insert("$or", any.to_vec());
        }
        filter
    }
}

/// Returns the regular expression of a text in which no character has a meaning.
fn literal(text: &str) -> String {
    let escaped =
        text.chars().map(|c| if c.is_ascii_punctuation() { format!("\\{c}") } else { c.into() });
    escaped.collect()
}

impl MediaStore {
    /// Returns files after a place of the list, newest first.
    pub(crate) async fn page(
        &self,
        search: &Search,
        after: Option<&Position>,
        limit: u32,
    ) -> Result<Vec<StoredMedia>> {
        let mut filter = search.filter();
        if let Some(Position { millis, id }) = after {
            let date = bson::DateTime::from_millis(*millis);
            let later = [
                doc! { "createdDate": { "$lt": date } },
                doc! { "createdDate": date, "_id": { "$lt": id } },
            ];
            filter = doc! { "$and": [filter, { "$or": later.to_vec() }] };
        }
        let order = doc! { "createdDate": -1, "_id": -1 };
        let documents = self.collection.find(filter).sort(order).limit(limit.into()).await?;
        Ok(read_all(&documents.try_collect::<Vec<_>>().await?))
    }

    /// Returns the number of files.
    pub(crate) async fn count(&self, search: &Search) -> Result<u64> {
        self.collection.count_documents(search.filter()).await
    }

    /// Returns a file, or `None` if there is none.
    pub(crate) async fn find(&self, id: oid::ObjectId) -> Result<Option<StoredMedia>> {
        let filter = doc! { "_id": id, IS_PENDING: { "$ne": true } };
        Ok(read_all(self.collection.find_one(filter).await?.as_slice()).pop())
    }

    /// Changes fields of a file. Returns it, or `None` if it was changed since it was read.
    pub(crate) async fn change(
        &self,
        before: &StoredMedia,
        mut changes: Document,
    ) -> Result<Option<StoredMedia>> {
        let filter = doc! {
            "_id": before.id, "updatedDate": before.updated_date, IS_PENDING: { "$ne": true },
        };
        changes.insert("updatedDate", stored_date(self.clock.now()));
        let changed = self.collection.update_one(filter, doc! { "$set": changes }).await?;
        if changed.matched_count == 0 { Ok(None) } else { self.find(before.id).await }
    }
}

/// Reads documents. Warns of those that cannot be read.
fn read_all(documents: &[RawDocumentBuf]) -> Vec<StoredMedia> {
    let read = |document: &RawDocumentBuf| {
        readable(mongo_kit::document::read::<StoredMedia>(COLLECTION, document))
    };
    documents.iter().filter_map(read).collect()
}
