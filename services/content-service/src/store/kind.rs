//! What tells the kinds of content apart: where they are stored, which fields they have beside
//! the common ones, and how they are answered.

use chrono::{DateTime, Utc};
use models::{
    Body, Common, Content, ContentType, List, Moment, ObjectId, Page, PageCreate, PagePatch,
    PageReplace, Patch, Project, ProjectCard, ProjectCreate, ProjectPatch, ProjectReplace,
    ResolvedContent, Story, StoryCreate, StoryPatch, StoryReplace, Title,
};
use mongo_kit::{
    document::{Unreadable, read},
    lenient::{date, id, reference, text, texts},
};
use mongodb::bson::{self, Bson, Document, RawDocument, doc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{PAGES, PROJECTS, STORIES, slugs};

/// A kind of content.
pub(crate) trait Kind: 'static {
    /// The collection that holds it.
    const COLLECTION: &'static str;
    /// What it is called in messages.
    const NAME: &'static str;
    /// What sections call it.
    const CONTENT_TYPE: ContentType;
    /// The slug of an item whose title makes none; none where the kind has no slugs.
    const UNTITLED: Option<&'static str>;
    /// The fields that it has beside the common ones, as they are stored.
    type Fields: DeserializeOwned;
    /// An item as it is answered.
    type Item: Serialize + DeserializeOwned;
    /// An item as lists answer it.
    type Card: Serialize;
    /// What creates an item.
    type Create: Body + Serialize + Into<Self::Patch>;
    /// What replaces an item.
    type Replace: Body + Into<Self::Patch>;
    /// What changes an item.
    type Patch: Body;

    /// Whether an item that does not say so is published.
    const PUBLISHED_UNLESS_SAID: bool = false;

    /// The item with these parts.
    fn item(common: Common, fields: Self::Fields) -> Self::Item;

    /// The item as lists show it.
    fn card(common: Common, fields: Self::Fields) -> Self::Card;

    /// What an item has like those of every kind.
    fn common(item: &Self::Item) -> &Common;

    /// The slug of an item; empty where the kind has none.
    fn slug(_: &Self::Item) -> &str {
        ""
    }

    /// The items of a section, or some of them, as the answer to its path.
    fn listed(list: List<Self::Card>) -> ResolvedContent;

    /// An item as the answer to its path.
    fn single(item: Self::Item) -> ResolvedContent;

    /// When a new item is said to have been created.
    fn created(body: &Self::Create) -> Option<Moment>;

    /// What a body says, apart from the slug of the section that content like that gets.
    fn changes(body: Self::Patch) -> Changes;

    /// Matches what is published: what says so, or says nothing and is so then. What says anything
    /// else is not for the public, who may not even learn that it is there.
    fn published() -> Document {
        if Self::PUBLISHED_UNLESS_SAID {
            doc! { "is_published": { "$in": [true, null] } }
        } else {
            doc! { "is_published": true }
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

/// What is to be written of an item. What is absent stays as it is.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) title: Option<Title>,
    /// Not sanitised yet.
    pub(crate) content: Option<Content>,
    pub(crate) is_published: Option<bool>,
    pub(crate) section: Patch<ObjectId>,
    /// The slug of the section that a new item gets that says nothing about one.
    pub(crate) default_section: Option<&'static str>,
    /// The fields that the other kinds do not have.
    pub(crate) own: Document,
}

/// Adds a field to what is written, if there is something to write.
fn set(own: &mut Document, field: &str, value: Option<impl Into<Bson>>) {
    if let Some(value) = value {
        own.insert(field, value);
    }
}

/// A field that can be null.
fn nullable<T: Into<String>>(patch: Patch<T>) -> Option<Bson> {
    let value = patch.written()?;
    Some(value.map_or(Bson::Null, |text| Bson::String(text.into())))
}

/// The date as it is stored.
pub(super) fn stored_date(date: impl Into<DateTime<Utc>>) -> bson::DateTime {
    bson::DateTime::from_millis(date.into().timestamp_millis())
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
    const CONTENT_TYPE: ContentType = ContentType::Story;
    const UNTITLED: Option<&'static str> = Some(slugs::UNTITLED_STORY);
    type Create = StoryCreate;
    type Replace = StoryReplace;
    type Patch = StoryPatch;
    type Fields = StoryFields;
    type Item = Story;
    type Card = Story;

    fn item(common: Common, fields: StoryFields) -> Story {
        Story { common, slug: fields.slug, content: fields.content, date: fields.date }
    }

    fn card(common: Common, fields: StoryFields) -> Story {
        Self::item(common, fields)
    }

    fn common(item: &Story) -> &Common {
        &item.common
    }

    fn slug(item: &Story) -> &str {
        &item.slug
    }

    fn listed(list: List<Story>) -> ResolvedContent {
        ResolvedContent::Stories(list)
    }

    fn single(item: Story) -> ResolvedContent {
        ResolvedContent::Story(item)
    }

    fn created(body: &StoryCreate) -> Option<Moment> {
        body.created_date.value()
    }

    fn changes(body: StoryPatch) -> Changes {
        let mut own = Document::new();
        let date = body
            .date
            .written()
            .map(|date| date.map_or(Bson::Null, |date| stored_date(date).into()));
        set(&mut own, "date", date);
        Changes {
            title: body.title,
            content: body.content,
            is_published: body.is_published,
            section: body.section_id,
            default_section: Some("blog"),
            own,
        }
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
    const CONTENT_TYPE: ContentType = ContentType::Project;
    const UNTITLED: Option<&'static str> = Some("project");
    type Create = ProjectCreate;
    type Replace = ProjectReplace;
    type Patch = ProjectPatch;
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

    fn common(item: &Project) -> &Common {
        &item.card.common
    }

    fn slug(item: &Project) -> &str {
        &item.card.slug
    }

    fn listed(list: List<ProjectCard>) -> ResolvedContent {
        ResolvedContent::Projects(list)
    }

    fn single(item: Project) -> ResolvedContent {
        ResolvedContent::Project(item)
    }

    fn created(body: &ProjectCreate) -> Option<Moment> {
        body.created_date.value()
    }

    fn changes(body: ProjectPatch) -> Changes {
        let mut own = Document::new();
        set(&mut own, "summary", nullable(body.summary));
        set(&mut own, "image_url", nullable(body.image_url));
        set(&mut own, "github_url", nullable(body.github_url));
        set(&mut own, "live_url", nullable(body.live_url));
        let technologies = body.technologies.map(|technologies| {
            technologies.as_slice().iter().map(|one| Bson::from(one.as_str())).collect::<Vec<_>>()
        });
        set(&mut own, "technologies", technologies);
        set(&mut own, "is_featured", body.is_featured);
        Changes {
            title: body.title,
            content: body.content,
            is_published: body.is_published,
            section: body.section_id,
            default_section: Some("projects"),
            own,
        }
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
    const CONTENT_TYPE: ContentType = ContentType::Page;
    const UNTITLED: Option<&'static str> = None;
    type Create = PageCreate;
    type Replace = PageReplace;
    type Patch = PagePatch;
    type Fields = PageFields;
    type Item = Page;
    type Card = Page;

    fn item(common: Common, fields: PageFields) -> Page {
        Page { common, content: fields.content, page_type: fields.page_type }
    }

    fn card(common: Common, fields: PageFields) -> Page {
        Self::item(common, fields)
    }

    fn common(item: &Page) -> &Common {
        &item.common
    }

    fn listed(list: List<Page>) -> ResolvedContent {
        ResolvedContent::Pages(list)
    }

    fn single(item: Page) -> ResolvedContent {
        ResolvedContent::Page(item)
    }

    fn created(body: &PageCreate) -> Option<Moment> {
        body.created_date.value()
    }

    fn changes(body: PagePatch) -> Changes {
        let mut own = Document::new();
        let default_section = match body.page_type.as_ref() {
            Patch::Value(page_type) => section_of_page(page_type.as_str()),
            Patch::Absent | Patch::Null => None,
        };
        set(&mut own, "page_type", nullable(body.page_type));
        Changes {
            title: body.title,
            content: body.content,
            is_published: body.is_published,
            section: body.section_id,
            default_section,
            own,
        }
    }
}

/// The section that the only page of a type is the content of.
fn section_of_page(page_type: &str) -> Option<&'static str> {
    match page_type {
        "about" => Some("about"),
        "contact" => Some("contact"),
        _ => None,
    }
}
