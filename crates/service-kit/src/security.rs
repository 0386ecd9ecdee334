//! Headers that keep an answer from being taken for something else, or kept where it should not be.

use actix_web::{
    dev::ServiceResponse,
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

/// What an answer says of itself unless it says otherwise: it is data. A browser that is made to
/// open it as a page runs and frames nothing of it (OWASP REST Security Cheat Sheet).
const OF_DATA: [(HeaderName, HeaderValue); 3] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// Adds the headers. An answer to somebody with a token may hold drafts and is kept nowhere; an
/// error is not kept either: what is missing now may be there in a second.
pub(crate) fn add_headers<B>(response: &mut ServiceResponse<B>, has_token: bool) {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    let headers = response.headers_mut();
    for (name, value) in OF_DATA {
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
