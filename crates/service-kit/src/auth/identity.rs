//! What a provider says about a token.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// Somebody whom a provider vouches for.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) email: String,
    expires_at: DateTime<Utc>,
    /// From the moment at which it was checked.
    pub(super) lives_for: Duration,
}

impl Identity {
    /// `expires_at` is in seconds since 1970, as in `exp` (RFC 7519 §4.1.4).
    pub(super) fn new(email: String, expires_at: f64, now: DateTime<Utc>) -> Result<Self, Refusal> {
        #[expect(clippy::cast_possible_truncation, reason = "it saturates, at a year without date")]
        let expires_at = DateTime::from_timestamp_millis((expires_at * 1000.0) as i64)
            .ok_or(Refusal::Invalid("a date of expiry that is none"))?;
        let lives_for = (expires_at - now).to_std().unwrap_or_default();
        Ok(Self { email, expires_at, lives_for })
    }

    pub(super) fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at <= now
    }
}

/// Why a token is not accepted. Neither has anything of the token in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The token is not valid.
    #[error("the token is refused: {0}")]
    Invalid(&'static str),
    /// Nobody can say.
    #[error("the identity provider cannot be asked")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Refusal {
    pub(super) fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

/// A value that providers write in different ways: `true`, `"true"`, `1`, `"1"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Loose {
    Flag(bool),
    Number(f64),
    Text(String),
}

impl Loose {
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Flag(flag) => *flag,
            Self::Number(_) => false,
            Self::Text(text) => text == "true",
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Flag(_) => None,
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        }
    }
}
