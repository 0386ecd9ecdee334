//! Sections: the site's navigation as data.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ObjectId;

/// How a section presents its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DisplayType {
    /// A list, newest first.
    Feed,
    /// A grid of cards.
    CardGrid,
    /// One page.
    StaticPage,
}

/// Which kind of content a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContentType {
    /// Stories.
    Story,
    /// Projects.
    Project,
    /// Pages.
    Page,
}

/// Where a section appears in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NavVisibility {
    /// In the main navigation.
    Main,
    /// In the footer.
    Footer,
    /// Nowhere; reachable by its address.
    Hidden,
}

/// A section as the API answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// The section's id.
    pub id: ObjectId,
    /// What the navigation shows.
    pub title: String,
    /// The last part of the section's address, unique among the sections that are not deleted.
    pub slug: String,
    /// The section above this one; none at the top.
    pub parent_id: Option<ObjectId>,
    /// How the content is presented.
    pub display_type: DisplayType,
    /// Which kind of content belongs here.
    pub content_type: ContentType,
    /// Where the navigation shows it.
    pub nav_visibility: NavVisibility,
    /// The place among its siblings, smallest first.
    pub sort_order: i64,
    /// Whether the public sees it.
    pub is_published: bool,
    /// When it was created.
    #[serde(rename = "createdDate", serialize_with = "crate::rfc3339::serialize")]
    pub created_date: Option<DateTime<Utc>>,
    /// When it was changed last.
    #[serde(rename = "updatedDate", serialize_with = "crate::rfc3339::serialize")]
    pub updated_date: Option<DateTime<Utc>>,
}

/// A section with the sections below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionNode {
    /// The section itself.
    #[serde(flatten)]
    pub section: Section,
    /// The sections directly below, by `sort_order`.
    pub children: Vec<SectionNode>,
}

/// What another service needs to know of a section that is not deleted, published or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionEntry {
    /// The section's id.
    pub id: ObjectId,
    /// Its slug.
    pub slug: String,
    /// Which kind of content belongs there.
    pub content_type: ContentType,
}
