//! Bodies of requests: JSON that can be read in one way only, into a type that denies the unknown.
//!
//! Three questions, three answers: a body that is too large or of another media type is not read
//! (413, 415); one that is no JSON, or JSON that two readers could understand differently, is
//! malformed (400); one whose values are not those that the type asks for is invalid (422), and the
//! answer names every field that is.

use std::{borrow::Cow, fmt, marker::PhantomData};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
    web::{Bytes, BytesMut},
};
use chrono::DateTime;
use futures_util::{StreamExt, future::LocalBoxFuture};
use models::{Body, ErrorCode, FieldError};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::{ApiError, settings};

/// The longest message about a field: a parser's may repeat all of a wrong value.
const MESSAGE_MAX_CHARS: usize = 300;

/// The most fields that an answer names.
const ERRORS_MAX: usize = 50;

/// The largest whole number up to which a float has each of them (RFC 8259 §6).
const EXACT_MAX: f64 = 9_007_199_254_740_991.0;

/// How large a body may be. Put among the data of an app; without it the default holds.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(usize);

impl BodyLimit {
    /// As the settings say.
    pub fn new(server: &settings::Server) -> Self {
        Self(server.max_body_bytes.get())
    }
}

impl Default for BodyLimit {
    fn default() -> Self {
        Self(settings::MAX_BODY_BYTES)
    }
}

/// The body of a request, parsed.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: Body + 'static> FromRequest for JsonBody<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let members = Members::<T>::from_request(request, payload);
        Box::pin(async move {
            let Members { members, missing, .. } = members.await?;
            read(members, missing).map(Self).map_err(ApiError::invalid_all)
        })
    }
}

/// The members of a body that changes something. What they are to be is validated together with
/// what is there: a value that nobody may write today can be an old one, sent back as it was read.
#[derive(Debug)]
pub struct Members<T> {
    members: Map<String, Value>,
    missing: Vec<FieldError>,
    body: PhantomData<fn() -> T>,
}

impl<T: Body> Members<T> {
    fn new(members: Map<String, Value>) -> Self {
        let missing = T::REQUIRED.iter().filter(|name| !members.contains_key(**name));
        let missing = missing.map(|name| FieldError::missing(*name)).collect();
        Self { members, missing, body: PhantomData }
    }

    /// Returns the body without the members that are in the present answer with the same value.
    /// Refuses other values of read-only members, and values that may not be written.
    pub fn changes_of(&self, current: &Value) -> Result<T, ApiError> {
        let mut refused = self.missing.clone();
        let mut changed = Map::new();
        for (name, value) in &self.members {
            let present = current.get(name);
            if present == Some(value) || T::IGNORED.contains(&name.as_str()) {
                continue;
            }
            if T::READ_ONLY.contains(&name.as_str()) {
                if present.is_some_and(|present| is_same_moment(present, value)) {
                    continue;
                }
                let message = "cannot be changed: send the value that was read, or leave it out";
                refused.push(FieldError::invalid(name.as_str(), message));
            } else {
                changed.insert(name.clone(), value.clone());
            }
        }
        read(changed, refused).map_err(ApiError::invalid_all)
    }
}

/// Whether two members are the same moment, which clients write in several ways.
fn is_same_moment(one: &Value, other: &Value) -> bool {
    let moment = |value: &Value| DateTime::parse_from_rfc3339(value.as_str()?).ok();
    moment(one).is_some_and(|one| moment(other) == Some(one))
}

impl<T: Body + 'static> FromRequest for Members<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            require_json(&request)?;
            let limit = request.app_data::<BodyLimit>().copied().unwrap_or_default();
            parse(&receive(&request, payload, limit.0).await?).map(Self::new)
        })
    }
}

/// The media type has to be `application/json` or one built on it (RFC 6839 §3.1), in UTF-8
/// (RFC 8259 §8.1) and not compressed.
fn require_json(request: &HttpRequest) -> Result<(), ApiError> {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    let content_type = header(CONTENT_TYPE).unwrap_or_default();
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let media_type = media_type.trim().to_ascii_lowercase();
    let is_json = media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"));
    let charset = parameters.split(';').filter_map(|parameter| parameter.split_once('=')).find_map(
        |(name, value)| {
            let is_charset = name.trim().eq_ignore_ascii_case("charset");
            is_charset.then(|| value.trim().trim_matches('"'))
        },
    );
    let is_utf8 = charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"));
    let is_plain = header(CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
    if is_json && is_utf8 && is_plain {
        return Ok(());
    }
    let detail = "The body must be JSON in UTF-8, not compressed, with the header \
                  `Content-Type: application/json`.";
    Err(ApiError::new(ErrorCode::UnsupportedMediaType, detail))
}

async fn receive(
    request: &HttpRequest,
    mut payload: Payload,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let too_large = || {
        let detail = format!("The body may have at most {limit} bytes.");
        ApiError::new(ErrorCode::PayloadTooLarge, detail)
    };
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced: usize = announced.and_then(|length| length.parse().ok()).unwrap_or_default();
    if announced > limit {
        return Err(too_large());
    }
    let mut body = BytesMut::with_capacity(announced);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::new(ErrorCode::BadRequest, "The body did not arrive complete.").because(error)
        })?;
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        let detail = "The body is empty; it must be a JSON object.";
        return Err(ApiError::new(ErrorCode::MalformedJson, detail));
    }
    let Unambiguous(value) = serde_json::from_slice(bytes).map_err(|error| {
        let error = short(&error.to_string()).into_owned();
        ApiError::new(ErrorCode::MalformedJson, format!("The body is no valid JSON: {error}"))
    })?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(ApiError::invalid(FieldError::invalid("body", "must be a JSON object"))),
    }
}

