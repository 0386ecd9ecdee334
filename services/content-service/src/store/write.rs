//! Changing content.
//!
//! Every change reads the item, is checked against what it is, and sets fields, in one
//! transaction. Nothing is ever replaced: what nobody here models stays.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::Ordering,
    time::Duration,
};

use chrono::{DateTime, Utc};
use data_service::{
    Abort,
    idempotency::{KeyReused, KeyedRequest},
    transact,
};
use models::{ObjectId, Patch};
use mongo_kit::document::Unreadable;
use mongodb::{
    ClientSession,
    bson::{self, Bson, Document, RawDocument, RawDocumentBuf, doc, oid},
    error::Error,
    options::ReturnDocument,
};
use service_kit::ApiError;
use tokio::sync::{Mutex, MutexGuard};

use super::{
    Changes, ContentStore, Kind,
    kind::stored_date,
    slugs::{self, FIRST_NUMBER},
    stored_id,
};

/// Why a change is refused.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// There is no such item, or it is in the trash.
    NotFound,
    /// The item is in a shape that cannot be read.
    Unreadable(Unreadable),
    /// Another item has the slug by now.
    SlugTaken(String),
    /// The idempotency key was used for another request.
    KeyReused(KeyReused),
    /// The caller may not, or expects another state.
    Refused(ApiError),
}

impl From<KeyReused> for WriteError {
    fn from(reused: KeyReused) -> Self {
        Self::KeyReused(reused)
    }
}

impl From<WriteError> for Abort<WriteError> {
    fn from(error: WriteError) -> Self {
        Self::Refused(error)
    }
}

/// Decides whether an item, whose owner comes first, may be changed.
pub(crate) type Guard<'a, T> = &'a (dyn Fn(Option<&str>, &T) -> Result<(), ApiError> + Sync);

/// What a new item has beside what its body says.
pub(crate) struct NewItem {
    /// What the body says; its content is safe.
    pub(crate) changes: Changes,
    /// When it is said to have been created; now unless said.
    pub(crate) created: Option<DateTime<Utc>>,
    /// Whose it is.
    pub(crate) user_id: Option<String>,
}

impl<K: Kind> ContentStore<K> {
    /// What was answered to this request, if it has come before.
    pub(crate) async fn created(
        &self,
        keyed: &KeyedRequest,
    ) -> Result<Option<K::Item>, Abort<WriteError>> {
        self.idempotency.earlier(keyed).await
    }

    /// Adds an item; the same request with the same key adds it once.
    pub(crate) async fn create(
        &self,
        new: NewItem,
        keyed: Option<&KeyedRequest>,
    ) -> Result<K::Item, Abort<WriteError>> {
        let title = new.changes.title.as_ref().map(ToString::to_string).unwrap_or_default();
        let base = K::UNTITLED.map(|untitled| slugs::from_title(&title, untitled)).transpose()?;
        let document = self.document(new);
        // Those who would choose the same slug do so one after the other, as far as one process
        // can see to it; the database sees to the rest.
        let _turn = match &base {
            Some(base) => self.turns.turn(base).await,
            None => None,
        };
        let result = self
            .idempotency
            .once(&self.client, keyed, async |session: &mut ClientSession| {
                let mut document = document.clone();
                if let Some(base) = &base {
                    let documents = self.collection.clone_with_type();
                    let taken = slugs::taken(&documents, base, session).await?;
                    let taken = HashSet::from_iter(taken);
                    let slug = slugs::first_free(base, &taken, &mut { FIRST_NUMBER });
                    self.locks.lock(K::COLLECTION, slug.as_str(), session).await?;
                    document.insert("slug", slug.as_str());
                }
                let raw = RawDocumentBuf::try_from(&document).map_err(Error::from)?;
                self.collection.insert_one(&raw).session(session).await?;
                Ok(item::<K>(&raw)?)
            })
            .await;
        self.wrote();
        result
    }

    /// Changes an item, to what follows from what it is. That is asked again where somebody else
    /// changes the item meanwhile.
    pub(crate) async fn update(
        &self,
        id: ObjectId,
        guard: Guard<'_, K::Item>,
        changes: impl AsyncFn(&K::Item) -> Result<Changes, ApiError>,
    ) -> Result<K::Item, Abort<WriteError>> {
        self.change(id, guard, async |item| {
            let mut set = written(changes(item).await?);
            set.insert("updatedDate", stored_date(self.clock.now()));
            Ok(set)
        })
        .await
    }

    /// Puts an item into the trash.
    pub(crate) async fn delete(
        &self,
        id: ObjectId,
        guard: Guard<'_, K::Item>,
    ) -> Result<(), Abort<WriteError>> {
        let now = stored_date(self.clock.now());
        let set = doc! { "deleted": true, "updatedDate": now };
        self.change(id, guard, async |_| Ok(set.clone())).await.map(drop)
    }

