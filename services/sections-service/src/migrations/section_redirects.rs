//! The indexes of the redirects: one redirect a path, and those of a section.

use std::sync::Arc;

use migrations::{Definition, FixedMigration, Index, MigrationKind};
use mongodb::{bson::doc, options::IndexOptions};

use super::Context;
use crate::store::collections::REDIRECTS;

pub(super) fn migration(_: &Context<'_>) -> FixedMigration {
    let definition = Definition {
        id: "0003_section_redirects",
        kind: MigrationKind::Schema,
        blocking: true,
        requires: &[],
        revision: 1,
        summary: "one redirect a path, and those of a section",
    };
    let unique = IndexOptions::builder().unique(true).build();
    let plain = IndexOptions::default();
    let paths = Index::new(REDIRECTS, "path_1", doc! { "path": 1 }, unique);
    let sections = Index::new(REDIRECTS, "section_id_1", doc! { "section_id": 1 }, plain);
    FixedMigration::new(definition, vec![Arc::new(paths), Arc::new(sections)])
}
