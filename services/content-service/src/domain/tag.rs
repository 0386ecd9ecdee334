//! Tags: words that items have in common.

use std::collections::HashSet;

use models::{bounded::at_most, schema::text};
use mongo_kit::lenient::FieldReader;
use mongodb::bson::Bson;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::openapi::schema::ArrayBuilder;

/// The field with the tags of an item.
pub(crate) const TAGS: &str = "tags";

models::text! {
    /// A word or two that items have in common.
    pub(crate) Tag = line, 50, "Rust"
}

/// The tags of an item in a request, each once: at most [`ItemTags::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct ItemTags(Vec<Tag>);

/// The pattern of a tag: a line without a comma.
const PATTERN: &str = concat!(
    r"^[^,\u0000-\u001F\u007F-\u009F]*[^,\s\u0000-\u001F\u007F-\u009F]",
    r"[^,\u0000-\u001F\u007F-\u009F]*$"
);

models::schema!(ItemTags, {
    let tag = text(PATTERN, Tag::MAX_LENGTH).min_length(Some(1)).examples(["Rust"]);
    ArrayBuilder::new().items(tag).max_items(Some(ItemTags::MAX))
});

/// A rule of tags that a request breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum InvalidTags {
    #[error("must have at most {} tags", ItemTags::MAX)]
    TooMany,
    #[error("must not contain commas: existing sites separate tags with them; send an array")]
    Comma,
}

impl ItemTags {
    /// The most that an item has: enough for any list of words below an article.
    const MAX: usize = 20;
}

impl<'de> Deserialize<'de> for ItemTags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut tags: Vec<Tag> = at_most(deserializer, Self::MAX, InvalidTags::TooMany)?;
        if tags.iter().any(|tag| tag.as_str().contains(',')) {
            return Err(D::Error::custom(InvalidTags::Comma));
        }
        let mut keys = HashSet::new();
        tags.retain(|tag| keys.insert(key(tag.as_str())));
        Ok(Self(tags))
    }
}

impl From<ItemTags> for Bson {
    fn from(tags: ItemTags) -> Self {
        tags.0.iter().map(Tag::as_str).collect()
    }
}

/// Returns the form in which tags are compared: capital letters and white space around them do not
/// matter.
pub(crate) fn key(tag: &str) -> String {
    tag.trim().to_lowercase()
}

/// Reads the tags of a document, each once: a list, or texts that are separated by commas.
pub(crate) fn read(reader: &mut FieldReader<'_>) -> Vec<String> {
    let texts = reader.texts(TAGS);
    let mut keys = HashSet::new();
    let tags = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
    let tags = tags.filter(|tag| !tag.is_empty() && keys.insert(key(tag)));
    tags.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::rawdoc;
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_of_a_request_are_trimmed_and_each_is_there_once() {
        let tags = ItemTags::deserialize(json!([" Rust ", "rust", "Öl", "öl", "Web"])).unwrap();
        assert_eq!(serde_json::to_value(&tags).unwrap(), json!(["Rust", "Öl", "Web"]));
        assert_eq!(ItemTags::deserialize(json!([])).unwrap(), ItemTags::default());
    }

    #[test]
    fn tags_have_limits() {
        let refused =
            |tags: serde_json::Value| ItemTags::deserialize(tags).unwrap_err().to_string();
        assert!(refused(json!(vec!["x"; 21])).contains("at most 20"));
        assert!(refused(json!(["x".repeat(51)])).contains("at most 50"));
        assert!(refused(json!(["a,b"])).contains("commas"));
        assert!(refused(json!([" "])).contains("blank"));
        for wrong in [json!("a"), json!([1]), json!([null]), json!({ "$in": [] })] {
            assert!(ItemTags::deserialize(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tags_of_existing_sites_are_read_in_every_shape() {
        for (document, expected) in [
            (rawdoc! { "tags": ["a", "A", " b "] }, vec!["a", "b"]),
            (rawdoc! { "tags": "a, b,,A" }, vec!["a", "b"]),
            (rawdoc! { "tags": "[\"a\", \"b\"]" }, vec!["a", "b"]),
            (rawdoc! { "tags": ["a, b", 7, true] }, vec!["a", "b", "7", "true"]),
            (rawdoc! { "tags": 2024 }, vec!["2024"]),
            (rawdoc! { "tags": { "a": 1 } }, vec![]),
            (rawdoc! { "tags": null }, vec![]),
            (rawdoc! {}, vec![]),
        ] {
            assert_eq!(read(&mut FieldReader::new(&document)), expected, "{document:?}");
        }
    }
}
