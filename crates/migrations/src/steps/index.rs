//! An index that exists.

mod build;
mod obstacles;

use async_trait::async_trait;
use mongo_kit::Writer;
use mongodb::{
    Database, IndexModel,
    bson::{Bson, Document, doc},
    error::Result as MongoResult,
    options::IndexOptions,
};

use super::{Data, PlanContext, PlannedStep, Step, StepContext, Violation, ViolationKind};
use crate::{
    error::{RunErrorKind, StepsError},
    indexes::{self, IndexSpec},
    state::step_key::StepKey,
};

/// A step that builds an index unless one with the same keys, filter and collation exists under any
/// name. The model must have a name; [`Index::new`] gives it one.
#[derive(Debug, Clone)]
pub struct Index {
    /// The collection.
    pub collection: &'static str,
    /// The keys and options.
    pub model: IndexModel,
}

impl Index {
    /// Returns an index with this name, these keys and these options.
    pub fn new(
        collection: &'static str,
        name: impl Into<String>,
        keys: Document,
        mut options: IndexOptions,
    ) -> Self {
        options.name = Some(name.into());
        Self { collection, model: IndexModel::builder().keys(keys).options(options).build() }
    }

    /// Returns the name of the index.
    pub fn name(&self) -> &str {
        let options = self.model.options.as_ref();
        options.and_then(|options| options.name.as_deref()).unwrap_or_default()
    }

    /// Returns `true` if an index that serves the same purpose exists.
    async fn exists(&self, database: &Database) -> MongoResult<bool> {
        let existing = indexes::list(database, self.collection).await?;
        let default_collation = indexes::default_collation(&existing);
        let serves = |index| indexes::serves(index, &self.model, default_collation.as_deref());
        Ok(existing.iter().any(serves))
    }

    fn violation(
        &self,
        kind: ViolationKind,
        count: i64,
        documents: Vec<Bson>,
        remedy: String,
    ) -> Violation {
        Violation { kind, step: self.key(), count, documents, remedy }
    }
}

#[async_trait]
impl Step for Index {
    fn key(&self) -> StepKey {
        format!("index {} on {}", self.name(), self.collection).into()
    }

    fn part_key(&self) -> StepKey {
        format!("indexes on {}", self.collection).into()
    }

    fn specification(&self) -> Document {
        let IndexSpec { name, unique, filter, .. } = IndexSpec::from(&self.model);
        doc! {
            "index": name, "collection": self.collection, "keys": self.model.keys.clone(),
            "unique": unique, "filter": filter,
        }
    }

    fn collection(&self) -> Option<&'static str> {
        Some(self.collection)
    }

    async fn remaining(&self, data: Data<'_>) -> MongoResult<i64> {
        Ok((!self.exists(data.database).await?).into())
    }

    async fn apply(&self, context: StepContext, writer: &mut Writer) -> Result<i64, RunErrorKind> {
        self.build(&context, writer).await
    }

    async fn plan(&self, context: PlanContext<'_>) -> Result<Vec<PlannedStep>, StepsError> {
        let PlanContext { data, earlier, .. } = context;
        let mut planned = PlannedStep::new(self.key(), self.remaining(data).await?);
        if planned.changes > 0 {
            planned.obstacles = self.obstacles(data.database, earlier).await?;
        }
        Ok(vec![planned])
    }

    async fn verify(&self, data: Data<'_>) -> Result<Vec<Violation>, StepsError> {
        if self.exists(data.database).await? {
            return Ok(Vec::new());
        }
        let mut violations = self.obstacles(data.database, &[]).await?;
        // A conflicting index implies that this one is missing.
        if !violations.iter().any(|one| one.kind.is_other_index()) {
            let remedy = "`up` builds it".to_owned();
            let missing = self.violation(ViolationKind::MissingIndex, 1, Vec::new(), remedy);
            violations.insert(0, missing);
        }
        Ok(violations)
    }
}
