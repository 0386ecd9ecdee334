//! The changes that the public may know of.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use utoipa::{
    ToSchema,
    openapi::{ObjectBuilder, Type},
};

use crate::{ContentType, schema::schema};

/// A change of what the public sees: sections, content of any kind, and redirects. Drafts and everything that
/// happens to them appear in none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublicChange {
    /// The kind of what has changed, or null if anything may have changed.
    #[schema(required = true)]
    pub kind: Option<PublicKind>,
    /// The change.
    pub event: PublicEvent,
    /// The id, or null if several may have changed: all of the kind, or those of the section that
    /// `section_id` names.
    #[schema(required = true)]
    pub id: Option<String>,
    /// The id of the section that the item belongs to, now or before it was removed. For a section, the
    /// one above it.
    #[schema(required = true)]
    pub section_id: Option<String>,
    /// The slug now; for a page its type. Null if it was removed.
    #[schema(required = true)]
    pub slug: Option<String>,
    /// The path on the site now. Null if it was removed or has none.
    #[schema(required = true)]
    pub path: Option<String>,
    /// The section before the change, if it was another one.
    #[schema(required = true)]
    pub previous_section_id: Option<String>,
    /// The slug before the change, if it was another one or the item was removed.
    #[schema(required = true)]
    pub previous_slug: Option<String>,
    /// The path before the change, if it was another one or the item was removed.
    #[schema(required = true)]
    pub previous_path: Option<String>,
    /// The position after which the later changes follow.
    pub cursor: String,
    /// The time of the change, by the clock of the database.
    #[serde(serialize_with = "date")]
    pub time: DateTime<Utc>,
}

fn date<S: Serializer>(date: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&date.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// The way in which something has changed for the public.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PublicEvent {
    /// It is new.
    Created,
    /// A part of it has changed.
    Updated,
    /// It existed, and the public did not see it before.
    Published,
    /// The public does not see it any more.
    Unpublished,
    /// It was deleted.
    Deleted,
    /// It was deleted before.
    Restored,
    /// It has another path, or belongs to another section.
    Moved,
    /// Any number of them may have changed in any way.
    Changed,
}

impl PublicEvent {
    /// All events.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Updated,
        Self::Published,
        Self::Unpublished,
        Self::Deleted,
        Self::Restored,
        Self::Moved,
        Self::Changed,
    ];

    /// Returns the word that stands for the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Published => "published",
            Self::Unpublished => "unpublished",
            Self::Deleted => "deleted",
            Self::Restored => "restored",
            Self::Moved => "moved",
            Self::Changed => "changed",
        }
    }
}

/// The kind of something that the public sees, named like its path in the API: `sections`, `redirects`, or
/// the kind of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PublicKind(&'static str);

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {}", PublicKind::all().map(PublicKind::as_str).collect::<Vec<_>>().join(", "))]
pub struct InvalidPublicKind;

impl PublicKind {
    /// Sections.
    pub const SECTIONS: Self = Self("sections");

    /// Redirects.
    pub const REDIRECTS: Self = Self("redirects");

    /// Returns the kind of content of a type.
    pub const fn of(content_type: ContentType) -> Self {
        Self(content_type.collection())
    }

    /// Returns all kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        let content = ContentType::ALL.map(Self::of);
        [Self::SECTIONS].into_iter().chain(content).chain([Self::REDIRECTS])
    }

    /// Returns the word that stands for the kind.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl std::str::FromStr for PublicKind {
    type Err = InvalidPublicKind;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKind> {
        Self::all().find(|kind| kind.0 == text).ok_or(InvalidPublicKind)
    }
}

// Not derived, since the text would have to live as long as the program.
impl<'de> Deserialize<'de> for PublicKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(Error::custom)
    }
}

schema!(
    PublicKind,
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("The kind of something that the public sees."))
        .enum_values(Some(PublicKind::all().map(PublicKind::as_str)))
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_json() {
        for event in PublicEvent::ALL {
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        }
        for kind in PublicKind::all() {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let error = "users".parse::<PublicKind>().unwrap_err().to_string();
        assert_eq!(error, "must be one of sections, stories, projects, pages, redirects");
    }
}
