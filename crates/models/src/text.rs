//! Texts in requests. A stored text may break these rules, and is answered as it is.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory, PrependedConcatenationMark},
};

/// The text breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// The text has no visible character.
    #[error("must not be blank: it needs a character that can be seen")]
    Blank,
    /// The text has more characters than allowed.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// The text has control characters.
    #[error("must not contain control characters")]
    ControlCharacter,
    /// The text has U+0000, which HTML cannot contain.
    #[error("must not contain NUL characters")]
    Nul,
    /// The text cannot be a segment of a path.
    #[error("must not contain `/` or `\\` nor be `.` or `..`: it is a part of an address")]
    NotAnAddress,
}

/// Returns `true` if a character is invisible: white space, control and format
/// characters, what Unicode calls default ignorable (zero-width characters, variation selectors,
/// Hangul fillers, tags, …), and the few symbols that are blank by their design.
///
/// Such characters may stand between others: they hold emoji together and set the direction of
/// text.
pub(crate) fn is_invisible(character: char) -> bool {
    // Format characters that are drawn, such as the Arabic number sign.
    let is_drawn_format = || CodePointSetData::new::<PrependedConcatenationMark>();
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    character.is_whitespace()
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
        || category == GeneralCategory::Control
        || category == GeneralCategory::Format && !is_drawn_format().contains(character)
        || BLANK_SYMBOLS.contains(&character)
}

/// Symbols without ink that no property of Unicode tells from others: BRAILLE PATTERN BLANK,
/// MUSICAL SYMBOL NULL NOTEHEAD, EGYPTIAN HIEROGLYPH FULL BLANK and HALF BLANK.
const BLANK_SYMBOLS: [char; 4] = ['\u{2800}', '\u{1d159}', '\u{13441}', '\u{13442}'];

/// Checks a segment of a path: a line that can stand between two slashes, percent-encoded.
///
/// Proxies and servers treat encoded slashes, backslashes and dot segments differently, so that the
/// gateway refuses them. Every other character arrives as it was sent.
pub fn segment(text: String, max_length: usize) -> Result<String, InvalidText> {
    let text = line(text, max_length)?;
    if text.contains(['/', '\\']) || matches!(text.as_str(), "." | "..") {
        Err(InvalidText::NotAnAddress)
    } else {
        Ok(text)
    }
}

/// Checks a line of text, which is not blank and has no control characters. Trims white space.
pub fn line(text: String, max_length: usize) -> Result<String, InvalidText> {
    within(&text, max_length)?;
    if text.chars().any(char::is_control) {
        return Err(InvalidText::ControlCharacter);
    }
    if text.chars().all(is_invisible) {
        return Err(InvalidText::Blank);
    }
    match text.trim() {
        trimmed if trimmed.len() == text.len() => Ok(text),
        trimmed => Ok(trimmed.to_owned()),
    }
}

/// Checks a text of several lines, which has no NUL.
pub fn prose(text: String, max_length: usize) -> Result<String, InvalidText> {
    within(&text, max_length)?;
    if text.contains('\0') { Err(InvalidText::Nul) } else { Ok(text) }
}

fn within(text: &str, max_length: usize) -> Result<(), InvalidText> {
    // A text has at most as many characters as bytes.
    if text.len() > max_length && text.chars().count() > max_length {
        Err(InvalidText::TooLong(max_length))
    } else {
        Ok(())
    }
}

