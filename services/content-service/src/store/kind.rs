//! What tells the kinds of content apart: where they are stored, which fields they have beside
//! the common ones, and how they are answered.

use chrono::{DateTime, Utc};
use models::{Common, Page, Project, ProjectCard, Story};
use mongo_kit::{
    document::{Unreadable, read},
    lenient::{date, id, reference, text, texts},
};
use mongodb::bson::{Document, RawDocument, doc};
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

    /// Whether an item that does not say so is published.
    const PUBLISHED_UNLESS_SAID: bool = false;

    /// The item with these parts.
    fn item(common: Common, fields: Self::Fields) -> Self::Item;

    /// The item as lists show it.
    fn card(common: Common, fields: Self::Fields) -> Self::Card;

    /// Matches what is published. What says anything but true or false is matched too, and refused
    /// when it is read: left out with a warning, not in silence.
    fn published() -> Document {
        if Self::PUBLISHED_UNLESS_SAID {
            doc! { "is_published": { "$ne": false } }
        } else {
            doc! { "is_published": { "$nin": [false, null] } }
        }
    }

    /// The fields that lists do without, as a projection.
    fn left_out_of_lists() -> Document {
        Document::new()
    }

    /// Reads a document in any of the shapes in which its meaning is plain.
    fn read(document: &RawDocument) -> Result<(Common, Self::Fields), Unreadable> {
        let common: CommonFields = read(Self::COLLECTION, document)?;
        Ok((common.answered::<Self>(), read(Self::COLLECTION, document)?))
    }
}

/// What every kind of content has, as it is stored.
#[derive(Debug, Deserialize)]
struct CommonFields {
    #[serde(rename = "_id", deserialize_with = "id")]
    id: String,
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

impl CommonFields {
    fn answered<K: Kind + ?Sized>(self) -> Common {
        Common {
            id: self.id.into(),
            title: self.title,
            is_published: self.is_published.unwrap_or(K::PUBLISHED_UNLESS_SAID),
            created_date: self.created_date,
            updated_date: self.updated_date,
            deleted: self.deleted.unwrap_or(false),
            user_id: self.user_id,
            section_id: self.section_id,
        }
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
        Story { common, slug: fields.slug, content: fields.content, date: fields.date }
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
    const PUBLISHED_UNLESS_SAID: bool = true;
    type Fields = ProjectFields;
    type Item = Project;
    type Card = ProjectCard;

    fn item(common: Common, mut fields: ProjectFields) -> Project {
        let content = std::mem::take(&mut fields.content);
        Project { card: Self::card(common, fields), content }
    }

    fn card(common: Common, fields: ProjectFields) -> ProjectCard {
        ProjectCard {
            common,
            slug: fields.slug,
            summary: fields.summary,
            technologies: fields.technologies,
            image_url: fields.image_url,
            github_url: fields.github_url,
            live_url: fields.live_url,
            is_featured: fields.is_featured.unwrap_or(false),
        }
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
        Page { common, content: fields.content, page_type: fields.page_type }
    }

    fn card(common: Common, fields: PageFields) -> Page {
        Self::item(common, fields)
    }
}
