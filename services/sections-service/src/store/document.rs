//! Sections and redirects as they are stored.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use models::{ContentType, DisplayType, ObjectId, Section};
use mongo_kit::{
    document::{Unreadable, warn_of_fields},
    lenient::{FieldReader, UnreadableField},
};
use mongodb::bson::{self, Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc, oid};
use serde::{Serialize, de::DeserializeOwned};

use super::{COLLECTION, REDIRECTS};
use crate::domain::{DECISIVE_FIELDS, Stored, VISIBILITY_FIELDS};

/// The name of the field with the id of the deletion that a section was part of. Sections with the
/// same id are restored together.
const DELETION: &str = "deletion_id";

/// A section as it was read. A field whose meaning is not plain has its default.
struct Reading {
    stored: Stored,
    /// The `_id` if it is stored as text.
    text_id: Option<String>,
    /// The fields whose meaning is not plain.
    fields: Vec<UnreadableField>,
}

/// Reads a section. The only fault that hides a whole document is an `_id` that nothing can refer
/// to.
///
/// A section is a draft if the meaning of a field that decides who sees it is not plain. Without a
/// plain `content_type`, the section is for the content that its `display_type` usually presents.
fn read_section(document: &RawDocument) -> Result<Reading, Unreadable> {
    let mut reader = FieldReader::new(document);
    let (id, text_id) = match reader.value("_id") {
        Some(RawBsonRef::ObjectId(id)) => (Some(ObjectId::from_bytes(id.bytes())), None),
        Some(RawBsonRef::String(text)) => (text.parse().ok(), Some(text.to_owned())),
        _ => (None, None),
    };
    let id = id.ok_or_else(|| {
        Unreadable::new(COLLECTION, document, "its _id is neither an ObjectId nor the text of one")
    })?;
    let slug = reader.text("slug").unwrap_or_default();
    let display_type = reader.choice("display_type", parse_choice);
    let content_type = reader.choice("content_type", parse_choice);
    let content_type = content_type.or_else(|| display_type.map(usual_content));
    let parent = reader.reference("parent_id");
    let parent_id = parent.as_deref().and_then(|id| id.parse().ok());
    let is_published = reader.flag("is_published");
    let is_deleted = reader.flag("is_deleted").unwrap_or_default();
    let title = reader.text("title").unwrap_or_default();
    let nav_visibility = reader.choice("nav_visibility", parse_choice).unwrap_or_default();
    let sort_order = reader.integer("sort_order").unwrap_or_default();
    let created_date = reader.date("createdDate");
    let updated_date = reader.date("updatedDate");
    // The meaning that another program gives to the field is not known.
    let deletion = match reader.value(DELETION) {
        Some(RawBsonRef::String(id)) => id.parse().ok(),
        _ => None,
    };
    let mut fields = reader.unreadable();
    let mut report = |field: &str, found| {
        if fields.iter().all(|one| one.field != field) {
            fields.push(UnreadableField { field: field.to_owned(), found });
        }
    };
    if parent.is_some() && parent_id.is_none() {
        report("parent_id", "text that is no id");
    }
    if content_type.is_none() {
        report("content_type", "missing");
    }
    if slug.is_empty() {
        report("slug", "missing");
    }
    let is_unreadable = |name: &&str| fields.iter().any(|one| one.field == *name);
    let unreadable: Vec<_> = DECISIVE_FIELDS.into_iter().filter(is_unreadable).collect();
    let hides = VISIBILITY_FIELDS.iter().any(|field| unreadable.contains(field));
    let is_withheld = hides && !is_deleted && is_published != Some(false);
    let content_type = content_type.unwrap_or(ContentType::Story);
    let section = Section {
        id,
        title,
        slug,
        parent_id,
        display_type: display_type.unwrap_or(content_type.usual_display()),
        content_type,
        nav_visibility,
        sort_order,
        is_published: is_published.unwrap_or_default() && !hides,
        created_date,
        updated_date,
    };
    let stored = Stored { section, is_deleted, deletion, unreadable, is_withheld };
    Ok(Reading { stored, text_id, fields })
}

