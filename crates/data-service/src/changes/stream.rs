//! `GET /internal/changes`: the changes of a service as server-sent events.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    web::{Bytes, Data},
};
use futures_util::{Stream, stream};
use models::{
    ErrorCode,
    changes::{FeedMessage, Revision},
};
use service_kit::web::{
    changes::{LAST_EVENT_ID, LEASE},
    error::ApiError,
};
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    broadcast::{self, error::TryRecvError},
    watch,
};
use tokio_util::sync::CancellationToken;

use super::{
    Changes, Confirmed,
    history::{Text, event},
    names,
};

/// The largest number of processes that listen at a time: those of a large installation.
const MAX_LISTENERS: usize = 64;

/// The state of the route.
pub(crate) struct ChangesRoute {
    changes: Changes,
    places: Arc<Semaphore>,
    /// Cancelled at the beginning of the shutdown.
    shutdown: CancellationToken,
}

impl ChangesRoute {
    pub(crate) fn new(changes: Changes, shutdown: CancellationToken) -> Self {
        Self { changes, places: Arc::new(Semaphore::new(MAX_LISTENERS)), shutdown }
    }
}

/// A connection of a listener.
struct Listener {
    first: Option<Bytes>,
    messages: broadcast::Receiver<Text>,
    confirmed: watch::Receiver<Option<Confirmed>>,
    shutdown: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// Sends the changes. An internal route that the gateway does not forward.
pub(crate) async fn changes(
    request: HttpRequest,
    route: Data<ChangesRoute>,
) -> Result<HttpResponse, ApiError> {
    let place = route.places.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("At most {MAX_LISTENERS} processes can listen at a time.");
        ApiError::new(ErrorCode::Overloaded, detail).retry_after_seconds(1)
    })?;
    let last = request.headers().get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let last = last.and_then(|id| id.parse().ok());
    let (first, messages) = route.changes.listen(last);
    let listener = Listener {
        first: Some(first),
        messages,
        confirmed: route.changes.0.confirmed.subscribe(),
        shutdown: route.shutdown.clone(),
        _place: place,
    };
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, "text/event-stream"));
    response.insert_header((CACHE_CONTROL, "no-store"));
    Ok(response.streaming(events(listener)))
}

impl Changes {
    /// Returns the first messages for a listener that knows all changes up to a state, and the later
    /// ones.
    fn listen(&self, last: Option<Revision>) -> (Bytes, broadcast::Receiver<Text>) {
        let history = self.history();
        let present = (*self.0.confirmed.borrow()).map_or(Revision::ZERO, |last| last.revision);
        let missed = last.and_then(|last| history.since(last));
        let (begins_at, resets) = match (last, &missed) {
            // Another replica may be ahead of this one.
            (Some(last), Some(_)) => (last.min(present), false),
            (Some(_), None) => (present, true),
            (None, _) => (present, false),
        };
        let service = self.0.source.name().to_owned();
        let families = names(&self.0.families);
        let hello = FeedMessage::Hello { service, families: families.clone(), revision: begins_at };
        let mut first = event(begins_at, &hello).to_string();
        if resets {
            let reset = FeedMessage::Reset { revision: present, families };
            first.push_str(&event(present, &reset));
        }
        // Before the repeated messages, which may end it.
        let families = self.suspended_families();
        match missed {
            None if !families.is_empty() => {
                first.push_str(&event(begins_at, &FeedMessage::Suspended { families }));
            }
            missed => missed.iter().flatten().for_each(|text| first.push_str(text)),
        }
        (first.into(), history.subscribe())
    }
}

/// Returns the events for a listener. They end if it is too slow, and at the shutdown.
fn events(listener: Listener) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(listener, |mut listener| async move {
        let shutdown = listener.shutdown.clone();
        tokio::select! {
            () = shutdown.cancelled() => None,
            bytes = listener.next() => Some((Ok(bytes?), listener)),
        }
    })
}

impl Listener {
    /// Returns the next events, or `None` if some were missed.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let mut text = String::new();
            let confirmed = tokio::select! {
                message = self.messages.recv() => {
                    text.push_str(&message.ok()?);
                    None
                }
                changed = self.confirmed.changed() => {
                    changed.ok()?;
                    *self.confirmed.borrow_and_update()
                }
            };
            // Those before the confirmation.
            loop {
                match self.messages.try_recv() {
                    Ok(message) => text.push_str(&message),
                    Err(TryRecvError::Empty) => break,
                    Err(_) => return None,
                }
            }
            let now = Instant::now();
            if let Some((confirmed, age)) = fresh(confirmed, now) {
                let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                let revision = confirmed.revision;
                text.push_str(&event(revision, &FeedMessage::Watermark { revision, age_ms }));
            }
            if !text.is_empty() {
                return Some(text.into());
            }
        }
    }
}

/// Returns the confirmation and its age, unless it is too old to be of use.
fn fresh(confirmed: Option<Confirmed>, now: Instant) -> Option<(Confirmed, Duration)> {
    let confirmed = confirmed?;
    let age = now.saturating_duration_since(confirmed.since);
    (age < LEASE).then_some((confirmed, age))
}
