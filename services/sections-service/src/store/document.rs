//! Sections and redirects as they are stored.

use chrono::{DateTime, Utc};
use models::{ContentType, DisplayType, NavVisibility, ObjectId, Section};
use mongo_kit::{
    document::{Unreadable, read},
    lenient,
};
use mongodb::bson::{self, Bson, Document, RawDocument, RawDocumentBuf, doc, oid};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{COLLECTION, REDIRECTS};
use crate::domain::Stored;

/// Which deletion a section went with: what has the same id comes back together.
const DELETION: &str = "deletion_id";

/// A section as it is stored.
#[derive(Debug, Deserialize)]
pub(super) struct SectionDoc {
    #[serde(rename = "_id")]
    id: oid::ObjectId,
    title: String,
    slug: String,
    #[serde(default, deserialize_with = "reference")]
    parent_id: Option<ObjectId>,
    display_type: DisplayType,
    content_type: ContentType,
    nav_visibility: NavVisibility,
    #[serde(default, deserialize_with = "lenient::integer")]
    sort_order: i64,
    #[serde(default)]
    is_published: Option<bool>,
    /// Here and above, anything but true, false or nothing makes the section unreadable, so that it is not shown.
    #[serde(default)]
    is_deleted: Option<bool>,
    #[serde(default)]
    deletion_id: Option<Bson>,
    #[serde(rename = "createdDate", default, deserialize_with = "lenient::date")]
    created_date: Option<DateTime<Utc>>,
    #[serde(rename = "updatedDate", default, deserialize_with = "lenient::date")]
    updated_date: Option<DateTime<Utc>>,
}

fn reference<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ObjectId>, D::Error> {
    let id = lenient::reference(deserializer)?;
    id.map(|id| id.parse().map_err(D::Error::custom)).transpose()
}

impl SectionDoc {
    pub(super) fn into_stored(self) -> Stored {
        let section = Section {
            id: ObjectId::from_bytes(self.id.bytes()),
            title: self.title,
            slug: self.slug,
            parent_id: self.parent_id,
            display_type: self.display_type,
            content_type: self.content_type,
            nav_visibility: self.nav_visibility,
            sort_order: self.sort_order,
            is_published: self.is_published.unwrap_or_default(),
            created_date: self.created_date,
            updated_date: self.updated_date,
        };
        // What another program means by the field is not known.
        let deletion = self.deletion_id.as_ref().and_then(Bson::as_str);
        Stored {
            section,
            is_deleted: self.is_deleted.unwrap_or_default(),
            deletion: deletion.and_then(|id| id.parse().ok()),
        }
    }
}

/// What could be read, and what could not.
pub(super) struct Parsed {
    pub(super) stored: Vec<Stored>,
    pub(super) unreadable: Vec<UnreadableSection>,
}

/// A section that cannot be read, and what is known of it all the same.
pub(super) struct UnreadableSection {
    pub(super) error: Unreadable,
    pub(super) slug: Option<String>,
    pub(super) is_deleted: bool,
    pub(super) is_published: bool,
}

pub(super) fn parse(documents: &[RawDocumentBuf]) -> Parsed {
    let mut parsed = Parsed { stored: Vec::new(), unreadable: Vec::new() };
    for document in documents {
        match read::<SectionDoc>(COLLECTION, document) {
            Ok(section) => parsed.stored.push(section.into_stored()),
            Err(error) => {
                let slug = document.get_str("slug").ok().map(str::to_owned);
                let is_deleted = document.get_bool("is_deleted").unwrap_or_default();
                let is_published = document.get_bool("is_published").unwrap_or_default();
                let section = UnreadableSection { error, slug, is_deleted, is_published };
                parsed.unreadable.push(section);
            }
        }
    }
    parsed
}

/// A redirect: the path that a section had.
pub(super) fn rule(document: &RawDocument) -> Result<(String, ObjectId), Unreadable> {
    #[derive(Deserialize)]
    struct RuleDoc {
        path: String,
        #[serde(deserialize_with = "reference")]
        section_id: Option<ObjectId>,
    }
    let rule: RuleDoc = read(REDIRECTS, document)?;
    // Null leads nowhere: to a section that cannot be.
    Ok((rule.path, rule.section_id.unwrap_or(ObjectId::from_bytes([0; 12]))))
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
