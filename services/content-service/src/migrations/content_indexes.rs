//! The indexes of content on fields that other migrations fill in.

use migrations::{Definition, FixedMigration, MigrationKind, Steps};

use super::{CONTENT, Context, STORIES, definition, pending};
use crate::store::indexes::{newest_of_section, section};

pub(super) fn migration(_: &Context<'_>) -> FixedMigration {
    let definition = Definition {
        // Filling in a field that has an index takes twice as long.
        requires: &[super::SECTION_BACKFILL],
        // Revision 1 had those of lists and look-ups as well.
        revision: 2,
        ..definition("0007_content_indexes", MigrationKind::Schema, "lists of sections are fast")
    };
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
    FixedMigration::new(definition, steps)
}
