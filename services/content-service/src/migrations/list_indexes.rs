//! The indexes of whole lists, and of look-ups by slug and page type.
//!
//! They come first, so that a site of any size is served quickly while it is migrated. Those on
//! fields that migrations fill in come last ([`content_indexes`](super::content_indexes)).
//!
//! Revision 1 of [`story_slugs`](super::story_slugs) and of `content_indexes` built them. On a
//! database of that time there is nothing to build, and their entries in the journal are taken over.

use migrations::{FixedMigration, MigrationKind, Steps};

use super::{CONTENT, Context, PAGES, PROJECTS, STORIES, definition};
use crate::store::indexes::{look_up, newest};

pub(super) fn migration(_: &Context<'_>) -> FixedMigration {
    let mut steps: Steps = CONTENT.map(newest).into();
    steps.extend([
        look_up(STORIES, "slug"),
        look_up(PROJECTS, "slug"),
        look_up(PAGES, "page_type"),
    ]);
    let summary = "lists and look-ups are fast";
    FixedMigration::new(definition("0000_list_indexes", MigrationKind::Schema, summary), steps)
}
