//! Slugs: the part of a URL that identifies a section or an item of content.

use std::fmt;

use deunicode::deunicode_char;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::{
    schema::{schema, text},
    text::is_invisible,
};

/// The part of a URL that identifies a section or an item of content: lower-case letters, digits and
/// single hyphens between them.
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
    /// Maximum number of characters, as many as a title has. It includes the number of a slug. A stored
    /// slug of an earlier version may be longer.
    pub const MAX_LENGTH: usize = 200;

    /// Maximum number of characters that a number adds: a hyphen and the digits of [`u64::MAX`].
    const NUMBER_MAX_LENGTH: usize = 21;

    /// Makes a slug from a title. Returns `None` if no character of the title can be part of one.
    ///
    /// Lower-cases, turns white space into `-`, writes other scripts in Latin letters, drops
    /// everything else outside `[a-z0-9-]`, folds repeated `-` and trims them from both ends. A
    /// slug that would be too long is cut, at a hyphen if there is one in its second half.
    ///
    /// Canonically equivalent titles (Unicode Standard Annex #15) have the same slug, and a title
    /// in ASCII keeps the one that existing sites made from it.
    ///
    /// ```
    /// # use models::Slug;
    /// assert_eq!(Slug::from_title("Rust 1.0: what's new?").unwrap().as_str(), "rust-10-whats-new");
    /// assert_eq!(Slug::from_title("Größe").unwrap().as_str(), "grosse");
    /// assert_eq!(Slug::from_title("日本語").unwrap().as_str(), "ri-ben-yu");
    /// assert_eq!(Slug::from_title("!?"), None);
    /// ```
    pub fn from_title(title: &str) -> Option<Self> {
        let mut slug = String::with_capacity(title.len().min(2 * Self::MAX_LENGTH));
        for character in title.nfc() {
            push(&mut slug, character);
            // Titles of existing sites have no limit.
            if slug.len() > Self::MAX_LENGTH && !slug.ends_with('-') {
                return Some(Self(cut(&slug, Self::MAX_LENGTH).to_owned()));
            }
        }
        if slug.ends_with('-') {
            slug.pop();
        }
        (!slug.is_empty()).then_some(Self(slug))
    }

    /// Returns the slug to try if this one is taken: `title-2`, `title-3`, …
    ///
    /// It has at most [`MAX_LENGTH`](Self::MAX_LENGTH) characters: the title is cut where the
    /// number would not fit.
    #[must_use]
    pub fn numbered(&self, number: u64) -> Self {
        let number = format!("-{number}");
        Self(format!("{}{number}", cut(&self.0, Self::MAX_LENGTH - number.len())))
    }

    /// Returns a regular expression that matches this slug and all that [`numbered`](Self::numbered)
    /// makes of it. It is anchored, so that an index serves it, and matches few others.
    pub fn numbered_pattern(&self) -> String {
        // A slug has no character that means something in a pattern.
        if self.0.len() + Self::NUMBER_MAX_LENGTH <= Self::MAX_LENGTH {
            return format!("^{self}(-[0-9]+)?$");
        }
        let shortest = Self::MAX_LENGTH - Self::NUMBER_MAX_LENGTH;
        // The cut before a number is at the latest there, or at a hyphen in the half before it.
        format!("^{}", cut(&self.0, shortest))
    }

    /// Returns the slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Adds a character of a title, in the letters of a slug.
fn push(slug: &mut String, character: char) {
    match character {
        'a'..='z' | '0'..='9' => slug.push(character),
        'A'..='Z' => slug.push(character.to_ascii_lowercase()),
        '-' => push_hyphen(slug),
        _ if character.is_whitespace() => push_hyphen(slug),
        _ if character.is_ascii() || is_invisible(character) => {}
        _ => {
            let latin = deunicode_char(character).unwrap_or_default();
            // The character stands for a word, as an ideograph or an emoji does.
            if latin.ends_with(' ') {
                push_hyphen(slug);
            }
            latin.chars().filter(char::is_ascii).for_each(|letter| push(slug, letter));
        }
    }
}

/// Adds a hyphen, unless it would be the first character or follow another hyphen.
fn push_hyphen(slug: &mut String) {
    if !slug.is_empty() && !slug.ends_with('-') {
        slug.push('-');
    }
}

