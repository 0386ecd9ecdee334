//! The task that empties the trash: it removes the items that were deleted longer ago than a setting says.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use mongo_kit::{
    Connection, DatabaseError,
    lease::{Lease, LeaseDocument},
};
use mongodb::{
    bson::{doc, oid::ObjectId},
    error::Result,
};
use opentelemetry::{Context, KeyValue, context::FutureExt, global, metrics::Counter};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{kinds::Collections, store::collections::TRASH_LEASE};

/// The pause between two looks at the trash: the setting has days.
const INTERVAL: Duration = Duration::from_secs(600);

/// The pause after a look that failed: one without a database, or before the migration that builds the
/// index of the trash.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// The duration of the lease: after it, another process continues in place of one that was killed.
const LEASE: Duration = Duration::from_secs(10);

/// The pause after a batch, as a multiple of the time that it took: requests have at least two thirds of
/// the database.
const PAUSE_FACTOR: u32 = 2;

/// The number of items that were removed.
static REMOVED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    global::meter("content-service")
        .u64_counter("turbulence.trash.removed")
        .with_unit("{item}")
        .with_description("Items that were removed from the trash because of their age.")
        .build()
});

/// Removes the items that were deleted longer ago than that, at intervals until the token is cancelled.
/// One process does at a time. Without a time, nothing is ever removed.
pub(crate) async fn run(
    connection: Connection,
    collections: Collections,
    after: Option<Duration>,
    stop: CancellationToken,
) {
    let Some(after) = after else { return };
    let lease = LeaseDocument::new(connection.database().collection(TRASH_LEASE));
    let owner = ObjectId::new().to_hex();
    let look = async {
        // Not dropped half-way: a batch ends before the process does.
        while !stop.is_cancelled() {
            let pause = match empty(&lease, &owner, &collections, after, &stop).await {
                Ok(()) => INTERVAL,
                Err(error) => {
                    let error = DatabaseError::from(error);
                    tracing::debug!(%error, "the trash cannot be emptied");
                    RETRY_INTERVAL
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    };
    // Looking for work would hide the traces of requests.
    look.with_context(Context::new().with_telemetry_suppressed()).await;
}

async fn empty(
    document: &LeaseDocument,
    owner: &str,
    collections: &Collections,
    after: Duration,
    stop: &CancellationToken,
) -> Result<()> {
    // The collection of the lease is created after the migrations, which record whether another program
    // has one.
    let mut has_old = false;
    for collection in collections.iter() {
        has_old |= collection.has_old_trash(after).await?;
    }
    if !has_old {
        return Ok(());
    }
    document.create(0, doc! {}).await?;
    let Some(lease) = document.acquire(owner, LEASE, 0).await? else { return Ok(()) };
    let emptied = empty_all(&lease, collections, after, stop).await;
    emptied.and(lease.release().await)
}

async fn empty_all(
    lease: &Lease,
    collections: &Collections,
    after: Duration,
    stop: &CancellationToken,
) -> Result<()> {
    for collection in collections.iter() {
        let name = collection.kind().content_type().collection();
        let mut removed = 0;
        while !stop.is_cancelled() && !lease.lost().is_cancelled() {
            let began = Instant::now();
            let batch = collection.empty_trash(after, lease).await?;
            if batch == 0 {
                break;
            }
            removed += batch;
            REMOVED.add(batch, &[KeyValue::new("db.collection.name", name)]);
            sleep(began.elapsed() * PAUSE_FACTOR).await;
        }
        if removed > 0 {
            tracing::info!(collection = name, removed, "old items were removed from the trash");
        }
    }
    Ok(())
}
