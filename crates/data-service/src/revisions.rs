//! The former states of documents, which people can look at and restore ([ADR
//! 0060](../../../docs/adr/0060-revisions-are-whole-documents.md)).
//!
//! A change records the document before it, in its own transaction. The document is stored as its bytes, so
//! that nothing of it is lost, whatever fields it has. Documents that are changed together with many
//! others record only the fields that change.
//!
//! | `_id` | document |
//! |---|---|
//! | `{kind, item}` | the numbers of the first and last revision of an item, and their size. Each change of the item writes it, so that two changes at once cannot get the same number |
//! | `{kind, item, n}` | a revision |
//! | `{kind, item, n, part}` | the rest of a document that does not fit beside the others |

mod difference;
mod elements;
mod view;

use std::collections::HashMap;

use futures_util::TryStreamExt;
use mongo_kit::document::{read, readable};
use mongodb::{
    ClientSession, Collection, Database,
    bson::{
        self, Binary, Bson, DateTime, Document, RawDocument, RawDocumentBuf, doc,
        spec::BinarySubtype,
    },
    error::{Error, Result},
    options::ReturnDocument,
};
use serde::{Deserialize, Serialize};
use service_kit::runtime::settings;
use utoipa::ToSchema;

pub use difference::{FieldChange, PartKind, TextPart, differences};
pub use elements::{differing_fields, merge};
pub use view::{
    ComparedState, MAX_NUMBER, PageLimit, RevertQuery, RevisionInfo, RevisionList, RevisionQuery,
    RevisionView, RevisionsQuery, members, parse_number,
};

/// The largest number of bytes of a document that one document of a revision has: half of what MongoDB
/// stores in one (MongoDB manual, "MongoDB Limits": 16 MiB).
const PART_BYTES: usize = 8 * 1024 * 1024;

/// The largest number of items of one change whose old revisions are removed in it. The others have a few
/// more until their next change: removing takes some requests an item, and the change has seconds.
const MAX_PRUNED_TOGETHER: usize = 100;

/// The number of old revisions that are looked at in one request. A change usually makes one too old.
const PRUNED_BATCH: u32 = 8;

/// Records revisions, and reads them.
#[derive(Debug, Clone)]
pub struct Revisions {
    collection: Collection<RawDocumentBuf>,
    name: &'static str,
    limits: settings::Revisions,
}

/// An item that has revisions.
#[derive(Debug, Clone, Copy)]
pub struct Revised<'a> {
    /// The collection of the item.
    pub kind: &'static str,
    /// The `_id` of the item.
    pub id: &'a Bson,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevisionAction {
    /// Fields were changed.
    Changed,
    /// It was moved to another place, with others.
    Moved,
    /// It was put into the trash.
    Deleted,
    /// It was taken out of the trash.
    Restored,
    /// Fields were set to the values of an earlier revision.
    Reverted,
}

/// A change that is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    /// The id of the user who makes it; `None` for the static token.
    pub user_id: Option<&'a str>,
    /// The kind of the change.
    pub action: RevisionAction,
    /// The time of the change.
    pub at: DateTime,
}

/// An item that is changed together with others.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedItem {
    /// The `_id`.
    pub id: Bson,
    /// The item before the change: the whole document, or the fields that are changed.
    pub before: RawDocumentBuf,
    /// The stored fields that are changed.
    pub fields: Vec<String>,
    /// The kind of the change.
    pub action: RevisionAction,
}

/// The part of the documents that a change of many items records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedPart {
    /// All of them.
    Whole,
    /// The fields that are changed.
    ChangedFields,
}

/// A change that was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The number of the change, counted for each item from 1.
    pub number: i64,
    /// The time of the change.
    pub at: DateTime,
    /// The id of the user who made it; `None` for the static token.
    pub user_id: Option<String>,
    /// The kind of the change.
    pub action: RevisionAction,
    /// The stored fields that it changed.
    pub fields: Vec<String>,
}

