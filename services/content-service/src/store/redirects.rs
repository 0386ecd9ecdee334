//! Redirects: one document for each old path, which is its `_id`.
//!
//! All writers of redirects decide one after the other, under one lock: the paths that a new redirect
//! leads through are those of others ([ADR 0051](../../../../docs/adr/0051-redirects-are-data.md)).

use std::{collections::HashMap, convert::Infallible};

use data_service::{
    Abort,
    changes::{Changes, Family},
    server_clock, transact,
};
use futures_util::TryStreamExt;
use mongo_kit::{
    Connection, Writers,
    document::{read, readable},
    feed::{Change, WatchedCollection},
};
use mongodb::{
    ClientSession, Collection,
    bson::{self, DateTime as BsonDate, Document, RawDocumentBuf, doc},
    error::Result,
};
use serde::{Deserialize, Serialize};
use service_kit::{
    runtime::clock::Clock,
    web::{changes::key, error::ApiError},
};
use tokio::sync::Mutex;

use super::{dates::to_bson, slugs::Locks};
use crate::domain::redirect::{OldPath, RedirectCreate, RedirectStatus, RedirectTarget};

/// The collection of redirects.
pub(crate) const REDIRECTS: &str = "content_redirects";

/// The largest number of redirects: those of an old site with as many addresses. They take some 30 MB.
pub(crate) const MAX_REDIRECTS: u64 = 100_000;

/// The first part of the keys of redirects.
const FAMILY: &str = "redirects";

/// Reads and writes redirects.
pub(crate) struct RedirectStore {
    collection: Collection<RawDocumentBuf>,
    writers: Writers,
    clock: Clock,
    changes: Changes,
    locks: Locks,
    /// Lets the writers of this process run one after the other.
    queue: Mutex<()>,
    site_url: Option<String>,
}

/// A redirect as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredRedirect {
    #[serde(rename = "_id")]
    pub(crate) from: OldPath,
    pub(crate) to: RedirectTarget,
    pub(crate) status: RedirectStatus,
    #[serde(rename = "createdDate")]
    pub(crate) created_date: BsonDate,
    #[serde(rename = "updatedDate")]
    pub(crate) updated_date: BsonDate,
}

/// A redirect that was added.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Put {
    /// It is new.
    Created(StoredRedirect),
    /// It has replaced another one of the same path.
    Changed(StoredRedirect),
    /// It was there.
    Unchanged(StoredRedirect),
}

/// The reason why a redirect is not added.
#[derive(Debug)]
pub(crate) enum PutError<E> {
    /// The path has another redirect.
    Taken(StoredRedirect),
    /// There are [`MAX_REDIRECTS`].
    TooMany,
    /// The check of the caller.
    Refused(E),
}

/// The outcome of adding a redirect.
pub(crate) type PutResult<E> = std::result::Result<Put, PutError<E>>;

/// The place of a page of the list: after or before a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PageStart {
    First,
    After(String),
    Before(String),
}

/// The redirects of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    All,
    /// The one from this path.
    From(OldPath),
    /// Those whose paths begin with this text.
    Prefix(String),
}

/// A page of the list.
#[derive(Debug)]
pub(crate) struct RedirectPage {
    pub(crate) items: Vec<StoredRedirect>,
    pub(crate) total: u64,
    /// The path before which the previous page ends; `None` on the first one.
    pub(crate) previous: Option<String>,
    /// The path after which the next page begins; `None` on the last one.
    pub(crate) next: Option<String>,
}

/// Returns the key of an old path.
pub(crate) fn redirect_key(from: &str) -> String {
    key([FAMILY, from])
}

/// Returns the key of all redirects, on which every answer with one depends too: a write whose outcome
/// is unknown concerns it.
pub(crate) fn all_redirects() -> String {
    key([FAMILY])
}

/// Returns the family of the keys.
pub(crate) fn family() -> Family {
    fn keys(change: &Change) -> Vec<String> {
        vec![change.id.as_deref().map_or_else(all_redirects, redirect_key)]
    }
    Family {
        name: FAMILY,
        collections: vec![WatchedCollection { name: REDIRECTS, fields: &[] }],
        keys,
        public: vec![all_redirects()],
    }
}

