//! Changing sections.
//!
//! Every change reads all sections, changes them in memory ([`Tree`]) and writes the differences, in
//! a transaction that also writes one common document. Of two concurrent changes, one is therefore
//! repeated on the result of the other, and no rule can be broken between them.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use data_service::{
    Abort,
    idempotency::{Created, KeyReused, KeyedRequest},
    revisions::{ChangedItem, RecordedPart},
    transact,
};
use models::{ObjectId, Section, changes::SECTIONS_KEY};
use mongo_kit::is_duplicate_key;
use mongodb::{
    ClientSession,
    bson::{self, Bson, RawDocumentBuf, doc, oid},
    error::Error,
};
use tokio::sync::MutexGuard;

use super::{
    SectionStore,
    collections::COLLECTION,
    document,
    parse::{ParsedSections, parse_sections},
    revisions,
};
use crate::domain::{
    section_body::SectionCreate,
    stored_section::StoredSection,
    tree::{Place, Tree},
    tree_error::TreeError,
};

/// Maximum wait for the other changes of this process. After that a change is tried beside them:
/// while the database does not answer, no caller should wait for all earlier ones.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(1);

/// Maximum number of slugs that are tried because the database refuses them although no section that
/// can be read has them.
const MAX_SLUG_ATTEMPTS: usize = 20;

/// The outcome of a change.
#[derive(Debug)]
pub(crate) enum ChangeOutcome<T> {
    /// The change is made.
    Done(T),
    /// The change is not made: other facts have to be checked first.
    Unchecked(Unchecked),
}

/// The facts about content that have to be checked before a change is made.
#[derive(Debug)]
pub(crate) struct Unchecked {
    /// These sections must have no content.
    pub(crate) empty: Vec<ObjectId>,
    /// No content may be at these places.
    pub(crate) free: Vec<Place>,
}

/// The facts about content that were checked.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// These sections have no content.
    pub(crate) empty: HashSet<ObjectId>,
    /// No content is at these places.
    pub(crate) free: HashSet<Place>,
    /// These slugs lead to content.
    pub(crate) taken: HashSet<String>,
}

/// The maker of a change.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Maker<'a> {
    /// The id of the user who has signed in; `None` for the static token.
    pub(crate) user_id: Option<&'a str>,
    /// The section that gets the values of an earlier revision.
    pub(crate) reverted: Option<ObjectId>,
}

/// The reason for which a transaction was aborted.
#[derive(Debug)]
enum AbortReason<E> {
    Refused(E),
    Unchecked(Unchecked),
    /// A document that was not read has the slug.
    SlugTaken(String),
}

impl<E: From<KeyReused>> From<KeyReused> for AbortReason<E> {
    fn from(reused: KeyReused) -> Self {
        Self::Refused(reused.into())
    }
}

impl SectionStore {
    /// Adds a section, and returns the response that `respond` makes of it. Repeated requests with
    /// the same key add it once. A slug that is made from the title is none of those that are known to
    /// be taken.
    pub(crate) async fn create<E: From<TreeError> + From<KeyReused>>(
        &self,
        keyed: Option<&KeyedRequest>,
        body: &SectionCreate,
        checked: &Checked,
        maker: Maker<'_>,
        respond: impl Fn(&Section) -> Result<Created, E>,
    ) -> Result<ChangeOutcome<Created>, Abort<E>> {
        let _lock = self.lock_writes().await;
        let mut reserved_slugs = checked.taken.clone();
        let most = reserved_slugs.len() + MAX_SLUG_ATTEMPTS;
        let id = ObjectId::from_bytes(oid::ObjectId::new().bytes());
        loop {
            let mut has_written = false;
            let work = async |session: &mut ClientSession| {
                let create = |tree: &mut Tree, now| tree.create(id, body, now).map_err(E::from);
                let written = &mut has_written;
                let section =
                    self.apply(session, checked, &reserved_slugs, maker, written, create).await?;
                respond(&section).map_err(|error| Abort::Refused(AbortReason::Refused(error)))
            };
            let result = self.idempotency.once(&self.writers, keyed, work).await;
            self.record(has_written, &result);
            match result {
                Ok(created) => return Ok(ChangeOutcome::Done(created)),
                Err(Abort::Refused(AbortReason::SlugTaken(slug)))
                    if body.slug.is_none() && reserved_slugs.len() < most =>
                {
                    reserved_slugs.insert(slug);
                }
                Err(abort) => return into_outcome(abort),
            }
        }
    }

