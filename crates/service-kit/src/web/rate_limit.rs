//! The rate limit: by address, and by token if the request has one.
//!
//! A request has to pass both limits. With the token alone, a stranger could invent a new one for each
//! request; with the address alone, one editor could use up the limit of all others with the same
//! address.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::AUTHORIZATION,
    middleware::Next,
    web::Data,
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::HashMapStateStore,
};
use models::ErrorCode;

use super::{error::ApiError, internal::IsInternal, origin::RequestOrigin};
use crate::runtime::settings;

/// The number of requests after which the senders without recent requests are forgotten.
const CLEANUP_INTERVAL: usize = 10_000;

/// The routes without a limit. Orchestrators call them, and the health of a process matters most under
/// load.
const UNLIMITED: [&str; 2] = ["/health", "/warmup"];

/// The limits of a process. Created once, shared by all its workers.
#[derive(Clone)]
pub struct RateLimit(Option<Arc<Inner>>);

struct Inner {
    limiter: RateLimiter<Key, HashMapStateStore<Key>, DefaultClock>,
    checks: AtomicUsize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    /// The hash of a token: no token is stored.
    Token(u64),
}

impl RateLimit {
    /// Returns the limits of the settings; 0 requests per second means no limit.
    pub fn new(settings: &settings::RateLimit) -> Self {
        let Some(per_second) = NonZeroU32::new(settings.requests_per_second) else {
            return Self(None);
        };
        let quota = Quota::per_second(per_second).allow_burst(settings.burst);
        let limiter = RateLimiter::hashmap(quota);
        Self(Some(Arc::new(Inner { limiter, checks: AtomicUsize::new(0) })))
    }

    /// Counts a request. Returns the error for one over the limit.
    pub fn check(&self, request: &ServiceRequest) -> Result<(), ApiError> {
        let Some(inner) = &self.0 else { return Ok(()) };
        // One service calls another on behalf of all its callers, from one address.
        let is_internal = request.extensions().contains::<IsInternal>();
        if is_internal || is_unlimited(request.path()) {
            return Ok(());
        }
        inner.clean();
        let address = request.extensions().get::<RequestOrigin>().and_then(RequestOrigin::network);
        let address = address.map(Key::Address);
        let token = request.headers().get(AUTHORIZATION).map(|header| {
            let mut hasher = DefaultHasher::new();
            header.as_bytes().hash(&mut hasher);
            Key::Token(hasher.finish())
        });
        address.into_iter().chain(token).try_for_each(|key| inner.admit(key))
    }
}

impl std::fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RateLimit")
    }
}

impl Inner {
    fn admit(&self, key: Key) -> Result<(), ApiError> {
        self.limiter.check_key(&key).map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            let seconds = retry_after_seconds(wait);
            let detail = format!("Too many requests. Try again in {seconds} s.");
            ApiError::new(ErrorCode::TooManyRequests, detail).retry_after_seconds(seconds)
        })
    }

    /// Forgets the senders without recent requests, so that memory is bounded by the current ones.
    fn clean(&self) {
        if self.checks.fetch_add(1, Ordering::Relaxed) % CLEANUP_INTERVAL == CLEANUP_INTERVAL - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }
}

/// Returns `true` if the route of the path has no limit.
pub(crate) fn is_unlimited(path: &str) -> bool {
    UNLIMITED.iter().any(|route| {
        let rest = path.strip_prefix(route);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Returns the value of `Retry-After`. It is in whole seconds, and 0 would lead to another refusal.
pub(crate) fn retry_after_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
}

/// The middleware: answers 429 with `Retry-After` to requests over the limit. The app needs a
/// `web::Data<RateLimit>`; without one there is no limit.
pub async fn rate_limit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let limits = request.app_data::<Data<RateLimit>>();
    match limits.map_or(Ok(()), |limits| limits.check(&request)) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(error) => Ok(request.error_response(error).map_into_right_body()),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn limit() -> RateLimit {
        let burst = NonZeroU32::new(3).unwrap();
        RateLimit::new(&settings::RateLimit { requests_per_second: 1, burst })
    }

    fn sent(limit: &RateLimit, peer: &str, path: &str, headers: &[(&'static str, &str)]) -> bool {
        let peer = std::net::SocketAddr::new(peer.parse().unwrap(), 1);
        let mut request = TestRequest::with_uri(path).peer_addr(peer);
        for header in headers {
            request = request.append_header(*header);
        }
        let request = request.to_srv_request();
        let origin = RequestOrigin { client: Some(peer.ip()), ..RequestOrigin::default() };
        request.extensions_mut().insert(origin);
        let result = limit.check(&request);
        if let Err(error) = &result {
            assert_eq!(error.code(), ErrorCode::TooManyRequests);
            let response = actix_web::ResponseError::error_response(error);
            assert_eq!(response.headers().get("retry-after").unwrap(), "1");
        }
        result.is_ok()
    }

    /// Returns the number of admitted requests out of ten.
    fn admitted(limit: &RateLimit, request: impl Fn(usize) -> (String, Vec<String>)) -> usize {
        let send = |n: &usize| {
            let (peer, tokens) = request(*n);
            let headers: Vec<_> =
                tokens.iter().map(|token| ("authorization", token.as_str())).collect();
            sent(limit, &peer, "/stories", &headers)
        };
        (0..10).filter(send).count()
    }

    #[test]
    fn an_address_has_one_limit_whatever_tokens_it_sends() {
        let peer = |n| (format!("192.0.2.{n}"), vec![]);
        assert_eq!(admitted(&limit(), |_| peer(1)), 3);
        assert_eq!(admitted(&limit(), peer), 10);
        let made_up = |n| ("192.0.2.1".to_owned(), vec![format!("Bearer {n}")]);
        assert_eq!(admitted(&limit(), made_up), 3);
        let v6 = |n| (format!("2001:db8::{n}"), vec![]);
        assert_eq!(admitted(&limit(), v6), 3);
    }

    #[test]
    fn a_token_has_one_limit_from_all_addresses() {
        let moving = |n| (format!("192.0.2.{n}"), vec!["Bearer x".to_owned()]);
        assert_eq!(admitted(&limit(), moving), 3);
    }

    #[test]
    fn health_routes_have_no_limit() {
        let limit = limit();
        for path in ["/health", "/health/ready", "/warmup"] {
            assert!((0..10).all(|_| sent(&limit, "192.0.2.1", path, &[])), "{path}");
        }
        assert_eq!((0..10).filter(|_| sent(&limit, "192.0.2.1", "/healthy", &[])).count(), 3);
    }

    #[test]
    fn requests_between_the_processes_have_no_limit() {
        let limit = limit();
        let sent = |is_internal: bool| {
            let request = TestRequest::with_uri("/internal/resolve").to_srv_request();
            let client = Some([192, 0, 2, 1].into());
            request.extensions_mut().insert(RequestOrigin { client, ..RequestOrigin::default() });
            if is_internal {
                request.extensions_mut().insert(IsInternal);
            }
            request
        };
        assert!((0..10).all(|_| limit.check(&sent(true)).is_ok()));
        assert_eq!((0..10).filter(|_| limit.check(&sent(false)).is_ok()).count(), 3);
    }

    #[test]
    fn zero_is_no_limit() {
        let burst = NonZeroU32::MIN;
        let settings = settings::RateLimit { requests_per_second: 0, burst };
        let limit = RateLimit::new(&settings);
        assert!((0..100).all(|_| sent(&limit, "192.0.2.1", "/stories", &[])));
    }
}
