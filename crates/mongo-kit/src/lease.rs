//! A lease on the server's clock with a fencing token: the right of one process to do something.
//!
//! The lease document is `{_id: "lease", owner, fence, expires_at}`, and may have further fields of its
//! users. Only the server's clock (`$$NOW`) decides whether it has expired, so the clocks of the
//! clients do not matter. `fence` grows each time the lease changes hands, and every write under a
//! lease is conditional on that number ("fencing token": M. Kleppmann, "How to do distributed
//! locking", 2016).

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use mongodb::{
    ClientSession, Collection,
    bson::{DateTime, Document, doc},
    error::{Error, Result},
    options::WriteConcern,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Number of heartbeats within the duration: three chances before the lease expires.
const HEARTBEATS: u32 = 3;

/// The share of the duration after which the holder stops if no heartbeat succeeded, well before
/// another process may start.
const GIVE_UP: f64 = 2.0 / 3.0;

/// The `_id` of the document.
const ID: &str = "lease";

/// The expiry of a lease without a holder.
const LONG_AGO: DateTime = DateTime::from_millis(0);

/// The document of a lease, which may not exist yet.
#[derive(Debug, Clone)]
pub struct LeaseDocument(Collection<Document>);

/// A lease that this process holds. Dropped without [`release`](Self::release), it expires.
#[derive(Debug)]
pub struct Lease {
    document: LeaseDocument,
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

/// Carried by the driver's error: the lease document was edited and is not a lease any more.
#[derive(Debug, Clone)]
pub struct EditedLease {
    /// The collection of the lease.
    pub lock: String,
    /// The fault of the document.
    pub reason: String,
}

impl LeaseDocument {
    /// Returns the lease of a collection.
    pub fn new(collection: Collection<Document>) -> Self {
        Self(collection)
    }

    /// Returns the whole document, with the further fields of its users.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn read(&self) -> Result<Option<Document>> {
        self.0.find_one(doc! { "_id": ID }).await
    }

    /// Returns the present or last holder.
    ///
    /// # Errors
    ///
    /// Errors of the database, and a document that was edited and is not a lease any more.
    pub async fn holder(&self) -> Result<Option<Holder>> {
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
        let Some(found) = self.0.aggregate(pipeline).await?.try_next().await? else {
            return Ok(None);
        };
        let holder = mongodb::bson::deserialize_from_document(found).map_err(|error| {
            let reason = error.message.unwrap_or_else(|| error.kind.to_string());
            Error::custom(EditedLease { lock: self.0.name().to_owned(), reason })
        });
        Ok(Some(holder?))
    }

    /// Creates the document without a holder and with further fields, unless it exists.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn create(&self, newest_fence: i64, fields: Document) -> Result<()> {
        let mut unheld = doc! {
            "_id": ID, "owner": null, "fence": newest_fence, "expires_at": LONG_AGO,
        };
        unheld.extend(fields);
        match self.0.insert_one(unheld).write_concern(WriteConcern::majority()).await {
            Err(error) if !crate::is_duplicate_key(&error) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Sets further fields of the document, whoever holds the lease.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn set(&self, fields: Document) -> Result<()> {
        let set = self.0.update_one(doc! { "_id": ID }, doc! { "$set": fields });
        set.write_concern(WriteConcern::majority()).await?;
        Ok(())
    }

    /// Acquires the lease, with a fence above `newest_fence`. Returns `None` if another process holds
    /// it, or if the document does not exist.
    ///
    /// # Errors
    ///
    /// Errors of the database, and a document that was edited and is not a lease any more.
    pub async fn acquire(
        &self,
        owner: &str,
        duration: Duration,
        newest_fence: i64,
    ) -> Result<Option<Lease>> {
        let free = doc! {
            "_id": ID,
            "$expr": { "$or": [
                { "$eq": ["$owner", owner] },
                { "$lt": ["$expires_at", "$$NOW"] },
            ] },
        };
        let take = vec![doc! { "$set": {
            "owner": owner,
            "fence": { "$add": [{ "$max": [{ "$toLong": "$fence" }, newest_fence] }, 1_i64] },
            "expires_at": expires_at(duration),
            "acquired_at": "$$NOW",
        } }];
        let sent = Instant::now();
        let majority = WriteConcern::majority();
        if self.0.update_one(free, take).write_concern(majority).await?.matched_count == 0 {
            return Ok(None);
        }
        let Some(holder) = self.holder().await? else { return Ok(None) };
        if holder.owner.as_deref() != Some(owner) {
            return Ok(None);
        }
        let lost = CancellationToken::new();
        let (owner, fence) = (owner.to_owned(), holder.fence);
        let mine = doc! { "_id": ID, "owner": &owner, "fence": fence };
        let beat = beat(self.0.clone(), mine, duration, sent, lost.clone());
        let heartbeat = tokio::spawn(beat);
        Ok(Some(Lease { document: self.clone(), owner, fence, lost, heartbeat }))
    }

    /// Takes the lease from its holder, so that another process can acquire it. Returns `false` if the
    /// lease has another fence. The fence grows at once, which the holder's next heartbeat notices.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn revoke(&self, fence: i64) -> Result<bool> {
        let revoked = doc! {
            "$set": { "owner": null, "expires_at": LONG_AGO }, "$inc": { "fence": 1_i64 },
        };
        let held = doc! { "_id": ID, "fence": fence };
        let result =
            self.0.update_one(held, revoked).write_concern(WriteConcern::majority()).await?;
        Ok(result.matched_count == 1)
    }
}

impl Lease {
    /// Returns the fencing token, which grows each time the lease changes hands.
    pub fn fence(&self) -> i64 {
        self.fence
    }

    /// Returns a token that is cancelled when the lease is lost or cannot be renewed in time.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Sets further fields of the document. Returns `false` if the lease is lost.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn set(&self, fields: Document) -> Result<bool> {
        let set = self.document.0.update_one(self.mine(), doc! { "$set": fields });
        Ok(set.write_concern(WriteConcern::majority()).await?.matched_count == 1)
    }

    /// Sets further fields of the document in the transaction of the session, which then commits only if
    /// this process still holds the lease. Returns `false` if the lease is lost. At least one of the
    /// fields must change: the server writes nothing otherwise, and notices no other holder.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn set_in(&self, session: &mut ClientSession, fields: Document) -> Result<bool> {
        let set = self.document.0.update_one(self.mine(), doc! { "$set": fields });
        Ok(set.session(session).await?.matched_count == 1)
    }

    /// Releases the lease, so that other processes need not wait for it to expire.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn release(self) -> Result<()> {
        // No longer renewed, even if the call fails.
        self.heartbeat.abort();
        let unheld = doc! { "$set": { "owner": null, "expires_at": LONG_AGO } };
        let released = self.document.0.update_one(self.mine(), unheld);
        released.write_concern(WriteConcern::majority()).await?;
        Ok(())
    }

    fn mine(&self) -> Document {
        doc! { "_id": ID, "owner": &self.owner, "fence": self.fence }
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
    let (lease, fence) = (leases.name(), mine.get_i64("fence").ok());
    tracing::error!(lease, fence, "the lease is lost: stopping before another process starts");
    lost.cancel();
}
