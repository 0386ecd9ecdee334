//! Finds unique indexes that would refuse the values of a fill, before anything is written.

use mongodb::{
    bson::{Bson, Document, doc},
    error::Result,
};

use super::{Assign, Fill};
use crate::{
    indexes::{self, IndexSpec},
    state::entry::MAX_EXAMPLES,
    steps::{Data, Violation, ViolationKind, duplicates},
};

impl Fill {
    /// Returns the stage `$set` with which the fill changes documents, if it is the same for all.
    pub(in crate::steps) fn uniform_values(&self) -> Option<Document> {
        match &self.assign {
            Assign::Values(values) => {
                let literal = |value: &Bson| Bson::from(doc! { "$literal": value.clone() });
                Some(values.iter().map(|(field, value)| (field.clone(), literal(value))).collect())
            }
            Assign::Expressions(expressions) => Some(expressions.clone()),
            Assign::Each(_) => None,
        }
    }

    /// Returns a pipeline whose output is the collection after the fill. The output of `before` is
    /// the collection in front of it.
    pub(in crate::steps) fn outcome(
        &self,
        values: &Document,
        before: Vec<Document>,
    ) -> Vec<Document> {
        let mut others = before.clone();
        others.push(doc! { "$match": { "$nor": [self.filter.clone()] } });
        let mut pipeline = before;
        pipeline.push(doc! { "$match": self.filter.clone() });
        pipeline.push(doc! { "$set": values.clone() });
        pipeline.push(doc! { "$unionWith": { "coll": self.collection, "pipeline": others } });
        pipeline
    }

    /// Returns the unique indexes that would refuse the values of the fill.
    pub(super) async fn obstacles(&self, data: Data<'_>) -> Result<Vec<Violation>> {
        let Data { database, quarantined } = data;
        let Some(values) = self.uniform_values() else { return Ok(Vec::new()) };
        let pending = Self { filter: self.pending(quarantined), ..self.clone() };
        let mut obstacles = Vec::new();
        for index in indexes::list(database, self.collection).await? {
            let spec = IndexSpec::from(&index);
            if !spec.unique || !index.keys.keys().any(|field| values.contains_key(field)) {
                continue;
            }
            let outcome = pending.outcome(&values, Vec::new());
            let found = duplicates::find(database, self.collection, &index, outcome).await?;
            if found.is_empty() {
                continue;
            }
            let count = found.iter().map(|one| one.count).sum();
            let documents = found.into_iter().flat_map(|one| one.ids).take(MAX_EXAMPLES).collect();
            let remedy = format!(
                "the unique index {name} on {collection} refuses documents that would have the \
                 same {keys}: db.{collection}.dropIndex({name:?})",
                name = spec.name,
                collection = self.collection,
                keys = index.keys.keys().cloned().collect::<Vec<_>>().join(", "),
            );
            let (kind, step) = (ViolationKind::UniqueIndex, self.key.clone());
            obstacles.push(Violation { kind, step, count, documents, remedy });
        }
        Ok(obstacles)
    }
}
