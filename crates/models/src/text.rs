//! Texts as they may be written. What is stored already may be longer or odder, and is answered as
//! it is.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::ArrayBuilder;

use crate::schema::{self, schema};

/// A text that may not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Nothing, or nothing but white space.
    #[error("must not be blank")]
    Blank,
    /// More characters than fit.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// Characters that nobody sees and that break what they are put into.
    #[error("must not contain control characters")]
    ControlCharacter,
    /// U+0000, which no HTML may contain.
    #[error("must not contain NUL characters")]
    Nul,
}

/// A line of text: not blank, no control characters, white space around it taken away.
fn line(text: String, longest: usize) -> Result<String, InvalidText> {
    within(&text, longest)?;
    if text.chars().any(char::is_control) {
        return Err(InvalidText::ControlCharacter);
    }
    match text.trim() {
        "" => Err(InvalidText::Blank),
        trimmed if trimmed.len() == text.len() => Ok(text),
        trimmed => Ok(trimmed.to_owned()),
    }
}

/// Text of many lines, kept as it is.
fn prose(text: String, longest: usize) -> Result<String, InvalidText> {
    within(&text, longest)?;
    if text.contains('\0') { Err(InvalidText::Nul) } else { Ok(text) }
}

fn within(text: &str, longest: usize) -> Result<(), InvalidText> {
    // A text has at most as many characters as bytes.
    if text.len() > longest && text.chars().count() > longest {
        Err(InvalidText::TooLong(longest))
    } else {
        Ok(())
    }
}

/// Declares a text: its name, how it is checked, its largest length in characters, and an example.
macro_rules! text {
    ($(#[$doc:meta])+ $name:ident = $check:ident, $longest:literal, $example:literal) => {
        $(#[$doc])+
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        schema!($name, schema::$check(Self::MAX_LENGTH).examples([$example]));

        impl $name {
            /// The most characters (Unicode scalar values) that it has.
            pub const MAX_LENGTH: usize = $longest;

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;

            fn try_from(text: String) -> Result<Self, InvalidText> {
                $check(text, Self::MAX_LENGTH).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// The title of a section or an item of content.
    Title = line, 200, "First light"
}

text! {
    /// The text of an item of content that is there already, as HTML. Existing sites hold texts of
    /// up to 175,000 characters, which have to stay editable.
    Content = prose, 500_000, "<p>The lamp was lit at dusk.</p>"
}

text! {
    /// The text of a new item of content, as HTML: some fifty pages of a book.
    NewContent = prose, 100_000, "<p>The lamp was lit at dusk.</p>"
}

text! {
    /// A sentence or two about a project.
    Summary = prose, 2_000, "Reads a tide table aloud."
}

text! {
    /// Something that a project is made with.
    Technology = line, 100, "Rust"
}

text! {
    /// Which page of the site a page is, such as `about`.
    PageType = line, 100, "about"
}

impl From<NewContent> for Content {
    fn from(content: NewContent) -> Self {
        Self(content.0)
    }
}

/// What a project is made with: at most [`Technologies::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Technology>")]
pub struct Technologies(Vec<Technology>);

schema!(
    Technologies,
    ArrayBuilder::new().items(Technology::schema()).max_items(Some(Technologies::MAX))
);

/// More technologies than a card can show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must have at most {} items", Technologies::MAX)]
pub struct TooManyTechnologies;

impl Technologies {
    /// The most that a project has; those of existing sites have two.
    pub const MAX: usize = 50;

    /// In the order in which they were given.
    pub fn as_slice(&self) -> &[Technology] {
        &self.0
    }
}

impl TryFrom<Vec<Technology>> for Technologies {
    type Error = TooManyTechnologies;

    fn try_from(technologies: Vec<Technology>) -> Result<Self, TooManyTechnologies> {
        if technologies.len() > Self::MAX {
            Err(TooManyTechnologies)
        } else {
            Ok(Self(technologies))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn title(text: &str) -> Result<String, InvalidText> {
        Title::try_from(text.to_owned()).map(String::from)
    }

    #[test]
    fn a_title_has_from_1_to_200_characters() {
        assert_eq!(title("a"), Ok("a".to_owned()));
        assert_eq!(title(&"é".repeat(200)), Ok("é".repeat(200)));
        assert_eq!(title(&"é".repeat(201)), Err(InvalidText::TooLong(200)));
        assert_eq!(title(""), Err(InvalidText::Blank));
        assert_eq!(title(" \u{a0}\u{3000}"), Err(InvalidText::Blank));
    }

    #[test]
    fn a_title_is_one_line_without_white_space_around_it() {
        assert_eq!(title("  A day  "), Ok("A day".to_owned()));
        for text in ["a\0", "a\nb", "\ta", "a\u{7f}", "a\u{85}b", "a\u{1b}[0m"] {
            assert_eq!(title(text), Err(InvalidText::ControlCharacter), "{text:?}");
        }
    }

    #[test]
    fn html_keeps_its_lines_and_has_no_nul() {
        let text = "<p>a</p>\n\t<p>b</p>\r\n".to_owned();
        assert_eq!(NewContent::try_from(text.clone()).unwrap().as_str(), text);
        assert_eq!(NewContent::try_from("a\0b".to_owned()), Err(InvalidText::Nul));
        assert!(NewContent::try_from(String::new()).is_ok());
    }

    #[test]
    fn a_long_text_can_be_kept_and_not_added() {
        let text = "x".repeat(173_099);
        assert!(Content::try_from(text.clone()).is_ok());
        assert_eq!(NewContent::try_from(text), Err(InvalidText::TooLong(100_000)));
    }

    #[test]
    fn a_project_is_made_with_50_things_at_most() {
        let many = |count| vec![Technology::try_from("Rust".to_owned()).unwrap(); count];
        assert!(Technologies::try_from(many(50)).is_ok());
        assert_eq!(Technologies::try_from(many(51)), Err(TooManyTechnologies));
    }

    proptest! {
        #[test]
        fn an_accepted_title_stays_itself(text in any::<String>()) {
            if let Ok(once) = title(&text) {
                prop_assert_eq!(title(&once), Ok(once.clone()));
                prop_assert!(!once.chars().any(char::is_control));
            }
        }
    }
}
