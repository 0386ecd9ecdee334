//! Redirects: old paths of the site, and what they lead to.

use std::fmt;

use chrono::{DateTime, Utc};
use models::{
    Body, ContentType, InvalidUrlOrPath, ObjectId, UrlOrPath,
    schema::{schema, text},
    site_path::{canonical, path_key},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use url::{Position, Url, form_urlencoded};
use utoipa::{
    ToSchema,
    openapi::schema::{ObjectBuilder, Type},
};

/// The most bytes of an old path: the same as of the paths that `/resolve` looks up.
pub(crate) const PATH_MAX_LENGTH: usize = 2048;

/// The characters of a query or a fragment that are escaped in an answer: those that no address has
/// (RFC 3986 appendix A). Escapes stay as they are.
const QUERY_ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'^')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// An old path of the site in the one form in which it is stored and looked up, with its query if it has
/// one: percent-encoded, in the normalization form C of Unicode, without a slash at its end, the parameters
/// sorted.
///
/// Capitals matter, as they do in all paths of the site.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct OldPath(String);

schema!(
    OldPath,
    text(r"^/([^/#\u0000-\u001F\u007F-\u009F][^#\u0000-\u001F\u007F-\u009F]*)?$", PATH_MAX_LENGTH)
        .examples(["/2015/02/hello.html", "/index.php?id=7"])
);

/// The text is no old path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidOldPath {
    /// An address with a scheme.
    #[error("must be a path of the site: leave out `https://` and the name of the site")]
    HasHost,
    /// No path.
    #[error("must be a path of the site, which begins with one `/`")]
    NoPath,
    /// A fragment.
    #[error("must not have a fragment (`#…`): browsers do not send it")]
    HasFragment,
    /// A segment that browsers remove.
    #[error("must not have `.` or `..` between slashes: browsers remove them")]
    HasDots,
    /// Control characters.
    #[error("must not have control characters")]
    HasControls,
    /// White space at the end.
    #[error("must not end in white space")]
    HasSpaceAtEnd,
    /// Too long.
    #[error("must have at most {PATH_MAX_LENGTH} bytes, percent-encoded")]
    TooLong,
}

impl TryFrom<String> for OldPath {
    type Error = InvalidOldPath;

    fn try_from(text: String) -> Result<Self, InvalidOldPath> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if scheme.is_some_and(|scheme| scheme == "http" || scheme == "https") {
            return Err(InvalidOldPath::HasHost);
        }
        if !text.starts_with('/') || text.starts_with("//") {
            return Err(InvalidOldPath::NoPath);
        }
        if text.contains('#') {
            return Err(InvalidOldPath::HasFragment);
        }
        if text.contains(char::is_control) {
            return Err(InvalidOldPath::HasControls);
        }
        if text.ends_with(char::is_whitespace) {
            return Err(InvalidOldPath::HasSpaceAtEnd);
        }
        let (path, query) = split_query(&text);
        // Percent-encoded dots are dots.
        let path = path_key(path);
        if path.split('/').any(is_dots) {
            return Err(InvalidOldPath::HasDots);
        }
        let key = with_query(path, query);
        if key.len() > PATH_MAX_LENGTH {
            return Err(InvalidOldPath::TooLong);
        }
        Ok(Self(key))
    }
}

impl From<OldPath> for String {
    fn from(path: OldPath) -> Self {
        path.0
    }
}

impl OldPath {
    /// Returns the path in its one form.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the old paths whose redirects hold for a path that is requested, the one that holds first
    /// before the others: the path with all of its parameters, and the path without them. `?` may also be
    /// a part of the name.
    pub(crate) fn candidates(path: &str) -> Vec<Self> {
        let (before, query) = split_query(path);
        let mut candidates = vec![Self(with_query(path_key(before), query))];
        if !query.is_empty() {
            candidates.extend([path_key(path), path_key(before)].map(Self));
        }
        candidates
    }
}

