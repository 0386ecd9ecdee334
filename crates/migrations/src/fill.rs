//! Changing all documents that a filter matches, in batches that can be interrupted anywhere.
//!
//! A pass walks the collection by `_id` from the first to the last document that matches. Each
//! batch is a page of ids and one transaction of the change, of the journal and of the cursor in
//! the ledger, so that a batch either happened and is recorded, or did not happen. What an old
//! program inserts meanwhile is found by the look at the data that follows, and done in another.

mod changes;
mod page;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mongodb::{
    ClientSession, Collection, Database,
    bson::{Bson, Document, RawDocumentBuf, doc},
    error::Error,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    Assign, Fill, Progress, SetAside, Throttle,
    error::server_code,
    foreground::ForegroundProbe,
    journal::{self, Journal},
    ledger::{Ledger, LedgerError, literal},
    metrics,
    throttle::{Pace, Pacer, Rests},
    transaction::{Rejected, TOO_LARGE, Work, transact},
};

use page::{Page, Pages, id_of, is_same, lossy};

/// The most documents in a batch that are changed one by one: each has a statement of its own.
const LARGEST_BATCH_OF_EACH: u64 = 2_000;

/// How long the first batch waits to know how many documents there are.
const COUNT_PATIENCE: Duration = Duration::from_millis(100);

/// The most documents that a step may set aside. More of them are no exceptions but a mistake in
/// the migration or in the rules of the collection.
pub(crate) const SET_ASIDE_MAX: usize = 1_000;

/// Errors of a transaction that was too large or too slow (MongoDB manual, "Error Codes"):
/// `MaxTimeMSExpired`, `TransactionTooLarge`, `TransactionExceededLifetimeLimitSeconds`,
/// `BSONObjectTooLarge`.
const TOO_MUCH: [i32; 4] = [50, 257, 290, TOO_LARGE];

/// What a fill needs of its surroundings.
pub(crate) struct FillRun {
    pub(crate) fill: Fill,
    pub(crate) database: Database,
    pub(crate) ledger: Ledger,
    pub(crate) journal: Journal,
    pub(crate) migration: &'static str,
    pub(crate) fence: i64,
    pub(crate) throttle: Throttle,
    pub(crate) rests: Rests,
    /// Tells whether others use the database.
    pub(crate) foreground: Arc<ForegroundProbe>,
    /// Documents that this step has set aside so far.
    pub(crate) set_aside: Vec<SetAside>,
    /// Work stops at the next batch: the lease is lost, or the process is about to end.
    pub(crate) stop: CancellationToken,
    /// Told after every batch.
    pub(crate) on_progress: Arc<dyn Fn(&Progress) + Send + Sync>,
}

/// Why a fill stopped before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FillError {
    /// It was told to; the cursor is in the ledger.
    #[error("stopped")]
    Stopped,
    /// More documents were set aside than can be exceptions.
    #[error("too many documents cannot be changed")]
    TooManySetAside(Box<SetAside>),
    /// The ledger or the database refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<Error> for FillError {
    fn from(error: Error) -> Self {
        Self::Ledger(error.into())
    }
}

impl Fill {
    /// What is left to change, but for the documents that are set aside.
    pub(crate) fn pending(&self, set_aside: &[SetAside]) -> Document {
        let ids: Vec<_> = set_aside
            .iter()
            .filter(|aside| aside.what == self.what)
            .map(|aside| aside.document.clone())
            .collect();
        if ids.is_empty() {
            return self.filter.clone();
        }
        doc! { "$and": [self.filter.clone(), { "_id": { "$nin": ids } }] }
    }

    /// Whether any document is left to change.
    pub(crate) async fn is_pending(
        &self,
        database: &Database,
        set_aside: &[SetAside],
    ) -> mongodb::error::Result<bool> {
        let collection = database.collection::<Document>(self.collection);
        let pending = collection.find_one(self.pending(set_aside)).projection(doc! { "_id": 1 });
        Ok(pending.await?.is_some())
    }

