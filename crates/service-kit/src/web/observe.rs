//! The middleware around every request: its ids, its span, the headers that every response has, its
//! line in the log, and its duration.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpMessage,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    },
};
use models::ErrorCode;
use opentelemetry::{
    Context, KeyValue, StringValue, global,
    metrics::Histogram,
    propagation::Extractor,
    trace::{FutureExt, TraceId},
};
use tracing::{Instrument, Span, field::Empty};

use super::{
    changes::CHANGES_PATH,
    error::{ApiError, PROBLEM_JSON, wants_problem_json},
    origin::{RequestOrigin, TrustedProxies},
    request_id::{REQUEST_ID, RequestId},
    security_headers,
};
use crate::runtime::trace::{RequestTrace, context_of_caller, continue_trace};

/// The name of all methods that HTTP does not define.
const OTHER_METHOD: &str = "_OTHER";

/// The name of all paths without a route.
const UNMATCHED: &str = "unmatched";

/// Observes a request and completes its response. `forwarded` is the name of the route if the request
/// is forwarded to another process.
pub(crate) async fn observe<B>(
    proxies: &TrustedProxies,
    has_tls: bool,
    forwarded: Option<&'static str>,
    request: ServiceRequest,
    next: impl AsyncFnOnce(ServiceRequest) -> Result<ServiceResponse<B>, Error>,
) -> Result<ServiceResponse<B>, Error> {
    let origin = RequestOrigin::of(request.request().head(), has_tls, proxies);
    let (observed, context) = ObservedRequest::start(&request, origin.client, forwarded);
    let span = observed.span.clone();
    request.extensions_mut().insert(observed.id.clone());
    request.extensions_mut().insert(origin);
    let mut response = next(request).instrument(span).with_context(context).await?;
    observed.complete_headers(&mut response);
    observed.log(&response);
    observed.record(response.status());
    Ok(response)
}

/// The facts about a request that are needed after it was handled.
struct ObservedRequest {
    started_at: Instant,
    id: RequestId,
    client: Option<IpAddr>,
    trace_id: TraceId,
    /// `true` if the span is part of the trace.
    has_span: bool,
    method: Method,
    /// The pattern of the route, not the path: a path would be a metric of its own.
    route: Cow<'static, str>,
    wants_problem_json: bool,
    has_token: bool,
    span: Span,
}

impl ObservedRequest {
    /// Returns the facts, and the context in which the request is handled.
    fn start(
        request: &ServiceRequest,
        client: Option<IpAddr>,
        forwarded: Option<&'static str>,
    ) -> (Self, Context) {
        let (method, headers) = (request.method().clone(), request.headers());
        let route = match forwarded {
            Some(route) => Cow::Borrowed(route),
            None => request.match_pattern().map_or(Cow::Borrowed(UNMATCHED), Cow::Owned),
        };
        let id = RequestId::of(headers);
        let method_name = known_method(&method);
        let span = tracing::info_span!(
            "request",
            otel.name = format_args!("{} {route}", if method_name == OTHER_METHOD { "HTTP" } else { method_name }),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method_name,
            http.route = %route,
            http.response.status_code = Empty,
            url.path = request.path(),
            request_id = id.as_str(),
            trace_id = Empty,
        );
        let trace = continue_trace(&span, context_of_caller(&TraceHeaders(headers)));
        let RequestTrace { id: trace_id, context, has_span } = trace;
        span.record("trace_id", tracing::field::display(trace_id));
        let observed = Self {
            started_at: Instant::now(),
            id,
            client,
            trace_id,
            has_span,
            method,
            route,
            wants_problem_json: wants_problem_json(headers),
            has_token: headers.contains_key(AUTHORIZATION),
            span,
        };
        (observed, context)
    }

