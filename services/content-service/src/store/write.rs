//! Changing content.
//!
//! Every change reads the item, is checked against what it is, and sets fields, in one
//! transaction. Nothing is ever replaced: what nobody here models stays.

use std::collections::HashSet;

use data_service::{
    Abort,
    idempotency::{Created, KeyReused, KeyedRequest},
    page_meta,
    revisions::{Recorded, Revised, RevisionAction},
    transact,
};
use models::{Patch, Slug};
use mongo_kit::{
    document::readable,
    feed::{Change, ChangeKind},
    lenient::{self, FieldReader},
};
use mongodb::{
    ClientSession,
    bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc, oid},
    error::Error,
};
use service_kit::web::error::ApiError;

use super::{
    content::{Changed, ContentStore},
    filters::having_slug,
    ids::{NoItem, no_item},
    item_drafts::Draft,
    kind::{Address, Changes, DELETED_AT, DELETED_BY, Kind, Reading, SLUG, stored_date},
    schedule,
    slugs::{self, FIRST_NUMBER},
};
use crate::domain::tag::TAGS;

/// The name of the field with the date of the last change.
pub(super) const UPDATED: &str = "updatedDate";

/// The reason why a change is refused.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The id leads to no item.
    NoItem(NoItem),
    /// The item has no revision with this number.
    NoRevision,
    /// Another item has the slug already.
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

/// Decides whether an item may be changed.
pub(crate) type Guard<'a, K> = &'a (dyn Fn(&K) -> Result<(), ApiError> + Sync);

/// The slug of a new item.
enum NewSlug {
    /// The one of its body.
    Given(Slug),
    /// The first free one of those that begin with this.
    Made(Slug),
    /// None.
    None,
}

impl NewSlug {
    fn of<K: Kind>(changes: &Changes) -> Result<Self, Error> {
        if let Patch::Value(slug) = &changes.slug {
            return Ok(Self::Given(slug.clone()));
        }
        let Address::Slug { fallback } = K::ADDRESS else { return Ok(Self::None) };
        let title = changes.title.as_ref().map(ToString::to_string).unwrap_or_default();
        slugs::from_title(&title, fallback).map(Self::Made)
    }

    /// Returns the slug, or the beginning of it.
    const fn base(&self) -> Option<&Slug> {
        match self {
            Self::Given(slug) | Self::Made(slug) => Some(slug),
            Self::None => None,
        }
    }
}

/// Decides whether an item may have a slug.
pub(crate) type SlugGuard<'a> = &'a (dyn Fn(&str) -> Result<(), ApiError> + Sync);

/// A new item.
pub(crate) struct NewItem {
    /// The fields of its body; the HTML is sanitised.
    pub(crate) changes: Changes,
    /// The id of the user that it belongs to.
    pub(crate) user_id: Option<String>,
}

impl<K: Kind> ContentStore<K> {
    /// Returns the response to this request if it was sent before.
    pub(crate) async fn created(
        &self,
        keyed: &KeyedRequest,
    ) -> Result<Option<Created>, Abort<WriteError>> {
        self.idempotency.earlier(keyed).await
    }

