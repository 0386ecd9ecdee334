//! Bodies of requests: JSON that has one meaning only, parsed into a type that denies unknown members.
//!
//! There are three kinds of errors. A body that is too large or has another media type is not read
//! (413, 415). A body that is not JSON, or that two parsers could understand differently, is malformed
//! (400). A body whose values do not fit the type is invalid (422), and the response names every wrong
//! field.
//!
//! The memory for a body is at most three times its size, whatever it contains: its text is checked
//! in one pass that stores nothing (`check`), split into its members without a copy (`members`),
//! and each member is parsed from its text into its type (`raw`). There is no tree of values. A type
//! with a list has to stop at the longest list that it accepts.

mod check;
mod members;
#[cfg(test)]
mod memory;
mod raw;
#[cfg(test)]
mod samples;

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName},
};
use chrono::DateTime;
use futures_util::{StreamExt, future::LocalBoxFuture};
use models::{Body, ErrorCode, FieldError};
use serde::de::{Error as _, value::MapDeserializer};
use serde_json::Value;

use self::{
    members::{Member, Members, fields, split},
    raw::{InvalidValue, RawJson},
};
use super::{
    error::ApiError,
    field_error::{field_error, truncated},
    time_limit::Paused,
};
use crate::runtime::{offload::Offload, settings};

/// The largest number of fields that a response names.
const ERRORS_MAX: usize = 50;

/// The memory of all bodies that arrive or are processed at the same time, in bytes: eight of the
/// largest ones. With what parsing adds, they take 96 of the 256 MiB of a process.
const BODIES_MAX_BYTES: usize = 8 * settings::MAX_BODY_BYTES;

/// The size up to which a body is parsed by the async worker that received it, in bytes: that takes
/// less than a millisecond, also for the costliest text, and usual bodies are smaller.
const PARSED_AT_ONCE_BYTES: usize = 64 * 1024;

/// The most large bodies that are parsed at once. Each takes a core for up to some tenths of a second
/// (4 MiB of short names), at a low priority, since reads need all of them.
const MAX_PARSED: usize = 1;

/// The parsing of large bodies of the process.
static PARSING: LazyLock<Offload> = LazyLock::new(|| Offload::new(MAX_PARSED).with_low_priority());

/// The largest size of a body, in bytes. Part of the data of an app; without it, the default of the
/// settings applies.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(usize);

impl BodyLimit {
    /// Returns the limit of the settings.
    pub fn new(server: &settings::Server) -> Self {
        Self(server.max_body_bytes.get())
    }
}

impl Default for BodyLimit {
    fn default() -> Self {
        Self(settings::MAX_BODY_BYTES)
    }
}

/// The parsed body of a request. Read-only members of the type are skipped.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: Body + 'static> FromRequest for JsonBody<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = PatchBody::<T>::from_request(request, payload);
        Box::pin(async move {
            let body = body.await?;
            body.parse(|_| true).map(Self).map_err(ApiError::from)
        })
    }
}

/// The body of a request that changes an entity. It is validated together with the current state: a
/// value that could not be written today may be an old one, sent back as it was read.
#[derive(Debug)]
pub struct PatchBody<T> {
    text: String,
    members: Members,
    body: PhantomData<fn() -> T>,
    _memory: BodyMemory,
}

impl<T: Body> PatchBody<T> {
    /// Returns the body with this text, which was received before.
    pub fn from_text(text: impl Into<String>) -> Result<Self, ApiError> {
        split_body(text.into().into_bytes(), BodyMemory::default())
    }

