//! What tells the kinds of content apart: where they are stored, which fields they have beside
//! the common ones, and how they are answered.

use chrono::{DateTime, Utc};
use models::{
    Body, Common, Content, ContentType, List, ObjectId, Page, PageCreate, PagePatch, PageReplace,
    Patch, Project, ProjectCard, ProjectCreate, ProjectPatch, ProjectReplace, ResolvedContent,
    Story, StoryCreate, StoryPatch, StoryReplace, Title,
};
use mongo_kit::{
    document::{Unreadable, warn_of_fields},
    lenient::{FieldReader, UnreadableField, flag_values, stored_id_text},
};
use mongodb::bson::{self, Bson, Document, RawDocument, doc};
use serde::{Serialize, de::DeserializeOwned};

use super::{PAGES, PROJECTS, STORIES, drafts, slugs};

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
    /// The field by which the public looks an item up.
    const ADDRESS: &'static str;
    /// The fields that it has beside the common ones.
    type Fields;
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

    /// The items of a section, or some of them, as the answer to its path.
    fn listed(list: List<Self::Card>) -> ResolvedContent;

    /// An item as the answer to its path.
    fn single(item: Self::Item) -> ResolvedContent;

    /// What a body says, apart from the slug of the section that content like that gets.
    fn changes(body: Self::Patch) -> Changes;

    /// Reads the fields that it has beside the common ones.
    fn fields(reader: &mut FieldReader<'_>) -> Self::Fields;

    /// Returns the fields that lists do without, as a projection.
    fn left_out_of_lists() -> Document {
        Document::new()
    }

    /// Reads a document, and warns of the fields whose meaning is not plain.
    fn read(document: &RawDocument) -> Result<Reading<Self>, Unreadable>
    where
        Self: Sized,
    {
        let reading = Reading::new(document)?;
        if !reading.unreadable.is_empty() {
            let id = reading.common.id.to_string();
            warn_of_fields(Self::COLLECTION, &id, &reading.unreadable);
        }
        Ok(reading)
    }
}

/// An item as it was read. A field whose meaning is not plain is absent.
pub(crate) struct Reading<K: Kind> {
    pub(crate) common: Common,
    pub(crate) fields: K::Fields,
    /// The fields whose meaning is not plain.
    pub(crate) unreadable: Vec<UnreadableField>,
    /// Whether it is plainly published and plainly not deleted.
    pub(crate) is_public: bool,
    /// The text of the field that the public looks it up by.
    pub(crate) address: Option<String>,
}

impl<K: Kind> Reading<K> {
    /// Reads a document. The only fault that hides a whole document is an `_id` that has no text.
    pub(crate) fn new(document: &RawDocument) -> Result<Self, Unreadable> {
        let mut reader = FieldReader::new(document);
        let id = reader
            .value("_id")
            .ok_or("null")
            .and_then(|id| stored_id_text(id).map_err(|error| error.0));
        let id = id.map_err(|found| {
            let reason = format!("its _id ({found}) is no ObjectId, text, number or UUID");
            Unreadable::new(K::COLLECTION, document, reason)
        })?;
        let is_published = reader.flag("is_published");
        let deleted = reader.flag("deleted");
        // What is not plainly public is not shown: a value of no plain meaning is not absent here.
        let is_published = is_published.unwrap_or_else(|| {
            K::PUBLISHED_UNLESS_SAID
                && !reader.is_unreadable("is_published")
                && !drafts::says_draft(&mut reader)
        });
        let is_public =
            is_published && !deleted.unwrap_or_default() && !reader.is_unreadable("deleted");
        let common = Common {
            id: id.into(),
            title: reader.text("title").unwrap_or_default(),
            is_published,
            created_date: reader.date("createdDate"),
            updated_date: reader.date("updatedDate"),
            deleted: deleted.unwrap_or_default(),
            user_id: reader.reference("user_id"),
            section_id: reader.reference("section_id"),
        };
        let address = reader.text(K::ADDRESS);
        let fields = K::fields(&mut reader);
        Ok(Self { common, fields, unreadable: reader.unreadable(), is_public, address })
    }

    /// Returns the item.
    pub(crate) fn into_item(self) -> K::Item {
        K::item(self.common, self.fields)
    }

