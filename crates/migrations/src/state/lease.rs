//! A lease on the server's clock with a fencing token: the right to migrate.
//!
//! The lease document is `{_id: "lease", owner, fence, expires_at}`. Only the server's clock
//! (`$$NOW`) decides whether it has expired, so the clocks of the clients do not matter. `fence` grows
//! each time the lease changes hands, and every write under a lease is conditional on that number
//! ("fencing token": M. Kleppmann, "How to do distributed locking", 2016).

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use mongodb::{
    Collection, Database,
    bson::{Bson, DateTime, Document, doc},
    error::Error,
    options::WriteConcern,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The default duration of a lease without a heartbeat.
pub const DURATION: Duration = Duration::from_secs(30);

/// Number of heartbeats within the duration: three chances before the lease expires.
const HEARTBEATS: u32 = 3;

/// The share of the duration after which the holder stops if no heartbeat succeeded, well before
/// another process may start.
const GIVE_UP: f64 = 2.0 / 3.0;

const ID: &str = "lease";

/// The expiry of a lease without a holder.
const LONG_AGO: DateTime = DateTime::from_millis(0);

/// A lease that this process holds. Dropped without [`release`](Self::release), it expires.
#[derive(Debug)]
pub struct Lease {
    leases: Collection<Document>,
    owner: String,
    fence: i64,
    lost: CancellationToken,
    heartbeat: JoinHandle<()>,
}

/// The holder of a lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// The process, or `None` after a release.
    pub owner: Option<String>,
    /// The fencing token.
    pub fence: i64,
    /// The time of expiry unless it is renewed, on the server's clock.
    pub expires_at: DateTime,
    /// The remaining time in milliseconds, by the server's clock. Negative after expiry.
    pub remaining_ms: i64,
}

impl Holder {
    /// Returns `true` if a process holds the lease now.
    pub fn is_live(&self) -> bool {
        self.owner.is_some() && self.remaining_ms > 0
    }
}

/// Returns the collection of a service's lease.
fn collection(database: &Database, service: &str) -> Collection<Document> {
    database.collection(&super::lock_name(service))
}

/// Returns the present or last holder of a service's lease.
///
/// # Errors
///
/// Errors of the database, and a lease document that was edited and is not a lease any more.
pub async fn holder(database: &Database, service: &str) -> mongodb::error::Result<Option<Holder>> {
    // A shell writes integers as doubles.
    let fence = doc! { "$convert": { "input": "$fence", "to": "long", "onError": "$fence" } };
    let remaining = doc! { "$cond": [
        { "$eq": [{ "$type": "$expires_at" }, "date"] },
        { "$toLong": { "$subtract": ["$expires_at", "$$NOW"] } },
        0_i64,
    ] };
    let pipeline = [
        doc! { "$match": { "_id": ID } },
        doc! { "$set": { "fence": fence, "remaining_ms": remaining } },
    ];
    let leases = collection(database, service);
    let Some(found) = leases.aggregate(pipeline).await?.try_next().await? else { return Ok(None) };
    let holder = mongodb::bson::deserialize_from_document(found).map_err(|error| {
        let reason = error.message.unwrap_or_else(|| error.kind.to_string());
        Error::custom(EditedLease { lock: leases.name().to_owned(), reason })
    });
    Ok(Some(holder?))
}

