//! The limit of requests in flight, which follows their latency.
//!
//! A process that accepts more than it can process answers everything late. This one accepts as many
//! requests at a time as it answers within 100 ms, or up to 64 as it answers within 250 ms, and refuses
//! the others at once with 503. If requests take long without load, they may take three times as long
//! with it. The limit grows a little while all of it is used and responses are quick, and shrinks by a
//! share while they are slow (additive increase, multiplicative decrease; Chiu and Jain 1989), as TCP
//! and Netflix's concurrency-limits do. It starts high, so that a burst finds room in an idle process,
//! and shrinks from the number that was in flight, so that a lasting overload does not fill it first.
//!
//! A request has its place until its handler has ended, even if it was answered before: handlers
//! continue after the time limit and after their client has left (see [`time_limit`](super::time_limit)).
//!
//! A request of a reader waits for its turn until its handler begins (see `turns.rs`).
//!
//! Readers, editors and strangers have a limit each. A request with a token is an editor's if it comes
//! from an address whose token was verified before, else a stranger's: neither readers nor clients that
//! invent tokens keep editors out. One address may use three quarters of each. A service tells the gateway by a header that it has verified a token.
//! The health routes and requests between the processes have no limit.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpMessage,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{AUTHORIZATION, HeaderName, HeaderValue},
    middleware::Next,
    web::Data,
};
use models::ErrorCode;

use super::{
    error::ApiError,
    internal::IsInternal,
    known_addresses::KnownAddresses,
    origin::RequestOrigin,
    rate_limit::is_unlimited,
    turns::{Turn, Turns},
};

/// The latency that the limit aims at: a quarter of the second within which a reader expects a page.
const TARGET: Duration = Duration::from_millis(250);

/// The same for more than [`FEW`] requests in flight: the more of them compete for the processors, the
/// later others are refused.
const TARGET_OF_MANY: Duration = Duration::from_millis(100);

/// The number of requests that one frontend may send at a time when it builds its pages.
const FEW: usize = 64;

/// The factor by which latencies may exceed those without load, if these are long: a database that is
/// far away is no overload.
const MAX_SLOWDOWN: u32 = 3;

/// The longest latency that the limit aims at: half of that second.
const MAX_TARGET: Duration = Duration::from_millis(500);

/// The number of requests in flight up to which a process has no load: few enough for the processors
/// of a small server.
const MAX_WITHOUT_LOAD: usize = 16;

/// The share of slow responses from which the limit shrinks: some routes are slow by nature.
const MAX_SLOW_SHARE: f64 = 0.1;

/// The time over which latencies are observed before the limit changes.
const WINDOW: Duration = Duration::from_millis(100);

/// The smallest number of latencies in such a time.
const MIN_SAMPLES: usize = 10;

/// The limit at the start, and its bounds. The lower one is answered within a second by a process
/// that manages 32 requests per second; the upper one takes some 30 MiB. The first one has room for
/// what a frontend sends at once when it builds its pages: one address has 256 connections.
const INITIAL: f64 = 512.0;
const MIN: f64 = 32.0;
const MAX: f64 = 1_024.0;

/// The weight of a window in the average latency without load: it follows a change within seconds.
const BASE_WEIGHT: f64 = 0.1;

/// The share of the limit that one address may use: the others find room beside a client that sends as
/// much as it can, and a frontend that is the only client has most of it.
const MAX_SHARE_OF_ADDRESS: f64 = 0.75;

/// The growth of the limit in a window, as a share of it, and its change if responses are slow.
const INCREASE: f64 = 0.05;
const DECREASE: f64 = 0.9;

/// The value of `Retry-After`. The limit itself reacts within a second.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The header of a response by which a service tells the gateway that the token is good.
const TOKEN_VERIFIED: HeaderName = HeaderName::from_static("x-token-verified");

/// The limits of a process. Created once, shared by all its workers.
#[derive(Debug, Clone, Default)]
pub struct LoadLimit {
    readers: Arc<Pool>,
    /// The turns of the handlers of readers.
    turns: Arc<Turns>,
    editors: Arc<Pool>,
    strangers: Arc<Pool>,
    addresses: KnownAddresses,
}

/// The token of a request is good. Among the extensions of the request.
pub(crate) struct TokenVerified;

