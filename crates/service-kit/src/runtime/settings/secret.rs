//! Settings that are secrets which people choose.

use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// The length of the shortest secret, in characters. Sixteen characters from `openssl rand -hex` have
/// 64 random bits, which cannot be guessed over a network.
pub const MIN_LENGTH: usize = 16;

/// A secret that a header can carry: at least [`MIN_LENGTH`] printable ASCII characters.
#[derive(Debug, Clone)]
pub struct Secret(SecretString);

/// The reason why a text is no [`Secret`]. It contains no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// The text is short enough to be guessed.
    #[error(
        "it has {0} characters and needs at least {MIN_LENGTH}; `openssl rand -hex 32` generates one"
    )]
    TooShort(usize),
    /// The text has characters that a header cannot carry.
    #[error("it may contain only printable ASCII characters, without white space at its ends")]
    Unprintable,
}

impl Secret {
    /// Generates a secret of 122 random bits from the operating system (RFC 9562, version 4).
    pub fn generate() -> Self {
        Self(Uuid::new_v4().simple().to_string().into())
    }

    /// Returns the secret.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Compares in constant time, so that the duration of a request reveals nothing about the secret.
    pub fn is(&self, text: &str) -> bool {
        self.expose().as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl FromStr for Secret {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let is_printable = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        match text.chars().count() {
            length if length < MIN_LENGTH => Err(InvalidSecret::TooShort(length)),
            _ if is_printable(text) && text.trim() == text => Ok(Self(text.into())),
            _ => Err(InvalidSecret::Unprintable),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_and_printable() {
        for accepted in ["0123456789abcdef", "correct horse battery", &"~".repeat(500)] {
            let secret: Secret = accepted.parse().unwrap();
            assert!(secret.is(accepted) && !secret.is("0123456789abcdeF"));
            assert!(!format!("{secret:?}").contains(accepted));
        }
        assert!(Secret::generate().expose().parse::<Secret>().is_ok());
        for (refused, reason) in [
            ("", InvalidSecret::TooShort(0)),
            ("0123456789abcde", InvalidSecret::TooShort(15)),
            // Thirty bytes, but fifteen characters.
            ("ééééééééééééééé", InvalidSecret::TooShort(15)),
            ("0123456789abcdef\n", InvalidSecret::Unprintable),
            (" 0123456789abcdef", InvalidSecret::Unprintable),
            ("0123456789abcdef\u{212a}", InvalidSecret::Unprintable),
        ] {
            assert_eq!(refused.parse::<Secret>().unwrap_err(), reason, "{refused:?}");
        }
    }
}