    /// Returns the names of the members of the body that a request can change.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.writable().map(|(name, _)| name)
    }

    /// Returns `true` if the body has this member with the value of the current response.
    fn is_unchanged(&self, name: &str, current: &Value) -> bool {
        self.get(name).zip(current.get(name)).is_some_and(|(raw, value)| raw.is(value))
    }

    /// Parses the members whose values differ from the current response. Refuses other values of
    /// read-only members, and values that may not be written.
    pub fn changes_of(&self, current: &Value) -> Result<T, ApiError> {
        let is_refused = |name: &str| {
            let is_fixed = T::READ_ONLY.contains(&name) && !T::IGNORED.contains(&name);
            is_fixed && !self.is_unchanged(name, current) && !self.is_same_moment(name, current)
        };
        let refused = self.members.listed.iter().filter_map(|member| match member {
            Member::Known(name, _) if is_refused(name) => {
                let message = "cannot be changed: send the value that was read, or leave it out";
                Some(FieldError::invalid(*name, message))
            }
            _ => None,
        });
        let refused: Vec<_> = refused.collect();
        match self.parse(|name| !self.is_unchanged(name, current)) {
            Ok(body) if refused.is_empty() => Ok(body),
            Ok(_) => Err(InvalidBody { errors: refused, unnamed: 0 }.into()),
            Err(mut invalid) => {
                invalid.errors.extend(refused);
                Err(invalid.into())
            }
        }
    }

    /// Returns `true` if this member is the same moment as in the current response. Clients write a
    /// moment in several ways.
    fn is_same_moment(&self, name: &str, current: &Value) -> bool {
        let moment = |text: &str| DateTime::parse_from_rfc3339(text).ok();
        let sent = self.get(name).and_then(|raw| serde_json::from_str::<String>(raw.0).ok());
        let present = current.get(name).and_then(Value::as_str);
        sent.and_then(|sent| moment(&sent))
            .is_some_and(|sent| present.and_then(moment) == Some(sent))
    }

    /// Returns the value of a member of the type.
    fn get(&self, name: &str) -> Option<RawJson<'_>> {
        self.members.listed.iter().find_map(|member| match member {
            Member::Known(known, range) if *known == name => {
                self.text.get(range.clone()).map(RawJson)
            }
            _ => None,
        })
    }

    /// Returns the members that a request can change.
    fn writable(&self) -> impl Iterator<Item = (&'static str, RawJson<'_>)> {
        self.members.listed.iter().filter_map(|member| match member {
            Member::Known(name, range) if !T::READ_ONLY.contains(name) => {
                Some((*name, RawJson(self.text.get(range.clone())?)))
            }
            _ => None,
        })
    }

    /// Parses the selected members among those that a request can change. An error names every
    /// member that is wrong.
    fn parse(&self, is_selected: impl Fn(&str) -> bool) -> Result<T, InvalidBody> {
        let selected: Vec<_> = self.writable().filter(|(name, _)| is_selected(name)).collect();
        let selected = || selected.iter().copied();
        let missing = T::REQUIRED.iter().filter(|name| self.get(name).is_none());
        let missing: Vec<_> = missing.map(|name| FieldError::missing(*name)).collect();
        let is_known = |member: &Member| matches!(member, Member::Known(..));
        let has_unknown = !self.members.listed.iter().all(is_known);
        let first = match deserialize::<T>(selected()) {
            Ok(body) if missing.is_empty() && !has_unknown => return Ok(body),
            Ok(_) => None,
            Err(error) => Some(error),
        };

        let mut errors = Vec::new();
        for member in &self.members.listed {
            match member {
                Member::Unknown(name) => errors.push(unknown::<T>(name)),
                Member::Known(name, _) if first.is_some() => {
                    // Alone, so that the error is about this member, or about missing others.
                    let alone = deserialize::<T>(selected().filter(|(other, _)| other == name));
                    errors.extend(alone.err().filter(|error| is_about(error, name)));
                }
                Member::Known(..) => {}
            }
        }
        // Members that the type misses are reported only if the others are valid.
        if first.is_some() {
            let is_wrong = |name| errors.iter().any(|error| is_about(error, name));
            if let Err(error) = deserialize::<T>(selected().filter(|(name, _)| !is_wrong(name)))
                && !errors.iter().any(|wrong| is_about(wrong, &error.field))
            {
                errors.push(error);
            }
        }
        errors.extend(missing);
        if errors.is_empty() {
            errors.extend(first);
        }
        Err(InvalidBody { errors, unnamed: self.members.more_unknown })
    }
}

/// The errors of a body.
struct InvalidBody {
    errors: Vec<FieldError>,
    /// The number of wrong fields beyond these.
    unnamed: usize,
}

impl From<InvalidBody> for ApiError {
    fn from(InvalidBody { mut errors, unnamed }: InvalidBody) -> Self {
        let unnamed = unnamed + errors.len().saturating_sub(ERRORS_MAX);
        errors.truncate(ERRORS_MAX);
        Self::invalid_all_and_more(errors, unnamed)
    }
}

