//! Finds the conflicts that would keep an index from being built, before anything is written.

use std::sync::Arc;

use mongodb::{
    Database, IndexModel,
    bson::{Document, doc},
    error::Result,
};

use super::Index;
use crate::{
    indexes::{self, IndexSpec, default_collation, have_same_entries, is_hidden, is_unique},
    steps::{
        Step, Violation, ViolationKind, count,
        duplicates::{self, Duplicates},
        example_ids,
    },
};

/// The most indexes of a collection (MongoDB manual, "Limits and Thresholds").
const MAX_INDEXES: usize = 64;

impl Index {
    /// Returns the conflicts that keep a missing index from being built. `earlier` are the steps
    /// that would run before: their changes are taken into account.
    pub(super) async fn obstacles(
        &self,
        database: &Database,
        earlier: &[Arc<dyn Step>],
    ) -> Result<Vec<Violation>> {
        let existing = indexes::list(database, self.collection).await?;
        let mut obstacles = Vec::new();
        if let Some((kind, remedy)) = self.conflicting_index(&existing) {
            obstacles.push(self.violation(kind, 1, Vec::new(), remedy));
        } else if existing.len() >= MAX_INDEXES {
            let remedy = format!(
                "{} has {MAX_INDEXES} indexes, the most that a collection can have: drop one that \
                 is not needed",
                self.collection
            );
            obstacles.push(self.violation(ViolationKind::TooManyIndexes, 1, Vec::new(), remedy));
        }
        if is_unique(&self.model) {
            for found in self.duplicates(database, earlier).await? {
                obstacles.push(self.duplicates_violation(found));
            }
        }
        if let Some(filter) = self.parallel_arrays() {
            let documents = example_ids(database, self.collection, filter.clone()).await?;
            if !documents.is_empty() {
                let count = count(database, self.collection, filter).await?;
                let remedy = "make at most one of the fields an array".to_owned();
                let kind = ViolationKind::ParallelArrays;
                obstacles.push(self.violation(kind, count, documents, remedy));
            }
        }
        Ok(obstacles)
    }

    fn duplicates_violation(&self, found: Duplicates) -> Violation {
        let fields: Vec<_> = self.model.keys.keys().map(|field| format!("`{field}`")).collect();
        let fields = fields.join(", ");
        let remedy = if found.are_missing {
            format!("they have no {fields}: give each of them a different value")
        } else {
            format!("they have the same {fields} as others: change all but one of each")
        };
        self.violation(ViolationKind::Duplicates, found.count, found.ids, remedy)
    }

    /// Returns the kind of conflict with an existing index, and the remedy.
    fn conflicting_index(&self, existing: &[IndexModel]) -> Option<(ViolationKind, String)> {
        let default_collation = default_collation(existing);
        // The server regards two such indexes as one (error `IndexOptionsConflict`).
        let is_equivalent = |index: &IndexModel| {
            have_same_entries(index, &self.model, default_collation.as_deref())
                && is_unique(index) == is_unique(&self.model)
        };
        if let Some(index) = existing.iter().find(|index| is_equivalent(index)) {
            let name = IndexSpec::from(index).name;
            let remedy = if is_hidden(index) {
                format!(
                    "the index {name} with the same keys is hidden: make it visible with \
                     db.{}.unhideIndex({name:?})",
                    self.collection
                )
            } else {
                format!("the index {name} with the same keys has other options: drop it")
            };
            return Some((ViolationKind::EquivalentIndex, remedy));
        }
        let namesake = existing.iter().find(|index| IndexSpec::from(*index).name == self.name())?;
        let remedy = format!("drop or rename the index with the keys {}", namesake.keys);
        Some((ViolationKind::OtherIndex, remedy))
    }

    /// Returns the documents that share a key of the index, once the earlier steps are done.
    async fn duplicates(
        &self,
        database: &Database,
        earlier: &[Arc<dyn Step>],
    ) -> Result<Vec<Duplicates>> {
        let filter = IndexSpec::from(&self.model).filter;
        let fields: Vec<&String> =
            self.model.keys.keys().chain(filter.iter().flat_map(Document::keys)).collect();
        let mut pipeline = Vec::new();
        for fill in earlier.iter().filter_map(|step| step.as_fill()) {
            if fill.collection == self.collection
                && let Some(values) = fill.uniform_values()
                && values.keys().any(|field| fields.contains(&field))
            {
                pipeline = fill.outcome(&values, pipeline);
            }
        }
        duplicates::find(database, self.collection, &self.model, pipeline).await
    }

    /// Returns a filter for documents in which two fields of the index are arrays, which the server
    /// refuses (MongoDB manual, "Multikey Indexes").
    fn parallel_arrays(&self) -> Option<Document> {
        let fields: Vec<_> = self.model.keys.keys().filter(|field| *field != "_id").collect();
        let mut pairs = Vec::new();
        for (place, one) in fields.iter().enumerate() {
            for other in fields.iter().skip(place + 1) {
                let is_array = doc! { "$type": "array" };
                pairs.push(doc! { one.as_str(): is_array.clone(), other.as_str(): is_array });
            }
        }
        (!pairs.is_empty()).then(|| doc! { "$or": pairs })
    }
}
