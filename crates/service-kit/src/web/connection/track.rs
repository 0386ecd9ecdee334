//! The middleware that tells the socket of a connection about its requests.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    http::{
        ConnectionType,
        header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    },
    web::Bytes,
};
use futures_util::{Stream, StreamExt, stream};
use models::ErrorCode;
use tokio::time::{Instant, timeout_at};

use super::limits::{Connection, Connections, HeldMemory};
use crate::{
    runtime::settings::MAX_BODY_BYTES,
    web::{error::ApiError, internal::IsInternal, rate_limit::is_unlimited},
};

/// The memory that the body of a response holds at most, in bytes. A handler adds it to the extensions of
/// the request if its body is read in parts while it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldAtMost(pub usize);

/// The memory that responses hold until they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// The whole response.
    Whole,
    /// A part of it with this number of bytes, while the rest is on its way.
    AtMost(usize),
}

impl Held {
    fn bytes(self, size: BodySize) -> usize {
        let size = match size {
            BodySize::None => 0,
            BodySize::Sized(size) => usize::try_from(size).unwrap_or(usize::MAX),
            BodySize::Stream => usize::MAX,
        };
        match self {
            Self::Whole if size == usize::MAX => 0,
            Self::Whole => size,
            Self::AtMost(bytes) => size.min(bytes),
        }
    }
}

/// A request in flight: from its head to the last byte of its response.
struct InFlight {
    connection: Arc<Connection>,
    has_body: bool,
}

impl InFlight {
    fn begin(connection: Arc<Connection>, has_body: bool) -> Self {
        connection.is_body_pending.store(has_body, Ordering::Relaxed);
        connection.begin_request();
        if has_body {
            // The socket may have kept the beginning of the body as that of a head.
            connection.waker.wake();
        }
        Self { connection, has_body }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.connection.end_request();
        if self.has_body {
            // The last bytes were those of the body, or of a head after it.
            self.connection.is_head_complete.store(true, Ordering::Relaxed);
        }
        let is_complete = self.connection.is_head_complete.load(Ordering::Relaxed);
        if !is_complete || self.connection.is_body_pending.load(Ordering::Relaxed) {
            // A part of a head or of a body is missing: its time starts now.
            self.connection.waker.wake();
        }
    }
}

/// The body of a response, with what it occupies until it is sent.
pub(crate) struct TrackedBody {
    body: BoxBody,
    _in_flight: Option<InFlight>,
    _memory: HeldMemory,
}

impl MessageBody for TrackedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}

