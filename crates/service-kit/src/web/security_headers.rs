//! Headers that keep a response from being taken for a page, or from being cached by others.

use actix_web::{
    dev::ServiceResponse,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

/// The headers of a response that sets none of them itself. They declare that it is data: a browser
/// that is made to open it as a page runs and frames nothing of it (OWASP REST Security Cheat Sheet).
const DATA_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// Adds the headers. A response to a caller with a token may contain drafts and is not cached at all.
/// An error is not cached either: a missing page may exist a second later.
pub(crate) fn add<B>(response: &mut ServiceResponse<B>, has_token: bool) {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let headers = response.headers_mut();
    for (name, value) in DATA_HEADERS {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    if has_token {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    } else if is_error && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
