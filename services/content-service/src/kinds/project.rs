//! Projects: cards with a text behind each.

use models::{
    ContentType, Moment, Patch, Slug, Title, UrlOrPath, WebUrl, bounded::at_most, patch::not_null,
};
use mongo_kit::lenient::FieldReader;
use mongodb::bson::{Bson, Document, doc};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{ToSchema, openapi::schema::ArrayBuilder};

use super::bodies::{READ_ONLY, bodies};
use crate::{
    domain::{content::ContentMeta, html_content::HtmlContent},
    store::{
        filters,
        kind::{Address, Changes, Kind, Note, OwnFields},
    },
};

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Project {
    /// All members but the text.
    #[serde(flatten)]
    card: ProjectCard,
    /// The text, as HTML.
    content: String,
}

/// A project in a list: all of its members but the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ProjectCard {
    /// The common members.
    #[serde(flatten)]
    meta: ContentMeta,
    /// The last part of the project's address; empty if the document has none.
    slug: String,
    /// A sentence or two for the card.
    #[schema(required = true)]
    summary: Option<String>,
    /// The tools and materials that it is made with.
    technologies: Vec<String>,
    /// The address of the picture on the card.
    #[schema(required = true)]
    image_url: Option<String>,
    /// The address of its source code.
    #[schema(required = true)]
    github_url: Option<String>,
    /// The address at which it runs.
    #[schema(required = true)]
    live_url: Option<String>,
    /// `true` if the site shows it first.
    is_featured: bool,
}

models::text! {
    /// A sentence or two about a project.
    pub(crate) Summary = prose, 2_000, "Reads a tide table aloud."
}

models::text! {
    /// A tool or material that a project is made with.
    pub(crate) Technology = line, 100, "Rust"
}

/// The tools and materials that a project is made with: at most [`Technologies::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Technologies(Vec<Technology>);

models::schema!(
    Technologies,
    ArrayBuilder::new().items(Technology::schema()).max_items(Some(Technologies::MAX))
);

/// More technologies than a card can show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must have at most {} items", Technologies::MAX)]
struct TooManyTechnologies;

impl Technologies {
    /// The most that a project has; those of existing sites have two.
    const MAX: usize = 50;
}

impl<'de> Deserialize<'de> for Technologies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        at_most(deserializer, Self::MAX, TooManyTechnologies).map(Self)
    }
}

impl From<Technologies> for Bson {
    fn from(technologies: Technologies) -> Self {
        technologies.0.iter().map(Technology::as_str).collect()
    }
}

bodies! {
    /// A new project.
    #[schema(examples(json!({"title": "Lamp log", "content": "<p>How it is made.</p>", "summary": "Listens to a lamp.", "technologies": ["Rust"], "is_published": true})))]
    ProjectCreate,
    /// The new state of a project. Members that are left out stay as they are.
    #[schema(examples(json!({"title": "Lamp log", "content": "<p>How it is made.</p>", "technologies": ["Rust"]})))]
    ProjectReplace,
    /// Changes of a project.
    #[schema(examples(json!({"is_featured": true})))]
    ProjectPatch,
    read_only: READ_ONLY,
    nullable: {
        /// A sentence or two for the card.
        summary: Summary,
        /// The address of the picture on the card.
        image_url: UrlOrPath,
        /// The address of its source code.
        github_url: WebUrl,
        /// The address at which it runs.
        live_url: WebUrl,
    },
    plain: {
        /// The tools and materials that it is made with.
        technologies: Technologies,
        /// `true` if the site shows it first.
        is_featured: bool,
        /// The last part of its path. The one of a new project is made from its title unless it is given.
        slug: Slug,
    }
}

impl Kind for Project {
    const TYPE: ContentType = ContentType::Project;
    const NAME: &'static str = "Project";
    const ADDRESS: Address = Address::Slug { fallback: "project" };
    const INDEX_MIGRATION: Option<&'static str> = None;
    const PUBLISHED_BY_DEFAULT: bool = true;
    const SEARCHED: &'static [&'static str] = &["summary", "technologies", "content"];

    type Card = ProjectCard;
    type Create = ProjectCreate;
    type Replace = ProjectReplace;
    type Patch = ProjectPatch;

    fn read(meta: ContentMeta, reader: &mut FieldReader<'_>) -> Self {
        let content = reader.text("content").unwrap_or_default();
        let card = ProjectCard {
            meta,
            slug: reader.text("slug").unwrap_or_default(),
            summary: reader.text("summary"),
            technologies: reader.texts("technologies"),
            image_url: reader.text("image_url"),
            github_url: reader.text("github_url"),
            live_url: reader.text("live_url"),
            is_featured: reader.flag("is_featured").unwrap_or_default(),
        };
        Self { card, content }
    }

    fn into_card(self) -> ProjectCard {
        self.card
    }

    fn take_content(&mut self) -> String {
        std::mem::take(&mut self.content)
    }

    fn meta(&self) -> &ContentMeta {
        &self.card.meta
    }

    fn meta_mut(&mut self) -> &mut ContentMeta {
        &mut self.card.meta
    }

    fn slug(&self) -> &str {
        &self.card.slug
    }

    fn changes(mut body: ProjectPatch) -> Changes {
        let common = body.take_common();
        let own = OwnFields::default()
            .set_text("summary", body.summary)
            .set_text("image_url", body.image_url)
            .set_text("github_url", body.github_url)
            .set_text("live_url", body.live_url)
            .set("technologies", body.technologies)
            .set("is_featured", body.is_featured);
        Changes {
            default_section: Some("projects"),
            slug: body.slug.map_or(Patch::Absent, Patch::Value),
            own,
            ..common
        }
    }

    fn omitted_in_lists() -> Document {
        doc! { "content": 0 }
    }

    fn notes() -> Vec<Note> {
        vec![
            Note {
                what: "projects without is_published",
                reason: "they are public, as a project is that does not say otherwise",
                filter: filters::public_by_default::<Self>(),
            },
            Note {
                what: "projects without slug",
                reason: "they are in lists, and have no address of their own until an editor gives \
                         them one",
                filter: filters::without_slug(),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_tells_null_from_absent() {
        let patch = ProjectPatch::deserialize(&json!({ "live_url": null })).unwrap();
        assert_eq!((patch.live_url, patch.github_url), (Patch::Null, Patch::Absent));
        assert_eq!((patch.title, patch.is_featured), (None, None));
    }

    #[test]
    fn members_that_cannot_be_null_refuse_it() {
        for field in ["title", "content", "is_published", "technologies", "is_featured"] {
            assert!(ProjectPatch::deserialize(&json!({ field: null })).is_err(), "{field}");
        }
    }

    #[test]
    fn a_project_is_made_with_50_things_at_most() {
        let many = |count: usize| Technologies::deserialize(&json!(vec!["Rust"; count]));
        assert!(many(50).is_ok());
        assert!(many(51).unwrap_err().to_string().contains("at most 50"));
    }
}
