//! The queue of one webhook. A slow target keeps only its own queue waiting.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use mongodb::bson::{DateTime as BsonDate, oid::ObjectId};
use opentelemetry::context::FutureExt as _;
use service_kit::{runtime::clock::Clock, web::outbound::OutboundClient};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    attempt::{Outcome, attempt},
    schedule::Schedule,
    without_traces,
};
use crate::store::{
    dates::from_bson,
    deliveries::{DeliveryStore, Waiting},
    webhooks::WebhookStore,
};

/// The largest number of requests to a target at the same time. Receivers are small; a burst of
/// changes must not be an attack.
const MAX_IN_FLIGHT: usize = 8;

/// The pause after an error of the database.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// The number of finished deliveries after which old ones are deleted.
const PRUNE_AFTER: usize = 100;

/// Everything that the queues of all webhooks need.
pub(super) struct Lanes {
    pub(super) webhooks: WebhookStore,
    pub(super) deliveries: DeliveryStore,
    pub(super) client: OutboundClient,
    pub(super) clock: Clock,
    pub(super) schedule: Schedule,
    /// Cancelled when the process may not deliver any more.
    pub(super) lost: CancellationToken,
    /// Cancelled when no further attempt is to begin.
    pub(super) stop: CancellationToken,
}

/// The handle of a queue. The queue ends when it is dropped.
pub(super) struct Lane {
    messages: UnboundedSender<LaneMessage>,
    length: Arc<AtomicUsize>,
    pub(super) task: JoinHandle<()>,
}

enum LaneMessage {
    /// These deliveries were added to the database.
    Added(Vec<Waiting>),
    /// The webhook or its deliveries were changed.
    Reload,
}

impl Lane {
    /// Starts the queue of a webhook with its deliveries in the database.
    pub(super) fn start(lanes: Arc<Lanes>, webhook: ObjectId) -> Self {
        let (messages, receiver) = unbounded_channel();
        let length = Arc::new(AtomicUsize::new(0));
        let queue = Queue {
            lanes,
            webhook,
            length: Arc::clone(&length),
            is_active: false,
            items: HashMap::new(),
            due: BTreeSet::new(),
            running: JoinSet::new(),
            reload_at: Some(Instant::now()),
            finished: 0,
        };
        Self {
            messages,
            length,
            task: tokio::spawn(queue.run(receiver).with_context(without_traces())),
        }
    }

    /// Adds deliveries that are in the database.
    pub(super) fn add(&self, waiting: Vec<Waiting>) {
        // The queue ends with this handle at the earliest.
        let _ = self.messages.send(LaneMessage::Added(waiting));
    }

    /// Reads the webhook and its deliveries again.
    pub(super) fn reload(&self) {
        let _ = self.messages.send(LaneMessage::Reload);
    }

    /// Returns the number of deliveries that wait.
    pub(super) fn length(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }
}

struct Queue {
    lanes: Arc<Lanes>,
    webhook: ObjectId,
    length: Arc<AtomicUsize>,
    /// `false` if only deliveries that a person has requested are sent.
    is_active: bool,
    items: HashMap<String, Item>,
    /// The next delivery of each item that has none in flight, by its time.
    due: BTreeSet<(Instant, i64, String)>,
    running: JoinSet<Done>,
    reload_at: Option<Instant>,
    finished: usize,
}

/// The deliveries about one item, in their order.
#[derive(Default)]
struct Item {
    waiting: BTreeMap<(i64, ObjectId), Next>,
    is_running: bool,
    /// The place among those that are due.
    place: Option<(Instant, i64)>,
}

#[derive(Debug, Clone, Copy)]
struct Next {
    due: Instant,
    requested: bool,
}

struct Done {
    item: String,
    key: (i64, ObjectId),
    outcome: Outcome,
}

impl Queue {
    async fn run(mut self, mut messages: UnboundedReceiver<LaneMessage>) {
        loop {
            self.start_due();
            let has_room = self.running.len() < MAX_IN_FLIGHT;
            let next = self.due.first().filter(|_| has_room).map(|(due, ..)| *due);
            let next = [next, self.reload_at].into_iter().flatten().min();
            let stop = self.lanes.stop.clone();
            tokio::select! {
                message = messages.recv() => match message {
                    Some(LaneMessage::Added(waiting)) => self.add(waiting),
                    Some(LaneMessage::Reload) => self.reload_at = Some(Instant::now()),
                    None => break,
                },
                Some(done) = self.running.join_next() => {
                    if let Ok(done) = done {
                        self.finish(done).await;
                    }
                }
                () = sleep_until(next) => {}
                () = stop.cancelled() => break,
            }
            if self.reload_at.is_some_and(|at| at <= Instant::now()) {
                self.reload().await;
            }
        }
        // Attempts that have begun are recorded.
        while self.running.join_next().await.is_some() {}
    }

