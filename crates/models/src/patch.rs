//! The change of a field that a request makes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The change of a field that can be null. A field that cannot be null is an `Option` that is read with
/// [`not_null`].
///
/// A field of this type needs `#[serde(default)]`, so that a missing member is [`Patch::Absent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// The field stays as it is.
    #[default]
    Absent,
    /// The field becomes null.
    Null,
    /// The field gets this value.
    Value(T),
}

impl<T> Patch<T> {
    /// Returns `true` if the field stays as it is.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Returns the new value, or `None` if the field stays as it is. The inner `None` stands for null.
    pub fn into_option(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }

    /// Returns the value of the field in a new document.
    pub fn value(self) -> Option<T> {
        self.into_option().flatten()
    }

    /// Applies a function to the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Absent => Patch::Absent,
            Self::Null => Patch::Null,
            Self::Value(value) => Patch::Value(change(value)),
        }
    }

    /// Borrows the value.
    pub const fn as_ref(&self) -> Patch<&T> {
        match self {
            Self::Absent => Patch::Absent,
            Self::Null => Patch::Null,
            Self::Value(value) => Patch::Value(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    /// [`Patch::Absent`] has to be skipped with `skip_serializing_if = "Patch::is_absent"`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent | Self::Null => serializer.serialize_none(),
            Self::Value(value) => serializer.serialize_some(value),
        }
    }
}

/// Reads a field that can be absent and cannot be null. It is for `deserialize_with`, together with
/// `default`.
pub fn not_null<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Body {
        #[serde(default, skip_serializing_if = "Patch::is_absent")]
        nullable: Patch<i32>,
        #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
        plain: Option<i32>,
    }

    #[test]
    fn absent_null_and_value_are_three_things() {
        for (text, nullable) in [
            ("{}", Patch::Absent),
            (r#"{"nullable":null}"#, Patch::Null),
            (r#"{"nullable":1}"#, Patch::Value(1)),
        ] {
            let body: Body = serde_json::from_str(text).unwrap();
            assert_eq!(body, Body { nullable, plain: None });
            assert_eq!(serde_json::to_string(&body).unwrap(), text);
        }
    }

    #[test]
    fn null_is_no_value_for_a_field_that_needs_one() {
        assert!(serde_json::from_str::<Body>(r#"{"plain":null}"#).is_err());
        assert_eq!(serde_json::from_str::<Body>(r#"{"plain":1}"#).unwrap().plain, Some(1));
    }
}
