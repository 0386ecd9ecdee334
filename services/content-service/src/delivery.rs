//! The delivery of webhooks.
//!
//! One process of the service delivers: the one that holds the lease, whose document also has the
//! position up to which changes are queued. It queues each public change for the webhooks that are told
//! of it ([`message`]), and each webhook has a queue of its own ([`lane`]). A message is sent at least
//! once: it is in the database before the position moves on, and until an attempt is recorded.

mod attempt;
mod lane;
mod message;
mod schedule;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, Utc};
use data_service::server_clock;
use futures_util::future::join_all;
use models::{PublicChange, PublicKind};
use mongo_kit::{
    Connection, DatabaseError, Work, Writers,
    lease::{Lease, LeaseDocument},
};
use mongodb::{
    ClientSession,
    bson::{Document, doc, oid::ObjectId},
    error::{Error, Result},
};
use opentelemetry::{Context, context::FutureExt as _};
use service_kit::{
    runtime::{clock::Clock, settings},
    web::outbound::OutboundClient,
};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

pub(crate) use self::message::test_message;
use self::{
    lane::{Lane, Lanes},
    message::message_of,
    schedule::Schedule,
};
use crate::{
    events::{
        position::Position,
        projector::{Checkpoint, Projector, Source, changed},
    },
    store::{
        collections::DISPATCH,
        deliveries::{DeliveryStore, MAX_PENDING, StoredDelivery},
        webhooks::{StoredWebhook, WebhookStore},
    },
};

/// The duration of the lease: after it, another process delivers in place of one that was killed.
const LEASE: Duration = Duration::from_secs(10);

/// The interval at which a process looks for webhooks of which it was not told: those that another
/// process has changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The interval at which the position is recorded if there are no changes.
const RECORD_INTERVAL: Duration = Duration::from_secs(5);

/// The time that attempts have to end when the process ends: most targets answer within it. The others
/// get the message again from the next process.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The time for which a commit of unknown outcome is repeated when deliveries are added. After it, the
/// delivery begins again at what is recorded.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of repetitions of a transaction that adds deliveries: it conflicts with a heartbeat of the
/// lease at most.
const MAX_REPETITIONS: usize = 5;

/// Public changes, and the position after them.
#[derive(Debug, Clone, PartialEq)]
struct ChangeBatch {
    changes: Vec<PublicChange>,
    position: Checkpoint,
}

/// Webhooks with their deliveries, for requests and for the task that delivers.
#[derive(Clone)]
pub(crate) struct Webhooks {
    pub(crate) webhooks: WebhookStore,
    pub(crate) deliveries: DeliveryStore,
    pub(crate) client: OutboundClient,
    pub(crate) clock: Clock,
    writers: Writers,
    lease: LeaseDocument,
    source: Source,
    schedule: Schedule,
    /// Notified by requests, so that this process does not wait until it looks again.
    wake: Arc<Notify>,
}

impl Webhooks {
    pub(crate) fn new(
        connection: &Connection,
        settings: &settings::Webhooks,
        client: OutboundClient,
        source: Source,
    ) -> Self {
        let database = connection.database();
        Self {
            webhooks: WebhookStore::new(database),
            deliveries: DeliveryStore::new(database),
            client,
            clock: server_clock(connection),
            writers: connection.writers().clone(),
            lease: LeaseDocument::new(database.collection(DISPATCH)),
            source,
            schedule: Schedule { retry_for: settings.retry_for_seconds.duration() },
            wake: Arc::new(Notify::new()),
        }
    }

    /// Lets this process look for webhooks that have changed.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Records the present position, from which on changes are delivered. Called before the first
    /// webhook is stored.
    pub(crate) async fn begin(&self) -> Result<()> {
        let position = stored(&self.source.checkpoint().await?)?;
        self.lease.create(0, position.clone()).await?;
        self.lease.set(position).await
    }

