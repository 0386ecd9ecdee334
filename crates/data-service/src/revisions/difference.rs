//! The difference of two states of an item, for people.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};
use utoipa::ToSchema;

/// The longest time for the differences of all texts of an item. After that, the rest of a text is one
/// removed and one added part. A text of 500,000 characters with some changes takes a tenth of it.
const MAX_TIME: Duration = Duration::from_millis(300);

/// The largest size of the two values of a field that are shown, in bytes: twice the longest text of a new
/// item (500,000 characters) in most languages.
const MAX_SHOWN_BYTES: usize = 2 * 1024 * 1024;

/// A member that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// The name of the member.
    pub field: String,
    /// The earlier value.
    #[schema(value_type = Option<Value>)]
    pub before: Value,
    /// The later value.
    #[schema(value_type = Option<Value>)]
    pub after: Value,
    /// The parts of a text, in order; null if one of the values is no text. The texts of the equal and
    /// removed parts together are the earlier value, those of the equal and added ones the later one.
    #[schema(required = true)]
    pub parts: Option<Vec<TextPart>>,
    /// `true` if the values are too large to be shown here. They are null then.
    pub is_omitted: bool,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TextPart {
    /// The texts that have the part.
    #[serde(rename = "type")]
    pub kind: PartKind,
    /// The part.
    pub text: String,
}

/// The texts that have a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// Both have it.
    Equal,
    /// Only the earlier one has it.
    Removed,
    /// Only the later one has it.
    Added,
}

/// Returns the members that differ in two states of an item, except those with these names.
pub fn differences(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    ignored: &[&str],
) -> Vec<FieldChange> {
    let deadline = Instant::now() + MAX_TIME;
    let only_later = after.keys().filter(|name| !before.contains_key(*name));
    let names = before.keys().chain(only_later).filter(|name| !ignored.contains(&name.as_str()));
    let value = |members: &Map<String, Value>, name| members.get(name).cloned().unwrap_or_default();
    let values = names.map(|name| (name, value(before, name), value(after, name)));
    let differing = values.filter(|(_, before, after)| before != after);
    differing.map(|(name, before, after)| change(name, before, after, deadline)).collect()
}

fn change(field: &str, before: Value, after: Value, deadline: Instant) -> FieldChange {
    let field = field.to_owned();
    if size(&before) + size(&after) > MAX_SHOWN_BYTES {
        let (before, after) = (Value::Null, Value::Null);
        return FieldChange { field, before, after, parts: None, is_omitted: true };
    }
    let parts = match (&before, &after) {
        (Value::String(before), Value::String(after)) => Some(parts(before, after, deadline)),
        _ => None,
    };
    FieldChange { field, before, after, parts, is_omitted: false }
}

/// Returns about the size of a value.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(members) => members.iter().map(|(name, one)| name.len() + size(one)).sum(),
        _ => 0,
    }
}

fn parts(before: &str, after: &str, deadline: Instant) -> Vec<TextPart> {
    let (old, new) = (tokens(before), tokens(after));
    let mut parts = Vec::<TextPart>::new();
    let mut add = |kind, tokens: &[&str]| {
        if tokens.is_empty() {
            return;
        }
        match parts.last_mut() {
            Some(last) if last.kind == kind => last.text.extend(tokens.iter().copied()),
            _ => parts.push(TextPart { kind, text: tokens.concat() }),
        }
    };
    for operation in capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline)) {
        if let DiffOp::Equal { old_index, len, .. } = operation {
            add(PartKind::Equal, &old[old_index..old_index + len]);
        } else {
            add(PartKind::Removed, &old[operation.old_range()]);
            add(PartKind::Added, &new[operation.new_range()]);
        }
    }
    parts
}

/// Splits a text into tags of HTML, runs of white space, words, and other characters.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end_of = |is_part: fn(char) -> bool| rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let length = match first {
            '<' => tag_length(rest).unwrap_or(1),
            _ if first.is_whitespace() => end_of(char::is_whitespace),
            _ if first.is_alphanumeric() => end_of(char::is_alphanumeric),
            _ => first.len_utf8(),
        };
        let (token, others) = rest.split_at(length);
        tokens.push(token);
        rest = others;
    }
    tokens
}

