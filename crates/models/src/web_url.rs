//! Addresses on the web.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::schema::{schema, text};

/// An `http` or `https` address that can stand in an attribute of HTML: with a host, without a
/// user, and without white space, control characters or delimiters (RFC 3986 appendix C).
///
/// The scheme is what matters: `javascript:` and `data:` run in the reader's browser.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WebUrl(String);

schema!(
    WebUrl,
    text(
        concat!(
            r#"^[hH][tT][tT][pP][sS]?://[^\s\u0000-\u001F\u007F-\u009F"<>\\^`{|}/?#@]+"#,
            r#"([/?#][^\s\u0000-\u001F\u007F-\u009F"<>\\^`{|}]*)?$"#
        ),
        WebUrl::MAX_LENGTH
    )
    .examples(["https://example.com/picture.png"])
);

/// The text is no address of the web.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an http:// or https:// address of at most {} characters", WebUrl::MAX_LENGTH)]
pub struct InvalidWebUrl;

impl WebUrl {
    /// The most characters that it has; longer ones do not work in all browsers and proxies.
    pub const MAX_LENGTH: usize = 2048;
}

impl TryFrom<String> for WebUrl {
    type Error = InvalidWebUrl;

    fn try_from(text: String) -> Result<Self, InvalidWebUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidWebUrl)?;
        let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let has_host = !authority.is_empty() && !authority.contains('@');
        if is_web && has_host && is_clean(rest) && text.chars().count() <= Self::MAX_LENGTH {
            Ok(Self(text))
        } else {
            Err(InvalidWebUrl)
        }
    }
}

/// Returns `true` if a text can be a part of an address in an attribute of HTML: it has no white space,
/// control characters or delimiters.
pub(crate) fn is_clean(text: &str) -> bool {
    !text.chars().any(|character| {
        character.is_whitespace() || character.is_control() || r#""<>\^`{|}"#.contains(character)
    })
}

impl From<WebUrl> for String {
    fn from(url: WebUrl) -> Self {
        url.0
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_web_are_accepted_as_they_are() {
        for text in [
            "https://github.com/ad-si/Woxi",
            "http://127.0.0.1:8080/?a=b#c",
            "HTTPS://Example.com",
            "https://例え.jp/画像.png",
            "https://example.com/a@b",
        ] {
            assert_eq!(WebUrl::try_from(text.to_owned()).map(String::from).as_deref(), Ok(text));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "example.com",
            "/image.png",
            "//example.com",
            "javascript:alert(1)",
            "javascript://example.com/%0aalert(1)",
            "data:text/html,x",
            "ftp://example.com",
            " https://example.com",
            "https://",
            "https:///path",
            "https://user:secret@example.com",
            "https://example.com/a b",
            "https://example.com/\"onload=",
            "https://example.com/\0",
            "https://example.com\\@evil.example",
        ] {
            assert_eq!(WebUrl::try_from(text.to_owned()), Err(InvalidWebUrl), "{text:?}");
        }
        let long = format!("https://example.com/{}", "x".repeat(2048));
        assert_eq!(WebUrl::try_from(long), Err(InvalidWebUrl));
    }
}
