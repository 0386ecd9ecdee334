//! Requests that can be answered from memory, and what the answers to others tell about it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode as ServerStatus,
        header::{
            ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
            HeaderValue as ServerHeaderValue, IF_MATCH, RANGE, TRANSFER_ENCODING,
        },
    },
    web,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, IF_NONE_MATCH, SET_COOKIE, VARY},
    uri::PathAndQuery,
};
use models::ErrorCode;
use service_kit::{
    runtime::trace::in_current_trace,
    web::{
        changes::{Revisions, SURROGATE_KEY, VALID_MS},
        conditional::ETag,
        error::{ApiError, wants_problem_json},
        upstream::{Held, Policy, Response, Upstream},
    },
};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use super::{Proxy, UpstreamRequest, content_length, headers, upload::Upload};
use crate::{
    cache::{CACHE_STATUS, Cache, Content, Currency, Entry, Flight, Labels, Outcome, Role},
    routing::path,
};

/// The largest body that is kept, in bytes: a hundred times the size of a usual answer. Larger ones
/// are passed on piece by piece.
const ENTRY_MAX_BYTES: usize = 1024 * 1024;

/// The time that a service has for an answer if there is one that it has given before.
const STALE_AFTER: Duration = Duration::from_secs(2);

/// The number of requests of others for which a client waits before it makes its own.
const MAX_FOLLOWED: usize = 2;

/// The values of `Cache-Status` (RFC 9211).
const HIT: &str = "turbulence; hit";
const COLLAPSED: &str = "turbulence; fwd=uri-miss; collapsed";
const STALE: &str = "turbulence; fwd=stale; detail=\"the service does not answer\"";
const NOT_KEPT: &str = "turbulence; fwd=uri-miss";
const BYPASS: &str = "turbulence; fwd=bypass";
const METHOD: &str = "turbulence; fwd=method";

/// The answer of a service to a request that can be answered from memory.
enum Fetched {
    /// The whole answer, and `true` if it is kept.
    Entry(Arc<Entry>, bool),
    /// The service confirmed what was known, and `true` if it is kept.
    Confirmed(Arc<Entry>, bool),
    /// An answer that cannot be kept.
    Other(Box<Response>),
}

/// The facts of an answer that can be kept.
struct Keepable {
    keys: String,
    revisions: Revisions,
    validity: Option<Duration>,
}

/// Answers a request from memory, or forwards it to a replica of the service. The path has passed
/// [`path::check`].
pub(crate) async fn forward(
    proxy: &Arc<Proxy>,
    request: &HttpRequest,
    payload: web::Payload,
    upstream: &Arc<Upstream>,
) -> Result<HttpResponse, ApiError> {
    let Some(cache) = &proxy.cache else {
        let response = proxy.pass_on(request, payload, upstream).await?;
        return proxy.respond(request, response, upstream);
    };
    if !request.method().is_safe() {
        let result = proxy.pass_on(request, payload, upstream).await;
        learn_write(cache, request.uri().path(), upstream, &result);
        let mut response = proxy.respond(request, result?, upstream)?;
        set_status(&mut response, METHOD);
        return Ok(response);
    }
    let (outcome, status) = match key(cache, request) {
        Some(key) => {
            let read = Read { proxy, cache, key: &key, request, upstream };
            if let Some(response) = read.answer().await? {
                return Ok(response);
            }
            (Outcome::Miss, NOT_KEPT)
        }
        None => (Outcome::Bypass, BYPASS),
    };
    cache.count(outcome);
    let response = proxy.pass_on(request, payload, upstream).await?;
    let mut response = proxy.respond(request, response, upstream)?;
    set_status(&mut response, status);
    Ok(response)
}

/// Returns the key of a request that can be answered from memory.
fn key(cache: &Cache, request: &HttpRequest) -> Option<Box<str>> {
    let (method, headers) = (request.method(), request.headers());
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    let is_plain = (method == Method::GET || method == Method::HEAD)
        && !has_body
        && ![AUTHORIZATION, IF_MATCH, RANGE].iter().any(|name| headers.contains_key(name))
        && !(headers.contains_key(ACCEPT) && wants_problem_json(headers));
    let uri = request.uri();
    if is_plain { cache.routes.key(uri.path(), uri.query()) } else { None }
}

