//! Stories: the entries of a blog.

use models::{ContentType, Moment, Patch, Slug, Title, patch::not_null};
use mongo_kit::lenient::FieldReader;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bodies::{READ_ONLY, bodies};
use crate::{
    domain::{content::ContentMeta, html_content::HtmlContent},
    store::{
        kind::{Address, Changes, Kind},
        slugs::UNTITLED_STORY,
    },
};

/// A story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Story {
    /// The common members.
    #[serde(flatten)]
    meta: ContentMeta,
    /// The last part of the story's address; empty if the document has none.
    slug: String,
    /// The text, as HTML.
    content: String,
}

bodies! {
    /// A new story.
    #[schema(examples(json!({"title": "First light", "content": "<p>It works.</p>", "is_published": true})))]
    StoryCreate,
    /// The new state of a story. Members that are left out stay as they are.
    #[schema(examples(json!({"title": "First light", "content": "<p>It works.</p>"})))]
    StoryReplace,
    /// Changes of a story.
    #[schema(examples(json!({"title": "First light, again"})))]
    StoryPatch,
    read_only: READ_ONLY,
    nullable: {},
    plain: {
        /// The last part of its path. The one of a new story is made from its title unless it is given.
        slug: Slug,
    }
}

impl Kind for Story {
    const TYPE: ContentType = ContentType::Story;
    const NAME: &'static str = "Story";
    const ADDRESS: Address = Address::Slug { fallback: UNTITLED_STORY };
    const INDEX_MIGRATION: Option<&'static str> = None;

    type Card = Self;
    type Create = StoryCreate;
    type Replace = StoryReplace;
    type Patch = StoryPatch;

    fn read(meta: ContentMeta, reader: &mut FieldReader<'_>) -> Self {
        Self {
            meta,
            content: reader.text("content").unwrap_or_default(),
            slug: reader.text("slug").unwrap_or_default(),
        }
    }

    fn into_card(self) -> Self {
        self
    }

    fn take_content(&mut self) -> String {
        std::mem::take(&mut self.content)
    }

    fn meta(&self) -> &ContentMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ContentMeta {
        &mut self.meta
    }

    fn slug(&self) -> &str {
        &self.slug
    }

    fn changes(mut body: StoryPatch) -> Changes {
        let common = body.take_common();
        Changes {
            default_section: Some("blog"),
            slug: body.slug.map_or(Patch::Absent, Patch::Value),
            ..common
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_existing_frontend_sends_is_a_story() {
        let body = json!({
            "title": "A day", "content": "<p>x</p>", "is_published": true,
            "createdDate": "2026-05-01T09:30:00.000Z",
        });
        let story = StoryCreate::deserialize(&body).unwrap();
        assert_eq!(story.is_published, Some(true));
        assert_eq!(story.section_id, Patch::Absent);
        assert_eq!(serde_json::to_value(&story).unwrap(), body);
    }

    #[test]
    fn unknown_fields_and_operators_are_refused() {
        for body in [
            json!({ "slug": "Not a slug" }),
            json!({ "slug": null }),
            json!({ "views": 1 }),
            json!({ "title": { "$gt": "" } }),
            json!({ "section_id": { "$ne": null } }),
            json!({ "$set": {} }),
        ] {
            assert!(StoryPatch::deserialize(&body).is_err(), "{body}");
        }
    }
}
