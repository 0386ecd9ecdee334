//! Documents that are left unchanged and reported.

use async_trait::async_trait;
use mongodb::{
    Database,
    bson::{Document, doc},
    error::Result as MongoResult,
};

use super::{Step, count, example_ids, exists};
use crate::{
    error::StepsError,
    state::{
        entry::{MAX_EXAMPLES, Quarantined, Skipped},
        step_key::StepKey,
    },
};

/// A step that leaves documents unchanged and reports them with a reason.
#[derive(Debug, Clone)]
pub struct Skip {
    /// The stable key of the step.
    pub key: StepKey,
    /// The reason, for people.
    pub reason: String,
    /// The collection and filter of the documents, or `None` if the step is not about documents.
    pub documents: Option<(&'static str, Document)>,
}

impl Skip {
    /// Returns `true` if the ledger's record is about this step and has the same reason.
    pub(crate) fn is_recorded_as(&self, skipped: &Skipped) -> bool {
        self.key == skipped.step && self.reason == skipped.reason
    }

    /// Returns `true` if there is something to report.
    pub(crate) async fn has_documents(&self, database: &Database) -> MongoResult<bool> {
        match &self.documents {
            Some((collection, filter)) => exists(database, collection, filter.clone()).await,
            None => Ok(true),
        }
    }
}

#[async_trait]
impl Step for Skip {
    fn key(&self) -> StepKey {
        self.key.clone()
    }

    fn specification(&self) -> Document {
        let documents = self
            .documents
            .clone()
            .map(|(collection, filter)| doc! { "collection": collection, "filter": filter });
        doc! { "leave_out": &self.key, "reason": &self.reason, "documents": documents }
    }

    fn collection(&self) -> Option<&'static str> {
        self.documents.as_ref().map(|(collection, _)| *collection)
    }

    fn documents(&self, _: &[Quarantined]) -> Option<(&'static str, Document)> {
        self.documents.clone()
    }

    async fn report(&self, database: &Database) -> Result<Vec<Skipped>, StepsError> {
        let mut skipped = Skipped {
            step: self.key.clone(),
            reason: self.reason.clone(),
            count: 0,
            examples: Vec::new(),
            unreachable: false,
        };
        if let Some((collection, filter)) = &self.documents {
            skipped.examples = example_ids(database, collection, filter.clone()).await?;
            // Fewer examples than the limit are all documents. To count them again may read the
            // whole collection.
            skipped.count = match skipped.examples.len() {
                0 => return Ok(Vec::new()),
                MAX_EXAMPLES => count(database, collection, filter.clone()).await?,
                all => i64::try_from(all).unwrap_or(i64::MAX),
            };
        }
        Ok(vec![skipped])
    }

    fn as_skip(&self) -> Option<&Skip> {
        Some(self)
    }
}
