//! HTTP clients with timeouts and without redirects or proxies.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, ClientBuilder, Response, dns::Resolve, redirect};
use serde::de::DeserializeOwned;

/// The longest time for opening a connection to a service. The services are on the same network;
/// one that does not accept within a second is down.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The time for which an unused connection is kept: well below [`crate::web::server::KEEP_ALIVE`],
/// so that a request is never sent on a connection that the server is about to close.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest time for opening a connection to a provider on the internet, with TLS.
const PROVIDER_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest time for opening a connection to an address that a user of the API chose, with TLS.
pub const OUTBOUND_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time for a whole response of a provider: a client is waiting.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(5);

/// The most redirects that a download follows: from http to https, to another host, and to a signed address.
const MAX_REDIRECTS: usize = 5;

/// Returns a client for calls between the services.
///
/// It follows no redirects, ignores the proxy settings of the environment, and fails if nothing
/// arrives for `read_timeout`.
pub fn service_client(read_timeout: Duration) -> reqwest::Result<Client> {
    builder().read_timeout(read_timeout).build()
}

/// Returns a client for calls to the gateway of the same process, like [`service_client`].
///
/// It accepts any certificate: that of the gateway is for the name of the site, not for the address of
/// this machine, and no other process can listen on the port.
pub fn own_gateway_client(read_timeout: Duration) -> reqwest::Result<Client> {
    builder().read_timeout(read_timeout).danger_accept_invalid_certs(true).build()
}

/// Returns a client for calls to a third-party service, such as an identity provider.
pub fn provider_client() -> reqwest::Result<Client> {
    builder().connect_timeout(PROVIDER_CONNECT_TIMEOUT).timeout(PROVIDER_TIMEOUT).build()
}

/// Returns a client for addresses that users of the API choose. It connects to what `resolver` returns
/// for a name. [`super::outbound`] checks the addresses.
pub(super) fn outbound_client<R: Resolve + 'static>(
    resolver: Arc<R>,
    timeout: Duration,
) -> reqwest::Result<Client> {
    builder()
        .connect_timeout(OUTBOUND_CONNECT_TIMEOUT)
        .timeout(timeout)
        // A connection for each target is kept during a burst.
        .pool_max_idle_per_host(2)
        .user_agent(concat!("Turbulence/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(resolver)
        .build()
}

/// Returns a client for files of an address that an operator names. It follows some redirects, as those of
/// buckets, and fails if nothing arrives for `read_timeout`.
pub fn download_client(read_timeout: Duration) -> reqwest::Result<Client> {
    builder()
        .connect_timeout(OUTBOUND_CONNECT_TIMEOUT)
        .read_timeout(read_timeout)
        .redirect(redirect::Policy::limited(MAX_REDIRECTS))
        .user_agent(concat!("Turbulence/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// A response that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadJsonError {
    /// The body did not arrive.
    #[error("the response did not arrive")]
    Interrupted(#[source] reqwest::Error),
    /// The body is longer than the limit.
    #[error("the response has more than {0} bytes")]
    TooLarge(usize),
    /// The body is not the expected JSON.
    #[error("the response cannot be parsed")]
    Invalid(#[source] serde_json::Error),
}

/// Reads a JSON response of at most `max_bytes`.
pub async fn read_json<T: DeserializeOwned>(
    mut response: Response,
    max_bytes: usize,
) -> Result<T, ReadJsonError> {
    let mut body = Vec::new();
    // The address may contain a secret.
    let interrupted = |error: reqwest::Error| ReadJsonError::Interrupted(error.without_url());
    while let Some(chunk) = response.chunk().await.map_err(interrupted)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(ReadJsonError::TooLarge(max_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(ReadJsonError::Invalid)
}

fn builder() -> ClientBuilder {
    #[expect(clippy::disallowed_methods, reason = "the one place that sets the timeouts")]
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(redirect::Policy::none())
        .no_proxy()
}
