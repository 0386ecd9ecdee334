//! Webhooks: addresses that are told of changes of public content.

use chrono::{DateTime, Utc};
use models::{
    Body, ObjectId, Patch, PublicEvent, PublicKind, WebUrl, bounded::at_most, patch::not_null,
};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::webhook_secret::WebhookSecret;

/// The type of the message that `POST /webhooks/{id}/test` sends.
pub(crate) const TEST_MESSAGE: &str = "webhook.test";

models::text! {
    /// The purpose of a webhook.
    pub(crate) WebhookDescription = line, 200, "Revalidates the pages of the site"
}

/// A choice of kinds or events: at least one, each once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Choice<T>(Vec<T>);

impl<T: PartialEq> Choice<T> {
    /// The longest list that is read: some names may be repeated.
    const MAX: usize = 50;

    pub(crate) fn contains(&self, one: &T) -> bool {
        self.0.contains(one)
    }
}

impl<'de, T: DeserializeOwned + PartialEq> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let message = format!("must have at most {} entries", Self::MAX);
        let all: Vec<T> = at_most(deserializer, Self::MAX, message)?;
        let mut distinct = Vec::new();
        for one in all {
            if !distinct.contains(&one) {
                distinct.push(one);
            }
        }
        if distinct.is_empty() {
            let message = "must not be empty: null stands for all";
            return Err(serde::de::Error::custom(message));
        }
        Ok(Self(distinct))
    }
}

/// A new webhook.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"url": "https://www.example.com/api/revalidate", "kinds": ["stories"]})))]
pub(crate) struct WebhookCreate {
    /// The address to which messages are sent: `https://`, on the public internet, without a user.
    pub(crate) url: WebUrl,
    /// The purpose, for people.
    #[serde(default)]
    pub(crate) description: Option<WebhookDescription>,
    /// The kinds of things of which the webhook is told. The default is all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<PublicKind>>, min_items = 1, max_items = 50)]
    pub(crate) kinds: Option<Choice<PublicKind>>,
    /// The events of which the webhook is told. The default is all. `changed` is always among them:
    /// everything of the kind may have changed in any way.
    #[serde(default)]
    #[schema(value_type = Option<Vec<PublicEvent>>, min_items = 1, max_items = 50)]
    pub(crate) events: Option<Choice<PublicEvent>>,
    /// The secret that signs the messages. The default is a new one.
    #[serde(default)]
    pub(crate) secret: Option<WebhookSecret>,
    /// `false` for a webhook that is told of nothing yet. The default is `true`.
    #[serde(default = "enabled")]
    pub(crate) is_enabled: bool,
}

const fn enabled() -> bool {
    true
}

/// The changes of a webhook. If it is failing, any change resumes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"is_enabled": false})))]
pub(crate) struct WebhookPatch {
    /// The address to which messages are sent: `https://`, on the public internet, without a user.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = WebUrl, required = false)]
    pub(crate) url: Option<WebUrl>,
    /// The purpose, for people.
    #[serde(default)]
    #[schema(value_type = Option<WebhookDescription>)]
    pub(crate) description: Patch<WebhookDescription>,
    /// The kinds of things of which the webhook is told; null for all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<PublicKind>>, min_items = 1, max_items = 50)]
    pub(crate) kinds: Patch<Choice<PublicKind>>,
    /// The events of which the webhook is told, `changed` always among them; null for all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<PublicEvent>>, min_items = 1, max_items = 50)]
    pub(crate) events: Patch<Choice<PublicEvent>>,
    /// A new secret, or null for one that is made and answered. Messages are signed with the former one
    /// as well for a day.
    #[serde(default)]
    #[schema(value_type = Option<WebhookSecret>)]
    pub(crate) secret: Patch<WebhookSecret>,
    /// `false` for a webhook that is told of nothing.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(value_type = bool, required = false)]
    pub(crate) is_enabled: Option<bool>,
}

impl Body for WebhookCreate {}

impl Body for WebhookPatch {
    const READ_ONLY: &'static [&'static str] =
        &["id", "status", "status_reason", "waiting", "createdDate", "updatedDate"];
    const IGNORED: &'static [&'static str] = &["status", "status_reason", "waiting", "updatedDate"];
}

/// The state of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WebhookStatus {
    /// Messages are sent.
    Active,
    /// Messages are not sent, since the target has failed for too long.
    Failing,
    /// Messages are not sent, as an admin or the target has decided.
    Disabled,
}

