//! The error of every response: RFC 9457 members, a stable code and the trace id.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::schema::{ObjectBuilder, Type},
};

use crate::schema::schema;

schema!(
    ErrorCode,
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("The stable name of an error. Codes never change their meaning."))
        .enum_values(Some(ErrorCode::ALL.iter().map(|code| code.as_str())))
);

/// Declares the catalogue of errors with code, HTTP status and title.
macro_rules! catalogue {
    ($($(#[$doc:meta])+ $variant:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// The stable name of an error. Codes are part of the API and never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])+ #[serde(rename = $code)] $variant,)+
        }

        impl ErrorCode {
            /// All codes, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the code as it is written in a response.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// Returns the HTTP status of the error.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// Returns the short title, which is the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

catalogue! {
    /// The path has ambiguous parts, such as `..` or `//`.
    InvalidPath = "invalid_path", 400, "Invalid path";
    /// The id in the path is no 24-digit hexadecimal number.
    InvalidId = "invalid_id", 400, "Invalid id";
    /// The body is no JSON, or JSON that parsers read differently.
    MalformedJson = "malformed_json", 400, "Malformed JSON";
    /// The request cannot be read.
    BadRequest = "bad_request", 400, "Bad request";
    /// A token is needed; it is missing or invalid.
    Unauthorized = "unauthorized", 401, "Unauthorized";
    /// The caller may not do this, or the origin of the script is not allowed.
    Forbidden = "forbidden", 403, "Forbidden";
    /// The route does not exist.
    RouteNotFound = "route_not_found", 404, "Route not found";
    /// The resource does not exist or is not public.
    NotFound = "not_found", 404, "Not found";
    /// The route does not support the method.
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed";
    /// Another resource has the slug.
    SlugTaken = "slug_taken", 409, "Slug taken";
    /// There are sections below this one.
    HasChildren = "has_children", 409, "Section has children";
    /// The section has content.
    HasContent = "has_content", 409, "Section has content";
    /// The ids are not those of the sections that are to be ordered.
    OrderMismatch = "order_mismatch", 409, "Order does not match";
    /// Another request changed the same resource at the same time.
    Conflict = "conflict", 409, "Conflict";
    /// The first request with the idempotency key is still in progress.
    IdempotencyInProgress = "idempotency_in_progress", 409, "Request in progress";
    /// `If-Match` does not match the current entity tag.
    PreconditionFailed = "precondition_failed", 412, "Precondition failed";
    /// The published text was changed since the draft was begun.
    DraftOutdated = "draft_outdated", 412, "Draft outdated";
    /// The body is larger than allowed.
    PayloadTooLarge = "payload_too_large", 413, "Payload too large";
    /// The media type of the body is not JSON.
    UnsupportedMediaType = "unsupported_media_type", 415, "Unsupported media type";
    /// A section cannot be put below itself.
    Cycle = "cycle", 422, "Cycle";
    /// The tree would have more levels than allowed.
    TooDeep = "too_deep", 422, "Too deep";
    /// The idempotency key was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "Idempotency key reused";
    /// A parameter or a field is unknown or has an invalid value.
    ValidationFailed = "validation_failed", 422, "Validation failed";
    /// The configuration requires `If-Match`.
    PreconditionRequired = "precondition_required", 428, "Precondition required";
    /// The caller has sent more requests than allowed.
    TooManyRequests = "too_many_requests", 429, "Too many requests";
    /// The stored document cannot be read.
    UnreadableDocument = "unreadable_document", 500, "Unreadable document";
    /// An internal error has occurred.
    Internal = "internal", 500, "Internal error";
    /// The service behind the gateway closed the connection or sent an invalid response.
    UpstreamBroken = "upstream_broken", 502, "Upstream broken";
    /// The service behind the gateway, or one that it needs, cannot be reached.
    UpstreamUnavailable = "upstream_unavailable", 503, "Upstream unavailable";
    /// The identity provider, or the service that has the users, cannot be reached.
    AuthUnavailable = "auth_unavailable", 503, "Authentication unavailable";
    /// The database cannot be reached.
    DatabaseUnavailable = "database_unavailable", 503, "Database unavailable";
    /// The service is not ready yet.
    NotReady = "not_ready", 503, "Not ready";
    /// There are more requests than can be processed, or more responses than clients read.
    Overloaded = "overloaded", 503, "Overloaded";
    /// The service behind the gateway did not answer in time.
    UpstreamTimeout = "upstream_timeout", 504, "Upstream timeout";
}

/// An error response of any part of the system (RFC 9457, "Problem Details for HTTP APIs").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:turbulence:error:` and the code; the documentation has a table of them.
    #[serde(rename = "type")]
    pub kind: String,
    /// The short title of the code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The cause of this occurrence, for a person.
    pub detail: String,
    /// The stable name of the error.
    pub code: ErrorCode,
    /// The W3C trace id of the request, to look up in logs and traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The invalid parameters and fields; empty unless `code` is `validation_failed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The present state of what was to be changed, for a client that shows what is different; only with
    /// the codes `precondition_failed` and `draft_outdated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    pub current: Option<CurrentState>,
}

/// The state of a resource that a request did not expect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CurrentState {
    /// Its entity tag, for `If-Match`.
    pub etag: String,
    /// The resource as a `GET` answers it.
    #[schema(value_type = Object)]
    pub value: Value,
}

/// The error of a parameter or field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// The name of the parameter, or the path of the field such as `technologies[3]`.
    pub field: String,
    /// `unknown`, `missing` or `invalid`.
    pub code: String,
    /// The cause, for a person.
    pub message: String,
}

impl FieldError {
    /// Creates the error of a field with an invalid value.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), code: "invalid".to_owned(), message: message.into() }
    }

    /// Creates the error of a field that does not exist.
    pub fn unknown(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), code: "unknown".to_owned(), message: message.into() }
    }

    /// Creates the error of a required field that is absent.
    pub fn missing(field: impl Into<String>) -> Self {
        let message = "is missing".to_owned();
        Self { field: field.into(), code: "missing".to_owned(), message }
    }
}

impl Problem {
    /// Creates a problem with this code and detail.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:turbulence:error:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            trace_id: None,
            errors: Vec::new(),
            current: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTED: &str = include_str!("../../../docs/reference/errors.md");
    const HEAD: &str = "| code | status | when | what to do |";

    #[test]
    fn the_documentation_has_every_code_with_its_status_and_no_other() {
        let (_, table) = DOCUMENTED.split_once(HEAD).expect("the page has the table of codes");
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let documented: Vec<_> = rows
            .map(|row| {
                let mut cells = row.trim_matches('|').split('|').map(str::trim);
                let code = cells.next().unwrap_or_default().trim_matches('`');
                (code, cells.next().unwrap_or_default().to_owned())
            })
            .collect();
        let catalogue =
            ErrorCode::ALL.iter().map(|code| (code.as_str(), code.status().to_string()));
        assert_eq!(documented, catalogue.collect::<Vec<_>>());
    }

    #[test]
    fn a_code_is_written_as_it_is_named() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).ok(), Some(code.as_str().into()));
        }
    }
}
