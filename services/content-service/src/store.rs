//! The collections of content.

mod counts;
mod drafts;
mod integrity;
mod kind;
mod list;
pub(crate) mod migrations;
mod moves;
mod report;
mod slugs;
mod users;
mod write;

pub(crate) use kind::{Changes, Kind, Pages, Projects, Stories};
pub(crate) use list::Filter;
pub(crate) use moves::MoveError;
pub(crate) use report::DataReport;
pub(crate) use users::UserStore;
pub(crate) use write::{NewItem, WriteError};

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use data_service::idempotency::Idempotency;
use futures_util::TryStreamExt;
use models::ObjectId;
use moka::sync::Cache;
use mongo_kit::{
    Cached, Connection, Stamp, Watch,
    document::readable,
    lenient::{self, FieldReader},
};
use mongodb::{
    Client, ClientSession, Collection,
    bson::{Bson, Document, RawBsonRef, RawDocumentBuf, doc, oid},
};
use service_kit::runtime::clock::Clock;

use crate::domain::Hidden;

pub use self::migrations::SECTION_BACKFILL;
use kind::Reading;
use list::Survey;
use slugs::Locks;
use write::Turns;

pub(crate) const STORIES: &str = "stories";
pub(crate) const PROJECTS: &str = "projects";
pub(crate) const PAGES: &str = "pages";
pub(crate) const USERS: &str = "users";

/// The collections of an existing site that this service writes to.
pub const COLLECTIONS: &[&str] = &[STORIES, PROJECTS, PAGES, USERS];

/// What the service is called in the names of its own collections.
pub(crate) const SERVICE: &str = "content";

/// For how many filters the number of items is remembered: sections are few, but a caller may ask
/// for any id.
const REMEMBERED_FILTERS: u64 = 500;

/// For how long after a change a number of items may be answered that was counted before it. The
/// promise is a second; counting a million documents takes about half of one.
const SURVEY_TOLERANCE: Duration = Duration::from_millis(800);

/// The fields that decide which items lists have and in which order. Nothing else that is written
/// makes a list be counted anew.
const LISTED_BY: &[&str] =
    &["is_published", "deleted", "createdDate", "status", "draft", "published", "visibility"];

/// The same of lists to which the section matters.
const LISTED_BY_IN_SECTIONS: &[&str] = &[
    "is_published",
    "deleted",
    "createdDate",
    "status",
    "draft",
    "published",
    "visibility",
    "section_id",
];

/// Reads and writes one kind of content.
pub(crate) struct ContentStore<K> {
    client: Client,
    collection: Collection<RawDocumentBuf>,
    clock: Clock,
    watch: Watch,
    /// Changes of the lists alone.
    watch_lists: Watch,
    watch_lists_in_sections: Watch,
    surveys: Cache<Filter, Arc<Cached<Arc<Survey>>>>,
    linked: Arc<Cached<bool>>,
    idempotency: Idempotency,
    locks: Locks,
    turns: Turns,
    /// How often this process has changed the collection.
    writes: AtomicU64,
    kind: std::marker::PhantomData<fn() -> K>,
}

/// The reason why an id leads to no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoItem {
    /// There is none with this id, or it is in the trash.
    NotFound,
    /// There is none with this id, and it is no id that a new item could have.
    InvalidId,
}

impl<K: Kind> ContentStore<K> {
    pub(crate) fn new(connection: &Connection, clock: Clock) -> Self {
        let database = connection.database();
        let watch = Watch::new(database, K::COLLECTION);
        Self {
            client: connection.client().clone(),
            collection: database.collection(K::COLLECTION),
            surveys: Cache::new(REMEMBERED_FILTERS),
            linked: Cached::new(watch.clone(), Duration::ZERO),
            watch,
            watch_lists: Watch::of_fields(database, K::COLLECTION, LISTED_BY),
            watch_lists_in_sections: Watch::of_fields(
                database,
                K::COLLECTION,
                LISTED_BY_IN_SECTIONS,
            ),
            idempotency: Idempotency::new(database, SERVICE, clock.clone()),
            locks: Locks::new(database),
            turns: Turns::default(),
            clock,
            writes: AtomicU64::new(0),
            kind: std::marker::PhantomData,
        }
    }

    /// What is read after this returns is current until the stamp says otherwise.
    pub(crate) async fn stamp(&self) -> mongodb::error::Result<Stamp> {
        self.watch.stamp().await
    }

    /// Changes with every write of this process, before a [`Stamp`] hears of it.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    /// Whether any item says that it belongs to a section.
    pub(crate) async fn is_linked(&self) -> mongodb::error::Result<bool> {
        let collection = self.collection.clone();
        let linked = doc! { "section_id": { "$type": ["string", "objectId"] } };
        let read = async move { Ok(collection.find_one(linked).await?.is_some()) };
        self.linked.get(read).await
    }

