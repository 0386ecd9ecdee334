//! The types of sections.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use utoipa::openapi::{ObjectBuilder, Type};

use crate::{ContentType, DisplayType, schema::schema};

/// The type of a section: the kind of the content that it holds, or a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SectionType {
    /// The section holds content of a kind, and has a path.
    Content(ContentType),
    /// An entry of the navigation that leads to an address or to another section. It holds no content and
    /// has no path of its own.
    Link,
}

/// A word that names no type of sections.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {}", SectionType::words().join(", "))]
pub struct InvalidSectionType;

impl SectionType {
    const LINK: &'static str = "link";

    /// Returns the word that stands for the type in requests, answers and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Content(content_type) => content_type.as_str(),
            Self::Link => Self::LINK,
        }
    }

    /// Returns the kind of the content, or `None` for a link.
    pub const fn content(self) -> Option<ContentType> {
        match self {
            Self::Content(content_type) => Some(content_type),
            Self::Link => None,
        }
    }

    /// Returns the display of a section of this type that does not name one. For a link it means nothing.
    pub const fn usual_display(self) -> DisplayType {
        match self {
            Self::Content(content_type) => content_type.usual_display(),
            Self::Link => DisplayType::Feed,
        }
    }

    fn words() -> Vec<&'static str> {
        ContentType::ALL.into_iter().map(ContentType::as_str).chain([Self::LINK]).collect()
    }
}

impl From<ContentType> for SectionType {
    fn from(content_type: ContentType) -> Self {
        Self::Content(content_type)
    }
}

impl PartialEq<ContentType> for SectionType {
    fn eq(&self, other: &ContentType) -> bool {
        self.content() == Some(*other)
    }
}

impl std::str::FromStr for SectionType {
    type Err = InvalidSectionType;

    fn from_str(word: &str) -> Result<Self, InvalidSectionType> {
        if word == Self::LINK {
            return Ok(Self::Link);
        }
        let content = ContentType::ALL.into_iter().find(|kind| kind.as_str() == word);
        content.map(Self::Content).ok_or(InvalidSectionType)
    }
}

impl Serialize for SectionType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SectionType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

schema!(
    SectionType,
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("The kind of the content that a section holds, or `link`."))
        .enum_values(Some(SectionType::words()))
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_written_as_its_word() {
        for kind in ContentType::ALL {
            assert_eq!(serde_json::to_value(SectionType::from(kind)).unwrap(), kind.as_str());
            assert_eq!(kind.as_str().parse(), Ok(SectionType::from(kind)));
            assert!(SectionType::from(kind) == kind && SectionType::Link != kind);
        }
        assert_eq!(serde_json::from_str::<SectionType>("\"link\"").unwrap(), SectionType::Link);
        let error = serde_json::from_str::<SectionType>("\"Link\"").unwrap_err().to_string();
        assert_eq!(error, "must be one of story, project, page, link");
    }
}
