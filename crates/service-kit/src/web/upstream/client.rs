//! One exchange with one replica: a request, the head of its response, and bodies of bounded size.
//!
//! Bodies are streamed. The beginning of a body is held for a moment first ([`hold`]), since most
//! bodies are small and arrive at once: a request whose whole body is held can be sent again, and a
//! response that is truncated before anything was passed on counts as a failure of the replica.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, Request, StatusCode, response::Parts, uri::PathAndQuery};
use http_body_util::{BodyDataStream, BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use models::ErrorCode;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::replica::Replica;
use crate::web::http_client::{CONNECT_TIMEOUT, IDLE_TIMEOUT};

/// The largest body that is held, in bytes: larger than almost all answers and texts, and small enough
/// for thousands of requests at a time.
pub const HOLD_MAX_BYTES: usize = 64 * 1024;

/// The longest time for which the beginning of a body is held: a service sends head and body at once.
pub const HOLD_TIMEOUT: Duration = Duration::from_millis(50);

/// The names of the states in which a service refuses requests.
const NOT_READY: &str = ErrorCode::NotReady.as_str();
const DRAINING: &str = "draining";
const OVERLOADED: &str = ErrorCode::Overloaded.as_str();

/// The size of the buffer of a connection, in bytes. The head of a response has to fit.
const BUFFER_BYTES: usize = 128 * 1024;

/// An error of any kind.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// An HTTP/1.1 client for services. It sends addresses and headers as they are, follows no redirects,
/// and knows no proxies.
#[derive(Debug, Clone)]
pub struct HttpClient(Client<HttpConnector, RequestBody>);

/// Runs the connections on the thread that made the request.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        drop(tokio::task::spawn_local(async move { drop(future.await) }));
    }
}

impl HttpClient {
    /// Returns a client whose connections are shared by all threads.
    pub fn shared() -> Self {
        Self::build(Client::builder(TokioExecutor::new()), usize::MAX)
    }

    /// Returns a client for one worker of a server: a request and its connection stay on one thread.
    /// It can be used on a [`tokio::task::LocalSet`] only.
    pub fn local() -> Self {
        Self::build(Client::builder(LocalExecutor), usize::MAX)
    }

    /// Returns a client that opens a connection for each request, and closes it afterwards.
    pub fn unpooled() -> Self {
        Self::build(Client::builder(TokioExecutor::new()), 0)
    }

    fn build(mut builder: hyper_util::client::legacy::Builder, max_idle: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = builder
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(max_idle)
            .http1_max_buf_size(BUFFER_BYTES)
            .build(connector);
        Self(client)
    }

    /// Sends a request to a replica. Returns the response, with the body as far as it is there at once.
    pub async fn exchange<E>(
        &self,
        replica: &Arc<Replica>,
        request: Request<RequestBody>,
    ) -> Result<Response, AttemptError<E>> {
        let response = self.0.request(request).await.map_err(|error| {
            if error.is_connect() {
                AttemptError::NotConnected(error.into())
            } else {
                AttemptError::Broken(error.into())
            }
        })?;
        let (head, body) = response.into_parts();
        let length = body.size_hint().exact();
        let body = hold(body.into_data_stream(), length).await;
        let body = body.map_err(|error| AttemptError::Truncated(error.into()))?;
        Ok(Response { head, body, replica: Arc::clone(replica) })
    }
}

impl HttpClient {
    /// Sends `GET` without headers to a replica.
    pub async fn get<E>(
        &self,
        replica: &Arc<Replica>,
        target: PathAndQuery,
    ) -> Result<Response, AttemptError<E>> {
        let request = replica.request(target, HeaderMap::new(), whole_body(Bytes::new()));
        self.exchange(replica, request).await
    }
}

/// The reason why an attempt at a replica gave no response. `E` is a reason of the caller's own.
#[derive(Debug)]
pub enum AttemptError<E> {
    /// No connection: no part of the request can have arrived.
    NotConnected(BoxError),
    /// A connection, but no head of a response.
    Broken(BoxError),
    /// The head of a response, but not the whole body, of which nothing was passed on.
    Truncated(BoxError),
    /// No response in time.
    Timeout,
    /// Another reason, which is not the replica's.
    Other(E),
}

/// The state of a service that refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is starting or draining, and did nothing.
    NotReady,
    /// It has too many requests, and says so in time.
    Overloaded,
}

/// The response of a replica.
#[derive(Debug)]
pub struct Response {
    /// The status and headers.
    pub head: Parts,
    /// The body.
    pub body: Held<BodyDataStream<Incoming>>,
    /// The replica.
    pub replica: Arc<Replica>,
}