/// Follows a request until its response is sent.
pub(crate) async fn track<B: MessageBody + 'static>(
    connections: &Connections,
    held: Held,
    mut request: ServiceRequest,
    next: impl AsyncFnOnce(ServiceRequest) -> Result<ServiceResponse<B>, Error>,
) -> Result<ServiceResponse<TrackedBody>, Error> {
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    let has_body = has_body(&request);
    let in_flight = connection.clone().map(|connection| InFlight::begin(connection, has_body));
    if has_body {
        let time = connections.timeouts().body;
        let payload = request.take_payload();
        request.set_payload(Payload::Stream {
            payload: Box::pin(limited(payload, time, connection.clone())),
        });
    }
    let response = next(request).await?.map_into_boxed_body();
    let stated = response.request().extensions().get::<HeldAtMost>().copied();
    let held = stated.map_or(held, |HeldAtMost(bytes)| Held::AtMost(bytes));
    let bytes = held.bytes(response.response().body().size());
    let (mut response, memory) = match connections.hold(bytes) {
        Some(memory) => (response, memory),
        None if !is_replaceable(response.request()) => (response, connections.hold_anyway(bytes)),
        None => {
            let detail =
                "Too many responses wait for clients that do not read. Try again in a moment.";
            let error = ApiError::new(ErrorCode::Overloaded, detail).retry_after_seconds(1);
            (response.error_response(error), connections.hold_anyway(0))
        }
    };
    let is_incomplete =
        connection.is_some_and(|connection| connection.is_body_pending.load(Ordering::Relaxed));
    if response.status().is_client_error() && is_incomplete {
        // What follows on this connection may be the rest of the body.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response.map_body(|_, body| TrackedBody { body, _in_flight: in_flight, _memory: memory }))
}

/// Returns `true` if the response to a request may be replaced by an error that says that nothing was
/// done: not that of a write, which may have been made, nor those by which processes watch each other.
fn is_replaceable(request: &HttpRequest) -> bool {
    request.method().is_safe()
        && !is_unlimited(request.path())
        && !request.extensions().contains::<IsInternal>()
}

/// Returns `true` if the request has a body (RFC 9112 §6.3).
fn has_body(request: &ServiceRequest) -> bool {
    let headers = request.headers();
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

/// Returns the body of a request with a limit of time, which grows with the bytes that arrive: an upload of
/// a hundred megabytes takes longer than a text. Tells the connection when the body has arrived.
fn limited(
    payload: Payload,
    time: Duration,
    connection: Option<Arc<Connection>>,
) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    let begin = Some((payload, Instant::now() + time));
    stream::unfold(begin, move |state| {
        let connection = connection.clone();
        async move {
            let (mut payload, deadline) = state?;
            match timeout_at(deadline, payload.next()).await {
                Ok(Some(Ok(chunk))) => {
                    let bytes = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
                    let deadline = deadline + time * bytes / MAX_BODY_BYTES as u32;
                    Some((Ok(chunk), Some((payload, deadline))))
                }
                Ok(Some(Err(error))) => Some((Err(error), None)),
                Ok(None) => {
                    if let Some(connection) = connection {
                        connection.is_body_pending.store(false, Ordering::Relaxed);
                    }
                    None
                }
                Err(_) => Some((Err(PayloadError::Io(io::ErrorKind::TimedOut.into())), None)),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App, HttpResponse,
        http::Method,
        middleware::{Next, from_fn},
        test::{TestRequest, call_service, init_service},
        web,
    };
    use serde_json::{from_value, json};

    use super::*;
    use crate::{
        runtime::settings,
        web::{
            connection::Timeouts,
            origin::{NetworkPosition, TrustedProxies},
        },
    };

    #[actix_web::test]
    async fn without_memory_only_responses_of_reads_are_replaced() {
        let server: settings::Server = from_value(json!({})).unwrap();
        let proxies = TrustedProxies::new(&server, NetworkPosition::Edge);
        let connections = Connections::new(1, proxies, Timeouts::default());
        let mut held = Vec::new();
        while let Some(memory) = connections.hold(1024 * 1024) {
            held.push(memory);
        }
        let answer = |request: HttpRequest| async move {
            match request.path() {
                "/empty" => HttpResponse::NoContent().finish(),
                _ => HttpResponse::Created().body("done"),
            }
        };
        let tracked = connections.clone();
        let app = init_service(
            App::new()
                .wrap(from_fn(move |request, next: Next<BoxBody>| {
                    let tracked = tracked.clone();
                    async move {
                        track(&tracked, Held::Whole, request, |request| next.call(request)).await
                    }
                }))
                .default_service(web::to(answer)),
        )
        .await;
        for (method, path, is_internal, status) in [
            (Method::POST, "/stories", false, 201),
            (Method::DELETE, "/stories/x", false, 201),
            (Method::GET, "/stories", false, 503),
            (Method::GET, "/internal/directory", true, 201),
            (Method::GET, "/health/ready", false, 201),
            (Method::GET, "/empty", false, 204),
        ] {
            let request = TestRequest::with_uri(path).method(method.clone()).to_request();
            if is_internal {
                request.extensions_mut().insert(IsInternal);
            }
            let response = call_service(&app, request).await;
            assert_eq!(response.status(), status, "{method} {path}");
        }
        drop(held);
        let request = TestRequest::with_uri("/stories").to_request();
        assert_eq!(call_service(&app, request).await.status(), 201);
    }
}
