//! Addresses that may be paths of the site: of pictures, and of pages.

use serde::{Deserialize, Serialize};

use crate::{
    WebUrl,
    schema::{schema, text},
    web_url::is_clean,
};

/// An address of the web, or a path of the site such as `/uploads/logo.webp`, as `POST /uploads` answers
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UrlOrPath(String);

schema!(
    UrlOrPath,
    text(
        concat!(
            r#"^([hH][tT][tT][pP][sS]?://[^\s\u0000-\u001F\u007F-\u009F"<>\\^`{|}/?#@]+"#,
            r#"([/?#][^\s\u0000-\u001F\u007F-\u009F"<>\\^`{|}]*)?"#,
            r#"|/([^\s\u0000-\u001F\u007F-\u009F"<>\\^`{|}/][^\s\u0000-\u001F\u007F-\u009F"<>\\^`{|}]*)?)$"#
        ),
        WebUrl::MAX_LENGTH
    )
    .examples(["/uploads/20241201_123456_abc12345.webp"])
);

/// The text is neither an address of the web nor a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an http:// or https:// address or a path that begins with one `/`, of at most {} \
     characters",
    WebUrl::MAX_LENGTH
)]
pub struct InvalidUrlOrPath;

impl TryFrom<String> for UrlOrPath {
    type Error = InvalidUrlOrPath;

    fn try_from(text: String) -> Result<Self, InvalidUrlOrPath> {
        let is_path = text.starts_with('/') && !text.starts_with("//");
        let is_valid = match is_path {
            true => text.chars().count() <= WebUrl::MAX_LENGTH && is_clean(&text),
            false => WebUrl::try_from(text.clone()).is_ok(),
        };
        if is_valid { Ok(Self(text)) } else { Err(InvalidUrlOrPath) }
    }
}

impl From<UrlOrPath> for String {
    fn from(url: UrlOrPath) -> Self {
        url.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_paths_are_accepted_as_they_are() {
        let longest = format!("/{}", "x".repeat(2047));
        for text in ["https://example.com/a.png", "/uploads/a.webp", "/", "/a?b#c", &longest] {
            assert_eq!(UrlOrPath::try_from(text.to_owned()).map(String::from).as_deref(), Ok(text));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let (long, bad_end) =
            (format!("/{}", "x".repeat(2048)), format!("/{}\"", "x".repeat(2046)));
        for text in [
            "",
            "a.png",
            "//example.com/a.png",
            "/a b",
            "/\\example.com",
            "/a\"onload=",
            "javascript:alert(1)",
            "data:image/png;base64,x",
            &long,
            &bad_end,
        ] {
            assert_eq!(UrlOrPath::try_from(text.to_owned()), Err(InvalidUrlOrPath), "{text:?}");
        }
    }
}
