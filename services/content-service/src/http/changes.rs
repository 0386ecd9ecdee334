//! The changes of the site, for frontends that keep pages.

use std::{convert::Infallible, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
    },
    web::{Bytes, Data},
};
use data_service::Shutdown;
use futures_util::{Stream, stream};
use models::{ErrorCode, FieldError, PublicChange, PublicKind, schema::schema};
use serde::{Deserialize, Serialize};
use service_kit::web::{changes::LAST_EVENT_ID, error::ApiError, extract::Query};
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        broadcast::{self, error::RecvError},
    },
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use utoipa::{
    IntoParams, ToSchema,
    openapi::schema::{ObjectBuilder, Type},
};

use super::error_sets::ChangesErrors;
use crate::events::{
    hub::{Hub, Told},
    position::Position,
};

/// The largest number of listeners of a process: a frontend has one for each of its processes, and each
/// takes a connection and some kilobytes.
const MAX_LISTENERS: usize = 1_000;

/// The largest number of changes in an answer to those who poll.
const MAX_CHANGES: usize = 1_000;

/// The longest time without an event: proxies close connections that are silent for 30 or 60 s.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The time within which the changes are known after a start, unless the database does not answer.
const READY_TIMEOUT: Duration = Duration::from_secs(3);

/// The time after which a browser connects again, in milliseconds.
const RETRY_MS: u32 = 2_000;

const EVENT_STREAM: &str = "text/event-stream";

/// Those who listen to the changes.
pub(crate) struct Listeners {
    hub: Hub,
    places: Arc<Semaphore>,
}

impl Listeners {
    pub(crate) fn new(hub: Hub) -> Self {
        Self { hub, places: Arc::new(Semaphore::new(MAX_LISTENERS)) }
    }
}

/// The query of the changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangesQuery {
    /// The `cursor` of the last answer or change. Without it, or if it is empty: from now on.
    #[param(nullable = false, pattern = "^([0-9]{1,19}-[0-9]{1,19})?$")]
    cursor: Option<String>,
    /// The kinds that are told, separated by commas. Without it: all.
    #[param(value_type = Option<KindList>, nullable = false)]
    kind: Option<String>,
}

/// Kinds, separated by commas.
pub(super) struct KindList;

schema!(KindList, {
    let kinds = PublicKind::all().map(PublicKind::as_str).collect::<Vec<_>>().join("|");
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("Kinds of what the public sees, separated by commas."))
        .pattern(Some(format!("^({kinds})(,({kinds}))*$")))
});

/// Changes of the site.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangesPage {
    /// The changes after the cursor of the request, in their order. Empty if there are none.
    changes: Vec<PublicChange>,
    /// The cursor for the next request.
    cursor: String,
}

/// The changes of the site, as far as the public may know them.
///
/// With `Accept: text/event-stream`, as an `EventSource` of a browser sends it: an endless answer of
/// server-sent events. The data of each event is a change, and its id a cursor. It continues after the event
/// whose id is in `Last-Event-ID`, or else after `cursor`.
///
/// Otherwise: the changes after `cursor`, at once. The first request has none.
///
/// Each change is told at least once, when all gateways answer the new state. After a cursor of more than
/// five minutes ago, or after a restart, one change without `kind` says that anything may have changed.
#[utoipa::path(
    get,
    path = "/changes",
    tag = "content",
    operation_id = "changes",
    params(ChangesQuery),
    responses(
        (status = 200, description = "The changes.", body = ChangesPage),
        ChangesErrors
    ),
    // For programs that must not wait for the end of the answer. As a second type of the answer, it would
    // make clients that are generated distinguish a page from a text.
    extensions(("x-event-stream" = json!(true)))
)]
pub(super) async fn changes(
    request: HttpRequest,
    query: Query<ChangesQuery>,
    listeners: Data<Listeners>,
    shutdown: Data<Shutdown>,
) -> Result<HttpResponse, ApiError> {
    let Query(ChangesQuery { cursor, kind }) = query;
    let kinds = kind.as_deref().map(kinds).transpose()?;
    let place = |field: &str, text: &str| match text {
        "" => Ok(None),
        text => text
            .parse::<Position>()
            .map(Some)
            .map_err(|error| ApiError::invalid(FieldError::invalid(field, error.to_string()))),
    };
    let since = place("cursor", cursor.as_deref().unwrap_or_default())?;
    let last = request.headers().get(LAST_EVENT_ID);
    let last = last.map_or(Ok(None), |last| place(LAST_EVENT_ID, last.to_str().unwrap_or("-")))?;
    if last.is_none() && !accepts_events(&request) {
        return page(&listeners.hub, since, kinds.as_deref()).await;
    }
    let permit = listeners.places.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("At most {MAX_LISTENERS} clients can listen at a time. Poll instead.");
        ApiError::new(ErrorCode::Overloaded, detail).retry_after_seconds(10)
    })?;
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, EVENT_STREAM));
    response.insert_header((CACHE_CONTROL, "no-store"));
    // For nginx, which would collect the events.
    response.insert_header(("x-accel-buffering", "no"));
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let listener = Listener {
        hub: listeners.hub.clone(),
        kinds,
        state: ListenerState::New(last.or(since)),
        shutdown: shutdown.0.clone(),
        _place: permit,
    };
    Ok(response.streaming(events(listener)))
}

