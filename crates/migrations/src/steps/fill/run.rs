//! One run of a fill.

use std::time::{Duration, Instant};

use mongo_kit::{Work, Writer};
use mongodb::{
    ClientSession, Collection,
    bson::{Bson, Document, RawDocumentBuf, doc},
    error::{Error, Result as MongoResult},
};
use tokio::task::JoinHandle;

use super::{
    Assign, Fill,
    batch::{Batch, BatchReader, id_of, is_same},
    pacer::{FlowControl, Pacer},
    throttle::Pace,
};
use crate::{
    error::{RunErrorKind, server_code},
    metrics,
    state::{
        entry::{Progress, Quarantined},
        journal,
        ledger::{add_journaled, literal},
    },
    steps::StepContext,
    transaction::{Rejected, TOO_LARGE, transact},
};

/// The most documents in a batch that are changed one by one: each has a statement of its own.
const MAX_BATCH_SIZE_OF_EACH: u64 = 2_000;

/// The time that the first batch waits for the number of documents.
const COUNT_TIMEOUT: Duration = Duration::from_millis(100);

/// The most documents that a step may quarantine. More of them are not exceptions but a mistake in
/// the migration or in the rules of the collection.
const MAX_QUARANTINED: usize = 1_000;

/// Errors of a transaction that was too large or too slow (MongoDB manual, "Error Codes"):
/// `MaxTimeMSExpired`, `TransactionTooLarge`, `TransactionExceededLifetimeLimitSeconds`,
/// `BSONObjectTooLarge`.
const TOO_MUCH: [i32; 4] = [50, 257, 290, TOO_LARGE];

/// Carried by the driver's error: another client changed a document of the batch after it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stale;

/// One run of a fill.
pub(super) struct FillRun<'a> {
    pub(super) fill: &'a Fill,
    pub(super) context: StepContext,
    pub(super) collection: Collection<RawDocumentBuf>,
    pub(super) pacer: Pacer,
    /// The documents that this step has quarantined.
    quarantined: Vec<Quarantined>,
    progress: Progress,
    /// The number of documents to change, while it is being counted.
    total: Option<JoinHandle<i64>>,
}

/// The server's refusal of a batch because of its documents.
struct Refusal {
    reason: String,
    /// `true` if the batch was too large or too slow.
    is_too_much: bool,
}

/// Changes every document that matches, from the cursor of an interrupted run if there is one.
/// Returns the number of changed documents, including those of the interrupted run.
pub(super) async fn run(
    fill: &Fill,
    mut context: StepContext,
    writer: &mut Writer,
) -> Result<i64, RunErrorKind> {
    let max_batch_size = match fill.assign {
        Assign::Each(_) => MAX_BATCH_SIZE_OF_EACH,
        Assign::Values(_) | Assign::Expressions(_) => u64::MAX,
    };
    let flow_control =
        context.throttle.heeds_flow_control.then(|| FlowControl::new(context.claim.client()));
    let interrupted = context.interrupted.take();
    let mut run = FillRun {
        fill,
        collection: context.database.collection(fill.collection),
        pacer: Pacer::new(context.throttle, pace(&context).await, flow_control, max_batch_size),
        quarantined: fill.quarantined(&context.quarantined).cloned().collect(),
        progress: Progress { step: fill.key.clone(), ..Progress::default() },
        total: None,
        context,
    };
    match interrupted {
        Some(progress) => run.resume(progress).await?,
        None => {
            let Some((first, last)) = run.bounds().await? else { return Ok(0) };
            run.begin(first, last, writer).await?;
        }
    }
    run.pass(writer).await?;
    Ok(run.progress.modified)
}

