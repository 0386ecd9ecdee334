//! The one shape of every error: RFC 9457 members, a stable code, and the trace to look up.

use serde::{Deserialize, Serialize};

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
    /// The request cannot be read.
    BadRequest = "bad_request", 400, "Bad request";
    /// A token is needed, and what came is missing or not valid.
    Unauthorized = "unauthorized", 401, "Unauthorized";
    /// No such route.
    RouteNotFound = "route_not_found", 404, "Route not found";
    /// No such thing, or not public.
    NotFound = "not_found", 404, "Not found";
    /// The route exists, but not with this method.
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed";
    /// A parameter or a field is unknown or has an invalid value.
    ValidationFailed = "validation_failed", 422, "Validation failed";
    /// The stored document is in a shape that cannot be read.
    UnreadableDocument = "unreadable_document", 500, "Unreadable document";
    /// Something broke that should not have.
    Internal = "internal", 500, "Internal error";
    /// The service behind the gateway broke the connection or answered nonsense.
    UpstreamBroken = "upstream_broken", 502, "Upstream broken";
    /// The service behind the gateway, or one that it needs, is away.
    UpstreamUnavailable = "upstream_unavailable", 503, "Upstream unavailable";
    /// The database is away.
    DatabaseUnavailable = "database_unavailable", 503, "Database unavailable";
    /// The service is not ready yet.
    NotReady = "not_ready", 503, "Not ready";
    /// The service behind the gateway is too slow.
    UpstreamTimeout = "upstream_timeout", 504, "Upstream timeout";
}

/// An error as every part of the system answers it (RFC 9457, "Problem Details for HTTP APIs").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// The name of the parameter or field.
    pub field: String,
    /// `unknown` or `invalid`.
    pub code: String,
    /// What is wrong with it, for a person.
    pub message: String,
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
