//! The requests that can be answered from memory, and their keys.
//!
//! A key is the path and the parameters in one spelling. A request that the service could understand in
//! another way than this module has none, and is passed on: with a parameter that the route does not
//! have, or with one that is given twice.

use std::borrow::Cow;

use serde_json::Value;
use url::form_urlencoded;

/// The routes that anyone may read, and their parameters.
#[derive(Debug)]
pub(crate) struct ReadRoutes(Vec<ReadRoute>);

#[derive(Debug)]
struct ReadRoute {
    /// The segments of the path; `None` for one of any text.
    segments: Vec<Option<String>>,
    /// `true` if the last segment stands for one or more.
    has_tail: bool,
    parameters: Vec<String>,
}

impl ReadRoutes {
    /// Reads the routes from the description of the API: those with `GET` that need no token and that
    /// a service owns, as `is_routed` decides by the first segment.
    pub(crate) fn of_description(description: &[u8], is_routed: fn(&str) -> bool) -> Self {
        let description: Value = serde_json::from_slice(description).unwrap_or_default();
        let paths = description["paths"].as_object().into_iter().flatten();
        let mut routes: Vec<_> = paths
            .filter_map(|(path, item)| {
                let operation = item.get("get")?;
                let needs_token = operation["security"].as_array().is_some_and(|options| {
                    let mut options = options.iter().filter_map(Value::as_object).peekable();
                    options.peek().is_some() && options.all(|option| !option.is_empty())
                });
                let segments = path
                    .strip_prefix('/')?
                    .split('/')
                    .map(|segment| (!segment.starts_with('{')).then(|| segment.to_owned()));
                let segments: Vec<_> = segments.collect();
                // Events follow each other for as long as the client listens.
                let has_events = operation["x-event-stream"] == true;
                let has_tail = operation["x-path-tail"] == true;
                let is_routed = segments[0].as_deref().is_some_and(is_routed);
                let is_kept = !needs_token && !has_events && is_routed;
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let parameters = parameters
                    .filter(|parameter| parameter["in"] == "query")
                    .filter_map(|parameter| parameter["name"].as_str().map(str::to_owned))
                    .collect();
                is_kept.then_some(ReadRoute { segments, has_tail, parameters })
            })
            .collect();
        // A fixed segment wins over one of any text, as in the services.
        routes.sort_by_key(|route| route.segments.iter().filter(|one| one.is_none()).count());
        Self(routes)
    }

    /// Returns the key of a request for a path, which has passed [`path::check`](crate::routing), and a
    /// query. Returns `None` if it cannot be answered from memory.
    pub(crate) fn key(&self, path: &str, query: Option<&str>) -> Option<Box<str>> {
        // The services ignore the slash at the end.
        let path = path.strip_suffix('/').unwrap_or(path);
        let path = normal_escapes(path);
        let route = self.0.iter().find(|route| route.is_at(&path))?;
        let Some(query) = query.filter(|query| !query.is_empty()) else {
            return Some(path.into());
        };
        let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        pairs.sort_unstable();
        let is_known = |(name, _): &(Cow<str>, Cow<str>)| {
            route.parameters.iter().any(|parameter| parameter == name)
        };
        if !pairs.iter().all(is_known) || pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        let mut key = path.into_owned();
        if !pairs.is_empty() {
            key.push('?');
            let begins = key.len();
            key = form_urlencoded::Serializer::for_suffix(key, begins).extend_pairs(pairs).finish();
        }
        Some(key.into())
    }
}

impl ReadRoute {
    fn is_at(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut expected = self.segments.iter();
        path.split('/').all(|segment| match expected.next() {
            Some(Some(fixed)) => fixed == segment,
            Some(None) => !segment.is_empty(),
            None => self.has_tail && !segment.is_empty(),
        }) && expected.next().is_none()
    }
}

