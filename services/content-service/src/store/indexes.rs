//! The indexes of a collection of content.

use std::sync::Arc;

use migrations::{Definition, FixedMigration, Index, Migration, MigrationKind, Step};
use mongodb::{
    bson::{Document, doc},
    error::{Error, ErrorKind},
    options::IndexOptions,
};

use super::kind::{Kind, SLUG};

/// The index of lists, newest first. The fields that decide whether an item is public are in it as
/// well, so that items are passed over and counted without being fetched.
pub(crate) const NEWEST: &str = "createdDate_-1__id_-1_visibility";

/// The same within a section.
pub(crate) const NEWEST_OF_SECTION: &str = "section_id_1_createdDate_-1__id_-1_visibility";

/// An index that is named in a hint does not exist (MongoDB manual, "Error codes": `BadValue`).
const BAD_VALUE: i32 = 2;

/// Returns the migration that builds the indexes of a kind of content: those of lists, of the
/// look-up of an item, and of sections.
///
/// The three first kinds have theirs from other migrations, whose specifications are released.
pub(crate) fn of_kind<K: Kind>(id: &'static str) -> Arc<dyn Migration> {
    let definition = Definition {
        id,
        kind: MigrationKind::Schema,
        blocking: false,
        requires: &[],
        revision: 1,
        summary: "lists and look-ups are fast",
    };
    let collection = K::TYPE.collection();
    let mut steps = vec![
        newest(collection),
        look_up(collection, K::ADDRESS.field()),
        section(collection),
        newest_of_section(collection),
    ];
    if !K::ADDRESS.is_slug() {
        steps.push(look_up(collection, SLUG));
    }
    Arc::new(FixedMigration::new(definition, steps))
}

/// Returns the step that builds the index of lists.
pub(crate) fn newest(collection: &'static str) -> Arc<dyn Step> {
    plain(collection, NEWEST, newest_keys())
}

/// Returns the step that builds the index of the lists of sections.
pub(crate) fn newest_of_section(collection: &'static str) -> Arc<dyn Step> {
    let mut keys = doc! { "section_id": 1 };
    keys.extend(newest_keys());
    plain(collection, NEWEST_OF_SECTION, keys)
}

/// Returns the step that builds the index of sections.
pub(crate) fn section(collection: &'static str) -> Arc<dyn Step> {
    plain(collection, "section_id_1", doc! { "section_id": 1 })
}

/// Returns the step that builds the index of look-ups by a field. Its name is not the one that
/// MongoDB itself gives: an existing site may have an index of that name with other options.
pub(crate) fn look_up(collection: &'static str, field: &str) -> Arc<dyn Step> {
    plain(collection, &format!("look_up_{field}"), doc! { field: 1 })
}

/// The order of lists, and the fields that decide whether an item is public.
fn newest_keys() -> Document {
    doc! { "createdDate": -1, "_id": -1, "is_published": 1, "deleted": 1 }
}

fn plain(collection: &'static str, name: &str, keys: Document) -> Arc<dyn Step> {
    Arc::new(Index::new(collection, name, keys, IndexOptions::default()))
}

/// Returns `true` if a command failed because an index that it names does not exist.
pub(super) fn is_missing_index(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == BAD_VALUE)
}
