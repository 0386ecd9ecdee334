//! Unique names, the order of lists, and the files that are being stored.

use std::sync::Arc;

use migrations::{Definition, FixedMigration, Index, MigrationKind};
use mongodb::{bson::doc, options::IndexOptions};

use super::Context;
use crate::store::{collections::COLLECTION, document::IS_PENDING};

pub(super) fn migration(_: &Context) -> FixedMigration {
    let definition = Definition {
        id: "0001_media_indexes",
        kind: MigrationKind::Schema,
        blocking: true,
        requires: &[],
        revision: 1,
        summary: "unique names of files, and the order of their list",
    };
    let unique = IndexOptions::builder().unique(true).build();
    let names = Index::new(COLLECTION, "name_1", doc! { "name": 1 }, unique);
    let list = Index::new(
        COLLECTION,
        "createdDate_-1__id_-1",
        doc! { "createdDate": -1, "_id": -1 },
        IndexOptions::default(),
    );
    let pending =
        IndexOptions::builder().partial_filter_expression(doc! { IS_PENDING: true }).build();
    let pending =
        Index::new(COLLECTION, "updatedDate_1_pending", doc! { "updatedDate": 1 }, pending);
    FixedMigration::new(definition, vec![Arc::new(names), Arc::new(list), Arc::new(pending)])
}
