//! Content: stories, projects and pages as the API answers them.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The id of an item of content as the API answers it.
///
/// New items have an [`ObjectId`](crate::ObjectId); a database that was taken over may hold
/// documents with another kind of `_id`, which are answered as the text that they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String)]
pub struct ContentId(String);

impl ContentId {
    /// Returns the id as it is listed.
    pub fn as_str(&self) -> &str {
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

/// What every item of content has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Common {
    /// The item's id.
    pub id: ContentId,
    /// The title; empty where the document has none.
    pub title: String,
    /// Whether the public sees it.
    pub is_published: bool,
    /// When it was created.
    #[serde(rename = "createdDate", serialize_with = "crate::rfc3339::serialize")]
    #[schema(required = true)]
    pub created_date: Option<DateTime<Utc>>,
    /// When it was changed last.
    #[serde(rename = "updatedDate", serialize_with = "crate::rfc3339::serialize")]
    #[schema(required = true)]
    pub updated_date: Option<DateTime<Utc>>,
    /// Whether it is in the trash.
    pub deleted: bool,
    /// The user it belongs to.
    #[schema(required = true)]
    pub user_id: Option<String>,
    /// The section it belongs to.
    #[schema(required = true)]
    pub section_id: Option<String>,
}

/// A story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Story {
    /// What every item has.
    #[serde(flatten)]
    pub common: Common,
    /// The last part of the story's address; empty where the document has none.
    pub slug: String,
    /// The text, as HTML.
    pub content: String,
    /// The date that the author gave it.
    #[serde(serialize_with = "crate::rfc3339::serialize")]
    #[schema(required = true)]
    pub date: Option<DateTime<Utc>>,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// All but the text.
    #[serde(flatten)]
    pub card: ProjectCard,
    /// The text, as HTML.
    pub content: String,
}

/// A project as lists answer it: all but its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectCard {
    /// What every item has.
    #[serde(flatten)]
    pub common: Common,
    /// The last part of the project's address; empty where the document has none.
    pub slug: String,
    /// A sentence or two for the card.
    #[schema(required = true)]
    pub summary: Option<String>,
    /// What it is made with.
    pub technologies: Vec<String>,
    /// The picture on the card.
    #[schema(required = true)]
    pub image_url: Option<String>,
    /// Where its source is.
    #[schema(required = true)]
    pub github_url: Option<String>,
    /// Where it runs.
    #[schema(required = true)]
    pub live_url: Option<String>,
    /// Whether the site shows it first.
    pub is_featured: bool,
}

/// A page: the whole content of a section that shows one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page {
    /// What every item has.
    #[serde(flatten)]
    pub common: Common,
    /// The text, as HTML.
    pub content: String,
    /// Which page of the site it is, such as `about`.
    #[schema(required = true)]
    pub page_type: Option<String>,
}
