//! The time limit of requests, and handlers that run to their end.
//!
//! A handler that uses the database runs on a task of its own. If the client disconnects, or the time
//! limit passes, the task continues: calls of the database driver must not be dropped half-way, and a
//! write is not to be interrupted. The limit is set for a scope of routes, by a [`TimeLimit`] in its
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
use tracing::Instrument;

use super::error::ApiError;

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
    let handler = rt::spawn(next.call(request).in_current_span());
    let error = tokio::select! {
        biased;
        ended = handler => match ended {
            Ok(response) => return Ok(response?.map_into_left_body()),
            Err(panic) => ApiError::internal(panic),
        },
        limit = passed(limit, &counts_from) => timed_out(&method, limit),
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
