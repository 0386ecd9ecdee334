//! The headers of forwarded requests and responses.
//!
//! Headers for one connection only are removed in both directions. The gateway is the edge of the
//! system: the headers in which a client claims where its request came from are overwritten, by what
//! the gateway sees and what a trusted proxy reports.

use actix_web::http::{
    Uri,
    header::{
        HeaderMap as ServerHeaders, HeaderName as ServerHeaderName,
        HeaderValue as ServerHeaderValue,
    },
};
use http::header::{AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue, VARY};
use service_kit::web::{
    changes::SURROGATE_KEY,
    internal::INTERNAL_SECRET,
    origin::RequestOrigin,
    request_id::{REQUEST_ID, RequestId},
};

/// The headers that end at the next hop (RFC 9110 §7.6.1; the `proxy-` ones are between a client and
/// its own proxy), in addition to those that `Connection` names.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The headers of a request that the gateway consumes or sets itself. `Expect` is answered on origin.
const OVERWRITTEN_REQUEST_HEADERS: [&str; 6] =
    ["expect", "forwarded", "host", INTERNAL_SECRET, REQUEST_ID, SURROGATE_KEY];

/// The prefix of headers between the processes, in both directions.
const OWN_PREFIX: &str = "x-turbulence-";

/// The header with the keys of an answer for CDNs that separate them by commas (Cloudflare).
const CACHE_TAG: ServerHeaderName = ServerHeaderName::from_static("cache-tag");

/// The prefix of request headers that the gateway sets itself.
const FORWARDED_PREFIX: &str = "x-forwarded-";

/// The header with the address of the client.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The prefix of response headers that the gateway sets itself, by its settings.
const CORS_PREFIX: &str = "access-control-";

/// Returns the headers of a client's request for a service.
pub(crate) fn to_service(
    headers: &ServerHeaders,
    uri: &Uri,
    origin: &RequestOrigin,
    request_id: Option<&RequestId>,
) -> HeaderMap {
    let named = named_by_connection(headers.get_all("connection").map(ServerHeaderValue::as_bytes));
    // With room for those that are added here and for the trace.
    let mut kept = HeaderMap::with_capacity(headers.len() + 8);
    for (name, value) in headers {
        let text = name.as_str();
        if is_hop_by_hop(text, &named)
            || OVERWRITTEN_REQUEST_HEADERS.contains(&text)
            || text.starts_with(FORWARDED_PREFIX)
            || text.starts_with(OWN_PREFIX)
        {
            continue;
        }
        // Both libraries use the same types, in two versions: every name and value is valid.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(text.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            kept.append(name, value);
        }
    }

    let host = match (&origin.host, uri.authority()) {
        (Some(host), _) => Some(host.as_bytes()),
        (None, Some(authority)) => Some(authority.as_str().as_bytes()),
        (None, None) => headers.get("host").map(ServerHeaderValue::as_bytes),
    };
    let mut set = |name, value: Option<&[u8]>| {
        if let Some(Ok(value)) = value.map(HeaderValue::from_bytes) {
            kept.insert(HeaderName::from_static(name), value);
        }
    };
    let client = origin.client.map(|client| client.to_string());
    set("x-forwarded-for", client.as_deref().map(str::as_bytes));
    set("x-forwarded-host", host);
    set("x-forwarded-proto", Some(origin.scheme.as_bytes()));
    set(REQUEST_ID, request_id.map(|id| id.as_str().as_bytes()));
    kept
}

/// Returns the headers that identify the client, for requests that the gateway makes on its behalf.
pub(crate) fn caller_headers(mut headers: HeaderMap) -> HeaderMap {
    let kept = [AUTHORIZATION, X_FORWARDED_FOR, HeaderName::from_static(REQUEST_ID)];
    kept.into_iter().filter_map(|name| Some((name.clone(), headers.remove(name)?))).collect()
}

