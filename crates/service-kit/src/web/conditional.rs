//! Conditional requests (RFC 9110 §13): a client that has the current state gets no copy of it, and
//! cannot overwrite a state that it has not read.

use std::fmt;

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse,
    body::MessageBody,
    dev::Payload,
    http::{
        StatusCode,
        header::{
            self, CACHE_CONTROL, CONTENT_TYPE, ETAG, EntityTag, Header, HeaderValue, IF_MATCH,
            IfMatch as IfMatchHeader, IfNoneMatch, VARY,
        },
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use models::{CurrentState, ErrorCode};
use ring::digest::{Context, SHA256};
use serde::Serialize;
use serde_json::Value;

use crate::{runtime::settings, web::error::ApiError};

/// The number of bytes of the digest in a tag: with 16, no two states of a site share a tag by chance.
const TAG_BYTES: usize = 16;

/// A strong entity tag (RFC 9110 §8.8.3), the name of a state of a resource.
///
/// ```
/// use service_kit::web::conditional::ETag;
///
/// assert_eq!(ETag::of(b"a state"), ETag::of(b"a state"));
/// assert_ne!(ETag::of(b"a state"), ETag::of(b"another state"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(EntityTag);

impl ETag {
    /// Returns the tag of these parts together. For a response that is not built yet, the parts are
    /// everything that determines it, such as the route, its parameters and the state of the data.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Context::new(&SHA256);
        for part in parts {
            // With its length, so that "a", "bc" differs from "ab", "c".
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let tag = URL_SAFE_NO_PAD.encode(&digest.finish().as_ref()[..TAG_BYTES]);
        Self(EntityTag::new_strong(tag))
    }

    /// Returns the tag of a representation.
    pub fn of(representation: &[u8]) -> Self {
        Self::of_parts([representation])
    }

    /// Returns `true` if a tag that a client sent names this state.
    ///
    /// Proxies that compress a response change its tag: some make it weak (nginx, HAProxy), others
    /// append the content coding (Apache, Caddy, Jetty). The client can only send back the tag that
    /// it received, so that each of these forms is accepted, in `If-Match` too. That deviates from
    /// RFC 9110 §13.1.1, which requires the strong comparison there: another coding of a representation
    /// is not another state of the resource.
    fn is_named_by(&self, sent: &EntityTag) -> bool {
        sent.tag().strip_prefix(self.0.tag()).is_some_and(is_coding_suffix)
    }

    /// Returns the tag that a service sent, if it is a strong one.
    pub fn from_header(value: &str) -> Option<Self> {
        let tag: EntityTag = value.parse().ok()?;
        (!tag.weak).then_some(Self(tag))
    }

    /// Returns the tag of a coding of the representation, such as `gzip`. A client may send it back in
    /// place of this one.
    pub fn of_coding(&self, coding: &str) -> String {
        format!("\"{}-{coding}\"", self.0.tag())
    }

    /// Returns `true` if `If-None-Match` of a request names the tag, also as a weak one (RFC 9110
    /// §13.1.2) or as proxies change it.
    pub fn is_known(&self, request: &impl HttpMessage) -> bool {
        if !request.headers().contains_key(header::IF_NONE_MATCH) {
            return false;
        }
        match IfNoneMatch::parse(request) {
            Ok(IfNoneMatch::Any) => true,
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| self.is_named_by(known)),
            Err(_) => false,
        }
    }

    /// Returns the state that the tag names, for an error.
    pub fn state_of(&self, value: Value) -> CurrentState {
        CurrentState { etag: self.to_string(), value }
    }

    /// Returns the tag of a value's JSON.
    pub fn of_json(value: &impl Serialize) -> Result<Self, ApiError> {
        serde_json::to_vec(value).map(|json| Self::of(&json)).map_err(ApiError::internal)
    }
}

/// The content codings that proxies append to tags (IANA, "HTTP Content Coding Registry").
const CODINGS: [&str; 5] = ["gzip", "br", "zstd", "deflate", "compress"];

