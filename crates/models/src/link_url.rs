//! Addresses to which entries of the navigation lead.

use serde::{Deserialize, Serialize};

use crate::{
    UrlOrPath, WebUrl,
    schema::{schema, text},
    web_url::is_clean,
};

/// The address of a link: an `http` or `https` address, a `mailto:` or `tel:` address, or a path of the
/// site. Other schemes are refused: `javascript:` and `data:` run in the reader's browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkUrl(String);

schema!(
    LinkUrl,
    text(
        concat!(
            r#"^([hH][tT][tT][pP][sS]?://[^\s\u0000-\u001F\u007F-\u009F"<>\\^`{|}/?#@]+"#,
            r#"([/?#][^\s\u0000-\u001F\u007F-\u009F"<>\\^`{|}]*)?"#,
            r#"|([mM][aA][iI][lL][tT][oO]|[tT][eE][lL]):[^\s\u0000-\u001F\u007F-\u009F"<>\\^`{|}]+"#,
            r#"|/([^\s\u0000-\u001F\u007F-\u009F"<>\\^`{|}/][^\s\u0000-\u001F\u007F-\u009F"<>\\^`{|}]*)?)$"#
        ),
        WebUrl::MAX_LENGTH
    )
    .examples(["https://github.com/example"])
);

/// The text is no address of a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an http://, https://, mailto: or tel: address or a path that begins with one `/`, of at \
     most {} characters",
    WebUrl::MAX_LENGTH
)]
pub struct InvalidLinkUrl;

/// The schemes of addresses that are no pages.
const OTHER_SCHEMES: [&str; 2] = ["mailto", "tel"];

impl TryFrom<String> for LinkUrl {
    type Error = InvalidLinkUrl;

    fn try_from(text: String) -> Result<Self, InvalidLinkUrl> {
        let is_other = text.split_once(':').is_some_and(|(scheme, rest)| {
            OTHER_SCHEMES.iter().any(|other| scheme.eq_ignore_ascii_case(other))
                && !rest.is_empty()
                && is_clean(rest)
                && text.chars().count() <= WebUrl::MAX_LENGTH
        });
        if is_other || UrlOrPath::try_from(text.clone()).is_ok() {
            Ok(Self(text))
        } else {
            Err(InvalidLinkUrl)
        }
    }
}

impl From<LinkUrl> for String {
    fn from(url: LinkUrl) -> Self {
        url.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_a_menu_can_lead_to_are_accepted_as_they_are() {
        for text in [
            "https://github.com/example",
            "HTTP://example.com?a=b#c",
            "mailto:isolde@example.com?subject=Lamps",
            "Mailto:isolde@example.com",
            "tel:+44-1632-960961",
            "/",
            "/about#team",
            "/uploads/terms.pdf",
        ] {
            assert_eq!(LinkUrl::try_from(text.to_owned()).map(String::from).as_deref(), Ok(text));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let long = format!("mailto:{}", "x".repeat(2048));
        for text in [
            "",
            "github.com",
            "//example.com",
            "#top",
            "mailto:",
            "tel:",
            "tel:+44 1632",
            "mailto:a@b\"onclick=",
            " mailto:a@example.com",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "java\tscript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "https://user:secret@example.com",
            "/\\example.com",
            &long,
        ] {
            assert_eq!(LinkUrl::try_from(text.to_owned()), Err(InvalidLinkUrl), "{text:?}");
        }
    }
}
