//! HTTP clients: with timeouts, without surprises, and part of the caller's trace.

use std::time::Duration;

use opentelemetry::{Context, global};
use opentelemetry_http::HeaderInjector;
use reqwest::{Client, ClientBuilder, Response, header::HeaderMap, redirect};
use serde::de::DeserializeOwned;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// How long opening a connection may take. The services are neighbours; one that does not accept
/// within a second is down.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long an unused connection is kept: well below [`crate::server::KEEP_ALIVE`], so that a
/// request is never sent on a connection that the server is about to close.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// A client for calls between the services.
///
/// It follows no redirects, reads no proxy settings, and fails when nothing arrives for
/// `read_timeout`.
pub fn client(read_timeout: Duration) -> reqwest::Result<Client> {
    builder().read_timeout(read_timeout).build()
}

/// A client for passing requests on. Whoever uses it sets a timeout for each stage: that of
/// [`client`] would also cut off an upload that takes longer.
pub fn streaming_client() -> reqwest::Result<Client> {
    builder().build()
}

/// How long opening a connection to a provider on the internet may take, with TLS.
const PROVIDER_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a provider may take for an answer: somebody waits for theirs meanwhile.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for calls to somebody else's service, such as an identity provider.
pub fn provider_client() -> reqwest::Result<Client> {
    builder().connect_timeout(PROVIDER_CONNECT_TIMEOUT).timeout(PROVIDER_TIMEOUT).build()
}

/// The answer of another service cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It did not arrive.
    #[error("the answer did not arrive")]
    Broken(#[source] reqwest::Error),
    /// It is longer than anything sensible.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// It is not what was asked for.
    #[error("the answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
}

/// Reads an answer in JSON that has at most so many bytes.
pub async fn json_within<T: DeserializeOwned>(
    mut response: Response,
    limit: usize,
) -> Result<T, AnswerError> {
    let mut body = Vec::new();
    // The address may hold a secret.
    let broken = |error: reqwest::Error| AnswerError::Broken(error.without_url());
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > limit {
            return Err(AnswerError::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(AnswerError::Unreadable)
}

fn builder() -> ClientBuilder {
    #[expect(clippy::disallowed_methods, reason = "the one place that sets the timeouts")]
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(redirect::Policy::none())
        .no_proxy()
}

/// Adds `traceparent` and `tracestate` (W3C Trace Context) of the given span.
pub fn inject_trace(span: &tracing::Span, headers: &mut HeaderMap) {
    let context: Context = span.context();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeaderInjector(headers));
    });
}