    /// Adds an item, and returns the response that `respond` makes of it. The same request with the
    /// same key adds it once.
    pub(crate) async fn create(
        &self,
        new: NewItem,
        keyed: Option<&KeyedRequest>,
        guard: SlugGuard<'_>,
        respond: impl Fn(&K) -> Result<Created, ApiError>,
    ) -> Result<Changed<Created>, Abort<WriteError>> {
        let names = self.names().await?.value;
        let slug = NewSlug::of::<K>(&new.changes)?;
        let document = document(new);
        // The writers of this process that would choose the same slug do so one after the other. For
        // the writers of other processes the database decides.
        let _turn = match slug.base() {
            Some(base) => self.slug_queue.wait_for(base).await,
            None => None,
        };
        let mut inserted = None;
        let result = self
            .idempotency
            .once(&self.writers, keyed, async |session: &mut ClientSession| {
                let mut document = document.clone();
                // Within a transaction, the clock is that of the server.
                let now = stored_date(self.clock.now());
                if !document.contains_key("createdDate") {
                    document.insert("createdDate", now);
                }
                document.insert(UPDATED, now);
                if let Some(slug) = self.choose_slug(&slug, guard, session).await? {
                    document.insert(SLUG, slug.as_str());
                }
                let raw = RawDocumentBuf::try_from(&document).map_err(Error::from)?;
                self.collection.insert_one(&raw).session(&mut *session).await?;
                self.search.write::<K>(&raw, session).await?;
                self.schedule.write(K::TYPE, None, &raw, session).await?;
                let created =
                    respond(&names.sign(item::<K>(&raw)?)).map_err(WriteError::Refused)?;
                inserted = Some(raw);
                Ok(created)
            })
            .await;
        // Nothing is inserted by a request that was sent before.
        let keys = inserted.map(|document| {
            let id = document.get("_id").ok().flatten();
            let id = id.and_then(|id| lenient::stored_id_text(id).ok());
            self.record(&change::<K>(id, ChangeKind::Inserted, Some(document)), &result)
        });
        Ok(Changed { value: result?, keys: keys.unwrap_or_default() })
    }

    /// Changes an item, to what follows from what it is. That is asked again where somebody else
    /// changes the item meanwhile. Changes that change nothing write nothing.
    pub(crate) async fn update(
        &self,
        id: &str,
        guard: Guard<'_, K>,
        changes: impl AsyncFn(&K) -> Result<Changes, ApiError>,
        user_id: Option<&str>,
    ) -> Result<Changed<K>, Abort<WriteError>> {
        let set = async |item: &K, _: &mut ClientSession| {
            Ok(set_fields(changes(item).await.map_err(WriteError::Refused)?))
        };
        self.change(id, guard, set, user_id, RevisionAction::Changed).await
    }

    /// Changes an item to what follows from it and its draft, and removes the draft with that.
    pub(crate) async fn publish(
        &self,
        id: &str,
        guard: Guard<'_, K>,
        changes: impl AsyncFn(&K, Option<&Draft>) -> Result<Changes, ApiError>,
        user_id: Option<&str>,
    ) -> Result<Changed<K>, Abort<WriteError>> {
        let set = async |item: &K, session: &mut ClientSession| {
            let id = item.meta().id.as_str();
            let draft = self.drafts.find(K::TYPE, id, Some(&mut *session)).await?;
            let changes = changes(item, draft.as_ref()).await.map_err(WriteError::Refused)?;
            if draft.is_some() {
                self.drafts.forget(K::TYPE, id, session).await?;
            }
            Ok(set_fields(changes))
        };
        self.change(id, guard, set, user_id, RevisionAction::Changed).await
    }

    /// Puts an item into the trash, where it is neither published nor unpublished by itself.
    pub(crate) async fn delete(
        &self,
        id: &str,
        guard: Guard<'_, K>,
        user_id: Option<&str>,
    ) -> Result<Changed<K>, Abort<WriteError>> {
        let names = self.names().await?.value;
        let mut fields = Vec::new();
        let result = transact(&self.writers, async |session: &mut ClientSession| {
            fields.clear();
            let (found, reading) = self.look_up_present(id, session).await?;
            guard(&names.sign(reading.item)).map_err(WriteError::Refused)?;
            let change = self.recorded(user_id, RevisionAction::Deleted);
            let mut set = schedule::never();
            retain_changes(&mut set, &found);
            // Without a user it is null: the field tells the deletions of this service from others.
            set.extend(doc! { "deleted": true, DELETED_AT: change.at, DELETED_BY: user_id });
            fields = set.keys().cloned().collect();
            Ok(names.sign(self.set(&found, set, change, session).await?))
        })
        .await;
        self.updated(fields, result)
    }