    /// Returns the public item that is looked up by the first of these texts that any has: its
    /// slug, or the type of a page. The newest is returned where several have a slug, and the oldest
    /// page of a type.
    pub(crate) async fn by_address(
        &self,
        addresses: &[String],
        hidden: &Hidden,
    ) -> mongodb::error::Result<Option<K::Item>> {
        self.find_by_address(public_one::<K>(hidden), addresses).await
    }

    /// Returns the same among the items of a section.
    pub(crate) async fn by_slug_in(
        &self,
        section: ObjectId,
        slugs: &[String],
        hidden: &Hidden,
    ) -> mongodb::error::Result<Option<K::Item>> {
        self.find_by_address(within(public_one::<K>(hidden), section), slugs).await
    }

    async fn find_by_address(
        &self,
        filter: Document,
        addresses: &[String],
    ) -> mongodb::error::Result<Option<K::Item>> {
        let Some((address, others)) = addresses.split_first() else { return Ok(None) };
        let exact = self.find_public(filter.clone(), Some(address)).await?;
        if exact.is_some() || others.is_empty() {
            return Ok(exact);
        }
        let candidates: Vec<_> =
            others.iter().flat_map(|other| lenient::text_candidates(other)).collect();
        let mut of_others = filter.clone();
        of_others.insert(K::ADDRESS, doc! { "$in": candidates });
        let address_alone = doc! { K::ADDRESS: 1, "_id": 0 };
        let mut documents = self.collection.find(of_others).projection(address_alone).await?;
        let mut places = BTreeSet::new();
        while let Some(document) = documents.try_next().await? {
            let address = FieldReader::new(&document).text(K::ADDRESS);
            places.extend(others.iter().position(|other| Some(other) == address.as_ref()));
        }
        for other in places.into_iter().filter_map(|place| others.get(place)) {
            let found = self.find_public(filter.clone(), Some(other)).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns the public item of a section that shows one; the one that was there first.
    pub(crate) async fn first_in(
        &self,
        section: ObjectId,
        hidden: &Hidden,
    ) -> mongodb::error::Result<Option<K::Item>> {
        self.find_public(within(public_one::<K>(hidden), section), None).await
    }

    /// Returns the item with this id, published or not, unless it is deleted.
    pub(crate) async fn by_id(&self, id: &str) -> mongodb::error::Result<Result<K::Item, NoItem>> {
        let Some(document) = self.find_by_id(id, None).await? else { return Ok(Err(no_item(id))) };
        let item = readable(K::read(&document)).filter(|reading| !reading.common.deleted);
        Ok(item.map(Reading::into_item).ok_or(NoItem::NotFound))
    }

    /// Returns the document that is listed with this id, in the trash or not. An `ObjectId` wins
    /// over a text of the same digits.
    async fn find_by_id(
        &self,
        id: &str,
        session: Option<&mut ClientSession>,
    ) -> mongodb::error::Result<Option<RawDocumentBuf>> {
        let candidates = lenient::id_candidates(id);
        let find = self.collection.find(doc! { "_id": { "$in": candidates } });
        let found: Vec<RawDocumentBuf> = match session {
            Some(session) => {
                let mut cursor = find.session(&mut *session).await?;
                cursor.stream(session).try_collect().await?
            }
            None => find.await?.try_collect().await?,
        };
        let precedence = |document: &RawDocumentBuf| {
            let stored = document.get("_id").ok().flatten()?;
            // Numbers that are equal may have other texts: 7.50 is not listed as 7.5.
            let is_listed = lenient::stored_id_text(stored).is_ok_and(|text| text == id);
            // Digits of an ObjectId may be of either case, unless another id is listed like that.
            let is_meant = is_listed || matches!(stored, RawBsonRef::ObjectId(_));
            is_meant.then(|| (!is_listed, lenient::id_precedence(stored)))
        };
        let found = found.into_iter().filter_map(|one| Some((precedence(&one)?, one)));
        Ok(found.min_by_key(|(precedence, _)| *precedence).map(|(_, document)| document))
    }

    /// Returns the first public item that the filter matches and that is looked up by this text.
    async fn find_public(
        &self,
        mut filter: Document,
        address: Option<&str>,
    ) -> mongodb::error::Result<Option<K::Item>> {
        if let Some(address) = address {
            filter.insert(K::ADDRESS, doc! { "$in": lenient::text_candidates(address) });
        }
        let order = match address {
            Some(_) if K::UNTITLED.is_some() => doc! { "createdDate": -1, "_id": -1 },
            _ => doc! { "_id": 1 },
        };
        // The query may match a little more than is meant: lists of values, numbers of other texts.
        let suits = |document: &RawDocumentBuf| {
            readable(K::read(document)).filter(|reading| {
                reading.is_public
                    && address.is_none_or(|one| reading.address.as_deref() == Some(one))
            })
        };
        let first = self.collection.find_one(filter.clone()).sort(order.clone()).await?;
        let Some(document) = first else { return Ok(None) };
        if let Some(reading) = suits(&document) {
            return Ok(Some(reading.into_item()));
        }
        let mut others = self.collection.find(filter).sort(order).await?;
        while let Some(document) = others.try_next().await? {
            if let Some(reading) = suits(&document) {
                return Ok(Some(reading.into_item()));
            }
        }
        Ok(None)
    }
}

/// Returns the reason why an id leads to nothing.
fn no_item(id: &str) -> NoItem {
    if id.parse::<ObjectId>().is_ok() { NoItem::NotFound } else { NoItem::InvalidId }
}

/// The shapes of documents that a query has to reckon with: it costs an index, and few collections
/// have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Oddities {
    /// Flags or dates that are lists: MongoDB compares each of their values.
    lists: bool,
    /// An `_id` of a type that has no text.
    ids: bool,
}

impl Oddities {
    const ANY: Self = Self { lists: true, ids: true };
    const NONE: Self = Self { lists: false, ids: false };
}

/// Matches the items that the public may see: published, not deleted, and not in a section that
/// hides them. The one place that decides it.
fn public<K: Kind>(hidden: &Hidden, oddities: Oddities) -> Document {
    let mut not_deleted = lenient::flag_values(false);
    not_deleted.extend(kind::absent_values());
    let mut filter = doc! {
        "is_published": { "$in": kind::published_values::<K>() },
        "deleted": { "$in": not_deleted },
    };
    match hidden {
        Hidden::Of(sections) if sections.is_empty() => {}
        Hidden::Of(sections) => {
            filter.insert("section_id", doc! { "$nin": references(sections) });
        }
        Hidden::AllOfSections => {
            filter.insert("section_id", doc! { "$eq": null });
        }
    }
    let mut none_of = Vec::new();
    if K::PUBLISHED_UNLESS_SAID {
        none_of.push(drafts_that_say_nothing());
    }
    if oddities.lists {
        none_of.push(doc! { "is_published": { "$type": "array" } });
        none_of.push(doc! { "deleted": { "$type": "array" } });
    }
    if oddities.ids {
        none_of.push(lenient::unreadable_ids());
    }
    if !none_of.is_empty() {
        filter.insert("$nor", none_of);
    }
    filter
}

/// Matches content without `is_published` that plainly says that it is a draft.
fn drafts_that_say_nothing() -> Document {
    let mut filter = drafts::is_draft();
    filter.insert("is_published", doc! { "$in": kind::absent_values().to_vec() });
    filter
}

/// Matches the items that editors see: those that are not plainly deleted.
fn not_deleted(oddities: Oddities) -> Document {
    let not_deleted = doc! { "deleted": { "$nin": lenient::flag_values(true) } };
    let mut filter = if oddities.lists {
        doc! { "$or": [not_deleted, { "deleted": { "$type": "array" } }] }
    } else {
        not_deleted
    };
    if oddities.ids {
        filter.insert("$nor", [lenient::unreadable_ids()]);
    }
    filter
}

fn public_one<K: Kind>(hidden: &Hidden) -> Document {
    public::<K>(hidden, Oddities::ANY)
}

/// Restricts a filter to a section, beside what it says of sections already.
fn within(mut filter: Document, section: ObjectId) -> Document {
    let mut of_section = filter.get_document("section_id").cloned().unwrap_or_default();
    of_section.insert("$in", references(&[section]));
    filter.insert("section_id", of_section);
    filter
}

/// How many items, deleted ones too, belong to one of these sections, given by their `_id`s.
pub async fn count_linked(
    connection: &Connection,
    sections: &[Bson],
) -> mongodb::error::Result<u64> {
    let ids = sections.iter().filter_map(Bson::as_object_id);
    let ids: Vec<_> = ids.map(|id| ObjectId::from_bytes(id.bytes())).collect();
    let linked = doc! { "section_id": { "$in": references(&ids) } };
    let mut count = 0;
    for collection in [STORIES, PROJECTS, PAGES] {
        let collection = connection.database().collection::<Document>(collection);
        count += collection.count_documents(linked.clone()).await?;
    }
    Ok(count)
}

/// The ids as content refers to them: as text. Some programs write its digits in upper case, or
/// keep references as `ObjectId`s.
fn references(ids: &[ObjectId]) -> Vec<Bson> {
    let forms = |id: &ObjectId| {
        let text = id.to_string();
        [text.to_uppercase().into(), text.into(), stored_id(*id).into()]
    };
    ids.iter().flat_map(forms).collect()
}

fn stored_id(id: ObjectId) -> oid::ObjectId {
    oid::ObjectId::from_bytes(id.bytes())
}
