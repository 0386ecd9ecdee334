//! Requests to addresses that users of the API choose, such as the targets of webhooks.
//!
//! Without a check, everyone who may choose an address could send requests to servers that only the
//! network of this process reaches ("server-side request forgery", CWE-918). The check of an address
//! when it is stored is a help for its author only: a name may resolve to another address a moment
//! later ("DNS rebinding"). [`OutboundClient`] therefore resolves each name itself, for each
//! connection, and connects to addresses that it has checked and no others.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::{
    Client, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{LOCATION, RETRY_AFTER},
};
use url::{Host, Url};

use super::http_client::{OUTBOUND_CONNECT_TIMEOUT, outbound_client};
use crate::runtime::error_chain::one_line;

/// The longest time for a whole request. Receivers should answer first and work afterwards.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time for resolving a name while a caller waits.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The part of the body of a response that is read, in bytes: enough for a message about an error.
pub const MAX_RESPONSE_BYTES: usize = 4 * 1024;

/// The longest time for that part once the status is known.
const RESPONSE_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest pause that a response can demand.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// Networks of IPv4 that are not part of the public internet (IANA, "IPv4 Special-Purpose Address
/// Registry" and "IPv4 Multicast Address Space Registry").
const SPECIAL_V4: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// The network of IPv6 from which public addresses are assigned (IANA, "Internet Protocol Version 6
/// Address Space").
const PUBLIC_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Networks within it that are not part of the public internet (IANA, "IPv6 Special-Purpose Address
/// Registry"). Those of Teredo and 6to4 contain addresses of IPv4.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// The network of IPv6 in which a network without IPv4 represents the addresses of IPv4 (RFC 6052).
const NAT64: Ipv6Net = v6([0x0064, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), length)
}

/// Returns `true` if an address is one of a server on the public internet.
pub fn is_public(address: IpAddr) -> bool {
    let is_public_v4 = |address: Ipv4Addr| !SPECIAL_V4.iter().any(|one| one.contains(&address));
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        IpAddr::V6(address) => {
            PUBLIC_V6.contains(&address) && !SPECIAL_V6.iter().any(|one| one.contains(&address))
        }
    }
}

/// The source of the addresses of a name.
#[async_trait]
pub trait HostResolver: Send + Sync + 'static {
    /// Returns the addresses of a name.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

#[async_trait]
impl HostResolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = tokio::net::lookup_host((host, 0)).await?;
        Ok(addresses.map(|address| address.ip()).collect())
    }
}

/// The reason why no request is sent to an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The text is no URL.
    #[error("must be an address such as https://example.com/hook: {0}")]
    Invalid(url::ParseError),
    /// The scheme is neither `https` nor `http`.
    #[error("must begin with https://")]
    Scheme,
    /// The scheme is `http`, which is for private networks.
    #[error(
        "must begin with https://; http:// is for private networks, which an operator allows with \
         the setting `webhooks.allow_private_networks`"
    )]
    NotEncrypted,
    /// The URL has a user or a password.
    #[error("must not contain a user or a password: receivers check the signature instead")]
    Credentials,
    /// The name has no address.
    #[error(
        "the host `{0}` cannot be resolved: correct the name, or try again if the name server does \
         not answer"
    )]
    Unresolved(String),
    /// An address of the host is in a private network.
    #[error(
        "the host `{host}` has the address {address}, which is in a private or special network: use \
         a public address, or ask an operator to set `webhooks.allow_private_networks`"
    )]
    Private {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
    },
}

/// The condition for addresses.
#[derive(Clone)]
struct Guard {
    resolver: Arc<dyn HostResolver>,
    allow_private: bool,
}

impl Guard {
    /// Returns the addresses of a name, all of which may be used. A name with both public and private
    /// addresses is refused as a whole.
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, TargetError> {
        let unresolved = || TargetError::Unresolved(host.to_owned());
        let addresses = self.resolver.resolve(host).await.map_err(|_| unresolved())?;
        if addresses.is_empty() {
            return Err(unresolved());
        }
        for address in &addresses {
            self.check(host, *address)?;
        }
        Ok(addresses)
    }

    fn check(&self, host: &str, address: IpAddr) -> Result<(), TargetError> {
        if self.allow_private || is_public(address) {
            Ok(())
        } else {
            Err(TargetError::Private { host: host.to_owned(), address })
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = guard.resolve(name.as_str()).await?;
            // The client takes the port from the URL.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

/// A client of servers that users of the API choose. It follows no redirects and uses no proxy.
#[derive(Clone)]
pub struct OutboundClient {
    client: Result<Client, Arc<str>>,
    guard: Guard,
}

impl fmt::Debug for OutboundClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutboundClient")
    }
}

/// The response of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The address that a redirect names.
    pub location: Option<String>,
    /// The pause that the target demands before the next request.
    pub retry_after: Option<Duration>,
    /// The beginning of the body. Bytes that are not UTF-8 are replaced.
    pub body: String,
}

