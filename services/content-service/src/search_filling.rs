//! The task that compares all items with the words by which they are found.

use std::time::Duration;

use mongo_kit::DatabaseError;
use opentelemetry::{Context, context::FutureExt};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::kinds::Collections;

/// The pause between two comparisons: the time after which an item that another program has added is
/// found. A comparison reads the ids of all items from an index.
const INTERVAL: Duration = Duration::from_secs(600);

/// The pause after a comparison that failed, such as one without a database.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Adds the words of the items that have none, and removes those of items that do not exist, at intervals
/// until the token is cancelled. Every process does: it changes nothing where nothing is missing.
pub(crate) async fn run(collections: Collections, stop: CancellationToken) {
    let fill = async {
        loop {
            let mut pause = INTERVAL;
            for collection in collections.iter() {
                if let Err(error) = collection.fill_search().await {
                    pause = RETRY_INTERVAL;
                    let error = DatabaseError::from(error);
                    tracing::debug!(%error, "the words of items cannot be compared");
                }
            }
            sleep(pause).await;
        }
    };
    // Looking for work would hide the traces of requests.
    let fill = fill.with_context(Context::new().with_telemetry_suppressed());
    tokio::select! {
        () = fill => {}
        () = stop.cancelled() => {}
    }
}
