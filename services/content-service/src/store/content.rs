//! The collection of one kind of content.

use std::{marker::PhantomData, sync::Arc};

use chrono::{DateTime, Utc};
use data_service::{
    Abort,
    changes::{Cached, Changes, Read},
    idempotency::Idempotency,
    revisions::Revisions,
    server_clock,
};
use models::ObjectId;
use moka::sync::Cache;
use mongo_kit::{Connection, Writers, feed::Change};
use mongodb::{Collection, bson::RawDocumentBuf};
use service_kit::runtime::{clock::Clock, settings};

use super::{
    authors::{Authors, Names},
    collections::SERVICE,
    editing::EditingStore,
    filters::odd_references,
    former_slugs::FormerSlugs,
    item_drafts::DraftStore,
    item_tags::StoredTags,
    keys::{ContentKeys, changed},
    kind::Kind,
    list::ListState,
    revisions::REVISIONS,
    schedule::ScheduleStore,
    search::SearchStore,
    slugs::{Locks, SlugQueue},
    survey::{LIST_TOLERANCE, ListShapes},
};
use crate::domain::{item_paths::ShownItems, list::Filter};

/// The most lists whose total is cached: sections are few, but a request may contain any id.
const MAX_LIST_STATES: u64 = 500;

/// The most sets of static pages whose items are cached: the present one, and the one before.
const MAX_SHOWN_ITEMS: u64 = 2;

/// The result of a change, and the keys that it concerns.
pub(crate) struct Changed<T> {
    pub(crate) value: T,
    pub(crate) keys: Vec<String>,
}

/// Reads and writes one kind of content.
pub(crate) struct ContentStore<K> {
    pub(super) writers: Writers,
    pub(super) collection: Collection<RawDocumentBuf>,
    /// The clock of the database server.
    pub(super) clock: Clock,
    pub(super) changes: Changes,
    /// The shapes of the documents, for lists of the whole kind.
    pub(super) lists: ListShapes,
    /// The same for lists of a section.
    pub(super) lists_in_sections: ListShapes,
    pub(super) list_states: Cache<Filter, Arc<ListState>>,
    odd_references: Arc<Cached<Arc<[String]>>>,
    /// The items that static pages show, by the static pages.
    pub(super) shown_items: Cache<Vec<ObjectId>, Arc<Cached<Arc<ShownItems>>>>,
    authors: Authors,
    pub(super) tags: StoredTags,
    pub(super) idempotency: Idempotency,
    pub(super) locks: Locks,
    pub(super) search: SearchStore,
    pub(super) schedule: ScheduleStore,
    pub(super) slug_queue: SlugQueue,
    pub(super) former_slugs: FormerSlugs,
    pub(super) drafts: DraftStore,
    editing: EditingStore,
    pub(super) revisions: Revisions,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> ContentStore<K> {
    pub(crate) fn new(
        connection: &Connection,
        changes: &Changes,
        revisions: settings::Revisions,
    ) -> Self {
        let database = connection.database();
        let name = K::TYPE.collection();
        let keys = ContentKeys::of::<K>();
        let lists = |in_sections| ListShapes::new(database, name, changes, keys.total(in_sections));
        Self {
            writers: connection.writers().clone(),
            collection: database.collection(name),
            list_states: Cache::new(MAX_LIST_STATES),
            changes: changes.clone(),
            lists: lists(false),
            lists_in_sections: lists(true),
            odd_references: Cached::new(changes, vec![keys.total(true)], LIST_TOLERANCE),
            shown_items: Cache::new(MAX_SHOWN_ITEMS),
            authors: Authors::new(connection, changes),
            tags: StoredTags::new(keys, changes),
            idempotency: Idempotency::new(connection, SERVICE),
            locks: Locks::new(database),
            search: SearchStore::new(connection),
            schedule: ScheduleStore::new(connection),
            slug_queue: SlugQueue::default(),
            former_slugs: FormerSlugs::new(database, name),
            drafts: DraftStore::new(database),
            editing: EditingStore::new(database),
            revisions: Revisions::new(database, REVISIONS, revisions),
            clock: server_clock(connection),
            kind: PhantomData,
        }
    }

    /// Records a change of an item by this process, and returns the keys that it concerns.
    pub(super) fn record<T, E>(
        &self,
        change: &Change,
        result: &Result<T, Abort<E>>,
    ) -> Vec<String> {
        let keys = changed::<K>(change);
        self.changes.record(&keys, result);
        keys
    }

    /// Returns the names of users, of which items have that of their author.
    pub(crate) async fn names(&self) -> mongodb::error::Result<Read<Arc<Names>>> {
        self.authors.names().await
    }

    /// Returns the editors who have items open.
    pub(crate) fn editing(&self) -> &EditingStore {
        &self.editing
    }

    /// Returns the present time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Returns the values of `section_id` that contain the digits of an id and more, such as white
    /// space around it.
    pub(crate) async fn odd_references(&self) -> mongodb::error::Result<Read<Arc<[String]>>> {
        self.odd_references.get(odd_references(self.collection.clone())).await
    }
}
