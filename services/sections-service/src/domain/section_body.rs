//! The bodies of requests that create, replace, patch and order sections.

use models::{
    Body, ContentType, DisplayType, Ids, Moment, NavVisibility, ObjectId, PageDescription,
    PageMetaPatch, Patch, Slug, Sort, Title, UrlOrPath, patch::not_null,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A new section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"title": "Notes", "content_type": "story"})))]
pub(crate) struct SectionCreate {
    /// The title, which the navigation shows.
    pub(crate) title: Title,
    /// The last part of the path. The default is made from the title.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Slug, required = false)]
    pub(crate) slug: Option<Slug>,
    /// The id of the parent section. The default is the top.
    #[serde(default)]
    pub(crate) parent_id: Option<ObjectId>,
    /// The presentation of the content. The default suits `content_type`.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = DisplayType, required = false)]
    pub(crate) display_type: Option<DisplayType>,
    /// The type of the content.
    pub(crate) content_type: ContentType,
    /// The place in the navigation. The default is `main`.
    #[serde(default)]
    pub(crate) nav_visibility: NavVisibility,
    /// The position among the siblings, in ascending order. The default is the last position.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i32, required = false, minimum = -2147483648, maximum = 2147483647)]
    pub(crate) sort_order: Option<i32>,
    /// The order of the content. The default is null, which is `-createdDate`.
    #[serde(default)]
    pub(crate) sort_by: Option<Sort>,
    /// `true` publishes the section; `false` makes it a draft. The default is `true`.
    #[serde(default = "published")]
    pub(crate) is_published: bool,
    /// `true` makes the section the home in place of another one. The default is `false`.
    #[serde(default)]
    pub(crate) is_home: bool,
    /// A sentence or two about the page, as plain text, for search engines and previews of links.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<PageDescription>)]
    pub(crate) description: Patch<PageDescription>,
    /// The address of the picture that previews of links show.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<UrlOrPath>)]
    pub(crate) social_image: Patch<UrlOrPath>,
    /// The address at which search engines list the page. The default is null, which is its own.
    #[serde(default, skip_serializing_if = "Patch::is_absent")]
    #[schema(value_type = Option<UrlOrPath>)]
    pub(crate) canonical: Patch<UrlOrPath>,
    /// `true` if search engines must not list the page. The default is `false`.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = bool, required = false)]
    pub(crate) noindex: Option<bool>,
}

const fn published() -> bool {
    true
}

/// Declares a body that changes a section. A member that is absent keeps its value.
macro_rules! change {
    ($(#[$doc:meta])+ $name:ident, title is required: $title_is_required:tt) => {
        #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$doc])+
        pub(crate) struct $name {
            /// The title, which the navigation shows.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Title, required = $title_is_required)]
            pub(crate) title: Option<Title>,
            /// The last part of the path. A new slug renames the section. The current one may be older than the
            /// rules of a [`Slug`], so compare before parsing.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = Slug, required = false)]
            pub(crate) slug: Option<String>,
            /// The id of the parent section, or null for the top.
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<ObjectId>)]
            pub(crate) parent_id: Patch<ObjectId>,
            /// The presentation of the content.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = DisplayType, required = false)]
            pub(crate) display_type: Option<DisplayType>,
            /// The type of the content.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = ContentType, required = false)]
            pub(crate) content_type: Option<ContentType>,
            /// The place in the navigation.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = NavVisibility, required = false)]
            pub(crate) nav_visibility: Option<NavVisibility>,
            /// The position among the siblings, in ascending order.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = i32, required = false, minimum = -2147483648, maximum = 2147483647)]
            pub(crate) sort_order: Option<i32>,
            /// The order of the content, or null for `-createdDate`.
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<Sort>)]
            pub(crate) sort_by: Patch<Sort>,
            /// `true` publishes the section; `false` makes it a draft.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = bool, required = false)]
            pub(crate) is_published: Option<bool>,
            /// `true` makes the section the home in place of another one.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = bool, required = false)]
            pub(crate) is_home: Option<bool>,
            /// A sentence or two about the page, as plain text, for search engines and previews of
            /// links.
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<PageDescription>)]
            pub(crate) description: Patch<PageDescription>,
            /// The address of the picture that previews of links show.
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<UrlOrPath>)]
            pub(crate) social_image: Patch<UrlOrPath>,
            /// The address at which search engines list the page; null for its own.
            #[serde(default, skip_serializing_if = "Patch::is_absent")]
            #[schema(value_type = Option<UrlOrPath>)]
            pub(crate) canonical: Patch<UrlOrPath>,
            /// `true` if search engines must not list the page.
            #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
            #[schema(value_type = bool, required = false)]
            pub(crate) noindex: Option<bool>,
            /// The date of creation, at most a day ahead of now.
            #[serde(
                rename = "createdDate",
                default,
                deserialize_with = "not_null",
                skip_serializing_if = "Option::is_none"
            )]
            #[schema(value_type = Moment, required = false)]
            pub(crate) created_date: Option<Moment>,
        }
    };
}

change!(
    /// The new state of a section. Members that are absent stay as they are.
    #[schema(examples(json!({"title": "Notes"})))]
    SectionReplace, title is required: true
);

change!(
    /// The changes of a section.
    #[schema(examples(json!({"nav_visibility": "footer"})))]
    SectionPatch, title is required: false
);

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
            sort_by: body.sort_by,
            is_published: body.is_published,
            is_home: body.is_home,
            description: body.description,
            social_image: body.social_image,
            canonical: body.canonical,
            noindex: body.noindex,
            created_date: body.created_date,
        }
    }
}

/// Implements the conversion of the members for search engines and previews of links.
macro_rules! page_meta {
    ($($name:ident),+) => {
        $(
            impl $name {
                /// Returns the change of the facts for search engines and previews of links.
                pub(crate) fn page(&self) -> PageMetaPatch {
                    let Self { description, social_image, canonical, noindex, .. } = self;
                    let (social_image, canonical) = (social_image.clone(), canonical.clone());
                    PageMetaPatch::new(description.clone(), social_image, canonical, *noindex)
                }
            }
        )+
    };
}

page_meta!(SectionCreate, SectionPatch);

/// The order of all sections below one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SectionOrder {
    /// The id of their parent section, or null or absent for the top.
    #[serde(default)]
    pub(crate) parent_id: Option<ObjectId>,
    /// The ids of all sections directly below the parent, in their new order.
    pub(crate) ids: Ids,
}

/// The members of an answer that no body can change.
const READ_ONLY: &[&str] = &["id", "path", "updatedDate", "children"];

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