impl RedirectStore {
    /// Opens the store. `site_url` is the public address of the site.
    pub(crate) fn new(
        connection: &Connection,
        changes: &Changes,
        site_url: Option<String>,
    ) -> Self {
        let database = connection.database();
        Self {
            collection: database.collection(REDIRECTS),
            writers: connection.writers().clone(),
            clock: server_clock(connection),
            changes: changes.clone(),
            locks: Locks::new(database),
            queue: Mutex::default(),
            site_url,
        }
    }

    /// Returns the public address of the site, without a slash at its end.
    pub(crate) fn site_url(&self) -> Option<&str> {
        self.site_url.as_deref()
    }

    /// Returns the redirect of the first of these paths that has one.
    pub(crate) async fn first(
        &self,
        paths: &[OldPath],
        session: Option<&mut ClientSession>,
    ) -> Result<Option<StoredRedirect>> {
        let mut found = self.of_paths(paths.iter(), session).await?;
        found.sort_by_key(|one| paths.iter().position(|path| *path == one.from));
        Ok(found.into_iter().next())
    }

    async fn of_paths(
        &self,
        paths: impl Iterator<Item = &OldPath>,
        session: Option<&mut ClientSession>,
    ) -> Result<Vec<StoredRedirect>> {
        let paths: Vec<_> = paths.map(OldPath::as_str).collect();
        let find = self.collection.find(doc! { "_id": { "$in": paths } });
        let found: Vec<RawDocumentBuf> = match session {
            Some(session) => {
                let mut cursor = find.session(&mut *session).await?;
                cursor.stream(session).try_collect().await?
            }
            None => find.await?.try_collect().await?,
        };
        Ok(found.iter().filter_map(|one| redirect(one)).collect())
    }

    /// Returns the number of redirects, at least about.
    pub(crate) async fn count(&self) -> Result<u64> {
        self.collection.estimated_document_count().await
    }

    /// Returns a page of the list, in the order of the paths.
    pub(crate) async fn page(
        &self,
        selection: &Selection,
        start: &PageStart,
        limit: u32,
    ) -> Result<RedirectPage> {
        // Every path begins with a slash and is ASCII; documents of another program are passed over.
        let selected = match selection {
            Selection::All => doc! { "_id": { "$gte": "/", "$lt": "0" } },
            Selection::From(path) => doc! { "_id": { "$eq": path.as_str() } },
            Selection::Prefix(prefix) => {
                doc! { "_id": { "$gte": prefix, "$lt": format!("{prefix}\u{7f}") } }
            }
        };
        let (bound, direction) = match start {
            PageStart::First => (Document::new(), 1),
            PageStart::After(path) => (doc! { "_id": { "$gt": path } }, 1),
            PageStart::Before(path) => (doc! { "_id": { "$lt": path } }, -1),
        };
        let total = self.collection.count_documents(selected.clone()).await?;
        let query = doc! { "$and": [selected, bound] };
        let found = self.collection.find(query).sort(doc! { "_id": direction });
        let mut found: Vec<RawDocumentBuf> =
            found.limit(i64::from(limit) + 1).await?.try_collect().await?;
        let has_more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let (has_previous, has_next) = match start {
            PageStart::First => (false, has_more),
            PageStart::After(_) => (true, has_more),
            PageStart::Before(_) => {
                found.reverse();
                (has_more, true)
            }
        };
        // Also those of documents that cannot be read.
        let path = |one: &RawDocumentBuf| one.get_str("_id").ok().map(str::to_owned);
        let previous = found.first().filter(|_| has_previous).and_then(path);
        let next = found.last().filter(|_| has_next).and_then(path);
        let items = found.iter().filter_map(|one| redirect(one)).collect();
        Ok(RedirectPage { items, total, previous, next })
    }