impl<T: Body + 'static> FromRequest for PatchBody<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            require_json(&request)?;
            let limit = request.app_data::<BodyLimit>().copied().unwrap_or_default();
            let (body, memory) = receive(&request, payload, limit.0).await?;
            if body.len() <= PARSED_AT_ONCE_BYTES {
                return split_body(body, memory);
            }
            PARSING.run(|| split_body(body, memory)).await.map_err(ApiError::internal)?
        })
    }
}

/// The body of a request that is a text in UTF-8. Its media type is checked by its user.
#[derive(Debug)]
pub struct TextBody {
    text: String,
    _memory: BodyMemory,
}

impl TextBody {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromRequest for TextBody {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            if !is_plain_utf8(&request) {
                let detail = "The body must be a text in UTF-8, not compressed.";
                return Err(ApiError::new(ErrorCode::UnsupportedMediaType, detail));
            }
            let limit = request.app_data::<BodyLimit>().copied().unwrap_or_default();
            let (body, memory) = receive(&request, payload, limit.0).await?;
            let text = String::from_utf8(body).map_err(|error| {
                let detail = format!("The body must be a text in UTF-8: {}.", error.utf8_error());
                ApiError::new(ErrorCode::BadRequest, detail)
            })?;
            Ok(Self { text, _memory: memory })
        })
    }
}

/// Returns the media type of the body of a request in lower case, without parameters; nothing if there is
/// none.
pub fn media_type(request: &HttpRequest) -> String {
    let content_type = header(request, CONTENT_TYPE).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Requires the media type `application/json` or one based on it (RFC 6839 §3.1), in UTF-8
/// (RFC 8259 §8.1) and not compressed.
fn require_json(request: &HttpRequest) -> Result<(), ApiError> {
    let media_type = media_type(request);
    let is_json = media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    if is_json && is_plain_utf8(request) {
        return Ok(());
    }
    let detail = "The body must be JSON in UTF-8, not compressed, with the header \
                  `Content-Type: application/json`.";
    Err(ApiError::new(ErrorCode::UnsupportedMediaType, detail))
}

/// Returns `true` unless the body of a request is compressed or in another charset than UTF-8.
fn is_plain_utf8(request: &HttpRequest) -> bool {
    let parameters = header(request, CONTENT_TYPE).unwrap_or_default().split(';').skip(1);
    let mut parameters = parameters.filter_map(|parameter| parameter.split_once('='));
    let charset = parameters.find_map(|(name, value)| {
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"'))
    });
    charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"))
        && header(request, CONTENT_ENCODING).is_none_or(|coding| coding == "identity")
}

/// Returns a header of a request, or `?` for one that is no plain text.
fn header(request: &HttpRequest, name: HeaderName) -> Option<&str> {
    request.headers().get(name).map(|value| value.to_str().unwrap_or("?"))
}

async fn receive(
    request: &HttpRequest,
    mut payload: Payload,
    limit: usize,
) -> Result<(Vec<u8>, BodyMemory), ApiError> {
    let too_large = || {
        let detail = format!("The body may have at most {limit} bytes.");
        ApiError::new(ErrorCode::PayloadTooLarge, detail)
    };
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced: usize = announced.and_then(|length| length.parse().ok()).unwrap_or_default();
    if announced > limit {
        return Err(too_large());
    }
    let _paused = Paused::of(request);
    let (mut body, mut memory) = (Vec::with_capacity(announced), BodyMemory::default());
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::new(ErrorCode::BadRequest, "The body did not arrive complete.").because(error)
        })?;
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        memory.reserve(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    Ok((body, memory))
}

/// The memory of a body, as a part of [`BODIES_MAX_BYTES`]. It is given back when this is dropped.
#[derive(Debug, Default)]
struct BodyMemory(usize);

/// The memory of all bodies of this process, in bytes.
static BODIES_BYTES: AtomicUsize = AtomicUsize::new(0);

impl BodyMemory {
    fn reserve(&mut self, bytes: usize) -> Result<(), ApiError> {
        self.0 += bytes;
        if BODIES_BYTES.fetch_add(bytes, Ordering::Relaxed) + bytes <= BODIES_MAX_BYTES {
            return Ok(());
        }
        let detail = "Too many bodies arrive at the same time. Try again in a moment.";
        Err(ApiError::new(ErrorCode::Overloaded, detail).retry_after_seconds(1))
    }
}

