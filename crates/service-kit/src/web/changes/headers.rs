//! The headers with which a service says what its answer depends on. They are between the processes:
//! the gateway removes them from the requests of clients and from answers to them.

use std::{fmt, str::FromStr};

use http::{HeaderMap, HeaderName, HeaderValue};
use models::changes::Revision;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The states of the databases at which an answer was computed: lower bounds, one for each service.
/// On the answer to a write: the state after it. On a request: those of the newest changes that
/// the caller knows.
pub const REVISIONS: &str = "x-turbulence-revisions";

/// The keys of the content that an answer depends on, separated by spaces. On the answer to a write:
/// those that it changed.
pub const SURROGATE_KEY: &str = "surrogate-key";

/// The time in milliseconds after which an answer is no longer true, even without a change.
pub const VALID_MS: &str = "x-turbulence-valid-ms";

/// The longest key in bytes. A longer one ends in a hash instead: all keys of an answer share a header.
const KEY_MAX_BYTES: usize = 200;

/// The characters that separate keys and their parts, and those that a header cannot have.
const SEPARATORS: &AsciiSet = &CONTROLS.add(b' ').add(b'/').add(b',').add(b'%').add(b'"');

/// Returns the key with these parts: the family, and the place within it, as in `stories/slug/a`.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut key = String::new();
    for part in parts {
        if !key.is_empty() {
            key.push('/');
        }
        key.extend(utf8_percent_encode(part, SEPARATORS));
    }
    if key.len() > KEY_MAX_BYTES {
        let hash = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        let hash = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}"));
        let hash: String = hash.collect();
        // All characters are ASCII.
        key.truncate(KEY_MAX_BYTES - hash.len());
        key.push_str(&hash);
    }
    key
}

/// Revisions of the services. Those of different services cannot be compared with each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revisions {
    /// The state of the database of content-service.
    pub content: Option<Revision>,
    /// The state of the database of sections-service.
    pub sections: Option<Revision>,
}

impl Revisions {
    /// Returns the revisions among the headers, or `None` if there are none that can be read.
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        headers.get(REVISIONS)?.to_str().ok()?.parse().ok()
    }

    /// Adds the revisions to the headers, unless there are none.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(self.to_string())
            && !value.is_empty()
        {
            headers.insert(HeaderName::from_static(REVISIONS), value);
        }
    }
}

impl fmt::Display for Revisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let both = [("content", self.content), ("sections", self.sections)];
        let mut separator = "";
        for (name, revision) in both {
            if let Some(revision) = revision {
                write!(f, "{separator}{name}={revision}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

/// A text that contains no revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header {REVISIONS} is malformed")]
pub struct InvalidRevisions;

impl FromStr for Revisions {
    type Err = InvalidRevisions;

    /// Reads the value of the header. Services that are unknown are ignored.
    fn from_str(text: &str) -> Result<Self, InvalidRevisions> {
        let mut revisions = Self::default();
        for part in text.split(',') {
            let (name, number) = part.split_once('=').ok_or(InvalidRevisions)?;
            let revision: Revision = number.trim().parse().map_err(|_| InvalidRevisions)?;
            match name.trim() {
                "content" => revisions.content = Some(revision),
                "sections" => revisions.sections = Some(revision),
                _ => {}
            }
        }
        Ok(revisions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_read_as_they_are_written() {
        let [one, two] = [Some(Revision::new(7)), Some(Revision::new(u64::MAX))];
        for revisions in [
            Revisions { content: one, sections: two },
            Revisions { content: None, sections: two },
            Revisions { content: one, sections: None },
        ] {
            assert_eq!(revisions.to_string().parse(), Ok(revisions));
        }
        let later = "events=5, content=7";
        assert_eq!(later.parse(), Ok(Revisions { content: one, sections: None }));
        for wrong in ["", "content", "content=", "content=-1", "content=1,", "content=1;sections=2"]
        {
            assert_eq!(wrong.parse::<Revisions>(), Err(InvalidRevisions), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_one_word_whatever_its_parts_are() {
        assert_eq!(key(["stories", "slug", "a-b_c.d~e"]), "stories/slug/a-b_c.d~e");
        assert_eq!(key(["stories"]), "stories");
        let odd = key(["stories", "slug", "a b/c,d%e\u{7f}\r\nf\u{e9}\u{1f370}"]);
        assert_eq!(odd, "stories/slug/a%20b%2Fc%2Cd%25e%7F%0D%0Af%C3%A9%F0%9F%8D%B0");
        let long = "x".repeat(5_000);
        let [one, two] = ["1", "2"].map(|end| key(["stories", "slug", &format!("{long}{end}")]));
        assert_eq!((one.len(), two.len()), (KEY_MAX_BYTES, KEY_MAX_BYTES));
        assert_ne!(one, two);
        assert!(one.starts_with("stories/slug/xxx"));
    }
}
