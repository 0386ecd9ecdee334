//! Webhooks.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use models::{PublicEvent, PublicKind};
use mongo_kit::document::{read, readable};
use mongodb::{
    Collection, Database,
    bson::{self, DateTime as BsonDate, Document, RawDocumentBuf, doc, oid::ObjectId},
    error::Result,
    options::{CollectionOptions, WriteConcern},
};
use serde::{Deserialize, Serialize};

use super::{
    collections::WEBHOOKS,
    dates::{from_bson, to_bson},
};
use crate::domain::{
    webhook::{Choice, Webhook, WebhookStatus},
    webhook_secret::WebhookSecret,
};

/// The largest number of webhooks. Each can have some requests in flight and a queue in memory.
pub(crate) const MAX_WEBHOOKS: usize = 20;

/// The time for which messages are signed with a secret after it was replaced: a day to change it at
/// the receiver.
pub(crate) const FORMER_SECRET_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads and writes webhooks.
#[derive(Debug, Clone)]
pub(crate) struct WebhookStore(Collection<RawDocumentBuf>);

/// A webhook as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredWebhook {
    #[serde(rename = "_id")]
    pub(crate) id: ObjectId,
    pub(crate) url: String,
    pub(crate) description: Option<String>,
    pub(crate) kinds: Option<Choice<PublicKind>>,
    pub(crate) events: Option<Choice<PublicEvent>>,
    pub(crate) secret: WebhookSecret,
    /// The secret before that, which signs as well until a date.
    pub(crate) former_secret: Option<WebhookSecret>,
    pub(crate) former_secret_until: Option<BsonDate>,
    pub(crate) is_enabled: bool,
    /// The reason for which a webhook that is enabled gets no messages.
    pub(crate) failure: Option<String>,
    /// The reason for which it was disabled, unless an admin did so.
    pub(crate) disabled_reason: Option<String>,
    /// The kinds of things whose changes were not queued since the webhook was failing.
    pub(crate) missed: Vec<String>,
    /// Grows with each request that concerns the webhook, so that the process that delivers notices.
    pub(crate) version: i64,
    #[serde(rename = "createdDate")]
    pub(crate) created_date: BsonDate,
    #[serde(rename = "updatedDate")]
    pub(crate) updated_date: BsonDate,
}

impl StoredWebhook {
    /// Returns `true` if messages are sent without a request for them.
    pub(crate) fn is_active(&self) -> bool {
        self.is_enabled && self.failure.is_none()
    }

    /// Returns `true` if the webhook is told of a change. One of unknown kind may be any change, as one
    /// with the event `changed` may.
    pub(crate) fn is_told_of(&self, kind: Option<PublicKind>, event: PublicEvent) -> bool {
        let is_chosen = |kind| self.kinds.as_ref().is_none_or(|all| all.contains(&kind));
        self.is_enabled
            && kind.is_none_or(is_chosen)
            && (event == PublicEvent::Changed
                || self.events.as_ref().is_none_or(|all| all.contains(&event)))
    }

    /// Returns the secrets that sign a message at a time.
    pub(crate) fn secrets(&self, now: DateTime<Utc>) -> impl Iterator<Item = &WebhookSecret> {
        let is_valid = self.former_secret_until.is_some_and(|until| until > to_bson(now));
        [&self.secret].into_iter().chain(self.former_secret.as_ref().filter(|_| is_valid))
    }

    /// Returns the webhook as it is answered, with the number of its messages that wait.
    pub(crate) fn to_webhook(&self, waiting: u64) -> Webhook {
        let (status, status_reason) = match (self.is_enabled, &self.failure) {
            (false, _) => (WebhookStatus::Disabled, self.disabled_reason.clone()),
            (true, Some(failure)) => (WebhookStatus::Failing, Some(failure.clone())),
            (true, None) => (WebhookStatus::Active, None),
        };
        Webhook {
            id: models::ObjectId::from_bytes(self.id.bytes()),
            url: self.url.clone(),
            description: self.description.clone(),
            kinds: self.kinds.clone(),
            events: self.events.clone(),
            is_enabled: self.is_enabled,
            status,
            status_reason,
            waiting,
            created_date: Some(from_bson(self.created_date)),
            updated_date: Some(from_bson(self.updated_date)),
        }
    }
}

/// Returns a collection whose writes are on the majority of the replica set when they return.
pub(super) fn durable(database: &Database, name: &str) -> Collection<RawDocumentBuf> {
    let options = CollectionOptions::builder().write_concern(WriteConcern::majority()).build();
    database.collection_with_options(name, options)
}

impl WebhookStore {
    pub(crate) fn new(database: &Database) -> Self {
        Self(durable(database, WEBHOOKS))
    }