/// Returns the beginning of old paths as they are stored.
pub(crate) fn prefix_key(prefix: &str) -> String {
    let (path, query) = split_query(prefix);
    let canonical = canonical(path);
    if prefix.contains('?') { format!("{canonical}?{query}") } else { canonical }
}

fn split_query(path: &str) -> (&str, &str) {
    path.split_once('?').unwrap_or((path, ""))
}

/// Appends the parameters of a query to a path, sorted and percent-encoded.
fn with_query(path: String, query: &str) -> String {
    let mut parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    if parameters.is_empty() {
        return path;
    }
    parameters.sort_unstable();
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{path}?{query}")
}

/// An address that a redirect leads to: one of the web, or a path of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct RedirectAddress(String);

schema!(RedirectAddress, UrlOrPath::schema());

impl TryFrom<String> for RedirectAddress {
    type Error = InvalidUrlOrPath;

    fn try_from(text: String) -> Result<Self, InvalidUrlOrPath> {
        let text = String::from(UrlOrPath::try_from(text)?);
        let is_valid = text.starts_with('/') || Url::parse(&text).is_ok();
        if is_valid { Ok(Self(text)) } else { Err(InvalidUrlOrPath) }
    }
}

impl From<RedirectAddress> for String {
    fn from(address: RedirectAddress) -> Self {
        address.0
    }
}

/// The place that an address leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A path of the site, with a query and a fragment if it has them.
    Path(SitePath),
    /// An address elsewhere, as it can stand in a header.
    Elsewhere(String),
}

impl RedirectAddress {
    /// Returns the place that the address leads to. An address below the public one of the site is a
    /// path of the site.
    pub(crate) fn destination(&self, site_url: Option<&str>) -> Destination {
        if self.0.starts_with('/') {
            return Destination::Path(SitePath::of_address(&self.0));
        }
        let Ok(url) = Url::parse(&self.0) else { return Destination::Elsewhere(self.0.clone()) };
        let site = site_url.and_then(|site| Url::parse(site).ok());
        match site.and_then(|site| path_below(&url, &site)) {
            Some(path) => Destination::Path(SitePath::of_address(&path)),
            None => Destination::Elsewhere(url.into()),
        }
    }
}

/// Returns the path of the site, with its query and fragment, that an address has if it is below that of the
/// site, however the host is written, with `http` or `https`.
fn path_below(url: &Url, site: &Url) -> Option<String> {
    let is_usual = |url: &Url| url.port().is_none();
    let is_same_port = url.port() == site.port() && url.scheme() == site.scheme();
    if url.host() != site.host() || !(is_same_port || is_usual(url) && is_usual(site)) {
        return None;
    }
    let rest = url[Position::BeforePath..].strip_prefix(site.path().trim_end_matches('/'))?;
    match rest.chars().next() {
        Some('/') if rest.starts_with("//") => None,
        Some('/') => Some(rest.to_owned()),
        None | Some('?' | '#') => Some(format!("/{rest}")),
        Some(_) => None,
    }
}

/// Returns `true` for a segment that browsers remove from a path.
fn is_dots(segment: &str) -> bool {
    segment == "." || segment == ".."
}

/// Returns a canonical path as browsers request it: without the segments `.` and `..`.
fn without_dots(path: String) -> String {
    if !path.split('/').any(is_dots) {
        return path;
    }
    let mut kept = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    // Two slashes at the beginning would make a host of what follows.
    format!("/{}", kept.join("/").trim_start_matches('/'))
}

/// A path of the site, apart from its query and its fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SitePath {
    /// The path, percent-encoded.
    pub(crate) path: String,
    /// The query with its `?`, or nothing.
    query: String,
    /// The fragment with its `#`, or nothing.
    fragment: String,
}

impl SitePath {
    pub(crate) fn new(text: &str) -> Self {
        let (rest, fragment) = text.split_at(text.find('#').unwrap_or(text.len()));
        let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let escaped = |text: &str| utf8_percent_encode(text, QUERY_ESCAPED).to_string();
        Self { path: canonical(path), query: escaped(query), fragment: escaped(fragment) }
    }

