//! Passes one request on and its answer back.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    body::{self, BodyStream, BoxBody, SizedStream},
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
use service_kit::{ApiError, http::inject_trace, server::RequestId};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, field::Empty};

use crate::{
    Timeouts,
    headers::{self, Arrival},
    relay::{BrokenOff, Relay, Stopped, pump, relay},
    upstream::{Finding, Replica, Upstream},
};

/// When a client may try again that met no replica: they are probed every second.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Sends requests to the services.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) client: Client,
    /// Where connections to the services live. A worker of the server stops as soon as it has
    /// nothing left to do itself; connections that it shares with others must outlive it.
    pub(crate) runtime: Handle,
    pub(crate) timeouts: Timeouts,
}

/// What is sent to a service.
struct Asked<'a> {
    method: Method,
    path: &'a str,
    query: Option<&'a str>,
    headers: HeaderMap,
    /// Whether another replica may get it that one broke off.
    is_repeatable: bool,
}

/// What a service answered.
pub(crate) struct Reply {
    pub(crate) response: reqwest::Response,
    span: Span,
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    /// No connection, so that nothing of the request can have arrived.
    NotConnected(reqwest::Error),
    /// A connection, but no proper answer.
    Broken(reqwest::Error),
    /// No answer in time.
    Late,
    /// The client did not send its request to the end.
    Client(Stopped<PayloadError>),
    /// A mistake of ours.
    Ours(Box<dyn std::error::Error + Send + Sync>),
}

impl Proxy {
    /// Lets a replica of the service answer. The path has passed [`crate::path::check`].
    pub(crate) async fn forward(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        upstream: &Upstream,
    ) -> Result<HttpResponse, ApiError> {
        let uri = request.uri();
        let asked = Asked {
            method: Method::from_bytes(request.method().as_str().as_bytes())
                .map_err(ApiError::internal)?,
            path: uri.path(),
            query: uri.query(),
            headers: headers_to_service(request),
            is_repeatable: request.method().is_safe() && !has_body(request),
        };
        let upload = Upload::start(request, payload, self.timeouts.body_idle);
        let (response, span) = self.send(&asked, upload, upstream).await?;
        self.pass_back(request, response, span).map_err(|failure| failure.explain(upstream))
    }

    /// Asks a replica of the service for something that the client has not asked for by itself,
    /// with the client's token and ids.
    pub(crate) async fn ask(
        &self,
        request: &HttpRequest,
        path: &str,
        upstream: &Upstream,
    ) -> Result<Reply, ApiError> {
        let headers = headers::of_caller(headers_to_service(request));
        let asked = Asked { method: Method::GET, path, query: None, headers, is_repeatable: true };
        let (response, span) = self.send(&asked, Upload::none(), upstream).await?;
        Ok(Reply { response, span })
    }

    /// Passes an answer on that was asked for.
    pub(crate) fn give_back(
        &self,
        request: &HttpRequest,
        Reply { response, span }: Reply,
        upstream: &Upstream,
    ) -> Result<HttpResponse, ApiError> {
        self.pass_back(request, response, span).map_err(|failure| failure.explain(upstream))
    }

