//! An answer that is kept, and the answers to clients that are made of it.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BoxBody, SizedStream},
    http::{
        Method, StatusCode,
        header::{
            ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
            CONTENT_LOCATION, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, HeaderValue, VARY,
        },
    },
    web::Bytes,
};
use futures_util::stream;
use service_kit::{
    runtime::{offload::Offload, trace::current_trace_id},
    web::{
        coding::{CODINGS, Coding, MIN_BYTES},
        conditional::ETag,
        request_id::REQUEST_ID,
    },
};

use super::clocks::{Clocks, Currency, Dependencies};

/// The header that says how an answer was made (RFC 9211).
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The memory of an entry besides its parts, in bytes: what the library needs for it, and the
/// allocator.
const OVERHEAD_BYTES: usize = 512;

/// The size from which a body is compressed on another thread, in bytes: that takes a millisecond or
/// more, for which the other requests of the worker would wait.
const OFFLOADED_BYTES: usize = 32 * 1024;

/// The number of bodies that are compressed at a time besides those of the workers.
const MAX_OFFLOADED: usize = 2;

/// The headers of a 304 (RFC 9110 §15.4.5), besides the tag.
const NOT_MODIFIED_HEADERS: [HeaderName; 4] = [CACHE_CONTROL, CONTENT_LOCATION, DATE, VARY];

/// An answer and the state at which it was true.
#[derive(Debug)]
pub(crate) struct Entry {
    content: Arc<Content>,
    dependencies: Option<Dependencies>,
    /// The moment at which it was true.
    confirmed: Instant,
    /// The end of its truth, even without a change.
    valid_until: Option<Instant>,
}

/// The status, headers and body of an answer.
#[derive(Debug)]
pub(crate) struct Content {
    status: StatusCode,
    headers: Box<[(HeaderName, HeaderValue)]>,
    tag: Option<(ETag, HeaderValue)>,
    body: Bytes,
    /// `true` if the body is sent in other codings, too.
    is_compressible: bool,
    /// The place of the trace id in the body of an error.
    trace_id_at: Option<usize>,
    encoded: [OnceLock<Option<Bytes>>; CODINGS.len()],
}

/// The way in which codings of large bodies are made.
#[derive(Debug)]
pub(super) struct Variants(Offload);

impl Default for Variants {
    fn default() -> Self {
        Self(Offload::new(MAX_OFFLOADED))
    }
}

/// The facts that an answer reports about its way through the cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels<'a> {
    /// The value of `Cache-Status`.
    pub(crate) status: &'a str,
    /// The moment of the request.
    pub(crate) now: Instant,
}

impl Content {
    /// Takes over an answer with these headers for clients. The body is copied: it is a part of the
    /// buffer of a connection, which is larger than most answers, and would stay in memory with it.
    pub(crate) fn new(status: StatusCode, mut headers: HeaderMap, body: &[u8]) -> Self {
        let tag = headers
            .get(ETAG)
            .and_then(|value| Some((ETag::from_header(value.to_str().ok()?)?, value.clone())));
        if tag.is_some() {
            headers.remove(ETAG);
        }
        headers.remove(CONTENT_LENGTH);
        headers.remove(REQUEST_ID);
        let is_compressible = body.len() >= MIN_BYTES && is_text(&headers);
        if is_compressible {
            let vary = headers.get(VARY).and_then(|vary| vary.to_str().ok()).unwrap_or_default();
            let separator = if vary.is_empty() { "" } else { ", " };
            if let Ok(vary) = HeaderValue::from_str(&format!("{vary}{separator}accept-encoding")) {
                headers.insert(VARY, vary);
            }
        }
        let trace_id_at = status.is_client_error().then(|| trace_id_in(body)).flatten();
        let headers: Vec<_> = headers.into_iter().collect();
        let body = Bytes::copy_from_slice(body);
        let encoded = Default::default();
        Self { status, headers: headers.into(), tag, body, is_compressible, trace_id_at, encoded }
    }

    /// Returns the status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    fn bytes(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let encoded = self.encoded.iter().filter_map(|one| one.get()?.as_ref());
        size_of::<Self>()
            + size_of_val(&*self.headers)
            + headers
            + self.body.len()
            + encoded.map(Bytes::len).sum::<usize>()
    }

    /// Returns the body in a coding, or `None` if the coding does not make it smaller.
    async fn encoded(self: &Arc<Self>, index: usize, variants: &Variants) -> Option<Bytes> {
        let (slot, coding) = (&self.encoded[index], CODINGS[index]);
        if slot.get().is_none() {
            let made = if self.body.len() < OFFLOADED_BYTES {
                coding.encode(&self.body)
            } else {
                let body = self.body.clone();
                variants.0.run(move || coding.encode(&body)).await.unwrap_or_default()
            };
            // Another request may have made it at the same time.
            let _ = slot.set(made);
        }
        slot.get().cloned().flatten()
    }

    /// Returns the body of an error with the trace id of this request.
    fn with_trace_id(&self) -> Bytes {
        let (Some(at), Some(id)) = (self.trace_id_at, current_trace_id()) else {
            return self.body.clone();
        };
        let mut body = self.body.to_vec();
        match body.get_mut(at..at + id.len()) {
            Some(place) => place.copy_from_slice(id.as_bytes()),
            None => return self.body.clone(),
        }
        body.into()
    }
}