impl Drop for BodyMemory {
    fn drop(&mut self) {
        BODIES_BYTES.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Checks a body and splits it into its members.
fn split_body<T: Body>(body: Vec<u8>, memory: BodyMemory) -> Result<PatchBody<T>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        let detail = "The body is empty; it must be a JSON object.";
        return Err(ApiError::new(ErrorCode::MalformedJson, detail));
    }
    let malformed = |error: &dyn fmt::Display| {
        let error = error.to_string();
        let detail = format!("The body is not valid JSON: {}", truncated(&error));
        ApiError::new(ErrorCode::MalformedJson, detail)
    };
    let text = String::from_utf8(body)
        .map_err(|error| malformed(&format_args!("it must be UTF-8: {}", error.utf8_error())))?;
    check::check_json(&text).map_err(|error| malformed(&error))?;
    if !text.trim_start().starts_with('{') {
        return Err(ApiError::invalid(FieldError::invalid("body", "must be a JSON object")));
    }
    let members = split::<T>(&text, ERRORS_MAX).map_err(|error| malformed(&error))?;
    Ok(PatchBody { text, members, body: PhantomData, _memory: memory })
}

/// Deserializes the type from these members.
fn deserialize<'a, T: Body>(
    members: impl Iterator<Item = (&'static str, RawJson<'a>)>,
) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(MapDeserializer::new(members)).map_err(|error| {
        let path = error.path().to_string();
        let error: InvalidValue = error.into_inner();
        field_error(&path, &error.to_string())
    })
}

fn unknown<T: Body>(name: &str) -> FieldError {
    FieldError::unknown(name, InvalidValue::unknown_field(name, fields::<T>()).to_string())
}

/// Returns `true` if the error is about this member or something in it.
fn is_about(error: &FieldError, name: &str) -> bool {
    error.field == name || top_level(&error.field) == name
}

