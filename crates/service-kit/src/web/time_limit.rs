//! The time limit of requests, and handlers that run to their end.
//!
//! A handler that uses the database runs on a task of its own. If the client disconnects, or the time
//! limit passes, the task continues: calls of the database driver must not be dropped half-way, and a
//! write is not to be interrupted. A handler that waits for its turn (`turns.rs`) has not begun, and
//! does not if its client leaves. The limit is set for a scope of routes, by a [`TimeLimit`] in its
//! data; routes without one are handled as usual.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::Method,
    middleware::Next,
    rt,
};
use models::ErrorCode;

use super::{
    error::ApiError,
    overload::{Place, too_many_requests},
};
use crate::runtime::trace::in_current_trace;

/// The number of seconds after which a client should repeat a request that was not answered in time: as
/// long as a replica set takes to elect a primary.
const RETRY_AFTER_SECONDS: u32 = 3;

/// The longest time that handlers of a scope may take once they have received the body of the request;
/// `None` for handlers that may take long.
#[derive(Debug, Clone, Copy)]
pub struct TimeLimit(pub Option<Duration>);

/// The time from which on the limit of a request counts; `None` while its body is being received.
#[derive(Debug, Clone)]
struct CountsFrom(Rc<Cell<Option<Instant>>>);

/// A pause of the time limit of a request, for as long as it lives.
pub(crate) struct Paused(Option<CountsFrom>);

impl Paused {
    /// Pauses the time limit while the client has the turn.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let counts_from = request.extensions().get::<CountsFrom>().cloned();
        if let Some(counts_from) = &counts_from {
            counts_from.0.set(None);
        }
        Self(counts_from)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        if let Some(counts_from) = &self.0 {
            counts_from.0.set(Some(Instant::now()));
        }
    }
}

/// Handles a request on a task of its own, within the limit of its scope.
pub(crate) async fn limit_time(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Some(TimeLimit(limit)) = request.app_data::<TimeLimit>().copied() else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let counts_from = CountsFrom(Rc::new(Cell::new(Some(Instant::now()))));
    request.extensions_mut().insert(counts_from.clone());
    let (kept, method) = (request.request().clone(), request.method().clone());
    let place = request.extensions().get::<Place>().cloned();
    let turn = Rc::new(Cell::new(None));
    let has_begun = Cell::new(false);
    let handled = async {
        // If the client leaves before that, the handler never begins.
        let own_turn = match &place {
            Some(place) => place.turn().await,
            None => None,
        };
        turn.set(own_turn);
        has_begun.set(true);
        let handled = in_current_trace(next.call(request));
        let kept = (place.clone(), turn.clone());
        rt::spawn(async move {
            let (_place, turn) = kept;
            let response = handled.await;
            drop(turn.take());
            response
        })
        .await
    };
    let error = tokio::select! {
        biased;
        ended = handled => match ended {
            Ok(response) => return Ok(response?.map_into_left_body()),
            Err(panic) => ApiError::internal(panic),
        },
        limit = passed(limit, &counts_from) => {
            // The handlers that wait for a database without a primary must not keep all others from
            // one that is there again.
            drop(turn.take());
            if has_begun.get() { timed_out(&method, limit) } else { too_many_requests() }
        }
    };
    Ok(ServiceResponse::from_err(error, kept).map_into_right_body())
}

/// Waits until the limit has passed, and returns it.
async fn passed(limit: Option<Duration>, counts_from: &CountsFrom) -> Duration {
    let Some(limit) = limit else { return std::future::pending().await };
    loop {
        let elapsed = counts_from.0.get().map(|from| from.elapsed()).unwrap_or_default();
        if elapsed >= limit {
            return limit;
        }
        tokio::time::sleep(limit - elapsed).await;
    }
}

fn timed_out(method: &Method, limit: Duration) -> ApiError {
    let error = if method.is_safe() {
        let detail = "The database, or another service, does not answer in time. Try again.";
        ApiError::new(ErrorCode::DatabaseUnavailable, detail)
            .retry_after_seconds(RETRY_AFTER_SECONDS)
    } else {
        outcome_unknown()
    };
    error.because(format!("no response within {limit:?}"))
}

