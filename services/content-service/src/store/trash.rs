//! The trash: the items of a kind that are deleted.
//!
//! An item that this service deletes has the time ([`DELETED_AT`]) and the user ([`DELETED_BY`]). Those
//! that the former site or another program deleted may have neither, and are listed after the others.

use std::{collections::HashSet, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, Utc};
use data_service::{Abort, revisions::Revised, transact};
use futures_util::TryStreamExt;
use mongo_kit::{
    Work,
    document::readable,
    feed::ChangeKind,
    lease::Lease,
    lenient::{self, FieldReader},
};
use mongodb::{
    ClientSession, Collection,
    bson::{
        Bson, DateTime as BsonDate, Document, RawBson, RawBsonRef, RawDocument, RawDocumentBuf,
        doc, oid,
    },
    error::{Error, Result},
    options::Hint,
};

use super::{
    content::{Changed, ContentStore},
    filters::{having_slug, references},
    indexes::TRASH,
    kind::{DELETED_AT, DELETED_BY, Kind, Reading, SLUG},
    order::ODD_DATE_TYPES,
    write::{Guard, WriteError, change, stored_id},
};
use crate::domain::trash::{Ties, TrashPart, TrashPlace, TrashStart};

/// The number of items that are removed in one transaction: it takes some 100 ms, for which writers of
/// these items wait.
const BATCH: i64 = 100;

/// The time for which a commit of unknown outcome is repeated when items are removed. After it, the next
/// batch shows what is left.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of repetitions of a transaction that removes items: it conflicts with a heartbeat of the
/// lease, or with someone who restores one of them.
const MAX_REPETITIONS: usize = 5;

/// The most characters of a title that the list has: an old document may have a very long one.
const MAX_TITLE: usize = 500;

/// An item in the trash.
#[derive(Debug)]
pub(crate) struct Trashed {
    pub(crate) place: TrashPlace,
    pub(crate) id: String,
    pub(crate) title: String,
    /// The slug; empty if it has none.
    pub(crate) slug: String,
    /// The id of its section.
    pub(crate) section: Option<String>,
    /// The id of the user that it belongs to.
    pub(crate) user_id: Option<String>,
    pub(crate) is_published: bool,
    pub(crate) updated_date: Option<DateTime<Utc>>,
    pub(crate) deleted_at: Option<DateTime<Utc>>,
    /// The id of the user who deleted it.
    pub(crate) deleted_by: Option<String>,
    /// The name of that user.
    pub(crate) deleted_by_name: Option<String>,
}

/// Matches the items in the trash. A list of flags, which is none, matches too.
fn in_trash() -> Document {
    doc! { "deleted": { "$in": lenient::flag_values(true) } }
}

/// A query of the list.
struct TrashFind {
    query: Document,
    order: Document,
    /// The latest time of a deletion, in milliseconds since 1970.
    latest: i64,
}

/// Returns the queries that find the items of a part from a start on, one after the other. Each is one
/// range of the index for each value of the flag.
fn queries(part: TrashPart, start: &TrashStart) -> Vec<TrashFind> {
    let by_id = doc! { "_id": -1 };
    let find = |value: Document, order: &Document, latest| {
        let mut query = in_trash();
        query.extend(value);
        TrashFind { query, order: order.clone(), latest }
    };
    // The comparison of the aggregation orders ids of all types.
    let below = |mut value: Document, id: &Bson| {
        value.insert("$expr", doc! { "$lt": ["$_id", { "$literal": id.clone() }] });
        value
    };
    let at = |at: i64| Bson::from(BsonDate::from_millis(at));
    let dated = |latest: i64| {
        let value = doc! { DELETED_AT: { "$lte": at(latest) } };
        find(value, &doc! { DELETED_AT: -1, "_id": -1 }, latest)
    };
    let value = match part {
        TrashPart::Dated => {
            let earlier = start.at.saturating_sub(1);
            return match &start.ties {
                Ties::All => vec![dated(start.at)],
                Ties::Below(id) => {
                    let tied = below(doc! { DELETED_AT: at(start.at) }, id);
                    vec![find(tied, &by_id, start.at), dated(earlier)]
                }
                Ties::None => vec![dated(earlier)],
            };
        }
        TrashPart::Odd => doc! { DELETED_AT: { "$type": ODD_DATE_TYPES.to_vec() } },
        // Null matches missing fields as well.
        TrashPart::Undated => doc! { DELETED_AT: { "$in": [Bson::Null, Bson::Array(vec![])] } },
    };
    match &start.ties {
        Ties::All => vec![find(value, &by_id, 0)],
        Ties::Below(id) => vec![find(below(value, id), &by_id, 0)],
        Ties::None => Vec::new(),
    }
}

