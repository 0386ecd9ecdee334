//! Changes to all documents that a filter matches, in batches that can be interrupted anywhere.
//!
//! A pass walks the collection by `_id` from the first to the last document that matches. Each
//! batch is one transaction of the change, of the journal and of the cursor in the ledger, so that
//! it either happened and is recorded, or did not happen. Documents that other programs insert
//! during a pass are found by the verification that follows, and changed in another pass.

mod adaptive_size;
mod batch;
mod changes;
pub(crate) mod foreground;
mod obstacles;
mod pacer;
mod run;
pub(crate) mod throttle;

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use mongo_kit::Writer;
use mongodb::{
    ClientSession, Database,
    bson::{Bson, Document, doc},
    error::Result as MongoResult,
};

use super::{
    Data, PlanContext, PlannedStep, Step, StepContext, Violation, ViolationKind, count,
    example_ids, exists,
};
use crate::{
    error::{RunErrorKind, StepsError},
    state::{entry::Quarantined, step_key::StepKey},
};

/// A step that changes all documents that a filter matches, in batches.
#[derive(Debug, Clone)]
pub struct Fill {
    /// The stable key of the step.
    pub key: StepKey,
    /// The collection to change.
    pub collection: &'static str,
    /// The filter of the documents to change. A changed document must not match it any more.
    pub filter: Document,
    /// The change.
    pub assign: Assign,
}

/// The change that a [`Fill`] makes to a document. The earlier values are written to the journal in
/// the same transaction, so that the change can be rolled back.
#[derive(Debug, Clone)]
pub enum Assign {
    /// The same values for all documents, by the names of top-level fields.
    Values(Document),
    /// The values of aggregation expressions (MongoDB manual, "Aggregation Expressions"), by the
    /// names of top-level fields: `{ "createdDate": "$date" }`.
    Expressions(Document),
    /// Values that code computes for each document.
    Each(Arc<dyn EachDocument>),
}

/// Computes the changes of some documents.
#[async_trait]
pub trait EachDocument: Send + Sync + Debug {
    /// Returns the top-level fields to read, in addition to those to write.
    fn reads(&self) -> &'static [&'static str];

    /// Returns the top-level fields to write.
    fn writes(&self) -> &[&'static str];

    /// Returns the fields to set, by `_id`. A document that is not in the result stays unchanged.
    /// Reads of the database must use the session, which has a transaction.
    async fn assign(
        &self,
        documents: Vec<Document>,
        session: &mut ClientSession,
    ) -> MongoResult<Vec<(Bson, Document)>>;
}

impl Fill {
    /// Returns a fill that sets the same values on all documents.
    pub fn set(
        key: impl Into<StepKey>,
        collection: &'static str,
        filter: Document,
        values: Document,
    ) -> Self {
        Self { key: key.into(), collection, filter, assign: Assign::Values(values) }
    }

    /// Returns the filter of the documents to change, without those that are quarantined.
    fn pending(&self, quarantined: &[Quarantined]) -> Document {
        let ids: Vec<_> = self.quarantined(quarantined).map(|one| one.document.clone()).collect();
        if ids.is_empty() {
            return self.filter.clone();
        }
        doc! { "$and": [self.filter.clone(), { "_id": { "$nin": ids } }] }
    }

    /// Returns the documents that this step has quarantined.
    fn quarantined<'a>(
        &'a self,
        quarantined: &'a [Quarantined],
    ) -> impl Iterator<Item = &'a Quarantined> {
        quarantined.iter().filter(|one| one.step == self.key)
    }

    /// Returns the top-level fields that the change sets.
    fn writes(&self) -> Vec<&str> {
        match &self.assign {
            Assign::Values(fields) | Assign::Expressions(fields) => {
                fields.keys().map(String::as_str).collect()
            }
            Assign::Each(each) => each.writes().to_vec(),
        }
    }

    /// Returns the projection of the fields that a batch reads.
    fn projection(&self) -> Document {
        let read = match &self.assign {
            Assign::Each(each) => each.reads(),
            Assign::Values(_) | Assign::Expressions(_) => &[],
        };
        let fields = self.writes().into_iter().chain(read.iter().copied());
        let mut projection = doc! { "_id": 1 };
        projection.extend(fields.map(|field| (field.to_owned(), Bson::from(1))));
        projection
    }
}

