//! Time limits of database operations.
//!
//! The driver has none of its own: an operation on the connection of a frozen server ends when the
//! driver's monitor gives that server up, after 20 s or more.

use std::time::Duration;

use mongodb::error::{Error, Result};

/// An operation that did not end within its time limit.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(crate) struct TimedOut(Duration);

/// Runs an operation on a task of its own and returns its result, or an error that is transient if it
/// does not end within the limit.
///
/// The task continues to its end: calls of the driver must not be dropped half-way, since it then
/// works through the abandoned connections one by one.
pub async fn with_time_limit<T: Send + 'static>(
    limit: Duration,
    operation: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::time::timeout(limit, tokio::spawn(operation)).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(Error::custom(panic.to_string())),
        Err(_) => Err(Error::custom(TimedOut(limit))),
    }
}