/// Matches the items that were deleted by this service longer ago than that, by the clock of the server.
fn deleted_before(after: Duration) -> Document {
    let no_list = doc! { "$type": "array" };
    let milliseconds = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    doc! {
        "deleted": { "$in": lenient::flag_values(true), "$not": no_list.clone() },
        DELETED_AT: { "$type": "date", "$not": no_list },
        // The former site may have had a field for the time. It had not both.
        DELETED_BY: { "$exists": true },
        "$expr": { "$lt": [format!("${DELETED_AT}"), { "$subtract": ["$$NOW", milliseconds] }] },
        "$nor": [lenient::unreadable_ids()],
    }
}

/// Returns the part of an item, and the time of its deletion in milliseconds since 1970: of several, the
/// latest.
fn part_of(document: &RawDocument) -> (TrashPart, i64) {
    let is_null =
        |value: &RawBsonRef<'_>| matches!(value, RawBsonRef::Null | RawBsonRef::Undefined);
    match document.get(DELETED_AT).ok().flatten() {
        None => (TrashPart::Undated, 0),
        Some(RawBsonRef::DateTime(date)) => (TrashPart::Dated, date.timestamp_millis()),
        Some(RawBsonRef::Array(values)) => {
            let values = || values.into_iter().flatten();
            match values().filter_map(RawBsonRef::as_datetime).max() {
                Some(date) => (TrashPart::Dated, date.timestamp_millis()),
                None if values().all(|value| is_null(&value)) => (TrashPart::Undated, 0),
                None => (TrashPart::Odd, 0),
            }
        }
        Some(value) if is_null(&value) => (TrashPart::Undated, 0),
        Some(_) => (TrashPart::Odd, 0),
    }
}

fn hint() -> Hint {
    Hint::Name(TRASH.to_owned())
}

impl<K: Kind> ContentStore<K> {
    /// Returns some items of the trash from a start on; those of this user alone, if there is one.
    pub(crate) async fn trash(
        &self,
        start: &TrashStart,
        owner: Option<&str>,
        count: usize,
    ) -> Result<Vec<Trashed>> {
        let names = self.names().await?.value;
        let fields = doc! {
            "title": 1, SLUG: 1, "section_id": 1, "user_id": 1, "is_published": 1, "deleted": 1,
            "updatedDate": 1, DELETED_AT: 1, DELETED_BY: 1,
            // Fields of other systems that tell drafts.
            "status": 1, "draft": 1, "published": 1, "visibility": 1,
        };
        let mut finds = Vec::new();
        for part in TrashPart::ALL.into_iter().filter(|part| *part >= start.part) {
            let first = &TrashStart { part, ..TrashStart::FIRST };
            let start = if part == start.part { start } else { first };
            finds.extend(queries(part, start).into_iter().map(|find| (part, find)));
        }
        let mut items = Vec::new();
        for (part, TrashFind { mut query, order, latest }) in finds {
            if items.len() == count {
                break;
            }
            if let Some(owner) = owner {
                query.insert("user_id", doc! { "$in": owner_values(owner) });
            }
            let found = self.collection.find(query).sort(order).projection(fields.clone());
            let batch = u32::try_from(count).unwrap_or(u32::MAX);
            let mut found = found.hint(hint()).batch_size(batch).await?;
            while items.len() < count
                && let Some(document) = found.try_next().await?
            {
                let Some(reading) = readable(Reading::<K>::new(&document)) else { continue };
                let (meta, slug) = (reading.item.meta(), reading.slug.unwrap_or_default());
                let (own_part, at) = part_of(&document);
                let is_theirs = owner.is_none() || meta.user_id.as_deref() == owner;
                // A list of values is found by each of them, and is at one place.
                let is_here = own_part == part && at <= latest;
                if !meta.deleted || !is_theirs || !is_here {
                    continue;
                }
                let mut reader = FieldReader::new(&document);
                let deleted_by = reader.reference(DELETED_BY);
                let name = deleted_by.as_deref().and_then(|id| names.of(id));
                items.push(Trashed {
                    place: TrashPlace { part, at, id: stored_id(&document)? },
                    id: meta.id.to_string(),
                    title: shortened(&meta.title),
                    slug,
                    section: meta.section_id.clone(),
                    user_id: meta.user_id.clone(),
                    is_published: meta.is_published,
                    updated_date: meta.updated_date,
                    deleted_at: reader.date(DELETED_AT),
                    deleted_by,
                    deleted_by_name: name.map(|author| author.name),
                });
            }
        }
        Ok(items)
    }