/// The separators between a tag and a coding: Apache and Caddy write `x-gzip`, Jetty `x--gzip`, and
/// others `x;gzip` or `x:gzip`.
const CODING_SEPARATORS: [&str; 4] = ["--", "-", ";", ":"];

/// Returns `true` if this suffix is empty or a coding that a proxy appended.
fn is_coding_suffix(suffix: &str) -> bool {
    let mut codings = CODING_SEPARATORS.iter().filter_map(|mark| suffix.strip_prefix(mark));
    suffix.is_empty() || codings.any(|coding| CODINGS.contains(&coding))
}

impl fmt::Display for ETag {
    /// Writes the tag with its quotes, as in the header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns the response to a GET: 200 with the value and its tag, or 304 if the client has it already.
pub fn json_response(
    request: &HttpRequest,
    value: &impl Serialize,
) -> Result<HttpResponse, ApiError> {
    let body = serde_json::to_vec(value).map_err(ApiError::internal)?;
    let tag = ETag::of(&body);
    Ok(not_modified(request, &tag).unwrap_or_else(|| tagged(StatusCode::OK, &tag, body)))
}

/// Like [`json_response`], with a tag that was made without the value. That costs less than hashing the
/// response, and the caller can try [`not_modified`] before it reads the value.
pub fn tagged_json_response(
    request: &HttpRequest,
    tag: &ETag,
    value: &impl Serialize,
) -> Result<HttpResponse, ApiError> {
    if let Some(response) = not_modified(request, tag) {
        return Ok(response);
    }
    let body = serde_json::to_vec(value).map_err(ApiError::internal)?;
    Ok(tagged(StatusCode::OK, tag, body))
}

/// Returns the response to a write: the status, the tag of the new state, and a value that may contain
/// more than the state.
pub fn write_response(
    status: StatusCode,
    tag: &ETag,
    value: &impl Serialize,
) -> Result<HttpResponse, ApiError> {
    let body = serde_json::to_vec(value).map_err(ApiError::internal)?;
    Ok(tagged(status, tag, body))
}

/// Returns the response for a file that is part of the program: 200, or 304 if the client has it
/// already.
pub fn static_response(
    request: &HttpRequest,
    tag: &ETag,
    content_type: &'static str,
    body: &'static [u8],
) -> HttpResponse {
    typed_response(request, tag, content_type, body)
}

/// Returns the response to a GET whose representation is another text than JSON: 200 with its tag, or
/// 304 if the client has it already.
pub fn text_response(
    request: &HttpRequest,
    content_type: &'static str,
    body: Vec<u8>,
) -> HttpResponse {
    typed_response(request, &ETag::of(&body), content_type, body)
}

fn typed_response(
    request: &HttpRequest,
    tag: &ETag,
    content_type: &'static str,
    body: impl MessageBody + 'static,
) -> HttpResponse {
    not_modified(request, tag).unwrap_or_else(|| {
        let mut response = tagged(StatusCode::OK, tag, body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    })
}

/// Returns 304 if the client [knows](ETag::is_known) the tag.
pub fn not_modified(request: &HttpRequest, tag: &ETag) -> Option<HttpResponse> {
    tag.is_known(request).then(|| {
        let mut response = HttpResponse::NotModified();
        response.insert_header((ETAG, tag.to_string()));
        response.insert_header(REVALIDATE).insert_header(PER_CALLER).finish()
    })
}

/// The caching policy: a cache may store a response but has to revalidate it before each use, so that
/// changes by editors are visible at once.
const REVALIDATE: (header::HeaderName, &str) = (CACHE_CONTROL, "no-cache");

/// The header that separates responses by caller: editors see more than the public.
const PER_CALLER: (header::HeaderName, &str) = (VARY, "authorization");

fn tagged(status: StatusCode, tag: &ETag, body: impl MessageBody + 'static) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((ETAG, tag.to_string()))
        .insert_header(REVALIDATE)
        .insert_header(PER_CALLER)
        .content_type("application/json")
        .body(body)
}

/// The setting that writes need `If-Match`. Part of the data of an app; without it, they do not.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequireIfMatch(bool);

impl RequireIfMatch {
    /// Returns the value of the settings.
    pub fn new(server: &settings::Server) -> Self {
        Self(server.require_if_match)
    }
}

/// The state that a caller expects before a write.
///
/// As an extractor it answers 428 if `If-Match` is missing and the configuration requires it.
#[derive(Debug, Clone)]
pub struct IfMatch(Expected);

#[derive(Debug, Clone)]
enum Expected {
    Anything,
    OneOf(Vec<EntityTag>),
}

impl IfMatch {
    /// Returns `true` if the caller named a state. Otherwise, the current one need not be compared.
    pub fn is_given(&self) -> bool {
        matches!(self.0, Expected::OneOf(_))
    }

    /// Refuses with 412 unless the caller expects this state, which is what a `GET` answers. The error
    /// has it, so that a client can show both.
    pub fn check(&self, current: &impl Serialize) -> Result<(), ApiError> {
        match &self.0 {
            Expected::Anything => Ok(()),
            Expected::OneOf(_) => self.check_tag(&ETag::of_json(current)?, || {
                serde_json::to_value(current).map_err(ApiError::internal)
            }),
        }
    }

    /// The same for a state whose tag is not made from what a `GET` answers.
    pub fn check_tag(
        &self,
        tag: &ETag,
        current: impl FnOnce() -> Result<Value, ApiError>,
    ) -> Result<(), ApiError> {
        match &self.0 {
            Expected::Anything => Ok(()),
            Expected::OneOf(tags) if tags.iter().any(|expected| tag.is_named_by(expected)) => {
                Ok(())
            }
            Expected::OneOf(_) => {
                let detail = "It was changed since it was read (`If-Match` does not match). Read it \
                              again.";
                let error = ApiError::new(ErrorCode::PreconditionFailed, detail);
                Err(error.with_current(tag.state_of(current()?)))
            }
        }
    }

    fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let is_required = request.app_data::<RequireIfMatch>().is_some_and(|required| required.0);
        if !request.headers().contains_key(IF_MATCH) {
            if is_required {
                let detail = "The header `If-Match` is missing. Send the `ETag` of what was read.";
                return Err(ApiError::new(ErrorCode::PreconditionRequired, detail));
            }
            return Ok(Self(Expected::Anything));
        }
        Ok(Self(match IfMatchHeader::parse(request) {
            Ok(IfMatchHeader::Any) => Expected::Anything,
            Ok(IfMatchHeader::Items(tags)) => Expected::OneOf(tags),
            // A malformed header names no state.
            Err(_) => Expected::OneOf(Vec::new()),
        }))
    }
}

impl FromRequest for IfMatch {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(Self::of(request))
    }
}

