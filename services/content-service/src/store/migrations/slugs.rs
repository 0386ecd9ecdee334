//! Slugs for the stories that have none.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use migrations::{Assign, Definition, EachDocument, Fill, Kind, Migration, Step, StepsError};
use models::Slug;
use mongodb::{
    ClientSession, Collection, Database,
    bson::{Bson, Document, doc},
};

use super::{definition, indexes};
use crate::store::STORIES;

/// The slug of a story whose title has no character that can stand in one.
const FALLBACK: &str = "story";

/// The number that the second story of a title gets.
const FIRST_NUMBER: u64 = 2;

/// Gives a slug to every story that is not deleted and has none.
pub(super) struct StorySlugs {
    stories: Collection<Document>,
}

impl StorySlugs {
    pub(super) fn new(database: &Database) -> Self {
        Self { stories: database.collection(STORIES) }
    }
}

#[async_trait]
impl Migration for StorySlugs {
    fn definition(&self) -> Definition {
        definition("0003_story_slugs", Kind::Backfill, "stories have an address")
    }

    async fn steps(&self) -> Result<Vec<Step>, StepsError> {
        // Null and empty are no address either, and nothing is lost with them.
        let filter = doc! { "slug": { "$in": [null, ""] }, "deleted": { "$ne": true } };
        let fill = Step::Fill(Fill {
            what: "stories without slug ← title".to_owned(),
            collection: STORIES,
            filter,
            assign: Assign::Each(std::sync::Arc::new(FromTitle { stories: self.stories.clone() })),
        });
        // Whether a slug is taken is asked for each title: without an index each question would
        // read the whole collection.
        Ok(vec![indexes::slugs(STORIES), fill])
    }
}

#[derive(Debug)]
struct FromTitle {
    stories: Collection<Document>,
}

#[async_trait]
impl EachDocument for FromTitle {
    fn projection(&self) -> Document {
        doc! { "title": 1 }
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
            let title = document.get_str("title").unwrap_or_default();
            let base = Slug::from_title(title)
                .or_else(|| Slug::from_title(FALLBACK))
                .ok_or_else(|| mongodb::error::Error::custom("the fallback is no slug"))?;
            let next_number = match next_numbers.entry(base.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    taken.extend(self.taken(&base, session).await?);
                    new.insert(FIRST_NUMBER)
                }
            };
            let slug = first_free(&base, &taken, next_number);
            taken.insert(slug.as_str().to_owned());
            let id = document.remove("_id").unwrap_or(Bson::Null);
            assigned.push((id, doc! { "slug": slug.as_str() }));
        }
        Ok(assigned)
    }
}

impl FromTitle {
    /// The slugs of all stories, deleted ones too, that are `base` or `base` with a number: a
    /// deleted story may be restored.
    async fn taken(
        &self,
        base: &Slug,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<Vec<String>> {
        // A slug has no character that means something in a pattern.
        let pattern = format!("^{base}(-[0-9]+)?$");
        let slugs: Vec<Document> = self
            .stories
            .find(doc! { "slug": { "$regex": pattern } })
            .projection(doc! { "_id": 0, "slug": 1 })
            .session(&mut *session)
            .await?
            .stream(session)
            .try_collect()
            .await?;
        let slug = |document: Document| document.get_str("slug").ok().map(str::to_owned);
        Ok(slugs.into_iter().filter_map(slug).collect())
    }
}

/// The base itself, or the base with the first number from `next_number` on that is free.
fn first_free(base: &Slug, taken: &HashSet<String>, next_number: &mut u64) -> Slug {
    let mut slug = base.clone();
    while taken.contains(slug.as_str()) {
        slug = base.numbered(*next_number);
        *next_number += 1;
    }
    slug
}

#[cfg(test)]
mod tests {
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
            let taken = taken.into_iter().map(str::to_owned).collect();
            let mut next_number = FIRST_NUMBER;
            assert_eq!(first_free(&base, &taken, &mut next_number).as_str(), expected);
        }
    }
}