/// Declares a type of text: its name, the name of its schema if that is another one, its check
/// ([`line`](crate::text::line), [`segment`](crate::text::segment) or
/// [`prose`](crate::text::prose)), its maximum length in characters, and an example.
///
/// ```
/// models::text! {
///     /// The place of an event.
///     pub Place = line, 200, "The old lighthouse"
/// }
/// assert!(Place::try_from("x".repeat(201)).is_err());
/// ```
#[macro_export]
macro_rules! text {
    (
        $(#[$doc:meta])+
        $visibility:vis $name:ident $(as $schema:literal)? = $check:ident, $max_length:literal,
        $example:literal
    ) => {
        $(#[$doc])+
        #[derive(Debug, Clone, PartialEq, Eq, Hash, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        $visibility struct $name(String);

        $crate::schema!(
            $name $(as $schema)?,
            $crate::schema::$check(Self::MAX_LENGTH).examples([$example])
        );

        impl $name {
            /// Maximum number of characters (Unicode scalar values).
            $visibility const MAX_LENGTH: usize = $max_length;

            /// Returns the text.
            #[allow(dead_code, reason = "some texts are only converted into a `String`")]
            $visibility fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::convert::TryFrom<String> for $name {
            type Error = $crate::InvalidText;

            fn try_from(text: String) -> Result<Self, $crate::InvalidText> {
                $crate::text::$check(text, Self::MAX_LENGTH).map(Self)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// The title of a section or an item of content.
    pub Title = line, 200, "First light"
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
    fn a_text_of_invisible_characters_is_blank() {
        for text in [
            "\u{200b}",
            "\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}",
            "\u{ad}",
            "\u{34f}",
            "\u{61c}",
            "\u{115f}\u{1160}",
            "\u{17b4}\u{17b5}",
            "\u{180b}\u{180e}\u{180f}",
            "\u{2028}\u{2029}",
            "\u{202a}\u{202e}\u{2066}\u{2069}",
            "\u{2060}\u{2061}\u{2062}\u{2063}\u{2064}\u{206f}",
            "\u{2800}",
            "\u{3164}\u{ffa0}",
            "\u{fe00}\u{fe0f}",
            "\u{feff}",
            "\u{fff9}\u{fffb}",
            "\u{1bca0}",
            "\u{1d159}\u{1d173}",
            "\u{13430}\u{13441}",
            "\u{e0001}\u{e0041}\u{e007f}",
            "\u{e0100}\u{e01ef}",
            " \u{200b}\u{a0}\u{2800}\u{3000} ",
        ] {
            assert_eq!(title(text), Err(InvalidText::Blank), "{text:?}");
            assert_eq!(segment(text.to_owned(), 100), Err(InvalidText::Blank), "{text:?}");
        }
    }

    #[test]
    fn invisible_characters_stay_in_a_text_that_can_be_seen() {
        for text in [
            "\u{1f469}\u{200d}\u{1f4bb}",
            "\u{2764}\u{fe0f}",
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "\u{200f}\u{5e9}\u{5dc}\u{5d5}\u{5dd}\u{200e}",
            "super\u{ad}cali",
            "\u{feff}Title",
            // Drawn, although they are format characters or marks.
            "\u{600}",
            "\u{6dd}",
            "\u{301}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e007f}",
        ] {
            assert_eq!(title(text), Ok(text.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn a_segment_of_a_path_has_no_separators() {
        let segment = |text: &str| segment(text.to_owned(), 100);
        for text in ["about", "privacy-policy", "Über uns", "100 %", "a%2Fb", "...", ".a", "?#;+&="]
        {
            assert_eq!(segment(text), Ok(text.to_owned()), "{text:?}");
        }
        assert_eq!(segment(" about\u{a0}"), Ok("about".to_owned()));
        for text in ["/", "a/b", "/about", "about/", "a\\b", ".", "..", " .. "] {
            assert_eq!(segment(text), Err(InvalidText::NotAnAddress), "{text:?}");
        }
        assert_eq!(segment("a\nb"), Err(InvalidText::ControlCharacter));
        assert_eq!(segment(&"é".repeat(101)), Err(InvalidText::TooLong(100)));
    }

    #[test]
    fn prose_keeps_its_lines_and_has_no_nul() {
        let text = "<p>a</p>\n\t<p>b</p>\r\n".to_owned();
        assert_eq!(prose(text.clone(), 100), Ok(text));
        assert_eq!(prose("a\0b".to_owned(), 100), Err(InvalidText::Nul));
        assert_eq!(prose(String::new(), 100), Ok(String::new()));
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
