//! The description of a kind of content: its fields, and how they are read and written.

use chrono::{DateTime, Utc};
use data_service::page_meta;
use models::{Body, ContentType, Moment, ObjectId, PageMetaPatch, Patch, Slug, Title};
use mongo_kit::{
    document::{Unreadable, warn_of_fields},
    lenient::{FieldReader, UnreadableField, flag_values, stored_id_text},
};
use mongodb::bson::{self, Bson, Document, RawDocument};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{drafts, schedule};
use crate::domain::{
    audience::Audience,
    content::ContentMeta,
    html_content::HtmlContent,
    item_paths::ItemPaths,
    schedule::SchedulePatch,
    tag::{self, ItemTags},
};

/// A kind of content. The type that implements it is an item as the API answers it.
pub(crate) trait Kind:
    Serialize + DeserializeOwned + ToSchema + Clone + Send + Sync + Sized + 'static
{
    /// The row of the kind in the table of content types.
    const TYPE: ContentType;
    /// The singular name in messages, such as `Story`.
    const NAME: &'static str;
    /// The field by which the public looks an item up.
    const ADDRESS: Address;
    /// The id of the migration that builds the indexes of the kind, such as `0020_event_indexes`;
    /// `None` for the kinds of existing sites, whose indexes `0000_list_indexes` and
    /// `0007_content_indexes` build.
    const INDEX_MIGRATION: Option<&'static str>;
    /// `true` if an item without `is_published` is published.
    const PUBLISHED_BY_DEFAULT: bool = false;

    /// The fields, besides the title, whose words the search finds. Markup in them is no text.
    const SEARCHED: &'static [&'static str] = &["content"];

    /// An item as lists show it.
    type Card: Serialize + ToSchema + Send;
    /// The body that creates an item.
    type Create: Body + Serialize + ToSchema + Into<Self::Patch>;
    /// The body that replaces an item.
    type Replace: Body + Serialize + ToSchema + Into<Self::Patch>;
    /// The body that changes some fields of an item.
    type Patch: Body + ToSchema;

    /// Reads the fields that the item has besides the common ones.
    fn read(meta: ContentMeta, reader: &mut FieldReader<'_>) -> Self;

    /// Converts the item into its card.
    fn into_card(self) -> Self::Card;

    /// Takes the text out of the item, which has an empty one then.
    fn take_content(&mut self) -> String;

    /// Returns the common members of the item.
    fn meta(&self) -> &ContentMeta;

    /// Returns the common members of the item, to change them.
    fn meta_mut(&mut self) -> &mut ContentMeta;

    /// Returns the slug of the item; empty if it has none.
    fn slug(&self) -> &str;

    /// Returns the item with its path.
    fn at(mut self, paths: &ItemPaths) -> Self {
        self.meta_mut().path = paths.path(self.meta(), self.slug());
        self
    }

    /// Converts a body into the changes that it makes.
    fn changes(body: Self::Patch) -> Changes;

    /// Returns the fields that cards do without, as a projection.
    fn omitted_in_lists() -> Document {
        Document::new()
    }

    /// Returns the groups of documents that the content report counts although nothing is wrong
    /// with them.
    fn notes() -> Vec<Note> {
        Vec::new()
    }
}

/// The field by which the public looks an item up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address {
    /// The slug. Every item gets one, which is made from the title unless it is given.
    Slug {
        /// The slug of an item whose title has no character that can stand in a slug.
        fallback: &'static str,
    },
    /// A field that editors set. Several items may have the same value: the oldest is found. Items of
    /// these kinds have a slug only if an editor gives them one.
    Field {
        /// The name of the field.
        name: &'static str,
        /// The segment of the path before the value.
        segment: &'static str,
    },
}

/// The name of the field with the slug of an item.
pub(crate) const SLUG: &str = "slug";

/// The field with the time of the deletion, by the clock of the server.
pub(super) const DELETED_AT: &str = "deleted_at";

/// The field with the id of the user who deleted the item; null for the holder of the static token.
pub(super) const DELETED_BY: &str = "deleted_by";

impl Address {
    /// Returns the name of the field.
    pub(crate) const fn field(self) -> &'static str {
        match self {
            Self::Slug { .. } => SLUG,
            Self::Field { name, .. } => name,
        }
    }

    /// Returns the segment of the path before the value.
    pub(crate) const fn segment(self) -> &'static str {
        match self {
            Self::Slug { .. } => SLUG,
            Self::Field { segment, .. } => segment,
        }
    }

    /// Returns `true` if the public looks items up by their slugs.
    pub(crate) const fn is_slug(self) -> bool {
        matches!(self, Self::Slug { .. })
    }
}

/// A field by which items are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookUpField {
    /// The field of public look-ups.
    Address,
    /// The slug.
    Slug,
}

impl LookUpField {
    /// Returns the name of the field.
    pub(super) const fn name<K: Kind>(self) -> &'static str {
        match self {
            Self::Address => K::ADDRESS.field(),
            Self::Slug => SLUG,
        }
    }
}

/// A group of documents that the content report counts although nothing is wrong with them.
pub(crate) struct Note {
    /// The name of the group.
    pub(crate) what: &'static str,
    /// The consequence for the site, for a person.
    pub(crate) reason: &'static str,
    /// Matches the documents.
    pub(crate) filter: Document,
}

