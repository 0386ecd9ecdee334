//! The facts about a page that search engines and previews of links show.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Patch, UrlOrPath};

crate::text! {
    /// A sentence or two about a page, as plain text. Search engines show about 160 characters and
    /// networks about 200; 500 leave room for scripts and networks that show more.
    pub PageDescription = prose, 500, "How a lamp at sea is kept alight through the winter."
}

/// The facts about a page that search engines and previews of links show. Sections and items of content
/// have them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
pub struct PageMeta {
    /// A sentence or two about the page, as plain text.
    #[serde(default)]
    #[schema(required = true)]
    pub description: Option<String>,
    /// The address of the picture that previews of links show.
    #[serde(default)]
    #[schema(required = true)]
    pub social_image: Option<String>,
    /// The address at which search engines list the page, or null for its own.
    #[serde(default)]
    #[schema(required = true)]
    pub canonical: Option<String>,
    /// `true` if search engines must not list the page.
    #[serde(default)]
    #[schema(required = true)]
    pub noindex: bool,
}

/// The change of a [`PageMeta`] that a request makes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageMetaPatch {
    /// The change of the description.
    pub description: Patch<String>,
    /// The change of the picture.
    pub social_image: Patch<String>,
    /// The change of the address.
    pub canonical: Patch<String>,
    /// The new value of `noindex`.
    pub noindex: Option<bool>,
}

impl PageMetaPatch {
    /// Returns the change that the members of a body make. A blank description is none.
    pub fn new(
        description: Patch<PageDescription>,
        social_image: Patch<UrlOrPath>,
        canonical: Patch<UrlOrPath>,
        noindex: Option<bool>,
    ) -> Self {
        let description = match description {
            Patch::Value(text) if text.as_str().trim().is_empty() => Patch::Null,
            other => other.map(String::from),
        };
        let (social_image, canonical) =
            (social_image.map(String::from), canonical.map(String::from));
        Self { description, social_image, canonical, noindex }
    }

    /// Makes the change.
    pub fn apply_to(self, page: &mut PageMeta) {
        for (patch, member) in [
            (self.description, &mut page.description),
            (self.social_image, &mut page.social_image),
            (self.canonical, &mut page.canonical),
        ] {
            if let Some(value) = patch.into_option() {
                *member = value;
            }
        }
        page.noindex = self.noindex.unwrap_or(page.noindex);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(text: &str) -> Patch<PageDescription> {
        Patch::Value(text.to_owned().try_into().unwrap())
    }

    #[test]
    fn a_change_sets_what_it_names_and_null_and_a_blank_description_empty_it() {
        let full = PageMeta {
            description: Some("x".to_owned()),
            social_image: Some("/uploads/a.webp".to_owned()),
            canonical: Some("/a".to_owned()),
            noindex: true,
        };
        let apply = |patch: PageMetaPatch| {
            let mut page = full.clone();
            patch.apply_to(&mut page);
            page
        };
        assert_eq!(apply(PageMetaPatch::default()), full);
        for blank in [Patch::Null, description(""), description(" \n\u{a0}")] {
            let patch = PageMetaPatch::new(blank, Patch::Null, Patch::Null, Some(false));
            assert_eq!(apply(patch), PageMeta::default());
        }
        let patch = PageMetaPatch::new(description("y\nz"), Patch::Absent, Patch::Absent, None);
        let expected = PageMeta { description: Some("y\nz".to_owned()), ..full.clone() };
        assert_eq!(apply(patch), expected);
    }

    #[test]
    fn what_is_missing_in_an_answer_of_an_earlier_version_has_its_default() {
        assert_eq!(serde_json::from_str::<PageMeta>("{}").unwrap(), PageMeta::default());
    }
}
