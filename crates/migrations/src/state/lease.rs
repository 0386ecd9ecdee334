//! The lease of a service: the right to migrate.
//!
//! Its document also records the collections from before the first migration.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongo_kit::lease::LeaseDocument;
pub use mongo_kit::lease::{Holder, Lease};
use mongodb::{
    Database,
    bson::{Bson, Document, doc},
};

/// The default duration of a lease without a heartbeat.
pub const DURATION: Duration = Duration::from_secs(30);

/// Returns the document of a service's lease.
fn document(database: &Database, service: &str) -> LeaseDocument {
    LeaseDocument::new(database.collection(&super::lock_name(service)))
}

/// Returns the present or last holder of a service's lease.
///
/// # Errors
///
/// Errors of the database, and a lease document that was edited and is not a lease any more.
pub async fn holder(database: &Database, service: &str) -> mongodb::error::Result<Option<Holder>> {
    document(database, service).holder().await
}

/// The collections that a database had before the first migration of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectionsBefore {
    /// The service has no lease: none of its migrations has run.
    NeverRan,
    /// The first migration was run by a release that did not record them.
    Unrecorded,
    /// Their names.
    Names(Vec<String>),
}

/// Returns the collections that the database had before the first migration of a service.
///
/// # Errors
///
/// Errors of the database.
pub async fn collections_before(
    database: &Database,
    service: &str,
) -> mongodb::error::Result<CollectionsBefore> {
    let Some(lease) = document(database, service).read().await? else {
        return Ok(CollectionsBefore::NeverRan);
    };
    let Ok(names) = lease.get_array("collections_before") else {
        return Ok(CollectionsBefore::Unrecorded);
    };
    let names = names.iter().filter_map(Bson::as_str).map(str::to_owned);
    Ok(CollectionsBefore::Names(names.collect()))
}

/// Returns the newest fence in the ledger. Fences must continue from it if the lease document was
/// dropped or edited; otherwise every process would be fenced off.
async fn newest_fence(database: &Database, service: &str) -> mongodb::error::Result<i64> {
    let ledger = database.collection::<Document>(&super::ledger_name(service));
    // A shell writes integers as doubles.
    let fence = doc! { "$convert": { "input": "$fence", "to": "long", "onError": 0_i64 } };
    let pipeline = [
        doc! { "$match": { "fence": { "$type": "number" } } },
        doc! { "$group": { "_id": null, "fence": { "$max": fence } } },
    ];
    let newest = ledger.aggregate(pipeline).await?.try_next().await?;
    Ok(newest.and_then(|newest| newest.get_i64("fence").ok()).unwrap_or_default())
}

/// Takes the lease from its holder, so that another process can acquire it. Returns `false` if the
/// lease has another fence.
pub(crate) async fn revoke(
    database: &Database,
    service: &str,
    fence: i64,
) -> mongodb::error::Result<bool> {
    document(database, service).revoke(fence).await
}

/// Acquires the lease of a service. Returns `None` if another process holds it.
///
/// # Errors
///
/// Errors of the database, and a lease document that was edited and is not a lease any more.
pub async fn acquire(
    database: &Database,
    service: &str,
    owner: &str,
    duration: Duration,
) -> mongodb::error::Result<Option<Lease>> {
    let lease = document(database, service);
    let newest = newest_fence(database, service).await?;
    if lease.holder().await?.is_none() {
        // The first process records the collections from before the first migration, so that a
        // removal can tell which ones it created.
        let before = database.list_collection_names().await.ok();
        lease.create(newest, doc! { "collections_before": before }).await?;
    }
    lease.acquire(owner, duration, newest).await
}
