//! A place in the changes.

use std::{fmt, str::FromStr};

use models::changes::Revision;
use serde::{Deserialize, Serialize};

/// A place in the changes: the states of both databases up to which all changes are known. As a text it is
/// the cursor of clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The state of the database of this service.
    pub(crate) content: Revision,
    /// The state of the database of sections-service.
    pub(crate) sections: Revision,
}

impl Position {
    /// Returns `true` if a change that was complete at `other` is not known at this place.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        self.content < other.content || self.sections < other.sections
    }

    /// Returns `true` if this place is later by more than a replica can be behind, as after the database
    /// was set back.
    pub(crate) fn is_beyond(&self, other: &Self, lag: u64) -> bool {
        // The state of a database that is not known yet is zero.
        let is_beyond = |one: Revision, other: Revision| {
            other != Revision::ZERO && one.number() > other.number().saturating_add(lag)
        };
        is_beyond(self.content, other.content) || is_beyond(self.sections, other.sections)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.content, self.sections)
    }
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor of this API: use the `cursor` of an answer as it is")]
pub(crate) struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().map_err(|_| InvalidPosition),
            false => Err(InvalidPosition),
        };
        let (content, sections) = text.split_once('-').ok_or(InvalidPosition)?;
        Ok(Self { content: number(content)?, sections: number(sections)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_survives_its_text(content: u64, sections: u64) {
            let [content, sections] = [content, sections].map(Revision::new);
            let position = Position { content, sections };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn any_text_is_a_position_or_refused(text in "[-0-9a-z+ ]{0,50}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string().parse(), Ok(position));
            }
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for wrong in ["", "-", "1", "1-", "-1", "1-2-3", "+1-2", " 1-2", "1-18446744073709551616"] {
            assert_eq!(wrong.parse::<Position>(), Err(InvalidPosition), "{wrong}");
        }
    }
}
