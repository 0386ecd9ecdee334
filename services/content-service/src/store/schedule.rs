//! The moments at which items are published and unpublished by themselves.
//!
//! An item has them in fields of its own, for those who read it. An entry in a collection of the service,
//! written in the same transaction, lets the change be found when it is due. The fields have a prefix: a
//! field `publish_at` of the former site must not publish anything.

use std::{fmt, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::TryStreamExt;
use models::ContentType;
use mongo_kit::{Connection, Work, Writers, lenient::FieldReader};
use mongodb::{
    ClientSession, Collection,
    bson::{self, Bson, Document, RawDocument, doc},
    error::{Error, Result},
};
use serde::{Deserialize, Serialize};

use super::{
    filters::{Oddities, not_deleted},
    kind::stored_date,
};
use crate::domain::schedule::{ItemSchedule, SchedulePatch};

/// The collection of the entries.
pub(crate) const SCHEDULE: &str = "content_schedule";

const PUBLISH_AT: &str = "turbulence_publish_at";
const UNPUBLISH_AT: &str = "turbulence_unpublish_at";

/// The most changes that are read at once.
const MAX_READ: i64 = 100;

/// The time for which a commit of unknown outcome is repeated. After it, the entry tells whether the change
/// was made.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of repetitions of the transaction of a change. It conflicts with an editor who saves the item,
/// or with another process that makes the change. It is tried again later in any case.
const MAX_REPETITIONS: usize = 5;

/// Reads the moments of an item.
pub(super) fn read(reader: &mut FieldReader<'_>) -> ItemSchedule {
    ItemSchedule { publish_at: reader.date(PUBLISH_AT), unpublish_at: reader.date(UNPUBLISH_AT) }
}

/// Adds the fields that a change sets.
pub(super) fn set(document: &mut Document, patch: SchedulePatch) {
    for (field, moment) in [(PUBLISH_AT, patch.publish_at), (UNPUBLISH_AT, patch.unpublish_at)] {
        if let Some(moment) = moment.into_option() {
            document.insert(field, moment.map(stored_date));
        }
    }
}

/// The fields of an item that will not change by itself.
pub(super) fn never() -> Document {
    doc! { PUBLISH_AT: Bson::Null, UNPUBLISH_AT: Bson::Null }
}

/// Returns `true` if the entries of an item depend on a field.
pub(super) fn is_scheduled_by(field: &str) -> bool {
    [PUBLISH_AT, UNPUBLISH_AT].contains(&field)
}

/// A change that is made at its moment. It is the `_id` of its document, whose order is that of the moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScheduledChange {
    at: bson::DateTime,
    kind: ContentType,
    item: Bson,
    /// `true` if the item is published, `false` if it becomes a draft.
    is_published: bool,
}

impl ScheduledChange {
    fn entry(&self) -> Result<Document> {
        Ok(doc! { "_id": bson::serialize_to_document(self).map_err(Error::custom)? })
    }

    /// The field of the item with the moment.
    const fn field(&self) -> &'static str {
        if self.is_published { PUBLISH_AT } else { UNPUBLISH_AT }
    }
}

impl fmt::Display for ScheduledChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let does = if self.is_published { "publish" } else { "unpublish" };
        write!(f, "{does} {}/{}", self.kind.collection(), self.item)
    }
}

/// Reads and writes the scheduled changes.
#[derive(Debug, Clone)]
pub(crate) struct ScheduleStore {
    writers: Writers,
    collection: Collection<Document>,
}

impl ScheduleStore {
    pub(crate) fn new(connection: &Connection) -> Self {
        let collection = connection.database().collection(SCHEDULE);
        Self { writers: connection.writers().clone(), collection }
    }

    /// Replaces the entries of an item by those of its new state, in the transaction that writes it.
    pub(super) async fn write(
        &self,
        kind: ContentType,
        before: Option<&RawDocument>,
        after: &RawDocument,
        session: &mut ClientSession,
    ) -> Result<()> {
        let before = before.map(|document| changes(kind, document)).unwrap_or_default();
        let after = changes(kind, after);
        for change in before.iter().filter(|change| !after.contains(change)) {
            self.collection.delete_one(change.entry()?).session(&mut *session).await?;
        }
        for change in after.iter().filter(|change| !before.contains(change)) {
            self.collection.insert_one(change.entry()?).session(&mut *session).await?;
        }
        Ok(())
    }

    /// Returns the changes that are due by the clock of the server, the first ones first, and at most
    /// [`MAX_READ`].
    pub(crate) async fn due(&self) -> Result<Vec<ScheduledChange>> {
        let is_due = doc! { "$expr": { "$lte": ["$_id.at", "$$NOW"] } };
        let first = [
            doc! { "$sort": { "_id": 1 } },
            doc! { "$limit": MAX_READ },
            doc! { "$match": is_due },
        ];
        let entries: Vec<Document> = self.collection.aggregate(first).await?.try_collect().await?;
        let change = |mut entry: Document| bson::deserialize_from_bson(entry.remove("_id")?).ok();
        Ok(entries.into_iter().filter_map(change).collect())
    }

    /// Makes a change, unless another process has made it or the item has other moments now.
    pub(crate) async fn make(&self, change: &ScheduledChange) -> Result<()> {
        let items = self.collection.client().database(&self.collection.namespace().db);
        let items = items.collection(change.kind.collection());
        let making = Making { entries: &self.collection, items, change };
        let mut writer = self.writers.start_session().await?;
        let mut pauses = ExponentialBuilder::default().with_max_times(MAX_REPETITIONS).build();
        writer.transact(COMMIT_TIMEOUT, |_| pauses.next(), making).await
    }
}

/// The transaction that makes a change.
struct Making<'a> {
    entries: &'a Collection<Document>,
    items: Collection<Document>,
    change: &'a ScheduledChange,
}

impl Work for Making<'_> {
    type Output = ();
    type Error = Error;

    async fn run(&mut self, session: &mut ClientSession) -> Result<()> {
        let Self { entries, items, change } = self;
        let removed = entries.delete_one(change.entry()?).session(&mut *session).await?;
        if removed.deleted_count == 0 {
            return Ok(());
        }
        let mut item = not_deleted(Oddities::ANY);
        item.insert("_id", change.item.clone());
        item.insert(change.field(), change.at);
        let changes = doc! {
            "$set": { "is_published": change.is_published }, "$unset": { change.field(): "" },
        };
        items.update_one(item, changes).session(session).await?;
        Ok(())
    }
}

/// Returns the changes that follow from the fields of an item.
fn changes(kind: ContentType, document: &RawDocument) -> Vec<ScheduledChange> {
    let ItemSchedule { publish_at, unpublish_at } = read(&mut FieldReader::new(document));
    let id = document.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok());
    let Some(item) = id else { return Vec::new() };
    [(publish_at, true), (unpublish_at, false)]
        .into_iter()
        .filter_map(|(moment, is_published)| {
            let at = stored_date(moment?);
            Some(ScheduledChange { at, kind, item: item.clone(), is_published })
        })
        .collect()
}
