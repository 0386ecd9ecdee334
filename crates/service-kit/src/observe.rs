//! What happens around every request: its ids, its span, its line in the log, its duration.

use std::{sync::OnceLock, time::Instant};

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
};
use opentelemetry::{
    KeyValue, global, metrics::Histogram, propagation::Extractor, trace::TraceContextExt,
};
use tracing::{Instrument, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use crate::{
    ApiError,
    server::{REQUEST_ID, RequestId},
};

/// The longest request id that is accepted from a caller; a longer one is replaced.
const REQUEST_ID_MAX_LENGTH: usize = 128;

const PROBLEM_JSON: &str = "application/problem+json";

/// The middleware around every request.
pub(crate) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let request_id = accepted_request_id(request.headers())
        .unwrap_or_else(|| RequestId::new(Uuid::new_v4().to_string()));
    let wants_problem_json = wants_problem_json(request.headers());

    let span = tracing::info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %method,
        http.route = %route,
        http.response.status_code = Empty,
        url.path = request.path(),
        request_id = request_id.as_str(),
        trace_id = Empty,
    );
    let parent = global::get_text_map_propagator(|propagator| {
        propagator.extract(&Headers(request.headers()))
    });
    // Fails only where no OpenTelemetry layer is installed, as in some tests.
    let _ = span.set_parent(parent);
    let trace_id = span.context().span().span_context().trace_id().to_string();
    span.record("trace_id", &trace_id);

    request.extensions_mut().insert(request_id.clone());
    let mut response = next.call(request).instrument(span.clone()).await?;

    let status = response.status();
    let duration = started.elapsed();
    let error = response.response().error().and_then(|error| error.as_error::<ApiError>());
    let is_ours = error.is_some();
    let causes = error.and_then(ApiError::causes);
    if wants_problem_json && is_ours {
        let problem_json = HeaderValue::from_static(PROBLEM_JSON);
        response.headers_mut().insert(CONTENT_TYPE, problem_json);
    }
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        response.headers_mut().insert(HeaderName::from_static(REQUEST_ID), value);
    }

    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    // The line that people search: its fields stand at the top, not in a span.
    let (request_id, trace_id) = (request_id.as_str(), trace_id.as_str());
    let (method_name, code) = (method.as_str(), status.as_u16());
    let duration_ms = duration.as_secs_f64() * 1000.0;
    macro_rules! log {
        ($level:ident, $message:literal $(, $field:ident)*) => {
            tracing::$level!(
                parent: None,
                trace_id,
                request_id,
                method = method_name,
                route,
                status = code,
                duration_ms,
                $($field,)*
                $message
            )
        };
    }
    match causes {
        Some(cause) => log!(warn, "request failed", cause),
        None if status.is_server_error() => log!(warn, "request failed"),
        // Asked every second by every orchestrator.
        None if route.starts_with("/health") => log!(debug, "request"),
        None => log!(info, "request"),
    }
    request_duration().record(
        duration.as_secs_f64(),
        &[
            KeyValue::new("http.request.method", method.to_string()),
            KeyValue::new("http.route", route),
            KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
        ],
    );
    Ok(response)
}

/// OpenTelemetry semantic conventions, "HTTP metrics": `http.server.request.duration`.
fn request_duration() -> &'static Histogram<f64> {
    static HISTOGRAM: OnceLock<Histogram<f64>> = OnceLock::new();
    HISTOGRAM.get_or_init(|| {
        global::meter("service-kit")
            .f64_histogram("http.server.request.duration")
            .with_unit("s")
            .with_boundaries(vec![
                0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
            ])
            .build()
    })
}

/// The caller's own request id, where it is short and printable: it goes into logs and headers.
fn accepted_request_id(headers: &HeaderMap) -> Option<RequestId> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_acceptable = (1..=REQUEST_ID_MAX_LENGTH).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_acceptable.then(|| RequestId::new(id.to_owned()))
}

/// Existing frontends test for `application/json`, so the media type of RFC 9457 is for those who
/// ask for it.
fn wants_problem_json(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|media_type| media_type.trim().eq_ignore_ascii_case(PROBLEM_JSON))
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}
