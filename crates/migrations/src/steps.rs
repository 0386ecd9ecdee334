//! The steps of a migration: [`Step`] is what the engine needs of each of them, one file a kind.
//!
//! A new kind of step is a new file with an implementation of [`Step`]; the engine names none.

mod duplicates;
pub(crate) mod fill;
mod index;
mod insert;
mod inspection;
mod skip;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mongo_kit::Writer;
use mongodb::{
    Database,
    bson::{Bson, Document, doc},
    error::Result as MongoResult,
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{RunErrorKind, StepsError},
    state::{
        entry::{MAX_EXAMPLES, Progress, Quarantined, Skipped},
        journal::Journal,
        ledger::Claim,
        step_key::StepKey,
    },
};
use fill::{foreground::ForegroundProbe, throttle::Throttle};

pub use fill::{Assign, EachDocument, Fill};
pub use index::Index;
pub use insert::Insert;
pub use inspection::{Inspect, Inspection};
pub use skip::Skip;

/// The steps of a migration, in the order in which they run.
pub type Steps = Vec<Arc<dyn Step>>;

/// One condition that must hold: [`Fill`], [`Index`], [`Insert`], [`Skip`] or [`Inspection`].
///
/// Migrations combine these. Other crates cannot implement a step that writes, because the context of
/// [`Step::apply`] is private.
///
/// The database is only written by [`Step::apply`]. The default methods are those of a step that
/// changes nothing and only reports.
#[async_trait]
pub trait Step: fmt::Debug + Send + Sync {
    /// Returns the stable key of the step.
    fn key(&self) -> StepKey;

    /// Returns the key under which the ledger adds up the changes of the step.
    fn part_key(&self) -> StepKey {
        self.key()
    }

    /// Returns the declared behaviour of the step, for
    /// [`Migration::specification`](crate::Migration::specification). It does not cover the code of
    /// an [`EachDocument`] or an [`Inspect`], and values that differ from run to run do not belong
    /// in it: a migration with such steps declares itself by hand.
    fn specification(&self) -> Document;

    /// Returns the collection that the step changes or describes. Operations of others on it count
    /// as foreground work.
    fn collection(&self) -> Option<&'static str>;

    /// Returns the collection and filter of the documents that the step changes or reports, if a
    /// filter can find them.
    fn documents(&self, _quarantined: &[Quarantined]) -> Option<(&'static str, Document)> {
        None
    }

    /// Returns the number of documents, indexes or insertions that are missing.
    async fn remaining(&self, _: Data<'_>) -> MongoResult<i64> {
        Ok(0)
    }

    /// Returns `true` if a run would change anything. Cheap if the filter of the step has an index.
    async fn is_pending(&self, data: Data<'_>) -> MongoResult<bool> {
        Ok(self.remaining(data).await? > 0)
    }

    /// Makes the condition hold. Returns the number of changes.
    async fn apply(&self, _context: StepContext, _: &mut Writer) -> Result<i64, RunErrorKind> {
        Ok(0)
    }

    /// Returns what the step leaves unchanged and reports.
    async fn report(&self, _: &Database) -> Result<Vec<Skipped>, StepsError> {
        Ok(Vec::new())
    }

    /// Returns the numbers of a run that is not carried out, and what would make it fail.
    async fn plan(&self, context: PlanContext<'_>) -> Result<Vec<PlannedStep>, StepsError> {
        let reported = self.report(context.data.database).await?;
        Ok(reported.into_iter().map(PlannedStep::of_skipped).collect())
    }

    /// Returns the violations of the condition, with the `_id`s of documents.
    async fn verify(&self, data: Data<'_>) -> Result<Vec<Violation>, StepsError> {
        Ok(self.report(data.database).await?.into_iter().map(Violation::from).collect())
    }

    /// Returns the step as a fill, for the steps whose outcome depends on earlier ones.
    fn as_fill(&self) -> Option<&Fill> {
        None
    }

    /// Returns the step as one that leaves documents unchanged.
    fn as_skip(&self) -> Option<&Skip> {
        None
    }

    /// Returns the step as an inspection.
    fn as_inspection(&self) -> Option<&Inspection> {
        None
    }
}

/// The data with which a step is compared.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    pub(crate) database: &'a Database,
    /// Documents that could not be changed. They are not expected to fulfil the condition.
    pub(crate) quarantined: &'a [Quarantined],
}

/// The surroundings of a step that is planned.
#[derive(Clone, Copy)]
pub struct PlanContext<'a> {
    pub(crate) data: Data<'a>,
    /// The steps that would run before this one.
    pub(crate) earlier: &'a [Arc<dyn Step>],
    /// The expected documents a second.
    pub(crate) rate: f64,
}

/// The surroundings of a step that is applied: the claimed migration, the database and the throttle.
pub struct StepContext {
    pub(crate) database: Database,
    pub(crate) journal: Journal,
    pub(crate) claim: Claim,
    /// The ids of the migrations that come after this one.
    pub(crate) later: Vec<&'static str>,
    pub(crate) throttle: Throttle,
    pub(crate) foreground: Arc<ForegroundProbe>,
    /// The documents that the steps of the migration have quarantined.
    pub(crate) quarantined: Vec<Quarantined>,
    /// The progress of this step in a run that was interrupted.
    pub(crate) interrupted: Option<Progress>,
    /// Cancelled if the lease is lost or the process shuts down: the step ends at the next batch.
    pub(crate) stop: CancellationToken,
    /// Called after every batch.
    pub(crate) on_progress: Arc<dyn Fn(&Progress) + Send + Sync>,
}

