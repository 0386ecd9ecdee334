//! Listens to the changes of a service.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::ACCEPT, uri::PathAndQuery};
use models::changes::{FeedMessage, Revision};
use serde::Deserialize;
use tokio::{task::JoinSet, time::timeout};

use super::{
    clock::{KeyClock, OutOfOrder},
    events::{EventReader, TooLarge},
};
use crate::{
    runtime::error_chain::one_line,
    web::{
        internal::InternalSecret,
        upstream::{AttemptError, BoxError, Held, HttpClient, Upstream, whole_body},
    },
};

/// The path of the feed of a service.
pub const CHANGES_PATH: &str = "/internal/changes";

/// The header with the state up to which the listener knows the changes (HTML standard, §9.2.4).
pub const LAST_EVENT_ID: &str = "last-event-id";

/// The longest time for the head of the answer: it needs nothing but the process.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time between two messages, which come every 25 ms. A feed that is silent for longer is
/// left for that of another replica.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(1);

/// The pauses before another connection after one that gave nothing.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// The number of connections without a feed after which a warning is logged: a start or a restart of
/// the service takes fewer.
const FAILURES_BEFORE_WARNING: u32 = 8;

/// The reason why a connection ended.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error("no address of the service is known")]
    NoReplica,
    #[error("there is no answer")]
    NotConnected(#[source] BoxError),
    #[error("the service answered {0}")]
    Status(StatusCode),
    #[error("the connection was closed")]
    Closed,
    #[error("nothing arrived for {SILENCE_TIMEOUT:?}")]
    Silent,
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    #[error("a message cannot be read")]
    Unreadable(#[source] serde_json::Error),
    #[error("the first message is not a greeting")]
    NoHello,
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
}

impl From<AttemptError<Infallible>> for FeedError {
    fn from(error: AttemptError<Infallible>) -> Self {
        match error {
            AttemptError::NotConnected(error)
            | AttemptError::Broken(error)
            | AttemptError::Truncated(error) => Self::NotConnected(error),
            AttemptError::Timeout => Self::Silent,
            AttemptError::Other(never) => match never {},
        }
    }
}

/// A message of a version that may know more types.
#[derive(Deserialize)]
#[serde(untagged)]
enum Received {
    Known(FeedMessage),
    Other {
        #[serde(rename = "type")]
        kind: String,
    },
}

/// The types of messages, which are not [`Received::Other`] if they cannot be read.
const KNOWN_TYPES: [&str; 5] = ["hello", "changed", "reset", "suspended", "watermark"];

/// Keeps a clock up to date by the feed of a service until the returned set is dropped: by one replica
/// at a time, and by another one when that ends or is silent.
pub fn listen(
    upstream: &Arc<Upstream>,
    secret: InternalSecret,
    clock: &Arc<KeyClock>,
) -> JoinSet<()> {
    let (upstream, clock) = (Arc::clone(upstream), Arc::clone(clock));
    let mut task = JoinSet::new();
    task.spawn(async move {
        let client = HttpClient::unpooled();
        let [min, max] = PAUSES;
        let pauses = ExponentialBuilder::default()
            .with_min_delay(min)
            .with_max_delay(max)
            .without_max_times()
            .with_jitter();
        let mut pause = pauses.build();
        let mut failures = 0_u32;
        // The next replica follows one whose feed ended.
        for turn in 0_usize.. {
            let mut has_begun = false;
            let ended = follow(&client, (&upstream, turn), &secret, &clock, &mut has_begun).await;
            let Err(error) = ended;
            let (service, cause) = (upstream.name(), one_line(&error));
            tracing::debug!(service, cause, "the feed of changes ended");
            if has_begun {
                failures = 0;
                pause = pauses.build();
            } else {
                failures += 1;
                match &error {
                    _ if failures != FAILURES_BEFORE_WARNING => {}
                    // A service of a version without a feed, as during an upgrade.
                    FeedError::Status(StatusCode::NOT_FOUND) => {
                        tracing::info!(service, "the service does not report its changes");
                    }
                    _ => tracing::warn!(
                        service,
                        cause,
                        "the changes of the service cannot be heard; until they can, what depends on \
                         them is confirmed by the service"
                    ),
                }
            }
            tokio::time::sleep(pause.next().unwrap_or(max)).await;
        }
    });
    task
}

/// Follows the feed of one replica to its end.
async fn follow(
    client: &HttpClient,
    (upstream, turn): (&Arc<Upstream>, usize),
    secret: &InternalSecret,
    clock: &KeyClock,
    has_begun: &mut bool,
) -> Result<Infallible, FeedError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    secret.add_to(&mut headers);
    // The last state that is complete: several changes may have the same revision.
    let last = clock.watermark();
    if last != Revision::ZERO {
        headers.insert(HeaderName::from_static(LAST_EVENT_ID), HeaderValue::from(last.number()));
    }
    let replica = upstream.best(turn).ok_or(FeedError::NoReplica)?;
    let target = PathAndQuery::from_static(CHANGES_PATH);
    let request = replica.request(target, headers, whole_body(Bytes::new()));
    // The first messages may wait until the answer is passed on: their age counts from here.
    let mut asked = Some(Instant::now());
    let response = timeout(HEAD_TIMEOUT, client.exchange::<Infallible>(&replica, request)).await;
    let response = response.map_err(|_| FeedError::Silent)??;
    if response.status() != StatusCode::OK {
        return Err(FeedError::Status(response.status()));
    }
    let (first, rest) = match response.body {
        Held::Whole(first) => (first, None),
        Held::Part(first, rest) => (first, Some(rest)),
    };
    let mut body = stream::iter([Ok(first)]).chain(stream::iter(rest).flatten());
    let mut reader = EventReader::default();
    loop {
        let piece = timeout(SILENCE_TIMEOUT, body.next()).await.map_err(|_| FeedError::Silent)?;
        let piece = piece.ok_or(FeedError::Closed)?.map_err(FeedError::Broken)?;
        let received = asked.take().unwrap_or_else(Instant::now);
        reader.read(&piece, |data| {
            let Some(message) = parse(data)? else { return Ok(()) };
            if !*has_begun && !matches!(message, FeedMessage::Hello { .. }) {
                return Err(FeedError::NoHello);
            }
            clock.apply(&message, received)?;
            *has_begun = true;
            Ok(())
        })?;
    }
}

/// Reads a message. Returns `None` for one of a type that is unknown.
fn parse(data: &[u8]) -> Result<Option<FeedMessage>, FeedError> {
    match serde_json::from_slice(data).map_err(FeedError::Unreadable)? {
        Received::Known(message) => Ok(Some(message)),
        Received::Other { kind } if KNOWN_TYPES.contains(&kind.as_str()) => {
            // The error of the message itself.
            serde_json::from_slice(data).map(Some).map_err(FeedError::Unreadable)
        }
        Received::Other { .. } => Ok(None),
    }
}

#[cfg(test)]
mod tests;
