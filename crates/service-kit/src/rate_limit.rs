//! How many requests somebody may send: by address, and by token where one is sent.
//!
//! Both have to have room. The token alone would let a stranger make up a new one for each request;
//! the address alone would let one editor take the share of all behind the same one.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{
    Error,
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

use crate::{ApiError, settings};

/// After so many requests, those who sent none lately are forgotten.
const BETWEEN_CLEANINGS: usize = 10_000;

/// Routes without a limit: orchestrators ask them, and whether a process is well has to be known
/// above all when it has much to do.
const UNLIMITED: [&str; 2] = ["/health", "/warmup"];

/// Without a limit behind the gateway, which lets nobody through to them: one service asks another
/// for all its callers, and from one address.
const BETWEEN_SERVICES: &str = "/internal";

/// The limits of a process. Made once, shared by all its workers.
#[derive(Clone)]
pub struct RateLimit(Option<Arc<Inner>>);

struct Inner {
    limiter: RateLimiter<Sender, HashMapStateStore<Sender>, DefaultClock>,
    place: Place,
    checks: AtomicUsize,
}

/// Where a process stands, which decides whom it asks for a client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Clients connect to it: their address is that of the connection.
    Edge,
    /// The gateway connects to it and says for whom in `x-forwarded-for`. That is believed of
    /// private addresses alone.
    BehindGateway,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sender {
    Address(IpAddr),
    /// A digest: no token is kept.
    Token(u64),
}

impl RateLimit {
    /// The limits that the settings describe; none where they say 0.
    pub fn new(settings: &settings::RateLimit, place: Place) -> Self {
        let Some(per_second) = NonZeroU32::new(settings.requests_per_second) else {
            return Self(None);
        };
        let quota = Quota::per_second(per_second).allow_burst(settings.burst);
        let limiter = RateLimiter::hashmap(quota);
        Self(Some(Arc::new(Inner { limiter, place, checks: AtomicUsize::new(0) })))
    }

    fn check(&self, request: &ServiceRequest) -> Result<(), ApiError> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let is_below = |route: &&str| {
            let rest = request.path().strip_prefix(*route);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_between_services =
            inner.place == Place::BehindGateway && is_below(&BETWEEN_SERVICES);
        if is_between_services || UNLIMITED.iter().any(is_below) {
            return Ok(());
        }
        inner.clean();
        let address = inner.address(request).map(Sender::Address);
        let token = request.headers().get(AUTHORIZATION).map(|header| {
            let mut hasher = DefaultHasher::new();
            header.as_bytes().hash(&mut hasher);
            Sender::Token(hasher.finish())
        });
        address.into_iter().chain(token).try_for_each(|sender| inner.admit(sender))
    }
}

impl std::fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RateLimit")
    }
}

impl Inner {
    fn admit(&self, sender: Sender) -> Result<(), ApiError> {
        self.limiter.check_key(&sender).map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            let seconds = u32::try_from(whole_seconds(wait)).unwrap_or(u32::MAX);
            let detail = format!("Too many requests. Try again in {seconds} s.");
            ApiError::new(ErrorCode::TooManyRequests, detail).retry_after_seconds(seconds)
        })
    }

    /// So that memory is bounded by who sends requests now.
    fn clean(&self) {
        if self.checks.fetch_add(1, Ordering::Relaxed) % BETWEEN_CLEANINGS == BETWEEN_CLEANINGS - 1
        {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }

    fn address(&self, request: &ServiceRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip();
        let said = (self.place == Place::BehindGateway && is_private(peer))
            .then(|| request.headers().get_all("x-forwarded-for").last()?.to_str().ok())
            .flatten()
            .and_then(|addresses| addresses.rsplit(',').next()?.trim().parse().ok());
        Some(network(said.unwrap_or(peer)))
    }
}

