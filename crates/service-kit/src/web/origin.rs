//! The origin of a request: the address of the client, and the scheme and host that it used.
//!
//! A proxy hides its clients and names them in headers, which every client can send too. They count
//! only from the proxies of the setting `server.trusted_proxies`, and are read from right to left:
//! each proxy appends the address that it sees, so that the first address that is no trusted proxy is
//! the client. Addresses further to the left are claims of that client.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr, SocketAddrV4},
    sync::Arc,
};

use actix_web::{
    dev::RequestHead,
    http::header::{
        FORWARDED, HeaderMap, HeaderName, HeaderValue, X_FORWARDED_FOR, X_FORWARDED_HOST,
        X_FORWARDED_PROTO,
    },
};

use smart_default::SmartDefault;

use crate::runtime::settings::{self, networks::Networks};

const HTTP: &str = "http";
const HTTPS: &str = "https";

/// The position of a process in the network, which determines the proxies that it trusts by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkPosition {
    /// Clients connect to the process. It trusts no proxy.
    Edge,
    /// The gateway connects to the process. It trusts a gateway on the same machine.
    BehindGateway,
}

/// The proxies whose headers are trusted.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<Networks>);

impl TrustedProxies {
    /// Returns the proxies of the settings, or the default of this position.
    pub fn new(settings: &settings::Server, position: NetworkPosition) -> Self {
        let networks = settings.trusted_proxies.clone().unwrap_or_else(|| match position {
            NetworkPosition::Edge => Networks::default(),
            NetworkPosition::BehindGateway => Networks::loopback(),
        });
        Self(Arc::new(networks))
    }

    /// Returns `true` if the address is one of a trusted proxy.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }
}

/// The origin of a request. It is among the request's extensions.
#[derive(Debug, Clone, SmartDefault, PartialEq, Eq)]
pub struct RequestOrigin {
    /// The address of the client. `None` if the connection has none, as in some tests.
    pub client: Option<IpAddr>,
    /// The scheme that the client used: the one that a trusted proxy reports, or that of the connection.
    #[default(HTTP)]
    pub scheme: &'static str,
    /// The host that a trusted proxy reports.
    pub host: Option<HeaderValue>,
}

impl RequestOrigin {
    /// Returns the origin of a request on a connection with or without TLS.
    pub(crate) fn of(request: &RequestHead, has_tls: bool, proxies: &TrustedProxies) -> Self {
        let peer = request.peer_addr.map(|peer| peer.ip().to_canonical());
        let direct = Self { client: peer, scheme: if has_tls { HTTPS } else { HTTP }, host: None };
        let Some(peer) = peer.filter(|peer| proxies.contains(*peer)) else { return direct };
        let headers = &request.headers;
        let forwarded = forwarded(headers);
        let by_forwarded = client(peer, forwarded.iter().map(|hop| hop.address), proxies);
        let by_x_forwarded = client(peer, x_forwarded_for(headers).into_iter(), proxies);
        // A proxy that writes one of the headers may pass on the other one as the client sent it.
        let address = match (by_forwarded, by_x_forwarded) {
            (Some(one), Some(other)) if one != other => None,
            (one, other) => one.or(other),
        };
        let nearest = forwarded.into_iter().next().unwrap_or_default();
        let scheme = last(headers, &X_FORWARDED_PROTO).map(Cow::Borrowed).or(nearest.scheme);
        let host = headers.get_all(X_FORWARDED_HOST).last().cloned();
        let scheme = scheme.and_then(|scheme| {
            [HTTP, HTTPS].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))
        });
        let host_in_forwarded = || HeaderValue::from_str(&nearest.host?).ok();
        Self {
            client: Some(address.unwrap_or(peer)),
            scheme: scheme.unwrap_or(direct.scheme),
            host: host.or_else(host_in_forwarded),
        }
    }

    /// Returns the client as one party of a limit. A client of IPv6 has a whole network of 64 bits
    /// (RFC 6177).
    pub fn network(&self) -> Option<IpAddr> {
        self.client.map(network)
    }
}

