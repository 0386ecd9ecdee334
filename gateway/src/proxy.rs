//! Forwards one request to a replica of a service, and returns its response.

pub(crate) mod body;
pub(crate) mod cached;
mod headers;
mod upload;
pub(crate) mod upstream;

use std::sync::Arc;

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    body::{BodyStream, BoxBody, None as NoBody, SizedStream},
    http::{
        StatusCode,
        header::{CONTENT_LENGTH, SET_COOKIE},
    },
    web,
};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, header, uri::PathAndQuery};
use models::ErrorCode;
use service_kit::{
    runtime::{
        error_chain::one_line,
        trace::{TRACE_TARGET, inject_trace},
    },
    web::{
        error::ApiError,
        internal::InternalSecret,
        origin::RequestOrigin,
        upstream::{
            AttemptError, Held, HttpClient, Policy, Replica, Response, SendError, Upstream,
        },
    },
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field::Empty};

use self::{
    body::{BodyReceiver, CopyError, Truncated, body_channel, copy_body},
    upload::{Upload, UploadError},
};
use crate::{
    cache::Cache,
    routing::{Routes, path},
    timeouts::Timeouts,
};

/// The value of `Retry-After` if no replica is available: replicas are probed every second.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The header that makes it safe to send a `POST` to a collection again: the service answers a
/// repetition with the stored response.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Sends the requests of one worker of the server to the services. Requests and their connections stay
/// on the thread of the worker.
#[derive(Debug)]
pub(crate) struct Proxy {
    client: HttpClient,
    /// The secret for internal routes of the services.
    secret: InternalSecret,
    pub(crate) timeouts: Timeouts,
    /// The answers that are kept; `None` if that is turned off.
    cache: Option<Arc<Cache>>,
    /// `true` if answers name the content that they depend on.
    surrogate_keys: bool,
    /// Cancelled at the beginning of the shutdown, when events end.
    shutdown: CancellationToken,
}

/// A request to a service.
#[derive(Debug)]
struct UpstreamRequest {
    method: Method,
    target: PathAndQuery,
    headers: HeaderMap,
}

/// The span of the request to the service, kept with the response.
#[derive(Clone)]
struct UpstreamSpan(Span);

type Attempt = Result<Response, AttemptError<UploadError>>;

impl Proxy {
    pub(crate) fn new(routes: &Routes) -> Self {
        Self {
            client: HttpClient::local(),
            secret: routes.secret.clone(),
            timeouts: routes.timeouts,
            cache: routes.cache.clone(),
            surrogate_keys: routes.surrogate_keys,
            shutdown: routes.shutdown.clone(),
        }
    }

    /// Returns the request to a service for a client's.
    fn outgoing(&self, request: &HttpRequest) -> Result<UpstreamRequest, ApiError> {
        let mut headers = headers_to_service(request);
        if let Some(cache) = &self.cache {
            // Not the newest states: a replica that has not heard of those yet would be waited for,
            // although it has missed nothing.
            cache.clocks.newest_changes().add_to(&mut headers);
        }
        Ok(UpstreamRequest {
            method: Method::from_bytes(request.method().as_str().as_bytes())
                .map_err(ApiError::internal)?,
            target: target(request)?,
            headers,
        })
    }

    /// Sends a client's request with its body.
    async fn pass_on(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        upstream: &Arc<Upstream>,
    ) -> Result<Response, ApiError> {
        let outgoing = self.outgoing(request)?;
        let upload = Upload::start(request, payload, self.timeouts.body_idle).await;
        let upload = upload.map_err(UploadError::into_api_error)?;
        let is_safe = request.method().is_safe() && upload.is_empty();
        let is_keyed = outgoing.method == Method::POST
            && path::is_collection(outgoing.target.path())
            && outgoing.headers.contains_key(IDEMPOTENCY_KEY);
        let policy = Policy {
            is_held: upload.is_held(),
            is_repeatable: is_safe || is_keyed && upload.is_held(),
            is_safe,
        };
        self.send(&outgoing, &upload, policy, upstream).await
    }

