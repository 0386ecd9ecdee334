//! Serving files.

use std::ops::Range as Bytes;

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{
            self, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE,
            CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, Header, IF_RANGE, LAST_MODIFIED, LOCATION,
            RANGE,
        },
    },
    web::{Data, Path},
};
use futures_util::stream;
use models::media::UPLOADS;
use serde::Deserialize;
use service_kit::web::{HeldAtMost, conditional::ETag, error::ApiError, extract::Query};
use utoipa::{IntoParams, ToSchema};

use super::{error_sets::FileErrors, upload::Uploads};
use crate::{
    domain::name::FileName,
    store::files::{Facts, READ_BYTES},
};

/// The permissions of a file that a browser opens as a page: none, in an origin of its own.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// The caching policy of files whose names were given once: a year, the longest time that caches know
/// (RFC 9111 §5.3).
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The same for files with names of another site, which may be used again: an hour.
const REUSABLE: &str = "public, max-age=3600";

/// The place of files that are not in the store.
#[derive(Debug, Clone)]
pub(crate) struct Fallback(pub(crate) Option<String>);

/// The query of a file.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct FileQuery {
    /// The largest width of a picture. A smaller picture is answered as it is.
    #[param(inline, nullable = false)]
    size: Option<Width>,
}

/// The widths of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
enum Width {
    #[serde(rename = "1200")]
    Whole,
    #[serde(rename = "750")]
    Medium,
    #[serde(rename = "500")]
    Small,
}

impl Width {
    /// Returns the width of a smaller picture, or `None` for the whole one.
    fn smaller(self) -> Option<u32> {
        match self {
            Self::Whole => None,
            Self::Medium => Some(750),
            Self::Small => Some(500),
        }
    }
}

/// The part of a file that a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Range(Bytes<u64>),
    Unsatisfiable,
}

/// Returns a file.
///
/// Supports ranges (RFC 9110 §14), so that videos can be played from any position. A file that is not in
/// the store is looked for at `media.fallback_url`, if that is set.
#[utoipa::path(
    get,
    operation_id = "uploads_file",
    path = "/uploads/{path}",
    tag = "media",
    params(
        ("path" = String, Path, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$", description = "The name of the file."),
        FileQuery,
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The entity tag of a known answer."),
        ("Range" = Option<String>, Header, nullable = false, description = "The wanted bytes.")
    ),
    responses(
        (status = 200, description = "The file.", content_type = "application/octet-stream",
            headers(("ETag", description = "The entity tag of the file."))),
        (status = 206, description = "The wanted bytes of the file.", content_type = "application/octet-stream"),
        (status = 302, description = "The file is at the address in `Location`."),
        (status = 304, description = "The file has not changed."),
        (status = 416, description = "The file has fewer bytes.", content_type = "application/octet-stream"),
        FileErrors
    )
)]
pub(super) async fn file(
    request: HttpRequest,
    path: Path<String>,
    query: Query<FileQuery>,
    uploads: Data<Uploads>,
    fallback: Data<Fallback>,
) -> Result<HttpResponse, ApiError> {
    let Ok(name) = path.parse::<FileName>() else { return elsewhere(&request, &fallback) };
    let smaller = query.0.size.and_then(Width::smaller).map(|width| name.with_width(width));
    for name in smaller.into_iter().chain([name]) {
        if let Some(facts) = uploads.files.facts(&name).await.map_err(ApiError::internal)? {
            return respond(&request, &uploads, &name, facts).await;
        }
    }
    elsewhere(&request, &fallback)
}

async fn respond(
    request: &HttpRequest,
    uploads: &Uploads,
    name: &FileName,
    facts: Facts,
) -> Result<HttpResponse, ApiError> {
    let modified = facts.modified.timestamp_millis().to_be_bytes();
    let tag = ETag::of_parts([name.as_str().as_bytes(), &facts.bytes.to_be_bytes(), &modified]);
    let caching = if is_unique(name) { IMMUTABLE } else { REUSABLE };
    let modified = header::HttpDate::from(std::time::SystemTime::from(facts.modified));
    let mut response = HttpResponse::Ok();
    response
        .insert_header((ETAG, tag.to_string()))
        .insert_header((LAST_MODIFIED, modified))
        .insert_header((CACHE_CONTROL, caching))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((ACCEPT_RANGES, "bytes"));
    if tag.is_known(request) {
        return Ok(response.status(StatusCode::NOT_MODIFIED).finish());
    }
    match name.format() {
        Some(format) => response.insert_header((CONTENT_TYPE, format.media_type())),
        // It was put there by hand: a browser stores it and does nothing else.
        None => response
            .insert_header((CONTENT_TYPE, "application/octet-stream"))
            .insert_header((CONTENT_DISPOSITION, "attachment")),
    };
    let length = facts.bytes;
    let range = match part(request, &tag, length) {
        Part::Whole => 0..length,
        Part::Range(range) => {
            let value = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            response.status(StatusCode::PARTIAL_CONTENT).insert_header((CONTENT_RANGE, value));
            range
        }
        Part::Unsatisfiable => {
            let value = format!("bytes */{length}");
            // The file may grow, and its entity tag is not that of an answer without it.
            let refused = HttpResponse::RangeNotSatisfiable()
                .insert_header((CONTENT_TYPE, "application/octet-stream"))
                .insert_header((CACHE_CONTROL, "no-store"))
                .insert_header((ACCEPT_RANGES, "bytes"))
                .insert_header((CONTENT_RANGE, value))
                .finish();
            return Ok(refused);
        }
    };
    // A body of known length, which is not held in memory as a whole.
    response.no_chunking(range.end - range.start);
    if request.method() == Method::HEAD || range.is_empty() {
        request.extensions_mut().insert(HeldAtMost(0));
        return Ok(response.streaming(stream::empty::<Result<_, std::io::Error>>()));
    }
    // The part that is being sent, and the next one.
    request.extensions_mut().insert(HeldAtMost(2 * READ_BYTES));
    let body = uploads.files.read(name, range).await.map_err(ApiError::internal)?;
    Ok(response.streaming(body))
}

