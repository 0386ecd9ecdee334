//! Sections and redirects as they are stored.

use chrono::{DateTime, Utc};
use models::{ContentType, ObjectId, Section};
use mongo_kit::{
    document::{Unreadable, warn_of_fields},
    lenient::{FieldReader, UnreadableField},
};
use mongodb::bson::{self, Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc, oid};
use serde::{Serialize, de::DeserializeOwned};

use super::{COLLECTION, REDIRECTS};
use crate::domain::Stored;

/// Which deletion a section went with: what has the same id comes back together.
const DELETION: &str = "deletion_id";

/// Reads a section. A field whose meaning is not plain is absent, unless it decides who sees the
/// section or which content it holds: the section then cannot be read, and is not shown.
fn read_section(document: &RawDocument) -> Result<(Stored, Vec<UnreadableField>), Unreadable> {
    let mut reader = FieldReader::new(document);
    let unreadable = |reason: &str| Unreadable::new(COLLECTION, document, reason);
    let Some(RawBsonRef::ObjectId(id)) = reader.value("_id") else {
        return Err(unreadable("the _id is no ObjectId"));
    };
    let slug = reader.text("slug").filter(|slug| !slug.is_empty());
    let slug = slug.ok_or_else(|| unreadable("it has no slug"))?;
    let display_type = reader.choice("display_type", parse_choice);
    let content_type = reader.choice("content_type", parse_choice);
    let is_published = reader.flag("is_published").unwrap_or_default();
    let is_deleted = reader.flag("is_deleted").unwrap_or_default();
    let parent_id = reader.reference("parent_id");
    let decisive = ["content_type", "is_published", "is_deleted", "parent_id"];
    if let Some(field) = reader.first_unreadable(&decisive) {
        return Err(unreadable(&field.to_string()));
    }
    let content_type = content_type.or_else(|| ContentType::usually_displayed_as(display_type?));
    let content_type = content_type.ok_or_else(|| unreadable("it has no content_type"))?;
    let parent_id = parent_id.map(|id| id.parse()).transpose();
    let section = Section {
        id: ObjectId::from_bytes(id.bytes()),
        title: reader.text("title").unwrap_or_default(),
        slug,
        parent_id: parent_id.map_err(|error| unreadable(&format!("parent_id: {error}")))?,
        display_type: display_type.unwrap_or(content_type.usual_display()),
        content_type,
        nav_visibility: reader.choice("nav_visibility", parse_choice).unwrap_or_default(),
        sort_order: reader.integer("sort_order").unwrap_or_default(),
        is_published,
        created_date: reader.date("createdDate"),
        updated_date: reader.date("updatedDate"),
    };
    // The meaning that another program gives to the field is not known.
    let deletion = match reader.value(DELETION) {
        Some(RawBsonRef::String(id)) => id.parse().ok(),
        _ => None,
    };
    Ok((Stored { section, is_deleted, deletion }, reader.unreadable()))
}

/// Reads the name of a variant as the API writes it.
fn parse_choice<T: DeserializeOwned>(name: &str) -> Option<T> {
    bson::deserialize_from_bson(Bson::from(name)).ok()
}

/// What could be read, and what could not.
pub(super) struct Parsed {
    pub(super) stored: Vec<Stored>,
    pub(super) unreadable: Vec<UnreadableSection>,
    /// The fields that are absent although the documents have them, with the ids of these.
    pub(super) fields: Vec<(ObjectId, UnreadableField)>,
}

/// A section that cannot be read, and what is known of it all the same.
pub(super) struct UnreadableSection {
    pub(super) error: Unreadable,
    pub(super) slug: Option<String>,
    pub(super) is_deleted: bool,
    pub(super) is_published: bool,
}

pub(super) fn parse(documents: &[RawDocumentBuf]) -> Parsed {
    let mut parsed = Parsed { stored: Vec::new(), unreadable: Vec::new(), fields: Vec::new() };
    for document in documents {
        match read_section(document) {
            Ok((stored, fields)) => {
                let id = stored.section.id;
                warn_of_fields(COLLECTION, &id.to_string(), &fields);
                parsed.fields.extend(fields.into_iter().map(|field| (id, field)));
                parsed.stored.push(stored);
            }
            Err(error) => {
                let mut reader = FieldReader::new(document);
                let slug = reader.text("slug");
                let is_deleted = reader.flag("is_deleted").unwrap_or_default();
                let is_published = reader.flag("is_published").unwrap_or_default();
                let section = UnreadableSection { error, slug, is_deleted, is_published };
                parsed.unreadable.push(section);
            }
        }
    }
    parsed
}

/// Reads a redirect: the path that a section had.
pub(super) fn rule(document: &RawDocument) -> Result<(String, ObjectId), Unreadable> {
    let mut reader = FieldReader::new(document);
    let unreadable = |reason: &str| Unreadable::new(REDIRECTS, document, reason);
    let path = reader.text("path").ok_or_else(|| unreadable("it has no path"))?;
    let section = reader.reference("section_id");
    if let Some(field) = reader.first_unreadable(&["section_id"]) {
        return Err(unreadable(&field.to_string()));
    }
    // Null leads nowhere: to a section that cannot be.
    let Some(section) = section else { return Ok((path, ObjectId::from_bytes([0; 12]))) };
    let section = section.parse().map_err(|error| unreadable(&format!("section_id: {error}")))?;
    Ok((path, section))
}

/// A new section.
pub(super) fn document(section: &Section) -> bson::error::Result<Document> {
    let mut document = doc! { "_id": oid::ObjectId::from_bytes(section.id.bytes()) };
    document.extend(fields(section)?);
    document.insert("is_deleted", false);
    Ok(document)
}

/// The update that makes the one of the other; none where they are the same. It names what is
/// different alone, so that everything else stays as other programs wrote it.
pub(super) fn update(before: &Stored, after: &Stored) -> bson::error::Result<Option<Document>> {
    let old = fields(&before.section)?;
    let mut set: Document = fields(&after.section)?
        .into_iter()
        .filter(|(name, value)| old.get(name) != Some(value))
        .collect();
    if before.is_deleted != after.is_deleted {
        set.insert("is_deleted", after.is_deleted);
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

fn fields(section: &Section) -> bson::error::Result<Document> {
    let date = |date: Option<DateTime<Utc>>| {
        date.map(|date| bson::DateTime::from_millis(date.timestamp_millis()))
    };
    // As they were seeded: a number of 32 bits unless it needs more.
    let sort_order =
        i32::try_from(section.sort_order).map_or(Bson::Int64(section.sort_order), Bson::Int32);
    Ok(doc! {
        "title": &section.title,
        "slug": &section.slug,
        "parent_id": section.parent_id.map(|id| id.to_string()),
        "display_type": text(&section.display_type)?,
        "content_type": text(&section.content_type)?,
        "nav_visibility": text(&section.nav_visibility)?,
        "sort_order": sort_order,
        "is_published": section.is_published,
        "createdDate": date(section.created_date),
        "updatedDate": date(section.updated_date),
    })
}

fn text(value: &impl Serialize) -> bson::error::Result<Bson> {
    bson::serialize_to_bson(value)
}
