//! Unique slugs, and the order of siblings.

use std::sync::Arc;

use migrations::{Definition, Fill, FixedMigration, Index, MigrationKind, Steps};
use mongodb::{bson::doc, options::IndexOptions};

use super::Context;
use crate::store::collections::COLLECTION;

/// The id of the migration.
pub(super) const SECTION_INDEXES: &str = "0001_section_indexes";

pub(super) fn migration(_: &Context<'_>) -> FixedMigration {
    let definition = Definition {
        id: SECTION_INDEXES,
        kind: MigrationKind::Schema,
        blocking: true,
        requires: &[],
        revision: 1,
        summary: "unique slugs and the order of siblings",
    };
    let without = doc! { "is_deleted": { "$exists": false } };
    // A partial index cannot say "not deleted or without the field", so the field comes first.
    let not_deleted = doc! { "is_deleted": false };
    let key = "sections without is_deleted → false";
    let fill = Fill::set(key, COLLECTION, without, not_deleted.clone());
    let unique =
        IndexOptions::builder().unique(true).partial_filter_expression(not_deleted).build();
    let slugs = Index::new(COLLECTION, "slug_1_not_deleted", doc! { "slug": 1 }, unique);
    let siblings = Index::new(
        COLLECTION,
        "parent_id_1_sort_order_1",
        doc! { "parent_id": 1, "sort_order": 1 },
        IndexOptions::default(),
    );
    let steps: Steps = vec![Arc::new(fill), Arc::new(slugs), Arc::new(siblings)];
    FixedMigration::new(definition, steps)
}
