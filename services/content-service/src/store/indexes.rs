//! The indexes of a collection of content.

use std::sync::Arc;

use migrations::{Definition, FixedMigration, Index, Migration, MigrationKind, Step};
use models::SortField;
use mongodb::{
    bson::{Document, doc},
    error::{Error, ErrorKind},
    options::IndexOptions,
};

use super::{
    kind::{DELETED_AT, Kind, SLUG},
    order,
};
use crate::domain::tag::TAGS;

/// The index of lists, newest first. The fields that decide whether an item is public are in it as
/// well, so that items are passed over and counted without being fetched.
pub(crate) const NEWEST: &str = "createdDate_-1__id_-1_visibility";

/// The same within a section.
pub(crate) const NEWEST_OF_SECTION: &str = "section_id_1_createdDate_-1__id_-1_visibility";

/// The index of the trash. The items that are not deleted are in it as well: a partial index could not be
/// found by all values that mean that one is deleted. A write enters it only if it adds, deletes or
/// restores an item.
pub(crate) const TRASH: &str = "trash";

/// The fields that decide whether an item is public, in the indexes of lists.
const VISIBILITY: [&str; 2] = ["is_published", "deleted"];

/// The field with the section of an item.
const SECTION: &str = "section_id";

/// The fields by which lists can be ordered besides `createdDate`.
pub(crate) const FURTHER_SORT_FIELDS: [SortField; 3] =
    [SortField::Date, SortField::UpdatedDate, SortField::Title];

/// An index that is named in a hint does not exist (MongoDB manual, "Error codes": `BadValue`).
const BAD_VALUE: i32 = 2;

/// Returns the name of the index that has whole lists in the order of a field.
pub(crate) const fn of_order(field: SortField) -> &'static str {
    match field {
        SortField::CreatedDate => NEWEST,
        SortField::Date => "sort_date",
        SortField::UpdatedDate => "sort_updatedDate",
        SortField::Title => "sort_title",
    }
}

/// Returns the fields behind the value and the `_id` in the index of an order.
///
/// The section is in those of the further orders, so that the items of other sections are passed over in
/// lists of a section. Small sections are read by the index of sections instead, and sorted: the server
/// finds out which takes less.
pub(super) fn behind(field: SortField) -> impl Iterator<Item = &'static str> {
    let section = (field != SortField::CreatedDate).then_some(SECTION);
    VISIBILITY.into_iter().chain(section)
}

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
    steps.extend(sorted(collection));
    steps.push(tags(collection));
    steps.push(trash(collection));
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
    let mut keys = doc! { SECTION: 1 };
    keys.extend(newest_keys());
    plain(collection, NEWEST_OF_SECTION, keys)
}

/// Returns the step that builds the index of sections.
pub(crate) fn section(collection: &'static str) -> Arc<dyn Step> {
    plain(collection, "section_id_1", doc! { SECTION: 1 })
}

/// Returns the step that builds the index of look-ups by a field. Its name is not the one that
/// MongoDB itself gives: an existing site may have an index of that name with other options.
pub(crate) fn look_up(collection: &'static str, field: &str) -> Arc<dyn Step> {
    plain(collection, &format!("look_up_{field}"), doc! { field: 1 })
}

/// Returns the steps that build the indexes of the further orders of lists.
pub(crate) fn sorted(collection: &'static str) -> impl Iterator<Item = Arc<dyn Step>> {
    FURTHER_SORT_FIELDS.into_iter().map(move |field| {
        let mut options = IndexOptions::default();
        options.collation = order::collation(field);
        let index = Index::new(collection, of_order(field), order_keys(field), options);
        Arc::new(index) as Arc<dyn Step>
    })
}

/// Returns the step that builds the index of tags.
pub(crate) fn tags(collection: &'static str) -> Arc<dyn Step> {
    let mut keys = doc! { TAGS: 1 };
    keys.extend(newest_keys());
    plain(collection, "tags_1_createdDate_-1__id_-1_visibility", keys)
}

/// Returns the step that builds the index of the trash. The owner is behind its order, so that the items of
/// other authors are passed over without being fetched.
pub(crate) fn trash(collection: &'static str) -> Arc<dyn Step> {
    plain(collection, TRASH, doc! { "deleted": 1, DELETED_AT: -1, "_id": -1, "user_id": 1 })
}

/// The order of lists, and the fields that decide whether an item is public.
fn newest_keys() -> Document {
    order_keys(SortField::CreatedDate)
}

fn order_keys(field: SortField) -> Document {
    let mut keys = doc! { field.as_str(): -1, "_id": -1 };
    keys.extend(behind(field).map(|field| (field.to_owned(), 1.into())));
    keys
}

fn plain(collection: &'static str, name: &str, keys: Document) -> Arc<dyn Step> {
    Arc::new(Index::new(collection, name, keys, IndexOptions::default()))
}

/// Returns `true` if a command failed because an index that it names does not exist.
pub(crate) fn is_missing_index(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == BAD_VALUE)
}