impl Response {
    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Returns `true` if the service refused the request without doing any of it.
    pub fn is_refusal(&self) -> bool {
        self.refusal().is_some()
    }

    /// Reads the rest of the body if it is at most `max_bytes` long, with `idle` as the longest time
    /// between two parts. The part of a longer one stays before the rest.
    pub async fn hold_rest(self, max_bytes: usize, idle: Duration) -> Result<Self, BoxError> {
        let Self { head, body, replica } = self;
        let body = match body {
            Held::Whole(bytes) => Held::Whole(bytes),
            Held::Part(first, mut rest) => {
                let mut all = BytesMut::from(first.as_ref());
                loop {
                    if all.len() > max_bytes {
                        break Held::Part(all.freeze(), rest);
                    }
                    match timeout(idle, rest.next()).await? {
                        Some(chunk) => all.extend_from_slice(&chunk?),
                        None => break Held::Whole(all.freeze()),
                    }
                }
            }
        };
        Ok(Self { head, body, replica })
    }

    /// Returns the state of the service that made it refuse the request.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        /// The members that name the state. In a problem, `status` is a number.
        #[derive(Deserialize)]
        struct Body {
            code: Option<Value>,
            status: Option<Value>,
        }
        let Held::Whole(body) = &self.body else { return None };
        if self.head.status != StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        let body: Body = serde_json::from_slice(body).ok()?;
        let mut names = [&body.code, &body.status].into_iter().flatten().filter_map(Value::as_str);
        names.find_map(|name| match name {
            NOT_READY | DRAINING => Some(Refusal::NotReady),
            OVERLOADED => Some(Refusal::Overloaded),
            _ => None,
        })
    }

    /// Reads the whole body, of at most `max_bytes`, with `idle` as the longest time between two parts.
    pub async fn bytes(self, max_bytes: usize, idle: Duration) -> Result<Bytes, BoxError> {
        let (mut all, mut rest) = match self.body {
            Held::Whole(bytes) if bytes.len() <= max_bytes => return Ok(bytes),
            Held::Whole(_) => return Err(TooLarge(max_bytes).into()),
            Held::Part(first, rest) => (BytesMut::from(first.as_ref()), rest),
        };
        while let Some(chunk) = timeout(idle, rest.next()).await? {
            all.extend_from_slice(&chunk?);
            if all.len() > max_bytes {
                return Err(TooLarge(max_bytes).into());
            }
        }
        Ok(all.freeze())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the response has more than {0} bytes")]
struct TooLarge(usize);

/// A body whose beginning is held.
#[derive(Debug)]
pub enum Held<S> {
    /// All of it.
    Whole(Bytes),
    /// The beginning, and the source of the rest.
    Part(Bytes, S),
}

/// Holds a body if it is small and arrives at once, else its beginning. A body that is known to be
/// longer is not held at all.
pub async fn hold<S, E>(mut source: S, length: Option<u64>) -> Result<Held<S>, E>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let max = u64::try_from(HOLD_MAX_BYTES).unwrap_or(u64::MAX);
    match length {
        Some(0) => return Ok(Held::Whole(Bytes::new())),
        Some(length) if length > max => return Ok(Held::Part(Bytes::new(), source)),
        _ => {}
    }
    let mut chunks = Vec::with_capacity(1);
    let mut held = 0;
    let read = async {
        while held <= HOLD_MAX_BYTES {
            let Some(chunk) = source.next().await else { return Ok(true) };
            let chunk = chunk?;
            held += chunk.len();
            chunks.push(chunk);
        }
        Ok(false)
    };
    let is_whole = timeout(HOLD_TIMEOUT, read).await.unwrap_or(Ok(false))?;
    let bytes = match chunks.pop() {
        // Usually the only one, which need not be copied.
        Some(only) if chunks.is_empty() => only,
        Some(last) => {
            chunks.push(last);
            chunks.concat().into()
        }
        None => Bytes::new(),
    };
    Ok(if is_whole { Held::Whole(bytes) } else { Held::Part(bytes, source) })
}

/// Returns the body of a request that has these bytes.
pub fn whole_body(bytes: Bytes) -> RequestBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Returns the body of a request that is streamed.
pub fn streamed_body<E>(
    source: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> RequestBody
where
    E: Into<BoxError>,
{
    let frames = source.map(|chunk| chunk.map(Frame::data).map_err(Into::into));
    StreamBody::new(frames).boxed_unsync()
}
