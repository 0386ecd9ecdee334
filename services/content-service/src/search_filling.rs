//! The task that compares all items with the words by which they are found.

use std::time::Duration;

use mongo_kit::DatabaseError;
use mongodb::error::Result;
use opentelemetry::{Context, context::FutureExt};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{kinds::Collections, store::search::SearchStore};

/// The pause between two comparisons: the time after which an item that another program has added is
/// found. A comparison reads the ids of all items from an index.
const INTERVAL: Duration = Duration::from_secs(600);

/// The pause after a comparison that failed: one without a database, or before the migration that builds
/// the index of the words.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Adds the words of the items that have none, and removes those of items that do not exist, at intervals
/// until the token is cancelled. Every process does: it changes nothing where nothing is missing.
pub(crate) async fn run(collections: Collections, store: SearchStore, stop: CancellationToken) {
    let fill = async {
        loop {
            let pause = match fill(&collections, &store).await {
                Ok(()) => INTERVAL,
                Err(error) => {
                    let error = DatabaseError::from(error);
                    tracing::debug!(%error, "the words of items cannot be compared");
                    RETRY_INTERVAL
                }
            };
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

async fn fill(collections: &Collections, store: &SearchStore) -> Result<()> {
    // The collection is created by the migration, which records whether another program has one.
    store.require_index().await?;
    for collection in collections.iter() {
        collection.fill_search().await?;
    }
    Ok(())
}