    /// Returns all webhooks in the order of their creation. Documents of another program, which may
    /// have a collection of this name, are none.
    pub(crate) async fn all(&self) -> Result<Vec<StoredWebhook>> {
        let ours = doc! { "_id": { "$type": "objectId" }, "secret": { "$regex": "^whsec_" } };
        let found = self.0.find(ours).sort(doc! { "_id": 1 });
        let limit = i64::try_from(MAX_WEBHOOKS * 2).unwrap_or(i64::MAX);
        let found: Vec<_> = found.limit(limit).await?.try_collect().await?;
        Ok(found.iter().filter_map(|one| readable(read(WEBHOOKS, one))).collect())
    }

    /// Returns the ids of all webhooks, those included that this version cannot read.
    pub(crate) async fn ids(&self) -> Result<Vec<ObjectId>> {
        let ids = self.0.distinct("_id", doc! { "_id": { "$type": "objectId" } }).await?;
        Ok(ids.iter().filter_map(bson::Bson::as_object_id).collect())
    }

    /// Returns the webhook with this id.
    pub(crate) async fn get(&self, id: ObjectId) -> Result<Option<StoredWebhook>> {
        let found = self.0.find_one(doc! { "_id": id }).await?;
        Ok(found.and_then(|found| readable(read(WEBHOOKS, &found))))
    }

    pub(crate) async fn insert(&self, webhook: &StoredWebhook) -> Result<()> {
        self.0.insert_one(bson::serialize_to_raw_document_buf(webhook)?).await?;
        Ok(())
    }

    /// Sets fields of a webhook and unsets others, lets it continue if it was failing, and returns it.
    /// Replaces its secret if another one is given.
    pub(crate) async fn change(
        &self,
        id: ObjectId,
        fields: Document,
        secret: Option<&WebhookSecret>,
        now: DateTime<Utc>,
    ) -> Result<Option<StoredWebhook>> {
        // A value of a request must not be taken for an expression.
        let literal = |(name, value)| (name, bson::Bson::from(doc! { "$literal": value }));
        let mut set: Document = fields.into_iter().map(literal).collect();
        set.extend(doc! { "failure": null, "version": { "$add": ["$version", 1_i64] } });
        if let Some(secret) = secret {
            let until = to_bson(now + FORMER_SECRET_LIFETIME);
            set.extend(doc! {
                "former_secret": "$secret", "former_secret_until": until,
                "secret": { "$literal": String::from(secret.clone()) },
            });
        }
        self.update(id, vec![doc! { "$set": set }]).await
    }

    async fn update(&self, id: ObjectId, pipeline: Vec<Document>) -> Result<Option<StoredWebhook>> {
        // `find_one_and_update` does not report an error of the write concern.
        let updated = self.0.update_one(doc! { "_id": id }, pipeline).await?;
        if updated.matched_count == 0 { Ok(None) } else { self.get(id).await }
    }

    /// Lets the process that delivers notice a request that concerns the webhook.
    pub(crate) async fn touch(&self, id: ObjectId) -> Result<()> {
        self.0.update_one(doc! { "_id": id }, doc! { "$inc": { "version": 1_i64 } }).await?;
        Ok(())
    }

    /// Deletes a webhook. Returns `false` if there is none with this id.
    pub(crate) async fn delete(&self, id: ObjectId) -> Result<bool> {
        Ok(self.0.delete_one(doc! { "_id": id }).await?.deleted_count == 1)
    }

    /// Records that a target has failed for too long, unless the webhook was changed since it was read.
    pub(crate) async fn fail(&self, webhook: &StoredWebhook, reason: &str) -> Result<()> {
        self.set_if_unchanged(webhook, doc! { "failure": reason }).await
    }

    /// Records that a target wants no messages any more.
    pub(crate) async fn disable(&self, webhook: &StoredWebhook, reason: &str) -> Result<()> {
        let fields = doc! { "is_enabled": false, "disabled_reason": reason };
        self.set_if_unchanged(webhook, fields).await
    }

    /// Records that a target has accepted a message.
    pub(crate) async fn resume(&self, webhook: &StoredWebhook) -> Result<()> {
        self.set_if_unchanged(webhook, doc! { "failure": null }).await
    }

    async fn set_if_unchanged(&self, webhook: &StoredWebhook, fields: Document) -> Result<()> {
        let unchanged = doc! { "_id": webhook.id, "version": webhook.version };
        self.0.update_one(unchanged, doc! { "$set": fields }).await?;
        Ok(())
    }

    /// Records kinds of things whose changes are not queued for a webhook.
    pub(crate) async fn add_missed(&self, id: ObjectId, kinds: &[&str]) -> Result<()> {
        let add = doc! { "$addToSet": { "missed": { "$each": kinds } } };
        self.0.update_one(doc! { "_id": id }, add).await?;
        Ok(())
    }

    /// Records that changes of these kinds are queued for a webhook.
    pub(crate) async fn remove_missed(&self, id: ObjectId, kinds: &[String]) -> Result<()> {
        let remove = doc! { "$pull": { "missed": { "$in": kinds } } };
        self.0.update_one(doc! { "_id": id }, remove).await?;
        Ok(())
    }
}