    /// Sends to one replica after the other, until one answers.
    async fn send(
        &self,
        asked: &Asked<'_>,
        mut upload: Upload,
        upstream: &Upstream,
    ) -> Result<(reqwest::Response, Span), ApiError> {
        let mut broken = None;
        for replica in upstream.candidates() {
            match self.attempt(asked, &mut upload, upstream, replica).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::NotConnected(error)) => replica.learn(Finding::Unreachable(error)),
                // A replica that was killed; the request may have arrived (RFC 9110 §9.2.2).
                Err(failure @ Failure::Broken(_)) if asked.is_repeatable => broken = Some(failure),
                Err(failure) => return Err(failure.explain(upstream)),
            }
        }
        Err(broken.map_or_else(|| unavailable(upstream), |failure| failure.explain(upstream)))
    }

    async fn attempt(
        &self,
        asked: &Asked<'_>,
        upload: &mut Upload,
        upstream: &Upstream,
        replica: &Replica,
    ) -> Result<(reqwest::Response, Span), Failure> {
        let span = client_span(asked, upstream, replica);
        let answer = async {
            let request = outgoing(asked, upload, replica, &span)?;
            let sending = self.client.execute(request).instrument(span.clone());
            // Dropped with this future, when the client leaves.
            let mut answer = AbortOnDropHandle::new(self.runtime.spawn(sending));
            tokio::select! {
                biased;
                // First, because a body that breaks off also breaks the answer.
                failure = upload.failure(self.timeouts.response_head) => Err(failure),
                answer = &mut answer => match answer {
                    Ok(Ok(response)) => Ok(response),
                    Ok(Err(error)) if error.is_connect() => Err(Failure::NotConnected(error)),
                    Ok(Err(error)) => Err(Failure::Broken(error)),
                    Err(panic) => Err(Failure::ours(panic)),
                },
            }
        };
        match answer.await {
            Ok(response) => Ok((response, span)),
            Err(failure) => {
                span.record("otel.status_code", "ERROR");
                Err(failure)
            }
        }
    }

    fn pass_back(
        &self,
        request: &HttpRequest,
        mut response: reqwest::Response,
        span: Span,
    ) -> Result<HttpResponse, Failure> {
        let status = response.status().as_u16();
        span.record("http.response.status_code", status);
        let status = StatusCode::from_u16(status).map_err(Failure::ours)?;
        if status.is_server_error() {
            span.record("otel.status_code", "ERROR");
        }
        let headers = std::mem::take(response.headers_mut());
        let length = content_length(&headers);
        let mut answer = HttpResponse::new(status);
        *answer.headers_mut() = headers::to_client(headers);

        if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            // The length, if there is one, is that of another answer (RFC 9110 §8.6).
            return Ok(answer.set_body(BoxBody::new(body::None::new())));
        }
        answer.headers_mut().remove(CONTENT_LENGTH);
        let body = if request.method() == actix_web::http::Method::HEAD {
            match length {
                Some(length) => sized(length, stream::empty()),
                None => BoxBody::new(body::None::new()),
            }
        } else {
            let body = self.download(response, span);
            match length {
                Some(length) => sized(length, body),
                None => BoxBody::new(BodyStream::new(body)),
            }
        };
        Ok(answer.set_body(body))
    }

    /// Starts to move the body of an answer. It ends when the client leaves.
    fn download(&self, response: reqwest::Response, span: Span) -> Relay {
        let (inlet, relay) = relay();
        let idle = self.timeouts.body_idle;
        let moving = async move {
            match pump(response.bytes_stream(), inlet, idle).await {
                Ok(()) => {}
                Err(stopped @ (Stopped::SinkGone | Stopped::SinkIdle(_))) => {
                    tracing::debug!("an answer was not read to its end: {stopped}");
                }
                Err(stopped) => {
                    Span::current().record("otel.status_code", "ERROR");
                    let cause = service_kit::process::one_line(&stopped);
                    tracing::warn!(cause, "an answer broke off");
                }
            }
        };
        self.runtime.spawn(moving.instrument(span));
        relay
    }
}

impl Failure {
    fn ours(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Ours(Box::new(error))
    }

    fn explain(self, upstream: &Upstream) -> ApiError {
        let name = upstream.name();
        match self {
            Self::NotConnected(_) => unavailable(upstream),
            Self::Broken(error) => {
                let detail = format!("{name} broke the connection before it answered.");
                ApiError::new(ErrorCode::UpstreamBroken, detail).because(error.without_url())
            }
            Self::Late => {
                let detail = format!("{name} did not answer in time.");
                ApiError::new(ErrorCode::UpstreamTimeout, detail)
            }
            Self::Client(stopped) => {
                let detail = format!("The body of the request is not complete: {stopped}.");
                ApiError::new(ErrorCode::BadRequest, detail)
            }
            Self::Ours(error) => ApiError::internal(error),
        }
    }
}