    fn complete_headers<B>(&self, response: &mut ServiceResponse<B>) {
        if self.wants_problem_json && api_error(response).is_some() {
            let problem_json = HeaderValue::from_static(PROBLEM_JSON);
            response.headers_mut().insert(CONTENT_TYPE, problem_json);
        }
        security_headers::add(response, self.has_token);
        if let Ok(id) = HeaderValue::from_str(self.id.as_str()) {
            response.headers_mut().insert(HeaderName::from_static(REQUEST_ID), id);
        }
    }

    /// Writes the line of the request. Its fields are on the top level of the JSON object, not in a
    /// span, as they are what people search for.
    fn log<B>(&self, response: &ServiceResponse<B>) {
        let (trace_id, request_id) = (tracing::field::display(self.trace_id), self.id.as_str());
        let (method, route) = (self.method.as_str(), &*self.route);
        let client = self.client.map(tracing::field::display);
        let status = response.status();
        let duration_ms = self.started_at.elapsed().as_secs_f64() * 1000.0;
        macro_rules! log {
            ($level:ident, $message:literal $(, $field:ident)*) => {
                tracing::$level!(
                    parent: None,
                    trace_id,
                    request_id,
                    client,
                    method,
                    route,
                    status = status.as_u16(),
                    duration_ms,
                    $($field,)*
                    $message
                )
            };
        }
        let error = api_error(response);
        if error.is_some_and(|error| error.code() == ErrorCode::Overloaded) {
            if let Some(refused) = REFUSALS.count(Instant::now()) {
                log!(warn, "requests are refused: more arrive than can be answered", refused);
            }
            return;
        }
        match error.and_then(ApiError::causes) {
            Some(cause) => log!(warn, "request failed", cause),
            // Sent every second by every orchestrator, and by every content-service. During a start, 503
            // is the expected answer, and the reason is logged where it arises.
            None if route.starts_with("/health")
                || matches!(route, "/internal/sections" | CHANGES_PATH) =>
            {
                log!(debug, "request");
            }
            None if status.is_server_error() => log!(warn, "request failed"),
            None => log!(info, "request"),
        }
    }

    fn record(self, status: StatusCode) {
        if self.has_span {
            self.span.record("http.response.status_code", status.as_u16());
            if status.is_server_error() {
                self.span.record("otel.status_code", "ERROR");
            }
        }
        request_duration().record(
            self.started_at.elapsed().as_secs_f64(),
            &[
                KeyValue::new("http.request.method", known_method(&self.method)),
                KeyValue::new("http.route", StringValue::from(self.route)),
                KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
            ],
        );
    }
}

/// The refusals for want of capacity. A line for each would cost more than the refusal itself.
static REFUSALS: Refusals = Refusals { count: AtomicU64::new(0), logged_at: Mutex::new(None) };

/// The shortest time between two lines about refusals.
const REFUSALS_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Refusals {
    /// The number since the last line.
    count: AtomicU64,
    logged_at: Mutex<Option<Instant>>,
}

impl Refusals {
    /// Counts a refusal. Returns the number since the last line if it is time for one.
    fn count(&self, now: Instant) -> Option<u64> {
        self.count.fetch_add(1, Ordering::Relaxed);
        // Another worker is about to write the line.
        let mut logged_at = self.logged_at.try_lock().ok()?;
        if logged_at.is_some_and(|at| now.saturating_duration_since(at) < REFUSALS_INTERVAL) {
            return None;
        }
        *logged_at = Some(now);
        Some(self.count.swap(0, Ordering::Relaxed))
    }
}

/// Returns the name of a method in traces and metrics. Clients can invent methods, and each would be a
/// metric of its own (OpenTelemetry semantic conventions, `http.request.method`).
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] =
        ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER_METHOD)
}

fn api_error<B>(response: &ServiceResponse<B>) -> Option<&ApiError> {
    response.response().error().and_then(|error| error.as_error::<ApiError>())
}

