//! The collections `sections` and `section_redirects`.

pub(crate) mod collections;
mod document;
mod integrity;
mod parse;
pub(crate) mod revisions;
pub(crate) mod seed;
pub(crate) mod snapshot;
pub(crate) mod write;

use std::{sync::Arc, time::Duration};

use data_service::{
    changes::{Cached, Changes, Family, Read, Source},
    idempotency::Idempotency,
    revisions::Revisions,
    server_clock,
};
use futures_util::TryStreamExt;
use models::{Section, changes::SECTIONS_KEY, section_paths::Redirects};
use mongo_kit::{Connection, Writers, document::readable, feed::WatchedCollection};
use mongodb::{
    Collection,
    bson::{Document, RawDocumentBuf, doc, oid},
    error::Result,
};
use service_kit::runtime::{clock::Clock, settings};
use tokio::sync::Mutex;

use self::{
    collections::{COLLECTION, REDIRECTS, REPAIRS, REVISIONS, SERVICE, TREE},
    parse::{ParsedSections, parse_redirect, parse_sections},
    seed::initial_sections,
    snapshot::Snapshot,
};
use crate::domain::navigation::Navigation;

/// Returns the changes of the service.
pub(crate) fn changes(connection: &Connection) -> Changes {
    let collections = [COLLECTION, REDIRECTS].map(|name| WatchedCollection { name, fields: &[] });
    let keys = |_: &_| vec![SECTIONS_KEY.to_owned()];
    let (collections, public) = (collections.to_vec(), vec![SECTIONS_KEY.to_owned()]);
    let family = Family { name: SECTIONS_KEY, collections, keys, public };
    Changes::new(Source::Sections, vec![family], connection)
}

/// Reads and changes sections. All of them are kept in memory until one changes: a site has few, and
/// each of its pages shows them.
#[derive(Debug)]
pub(crate) struct SectionStore {
    writers: Writers,
    collection: Collection<RawDocumentBuf>,
    redirects: Collection<RawDocumentBuf>,
    tree: Collection<Document>,
    repairs: Collection<Document>,
    changes: Changes,
    cached_snapshot: Arc<Cached<Arc<Snapshot>>>,
    cached_redirects: Arc<Cached<Arc<Redirects>>>,
    idempotency: Idempotency,
    revisions: Revisions,
    /// The clock of the database server.
    clock: Clock,
    /// Serializes the changes of this process: the database would make them repeat each other.
    write_lock: Mutex<()>,
    /// The sections to answer if there is none in the database.
    fallback: Vec<Section>,
}

impl SectionStore {
    pub(crate) fn new(
        connection: &Connection,
        changes: &Changes,
        revisions: settings::Revisions,
    ) -> Self {
        let database = connection.database().clone();
        let keys = || vec![SECTIONS_KEY.to_owned()];
        Self {
            collection: database.collection(COLLECTION),
            redirects: database.collection(REDIRECTS),
            tree: database.collection(TREE),
            repairs: database.collection(REPAIRS),
            changes: changes.clone(),
            // No value is answered after its change is known: navigations are shown on every page.
            cached_snapshot: Cached::new(changes, keys(), Duration::ZERO),
            cached_redirects: Cached::new(changes, keys(), Duration::ZERO),
            idempotency: Idempotency::new(connection, SERVICE),
            revisions: Revisions::new(&database, REVISIONS, revisions),
            write_lock: Mutex::new(()),
            fallback: Vec::new(),
            writers: connection.writers().clone(),
            clock: server_clock(connection),
        }
    }

    /// Opens the store for a process that serves no requests.
    pub(crate) fn open_alone(connection: &Connection) -> Self {
        let changes = Changes::unheard(Source::Sections, connection);
        Self::new(connection, &changes, settings::Revisions::default())
    }

    /// Answers as if the migrations had run: with the initial sections if there is none.
    pub(crate) fn previewing_seed(mut self) -> Self {
        let seed = initial_sections(self.clock.now()).into_iter().filter_map(|mut section| {
            section.insert("_id", oid::ObjectId::new());
            RawDocumentBuf::try_from(&section).ok()
        });
        let stored = parse_sections(&seed.collect::<Vec<_>>()).stored;
        self.fallback = stored.into_iter().map(|stored| stored.section).collect();
        self
    }

    /// Returns all sections.
    pub(crate) async fn snapshot(&self) -> Result<Read<Arc<Snapshot>>> {
        let (collection, fallback) = (self.collection.clone(), self.fallback.clone());
        let load = async move {
            let parsed = parse_sections(&all_documents(&collection).await?);
            snapshot(parsed, fallback).map(Arc::new)
        };
        self.cached_snapshot.get(load).await
    }

    /// Returns all redirects.
    pub(crate) async fn redirects(&self) -> Result<Read<Arc<Redirects>>> {
        let redirects = self.redirects.clone();
        let load = async move {
            let documents = all_documents(&redirects).await?;
            let parsed = documents.iter().filter_map(|document| readable(parse_redirect(document)));
            Ok(Arc::new(parsed.collect()))
        };
        self.cached_redirects.get(load).await
    }
}

/// Builds the snapshot of the documents. Warns of those that cannot be read.
fn snapshot(parsed: ParsedSections, fallback: Vec<Section>) -> Result<Snapshot> {
    let ParsedSections { stored, unreadable, .. } = parsed;
    let unreadable = unreadable.into_iter().filter(|one| !one.is_deleted).map(|one| {
        let id = one.error.id.clone();
        readable::<()>(Err(one.error));
        id
    });
    let withheld = stored.iter().filter(|stored| stored.is_withheld);
    let withheld = withheld.map(|stored| stored.section.id).collect();
    let (deleted, live): (Vec<_>, Vec<_>) =
        stored.into_iter().partition(|stored| stored.is_deleted);
    let deleted = deleted.into_iter().map(|stored| stored.section).collect();
    let mut live: Vec<_> = live.into_iter().map(|stored| stored.section).collect();
    if live.is_empty() {
        live = fallback;
    }
    let navigation = Navigation::new(live, deleted).with_withheld(withheld);
    Snapshot::new(navigation, unreadable.collect())
}

async fn all_documents(collection: &Collection<RawDocumentBuf>) -> Result<Vec<RawDocumentBuf>> {
    collection.find(doc! {}).await?.try_collect().await
}
