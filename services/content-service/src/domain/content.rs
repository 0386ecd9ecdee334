//! The members and ids that every item of content has.

use std::fmt;

use chrono::{DateTime, Utc};
use models::{ObjectId, PageMeta, ids};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{
    ToSchema,
    openapi::{ObjectBuilder, Type},
};

use super::schedule::ItemSchedule;

/// The id of an item of content as the API answers it.
///
/// New items have an [`ObjectId`]; a database that was taken over may hold documents with another
/// type of `_id`, which are answered as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub(crate) struct ContentId(String);

impl ContentId {
    /// Returns the id as it is listed.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ContentId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ids of items as they are listed, each once: from 1 to [`ContentIds::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ContentIds(Vec<ContentId>);

models::schema!(ContentIds, ids::schema_of(ObjectBuilder::new().schema_type(Type::String)));

impl ContentIds {
    /// The largest number of ids, the same as of sections.
    pub(crate) const MAX: usize = models::Ids::MAX;

    /// Returns the ids in the order of the request.
    pub(crate) fn as_slice(&self) -> &[ContentId] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ContentIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The digits of an ObjectId may be of either case.
        let key = |id: &ContentId| {
            id.0.parse().map_or_else(|_| id.0.clone(), |id: ObjectId| id.to_string())
        };
        ids::deserialize_unique(deserializer, key).map(Self)
    }
}

/// The content that a request moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum MovedContent {
    /// The items with these ids.
    Ids(ContentIds),
    /// Everything that belongs to this section.
    SectionId(ObjectId),
}

/// The user that an item belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Author {
    /// The name. Nothing else about a user is public.
    pub(crate) name: String,
}

/// The members that every item of content has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Common)]
pub(crate) struct ContentMeta {
    /// The item's id.
    pub(crate) id: ContentId,
    /// The title; empty if the document has none.
    pub(crate) title: String,
    /// `true` if the public sees the item.
    pub(crate) is_published: bool,
    /// The date of its creation.
    #[serde(rename = "createdDate", serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) created_date: Option<DateTime<Utc>>,
    /// The date of its last change.
    #[serde(rename = "updatedDate", serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) updated_date: Option<DateTime<Utc>>,
    /// `true` if the item is in the trash.
    pub(crate) deleted: bool,
    /// The id of the user that the item belongs to.
    #[schema(required = true)]
    pub(crate) user_id: Option<String>,
    /// The user that the item belongs to; null if the user is unknown or has no name.
    #[schema(required = true)]
    pub(crate) author: Option<Author>,
    /// The id of the section that the item belongs to.
    #[schema(required = true)]
    pub(crate) section_id: Option<String>,
    /// The path on the site, percent-encoded. It is null if no path leads to the item; a draft has the
    /// path at which it will be published.
    #[schema(required = true)]
    pub(crate) path: Option<String>,
    /// The date that the author gave it.
    #[serde(serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) date: Option<DateTime<Utc>>,
    /// The words that it has in common with other items.
    pub(crate) tags: Vec<String>,
    /// The facts for search engines and previews of links.
    #[serde(flatten)]
    pub(crate) page: PageMeta,
    /// The moments at which the item is published and unpublished by itself.
    #[serde(flatten)]
    pub(crate) schedule: ItemSchedule,
}