    /// How many documents are left to change.
    pub(crate) async fn remaining(
        &self,
        database: &Database,
        set_aside: &[SetAside],
    ) -> mongodb::error::Result<i64> {
        let collection = database.collection::<Document>(self.collection);
        let count = collection.count_documents(self.pending(set_aside)).await?;
        Ok(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// The top-level fields that a change sets; none where nobody knows.
    fn writes(&self) -> Vec<&str> {
        match &self.assign {
            Assign::Values(fields) | Assign::Expressions(fields) => {
                fields.keys().map(String::as_str).collect()
            }
            Assign::Each(each) => each.writes().to_vec(),
            Assign::Update(_) => Vec::new(),
        }
    }

    /// The fields of a document that a batch needs to see.
    fn projection(&self) -> Document {
        let read = match &self.assign {
            Assign::Each(each) => each.reads(),
            _ => &[],
        };
        let fields = self.writes().into_iter().chain(read.iter().copied());
        let mut projection = doc! { "_id": 1 };
        projection.extend(fields.map(|field| (field.to_owned(), Bson::from(1))));
        projection
    }
}

/// Carried by the driver's error: somebody changed a document of the page meanwhile.
#[derive(Debug, Clone, Copy)]
struct Stale;

/// What a batch does in its transaction.
struct Batch<'a> {
    run: &'a FillRun,
    page: &'a Page,
    /// How far the step had come before.
    progress: &'a Progress,
    /// Whether to look for the documents again, in the transaction.
    looks_again: bool,
}

#[async_trait]
impl Work for Batch<'_> {
    /// How far it has come with this batch.
    type Output = Progress;

    async fn run(&self, session: &mut ClientSession) -> mongodb::error::Result<Progress> {
        let Self { run, page, progress, looks_again } = self;
        let mut progress = (*progress).clone();
        let listed = journal::count(page.documents.len())?;
        let found;
        // What is worked out for each document is worked out from what the transaction sees.
        let documents = if *looks_again || matches!(run.fill.assign, Assign::Each(_)) {
            found = run.find_in(&page.range, session).await?;
            &found
        } else {
            &page.documents
        };
        let (changed, records) = run.change(documents, session).await?;
        run.journal.write_in(session, &records).await?;
        progress.cursor = page.end.clone();
        progress.matched += listed.max(changed.matched);
        progress.modified += changed.modified;
        progress.skipped += (listed - changed.matched).max(0);
        let journaled: i64 = records.iter().map(|record| record.count).sum();
        run.record(session, &progress, journaled, None).await?;
        Ok(progress)
    }
}

/// Moves the cursor over a document that cannot be changed, and says why.
struct PutAside<'a> {
    run: &'a FillRun,
    progress: &'a Progress,
    document: &'a SetAside,
}

#[async_trait]
impl Work for PutAside<'_> {
    type Output = ();

    async fn run(&self, session: &mut ClientSession) -> mongodb::error::Result<()> {
        self.run.record(session, self.progress, 0, Some(self.document)).await
    }
}

impl FillRun {
    /// Changes every document that matches, from where an interrupted run stopped. Returns how
    /// many it changed, those of the interrupted run included.
    pub(crate) async fn run(
        mut self,
        interrupted: Option<Progress>,
        session: &mut ClientSession,
    ) -> Result<i64, FillError> {
        let largest = match self.fill.assign {
            Assign::Each(_) => LARGEST_BATCH_OF_EACH,
            _ => u64::MAX,
        };
        let pace = self.pace().await;
        self.rests.set_pace(pace);
        let mut pacer = Pacer::new(self.throttle, pace, self.ledger.client(), largest);
        if let Some(interrupted) = interrupted {
            let counting = match interrupted.total {
                0 => Some(self.count(interrupted.modified).await?),
                _ => None,
            };
            return Ok(self.pass(interrupted, counting, &mut pacer, session).await?.modified);
        }
        let Some((first, last)) = self.bounds().await? else { return Ok(0) };
        let mut counting = self.count(0).await?;
        // Where it may take long, the work does not wait for it.
        let total = tokio::time::timeout(COUNT_PATIENCE, &mut counting).await;
        let counting = total.is_err().then_some(counting);
        let progress = Progress {
            what: self.fill.what.clone(),
            cursor: Bson::Null,
            upper_id: last,
            matched: 0,
            modified: 0,
            skipped: 0,
            failed: 0,
            total: total.map_or(0, Result::unwrap_or_default),
            rate: 0.0,
            throttled_by: None,
            updated_at: None,
        };
        // The first document is done alone, so that all other batches begin after their cursor.
        let range = doc! { "_id": { "$eq": first.clone() } };
        let page = Page { documents: self.find(&range).await?, range, end: first };
        let progress = self.settle(page, progress, &mut pacer, session).await?;
        Ok(self.pass(progress, counting, &mut pacer, session).await?.modified)
    }

    /// Counts what is left to change at this moment, while it is being changed, beside what was
    /// before.
    async fn count(&self, before: i64) -> mongodb::error::Result<JoinHandle<i64>> {
        let (collection, pending) = (self.collection(), self.fill.pending(&self.set_aside));
        let mut snapshot = self.ledger.client().start_session().snapshot(true).await?;
        Ok(tokio::spawn(async move {
            match collection.count_documents(pending).session(&mut snapshot).await {
                Ok(count) => before.saturating_add_unsigned(count),
                Err(error) => {
                    // It is only shown, and a snapshot does not last for ever.
                    tracing::debug!(%error, "nobody knows how much there is to do");
                    0
                }
            }
        }))
    }

