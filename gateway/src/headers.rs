//! Which headers are passed on.
//!
//! Headers for one connection only are taken out in both directions. The gateway is the edge: what
//! a client says about where its request came from is replaced by what the gateway knows.

use std::net::IpAddr;

use actix_web::http::{
    Uri,
    header::{
        HeaderMap as ServerHeaders, HeaderName as ServerHeaderName,
        HeaderValue as ServerHeaderValue,
    },
};
use reqwest::header::{AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, VARY};
use service_kit::server::{REQUEST_ID, RequestId};

/// Headers that end at the next hop (RFC 9110 §7.6.1; the `proxy-` ones are between a client and
/// its own proxy), besides those that `Connection` names.
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

/// Headers of a request that the gateway answers or says itself. `Expect` is answered on arrival.
const SAID_BY_THE_GATEWAY: [&str; 4] = ["expect", "forwarded", "host", REQUEST_ID];

/// All headers that begin so are said by the gateway itself.
const FORWARDED_PREFIX: &str = "x-forwarded-";

/// Whose request it is.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// All headers that begin so come from the gateway's own settings.
const CORS_PREFIX: &str = "access-control-";

/// The gateway itself speaks nothing but HTTP.
const PROTO: HeaderValue = HeaderValue::from_static("http");

/// What the gateway knows about a request.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) uri: &'a Uri,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) request_id: Option<&'a RequestId>,
}

/// The headers of a client's request as they go to a service.
pub(crate) fn to_service(headers: &ServerHeaders, arrival: &Arrival<'_>) -> HeaderMap {
    let headers = converted(headers);
    let host = match arrival.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => headers.get(HOST).cloned(),
    };
    let mut kept = end_to_end(headers);
    for name in SAID_BY_THE_GATEWAY {
        kept.remove(name);
    }
    remove_prefixed(&mut kept, FORWARDED_PREFIX);

    let mut say = |name, value| {
        if let Some(value) = value {
            kept.insert(HeaderName::from_static(name), value);
        }
    };
    let text = |text: &str| HeaderValue::from_str(text).ok();
    say("x-forwarded-for", arrival.peer.and_then(|peer| text(&peer.to_string())));
    say("x-forwarded-host", host);
    say("x-forwarded-proto", Some(PROTO));
    say(REQUEST_ID, arrival.request_id.and_then(|id| text(id.as_str())));
    kept
}

/// Who asks, of what goes to a service: for what the gateway asks on a client's behalf.
pub(crate) fn of_caller(mut headers: HeaderMap) -> HeaderMap {
    let kept = [AUTHORIZATION, X_FORWARDED_FOR, HeaderName::from_static(REQUEST_ID)];
    kept.into_iter().filter_map(|name| Some((name.clone(), headers.remove(name)?))).collect()
}

/// The headers of a service's answer as they go to the client. Its length is among them; whether
/// it applies depends on the body.
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

/// The server and the client libraries use two versions of the same types, so that what is valid
/// in one is valid in the other.
fn converted(headers: &ServerHeaders) -> HeaderMap {
    let converted = headers.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    converted.collect()
}

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

/// Several lines as one (RFC 9110 §5.3): the CORS middleware adds to the first and drops the rest.
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
    fn what_connection_names_is_removed_in_any_spelling_and_line() {
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
    fn connection_cannot_remove_what_the_gateway_says() {
        let uri = Uri::from_static("/sections");
        let peer = Some(IpAddr::from([192, 0, 2, 1]));
        let arrival = Arrival { uri: &uri, peer, request_id: None };
        let sent = server_map(&[("connection", "x-forwarded-for, host"), ("host", "site.example")]);
        assert_eq!(
            to_service(&sent, &arrival),
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
        let arrival = Arrival { uri: &uri, peer: None, request_id: None };
        let headers = to_service(&server_map(&[("host", "in-the-header.example")]), &arrival);
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
