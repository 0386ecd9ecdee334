//! Sections: the site's navigation as data.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ContentType, ObjectId};

/// How a section presents its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DisplayType {
    /// A list, newest first.
    Feed,
    /// A grid of cards.
    CardGrid,
    /// One page.
    StaticPage,
}

/// Where a section appears in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NavVisibility {
    /// In the main navigation.
    #[default]
    Main,
    /// In the footer.
    Footer,
    /// Nowhere; reachable by its address.
    Hidden,
}

/// A section as the API answers it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Section {
    /// The section's id.
    pub id: ObjectId,
    /// What the navigation shows.
    pub title: String,
    /// The last part of the section's address, unique among the sections that are not deleted.
    pub slug: String,
    /// The section above this one; none at the top.
    #[schema(required = true)]
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
    #[schema(required = true)]
    pub created_date: Option<DateTime<Utc>>,
    /// When it was changed last.
    #[serde(rename = "updatedDate", serialize_with = "crate::rfc3339::serialize")]
    #[schema(required = true)]
    pub updated_date: Option<DateTime<Utc>>,
}

/// A section with the sections below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SectionNode {
    /// The section itself.
    #[serde(flatten)]
    pub section: Section,
    /// The sections directly below, by `sort_order`.
    #[schema(no_recursion)]
    pub children: Vec<SectionNode>,
}

/// What another service needs to know of a section, whether the public sees it or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SectionEntry {
    /// The section's id.
    pub id: ObjectId,
    /// Its slug. One that is deleted may have the slug of one that is not.
    pub slug: String,
    /// Which kind of content belongs there.
    pub content_type: ContentType,
    /// How the content is presented.
    pub display_type: DisplayType,
    /// Whether it is in the trash.
    pub is_deleted: bool,
    /// `true` if the section may have been meant to be public, and is hidden only because a field that
    /// decides who sees it cannot be read.
    #[serde(default)]
    pub is_unreadable: bool,
    /// Whether the public sees it: it and everything above it is published and not deleted.
    pub is_public: bool,
    /// Its path on the site, such as `/projects/rust`; none where the public does not see it.
    #[serde(default)]
    pub path: Option<String>,
    /// The paths that it had before it was renamed or moved, as far as no other section had them
    /// later.
    #[serde(default)]
    pub former_paths: Vec<String>,
}

/// How many items of content that are not deleted belong to each of the sections that were asked
/// for.
pub type ContentCounts = BTreeMap<ObjectId, u64>;

/// What stands at a path of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum PathResolution {
    /// A section that the public sees, and perhaps something in it.
    Found(Box<ResolvedPath>),
    /// What stood here has another path now.
    Moved {
        /// The path that it has.
        moved_to: String,
    },
}

/// The section that a path leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct ResolvedPath {
    /// The section at the longest part of the path that leads to one.
    pub section: Section,
    /// The way to it from the top; the section itself is the last.
    pub breadcrumbs: Vec<Breadcrumb>,
    /// The section's own path.
    pub path: String,
    /// What of the path is left: nothing, or what may name an item of the section.
    pub rest: Vec<String>,
}

/// A section on the way to another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Breadcrumb {
    /// Its id.
    pub id: ObjectId,
    /// Its title.
    pub title: String,
    /// Its slug.
    pub slug: String,
    /// Its path.
    pub path: String,
}