/// A request that can be answered from memory.
struct Read<'a> {
    proxy: &'a Arc<Proxy>,
    cache: &'a Arc<Cache>,
    key: &'a str,
    request: &'a HttpRequest,
    upstream: &'a Arc<Upstream>,
}

impl Read<'_> {
    /// Answers the request from memory if that is true, else by the service. Returns `None` if the
    /// request has to be passed on as it is.
    async fn answer(&self) -> Result<Option<HttpResponse>, ApiError> {
        let now = Instant::now();
        let known = self.cache.find(self.key, now);
        if let Some((entry, Currency::Current)) = &known {
            return Ok(Some(self.respond(entry, Outcome::Hit, HIT, now).await));
        }
        let is_live = self.cache.clocks.are_live(now);
        // If nothing can be kept, the service sees the conditions of the client.
        if self.request.method() == Method::HEAD || known.is_none() && !is_live {
            return Ok(None);
        }
        let known = known.map(|(entry, _)| entry);
        // Without the feeds, it would not be known if an answer to another client is still true.
        let turns = if is_live { MAX_FOLLOWED } else { 0 };
        for _ in 0..turns {
            match self.cache.flights.join(self.key) {
                Role::Leader(flight, result) => {
                    let fetched = self.lead(&flight, result, known.clone()).await;
                    return self.finish(known, fetched).await.map(Some);
                }
                Role::Follower(flight) => {
                    let Some(entry) = flight.result().await else { continue };
                    let now = Instant::now();
                    if entry.currency(&self.cache.clocks, now) == Currency::Current {
                        return Ok(Some(self.respond(&entry, Outcome::Hit, COLLAPSED, now).await));
                    }
                }
            }
        }
        let (outgoing, known_) = (self.outgoing()?, known.clone());
        let fetch = self.proxy.fetch_entry(self.cache, self.key, outgoing, known_, self.upstream);
        self.finish(known, fetch.await).await.map(Some)
    }

    /// Returns the request for the answer with the key. The service gets the key in place of what the
    /// client wrote, so that the answer is that of the key.
    fn outgoing(&self) -> Result<UpstreamRequest, ApiError> {
        let mut outgoing = self.proxy.outgoing(self.request)?;
        outgoing.target = PathAndQuery::try_from(self.key).map_err(ApiError::internal)?;
        // The gateway compares the tags, and compresses, itself.
        outgoing.headers.remove(IF_NONE_MATCH);
        outgoing.headers.remove(ACCEPT_ENCODING);
        Ok(outgoing)
    }

    /// Requests the answer for all who wait for it. The request continues if this client leaves and
    /// others wait.
    async fn lead(
        &self,
        flight: &Flight,
        result: watch::Sender<Option<Arc<Entry>>>,
        known: Option<Arc<Entry>>,
    ) -> Result<Fetched, ApiError> {
        let (proxy, cache) = (Arc::clone(self.proxy), Arc::clone(self.cache));
        let (key, upstream) = (self.key.to_owned(), Arc::clone(self.upstream));
        let outgoing = self.outgoing()?;
        let (sender, receiver) = oneshot::channel();
        let fetch = async move {
            let fetched = proxy.fetch_entry(&cache, &key, outgoing, known, &upstream).await;
            if let Ok(Fetched::Entry(entry, true) | Fetched::Confirmed(entry, true)) = &fetched {
                result.send_replace(Some(Arc::clone(entry)));
            }
            // The others try it themselves.
            drop(result);
            // The client may be gone.
            drop(sender.send(fetched));
        };
        // On this thread, where the connections to the services are.
        let task = tokio::task::spawn_local(in_current_trace(fetch));
        flight.runs_as(task.abort_handle());
        receiver.await.map_err(ApiError::internal)?
    }

    /// Returns the answer to the client after the service was asked.
    async fn finish(
        &self,
        known: Option<Arc<Entry>>,
        fetched: Result<Fetched, ApiError>,
    ) -> Result<HttpResponse, ApiError> {
        let now = Instant::now();
        let has_failed = match &fetched {
            Ok(Fetched::Other(response)) => response.status().is_server_error(),
            Ok(_) => false,
            Err(error) => is_of_service(error.code()),
        };
        if let Some(entry) = &known
            && has_failed
            && self.cache.may_be_stale(entry, now)
        {
            return Ok(self.respond(entry, Outcome::Stale, STALE, now).await);
        }
        match fetched? {
            Fetched::Confirmed(entry, is_kept) => {
                let status = forwarded(true, 304, is_kept);
                Ok(self.respond(&entry, Outcome::Revalidated, &status, now).await)
            }
            Fetched::Entry(entry, is_kept) => {
                let code = entry.content().status().as_u16();
                let status = forwarded(known.is_some(), code, is_kept);
                Ok(self.respond(&entry, Outcome::Miss, &status, now).await)
            }
            Fetched::Other(response) => {
                self.cache.count(Outcome::Miss);
                let response = self.proxy.respond(self.request, *response, self.upstream)?;
                let mut response = with_condition(self.request, response);
                set_status(&mut response, NOT_KEPT);
                Ok(response)
            }
        }
    }

    async fn respond(
        &self,
        entry: &Arc<Entry>,
        outcome: Outcome,
        status: &str,
        now: Instant,
    ) -> HttpResponse {
        self.cache.count(outcome);
        self.cache.respond(self.key, entry, self.request, Labels { status, now }).await
    }
}

