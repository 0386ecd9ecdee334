//! Sections: the navigation of the site as data.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ContentType, ObjectId, PageMeta, SectionType, Sort};

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
    /// The last part of the path, unique among the sections that are not deleted. That of a link is its
    /// name alone.
    pub slug: String,
    /// The id of the parent section, or null at the top.
    #[schema(required = true)]
    pub parent_id: Option<ObjectId>,
    /// The presentation of the content.
    pub display_type: DisplayType,
    /// The type of the content, or `link`.
    pub content_type: SectionType,
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
    /// public to the section. The path of a link is that of the section that it leads to.
    #[serde(default)]
    #[schema(required = true)]
    pub path: Option<String>,
    /// The target of a link.
    #[serde(flatten)]
    pub link: SectionLink,
    /// The facts for search engines and previews of links.
    #[serde(flatten)]
    pub page: PageMeta,
}

impl Section {
    /// Returns `true` if the section is a link.
    pub fn is_link(&self) -> bool {
        self.content_type == SectionType::Link
    }
}

/// The target of a section that is a link: an address, or another section. Other sections have none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
pub struct SectionLink {
    /// The address that a link leads to: an `http`, `https`, `mailto` or `tel` address, or a path of the
    /// site.
    #[serde(default)]
    #[schema(required = true)]
    pub url: Option<String>,
    /// The id of the section that a link leads to.
    #[serde(default)]
    #[schema(required = true)]
    pub section_id: Option<ObjectId>,
    /// `true` if the link opens in a new tab.
    #[serde(default)]
    #[schema(required = true)]
    pub opens_new_tab: bool,
}

/// A section for the other services, whatever its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(from = "WrittenEntry", into = "WrittenEntry")]
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

/// An entry as it is written. Earlier versions, which read it during an upgrade, do not know links: they
/// find a section for content without a slug, to which no path leads. The path of a link follows from
/// the section that it leads to.
#[derive(Serialize, Deserialize)]
struct WrittenEntry {
    #[serde(flatten)]
    section: Section,
    is_deleted: bool,
    #[serde(default)]
    is_unreadable: bool,
    is_public: bool,
    #[serde(default)]
    former_paths: Vec<String>,
    /// The slug of a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link_slug: Option<String>,
}

impl From<SectionEntry> for WrittenEntry {
    fn from(entry: SectionEntry) -> Self {
        let SectionEntry { mut section, is_deleted, is_unreadable, is_public, former_paths } =
            entry;
        let mut link_slug = None;
        if section.is_link() {
            link_slug = Some(std::mem::take(&mut section.slug));
            section.path = None;
            section.content_type = ContentType::Story.into();
        }
        Self { section, is_deleted, is_unreadable, is_public, former_paths, link_slug }
    }
}

impl From<WrittenEntry> for SectionEntry {
    fn from(written: WrittenEntry) -> Self {
        let WrittenEntry {
            mut section, is_deleted, is_unreadable, is_public, former_paths, ..
        } = written;
        if let Some(slug) = written.link_slug {
            section.slug = slug;
            section.content_type = SectionType::Link;
        }
        Self { section, is_deleted, is_unreadable, is_public, former_paths }
    }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A section as earlier versions read it.
    #[derive(Deserialize)]
    struct EarlierEntry {
        slug: String,
        content_type: ContentType,
        is_public: bool,
    }

    fn section(content_type: &str) -> Value {
        json!({
            "id": "626e3e0035b0bc65bb5e154a", "title": "GitHub", "slug": "github", "parent_id": null,
            "display_type": "feed", "content_type": content_type, "nav_visibility": "main",
            "sort_order": 0, "is_published": true, "createdDate": null, "updatedDate": null,
            "url": "https://github.com/example", "opens_new_tab": true,
        })
    }

    #[test]
    fn earlier_versions_read_a_link_as_a_section_without_a_path() {
        let section: Section = serde_json::from_value(section("link")).unwrap();
        let entry = SectionEntry {
            section,
            is_deleted: false,
            is_unreadable: false,
            is_public: true,
            former_paths: Vec::new(),
        };
        let written = serde_json::to_string(&entry).unwrap();
        let earlier: EarlierEntry = serde_json::from_str(&written).unwrap();
        assert_eq!((earlier.slug.as_str(), earlier.content_type), ("", ContentType::Story));
        assert!(earlier.is_public);
        assert_eq!(serde_json::from_str::<SectionEntry>(&written).unwrap(), entry);
        // The API answers what it is.
        assert_eq!(serde_json::to_value(&entry.section).unwrap()["content_type"], "link");
    }

    #[test]
    fn an_entry_of_an_earlier_version_is_read() {
        let mut written = section("story");
        for (member, value) in [("is_deleted", false), ("is_public", true)] {
            written[member] = value.into();
        }
        let entry: SectionEntry = serde_json::from_value(written).unwrap();
        assert_eq!(entry.section.content_type, ContentType::Story);
        assert_eq!(entry.section.slug, "github");
    }
}