    /// Returns those of these slugs that items have which are not deleted.
    pub(crate) async fn taken_slugs(&self, slugs: &[&str]) -> Result<HashSet<String>> {
        let slugs: Vec<_> = slugs.iter().copied().filter(|slug| !slug.is_empty()).collect();
        if slugs.is_empty() {
            return Ok(HashSet::new());
        }
        // Grouped, since any number of items may have the same.
        let stages = [
            doc! { "$match": having_slug(&slugs) },
            doc! { "$group": { "_id": format!("${SLUG}") } },
        ];
        let documents: &Collection<Document> = &self.collection.clone_with_type();
        let mut found = documents.aggregate(stages).with_type::<RawDocumentBuf>().await?;
        let mut taken = HashSet::new();
        while let Some(group) = found.try_next().await? {
            let mut reader = FieldReader::new(&group);
            match reader.value("_id") {
                Some(RawBsonRef::Array(_)) => taken.extend(reader.texts("_id")),
                _ => taken.extend(reader.text("_id")),
            }
        }
        Ok(taken)
    }

    /// Removes an item for good, with everything that is kept about it.
    pub(crate) async fn purge(
        &self,
        id: &str,
        guard: Guard<'_, K>,
    ) -> std::result::Result<Changed<()>, Abort<WriteError>> {
        let mut removed = None;
        let result = transact(&self.writers, async |session: &mut ClientSession| {
            removed = None;
            let (found, reading) = self.look_up(id, session).await?;
            guard(&reading.item).map_err(WriteError::Refused)?;
            removed = Some(reading.item.meta().id.to_string());
            self.remove(&[stored_id(&found)?], session).await?;
            Ok(())
        })
        .await;
        let keys = match removed {
            None => Vec::new(),
            removed => self.record(&change::<K>(removed, ChangeKind::Deleted, None), &result),
        };
        Ok(Changed { value: result?, keys })
    }

    /// Returns `true` if items were deleted by this service longer ago than that.
    pub(crate) async fn has_old_trash(&self, after: Duration) -> Result<bool> {
        let one = self.collection.find_one(deleted_before(after)).projection(doc! { "_id": 1 });
        Ok(one.hint(hint()).await?.is_some())
    }

    /// Removes some of the items that were deleted longer ago than that, and returns their number: 0 if
    /// there are no more. Fails if the lease is lost.
    pub(crate) async fn empty_trash(&self, after: Duration, lease: &Lease) -> Result<u64> {
        let mut writer = self.writers.start_session().await?;
        let mut pauses = ExponentialBuilder::default().with_max_times(MAX_REPETITIONS).build();
        let emptying = Emptying { store: self, lease, after };
        writer.transact(COMMIT_TIMEOUT, |_| pauses.next(), emptying).await
    }

    async fn remove(&self, ids: &[Bson], session: &mut ClientSession) -> Result<u64> {
        let items = doc! { "_id": { "$in": ids } };
        let removed = self.collection.delete_many(items).session(&mut *session).await?;
        self.forget(ids, session).await?;
        Ok(removed.deleted_count)
    }

    /// Removes everything that is kept about items in other collections. The one place that does: a
    /// collection about items is added here.
    async fn forget(&self, ids: &[Bson], session: &mut ClientSession) -> Result<()> {
        self.search.forget(K::TYPE, ids, session).await?;
        for id in ids {
            let item = Revised { kind: K::TYPE.collection(), id };
            self.revisions.forget(item, session).await?;
            let id = RawBson::try_from(id.clone()).map_err(Error::custom)?;
            if let Ok(id) = lenient::stored_id_text(id.as_raw_bson_ref()) {
                self.drafts.forget(K::TYPE, &id, session).await?;
            }
        }
        self.former_slugs.forget(ids, session).await
    }
}

/// The transaction that removes some items.
struct Emptying<'a, K> {
    store: &'a ContentStore<K>,
    lease: &'a Lease,
    after: Duration,
}

impl<K: Kind> Work for Emptying<'_, K> {
    type Output = u64;
    type Error = Error;

    async fn run(&mut self, session: &mut ClientSession) -> Result<u64> {
        let Self { store, lease, after } = self;
        // Another one each time, so that the lease is really written.
        if !lease.set_in(session, doc! { "batch": oid::ObjectId::new() }).await? {
            return Err(Error::custom("the lease is lost"));
        }
        let found = store.collection.find(deleted_before(*after)).projection(doc! { "_id": 1 });
        let mut found = found.hint(hint()).limit(BATCH).session(&mut *session).await?;
        let found: Vec<RawDocumentBuf> = found.stream(session).try_collect().await?;
        let ids = found.iter().map(|one| stored_id(one)).collect::<Result<Vec<_>>>()?;
        if ids.is_empty() {
            return Ok(0);
        }
        store.remove(&ids, session).await
    }
}

/// Returns the values of `user_id` of the items of a user.
fn owner_values(id: &str) -> Vec<Bson> {
    match id.parse() {
        Ok(id) => references(&[id]),
        Err(_) => vec![id.into()],
    }
}

fn shortened(title: &str) -> String {
    match title.char_indices().nth(MAX_TITLE) {
        Some((end, _)) => format!("{}…", &title[..end]),
        None => title.to_owned(),
    }
}
