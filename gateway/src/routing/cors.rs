//! Cross-origin requests (CORS), by the settings `cors.allowed_origins` and `cors.allowed_headers`.
//!
//! A browser reports only that a preflight was refused. The response itself has the reason and the
//! setting to change, for a developer who looks at it in the network tab or with curl.

use std::sync::Arc;

use actix_cors::{Cors, CorsError};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{
            ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue,
            ORIGIN,
        },
    },
    middleware::{Condition, Next},
};
use models::ErrorCode;
use service_kit::{runtime::settings, web::error::ApiError};
use url::Url;

/// The wildcard for all origins, and for all headers.
const ANY: &str = "*";

/// The methods that scripts may use.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"];

/// The response headers that scripts may read, in addition to those that they always may.
const RESPONSE_HEADERS: [&str; 5] =
    ["content-location", "etag", "location", "retry-after", "x-request-id"];

/// The time for which a browser may cache a permission: an hour, so that a new setting takes effect.
const MAX_AGE_SECONDS: usize = 3600;

/// A setting of CORS is wrong.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCors {
    /// A text is not an origin.
    #[error(
        "wrong setting: `cors.allowed_origins`: {0:?} is not an origin; write it like \
         https://site.example (scheme, host, port if it is unusual, and nothing else), or * for all"
    )]
    Origin(String),
    /// A text is not a header name.
    #[error(
        "wrong setting: `cors.allowed_headers`: {0:?} is not a header name; write names like \
         x-request-id, or * for all"
    )]
    Header(String),
}

/// The origins whose scripts may call, and the headers that they may set.
#[derive(Debug, Clone)]
pub(crate) struct CorsPolicy {
    origins: Vec<String>,
    /// The allowed headers; `None` allows all.
    headers: Option<Vec<HeaderName>>,
}

impl CorsPolicy {
    pub(crate) fn new(settings: &settings::Cors) -> Result<Self, InvalidCors> {
        let origins = settings.allowed_origins.0.clone();
        if let Some(wrong) = origins.iter().find(|origin| *origin != ANY && !is_origin(origin)) {
            return Err(InvalidCors::Origin(wrong.clone()));
        }
        let names = settings.allowed_headers.0.iter().filter(|name| *name != ANY);
        let header = |name: &String| {
            HeaderName::try_from(name).map_err(|_| InvalidCors::Header(name.clone()))
        };
        let headers = names.map(header).collect::<Result<_, _>>()?;
        let is_any = settings.allowed_headers.0.iter().any(|name| name == ANY);
        Ok(Self { origins, headers: (!is_any).then_some(headers) })
    }

    /// Returns the middleware that answers preflights; it does nothing if no origin is allowed.
    pub(crate) fn middleware(&self) -> Condition<Cors> {
        let mut cors = Cors::default()
            .allowed_methods(METHODS)
            .expose_headers(RESPONSE_HEADERS)
            .max_age(MAX_AGE_SECONDS);
        cors = match &self.headers {
            None => cors.allow_any_header(),
            Some(headers) => cors.allowed_headers(headers),
        };
        for origin in &self.origins {
            cors = match origin.as_str() {
                ANY => cors.allow_any_origin().send_wildcard(),
                origin => cors.allowed_origin(origin),
            };
        }
        Condition::new(!self.origins.is_empty(), cors)
    }

    /// Returns the requested header names that scripts may not set.
    fn refused_headers(&self, requested: &str) -> String {
        let is_allowed = |name: &str| {
            let Some(allowed) = &self.headers else { return true };
            allowed.iter().any(|header| header.as_str().eq_ignore_ascii_case(name))
        };
        let requested = requested.split(',').map(str::trim).filter(|name| !name.is_empty());
        let refused = requested.filter(|name| !is_allowed(name));
        refused.collect::<Vec<_>>().join("`, `")
    }

    /// Returns the error with the reason for a refused preflight and the setting that would allow it.
    fn refusal(&self, reason: &CorsError, preflight: &Preflight) -> ApiError {
        let Preflight { origin, headers } = preflight;
        let detail = match reason {
            CorsError::OriginNotAllowed => format!(
                "CORS: scripts of {origin} may not call. If they should, add it to the setting \
                 `cors.allowed_origins` of the gateway."
            ),
            CorsError::HeadersNotAllowed => format!(
                "CORS: scripts may not set the header `{}`. If they should, add it to the setting \
                 `cors.allowed_headers` of the gateway.",
                self.refused_headers(headers)
            ),
            CorsError::MethodNotAllowed => {
                format!("CORS: the method is none of {}.", METHODS.join(", "))
            }
            malformed => {
                return ApiError::new(ErrorCode::BadRequest, format!("CORS: {malformed}."));
            }
        };
        ApiError::new(ErrorCode::Forbidden, detail)
    }
}

