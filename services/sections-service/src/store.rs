//! The collections `sections` and `section_redirects`.

mod document;
mod integrity;
pub(crate) mod migrations;
mod write;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use data_service::idempotency::Idempotency;
use futures_util::TryStreamExt;
use models::{ObjectId, Section};
use mongo_kit::{Cached, Connection, Watch, document::readable};
use mongodb::{
    Client, Collection, Database,
    bson::{Document, RawDocumentBuf, doc, oid},
    error::{Error, Result},
};
use service_kit::{runtime::clock::Clock, web::conditional::ETag};
use tokio::sync::Mutex;

pub(crate) use write::Written;

use self::document::{Parsed, parse, rule};
use crate::domain::{Redirects, Sections};

const COLLECTION: &str = "sections";

/// The collections of an existing site that this service writes to.
pub const COLLECTIONS: &[&str] = &[COLLECTION];

/// Where sections were: one rule for each path that one had.
const REDIRECTS: &str = "section_redirects";

/// Documents as they were before a repair changed or removed them.
const REPAIRS: &str = "section_repairs";

/// The document that every change of the tree touches, so that two of them conflict.
const TREE: &str = "section_tree";

/// The name of the service in its ledger.
pub(crate) const SERVICE: &str = "sections";

/// Reads and changes sections. All of them are kept in memory until one changes: a site has few,
/// and every page of it shows them.
#[derive(Debug)]
pub(crate) struct SectionStore {
    client: Client,
    collection: Collection<RawDocumentBuf>,
    redirects: Collection<RawDocumentBuf>,
    tree: Collection<Document>,
    repairs: Collection<Document>,
    snapshot: Cache<Arc<Snapshot>>,
    rules: Cache<Arc<Redirects>>,
    idempotency: Idempotency,
    clock: Clock,
    /// One change at a time in this process: the database would make them repeat each other.
    writing: Mutex<()>,
    /// What to answer where there is no section.
    unless_any: Vec<Section>,
}

/// The sections at one moment, and what names their states.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The sections.
    pub(crate) sections: Sections,
    /// Those that are not deleted and cannot be read.
    unreadable: HashSet<ObjectId>,
    tag: ETag,
    tags: HashMap<ObjectId, ETag>,
}

impl Snapshot {
    fn new(sections: Sections, unreadable: HashSet<ObjectId>) -> Result<Self> {
        let tag_of = |section: &Section| {
            serde_json::to_vec(section).map(|json| ETag::of(&json)).map_err(Error::custom)
        };
        let tags = sections.all().iter().map(|section| Ok((section.id, tag_of(section)?)));
        let tags: HashMap<_, _> = tags.collect::<Result<_>>()?;
        let entries = sections.entries(&Redirects::default());
        let everything = (sections.all(), entries);
        let everything = serde_json::to_vec(&everything).map_err(Error::custom)?;
        let tag = ETag::of(&everything);
        Ok(Self { sections, unreadable, tag, tags })
    }

    /// The state of all of them.
    pub(crate) fn tag(&self) -> &ETag {
        &self.tag
    }

    /// The state of one that is not deleted.
    pub(crate) fn tag_of(&self, id: ObjectId) -> Option<&ETag> {
        self.tags.get(&id)
    }

    /// Whether there is a section with this id that cannot be read.
    pub(crate) fn is_unreadable(&self, id: ObjectId) -> bool {
        self.unreadable.contains(&id)
    }
}

/// A cache that can be emptied. What this process writes, it knows before the database tells it.
#[derive(Debug)]
struct Cache<T: Clone> {
    database: Database,
    collection: &'static str,
    cached: RwLock<Arc<Cached<T>>>,
}

impl<T: Clone + Send + Sync + 'static> Cache<T> {
    fn new(database: &Database, collection: &'static str) -> Self {
        let cached = RwLock::new(Self::empty(database, collection));
        Self { database: database.clone(), collection, cached }
    }

    /// A menu is never older than the news of its change.
    fn empty(database: &Database, collection: &'static str) -> Arc<Cached<T>> {
        Cached::new(Watch::new(database, collection), Duration::ZERO)
    }

    async fn get(&self, read: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let cached = self.cached.read().unwrap_or_else(PoisonError::into_inner).clone();
        cached.get(read).await
    }

    fn forget(&self) {
        let empty = Self::empty(&self.database, self.collection);
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = empty;
    }
}

impl SectionStore {
    pub(crate) fn new(connection: &Connection, clock: Clock) -> Self {
        let (client, database) = (connection.client().clone(), connection.database().clone());
        Self {
            collection: database.collection(COLLECTION),
            redirects: database.collection(REDIRECTS),
            tree: database.collection(TREE),
            repairs: database.collection(REPAIRS),
            snapshot: Cache::new(&database, COLLECTION),
            rules: Cache::new(&database, REDIRECTS),
            idempotency: Idempotency::new(&database, SERVICE, clock.clone()),
            writing: Mutex::new(()),
            unless_any: Vec::new(),
            client,
            clock,
        }
    }

    /// Answers as if the migrations had run: with the initial sections where there is none.
    pub(crate) fn previewing_seed(mut self) -> Self {
        let seed = migrations::initial_sections(self.clock.now());
        let seed = seed.into_iter().filter_map(|mut section| {
            section.insert("_id", oid::ObjectId::new());
            RawDocumentBuf::try_from(&section).ok()
        });
        let stored = parse(&seed.collect::<Vec<_>>()).stored;
        self.unless_any = stored.into_iter().map(|stored| stored.section).collect();
        self
    }

    /// All sections.
    pub(crate) async fn all(&self) -> Result<Arc<Snapshot>> {
        let (collection, unless_any) = (self.collection.clone(), self.unless_any.clone());
        let load = async move {
            let Parsed { stored, unreadable, .. } = parse(&documents(&collection).await?);
            let (deleted, mut live): (Vec<_>, Vec<_>) =
                stored.into_iter().partition(|stored| stored.is_deleted);
            let known = unreadable.iter().filter_map(|one| one.error.id.parse().ok()).collect();
            let unreadable = unreadable
                .into_iter()
                .filter(|one| !one.is_deleted)
                .filter_map(|one| {
                    let id = one.error.id.parse().ok();
                    readable::<()>(Err(one.error));
                    id
                })
                .collect();
            let deleted = deleted.into_iter().map(|stored| stored.section).collect();
            let mut sections: Vec<_> = live.drain(..).map(|stored| stored.section).collect();
            if sections.is_empty() {
                sections = unless_any;
            }
            let sections = Sections::new(sections, deleted).with_unreadable(known);
            Snapshot::new(sections, unreadable).map(Arc::new)
        };
        self.snapshot.get(load).await
    }

    /// Where sections were.
    pub(crate) async fn rules(&self) -> Result<Arc<Redirects>> {
        let redirects = self.redirects.clone();
        let load = async move {
            let documents = documents(&redirects).await?;
            let rules = documents.iter().filter_map(|document| readable(rule(document)));
            Ok(Arc::new(rules.collect()))
        };
        self.rules.get(load).await
    }
}

async fn documents(collection: &Collection<RawDocumentBuf>) -> Result<Vec<RawDocumentBuf>> {
    collection.find(doc! {}).await?.try_collect().await
}
