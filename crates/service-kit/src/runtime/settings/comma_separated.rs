//! Settings that are lists of texts.

use serde::{Deserialize, Deserializer};

/// A list of texts: an array in a file, separated by commas in an environment variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommaSeparated(pub Vec<String>);

impl<'de> Deserialize<'de> for CommaSeparated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shape {
            Text(String),
            List(Vec<String>),
        }
        let texts = match Shape::deserialize(deserializer)? {
            Shape::Text(text) => text.split(',').map(str::to_owned).collect(),
            Shape::List(list) => list,
        };
        let trimmed = texts.iter().map(|text| text.trim().to_owned());
        Ok(Self(trimmed.filter(|text| !text.is_empty()).collect()))
    }
}
