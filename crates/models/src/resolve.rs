//! What stands at a path of the site, with everything that shows it.
//!
//! The schemas are made by hand, so that `kind` tells what `content` is: one for each kind and content
//! type, those of a kind joined, and a discriminator over the kinds. A client that is generated from
//! them narrows an answer by `kind`.

use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        schema::{AllOfBuilder, Discriminator, ObjectBuilder, OneOfBuilder, Type},
    },
};

use crate::{
    Breadcrumb, ContentType, DisplayType, List, Page, Project, ProjectCard, Section, Story,
};

/// What stands at a path of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// The one path at which this stands, percent-encoded.
    pub canonical_path: String,
    /// How the section presents its content.
    pub display_type: DisplayType,
    /// The first page of the section's content, or the item.
    #[schema(value_type = Object)]
    pub content: ResolvedContent,
}

/// The content at a path: a list where a section stands there, an item where one does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

/// A schema of an answer.
struct Combination {
    name: &'static str,
    content_type: ContentType,
    /// The name of the schema of its content.
    content: &'static str,
    description: &'static str,
}

/// An answer with `kind: section`, by the content type of the section.
const SECTIONS: [Combination; 3] = [
    Combination {
        name: "ResolvedStories",
        content_type: ContentType::Story,
        content: "List_Story",
        description: "A section of stories, with the first page of them.",
    },
    Combination {
        name: "ResolvedProjects",
        content_type: ContentType::Project,
        content: "List_ProjectCard",
        description: "A section of projects, with the first page of their cards.",
    },
    Combination {
        name: "ResolvedPages",
        content_type: ContentType::Page,
        content: "List_Page",
        description: "A section of pages, with the first page of them.",
    },
];

/// An answer with `kind: item`, by the content type of its section.
const ITEMS: [Combination; 3] = [
    Combination {
        name: "ResolvedStory",
        content_type: ContentType::Story,
        content: "Story",
        description: "A story of a section.",
    },
    Combination {
        name: "ResolvedProject",
        content_type: ContentType::Project,
        content: "Project",
        description: "A project of a section.",
    },
    Combination {
        name: "ResolvedPage",
        content_type: ContentType::Page,
        content: "Page",
        description: "A page of a section.",
    },
];

/// The schemas by the value of `kind`: their names, what they are, and which they join.
const KINDS: [(&str, &str, &str, &[Combination]); 2] = [
    ("section", "ResolvedSection", "A section and the first page of its content.", &SECTIONS),
    (
        "item",
        "ResolvedItem",
        "An item of a section: one that the path names, or the only one of a static page.",
        &ITEMS,
    ),
];

/// The name of the schema with `kind: moved`.
const MOVED: &str = "ResolvedMove";

impl Combination {
    /// The members that all answers have, with this kind, content type and content.
    fn schema(&self, kind: &str) -> RefOr<Schema> {
        let mut schema = Resolved::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            let content_type = serde_json::to_value(self.content_type).unwrap_or_default();
            let content_type = one_word(content_type.as_str().unwrap_or_default());
            let content_type = ObjectBuilder::new()
                .property("content_type", content_type)
                .required("content_type");
            let section = AllOfBuilder::new()
                .item(Ref::from_schema_name("Section"))
                .item(content_type)
                .description(Some("The section."));
            object.description = Some(self.description.to_owned());
            object.required.push("kind".to_owned());
            object.properties.insert("kind".to_owned(), one_word(kind));
            object.properties.insert("section".to_owned(), section.into());
            object
                .properties
                .insert("content".to_owned(), Ref::from_schema_name(self.content).into());
        }
        schema
    }
}

/// The schema of a text that is always the same.
fn one_word(word: &str) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some([word])).into()
}

/// The schema of a value that is one of these.
fn one_of<'a>(description: &str, names: impl IntoIterator<Item = &'a str>) -> OneOfBuilder {
    let one_of = OneOfBuilder::new().description(Some(description));
    names.into_iter().map(Ref::from_schema_name).fold(one_of, OneOfBuilder::item)
}

impl PartialSchema for Resolution {
    fn schema() -> RefOr<Schema> {
        let kinds =
            || KINDS.iter().map(|(kind, name, ..)| (*kind, *name)).chain([("moved", MOVED)]);
        let reference = |name: &str| Ref::from_schema_name(name).ref_location;
        let mapping = kinds().map(|(kind, name)| (kind, reference(name)));
        let names = kinds().map(|(_, name)| name);
        one_of("What stands at a path of the site; `kind` says which of these it is.", names)
            .discriminator(Some(Discriminator::with_mapping("kind", mapping)))
            .into()
    }
}

impl ToSchema for Resolution {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        for (kind, name, description, combinations) in KINDS {
            let names = combinations.iter().map(|combination| combination.name);
            schemas.push((name.to_owned(), one_of(description, names).into()));
            let described = combinations.iter();
            schemas.extend(described.map(|one| (one.name.to_owned(), one.schema(kind))));
        }
        let moved = ObjectBuilder::new()
            .description(Some("What stood here has another path now."))
            .property("kind", one_word("moved"))
            .required("kind")
            .property(
                "moved_to",
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some("The path that it has, percent-encoded.")),
            )
            .required("moved_to");
        schemas.push((MOVED.to_owned(), moved.into()));
        Resolved::schemas(schemas);
        lists(schemas);
    }
}

/// Adds the schemas of what `content` can be.
fn lists(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
    add::<Section>(schemas);
    add::<Story>(schemas);
    add::<ProjectCard>(schemas);
    add::<Project>(schemas);
    add::<Page>(schemas);
    schemas.push(("List_Story".to_owned(), List::<Story>::schema()));
    schemas.push(("List_ProjectCard".to_owned(), List::<ProjectCard>::schema()));
    schemas.push(("List_Page".to_owned(), List::<Page>::schema()));
}