    /// Delivers while this process holds the lease, until `shutdown` is cancelled.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        self.deliver(shutdown).with_context(without_traces()).await;
    }

    async fn deliver(self, shutdown: CancellationToken) {
        let owner = ObjectId::new().to_hex();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = self.wake.notified() => {}
            }
            match self.acquire(&owner).await {
                Ok(Some((lease, position))) => self.dispatch(lease, position, &shutdown).await,
                Ok(None) => {}
                Err(error) => {
                    let error = DatabaseError::from(error);
                    tracing::debug!(%error, "the lease of webhooks cannot be acquired");
                }
            }
        }
    }

    /// Acquires the lease if there are webhooks. Returns it with the position up to which changes are
    /// queued.
    async fn acquire(&self, owner: &str) -> Result<Option<(Lease, Option<Checkpoint>)>> {
        if self.webhooks.all().await?.is_empty() {
            return Ok(None);
        }
        // Someone may have removed it.
        self.lease.create(0, doc! {}).await?;
        let Some(lease) = self.lease.acquire(owner, LEASE, 0).await? else { return Ok(None) };
        let document = self.lease.read().await?.unwrap_or_default();
        let position = document.get_str(POSITION).ok();
        let position = position.and_then(|position| serde_json::from_str(position).ok());
        Ok(Some((lease, position)))
    }

    async fn dispatch(
        &self,
        lease: Lease,
        position: Option<Checkpoint>,
        shutdown: &CancellationToken,
    ) {
        tracing::info!(fence = lease.fence(), "delivering webhooks");
        let stop = CancellationToken::new();
        let lanes = Arc::new(Lanes {
            webhooks: self.webhooks.clone(),
            deliveries: self.deliveries.clone(),
            client: self.client.clone(),
            clock: self.clock.clone(),
            schedule: self.schedule,
            lost: lease.lost().child_token(),
            stop: stop.clone(),
        });
        let mut dispatcher = Dispatcher {
            webhooks: self,
            lease,
            lanes,
            all: Vec::new(),
            queues: HashMap::new(),
            sequence: 0,
            position,
        };
        let ended = dispatcher.run(shutdown).await;
        stop.cancel();
        if let Err(error) = ended {
            let error = DatabaseError::from(error);
            tracing::warn!(%error, "the delivery of webhooks begins again");
        }
        dispatcher.end().await;
    }
}

/// The field of the lease with the position up to which changes are queued.
const POSITION: &str = "position";

/// The field of the lease with the place of the last delivery in the queue.
const SEQUENCE: &str = "sequence";

/// The transaction that adds deliveries.
struct Queueing<'a, 'b> {
    dispatcher: &'a Dispatcher<'b>,
    fields: Document,
    deliveries: &'a [StoredDelivery],
}

impl Work for Queueing<'_, '_> {
    /// `false` if the lease is lost.
    type Output = bool;
    type Error = Error;

    async fn run(&mut self, session: &mut ClientSession) -> Result<bool> {
        let Dispatcher { lease, webhooks, .. } = self.dispatcher;
        if !lease.set_in(session, self.fields.clone()).await? {
            return Ok(false);
        }
        webhooks.deliveries.insert_in(session, self.deliveries).await?;
        Ok(true)
    }
}

/// The delivery of all webhooks while this process holds the lease.
struct Dispatcher<'a> {
    webhooks: &'a Webhooks,
    lease: Lease,
    lanes: Arc<Lanes>,
    all: Vec<StoredWebhook>,
    queues: HashMap<ObjectId, Lane>,
    sequence: i64,
    /// The position up to which changes are queued.
    position: Option<Checkpoint>,
}

