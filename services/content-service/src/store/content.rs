//! The collection of one kind of content.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use data_service::{idempotency::Idempotency, server_clock};
use moka::sync::Cache;
use mongo_kit::{Cached, Connection, Stamp, Watch, Writers};
use mongodb::{Collection, bson::RawDocumentBuf};
use service_kit::runtime::clock::Clock;

use super::{
    collections::SERVICE,
    filters::odd_references,
    kind::Kind,
    list::ListState,
    slugs::{Locks, SlugQueue},
    survey::{LIST_TOLERANCE, ListWatch},
};
use crate::domain::list::Filter;

/// The most lists whose total is cached: sections are few, but a request may contain any id.
const MAX_LIST_STATES: u64 = 500;

/// The fields that decide which items lists have and in which order. A write of any other field does
/// not make a list be counted again.
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
    pub(super) writers: Writers,
    pub(super) collection: Collection<RawDocumentBuf>,
    /// The clock of the database server.
    pub(super) clock: Clock,
    watch: Watch,
    /// Changes that matter to lists of the whole kind.
    pub(super) lists: ListWatch,
    /// Changes that matter to lists of a section.
    pub(super) lists_in_sections: ListWatch,
    pub(super) list_states: Cache<Filter, Arc<ListState>>,
    odd_references: Arc<Cached<Arc<[String]>>>,
    pub(super) idempotency: Idempotency,
    pub(super) locks: Locks,
    pub(super) slug_queue: SlugQueue,
    /// The number of changes that this process has made in the collection.
    writes: AtomicU64,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> ContentStore<K> {
    pub(crate) fn new(connection: &Connection) -> Self {
        let database = connection.database();
        let name = K::TYPE.collection();
        let lists_in_sections = ListWatch::new(database, name, LISTED_BY_IN_SECTIONS);
        Self {
            writers: connection.writers().clone(),
            collection: database.collection(name),
            list_states: Cache::new(MAX_LIST_STATES),
            watch: Watch::new(database, name),
            lists: ListWatch::new(database, name, LISTED_BY),
            odd_references: Cached::new(lists_in_sections.watch.clone(), LIST_TOLERANCE),
            lists_in_sections,
            idempotency: Idempotency::new(connection, SERVICE),
            locks: Locks::new(database),
            slug_queue: SlugQueue::default(),
            clock: server_clock(connection),
            writes: AtomicU64::new(0),
            kind: PhantomData,
        }
    }

    /// Returns a stamp that tells whether the collection has changed since this call.
    pub(crate) async fn stamp(&self) -> mongodb::error::Result<Stamp> {
        self.watch.stamp().await
    }

    /// Returns the number of changes that this process has made: it grows before a [`Stamp`] shows
    /// the change.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    /// Counts a change of this process, or the attempt of one.
    pub(super) fn count_write(&self) {
        self.writes.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns the present time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Returns the values of `section_id` that contain the digits of an id and more, such as white
    /// space around it.
    pub(crate) async fn odd_references(&self) -> mongodb::error::Result<Arc<[String]>> {
        self.odd_references.get(odd_references(self.collection.clone())).await
    }
}
