//! Changing all documents that a filter matches, in batches that can be interrupted anywhere.
//!
//! A pass walks the collection by `_id` from the first to the last document that matches. Each
//! batch is a range of `_id`s and one transaction of the change and of the cursor in the ledger,
//! so that a batch either happened and is recorded, or did not happen. Passes are repeated until
//! nothing matches: an old program may insert while we walk.

use std::time::{Duration, Instant};

use futures_util::{FutureExt, TryStreamExt};
use mongodb::{
    ClientSession, Collection, Database,
    bson::{Bson, Document, doc, spec::ElementType},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Assign, Fill, Progress,
    ledger::{Ledger, LedgerError, bson, ledger_error},
};

/// Documents in the first batch. The size then follows the time that a batch takes.
const FIRST_BATCH: u64 = 1_000;

/// The most documents in a batch. A transaction this size is about 1 MB of the oplog.
const LARGEST_BATCH: u64 = 16_000;

/// How long a batch should take: long enough that its commit does not dominate, short enough that
/// a foreground write that meets it does not wait noticeably.
const BATCH_TIME: std::ops::Range<Duration> =
    Duration::from_millis(200)..Duration::from_millis(500);

/// How often a fill is repeated for documents that arrived while it ran.
const LARGEST_PASSES: usize = 10;

/// What a fill needs of its surroundings.
pub(crate) struct FillRun<'a> {
    pub(crate) fill: &'a Fill,
    pub(crate) database: &'a Database,
    pub(crate) ledger: &'a Ledger,
    pub(crate) migration: &'a str,
    pub(crate) fence: i64,
    /// Work stops at the next batch: the lease is lost, or the process is about to end.
    pub(crate) stop: &'a CancellationToken,
    /// Told after every batch.
    pub(crate) on_progress: &'a (dyn Fn(&Progress) + Sync),
}

/// Why a fill stopped before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FillError {
    /// It was told to; the cursor is in the ledger.
    #[error("stopped")]
    Stopped,
    /// The ledger or the database refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<mongodb::error::Error> for FillError {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Ledger(error.into())
    }
}

impl Fill {
    /// Whether any document is left to change.
    pub(crate) async fn is_pending(&self, database: &Database) -> mongodb::error::Result<bool> {
        let collection = database.collection::<Document>(self.collection);
        Ok(collection.find_one(self.filter.clone()).projection(doc! { "_id": 1 }).await?.is_some())
    }

