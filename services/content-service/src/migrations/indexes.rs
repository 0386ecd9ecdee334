//! The indexes of the kinds of content that existing sites have.
//!
//! Those that lists and look-ups need come first, so that a site of any size is served quickly while
//! it is migrated. Those on fields that migrations fill in come last.

use async_trait::async_trait;
use migrations::{Definition, Migration, MigrationKind, Steps, StepsError};
use mongodb::bson::Document;

use super::{CONTENT, PAGES, PROJECTS, STORIES, declared, definition, pending};
use crate::store::indexes::{look_up, newest, newest_of_section, section};

/// Builds the indexes of whole lists, and of look-ups by slug and page type.
///
/// Revision 1 of [`StorySlugs`](super::slugs::StorySlugs) and of [`ContentIndexes`] built them. On a
/// database of that time there is nothing to build, and their entries in the journal are taken over.
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
        let mut steps: Steps = CONTENT.map(newest).into();
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
            // Revision 1 had those of lists and look-ups as well.
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
        for collection in CONTENT {
            steps.push(section(collection));
            steps.push(newest_of_section(collection));
            steps.push(pending(collection, "user_id"));
        }
        // Stories without `createdDate` are next to each other in the index of lists.
        for field in ["is_published", "updatedDate"] {
            steps.push(pending(STORIES, field));
        }
        steps
    }
}
