//! The names of files.
//!
//! A name is a path below `/uploads`: segments of letters, digits and `. _ -`, which no part of the
//! system can take for another path. New files are named by the date and a random part; files of another
//! site keep their names.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use models::media::{SMALLER_WIDTHS, UPLOADS, with_width};
use ring::rand::{SecureRandom, SystemRandom};

use super::format::Format;

/// The width of the largest picture, in pixels.
pub(crate) const LARGEST_WIDTH: u32 = 1200;

/// The longest name, in bytes. Files have names of at most 255 bytes.
const MAX_BYTES: usize = 200;

/// The number of random characters of a name: with 36 letters and digits, a thousand guesses in a second
/// find a name of a known second in half a century.
const RANDOM_CHARACTERS: usize = 8;

/// The letters and digits of the random part.
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The name of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(String);

/// A text is no name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no name of a file: segments of letters, digits, `.`, `_` and `-`, which begin with a letter or digit"
)]
pub struct InvalidName;

impl FileName {
    /// Returns the name of a new file.
    pub(crate) fn new(
        now: DateTime<Utc>,
        format: Format,
    ) -> Result<Self, ring::error::Unspecified> {
        let random = random_text()?;
        let (date, extension) = (now.format("%Y%m%d_%H%M%S"), format.extension());
        Ok(Self(format!("{date}_{random}.{extension}")))
    }

    /// Returns the name as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the address of the file.
    pub(crate) fn address(&self) -> String {
        format!("{UPLOADS}{}", self.0)
    }

    /// Returns the name of the file of another width of the same picture.
    #[must_use]
    pub(crate) fn with_width(&self, width: u32) -> Self {
        Self(with_width(&self.0, width))
    }

    /// Returns the name of the file of which this may be a smaller width, or `None` if its name does not say
    /// so.
    #[must_use]
    pub(crate) fn whole(&self) -> Option<Self> {
        let (stem, extension) = self.0.rsplit_once('.')?;
        let widths = SMALLER_WIDTHS.iter();
        let whole = widths.filter_map(|width| stem.strip_suffix(&format!("_{width}"))).next()?;
        format!("{whole}.{extension}").parse().ok()
    }

    /// Returns the format of the file, which the end of its name tells.
    pub(crate) fn format(&self) -> Option<Format> {
        let (_, extension) = self.0.rsplit_once('.')?;
        Format::of_extension(&extension.to_ascii_lowercase())
    }
}

/// Returns random letters and digits. Those that would make some more likely than others are skipped.
fn random_text() -> Result<String, ring::error::Unspecified> {
    let random = SystemRandom::new();
    let mut text = String::with_capacity(RANDOM_CHARACTERS);
    while text.len() < RANDOM_CHARACTERS {
        let mut bytes = [0_u8; 16];
        random.fill(&mut bytes)?;
        let places = bytes.into_iter().filter(|byte| *byte < 252).map(|byte| byte % 36);
        let characters = places.filter_map(|place| ALPHABET.get(usize::from(place)));
        let missing = RANDOM_CHARACTERS - text.len();
        text.extend(characters.take(missing).map(|byte| char::from(*byte)));
    }
    Ok(text)
}

impl FromStr for FileName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_segment = |segment: &str| {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            segment.starts_with(|first: char| first.is_ascii_alphanumeric())
                && segment.bytes().all(is_allowed)
        };
        if text.len() <= MAX_BYTES && text.split('/').all(is_segment) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName)
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_new_name_has_the_date_and_a_random_part() {
        let now = DateTime::from_timestamp(1_733_056_496, 0).unwrap();
        let names: HashSet<_> =
            (0..1_000).map(|_| FileName::new(now, Format::WebP).unwrap()).collect();
        assert_eq!(names.len(), 1_000);
        for name in names {
            let text = name.as_str();
            assert!(text.starts_with("20241201_123456_") && text.ends_with(".webp"), "{text}");
            assert_eq!(text.len(), "20241201_123456_abc12345.webp".len());
            assert_eq!(text.parse(), Ok(name.clone()));
            assert_eq!(name.format(), Some(Format::WebP));
        }
    }

    #[test]
    fn another_width_is_before_the_extension() {
        let name: FileName = "2024/a.b.webp".parse().unwrap();
        assert_eq!(name.with_width(750).as_str(), "2024/a.b_750.webp");
        assert_eq!(name.address(), "/uploads/2024/a.b.webp");
        assert_eq!(name.with_width(500).whole(), Some(name));
        let none = ["a.webp", "a_750", "a_1200.webp", "_750.webp"];
        assert!(
            none.iter().all(|name| name
                .parse()
                .ok()
                .and_then(|name: FileName| name.whole())
                .is_none())
        );
        assert_eq!("A.JPG".parse::<FileName>().unwrap().format(), Some(Format::Jpeg));
    }

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        let long = "a".repeat(MAX_BYTES + 1);
        for text in [
            "", ".", "..", "/", "a/", "/a", "a//b", "../a", "a/../b", "a/..", ".a", "a/.b", "a\\b",
            "a%2fb", "a b", "a#1", "a\0", "a\n", "ä.png", "-a", "_a", "a?x", "C:a", "~a", &long,
        ] {
            assert_eq!(text.parse::<FileName>(), Err(InvalidName), "{text:?}");
        }
        for text in ["a", "a.png", "2024/12/a_b-c.d.jpg", &long[1..]] {
            assert!(text.parse::<FileName>().is_ok(), "{text:?}");
        }
    }
}
