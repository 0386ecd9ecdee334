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
use reqwest::header::{AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, VARY};
use service_kit::web::{
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
const OVERWRITTEN_REQUEST_HEADERS: [&str; 5] =
    ["expect", "forwarded", "host", INTERNAL_SECRET, REQUEST_ID];

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
    let headers = converted(headers);
    let host = match (&origin.host, uri.authority()) {
        (Some(host), _) => HeaderValue::from_bytes(host.as_bytes()).ok(),
        (None, Some(authority)) => HeaderValue::from_str(authority.as_str()).ok(),
        (None, None) => headers.get(HOST).cloned(),
    };
    let mut kept = end_to_end(headers);
    for name in OVERWRITTEN_REQUEST_HEADERS {
        kept.remove(name);
    }
    remove_prefixed(&mut kept, FORWARDED_PREFIX);

    let mut set = |name, value| {
        if let Some(value) = value {
            kept.insert(HeaderName::from_static(name), value);
        }
    };
    let text = |text: &str| HeaderValue::from_str(text).ok();
    set("x-forwarded-for", origin.client.and_then(|client| text(&client.to_string())));
    set("x-forwarded-host", host);
    // The gateway itself serves plain HTTP only.
    set("x-forwarded-proto", text(origin.scheme.unwrap_or("http")));
    set(REQUEST_ID, request_id.and_then(|id| text(id.as_str())));
    kept
}

/// Returns the headers that identify the client, for requests that the gateway makes on its behalf.
pub(crate) fn caller_headers(mut headers: HeaderMap) -> HeaderMap {
    let kept = [AUTHORIZATION, X_FORWARDED_FOR, HeaderName::from_static(REQUEST_ID)];
    kept.into_iter().filter_map(|name| Some((name.clone(), headers.remove(name)?))).collect()
}

/// Returns the headers of a service's response for the client. They include the length, which applies
/// only to some bodies.
pub(crate) fn to_client(headers: HeaderMap) -> ServerHeaders {
    let mut kept = end_to_end(headers);
    remove_prefixed(&mut kept, CORS_PREFIX);
    join_vary(&mut kept);
    let converted = kept.iter().filter_map(|(name, value)| {
        let name = ServerHeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, ServerHeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    converted.collect()
}

/// Converts headers from the server library to the client library. Both use the same types, in two
/// versions, so that every value is valid in the other.
fn converted(headers: &ServerHeaders) -> HeaderMap {
    let converted = headers.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    converted.collect()
}

/// Removes the headers for one connection only.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers
}

fn remove_prefixed(headers: &mut HeaderMap, prefix: &str) {
    let names: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(prefix)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Joins several lines of `Vary` (RFC 9110 §5.3): the CORS middleware extends the first one and drops
/// the others.
fn join_vary(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers.get_all(VARY).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b", "[..]))
    {
        headers.insert(VARY, joined);
    }
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
        assert_eq!(end_to_end(headers), map(&[("x-three", "3")]));
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
    fn vary_is_joined_and_other_repeated_headers_are_not() {
        let headers = to_client(map(&[
            ("vary", "accept-encoding"),
            ("vary", "authorization"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ]));
        let all = |name| headers.get_all(name).map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("vary"), ["accept-encoding, authorization"]);
        assert_eq!(all("set-cookie"), ["a=1", "b=2"]);
    }
}