/// Cuts a slug to a maximum length: after a whole word, unless that would leave less than half.
fn cut(slug: &str, length: usize) -> &str {
    if slug.len() <= length {
        return slug;
    }
    // A slug is ASCII, so that every length is the end of a character.
    let beginning = &slug[..length];
    if slug[length..].starts_with('-') {
        return beginning;
    }
    match beginning.rfind('-') {
        Some(end) if end >= length / 2 => &beginning[..end],
        _ => beginning,
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

    fn slug(title: &str) -> String {
        Slug::from_title(title).map(String::from).unwrap_or_default()
    }

    /// The slug that existing sites and earlier versions made.
    fn earlier_slug(title: &str) -> Option<String> {
        let mut slug = String::new();
        for character in title.chars().flat_map(char::to_lowercase) {
            match character {
                'a'..='z' | '0'..='9' => slug.push(character),
                _ if character == '-' || character.is_whitespace() => push_hyphen(&mut slug),
                _ => {}
            }
        }
        if slug.ends_with('-') {
            slug.pop();
        }
        (!slug.is_empty()).then_some(slug)
    }

    #[test]
    fn a_title_becomes_a_slug_as_the_existing_sites_made_it() {
        for (title, expected) in [
            ("Announcing Rust 1.71.0", "announcing-rust-1710"),
            ("  Hello,   World!  ", "hello-world"),
            ("a -- b", "a-b"),
            ("--a--", "a"),
            ("tabs\tand\nlines", "tabs-and-lines"),
            ("what's", "whats"),
        ] {
            assert_eq!(slug(title), expected);
        }
    }

    #[test]
    fn other_letters_are_written_in_latin_ones() {
        for (title, expected) in [
            ("Über uns", "uber-uns"),
            ("Größe", "grosse"),
            ("STRASSE Straße ẞ", "strasse-strasse-ss"),
            ("Łódź", "lodz"),
            ("Crème brûlée", "creme-brulee"),
            ("Smørrebrød på Ærø", "smorrebrod-pa-aero"),
            ("Þórður", "thordur"),
            ("Tiếng Việt", "tieng-viet"),
            ("ISPARTA ısırgan İzmir", "isparta-isirgan-izmir"),
            ("Привет мир", "privet-mir"),
            ("Γειά σου Κόσμε", "geia-sou-kosme"),
            ("日本語", "ri-ben-yu"),
            ("Rust入門 2026年3月", "rust-ru-men-2026-nian-3-yue"),
            ("ひらがな カタカナ", "hiragana-katakana"),
            ("한국어", "hangugeo"),
            ("مرحبا", "mrhb"),
            ("שלום עולם", "shlvm-vlm"),
            ("\u{200f}שלום\u{200e}", "shlvm"),
            ("नमस्ते", "nmste"),
            ("Ｆｕｌｌ　ｗｉｄｔｈ１", "full-width1"),
            ("ﬁnal oﬀer", "final-offer"),
            ("what’s new — “today”", "whats-new-today"),
            ("rock’n’roll…", "rocknroll"),
            ("super\u{ad}cali\u{200b}fragilistic", "supercalifragilistic"),
            ("x\u{a0}y\u{3000}z", "x-y-z"),
            ("٣ ③ ३", "3-3-3"),
            ("🍕", "pizza"),
            ("Pizza🍕!", "pizza-pizza"),
            ("\u{212a}elvin", "kelvin"),
        ] {
            assert_eq!(slug(title), expected, "{title}");
        }
    }

    #[test]
    fn a_title_without_a_usable_character_makes_none() {
        for title in ["", " ", "---", "!?", "\u{200b}", "\u{301}", "\u{e000}", "\u{10ffff}"] {
            assert_eq!(Slug::from_title(title), None, "{title:?}");
        }
    }

    #[test]
    fn every_character_makes_a_slug_or_nothing() {
        for character in '\0'..=char::MAX {
            let title = String::from(character);
            if let Some(slug) = Slug::from_title(&title) {
                assert_eq!(Slug::try_from(slug.as_str().to_owned()), Ok(slug), "{title:?}");
            } else {
                assert!(!character.is_ascii_alphanumeric());
            }
            // What has no letters of its own does not come between those of others.
            let between = slug(&format!("a{character}b"));
            assert!(between.starts_with('a') && between.ends_with('b'), "{title:?} {between}");
        }
    }

    #[test]
    fn a_long_title_is_cut_between_words() {
        let words = "wort ".repeat(60);
        assert_eq!(slug(&words), ["wort"; 40].join("-"));
        assert_eq!(slug(&"ß".repeat(150)), "s".repeat(200));
        let word = format!("ab {}", "x".repeat(300));
        assert_eq!(slug(&word), format!("ab-{}", "x".repeat(197)));
        assert_eq!(slug(&format!("{} y", "x".repeat(200))), "x".repeat(200));
        assert_eq!(slug(&format!("{} !", "x".repeat(200))), "x".repeat(200));
        assert_eq!(slug(&format!("{} y", "x".repeat(199))), "x".repeat(199));
        let numbered =
            |title: &str, number| String::from(Slug::from_title(title).unwrap().numbered(number));
        assert_eq!(numbered(&"x".repeat(200), 2), format!("{}-2", "x".repeat(198)));
        assert_eq!(numbered(&words, 10), format!("{}-10", ["wort"; 39].join("-")));
        assert_eq!(numbered("news", u64::MAX), format!("news-{}", u64::MAX));
    }

    #[test]
    fn a_given_slug_is_taken_as_it_is_or_refused() {
        for text in ["a", "first-light", "2026", &"x".repeat(200)] {
            assert_eq!(Slug::try_from(text.to_owned()).unwrap().as_str(), text);
        }
        let long = "x".repeat(201);
        for text in ["", "-", "a-", "-a", "a--b", "A", "a b", "größe", "grosse\u{301}", "日", &long]
        {
            assert_eq!(Slug::try_from(text.to_owned()), Err(InvalidSlug), "{text:?}");
        }
    }

    /// Titles that are dense in what is special.
    fn title() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            4 => ".{0,6}",
            4 => "[ -~]{0,8}",
            2 => "[À-ž]{1,8}",
            1 => "[Ѐ-ӿ]{1,8}",
            1 => "[ぁ-ヿ一-十]{1,8}",
            1 => "[가-힣]{1,8}",
            1 => "[\u{300}-\u{36f}]{1,3}",
            1 => "[-' ]{1,4}",
            1 => "[a-z]{60,120}",
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn an_ascii_title_has_the_slug_that_it_always_had(title in "[\\x00-\\x7f]{0,200}") {
            prop_assert_eq!(Slug::from_title(&title).map(String::from), earlier_slug(&title));
        }

        #[test]
        fn the_result_is_a_slug_and_stays_itself(title in title()) {
            if let Some(slug) = Slug::from_title(&title) {
                prop_assert_eq!(Slug::try_from(slug.as_str().to_owned()), Ok(slug.clone()));
                let letters = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
                prop_assert!(slug.as_str().chars().all(letters));
                prop_assert!(!slug.as_str().starts_with('-') && !slug.as_str().ends_with('-'));
                prop_assert!(!slug.as_str().contains("--"));
                prop_assert!(slug.as_str().len() <= Slug::MAX_LENGTH);
            }
        }

        #[test]
        fn equivalent_titles_have_one_slug(title in title()) {
            let composed: String = title.nfc().collect();
            let decomposed: String = title.nfd().collect();
            prop_assert_eq!(slug(&composed), slug(&decomposed));
            prop_assert_eq!(slug(&composed), slug(&title));
        }

        #[test]
        fn numbered_slugs_are_slugs_and_differ(
            title in title(),
            numbers in prop::collection::hash_set(prop_oneof![2u64..1_200, any::<u64>()], 1..9),
        ) {
            if let Some(slug) = Slug::from_title(&title) {
                let pattern = slug.numbered_pattern();
                let prefix = pattern.trim_start_matches('^').trim_end_matches("(-[0-9]+)?$");
                let made: std::collections::HashSet<_> =
                    numbers.iter().map(|number| slug.numbered(*number)).collect();
                prop_assert_eq!(made.len(), numbers.len());
                prop_assert!(slug.as_str().starts_with(prefix));
                for numbered in made {
                    prop_assert!(numbered.as_str().starts_with(prefix), "{} {}", pattern, numbered);
                    prop_assert_eq!(Slug::try_from(numbered.0.clone()), Ok(numbered));
                }
            }
        }
    }
}