    /// How many documents are left to change.
    pub(crate) async fn remaining(&self, database: &Database) -> mongodb::error::Result<i64> {
        let collection = database.collection::<Document>(self.collection);
        let count = collection.count_documents(self.filter.clone()).await?;
        Ok(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl FillRun<'_> {
    /// Changes every document that matches, from where an interrupted run stopped. Returns how
    /// many were changed, those of the interrupted run included.
    pub(crate) async fn run(&self, interrupted: Option<Progress>) -> Result<i64, FillError> {
        let mut modified = 0;
        if let Some(progress) = interrupted {
            modified = self.pass(progress).await?;
        }
        for _ in 0..LARGEST_PASSES {
            let Some((first, last)) = self.bounds().await? else { break };
            let progress = Progress {
                what: self.fill.what.clone(),
                cursor: first,
                upper_id: last,
                modified,
                total: modified + self.fill.remaining(self.database).await?,
            };
            let before = modified;
            modified = self.first_then_pass(progress).await?;
            if modified == before {
                // What matches cannot be changed; the verification will say so.
                break;
            }
        }
        Ok(modified)
    }

    fn collection(&self) -> Collection<Document> {
        self.database.collection(self.fill.collection)
    }

    /// The `_id`s of the first and the last document that matches.
    async fn bounds(&self) -> mongodb::error::Result<Option<(Bson, Bson)>> {
        let collection = self.collection();
        let end = |direction: i32| {
            collection
                .find_one(self.fill.filter.clone())
                .sort(doc! { "_id": direction })
                .projection(doc! { "_id": 1 })
        };
        let (first, last) = tokio::try_join!(end(1), end(-1))?;
        let id = |document: Option<Document>| document.and_then(|mut found| found.remove("_id"));
        Ok(id(first).zip(id(last)))
    }

    /// A pass whose cursor is a document that still matches: it is done alone, so that all other
    /// batches begin after their cursor.
    async fn first_then_pass(&self, progress: Progress) -> Result<i64, FillError> {
        let first = doc! { "_id": { "$eq": progress.cursor.clone() } };
        let progress = self.batch(first, progress).await?;
        self.pass(progress).await
    }

    async fn pass(&self, mut progress: Progress) -> Result<i64, FillError> {
        let mut size = FIRST_BATCH;
        let mut end = self.end_of_batch(&progress.cursor, &progress.upper_id, size).await?;
        while progress.cursor != progress.upper_id {
            if self.stop.is_cancelled() {
                return Err(FillError::Stopped);
            }
            let started = Instant::now();
            let range = between(&progress.cursor, &end);
            let upper = progress.upper_id.clone();
            progress.cursor = end.clone();
            // The next batch is looked up while this one commits.
            let (done, next_end) =
                tokio::join!(self.batch(range, progress), self.end_of_batch(&end, &upper, size));
            (progress, end) = (done?, next_end?);
            let taken = started.elapsed();
            if taken < BATCH_TIME.start {
                size = (size * 2).min(LARGEST_BATCH);
            } else if taken > BATCH_TIME.end {
                size = (size / 2).max(1);
            }
        }
        Ok(progress.modified)
    }

    /// The last `_id` of the batch after `cursor`. Documents that need no change count too, so
    /// that the cursor moves over ranges that are done.
    async fn end_of_batch(
        &self,
        cursor: &Bson,
        upper: &Bson,
        size: u64,
    ) -> mongodb::error::Result<Bson> {
        let collection = self.collection();
        let last = collection
            .find_one(between(cursor, upper))
            .sort(doc! { "_id": 1 })
            .skip(size - 1)
            .projection(doc! { "_id": 1 });
        Ok(last.await?.and_then(|mut found| found.remove("_id")).unwrap_or_else(|| upper.clone()))
    }

    /// One transaction: the documents of the range that match, and the cursor.
    async fn batch(&self, range: Document, progress: Progress) -> Result<Progress, FillError> {
        let mut session = self.ledger.client().start_session().await?;
        let filter = doc! { "$and": [range, self.fill.filter.clone()] };
        let done = session
            .start_transaction()
            .and_run((self, filter, progress), |session, (this, filter, progress)| {
                async move {
                    let mut progress = progress.clone();
                    progress.modified += this.change(filter.clone(), session).await?;
                    let cursor = doc! { "$set": { "progress": bson(&progress)? } };
                    this.ledger.update_in(session, this.migration, this.fence, cursor).await?;
                    Ok(progress)
                }
                .boxed()
            })
            .await
            .map_err(ledger_error)?;
        (self.on_progress)(&done);
        Ok(done)
    }

    async fn change(
        &self,
        filter: Document,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<i64> {
        let collection = self.collection();
        match &self.fill.assign {
            Assign::Update(update) => {
                let result =
                    collection.update_many(filter, update.clone()).session(session).await?;
                Ok(i64::try_from(result.modified_count).unwrap_or(i64::MAX))
            }
            Assign::Each(each) => {
                let documents: Vec<Document> = collection
                    .find(filter)
                    .sort(doc! { "_id": 1 })
                    .projection(each.projection())
                    .session(&mut *session)
                    .await?
                    .stream(&mut *session)
                    .try_collect()
                    .await?;
                let mut modified = 0;
                for (id, fields) in each.assign(documents, session).await? {
                    let this = doc! { "$and": [{ "_id": id }, self.fill.filter.clone()] };
                    let set = doc! { "$set": fields };
                    let result = collection.update_one(this, set).session(&mut *session).await?;
                    modified += i64::try_from(result.modified_count).unwrap_or(i64::MAX);
                }
                Ok(modified)
            }
        }
    }
}

/// `low < _id ≤ high` in the order of the index on `_id`.
///
/// The comparison operators of a query stay within one BSON type; the aggregation's compare across
/// types in the very order of the index, and use it, but are evaluated once more on each document.
fn between(low: &Bson, high: &Bson) -> Document {
    if low.element_type() == high.element_type()
        && low.element_type() != ElementType::EmbeddedDocument
    {
        return doc! { "_id": { "$gt": low.clone(), "$lte": high.clone() } };
    }
    doc! { "$expr": { "$and": [
        { "$gt": ["$_id", { "$literal": low.clone() }] },
        { "$lte": ["$_id", { "$literal": high.clone() }] },
    ] } }
}