/// The outcome that a run of one step would have.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedStep {
    /// The key of the step, or of what it reports.
    #[serde(rename = "what")]
    pub step: StepKey,
    /// Number of documents to change or insert, or of indexes to build.
    pub changes: i64,
    /// The index that finds the documents, or `None` if the whole collection is read.
    pub index: Option<String>,
    /// Conflicts that would make the step fail.
    pub obstacles: Vec<Violation>,
    /// The duration in seconds, at the rate of the interrupted run or else at the usual rate under
    /// the throttle of the engine.
    pub estimate_seconds: Option<f64>,
    /// Documents that the step would leave unchanged, and the reason.
    #[serde(rename = "left_out")]
    pub skipped: Option<Skipped>,
}

impl PlannedStep {
    fn new(step: StepKey, changes: i64) -> Self {
        let (index, obstacles, estimate_seconds, skipped) = (None, Vec::new(), None, None);
        Self { step, changes, index, obstacles, estimate_seconds, skipped }
    }

    /// Returns the plan of a step that changes nothing but reports this.
    fn of_skipped(skipped: Skipped) -> Self {
        Self { skipped: Some(skipped.clone()), ..Self::new(skipped.step, 0) }
    }
}

/// A condition that does not hold, or documents that are reported.
#[derive(Debug, Clone, Serialize)]
pub struct Violation {
    /// The kind of violation.
    pub kind: ViolationKind,
    /// The key of the step, or of what it reports.
    #[serde(rename = "what")]
    pub step: StepKey,
    /// Number of documents, indexes or groups of duplicates.
    pub count: i64,
    /// `_id`s of some of the documents.
    pub documents: Vec<Bson>,
    /// An explanation, or an instruction to fix it.
    pub remedy: String,
}

/// The kind of a [`Violation`]. All but [`ViolationKind::Skipped`] mean that a condition does not
/// hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViolationKind {
    /// Documents that are still to be changed.
    Remaining,
    /// Documents that could not be changed.
    #[serde(rename = "set_aside")]
    Quarantined,
    /// Documents that are still to be inserted.
    NotInserted,
    /// An index that does not exist.
    MissingIndex,
    /// An existing index with the name of the wanted one and other keys.
    OtherIndex,
    /// An existing index with another name because of which the server refuses the wanted one.
    EquivalentIndex,
    /// A collection that already has as many indexes as the server allows.
    TooManyIndexes,
    /// Documents with the same key of a unique index.
    Duplicates,
    /// Documents in which two fields of an index are arrays.
    ParallelArrays,
    /// A unique index that refuses the values to be written.
    UniqueIndex,
    /// Published documents that neither a list nor a look-up finds. They do not keep a migration
    /// from being applied.
    Unreachable,
    /// Documents that are left unchanged for a stated reason, such as references that point
    /// nowhere or decisions of an editor.
    #[serde(rename = "left_out")]
    Skipped,
}

impl ViolationKind {
    /// Returns `true` if an existing index conflicts with the wanted one.
    pub(crate) const fn is_other_index(self) -> bool {
        matches!(self, Self::OtherIndex | Self::EquivalentIndex)
    }
}

impl Violation {
    /// Returns the violation as the end of a sentence, with some of its documents.
    fn in_words(&self) -> String {
        let Self { count, documents, remedy, .. } = self;
        let documents: Vec<_> = documents.iter().map(ToString::to_string).collect();
        let named = if documents.is_empty() {
            String::new()
        } else {
            format!(" ({})", documents.join(", "))
        };
        match self.kind {
            ViolationKind::Duplicates => {
                format!("{count} documents have the same key as others{named}: {remedy}")
            }
            ViolationKind::ParallelArrays => {
                format!("{count} documents have arrays in two of its fields{named}: {remedy}")
            }
            _ => remedy.clone(),
        }
    }
}

impl From<Skipped> for Violation {
    fn from(skipped: Skipped) -> Self {
        let Skipped { step, reason: remedy, count, examples: documents, unreachable } = skipped;
        let kind = if unreachable { ViolationKind::Unreachable } else { ViolationKind::Skipped };
        Self { kind, step, count, documents, remedy }
    }
}

/// Returns the `_id`s of some of the documents that a filter matches.
async fn example_ids(
    database: &Database,
    collection: &str,
    filter: Document,
) -> MongoResult<Vec<Bson>> {
    let limit = i64::try_from(MAX_EXAMPLES).unwrap_or(i64::MAX);
    let collection = database.collection::<Document>(collection);
    let found = collection.find(filter).projection(doc! { "_id": 1 }).limit(limit);
    let ids: Vec<Document> = found.await?.try_collect().await?;
    Ok(ids.into_iter().map(|mut id| id.remove("_id").unwrap_or(Bson::Null)).collect())
}

/// Returns the number of documents that a filter matches.
async fn count(database: &Database, collection: &str, filter: Document) -> MongoResult<i64> {
    let count = database.collection::<Document>(collection).count_documents(filter).await?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Returns `true` if a filter matches any document.
async fn exists(database: &Database, collection: &str, filter: Document) -> MongoResult<bool> {
    let collection = database.collection::<Document>(collection);
    Ok(collection.find_one(filter).projection(doc! { "_id": 1 }).await?.is_some())
}
