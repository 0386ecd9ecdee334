//! Calls between the services.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, response::Parts, uri::PathAndQuery};
use tokio::{task::JoinSet, time::timeout};

use super::{
    AttemptError, BoxError, HttpClient, Options, Policy, SendError, Upstream, client::whole_body,
};
use crate::{
    runtime::{
        settings::url::Replicas,
        trace::{TRACE_TARGET, inject_trace},
    },
    web::{
        changes::{KeyClock, listen},
        internal::InternalSecret,
    },
};

/// The longest time for the head of a response. The services answer such calls from memory or an index.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time for a whole body after that.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// The time without an answer after which another replica gets the call, too.
const HEDGE_AFTER: Duration = Duration::from_millis(500);

/// A client of another service. Clones share their connections and what they know about replicas.
#[derive(Debug, Clone)]
pub struct ServiceClient {
    upstream: Arc<Upstream>,
    http: HttpClient,
    secret: InternalSecret,
}

/// A call without a response.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No replica can be connected.
    #[error("no connection")]
    NotConnected(#[source] Option<BoxError>),
    /// The connection was closed before the response was complete.
    #[error("the connection was closed before the response was complete")]
    Broken(#[source] BoxError),
    /// The response did not arrive in time.
    #[error("the response did not arrive in time")]
    Timeout,
    /// The path or query cannot be sent.
    #[error("the path cannot be sent")]
    InvalidTarget(#[from] http::uri::InvalidUri),
}

impl ServiceClient {
    /// Creates a client of the service with this name, which is used in messages and traces, at these
    /// addresses, which has the same secret.
    pub fn new(name: &'static str, addresses: Replicas, secret: InternalSecret) -> Self {
        let options = Options { hedge_after: HEDGE_AFTER, ..Options::default() };
        let upstream = Upstream::new(name, addresses, options);
        Self { upstream, http: HttpClient::shared(), secret }
    }

    /// Returns the service.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Keeps a clock up to date by the changes that the service reports, until the returned set is
    /// dropped.
    pub fn listen(&self, clock: &Arc<KeyClock>) -> JoinSet<()> {
        listen(&self.upstream, self.secret.clone(), clock)
    }

    /// Sends `GET` with a path and query. Returns the status and the body, of at most `max_bytes`.
    pub async fn get(
        &self,
        target: &str,
        max_bytes: usize,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let (head, body) = self.get_with_headers(target, HeaderMap::new(), max_bytes).await?;
        Ok((head.status, body))
    }

    /// Like [`get`](Self::get), with headers of the request and of the response.
    pub async fn get_with_headers(
        &self,
        target: &str,
        mut headers: HeaderMap,
        max_bytes: usize,
    ) -> Result<(Parts, Bytes), CallError> {
        let target: PathAndQuery = target.parse()?;
        let span = tracing::debug_span!(
            target: TRACE_TARGET,
            "call",
            otel.name = format_args!("GET {}", self.upstream.name()),
            otel.kind = "client",
            url.path = target.path()
        );
        inject_trace(&span, &mut headers);
        self.secret.add_to(&mut headers);
        let attempt = |replica: Arc<super::Replica>| {
            let body = whole_body(Bytes::new());
            let request = replica.request(target.clone(), headers.clone(), body);
            let http = &self.http;
            async move {
                let exchange = http.exchange::<std::convert::Infallible>(&replica, request);
                timeout(HEAD_TIMEOUT, exchange).await.unwrap_or(Err(AttemptError::Timeout))
            }
        };
        let call = async {
            let response = self.upstream.send(Policy::SAFE, attempt).await?;
            let head = response.head.clone();
            let body = timeout(BODY_TIMEOUT, response.bytes(max_bytes, HEAD_TIMEOUT)).await;
            Ok((head, body.map_err(|_| CallError::Timeout)?.map_err(CallError::Broken)?))
        };
        tracing::Instrument::instrument(call, span).await
    }
}

impl From<SendError<std::convert::Infallible>> for CallError {
    fn from(error: SendError<std::convert::Infallible>) -> Self {
        match error {
            SendError::Unavailable(error) => Self::NotConnected(error),
            SendError::Failed(AttemptError::NotConnected(error)) => Self::NotConnected(Some(error)),
            SendError::Failed(AttemptError::Broken(error) | AttemptError::Truncated(error)) => {
                Self::Broken(error)
            }
            SendError::Failed(AttemptError::Timeout) => Self::Timeout,
            SendError::Failed(AttemptError::Other(never)) => match never {},
        }
    }
}
