//! Errors as HTTP answers, in the one shape of [`models::Problem`].

use std::{error::Error as StdError, fmt, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use models::{ErrorCode, FieldError, Problem};

use crate::{process::one_line, telemetry};

/// What is told when the cause is ours: nothing that helps an attacker, and where to look.
const INTERNAL_DETAIL: &str = "Something went wrong on our side. The trace id leads to the log.";

/// An error on its way to a client.
///
/// `detail` is for the client. The cause, if there is one, is for the log alone, where it appears
/// once when the request ends.
#[derive(Debug)]
pub struct ApiError {
    /// Boxed, so that a `Result` that is almost always `Ok` stays small.
    problem: Box<Problem>,
    retry_after_seconds: Option<u32>,
    allow: Option<Arc<str>>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl ApiError {
    /// An error with this code and this message for the client.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let problem = Box::new(Problem::new(code, detail));
        Self { problem, retry_after_seconds: None, allow: None, cause: None }
    }

    /// Unknown or not public, without saying which. `thing` is a word such as `Story`.
    pub fn not_found(thing: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("{thing} not found"))
    }

    /// Something broke that should not have.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorCode::Internal, INTERNAL_DETAIL).because(cause)
    }

    /// One parameter or field has an invalid value or is unknown.
    pub fn invalid(error: FieldError) -> Self {
        Self::invalid_all(vec![error])
    }

    /// These parameters or fields have invalid values, are unknown or are missing.
    pub fn invalid_all(errors: Vec<FieldError>) -> Self {
        Self::invalid_all_and_more(errors, 0)
    }

    /// These fields are wrong, and so many more that are not named.
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

    /// The caller is known, and may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, detail)
    }

    /// The route does not have the method; these are what it has (RFC 9110 §10.2.1).
    pub(crate) fn method_not_allowed(request: &HttpRequest, allow: Arc<str>) -> Self {
        let detail = format!("{} cannot be used on {}", request.method(), request.path());
        Self { allow: Some(allow), ..Self::new(ErrorCode::MethodNotAllowed, detail) }
    }

    /// The stable name of the error.
    pub fn code(&self) -> ErrorCode {
        self.problem.code
    }

    /// What is wrong with which parameter or field.
    pub fn field_errors(&self) -> &[FieldError] {
        &self.problem.errors
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn retry_after_seconds(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The cause and its causes, outermost first.
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
        let trace_id = telemetry::current_trace_id();
        response.json(Problem { trace_id, ..(*self.problem).clone() })
    }
}

/// The answer to a path that no route has.
pub async fn route_not_found(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let detail = format!("There is no route {}", request.path());
    Err(ApiError::new(ErrorCode::RouteNotFound, detail))
}