/// Returns the headers of a service's response for the client. They include the length, which applies
/// only to some bodies. The keys of the content that it depends on are for the gateway, and with
/// `surrogate_keys` for a CDN before it.
pub(crate) fn to_client(headers: &HeaderMap, surrogate_keys: bool) -> ServerHeaders {
    let named = named_by_connection(headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes));
    let mut kept = ServerHeaders::with_capacity(headers.len());
    // Several lines of `Vary` are joined (RFC 9110 §5.3): the CORS middleware extends the first one and
    // drops the others.
    let vary: Vec<&[u8]> = headers.get_all(VARY).iter().map(HeaderValue::as_bytes).collect();
    let vary = vary.join(&b", "[..]);
    for (name, value) in headers {
        let text = name.as_str();
        if is_hop_by_hop(text, &named)
            || text.starts_with(CORS_PREFIX)
            || text.starts_with(OWN_PREFIX)
            || text == SURROGATE_KEY && !surrogate_keys
        {
            continue;
        }
        if text == SURROGATE_KEY {
            let tags = value.to_str().unwrap_or_default().split_ascii_whitespace();
            let tags = ServerHeaderValue::from_str(&tags.collect::<Vec<_>>().join(","));
            if let Ok(tags) = tags {
                kept.append(CACHE_TAG, tags);
            }
        }
        let value = if name == VARY { &vary[..] } else { value.as_bytes() };
        if let (Ok(name), Ok(value)) =
            (ServerHeaderName::from_bytes(text.as_bytes()), ServerHeaderValue::from_bytes(value))
        {
            if text == VARY.as_str() {
                kept.insert(name, value);
            } else {
                kept.append(name, value);
            }
        }
    }
    kept
}

/// Returns the names of headers that `Connection` lists.
fn named_by_connection<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).collect()
}

/// Returns `true` if a header is for one connection only.
fn is_hop_by_hop(name: &str, named: &[&[u8]]) -> bool {
    HOP_BY_HOP.contains(&name) || named.iter().any(|one| one.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair =
            |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        headers.iter().map(pair).collect()
    }

    fn server_map(headers: &[(&'static str, &'static str)]) -> ServerHeaders {
        let pair = |&(name, value)| {
            (ServerHeaderName::from_static(name), ServerHeaderValue::from_static(value))
        };
        headers.iter().map(pair).collect()
    }

    #[test]
    fn headers_that_connection_names_are_removed_in_any_spelling_and_line() {
        let headers = map(&[
            ("connection", "close, X-One ,,"),
            ("connection", "x-two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
        ]);
        let kept: Vec<_> =
            to_client(&headers, false).iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(kept, ["x-three"]);
    }

    #[test]
    fn connection_cannot_remove_the_headers_of_the_gateway() {
        let uri = Uri::from_static("/sections");
        let client = Some([192, 0, 2, 1].into());
        let origin = RequestOrigin { client, ..RequestOrigin::default() };
        let sent = server_map(&[("connection", "x-forwarded-for, host"), ("host", "site.example")]);
        assert_eq!(
            to_service(&sent, &uri, &origin, None),
            map(&[
                ("x-forwarded-for", "192.0.2.1"),
                ("x-forwarded-host", "site.example"),
                ("x-forwarded-proto", "http"),
            ])
        );
    }

    #[test]
    fn the_host_of_an_absolute_address_wins() {
        // RFC 9112 §3.2.2
        let uri = Uri::from_static("http://in-the-line.example/sections");
        let sent = server_map(&[("host", "in-the-header.example")]);
        let headers = to_service(&sent, &uri, &RequestOrigin::default(), None);
        assert_eq!(headers["x-forwarded-host"], "in-the-line.example");
    }

    #[test]
    fn headers_between_the_processes_stay_between_them() {
        let all = [
            ("surrogate-key", "stories stories/1"),
            ("surrogate-key", "sections"),
            ("x-turbulence-revisions", "content=1"),
            ("x-turbulence-valid-ms", "5"),
            ("etag", "\"a\""),
        ];
        let names = |headers: ServerHeaders| {
            let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(names(to_client(&map(&all), false)), ["etag"]);
        let headers = to_client(&map(&all), true);
        let tags: Vec<_> = headers.get_all("cache-tag").collect();
        assert_eq!(tags, ["stories,stories/1", "sections"]);
        assert_eq!(names(headers), ["cache-tag", "etag", "surrogate-key"]);
        let (uri, origin) = (Uri::from_static("/sections"), RequestOrigin::default());
        let sent = to_service(&server_map(&all), &uri, &origin, None);
        let sent: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
        assert_eq!(sent, ["etag", "x-forwarded-proto"]);
    }

    #[test]
    fn vary_is_joined_and_other_repeated_headers_are_not() {
        let headers = to_client(
            &map(&[
                ("vary", "accept-encoding"),
                ("vary", "authorization"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
            ]),
            false,
        );
        let all = |name| headers.get_all(name).map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("vary"), ["accept-encoding, authorization"]);
        assert_eq!(all("set-cookie"), ["a=1", "b=2"]);
    }
}
