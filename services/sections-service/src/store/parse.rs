//! Lenient reading of stored sections and redirects.

use std::collections::{HashMap, HashSet};

use data_service::page_meta;
use models::{ContentType, ObjectId, Section};
use mongo_kit::{
    document::{Unreadable, warn_of_fields},
    lenient::{FieldReader, UnreadableField},
};
use mongodb::bson::{self, Bson, RawBsonRef, RawDocument, RawDocumentBuf, oid};
use serde::de::DeserializeOwned;

use super::{
    collections::{COLLECTION, REDIRECTS},
    document::DELETION,
};
use crate::domain::stored_section::{DECISIVE_FIELDS, StoredSection, VISIBILITY_FIELDS};

/// A section as it was read. A field without a plain meaning has its default.
struct Reading {
    stored: StoredSection,
    /// The `_id` if it is stored as text.
    text_id: Option<String>,
    /// The fields without a plain meaning.
    unreadable: Vec<UnreadableField>,
}

/// Reads a section. The only fault that hides a whole document is an `_id` that nothing can refer
/// to.
///
/// A section is a draft if a field that decides who sees it has no plain meaning. A section without
/// a plain `content_type` is for the content that its `display_type` usually presents.
fn read_section(document: &RawDocument) -> Result<Reading, Unreadable> {
    let mut reader = FieldReader::new(document);
    let (id, text_id) = read_id(&mut reader).ok_or_else(|| {
        Unreadable::new(COLLECTION, document, "its _id is neither an ObjectId nor the text of one")
    })?;
    let display_type = reader.choice("display_type", parse_choice);
    let content_type = reader.choice("content_type", parse_choice);
    let plain_type = content_type.or_else(|| ContentType::usually_displayed_as(display_type?));
    let content_type = plain_type.unwrap_or(ContentType::Story);
    let parent = reader.reference("parent_id");
    let is_published = reader.flag("is_published");
    let is_deleted = reader.flag("is_deleted").unwrap_or_default();
    let mut section = Section {
        id,
        title: reader.text("title").unwrap_or_default(),
        slug: reader.text("slug").unwrap_or_default(),
        parent_id: parent.as_deref().and_then(|id| id.parse().ok()),
        display_type: display_type.unwrap_or(content_type.usual_display()),
        content_type,
        nav_visibility: reader.choice("nav_visibility", parse_choice).unwrap_or_default(),
        sort_order: reader.integer("sort_order").unwrap_or_default(),
        sort_by: reader.choice("sort_by", |sort| sort.trim().parse().ok()),
        is_published: is_published.unwrap_or_default(),
        is_home: reader.flag("is_home").unwrap_or_default(),
        created_date: reader.date("createdDate"),
        updated_date: reader.date("updatedDate"),
        path: None,
        page: page_meta::read(&mut reader),
    };
    let deletion = read_deletion(&mut reader);
    let mut unreadable = reader.unreadable();
    for (field, found, is_found) in [
        ("parent_id", "text that is no id", parent.is_some() && section.parent_id.is_none()),
        ("content_type", "missing", plain_type.is_none()),
        ("slug", "missing", section.slug.is_empty()),
    ] {
        if is_found && unreadable.iter().all(|one| one.field != field) {
            unreadable.push(UnreadableField { field: field.to_owned(), found });
        }
    }
    let is_unreadable = |name: &&str| unreadable.iter().any(|one| one.field == *name);
    let decisive: Vec<_> = DECISIVE_FIELDS.into_iter().filter(is_unreadable).collect();
    let is_unclear = VISIBILITY_FIELDS.iter().any(|field| decisive.contains(field));
    section.is_published &= !is_unclear;
    let is_withheld = is_unclear && !is_deleted && is_published != Some(false);
    let stored = StoredSection { section, is_deleted, deletion, unreadable: decisive, is_withheld };
    Ok(Reading { stored, text_id, unreadable })
}