/// Returns the kind of content that is usually presented in this way.
const fn usual_content(display_type: DisplayType) -> ContentType {
    match display_type {
        DisplayType::Feed => ContentType::Story,
        DisplayType::CardGrid => ContentType::Project,
        DisplayType::StaticPage => ContentType::Page,
    }
}

/// Reads the name of a variant, in capitals or with underscores too.
fn parse_choice<T: DeserializeOwned>(name: &str) -> Option<T> {
    let name = name.trim().to_ascii_lowercase().replace('_', "-");
    bson::deserialize_from_bson(Bson::from(name)).ok()
}

/// The documents of the collection, read.
#[derive(Default)]
pub(super) struct Parsed {
    /// The sections, deleted or not.
    pub(super) stored: Vec<Stored>,
    /// The documents that cannot be read as a whole.
    pub(super) unreadable: Vec<UnreadableSection>,
    /// The fields whose meaning is not plain, by the id of the section.
    pub(super) fields: Vec<(ObjectId, Vec<UnreadableField>)>,
    pub(super) stored_ids: StoredIds,
}

/// The `_id`s of the sections in the database. Most are `ObjectId`s; those that are texts are kept.
#[derive(Default)]
pub(super) struct StoredIds(HashMap<ObjectId, String>);

impl StoredIds {
    /// Returns the value of `_id` in the database.
    pub(super) fn get(&self, id: ObjectId) -> Bson {
        match self.0.get(&id) {
            Some(text) => Bson::from(text.as_str()),
            None => Bson::from(oid::ObjectId::from_bytes(id.bytes())),
        }
    }
}

/// A document that cannot be read as a whole, with the fields that are known.
pub(super) struct UnreadableSection {
    /// The fault of the document.
    pub(super) error: Unreadable,
    pub(super) slug: Option<String>,
    pub(super) is_deleted: bool,
    pub(super) is_published: bool,
}

/// Reads all documents of the collection. Of an ObjectId and a text with the same digits, the
/// ObjectId is the id of a section.
pub(super) fn parse(documents: &[RawDocumentBuf]) -> Parsed {
    let mut documents: Vec<_> = documents.iter().collect();
    documents.sort_by_key(|document| document.get_object_id("_id").is_err());
    let mut parsed = Parsed::default();
    let mut ids = HashSet::new();
    for document in documents {
        let reading = read_section(document).and_then(|reading| {
            if ids.insert(reading.stored.section.id) {
                Ok(reading)
            } else {
                Err(Unreadable::new(COLLECTION, document, "another section has the same _id"))
            }
        });
        match reading {
            Ok(Reading { stored, text_id, fields }) => {
                let id = stored.section.id;
                if !fields.is_empty() {
                    warn_of_fields(COLLECTION, &id.to_string(), &fields);
                    parsed.fields.push((id, fields));
                }
                parsed.stored_ids.0.extend(text_id.map(|text| (id, text)));
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

/// Returns the update that turns one state into the other, or `None` if they are the same. It sets
/// the fields that differ and no other one, so that everything else stays as other programs wrote
/// it.
///
/// Publishing a section also writes the fields whose stored values have no plain meaning, as editors
/// saw them. Otherwise a section stays a draft after such a field is written: the stored flag may
/// say more than was answered.
pub(super) fn update(before: &Stored, after: &Stored) -> bson::error::Result<Option<Document>> {
    let (old, new) = (stored_fields(before)?, stored_fields(after)?);
    let differs = |field: &str| old.get(field) != new.get(field);
    let is_unreadable = |field: &str| before.unreadable.iter().any(|one| *one == field);
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

fn stored_fields(stored: &Stored) -> bson::error::Result<Document> {
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
