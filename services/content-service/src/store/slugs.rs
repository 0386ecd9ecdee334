//! Slugs that nothing else has.
//!
//! A slug is taken if an item has it, also a deleted one, which may be restored. Of
//! two writers who choose the same slug at the same time the database lets one through: each
//! writes, in its transaction, the one document that stands for the slug ([`LOCKS`], ADR 0011).

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use futures_util::TryStreamExt;
use models::Slug;
use mongodb::{
    ClientSession, Collection, Database,
    bson::{Document, doc},
    error::{Error, Result},
};
use tokio::sync::{Mutex, MutexGuard};

/// The collection of locks: the transaction that writes a document here may assign the slug in its
/// `_id`.
pub(crate) const LOCKS: &str = "content_slugs";

/// The slug of a story whose title has no character that can stand in one.
pub(crate) const UNTITLED_STORY: &str = "story";

/// The number that the second item of a title gets.
pub(crate) const FIRST_NUMBER: u64 = 2;

/// The slug that a title stands for, or the fallback where no character of it can stand in one.
pub(crate) fn from_title(title: &str, fallback: &str) -> Result<Slug> {
    Slug::from_title(title)
        .or_else(|| Slug::from_title(fallback))
        .ok_or_else(|| Error::custom("the fallback is no slug"))
}

/// The slugs of all items, deleted ones too, that are `base` or `base` with a number; a few others
/// may be among them.
pub(crate) async fn taken(
    collection: &Collection<Document>,
    base: &Slug,
    session: &mut ClientSession,
) -> Result<Vec<String>> {
    let slugs: Vec<Document> = collection
        .find(doc! { "slug": { "$regex": base.numbered_pattern() } })
        .projection(doc! { "_id": 0, "slug": 1 })
        .session(&mut *session)
        .await?
        .stream(session)
        .try_collect()
        .await?;
    let slug = |document: Document| document.get_str("slug").ok().map(str::to_owned);
    Ok(slugs.into_iter().filter_map(slug).collect())
}

/// The base itself, or the base with the first number from `next_number` on that is free.
pub(crate) fn first_free(
    base: &Slug,
    is_free: impl Fn(&Slug) -> bool,
    next_number: &mut u64,
) -> Slug {
    let mut slug = base.clone();
    while !is_free(&slug) {
        slug = base.numbered(*next_number);
        *next_number += 1;
    }
    slug
}

/// The locks of a database.
#[derive(Debug, Clone)]
pub(crate) struct Locks(Collection<Document>);

impl Locks {
    pub(crate) fn new(database: &Database) -> Self {
        Self(database.collection(LOCKS))
    }

    /// Makes the session's transaction the only one that decides about this slug: another one
    /// conflicts, and is repeated when this one is through.
    pub(crate) async fn lock(
        &self,
        collection: &str,
        slug: &str,
        session: &mut ClientSession,
    ) -> Result<()> {
        let id = doc! { "_id": { "collection": collection, "slug": slug } };
        let change = doc! { "$inc": { "decisions": 1 } };
        self.0.update_one(id, change).upsert(true).session(session).await.map(drop)
    }
}

/// The number of writers of different slugs that run at the same time.
const QUEUES: usize = 64;

/// The time that a writer waits for those before it: less than half of the time limit of its request.
/// After that it goes ahead: while the database does not answer, writers must not wait for all who came
/// earlier.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Lets the writers of this process that would choose the same slug run one after the other.
#[derive(Debug)]
pub(super) struct SlugQueue(Vec<Mutex<()>>);

impl Default for SlugQueue {
    fn default() -> Self {
        Self((0..QUEUES).map(|_| Mutex::new(())).collect())
    }
}

impl SlugQueue {
    /// Waits until no other writer chooses this slug. Returns `None` if that takes too long.
    pub(super) async fn wait_for(&self, base: &Slug) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        base.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % QUEUES as u64).unwrap_or_default();
        let turn = self.0.get(place)?.lock();
        tokio::time::timeout(MAX_WAIT, turn).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_taken_slug_gets_the_first_free_number() {
        let base = Slug::from_title("News").unwrap();
        for (taken, expected) in [
            (vec![], "news"),
            (vec!["news"], "news-2"),
            (vec!["news", "news-2", "news-4"], "news-3"),
            (vec!["news-2"], "news"),
        ] {
            let is_free = |slug: &Slug| !taken.contains(&slug.as_str());
            let mut next_number = FIRST_NUMBER;
            assert_eq!(first_free(&base, is_free, &mut next_number).as_str(), expected);
        }
    }

    proptest! {
        #[test]
        fn any_title_has_a_slug_that_is_free(
            title in ".*",
            numbers in proptest::collection::hash_set(2u64..8, 0..6),
        ) {
            let base = from_title(&title, "story").unwrap();
            let mut taken: HashSet<_> =
                numbers.iter().map(|number| String::from(base.numbered(*number))).collect();
            taken.insert(base.as_str().to_owned());
            let find = |taken: &HashSet<String>| {
                first_free(&base, |slug| !taken.contains(slug.as_str()), &mut { FIRST_NUMBER })
            };
            let free = find(&taken);
            prop_assert!(!taken.contains(free.as_str()));
            // Going on from what was given gives what comes next.
            taken.insert(free.as_str().to_owned());
            let next = find(&taken);
            prop_assert!(next != free && Slug::try_from(String::from(next.clone())) == Ok(next));
        }
    }
}