/// Returns the address itself, or its network of 64 bits.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Returns the client that a list of addresses leads to, beginning with the one that the peer added.
/// `None` stands for one that cannot be read: the proxy that added it is as far as the list leads.
/// Returns `None` if the list is empty.
fn client(
    peer: IpAddr,
    addresses: impl Iterator<Item = Option<IpAddr>>,
    proxies: &TrustedProxies,
) -> Option<IpAddr> {
    let mut addresses = addresses.peekable();
    addresses.peek()?;
    let mut client = peer;
    for address in addresses {
        match address {
            Some(address) => client = address,
            None => break,
        }
        if !proxies.contains(client) {
            break;
        }
    }
    Some(client)
}

/// Returns the addresses of `X-Forwarded-For`, the last one first.
fn x_forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines: Vec<_> = headers.get_all(X_FORWARDED_FOR).collect();
    let texts = lines.into_iter().rev().flat_map(|line| match line.to_str() {
        Ok(line) => line.rsplit(',').map(Some).collect(),
        Err(_) => vec![None],
    });
    texts.map(|text| text.and_then(address)).collect()
}

fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    Some(headers.get_all(name).last()?.to_str().ok()?.rsplit(',').next()?.trim())
}

/// An element of `Forwarded`.
#[derive(Debug, Default)]
struct Hop<'a> {
    address: Option<IpAddr>,
    scheme: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
}

/// Returns the elements of `Forwarded` (RFC 7239), the last one first. A line that cannot be read is an
/// element without members: what a proxy appended to it cannot be told from what the client sent.
fn forwarded(headers: &HeaderMap) -> Vec<Hop<'_>> {
    let lines: Vec<_> = headers.get_all(FORWARDED).collect();
    let hops = lines.into_iter().rev().flat_map(|line| {
        let elements = line.to_str().ok().and_then(|line| split(line, ','));
        let hops = elements.and_then(|all| all.into_iter().rev().map(hop).collect());
        hops.unwrap_or_else(|| vec![Hop::default()])
    });
    hops.collect()
}

fn hop(element: &str) -> Option<Hop<'_>> {
    let mut hop = Hop::default();
    for pair in split(element, ';')? {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value = unquoted(value.trim())?;
        match name.trim() {
            name if name.eq_ignore_ascii_case("for") => hop.address = address(&value),
            name if name.eq_ignore_ascii_case("proto") => hop.scheme = Some(value),
            name if name.eq_ignore_ascii_case("host") => hop.host = Some(value),
            _ => {}
        }
    }
    Some(hop)
}

/// Splits a text at a separator outside quoted strings. Returns `None` if a quoted string does not end.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(|c: char| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match c {
            '"' if !was_escaped => is_quoted = !is_quoted,
            '\\' if is_quoted => is_escaped = !was_escaped,
            _ => {}
        }
        c == separator && !is_quoted
    });
    let parts = parts.collect();
    (!is_quoted).then_some(parts)
}

/// Returns the content of a quoted string (RFC 9110 §5.6.4), or a token as it is.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else {
        return (!value.contains('"')).then_some(Cow::Borrowed(value));
    };
    let quoted = quoted.strip_suffix('"')?;
    let (mut content, mut characters) = (String::new(), quoted.chars());
    while let Some(c) = characters.next() {
        match c {
            '"' => return None,
            '\\' => content.push(characters.next()?),
            c => content.push(c),
        }
    }
    Some(Cow::Owned(content))
}

