//! What happens around every request: its ids, its span, its line in the log, its duration.

use std::{sync::OnceLock, time::Instant};

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
};
use opentelemetry::{
    KeyValue, global, metrics::Histogram, propagation::Extractor, trace::TraceContextExt,
};
use tracing::{Instrument, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use uuid::Uuid;

use crate::{
    ApiError, security,
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
    let has_token = request.headers().contains_key(AUTHORIZATION);

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
    security::add_headers(&mut response, has_token);
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
        .any(|range| {
            let (media_type, parameters) = range.split_once(';').unwrap_or((range, ""));
            // RFC 9110 §12.4.2: a weight of zero is "not acceptable".
            let is_refused = parameters.split(';').any(|parameter| {
                let weight = parameter.trim().strip_prefix("q=");
                weight
                    .and_then(|weight| weight.parse().ok())
                    .is_some_and(|weight: f32| weight <= 0.0)
            });
            media_type.trim().eq_ignore_ascii_case(PROBLEM_JSON) && !is_refused
        })
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

#[cfg(test)]
mod tests {
    use actix_web::{
        App, HttpResponse,
        http::header::CACHE_CONTROL,
        middleware::from_fn,
        test::{TestRequest, call_service, init_service},
        web,
    };
    use models::ErrorCode;

    use super::*;

    async fn fine() -> HttpResponse {
        HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-cache")).finish()
    }

    async fn broken() -> Result<HttpResponse, ApiError> {
        Err(ApiError::new(ErrorCode::NotFound, "Story not found"))
    }

    async fn headers(path: &str, header: (HeaderName, &str)) -> HeaderMap {
        let app = App::new()
            .wrap(from_fn(observe))
            .route("/fine", web::get().to(fine))
            .route("/broken", web::get().to(broken));
        let app = init_service(app).await;
        let request = TestRequest::with_uri(path).insert_header(header).to_request();
        call_service(&app, request).await.headers().clone()
    }

    #[actix_web::test]
    async fn every_answer_says_that_it_is_no_page() {
        for path in ["/fine", "/broken", "/unknown"] {
            let headers = headers(path, (ACCEPT, "*/*")).await;
            assert_eq!(headers.get("x-content-type-options").unwrap(), "nosniff", "{path}");
            let policy = headers.get("content-security-policy").unwrap();
            assert_eq!(policy, "default-src 'none'; frame-ancestors 'none'", "{path}");
            assert_eq!(headers.get("referrer-policy").unwrap(), "no-referrer", "{path}");
        }
    }

    #[actix_web::test]
    async fn what_editors_see_and_what_went_wrong_is_not_stored() {
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
    async fn problem_json_is_for_those_who_ask_for_it() {
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
