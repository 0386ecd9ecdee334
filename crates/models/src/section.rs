//! Sections: the navigation of the site as data.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ContentType, ObjectId, PageMeta, Sort};

/// The presentation of the content of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DisplayType {
    /// A list with the newest item first.
    Feed,
    /// A grid of cards.
    CardGrid,
    /// A single page.
    StaticPage,
}

/// The place of a section in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NavVisibility {
    /// The main navigation.
    #[default]
    Main,
    /// The footer.
    Footer,
    /// None: the section is only reachable by its path.
    Hidden,
}

/// A section in an answer of the API.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Section {
    /// The id of the section.
    pub id: ObjectId,
    /// The title, which the navigation shows.
    pub title: String,
    /// The last part of the path, unique among the sections that are not deleted.
    pub slug: String,
    /// The id of the parent section, or null at the top.
    #[schema(required = true)]
    pub parent_id: Option<ObjectId>,
    /// The presentation of the content.
    pub display_type: DisplayType,
    /// The type of the content.
    pub content_type: ContentType,
    /// The place in the navigation.
    pub nav_visibility: NavVisibility,
    /// The position among the siblings, in ascending order.
    pub sort_order: i64,
    /// The order of the content; null for `-createdDate`. `sort` of a request takes precedence.
    #[serde(default)]
    #[schema(required = true)]
    pub sort_by: Option<Sort>,
    /// `true` if the section is published. The public sees it if all sections above are published too.
    pub is_published: bool,
    /// `true` if the path `/` leads to the section. At most one is the home.
    #[serde(default)]
    #[schema(required = true)]
    pub is_home: bool,
    /// The date of creation.
    #[serde(rename = "createdDate", serialize_with = "crate::rfc3339::serialize")]
    #[schema(required = true)]
    pub created_date: Option<DateTime<Utc>>,
    /// The date of the last change.
    #[serde(rename = "updatedDate", serialize_with = "crate::rfc3339::serialize")]
    #[schema(required = true)]
    pub updated_date: Option<DateTime<Utc>>,
    /// The path on the site, such as `/projects/rust`, percent-encoded. It is null if no path leads the
    /// public to the section.
    #[serde(default)]
    #[schema(required = true)]
    pub path: Option<String>,
    /// The facts for search engines and previews of links.
    #[serde(flatten)]
    pub page: PageMeta,
}

/// A section for the other services, whatever its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SectionEntry {
    /// The section. A deleted one may have the slug of one that is not deleted.
    #[serde(flatten)]
    pub section: Section,
    /// `true` if the section is in the trash.
    pub is_deleted: bool,
    /// `true` if the section may have been meant to be public, and is hidden only because a field that
    /// decides who sees it cannot be read.
    #[serde(default)]
    pub is_unreadable: bool,
    /// `true` if the public sees the section: it and all above it are published and not deleted.
    pub is_public: bool,
    /// The former paths of the section, except those that another section had later.
    #[serde(default)]
    pub former_paths: Vec<String>,
}

/// The number of items that are not deleted, by section.
pub type ContentCounts = BTreeMap<ObjectId, u64>;

/// The resolution of a path of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum PathResolution {
    /// A public section, and the rest of the path.
    Found(Box<ResolvedPath>),
    /// The section that was at the path has another path.
    Moved {
        /// The new path.
        moved_to: String,
    },
}

/// The section that a path leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct ResolvedPath {
    /// The section at the longest part of the path.
    pub section: Section,
    /// The ancestors from the top, and the section itself as the last.
    pub breadcrumbs: Vec<Breadcrumb>,
    /// The path of the section.
    pub path: String,
    /// The remaining segments, which may be the slug of an item of the section.
    pub rest: Vec<String>,
}

/// A section in the ancestry of another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Breadcrumb {
    /// The id of the section.
    pub id: ObjectId,
    /// The title of the section.
    pub title: String,
    /// The slug of the section.
    pub slug: String,
    /// The path of the section.
    pub path: String,
}