/// Returns the error of a write that may or may not have been made.
pub fn outcome_unknown() -> ApiError {
    let detail = "The database did not confirm the change in time, so it is not known whether it was \
                  made. Send the same request again: with the same `Idempotency-Key`, a POST is \
                  done once only.";
    ApiError::new(ErrorCode::DatabaseUnavailable, detail).retry_after_seconds(RETRY_AFTER_SECONDS)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use actix_web::{
        App, HttpResponse,
        dev::Service,
        http::StatusCode,
        middleware::from_fn,
        test::{TestRequest, init_service, read_body_json},
        web,
    };
    use futures_util::FutureExt;
    use serde_json::Value;
    use tokio::sync::Notify;

    use super::*;
    use crate::web::{
        origin::RequestOrigin,
        overload::{LoadLimit, limit_load},
        routing::route,
    };

    const LIMIT: Duration = Duration::from_millis(50);

    /// A handler that waits, and notes that it has come to its end.
    #[derive(Clone, Default)]
    struct Waiting {
        begun: Arc<AtomicUsize>,
        release: Arc<Notify>,
        ended: Arc<Notify>,
        has_ended: Arc<AtomicBool>,
    }

    async fn wait(waiting: web::Data<Waiting>) -> HttpResponse {
        waiting.begun.fetch_add(1, Ordering::SeqCst);
        waiting.release.notified().await;
        waiting.has_ended.store(true, Ordering::SeqCst);
        waiting.ended.notify_one();
        HttpResponse::Ok().finish()
    }

    /// Receives a body for longer than the limit.
    async fn receive(request: HttpRequest) -> HttpResponse {
        let _paused = Paused::of(&request);
        rt::time::sleep(LIMIT * 4).await;
        HttpResponse::Ok().finish()
    }

    async fn panic() -> HttpResponse {
        panic!("a handler that panics");
    }

    /// Returns an app with these routes. A macro, because the type of requests has no name here.
    macro_rules! app {
        ($limit:expr, $waiting:expr) => {
            init_service(
                App::new()
                    .app_data(TimeLimit($limit))
                    .app_data(web::Data::new($waiting.clone()))
                    .service(route("/wait").get(wait).post(wait).build())
                    .service(route("/receive").post(receive).build())
                    .service(route("/panic").get(panic).build()),
            )
            .await
        };
    }

    #[actix_web::test]
    async fn a_handler_that_takes_too_long_is_answered_and_runs_to_its_end() {
        for (method, detail) in
            [(Method::GET, "does not answer in time"), (Method::POST, "not known whether")]
        {
            let waiting = Waiting::default();
            let app = app!(Some(LIMIT), waiting);
            let request = TestRequest::with_uri("/wait").method(method).to_request();
            let response = app.call(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(response.headers().contains_key("retry-after"));
            let body: Value = read_body_json(response).await;
            assert_eq!(body["code"], "database_unavailable");
            assert!(body["detail"].as_str().unwrap().contains(detail), "{body}");
            assert!(!waiting.has_ended.load(Ordering::SeqCst));
            waiting.release.notify_one();
            waiting.ended.notified().await;
        }
    }

    #[actix_web::test]
    async fn a_handler_whose_client_has_left_runs_to_its_end() {
        for limit in [Some(Duration::from_secs(60)), None] {
            let waiting = Waiting::default();
            let app = app!(limit, waiting);
            let mut response = Box::pin(app.call(TestRequest::with_uri("/wait").to_request()));
            assert!((&mut response).now_or_never().is_none());
            drop(response);
            waiting.release.notify_one();
            waiting.ended.notified().await;
        }
    }

    fn from_one_address(request: TestRequest) -> actix_http::Request {
        let request = request.uri("/wait").to_request();
        let client = Some([192, 0, 2, 1].into());
        request.extensions_mut().insert(RequestOrigin { client, ..RequestOrigin::default() });
        request
    }

    #[actix_web::test]
    async fn a_read_whose_client_leaves_before_its_turn_is_never_begun() {
        const TURNS: usize = 3;
        let waiting = Waiting::default();
        let app = init_service(
            App::new()
                .app_data(TimeLimit(Some(Duration::from_secs(60))))
                .app_data(web::Data::new(LoadLimit::default().with_turns(TURNS)))
                .app_data(web::Data::new(waiting.clone()))
                .wrap(from_fn(limit_load))
                .service(route("/wait").get(wait).post(wait).build()),
        )
        .await;
        let begin = |request: TestRequest| {
            let mut response = Box::pin(app.call(from_one_address(request)));
            assert!((&mut response).now_or_never().is_none());
            response
        };
        let begun = async |count: usize| {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(waiting.begun.load(Ordering::SeqCst), count);
        };
        let mut responses: Vec<_> = (0..10).map(|_| begin(TestRequest::get())).collect();
        begun(TURNS).await;
        // Neither editors nor writes wait for readers.
        let editor = TestRequest::get().insert_header(("authorization", "Bearer x"));
        let others = [begin(editor), begin(TestRequest::post())];
        begun(TURNS + 2).await;
        // All leave but one, which is the next.
        let mut last = responses.pop().unwrap();
        drop((responses, others));
        begun(TURNS + 2).await;
        waiting.release.notify_waiters();
        begun(TURNS + 2).await;
        assert!((&mut last).now_or_never().is_none());
        begun(TURNS + 3).await;
        waiting.release.notify_waiters();
        assert_eq!(last.await.unwrap().status(), StatusCode::OK);
        begun(TURNS + 3).await;
    }

    #[actix_web::test]
    async fn a_read_that_gets_no_turn_in_time_is_refused() {
        let waiting = Waiting::default();
        let app = init_service(
            App::new()
                .app_data(TimeLimit(Some(LIMIT)))
                .app_data(web::Data::new(LoadLimit::default().with_turns(0)))
                .app_data(web::Data::new(waiting.clone()))
                .wrap(from_fn(limit_load))
                .service(route("/wait").get(wait).build()),
        )
        .await;
        let response = app.call(from_one_address(TestRequest::get())).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key("retry-after"));
        let body: Value = read_body_json(response).await;
        assert_eq!(body["code"], "overloaded");
        assert_eq!(waiting.begun.load(Ordering::SeqCst), 0);
    }

    #[actix_web::test]
    async fn the_time_in_which_a_body_is_received_does_not_count() {
        let app = app!(Some(LIMIT), Waiting::default());
        let response = app.call(TestRequest::post().uri("/receive").to_request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }

    #[actix_web::test]
    async fn a_handler_that_panics_is_an_internal_error() {
        let app = app!(Some(LIMIT), Waiting::default());
        let response = app.call(TestRequest::with_uri("/panic").to_request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
