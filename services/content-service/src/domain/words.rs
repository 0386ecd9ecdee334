//! The words of a text, as the search compares them.
//!
//! A word is a run of letters and digits, in lower case and without accents. Scripts that write without
//! spaces have no runs that are words: of those, each two neighbouring characters are a word, so that any
//! part of a text with at least two characters is found.

use std::ops::Range;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// The longest word, in characters: longer runs are not words of a language.
const MAX_WORD: usize = 64;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// The word as it is compared.
    pub(crate) text: String,
    /// Its place in the text, in bytes.
    pub(crate) place: Range<usize>,
}

/// The way in which a character takes part in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A part of a word between spaces.
    Spaced,
    /// A character of a script without spaces.
    Unspaced,
    /// None: it separates words.
    Separator,
}

/// Returns the words of a text, in their order.
pub(crate) fn words(text: &str) -> impl Iterator<Item = Word> {
    let mut rest = 0..text.len();
    let mut queue = Vec::new().into_iter();
    std::iter::from_fn(move || {
        loop {
            if let Some(word) = queue.next() {
                return Some(word);
            }
            if rest.is_empty() {
                return None;
            }
            let run = next_run(text, &mut rest);
            queue =
                run.map(|(class, run)| words_of(text, class, run)).unwrap_or_default().into_iter();
        }
    })
}

/// Takes the next characters of one class.
fn next_run(text: &str, rest: &mut Range<usize>) -> Option<(Class, Range<usize>)> {
    let start = rest.start;
    let mut characters = text[rest.clone()].char_indices();
    let first = characters.next().map_or(Class::Separator, |(_, character)| class(character));
    let end = characters.find(|(_, character)| {
        // Accents that are characters of their own belong to the letter before.
        class(*character) != first && !(first != Class::Separator && is_mark(*character))
    });
    rest.start = end.map_or(text.len(), |(end, _)| start + end);
    (first != Class::Separator).then_some((first, start..rest.start))
}

fn words_of(text: &str, class: Class, run: Range<usize>) -> Vec<Word> {
    if class == Class::Spaced {
        let folded = folded(&text[run.clone()]);
        let word = Word { text: folded, place: run };
        return if word.text.is_empty() { Vec::new() } else { vec![word] };
    }
    let mut starts: Vec<_> = text[run.clone()]
        .char_indices()
        .filter(|(_, character)| !is_mark(*character))
        .map(|(start, _)| run.start + start)
        .collect();
    starts.push(run.end);
    let of = |start: usize, end: usize| Word { text: folded(&text[start..end]), place: start..end };
    match starts.as_slice() {
        [start, end] => vec![of(*start, *end)],
        starts => starts.windows(3).map(|three| of(three[0], three[2])).collect(),
    }
}

fn class(character: char) -> Class {
    match character {
        // Thai and Lao, Myanmar, Khmer; Hiragana and Katakana; ideographs.
        '\u{e00}'..='\u{eff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{3041}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3ffff}'
            if character.is_alphanumeric() || is_mark(character) =>
        {
            Class::Unspaced
        }
        '々' | '〆' => Class::Unspaced,
        _ if character.is_alphanumeric() => Class::Spaced,
        _ => Class::Separator,
    }
}

/// Returns `true` for a character that belongs to the letter before it.
fn is_mark(character: char) -> bool {
    // The voiced marks of half-width Katakana are letters to Unicode.
    is_combining_mark(character) || matches!(character, '\u{ff9e}' | '\u{ff9f}')
}

/// Returns letters and digits as they are compared.
fn folded(text: &str) -> String {
    // The accents of Latin, Greek and Cyrillic; the marks of other scripts make other letters.
    let is_accent = |character: &char| ('\u{300}'..='\u{36f}').contains(character);
    let plain = text.nfkd().filter(|character| !is_accent(character)).nfc();
    let lower = plain.flat_map(char::to_lowercase);
    lower
        .filter(|character| character.is_alphanumeric() || is_mark(*character))
        .take(MAX_WORD)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<String> {
        words(text).map(|word| word.text).collect()
    }

    #[test]
    fn words_are_runs_of_letters_and_digits_without_case_and_accents() {
        for (text, expected) in [
            ("The Lamp, 2nd edition!", vec!["the", "lamp", "2nd", "edition"]),
            ("Crème brûlée", vec!["creme", "brulee"]),
            ("Cre\u{300}me", vec!["creme"]),
            ("ΆΓΙΟΣ ЁЛКА", vec!["αγιοσ", "елка"]),
            ("foo-bar_baz's", vec!["foo", "bar", "baz", "s"]),
            ("ﬁne Ⅷ ①", vec!["fine", "viii", "1"]),
            ("", vec![]),
            ("!? \u{300} 🗼", vec![]),
            ("$where -minus \"q\" .*", vec!["where", "minus", "q"]),
        ] {
            assert_eq!(texts(text), expected, "{text}");
        }
        assert_eq!(texts(&"x".repeat(100)), ["x".repeat(MAX_WORD)]);
    }

    #[test]
    fn scripts_without_spaces_have_a_word_for_each_two_characters() {
        assert_eq!(texts("灯台の光"), ["灯台", "台の", "の光"]);
        assert_eq!(texts("光"), ["光"]);
        assert_eq!(texts("Tokyo東京2024"), ["tokyo", "東京", "2024"]);
        assert_eq!(texts("ｶﾞｷﾞ"), texts("ガギ"));
        // The tone mark belongs to the letter before it.
        assert_eq!(texts("น้ำ").len(), 1);
        let whole = texts("ประภาคาร");
        assert!(texts("ภาคา").iter().all(|part| whole.contains(part)), "{whole:?}");
    }

    proptest! {
        #[test]
        fn places_are_in_order_and_words_have_no_character_with_a_meaning(text in any::<String>()) {
            let mut start = 0;
            for word in words(&text) {
                prop_assert!(word.place.start >= start && text.get(word.place.clone()).is_some());
                start = word.place.start;
                let is_plain = |c: char| c.is_alphanumeric() || is_mark(c);
                prop_assert!(word.text.chars().all(is_plain), "{}", word.text);
                // A word is found by itself.
                prop_assert!(!word.text.is_empty());
            }
        }
    }
}