/// Reads the members, of which these are missing.
fn read<T: Body>(
    members: Map<String, Value>,
    missing: Vec<FieldError>,
) -> Result<T, Vec<FieldError>> {
    match validate(members) {
        Ok(body) if missing.is_empty() => Ok(body),
        Ok(_) => Err(missing),
        Err(mut errors) => {
            errors.extend(missing);
            Err(errors)
        }
    }
}

/// Reads the members, and where that fails goes on for all that is wrong with them.
///
/// The type stops at the first wrong member. That one is put last and the reading repeated, so that
/// each round ends at another one, until the first of the known ones comes again.
fn validate<T: Body>(mut members: Map<String, Value>) -> Result<T, Vec<FieldError>> {
    let mut errors: Vec<FieldError> = Vec::new();
    let mut wrong: Vec<String> = Vec::new();
    loop {
        let value = Value::Object(members);
        let error = match (attempt::<T>(&value), errors.is_empty()) {
            (Ok(body), true) => return Ok(body),
            // Unknown members are gone by now, and there was nothing else.
            (Ok(_), false) => return Err(errors),
            (Err(error), _) => error,
        };
        let Value::Object(rest) = value else { return Err(errors) };
        members = rest;
        let is_member = members.contains_key(&error.field);
        let member = if is_member { error.field.as_str() } else { top_level(&error.field) };
        let member = member.to_owned();
        if wrong.contains(&member) {
            break;
        }
        let is_missing = error.code == "missing";
        errors.push(error);
        let removed = members.shift_remove(&member);
        match removed {
            // An unknown member; without it the others are looked at.
            Some(_) if errors.last().is_some_and(|error| is_unknown_member(error, &member)) => {}
            Some(value) => {
                members.insert(member.clone(), value);
                wrong.push(member);
            }
            None => break,
        }
        if is_missing || errors.len() >= ERRORS_MAX {
            break;
        }
    }
    // What is missing shows only where nothing else is wrong.
    for member in &wrong {
        members.shift_remove(member);
    }
    if let Err(error) = attempt::<T>(&Value::Object(members))
        && error.code == "missing"
        && !wrong.contains(&error.field)
        && !errors.contains(&error)
    {
        errors.push(error);
    }
    Err(errors)
}

fn is_unknown_member(error: &FieldError, member: &str) -> bool {
    error.code == "unknown" && error.field == member
}

/// The member of the body that a path such as `technologies[3]` lies in.
fn top_level(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

fn attempt<T: Body>(value: &Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        field_error(&path, &message)
    })
}

/// What a reader of `serde` said, as the field that it is about.
pub(crate) fn field_error(path: &str, message: &str) -> FieldError {
    let is_top = path == ".";
    if let Some(rest) = message.strip_prefix("missing field `") {
        let name = rest.split('`').next().unwrap_or(rest);
        let path = if is_top { name.to_owned() } else { format!("{path}.{name}") };
        return FieldError::missing(path);
    }
    let field = if is_top { "body" } else { path };
    let (field, message) = (short(field), short(message));
    if message.starts_with("unknown field") {
        FieldError::unknown(field, message)
    } else {
        FieldError::invalid(field, message)
    }
}

fn short(message: &str) -> Cow<'_, str> {
    match message.char_indices().nth(MESSAGE_MAX_CHARS) {
        None => Cow::Borrowed(message),
        Some((end, _)) => Cow::Owned(format!("{}…", &message[..end])),
    }
}

/// JSON in which no object has a name twice: readers differ in which of the two they take
/// (RFC 8259 §4).
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnambiguousVisitor).map(Self)
    }
}

struct UnambiguousVisitor;

impl<'de> Visitor<'de> for UnambiguousVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // JSON has one kind of number: what is written 2.0 or 2e0 is 2 (JSON Schema, "integer").
        if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
            return Ok((value as i64).into());
        }
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Unambiguous(item)) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let Unambiguous(value) = map.next_value()?;
            if members.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format!("the name {name:?} is given twice")));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{http::StatusCode, test::TestRequest};
    use models::{ProjectCreate, SectionPatch, StoryCreate, StoryPatch, StoryReplace};
    use serde_json::json;

    use super::*;

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

    fn story() -> Value {
        json!({
            "id": "626e3e0035b0bc65bb5e1545", "title": "T".repeat(500), "is_published": true,
            "createdDate": "2026-05-01T09:30:00.000Z", "updatedDate": null, "deleted": false,
            "user_id": null, "section_id": null, "slug": "Not a slug", "content": "x", "date": null,
        })
    }

    fn changes_of(body: &Value) -> Result<StoryReplace, Vec<(String, String)>> {
        let members = Members::<StoryReplace>::new(body.as_object().unwrap().clone());
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
        let app = || actix_web::App::new().service(crate::routing::route("/").post(create).build());
        let server = actix_web::HttpServer::new(app).workers(1).disable_signals();
        actix_web::rt::spawn(server.listen(listener).unwrap().run());
        let client = crate::http::client(std::time::Duration::from_secs(10)).unwrap();
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
}
