//! What tells the kinds of content apart: where they are stored, which fields they have beside
//! the common ones, and how they are answered.

use chrono::{DateTime, Utc};
use models::{ContentId, Page, Project, ProjectCard, Story};
use mongo_kit::{
    document::{Unreadable, read},
    lenient::{date, id_text, reference, text, texts},
};
use mongodb::bson::{Bson, Document, RawDocument, doc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{PAGES, PROJECTS, STORIES};

/// A kind of content.
pub(crate) trait Kind: 'static {
    /// The collection that holds it.
    const COLLECTION: &'static str;
    /// What it is called in messages.
    const NAME: &'static str;
    /// The fields that it has beside the common ones, as they are stored.
    type Fields: DeserializeOwned;
    /// An item as it is answered.
    type Item: Serialize;
    /// An item as lists answer it.
    type Card: Serialize;

    /// The item that a document holds.
    fn item(common: Common, fields: Self::Fields) -> Self::Item;

    /// The item as lists show it.
    fn card(common: Common, fields: Self::Fields) -> Self::Card;

    /// Matches what is published.
    fn published() -> Document {
        doc! { "is_published": true }
    }

    /// The fields that lists do without, as a projection.
    fn left_out_of_lists() -> Document {
        Document::new()
    }

    /// Reads a document in any of the shapes in which its meaning is plain.
    fn read(document: &RawDocument) -> Result<(Common, Self::Fields), Unreadable> {
        Ok((read(Self::COLLECTION, document)?, read(Self::COLLECTION, document)?))
    }
}

/// What every kind of content has, as it is stored.
#[derive(Debug, Deserialize)]
pub(crate) struct Common {
    #[serde(rename = "_id")]
    id: Bson,
    #[serde(default, deserialize_with = "text")]
    title: String,
    #[serde(rename = "createdDate", default, deserialize_with = "date")]
    created_date: Option<DateTime<Utc>>,
    #[serde(rename = "updatedDate", default, deserialize_with = "date")]
    updated_date: Option<DateTime<Utc>>,
    #[serde(default)]
    is_published: Option<bool>,
    #[serde(default)]
    deleted: Option<bool>,
    #[serde(default, deserialize_with = "reference")]
    user_id: Option<String>,
    #[serde(default, deserialize_with = "reference")]
    section_id: Option<String>,
}

impl Common {
    fn id(&self) -> ContentId {
        id_text(&self.id).into()
    }
}

/// Stories.
pub(crate) struct Stories;

/// What a story has beside the common fields.
#[derive(Debug, Deserialize)]
pub(crate) struct StoryFields {
    #[serde(default, deserialize_with = "text")]
    content: String,
    #[serde(default, deserialize_with = "text")]
    slug: String,
    #[serde(default, deserialize_with = "date")]
    date: Option<DateTime<Utc>>,
}

impl Kind for Stories {
    const COLLECTION: &'static str = STORIES;
    const NAME: &'static str = "Story";
    type Fields = StoryFields;
    type Item = Story;
    type Card = Story;

    fn item(common: Common, fields: StoryFields) -> Story {
        Story {
            id: common.id(),
            title: common.title,
            content: fields.content,
            slug: fields.slug,
            is_published: common.is_published.unwrap_or(false),
            date: fields.date,
            created_date: common.created_date,
            updated_date: common.updated_date,
            deleted: common.deleted.unwrap_or(false),
            user_id: common.user_id,
            section_id: common.section_id,
        }
    }

    fn card(common: Common, fields: StoryFields) -> Story {
        Self::item(common, fields)
    }
}

/// Projects.
pub(crate) struct Projects;

/// What a project has beside the common fields.
#[derive(Debug, Deserialize)]
pub(crate) struct ProjectFields {
    #[serde(default, deserialize_with = "text")]
    content: String,
    #[serde(default, deserialize_with = "text")]
    slug: String,
    #[serde(default)]
    summary: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    technologies: Vec<String>,
    #[serde(default)]
    image_url: Option<String>,
    #[serde(default)]
    github_url: Option<String>,
    #[serde(default)]
    live_url: Option<String>,
    #[serde(default)]
    is_featured: Option<bool>,
}

impl Kind for Projects {
    const COLLECTION: &'static str = PROJECTS;
    const NAME: &'static str = "Project";
    type Fields = ProjectFields;
    type Item = Project;
    type Card = ProjectCard;

    fn item(common: Common, mut fields: ProjectFields) -> Project {
        let content = std::mem::take(&mut fields.content);
        Project { card: Self::card(common, fields), content }
    }

    fn card(common: Common, fields: ProjectFields) -> ProjectCard {
        ProjectCard {
            id: common.id(),
            title: common.title,
            slug: fields.slug,
            summary: fields.summary,
            technologies: fields.technologies,
            image_url: fields.image_url,
            github_url: fields.github_url,
            live_url: fields.live_url,
            is_featured: fields.is_featured.unwrap_or(false),
            is_published: common.is_published.unwrap_or(true),
            created_date: common.created_date,
            updated_date: common.updated_date,
            deleted: common.deleted.unwrap_or(false),
            user_id: common.user_id,
            section_id: common.section_id,
        }
    }

    /// Projects that say nothing are published. One that says anything but true or false is
    /// refused when it is read.
    fn published() -> Document {
        doc! { "is_published": { "$ne": false } }
    }

    fn left_out_of_lists() -> Document {
        doc! { "content": 0 }
    }
}

/// Pages.
pub(crate) struct Pages;

/// What a page has beside the common fields.
#[derive(Debug, Deserialize)]
pub(crate) struct PageFields {
    #[serde(default, deserialize_with = "text")]
    content: String,
    #[serde(default)]
    page_type: Option<String>,
}

impl Kind for Pages {
    const COLLECTION: &'static str = PAGES;
    const NAME: &'static str = "Page";
    type Fields = PageFields;
    type Item = Page;
    type Card = Page;

    fn item(common: Common, fields: PageFields) -> Page {
        Page {
            id: common.id(),
            title: common.title,
            content: fields.content,
            page_type: fields.page_type,
            is_published: common.is_published.unwrap_or(false),
            created_date: common.created_date,
            updated_date: common.updated_date,
            deleted: common.deleted.unwrap_or(false),
            user_id: common.user_id,
            section_id: common.section_id,
        }
    }

    fn card(common: Common, fields: PageFields) -> Page {
        Self::item(common, fields)
    }
}
