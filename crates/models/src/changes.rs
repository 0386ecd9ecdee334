//! The changes that a service reports to those that keep its answers.
//!
//! A service numbers the states of its database with [`Revision`]s and names the parts of its content
//! with keys. It sends its changes as a stream of [`FeedMessage`]s; whoever has kept an answer knows
//! from its keys and its revision whether it still holds.

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};

/// A state of the database of a service: the logical time of its last change ("cluster time" of
/// MongoDB). It grows with each change, and all replicas of a service mean the same state by it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Revision(u64);

impl Revision {
    /// The state before any other.
    pub const ZERO: Self = Self(0);

    /// Returns the revision with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Returns the first revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for Revision {
    type Error = ParseIntError;

    fn try_from(text: String) -> Result<Self, ParseIntError> {
        text.parse()
    }
}

// A text, because numbers of JSON are exact to 2^53 only in many programs.
impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.to_string()
    }
}

/// The key of everything that depends on sections or redirects, and its family: a site has few sections,
/// and each of its pages shows them.
pub const SECTIONS_KEY: &str = "sections";

/// Returns the family of a key: its first segment. The key of a whole family changes all of its keys.
pub fn key_family(key: &str) -> &str {
    key.split_once('/').map_or(key, |(family, _)| family)
}

/// A message of a change feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FeedMessage {
    /// The first message of a connection. Changes before the revision are not sent.
    Hello {
        /// The name of the service.
        service: String,
        /// The families of the keys that this feed reports.
        families: Vec<String>,
        /// The state at which the feed begins.
        revision: Revision,
    },
    /// A change of the database, made by anyone.
    Changed {
        /// The state after the change. Several messages may have the same.
        revision: Revision,
        /// The keys of all answers that may be different now.
        keys: Vec<String>,
    },
    /// Everything of some families may be different, since changes were too many or were missed.
    Reset {
        /// The state from which on changes are sent again.
        revision: Revision,
        /// The families.
        families: Vec<String>,
    },
    /// From now on no changes of some families are sent, until [`Self::Reset`] names them.
    Suspended {
        /// The families.
        families: Vec<String>,
    },
    /// Sent at short intervals: all changes up to a state have been sent.
    Watermark {
        /// The state.
        revision: Revision,
        /// The time since the database confirmed it, in milliseconds.
        age_ms: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_are_written() {
        let families = vec!["stories".to_owned()];
        let revision = Revision::new(u64::MAX);
        let keys = vec!["stories/1".to_owned()];
        for message in [
            FeedMessage::Hello {
                service: "content".to_owned(),
                families: families.clone(),
                revision,
            },
            FeedMessage::Changed { revision, keys },
            FeedMessage::Reset { revision, families: families.clone() },
            FeedMessage::Suspended { families },
            FeedMessage::Watermark { revision, age_ms: 3 },
        ] {
            let text = serde_json::to_string(&message).unwrap();
            assert_eq!(serde_json::from_str::<FeedMessage>(&text).unwrap(), message);
        }
        let text = r#"{"type":"watermark","revision":"7","age_ms":0,"added_later":true}"#;
        let expected = FeedMessage::Watermark { revision: Revision::new(7), age_ms: 0 };
        assert_eq!(serde_json::from_str::<FeedMessage>(text).unwrap(), expected);
        for wrong in ["-1", "18446744073709551616", "", "1.5"] {
            let text = format!(r#"{{"type":"watermark","revision":"{wrong}","age_ms":0}}"#);
            assert!(serde_json::from_str::<FeedMessage>(&text).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_belongs_to_the_family_of_its_first_segment() {
        assert_eq!(["stories", "stories/1", "stories/slug/a"].map(key_family), ["stories"; 3]);
    }
}