/// Returns the length of the tag at the beginning of a text, if there is one.
fn tag_length(text: &str) -> Option<usize> {
    let name = text[1..].chars().next()?;
    if !name.is_ascii_alphabetic() && !['/', '!'].contains(&name) {
        return None;
    }
    let end = 1 + text[1..].find(['<', '>'])?;
    (text.as_bytes()[end] == b'>').then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn between(before: &str, after: &str) -> Vec<(PartKind, String)> {
        let deadline = Instant::now() + Duration::from_secs(60);
        parts(before, after, deadline).into_iter().map(|part| (part.kind, part.text)).collect()
    }

    #[test]
    fn words_and_tags_are_compared_as_wholes() {
        let before = "<p class=\"a\">The tide, 3 < 4, rises.</p>";
        let after = "<p class=\"b\">The tide, 3 < 4, falls.</p>";
        let expected = [
            (PartKind::Removed, "<p class=\"a\">"),
            (PartKind::Added, "<p class=\"b\">"),
            (PartKind::Equal, "The tide, 3 < 4, "),
            (PartKind::Removed, "rises"),
            (PartKind::Added, "falls"),
            (PartKind::Equal, ".</p>"),
        ];
        assert_eq!(between(before, after), expected.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn members_that_differ_are_listed_with_their_values() {
        let before = json!({ "id": "1", "title": "A", "tags": ["x"], "slug": null, "same": 1 });
        let after =
            json!({ "id": "2", "title": "B", "tags": [], "slug": "b", "same": 1, "new": true });
        let [before, after] = [before, after].map(|one| one.as_object().unwrap().clone());
        let changes = differences(&before, &after, &["id"]);
        let names: Vec<_> = changes.iter().map(|change| change.field.as_str()).collect();
        assert_eq!(names, ["title", "tags", "slug", "new"]);
        let of = |name: &str| changes.iter().find(|change| change.field == name).unwrap();
        assert_eq!((&of("tags").before, &of("tags").after), (&json!(["x"]), &json!([])));
        assert_eq!((&of("slug").before, &of("slug").parts), (&Value::Null, &None));
        assert_eq!(of("title").parts.as_ref().map(Vec::len), Some(2));
        assert_eq!((&of("new").before, &of("new").after), (&Value::Null, &json!(true)));
    }

    #[test]
    fn values_that_are_too_large_are_named_alone() {
        let [before, after] = ["a", "b"].map(|letter| {
            let text = letter.repeat(MAX_SHOWN_BYTES / 2 + 1);
            json!({ "content": text }).as_object().unwrap().clone()
        });
        let changes = differences(&before, &after, &[]);
        assert_eq!((changes.len(), changes[0].is_omitted), (1, true));
        assert_eq!((&changes[0].before, &changes[0].parts), (&Value::Null, &None));
    }

    /// The worst texts for the comparison have nothing in common but single characters.
    #[test]
    fn the_time_of_a_comparison_is_bounded_whatever_the_texts_are() {
        let text = |factor: u64| -> String {
            (0..300_000_u64)
                .map(|n| char::from(b"!#$%&*+-.:"[(n * n * factor % 10) as usize]))
                .collect()
        };
        let (before, after) = (text(3), text(7));
        let began = Instant::now();
        let all = parts(&before, &after, began + Duration::from_millis(100));
        // The limit is far above what the test allows on a busy machine; without a deadline it takes minutes.
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        let earlier: String = all
            .iter()
            .filter(|one| one.kind != PartKind::Added)
            .map(|one| one.text.as_str())
            .collect();
        assert_eq!(earlier, before);
    }

    proptest! {
        #[test]
        fn the_parts_are_those_of_both_texts(before in "[a-c <>/pé\n]{0,40}", after in "[a-c <>/pé\n]{0,40}") {
            let parts = between(&before, &after);
            let without = |kind| -> String {
                parts.iter().filter(|part| part.0 != kind).map(|part| part.1.as_str()).collect()
            };
            prop_assert_eq!(without(PartKind::Added), before);
            prop_assert_eq!(without(PartKind::Removed), after);
        }
    }
}