impl LoadLimit {
    /// Returns `true` if both count the same requests.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.readers, &other.readers)
    }

    /// Sets the number of turns.
    #[cfg(test)]
    pub(super) fn with_turns(self, number: usize) -> Self {
        Self { turns: Arc::new(Turns::new(number)), ..self }
    }

    /// Returns a place for a request from this address, or `None` if there is none.
    fn accept(&self, request: &ServiceRequest, address: Option<IpAddr>) -> Option<Accepted> {
        let pool = self.pool(request, address);
        // Others have to be known, or to send a body, while their handlers run.
        let is_read = Arc::ptr_eq(pool, &self.readers) && request.method().is_safe();
        pool.accept(address, is_read.then(|| Arc::clone(&self.turns)))
    }

    /// Returns the limit for a request from this address.
    fn pool(&self, request: &ServiceRequest, address: Option<IpAddr>) -> &Arc<Pool> {
        if !request.headers().contains_key(AUTHORIZATION) {
            return &self.readers;
        }
        match address {
            Some(address) if self.addresses.contains(&address) => &self.editors,
            _ => &self.strangers,
        }
    }
}

#[derive(Debug, Default)]
struct Pool(Mutex<State>);

/// The state of a limit, as a function of the time.
#[derive(Debug)]
struct State {
    limit: f64,
    in_flight: usize,
    /// The same for each address.
    of_address: HashMap<IpAddr, usize>,
    window_began: Option<Instant>,
    samples: usize,
    slow: usize,
    /// The sum of the latencies.
    total: Duration,
    max_in_flight: usize,
    /// The average latency without load, once it is known.
    base: Option<Duration>,
}

/// A place of a request that was accepted. It is given back when this is dropped.
struct Accepted {
    pool: Arc<Pool>,
    began: Instant,
    address: Option<IpAddr>,
    /// The turns of handlers. `None` if the handler waits for none.
    turns: Option<Arc<Turns>>,
}

/// The place of a request, among its extensions. A task that continues without the request keeps a
/// clone of it.
#[derive(Clone)]
pub(crate) struct Place(Arc<Accepted>);

impl Place {
    /// Waits for the turn of the handler. Returns `None` if it needs none.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        let turns = self.0.turns.as_ref()?;
        Some(turns.take(self.0.address?).await)
    }
}

/// Returns the refusal of a request.
pub(crate) fn too_many_requests() -> ApiError {
    let detail = "There are more requests than can be answered. Try again in a second.";
    ApiError::new(ErrorCode::Overloaded, detail).retry_after_seconds(RETRY_AFTER_SECONDS)
}

impl Default for State {
    fn default() -> Self {
        Self {
            limit: INITIAL,
            in_flight: 0,
            of_address: HashMap::new(),
            window_began: None,
            samples: 0,
            slow: 0,
            total: Duration::ZERO,
            max_in_flight: 0,
            base: None,
        }
    }
}

impl State {
    /// Returns `true` if a request from this address is accepted.
    fn begin(&mut self, address: Option<IpAddr>) -> bool {
        let of_address = address.and_then(|address| self.of_address.get(&address));
        #[expect(clippy::cast_precision_loss, reason = "a thousand at most")]
        let [in_flight, of_address] =
            [self.in_flight, of_address.copied().unwrap_or_default()].map(|count| count as f64);
        let has_room = in_flight < self.limit && of_address < self.limit * MAX_SHARE_OF_ADDRESS;
        if has_room {
            self.in_flight += 1;
            if let Some(address) = address {
                *self.of_address.entry(address).or_default() += 1;
            }
            self.max_in_flight = self.max_in_flight.max(self.in_flight);
        }
        has_room
    }

    /// Ends a request from this address.
    fn end(&mut self, address: Option<IpAddr>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(address) = address
            && let Some(count) = self.of_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.of_address.remove(&address);
            }
        }
    }

    /// Observes the latency of a response.
    fn observe(&mut self, latency: Duration, now: Instant) {
        self.samples += 1;
        self.slow += usize::from(latency > self.target());
        self.total += latency;
        let began = *self.window_began.get_or_insert(now);
        if self.samples < MIN_SAMPLES || now.duration_since(began) < WINDOW {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "some thousands at most")]
        let [samples, slow, used] =
            [self.samples, self.slow, self.max_in_flight].map(|count| count as f64);
        let slow_share = slow / samples;
        // Fewer in flight than the smallest limit are slow for another reason.
        if slow_share > MAX_SLOW_SHARE && used >= MIN {
            self.limit = (self.limit.min(used) * DECREASE).max(MIN);
        } else if slow_share <= MAX_SLOW_SHARE
            && (used >= self.limit.floor() || self.limit < INITIAL)
        {
            self.limit = (self.limit * (1.0 + INCREASE)).min(MAX);
        }
        if self.max_in_flight <= MAX_WITHOUT_LOAD {
            let average = self.total.div_f64(samples);
            let before = self.base.unwrap_or(average);
            self.base = Some(before.mul_f64(1.0 - BASE_WEIGHT) + average.mul_f64(BASE_WEIGHT));
        }
        (self.window_began, self.samples, self.slow) = (Some(now), 0, 0);
        self.total = Duration::ZERO;
        self.max_in_flight = self.in_flight;
    }

    /// Returns the latency above which a response is slow.
    fn target(&self) -> Duration {
        let without_load = self.base.unwrap_or_default();
        let shortest = if self.max_in_flight > FEW { TARGET_OF_MANY } else { TARGET };
        (without_load * MAX_SLOWDOWN).clamp(shortest, MAX_TARGET)
    }
}

