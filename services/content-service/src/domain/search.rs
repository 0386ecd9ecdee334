//! Excerpts of texts that have the words of a query.

use std::{collections::HashSet, ops::Range};

use serde::Serialize;
use utoipa::ToSchema;

use super::words::{Word, words};

/// The longest excerpt, in characters.
const MAX_EXCERPT: usize = 200;

/// The most characters before the first word that was found.
const BEFORE: usize = 60;

/// A part of an excerpt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ExcerptPart {
    /// The text, without markup. All parts together are the excerpt.
    pub(crate) text: String,
    /// `true` if the text is a word of the query.
    pub(crate) is_match: bool,
}

/// An excerpt of a text.
pub(crate) type Excerpt = Vec<ExcerptPart>;

/// Returns the excerpt of the text of an item with the words of a query, or `None` if title and text do
/// not have all of them. If the text has none of them, it is the beginning of the text.
pub(crate) fn excerpt(title: &str, text: &str, query: &[String]) -> Option<Excerpt> {
    let mut missing: HashSet<&str> = query.iter().map(String::as_str).collect();
    for word in words(title) {
        missing.remove(word.text.as_str());
    }
    let mut places: Vec<Range<usize>> = Vec::new();
    for Word { text, place } in words(text) {
        if query.contains(&text) {
            missing.remove(text.as_str());
            match places.last_mut() {
                // Two neighbouring characters overlap with the next two.
                Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
                _ => places.push(place),
            }
        }
    }
    missing.is_empty().then(|| parts(text, &places))
}

/// Returns the part of the text around the first of some places, with these places marked.
fn parts(text: &str, places: &[Range<usize>]) -> Excerpt {
    let first = places.first().map_or(0, |place| place.start);
    let start = beginning(text, first);
    let end =
        text[start..].char_indices().nth(MAX_EXCERPT).map_or(text.len(), |(end, _)| start + end);
    let mut parts = Vec::new();
    let mut add = |text: &str, is_match| {
        if !text.is_empty() {
            parts.push(ExcerptPart { text: text.to_owned(), is_match });
        }
    };
    if start > 0 {
        add("…", false);
    }
    let mut at = start;
    for place in places.iter().filter(|place| place.start < end) {
        add(&text[at..place.start], false);
        at = place.end.min(end);
        add(&text[place.start..at], true);
    }
    add(&text[at..end], false);
    if end < text.len() {
        add("…", false);
    }
    parts
}

/// Returns the place at which an excerpt begins: at a word, some characters before a place.
fn beginning(text: &str, place: usize) -> usize {
    let before = text[..place].char_indices().rev().take(BEFORE);
    let Some((start, _)) = before.last().filter(|(start, _)| *start > 0) else { return 0 };
    // After the first white space, if there is one.
    text[start..place].find(' ').map_or(start, |space| start + space + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(title: &str, text: &str, query: &[&str]) -> Option<String> {
        let query: Vec<_> = query.iter().map(|word| (*word).to_owned()).collect();
        let parts = excerpt(title, text, &query)?;
        let part = |part: &ExcerptPart| match part.is_match {
            true => format!("[{}]", part.text),
            false => part.text.clone(),
        };
        Some(parts.iter().map(part).collect())
    }

    #[test]
    fn the_words_of_the_query_are_marked() {
        let text = "The lamp, Lâmp & LAMPS: a lamp.";
        let expected = "The [lamp], [Lâmp] & LAMPS: a [lamp].";
        assert_eq!(shown("", text, &["lamp"]).as_deref(), Some(expected));
        assert_eq!(shown("Title", text, &["lamp", "title"]).as_deref(), Some(expected));
        assert_eq!(shown("Title", text, &["title"]).as_deref(), Some(text));
        assert_eq!(shown("Title", text, &["lamp", "other"]), None);
        assert_eq!(
            shown("灯台", "大きな灯台の光", &["灯台", "台の"]).as_deref(),
            Some("大きな[灯台の]光")
        );
        assert_eq!(shown("x", "", &["x"]).as_deref(), Some(""));
    }

    #[test]
    fn a_long_text_is_shortened_to_its_first_match() {
        let text = format!("{}here {}", "before ".repeat(50), "after ".repeat(100));
        let found = shown("", &text, &["here"]).unwrap();
        assert!(found.starts_with("…before "), "{found}");
        assert!(found.contains(" [here] after") && found.ends_with('…'), "{found}");
        assert!(found.chars().count() <= MAX_EXCERPT + 4, "{found}");
    }

    proptest! {
        #[test]
        fn an_excerpt_is_a_part_of_the_text(text in "[a-c é灯台の\u{300} .]{0,300}", word in "[a-c]") {
            let Some(parts) = excerpt("", &text, std::slice::from_ref(&word)) else { return Ok(()) };
            prop_assert!(parts.iter().any(|part| part.is_match));
            let whole: String = parts.iter().map(|part| part.text.as_str()).collect();
            prop_assert!(text.contains(whole.trim_matches('…')), "{whole}");
        }
    }
}