    /// Changes sections.
    pub(crate) async fn change<T, E: From<TreeError>>(
        &self,
        checked: &Checked,
        maker: Maker<'_>,
        mut work: impl FnMut(&mut Tree, DateTime<Utc>) -> Result<T, E>,
    ) -> Result<ChangeOutcome<T>, Abort<E>> {
        let _lock = self.lock_writes().await;
        let mut has_written = false;
        let result = transact(&self.writers, async |session: &mut ClientSession| {
            let none = HashSet::new();
            self.apply(session, checked, &none, maker, &mut has_written, &mut work).await
        })
        .await;
        self.record(has_written, &result);
        match result {
            Ok(output) => Ok(ChangeOutcome::Done(output)),
            Err(abort) => into_outcome(abort),
        }
    }

    async fn lock_writes(&self) -> Option<MutexGuard<'_, ()>> {
        tokio::time::timeout(MAX_LOCK_WAIT, self.write_lock.lock()).await.ok()
    }

    /// Records a change, also if it is not known whether the commit succeeded.
    fn record<T, E>(&self, has_written: bool, result: &Result<T, Abort<E>>) {
        if has_written {
            self.changes.record(&[SECTIONS_KEY.to_owned()], result);
        }
    }

    /// Makes one attempt at a change, in the transaction of the session.
    async fn apply<T, E: From<TreeError>>(
        &self,
        session: &mut ClientSession,
        checked: &Checked,
        reserved_slugs: &HashSet<String>,
        maker: Maker<'_>,
        has_written: &mut bool,
        mut work: impl FnMut(&mut Tree, DateTime<Utc>) -> Result<T, E>,
    ) -> Result<T, Abort<AbortReason<E>>> {
        self.touch_tree(session).await?;
        let documents = self.documents(session).await?;
        let ParsedSections { stored, unreadable, stored_ids, .. } = parse_sections(&documents);
        let unreadable = unreadable.into_iter().filter(|one| !one.is_deleted);
        let unreadable_slugs = unreadable.filter_map(|one| one.slug);
        let reserved_slugs = unreadable_slugs.chain(reserved_slugs.iter().cloned()).collect();
        let before: HashMap<_, _> =
            stored.iter().map(|stored| (stored.section.id, stored.clone())).collect();
        let mut tree = Tree::new(stored, reserved_slugs);
        let now = self.now();
        let output =
            work(&mut tree, now).map_err(|error| Abort::Refused(AbortReason::Refused(error)))?;
        let empty = tree.must_be_empty().iter().filter(|id| !checked.empty.contains(id));
        let free = tree.must_be_free().iter().filter(|place| !checked.free.contains(place));
        let unchecked =
            Unchecked { empty: empty.copied().collect(), free: free.cloned().collect() };
        if !unchecked.empty.is_empty() || !unchecked.free.is_empty() {
            return Err(Abort::Refused(AbortReason::Unchecked(unchecked)));
        }
        let mut changed = Vec::new();
        for after in tree.all() {
            let id = stored_ids.get(after.section.id);
            let before = before.get(&after.section.id);
            let fields = self.write(session, id.clone(), before, after).await?;
            *has_written |= fields.is_some();
            if let (Some(before), Some(fields)) = (before, fields) {
                let action = revisions::action(before, after, maker);
                changed.push((id, fields, action));
            }
        }
        let changed = revisions::changed_items(changed, documents);
        self.record_revisions(session, &changed, maker, now).await?;
        *has_written |= self.write_redirects(session, &tree, now).await?;
        Ok(output)
    }

    /// Returns the time to the millisecond. Dates are stored so, and an answer to a write has the
    /// dates that are read later.
    fn now(&self) -> DateTime<Utc> {
        let now = self.clock.now();
        DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
    }

    /// Writes the document that is common to all changes.
    async fn touch_tree(&self, session: &mut ClientSession) -> Result<(), Error> {
        let (filter, count) = (doc! { "_id": "tree" }, doc! { "$inc": { "changes": 1_i64 } });
        self.tree.update_one(filter, count).upsert(true).session(session).await.map(drop)
    }

    async fn documents(&self, session: &mut ClientSession) -> Result<Vec<RawDocumentBuf>, Error> {
        let mut cursor = self.collection.find(doc! {}).session(&mut *session).await?;
        let mut documents = Vec::new();
        while let Some(document) = cursor.next(session).await {
            documents.push(document?);
        }
        Ok(documents)
    }

    async fn record_revisions(
        &self,
        session: &mut ClientSession,
        changed: &[ChangedItem],
        maker: Maker<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let at = bson::DateTime::from_millis(now.timestamp_millis());
        let (whole, user_id) = (RecordedPart::Whole, maker.user_id);
        self.revisions.record_together(COLLECTION, changed, whole, user_id, at, session).await
    }

    /// Writes a section if it differs from its earlier state. Returns the fields that it changes, or
    /// `None` if it does not differ.
    async fn write<E>(
        &self,
        session: &mut ClientSession,
        id: Bson,
        before: Option<&StoredSection>,
        after: &StoredSection,
    ) -> Result<Option<Vec<String>>, Abort<AbortReason<E>>> {
        let section = &after.section;
        let mut fields = Vec::new();
        let sections = self.collection.clone_with_type::<bson::Document>();
        let result = match before {
            None => {
                let document = document::new_document(section).map_err(Error::custom)?;
                sections.insert_one(document).session(session).await.map(drop)
            }
            Some(before) => {
                let update = document::update(before, after).map_err(Error::custom)?;
                let Some(update) = update else { return Ok(None) };
                fields = document::changed_fields(&update);
                let one = sections.update_one(doc! { "_id": id }, update).session(session);
                one.await.map(drop)
            }
        };
        match result {
            Ok(()) => Ok(Some(fields)),
            Err(error) if is_duplicate_key(&error) => {
                Err(Abort::Refused(AbortReason::SlugTaken(section.slug.clone())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Adds redirects from the former paths of sections. Returns `true` if there are any.
    async fn write_redirects(
        &self,
        session: &mut ClientSession,
        tree: &Tree,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let redirects = self.redirects.clone_with_type::<bson::Document>();
        let now = bson::DateTime::from_millis(now.timestamp_millis());
        for (path, id) in tree.former_paths() {
            let new_path = tree.path(*id);
            let id = id.to_string();
            if new_path.as_ref() != Some(path) {
                let redirect = doc! {
                    "$set": { "section_id": &id, "updatedDate": now },
                    "$setOnInsert": { "createdDate": now },
                };
                let one = redirects.update_one(doc! { "path": path }, redirect).upsert(true);
                one.session(&mut *session).await?;
            }
            // The section itself is at this path now.
            let own = doc! { "path": new_path, "section_id": id };
            redirects.delete_many(own).session(&mut *session).await?;
        }
        Ok(!tree.former_paths().is_empty())
    }
}

fn into_outcome<T, E: From<TreeError>>(
    abort: Abort<AbortReason<E>>,
) -> Result<ChangeOutcome<T>, Abort<E>> {
    match abort {
        Abort::Database(error) => Err(error.into()),
        Abort::Refused(AbortReason::Refused(error)) => Err(Abort::Refused(error)),
        Abort::Refused(AbortReason::SlugTaken(slug)) => {
            Err(Abort::Refused(TreeError::SlugTaken(slug).into()))
        }
        Abort::Refused(AbortReason::Unchecked(facts)) => Ok(ChangeOutcome::Unchecked(facts)),
    }
}
