//! Forwards one request to a replica of a service, and returns its response.

pub(crate) mod body;
mod headers;
pub(crate) mod upstream;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    body::{BodyStream, BoxBody, None as NoBody, SizedStream},
    error::PayloadError,
    http::{
        StatusCode,
        header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    },
    web,
};
use futures_util::{TryStreamExt, stream};
use models::ErrorCode;
use reqwest::{
    Body, Client, Method, Request,
    header::{self, HeaderMap, HeaderValue},
};
use service_kit::{
    runtime::error_chain::one_line,
    web::{
        error::ApiError, http_client::inject_trace, internal::InternalSecret, origin::RequestOrigin,
    },
};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, field::Empty};

use self::{
    body::{BodyReceiver, CopyError, Truncated, body_channel, copy_body},
    upstream::{ProbeResult, Replica, Upstream},
};
use crate::timeouts::Timeouts;

/// The value of `Retry-After` if no replica is available: replicas are probed every second.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Sends requests to the services.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) client: Client,
    /// The secret for internal routes of the services.
    pub(crate) secret: InternalSecret,
    /// The runtime of the connections to the services. A worker of the server stops as soon as it
    /// has nothing left to do itself; connections that it shares with others must outlive it.
    pub(crate) runtime: Handle,
    pub(crate) timeouts: Timeouts,
}

/// A request to a service.
struct UpstreamRequest<'a> {
    method: Method,
    path: &'a str,
    query: Option<&'a str>,
    headers: HeaderMap,
    /// `true` if another replica may get the request after one closed the connection.
    is_repeatable: bool,
}

/// The response of a service, and the span of its request.
pub(crate) struct UpstreamResponse {
    pub(crate) response: reqwest::Response,
    span: Span,
}