/// A revision as it is stored, without its document if it is read for a list.
#[derive(Debug, Deserialize)]
struct Stored {
    #[serde(rename = "_id")]
    id: StoredId,
    #[serde(rename = "createdDate")]
    created_date: DateTime,
    user_id: Option<String>,
    action: RevisionAction,
    fields: Vec<String>,
    bytes: i64,
    /// `true` if the document has nothing but the fields that were changed.
    is_partial: bool,
    document: Option<Binary>,
}

#[derive(Debug, Deserialize)]
struct StoredId {
    n: i64,
}

/// The revisions that an item has.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Head {
    first: i64,
    last: i64,
    /// The size of the recorded documents.
    bytes: i64,
}

impl Stored {
    fn revision(&self) -> Revision {
        Revision {
            number: self.id.n,
            at: self.created_date,
            user_id: self.user_id.clone(),
            action: self.action,
            fields: self.fields.clone(),
        }
    }
}

impl<'a> Revised<'a> {
    fn head(self) -> Document {
        doc! { "kind": self.kind, "item": self.id }
    }

    fn revision(self, n: impl Into<Bson>) -> Document {
        doc! { "kind": self.kind, "item": self.id, "n": n }
    }

    /// Matches the documents of the revisions with these numbers, their parts included.
    fn between(self, first: impl Into<Bson>, last: impl Into<Bson>) -> Document {
        let mut end = self.revision(last);
        end.insert("part", Bson::MaxKey);
        doc! { "_id": { "$gte": self.revision(first), "$lte": end } }
    }
}

impl Revisions {
    /// Returns the revisions in a collection.
    pub fn new(database: &Database, name: &'static str, limits: settings::Revisions) -> Self {
        Self { collection: database.collection(name), name, limits }
    }

    /// Records the document of an item as it was before a change of these fields, in the transaction that
    /// makes the change. Removes revisions that are too old.
    pub async fn record(
        &self,
        item: Revised<'_>,
        before: &RawDocument,
        fields: &[String],
        change: Recorded<'_>,
        session: &mut ClientSession,
    ) -> Result<()> {
        let bytes = before.as_bytes();
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let update = doc! {
            "$inc": { "last": 1_i64, "bytes": size }, "$setOnInsert": { "first": 1_i64 },
        };
        let heads = self.collection.clone_with_type::<Head>();
        let head = heads.find_one_and_update(doc! { "_id": item.head() }, update).upsert(true);
        let head = head.return_document(ReturnDocument::After).session(&mut *session).await?;
        let head = head.ok_or_else(|| Error::custom("an upsert returned no document"))?;
        let documents =
            documents(item, head.last, before, fields, change, size, RecordedPart::Whole)?;
        let revisions = self.collection.clone_with_type::<Document>();
        revisions.insert_many(documents).session(&mut *session).await?;
        self.prune(item, head, change.at, session).await
    }