    /// Adds redirects one after the other, all in one transaction, or replaces those of the same paths if
    /// `may_replace`. `check` decides in the transaction whether one leads somewhere. One that is refused does
    /// not keep the others from being added.
    pub(crate) async fn put<E>(
        &self,
        all: &[RedirectCreate],
        may_replace: bool,
        check: impl AsyncFn(&RedirectCreate, &mut ClientSession) -> Result<std::result::Result<(), E>>,
    ) -> Result<Vec<PutResult<E>>> {
        let _turn = self.queue.lock().await;
        let count = self.count().await?;
        let result = transact(&self.writers, async |session: &mut ClientSession| {
            self.locks.lock(REDIRECTS, "", session).await?;
            let paths = all.iter().map(|new| &new.from);
            let present = self.of_paths(paths, Some(&mut *session)).await?;
            let mut present: HashMap<_, _> =
                present.into_iter().map(|one| (one.from.clone(), one)).collect();
            let mut results = Vec::with_capacity(all.len());
            for new in all {
                let present_one = present.get(&new.from).cloned();
                let result = match decide(new, present_one.as_ref(), may_replace) {
                    Some(result) => result,
                    None if present_one.is_none()
                        && count + results.len() as u64 >= MAX_REDIRECTS =>
                    {
                        Err(PutError::TooMany)
                    }
                    None => match check(new, session).await? {
                        Ok(()) => Ok(self.write(new, present_one, session).await?),
                        Err(refusal) => Err(PutError::Refused(refusal)),
                    },
                };
                if let Ok(Put::Created(one) | Put::Changed(one)) = &result {
                    present.insert(one.from.clone(), one.clone());
                }
                results.push(result);
            }
            Ok::<_, Abort<Infallible>>(results)
        })
        .await;
        let keys: Vec<_> = all.iter().map(|one| redirect_key(one.from.as_str())).collect();
        self.changes.record(&keys, &result);
        result.map_err(|abort| match abort {
            Abort::Database(error) => error,
            Abort::Refused(never) => match never {},
        })
    }

    async fn write(
        &self,
        new: &RedirectCreate,
        present: Option<StoredRedirect>,
        session: &mut ClientSession,
    ) -> Result<Put> {
        let now = to_bson(self.clock.now());
        let redirect = StoredRedirect {
            from: new.from.clone(),
            to: new.to.clone(),
            status: new.status,
            created_date: present.as_ref().map_or(now, |present| present.created_date),
            updated_date: now,
        };
        let mut set = bson::serialize_to_document(&redirect)?;
        set.remove("_id");
        let id = doc! { "_id": new.from.as_str() };
        let update = self.collection.update_one(id, doc! { "$set": set }).upsert(true);
        update.session(session).await?;
        Ok(match present {
            Some(_) => Put::Changed(redirect),
            None => Put::Created(redirect),
        })
    }

    /// Deletes the redirect of a path. Returns `false` if there is none.
    pub(crate) async fn delete(
        &self,
        from: &OldPath,
    ) -> std::result::Result<bool, Abort<ApiError>> {
        let id = doc! { "_id": from.as_str() };
        let result = transact(&self.writers, async |session: &mut ClientSession| {
            let deleted = self.collection.delete_one(id.clone()).session(session).await?;
            Ok(deleted.deleted_count == 1)
        })
        .await;
        self.changes.record(&[redirect_key(from.as_str())], &result);
        result
    }
}

/// Returns the outcome of adding a redirect if the present one of its path decides it.
fn decide<E>(
    new: &RedirectCreate,
    present: Option<&StoredRedirect>,
    may_replace: bool,
) -> Option<PutResult<E>> {
    let present = present?;
    if present.to == new.to && present.status == new.status {
        return Some(Ok(Put::Unchanged(present.clone())));
    }
    (!may_replace).then(|| Err(PutError::Taken(present.clone())))
}

/// Reads a redirect. One that another program has changed into something else is none.
fn redirect(document: &mongodb::bson::RawDocument) -> Option<StoredRedirect> {
    readable(read(REDIRECTS, document))
}
