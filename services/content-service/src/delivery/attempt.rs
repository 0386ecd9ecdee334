//! One attempt to deliver a message.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use mongodb::{bson::oid::ObjectId, error::Result};
use opentelemetry::{KeyValue, global, metrics::Counter};
use service_kit::web::outbound::{OutboundError, Reply};

use super::lane::Lanes;
use crate::{
    domain::webhook::DeliveryState,
    store::{
        dates::{from_bson, to_bson},
        deliveries::{AfterAttempt, StoredAttempt, StoredDelivery},
        webhooks::StoredWebhook,
    },
};

/// The part of a response that is stored, in characters.
const MAX_RESPONSE: usize = 1_000;

/// The part of the target of a redirect that is stored, in characters.
const MAX_LOCATION: usize = 200;

/// The number of attempts, by their outcome.
static ATTEMPTS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    global::meter("content-service")
        .u64_counter("turbulence.webhook.attempts")
        .with_unit("{attempt}")
        .with_description("Attempts to deliver a message to the target of a webhook.")
        .build()
});

/// The outcome of an attempt for the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The delivery is finished, or exists no more.
    Finished,
    /// The delivery is finished, and the webhook continues.
    Resumed,
    /// A person has requested the delivery during the attempt.
    Requested,
    /// The delivery is to be repeated after a pause.
    Repeat(Duration),
    /// The webhook gets no messages at the moment.
    Paused,
    /// The delivery is finished, and the webhook gets no messages from now on.
    FinishedAndPaused,
    /// The process lost the right to deliver.
    Abandoned,
}

/// The judgement of a response.
enum Verdict {
    Delivered,
    Gone,
    Failed { reason: String, retry_after: Option<Duration> },
}

/// Attempts a delivery and records the result.
pub(super) async fn attempt(lanes: &Lanes, webhook: ObjectId, id: ObjectId) -> Result<Outcome> {
    // Read each time: the webhook may have another target or secret.
    let Some(webhook) = lanes.webhooks.get(webhook).await? else { return Ok(Outcome::Finished) };
    let delivery = lanes.deliveries.get(webhook.id, id).await?;
    let Some(delivery) = delivery.filter(|one| one.state == DeliveryState::Pending) else {
        return Ok(Outcome::Finished);
    };
    if !webhook.is_active() && !delivery.requested {
        return Ok(Outcome::Paused);
    }
    let (at, began) = (lanes.clock.now(), Instant::now());
    // Another process will deliver: this one must not reach the target after it.
    let result = tokio::select! {
        result = send(lanes, &webhook, &delivery) => result,
        () = lanes.lost.cancelled() => return Ok(Outcome::Abandoned),
    };
    let duration_ms = began.elapsed().as_millis().try_into().unwrap_or(i64::MAX);
    let (status, response) = match &result {
        Ok(reply) => (Some(reply.status), Some(beginning(&reply.body, MAX_RESPONSE))),
        Err(_) => (None, None),
    };
    let verdict = judge(result);
    let (error, word) = match &verdict {
        Verdict::Delivered => (None, "delivered"),
        Verdict::Gone => {
            (Some("HTTP 410: the target wants no messages any more".to_owned()), "gone")
        }
        Verdict::Failed { reason, .. } => (Some(reason.clone()), "failed"),
    };
    ATTEMPTS.add(1, &[KeyValue::new("outcome", word)]);
    let status = status.map(i32::from);
    let attempt = StoredAttempt { at: to_bson(at), duration_ms, status, error, response };
    conclude(lanes, &webhook, &delivery, attempt, verdict).await
}

async fn send(
    lanes: &Lanes,
    webhook: &StoredWebhook,
    delivery: &StoredDelivery,
) -> std::result::Result<Reply, OutboundError> {
    let now = lanes.clock.now();
    let timestamp = now.timestamp();
    let signatures = webhook.secrets(now);
    let signatures: Vec<_> = signatures
        .map(|secret| secret.sign(&delivery.message_id, timestamp, &delivery.body))
        .collect();
    let (timestamp, signatures) = (timestamp.to_string(), signatures.join(" "));
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", delivery.message_id.as_str()),
        ("webhook-timestamp", timestamp.as_str()),
        ("webhook-signature", signatures.as_str()),
    ];
    lanes.client.post(&webhook.url, &headers, delivery.body.clone()).await
}

