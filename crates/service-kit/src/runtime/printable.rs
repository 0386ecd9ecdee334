//! Makes text safe to print: data, file names and arguments must not control a terminal, forge a line,
//! or hide or reorder the text around them.

use std::{borrow::Cow, fmt::Write};

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Returns `true` if a character must not be part of a line of text: control characters (`Cc`: ESC, BEL, line
/// breaks, DEL, C1), invisible ones that format text (`Cf`: bidirectional controls, zero-width
/// characters, the byte order mark), and the separators of lines and paragraphs (`Zl`, `Zp`).
pub fn is_unprintable(c: char) -> bool {
    // The most common characters.
    if matches!(c, ' '..='~') {
        return false;
    }
    matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

/// Escapes a value for a line of text that a person reads: unprintable characters become `\n`,
/// `\r`, `\t` or `\u{…}` with the code point in hexadecimal, and a backslash is doubled, so that
/// the escapes are unambiguous.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, |c| c == '\\' || is_unprintable(c), push_escaped)
}

/// Escapes the text of a JSON document for a terminal: JSON allows DEL, C1 and invisible characters in
/// its strings. The result is the same JSON. Line breaks between its members stay.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    escape(json, |c| c != '\n' && is_unprintable(c), push_json)
}

fn escape(
    text: &str,
    is_escaped: impl Fn(char) -> bool,
    push: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    let Some(first) = text.find(&is_escaped) else { return Cow::Borrowed(text) };
    let mut escaped = String::with_capacity(text.len() + 16);
    escaped += &text[..first];
    for c in text[first..].chars() {
        if is_escaped(c) { push(&mut escaped, c) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

fn push_escaped(text: &mut String, c: char) {
    match c {
        '\n' => *text += r"\n",
        '\r' => *text += r"\r",
        '\t' => *text += r"\t",
        '\\' => *text += r"\\",
        c => text.extend(c.escape_unicode()),
    }
}

fn push_json(text: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to a string does not fail.
        let _ = write!(text, "\\u{unit:04x}");
    }
}

/// Escapes the unprintable characters of a log field for a terminal. A backslash stays, since
/// `Debug` has escaped some of the values already.
pub(crate) fn printable_field(text: &str) -> Cow<'_, str> {
    escape(text, is_unprintable, push_escaped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn characters_that_control_forge_or_hide_are_escaped() {
        for (text, expected) in [
            ("plain, Größe, 日本語, 🦀, \u{e9}", "plain, Größe, 日本語, 🦀, \u{e9}"),
            ("x\u{1b}]0;pwned\u{7}\r\nok", r"x\u{1b}]0;pwned\u{7}\r\nok"),
            ("\0\t\u{7f}\u{85}\u{9b}31m", r"\u{0}\t\u{7f}\u{85}\u{9b}31m"),
            ("a\u{2028}b\u{2029}c", r"a\u{2028}b\u{2029}c"),
            ("\u{202a}\u{202e}\u{2066}\u{2069}", r"\u{202a}\u{202e}\u{2066}\u{2069}"),
            ("\u{200b}\u{200d}\u{200e}\u{200f}\u{61c}", r"\u{200b}\u{200d}\u{200e}\u{200f}\u{61c}"),
            ("\u{feff}\u{ad}\u{2060}\u{e0041}", r"\u{feff}\u{ad}\u{2060}\u{e0041}"),
            (r"\n is no line break", r"\\n is no line break"),
        ] {
            assert_eq!(printable(text), expected);
        }
        assert!(matches!(printable("nothing to do"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn an_escaped_text_is_printable_and_unambiguous(
            one in "[a\\\\\u{0}-\u{2f}\u{7f}-\u{a0}\u{2000}-\u{2070}nu{}]{0,8}",
            other in "[a\\\\\u{0}-\u{2f}\u{7f}-\u{a0}\u{2000}-\u{2070}nu{}]{0,8}",
        ) {
            prop_assert!(!printable(&one).chars().any(is_unprintable));
            prop_assert_eq!(one == other, printable(&one) == printable(&other));
        }

        #[test]
        fn json_stays_the_same_json(text in any::<String>(), key in "\\PC*\u{9b}\u{202e}\u{e0041}") {
            let value = serde_json::json!({ key: [text] });
            let pretty = format!("{value:#}");
            let safe = printable_json(&pretty);
            prop_assert!(!safe.chars().any(|c| c != '\n' && is_unprintable(c)));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        }
    }
}