/// The reason why there is no response.
#[derive(Debug)]
enum ProxyError {
    /// No connection: no part of the request can have arrived.
    NotConnected(reqwest::Error),
    /// A connection, but no valid response.
    Broken(reqwest::Error),
    /// No response in time.
    Timeout,
    /// The client did not send the whole body.
    RequestBody(CopyError<PayloadError>),
    /// A fault of the gateway.
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl Proxy {
    /// Forwards a request to a replica of the service. The path has passed
    /// [`crate::routing::path::check`].
    pub(crate) async fn forward(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        upstream: &Upstream,
    ) -> Result<HttpResponse, ApiError> {
        let uri = request.uri();
        let outgoing = UpstreamRequest {
            method: Method::from_bytes(request.method().as_str().as_bytes())
                .map_err(ApiError::internal)?,
            path: uri.path(),
            query: uri.query(),
            headers: headers_to_service(request),
            is_repeatable: request.method().is_safe() && !has_body(request),
        };
        let upload = Upload::start(request, payload, self.timeouts.body_idle);
        let response = self.send(&outgoing, upload, upstream).await?;
        self.respond(request, response, upstream)
    }

    /// Fetches a path of the service on behalf of a client, with the client's token and ids.
    pub(crate) async fn fetch(
        &self,
        request: &HttpRequest,
        path: &str,
        upstream: &Upstream,
    ) -> Result<UpstreamResponse, ApiError> {
        let mut headers = headers::caller_headers(headers_to_service(request));
        self.secret.add_to(&mut headers);
        let method = Method::GET;
        let outgoing = UpstreamRequest { method, path, query: None, headers, is_repeatable: true };
        self.send(&outgoing, Upload::none(), upstream).await
    }

    /// Returns the response of a service as the response to the client.
    pub(crate) fn respond(
        &self,
        request: &HttpRequest,
        response: UpstreamResponse,
        upstream: &Upstream,
    ) -> Result<HttpResponse, ApiError> {
        self.response_to_client(request, response).map_err(|error| error.into_api_error(upstream))
    }

    /// Sends a request to one replica after the other, until one responds.
    async fn send(
        &self,
        request: &UpstreamRequest<'_>,
        mut upload: Upload,
        upstream: &Upstream,
    ) -> Result<UpstreamResponse, ApiError> {
        let mut broken = None;
        for replica in upstream.candidates() {
            match self.attempt(request, &mut upload, upstream, replica).await {
                Ok(response) => return Ok(response),
                Err(ProxyError::NotConnected(error)) => {
                    replica.record(ProbeResult::Unreachable(error));
                }
                // The replica was killed; the request may have arrived (RFC 9110 §9.2.2).
                Err(error @ ProxyError::Broken(_)) if request.is_repeatable => broken = Some(error),
                Err(error) => return Err(error.into_api_error(upstream)),
            }
        }
        Err(broken.map_or_else(|| unavailable(upstream), |error| error.into_api_error(upstream)))
    }

    async fn attempt(
        &self,
        request: &UpstreamRequest<'_>,
        upload: &mut Upload,
        upstream: &Upstream,
        replica: &Replica,
    ) -> Result<UpstreamResponse, ProxyError> {
        let span = client_span(request, upstream, replica);
        let response = async {
            let request = build_request(request, upload, replica, &span)?;
            let sending = self.client.execute(request).instrument(span.clone());
            // Aborted with this future, when the client disconnects.
            let mut response = AbortOnDropHandle::new(self.runtime.spawn(sending));
            tokio::select! {
                biased;
                // First, because an incomplete body also makes the response fail.
                error = upload.failure(self.timeouts.response_head) => Err(error),
                response = &mut response => match response {
                    Ok(Ok(response)) => Ok(response),
                    Ok(Err(error)) if error.is_connect() => Err(ProxyError::NotConnected(error)),
                    Ok(Err(error)) => Err(ProxyError::Broken(error)),
                    Err(panic) => Err(ProxyError::internal(panic)),
                },
            }
        };
        match response.await {
            Ok(response) => Ok(UpstreamResponse { response, span }),
            Err(error) => {
                span.record("otel.status_code", "ERROR");
                Err(error)
            }
        }
    }

    fn response_to_client(
        &self,
        request: &HttpRequest,
        UpstreamResponse { mut response, span }: UpstreamResponse,
    ) -> Result<HttpResponse, ProxyError> {
        let status = response.status().as_u16();
        span.record("http.response.status_code", status);
        let status = StatusCode::from_u16(status).map_err(ProxyError::internal)?;
        if status.is_server_error() {
            span.record("otel.status_code", "ERROR");
        }
        let headers = std::mem::take(response.headers_mut());
        let length = content_length(&headers);
        let mut outgoing = HttpResponse::new(status);
        *outgoing.headers_mut() = headers::to_client(headers);

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
            let body = self.download(response, span);
            match length {
                Some(length) => sized(length, body),
                None => BoxBody::new(BodyStream::new(body)),
            }
        };
        Ok(outgoing.set_body(body))
    }

    /// Starts to copy the body of a response. The copy ends when the client disconnects.
    fn download(&self, response: reqwest::Response, span: Span) -> BodyReceiver {
        let (sender, body) = body_channel();
        let idle = self.timeouts.body_idle;
        let copy = async move {
            match copy_body(response.bytes_stream(), sender, idle).await {
                Ok(()) => {}
                Err(error @ (CopyError::ReceiverGone | CopyError::ReceiverIdle(_))) => {
                    tracing::debug!("client did not read the whole response: {error}");
                }
                Err(error) => {
                    Span::current().record("otel.status_code", "ERROR");
                    let cause = one_line(&error);
                    tracing::warn!(cause, "response truncated");
                }
            }
        };
        self.runtime.spawn(copy.instrument(span));
        body
    }
}

impl ProxyError {
    fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Internal(Box::new(error))
    }

    fn into_api_error(self, upstream: &Upstream) -> ApiError {
        let name = upstream.name();
        match self {
            Self::NotConnected(_) => unavailable(upstream),
            Self::Broken(error) => {
                let detail = format!("{name} broke the connection before it answered.");
                ApiError::new(ErrorCode::UpstreamBroken, detail).because(error.without_url())
            }
            Self::Timeout => {
                let detail = format!("{name} did not answer in time.");
                ApiError::new(ErrorCode::UpstreamTimeout, detail)
            }
            Self::RequestBody(error) => {
                let detail = format!("The body of the request is not complete: {error}.");
                ApiError::new(ErrorCode::BadRequest, detail)
            }
            Self::Internal(error) => ApiError::internal(error),
        }
    }
}