#[async_trait]
impl Step for Fill {
    fn key(&self) -> StepKey {
        self.key.clone()
    }

    fn specification(&self) -> Document {
        let assign = match &self.assign {
            Assign::Values(values) => doc! { "values": values },
            Assign::Expressions(expressions) => doc! { "expressions": expressions },
            Assign::Each(each) => doc! { "each": each.writes().to_vec() },
        };
        doc! {
            "fill": &self.key, "collection": self.collection, "filter": &self.filter,
            "assign": assign,
        }
    }

    fn collection(&self) -> Option<&'static str> {
        Some(self.collection)
    }

    fn documents(&self, quarantined: &[Quarantined]) -> Option<(&'static str, Document)> {
        Some((self.collection, self.pending(quarantined)))
    }

    async fn remaining(&self, data: Data<'_>) -> MongoResult<i64> {
        count(data.database, self.collection, self.pending(data.quarantined)).await
    }

    async fn is_pending(&self, data: Data<'_>) -> MongoResult<bool> {
        exists(data.database, self.collection, self.pending(data.quarantined)).await
    }

    async fn apply(&self, context: StepContext, writer: &mut Writer) -> Result<i64, RunErrorKind> {
        run::run(self, context, writer).await
    }

    async fn plan(&self, context: PlanContext<'_>) -> Result<Vec<PlannedStep>, StepsError> {
        let PlanContext { data, rate, .. } = context;
        let mut planned = PlannedStep::new(self.key(), self.remaining(data).await?);
        if planned.changes > 0 {
            planned.obstacles = self.obstacles(data).await?;
            planned.index = index_for(data.database, self.collection, &self.filter).await?;
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let documents = planned.changes as f64;
            planned.estimate_seconds = Some(documents / rate);
        }
        Ok(vec![planned])
    }

    async fn verify(&self, data: Data<'_>) -> Result<Vec<Violation>, StepsError> {
        let Data { database, quarantined } = data;
        let mut violations = Vec::new();
        let remaining = self.remaining(data).await?;
        if remaining > 0 {
            let pending = self.pending(quarantined);
            let documents = example_ids(database, self.collection, pending).await?;
            let (kind, remedy) = (ViolationKind::Remaining, "`up` changes them".to_owned());
            let (step, count) = (self.key(), remaining);
            violations.push(Violation { kind, step, count, documents, remedy });
        }
        // Only the documents that still match: the others have been corrected since.
        let ids: Vec<_> = self.quarantined(quarantined).map(|one| one.document.clone()).collect();
        let matching = doc! { "$and": [{ "_id": { "$in": ids } }, self.filter.clone()] };
        let documents = example_ids(database, self.collection, matching.clone()).await?;
        if !documents.is_empty() {
            let count = count(database, self.collection, matching).await?;
            let reason = self.quarantined(quarantined).map(|one| one.reason.as_str()).next();
            let remedy = format!("correct them, then `retry`: {}", reason.unwrap_or_default());
            let (kind, step) = (ViolationKind::Quarantined, self.key());
            violations.push(Violation { kind, step, count, documents, remedy });
        }
        Ok(violations)
    }

    fn as_fill(&self) -> Option<&Fill> {
        Some(self)
    }
}

/// Returns the name of the index with which the server would find the documents of a filter.
async fn index_for(
    database: &Database,
    collection: &str,
    filter: &Document,
) -> MongoResult<Option<String>> {
    let find = doc! { "find": collection, "filter": filter };
    let explain = doc! { "explain": find, "verbosity": "queryPlanner" };
    let answer = database.run_command(explain).await?;
    let planner = answer.get_document("queryPlanner");
    Ok(planner.ok().and_then(|planner| index_name(planner.get("winningPlan")?)))
}

/// Returns the name of the first index in a query plan, at any depth.
fn index_name(plan: &Bson) -> Option<String> {
    match plan {
        Bson::Document(stage) => match stage.get_str("indexName") {
            Ok(name) => Some(name.to_owned()),
            Err(_) => stage.values().find_map(index_name),
        },
        Bson::Array(stages) => stages.iter().find_map(index_name),
        _ => None,
    }
}