impl Pool {
    fn accept(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        turns: Option<Arc<Turns>>,
    ) -> Option<Accepted> {
        let is_accepted = self.state().begin(address);
        let began = Instant::now();
        is_accepted.then(|| Accepted { pool: Arc::clone(self), began, address, turns })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accepted {
    /// Notes that the request is answered.
    fn answered(&self) {
        let now = Instant::now();
        self.pool.state().observe(now.duration_since(self.began), now);
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.pool.state().end(self.address);
    }
}

/// The middleware: answers 503 with `Retry-After` to requests over the limit. The app needs a
/// `web::Data<LoadLimit>`; without one there is no limit.
pub async fn limit_load(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let limits = request.app_data::<Data<LoadLimit>>().map(|limits| (***limits).clone());
    let mut response = limit_load_to(limits, request, |request| next.call(request)).await?;
    let is_verified = response.request().extensions().contains::<TokenVerified>();
    if is_verified {
        response.headers_mut().insert(TOKEN_VERIFIED, HeaderValue::from_static("1"));
    }
    Ok(response)
}

/// Like [`limit_load`], with these limits, or none.
pub async fn limit_load_to<B: MessageBody + 'static>(
    limits: Option<LoadLimit>,
    request: ServiceRequest,
    next: impl AsyncFnOnce(ServiceRequest) -> Result<ServiceResponse<B>, Error>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    // One service calls another for a request that was accepted already.
    let is_exempt = is_unlimited(request.path()) || request.extensions().contains::<IsInternal>();
    let limits = limits.as_ref().filter(|_| !is_exempt);
    let address = request.extensions().get::<RequestOrigin>().and_then(RequestOrigin::network);
    let accepted = match limits.map(|limits| limits.accept(&request, address)) {
        None => None,
        Some(Some(accepted)) => Some(Arc::new(accepted)),
        Some(None) => {
            return Ok(request.error_response(too_many_requests()).map_into_right_body());
        }
    };
    if let Some(accepted) = &accepted {
        request.extensions_mut().insert(Place(Arc::clone(accepted)));
    }
    let mut response = next(request).await?;
    let is_verified = response.headers_mut().remove(TOKEN_VERIFIED).next().is_some()
        || response.request().extensions().contains::<TokenVerified>();
    if let (Some(limits), Some(address), true) = (limits, address, is_verified) {
        limits.addresses.add(address);
    }
    if let Some(accepted) = accepted {
        accepted.answered();
        // The request lives until its response is sent, its place until it is answered.
        response.request().extensions_mut().remove::<Place>();
    }
    Ok(response.map_into_left_body())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use actix_web::{
        App, HttpRequest, HttpResponse,
        dev::Service,
        middleware::from_fn,
        test::{TestRequest, call_service, init_service},
        web,
    };

    use futures_util::{FutureExt, future::join_all};
    use tokio::sync::Notify;

    use super::*;
    use crate::web::{routing::route, time_limit::TimeLimit};

    /// A server that processes requests one after the other, in virtual time, and its clients, who
    /// send at a constant rate whether they are answered or not. Returns the share of the capacity
    /// that was answered within a second, and the limit at the end.
    fn simulate(seconds: u64, work: Duration, interval: Duration, limit: bool) -> (f64, f64) {
        let (mut state, start) = (State::default(), Instant::now());
        let (mut queue, mut good, mut free_at) = (VecDeque::new(), 0_u32, start);
        let end = start + Duration::from_secs(seconds);
        let mut now = start;
        while now < end {
            while let Some((began, done)) = queue.front().copied().filter(|(_, done)| *done <= now)
            {
                queue.pop_front();
                let latency: Duration = done - began;
                state.end(None);
                state.observe(latency, done);
                good += u32::from(latency <= Duration::from_secs(1));
            }
            if state.begin(None) || !limit {
                free_at = free_at.max(now) + work;
                queue.push_back((now, free_at));
            }
            now += interval;
        }
        let capacity = Duration::from_secs(seconds).as_secs_f64() / work.as_secs_f64();
        (f64::from(good) / capacity, state.limit)
    }

    #[test]
    fn at_several_times_the_capacity_nearly_all_of_it_is_of_use() {
        for work in [1, 3, 5, 10, 20] {
            let work = Duration::from_millis(work);
            for factor in [2, 3, 5] {
                let (goodput, limit) = simulate(30, work, work / factor, true);
                assert!(goodput >= 0.9, "{work:?} × {factor}: {goodput}, {limit}");
            }
        }
        let work = Duration::from_millis(5);
        let (without, _) = simulate(30, work, work / 2, false);
        assert!(without < 0.2, "{without}");
    }

    #[test]
    fn below_the_capacity_nothing_is_refused_and_the_limit_stays() {
        let work = Duration::from_millis(5);
        let (goodput, limit) = simulate(30, work, work * 10 / 9, true);
        assert!(goodput > 0.89, "{goodput}");
        assert!((limit - INITIAL).abs() < f64::EPSILON, "{limit}");
    }

    #[test]
    fn the_limit_grows_while_it_is_used_and_recovers_after_slow_times() {
        let (mut state, mut now) = (State::default(), Instant::now());
        let mut run = |state: &mut State, latency: Duration, rounds: usize| {
            for _ in 0..rounds {
                let accepted = (0..2_000).filter(|_| state.begin(None)).count();
                for _ in 0..accepted {
                    state.end(None);
                    state.observe(latency, now);
                }
                now += WINDOW;
                state.observe(latency, now);
            }
            state.limit
        };
        assert!((run(&mut state, Duration::from_millis(20), 100) - MAX).abs() < 1.0);
        assert!((run(&mut state, Duration::from_secs(2), 100) - MIN).abs() < 1.0);
        assert!((run(&mut state, Duration::from_millis(20), 100) - MAX).abs() < 1.0);
    }

    #[test]
    fn a_burst_finds_room_and_slow_responses_of_a_few_requests_leave_it() {
        let (mut state, mut now) = (State::default(), Instant::now());
        for _ in 0..100 {
            assert!((0..31).all(|_| state.begin(None)));
            for _ in 0..31 {
                state.end(None);
                state.observe(Duration::from_secs(2), now);
            }
            now += WINDOW;
        }
        assert!((0..300).all(|_| state.begin(None)));
    }

    #[test]
    fn a_database_that_is_far_away_is_no_overload() {
        let latency = Duration::from_millis(120);
        let (mut state, mut now) = (State::default(), Instant::now());
        let mut run = |state: &mut State, in_flight: usize| {
            for _ in 0..100 {
                let accepted = (0..in_flight).filter(|_| state.begin(None)).count();
                for _ in 0..accepted {
                    state.end(None);
                    state.observe(latency, now);
                }
                now += WINDOW;
            }
            state.limit
        };
        run(&mut state, 10);
        assert!(run(&mut state, 400) >= INITIAL);
        // Without a time without load, the same latencies are those of an overload.
        assert!(run(&mut State::default(), 400) < INITIAL / 2.0);
    }

    #[test]
    fn the_room_for_a_burst_returns_when_responses_are_quick_again() {
        let (mut state, mut now) = (State { limit: MIN, ..State::default() }, Instant::now());
        for _ in 0..1_000 {
            assert!(state.begin(None));
            state.end(None);
            state.observe(Duration::from_millis(5), now);
            now += WINDOW / 10;
        }
        assert!((0..300).all(|_| state.begin(None)));
    }

    #[test]
    fn a_cancelled_request_gives_its_place_back_and_is_no_sample() {
        let pool = Arc::new(Pool::default());
        let held: Vec<_> = std::iter::from_fn(|| pool.accept(None, None)).collect();
        drop(held);
        let state = pool.state();
        assert_eq!((state.in_flight, state.samples), (0, 0));
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let pool = Arc::new(Pool::default());
        let [one, other] = [1, 2].map(|number| Some(IpAddr::from([192, 0, 2, number])));
        let fill = |address| std::iter::from_fn(|| pool.accept(address, None)).collect::<Vec<_>>();
        let held = fill(one);
        assert!(held.len() >= 384, "{}", held.len());
        let of_other = fill(other);
        assert!(of_other.len() >= 128, "{}", of_other.len());
        drop(held);
        assert_eq!(fill(one).len(), 384);
        drop(of_other);
        assert!(pool.state().of_address.is_empty());
    }

    #[actix_web::test]
    async fn some_hundred_requests_at_once_are_all_answered() {
        let limits = LoadLimit::default();
        let ok = || async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            HttpResponse::Ok().finish()
        };
        let scope = web::scope("")
            .app_data(Data::new(limits))
            .wrap(from_fn(limit_load))
            .default_service(web::to(ok));
        let app = init_service(App::new().service(scope)).await;
        let requests = (0..400).map(|_| call_service(&app, TestRequest::get().to_request()));
        for response in join_all(requests).await {
            assert_eq!(response.status(), 200);
        }
    }

