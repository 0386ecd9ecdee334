//! The index of look-ups of pages by slug.
//!
//! The slugs of the other kinds of existing sites have theirs from [`list_indexes`](super::list_indexes).

use migrations::{FixedMigration, MigrationKind};

use super::{Context, PAGES, definition};
use crate::store::{indexes::look_up, kind::SLUG};

pub(super) fn migration(_: &Context<'_>) -> FixedMigration {
    let summary = "look-ups of pages by slug are fast";
    let definition = definition("0012_page_slugs", MigrationKind::Schema, summary);
    FixedMigration::new(definition, vec![look_up(PAGES, SLUG)])
}