/// Applies the condition of a client that was not passed on.
fn with_condition(request: &HttpRequest, mut response: HttpResponse) -> HttpResponse {
    let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
    let is_known = tag.and_then(ETag::from_header).is_some_and(|tag| tag.is_known(request));
    if response.status() != ServerStatus::OK || !is_known {
        return response;
    }
    let mut headers = std::mem::take(response.headers_mut());
    headers.remove(CONTENT_TYPE);
    let mut response = HttpResponse::new(ServerStatus::NOT_MODIFIED);
    *response.headers_mut() = headers;
    response
}

impl Proxy {
    /// Requests the answer from the service, or the confirmation of the one that is known.
    async fn fetch_entry(
        &self,
        cache: &Cache,
        key: &str,
        mut outgoing: UpstreamRequest,
        known: Option<Arc<Entry>>,
        upstream: &Arc<Upstream>,
    ) -> Result<Fetched, ApiError> {
        let tag = known.as_ref().and_then(|entry| entry.tag());
        if let Some(Ok(tag)) = tag.map(|tag| HeaderValue::from_bytes(tag.as_bytes())) {
            outgoing.headers.insert(IF_NONE_MATCH, tag);
        }
        let generations = cache.clocks.generations();
        let asked = Instant::now();
        let sent = self.send(&outgoing, &Upload::None, Policy::SAFE, upstream);
        let response = match &known {
            Some(entry) if cache.may_be_stale(entry, asked) => {
                timeout(STALE_AFTER, sent).await.unwrap_or_else(|_| Err(too_late(upstream)))?
            }
            _ => sent.await?,
        };
        let keepable = keepable(&response);
        let entry = |content, keepable: Option<Keepable>| {
            let validity = keepable.as_ref().and_then(|keepable| keepable.validity);
            let dependencies = keepable.and_then(|keepable| {
                let Keepable { keys, revisions, .. } = keepable;
                cache.clocks.dependencies(generations, &keys, revisions)
            });
            let may_keep = dependencies.is_some();
            let entry = Entry::new(content, dependencies, asked, validity);
            let is_kept = may_keep && cache.keep(key, &entry);
            (entry, is_kept)
        };
        if let (StatusCode::NOT_MODIFIED, Some(known)) = (response.status(), known) {
            let (entry, is_kept) = entry(Arc::clone(known.content()), keepable);
            return Ok(Fetched::Confirmed(entry, is_kept));
        }
        if keepable.is_none() || response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Fetched::Other(Box::new(response)));
        }
        let replica = Arc::clone(&response.replica);
        let held = response.hold_rest(ENTRY_MAX_BYTES, self.timeouts.body_idle).await;
        let response = held.map_err(|error| {
            upstream.record_failure(&replica);
            let detail = format!("{} did not send its whole answer.", upstream.name());
            ApiError::new(ErrorCode::UpstreamBroken, detail).because(error)
        })?;
        let body = match &response.body {
            Held::Whole(body) if body.len() <= ENTRY_MAX_BYTES => body,
            _ => return Ok(Fetched::Other(Box::new(response))),
        };
        let status = ServerStatus::from_u16(response.status().as_u16());
        let headers = headers::to_client(&response.head.headers, self.surrogate_keys);
        let content = Content::new(status.map_err(ApiError::internal)?, headers, body);
        let (entry, is_kept) = entry(Arc::new(content), keepable);
        Ok(Fetched::Entry(entry, is_kept))
    }
}