    /// The pace that fits what others do. No command of this run may be under way.
    async fn pace(&self) -> Pace {
        if self.throttle.is_gentle() {
            self.throttle.pace(self.foreground.look().await)
        } else {
            Pace::Unthrottled
        }
    }

    fn collection(&self) -> Collection<Document> {
        self.database.collection(self.fill.collection)
    }

    /// The `_id`s of the first and the last document that matches.
    async fn bounds(&self) -> mongodb::error::Result<Option<(Bson, Bson)>> {
        let collection = self.collection();
        let end = |direction: i32| {
            collection
                .find_one(self.fill.pending(&self.set_aside))
                .sort(doc! { "_id": direction })
                .projection(doc! { "_id": 1 })
        };
        let id = |document: Option<Document>| document.and_then(|mut found| found.remove("_id"));
        // Where nothing matches, each of the two may read the whole collection.
        let Some(first) = id(end(1).await?) else { return Ok(None) };
        Ok(Some(first).zip(id(end(-1).await?)))
    }

    async fn pass(
        &mut self,
        mut progress: Progress,
        mut counting: Option<JoinHandle<i64>>,
        pacer: &mut Pacer,
        session: &mut ClientSession,
    ) -> Result<Progress, FillError> {
        let upper = progress.upper_id.clone();
        if is_same(&progress.cursor, &upper) {
            return Ok(progress);
        }
        let mut page = self.next_page(progress.cursor.clone(), &upper, pacer.size()).await?;
        loop {
            let (end, documents) = (page.end.clone(), page.documents.len());
            let started = Instant::now();
            if let Some(counted) = counting.take_if(|counting| counting.is_finished()) {
                progress.total = counted.await.unwrap_or_default();
            }
            // The next page is looked up while this one commits.
            let ahead = self.looking_ahead(end.clone(), upper.clone(), pacer.size());
            progress = self.settle(page, progress, pacer, session).await?;
            let rested = self.rests.take_rested();
            let taken = started.elapsed().saturating_sub(rested);
            let documents = u64::try_from(documents).unwrap_or(u64::MAX);
            progress.throttled_by = pacer.wait(documents, taken, rested, &self.stop).await;
            progress.rate = pacer.rate();
            (self.on_progress)(&progress);
            if is_same(&end, &upper) {
                return Ok(progress);
            }
            page = ahead.await.map_err(Error::custom)??;
            let pace = self.pace().await;
            self.rests.set_pace(pace);
            if pacer.set_pace(pace) && pace == Pace::Gentle {
                // The page was read for full speed, and would take seconds now.
                page = self.next_page(end, &upper, pacer.size()).await?;
            }
        }
    }

    /// The page after a cursor, looked up on a task of its own.
    fn looking_ahead(
        &self,
        cursor: Bson,
        upper: Bson,
        size: u64,
    ) -> JoinHandle<mongodb::error::Result<Page>> {
        let pages = Pages {
            collection: self.collection(),
            filter: self.fill.pending(&self.set_aside),
            projection: self.fill.projection(),
        };
        tokio::spawn(async move { pages.after(cursor, &upper, size).await })
    }

    async fn next_page(
        &self,
        cursor: Bson,
        upper: &Bson,
        size: u64,
    ) -> mongodb::error::Result<Page> {
        let ahead = self.looking_ahead(cursor, upper.clone(), size);
        ahead.await.map_err(Error::custom)?
    }

    /// The documents of a range that are to be changed.
    async fn find(&self, range: &Document) -> mongodb::error::Result<Vec<Document>> {
        let filter = doc! { "$and": [range, self.fill.pending(&self.set_aside)] };
        let collection = self.collection().clone_with_type::<RawDocumentBuf>();
        let found = collection.find(filter);
        let found = found.sort(doc! { "_id": 1 }).projection(self.fill.projection()).await?;
        let found: Vec<_> = found.try_collect().await?;
        found.iter().map(|found| lossy(found)).collect()
    }