    /// Records items before one change of all of them, in a number of requests that does not depend on
    /// theirs.
    pub async fn record_together(
        &self,
        kind: &'static str,
        items: &[ChangedItem],
        part: RecordedPart,
        user_id: Option<&str>,
        at: DateTime,
        session: &mut ClientSession,
    ) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let of = |id| Revised { kind, id };
        let ids: Vec<_> = items.iter().map(|item| of(&item.id).head()).collect();
        let heads = self.collection.clone_with_type::<Document>();
        let known = doc! { "_id": { "$in": &ids } };
        let grown = doc! { "$inc": { "last": 1_i64 } };
        heads.update_many(known.clone(), grown).session(&mut *session).await?;
        let mut found = heads.find(known).session(&mut *session).await?;
        let mut grown = HashMap::new();
        while let Some(head) = found.next(session).await.transpose()? {
            let id = head.get_document("_id").map_err(Error::custom)?.get("item").map(key);
            let head: Head = bson::deserialize_from_document(head)?;
            grown.extend(id.map(|id| (id, head)));
        }
        let new = Head { first: 1, last: 1, bytes: 0 };
        let mut inserted = Vec::with_capacity(items.len());
        let mut pruned = Vec::new();
        for ChangedItem { id, before, fields, action } in items {
            let head = grown.get(&key(id)).copied();
            if head.is_none() {
                let Head { first, last, bytes } = new;
                let head = doc! { "first": first, "last": last, "bytes": bytes };
                let mut document = doc! { "_id": of(id).head() };
                document.extend(head);
                inserted.push(document);
            }
            let head = head.unwrap_or(new);
            if head.count() > i64::from(self.limits.max_count.get()) {
                pruned.push((of(id), head));
            }
            let change = Recorded { user_id, action: *action, at };
            // They are small, and all heads can grow in one request if they are not counted.
            let of_item = documents(of(id), head.last, before, fields, change, 0, part)?;
            inserted.extend(of_item);
        }
        heads.insert_many(inserted).session(&mut *session).await?;
        for (item, head) in pruned.into_iter().take(MAX_PRUNED_TOGETHER) {
            self.prune(item, head, at, session).await?;
        }
        Ok(())
    }

    /// Removes the oldest revisions of an item that the settings do not keep. The newest stays.
    async fn prune(
        &self,
        item: Revised<'_>,
        head: Head,
        now: DateTime,
        session: &mut ClientSession,
    ) -> Result<()> {
        let limits = &self.limits;
        let max_bytes = i64::try_from(limits.max_bytes).unwrap_or(i64::MAX);
        let (min, max) = (limits.min_count.get().into(), limits.max_count.get().into());
        if head.count() <= i64::min(min, max) && head.bytes <= max_bytes {
            return Ok(());
        }
        let min_age = i64::from(limits.min_age_seconds).saturating_mul(1_000);
        let kept_since = now.timestamp_millis().saturating_sub(min_age);
        let mut left = head;
        let oldest = doc! { "$and": [item.between(head.first, head.last), is_revision()] };
        let oldest = self.collection.find(oldest).sort(doc! { "_id": 1 }).batch_size(PRUNED_BATCH);
        let mut oldest = oldest.projection(without_document()).session(&mut *session).await?;
        while let Some(one) = oldest.next(session).await.transpose()? {
            let Some(one) = self.parse(&one) else { continue };
            let is_old = one.created_date.timestamp_millis() < kept_since;
            let is_kept =
                left.count() <= max && left.bytes <= max_bytes && (left.count() <= min || !is_old);
            if is_kept || one.id.n >= head.last {
                break;
            }
            left = Head { first: one.id.n + 1, bytes: left.bytes - one.bytes, ..left };
        }
        if left.first == head.first {
            return Ok(());
        }
        let removed = item.between(head.first, left.first - 1);
        self.collection.delete_many(removed).session(&mut *session).await?;
        let update = doc! { "$set": { "first": left.first, "bytes": left.bytes } };
        self.collection.update_one(doc! { "_id": item.head() }, update).session(session).await?;
        Ok(())
    }

    /// Returns a page of the revisions of an item, newest first, and `true` if there are more.
    pub async fn page(
        &self,
        item: Revised<'_>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<(Vec<Revision>, bool)> {
        let last = before.map_or(Bson::MaxKey, |before| before.saturating_sub(1).into());
        let filter = doc! { "$and": [item.between(Bson::MinKey, last), is_revision()] };
        let found = self.collection.find(filter).sort(doc! { "_id": -1 });
        let found = found.limit(i64::from(limit) + 1).projection(without_document());
        let found: Vec<_> = found.await?.try_collect().await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = found.iter().take(limit).filter_map(|one| self.parse(one));
        Ok((page.map(|one| one.revision()).collect(), found.len() > limit))
    }

    /// Returns a revision of an item, and the document of the item before that change. `present` is the
    /// document as it is now.
    pub async fn state(
        &self,
        item: Revised<'_>,
        number: i64,
        present: &RawDocument,
        mut session: Option<&mut ClientSession>,
    ) -> Result<Option<(Revision, RawDocumentBuf)>> {
        let Some((stored, document)) = self.get(item, number, session.as_deref_mut()).await? else {
            return Ok(None);
        };
        let revision = stored.revision();
        // Only some fields: the others are those of the next revision.
        let mut partial = Vec::new();
        let mut next = Some((stored, document));
        let mut at = number;
        let whole = loop {
            match next {
                None => break present.to_owned(),
                Some((stored, document)) if !stored.is_partial => break document,
                Some((stored, document)) => partial.push((stored.fields, document)),
            }
            at += 1;
            next = self.get(item, at, session.as_deref_mut()).await?;
        };
        let state = partial.iter().rev().try_fold(whole, |whole, (fields, former)| {
            merge(&whole, former, |field| fields.iter().any(|one| one == field))
        });
        Ok(Some((revision, state?)))
    }

    async fn get(
        &self,
        item: Revised<'_>,
        number: i64,
        session: Option<&mut ClientSession>,
    ) -> Result<Option<(Stored, RawDocumentBuf)>> {
        let find = self.collection.find(item.between(number, number)).sort(doc! { "_id": 1 });
        let found: Vec<RawDocumentBuf> = match session {
            Some(session) => {
                let mut cursor = find.session(&mut *session).await?;
                cursor.stream(session).try_collect().await?
            }
            None => find.await?.try_collect().await?,
        };
        let Some((first, rest)) = found.split_first() else { return Ok(None) };
        let Some(mut stored) = self.parse(first) else { return Ok(None) };
        let mut bytes = stored.document.take().map(|binary| binary.bytes).unwrap_or_default();
        for part in rest {
            bytes.extend(part.get_binary("document").map_err(Error::custom)?.bytes);
        }
        Ok(Some((stored, RawDocumentBuf::from_bytes(bytes).map_err(Error::custom)?)))
    }

    /// Removes all revisions of an item that is erased, in the transaction that erases it.
    pub async fn forget(&self, item: Revised<'_>, session: &mut ClientSession) -> Result<()> {
        let all = doc! { "_id": { "$gte": item.head(), "$lte": item.revision(Bson::MaxKey) } };
        self.collection.delete_many(all).session(session).await.map(drop)
    }

    /// Reads a revision. One that another program has changed into something else is none.
    fn parse(&self, document: &RawDocument) -> Option<Stored> {
        readable(read(self.name, document))
    }
}