/// The state that a caller expects before a write of something that need not exist yet: `If-Match` and
/// `If-None-Match` (RFC 9110 §13.1).
///
/// As an extractor it answers 428 if both are missing and the configuration requires `If-Match`.
#[derive(Debug, Clone)]
pub struct WriteCondition {
    /// The header `If-Match`, or `None` if it is missing.
    if_match: Option<IfMatch>,
    /// The header `If-None-Match`, or `None` if it is missing.
    none_match: Option<Expected>,
}

impl WriteCondition {
    /// Refuses with 412 unless the tag of the present state, `None` if there is nothing, is one that the
    /// caller expects. The error has the state, which is what a `GET` answers.
    pub fn check(
        &self,
        present: Option<&ETag>,
        current: impl FnOnce() -> Result<Value, ApiError>,
    ) -> Result<(), ApiError> {
        let is_excluded = present.is_some_and(|present| match &self.none_match {
            Some(Expected::Anything) => true,
            Some(Expected::OneOf(tags)) => tags.iter().any(|tag| present.is_named_by(tag)),
            None => false,
        });
        match (&self.if_match, present) {
            (_, Some(present)) if is_excluded => {
                let detail = "There is one already (`If-None-Match` matches). Read it first.";
                let error = ApiError::new(ErrorCode::PreconditionFailed, detail);
                Err(error.with_current(present.state_of(current()?)))
            }
            (Some(if_match), Some(present)) => if_match.check_tag(present, current),
            (Some(_), None) => {
                let detail = "There is nothing that `If-Match` could name. Leave the header out.";
                Err(ApiError::new(ErrorCode::PreconditionFailed, detail))
            }
            (None, _) => Ok(()),
        }
    }

    fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let is_given = |name: header::HeaderName| request.headers().contains_key(name);
        let none_match =
            is_given(header::IF_NONE_MATCH).then(|| match IfNoneMatch::parse(request) {
                Ok(IfNoneMatch::Any) => Expected::Anything,
                Ok(IfNoneMatch::Items(tags)) => Expected::OneOf(tags),
                // A malformed header names no state.
                Err(_) => Expected::OneOf(Vec::new()),
            });
        if !is_given(IF_MATCH) && none_match.is_some() {
            return Ok(Self { if_match: None, none_match });
        }
        let if_match = IfMatch::of(request)?;
        Ok(Self { if_match: is_given(IF_MATCH).then_some(if_match), none_match })
    }
}

impl FromRequest for WriteCondition {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(Self::of(request))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde_json::json as value;

    use super::*;

    fn request(name: header::HeaderName, header: &str) -> HttpRequest {
        TestRequest::default().insert_header((name, header)).to_http_request()
    }

    #[test]
    fn a_tag_is_strong_quoted_and_follows_the_representation() {
        let tag = ETag::of(b"a");
        assert_eq!(tag, ETag::of(b"a"));
        assert_ne!(tag, ETag::of(b"b"));
        assert_ne!(ETag::of_parts([&b"a"[..], b"bc"]), ETag::of_parts([&b"ab"[..], b"c"]));
        let text = tag.to_string();
        assert!(text.starts_with('"') && text.ends_with('"') && text.len() == 24, "{text}");
    }

