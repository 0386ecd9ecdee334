//! The indexes of tags.

use migrations::{FixedMigration, MigrationKind};

use super::{CONTENT, Context, definition};
use crate::store::indexes::tags;

pub(super) fn migration(_: &Context<'_>) -> FixedMigration {
    let summary = "lists of a tag and the numbers of tags are fast";
    let definition = definition("0013_tag_indexes", MigrationKind::Schema, summary);
    FixedMigration::new(definition, CONTENT.map(tags).into())
}