    /// Takes an item out of the trash; one that is not in it stays as it is.
    pub(crate) async fn restore(
        &self,
        id: &str,
        guard: Guard<'_, K>,
        user_id: Option<&str>,
    ) -> Result<Changed<K>, Abort<WriteError>> {
        let names = self.names().await?.value;
        let mut fields = Vec::new();
        let result = transact(&self.writers, async |session: &mut ClientSession| {
            let (found, reading) = self.look_up(id, session).await?;
            let slug = reading.slug;
            let current = names.sign(reading.item);
            guard(&current).map_err(WriteError::Refused)?;
            fields.clear();
            if !current.meta().deleted {
                return Ok(current);
            }
            if let Some(slug) = slug.filter(|slug| !slug.is_empty()) {
                self.claim_slug(&slug, session).await?;
            }
            let set = doc! { "deleted": false };
            fields = set.keys().cloned().collect();
            let change = self.recorded(user_id, RevisionAction::Restored);
            let restored =
                self.write(&found, set, &[DELETED_AT, DELETED_BY], change, session).await?;
            Ok(names.sign(restored))
        })
        .await;
        self.updated(fields, result)
    }

    async fn change(
        &self,
        id: &str,
        guard: Guard<'_, K>,
        set: impl AsyncFn(&K, &mut ClientSession) -> Result<Document, Abort<WriteError>>,
        user_id: Option<&str>,
        action: RevisionAction,
    ) -> Result<Changed<K>, Abort<WriteError>> {
        let names = self.names().await?.value;
        let mut fields = Vec::new();
        let result = transact(&self.writers, async |session: &mut ClientSession| {
            let (found, reading) = self.look_up_present(id, session).await?;
            let current = names.sign(reading.item);
            guard(&current).map_err(WriteError::Refused)?;
            let mut set = set(&current, session).await?;
            retain_changes(&mut set, &found);
            fields = set.keys().cloned().collect();
            if set.is_empty() {
                return Ok(current);
            }
            if let Some(slug) = set.get(SLUG) {
                self.rename(&found, reading.slug.as_deref(), slug.as_str(), session).await?;
            }
            let change = self.recorded(user_id, action);
            Ok(names.sign(self.set(&found, set, change, session).await?))
        })
        .await;
        self.updated(fields, result)
    }