/// Returns the error for a service without an available replica. The log has the reason since each
/// replica became unhealthy.
fn unavailable(upstream: &Upstream) -> ApiError {
    let name = upstream.name();
    let detail = format!("{name} is not available at the moment. Try again in a second.");
    ApiError::new(ErrorCode::UpstreamUnavailable, detail).retry_after_seconds(RETRY_AFTER_SECONDS)
}

/// The body of a client's request, while it is being forwarded.
#[derive(Debug)]
struct Upload {
    /// The body until an attempt starts to send it. An attempt without a connection leaves it to the
    /// next one.
    body: Option<Arc<Mutex<Option<BodyReceiver>>>>,
    /// The task that copies the body, until it is done.
    copy: Option<JoinHandle<Result<(), CopyError<PayloadError>>>>,
}

impl Upload {
    fn start(request: &HttpRequest, payload: web::Payload, idle: Duration) -> Self {
        if !has_body(request) {
            return Self::none();
        }
        let (sender, body) = body_channel();
        // On this thread, which the server's bodies cannot leave.
        let copy = tokio::task::spawn_local(copy_body(payload, sender, idle));
        Self { body: Some(Arc::new(Mutex::new(Some(body)))), copy: Some(copy) }
    }

    fn none() -> Self {
        Self { body: None, copy: None }
    }

    /// Returns the body for one attempt.
    fn body(&self) -> Option<Body> {
        let body = Arc::clone(self.body.as_ref()?);
        let at_first_poll = async move {
            body.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(Truncated)
        };
        Some(Body::wrap_stream(stream::once(at_first_poll).try_flatten()))
    }

    /// Waits until no response can be expected any more: the client has not sent the whole body, the
    /// service does not take it, or the service has it and is silent for `response_head`.
    async fn failure(&mut self, response_head: Duration) -> ProxyError {
        if let Some(copy) = &mut self.copy {
            match copy.await {
                Ok(Ok(())) => self.copy = None,
                Ok(Err(error @ (CopyError::Source(_) | CopyError::SourceIdle(_)))) => {
                    return ProxyError::RequestBody(error);
                }
                Ok(Err(CopyError::ReceiverIdle(_))) => return ProxyError::Timeout,
                // The connection to the service is closed, or it needs no more of the body.
                Ok(Err(CopyError::ReceiverGone)) => self.copy = None,
                Err(panic) => return ProxyError::internal(panic),
            }
        }
        tokio::time::sleep(response_head).await;
        ProxyError::Timeout
    }
}

/// Returns `true` if the request has a body (RFC 9112 §6.3).
fn has_body(request: &HttpRequest) -> bool {
    let headers = request.headers();
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

fn headers_to_service(request: &HttpRequest) -> HeaderMap {
    let extensions = request.extensions();
    let origin = extensions.get::<RequestOrigin>().cloned().unwrap_or_default();
    headers::to_service(request.headers(), request.uri(), &origin, extensions.get())
}

fn build_request(
    request: &UpstreamRequest<'_>,
    upload: &Upload,
    replica: &Replica,
    span: &Span,
) -> Result<Request, ProxyError> {
    let url = replica.url(request.path, request.query).map_err(ProxyError::internal)?;
    let mut outgoing = Request::new(request.method.clone(), url);
    outgoing.headers_mut().clone_from(&request.headers);
    inject_trace(span, outgoing.headers_mut());
    *outgoing.body_mut() = upload.body();
    if outgoing.body().is_some() && !outgoing.headers().contains_key(header::CONTENT_LENGTH) {
        // The client library would not send a body of unknown length with every method.
        let chunked = HeaderValue::from_static("chunked");
        outgoing.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
    }
    Ok(outgoing)
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
fn client_span(request: &UpstreamRequest<'_>, upstream: &Upstream, replica: &Replica) -> Span {
    let (method, address) = (&request.method, replica.address());
    tracing::info_span!(
        "upstream",
        otel.name = format!("{method} {}", upstream.name()),
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = %method,
        http.response.status_code = Empty,
        server.address = address.host_str(),
        server.port = address.port_or_known_default(),
        url.path = request.path,
    )
}