impl Dispatcher<'_> {
    /// Delivers until the lease is lost, the process ends, or there are no webhooks.
    async fn run(&mut self, shutdown: &CancellationToken) -> Result<()> {
        let lost = self.lease.lost().clone();
        self.sequence = self.webhooks.deliveries.newest_sequence().await?;
        self.look().await?;
        let existing = self.webhooks.webhooks.ids().await?;
        self.webhooks.deliveries.delete_others(&existing).await?;
        if self.position.is_none() {
            self.begin_without_position().await?;
        }
        let mut changes = changes_after(self.webhooks.source.clone(), self.position.clone());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = lost.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = self.webhooks.wake.notified() => {}
                batch = changes.recv() => match batch {
                    Some(batch) => {
                        let mut deliveries = Vec::new();
                        if !batch.changes.is_empty() {
                            // A webhook that was added before a change is told of it.
                            self.look().await?;
                            deliveries = self.deliveries_of(&batch.changes).await?;
                        }
                        self.position = Some(batch.position);
                        if deliveries.is_empty() {
                            self.record().await?;
                        } else {
                            self.queue(deliveries).await?;
                        }
                        continue;
                    }
                    None => return Ok(()),
                }
            }
            self.look().await?;
            if self.all.is_empty() {
                return Ok(());
            }
        }
    }

    /// Tells the webhooks that anything may have changed: the position is missing, or was written by a
    /// version of which this one cannot read it.
    async fn begin_without_position(&self) -> Result<()> {
        if self.all.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            "the position of webhooks cannot be read: each of them is told of all kinds"
        );
        let kinds: Vec<_> = PublicKind::all().map(PublicKind::as_str).collect();
        for webhook in &self.all {
            self.webhooks.webhooks.add_missed(webhook.id, &kinds).await?;
        }
        Ok(())
    }

    /// Reads the webhooks, and starts, renews and ends their queues.
    async fn look(&mut self) -> Result<()> {
        let all = self.webhooks.webhooks.all().await?;
        for webhook in &all {
            let before = self.all.iter().find(|before| before.id == webhook.id);
            match self.queues.get(&webhook.id) {
                None => {
                    let lane = Lane::start(Arc::clone(&self.lanes), webhook.id);
                    self.queues.insert(webhook.id, lane);
                }
                Some(lane) if before.is_some_and(|before| before.version != webhook.version) => {
                    lane.reload();
                }
                Some(_) => {}
            }
        }
        let removed: Vec<_> = self.queues.keys().copied().collect();
        for id in removed.into_iter().filter(|id| !all.iter().any(|one| one.id == *id)) {
            self.queues.remove(&id);
            // One that this version cannot read keeps its deliveries.
            if !self.webhooks.webhooks.ids().await?.contains(&id) {
                self.webhooks.deliveries.delete_of(id).await?;
            }
        }
        self.all = all;
        self.queue_missed().await
    }

    /// Returns the deliveries of changes to the webhooks that are told of them.
    async fn deliveries_of(&mut self, changes: &[PublicChange]) -> Result<Vec<StoredDelivery>> {
        let mut deliveries = Vec::new();
        for webhook in self.all.clone() {
            let told: Vec<_> = changes
                .iter()
                .filter(|change| webhook.is_told_of(change.kind, change.event))
                .collect();
            let Some(lane) = self.queues.get(&webhook.id).filter(|_| !told.is_empty()) else {
                continue;
            };
            if webhook.failure.is_some() || lane.length() + told.len() > MAX_PENDING {
                let mut missed: Vec<_> = told.iter().flat_map(|change| kinds(change)).collect();
                missed.sort_unstable();
                missed.dedup();
                self.webhooks.webhooks.add_missed(webhook.id, &missed).await?;
                continue;
            }
            deliveries.extend(told.into_iter().map(|change| self.delivery(webhook.id, change)));
        }
        Ok(deliveries)
    }

    /// Returns the delivery of a change, which is the next one of the queue.
    fn delivery(&mut self, webhook: ObjectId, change: &PublicChange) -> StoredDelivery {
        self.sequence += 1;
        let now = self.webhooks.clock.now();
        StoredDelivery::new(webhook, message_of(change), self.sequence, now)
    }

    /// Adds deliveries to the queues, and records the position in the same transaction: a process that
    /// has lost the lease adds nothing after its successor has begun.
    async fn queue(&mut self, deliveries: Vec<StoredDelivery>) -> Result<()> {
        // The sequence changes each time, so that the lease is really written.
        let mut fields = doc! { SEQUENCE: self.sequence };
        if let Some(position) = &self.position {
            fields.extend(stored(position)?);
        }
        let mut writer = self.webhooks.writers.start_session().await?;
        let mut pauses = ExponentialBuilder::default().with_max_times(MAX_REPETITIONS).build();
        let queueing = Queueing { dispatcher: self, fields, deliveries: &deliveries };
        let is_queued = writer.transact(COMMIT_TIMEOUT, |_| pauses.next(), queueing).await?;
        if !is_queued {
            return Err(Error::custom("the lease is lost"));
        }
        // Those of a webhook stand together, and its queue counts what waits after each addition.
        for of_webhook in deliveries.chunk_by(|one, next| one.webhook_id == next.webhook_id) {
            if let Some(lane) = self.queues.get(&of_webhook[0].webhook_id) {
                lane.add(of_webhook.iter().map(StoredDelivery::waiting).collect());
            }
        }
        Ok(())
    }

    /// Tells webhooks that continue of the kinds of which they were not told while they were failing.
    async fn queue_missed(&mut self) -> Result<()> {
        let now = self.webhooks.clock.now();
        for webhook in self.all.clone() {
            let has_room =
                self.queues.get(&webhook.id).is_some_and(|lane| lane.length() < MAX_PENDING / 2);
            if webhook.missed.is_empty() || !webhook.is_active() || !has_room {
                continue;
            }
            let changes = webhook.missed.iter().map(|kind| Self::everything(kind, now));
            let deliveries = changes.map(|change| self.delivery(webhook.id, &change)).collect();
            self.queue(deliveries).await?;
            // Afterwards: if the process ends in between, the message is sent twice, not never. Only this
            // task adds kinds.
            self.webhooks.webhooks.remove_missed(webhook.id, &webhook.missed).await?;
        }
        Ok(())
    }

    /// Returns the change after which everything of a kind may be different.
    fn everything(kind: &str, time: DateTime<Utc>) -> PublicChange {
        let change = changed(kind.parse::<PublicKind>().ok()).at(&Position::default(), time);
        // Another one each time.
        PublicChange { cursor: ObjectId::new().to_hex(), ..change }
    }

    /// Records that the changes up to the position are queued.
    async fn record(&self) -> Result<()> {
        if let Some(position) = &self.position
            && !self.lease.set(stored(position)?).await?
        {
            return Err(Error::custom("the lease is lost"));
        }
        Ok(())
    }

    /// Waits until the attempts that have begun are recorded, and releases the lease.
    async fn end(mut self) {
        let lanes = std::mem::take(&mut self.queues).into_values();
        let mut ended = join_all(lanes.map(|lane| lane.task));
        if tokio::time::timeout(END_TIMEOUT, &mut ended).await.is_err() {
            self.lanes.lost.cancel();
            ended.await;
        }
        let recorded = if self.all.is_empty() { Ok(()) } else { self.record().await };
        if let Err(error) = recorded.and(self.lease.release().await) {
            let error = DatabaseError::from(error);
            tracing::debug!(%error, "the lease of webhooks is not released: it expires");
        }
    }
}