/// The answer when there is nobody left to ask. Why is in the log since each replica was given up.
fn unavailable(upstream: &Upstream) -> ApiError {
    let name = upstream.name();
    let detail = format!("{name} is not available at the moment. Try again in a second.");
    ApiError::new(ErrorCode::UpstreamUnavailable, detail).retry_after_seconds(RETRY_AFTER_SECONDS)
}

/// The body of a client's request on its way.
#[derive(Debug)]
struct Upload {
    /// The body until an attempt starts to send it. One that gets no connection leaves it to the
    /// next.
    body: Option<Arc<Mutex<Option<Relay>>>>,
    /// Moves the body, until it is done.
    moving: Option<JoinHandle<Result<(), Stopped<PayloadError>>>>,
}

impl Upload {
    fn start(request: &HttpRequest, payload: web::Payload, idle: Duration) -> Self {
        if !has_body(request) {
            return Self::none();
        }
        let (inlet, relay) = relay();
        // On this thread: the server's bodies cannot leave it.
        let moving = tokio::task::spawn_local(pump(payload, inlet, idle));
        Self { body: Some(Arc::new(Mutex::new(Some(relay)))), moving: Some(moving) }
    }

    fn none() -> Self {
        Self { body: None, moving: None }
    }

    /// The body for one attempt.
    fn body(&self) -> Option<Body> {
        let body = Arc::clone(self.body.as_ref()?);
        let at_first_poll = async move {
            body.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(BrokenOff)
        };
        Some(Body::wrap_stream(stream::once(at_first_poll).try_flatten()))
    }

    /// Ends when waiting for an answer makes no more sense: the client has not sent all of the
    /// body, the service does not take it, or has taken it and is silent for `response_head`.
    async fn failure(&mut self, response_head: Duration) -> Failure {
        if let Some(moving) = &mut self.moving {
            match moving.await {
                Ok(Ok(())) => self.moving = None,
                Ok(Err(stopped @ (Stopped::Source(_) | Stopped::SourceIdle(_)))) => {
                    return Failure::Client(stopped);
                }
                Ok(Err(Stopped::SinkIdle(_))) => return Failure::Late,
                // The connection to the service is gone, or it needs no more to answer.
                Ok(Err(Stopped::SinkGone)) => self.moving = None,
                Err(panic) => return Failure::ours(panic),
            }
        }
        tokio::time::sleep(response_head).await;
        Failure::Late
    }
}

/// Whether a body follows (RFC 9112 §6.3).
fn has_body(request: &HttpRequest) -> bool {
    let headers = request.headers();
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

fn headers_to_service(request: &HttpRequest) -> HeaderMap {
    let extensions = request.extensions();
    let arrival = Arrival {
        uri: request.uri(),
        peer: request.peer_addr().map(|peer| peer.ip()),
        request_id: extensions.get::<RequestId>(),
    };
    headers::to_service(request.headers(), &arrival)
}

fn outgoing(
    asked: &Asked<'_>,
    upload: &Upload,
    replica: &Replica,
    span: &Span,
) -> Result<Request, Failure> {
    let url = replica.url(asked.path, asked.query).map_err(Failure::ours)?;
    let mut outgoing = Request::new(asked.method.clone(), url);
    outgoing.headers_mut().clone_from(&asked.headers);
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
    S: stream::Stream<Item = Result<web::Bytes, BrokenOff>> + 'static,
{
    BoxBody::new(SizedStream::new(length, body))
}

/// OpenTelemetry semantic conventions, "HTTP client span".
fn client_span(asked: &Asked<'_>, upstream: &Upstream, replica: &Replica) -> Span {
    let (method, address) = (&asked.method, replica.address());
    tracing::info_span!(
        "upstream",
        otel.name = format!("{method} {}", upstream.name()),
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = %method,
        http.response.status_code = Empty,
        server.address = address.host_str(),
        server.port = address.port_or_known_default(),
        url.path = asked.path,
    )
}