impl Entry {
    /// Returns an answer that was true at a moment, until something that it depends on changes.
    pub(crate) fn new(
        content: Arc<Content>,
        dependencies: Option<Dependencies>,
        confirmed: Instant,
        validity: Option<Duration>,
    ) -> Arc<Self> {
        let valid_until = validity.map(|validity| confirmed + validity);
        Arc::new(Self { content, dependencies, confirmed, valid_until })
    }

    /// Returns the answer itself.
    pub(crate) fn content(&self) -> &Arc<Content> {
        &self.content
    }

    /// Returns the tag of the answer.
    pub(crate) fn tag(&self) -> Option<&HeaderValue> {
        self.content.tag.as_ref().map(|(_, value)| value)
    }

    /// Returns the currency of the answer at a moment.
    pub(crate) fn currency(&self, clocks: &Clocks, now: Instant) -> Currency {
        match &self.dependencies {
            _ if self.valid_until.is_some_and(|end| now >= end) => Currency::Changed,
            Some(dependencies) => dependencies.currency(clocks, now),
            None => Currency::Unconfirmed,
        }
    }

    /// Returns the time since the answer was true.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.confirmed)
    }

    /// Returns the memory that the entry takes, in bytes.
    pub(super) fn weight(&self, key: &str) -> u32 {
        let dependencies = self.dependencies.as_ref().map_or(0, Dependencies::bytes);
        let parts = size_of::<Self>() + self.content.bytes() + dependencies;
        u32::try_from(OVERHEAD_BYTES + 2 * key.len() + parts).unwrap_or(u32::MAX)
    }

    /// Returns the answer to a client. The second value is `true` if the entry has become larger.
    pub(super) async fn respond(
        &self,
        request: &HttpRequest,
        labels: Labels<'_>,
        variants: &Variants,
    ) -> (HttpResponse, bool) {
        let content = &self.content;
        let coding = if content.is_compressible { accepted(request) } else { Coding::Identity };
        let tag = content.tag.as_ref().map(|(tag, value)| match coding {
            Coding::Identity => value.clone(),
            coding => HeaderValue::from_str(&tag.of_coding(coding.name()))
                .unwrap_or_else(|_| value.clone()),
        });
        let is_known = content.tag.as_ref().is_some_and(|(known, _)| known.is_known(request));
        if is_known && content.status.is_success() {
            let mut response = HttpResponse::new(StatusCode::NOT_MODIFIED);
            let kept =
                content.headers.iter().filter(|(name, _)| NOT_MODIFIED_HEADERS.contains(name));
            self.complete(response.headers_mut(), kept, tag, labels);
            return (response, false);
        }

        let index = CODINGS.iter().position(|one| *one == coding);
        let was_made = index.is_none_or(|index| content.encoded[index].get().is_some());
        let encoded = match index {
            Some(index) => content.encoded(index, variants).await,
            None => None,
        };
        let mut response = HttpResponse::new(content.status);
        let headers = response.headers_mut();
        let (body, tag) = match encoded {
            Some(encoded) => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
                (encoded, tag)
            }
            // The coding would not be smaller: the tag is that of the plain body.
            None => (content.with_trace_id(), content.tag.as_ref().map(|(_, tag)| tag.clone())),
        };
        self.complete(headers, content.headers.iter(), tag, labels);
        let body = if request.method() == Method::HEAD {
            let nothing = stream::empty::<Result<Bytes, std::convert::Infallible>>();
            BoxBody::new(SizedStream::new(body.len() as u64, nothing))
        } else {
            BoxBody::new(body)
        };
        (response.set_body(body), !was_made)
    }

    fn complete<'a>(
        &self,
        headers: &mut HeaderMap,
        kept: impl Iterator<Item = &'a (HeaderName, HeaderValue)>,
        tag: Option<HeaderValue>,
        labels: Labels<'_>,
    ) {
        for (name, value) in kept {
            headers.append(name.clone(), value.clone());
        }
        if let Some(tag) = tag {
            headers.insert(ETAG, tag);
        }
        headers.insert(AGE, HeaderValue::from(self.age(labels.now).as_secs()));
        if let Ok(status) = HeaderValue::from_str(labels.status) {
            headers.insert(CACHE_STATUS, status);
        }
    }
}

fn accepted(request: &HttpRequest) -> Coding {
    let headers = request.headers().get_all(ACCEPT_ENCODING);
    Coding::accepted(headers.filter_map(|value| value.to_str().ok()))
}

/// Returns `true` if the body is text, which becomes much smaller.
fn is_text(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else {
        return false;
    };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/") || kind == "application/json" || kind.ends_with("+json")
}

/// Returns the place of the id of the present trace.
fn trace_id_in(body: &[u8]) -> Option<usize> {
    let id = current_trace_id()?;
    body.windows(id.len()).position(|part| part == id.as_bytes())
}
