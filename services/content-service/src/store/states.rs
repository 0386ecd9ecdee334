//! Items as they are and as they were, as far as that decides who sees them and where.
//!
//! A former state is read from the history that the server keeps of each document for five minutes
//! (`minSnapshotHistoryWindowInSeconds`), with `readConcern: snapshot`. It needs no more rights than any
//! read, and no pre-images.

use std::{collections::HashMap, time::Duration};

use futures_util::TryStreamExt;
use mongo_kit::{feed::timestamp, lenient, with_time_limit};
use mongodb::{
    bson::{Document, RawDocumentBuf, doc},
    error::{Error, ErrorKind, Result},
};

use super::{
    content::ContentStore,
    ids::ById,
    kind::{Kind, Reading, SLUG},
};

/// The fields that [`ItemState`] follows from, beside the one that the public looks an item up by.
const FIELDS: [&str; 7] =
    ["is_published", "deleted", "section_id", "status", "draft", "published", "visibility"];

/// The longest time for reading some documents by their ids.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Errors of a read of a time that the server does not remember (MongoDB manual, "Error codes"):
/// `SnapshotTooOld`, `SnapshotUnavailable`, `InvalidOptions`, `ReadConcernMajorityNotEnabled`,
/// `NotImplemented`.
const FORGOTTEN: &[i32] = &[239, 246, 72, 148, 238];

/// The state of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ItemState {
    /// `true` if the public sees the item unless its section hides it.
    pub(crate) is_public: bool,
    /// `true` if the item is in the trash.
    pub(crate) is_deleted: bool,
    /// The `section_id`.
    pub(crate) section: Option<String>,
    /// The text by which the public looks the item up.
    pub(crate) address: Option<String>,
    /// The slug.
    pub(crate) slug: Option<String>,
}

impl<K: Kind> ContentStore<K> {
    /// Returns the items with these ids as they are, or as they were at a time of the cluster.
    pub(crate) async fn states(
        &self,
        ids: &[&str],
        at: Option<u64>,
    ) -> Result<HashMap<String, ItemState>> {
        let stored: Vec<_> = ids.iter().flat_map(|id| lenient::id_candidates(id)).collect();
        let mut projection = doc! { K::ADDRESS.field(): 1, SLUG: 1 };
        projection.extend(FIELDS.iter().map(|field| ((*field).to_owned(), 1.into())));
        let filter = doc! { "_id": { "$in": stored } };
        let collection = self.collection.clone();
        let read = async move {
            match at {
                None => collection.find(filter).projection(projection).await?.try_collect().await,
                Some(at) => {
                    let namespace = collection.namespace();
                    let command = find_at(&namespace.coll, filter, projection, at);
                    let database = collection.client().database(&namespace.db);
                    let cursor = database.run_cursor_command(command).await?;
                    cursor.with_type::<RawDocumentBuf>().try_collect::<Vec<_>>().await
                }
            }
        };
        let found: Vec<RawDocumentBuf> = with_time_limit(READ_TIMEOUT, read).await?;
        let mut by_id = ById::new(found, RawDocumentBuf::as_ref);
        let states = ids.iter().filter_map(|id| {
            let reading = Reading::<K>::new(&by_id.take(id)?).ok()?;
            Some(((*id).to_owned(), ItemState::of(reading)))
        });
        Ok(states.collect())
    }
}

impl ItemState {
    fn of<K: Kind>(reading: Reading<K>) -> Self {
        let Reading { item, unreadable, is_public, address, slug } = reading;
        // Lists show it by queries that compare such values in their own way.
        let has_section = !unreadable.iter().any(|one| one.field == "section_id");
        let meta = item.meta();
        Self {
            is_public: is_public && has_section,
            is_deleted: meta.deleted,
            section: meta.section_id.clone(),
            address,
            slug,
        }
    }
}

fn find_at(collection: &str, filter: Document, projection: Document, at: u64) -> Document {
    doc! {
        "find": collection,
        "filter": filter,
        "projection": projection,
        "readConcern": { "level": "snapshot", "atClusterTime": timestamp(at) },
    }
}

/// Returns `true` if the server does not remember the state of that time.
pub(crate) fn is_forgotten(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if FORGOTTEN.contains(&error.code))
}
