//! The indexes of content.
//!
//! Those of lists and look-ups come first, so that a site of any size is served quickly while it is
//! migrated. Those on fields that migrations fill in come last.

use std::sync::Arc;

use async_trait::async_trait;
use migrations::{Definition, Index, Migration, MigrationKind, Step, Steps, StepsError};
use mongodb::{
    bson::{Document, doc},
    options::IndexOptions,
};

use super::{declared, definition, pending};
use crate::store::{PAGES, PROJECTS, STORIES};

/// The index of lists, newest first. It contains the fields that decide whether an item is public, so
/// that items are skipped and counted without being fetched.
pub(in crate::store) const NEWEST: &str = "createdDate_-1__id_-1_visibility";

/// The index of the list of a section.
pub(in crate::store) const NEWEST_OF_SECTION: &str =
    "section_id_1_createdDate_-1__id_-1_visibility";

/// Builds the indexes of whole lists, and of look-ups by slug and page type.
///
/// Revision 1 of [`StorySlugs`](super::slugs::StorySlugs) and of [`ContentIndexes`] built them. On a
/// database of that time there is nothing to build, and the records of the journal are adopted.
pub(super) struct ListIndexes;

#[async_trait]
impl Migration for ListIndexes {
    fn definition(&self) -> Definition {
        definition("0000_list_indexes", MigrationKind::Schema, "lists and look-ups are fast")
    }

    fn specification(&self) -> Document {
        declared(&Self::all())
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        Ok(Self::all())
    }
}

impl ListIndexes {
    fn all() -> Steps {
        let mut steps: Steps = [STORIES, PROJECTS, PAGES]
            .into_iter()
            .map(|collection| plain(collection, NEWEST, newest()))
            .collect();
        steps.extend([
            look_up(STORIES, "slug"),
            look_up(PROJECTS, "slug"),
            look_up(PAGES, "page_type"),
        ]);
        steps
    }
}

/// Builds the indexes of content that have fields which other migrations fill in.
pub(super) struct ContentIndexes;

#[async_trait]
impl Migration for ContentIndexes {
    fn definition(&self) -> Definition {
        Definition {
            // Filling in a field that has an index takes twice as long.
            requires: &["0006_backfill_section_id"],
            // Revision 1 had the indexes of lists and look-ups as well.
            revision: 2,
            ..definition(
                "0007_content_indexes",
                MigrationKind::Schema,
                "lists of sections are fast",
            )
        }
    }

    fn specification(&self) -> Document {
        declared(&Self::all())
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        Ok(Self::all())
    }
}

impl ContentIndexes {
    fn all() -> Steps {
        let mut steps = Steps::new();
        for collection in [STORIES, PROJECTS, PAGES] {
            let mut newest_of_section = doc! { "section_id": 1 };
            newest_of_section.extend(newest());
            steps.push(plain(collection, "section_id_1", doc! { "section_id": 1 }));
            steps.push(plain(collection, NEWEST_OF_SECTION, newest_of_section));
            steps.push(pending(collection, "user_id"));
        }
        // Documents without `createdDate` are adjacent in the index of lists.
        for field in ["is_published", "updatedDate"] {
            steps.push(pending(STORIES, field));
        }
        steps
    }
}

/// Returns the order of lists and the fields that decide whether an item is public.
fn newest() -> Document {
    doc! { "createdDate": -1, "_id": -1, "is_published": 1, "deleted": 1 }
}

/// Returns an index to find content by a field. Its name differs from the one that MongoDB generates:
/// an existing site may have an index of that name with other options.
fn look_up(collection: &'static str, field: &str) -> Arc<dyn Step> {
    plain(collection, &format!("look_up_{field}"), doc! { field: 1 })
}

fn plain(collection: &'static str, name: &str, keys: Document) -> Arc<dyn Step> {
    Arc::new(Index::new(collection, name, keys, IndexOptions::default()))
}