/// Returns `true` for a name that is given once only: a date, a time and a random part.
fn is_unique(name: &FileName) -> bool {
    let text = name.as_str();
    let digits = |range: Bytes<usize>| {
        text.get(range).is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let random = text.get(16..24).unwrap_or_default();
    digits(0..8)
        && text.get(8..9) == Some("_")
        && digits(9..15)
        && text.get(15..16) == Some("_")
        && random.len() == 8
        && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Returns the part that a request asks for. Several ranges, and units other than bytes, are ignored, as
/// RFC 9110 §14.2 allows; so is the header itself, as it demands, unless the method is GET.
fn part(request: &HttpRequest, tag: &ETag, length: u64) -> Part {
    let has_range = request.method() == Method::GET && request.headers().contains_key(RANGE);
    if !has_range || !has_state(request, tag) {
        return Part::Whole;
    }
    match header::Range::parse(request) {
        Ok(header::Range::Bytes(ranges)) => match ranges.as_slice() {
            [one] => one
                .to_satisfiable_range(length)
                .map_or(Part::Unsatisfiable, |(first, last)| Part::Range(first..last + 1)),
            _ => Part::Whole,
        },
        _ => Part::Whole,
    }
}

/// Returns `true` unless `If-Range` names another state of the file. A date is not exact enough to name
/// one.
fn has_state(request: &HttpRequest, tag: &ETag) -> bool {
    let Some(value) = request.headers().get(IF_RANGE) else { return true };
    value.to_str().is_ok_and(|value| value == tag.to_string())
}

/// Returns the answer for a file that is not in the store.
fn elsewhere(request: &HttpRequest, fallback: &Fallback) -> Result<HttpResponse, ApiError> {
    let path = request.uri().path();
    // As the client sent it: names of another site may have any characters.
    let rest = path.strip_prefix(UPLOADS).filter(|rest| !rest.is_empty() && !climbs(rest));
    match (&fallback.0, rest) {
        (Some(base), Some(rest)) => Ok(HttpResponse::Found()
            .insert_header((LOCATION, format!("{}/{rest}", base.trim_end_matches('/'))))
            .insert_header((CACHE_CONTROL, REUSABLE))
            .finish()),
        _ => Err(ApiError::not_found("File")),
    }
}

/// Returns `true` if a path leads out of its folder, however it is encoded.
fn climbs(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let decoded = lower.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    decoded.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_range_is_a_part_of_the_file() {
        let tag = ETag::of(b"file");
        for (range, expected) in [
            ("bytes=0-0", Part::Range(0..1)),
            ("bytes=2-", Part::Range(2..10)),
            ("bytes=-3", Part::Range(7..10)),
            ("bytes=-30", Part::Range(0..10)),
            ("bytes=5-99999999999", Part::Range(5..10)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=5-2", Part::Whole),
            ("lines=1-2", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=99999999999999999999-", Part::Whole),
            ("nonsense", Part::Whole),
        ] {
            let request = TestRequest::default().insert_header((RANGE, range)).to_http_request();
            let found = part(&request, &tag, 10);
            assert!(
                found == expected || expected == Part::Whole && found == Part::Unsatisfiable,
                "{range}: {found:?}"
            );
        }
        for (if_range, expected) in [
            (tag.to_string(), Part::Range(1..2)),
            ("\"other\"".to_owned(), Part::Whole),
            ("Fri, 27 Nov 2026 00:00:00 GMT".to_owned(), Part::Whole),
        ] {
            let request = TestRequest::default()
                .insert_header((RANGE, "bytes=1-1"))
                .insert_header((IF_RANGE, if_range))
                .to_http_request();
            assert_eq!(part(&request, &tag, 10), expected);
        }
        let head = TestRequest::default().method(Method::HEAD).insert_header((RANGE, "bytes=1-1"));
        assert_eq!(part(&head.to_http_request(), &tag, 10), Part::Whole);
    }

    #[test]
    fn only_names_that_are_given_once_are_immutable() {
        for (name, expected) in [
            ("20241201_123456_abc12345.webp", true),
            ("20241201_123456_abc12345_750.webp", true),
            ("2024/20241201_123456_abc12345.webp", false),
            ("logo.png", false),
            ("20241201_123456.webp", false),
        ] {
            assert_eq!(is_unique(&name.parse().unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn a_path_that_climbs_is_not_redirected() {
        for path in ["..", "a/../b", "%2e%2E/x", "a%2f..%5cb", ".", "a/%2e"] {
            assert!(climbs(path), "{path}");
        }
        for path in ["a..b", "...", "M%C3%BCller%20(1).jpg", "a/b.c"] {
            assert!(!climbs(path), "{path}");
        }
    }
}