/// Parses an address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_port = port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok();
            address.parse::<Ipv6Addr>().ok().filter(|_| is_port).map(IpAddr::V6)
        }
        None => {
            let with_port = || text.parse::<SocketAddrV4>().ok().map(|both| IpAddr::V4(*both.ip()));
            text.parse().ok().or_else(with_port)
        }
    };
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde_json::{from_value, json};

    use super::*;

    /// Returns the origin of a request from `peer`, with the trusted networks 10.0.0.0/8 and ::1.
    fn origin(peer: &str, headers: &[(&'static str, &str)]) -> RequestOrigin {
        let trusted = from_value(json!(["10.0.0.0/8", "::1"])).unwrap();
        let peer = std::net::SocketAddr::new(peer.parse().unwrap(), 1);
        let request = headers
            .iter()
            .fold(TestRequest::default().peer_addr(peer), |request, header| {
                request.append_header(*header)
            })
            .to_http_request();
        RequestOrigin::of(request.head(), false, &TrustedProxies(Arc::new(trusted)))
    }

    fn client_of(peer: &str, headers: &[(&'static str, &str)]) -> String {
        origin(peer, headers).client.unwrap().to_string()
    }

    #[test]
    fn the_client_is_the_first_address_from_the_right_that_is_no_trusted_proxy() {
        for (peer, said, client) in [
            ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),
            ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
            ("::1", "[2001:db8::1]:4711", "2001:db8::1"),
            ("::1", "2001:db8::1", "2001:db8::1"),
            ("::1", "::ffff:198.51.100.1", "198.51.100.1"),
            // An address that cannot be read: the proxy that reports it is known, and no more.
            ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "198.51.100.1,", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
        ] {
            assert_eq!(client_of(peer, &[("x-forwarded-for", said)]), client, "{peer}: {said}");
        }
    }

    #[test]
    fn the_last_line_is_the_nearest() {
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(client_of("10.0.0.1", &lines), "198.51.100.1");
        let lines = [("forwarded", "for=6.6.6.6"), ("forwarded", "for=198.51.100.1")];
        assert_eq!(client_of("10.0.0.1", &lines), "198.51.100.1");
    }

    #[test]
    fn forwarded_is_read_by_its_grammar() {
        for (said, client) in [
            ("for=198.51.100.1", "198.51.100.1"),
            ("For=\"198.51.100.1:80\";proto=https;by=10.0.0.1", "198.51.100.1"),
            ("proto=http; FOR = \"[2001:db8::1]:80\"", "2001:db8::1"),
            ("for=6.6.6.6, for=198.51.100.1 , for=10.0.0.2", "198.51.100.1"),
            ("for=6.6.6.6;host=\"a, for=7.7.7.7\", for=198.51.100.1", "198.51.100.1"),
            (r#"for=6.6.6.6;host="a\", for=7.7.7.7", for=198.51.100.1"#, "198.51.100.1"),
            ("for=_hidden", "10.0.0.1"),
            ("for=unknown, for=10.0.0.2", "10.0.0.2"),
            ("proto=https", "10.0.0.1"),
            // A quotation mark of the client cannot swallow what the proxy appends.
            ("host=\"x, for=198.51.100.1", "10.0.0.1"),
            ("host=\"x, for=\"[2001:db8::1]:80\"", "10.0.0.1"),
            ("host=\"x, for=\"[2001:db8::1]:80\";a=\"", "10.0.0.1"),
        ] {
            assert_eq!(client_of("10.0.0.1", &[("forwarded", said)]), client, "{said}");
        }
    }

    #[test]
    fn headers_that_name_different_clients_are_both_ignored() {
        let both = |forwarded| [("forwarded", forwarded), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(client_of("10.0.0.1", &both("for=198.51.100.1")), "198.51.100.1");
        assert_eq!(client_of("10.0.0.1", &both("for=6.6.6.6")), "10.0.0.1");
    }

    #[test]
    fn scheme_and_host_are_those_of_a_trusted_proxy() {
        let headers = [("x-forwarded-proto", "HTTPS"), ("x-forwarded-host", "site.example")];
        let trusted = origin("10.0.0.1", &headers);
        assert_eq!(trusted.scheme, "https");
        assert_eq!(trusted.host.unwrap(), "site.example");
        let stranger = origin("203.0.113.5", &headers);
        assert_eq!((stranger.scheme, stranger.host), ("http", None));
        let standard = origin("10.0.0.1", &[("forwarded", "proto=https;host=\"a.example:8443\"")]);
        assert_eq!(standard.scheme, "https");
        assert_eq!(standard.host.unwrap(), "a.example:8443");
        assert_eq!(origin("10.0.0.1", &[("x-forwarded-proto", "gopher")]).scheme, "http");
        let head = TestRequest::default().peer_addr(([10, 0, 0, 1], 1).into()).to_http_request();
        let proxies = TrustedProxies::default();
        assert_eq!(RequestOrigin::of(head.head(), true, &proxies).scheme, "https");
    }

    #[test]
    fn only_services_trust_a_gateway_on_the_same_machine_by_default() {
        let (server, loopback) = (settings::Server::default(), IpAddr::from([127, 0, 0, 1]));
        assert!(!TrustedProxies::new(&server, NetworkPosition::Edge).contains(loopback));
        let behind = TrustedProxies::new(&server, NetworkPosition::BehindGateway);
        assert!(behind.contains(loopback) && !behind.contains([172, 18, 0, 3].into()));
    }
}