/// Returns the member of the body that a path such as `technologies[3]` begins with.
fn top_level(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use actix_web::{http::StatusCode, test::TestRequest, web::Bytes};
    use serde_json::{Map, json};

    use super::{
        samples::{
            ProjectCreate, ProjectPatch, SectionPatch, StoryCreate, StoryPatch, StoryReplace,
        },
        *,
    };

    const JSON: &str = "application/json";

    async fn sent<T: Body + 'static>(
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<T, ApiError> {
        let (request, mut payload) = TestRequest::post()
            .app_data(BodyLimit(10_000))
            .insert_header((CONTENT_TYPE, content_type))
            .set_payload(body)
            .to_http_parts();
        JsonBody::from_request(&request, &mut payload).await.map(|JsonBody(body)| body)
    }

    async fn refused<T: Body + fmt::Debug + 'static>(
        body: impl Into<Bytes>,
    ) -> (ErrorCode, String) {
        let error = sent::<T>(JSON, body).await.unwrap_err();
        (error.code(), error.to_string())
    }

    /// Field and code of each error.
    async fn errors<T: Body + fmt::Debug + 'static>(body: Value) -> Vec<(String, String)> {
        let error = sent::<T>(JSON, body.to_string()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ValidationFailed, "{error}");
        let errors = error.field_errors().iter();
        errors.map(|error| (error.field.clone(), error.code.clone())).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(field, code)| ((*field).to_owned(), (*code).to_owned())).collect()
    }

    #[actix_web::test]
    async fn media_types_that_are_json_are_read() {
        let body = r#"{"title": "A day", "content": ""}"#;
        for content_type in [
            JSON,
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/merge-patch+json",
        ] {
            assert!(sent::<StoryCreate>(content_type, body).await.is_ok(), "{content_type}");
        }
        for content_type in [
            "",
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json; charset=latin1",
            "application/jsonp",
        ] {
            let error = sent::<StoryCreate>(content_type, body).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::UnsupportedMediaType, "{content_type}");
        }
    }

    #[actix_web::test]
    async fn a_whole_number_is_one_however_it_is_written() {
        for (text, number) in [("2", 2), ("2.0", 2), ("-2e3", -2000), ("-0.0", 0)] {
            let body = format!(r#"{{"sort_order": {text}}}"#);
            let patch = sent::<SectionPatch>(JSON, body).await.unwrap();
            assert_eq!(patch.sort_order, Some(number), "{text}");
        }
        for text in ["2.5", "1e300", "3000000000.0"] {
            let body = format!(r#"{{"sort_order": {text}}}"#);
            let error = sent::<SectionPatch>(JSON, body).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::ValidationFailed, "{text}");
        }
    }

    #[actix_web::test]
    async fn a_body_over_the_limit_is_too_large_however_it_is_sent() {
        let body = json!({ "title": "x", "content": "x".repeat(20_000) }).to_string();
        assert_eq!(refused::<StoryCreate>(body.clone()).await.0, ErrorCode::PayloadTooLarge);
        let (request, mut payload) = TestRequest::post()
            .app_data(BodyLimit(10_000))
            .insert_header((CONTENT_TYPE, JSON))
            .insert_header((CONTENT_LENGTH, "20000"))
            .to_http_parts();
        let error =
            JsonBody::<StoryCreate>::from_request(&request, &mut payload).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::PayloadTooLarge);
    }

    #[actix_web::test]
    async fn what_is_no_json_or_can_be_read_in_two_ways_is_malformed() {
        let deep = format!(r#"{{"title":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
        for body in [
            "",
            "  ",
            "{",
            "{title: 1}",
            r#"{"title": "x"} trailing"#,
            r#"{"title": "x"}{"#,
            r#"{"title": "x", "title": "y", "content": ""}"#,
            r#"{"title": {"a": 1, "a": 2}}"#,
            r#"{"title": "\ud800"}"#,
            "{\"title\": \"a\nb\"}",
            r#"{"title": NaN}"#,
            &deep,
        ] {
            let (code, text) = refused::<StoryPatch>(body.to_owned()).await;
            assert_eq!(code, ErrorCode::MalformedJson, "{body}: {text}");
        }
        let not_utf8 = Bytes::from_static(b"{\"title\": \"\xff\"}");
        assert_eq!(refused::<StoryPatch>(not_utf8).await.0, ErrorCode::MalformedJson);
    }

    #[actix_web::test]
    async fn a_body_has_to_be_an_object() {
        for body in [json!([]), json!(["title", "content"]), json!("x"), json!(null), json!(1)] {
            assert_eq!(errors::<StoryCreate>(body).await, pairs(&[("body", "invalid")]));
        }
    }

    #[actix_web::test]
    async fn every_wrong_field_is_named() {
        let body = json!({
            "title": { "$gt": "" },
            "views": 1,
            "content": "fine",
            "technologies": ["Rust", 7],
            "$where": "1",
            "live_url": "javascript:alert(1)",
            "is_featured": null,
        });
        let mut errors = errors::<ProjectCreate>(body).await;
        errors.sort();
        let expected = [
            ("$where", "unknown"),
            ("is_featured", "invalid"),
            ("live_url", "invalid"),
            ("technologies[1]", "invalid"),
            ("title", "invalid"),
            ("views", "unknown"),
        ];
        assert_eq!(errors, pairs(&expected));
    }

    #[actix_web::test]
    async fn what_is_missing_is_named_beside_what_is_wrong() {
        assert_eq!(errors::<StoryCreate>(json!({})).await, pairs(&[("title", "missing")]));
        let body = json!({ "content": 1, "x": 1 });
        let expected = [("content", "invalid"), ("x", "unknown"), ("title", "missing")];
        assert_eq!(errors::<StoryCreate>(body).await, pairs(&expected));
    }

    #[actix_web::test]
    async fn names_that_look_like_paths_are_unknown() {
        for name in ["a.b", "a[0]", "", ".", "title.x", "title[0]"] {
            let found = errors::<StoryPatch>(json!({ name: 1 })).await;
            assert_eq!(found.len(), 1, "{name:?}: {found:?}");
            assert_eq!(found[0].1, "unknown", "{name:?}");
        }
        let many: Map<_, _> = (0..200).map(|n| (format!("x{n}"), n.into())).collect();
        assert_eq!(errors::<StoryPatch>(many.into()).await.len(), ERRORS_MAX);
    }

    #[actix_web::test]
    async fn what_is_not_named_is_counted() {
        let members =
            |count| (0..count).map(|n| format!("\"x{n}\":0")).collect::<Vec<_>>().join(",");
        for (body, field, more) in [
            (format!("{{{}}}", members(1_000)), "x0", 999),
            (format!("{{\"title\":1,{}}}", members(70)), "title", 70),
            (format!("{{{},\"title\":1}}", members(70)), "x0", 70),
            (format!("{{{},\"title\":\"x\",\"content\":\"\"}}", members(60)), "x0", 59),
        ] {
            assert!(body.len() < 10_000);
            let error = sent::<StoryPatch>(JSON, body).await.unwrap_err();
            assert_eq!(error.field_errors().len(), ERRORS_MAX);
            assert_eq!(error.field_errors()[0].field, field);
            assert!(error.to_string().ends_with(&format!(" (and {more} more)")), "{error}");
        }
        let repeated = format!("{{{},\"x999\":0}}", members(1_000));
        assert_eq!(refused::<StoryPatch>(repeated).await.0, ErrorCode::MalformedJson);
    }

    #[actix_web::test]
    async fn a_large_body_does_not_stop_the_worker_that_received_it() {
        let members: Vec<_> = (0..300_000).map(|n| format!("\"x{n}\":0")).collect();
        let body = format!("{{{}}}", members.join(","));
        assert!(body.len() > 3_000_000);
        let (request, mut payload) = TestRequest::post()
            .insert_header((CONTENT_TYPE, JSON))
            .set_payload(body)
            .to_http_parts();
        let parsing =
            actix_web::rt::spawn(JsonBody::<StoryPatch>::from_request(&request, &mut payload));
        let (began, mut longest_pause, mut last) = (Instant::now(), Duration::ZERO, Instant::now());
        while !parsing.is_finished() {
            tokio::task::yield_now().await;
            longest_pause = longest_pause.max(last.elapsed());
            last = Instant::now();
        }
        let error = parsing.await.unwrap().unwrap_err();
        assert!(error.to_string().ends_with("(and 299999 more)"), "{error}");
        // Parsed by the worker, it would be most of the time.
        assert!(longest_pause < began.elapsed() / 2, "{longest_pause:?} {:?}", began.elapsed());
    }

    #[actix_web::test]
    async fn lists_have_the_errors_of_their_items_and_of_their_length() {
        for (technologies, field, message) in [
            (
                json!(["Rust", ["x"]]),
                "technologies[1]",
                "invalid type: sequence, expected a string",
            ),
            (json!(["Rust", "\u{200b}"]), "technologies[1]", "must not be blank"),
            (json!(vec!["Rust"; 51]), "technologies", "must have at most 50 items"),
            (
                json!(vec![json!("Rust"); 50].into_iter().chain([json!(7)]).collect::<Vec<_>>()),
                "technologies",
                "must have at most 50 items",
            ),
            (json!({ "0": "Rust" }), "technologies", "invalid type: map, expected a sequence"),
            (json!(null), "technologies", "invalid type: null, expected a sequence"),
        ] {
            let body = json!({ "title": "x", "content": "", "technologies": technologies });
            let error = sent::<ProjectCreate>(JSON, body.to_string()).await.unwrap_err();
            let [error] = error.field_errors() else { panic!("{error:?}") };
            assert_eq!(error.field, field);
            assert!(error.message.starts_with(message), "{error:?}");
        }
    }

    #[actix_web::test]
    async fn a_stored_value_can_be_sent_back_though_it_could_not_be_written() {
        let stored = json!({
            "title": "x".repeat(300), "content": "", "technologies": vec!["Rust"; 60],
            "live_url": "javascript:alert(1)", "is_featured": false, "id": "7",
        });
        let patch = async |body: &Value| {
            let (request, mut payload) = TestRequest::post()
                .insert_header((CONTENT_TYPE, JSON))
                .set_payload(body.to_string())
                .to_http_parts();
            PatchBody::<ProjectPatch>::from_request(&request, &mut payload).await.unwrap()
        };
        let members = patch(&stored).await;
        for name in ["title", "technologies", "live_url", "is_featured", "id"] {
            assert!(members.is_unchanged(name, &stored), "{name}");
        }
        assert!(!members.is_unchanged("summary", &stored));
        let body = members.changes_of(&stored).unwrap();
        assert_eq!((body.title, body.technologies, body.is_featured), (None, None, None));

        let mut changed = stored.clone();
        changed["technologies"][59] = json!("Go");
        changed["is_featured"] = json!(true);
        let error = patch(&changed).await.changes_of(&stored).unwrap_err();
        let fields: Vec<_> = error.field_errors().iter().map(|error| &*error.field).collect();
        assert_eq!(fields, ["technologies"]);
    }

    fn story() -> Value {
        json!({
            "id": "626e3e0035b0bc65bb5e1545", "title": "T".repeat(500), "is_published": true,
            "createdDate": "2026-05-01T09:30:00.000Z", "updatedDate": null, "deleted": false,
            "user_id": null, "section_id": null, "slug": "Not a slug", "content": "x", "date": null,
        })
    }

    fn changes_of(body: &Value) -> Result<StoryReplace, Vec<(String, String)>> {
        let members =
            split_body::<StoryReplace>(body.to_string().into_bytes(), BodyMemory::default())
                .unwrap();
        let error = match members.changes_of(&story()) {
            Ok(changes) => return Ok(changes),
            Err(error) => error,
        };
        let errors = error.field_errors().iter();
        Err(errors.map(|error| (error.field.clone(), error.code.clone())).collect())
    }

    #[test]
    fn what_was_answered_can_be_sent_back_and_changes_nothing() {
        let nothing: StoryReplace = serde_json::from_value(json!({})).unwrap();
        assert_eq!(changes_of(&story()), Ok(nothing));
    }

    #[test]
    fn another_value_of_a_read_only_member_is_refused_and_named() {
        for (member, value) in [
            ("id", json!("626e3e0035b0bc65bb5e1546")),
            ("user_id", json!("x")),
            ("deleted", json!(true)),
            ("slug", json!("another")),
        ] {
            let mut body = story();
            body[member] = value;
            assert_eq!(changes_of(&body), Err(pairs(&[(member, "invalid")])));
            body["views"] = json!(1);
            let errors = changes_of(&body).unwrap_err();
            assert_eq!(errors.len(), 2, "{errors:?}");
        }
        let mut body = story();
        body["updatedDate"] = json!("2026-05-01T09:30:00Z");
        assert!(changes_of(&body).is_ok(), "every write changes it");
    }

    #[test]
    fn what_a_replacement_needs_has_to_be_there_even_unchanged() {
        let mut body = story();
        body.as_object_mut().unwrap().remove("title");
        assert_eq!(changes_of(&body), Err(pairs(&[("title", "missing")])));
    }

    #[actix_web::test]
    async fn a_message_does_not_repeat_a_long_value() {
        let body = json!({ "section_id": "x".repeat(5_000) });
        let (_, text) = refused::<StoryPatch>(body.to_string()).await;
        assert!(text.len() < 1_000, "{text}");
        let body = json!({ "x".repeat(5_000): 1 });
        let error = sent::<StoryPatch>(JSON, body.to_string()).await.unwrap_err();
        assert!(format!("{error:?}").len() < 2_000);
        assert_eq!(actix_web::ResponseError::status_code(&error), StatusCode::UNPROCESSABLE_ENTITY);
    }

    #[actix_web::test]
    async fn ten_megabytes_are_answered_and_not_cut_off() {
        async fn create(_: JsonBody<StoryCreate>) -> &'static str {
            "created"
        }
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let app =
            || actix_web::App::new().service(crate::web::routing::route("/").post(create).build());
        let server = actix_web::HttpServer::new(app).workers(1).disable_signals();
        actix_web::rt::spawn(server.listen(listener).unwrap().run());
        let client =
            crate::web::http_client::service_client(std::time::Duration::from_secs(10)).unwrap();
        let large = || vec![b' '; 10_000_000];
        let chunks = || (0..160).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 * 1024]));
        for _ in 0..3 {
            let announced = reqwest::Body::from(large());
            let streamed = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks()));
            for body in [announced, streamed] {
                let request = client.post(&url).header("content-type", JSON).body(body);
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), 413);
                let problem: Value = response.json().await.unwrap();
                assert_eq!(problem["code"], "payload_too_large");
            }
        }
    }

    #[test]
    fn bodies_have_a_share_of_memory_that_is_given_back() {
        let mut memory = BodyMemory::default();
        memory.reserve(BODIES_MAX_BYTES / 2).unwrap();
        let mut another = BodyMemory::default();
        let error = another.reserve(BODIES_MAX_BYTES).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Overloaded);
        drop(another);
        drop(memory);
        BodyMemory::default().reserve(BODIES_MAX_BYTES / 2).unwrap();
    }
}
