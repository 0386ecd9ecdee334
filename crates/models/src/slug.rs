//! Slugs: the part of an address that names one thing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::schema::{schema, text};

/// The part of an address that names a section or an item of content: lower-case letters, digits
/// and single `-` between them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

schema!(Slug, text("^[a-z0-9]+(-[a-z0-9]+)*$", Slug::MAX_LENGTH).examples(["first-light"]));

/// The text is no slug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must have lower-case letters, digits and single hyphens between them, {} characters at most",
    Slug::MAX_LENGTH
)]
pub struct InvalidSlug;

impl Slug {
    /// The most characters of a slug that somebody chooses: as many as a title has. One made from
    /// an older, longer title is as long as that.
    pub const MAX_LENGTH: usize = 200;

    /// The slug made from a title, or none where no character of it can stand in one.
    ///
    /// Lower-cases, turns white space into `-`, drops everything outside `[a-z0-9-]`, folds
    /// repeated `-` and trims them from both ends.
    ///
    /// ```
    /// # use models::Slug;
    /// assert_eq!(Slug::from_title("Rust 1.0: what's new?").unwrap().as_str(), "rust-10-whats-new");
    /// assert_eq!(Slug::from_title("日本語"), None);
    /// ```
    pub fn from_title(title: &str) -> Option<Self> {
        let mut slug = String::with_capacity(title.len());
        for character in title.chars().flat_map(char::to_lowercase) {
            match character {
                'a'..='z' | '0'..='9' => slug.push(character),
                '-' => push_hyphen(&mut slug),
                _ if character.is_whitespace() => push_hyphen(&mut slug),
                _ => {}
            }
        }
        if slug.ends_with('-') {
            slug.pop();
        }
        (!slug.is_empty()).then_some(Self(slug))
    }

    /// The slug to try when this one is taken: `title-2`, `title-3`, …
    #[must_use]
    pub fn numbered(&self, number: u64) -> Self {
        Self(format!("{}-{number}", self.0))
    }

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A hyphen separates: never the first character and never beside another.
fn push_hyphen(slug: &mut String) {
    if !slug.is_empty() && !slug.ends_with('-') {
        slug.push('-');
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Slug {
    type Error = InvalidSlug;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match Self::from_title(&text) {
            Some(slug) if slug.0 == text && text.len() <= Self::MAX_LENGTH => Ok(slug),
            _ => Err(InvalidSlug),
        }
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_title_becomes_a_slug_as_the_existing_sites_made_it() {
        for (title, slug) in [
            ("Announcing Rust 1.71.0", "announcing-rust-1710"),
            ("  Hello,   World!  ", "hello-world"),
            ("a -- b", "a-b"),
            ("--a--", "a"),
            ("Über uns", "ber-uns"),
            ("tabs\tand\nlines", "tabs-and-lines"),
        ] {
            assert_eq!(Slug::from_title(title).unwrap().as_str(), slug);
        }
    }

    #[test]
    fn a_title_without_a_usable_character_makes_none() {
        for title in ["", " ", "---", "日本語", "!?"] {
            assert_eq!(Slug::from_title(title), None, "{title:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_made_is_a_slug_and_stays_itself(title in ".*") {
            if let Some(slug) = Slug::from_title(&title) {
                prop_assert_eq!(Slug::try_from(slug.as_str().to_owned()), Ok(slug.clone()));
                prop_assert!(!slug.as_str().starts_with('-') && !slug.as_str().ends_with('-'));
                prop_assert!(!slug.as_str().contains("--"));
            }
        }
    }
}