/// `Retry-After` is in whole seconds, and "now" would be refused again.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// Whether only somebody on the same machine or network can have this address.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// A client of IPv6 has a network of 64 bits to choose addresses from (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// The middleware: 429 with `Retry-After` for those who send more than they may. The app needs a
/// `web::Data<RateLimit>`; without one nothing is limited.
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

    fn limit(place: Place) -> RateLimit {
        let burst = NonZeroU32::new(3).unwrap();
        RateLimit::new(&settings::RateLimit { requests_per_second: 1, burst }, place)
    }

    fn sent(limit: &RateLimit, peer: &str, path: &str, headers: &[(&'static str, &str)]) -> bool {
        let peer = std::net::SocketAddr::new(peer.parse().unwrap(), 1);
        let mut request = TestRequest::with_uri(path).peer_addr(peer);
        for header in headers {
            request = request.append_header(*header);
        }
        let result = limit.check(&request.to_srv_request());
        if let Err(error) = &result {
            assert_eq!(error.code(), ErrorCode::TooManyRequests);
            let response = actix_web::ResponseError::error_response(error);
            assert_eq!(response.headers().get("retry-after").unwrap(), "1");
        }
        result.is_ok()
    }

    /// How many of ten requests are let through.
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
    fn an_address_has_its_share_whatever_tokens_it_makes_up() {
        let peer = |n| (format!("192.0.2.{n}"), vec![]);
        assert_eq!(admitted(&limit(Place::Edge), |_| peer(1)), 3);
        assert_eq!(admitted(&limit(Place::Edge), peer), 10);
        let made_up = |n| ("192.0.2.1".to_owned(), vec![format!("Bearer {n}")]);
        assert_eq!(admitted(&limit(Place::Edge), made_up), 3);
        let v6 = |n| (format!("2001:db8::{n}"), vec![]);
        assert_eq!(admitted(&limit(Place::Edge), v6), 3);
    }

    #[test]
    fn a_token_has_its_share_wherever_it_comes_from() {
        let moving = |n| (format!("192.0.2.{n}"), vec!["Bearer x".to_owned()]);
        assert_eq!(admitted(&limit(Place::Edge), moving), 3);
    }

    #[test]
    fn the_gateway_is_believed_and_strangers_are_not() {
        let from = |place, peer: &'static str| {
            let limit = limit(place);
            let send = |n: &usize| {
                let said = format!("10.9.9.9, 198.51.100.{n}");
                sent(&limit, peer, "/stories", &[("x-forwarded-for", &said)])
            };
            (0..10).filter(send).count()
        };
        assert_eq!(from(Place::BehindGateway, "127.0.0.1"), 10);
        assert_eq!(from(Place::BehindGateway, "172.18.0.3"), 10);
        assert_eq!(from(Place::BehindGateway, "203.0.113.5"), 3);
        assert_eq!(from(Place::Edge, "127.0.0.1"), 3);
    }

    #[test]
    fn how_a_process_is_can_be_asked_without_end() {
        let limit = limit(Place::Edge);
        for path in ["/health", "/health/ready", "/warmup"] {
            assert!((0..10).all(|_| sent(&limit, "192.0.2.1", path, &[])), "{path}");
        }
        assert_eq!((0..10).filter(|_| sent(&limit, "192.0.2.1", "/healthy", &[])).count(), 3);
    }

    #[test]
    fn services_ask_each_other_without_end_and_strangers_gain_nothing_by_that() {
        let path = "/internal/resolve";
        let behind = limit(Place::BehindGateway);
        assert!((0..10).all(|_| sent(&behind, "127.0.0.1", path, &[])));
        let edge = limit(Place::Edge);
        assert_eq!((0..10).filter(|_| sent(&edge, "192.0.2.1", path, &[])).count(), 3);
    }

    #[test]
    fn zero_is_no_limit() {
        let burst = NonZeroU32::MIN;
        let settings = settings::RateLimit { requests_per_second: 0, burst };
        let limit = RateLimit::new(&settings, Place::Edge);
        assert!((0..100).all(|_| sent(&limit, "192.0.2.1", "/stories", &[])));
    }
}