    /// Reads the webhook and its deliveries.
    async fn reload(&mut self) {
        self.reload_at = None;
        let webhook = self.lanes.webhooks.get(self.webhook).await;
        let waiting = self.lanes.deliveries.waiting(self.webhook).await;
        let (webhook, waiting) = match (webhook, waiting) {
            (Ok(webhook), Ok(waiting)) => (webhook, waiting),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "the deliveries of a webhook cannot be read");
                self.reload_at = Some(Instant::now() + PAUSE_AFTER_ERROR);
                return;
            }
        };
        self.is_active = webhook.is_some_and(|webhook| webhook.is_active());
        self.items.retain(|_, item| item.is_running);
        self.due.clear();
        for item in self.items.values_mut() {
            item.waiting.clear();
            item.place = None;
        }
        self.add(waiting);
    }

    fn add(&mut self, waiting: Vec<Waiting>) {
        let now = Instant::now();
        for one in waiting {
            let due = now + self.time_until(one.next_attempt_at);
            let item = self.items.entry(one.item.clone()).or_default();
            let next = Next { due, requested: one.requested };
            item.waiting.insert((one.sequence, one.id), next);
            self.place(&one.item);
        }
        self.measure();
    }

    fn time_until(&self, at: Option<BsonDate>) -> Duration {
        let at = at.map_or(self.lanes.clock.now(), from_bson);
        (at - self.lanes.clock.now()).to_std().unwrap_or_default()
    }

    fn measure(&self) {
        let length = self.items.values().map(|item| item.waiting.len()).sum();
        self.length.store(length, Ordering::Relaxed);
    }

    /// Puts an item to its place among those that are due.
    fn place(&mut self, name: &str) {
        let Some(item) = self.items.get_mut(name) else { return };
        if let Some((due, sequence)) = item.place.take() {
            self.due.remove(&(due, sequence, name.to_owned()));
        }
        if item.is_running {
            return;
        }
        let next = item.next(self.is_active);
        if let Some(((sequence, _), Next { due, .. })) = next {
            item.place = Some((due, sequence));
            self.due.insert((due, sequence, name.to_owned()));
        } else if item.waiting.is_empty() {
            self.items.remove(name);
        }
    }

    /// Starts the deliveries whose time has come.
    fn start_due(&mut self) {
        let now = Instant::now();
        while self.running.len() < MAX_IN_FLIGHT
            && let Some((due, _, _)) = self.due.first()
            && *due <= now
            && let Some((_, _, name)) = self.due.pop_first()
        {
            let Some(item) = self.items.get_mut(&name) else { continue };
            item.place = None;
            let Some((key, _)) = item.next(self.is_active) else { continue };
            item.is_running = true;
            let (lanes, webhook) = (Arc::clone(&self.lanes), self.webhook);
            let attempting = async move {
                let outcome = attempt(&lanes, webhook, key.1).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "a delivery of a webhook cannot be recorded");
                    Outcome::Repeat(PAUSE_AFTER_ERROR)
                });
                Done { item: name, key, outcome }
            };
            self.running.spawn(attempting.with_context(without_traces()));
        }
    }

    async fn finish(&mut self, Done { item: name, key, outcome }: Done) {
        let item = self.items.entry(name.clone()).or_default();
        item.is_running = false;
        let is_finished = match outcome {
            Outcome::Finished | Outcome::Resumed | Outcome::FinishedAndPaused => {
                item.waiting.remove(&key);
                true
            }
            Outcome::Repeat(pause) => {
                let due = Instant::now() + pause;
                item.waiting.entry(key).and_modify(|next| *next = Next { due, requested: false });
                false
            }
            Outcome::Paused | Outcome::Requested | Outcome::Abandoned => false,
        };
        self.place(&name);
        match outcome {
            Outcome::Resumed | Outcome::Requested => self.reload_at = Some(Instant::now()),
            Outcome::Paused | Outcome::FinishedAndPaused => self.pause(),
            _ => {}
        }
        self.measure();
        if is_finished {
            self.finished += 1;
            if self.finished.is_multiple_of(PRUNE_AFTER)
                && let Err(error) = self.lanes.deliveries.prune(self.webhook).await
            {
                tracing::warn!(%error, "old deliveries of a webhook cannot be deleted");
            }
        }
    }

    /// Sends only deliveries that a person has requested.
    fn pause(&mut self) {
        self.is_active = false;
        let names: Vec<_> = self.items.keys().cloned().collect();
        for name in names {
            self.place(&name);
        }
    }
}

impl Item {
    /// Returns the delivery that is next: the first one, or the first that a person has requested.
    fn next(&self, is_active: bool) -> Option<((i64, ObjectId), Next)> {
        let mut all = self.waiting.iter().map(|(key, next)| (*key, *next));
        all.find(|(_, next)| is_active || next.requested)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
