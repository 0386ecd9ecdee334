//! Slugs for the stories that have none.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use async_trait::async_trait;
use migrations::{
    Assign, Definition, EachDocument, Fill, Migration, MigrationKind, Step, Steps, StepsError,
};
use models::Slug;
use mongo_kit::lenient::FieldReader;
use mongodb::{
    ClientSession, Collection,
    bson::{Bson, Document, RawDocumentBuf, doc},
};

use super::{Context, STORIES, definition};
use crate::store::slugs::{self, Locks, UNTITLED_STORY};

/// Gives a slug to every story that is not deleted and has none. Whether a slug is taken is asked for
/// each title, from the index that [`list_indexes`](super::list_indexes) builds.
pub(super) struct StorySlugs {
    stories: Collection<Document>,
    locks: Locks,
}

pub(super) fn migration(context: &Context<'_>) -> StorySlugs {
    let database = context.database;
    StorySlugs { stories: database.collection(STORIES), locks: Locks::new(database) }
}

#[async_trait]
impl Migration for StorySlugs {
    fn definition(&self) -> Definition {
        // Revision 1 built the index on the slugs of stories as well.
        let revision = 2;
        let summary = "stories have an address";
        Definition { revision, ..definition("0003_story_slugs", MigrationKind::Backfill, summary) }
    }

    fn specification(&self) -> Document {
        let mut declared = doc! { "steps": [self.step().specification()] };
        declared.insert("fallback", UNTITLED_STORY);
        declared
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        Ok(vec![Arc::new(self.step())])
    }
}

impl StorySlugs {
    fn step(&self) -> Fill {
        // Null and empty are no address either, and nothing is lost with them.
        let filter = doc! { "slug": { "$in": [null, ""] }, "deleted": { "$ne": true } };
        Fill {
            key: "stories without slug ← title".into(),
            collection: STORIES,
            filter,
            assign: Assign::Each(Arc::new(FromTitle {
                stories: self.stories.clone(),
                locks: self.locks.clone(),
            })),
        }
    }
}

#[derive(Debug)]
struct FromTitle {
    stories: Collection<Document>,
    locks: Locks,
}

#[async_trait]
impl EachDocument for FromTitle {
    fn reads(&self) -> &'static [&'static str] {
        &["title"]
    }

    fn writes(&self) -> &'static [&'static str] {
        &["slug"]
    }

    async fn assign(
        &self,
        documents: Vec<Document>,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<Vec<(Bson, Document)>> {
        let mut taken = HashSet::new();
        // The numbers below are taken, so that many stories of one title do not count from 2 each.
        let mut next_numbers: HashMap<Slug, u64> = HashMap::new();
        let mut assigned = Vec::with_capacity(documents.len());
        for mut document in documents {
            // A number is a title as well.
            let raw = RawDocumentBuf::try_from(&document)?;
            let title = FieldReader::new(&raw).text("title").unwrap_or_default();
            let base = slugs::from_title(&title, UNTITLED_STORY)?;
            let next_number = match next_numbers.entry(base.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    taken.extend(slugs::taken(&self.stories, &base, session).await?);
                    new.insert(slugs::FIRST_NUMBER)
                }
            };
            let is_free = |slug: &Slug| !taken.contains(slug.as_str());
            let slug = slugs::first_free(&base, is_free, next_number);
            // An editor may create a story with that title at the same time.
            self.locks.lock(STORIES, slug.as_str(), session).await?;
            taken.insert(slug.as_str().to_owned());
            let id = document.remove("_id").unwrap_or(Bson::Null);
            assigned.push((id, doc! { "slug": slug.as_str() }));
        }
        Ok(assigned)
    }
}