/// A webhook as it is answered. Its secret is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Webhook {
    /// The id.
    pub(crate) id: ObjectId,
    /// The address to which messages are sent.
    pub(crate) url: String,
    /// The purpose, for people.
    #[schema(required = true)]
    pub(crate) description: Option<String>,
    /// The kinds of things of which the webhook is told; null for all.
    #[schema(required = true, value_type = Option<Vec<PublicKind>>)]
    pub(crate) kinds: Option<Choice<PublicKind>>,
    /// The events of which the webhook is told; null for all.
    #[schema(required = true, value_type = Option<Vec<PublicEvent>>)]
    pub(crate) events: Option<Choice<PublicEvent>>,
    /// `false` if the webhook is told of nothing.
    pub(crate) is_enabled: bool,
    /// The state.
    pub(crate) status: WebhookStatus,
    /// The reason for a state other than `active`, for people.
    #[schema(required = true)]
    pub(crate) status_reason: Option<String>,
    /// The number of messages that are not delivered yet.
    pub(crate) waiting: u64,
    /// The date of creation.
    #[serde(rename = "createdDate", serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) created_date: Option<DateTime<Utc>>,
    /// The date of the last change of its settings.
    #[serde(rename = "updatedDate", serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) updated_date: Option<DateTime<Utc>>,
}

/// The answer to a request that creates or changes a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct WrittenWebhook {
    // Not a doc comment: as a description it would wrap the schema of the webhook.
    #[serde(flatten)]
    #[schema(inline)]
    pub(crate) webhook: Webhook,
    /// The secret, if it is new: it is answered this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub(crate) secret: Option<String>,
}

/// All webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct WebhookList {
    /// The webhooks in the order of their creation.
    pub(crate) items: Vec<Webhook>,
}

/// The state of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryState {
    /// It is sent, or sent again, in the future.
    Pending,
    /// The target has accepted it.
    Delivered,
    /// It is not sent again unless that is requested.
    Failed,
}

/// An attempt to deliver a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Attempt {
    /// The time at which it began.
    #[serde(serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) at: Option<DateTime<Utc>>,
    /// Its duration in milliseconds.
    pub(crate) duration_ms: u64,
    /// The HTTP status of the target; null if it did not answer.
    #[schema(required = true)]
    pub(crate) status: Option<u16>,
    /// The reason for the failure; null if the message was delivered.
    #[schema(required = true)]
    pub(crate) error: Option<String>,
    /// The beginning of the body that the target answered.
    #[schema(required = true)]
    pub(crate) response: Option<String>,
}

/// A message to a target, and the attempts to deliver it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Delivery {
    /// The id of the delivery.
    pub(crate) id: ObjectId,
    /// The id of the message (`webhook-id`), the same in every attempt.
    pub(crate) message_id: String,
    /// The type of the message, such as `stories.published`.
    #[serde(rename = "type")]
    pub(crate) message_type: String,
    /// The state.
    pub(crate) state: DeliveryState,
    /// The number of attempts so far.
    pub(crate) attempt_count: u64,
    /// The last attempts, the newest last.
    pub(crate) attempts: Vec<Attempt>,
    /// The time of the next attempt, unless an earlier message about the same item is not delivered
    /// yet; null if there is none.
    #[serde(serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    /// The body of the message.
    #[schema(value_type = Object)]
    pub(crate) body: serde_json::Value,
    /// The date at which the message was queued.
    #[serde(rename = "createdDate", serialize_with = "models::rfc3339::serialize")]
    #[schema(required = true)]
    pub(crate) created_date: Option<DateTime<Utc>>,
}

/// A page of the deliveries of a webhook, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct DeliveryList {
    /// The deliveries of this page.
    pub(crate) items: Vec<Delivery>,
    /// The largest number of items of a page.
    pub(crate) limit: u32,
    /// The value of `cursor` that returns the next page; null on the last one.
    #[schema(required = true)]
    pub(crate) next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_and_events_are_chosen_by_name() {
        let url = "https://example.com/";
        let body = |kinds, events| {
            let body = json!({ "url": url, "kinds": kinds, "events": events });
            WebhookCreate::deserialize(&body)
        };
        let all = body(json!(null), json!(null)).unwrap();
        assert_eq!((all.kinds, all.events), (None, None));
        let some = body(json!(["stories", "sections", "stories"]), json!(["moved"])).unwrap();
        assert_eq!(serde_json::to_value(some.kinds).unwrap(), json!(["stories", "sections"]));
        assert!(some.events.unwrap().contains(&PublicEvent::Moved));
        for (kinds, events) in [
            (json!([]), json!(null)),
            (json!("stories"), json!(null)),
            (json!(["story"]), json!(null)),
            (json!(["users"]), json!(null)),
            (json!([null]), json!(null)),
            (json!(vec!["stories"; 51]), json!(null)),
            (json!(null), json!([])),
            (json!(null), json!(["publish"])),
            (json!(null), json!(["Published"])),
        ] {
            assert!(body(kinds.clone(), events.clone()).is_err(), "{kinds} {events}");
        }
    }
}