    /// Fetches a path of the service on behalf of a client, with the client's token and ids.
    pub(crate) async fn fetch(
        &self,
        request: &HttpRequest,
        path: &'static str,
        upstream: &Arc<Upstream>,
    ) -> Result<Response, ApiError> {
        let mut headers = headers::caller_headers(headers_to_service(request));
        self.secret.add_to(&mut headers);
        let target = PathAndQuery::from_static(path);
        let outgoing = UpstreamRequest { method: Method::GET, target, headers };
        self.send(&outgoing, &Upload::None, Policy::SAFE, upstream).await
    }

    async fn send(
        &self,
        request: &UpstreamRequest,
        upload: &Upload,
        policy: Policy,
        upstream: &Arc<Upstream>,
    ) -> Result<Response, ApiError> {
        let name = upstream.name();
        let attempt = |replica| self.attempt(request, upload, name, replica);
        upstream.send(policy, attempt).await.map_err(|error| into_api_error(error, name))
    }

    async fn attempt(
        &self,
        request: &UpstreamRequest,
        upload: &Upload,
        name: &'static str,
        replica: Arc<Replica>,
    ) -> Attempt {
        let span = client_span(request, name, &replica);
        let outgoing = build_request(request, upload, &replica, &span);
        let exchange = self.client.exchange(&replica, outgoing).instrument(span.clone());
        let outcome = tokio::select! {
            biased;
            // First, because an incomplete body also makes the response fail.
            error = upload.failure(self.timeouts.response_head) => Err(error),
            outcome = exchange => outcome,
        };
        let status = outcome.as_ref().ok().map(Response::status);
        span.record("http.response.status_code", status.map(|status| status.as_u16()));
        if status.is_none_or(|status| status.is_server_error()) {
            span.record("otel.status_code", "ERROR");
        }
        outcome.map(|mut response| {
            response.head.extensions.insert(UpstreamSpan(span));
            response
        })
    }

    /// Returns the response of a service as the response to the client.
    pub(crate) fn respond(
        &self,
        request: &HttpRequest,
        response: Response,
        upstream: &Arc<Upstream>,
    ) -> Result<HttpResponse, ApiError> {
        let status =
            StatusCode::from_u16(response.status().as_u16()).map_err(ApiError::internal)?;
        let length = content_length(&response.head.headers);
        let mut outgoing = HttpResponse::new(status);
        *outgoing.headers_mut() = headers::to_client(&response.head.headers, self.surrogate_keys);
        if !has_cookies(request) {
            outgoing.headers_mut().remove(SET_COOKIE);
        }

        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            // The length, if there is one, is that of another response (RFC 9110 §8.6).
            return Ok(outgoing.set_body(BoxBody::new(NoBody::new())));
        }
        outgoing.headers_mut().remove(CONTENT_LENGTH);
        let body = if request.method() == actix_web::http::Method::HEAD {
            match length {
                Some(length) => sized(length, stream::empty()),
                None => BoxBody::new(NoBody::new()),
            }
        } else {
            let Response { head, body, replica } = response;
            match body {
                Held::Whole(bytes) => BoxBody::new(bytes),
                Held::Part(first, rest) => {
                    let span = head.extensions.get::<UpstreamSpan>();
                    let span = span.map_or_else(Span::none, |UpstreamSpan(span)| span.clone());
                    // Events have no end of their own.
                    let shutdown = match is_event_stream(&head.headers) {
                        true => self.shutdown.clone(),
                        false => CancellationToken::new(),
                    };
                    let source = stream::iter([Ok(first)]).chain(rest);
                    let source = source.take_until(shutdown.cancelled_owned());
                    let body = self.download(source, span, replica, Arc::clone(upstream));
                    match length {
                        Some(length) => sized(length, body),
                        None => BoxBody::new(BodyStream::new(body)),
                    }
                }
            }
        };
        Ok(outgoing.set_body(body))
    }

    /// Starts to copy the body of a response. The copy ends when the client disconnects.
    fn download<E>(
        &self,
        source: impl Stream<Item = Result<web::Bytes, E>> + 'static,
        span: Span,
        replica: Arc<Replica>,
        upstream: Arc<Upstream>,
    ) -> BodyReceiver
    where
        E: std::error::Error + 'static,
    {
        let (sender, receiver) = body_channel();
        let idle = self.timeouts.body_idle;
        let copy = async move {
            match copy_body(source, sender, idle).await {
                Ok(()) => {}
                Err(error @ (CopyError::ReceiverGone | CopyError::ReceiverIdle(_))) => {
                    tracing::debug!("client did not read the whole response: {error}");
                }
                Err(error) => {
                    Span::current().record("otel.status_code", "ERROR");
                    let (cause, upstream_name) = (one_line(&error), upstream.name());
                    tracing::warn!(cause, upstream = upstream_name, %replica, "response truncated");
                    upstream.record_failure(&replica);
                }
            }
        };
        // On this thread, where the client's connection is, too.
        drop(tokio::task::spawn_local(copy.instrument(span)));
        receiver
    }
}