/// Reads the `_id`: an `ObjectId`, or its text, which is returned too.
fn read_id(reader: &mut FieldReader<'_>) -> Option<(ObjectId, Option<String>)> {
    match reader.value("_id")? {
        RawBsonRef::ObjectId(id) => Some((ObjectId::from_bytes(id.bytes()), None)),
        RawBsonRef::String(text) => Some((text.parse().ok()?, Some(text.to_owned()))),
        _ => None,
    }
}

/// Reads the id of a deletion. A value that this service does not write is ignored: another program
/// may use the field for something else.
fn read_deletion(reader: &mut FieldReader<'_>) -> Option<ObjectId> {
    match reader.value(DELETION)? {
        RawBsonRef::String(id) => id.parse().ok(),
        _ => None,
    }
}

/// Reads the name of a variant, in capitals or with underscores too.
fn parse_choice<T: DeserializeOwned>(name: &str) -> Option<T> {
    let name = name.trim().to_ascii_lowercase().replace('_', "-");
    bson::deserialize_from_bson(Bson::from(name)).ok()
}

/// The sections of the collection, and the faults of its documents.
#[derive(Default)]
pub(super) struct ParsedSections {
    /// The sections, deleted or not.
    pub(super) stored: Vec<StoredSection>,
    /// The documents that cannot be read as a whole.
    pub(super) unreadable: Vec<UnreadableSection>,
    /// The fields without a plain meaning, by the id of the section.
    pub(super) unreadable_fields: Vec<(ObjectId, Vec<UnreadableField>)>,
    pub(super) stored_ids: StoredIds,
}

/// The `_id`s of the sections in the database. Those that are stored as text are listed; all others
/// are `ObjectId`s.
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
    pub(super) error: Unreadable,
    pub(super) slug: Option<String>,
    pub(super) is_deleted: bool,
    pub(super) is_published: bool,
}

impl UnreadableSection {
    fn new(error: Unreadable, document: &RawDocument) -> Self {
        let mut reader = FieldReader::new(document);
        Self {
            error,
            slug: reader.text("slug"),
            is_deleted: reader.flag("is_deleted").unwrap_or_default(),
            is_published: reader.flag("is_published").unwrap_or_default(),
        }
    }
}

/// Reads all documents of the collection. If an `ObjectId` and a text have the same digits, the
/// document with the `ObjectId` is the section.
pub(super) fn parse_sections(documents: &[RawDocumentBuf]) -> ParsedSections {
    let mut documents: Vec<_> = documents.iter().collect();
    documents.sort_by_key(|document| document.get_object_id("_id").is_err());
    let mut parsed = ParsedSections::default();
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
            Ok(Reading { stored, text_id, unreadable }) => {
                let id = stored.section.id;
                if !unreadable.is_empty() {
                    warn_of_fields(COLLECTION, &id.to_string(), &unreadable);
                    parsed.unreadable_fields.push((id, unreadable));
                }
                parsed.stored_ids.0.extend(text_id.map(|text| (id, text)));
                parsed.stored.push(stored);
            }
            Err(error) => parsed.unreadable.push(UnreadableSection::new(error, document)),
        }
    }
    parsed
}

/// Reads a redirect: a path and the section that it leads to.
pub(super) fn parse_redirect(document: &RawDocument) -> Result<(String, ObjectId), Unreadable> {
    let mut reader = FieldReader::new(document);
    let unreadable = |reason: &str| Unreadable::new(REDIRECTS, document, reason);
    let path = reader.text("path").ok_or_else(|| unreadable("it has no path"))?;
    let section = reader.reference("section_id");
    if let Some(field) = reader.first_unreadable(&["section_id"]) {
        return Err(unreadable(&field.to_string()));
    }
    // No section has the null id: the redirect leads nowhere.
    let Some(section) = section else { return Ok((path, ObjectId::from_bytes([0; 12]))) };
    let section = section.parse().map_err(|error| unreadable(&format!("section_id: {error}")))?;
    Ok((path, section))
}