/// The headers of a preflight that an error names.
#[derive(Debug, Clone, Default)]
struct Preflight {
    origin: String,
    headers: String,
}

impl Preflight {
    /// Returns `None` for other requests (Fetch Standard, "CORS-preflight request").
    fn of(request: &ServiceRequest) -> Option<Self> {
        let headers = request.headers();
        let text = |name: HeaderName| {
            headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let origin = text(ORIGIN)?;
        let headers = text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        (request.method() == Method::OPTIONS).then_some(Self { origin, headers })
    }

    /// Returns the error for a gateway that allows no origin.
    fn disabled(&self) -> ApiError {
        let Self { origin, .. } = self;
        let example = if is_origin(origin) { origin } else { "https://site.example" };
        let detail = format!(
            "CORS: no scripts in browsers may call, because the setting `cors.allowed_origins` of \
             the gateway is empty. To allow those of a site, set \
             TURBULENCE__CORS__ALLOWED_ORIGINS={example}."
        );
        ApiError::new(ErrorCode::Forbidden, detail)
    }
}

/// Removes the empty elements of the list of headers, which have no meaning (RFC 9110 §5.6.1), and a
/// list without other elements.
fn drop_empty_headers(request: &mut ServiceRequest, preflight: &Preflight) {
    let names = preflight.headers.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names = names.collect::<Vec<_>>().join(",");
    let headers = request.headers_mut();
    match HeaderValue::try_from(names) {
        Ok(names) if !names.is_empty() => {
            headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, names);
        }
        Ok(_) => drop(headers.remove(ACCESS_CONTROL_REQUEST_HEADERS)),
        // The middleware refuses it.
        Err(_) => {}
    }
}

/// Returns `true` if this is an origin as a browser writes it. A wildcard in a name
/// (`https://*.site.example`) is refused: it would be compared literally and never match.
fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let is_web = matches!(url.scheme(), "http" | "https");
        is_web && url.origin().ascii_serialization() == text && !text.contains('*')
    })
}

/// Answers preflights if no origin is allowed, and gives the refusals of the middleware the one error
/// shape.
pub(crate) async fn explain_refusals(
    policy: Arc<CorsPolicy>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let preflight = Preflight::of(&request);
    if let Some(preflight) = &preflight {
        if policy.origins.is_empty() {
            let refusal = preflight.disabled();
            return Ok(request.error_response(refusal).map_into_right_body());
        }
        drop_empty_headers(&mut request, preflight);
    }
    let response = next.call(request).await?;
    let refusal = response.response().error().and_then(|error| error.as_error::<CorsError>());
    let Some(refusal) = refusal else { return Ok(response.map_into_left_body()) };
    let refusal = policy.refusal(refusal, &preflight.unwrap_or_default());
    let (request, _) = response.into_parts();
    Ok(ServiceResponse::from_err(refusal, request).map_into_right_body())
}

#[cfg(test)]
mod tests {
    use settings::comma_separated::CommaSeparated;

    use super::*;

    fn policy(origin: &str, header: &str) -> Result<CorsPolicy, InvalidCors> {
        CorsPolicy::new(&settings::Cors {
            allowed_origins: CommaSeparated(vec![origin.to_owned()]),
            allowed_headers: CommaSeparated(vec![header.to_owned()]),
        })
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for text in ["https://site.example", "http://localhost:3000", "http://[::1]:3000", "*"] {
            policy(text, "accept").unwrap();
        }
    }

    #[test]
    fn a_text_that_is_not_an_origin_is_named_with_its_key() {
        for text in [
            "site.example",
            "https://site.example/",
            "https://site.example/path",
            "https://Site.Example",
            "https://site.example:443",
            "https://*.site.example",
            "null",
            "file:///x",
        ] {
            let line = policy(text, "accept").unwrap_err().to_string();
            assert!(line.contains("`cors.allowed_origins`") && line.contains(text), "{line}");
        }
    }

    #[test]
    fn a_text_that_is_not_a_header_name_is_named_with_its_key() {
        for name in ["x request", "x:y", "é", "x;y"] {
            let line = policy("*", name).unwrap_err().to_string();
            assert!(line.contains("`cors.allowed_headers`") && line.contains(name), "{line}");
        }
        for name in ["X-Request-Id", "*"] {
            policy("*", name).unwrap();
        }
    }
}
