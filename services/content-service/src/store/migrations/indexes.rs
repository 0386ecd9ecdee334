//! The indexes of content.
//!
//! They come last, but for that on slugs.

use async_trait::async_trait;
use migrations::{Definition, Index, Kind, Migration, Step, StepsError};
use mongodb::{
    bson::{Document, doc},
    options::IndexOptions,
};

use super::{declared, definition};
use crate::store::{PAGES, PROJECTS, STORIES};

/// Lists, newest first. What decides whether an item is public is in the index as well, so that
/// items are passed over and counted without being fetched.
pub(in crate::store) const NEWEST: &str = "createdDate_-1__id_-1_visibility";

/// The same within a section.
pub(in crate::store) const NEWEST_OF_SECTION: &str =
    "section_id_1_createdDate_-1__id_-1_visibility";

/// Builds the indexes of content.
pub(super) struct ContentIndexes;

#[async_trait]
impl Migration for ContentIndexes {
    fn definition(&self) -> Definition {
        Definition {
            // Filling in a field that has an index takes twice as long.
            requires: &["0006_backfill_section_id"],
            ..definition("0007_content_indexes", Kind::Schema, "lists and look-ups are fast")
        }
    }

    fn specification(&self) -> Document {
        declared(&Self::all())
    }

    async fn steps(&self) -> Result<Vec<Step>, StepsError> {
        Ok(Self::all())
    }
}

impl ContentIndexes {
    fn all() -> Vec<Step> {
        let mut steps = Vec::new();
        for collection in [STORIES, PROJECTS, PAGES] {
            let newest = doc! { "createdDate": -1, "_id": -1, "is_published": 1, "deleted": 1 };
            let mut newest_of_section = doc! { "section_id": 1 };
            newest_of_section.extend(newest.clone());
            steps.push(plain(collection, "section_id_1", doc! { "section_id": 1 }));
            steps.push(plain(collection, NEWEST, newest));
            steps.push(plain(collection, NEWEST_OF_SECTION, newest_of_section));
            steps.push(pending(collection, "user_id"));
        }
        // That of stories is there already: finding free slugs needs it.
        steps.push(slugs(PROJECTS));
        steps.push(look_up(PAGES, "page_type"));
        // Those without `createdDate` stand together in the index of lists.
        for field in ["is_published", "updatedDate"] {
            steps.push(pending(STORIES, field));
        }
        steps
    }
}

/// Finds content by its slug.
pub(super) fn slugs(collection: &'static str) -> Step {
    look_up(collection, "slug")
}

/// Finds content by a field. Not of the name that MongoDB itself gives: an existing site may have
/// an index of that name with other options.
fn look_up(collection: &'static str, field: &str) -> Step {
    plain(collection, &format!("look_up_{field}"), doc! { field: 1 })
}

fn plain(collection: &'static str, name: &str, keys: Document) -> Step {
    Step::Index(Index::new(collection, name, keys, IndexOptions::default()))
}

/// The documents that lack a field, and no others: nearly empty, and the reason why a start that
/// finds nothing to do takes no time on a large collection.
fn pending(collection: &'static str, field: &str) -> Step {
    let lacking = doc! { field: null };
    let options = IndexOptions::builder().partial_filter_expression(lacking).build();
    Step::Index(Index::new(collection, format!("pending_{field}"), doc! { field: 1 }, options))
}