/// The reason why a request has no response.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The address is refused.
    #[error("the request was not sent: the address {0}")]
    Refused(#[from] TargetError),
    /// The target did not answer in time.
    #[error("no answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    /// The target cannot be reached, or its response is not HTTP.
    #[error("{0}")]
    Failed(String),
}

impl OutboundClient {
    /// Creates a client with the resolver of the operating system.
    pub fn new(allow_private: bool) -> Self {
        Self::with_resolver(allow_private, Arc::new(SystemResolver))
    }

    /// Creates a client with another resolver.
    pub fn with_resolver(allow_private: bool, resolver: Arc<dyn HostResolver>) -> Self {
        let guard = Guard { resolver, allow_private };
        let client = outbound_client(Arc::new(guard.clone()), REQUEST_TIMEOUT);
        Self { client: client.map_err(|error| one_line(&error).into()), guard }
    }

    /// Checks that requests may be sent to an address, as far as is known without resolving its name.
    fn parse(&self, url: &str) -> Result<Url, TargetError> {
        let url = Url::parse(url).map_err(TargetError::Invalid)?;
        match url.scheme() {
            "https" => {}
            "http" if self.guard.allow_private => {}
            "http" => return Err(TargetError::NotEncrypted),
            _ => return Err(TargetError::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        // The client connects to literal addresses without a resolver.
        let literal: Option<IpAddr> = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) => None,
            None => return Err(TargetError::Invalid(url::ParseError::EmptyHost)),
        };
        if let Some(address) = literal {
            self.guard.check(url.host_str().unwrap_or_default(), address)?;
        }
        Ok(url)
    }

    /// Checks that requests may be sent to an address, for the person who enters it.
    ///
    /// # Errors
    ///
    /// The address is refused, or its host cannot be resolved.
    pub async fn check(&self, url: &str) -> Result<(), TargetError> {
        let url = self.parse(url)?;
        let Some(Host::Domain(host)) = url.host() else { return Ok(()) };
        let unresolved = || TargetError::Unresolved(host.to_owned());
        let resolved = tokio::time::timeout(CHECK_TIMEOUT, self.guard.resolve(host)).await;
        resolved.map_err(|_| unresolved())?.map(drop)
    }

    /// Sends a POST request with these headers, and returns the response with the beginning of its
    /// body.
    ///
    /// # Errors
    ///
    /// There is no response.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Reply, OutboundError> {
        let url = self.parse(url)?;
        let client = self.client.as_ref();
        let client = client.map_err(|error| OutboundError::Failed(error.to_string()))?;
        let request = client.post(url).body(body);
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = request.send().await.map_err(|error| {
            if let Some(refused) = refusal(&error) {
                OutboundError::Refused(refused)
            } else if error.is_timeout() && !error.is_connect() {
                OutboundError::Timeout
            } else if error.is_timeout() {
                let seconds = OUTBOUND_CONNECT_TIMEOUT.as_secs();
                OutboundError::Failed(format!("no connection within {seconds} s"))
            } else {
                // The address may contain a secret.
                OutboundError::Failed(one_line(&error.without_url()))
            }
        })?;
        Ok(Reply {
            status: response.status().as_u16(),
            location: header(&response, LOCATION.as_str()),
            retry_after: header(&response, RETRY_AFTER.as_str())
                .and_then(|seconds| seconds.parse().ok())
                .map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
            body: beginning(response).await,
        })
    }
}

