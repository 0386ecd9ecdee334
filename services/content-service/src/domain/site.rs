//! The facts that every page of the site shows.

use chrono::{DateTime, Utc};
use language_tags::LanguageTag;
use models::{
    Body, Patch, Title, UrlOrPath, WebUrl,
    bounded::at_most,
    patch::not_null,
    schema::{schema, text},
};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{ToSchema, openapi::schema::ArrayBuilder};

models::text! {
    /// A sentence or two about the site, for search engines and feeds.
    pub(crate) SiteDescription = prose, 1_000, "Notes on lighthouses and tides"
}

models::text! {
    /// The name of a profile or page elsewhere.
    pub(crate) LinkName = line, 100, "GitHub"
}

/// A language tag of BCP 47, such as `en` or `pt-BR`, in the usual case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Language(String);

schema!(
    Language,
    text("^[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?$", Language::MAX_LENGTH)
        .examples(["en", "pt-BR"])
);

/// The text is no language tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a language tag such as `en`, `de-CH` or `zh-Hant` (BCP 47)")]
pub(crate) struct InvalidLanguage;

impl Language {
    /// The longest tag: RFC 5646 §4.4.1 recommends room for 35 characters.
    const MAX_LENGTH: usize = 35;
}

impl TryFrom<String> for Language {
    type Error = InvalidLanguage;

    fn try_from(text: String) -> Result<Self, InvalidLanguage> {
        if text.len() > Self::MAX_LENGTH {
            return Err(InvalidLanguage);
        }
        let tag = LanguageTag::parse(&text).map_err(|_| InvalidLanguage)?;
        Ok(Self(tag.into_string()))
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.0
    }
}

/// A profile of the site elsewhere, as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSocialLink {
    /// The name, such as that of the service.
    name: LinkName,
    /// The address.
    url: WebUrl,
}

/// The profiles of the site elsewhere: at most [`SocialLinks::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct SocialLinks(Vec<NewSocialLink>);

schema!(
    SocialLinks,
    ArrayBuilder::new()
        .items(utoipa::openapi::Ref::from_schema_name(NewSocialLink::name()))
        .max_items(Some(SocialLinks::MAX))
);

impl SocialLinks {
    /// The most links: more than a footer shows.
    const MAX: usize = 50;
}

impl<'de> Deserialize<'de> for SocialLinks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        at_most(deserializer, Self::MAX, format!("must have at most {} links", Self::MAX)).map(Self)
    }
}

/// A profile of the site elsewhere, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SocialLink {
    /// The name, such as that of the service.
    pub(crate) name: String,
    /// The address.
    pub(crate) url: String,
}

/// The facts that every page of the site shows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub(crate) struct Site {
    /// The title of the site.
    #[schema(required = true)]
    pub(crate) title: Option<String>,
    /// A sentence or two about the site.
    #[schema(required = true)]
    pub(crate) description: Option<String>,
    /// The address of its logo.
    #[schema(required = true)]
    pub(crate) logo: Option<String>,
    /// The language of its texts, as a tag of BCP 47.
    #[schema(required = true)]
    pub(crate) language: Option<String>,
    /// The profiles of the site elsewhere.
    pub(crate) social_links: Vec<SocialLink>,
    /// The public address of the site (the setting `site.url`).
    #[schema(required = true)]
    pub(crate) url: Option<String>,
    /// The date of the last change.
    #[serde(rename = "updatedDate", serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) updated_date: Option<DateTime<Utc>>,
}

/// Changes of the facts that every page shows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"title": "Tidal notes", "language": "en", "social_links": [{"name": "GitHub", "url": "https://github.com/example"}]})))]
pub(crate) struct SitePatch {
    /// The title of the site.
    #[serde(default)]
    #[schema(value_type = Option<Title>)]
    pub(crate) title: Patch<Title>,
    /// A sentence or two about the site.
    #[serde(default)]
    #[schema(value_type = Option<SiteDescription>)]
    pub(crate) description: Patch<SiteDescription>,
    /// The address of its logo: an address of the web, or a path such as `/uploads/logo.webp`.
    #[serde(default)]
    #[schema(value_type = Option<UrlOrPath>)]
    pub(crate) logo: Patch<UrlOrPath>,
    /// The language of its texts, as a tag of BCP 47.
    #[serde(default)]
    #[schema(value_type = Option<Language>)]
    pub(crate) language: Patch<Language>,
    /// The profiles of the site elsewhere; they replace all of the present ones.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = SocialLinks, required = false)]
    pub(crate) social_links: Option<SocialLinks>,
}

impl Body for SitePatch {
    const READ_ONLY: &'static [&'static str] = &["url", "updatedDate"];
    const IGNORED: &'static [&'static str] = &["updatedDate"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_tags_of_bcp_47() {
        for (text, expected) in [
            ("en", "en"),
            ("DE-ch", "de-CH"),
            ("zh-hant-tw", "zh-Hant-TW"),
            ("es-419", "es-419"),
            ("sl-rozaj-biske", "sl-rozaj-biske"),
            ("x-private", "x-private"),
        ] {
            let language = Language::try_from(text.to_owned()).map(String::from);
            assert_eq!(language.as_deref(), Ok(expected));
        }
        let long = format!("en-x-{}", "abcdefgh-".repeat(5));
        for text in [
            "",
            " ",
            "e",
            "english language",
            "en_US",
            "en-",
            "-en",
            "de--ch",
            "日本",
            "en\0",
            &long,
        ] {
            assert_eq!(Language::try_from(text.to_owned()), Err(InvalidLanguage), "{text:?}");
        }
    }

    #[test]
    fn links_have_names_and_addresses_of_the_web() {
        let links = |json| serde_json::from_value::<SocialLinks>(json);
        let link = serde_json::json!({ "name": "GitHub", "url": "https://github.com/example" });
        assert!(links(serde_json::json!(vec![&link; SocialLinks::MAX])).is_ok());
        assert!(links(serde_json::json!(vec![&link; SocialLinks::MAX + 1])).is_err());
        for wrong in [
            serde_json::json!({ "name": "GitHub" }),
            serde_json::json!({ "name": " ", "url": "https://github.com/" }),
            serde_json::json!({ "name": "x", "url": "javascript:alert(1)" }),
            serde_json::json!({ "name": "x", "url": "/about" }),
            serde_json::json!({ "name": "x", "url": "https://a.example", "more": 1 }),
            serde_json::json!("https://github.com/"),
        ] {
            assert!(links(serde_json::json!([wrong.clone()])).is_err(), "{wrong}");
        }
    }
}
