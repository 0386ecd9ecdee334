//! Bodies for the tests, with all that the bodies of the services have: texts, lists, dates, ids,
//! members that can be null and members that cannot.

use models::{
    Body, ContentType, Ids, Moment, ObjectId, Patch, Slug, Title, bounded::at_most, patch::not_null,
};
use serde::{Deserialize, Deserializer};

models::text! {
    /// The text of a new item.
    pub(super) NewText = prose, 100_000, "<p>It works.</p>"
}

models::text! {
    /// The text of an item.
    pub(super) Text = prose, 500_000, "<p>It works.</p>"
}

models::text! {
    /// A part of an item.
    pub(super) Technology = line, 100, "Rust"
}

/// A list with a largest length.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Technologies(Vec<Technology>);

impl<'de> Deserialize<'de> for Technologies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        at_most(deserializer, 50, "must have at most 50 items").map(Self)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by no test")]
pub(super) struct StoryCreate {
    title: Title,
    content: NewText,
    #[serde(rename = "createdDate", default)]
    created_date: Patch<Moment>,
    #[serde(default, deserialize_with = "not_null")]
    is_published: Option<bool>,
}

impl Body for StoryCreate {}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoryReplace {
    #[serde(default, deserialize_with = "not_null")]
    title: Option<Title>,
    #[serde(default, deserialize_with = "not_null")]
    content: Option<Text>,
    #[serde(rename = "createdDate", default, deserialize_with = "not_null")]
    created_date: Option<Moment>,
    #[serde(default, deserialize_with = "not_null")]
    is_published: Option<bool>,
    #[serde(default)]
    section_id: Patch<ObjectId>,
    #[serde(default)]
    date: Patch<Moment>,
}

impl Body for StoryReplace {
    const READ_ONLY: &'static [&'static str] = READ_ONLY;
    const IGNORED: &'static [&'static str] = IGNORED;
    const REQUIRED: &'static [&'static str] = &["title", "content"];
}

const READ_ONLY: &[&str] = &["id", "slug", "updatedDate", "deleted", "user_id", "sanitized"];

const IGNORED: &[&str] = &["updatedDate", "sanitized"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by no test")]
pub(super) struct StoryPatch {
    #[serde(default, deserialize_with = "not_null")]
    title: Option<Title>,
    #[serde(default, deserialize_with = "not_null")]
    content: Option<Text>,
    #[serde(default, deserialize_with = "not_null")]
    is_published: Option<bool>,
    #[serde(default)]
    section_id: Patch<ObjectId>,
}

impl Body for StoryPatch {
    const READ_ONLY: &'static [&'static str] = READ_ONLY;
    const IGNORED: &'static [&'static str] = IGNORED;
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by no test")]
pub(super) struct ProjectCreate {
    title: Title,
    content: NewText,
    #[serde(default)]
    live_url: Patch<Slug>,
    #[serde(default, deserialize_with = "not_null")]
    technologies: Option<Technologies>,
    #[serde(default, deserialize_with = "not_null")]
    is_featured: Option<bool>,
}

impl Body for ProjectCreate {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProjectPatch {
    #[serde(default, deserialize_with = "not_null")]
    pub(super) title: Option<Title>,
    #[serde(default, deserialize_with = "not_null")]
    #[expect(dead_code, reason = "read by no test")]
    content: Option<Text>,
    #[serde(default)]
    #[expect(dead_code, reason = "read by no test")]
    live_url: Patch<Slug>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) technologies: Option<Technologies>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) is_featured: Option<bool>,
}

impl Body for ProjectPatch {
    const READ_ONLY: &'static [&'static str] = READ_ONLY;
    const IGNORED: &'static [&'static str] = IGNORED;
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by no test")]
pub(super) struct ContentMove {
    content_type: ContentType,
    content: MovedContent,
    section_id: ObjectId,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "read by no test")]
enum MovedContent {
    Ids(Ids),
    SectionId(ObjectId),
}

impl Body for ContentMove {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SectionPatch {
    #[serde(default, deserialize_with = "not_null")]
    pub(super) sort_order: Option<i32>,
}

impl Body for SectionPatch {
    const READ_ONLY: &'static [&'static str] = &["children"];
    const IGNORED: &'static [&'static str] = &["children"];
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read by no test")]
pub(super) struct SectionOrder {
    ids: Ids,
}

impl Body for SectionOrder {}
