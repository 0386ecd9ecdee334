//! Changing sections.
//!
//! Every change reads all sections, changes them in memory ([`Tree`]) and writes what is different,
//! in a transaction that also touches one document of its own. So of two changes at the same time
//! one is repeated on what the other left, and no rule can be broken between them.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use data_service::{
    Abort,
    idempotency::{Created, KeyReused, KeyedRequest},
    transact,
};
use models::{ObjectId, Section, SectionCreate};
use mongo_kit::is_duplicate_key;
use mongodb::{
    ClientSession,
    bson::{self, RawDocumentBuf, doc, oid},
    error::Error,
};

use super::{
    SectionStore,
    document::{self, Parsed, parse},
};
use crate::domain::{Refusal, Stored, Tree};

/// How long a change waits for the others of this process. After that it tries its luck: where the
/// database is away, nobody shall wait for all who came before.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How many slugs are tried that the database refuses although no section that can be read has
/// them.
const SLUGS_TRIED: usize = 20;

/// What came of a change.
#[derive(Debug)]
pub(crate) enum Written<T> {
    /// It is done.
    Done(T),
    /// It is not: these sections have to be empty for it, and nobody has said that they are.
    NeedsEmpty(Vec<ObjectId>),
}

/// Why a transaction was broken off.
#[derive(Debug)]
enum Stop<E> {
    Refused(E),
    NeedsEmpty(Vec<ObjectId>),
    /// The database says that a section which was not seen has the slug.
    SlugTaken(String),
}

impl<E: From<KeyReused>> From<KeyReused> for Stop<E> {
    fn from(reused: KeyReused) -> Self {
        Self::Refused(reused.into())
    }
}

/// What a transaction did to the collections.
#[derive(Debug, Default, Clone, Copy)]
struct Touched {
    sections: bool,
    redirects: bool,
}

impl SectionStore {
    /// Adds a section, and returns the response that `respond` makes of it. The same request with the
    /// same key adds it once.
    pub(crate) async fn create<E: From<Refusal> + From<KeyReused>>(
        &self,
        keyed: Option<&KeyedRequest>,
        body: &SectionCreate,
        respond: impl Fn(&Section) -> Result<Created, E>,
    ) -> Result<Created, Abort<E>> {
        let _turn = self.turn().await;
        let mut taken = HashSet::new();
        let id = ObjectId::from_bytes(oid::ObjectId::new().bytes());
        loop {
            let mut touched = Touched::default();
            let work = async |session: &mut ClientSession| {
                let create = |tree: &mut Tree, now| tree.create(id, body, now).map_err(E::from);
                let section =
                    self.apply(session, &HashSet::new(), &taken, &mut touched, create).await?;
                respond(&section).map_err(|error| Abort::Refused(Stop::Refused(error)))
            };
            let result = self.idempotency.once(&self.client, keyed, work).await;
            self.forget(touched, &result);
            match result {
                Ok(created) => return Ok(created),
                Err(Abort::Refused(Stop::SlugTaken(slug)))
                    if body.slug.is_none() && taken.len() < SLUGS_TRIED =>
                {
                    taken.insert(slug);
                }
                Err(abort) => match settled(abort)? {
                    Written::Done(created) => return Ok(created),
                    // A new section has nothing to be emptied of.
                    Written::NeedsEmpty(_) => return Err(Error::custom("a new section").into()),
                },
            }
        }
    }

    /// Changes sections. `empty` are those of which it is known that they have no content.
    pub(crate) async fn change<T, E: From<Refusal>>(
        &self,
        empty: &HashSet<ObjectId>,
        mut work: impl FnMut(&mut Tree, DateTime<Utc>) -> Result<T, E>,
    ) -> Result<Written<T>, Abort<E>> {
        let _turn = self.turn().await;
        let mut touched = Touched::default();
        let result = transact(&self.client, async |session: &mut ClientSession| {
            self.apply(session, empty, &HashSet::new(), &mut touched, &mut work).await
        })
        .await;
        self.forget(touched, &result);
        match result {
            Ok(output) => Ok(Written::Done(output)),
            Err(abort) => settled(abort),
        }
    }

    async fn turn(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        tokio::time::timeout(LONGEST_WAIT, self.writing.lock()).await.ok()
    }

