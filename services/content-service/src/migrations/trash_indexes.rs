//! The indexes of the trash.

use migrations::{FixedMigration, MigrationKind};

use super::{CONTENT, Context, definition};
use crate::store::indexes::trash;

pub(super) fn migration(_: &Context<'_>) -> FixedMigration {
    let definition =
        definition("0014_trash_indexes", MigrationKind::Schema, "the list of the trash is fast");
    FixedMigration::new(definition, CONTENT.map(trash).into())
}
