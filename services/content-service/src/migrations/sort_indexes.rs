//! The indexes of lists that are ordered by another field than `createdDate`.
//!
//! Lists are answered before they are built, and slowly if the collection is large.

use migrations::{Definition, FixedMigration, MigrationKind, Steps};

use super::{CONTENT, Context, definition};
use crate::store::indexes::sorted;

pub(super) fn migration(_: &Context<'_>) -> FixedMigration {
    let definition = Definition {
        // Filling in a field that has an index takes twice as long.
        requires: &[super::SECTION_BACKFILL],
        ..definition("0010_sort_indexes", MigrationKind::Schema, "lists in other orders are fast")
    };
    let steps: Steps = CONTENT.into_iter().flat_map(sorted).collect();
    FixedMigration::new(definition, steps)
}
