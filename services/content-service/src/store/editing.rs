//! The editors who have an item open: one document for each such item
//! ([ADR 0063](../../../../docs/adr/0063-editors-report-that-they-are-there.md)).

use std::{sync::Arc, time::Duration};

use models::ContentType;
use mongo_kit::document::{read, readable};
use mongodb::{
    Collection, Database, IndexModel,
    bson::{Bson, DateTime as BsonDate, Document, RawDocumentBuf, doc},
    error::Result,
    options::{IndexOptions, ReturnDocument},
};
use serde::Deserialize;
use tokio::sync::OnceCell;

/// The collection of the editors who have items open.
pub(crate) const EDITING: &str = "content_editing";

/// The time after which an editor who does not report has left: browsers run the timers of hidden pages
/// once a minute.
const PRESENT_FOR: Duration = Duration::from_secs(90);

/// The most editors of an item: more than any notice names. Those who reported last are kept.
const MAX_EDITORS: i32 = 20;

/// Reads and writes the editors who have items open.
#[derive(Debug, Clone)]
pub(crate) struct EditingStore {
    items: Collection<RawDocumentBuf>,
    /// The index that removes the documents of items that are not open any more.
    expiry: Arc<OnceCell<()>>,
}

/// An editor who has an item open.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Editor {
    /// The identity of the editor and of the session.
    pub(crate) key: String,
    /// The id of the user; `None` for an administrator who is no user.
    pub(crate) user_id: Option<String>,
    /// The time of the first report without a longer pause.
    pub(crate) since: BsonDate,
    /// The time of the last report.
    pub(crate) seen_at: BsonDate,
}

/// The editors of an item.
#[derive(Debug, Deserialize)]
pub(crate) struct Editors {
    /// The editors, those who reported last first.
    pub(crate) editors: Vec<Editor>,
    /// The time of the last report of any.
    pub(crate) seen_at: BsonDate,
}

impl EditingStore {
    pub(super) fn new(database: &Database) -> Self {
        Self { items: database.collection(EDITING), expiry: Arc::default() }
    }

    /// Records that an editor has an item open now, on the clock of the server, and returns all who have.
    /// `id` is the id with which the item is listed.
    pub(crate) async fn report(
        &self,
        content_type: ContentType,
        id: &str,
        key: &str,
        user_id: Option<&str>,
    ) -> Result<Option<Editors>> {
        let create = || async { self.items.create_index(expiry()).await.map(drop) };
        self.expiry.get_or_try_init(create).await?;
        let item = doc! { "_id": item(content_type, id) };
        let update = self.items.find_one_and_update(item, reported(key, user_id));
        let found = update.upsert(true).return_document(ReturnDocument::After).await?;
        Ok(found.and_then(|document| readable(read(EDITING, &document))))
    }

    /// Records that an editor has closed an item.
    pub(crate) async fn leave(&self, content_type: ContentType, id: &str, key: &str) -> Result<()> {
        let pull = doc! { "$pull": { "editors": { "key": key } } };
        self.items.update_one(doc! { "_id": item(content_type, id) }, pull).await.map(drop)
    }
}

/// Returns the `_id` of the document of an item.
fn item(content_type: ContentType, id: &str) -> Document {
    doc! { "collection": content_type.collection(), "item": id }
}

/// Returns the update that records a report: in one step, so that of two editors each sees the other.
fn reported(key: &str, user_id: Option<&str>) -> Vec<Document> {
    // A text that begins with `$` would be the name of a field.
    let literal = |value: Bson| doc! { "$literal": value };
    let (key, user_id) = (literal(key.into()), literal(user_id.into()));
    let present_ms = i64::try_from(PRESENT_FOR.as_millis()).unwrap_or(i64::MAX);
    let is_present = doc! { "$gt": ["$$this.seen_at", { "$subtract": ["$$NOW", present_ms] }] };
    let is_own = doc! { "$eq": ["$$this.key", &key] };
    let present = doc! {
        "$filter": { "input": { "$ifNull": ["$editors", []] }, "cond": is_present },
    };
    let own = doc! { "$first": { "$filter": { "input": "$$present", "cond": &is_own } } };
    let others = doc! { "$filter": { "input": "$$present", "cond": { "$not": [is_own] } } };
    let since = doc! { "$ifNull": ["$$own.since", "$$NOW"] };
    let report = doc! { "key": key, "user_id": user_id, "since": since, "seen_at": "$$NOW" };
    let all = doc! {
        "$let": {
            "vars": { "present": present },
            "in": {
                "$let": {
                    "vars": { "own": own },
                    "in": { "$slice": [{ "$concatArrays": [[report], others] }, MAX_EDITORS] },
                },
            },
        },
    };
    vec![doc! { "$set": { "editors": all, "seen_at": "$$NOW" } }]
}

/// Returns the index that removes the documents of items that are not open any more.
fn expiry() -> IndexModel {
    let options = IndexOptions::builder()
        .name("seen_at_1_expiry".to_owned())
        .expire_after(PRESENT_FOR)
        .build();
    IndexModel::builder().keys(doc! { "seen_at": 1 }).options(options).build()
}