    /// Returns a change that is made now.
    fn recorded<'a>(&self, user_id: Option<&'a str>, action: RevisionAction) -> Recorded<'a> {
        Recorded { user_id, action, at: stored_date(self.clock.now()) }
    }

    /// Records that fields of an item were changed, if there are any.
    pub(super) fn updated(
        &self,
        fields: Vec<String>,
        result: Result<K, Abort<WriteError>>,
    ) -> Result<Changed<K>, Abort<WriteError>> {
        if fields.is_empty() {
            return Ok(Changed { value: result?, keys: Vec::new() });
        }
        let id = result.as_ref().ok().map(|item| item.meta().id.to_string());
        let keys = self.record(&change::<K>(id, ChangeKind::Updated { fields }, None), &result);
        Ok(Changed { value: result?, keys })
    }

    /// Returns the document with this id, deleted or not, as it is stored and as it is read.
    pub(super) async fn look_up(
        &self,
        id: &str,
        session: &mut ClientSession,
    ) -> Result<(RawDocumentBuf, Reading<K>), Abort<WriteError>> {
        let found = self.find_by_id(id, Some(session)).await?;
        let found = found.ok_or_else(|| WriteError::NoItem(no_item(id)))?;
        let reading = readable(Reading::<K>::with_warnings(&found))
            .ok_or(WriteError::NoItem(NoItem::NotFound))?;
        Ok((found, reading))
    }

    /// Returns the document with this id unless it is in the trash, as it is stored and as it is read.
    pub(super) async fn look_up_present(
        &self,
        id: &str,
        session: &mut ClientSession,
    ) -> Result<(RawDocumentBuf, Reading<K>), Abort<WriteError>> {
        let (found, reading) = self.look_up(id, session).await?;
        if reading.item.meta().deleted {
            return Err(WriteError::NoItem(NoItem::NotFound).into());
        }
        Ok((found, reading))
    }

    /// Sets fields of an item, and records it as it was before.
    async fn set(
        &self,
        document: &RawDocument,
        set: Document,
        change: Recorded<'_>,
        session: &mut ClientSession,
    ) -> Result<K, Abort<WriteError>> {
        self.write(document, set, &[], change, session).await
    }

    /// The same, and removes other fields.
    async fn write(
        &self,
        document: &RawDocument,
        mut set: Document,
        removed: &[&str],
        change: Recorded<'_>,
        session: &mut ClientSession,
    ) -> Result<K, Abort<WriteError>> {
        let id = stored_id(document)?;
        let fields: Vec<_> = set.keys().filter(|field| !is_of_trash(field)).cloned().collect();
        set.insert(UPDATED, change.at);
        let mut changes = doc! { "$set": set };
        if !removed.is_empty() {
            let unset: Document =
                removed.iter().map(|field| ((*field).to_owned(), "".into())).collect();
            changes.insert("$unset", unset);
        }
        let one = doc! { "_id": &id };
        self.collection.update_one(one.clone(), changes).session(&mut *session).await?;
        let item_before = Revised { kind: K::TYPE.collection(), id: &id };
        self.revisions.record(item_before, document, &fields, change, session).await?;
        // Read by itself: the driver decodes the reply to a command that does both, and fails at a
        // text that is not UTF-8.
        let changed = self.collection.find_one(one).session(&mut *session).await?;
        let changed = changed.ok_or(WriteError::NoItem(NoItem::NotFound))?;
        if fields.iter().any(|field| is_searched::<K>(field)) {
            self.search.write::<K>(&changed, session).await?;
        }
        if fields.iter().any(|field| schedule::is_scheduled_by(field)) {
            self.schedule.write(K::TYPE, Some(document), &changed, session).await?;
        }
        item::<K>(&changed)
    }

    /// Returns the slug of a new item.
    async fn choose_slug(
        &self,
        slug: &NewSlug,
        guard: SlugGuard<'_>,
        session: &mut ClientSession,
    ) -> Result<Option<Slug>, Abort<WriteError>> {
        match slug {
            NewSlug::None => Ok(None),
            NewSlug::Given(slug) => {
                guard(slug.as_str()).map_err(WriteError::Refused)?;
                self.claim_slug(slug.as_str(), session).await?;
                Ok(Some(slug.clone()))
            }
            NewSlug::Made(base) => {
                let documents = self.collection.clone_with_type();
                let taken = slugs::taken(&documents, base, session).await?;
                let taken: HashSet<_> = taken.into_iter().collect();
                let is_free =
                    |slug: &Slug| !taken.contains(slug.as_str()) && guard(slug.as_str()).is_ok();
                let slug = slugs::first_free(base, is_free, &mut { FIRST_NUMBER });
                self.locks.lock(K::TYPE.collection(), slug.as_str(), session).await?;
                self.former_slugs.remove(slug.as_str(), session).await?;
                Ok(Some(slug))
            }
        }
    }

    /// Gives an item another slug or none, and makes the one that it had lead to it.
    pub(super) async fn rename(
        &self,
        document: &RawDocument,
        former: Option<&str>,
        slug: Option<&str>,
        session: &mut ClientSession,
    ) -> Result<(), Abort<WriteError>> {
        if let Some(slug) = slug {
            self.claim_slug(slug, session).await?;
        }
        if let Some(former) = former.filter(|former| !former.is_empty()) {
            let (id, now) = (stored_id(document)?, stored_date(self.clock.now()));
            self.former_slugs.add(former, &id, now, session).await?;
        }
        Ok(())
    }

    /// Takes a slug for an item. Refuses where another item that is not deleted has it; a redirect
    /// gives way.
    async fn claim_slug(
        &self,
        slug: &str,
        session: &mut ClientSession,
    ) -> Result<(), Abort<WriteError>> {
        self.locks.lock(K::TYPE.collection(), slug, session).await?;
        if self.collection.find_one(having_slug(&[slug])).session(&mut *session).await?.is_some() {
            return Err(WriteError::SlugTaken(slug.to_owned()).into());
        }
        self.former_slugs.remove(slug, session).await?;
        Ok(())
    }
}