    /// What was read before is old, also where it is not known whether the commit has happened.
    fn forget<T, E>(&self, touched: Touched, result: &Result<T, Abort<E>>) {
        if matches!(result, Err(Abort::Refused(_))) {
            return;
        }
        if touched.sections {
            self.snapshot.forget();
        }
        if touched.redirects {
            self.rules.forget();
        }
    }

    /// One attempt, in the session's transaction.
    async fn apply<T, E: From<Refusal>>(
        &self,
        session: &mut ClientSession,
        empty: &HashSet<ObjectId>,
        taken: &HashSet<String>,
        touched: &mut Touched,
        mut work: impl FnMut(&mut Tree, DateTime<Utc>) -> Result<T, E>,
    ) -> Result<T, Abort<Stop<E>>> {
        self.touch_tree(session).await?;
        let Parsed { stored, unreadable, .. } = parse(&self.documents(session).await?);
        let unreadable = unreadable.into_iter().filter(|one| !one.is_deleted);
        let taken = unreadable.filter_map(|one| one.slug).chain(taken.iter().cloned()).collect();
        let before: HashMap<_, _> =
            stored.iter().map(|stored| (stored.section.id, stored.clone())).collect();
        let mut tree = Tree::new(stored, taken);
        let now = self.now();
        let output =
            work(&mut tree, now).map_err(|refusal| Abort::Refused(Stop::Refused(refusal)))?;
        let unknown = tree.to_be_empty().iter().filter(|id| !empty.contains(id));
        let unknown: Vec<_> = unknown.copied().collect();
        if !unknown.is_empty() {
            return Err(Abort::Refused(Stop::NeedsEmpty(unknown)));
        }
        for after in tree.all() {
            touched.sections |= self.write(session, before.get(&after.section.id), after).await?;
        }
        touched.redirects |= self.leave_redirects(session, &tree, now).await?;
        Ok(output)
    }

    /// The time, to the millisecond that is stored, so that what is answered is what is read later.
    fn now(&self) -> DateTime<Utc> {
        let now = self.clock.now();
        DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap_or(now)
    }

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

    /// Writes a section if it is not as it was.
    async fn write<E>(
        &self,
        session: &mut ClientSession,
        before: Option<&Stored>,
        after: &Stored,
    ) -> Result<bool, Abort<Stop<E>>> {
        let section = &after.section;
        let id = oid::ObjectId::from_bytes(section.id.bytes());
        let sections = self.collection.clone_with_type::<bson::Document>();
        let result = match before {
            None => {
                let document = document::document(section).map_err(Error::custom)?;
                sections.insert_one(document).session(session).await.map(drop)
            }
            Some(before) => {
                let update = document::update(before, after).map_err(Error::custom)?;
                let Some(update) = update else { return Ok(false) };
                let one = sections.update_one(doc! { "_id": id }, update).session(session);
                one.await.map(drop)
            }
        };
        match result {
            Ok(()) => Ok(true),
            Err(error) if is_duplicate_key(&error) => {
                Err(Abort::Refused(Stop::SlugTaken(section.slug.clone())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Paths that led to a section lead to it from now on, wherever it is.
    async fn leave_redirects(
        &self,
        session: &mut ClientSession,
        tree: &Tree,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let redirects = self.redirects.clone_with_type::<bson::Document>();
        let now = bson::DateTime::from_millis(now.timestamp_millis());
        for (path, id) in tree.moved() {
            let new_path = tree.path(*id);
            let id = id.to_string();
            if new_path.as_ref() != Some(path) {
                let rule = doc! {
                    "$set": { "section_id": &id, "updatedDate": now },
                    "$setOnInsert": { "createdDate": now },
                };
                let one = redirects.update_one(doc! { "path": path }, rule).upsert(true);
                one.session(&mut *session).await?;
            }
            // It stands there itself now.
            let own = doc! { "path": new_path, "section_id": id };
            redirects.delete_many(own).session(&mut *session).await?;
        }
        Ok(!tree.moved().is_empty())
    }
}

fn settled<T, E: From<Refusal>>(abort: Abort<Stop<E>>) -> Result<Written<T>, Abort<E>> {
    match abort {
        Abort::Database(error) => Err(error.into()),
        Abort::Refused(Stop::Refused(refusal)) => Err(Abort::Refused(refusal)),
        Abort::Refused(Stop::SlugTaken(slug)) => {
            Err(Abort::Refused(Refusal::SlugTaken(slug).into()))
        }
        Abort::Refused(Stop::NeedsEmpty(ids)) => Ok(Written::NeedsEmpty(ids)),
    }
}