    /// Returns the item as lists show it.
    pub(crate) fn into_card(self) -> K::Card {
        K::card(self.common, self.fields)
    }
}

/// Returns the values of `is_published` of what is published. What says nothing is so where its
/// kind is published unless it says otherwise.
pub(super) fn published_values<K: Kind>() -> Vec<Bson> {
    let mut values = flag_values(true);
    if K::PUBLISHED_UNLESS_SAID {
        values.extend(absent_values());
    }
    values
}

/// Returns the values of a flag that says nothing; null stands for a missing one as well.
pub(super) fn absent_values() -> [Bson; 2] {
    [Bson::Null, Bson::from("")]
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

impl Changes {
    /// Returns the date that the item is to have been created at, if the changes name one.
    pub(crate) fn created_date(&self) -> Option<DateTime<Utc>> {
        let date = self.own.get_datetime("createdDate").ok()?;
        DateTime::from_timestamp_millis(date.timestamp_millis())
    }
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

/// Stories.
pub(crate) struct Stories;

/// What a story has beside the common fields.
#[derive(Debug)]
pub(crate) struct StoryFields {
    content: String,
    slug: String,
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
    const ADDRESS: &'static str = "slug";
    type Fields = StoryFields;
    type Item = Story;
    type Card = Story;

    fn fields(reader: &mut FieldReader<'_>) -> StoryFields {
        StoryFields {
            content: reader.text("content").unwrap_or_default(),
            slug: reader.text("slug").unwrap_or_default(),
            date: reader.date("date"),
        }
    }

    fn item(common: Common, fields: StoryFields) -> Story {
        Story { common, slug: fields.slug, content: fields.content, date: fields.date }
    }

    fn card(common: Common, fields: StoryFields) -> Story {
        Self::item(common, fields)
    }

    fn common(item: &Story) -> &Common {
        &item.common
    }

    fn listed(list: List<Story>) -> ResolvedContent {
        ResolvedContent::Stories(list)
    }

    fn single(item: Story) -> ResolvedContent {
        ResolvedContent::Story(item)
    }

    fn changes(body: StoryPatch) -> Changes {
        let mut own = Document::new();
        let date = body
            .date
            .written()
            .map(|date| date.map_or(Bson::Null, |date| stored_date(date).into()));
        set(&mut own, "date", date);
        set(&mut own, "createdDate", body.created_date.map(stored_date));
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
#[derive(Debug)]
pub(crate) struct ProjectFields {
    content: String,
    slug: String,
    summary: Option<String>,
    technologies: Vec<String>,
    image_url: Option<String>,
    github_url: Option<String>,
    live_url: Option<String>,
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
    const ADDRESS: &'static str = "slug";
    type Fields = ProjectFields;
    type Item = Project;
    type Card = ProjectCard;

    fn fields(reader: &mut FieldReader<'_>) -> ProjectFields {
        ProjectFields {
            content: reader.text("content").unwrap_or_default(),
            slug: reader.text("slug").unwrap_or_default(),
            summary: reader.text("summary"),
            technologies: reader.texts("technologies"),
            image_url: reader.text("image_url"),
            github_url: reader.text("github_url"),
            live_url: reader.text("live_url"),
            is_featured: reader.flag("is_featured"),
        }
    }

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

    fn listed(list: List<ProjectCard>) -> ResolvedContent {
        ResolvedContent::Projects(list)
    }

    fn single(item: Project) -> ResolvedContent {
        ResolvedContent::Project(item)
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
        set(&mut own, "createdDate", body.created_date.map(stored_date));
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
#[derive(Debug)]
pub(crate) struct PageFields {
    content: String,
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
    const ADDRESS: &'static str = "page_type";
    type Fields = PageFields;
    type Item = Page;
    type Card = Page;

    fn fields(reader: &mut FieldReader<'_>) -> PageFields {
        PageFields {
            content: reader.text("content").unwrap_or_default(),
            page_type: reader.text("page_type"),
        }
    }

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

    fn changes(body: PagePatch) -> Changes {
        let mut own = Document::new();
        let default_section = match body.page_type.as_ref() {
            Patch::Value(page_type) => section_of_page(page_type.as_str()),
            Patch::Absent | Patch::Null => None,
        };
        set(&mut own, "page_type", nullable(body.page_type));
        set(&mut own, "createdDate", body.created_date.map(stored_date));
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