/// Returns `true` if the client asks for events.
fn accepts_events(request: &HttpRequest) -> bool {
    let accept = request.headers().get_all(ACCEPT);
    accept.filter_map(|value| value.to_str().ok()).any(|value| value.contains(EVENT_STREAM))
}

/// Parses the kinds that a client wants to be told of.
fn kinds(text: &str) -> Result<Vec<PublicKind>, ApiError> {
    let kinds = text.split(',').map(|kind| kind.trim().parse::<PublicKind>());
    kinds
        .collect::<Result<_, _>>()
        .map_err(|error| ApiError::invalid(FieldError::invalid("kind", error.to_string())))
}

/// Answers one who polls.
async fn page(
    hub: &Hub,
    since: Option<Position>,
    kinds: Option<&[PublicKind]>,
) -> Result<HttpResponse, ApiError> {
    let known = timeout(READY_TIMEOUT, hub.since(since)).await.map_err(|_| {
        let detail = "The changes are not known now: the database does not answer.";
        ApiError::new(ErrorCode::DatabaseUnavailable, detail).retry_after_seconds(1)
    })?;
    let mut cursor = known.position.to_string();
    let mut all = known.changes;
    if all.len() > MAX_CHANGES {
        all.truncate(MAX_CHANGES);
        if let Some(last) = all.last() {
            cursor.clone_from(&last.change.cursor);
        }
    }
    let told = all.iter().filter(|told| told.concerns(kinds));
    let changes = told.map(|told| told.change.clone()).collect();
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "no-store"));
    Ok(response.json(ChangesPage { changes, cursor }))
}

/// A connection of a listener.
struct Listener {
    hub: Hub,
    kinds: Option<Vec<PublicKind>>,
    state: ListenerState,
    shutdown: CancellationToken,
    _place: OwnedSemaphorePermit,
}

enum ListenerState {
    /// Nothing was sent yet: the place after which it listens.
    New(Option<Position>),
    /// The same, after the first bytes.
    Greeted(Option<Position>),
    Listening(broadcast::Receiver<Arc<Told>>),
}

/// Returns the events for a listener. They end if it is too slow, and at the shutdown.
fn events(listener: Listener) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(listener, |mut listener| async move {
        let shutdown = listener.shutdown.clone();
        tokio::select! {
            () = shutdown.cancelled() => None,
            text = listener.next() => Some((Ok(text?.into()), listener)),
        }
    })
}

impl Listener {
    /// Returns the next events, or `None` if some were missed.
    async fn next(&mut self) -> Option<String> {
        match &mut self.state {
            ListenerState::New(place) => {
                // At once, so that the client knows that it is connected.
                self.state = ListenerState::Greeted(*place);
                Some(format!("retry: {RETRY_MS}\n\n"))
            }
            ListenerState::Greeted(place) => {
                let known = timeout(HEARTBEAT, self.hub.since(*place)).await;
                let Ok(known) = known else { return Some(":\n\n".to_owned()) };
                let mut text = String::new();
                for told in &known.changes {
                    if told.concerns(self.kinds.as_deref()) {
                        text.push_str(&told.event);
                    }
                }
                text.push_str(&place_event(&known.position));
                self.state = ListenerState::Listening(known.later);
                Some(text)
            }
            ListenerState::Listening(later) => {
                let heartbeat = Instant::now() + HEARTBEAT;
                loop {
                    match timeout_at(heartbeat, later.recv()).await {
                        Ok(Ok(told)) if told.concerns(self.kinds.as_deref()) => {
                            return Some(told.event.clone());
                        }
                        Ok(Ok(_)) => {}
                        Ok(Err(RecvError::Lagged(_) | RecvError::Closed)) => return None,
                        Err(_) => {
                            let position = self.hub.position();
                            // The place must not be after changes that are still to be sent.
                            let is_known = later.is_empty();
                            let text =
                                if is_known { place_event(&position) } else { ":\n\n".into() };
                            return Some(text);
                        }
                    }
                }
            }
        }
    }
}

/// Returns a comment that keeps the connection alive, and a place without a change: a client that
/// connects again continues there.
fn place_event(position: &Position) -> String {
    format!(":\nid: {position}\n\n")
}