/// Returns the `_id` of a document.
pub(super) fn stored_id(document: &RawDocument) -> Result<Bson, Error> {
    let id = document.get("_id").map_err(Error::custom)?;
    Bson::try_from(id.unwrap_or(RawBsonRef::Null)).map_err(Error::custom)
}

/// Returns a change that this process has made.
pub(super) fn change<K: Kind>(
    id: Option<String>,
    kind: ChangeKind,
    document: Option<RawDocumentBuf>,
) -> Change {
    let collection = K::TYPE.collection();
    Change { at: 0, wall_time: None, collection, id, kind, document }
}

/// Removes the fields that a document has already with the same meaning: they stay as they are
/// stored.
fn retain_changes(set: &mut Document, document: &RawDocument) {
    let mut reader = FieldReader::new(document);
    let unchanged: Vec<String> = set
        .iter()
        .filter(|(field, value)| is_unchanged(&mut reader, field, value))
        .map(|(field, _)| field.clone())
        .collect();
    for field in unchanged {
        set.remove(field);
    }
}

fn is_unchanged(reader: &mut FieldReader<'_>, field: &str, value: &Bson) -> bool {
    match value {
        Bson::Null => reader.is_absent(field),
        Bson::String(text) => reader.text(field).as_deref() == Some(text.as_str()),
        Bson::Boolean(flag) => reader.flag(field) == Some(*flag),
        Bson::DateTime(date) => {
            let stored = reader.date(field).map(|date| date.timestamp_millis());
            stored == Some(date.timestamp_millis())
        }
        Bson::Array(values) => {
            let texts = values.iter().filter_map(Bson::as_str);
            !reader.is_absent(field) && texts.eq(reader.texts(field))
        }
        _ => false,
    }
}

/// Returns `true` if a field is about the stay of an item in the trash.
fn is_of_trash(field: &str) -> bool {
    [DELETED_AT, DELETED_BY].contains(&field)
}

/// Returns `true` if the words of an item depend on a field.
pub(super) fn is_searched<K: Kind>(field: &str) -> bool {
    ["title", "section_id"].contains(&field) || K::SEARCHED.contains(&field)
}

/// Returns the document of a new item, without the dates that depend on the time of the write.
fn document(new: NewItem) -> Document {
    let mut document = doc! { "_id": oid::ObjectId::new() };
    document.extend(set_fields(new.changes));
    if !document.contains_key("is_published") {
        document.insert("is_published", true);
    }
    document.insert("deleted", false);
    // Without, so that the migration can give it to the admin, once there is one.
    if let Some(user_id) = new.user_id {
        document.insert("user_id", user_id);
    }
    document
}

/// Returns the fields that the changes set.
fn set_fields(changes: Changes) -> Document {
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
    match changes.slug {
        Patch::Absent => {}
        Patch::Null => {
            set.insert(SLUG, Bson::Null);
        }
        Patch::Value(slug) => {
            set.insert(SLUG, slug.as_str());
        }
    }
    set.extend(changes.own.0);
    if let Some(date) = changes.created_date {
        set.insert("createdDate", stored_date(date));
    }
    if let Some(date) = changes.date.into_option() {
        set.insert("date", date.map(stored_date));
    }
    if let Some(tags) = changes.tags {
        set.insert(TAGS, tags);
    }
    page_meta::set(&mut set, changes.page);
    schedule::set(&mut set, changes.schedule);
    set
}

pub(super) fn item<K: Kind>(document: &RawDocument) -> Result<K, Abort<WriteError>> {
    let reading = readable(Reading::<K>::with_warnings(document))
        .ok_or(WriteError::NoItem(NoItem::NotFound))?;
    Ok(reading.item)
}
