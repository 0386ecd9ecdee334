//! The right to migrate: a lease on the server's clock with a fencing token.
//!
//! The lease document is `{_id: "lease", owner, fence, expires_at}`. Only the server's clock
//! (`$$NOW`) decides whether it has expired, so clocks of the clients do not matter. Every time it
//! changes hands `fence` grows; whoever writes under a lease proves it with that number
//! ("fencing token": M. Kleppmann, "How to do distributed locking", 2016).

use std::time::{Duration, Instant};

use mongodb::{
    Collection, Database,
    bson::{DateTime, Document, doc},
    options::WriteConcern,
};
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a lease holds without a heartbeat.
pub const DURATION: Duration = Duration::from_secs(30);

/// How often the holder renews it: three chances before it expires.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// After this time without a successful heartbeat the holder stops, well before others may start.
const GIVE_UP: Duration = Duration::from_secs(20);

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
#[derive(Debug, Clone, Deserialize)]
pub struct Holder {
    /// The process; none after a release.
    pub owner: Option<String>,
    /// The fencing token.
    pub fence: i64,
    /// When it expires unless it is renewed, on the server's clock.
    pub expires_at: DateTime,
}

/// The document in which a service's lease is kept.
fn collection(database: &Database, service: &str) -> Collection<Document> {
    database.collection(&format!("{service}_migration_lock"))
}

/// Who holds the lease of a service, or held it last.
pub async fn holder(database: &Database, service: &str) -> mongodb::error::Result<Option<Holder>> {
    let leases = collection(database, service).clone_with_type::<Holder>();
    leases.find_one(doc! { "_id": ID }).await
}

impl Lease {
    /// Takes the lease of a service; none if another process holds it.
    pub async fn acquire(
        database: &Database,
        service: &str,
        owner: &str,
    ) -> mongodb::error::Result<Option<Self>> {
        let leases = collection(database, service);
        let unheld = doc! { "_id": ID, "owner": null, "fence": 0_i64, "expires_at": LONG_AGO };
        match leases.insert_one(unheld).write_concern(WriteConcern::majority()).await {
            Err(error) if !mongo_kit::is_duplicate_key(&error) => return Err(error),
            Ok(_) | Err(_) => {}
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
            "fence": { "$add": ["$fence", 1_i64] },
            "expires_at": expires_at(),
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
        let beat = beat(leases.clone(), owner.to_owned(), holder.fence, sent, lost.clone());
        let heartbeat = tokio::spawn(beat);
        Ok(Some(Self { leases, owner: owner.to_owned(), fence: holder.fence, lost, heartbeat }))
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

fn expires_at() -> Document {
    doc! { "$add": ["$$NOW", i64::try_from(DURATION.as_millis()).unwrap_or(i64::MAX)] }
}

/// Renews the lease until it is lost. Time without success is measured from when a request was
/// sent, since that is when the server's clock may have started to count.
async fn beat(
    leases: Collection<Document>,
    owner: String,
    fence: i64,
    mut renewed: Instant,
    lost: CancellationToken,
) {
    let mut next = HEARTBEAT;
    loop {
        tokio::time::sleep(next).await;
        let sent = Instant::now();
        let mine = doc! { "_id": ID, "owner": &owner, "fence": fence };
        let renew = vec![doc! { "$set": { "expires_at": expires_at() } }];
        let leases = leases.clone();
        // On a task of its own: driver calls are not dropped half-way.
        let call = tokio::spawn(async move {
            leases.update_one(mine, renew).write_concern(WriteConcern::majority()).await
        });
        let left = GIVE_UP.saturating_sub(renewed.elapsed());
        next = match tokio::time::timeout(left, call).await {
            Ok(Ok(Ok(result))) if result.matched_count == 1 => {
                renewed = sent;
                HEARTBEAT
            }
            Ok(Ok(Ok(_))) => break,
            Ok(_) if renewed.elapsed() < GIVE_UP => Duration::from_secs(1),
            Ok(_) | Err(_) => break,
        };
    }
    tracing::error!(fence, "the migration lease is lost: stopping before anybody else starts");
    lost.cancel();
}
