//! The orders of lists.

use serde::{Deserialize, Serialize};
use utoipa::openapi::{ObjectBuilder, Type};

use crate::schema::schema;

/// A field by which lists are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortField {
    /// The date of the creation.
    CreatedDate,
    /// The date that the author gave.
    Date,
    /// The date of the last change.
    UpdatedDate,
    /// The title.
    Title,
}

/// Declares the orders, one row each: the word in requests and documents, the field, and `true` if the
/// highest value comes first.
macro_rules! sorts {
    ($($name:ident = $word:literal, $field:ident, $is_descending:literal;)+) => {
        /// The order of a list: a field, with `-` before it if the highest value comes first (the
        /// notation of JSON:API).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Sort {
            $(
                #[doc = concat!("`", $word, "`.")]
                #[serde(rename = $word)]
                $name,
            )+
        }

        impl Sort {
            /// All orders.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$name),+];

            /// Returns the word that stands for the order in requests, answers and documents.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            /// Returns the field.
            pub const fn field(self) -> SortField {
                match self {
                    $(Self::$name => SortField::$field,)+
                }
            }

            /// Returns `true` if the highest value comes first.
            pub const fn is_descending(self) -> bool {
                match self {
                    $(Self::$name => $is_descending,)+
                }
            }
        }
    };
}

sorts! {
    NewestCreated = "-createdDate", CreatedDate, true;
    OldestCreated = "createdDate", CreatedDate, false;
    LatestDate = "-date", Date, true;
    EarliestDate = "date", Date, false;
    NewestUpdated = "-updatedDate", UpdatedDate, true;
    OldestUpdated = "updatedDate", UpdatedDate, false;
    LastTitle = "-title", Title, true;
    FirstTitle = "title", Title, false;
}

schema!(
    Sort,
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(
            "The order of a list: a field, with `-` before it if the highest value comes first."
        ))
        .enum_values(Some(Sort::ALL.map(Sort::as_str)))
);

impl SortField {
    /// All fields.
    pub const ALL: [Self; 4] = [Self::CreatedDate, Self::Date, Self::UpdatedDate, Self::Title];

    /// Returns the name of the field in documents and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreatedDate => "createdDate",
            Self::Date => "date",
            Self::UpdatedDate => "updatedDate",
            Self::Title => "title",
        }
    }
}

impl Default for Sort {
    /// Returns the order of blogs: the newest item first.
    fn default() -> Self {
        Self::NewestCreated
    }
}

impl std::str::FromStr for Sort {
    type Err = UnknownSort;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|sort| sort.as_str() == text).ok_or(UnknownSort)
    }
}

/// A word that stands for no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {}", Sort::ALL.map(|sort| format!("`{}`", sort.as_str())).join(", "))]
pub struct UnknownSort;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_written_as_its_field_with_a_sign() {
        for sort in Sort::ALL {
            let sign = if sort.is_descending() { "-" } else { "" };
            assert_eq!(sort.as_str(), format!("{sign}{}", sort.field().as_str()));
            assert_eq!(serde_json::to_value(sort).unwrap(), sort.as_str());
            assert_eq!(sort.as_str().parse(), Ok(sort));
        }
        assert_eq!(Sort::ALL.len(), 2 * SortField::ALL.len());
    }

    #[test]
    fn an_unknown_order_names_all_there_are() {
        let message = serde_json::from_value::<Sort>("name".into()).unwrap_err().to_string();
        let parsed = "name".parse::<Sort>().unwrap_err().to_string();
        for sort in Sort::ALL {
            for message in [&message, &parsed] {
                assert!(message.contains(&format!("`{}`", sort.as_str())), "{message}");
            }
        }
    }
}