/// Returns a context without traces: looking for work twice a second would hide those of requests.
fn without_traces() -> Context {
    Context::new().with_telemetry_suppressed()
}

/// Returns the kinds that a change concerns.
fn kinds(change: &PublicChange) -> Vec<&'static str> {
    match change.kind {
        Some(kind) => vec![kind.as_str()],
        None => PublicKind::all().map(PublicKind::as_str).collect(),
    }
}

/// Returns the fields of the lease with a position.
fn stored(position: &Checkpoint) -> Result<Document> {
    let position = serde_json::to_string(position).map_err(mongodb::error::Error::custom)?;
    Ok(doc! { POSITION: position })
}

/// Reads the changes after a position, or from now on, until the receiver is dropped.
fn changes_after(source: Source, position: Option<Checkpoint>) -> mpsc::Receiver<ChangeBatch> {
    // The next changes are read while the last ones are queued.
    let (sender, receiver) = mpsc::channel(1);
    let reading = async move {
        let mut projector = Projector::new(source, position);
        let mut sent = Instant::now();
        // The place after changes may be before the last of them until the next answer of the database.
        let mut is_settled = true;
        loop {
            let changes = tokio::select! {
                changes = projector.next() => changes,
                () = sender.closed() => return,
            };
            if changes.is_empty() && is_settled && sent.elapsed() < RECORD_INTERVAL {
                continue;
            }
            sent = Instant::now();
            is_settled = changes.is_empty();
            let batch = ChangeBatch { changes, position: projector.checkpoint() };
            if sender.send(batch).await.is_err() {
                return;
            }
        }
    };
    tokio::spawn(reading.with_context(without_traces()));
    receiver
}
