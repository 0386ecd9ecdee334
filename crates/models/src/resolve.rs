//! What stands at a path of the site, with everything that shows it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{Breadcrumb, DisplayType, List, Page, Project, ProjectCard, Section, Story};

/// What stands at a path of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Resolution {
    /// A section and the first page of its content.
    Section(Box<Resolved>),
    /// An item of a section: one that the path names, or the only one of a static page.
    Item(Box<Resolved>),
    /// What stood here has another path now.
    Moved {
        /// The path that it has.
        moved_to: String,
    },
}

/// A section or an item of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Resolved {
    /// The section.
    pub section: Section,
    /// The way to it from the top; the section itself is the last.
    pub breadcrumbs: Vec<Breadcrumb>,
    /// The one path at which this stands.
    pub canonical_path: String,
    /// How the section presents its content.
    pub display_type: DisplayType,
    /// The first page of the section's content, or the item.
    pub content: ResolvedContent,
}

/// The content at a path: a list where a section stands there, an item where one does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ResolvedContent {
    /// Of a section of stories.
    Stories(List<Story>),
    /// Of a section of projects.
    Projects(List<ProjectCard>),
    /// Of a section of pages.
    Pages(List<Page>),
    /// A story.
    Story(Story),
    /// A project.
    Project(Project),
    /// A page.
    Page(Page),
}