fn judge(result: std::result::Result<Reply, OutboundError>) -> Verdict {
    let reply = match result {
        Ok(reply) => reply,
        Err(error) => return Verdict::Failed { reason: error.to_string(), retry_after: None },
    };
    let failed = |reason| Verdict::Failed { reason, retry_after: reply.retry_after };
    match reply.status {
        200..=299 => Verdict::Delivered,
        410 => Verdict::Gone,
        300..=399 => {
            let target = reply.location.as_deref().map(|to| beginning(to, MAX_LOCATION));
            let target = target.map(|to| format!(" to {to}")).unwrap_or_default();
            let status = reply.status;
            failed(format!("HTTP {status}: redirects{target} are not followed, change the URL"))
        }
        status => failed(format!("HTTP {status}")),
    }
}

/// Records an attempt and what follows from it.
async fn conclude(
    lanes: &Lanes,
    webhook: &StoredWebhook,
    delivery: &StoredDelivery,
    attempt: StoredAttempt,
    verdict: Verdict,
) -> Result<Outcome> {
    let now = lanes.clock.now();
    let record = async |after| lanes.deliveries.record(delivery, &attempt, after, now).await;
    let (webhook_id, delivery_id) = (webhook.id.to_hex(), delivery.id.to_hex());
    // A message that the target did not take waits until the webhook continues. A test does not.
    let (given_up, paused) = match delivery.once {
        true => (AfterAttempt::Failed, Outcome::FinishedAndPaused),
        false => (AfterAttempt::Repeated { at: now }, Outcome::Paused),
    };
    match verdict {
        Verdict::Delivered => {
            let is_finished = record(AfterAttempt::Delivered).await?;
            if !webhook.is_enabled || webhook.failure.is_none() {
                return Ok(if is_finished { Outcome::Finished } else { Outcome::Requested });
            }
            tracing::info!(webhook_id, "the webhook continues");
            lanes.deliveries.restart(webhook.id, now).await?;
            lanes.webhooks.resume(webhook).await?;
            Ok(Outcome::Resumed)
        }
        Verdict::Gone => {
            record(given_up).await?;
            tracing::warn!(webhook_id, "the webhook is disabled: its target answered 410");
            let reason = "The target answered 410 Gone: it wants no messages any more.";
            lanes.webhooks.disable(webhook, reason).await?;
            Ok(paused)
        }
        Verdict::Failed { .. } if delivery.once => {
            let is_finished = record(AfterAttempt::Failed).await?;
            Ok(if is_finished { Outcome::Finished } else { Outcome::Requested })
        }
        Verdict::Failed { reason, retry_after } => {
            let pause = lanes.schedule.pause(delivery.id, delivery.tries);
            let pause = pause.max(retry_after.unwrap_or_default());
            let since = from_bson(delivery.failing_since.unwrap_or(attempt.at));
            let end = since + lanes.schedule.retry_for;
            if now < end {
                // The last attempt is at the end, also if the target asks for a longer pause.
                let next = (now + pause).min(end);
                if !record(AfterAttempt::Repeated { at: next }).await? {
                    return Ok(Outcome::Requested);
                }
                tracing::debug!(webhook_id, delivery_id, reason, "a message was not delivered");
                return Ok(Outcome::Repeat((next - now).to_std().unwrap_or_default()));
            }
            record(given_up).await?;
            tracing::warn!(webhook_id, delivery_id, reason, "the webhook is failing");
            let since = since.format("%Y-%m-%dT%H:%M:%SZ");
            let reason = format!(
                "A message about {} could not be delivered since {since}: {reason}.",
                delivery.item
            );
            lanes.webhooks.fail(webhook, &reason).await?;
            Ok(paused)
        }
    }
}

/// Returns the beginning of a text.
fn beginning(text: &str, max_chars: usize) -> String {
    text.chars().take(max_chars).collect()
}