    #[test]
    fn a_client_with_the_current_state_gets_304() {
        let value = value!({ "id": 1 });
        let plain = TestRequest::default().to_http_request();
        let response = json_response(&plain, &value).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let tag = response.headers().get(ETAG).unwrap().to_str().unwrap().to_owned();
        for header in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"other\", {tag}"),
            format!("\"other\",W/{tag} , \"x\""),
            "*".to_owned(),
        ] {
            let response = json_response(&request(header::IF_NONE_MATCH, &header), &value).unwrap();
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{header}");
            assert_eq!(response.headers().get(ETAG).unwrap(), tag.as_str());
        }
        for header in ["\"other\"", "", "garbage", tag.trim_matches('"')] {
            let response = json_response(&request(header::IF_NONE_MATCH, header), &value).unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{header}");
        }
    }

    #[test]
    fn a_write_on_another_state_is_refused() {
        let current = value!({ "id": 1 });
        let present = ETag::of_json(&current).unwrap();
        let check = |header: &str| {
            let if_match = IfMatch::of(&request(IF_MATCH, header)).unwrap();
            if_match.check(&current).map_err(|error| error.code())
        };
        assert_eq!(check(&present.to_string()), Ok(()));
        assert_eq!(check(&format!("\"old\", {present}")), Ok(()));
        assert_eq!(check("*"), Ok(()));
        for header in ["\"old\"", "W/\"old\"", "\"old-gzip\"", "", "garbage"] {
            assert_eq!(check(header), Err(ErrorCode::PreconditionFailed), "{header}");
        }
    }

    #[test]
    fn a_write_of_something_that_need_not_exist_has_two_conditions() {
        let present = ETag::of(b"now");
        let check = |headers: &[(header::HeaderName, &str)], present: Option<&ETag>| {
            let request = headers.iter().fold(TestRequest::default(), |request, header| {
                request.insert_header((header.0.clone(), header.1))
            });
            let condition = WriteCondition::of(&request.to_http_request()).unwrap();
            let current = || Ok(value!({ "id": 1 }));
            condition.check(present, current).map_err(|error| error.code())
        };
        let failed = Err(ErrorCode::PreconditionFailed);
        let tag = present.to_string();
        for (headers, if_there, if_not) in [
            (&[][..], Ok(()), Ok(())),
            (&[(IF_MATCH, tag.as_str())], Ok(()), failed),
            (&[(IF_MATCH, "*")], Ok(()), failed),
            (&[(IF_MATCH, "\"old\"")], failed, failed),
            (&[(header::IF_NONE_MATCH, "*")], failed, Ok(())),
            (&[(header::IF_NONE_MATCH, tag.as_str())], failed, Ok(())),
            (&[(header::IF_NONE_MATCH, "\"old\"")], Ok(()), Ok(())),
            (&[(IF_MATCH, tag.as_str()), (header::IF_NONE_MATCH, "*")], failed, failed),
        ] {
            assert_eq!(check(headers, Some(&present)), if_there, "{headers:?}");
            assert_eq!(check(headers, None), if_not, "{headers:?}");
        }
    }

    #[test]
    fn a_required_if_match_can_be_an_if_none_match_where_nothing_need_exist() {
        let code = |headers: &[(header::HeaderName, &str)]| {
            let request = headers
                .iter()
                .fold(TestRequest::default().app_data(RequireIfMatch(true)), |request, header| {
                    request.insert_header((header.0.clone(), header.1))
                });
            WriteCondition::of(&request.to_http_request()).err().map(|error| error.code())
        };
        assert_eq!(code(&[]), Some(ErrorCode::PreconditionRequired));
        assert_eq!(code(&[(IF_MATCH, "*")]), None);
        assert_eq!(code(&[(header::IF_NONE_MATCH, "*")]), None);
    }

    #[test]
    fn a_tag_that_a_proxy_changed_names_the_same_state() {
        let current = value!({ "id": 1 });
        let present = ETag::of_json(&current).unwrap();
        let tag = present.to_string().trim_matches('"').to_owned();
        let is_named = |header: &str| {
            let if_match = IfMatch::of(&request(IF_MATCH, header)).unwrap();
            let is_matched = if_match.check(&current).is_ok();
            let known = request(header::IF_NONE_MATCH, header);
            assert_eq!(not_modified(&known, &present).is_some(), is_matched, "{header}");
            is_matched
        };
        for suffix in [
            "",
            "-gzip",
            "-br",
            "-zstd",
            "-deflate",
            ";gzip",
            ";br",
            "--gzip",
            ":zstd",
            "-compress",
        ] {
            for header in [
                format!("\"{tag}{suffix}\""),
                format!("W/\"{tag}{suffix}\""),
                format!("\"other\", W/\"{tag}{suffix}\" , \"x\""),
            ] {
                assert!(is_named(&header), "{header}");
            }
        }
        for suffix in
            ["-", "gzip", "-gzipx", "-gzip-br", "-x", "---gzip", "-GZIP", ";", "-identity"]
        {
            assert!(!is_named(&format!("\"{tag}{suffix}\"")), "{suffix}");
        }
        for header in [format!("\"{}-gzip\"", &tag[1..]), format!("\"x{tag}\""), tag.clone()] {
            assert!(!is_named(&header), "{header}");
        }
    }

    #[test]
    fn a_state_whose_own_tag_ends_like_a_coding_is_compared_as_a_whole() {
        let long = ETag(EntityTag::new_strong("x-gzip".to_owned()));
        let short = ETag(EntityTag::new_strong("x".to_owned()));
        assert!(!long.is_named_by(&short.0));
        assert!(short.is_named_by(&long.0) && long.is_named_by(&long.0));
    }

    #[test]
    fn if_match_is_required_where_the_configuration_says_so() {
        let missing = |required| {
            let request = TestRequest::default().app_data(RequireIfMatch(required));
            IfMatch::of(&request.to_http_request()).map(drop).map_err(|error| error.code())
        };
        assert_eq!(missing(true), Err(ErrorCode::PreconditionRequired));
        assert_eq!(missing(false), Ok(()));
        let request = TestRequest::default().to_http_request();
        assert!(!IfMatch::of(&request).unwrap().is_given());
    }
}