/// Carried by the driver's error: the lease document was edited and is not a lease any more.
#[derive(Debug, Clone)]
pub(crate) struct EditedLease {
    /// The collection of the lease.
    pub(crate) lock: String,
    pub(crate) reason: String,
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
    let Some(lease) = collection(database, service).find_one(doc! { "_id": ID }).await? else {
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
/// lease has another fence. The fence grows at once, which the holder's next heartbeat notices.
pub(crate) async fn revoke(
    database: &Database,
    service: &str,
    fence: i64,
) -> mongodb::error::Result<bool> {
    let revoked = doc! {
        "$set": { "owner": null, "expires_at": LONG_AGO }, "$inc": { "fence": 1_i64 },
    };
    let held = doc! { "_id": ID, "fence": fence };
    let leases = collection(database, service);
    let result = leases.update_one(held, revoked).write_concern(WriteConcern::majority()).await?;
    Ok(result.matched_count == 1)
}

impl Lease {
    /// Acquires the lease of a service. Returns `None` if another process holds it.
    pub async fn acquire(
        database: &Database,
        service: &str,
        owner: &str,
        duration: Duration,
    ) -> mongodb::error::Result<Option<Self>> {
        let leases = collection(database, service);
        let newest = newest_fence(database, service).await?;
        if holder(database, service).await?.is_none() {
            // The first process records the collections from before the first migration, so that a
            // removal can tell which ones it created.
            let before = database.list_collection_names().await.ok();
            let unheld = doc! {
                "_id": ID, "owner": null, "fence": newest, "expires_at": LONG_AGO,
                "collections_before": before,
            };
            match leases.insert_one(unheld).write_concern(WriteConcern::majority()).await {
                Err(error) if !mongo_kit::is_duplicate_key(&error) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        let free = doc! {
            "_id": ID,
            "$expr": { "$or": [
                { "$eq": ["$owner", owner] },
                { "$lt": ["$expires_at", "$$NOW"] },
            ] },
        };
        let take = vec![doc! { "$set": {
            "owner": owner,
            "fence": { "$add": [{ "$max": [{ "$toLong": "$fence" }, newest] }, 1_i64] },
            "expires_at": expires_at(duration),
            "acquired_at": "$$NOW",
        } }];
        let sent = Instant::now();
        let majority = WriteConcern::majority();
        if leases.update_one(free, take).write_concern(majority).await?.matched_count == 0 {
            return Ok(None);
        }
        let Some(holder) = holder(database, service).await? else { return Ok(None) };
        if holder.owner.as_deref() != Some(owner) {
            return Ok(None);
        }
        let lost = CancellationToken::new();
        let (owner, fence) = (owner.to_owned(), holder.fence);
        let mine = doc! { "_id": ID, "owner": &owner, "fence": fence };
        let beat = beat(leases.clone(), mine, duration, sent, lost.clone());
        let heartbeat = tokio::spawn(beat);
        Ok(Some(Self { leases, owner, fence, lost, heartbeat }))
    }

    /// Returns the fencing token, which grows each time the lease changes hands.
    pub fn fence(&self) -> i64 {
        self.fence
    }

    /// Returns a token that is cancelled when the lease is lost or cannot be renewed in time.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Releases the lease, so that other processes need not wait for it to expire.
    pub async fn release(self) -> mongodb::error::Result<()> {
        // No longer renewed, even if the call fails.
        self.heartbeat.abort();
        let mine = doc! { "_id": ID, "owner": &self.owner, "fence": self.fence };
        let unheld = doc! { "$set": { "owner": null, "expires_at": LONG_AGO } };
        self.leases.update_one(mine, unheld).write_concern(WriteConcern::majority()).await?;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

fn expires_at(duration: Duration) -> Document {
    doc! { "$add": ["$$NOW", i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)] }
}

/// Renews the lease until it is lost. The time without success is measured from the sending of a
/// request, because the server may have extended the lease from that moment.
async fn beat(
    leases: Collection<Document>,
    mine: Document,
    duration: Duration,
    mut renewed: Instant,
    lost: CancellationToken,
) {
    let (heartbeat, give_up) = (duration / HEARTBEATS, duration.mul_f64(GIVE_UP));
    let mut next = heartbeat;
    loop {
        tokio::time::sleep(next).await;
        let sent = Instant::now();
        let (leases, mine) = (leases.clone(), mine.clone());
        let renew = vec![doc! { "$set": { "expires_at": expires_at(duration) } }];
        // On a task of its own, because calls of the driver must not be dropped half-way.
        let call = tokio::spawn(async move {
            leases.update_one(mine, renew).write_concern(WriteConcern::majority()).await
        });
        let left = give_up.saturating_sub(renewed.elapsed());
        next = match tokio::time::timeout(left, call).await {
            Ok(Ok(Ok(result))) if result.matched_count == 1 => {
                renewed = sent;
                heartbeat
            }
            Ok(Ok(Ok(_))) => break,
            Ok(_) if renewed.elapsed() < give_up => heartbeat / 10,
            Ok(_) | Err(_) => break,
        };
    }
    let fence = mine.get_i64("fence").ok();
    tracing::error!(fence, "the migration lease is lost: stopping before another process starts");
    lost.cancel();
}
