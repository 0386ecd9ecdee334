//! The table of the kinds of content.

use serde::{Deserialize, Serialize};
use utoipa::openapi::{ObjectBuilder, Type};

use crate::{DisplayType, schema::schema};

/// Declares the kinds of content, one row each: the word that sections and bodies use, the name of
/// the collection, the usual display of its sections, and a comment.
macro_rules! content_types {
    ($($name:ident = $word:literal, $collection:literal, $display:ident, $doc:literal;)+) => {
        /// The kind of content that a section holds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ContentType {
            $(
                #[doc = $doc]
                #[serde(rename = $word)]
                $name,
            )+
        }

        impl ContentType {
            /// All kinds, in the order of the table.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$name),+];

            /// Returns the word that stands for the kind in requests, answers and documents.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            /// Returns the name of the collection. The paths of the API begin with the same word.
            pub const fn collection(self) -> &'static str {
                match self {
                    $(Self::$name => $collection,)+
                }
            }

            /// Returns the kind whose collection has this name.
            pub fn of_collection(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|one| one.collection() == name)
            }

            /// Returns the display of a section of this kind that does not name one.
            pub const fn usual_display(self) -> DisplayType {
                match self {
                    $(Self::$name => DisplayType::$display,)+
                }
            }
        }
    };
}

// A new kind is one more row here and a file in `content-service` (`src/kinds.rs`).
content_types! {
    Story = "story", "stories", Feed, "Stories.";
    Project = "project", "projects", CardGrid, "Projects.";
    Page = "page", "pages", StaticPage, "Pages.";
}

schema!(
    ContentType,
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("The kind of content that a section holds."))
        .enum_values(Some(ContentType::ALL.map(ContentType::as_str)))
);

impl ContentType {
    /// Returns the first kind of the table that is usually displayed like that.
    pub fn usually_displayed_as(display: DisplayType) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.usual_display() == display)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_kind_is_written_as_its_word() {
        for kind in ContentType::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(serde_json::from_value::<ContentType>(kind.as_str().into()).unwrap(), kind);
        }
    }

    #[test]
    fn no_two_kinds_have_the_same_word_or_collection() {
        for name in [ContentType::as_str, ContentType::collection] {
            let names: HashSet<_> = ContentType::ALL.map(name).into_iter().collect();
            assert_eq!(names.len(), ContentType::ALL.len());
        }
    }
}