impl FillRun<'_> {
    /// Prepares to continue at the cursor of an interrupted run.
    async fn resume(&mut self, progress: Progress) -> Result<(), RunErrorKind> {
        if progress.total == 0 {
            self.total = Some(self.count(progress.modified).await?);
        }
        self.progress = progress;
        Ok(())
    }

    /// Begins a pass from the first to the last document that matches. The first document is a batch
    /// of its own, so that all others begin after a cursor.
    async fn begin(
        &mut self,
        first: Bson,
        last: Bson,
        writer: &mut Writer,
    ) -> Result<(), RunErrorKind> {
        self.progress.upper_id = last;
        let mut total = self.count(0).await?;
        match tokio::time::timeout(COUNT_TIMEOUT, &mut total).await {
            Ok(counted) => self.progress.total = counted.unwrap_or_default(),
            // It may take long, and the work does not wait for it.
            Err(_) => self.total = Some(total),
        }
        let range = doc! { "_id": { "$eq": first.clone() } };
        let documents = self.reader().find(&range).await?;
        let batch = Batch { documents, range, end: first };
        self.settle(batch, writer).await
    }

    /// Counts the documents to change at this moment, in addition to those changed before, while
    /// they are being changed.
    async fn count(&self, before: i64) -> MongoResult<JoinHandle<i64>> {
        let (collection, pending) = (self.collection.clone(), self.pending());
        let mut snapshot = self.context.claim.client().start_session().snapshot(true).await?;
        Ok(tokio::spawn(async move {
            match collection.count_documents(pending).session(&mut snapshot).await {
                Ok(count) => before.saturating_add_unsigned(count),
                Err(error) => {
                    // The number is only shown, and a snapshot does not last for ever.
                    tracing::debug!(%error, "the number of documents to change is unknown");
                    0
                }
            }
        }))
    }

    /// Returns the filter of the documents that are still to be changed.
    fn pending(&self) -> Document {
        self.fill.pending(&self.quarantined)
    }

    /// Returns the `_id`s of the first and the last document that matches.
    async fn bounds(&self) -> MongoResult<Option<(Bson, Bson)>> {
        let collection = self.collection.clone_with_type::<Document>();
        let end = |direction: i32| {
            let found = collection.find_one(self.pending()).sort(doc! { "_id": direction });
            found.projection(doc! { "_id": 1 })
        };
        let id = |document: Option<Document>| document.and_then(|mut found| found.remove("_id"));
        // If nothing matches, each of the two may read the whole collection.
        let Some(first) = id(end(1).await?) else { return Ok(None) };
        Ok(Some(first).zip(id(end(-1).await?)))
    }

    /// Changes the documents from the cursor to the end of the pass.
    async fn pass(&mut self, writer: &mut Writer) -> Result<(), RunErrorKind> {
        let upper = self.progress.upper_id.clone();
        if is_same(&self.progress.cursor, &upper) {
            return Ok(());
        }
        let mut started = Instant::now();
        let mut batch = read(self.start_reading(self.progress.cursor.clone())).await?;
        loop {
            let (end, documents) = (batch.end.clone(), batch.documents.len());
            if let Some(counted) = self.total.take_if(|total| total.is_finished()) {
                self.progress.total = counted.await.unwrap_or_default();
            }
            let is_last = is_same(&end, &upper);
            // At full speed, the next batch is read while this one commits.
            let reads_ahead = !is_last && !self.pacer.is_gentle();
            let next = reads_ahead.then(|| self.start_reading(end.clone()));
            self.settle(batch, writer).await?;
            self.pause(documents, started.elapsed()).await;
            if is_last {
                return Ok(());
            }
            let next = match next {
                Some(next) => Some(read(next).await?),
                None => None,
            };
            // No command of this run is under way now, so that the foreground can be observed.
            self.pacer.set_pace(pace(&self.context).await);
            started = Instant::now();
            // A batch that was read for full speed would take seconds at a gentle pace.
            batch = match next.filter(|_| !self.pacer.is_gentle()) {
                Some(next) => next,
                None => read(self.start_reading(end)).await?,
            };
            self.pacer.pause_between_commands(started.elapsed(), &self.context.stop).await;
        }
    }

    /// Leaves time to others after a batch.
    async fn pause(&mut self, documents: usize, elapsed: Duration) {
        let documents = u64::try_from(documents).unwrap_or(u64::MAX);
        self.progress.throttled_by =
            self.pacer.pause_after_batch(documents, elapsed, &self.context.stop).await;
        self.progress.rate = self.pacer.rate();
        (self.context.on_progress)(&self.progress);
    }

    /// Starts to read the batch after a cursor, on a task of its own.
    fn start_reading(&self, cursor: Bson) -> JoinHandle<MongoResult<Batch>> {
        let (reader, size) = (self.reader(), self.pacer.batch_size());
        let upper = self.progress.upper_id.clone();
        tokio::spawn(async move { reader.after(cursor, &upper, size).await })
    }

    fn reader(&self) -> BatchReader {
        let (collection, filter) = (self.collection.clone(), self.pending());
        BatchReader { collection, filter, projection: self.fill.projection() }
    }

    /// Commits a batch, in halves if it is too much for one transaction or if the server refuses a
    /// document in it. That document is found by halving and quarantined.
    async fn settle(&mut self, batch: Batch, writer: &mut Writer) -> Result<(), RunErrorKind> {
        let mut batches = vec![batch];
        while let Some(mut batch) = batches.pop() {
            if self.context.stop.is_cancelled() {
                return Err(RunErrorKind::Interrupted);
            }
            let Err(error) = self.commit(&batch, writer).await else { continue };
            let refusal = self.refusal(error).await?;
            if refusal.is_too_much {
                self.pacer.halve_batches();
            }
            // The refused document may have been inserted after the batch was read, or deleted after
            // it was refused: a document is to blame only if it was alone both times.
            let refused = std::mem::take(&mut batch.documents);
            batch.documents = self.reader().find(&batch.range).await?;
            match (&*refused, &*batch.documents) {
                ([refused], [left]) if is_same(id_of(refused), id_of(left)) => {
                    self.quarantine(&batch, refusal.reason).await?;
                }
                (_, [] | [_]) => batches.push(batch),
                _ => {
                    let [first, second] = batch.split();
                    batches.extend([second, first]);
                }
            }
        }
        Ok(())
    }

    /// Returns the refusal of a batch because of its documents; fails with any other error.
    async fn refusal(&self, error: Error) -> Result<Refusal, RunErrorKind> {
        let rejected = error.get_custom::<Rejected>();
        let code = rejected.map_or_else(|| server_code(&error), |rejected| Some(rejected.code));
        let is_too_much = code.is_some_and(|code| TOO_MUCH.contains(&code));
        match rejected {
            Some(rejected) => Ok(Refusal { reason: rejected.to_string(), is_too_much }),
            None if is_too_much => Ok(Refusal { reason: error.to_string(), is_too_much }),
            None => Err(self.context.claim.classify_error(error).await),
        }
    }

    /// Changes the documents of a batch in one transaction.
    async fn commit(&mut self, batch: &Batch, writer: &mut Writer) -> MongoResult<()> {
        let started = Instant::now();
        let stop = self.context.stop.clone();
        let write = Write { run: self, batch, reads_again: false };
        let mut done = transact(writer, &stop, write).await;
        if done.as_ref().is_err_and(|error| error.get_custom::<Stale>().is_some()) {
            let write = Write { run: self, batch, reads_again: true };
            done = transact(writer, &stop, write).await;
        }
        let done = done?;
        let modified = done.modified - self.progress.modified;
        metrics::batch(self.context.claim.id, started.elapsed(), modified);
        self.progress = done;
        (self.context.on_progress)(&self.progress);
        Ok(())
    }

    /// Records that the only document of a batch cannot be changed, and moves the cursor over it.
    async fn quarantine(&mut self, batch: &Batch, reason: String) -> Result<(), RunErrorKind> {
        let document = batch.documents.first().map_or(Bson::Null, |found| id_of(found).clone());
        if self.quarantined.len() >= MAX_QUARANTINED {
            let (max, document) = (MAX_QUARANTINED, document.to_string());
            return Err(RunErrorKind::TooManyQuarantined { max, document, reason });
        }
        let quarantined = Quarantined { step: self.fill.key.clone(), document, reason };
        self.progress.cursor = batch.end.clone();
        self.progress.matched += 1;
        self.progress.failed += 1;
        let mut fields = progress_fields(&self.progress)?;
        let earlier = doc! { "$ifNull": ["$set_aside", []] };
        let all = doc! { "$concatArrays": [earlier, literal([&quarantined])?] };
        fields.insert("set_aside", all);
        let claim = &self.context.claim;
        claim.update(fields).await?;
        let Quarantined { step, document, reason } = &quarantined;
        tracing::warn!(migration = claim.id, %step, %document, reason, "document quarantined");
        metrics::quarantined(claim.id);
        self.quarantined.push(quarantined);
        (self.context.on_progress)(&self.progress);
        Ok(())
    }
}

