//! Which browsers may call: the gateway alone decides, by `cors.allowed_origins`.

use actix_cors::{Cors, CorsError};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::{Condition, Next},
};
use models::ErrorCode;
use service_kit::{ApiError, settings};
use url::Url;

/// The origin that stands for all.
const ANY: &str = "*";

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"];

/// What scripts may send: what the API reads.
const REQUEST_HEADERS: [&str; 6] = [
    "authorization",
    "content-type",
    "if-match",
    "if-none-match",
    "idempotency-key",
    "x-request-id",
];

/// What scripts may read, besides what they always may.
const RESPONSE_HEADERS: [&str; 4] = ["etag", "location", "retry-after", "x-request-id"];

/// How long a browser may remember a permission: an hour, so that a new setting arrives.
const MAX_AGE_SECONDS: usize = 3600;

/// An origin in the settings is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "wrong setting: `cors.allowed_origins`: {0:?} is no origin; write it like \
     https://site.example (scheme, host, port if it is unusual, and nothing else), or * for all"
)]
pub struct InvalidOrigin(String);

/// The origins whose scripts may call.
#[derive(Debug, Clone)]
pub(crate) struct Origins(Vec<String>);

impl Origins {
    pub(crate) fn new(settings: &settings::Cors) -> Result<Self, InvalidOrigin> {
        let origins = &settings.allowed_origins.0;
        match origins.iter().find(|origin| *origin != ANY && !is_origin(origin)) {
            Some(wrong) => Err(InvalidOrigin(wrong.clone())),
            None => Ok(Self(origins.clone())),
        }
    }

    /// The middleware; without any origin there is no CORS at all.
    pub(crate) fn middleware(&self) -> Condition<Cors> {
        let mut cors = Cors::default()
            .allowed_methods(METHODS)
            .allowed_headers(REQUEST_HEADERS)
            .expose_headers(RESPONSE_HEADERS)
            .max_age(MAX_AGE_SECONDS);
        for origin in &self.0 {
            cors = match origin.as_str() {
                ANY => cors.allow_any_origin().send_wildcard(),
                origin => cors.allowed_origin(origin),
            };
        }
        Condition::new(!self.0.is_empty(), cors)
    }
}

/// Whether a browser would write it so. Part of a name (`https://*.site.example`) cannot be left
/// open: it would be compared as it stands, and never match.
fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let is_web = matches!(url.scheme(), "http" | "https");
        is_web && url.origin().ascii_serialization() == text && !text.contains('*')
    })
}

/// Gives the refusals of the middleware the one error shape.
pub(crate) async fn explain_refusals(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let response = next.call(request).await?;
    let refusal = response.response().error().and_then(|error| error.as_error::<CorsError>());
    let Some(refusal) = refusal.map(|refusal| format!("CORS: {refusal}.")) else {
        return Ok(response.map_into_left_body());
    };
    let (request, _) = response.into_parts();
    let error = ApiError::new(ErrorCode::BadRequest, refusal);
    Ok(ServiceResponse::from_err(error, request).map_into_right_body())
}

#[cfg(test)]
mod tests {
    use settings::CommaSeparated;

    use super::*;

    fn origins(text: &str) -> Result<Origins, InvalidOrigin> {
        let allowed_origins = CommaSeparated(vec![text.to_owned()]);
        Origins::new(&settings::Cors { allowed_origins })
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for text in ["https://site.example", "http://localhost:3000", "http://[::1]:3000", "*"] {
            origins(text).unwrap();
        }
    }

    #[test]
    fn anything_else_is_named_with_its_key() {
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
            let line = origins(text).unwrap_err().to_string();
            assert!(line.contains("`cors.allowed_origins`") && line.contains(text), "{line}");
        }
    }
}