    /// Returns the path that browsers request for an address.
    fn of_address(text: &str) -> Self {
        let path = Self::new(text);
        Self { path: without_dots(path.path), ..path }
    }

    /// Returns the path with its query, which redirects may name.
    pub(crate) fn requested(&self) -> String {
        format!("{}{}", self.path, self.query)
    }

    /// Returns another path with the query and the fragment of this one.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{path}{}{}", self.query, self.fragment)
    }
}

impl fmt::Display for SitePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at(&self.path))
    }
}

/// An item that a redirect leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedirectItem {
    /// The kind of the item, as in the paths of the API.
    #[serde(with = "collection_name")]
    #[schema(schema_with = kinds)]
    pub(crate) kind: ContentType,
    /// The id of the item.
    pub(crate) id: String,
}

/// A section that a redirect leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedirectSection {
    /// The id of the section.
    pub(crate) id: ObjectId,
}

/// The target of a redirect. An item or a section is found at its present path, however often that
/// changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum RedirectTarget {
    /// An item.
    Item(RedirectItem),
    /// A section.
    Section(RedirectSection),
    /// A path of the site, or an http(s) address.
    Address(RedirectAddress),
}

fn kinds() -> ObjectBuilder {
    let kinds = ContentType::ALL.map(ContentType::collection);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(kinds))
}

/// A kind of content as the name of its collection.
mod collection_name {
    use models::ContentType;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(kind: &ContentType, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(kind.collection())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ContentType, D::Error> {
        let name = String::deserialize(from)?;
        ContentType::of_collection(&name).ok_or_else(|| {
            let names = ContentType::ALL.map(|kind| format!("`{}`", kind.collection()));
            D::Error::custom(format!("must be one of {}", names.join(", ")))
        })
    }
}

/// The HTTP status of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum RedirectStatus {
    /// 301: browsers and search engines remember the new address.
    #[default]
    Permanent,
    /// 302: they ask again each time.
    Temporary,
}

schema!(
    RedirectStatus,
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .enum_values(Some([301, 302]))
        .description(Some("301: moved for good. 302: for a time."))
);

impl RedirectStatus {
    /// Returns the number.
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Permanent => 301,
            Self::Temporary => 302,
        }
    }

    /// Returns the status of two redirects in a row: for good only if both are.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Permanent, Self::Permanent) => Self::Permanent,
            _ => Self::Temporary,
        }
    }
}

impl Serialize for RedirectStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.code())
    }
}

impl<'de> Deserialize<'de> for RedirectStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match i64::deserialize(deserializer)? {
            301 => Ok(Self::Permanent),
            302 => Ok(Self::Temporary),
            _ => Err(D::Error::custom("must be 301 (moved for good) or 302 (for a time)")),
        }
    }
}

/// A new redirect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"from": "/2015/02/hello.html", "to": {"address": "/blog/hello"}})))]
pub(crate) struct RedirectCreate {
    /// The old path, which may have a query.
    pub(crate) from: OldPath,
    /// The target.
    pub(crate) to: RedirectTarget,
    /// The status, 301 unless it is given.
    #[serde(default)]
    #[schema(required = false)]
    pub(crate) status: RedirectStatus,
}

impl Body for RedirectCreate {
    const READ_ONLY: &'static [&'static str] =
        &["leads_to", "is_hidden", "createdDate", "updatedDate"];
    const IGNORED: &'static [&'static str] = Self::READ_ONLY;
}

/// A redirect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Redirect {
    /// The old path, in one form: percent-encoded, without a slash at its end, its parameters sorted.
    pub(crate) from: OldPath,
    /// The target.
    pub(crate) to: RedirectTarget,
    /// The status.
    pub(crate) status: RedirectStatus,
    /// The path or address that `/resolve` answers for it now, after all redirects that follow; null if
    /// the target is gone or not public.
    #[schema(required = true)]
    pub(crate) leads_to: Option<String>,
    /// `true` if a section or an item is at the path, so that the redirect is not used.
    pub(crate) is_hidden: bool,
    /// The date of its creation.
    #[serde(rename = "createdDate", serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) created_date: Option<DateTime<Utc>>,
    /// The date of the last change.
    #[serde(rename = "updatedDate", serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) updated_date: Option<DateTime<Utc>>,
}

