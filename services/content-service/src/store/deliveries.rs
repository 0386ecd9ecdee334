//! The queue of messages to the targets of webhooks, and what became of them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use mongo_kit::document::{read, readable};
use mongodb::{
    ClientSession, Collection, Database, IndexModel,
    bson::{self, DateTime as BsonDate, Document, RawDocumentBuf, doc, oid::ObjectId},
    error::{Error, Result},
    options::IndexOptions,
};
use serde::{Deserialize, Serialize};

use super::{
    collections::DELIVERIES,
    dates::{from_bson, to_bson},
    webhooks::durable,
};
use crate::domain::webhook::{Attempt, Delivery, DeliveryState};

/// The largest number of messages of a webhook that wait. Beyond it, changes are not queued one by one:
/// the target is told later that everything of a kind may have changed.
pub(crate) const MAX_PENDING: usize = 10_000;

/// The number of finished deliveries of a webhook that are kept at least, and the time for which they
/// are kept at most: enough to see why a target missed something.
const KEPT_FINISHED: u64 = 1_000;
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The number of attempts of a delivery that are kept.
const KEPT_ATTEMPTS: i32 = 5;

/// Reads and writes deliveries.
#[derive(Debug, Clone)]
pub(crate) struct DeliveryStore(Collection<RawDocumentBuf>);

/// A delivery as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredDelivery {
    #[serde(rename = "_id")]
    pub(crate) id: ObjectId,
    pub(crate) webhook_id: ObjectId,
    pub(crate) message_id: String,
    /// The place in the queue of the item.
    pub(crate) sequence: i64,
    /// The item that the message is about. Messages about the same item are delivered in order.
    pub(crate) item: String,
    #[serde(rename = "type")]
    pub(crate) message_type: String,
    /// The body, exactly as it is sent.
    pub(crate) body: String,
    pub(crate) state: DeliveryState,
    /// `true` if a person has requested it: it is sent though the webhook is failing or disabled.
    pub(crate) requested: bool,
    /// The number of times a person has requested it.
    #[serde(default)]
    pub(crate) requests: i64,
    /// `true` if it is not repeated.
    pub(crate) once: bool,
    pub(crate) attempt_count: i64,
    pub(crate) attempts: Vec<StoredAttempt>,
    /// The number of failed attempts, and the time of the first of them, since the webhook was last
    /// changed or the delivery requested.
    pub(crate) tries: i64,
    pub(crate) failing_since: Option<BsonDate>,
    pub(crate) next_attempt_at: Option<BsonDate>,
    /// The time from which on the document can be deleted.
    pub(crate) finished_at: Option<BsonDate>,
    #[serde(rename = "createdDate")]
    pub(crate) created_date: BsonDate,
}

/// An attempt as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredAttempt {
    pub(crate) at: BsonDate,
    pub(crate) duration_ms: i64,
    pub(crate) status: Option<i32>,
    pub(crate) error: Option<String>,
    pub(crate) response: Option<String>,
}

/// A message that is queued.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) item: String,
    pub(crate) message_type: String,
    pub(crate) body: String,
}

/// A delivery that waits, without its message.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Waiting {
    #[serde(rename = "_id")]
    pub(crate) id: ObjectId,
    pub(crate) sequence: i64,
    pub(crate) item: String,
    pub(crate) requested: bool,
    pub(crate) next_attempt_at: Option<BsonDate>,
}

/// The state of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum AfterAttempt {
    Delivered,
    Failed,
    Repeated { at: DateTime<Utc> },
}

impl StoredDelivery {
    /// Returns a new delivery of a message, which is due at once.
    pub(crate) fn new(
        webhook_id: ObjectId,
        message: Message,
        sequence: i64,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id: ObjectId::new(),
            webhook_id,
            message_id: message.id,
            sequence,
            item: message.item,
            message_type: message.message_type,
            body: message.body,
            state: DeliveryState::Pending,
            requested: false,
            requests: 0,
            once: false,
            attempt_count: 0,
            attempts: Vec::new(),
            tries: 0,
            failing_since: None,
            next_attempt_at: Some(to_bson(now)),
            finished_at: None,
            created_date: to_bson(now),
        }
    }

    /// Returns the delivery in the queue.
    pub(crate) fn waiting(&self) -> Waiting {
        Waiting {
            id: self.id,
            sequence: self.sequence,
            item: self.item.clone(),
            requested: self.requested,
            next_attempt_at: self.next_attempt_at,
        }
    }

    /// Returns the delivery as it is answered.
    pub(crate) fn into_delivery(self) -> Delivery {
        let attempts = self.attempts.into_iter().map(|attempt| Attempt {
            at: Some(from_bson(attempt.at)),
            duration_ms: attempt.duration_ms.try_into().unwrap_or_default(),
            status: attempt.status.and_then(|status| status.try_into().ok()),
            error: attempt.error,
            response: attempt.response,
        });
        Delivery {
            id: models::ObjectId::from_bytes(self.id.bytes()),
            message_id: self.message_id,
            message_type: self.message_type,
            state: self.state,
            attempt_count: self.attempt_count.try_into().unwrap_or_default(),
            attempts: attempts.collect(),
            next_attempt_at: self.next_attempt_at.map(from_bson),
            body: serde_json::from_str(&self.body).unwrap_or_default(),
            created_date: Some(from_bson(self.created_date)),
        }
    }
}

