//! The right to migrate: a lease on the server's clock with a fencing token.
//!
//! The lease document is `{_id: "lease", owner, fence, expires_at}`. Only the server's clock
//! (`$$NOW`) decides whether it has expired, so clocks of the clients do not matter. Every time it
//! changes hands `fence` grows; whoever writes under a lease proves it with that number
//! ("fencing token": M. Kleppmann, "How to do distributed locking", 2016).

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use mongodb::{
    Collection, Database,
    bson::{DateTime, Document, doc},
    error::Error,
    options::WriteConcern,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a lease holds without a heartbeat, unless told otherwise.
pub const DURATION: Duration = Duration::from_secs(30);

/// How often the holder renews it, as a part of its duration: three chances before it expires.
const HEARTBEATS: u32 = 3;

/// After this part of the duration without a successful heartbeat the holder stops, well before
/// others may start.
const GIVE_UP: f64 = 2.0 / 3.0;

const ID: &str = "lease";

/// When a lease that nobody holds has expired.
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

/// Who holds the lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// The process; none after a release.
    pub owner: Option<String>,
    /// The fencing token.
    pub fence: i64,
    /// When it expires unless it is renewed, on the server's clock.
    pub expires_at: DateTime,
    /// How long that is from now on, in milliseconds, by the server's clock; negative when it has
    /// expired.
    pub remaining_ms: i64,
}

impl Holder {
    /// Whether somebody holds it now.
    pub fn is_live(&self) -> bool {
        self.owner.is_some() && self.remaining_ms > 0
    }
}

/// The document in which a service's lease is kept.
fn collection(database: &Database, service: &str) -> Collection<Document> {
    database.collection(&format!("{service}_migration_lock"))
}

/// Who holds the lease of a service, or held it last.
///
/// # Errors
///
/// What the database says, and a lease that somebody edited so that it is none any more.
pub async fn holder(database: &Database, service: &str) -> mongodb::error::Result<Option<Holder>> {
    // A shell writes whole numbers as fractions.
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
        Error::custom(Edited { lock: leases.name().to_owned(), reason })
    });
    Ok(Some(holder?))
}

/// Carried by the driver's error: somebody edited the lease so that it is none any more.
#[derive(Debug, Clone)]
pub(crate) struct Edited {
    /// The collection that has it.
    pub(crate) lock: String,
    pub(crate) reason: String,
}

/// The newest fence in the ledger: where somebody dropped the lease, or edited one of both, fences
/// have to go on from there, or else everybody would be fenced off.
async fn newest_fence(database: &Database, service: &str) -> mongodb::error::Result<i64> {
    let ledger = database.collection::<Document>(&format!("{service}_migrations"));
    // A shell writes whole numbers as fractions.
    let fence = doc! { "$convert": { "input": "$fence", "to": "long", "onError": 0_i64 } };
    let pipeline = [
        doc! { "$match": { "fence": { "$type": "number" } } },
        doc! { "$group": { "_id": null, "fence": { "$max": fence } } },
    ];
    let newest = ledger.aggregate(pipeline).await?.try_next().await?;
    Ok(newest.and_then(|newest| newest.get_i64("fence").ok()).unwrap_or_default())
}

/// Takes the lease from whoever has it under this fence, so that the next one who asks gets it;
/// false where it is under another fence by now. The fence grows at once, which the holder's next
/// heartbeat notices.
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
    /// Takes the lease of a service; none if another process holds it.
    pub async fn acquire(
        database: &Database,
        service: &str,
        owner: &str,
        duration: Duration,
    ) -> mongodb::error::Result<Option<Self>> {
        let leases = collection(database, service);
        let newest = newest_fence(database, service).await?;
        if holder(database, service).await?.is_none() {
            let unheld = doc! { "_id": ID, "owner": null, "fence": newest, "expires_at": LONG_AGO };
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

    /// The fencing token: grows each time the lease changes hands.
    pub fn fence(&self) -> i64 {
        self.fence
    }

    /// Cancelled when the lease is lost or cannot be renewed in time.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Gives the lease back, so that nobody has to wait for it to expire.
    pub async fn release(self) -> mongodb::error::Result<()> {
        // Not renewed from here on, whatever becomes of the call.
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

/// Renews the lease until it is lost. Time without success is measured from when a request was
/// sent, since that is when the server's clock may have started to count.
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
        // On a task of its own: driver calls are not dropped half-way.
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
    tracing::error!(fence, "the migration lease is lost: stopping before anybody else starts");
    lost.cancel();
}