/// Returns the path with the escapes of RFC 3986 §6.2.2: none for characters that need none, and upper
/// case in the others.
fn normal_escapes(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        normal.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 3);
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let (Some(digits), Some(byte)) = (digits, byte) else {
            normal.push_str(&rest[at..]);
            return Cow::Owned(normal);
        };
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            normal.push(char::from(byte));
        } else {
            normal.push('%');
            normal.push_str(&digits.to_ascii_uppercase());
        }
        rest = &rest[at + 3..];
    }
    normal.push_str(rest);
    Cow::Owned(normal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::routing::is_routed;

    fn routes() -> ReadRoutes {
        ReadRoutes::of_description(include_bytes!("../../../docs/openapi.json"), is_routed)
    }

    fn key(target: &str) -> Option<String> {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        routes().key(path, query).map(String::from)
    }

    #[test]
    fn all_public_reads_of_the_services_have_a_key() {
        for target in [
            "/sections",
            "/sections/tree",
            "/sections/slug/blog",
            "/sections/0123456789abcdef01234567",
            "/stories",
            "/stories/slug/a",
            "/projects",
            "/projects/slug/a",
            "/pages",
            "/pages/type/about",
            "/stories?limit=10",
            "/resolve?path=%2Fblog",
            "/search?q=lamp",
            "/site",
            "/robots.txt",
            "/sitemap.xml",
            "/sitemap.xml?part=stories",
            "/feeds/blog.rss",
            "/feeds/notes/of/tides.json",
            "/stories?created_after=2026-01-01&tag=rust&view=card",
            "/tags",
            "/tags?content_type=story",
        ] {
            assert_eq!(key(target).as_deref(), Some(target), "{target}");
        }
        for target in [
            "/",
            "/docs",
            "/health",
            "/openapi.json",
            "/integrity",
            "/stories/0123456789abcdef01234567",
            "/stories/slug",
            "/stories/slug/a/b",
            "/feeds",
            "/feeds/a//b.rss",
            "/sitemap.xml?unknown=1",
            "/content/move",
            "/unknown",
            "/internal/sections",
        ] {
            assert_eq!(key(target), None, "{target}");
        }
    }

    #[test]
    fn one_request_has_one_key_however_it_is_written() {
        for (target, expected) in [
            ("/stories/", "/stories"),
            ("/stories?", "/stories"),
            ("/stories?&&", "/stories"),
            ("/stories?offset=5&limit=10", "/stories?limit=10&offset=5"),
            ("/stories?limit=10&offset=5", "/stories?limit=10&offset=5"),
            ("/stories?l%69mit=1%30", "/stories?limit=10"),
            ("/%73tories/%73lug/%61", "/stories/slug/a"),
            ("/stories/slug/a%2fb%7e", "/stories/slug/a%2Fb~"),
            ("/resolve?path=/a+b", "/resolve?path=%2Fa+b"),
            ("/resolve?path=%2fa%20b", "/resolve?path=%2Fa+b"),
            ("/stories?limit", "/stories?limit="),
        ] {
            assert_eq!(key(target).as_deref(), Some(expected), "{target}");
        }
    }

    #[test]
    fn a_request_that_could_be_understood_in_two_ways_has_none() {
        for target in [
            "/stories?limit=1&limit=2",
            "/stories?limit=1&l%69mit=1",
            "/stories?unknown=1",
            "/stories?limit=1&=",
            "/stories?limit=1&LIMIT=2",
            "/stories?limit%00=1",
            "/stories?limit=1;offset=2&x",
            "/sections?limit=1",
            "/stories/slug/a?x",
        ] {
            assert_eq!(key(target), None, "{target}");
        }
    }

    proptest! {
        #[test]
        fn requests_that_differ_have_different_keys(
            one in "[a-c%/?&=+]{0,6}", other in "[a-c%/?&=+]{0,6}"
        ) {
            let keys = [&one, &other].map(|value| {
                let query: String =
                    form_urlencoded::Serializer::new(String::new()).append_pair("path", value).finish();
                key(&format!("/resolve?{query}")).unwrap()
            });
            prop_assert_eq!(keys[0] == keys[1], one == other);
        }
    }
}
