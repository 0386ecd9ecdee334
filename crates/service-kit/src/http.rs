//! HTTP clients: with timeouts, without surprises, and part of the caller's trace.

use std::time::Duration;

use opentelemetry::{Context, global};
use opentelemetry_http::HeaderInjector;
use reqwest::{Client, ClientBuilder, header::HeaderMap, redirect};
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
