//! Writing sections: new documents, and updates that leave every other field as it is.

use chrono::{DateTime, Utc};
use data_service::page_meta;
use models::{Section, Sort};
use mongodb::bson::{self, Bson, Document, doc, oid};
use serde::Serialize;

use crate::domain::stored_section::{StoredSection, VISIBILITY_FIELDS};

/// The name of the field with the id of the deletion that a section was part of. Sections with the
/// same id are restored together.
pub(super) const DELETION: &str = "deletion_id";

/// The name of the field with the date of the last change.
const UPDATED: &str = "updatedDate";

/// The name of the field of the home. Only sections that are or were the home have it.
const IS_HOME: &str = "is_home";

/// The name of the field with the order of the content. Only sections that have or had one have it.
const SORT_BY: &str = "sort_by";

/// The names of the fields with the target of a link. Only sections that are or were links have them.
const LINK: [&str; 3] = ["url", "section_id", "opens_new_tab"];

/// Returns the document of a new section.
pub(super) fn new_document(section: &Section) -> bson::error::Result<Document> {
    let mut document = doc! { "_id": oid::ObjectId::from_bytes(section.id.bytes()) };
    document.extend(fields(section)?);
    let optional = [IS_HOME, SORT_BY].into_iter().chain(LINK).chain(page_meta::FIELDS);
    for field in optional {
        if matches!(document.get(field), Some(Bson::Null | Bson::Boolean(false))) {
            document.remove(field);
        }
    }
    document.insert("is_deleted", false);
    Ok(document)
}

/// Returns the update that turns one state into the other, or `None` if they are the same. It sets
/// the fields that differ and no other one, so that everything else stays as other programs wrote
/// it.
///
/// Publishing a section also writes the fields whose stored values have no plain meaning, as editors
/// saw them. Otherwise a section stays a draft after such a field is written: the stored flag may
/// say more than was answered.
pub(super) fn update(
    before: &StoredSection,
    after: &StoredSection,
) -> bson::error::Result<Option<Document>> {
    let (old, new) = (stored_fields(before)?, stored_fields(after)?);
    let differs = |field: &str| old.get(field) != new.get(field);
    let is_unreadable = |field: &str| before.unreadable.contains(&field);
    let publishes = after.section.is_published && !before.section.is_published;
    let settles = VISIBILITY_FIELDS.iter().any(|field| is_unreadable(field) && differs(field));
    let mut set = Document::new();
    for (field, value) in &new {
        let is_settled = publishes && is_unreadable(field) || settles && field == "is_published";
        if differs(field) || is_settled {
            set.insert(field, value.clone());
        }
    }
    let mut update = Document::new();
    match after.deletion {
        _ if before.deletion == after.deletion => {}
        Some(deletion) => drop(set.insert(DELETION, deletion.to_string())),
        None => drop(update.insert("$unset", doc! { DELETION: "" })),
    }
    if !set.is_empty() {
        update.insert("$set", set);
    }
    Ok((!update.is_empty()).then_some(update))
}

/// Returns the names of the fields that an update changes, except those that follow from others.
pub(super) fn changed_fields(update: &Document) -> Vec<String> {
    let set = update.get_document("$set").into_iter().flat_map(Document::keys);
    set.filter(|field| ![DELETION, UPDATED].contains(&field.as_str())).cloned().collect()
}

fn stored_fields(stored: &StoredSection) -> bson::error::Result<Document> {
    let mut fields = fields(&stored.section)?;
    fields.insert("is_deleted", stored.is_deleted);
    Ok(fields)
}

fn fields(section: &Section) -> bson::error::Result<Document> {
    let date = |date: Option<DateTime<Utc>>| {
        date.map(|date| bson::DateTime::from_millis(date.timestamp_millis()))
    };
    // As they were seeded: a number of 32 bits unless it needs more.
    let sort_order =
        i32::try_from(section.sort_order).map_or(Bson::Int64(section.sort_order), Bson::Int32);
    let mut fields = doc! {
        "title": &section.title,
        "slug": &section.slug,
        "parent_id": section.parent_id.map(|id| id.to_string()),
        "display_type": text(&section.display_type)?,
        "content_type": text(&section.content_type)?,
        "nav_visibility": text(&section.nav_visibility)?,
        "sort_order": sort_order,
        SORT_BY: section.sort_by.map(Sort::as_str),
        "is_published": section.is_published,
        IS_HOME: section.is_home,
        "createdDate": date(section.created_date),
        UPDATED: date(section.updated_date),
    };
    let [url, section_id, opens_new_tab] = LINK;
    fields.insert(url, section.link.url.as_deref());
    fields.insert(section_id, section.link.section_id.map(|id| id.to_string()));
    fields.insert(opens_new_tab, section.link.opens_new_tab);
    fields.extend(page_meta::fields(&section.page));
    Ok(fields)
}

fn text(value: &impl Serialize) -> bson::error::Result<Bson> {
    bson::serialize_to_bson(value)
}