/// The transaction that changes the documents of a batch.
struct Write<'r, 'a> {
    run: &'r mut FillRun<'a>,
    batch: &'r Batch,
    /// `true` to read the documents again in the transaction.
    reads_again: bool,
}

impl Work for Write<'_, '_> {
    /// The progress with this batch.
    type Output = Progress;
    type Error = Error;

    async fn run(&mut self, session: &mut ClientSession) -> MongoResult<Progress> {
        let Self { run, batch, reads_again } = self;
        let listed = journal::count(batch.documents.len())?;
        let found;
        // Code computes its values from what the transaction sees.
        let documents = if *reads_again || matches!(run.fill.assign, Assign::Each(_)) {
            found = run.reader().find_in(session, &batch.range).await?;
            &found
        } else {
            &batch.documents
        };
        let (changed, records) = run.change(documents, session).await?;
        run.context.journal.write_in(session, &records).await?;
        let mut progress = run.progress.clone();
        progress.cursor = batch.end.clone();
        progress.matched += listed.max(changed.matched);
        progress.modified += changed.modified;
        progress.raced += (listed - changed.matched).max(0);
        let mut fields = progress_fields(&progress)?;
        fields.extend(add_journaled(records.iter().map(|record| record.count).sum()));
        run.context.claim.update_in(session, fields).await?;
        Ok(progress)
    }
}

/// Returns the pace that fits the foreground work. No command of the run may be under way.
async fn pace(context: &StepContext) -> Pace {
    if context.throttle.is_gentle() {
        Pace::during(context.foreground.observe().await)
    } else {
        Pace::Unthrottled
    }
}

/// Returns the batch that a task reads.
async fn read(task: JoinHandle<MongoResult<Batch>>) -> MongoResult<Batch> {
    task.await.map_err(Error::custom)?
}

/// Returns the fields of the ledger that record the progress of the step.
fn progress_fields(progress: &Progress) -> MongoResult<Document> {
    let progress = literal(progress)?;
    Ok(doc! { "progress": { "$mergeObjects": [progress, { "updated_at": "$$NOW" }] } })
}