/// An item as it was read. A field whose meaning is not plain is absent.
pub(crate) struct Reading<K: Kind> {
    /// The item.
    pub(crate) item: K,
    /// The fields whose meaning is not plain.
    pub(crate) unreadable: Vec<UnreadableField>,
    /// `true` if the item is plainly published and plainly not deleted.
    pub(crate) is_public: bool,
    /// The text of the field that the public looks the item up by.
    pub(crate) address: Option<String>,
    /// The text of the slug.
    pub(crate) slug: Option<String>,
}

impl<K: Kind> Reading<K> {
    /// Reads a document. The only fault that hides a whole document is an `_id` that has no text.
    pub(crate) fn new(document: &RawDocument) -> Result<Self, Unreadable> {
        let mut reader = FieldReader::new(document);
        let id = reader
            .value("_id")
            .ok_or("null")
            .and_then(|id| stored_id_text(id).map_err(|error| error.0));
        let id = id.map_err(|found| {
            let reason = format!("its _id ({found}) is no ObjectId, text, number or UUID");
            Unreadable::new(K::TYPE.collection(), document, reason)
        })?;
        let is_published = reader.flag("is_published");
        let deleted = reader.flag("deleted");
        // An item that is not plainly public is not shown: a value without a plain meaning does not
        // count as an absent one here.
        let is_published = is_published.unwrap_or_else(|| {
            K::PUBLISHED_BY_DEFAULT
                && !reader.is_unreadable("is_published")
                && !drafts::says_draft(&mut reader)
        });
        let is_public =
            is_published && !deleted.unwrap_or_default() && !reader.is_unreadable("deleted");
        let meta = ContentMeta {
            id: id.into(),
            title: reader.text("title").unwrap_or_default(),
            is_published,
            created_date: reader.date("createdDate"),
            updated_date: reader.date("updatedDate"),
            deleted: deleted.unwrap_or_default(),
            user_id: reader.reference("user_id"),
            // Known to the store, which reads users.
            author: None,
            section_id: reader.reference("section_id"),
            path: None,
            date: reader.date("date"),
            tags: tag::read(&mut reader),
            page: page_meta::read(&mut reader),
            schedule: schedule::read(&mut reader),
        };
        let (address, slug) = (reader.text(K::ADDRESS.field()), reader.text(SLUG));
        let item = K::read(meta, &mut reader);
        Ok(Self { item, unreadable: reader.unreadable(), is_public, address, slug })
    }

    /// Returns the text of one of the fields by which items are found.
    pub(super) fn look_up_text(&self, field: LookUpField) -> Option<&str> {
        match field {
            LookUpField::Address => self.address.as_deref(),
            LookUpField::Slug => self.slug.as_deref(),
        }
    }

    /// Returns `true` if an audience sees the item, as far as the item itself decides that.
    pub(super) fn is_visible(&self, audience: &Audience) -> bool {
        match audience {
            Audience::Public(_) => self.is_public,
            Audience::Editors => !self.item.meta().deleted,
        }
    }

    /// Reads a document, and warns of the fields whose meaning is not plain.
    pub(crate) fn with_warnings(document: &RawDocument) -> Result<Self, Unreadable> {
        let reading = Self::new(document)?;
        if !reading.unreadable.is_empty() {
            let id = reading.item.meta().id.as_str();
            warn_of_fields(K::TYPE.collection(), id, &reading.unreadable);
        }
        Ok(reading)
    }
}

/// Returns the values of `is_published` of a published item.
pub(super) fn published_values<K: Kind>() -> Vec<Bson> {
    let mut values = flag_values(true);
    if K::PUBLISHED_BY_DEFAULT {
        values.extend(absent_values());
    }
    values
}

/// Returns the values that stand for a flag that is not set. Null matches missing fields as well.
pub(crate) fn absent_values() -> [Bson; 2] {
    [Bson::Null, Bson::from("")]
}

/// The fields that are written to an item. A field that is absent stays as it is.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) title: Option<Title>,
    /// The HTML, before it is sanitised.
    pub(crate) content: Option<HtmlContent>,
    pub(crate) created_date: Option<Moment>,
    pub(crate) date: Patch<Moment>,
    pub(crate) tags: Option<ItemTags>,
    pub(crate) is_published: Option<bool>,
    pub(crate) section: Patch<ObjectId>,
    /// The slug of the section of a new item whose body names none.
    pub(crate) default_section: Option<&'static str>,
    pub(crate) slug: Patch<Slug>,
    pub(crate) page: PageMetaPatch,
    pub(crate) schedule: SchedulePatch,
    /// The fields that the other kinds do not have.
    pub(crate) own: OwnFields,
}

/// The fields of a write that only one kind has.
#[derive(Debug, Default)]
pub(crate) struct OwnFields(pub(super) Document);

impl OwnFields {
    /// Sets a field, unless the value is `None`.
    #[must_use]
    pub(crate) fn set(mut self, field: &str, value: Option<impl Into<Bson>>) -> Self {
        if let Some(value) = value {
            self.0.insert(field, value);
        }
        self
    }

    /// Sets a text that can be null.
    #[must_use]
    pub(crate) fn set_text(self, field: &str, patch: Patch<impl Into<String>>) -> Self {
        self.set_nullable(field, patch.map(|text| Bson::String(text.into())))
    }

    fn set_nullable(self, field: &str, patch: Patch<Bson>) -> Self {
        self.set(field, patch.into_option().map(|value| value.unwrap_or(Bson::Null)))
    }
}

/// Converts a date into its stored form.
pub(crate) fn stored_date(date: impl Into<DateTime<Utc>>) -> bson::DateTime {
    bson::DateTime::from_millis(date.into().timestamp_millis())
}