    /// The same as the session's transaction sees it.
    async fn find_in(
        &self,
        range: &Document,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<Vec<Document>> {
        let filter = doc! { "$and": [range, self.fill.pending(&self.set_aside)] };
        let collection = self.collection().clone_with_type::<RawDocumentBuf>();
        let found = collection.find(filter);
        let found = found.sort(doc! { "_id": 1 }).projection(self.fill.projection());
        let mut found = found.session(&mut *session).await?;
        let found: Vec<_> = found.stream(session).try_collect().await?;
        found.iter().map(|found| lossy(found)).collect()
    }

    /// Does a page, whatever it takes: in halves where it is too much at once or where a document
    /// in it cannot be changed, which is set aside when it is found.
    async fn settle(
        &mut self,
        page: Page,
        mut progress: Progress,
        pacer: &mut Pacer,
        session: &mut ClientSession,
    ) -> Result<Progress, FillError> {
        let mut pages = vec![page];
        while let Some(mut page) = pages.pop() {
            if self.stop.is_cancelled() {
                return Err(FillError::Stopped);
            }
            let error = match self.batch(&page, &progress, session).await {
                Ok(done) => {
                    progress = done;
                    continue;
                }
                Err(error) => error,
            };
            let rejected = error.get_custom::<Rejected>().cloned();
            let code = rejected.as_ref().map_or_else(|| server_code(&error), |one| Some(one.code));
            let is_too_much = code.is_some_and(|code| TOO_MUCH.contains(&code));
            let reason = match rejected {
                Some(rejected) => rejected.to_string(),
                None if is_too_much => error.to_string(),
                None => {
                    let explained = self.ledger.explain(self.migration, self.fence, error).await;
                    return Err(explained.into());
                }
            };
            if is_too_much {
                pacer.halve();
            }
            // Somebody may have inserted the one that is refused since the page was read, or
            // deleted it since it was refused: one is to blame only where it was alone.
            let refused = std::mem::take(&mut page.documents);
            page.documents = self.find(&page.range).await?;
            match (&*refused, &*page.documents) {
                ([refused], [left]) if is_same(id_of(refused), id_of(left)) => {
                    self.put_aside(&page, reason, &mut progress, session).await?;
                }
                (_, [] | [_]) => pages.push(page),
                _ => {
                    let [first, second] = page.split();
                    pages.extend([second, first]);
                }
            }
        }
        Ok(progress)
    }

    async fn batch(
        &self,
        page: &Page,
        progress: &Progress,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<Progress> {
        let started = Instant::now();
        let mut batch = Batch { run: self, page, progress, looks_again: false };
        let mut done = transact(session, &self.stop, &batch).await;
        if done.as_ref().is_err_and(|error| error.get_custom::<Stale>().is_some()) {
            batch.looks_again = true;
            done = transact(session, &self.stop, &batch).await;
        }
        let done = done?;
        metrics::batch(self.migration, started.elapsed(), done.modified - progress.modified);
        (self.on_progress)(&done);
        Ok(done)
    }

    async fn put_aside(
        &mut self,
        page: &Page,
        reason: String,
        progress: &mut Progress,
        session: &mut ClientSession,
    ) -> Result<(), FillError> {
        let document = page.documents.first().map_or(Bson::Null, |found| id_of(found).clone());
        let what = self.fill.what.clone();
        let aside = SetAside { what, document, reason };
        if self.set_aside.len() >= SET_ASIDE_MAX {
            return Err(FillError::TooManySetAside(Box::new(aside)));
        }
        progress.cursor = page.end.clone();
        (progress.matched, progress.failed) = (progress.matched + 1, progress.failed + 1);
        let put = PutAside { run: self, progress, document: &aside };
        if let Err(error) = transact(session, &self.stop, &put).await {
            return Err(self.ledger.explain(self.migration, self.fence, error).await.into());
        }
        let SetAside { what, document, reason } = &aside;
        tracing::warn!(migration = self.migration, what, %document, reason, "set aside");
        metrics::set_aside(self.migration);
        self.set_aside.push(aside);
        (self.on_progress)(progress);
        Ok(())
    }

    /// Writes to the ledger how far the step has come, in the session's transaction.
    async fn record(
        &self,
        session: &mut ClientSession,
        progress: &Progress,
        journaled: i64,
        set_aside: Option<&SetAside>,
    ) -> mongodb::error::Result<()> {
        let progress = literal(progress)?;
        let mut fields = doc! {
            "progress": { "$mergeObjects": [progress, { "updated_at": "$$NOW" }] },
            "journaled": { "$add": [{ "$ifNull": ["$journaled", 0_i64] }, journaled] },
        };
        if let Some(document) = set_aside {
            let earlier = doc! { "$ifNull": ["$set_aside", []] };
            let all = doc! { "$concatArrays": [earlier, literal([document])?] };
            fields.insert("set_aside", all);
        }
        self.ledger.update_in(session, self.migration, self.fence, fields).await
    }
}
