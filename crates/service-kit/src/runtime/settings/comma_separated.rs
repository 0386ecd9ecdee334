//! Settings that are lists of texts.

use serde::{Deserialize, Deserializer};

/// A list of texts: an array in a file, separated by commas in an environment variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommaSeparated(pub Vec<String>);

impl From<&str> for CommaSeparated {
    fn from(text: &str) -> Self {
        text.split(',').map(str::to_owned).collect()
    }
}

impl FromIterator<String> for CommaSeparated {
    fn from_iter<I: IntoIterator<Item = String>>(texts: I) -> Self {
        let trimmed = texts.into_iter().map(|text| text.trim().to_owned());
        Self(trimmed.filter(|text| !text.is_empty()).collect())
    }
}

impl<'de> Deserialize<'de> for CommaSeparated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shape {
            Text(String),
            List(Vec<String>),
        }
        Ok(match Shape::deserialize(deserializer)? {
            Shape::Text(text) => text.as_str().into(),
            Shape::List(list) => list.into_iter().collect(),
        })
    }
}
