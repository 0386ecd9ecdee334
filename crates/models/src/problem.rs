//! The one shape of every error: RFC 9457 members, a stable code, and the trace to look up.

use serde::{Deserialize, Serialize};
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

/// Declares the catalogue of errors: code, HTTP status, title.
macro_rules! catalogue {
    ($($(#[$doc:meta])+ $variant:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// The stable name of an error. Codes are part of the interface: they never change meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])+ #[serde(rename = $code)] $variant,)+
        }

        impl ErrorCode {
            /// Every error there is, for the documentation and its test.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as it appears in an answer.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),+ }
            }

            /// The short title, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }
        }
    };
}

catalogue! {
    /// The path has parts that could be read in two ways, such as `..` or `//`.
    InvalidPath = "invalid_path", 400, "Invalid path";
    /// The id in the path is no 24-digit hexadecimal number.
    InvalidId = "invalid_id", 400, "Invalid id";
    /// The body is no JSON, or not JSON that is read in one way only.
    MalformedJson = "malformed_json", 400, "Malformed JSON";
    /// The request cannot be read.
    BadRequest = "bad_request", 400, "Bad request";
    /// A token is needed, and what came is missing or not valid.
    Unauthorized = "unauthorized", 401, "Unauthorized";
    /// The caller is known and may not do this, or the scripts of a site may not call.
    Forbidden = "forbidden", 403, "Forbidden";
    /// No such route.
    RouteNotFound = "route_not_found", 404, "Route not found";
    /// No such thing, or not public.
    NotFound = "not_found", 404, "Not found";
    /// The route exists, but not with this method.
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed";
    /// The slug belongs to something else.
    SlugTaken = "slug_taken", 409, "Slug taken";
    /// There are sections below this one.
    HasChildren = "has_children", 409, "Section has children";
    /// Content belongs to this section.
    HasContent = "has_content", 409, "Section has content";
    /// The list that is to be put in order has other members by now.
    OrderMismatch = "order_mismatch", 409, "Order does not match";
    /// Somebody else changed the same thing at the same time.
    Conflict = "conflict", 409, "Conflict";
    /// The first request with this idempotency key is not answered yet.
    IdempotencyInProgress = "idempotency_in_progress", 409, "Request in progress";
    /// `If-Match` does not name the present state.
    PreconditionFailed = "precondition_failed", 412, "Precondition failed";
    /// The body is larger than allowed.
    PayloadTooLarge = "payload_too_large", 413, "Payload too large";
    /// The body is of a media type that is not JSON.
    UnsupportedMediaType = "unsupported_media_type", 415, "Unsupported media type";
    /// A section cannot be put below itself.
    Cycle = "cycle", 422, "Cycle";
    /// The tree would be deeper than allowed.
    TooDeep = "too_deep", 422, "Too deep";
    /// The idempotency key was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "Idempotency key reused";
    /// A parameter or a field is unknown or has an invalid value.
    ValidationFailed = "validation_failed", 422, "Validation failed";
    /// The configuration asks for `If-Match`.
    PreconditionRequired = "precondition_required", 428, "Precondition required";
    /// The caller sends more requests than allowed.
    TooManyRequests = "too_many_requests", 429, "Too many requests";
    /// The stored document is in a shape that cannot be read.
    UnreadableDocument = "unreadable_document", 500, "Unreadable document";
    /// Something broke that should not have.
    Internal = "internal", 500, "Internal error";
    /// The service behind the gateway broke the connection or answered nonsense.
    UpstreamBroken = "upstream_broken", 502, "Upstream broken";
    /// The service behind the gateway, or one that it needs, is away.
    UpstreamUnavailable = "upstream_unavailable", 503, "Upstream unavailable";
    /// The identity provider, or who knows the users, is away.
    AuthUnavailable = "auth_unavailable", 503, "Authentication unavailable";
    /// The database is away.
    DatabaseUnavailable = "database_unavailable", 503, "Database unavailable";
    /// The service is not ready yet.
    NotReady = "not_ready", 503, "Not ready";
    /// The service behind the gateway is too slow.
    UpstreamTimeout = "upstream_timeout", 504, "Upstream timeout";
}

/// An error as every part of the system answers it (RFC 9457, "Problem Details for HTTP APIs").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:turbulence:error:` and the code; the documentation has a table of them.
    #[serde(rename = "type")]
    pub kind: String,
    /// The short title of the code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, for a person.
    pub detail: String,
    /// The stable name of the error.
    pub code: ErrorCode,
    /// The trace in which it happened (W3C trace id), to look up in logs and traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// What is wrong with which parameter or field; empty unless `code` is `validation_failed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// What is wrong with one parameter or field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// The name of the parameter, or the path of the field such as `technologies[3]`.
    pub field: String,
    /// `unknown`, `missing` or `invalid`.
    pub code: String,
    /// What is wrong with it, for a person.
    pub message: String,
}

impl FieldError {
    /// The field has a value that cannot be used.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), code: "invalid".to_owned(), message: message.into() }
    }

    /// There is no such field.
    pub fn unknown(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), code: "unknown".to_owned(), message: message.into() }
    }

    /// The field is needed.
    pub fn missing(field: impl Into<String>) -> Self {
        let message = "is missing".to_owned();
        Self { field: field.into(), code: "missing".to_owned(), message }
    }
}

impl Problem {
    /// The problem with this code and detail.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:turbulence:error:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            trace_id: None,
            errors: Vec::new(),
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
