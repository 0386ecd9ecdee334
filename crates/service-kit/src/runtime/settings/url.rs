//! Settings that are addresses: of services, and of identity providers.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, de};
use url::{Host, Url};

use super::comma_separated::CommaSeparated;

/// An `http://` address without path, query or user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

impl HttpUrl {
    /// Returns the address; it always has a host and ends in `/`.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Returns the host: a name, or an IP address.
    pub fn host(&self) -> String {
        self.0.host_str().unwrap_or_default().to_owned()
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(80)
    }

    /// Returns the IP address, or `None` if the host is a name.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Ipv4(ip) => Some(ip.into()),
            Host::Ipv6(ip) => Some(ip.into()),
            Host::Domain(_) => None,
        }
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = parse(text)?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if url.scheme() == "http" && is_bare && !text.contains('@') {
            Ok(Self(url))
        } else {
            Err(format!("{} is not of the form http://host:port", shown(text)))
        }
    }
}

impl fmt::Display for HttpUrl {
    /// Writes the address without a slash at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl<'de> Deserialize<'de> for HttpUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl From<SocketAddr> for HttpUrl {
    /// Returns the address at which clients on this machine reach a listener.
    fn from(address: SocketAddr) -> Self {
        #[expect(clippy::expect_used, reason = "an IP address and a port make an address")]
        local_url(address).parse().expect("the address of a listener is an address")
    }
}

/// An `http://` or `https://` address of any server, without query or user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebUrl(Url);

impl FromStr for WebUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = parse(text)?;
        let is_plain = url.query().is_none() && url.fragment().is_none() && !text.contains('@');
        if matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain {
            Ok(Self(url))
        } else {
            Err(format!("{} is not of the form https://host/path", shown(text)))
        }
    }
}

impl<'de> Deserialize<'de> for WebUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl From<HttpUrl> for WebUrl {
    fn from(HttpUrl(url): HttpUrl) -> Self {
        Self(url)
    }
}

impl From<WebUrl> for String {
    fn from(url: WebUrl) -> Self {
        url.0.into()
    }
}

/// Returns the address at which clients on this machine reach a listener.
pub fn local_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// The addresses of a service's replicas: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicas(Vec<HttpUrl>);

impl Replicas {
    /// Returns the addresses in the order in which they were given.
    pub fn urls(&self) -> &[HttpUrl] {
        &self.0
    }

    /// Returns `true` if one of the hosts is a name rather than an IP address.
    pub fn have_names(&self) -> bool {
        self.0.iter().any(|url| url.ip().is_none())
    }

    /// Returns the first address.
    pub fn first(&self) -> &HttpUrl {
        &self.0[0]
    }
}

impl FromStr for Replicas {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(CommaSeparated::from(text))
    }
}

impl TryFrom<CommaSeparated> for Replicas {
    type Error = String;

    fn try_from(CommaSeparated(texts): CommaSeparated) -> Result<Self, Self::Error> {
        if texts.is_empty() {
            return Err("at least one address is needed".to_owned());
        }
        texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl From<SocketAddr> for Replicas {
    fn from(address: SocketAddr) -> Self {
        HttpUrl::from(address).into()
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(", "))
    }
}

impl From<HttpUrl> for Replicas {
    fn from(url: HttpUrl) -> Self {
        Self(vec![url])
    }
}

impl<'de> Deserialize<'de> for Replicas {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        CommaSeparated::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
    }
}

/// An `https://` address at an identity provider. `http://` is accepted for a provider on the same
/// machine: over a network, others could send keys of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderUrl {
    url: Url,
    text: String,
}

impl ProviderUrl {
    /// Returns an address that is written in the code.
    pub(super) fn constant(text: &'static str) -> Self {
        #[expect(clippy::expect_used, reason = "a test loads the defaults")]
        text.parse().expect("an address in the code is one")
    }

    /// Returns the address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the address as it was given: issuers are compared letter for letter.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ProviderUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = parse(text)?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        if !(is_plain && url.fragment().is_none() && matches!(url.scheme(), "http" | "https")) {
            return Err(format!("{} is not of the form https://host/path", shown(text)));
        }
        if !is_confidential(&url) {
            return Err(format!("{text:?} has to begin with https:// except on this machine"));
        }
        Ok(Self { url, text: text.to_owned() })
    }
}

/// Returns `true` if no other machine can read or change requests to the address.
pub(crate) fn is_confidential(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}

impl fmt::Display for ProviderUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ProviderUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

fn parse(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| format!("{} cannot be parsed: {error}", shown(text)))
}

/// Returns the address for an error message, unless it may hold a password.
fn shown(text: &str) -> String {
    if text.contains('@') { "the address".to_owned() } else { format!("{text:?}") }
}
