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
pub(crate) use users::UserStore;
pub(crate) use write::{NewItem, WriteError};

use std::{
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
    document::{Unreadable, readable},
};
use mongodb::{
    Client, Collection,
    bson::{Bson, Document, RawDocumentBuf, doc, oid},
};
use service_kit::clock::Clock;

use crate::domain::Hidden;

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
const LISTED_BY: &[&str] = &["is_published", "deleted", "createdDate"];

/// The same of lists to which the section matters.
const LISTED_BY_IN_SECTIONS: &[&str] = &["is_published", "deleted", "createdDate", "section_id"];

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

/// Why content could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The database failed.
    Database(mongodb::error::Error),
    /// The document is in a shape that cannot be read.
    Unreadable(Unreadable),
}

impl From<mongodb::error::Error> for ReadError {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Database(error)
    }
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

    /// The public item with this slug; the newest where several have it.
    pub(crate) async fn by_slug(
        &self,
        slug: &str,
        hidden: &Hidden,
    ) -> Result<Option<K::Item>, ReadError> {
        let mut filter = public_one::<K>(hidden);
        filter.insert("slug", slug);
        self.find_one(filter, doc! { "createdDate": -1, "_id": -1 }).await
    }

    /// The public item of a section with this slug; the newest where several have it.
    pub(crate) async fn by_slug_in(
        &self,
        section: ObjectId,
        slug: &str,
        hidden: &Hidden,
    ) -> Result<Option<K::Item>, ReadError> {
        let mut filter = within(public_one::<K>(hidden), section);
        filter.insert("slug", slug);
        self.find_one(filter, doc! { "createdDate": -1, "_id": -1 }).await
    }

    /// The public item of a section that shows one; the one that was there first.
    pub(crate) async fn first_in(
        &self,
        section: ObjectId,
        hidden: &Hidden,
    ) -> Result<Option<K::Item>, ReadError> {
        self.find_one(within(public_one::<K>(hidden), section), doc! { "_id": 1 }).await
    }

    /// The item with this id, published or not, unless it is deleted.
    pub(crate) async fn by_id(&self, id: ObjectId) -> Result<Option<K::Item>, ReadError> {
        let filter = doc! { "_id": stored_id(id), "deleted": { "$ne": true } };
        self.find_one(filter, doc! { "_id": 1 }).await
    }

    async fn find_one(
        &self,
        filter: Document,
        order: Document,
    ) -> Result<Option<K::Item>, ReadError> {
        let first = self.collection.find_one(filter.clone()).sort(order.clone()).await?;
        let Some(document) = first else { return Ok(None) };
        let unreadable = match K::read(&document) {
            Ok((common, fields)) => return Ok(Some(K::item(common, fields))),
            Err(unreadable) => unreadable,
        };
        // It does not hide the next one that would do.
        let mut others = self.collection.find(filter).sort(order).await?;
        while let Some(document) = others.try_next().await? {
            if let Some((common, fields)) = readable(K::read(&document)) {
                return Ok(Some(K::item(common, fields)));
            }
        }
        Err(ReadError::Unreadable(unreadable))
    }
}

impl ContentStore<Pages> {
    /// The public page of this type; the one that was there first where several are.
    pub(crate) async fn by_type(
        &self,
        page_type: &str,
        hidden: &Hidden,
    ) -> Result<Option<models::Page>, ReadError> {
        let mut filter = public_one::<Pages>(hidden);
        filter.insert("page_type", page_type);
        self.find_one(filter, doc! { "_id": 1 }).await
    }
}

/// What the public may see: what is published, not deleted, and not in a section that hides it. The
/// one place that decides it.
fn public<K: Kind>(hidden: &Hidden) -> Document {
    let mut filter = K::published();
    filter.insert("deleted", doc! { "$ne": true });
    match hidden {
        Hidden::Of(sections) if sections.is_empty() => {}
        Hidden::Of(sections) => {
            filter.insert("section_id", doc! { "$nin": references(sections) });
        }
        Hidden::AllOfSections => {
            filter.insert("section_id", doc! { "$eq": null });
        }
    }
    filter
}

/// The same to look for one item. MongoDB takes a list for each value in it, so that `[true]` is
/// matched as well; the index that lists are counted by cannot tell, and they leave it out later.
fn public_one<K: Kind>(hidden: &Hidden) -> Document {
    let mut filter = public::<K>(hidden);
    filter.insert("$nor", [doc! { "is_published": { "$type": "array" } }]);
    filter
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
