//! The collections of content.

mod kind;
mod list;
pub(crate) mod migrations;

pub(crate) use kind::{Kind, Pages, Projects, Stories};
pub(crate) use list::Filter;

use std::{sync::Arc, time::Duration};

use models::ObjectId;
use moka::sync::Cache;
use mongo_kit::{Cached, Watch, document::Unreadable};
use mongodb::{
    Collection, Database,
    bson::{Document, RawDocumentBuf, doc, oid},
};

use list::Survey;

pub(crate) const STORIES: &str = "stories";
pub(crate) const PROJECTS: &str = "projects";
pub(crate) const PAGES: &str = "pages";
pub(crate) const USERS: &str = "users";

/// For how many filters the number of items is remembered: sections are few, but a caller may ask
/// for any id.
const REMEMBERED_FILTERS: u64 = 500;

/// For how long after a change a number of items may be answered that was counted before it. The
/// promise is a second; counting a million documents takes about half of one.
const SURVEY_TOLERANCE: Duration = Duration::from_millis(800);

/// Reads one kind of content.
pub(crate) struct ContentStore<K> {
    collection: Collection<RawDocumentBuf>,
    watch: Watch,
    surveys: Cache<Filter, Arc<Cached<Arc<Survey>>>>,
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
    pub(crate) fn new(database: &Database) -> Self {
        Self {
            collection: database.collection(K::COLLECTION),
            watch: Watch::new(database, K::COLLECTION),
            surveys: Cache::new(REMEMBERED_FILTERS),
            kind: std::marker::PhantomData,
        }
    }

    /// The published item with this slug; the newest where several have it.
    pub(crate) async fn by_slug(&self, slug: &str) -> Result<Option<K::Item>, ReadError> {
        let mut filter = doc! { "slug": slug };
        filter.extend(public::<K>());
        self.find_one(filter, doc! { "createdDate": -1, "_id": -1 }).await
    }

    /// The item with this id, published or not, unless it is deleted.
    pub(crate) async fn by_id(&self, id: ObjectId) -> Result<Option<K::Item>, ReadError> {
        let id = oid::ObjectId::from_bytes(id.bytes());
        let filter = doc! { "_id": id, "deleted": { "$ne": true } };
        self.find_one(filter, doc! { "_id": 1 }).await
    }

    async fn find_one(
        &self,
        filter: Document,
        order: Document,
    ) -> Result<Option<K::Item>, ReadError> {
        let Some(document) = self.collection.find_one(filter).sort(order).await? else {
            return Ok(None);
        };
        let (common, fields) = K::read(&document).map_err(ReadError::Unreadable)?;
        Ok(Some(K::item(common, fields)))
    }
}

impl ContentStore<Pages> {
    /// The published page of this type; the one that was there first where several are.
    pub(crate) async fn by_type(&self, page_type: &str) -> Result<Option<models::Page>, ReadError> {
        let mut filter = doc! { "page_type": page_type };
        filter.extend(public::<Pages>());
        self.find_one(filter, doc! { "_id": 1 }).await
    }
}

/// What the public may see. The one place that decides it.
fn public<K: Kind>() -> Document {
    let mut filter = K::published();
    filter.extend(doc! { "deleted": { "$ne": true } });
    filter
}