/// Returns the refusal of an address that caused an error of the client.
fn refusal(error: &reqwest::Error) -> Option<TargetError> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(refused) = error.downcast_ref::<TargetError>() {
            return Some(refused.clone());
        }
        source = error.source();
    }
    None
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// Returns the beginning of a body, as far as it arrives soon. The rest is not read: the connection is
/// closed.
async fn beginning(mut response: Response) -> String {
    let mut body = Vec::new();
    let read = async {
        while body.len() < MAX_RESPONSE_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
    };
    // What has arrived until then is the beginning.
    let _ = tokio::time::timeout(RESPONSE_BODY_TIMEOUT, read).await;
    body.truncate(MAX_RESPONSE_BYTES);
    String::from_utf8_lossy(&body).into_owned()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A resolver whose answers are given in advance; the last one stays.
    struct Answers(Mutex<VecDeque<Vec<IpAddr>>>);

    #[async_trait]
    impl HostResolver for Answers {
        async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            let mut answers = self.0.lock().unwrap();
            let next = answers.front().cloned().unwrap_or_default();
            if answers.len() > 1 {
                answers.pop_front();
            }
            Ok(next)
        }
    }

    fn client(allow_private: bool, answers: &[&[&str]]) -> OutboundClient {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        let answers = Answers(Mutex::new(answers.iter().map(parse).collect()));
        OutboundClient::with_resolver(allow_private, Arc::new(answers))
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "4000::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2001:4860:4860::8888",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_used_is_refused_with_the_reason() {
        let public = client(false, &[&["1.1.1.1"]]);
        for (url, reason) in [
            ("", "relative URL without a base"),
            ("example.com", "relative URL without a base"),
            ("https://", "empty host"),
            ("https://example.com:70000/", "invalid port number"),
            ("ftp://example.com/", "must begin with https://"),
            ("file:///etc/passwd", "must begin with https://"),
            ("gopher://example.com/", "must begin with https://"),
            ("http://example.com/", "http:// is for private networks"),
            ("https://user@example.com/", "a user or a password"),
            ("https://:secret@example.com/", "a user or a password"),
            ("https://127.0.0.1/", "127.0.0.1, which is in a private"),
            ("https://2130706433/", "127.0.0.1, which is in a private"),
            ("https://0x7f.1/", "127.0.0.1, which is in a private"),
            ("https://0177.0.0.1/", "127.0.0.1, which is in a private"),
            ("https://①②⑦.0.0.1/", "127.0.0.1, which is in a private"),
            ("https://[::1]/", "::1, which is in a private"),
            ("https://[::ffff:10.0.0.1]/", "10.0.0.1, which is in a private"),
            ("https://[fe80::1]/", "fe80::1, which is in a private"),
            ("https://169.254.169.254/latest/meta-data", "169.254.169.254, which is in a private"),
        ] {
            let error = public.check(url).await.unwrap_err();
            assert!(error.to_string().contains(reason), "{url}: {error}");
        }
        for url in ["https://example.com/hook", "https://example.com:8443/?a=b", "https://8.8.8.8/"]
        {
            assert_eq!(public.check(url).await, Ok(()), "{url}");
        }
        let nothing = client(false, &[&[]]);
        let error = nothing.check("https://exmaple.com/").await.unwrap_err();
        assert_eq!(error, TargetError::Unresolved("exmaple.com".to_owned()));
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_checked() {
        for addresses in [
            ["10.1.2.3", "1.1.1.1"],
            ["1.1.1.1", "10.1.2.3"],
            ["2606:4700:4700::1111", "fd00::1"],
            ["1.1.1.1", "::ffff:10.1.2.3"],
        ] {
            let mixed = client(false, &[&addresses]);
            let error = mixed.check("https://example.com/").await.unwrap_err();
            assert!(matches!(error, TargetError::Private { .. }), "{error}");
        }
        let allowed = client(true, &[&["10.1.2.3"]]);
        assert_eq!(allowed.check("http://example.com/").await, Ok(()));
        assert_eq!(allowed.check("http://127.0.0.1:8000/").await, Ok(()));
        let error = allowed.check("ftp://127.0.0.1/").await.unwrap_err();
        assert_eq!(error, TargetError::Scheme);
    }

    /// A server that counts its connections and answers each with these bytes.
    async fn server(answer: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) =
            (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer).await;
            }
        });
        (address, connections)
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_another_address_later_is_not_connected_to() {
        let (address, connections) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let url = format!("https://rebinding.example:{}/", address.port());
        let rebinding = client(false, &[&["1.1.1.1"], &["127.0.0.1"]]);
        assert_eq!(rebinding.check(&url).await, Ok(()));
        let error = rebinding.post(&url, &[], String::new()).await.unwrap_err();
        assert!(matches!(error, OutboundError::Refused(TargetError::Private { .. })), "{error:?}");
        assert_eq!(connections.load(Ordering::SeqCst), 0);
        // The same name and server are reached where private networks are allowed.
        let allowed = client(true, &[&["127.0.0.1"]]);
        let url = format!("http://rebinding.example:{}/", address.port());
        assert_eq!(allowed.post(&url, &[], String::new()).await.unwrap().status, 200);
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn redirects_are_not_followed_and_bodies_are_cut() {
        let (target, connections) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let redirect: &'static str = Box::leak(
            format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{target}/\r\n\
                 retry-after: 7\r\ncontent-length: 2\r\n\r\nno"
            )
            .into_boxed_str(),
        );
        let (first, _) = server(redirect.as_bytes()).await;
        let client = client(true, &[]);
        let reply = client.post(&format!("http://{first}/"), &[], String::new()).await.unwrap();
        assert_eq!(reply.status, 307);
        assert_eq!(reply.location, Some(format!("http://{target}/")));
        assert_eq!(reply.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(connections.load(Ordering::SeqCst), 0);

        let mut large = b"HTTP/1.1 500 Oops\r\ncontent-length: 10000000\r\n\r\n".to_vec();
        large.resize(10_000_000, b'x');
        let (large, _) = server(Box::leak(large.into_boxed_slice())).await;
        let reply = client.post(&format!("http://{large}/"), &[], String::new()).await.unwrap();
        assert_eq!((reply.status, reply.body), (500, "x".repeat(MAX_RESPONSE_BYTES)));
    }

    #[tokio::test]
    async fn a_target_that_does_not_speak_http_fails_without_its_address_in_the_message() {
        let client = client(true, &[]);
        let (garbage, _) = server(b"\x00\xff SSH-2.0-OpenSSH\r\n").await;
        let error = client.post(&format!("http://{garbage}/secret"), &[], String::new()).await;
        let error = error.unwrap_err().to_string();
        assert!(!error.contains("secret") && !error.is_empty(), "{error}");
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = client.post(&format!("http://{closed}/secret"), &[], String::new()).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("refused") && !error.contains("secret"), "{error}");
    }
}