/// Returns the histogram `http.server.request.duration` (OpenTelemetry semantic conventions, "HTTP
/// metrics").
fn request_duration() -> &'static Histogram<f64> {
    static HISTOGRAM: OnceLock<Histogram<f64>> = OnceLock::new();
    HISTOGRAM.get_or_init(|| {
        global::meter("service-kit")
            .f64_histogram("http.server.request.duration")
            .with_unit("s")
            .with_description("The time until the head of a response")
            .with_boundaries(vec![
                0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
            ])
            .build()
    })
}

struct TraceHeaders<'a>(&'a HeaderMap);

impl Extractor for TraceHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{
        App, HttpResponse,
        body::MessageBody,
        http::header::{ACCEPT, CACHE_CONTROL},
        middleware::{Next, from_fn},
        test::{TestRequest, call_service, init_service},
        web,
    };

    use super::*;

    async fn observe_here(
        request: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> Result<ServiceResponse<impl MessageBody>, Error> {
        observe(&TrustedProxies::default(), false, None, request, |request| next.call(request))
            .await
    }

    async fn fine() -> HttpResponse {
        HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-cache")).finish()
    }

    async fn broken() -> Result<HttpResponse, ApiError> {
        Err(ApiError::new(ErrorCode::NotFound, "Story not found"))
    }

    async fn headers(path: &str, header: (HeaderName, &str)) -> HeaderMap {
        let app = App::new()
            .wrap(from_fn(observe_here))
            .route("/fine", web::get().to(fine))
            .route("/broken", web::get().to(broken));
        let app = init_service(app).await;
        let request = TestRequest::with_uri(path).insert_header(header).to_request();
        call_service(&app, request).await.headers().clone()
    }

    #[test]
    fn refusals_have_one_line_in_a_second_with_their_number() {
        let refusals = Refusals { count: AtomicU64::new(0), logged_at: Mutex::new(None) };
        let start = Instant::now();
        let lines: Vec<_> = (0..250_u64)
            .filter_map(|number| refusals.count(start + Duration::from_millis(number * 10)))
            .collect();
        assert_eq!(lines, [1, 100, 100]);
    }

    #[actix_web::test]
    async fn every_response_declares_that_it_is_not_a_page() {
        for path in ["/fine", "/broken", "/unknown"] {
            let headers = headers(path, (ACCEPT, "*/*")).await;
            assert_eq!(headers.get("x-content-type-options").unwrap(), "nosniff", "{path}");
            let policy = headers.get("content-security-policy").unwrap();
            assert_eq!(policy, "default-src 'none'; frame-ancestors 'none'", "{path}");
            assert_eq!(headers.get("referrer-policy").unwrap(), "no-referrer", "{path}");
        }
    }

    #[actix_web::test]
    async fn responses_to_editors_and_errors_are_not_cached() {
        for (path, header, control) in [
            ("/fine", (ACCEPT, "*/*"), "no-cache"),
            ("/fine", (AUTHORIZATION, "Bearer x"), "private, no-store"),
            ("/broken", (ACCEPT, "*/*"), "no-store"),
            ("/broken", (AUTHORIZATION, "Bearer x"), "private, no-store"),
        ] {
            let headers = headers(path, header).await;
            assert_eq!(headers.get(CACHE_CONTROL).unwrap(), control, "{path}");
        }
    }

    #[actix_web::test]
    async fn problem_json_is_sent_to_clients_that_accept_it_by_name() {
        for (accept, content_type) in [
            ("*/*", "application/json"),
            ("application/json", "application/json"),
            ("application/problem+json", PROBLEM_JSON),
            ("application/json, Application/Problem+JSON;q=0.5", PROBLEM_JSON),
            ("application/json, application/problem+json; q=0.0", "application/json"),
        ] {
            let headers = headers("/broken", (ACCEPT, accept)).await;
            assert_eq!(headers.get(CONTENT_TYPE).unwrap(), content_type, "{accept}");
        }
    }
}