impl Head {
    fn count(self) -> i64 {
        self.last - self.first + 1
    }
}

/// Returns the documents of a revision, which counts with this size.
fn documents(
    item: Revised<'_>,
    number: i64,
    before: &RawDocument,
    fields: &[String],
    change: Recorded<'_>,
    size: i64,
    recorded: RecordedPart,
) -> Result<Vec<Document>> {
    let bytes = before.as_bytes();
    let (first, rest) = bytes.split_at(bytes.len().min(PART_BYTES));
    let mut documents = vec![doc! {
        "_id": item.revision(number),
        "createdDate": change.at,
        "user_id": change.user_id,
        "action": bson::serialize_to_bson(&change.action)?,
        "fields": fields,
        "bytes": size,
        "is_partial": recorded == RecordedPart::ChangedFields,
        "document": binary(first),
    }];
    documents.extend((1_i64..).zip(rest.chunks(PART_BYTES)).map(|(part, bytes)| {
        let mut id = item.revision(number);
        id.insert("part", part);
        doc! { "_id": id, "document": binary(bytes) }
    }));
    Ok(documents)
}

fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

/// Matches the first documents of revisions.
fn is_revision() -> Document {
    doc! { "createdDate": { "$exists": true } }
}

/// Leaves out the recorded document.
fn without_document() -> Document {
    doc! { "document": 0 }
}

/// Returns a key of an `_id`, for maps.
fn key(id: &Bson) -> String {
    format!("{id:?}")
}