fn into_api_error(error: SendError<UploadError>, name: &str) -> ApiError {
    match error {
        SendError::Unavailable(_) | SendError::Failed(AttemptError::NotConnected(_)) => {
            // The log has the reason since each replica became unhealthy.
            let detail = format!("{name} is not available at the moment. Try again in a second.");
            ApiError::new(ErrorCode::UpstreamUnavailable, detail)
                .retry_after_seconds(RETRY_AFTER_SECONDS)
        }
        SendError::Failed(AttemptError::Broken(error)) => {
            let detail = format!("{name} broke the connection before it answered.");
            ApiError::new(ErrorCode::UpstreamBroken, detail).because(error)
        }
        SendError::Failed(AttemptError::Truncated(error)) => {
            let detail = format!("{name} broke the connection in the middle of its answer.");
            ApiError::new(ErrorCode::UpstreamBroken, detail).because(error)
        }
        SendError::Failed(AttemptError::Timeout) => {
            let detail = format!("{name} did not answer in time.");
            ApiError::new(ErrorCode::UpstreamTimeout, detail)
        }
        SendError::Failed(AttemptError::Other(error)) => error.into_api_error(),
    }
}

/// Returns path and query as the client sent them.
fn target(request: &HttpRequest) -> Result<PathAndQuery, ApiError> {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(uri.path(), |target| target.as_str());
    PathAndQuery::try_from(target).map_err(ApiError::internal)
}

fn headers_to_service(request: &HttpRequest) -> HeaderMap {
    let extensions = request.extensions();
    let origin = extensions.get::<RequestOrigin>().cloned().unwrap_or_default();
    let mut headers =
        headers::to_service(request.headers(), request.uri(), &origin, extensions.get());
    if !has_cookies(request) {
        headers.remove(header::COOKIE);
    }
    headers
}

/// Returns `true` if cookies belong to a request. They are for the console alone: the API knows its
/// callers by their tokens, and a page elsewhere on the host may have cookies that are not for it.
fn has_cookies(request: &HttpRequest) -> bool {
    path::first_segment(request.uri().path()) == Some(path::CONSOLE)
}

fn build_request(
    request: &UpstreamRequest,
    upload: &Upload,
    replica: &Replica,
    span: &Span,
) -> Request<service_kit::web::upstream::RequestBody> {
    let mut outgoing =
        replica.request(request.target.clone(), request.headers.clone(), upload.body());
    *outgoing.method_mut() = request.method.clone();
    let headers = outgoing.headers_mut();
    inject_trace(span, headers);
    if !upload.is_empty() && !headers.contains_key(header::CONTENT_LENGTH) {
        // The client library would not send a body of unknown length with every method.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    outgoing
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "text/event-stream")
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn sized<S>(length: u64, body: S) -> BoxBody
where
    S: stream::Stream<Item = Result<web::Bytes, Truncated>> + 'static,
{
    BoxBody::new(SizedStream::new(length, body))
}

/// Returns a span of OpenTelemetry's semantic conventions, "HTTP client span".
fn client_span(request: &UpstreamRequest, name: &str, replica: &Replica) -> Span {
    let method = &request.method;
    tracing::debug_span!(
        target: TRACE_TARGET,
        "upstream",
        otel.name = format_args!("{method} {name}"),
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = %method,
        http.response.status_code = Empty,
        server.address = %replica.socket().ip(),
        server.port = replica.socket().port(),
        url.path = request.target.path(),
    )
}
