//! The index of the search.

use std::sync::Arc;

use migrations::{Definition, FixedMigration, Index, MigrationKind};
use mongodb::{bson::doc, options::IndexOptions};

use super::{Context, definition};
use crate::store::search::{SEARCH, SEARCH_INDEX, TITLE_WEIGHT};

pub(super) fn migration(_: &Context<'_>) -> FixedMigration {
    // The words are compared as they are stored: without the stems of a language, and whatever a document
    // has in a field `language`.
    let options = IndexOptions::builder()
        .default_language("none".to_owned())
        .language_override("language_of_words".to_owned())
        .weights(doc! { "text": 1, "title": TITLE_WEIGHT })
        .build();
    // The keys as the server lists them.
    let keys = doc! { "_fts": "text", "_ftsx": 1 };
    let index = Index::new(SEARCH, SEARCH_INDEX, keys, options);
    let definition: Definition =
        definition("0011_search_index", MigrationKind::Schema, "content is found by its words");
    FixedMigration::new(definition, vec![Arc::new(index)])
}