impl DeliveryStore {
    pub(crate) fn new(database: &Database) -> Self {
        Self(durable(database, DELIVERIES))
    }

    /// Creates the indexes. Called before the first webhook is stored, so that a site without webhooks
    /// has no such collection.
    pub(crate) async fn create_indexes(&self) -> Result<()> {
        let index = |keys: Document, name: &str, options: IndexOptions| {
            let mut options = options;
            options.name = Some(name.to_owned());
            IndexModel::builder().keys(keys).options(options).build()
        };
        let expiring = IndexOptions::builder().expire_after(KEPT_FOR).build();
        let indexes = [
            index(
                doc! { "webhook_id": 1, "state": 1, "sequence": 1 },
                "webhook_id_1_state_1_sequence_1",
                IndexOptions::default(),
            ),
            index(
                doc! { "webhook_id": 1, "_id": -1 },
                "webhook_id_1__id_-1",
                IndexOptions::default(),
            ),
            index(doc! { "sequence": -1 }, "sequence_-1", IndexOptions::default()),
            index(doc! { "finished_at": 1 }, "finished_at_1", expiring),
        ];
        self.0.create_indexes(indexes).await?;
        Ok(())
    }

    /// Adds a delivery.
    pub(crate) async fn insert(&self, delivery: &StoredDelivery) -> Result<()> {
        self.0.insert_one(bson::serialize_to_raw_document_buf(delivery)?).await?;
        Ok(())
    }

