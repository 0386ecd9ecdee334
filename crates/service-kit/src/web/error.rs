//! Errors as HTTP responses, in the one shape of [`models::Problem`].

use std::{error::Error as StdError, fmt, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ACCEPT, ALLOW, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use models::{CurrentState, ErrorCode, FieldError, Problem};

use crate::runtime::{error_chain::one_line, trace::current_trace_id};

/// The media type of errors for clients that accept it by name.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// The message of an internal error. It contains nothing that helps an attacker.
const INTERNAL_DETAIL: &str = "Something went wrong on our side. The trace id leads to the log.";

/// An error response.
///
/// `detail` is for the client. The cause, if there is one, is only for the log, which has it once, at
/// the end of the request.
///
/// ```
/// use models::ErrorCode;
/// use service_kit::web::error::ApiError;
///
/// fn find(slug: &str) -> Result<String, ApiError> {
///     Err(ApiError::not_found("Story"))
/// }
///
/// let error = find("first-light").unwrap_err();
/// assert_eq!(error.code(), ErrorCode::NotFound);
/// assert_eq!(error.to_string(), "not_found: Story not found");
/// ```
#[derive(Debug)]
pub struct ApiError {
    /// Boxed, so that a `Result` that is almost always `Ok` stays small.
    problem: Box<Problem>,
    retry_after_seconds: Option<u32>,
    allow: Option<Arc<str>>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl ApiError {
    /// Returns an error with this code and this message for the client.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let problem = Box::new(Problem::new(code, detail));
        Self { problem, retry_after_seconds: None, allow: None, cause: None }
    }

    /// Returns the error for something unknown or not public; the client does not learn which.
    /// `thing` is a word such as `Story`.
    pub fn not_found(thing: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("{thing} not found"))
    }

    /// Returns the error for an unexpected failure. Only the log has the cause.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorCode::Internal, INTERNAL_DETAIL).because(cause)
    }

    /// Returns the error for a parameter or field that is invalid or unknown.
    pub fn invalid(error: FieldError) -> Self {
        Self::invalid_all(vec![error])
    }

    /// Returns the error for parameters or fields that are invalid, unknown or missing.
    pub fn invalid_all(errors: Vec<FieldError>) -> Self {
        Self::invalid_all_and_more(errors, 0)
    }

    /// Returns the error for these fields and `unnamed` more.
    pub(crate) fn invalid_all_and_more(errors: Vec<FieldError>, unnamed: usize) -> Self {
        let detail = match errors.as_slice() {
            [] => "The request is not valid.".to_owned(),
            [error, rest @ ..] => match rest.len() + unnamed {
                0 => format!("`{}`: {}", error.field, error.message),
                more => format!("`{}`: {} (and {more} more)", error.field, error.message),
            },
        };
        let mut this = Self::new(ErrorCode::ValidationFailed, detail);
        this.problem.errors = errors;
        this
    }

    /// Returns the error for a known caller who may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, detail)
    }

    /// Returns the error for a method that the route does not have. `allow` lists those that it has
    /// (RFC 9110 §10.2.1).
    pub(crate) fn method_not_allowed(request: &HttpRequest, allow: Arc<str>) -> Self {
        let detail = format!("{} cannot be used on {}", request.method(), request.path());
        Self { allow: Some(allow), ..Self::new(ErrorCode::MethodNotAllowed, detail) }
    }

    /// Returns the stable code of the error.
    pub fn code(&self) -> ErrorCode {
        self.problem.code
    }

    /// Returns the message for the client.
    pub fn detail(&self) -> &str {
        &self.problem.detail
    }

    /// Returns the errors of single parameters or fields.
    pub fn field_errors(&self) -> &[FieldError] {
        &self.problem.errors
    }

    /// Adds the cause, which only the log contains.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds the present state of what was to be changed.
    #[must_use]
    pub fn with_current(mut self, current: CurrentState) -> Self {
        self.problem.current = Some(current);
        self
    }

    /// Adds the header `Retry-After`.
    #[must_use]
    pub fn retry_after_seconds(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Returns the cause and its sources, outermost first.
    pub(crate) fn causes(&self) -> Option<String> {
        self.cause.as_ref().map(|cause| one_line(&**cause))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem.code.as_str(), self.problem.detail)
    }
}

impl StdError for ApiError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as &(dyn StdError + 'static))
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if self.problem.code == ErrorCode::Unauthorized {
            response.insert_header((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((ALLOW, &**allow));
        }
        let trace_id = current_trace_id();
        response.json(Problem { trace_id, ..(*self.problem).clone() })
    }
}

/// Returns `true` if the client accepts the media type of RFC 9457 by name. Others get
/// `application/json`, which existing frontends test for.
pub fn wants_problem_json(headers: &HeaderMap) -> bool {
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
