//! The result of checking a token with a provider.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// The owner of a token, confirmed by a provider.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) email: String,
    expires_at: DateTime<Utc>,
    /// The time from the check of the token to its expiry.
    pub(super) lifetime: Duration,
}

impl Identity {
    /// Returns an identity that expires at `expires_at`, in seconds since 1970, as in `exp`
    /// (RFC 7519 §4.1.4).
    pub(super) fn new(
        email: String,
        expires_at: f64,
        now: DateTime<Utc>,
    ) -> Result<Self, TokenError> {
        #[expect(clippy::cast_possible_truncation, reason = "it saturates, at a year without date")]
        let expires_at = DateTime::from_timestamp_millis((expires_at * 1000.0) as i64)
            .ok_or(TokenError::Invalid("the date of expiry is out of range"))?;
        let lifetime = (expires_at - now).to_std().unwrap_or_default();
        Ok(Self { email, expires_at, lifetime })
    }

    pub(super) fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at <= now
    }
}

/// The reason why a token is not accepted. Neither variant contains a part of the token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// The token is not valid.
    #[error("the token is refused: {0}")]
    Invalid(&'static str),
    /// Too many unknown tokens come from one address.
    #[error("too many unknown tokens from one address")]
    TooMany {
        /// The time after which another token is checked.
        retry_after_seconds: u32,
    },
    /// The provider that could check the token does not answer.
    #[error("the identity provider is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TokenError {
    pub(super) fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

/// A value that providers write in different ways: `true` or `"true"`, `1` or `"1"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum LenientValue {
    Flag(bool),
    Number(f64),
    Text(String),
}

impl LenientValue {
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
