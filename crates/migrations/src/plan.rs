//! What a run would do, found out without writing.

use futures_util::TryStreamExt;
use mongodb::{
    Database,
    bson::{Bson, Document, doc},
};
use serde::Serialize;

use crate::{LeaveOut, LeftOut, Step, ledger::EXAMPLES};

/// What a run of one migration would do.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The migration's id.
    pub id: &'static str,
    /// What it does, for a person.
    pub summary: &'static str,
    /// What it would do, step by step; empty where it waits.
    pub steps: Vec<PlannedStep>,
    /// What it waits for, if it does.
    pub waits_for: Option<String>,
}

/// What a run of one step would do.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedStep {
    /// Which step it is.
    pub what: String,
    /// How many documents it would change or insert, or indexes it would build.
    pub changes: i64,
    /// What it would leave as it is, and why.
    pub left_out: Option<LeftOut>,
}

impl Plan {
    /// Whether there is anything to do or to wait for.
    pub fn is_pending(&self) -> bool {
        self.waits_for.is_some() || self.steps.iter().any(|step| step.changes > 0)
    }
}

impl Step {
    /// Whether a run would change anything. Cheap where the step's filter has an index.
    pub(crate) async fn is_pending(&self, database: &Database) -> mongodb::error::Result<bool> {
        match self {
            Self::Fill(fill) => fill.is_pending(database).await,
            Self::Index(index) => Ok(!index.exists(database).await?),
            Self::Insert(insert) => insert.is_pending(database).await,
            Self::LeaveOut(_) => Ok(false),
        }
    }

    /// What a run would do, in numbers; none where that is nothing worth a word.
    pub(crate) async fn plan(
        &self,
        database: &Database,
    ) -> mongodb::error::Result<Option<PlannedStep>> {
        let (what, changes) = match self {
            Self::Fill(fill) => (fill.what.clone(), fill.remaining(database).await?),
            Self::Index(index) => {
                let what = format!("index {} on {}", index.name(), index.collection);
                (what, i64::from(!index.exists(database).await?))
            }
            Self::Insert(insert) => {
                let count = i64::try_from(insert.documents.len()).unwrap_or(i64::MAX);
                let is_pending = insert.is_pending(database).await?;
                (insert.what.clone(), if is_pending { count } else { 0 })
            }
            Self::LeaveOut(leave_out) => {
                let left_out = leave_out.report(database).await?;
                let planned = |left: LeftOut| PlannedStep {
                    what: left.what.clone(),
                    changes: 0,
                    left_out: Some(left),
                };
                return Ok(left_out.map(planned));
            }
        };
        Ok(Some(PlannedStep { what, changes, left_out: None }))
    }
}

impl LeaveOut {
    /// Whether there is anything to leave.
    pub(crate) async fn is_there(&self, database: &Database) -> mongodb::error::Result<bool> {
        let Some((collection, filter)) = &self.documents else { return Ok(true) };
        let collection = database.collection::<Document>(collection);
        Ok(collection.find_one(filter.clone()).projection(doc! { "_id": 1 }).await?.is_some())
    }

    /// Counts what is left and names some of it; none where there is nothing.
    pub(crate) async fn report(
        &self,
        database: &Database,
    ) -> mongodb::error::Result<Option<LeftOut>> {
        let mut left_out = LeftOut {
            what: self.what.clone(),
            reason: self.reason.clone(),
            count: 0,
            examples: Vec::new(),
        };
        if let Some((collection, filter)) = &self.documents {
            let collection = database.collection::<Document>(collection);
            let count = collection.count_documents(filter.clone()).await?;
            left_out.count = i64::try_from(count).unwrap_or(i64::MAX);
            let limit = i64::try_from(EXAMPLES).unwrap_or(i64::MAX);
            let examples =
                collection.find(filter.clone()).projection(doc! { "_id": 1 }).limit(limit);
            let ids: Vec<Document> = examples.await?.try_collect().await?;
            left_out.examples =
                ids.into_iter().map(|mut id| id.remove("_id").unwrap_or(Bson::Null)).collect();
        }
        let is_there = left_out.count > 0 || self.documents.is_none();
        Ok(is_there.then_some(left_out))
    }
}