    #[actix_web::test]
    async fn a_handler_has_its_place_until_it_has_ended() {
        for limit in [Some(Duration::from_millis(20)), None] {
            let (limits, release) = (LoadLimit::default(), Arc::new(Notify::new()));
            let released = Arc::clone(&release);
            let wait = move || {
                let released = Arc::clone(&released);
                async move {
                    released.notified().await;
                    HttpResponse::Ok().finish()
                }
            };
            let scope = web::scope("")
                .app_data(Data::new(limits.clone()))
                .app_data(TimeLimit(limit))
                .wrap(from_fn(limit_load))
                .service(route("/wait").get(wait).build());
            let app = init_service(App::new().service(scope)).await;
            let mut response = Box::pin(app.call(TestRequest::with_uri("/wait").to_request()));
            // With a time limit, the request is answered in time; without, its client leaves.
            if limit.is_some() {
                assert_eq!((&mut response).await.unwrap().status(), 503);
            } else {
                assert!((&mut response).now_or_never().is_none());
            }
            drop(response);
            assert_eq!(limits.readers.state().in_flight, 1, "{limit:?}");
            release.notify_one();
            while limits.readers.state().in_flight > 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    #[actix_web::test]
    async fn editors_and_health_have_room_of_their_own() {
        let limits = LoadLimit::default();
        // As a service does, and as the gateway gets it.
        let ok = |request: HttpRequest| async move {
            let is = |token| request.headers().get(AUTHORIZATION).is_some_and(|it| it == token);
            if is("Bearer verified-here") {
                request.extensions_mut().insert(TokenVerified);
            }
            let mut response = HttpResponse::Ok();
            if is("Bearer verified-there") {
                response.insert_header((TOKEN_VERIFIED, "1"));
            }
            response.finish()
        };
        let scope = web::scope("")
            .app_data(Data::new(limits.clone()))
            .wrap(from_fn(limit_load))
            .default_service(web::to(ok));
        let app = init_service(App::new().service(scope)).await;
        let get = |path: &str, address: u8, token: Option<&str>| {
            let mut request = TestRequest::with_uri(path);
            if let Some(token) = token {
                request = request.insert_header((AUTHORIZATION, format!("Bearer {token}")));
            }
            let request = request.to_request();
            let client = Some([192, 0, 2, address].into());
            request.extensions_mut().insert(RequestOrigin { client, ..RequestOrigin::default() });
            request
        };
        for (address, token, is_verified) in
            [(1, "verified-here", true), (2, "verified-there", false), (3, "made-up", false)]
        {
            let response = call_service(&app, get("/stories", address, Some(token))).await;
            assert_eq!(response.status(), 200, "{token}");
            // The header goes no further than to the next process.
            assert_eq!(response.headers().contains_key(TOKEN_VERIFIED), is_verified, "{token}");
        }
        let fill =
            |pool: &Arc<Pool>| std::iter::from_fn(|| pool.accept(None, None)).collect::<Vec<_>>();
        let held = [fill(&limits.readers), fill(&limits.strangers)];
        for (path, address, token, status) in [
            ("/stories", 1, None, 503),
            ("/stories", 1, Some("new"), 200),
            ("/stories", 2, Some("new"), 200),
            ("/stories", 3, Some("made-up"), 503),
            ("/stories", 4, Some("verified-here"), 503),
            ("/health/ready", 4, None, 200),
            ("/warmup", 4, None, 200),
            ("/healthy", 4, None, 503),
        ] {
            let response = call_service(&app, get(path, address, token)).await;
            assert_eq!(response.status(), status, "{path} {address} {token:?}");
            assert_eq!(response.headers().contains_key("retry-after"), status == 503);
        }
        let internal = TestRequest::with_uri("/internal/resolve").to_request();
        internal.extensions_mut().insert(IsInternal);
        assert_eq!(call_service(&app, internal).await.status(), 200);
        drop(held);
        let request = TestRequest::with_uri("/stories").to_request();
        assert_eq!(call_service(&app, request).await.status(), 200);
        assert_eq!(limits.readers.state().in_flight, 0);
    }
}