    /// Adds deliveries in the transaction of the session.
    pub(crate) async fn insert_in(
        &self,
        session: &mut ClientSession,
        deliveries: &[StoredDelivery],
    ) -> Result<()> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let documents: std::result::Result<Vec<_>, _> =
            deliveries.iter().map(bson::serialize_to_raw_document_buf).collect();
        self.0.insert_many(documents?).session(session).await?;
        Ok(())
    }

    /// Returns the deliveries of a webhook that wait, in the order of the queue.
    pub(crate) async fn waiting(&self, webhook: ObjectId) -> Result<Vec<Waiting>> {
        let pending = doc! { "webhook_id": webhook, "state": "pending" };
        let fields = doc! { "sequence": 1, "item": 1, "requested": 1, "next_attempt_at": 1 };
        let found = self.0.find(pending).projection(fields).sort(doc! { "sequence": 1 }).await?;
        let found: Vec<_> = found.try_collect().await?;
        Ok(found.iter().filter_map(|one| readable(read(DELIVERIES, one))).collect())
    }

    /// Returns the number of deliveries of a webhook that wait.
    pub(crate) async fn count_waiting(&self, webhook: ObjectId) -> Result<u64> {
        self.0.count_documents(doc! { "webhook_id": webhook, "state": "pending" }).await
    }

    /// Returns the newest place in the queue.
    pub(crate) async fn newest_sequence(&self) -> Result<i64> {
        let newest = self.0.find_one(doc! {}).sort(doc! { "sequence": -1 }).await?;
        let sequence = newest.and_then(|newest| newest.get_i64("sequence").ok());
        Ok(sequence.unwrap_or_default())
    }

    /// Returns a delivery of a webhook.
    pub(crate) async fn get(
        &self,
        webhook: ObjectId,
        id: ObjectId,
    ) -> Result<Option<StoredDelivery>> {
        let found = self.0.find_one(doc! { "_id": id, "webhook_id": webhook }).await?;
        Ok(found.and_then(|found| readable(read(DELIVERIES, &found))))
    }

    /// Returns a page of the deliveries of a webhook, newest first, and `true` if there are more.
    pub(crate) async fn page(
        &self,
        webhook: ObjectId,
        state: Option<DeliveryState>,
        before: Option<ObjectId>,
        limit: u32,
    ) -> Result<(Vec<StoredDelivery>, bool)> {
        let mut filter = doc! { "webhook_id": webhook };
        if let Some(state) = state {
            filter.insert("state", bson::serialize_to_bson(&state)?);
        }
        if let Some(before) = before {
            filter.insert("_id", doc! { "$lt": before });
        }
        let found = self.0.find(filter).sort(doc! { "_id": -1 }).limit(i64::from(limit) + 1);
        let found: Vec<_> = found.await?.try_collect().await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = found.iter().take(limit).filter_map(|one| readable(read(DELIVERIES, one)));
        Ok((page.collect(), found.len() > limit))
    }

    /// Requests that a delivery is sent now, whatever its state. Returns it, or `None` if there is none
    /// with this id.
    pub(crate) async fn request(
        &self,
        webhook: ObjectId,
        id: ObjectId,
        now: DateTime<Utc>,
    ) -> Result<Option<StoredDelivery>> {
        let set = doc! {
            "state": "pending", "requested": true, "tries": 0_i64, "failing_since": null,
            "next_attempt_at": to_bson(now), "finished_at": null,
        };
        let one = doc! { "_id": id, "webhook_id": webhook };
        let update = doc! { "$set": set, "$inc": { "requests": 1_i64 } };
        let updated = self.0.update_one(one, update).await?;
        if updated.matched_count == 0 { Ok(None) } else { self.get(webhook, id).await }
    }

    /// Lets all deliveries of a webhook that wait be sent now, and be repeated as new ones are.
    pub(crate) async fn restart(&self, webhook: ObjectId, now: DateTime<Utc>) -> Result<()> {
        let pending = doc! { "webhook_id": webhook, "state": "pending" };
        let set = doc! {
            "tries": 0_i64, "failing_since": null, "next_attempt_at": to_bson(now),
        };
        self.0.update_many(pending, doc! { "$set": set }).await?;
        Ok(())
    }

    /// Records an attempt, unless another process has recorded one since the delivery was read. If a
    /// person has requested the delivery since then, it is sent again: returns `false`.
    pub(crate) async fn record(
        &self,
        delivery: &StoredDelivery,
        attempt: &StoredAttempt,
        after: AfterAttempt,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let now = to_bson(now);
        let mut set = doc! { "requested": false, "next_attempt_at": null };
        match after {
            AfterAttempt::Delivered => {
                set.extend(doc! { "state": "delivered", "finished_at": now });
            }
            AfterAttempt::Failed => set.extend(doc! { "state": "failed", "finished_at": now }),
            AfterAttempt::Repeated { at } => set.extend(doc! {
                "next_attempt_at": to_bson(at),
                "tries": delivery.tries + 1,
                "failing_since": delivery.failing_since.unwrap_or(attempt.at),
            }),
        }
        let attempt = bson::serialize_to_bson(attempt)?;
        let in_history = doc! {
            "$inc": { "attempt_count": 1_i64 },
            "$push": { "attempts": { "$each": [attempt], "$slice": -KEPT_ATTEMPTS } },
        };
        let same = doc! { "_id": delivery.id, "attempt_count": delivery.attempt_count };
        let (mut unrequested, mut concluded) = (same.clone(), in_history.clone());
        unrequested.insert("requests", doc! { "$not": { "$gt": delivery.requests } });
        concluded.insert("$set", set);
        if self.0.update_one(unrequested, concluded).await?.matched_count == 1 {
            return Ok(true);
        }
        Ok(self.0.update_one(same, in_history).await?.matched_count == 0)
    }

    /// Deletes the oldest finished deliveries of a webhook if they are too many.
    pub(crate) async fn prune(&self, webhook: ObjectId) -> Result<()> {
        let finished = doc! { "webhook_id": webhook, "state": { "$ne": "pending" } };
        let oldest_kept = self.0.find_one(finished.clone()).sort(doc! { "_id": -1 });
        let Some(oldest_kept) = oldest_kept.skip(KEPT_FINISHED).await? else { return Ok(()) };
        let mut older = finished;
        older.insert(
            "_id",
            doc! { "$lte": oldest_kept.get_object_id("_id").map_err(Error::custom)? },
        );
        self.0.delete_many(older).await?;
        Ok(())
    }

    /// Deletes the deliveries of a webhook.
    pub(crate) async fn delete_of(&self, webhook: ObjectId) -> Result<()> {
        self.0.delete_many(doc! { "webhook_id": webhook }).await?;
        Ok(())
    }

    /// Deletes the deliveries of all webhooks but these.
    pub(crate) async fn delete_others(&self, webhooks: &[ObjectId]) -> Result<()> {
        self.0.delete_many(doc! { "webhook_id": { "$nin": webhooks } }).await?;
        Ok(())
    }
}