/// Returns the value of `Cache-Status` for an answer of the service.
fn forwarded(was_known: bool, status: u16, is_kept: bool) -> String {
    let reason = if was_known { "stale" } else { "uri-miss" };
    let stored = if is_kept { "; stored" } else { "" };
    format!("turbulence; fwd={reason}; fwd-status={status}{stored}")
}

/// Sets the value of `Cache-Status`.
fn set_status(response: &mut HttpResponse, status: &'static str) {
    response.headers_mut().insert(CACHE_STATUS, ServerHeaderValue::from_static(status));
}

fn too_late(upstream: &Upstream) -> ApiError {
    let detail = format!("{} did not answer in time.", upstream.name());
    ApiError::new(ErrorCode::UpstreamTimeout, detail)
}

/// Returns `true` if an error means that the service did not answer.
fn is_of_service(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UpstreamBroken | ErrorCode::UpstreamUnavailable | ErrorCode::UpstreamTimeout
    )
}

/// Returns the facts of an answer that anyone may get, and that says what it depends on.
fn keepable(response: &Response) -> Option<Keepable> {
    let headers = &response.head.headers;
    let status = response.status();
    let is_kept =
        matches!(status, StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::NOT_MODIFIED);
    let is_personal = headers.contains_key(SET_COOKIE)
        || headers.get_all(CACHE_CONTROL).iter().any(|value| {
            let mut directives = value.to_str().unwrap_or("private").split(',').map(str::trim);
            directives.any(|directive| {
                // An error is not to be stored by others, who do not hear of changes.
                directive.eq_ignore_ascii_case("private")
                    || directive.eq_ignore_ascii_case("no-store") && status != StatusCode::NOT_FOUND
            })
        })
        || headers.get_all(VARY).iter().any(|value| {
            let mut names = value.to_str().unwrap_or("*").split(',').map(str::trim);
            // Requests with a token are not answered from memory, and the gateway compresses itself.
            !names.all(|name| {
                ["authorization", "accept-encoding", "origin", ""]
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known))
            })
        });
    let is_small = content_length(headers).is_none_or(|length| length <= ENTRY_MAX_BYTES as u64);
    if !is_kept || is_personal || !is_small || headers.contains_key(CONTENT_ENCODING) {
        return None;
    }
    let revisions = Revisions::of_headers(headers)?;
    let validity = match headers.get(VALID_MS) {
        Some(value) => Some(Duration::from_millis(value.to_str().ok()?.parse().ok()?)),
        None => None,
    };
    Some(Keepable { keys: keys(headers)?, revisions, validity })
}

/// Returns the keys that an answer names.
fn keys(headers: &HeaderMap) -> Option<String> {
    if !headers.contains_key(SURROGATE_KEY) {
        return None;
    }
    let all = headers.get_all(SURROGATE_KEY).iter().map(|value| value.to_str());
    Some(all.collect::<Result<Vec<_>, _>>().ok()?.join(" "))
}

/// Takes over the changes that the answer to a write names, before it is returned to the client. If it
/// names none, anything of its kind may have changed.
///
/// A client that leaves before the answer learns nothing, and so the gateway need not either: the feed
/// of the service reports the change. Else anyone could empty the cache by requests that are cut off.
fn learn_write(
    cache: &Cache,
    path: &str,
    upstream: &Upstream,
    result: &Result<Response, ApiError>,
) {
    let is_of_sections = std::ptr::eq(upstream, &*cache.sections);
    let is_known = match result {
        Ok(response) if response.status().is_success() => {
            let headers = &response.head.headers;
            let revisions = Revisions::of_headers(headers).unwrap_or_default();
            let own = if is_of_sections { revisions.sections } else { revisions.content };
            match (keys(headers), own) {
                (Some(keys), Some(_)) => {
                    cache.clocks.raise(&keys, revisions);
                    true
                }
                _ => false,
            }
        }
        // Nothing was done.
        Ok(response) => response.status().is_client_error() || response.is_refusal(),
        Err(error) => {
            matches!(error.code(), ErrorCode::UpstreamUnavailable | ErrorCode::BadRequest)
        }
    };
    if !is_known {
        let segment = path::first_segment(path).unwrap_or_default();
        cache.clocks.raise_unknown(is_of_sections, segment);
    }
}