/// A page of the redirects, in the order of their paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RedirectList {
    /// The redirects of this page.
    pub(crate) items: Vec<Redirect>,
    /// The number of redirects of the whole list.
    pub(crate) total: u64,
    /// The largest number of redirects of a page.
    pub(crate) limit: u32,
    /// The value of `cursor` that returns the next page; null on the last one.
    #[schema(required = true)]
    pub(crate) next_cursor: Option<String>,
    /// The value of `cursor` that returns the previous page; null on the first one.
    #[schema(required = true)]
    pub(crate) previous_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn old(text: &str) -> Result<String, InvalidOldPath> {
        OldPath::try_from(text.to_owned()).map(String::from)
    }

    #[test]
    fn an_old_path_has_one_form() {
        for (text, expected) in [
            ("/old", "/old"),
            ("/old/", "/old"),
            ("/Old", "/Old"),
            ("/a b/Cafe\u{301}", "/a%20b/Caf%C3%A9"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/100%", "/100%25"),
            ("/a%2fb", "/a%2Fb"),
            ("/", "/"),
            ("/?p=123", "/?p=123"),
            ("/index.php?b=2&a=1", "/index.php?a=1&b=2"),
            ("/index.php?a=x+y&b=%c3%a9", "/index.php?a=x+y&b=%C3%A9"),
            ("/index.php?", "/index.php"),
            ("/index.php?flag", "/index.php?flag="),
            ("/a/../b?x=/../", "/a/../b?x=/../"),
        ] {
            let is_dotted = text.contains("/../b");
            let expected =
                if is_dotted { Err(InvalidOldPath::HasDots) } else { Ok(expected.to_owned()) };
            assert_eq!(old(text), expected, "{text}");
        }
        for (text, expected) in [
            ("", InvalidOldPath::NoPath),
            ("old", InvalidOldPath::NoPath),
            ("//example.com/old", InvalidOldPath::NoPath),
            ("https://example.com/old", InvalidOldPath::HasHost),
            ("/old#part", InvalidOldPath::HasFragment),
            ("/old\r\nx: y", InvalidOldPath::HasControls),
            ("/old ", InvalidOldPath::HasSpaceAtEnd),
            ("/./old", InvalidOldPath::HasDots),
            ("/a/%2e%2E/old", InvalidOldPath::HasDots),
        ] {
            assert_eq!(old(text), Err(expected), "{text}");
        }
        assert_eq!(old(&format!("/{}", "x".repeat(PATH_MAX_LENGTH))), Err(InvalidOldPath::TooLong));
        assert_eq!(old(&format!("/{}", "é".repeat(400))), Err(InvalidOldPath::TooLong));
        assert!(old(&format!("/{}", "x".repeat(PATH_MAX_LENGTH - 1))).is_ok());
    }

    #[test]
    fn what_is_stored_is_read_as_it_is() {
        for text in
            ["/a%20b/Caf%C3%A9", "/index.php?a=x+y&b=%C3%A9", "/100%25", "/?p=123", "/a%2Fb"]
        {
            assert_eq!(old(text).as_deref(), Ok(text));
        }
    }

    proptest! {
        #[test]
        fn every_old_path_that_is_stored_can_be_read(
            text in "/([a.%/?&=+ eé~:@\\\\]|%2[eEfF3]|%C3|%A9){0,12}",
        ) {
            if let Ok(stored) = old(&text) {
                prop_assert_eq!(old(&stored), Ok(stored.clone()), "{}", text);
            }
        }
    }

    #[test]
    fn a_redirect_with_the_parameters_comes_before_one_without() {
        let candidates = |path: &str| {
            OldPath::candidates(path).into_iter().map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(candidates("/old/"), ["/old"]);
        assert_eq!(candidates("/x.php?b=1&a=2"), ["/x.php?a=2&b=1", "/x.php%3Fb=1&a=2", "/x.php"]);
        assert_eq!(candidates("/?p=1"), ["/?p=1", "/%3Fp=1", "/"]);
        assert_eq!(candidates("/what?"), ["/what"]);
    }

    #[test]
    fn an_address_is_a_path_of_the_site_or_one_of_the_web() {
        let destination = |text: &str, site: Option<&str>| {
            let address = RedirectAddress::try_from(text.to_owned()).ok()?;
            Some(match address.destination(site) {
                Destination::Path(path) => format!("path {path}"),
                Destination::Elsewhere(url) => format!("web {url}"),
            })
        };
        let site = Some("https://example.com");
        for (text, site, expected) in [
            ("/new", None, "path /new"),
            ("/new/é?q=é&a=%20#Übersicht", None, "path /new/%C3%A9?q=%C3%A9&a=%20#%C3%9Cbersicht"),
            ("https://example.com/new?x=1", site, "path /new?x=1"),
            ("https://example.com", site, "path /"),
            ("https://example.com?x=1", site, "path /?x=1"),
            // However the host is written, so that a circle is found.
            ("https://EXAMPLE.com:443/new", site, "path /new"),
            ("http://example.com/new#top", site, "path /new#top"),
            ("https://example.com:8443/new", site, "web https://example.com:8443/new"),
            ("https://example.com//evil.example/", site, "web https://example.com//evil.example/"),
            ("https://example.com/blog/new?x", Some("https://example.com/blog"), "path /new?x"),
            (
                "https://example.com/blog2",
                Some("https://example.com/blog"),
                "web https://example.com/blog2",
            ),
            ("http://localhost:3000/new", Some("http://localhost:3000"), "path /new"),
            // As browsers request it.
            ("/a/../new/./x", None, "path /new/x"),
            ("/a/%2e%2E/new?x=/../", None, "path /new?x=/../"),
            ("/..//evil.example", None, "path /evil.example"),
            ("/a//b", None, "path /a//b"),
            ("https://example.com.evil.example/", site, "web https://example.com.evil.example/"),
            ("https://example.com/new", None, "web https://example.com/new"),
            ("https://例え.jp/é", None, "web https://xn--r8jz45g.jp/%C3%A9"),
        ] {
            assert_eq!(destination(text, site).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "new",
            "//evil.example",
            "/\\evil.example",
            "javascript:alert(1)",
            "ftp://x.example/",
            "https://",
            "/a b",
            "/a\r\nb",
            "https://user:pw@example.com/",
            "http://[::1/",
        ] {
            assert_eq!(destination(text, None), None, "{text}");
        }
    }

    #[test]
    fn a_target_is_an_item_a_section_or_an_address() {
        let id = "626e3e0035b0bc65bb5e1545";
        let read = |to: Value| {
            serde_json::from_value::<RedirectCreate>(json!({ "from": "/old", "to": to }))
        };
        for to in [
            json!({ "item": { "kind": "stories", "id": id } }),
            json!({ "section": { "id": id } }),
            json!({ "address": "/new" }),
        ] {
            let target = read(to.clone()).unwrap();
            assert_eq!(serde_json::to_value(&target.to).unwrap(), to);
            assert_eq!(target.status.code(), 301);
        }
        for to in [
            json!("/new"),
            json!(null),
            json!({}),
            json!({ "item": { "kind": "story", "id": id } }),
            json!({ "item": { "kind": "stories" } }),
            json!({ "section": { "id": "x" } }),
            json!({ "section": { "id": id }, "address": "/new" }),
            json!({ "address": { "$ne": "" } }),
        ] {
            assert!(read(to.clone()).is_err(), "{to}");
        }
        for status in [json!(200), json!("301"), json!(307), json!(null), json!(301.5)] {
            let body = json!({ "from": "/old", "to": { "address": "/new" }, "status": status });
            assert!(serde_json::from_value::<RedirectCreate>(body).is_err(), "{status}");
        }
    }
}
