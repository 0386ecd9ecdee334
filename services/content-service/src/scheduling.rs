//! The task that publishes and unpublishes items at their moments.

use std::time::Duration;

use mongo_kit::DatabaseError;
use opentelemetry::{Context, context::FutureExt};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::store::schedule::ScheduleStore;

/// The interval at which a process looks for changes that are due: a quarter of the second within which
/// readers see them.
const INTERVAL: Duration = Duration::from_millis(250);

/// The pause after a change that failed. Those after it in the order are made before.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Makes the changes that are due until the token is cancelled. Every process does: a change is made once.
pub(crate) async fn run(store: ScheduleStore, stop: CancellationToken) {
    let make = async {
        loop {
            sleep(make_due(&store).await).await;
        }
    };
    // Looking for work would hide the traces of requests.
    let make = make.with_context(Context::new().with_telemetry_suppressed());
    tokio::select! {
        () = make => {}
        () = stop.cancelled() => {}
    }
}

/// Makes the changes that are due. Returns the pause until the next look.
async fn make_due(store: &ScheduleStore) -> Duration {
    let due = match store.due().await {
        Ok(due) => due,
        Err(error) => {
            let error = DatabaseError::from(error);
            tracing::debug!(%error, "scheduled changes cannot be read");
            return RETRY_INTERVAL;
        }
    };
    let mut pause = INTERVAL;
    for change in due {
        match store.make(&change).await {
            Ok(()) => tracing::info!(%change, "scheduled change made"),
            Err(error) => {
                let error = DatabaseError::from(error);
                tracing::warn!(%change, %error, "a scheduled change failed and will be repeated");
                pause = RETRY_INTERVAL;
            }
        }
    }
    pause
}
