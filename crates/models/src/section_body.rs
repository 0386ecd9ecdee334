//! What is written about sections: separate bodies to create, replace and patch.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Body, ContentType, DisplayType, Moment, NavVisibility, ObjectId, Patch, Slug, Title, ids::Ids,
    patch::not_null,
};

/// A new section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"title": "Notes", "content_type": "story"})))]
pub struct SectionCreate {
    /// What the navigation shows.
    pub title: Title,
    /// The last part of its address; made from the title unless given.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Slug, required = false)]
    pub slug: Option<Slug>,
    /// The section above it; none puts it at the top.
    #[serde(default)]
    pub parent_id: Option<ObjectId>,
    /// How its content is presented; what suits `content_type` unless given.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = DisplayType, required = false)]
    pub display_type: Option<DisplayType>,
    /// Which kind of content belongs here.
    pub content_type: ContentType,
    /// Where the navigation shows it; `main` unless given.
    #[serde(default)]
    pub nav_visibility: NavVisibility,
    /// The place among its siblings, smallest first; the last unless given.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i32, required = false, minimum = -2147483648, maximum = 2147483647)]
    pub sort_order: Option<i32>,
    /// Whether the public sees it; true unless said otherwise.
    #[serde(default = "published")]
    pub is_published: bool,
}

const fn published() -> bool {
    true
}

/// What a section is to be. What it leaves out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"title": "Notes"})))]
pub struct SectionReplace {
    /// What the navigation shows.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Title, required = true)]
    pub title: Option<Title>,
    /// The last part of its address. One that is not the present one renames the section. The
    /// present one may be older than the rules of a [`Slug`], so compare before parsing.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Slug, required = false)]
    pub slug: Option<String>,
    /// The section above it; null puts it at the top.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<ObjectId>)]
    pub parent_id: Patch<ObjectId>,
    /// How its content is presented.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = DisplayType, required = false)]
    pub display_type: Option<DisplayType>,
    /// Which kind of content belongs here.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ContentType, required = false)]
    pub content_type: Option<ContentType>,
    /// Where the navigation shows it.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = NavVisibility, required = false)]
    pub nav_visibility: Option<NavVisibility>,
    /// The place among its siblings, smallest first.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i32, required = false, minimum = -2147483648, maximum = 2147483647)]
    pub sort_order: Option<i32>,
    /// Whether the public sees it.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = bool, required = false)]
    pub is_published: Option<bool>,
    /// When it was created; at most a day ahead of now.
    #[serde(
        rename = "createdDate",
        default,
        deserialize_with = "not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Moment, required = false)]
    pub created_date: Option<Moment>,
}

/// Changes of a section.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"nav_visibility": "footer"})))]
pub struct SectionPatch {
    /// What the navigation shows.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Title, required = false)]
    pub title: Option<Title>,
    /// The last part of its address. One that is not the present one renames the section. The
    /// present one may be older than the rules of a [`Slug`], so compare before parsing.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Slug, required = false)]
    pub slug: Option<String>,
    /// The section above it; null puts it at the top.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<ObjectId>)]
    pub parent_id: Patch<ObjectId>,
    /// How its content is presented.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = DisplayType, required = false)]
    pub display_type: Option<DisplayType>,
    /// Which kind of content belongs here.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ContentType, required = false)]
    pub content_type: Option<ContentType>,
    /// Where the navigation shows it.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = NavVisibility, required = false)]
    pub nav_visibility: Option<NavVisibility>,
    /// The place among its siblings, smallest first.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i32, required = false, minimum = -2147483648, maximum = 2147483647)]
    pub sort_order: Option<i32>,
    /// Whether the public sees it.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = bool, required = false)]
    pub is_published: Option<bool>,
    /// When it was created; at most a day ahead of now.
    #[serde(
        rename = "createdDate",
        default,
        deserialize_with = "not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Moment, required = false)]
    pub created_date: Option<Moment>,
}

impl From<SectionReplace> for SectionPatch {
    fn from(body: SectionReplace) -> Self {
        Self {
            title: body.title,
            slug: body.slug,
            parent_id: body.parent_id,
            display_type: body.display_type,
            content_type: body.content_type,
            nav_visibility: body.nav_visibility,
            sort_order: body.sort_order,
            is_published: body.is_published,
            created_date: body.created_date,
        }
    }
}

/// The order of all sections below one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SectionOrder {
    /// The section above them; null or absent for those at the top.
    #[serde(default)]
    pub parent_id: Option<ObjectId>,
    /// Every section directly below it, in the order in which they are to be shown.
    pub ids: Ids,
}

/// What a section's answer has and no body can change.
const READ_ONLY: &[&str] = &["id", "updatedDate", "children"];

const IGNORED: &[&str] = &["updatedDate", "children"];

impl Body for SectionCreate {}

impl Body for SectionReplace {
    const REQUIRED: &'static [&'static str] = &["title"];
    const READ_ONLY: &'static [&'static str] = READ_ONLY;
    const IGNORED: &'static [&'static str] = IGNORED;
}

impl Body for SectionPatch {
    const READ_ONLY: &'static [&'static str] = READ_ONLY;
    const IGNORED: &'static [&'static str] = IGNORED;
}

impl Body for SectionOrder {}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<T: Body>(body: &Value) -> Result<T, String> {
        T::deserialize(body).map_err(|error| error.to_string())
    }

    #[test]
    fn a_new_section_needs_a_title_and_a_content_type() {
        let section: SectionCreate =
            read(&json!({ "title": "News", "content_type": "story" })).unwrap();
        assert!(section.is_published);
        assert_eq!(section.nav_visibility, NavVisibility::Main);
        assert_eq!((section.slug, section.parent_id, section.sort_order), (None, None, None));
        for body in [
            json!({ "title": "News" }),
            json!({ "content_type": "story" }),
            json!({ "title": "News", "content_type": "stories" }),
            json!({ "title": "News", "content_type": "story", "slug": "Not a slug" }),
            json!({ "title": "News", "content_type": "story", "slug": null }),
            json!({ "title": "News", "content_type": "story", "sort_order": 3_000_000_000u32 }),
        ] {
            assert!(read::<SectionCreate>(&body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_section_is_put_at_the_top_by_null() {
        let patch: SectionPatch = read(&json!({ "parent_id": null })).unwrap();
        assert_eq!(patch, SectionPatch { parent_id: Patch::Null, ..SectionPatch::default() });
    }

    #[test]
    fn an_order_names_each_section_once() {
        let (a, b) = ("626e3e0035b0bc65bb5e1545", "626e3e007ef3eaa01f383d8a");
        assert!(read::<SectionOrder>(&json!({ "ids": [a, b] })).is_ok());
        for ids in [json!([]), json!([a, a.to_uppercase()]), json!([a, "x"]), json!(a)] {
            assert!(read::<SectionOrder>(&json!({ "ids": ids })).is_err(), "{ids}");
        }
    }
}