    /// Takes an item out of the trash; one that is not in it stays as it is.
    pub(crate) async fn restore(
        &self,
        id: ObjectId,
        guard: Guard<'_, K::Item>,
    ) -> Result<K::Item, Abort<WriteError>> {
        let id = doc! { "_id": stored_id(id) };
        let now = stored_date(self.clock.now());
        let result = transact(&self.client, async |session: &mut ClientSession| {
            let found = self.collection.find_one(id.clone()).session(&mut *session).await?;
            let found = found.ok_or(WriteError::NotFound)?;
            let current = guarded::<K>(&found, guard)?;
            if !matches!(found.get("deleted"), Ok(Some(bson::RawBsonRef::Boolean(true)))) {
                return Ok(current);
            }
            if K::UNTITLED.is_some() {
                self.require_free_slug(&found, session).await?;
            }
            self.set(id.clone(), doc! { "deleted": false, "updatedDate": now }, session).await
        })
        .await;
        self.wrote();
        result
    }

    /// This process has changed the collection, or tried to.
    pub(super) fn wrote(&self) {
        self.writes.fetch_add(1, Ordering::AcqRel);
    }

    fn document(&self, new: NewItem) -> Document {
        let now = self.clock.now();
        let mut document = doc! { "_id": oid::ObjectId::new() };
        document.extend(written(new.changes));
        if !document.contains_key("is_published") {
            document.insert("is_published", true);
        }
        document.insert("createdDate", stored_date(new.created.unwrap_or(now)));
        document.insert("updatedDate", stored_date(now));
        document.insert("deleted", false);
        // Without, so that the migration can give it to the admin, once there is one.
        if let Some(user_id) = new.user_id {
            document.insert("user_id", user_id);
        }
        document
    }

    async fn change(
        &self,
        id: ObjectId,
        guard: Guard<'_, K::Item>,
        set: impl AsyncFn(&K::Item) -> Result<Document, ApiError>,
    ) -> Result<K::Item, Abort<WriteError>> {
        let filter = doc! { "_id": stored_id(id), "deleted": { "$ne": true } };
        let result = transact(&self.client, async |session: &mut ClientSession| {
            let found = self.collection.find_one(filter.clone()).session(&mut *session).await?;
            let item = guarded::<K>(&found.ok_or(WriteError::NotFound)?, guard)?;
            let set = set(&item).await.map_err(WriteError::Refused)?;
            self.set(filter.clone(), set, session).await
        })
        .await;
        self.wrote();
        result
    }

    async fn set(
        &self,
        filter: Document,
        set: Document,
        session: &mut ClientSession,
    ) -> Result<K::Item, Abort<WriteError>> {
        let changed = self
            .collection
            .find_one_and_update(filter, doc! { "$set": set })
            .return_document(ReturnDocument::After)
            .session(session)
            .await?;
        Ok(item::<K>(&changed.ok_or(WriteError::NotFound)?)?)
    }

    /// Refuses where an item that is not deleted has the slug of this one.
    async fn require_free_slug(
        &self,
        found: &RawDocument,
        session: &mut ClientSession,
    ) -> Result<(), Abort<WriteError>> {
        let slug = found.get_str("slug").unwrap_or_default();
        if slug.is_empty() {
            return Ok(());
        }
        self.locks.lock(K::COLLECTION, slug, session).await?;
        let twin = doc! { "slug": slug, "deleted": { "$ne": true } };
        if self.collection.find_one(twin).session(session).await?.is_some() {
            return Err(WriteError::SlugTaken(slug.to_owned()).into());
        }
        Ok(())
    }
}

/// The fields that the changes set.
fn written(changes: Changes) -> Document {
    let mut set = Document::new();
    if let Some(title) = changes.title {
        set.insert("title", title.as_str());
    }
    if let Some(content) = changes.content {
        set.insert("content", content.as_str());
    }
    if let Some(is_published) = changes.is_published {
        set.insert("is_published", is_published);
    }
    match changes.section {
        Patch::Absent => {}
        Patch::Null => {
            set.insert("section_id", Bson::Null);
        }
        Patch::Value(section) => {
            set.insert("section_id", section.to_string());
        }
    }
    set.extend(changes.own);
    set
}

fn item<K: Kind>(document: &RawDocument) -> Result<K::Item, WriteError> {
    let (common, fields) = K::read(document).map_err(WriteError::Unreadable)?;
    Ok(K::item(common, fields))
}

fn guarded<K: Kind>(
    document: &RawDocument,
    guard: Guard<'_, K::Item>,
) -> Result<K::Item, WriteError> {
    let (common, fields) = K::read(document).map_err(WriteError::Unreadable)?;
    let owner = common.user_id.clone();
    let item = K::item(common, fields);
    guard(owner.as_deref(), &item).map_err(WriteError::Refused)?;
    Ok(item)
}

/// How many writers of different slugs go on at the same time.
const TURNS: usize = 64;

/// How long a writer waits for those before. After that it tries its luck: where the database is
/// away, nobody shall wait for all who came earlier.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Who chooses a slug now.
#[derive(Debug)]
pub(super) struct Turns(Vec<Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Mutex::new(())).collect())
    }
}

impl Turns {
    async fn turn(&self, base: &models::Slug) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        base.hash(&mut hasher);
        let stripe = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or_default();
        let turn = self.0.get(stripe)?.lock();
        tokio::time::timeout(LONGEST_WAIT, turn).await.ok()
    }
}
