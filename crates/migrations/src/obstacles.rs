//! Finding what would make a step fail before anything is written: indexes and documents that are
//! in its way.

use futures_util::TryStreamExt;
use mongodb::{
    Database, IndexModel,
    bson::{Bson, Document, doc},
    error::Result,
};

use crate::{
    Assign, Fill, Finding, FindingKind, Index, SetAside, Step,
    indexes::{collation, existing, is_hidden, is_sparse, spec, standard_collation},
    ledger::EXAMPLES,
    plan::examples,
};

/// The most indexes of a collection (MongoDB manual, "Limits and Thresholds").
const MAX_INDEXES: usize = 64;

impl Finding {
    /// Returns the finding as the end of a sentence, with some of its documents.
    pub(crate) fn in_words(&self) -> String {
        let Self { count, documents, remedy, .. } = self;
        let documents: Vec<_> = documents.iter().map(ToString::to_string).collect();
        let named = if documents.is_empty() {
            String::new()
        } else {
            format!(" ({})", documents.join(", "))
        };
        match self.kind {
            FindingKind::Duplicates => {
                format!("{count} documents have the same key as others{named}: {remedy}")
            }
            FindingKind::ParallelArrays => {
                format!("{count} documents have lists in two of its fields{named}: {remedy}")
            }
            _ => remedy.clone(),
        }
    }
}

impl Index {
    /// Returns what keeps a missing index from being built. `earlier` are steps that would run
    /// before: what they change counts as changed.
    pub(crate) async fn obstacles(
        &self,
        database: &Database,
        earlier: &[Step],
    ) -> Result<Vec<Finding>> {
        let existing = existing(database, self.collection).await?;
        let what = format!("index {} on {}", self.name(), self.collection);
        let found = |kind, count, documents, remedy| Finding {
            kind,
            what: what.clone(),
            count,
            documents,
            remedy,
        };
        let mut obstacles = Vec::new();
        if let Some((kind, remedy)) = self.other_index(&existing) {
            obstacles.push(found(kind, 1, Vec::new(), remedy));
        } else if existing.len() >= MAX_INDEXES {
            let remedy = format!(
                "{} has {MAX_INDEXES} indexes, the most that a collection can have: drop one that \
                 nobody needs",
                self.collection
            );
            obstacles.push(found(FindingKind::TooManyIndexes, 1, Vec::new(), remedy));
        }
        for (is_missing, count, documents) in self.duplicates(database, earlier).await? {
            let fields: Vec<_> = self.model.keys.keys().map(|field| format!("`{field}`")).collect();
            let fields = fields.join(", ");
            let remedy = if is_missing {
                format!("they have no {fields}: give each of them its own")
            } else {
                format!("they have the {fields} of others: change all but one of each")
            };
            obstacles.push(found(FindingKind::Duplicates, count, documents, remedy));
        }
        if let Some(filter) = self.parallel_arrays() {
            let documents = examples(database, self.collection, filter.clone()).await?;
            if !documents.is_empty() {
                let collection = database.collection::<Document>(self.collection);
                let count = collection.count_documents(filter).await?;
                let remedy = "make at most one of the fields a list".to_owned();
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                obstacles.push(found(FindingKind::ParallelArrays, count, documents, remedy));
            }
        }
        Ok(obstacles)
    }

    /// Returns the kind of conflict with an existing index, and what to do about it.
    fn other_index(&self, existing: &[IndexModel]) -> Option<(FindingKind, String)> {
        let standard = standard_collation(existing);
        let wanted = spec(&self.model);
        // To the server two indexes are one if all of this is the same (error
        // `IndexOptionsConflict`), whatever their names and other options are.
        let is_equivalent = |index: &IndexModel| {
            let found = spec(index);
            found.keys == wanted.keys
                && found.filter == wanted.filter
                && found.unique == wanted.unique
                && is_sparse(index) == is_sparse(&self.model)
                && collation(index) == collation(&self.model).or(standard.as_deref())
        };
        if let Some(index) = existing.iter().find(|index| is_equivalent(index)) {
            let name = spec(index).name;
            let (collection, kind) = (self.collection, FindingKind::EquivalentIndex);
            let remedy = if is_hidden(index) {
                format!(
                    "the index {name} with the same keys is hidden: db.{collection}.unhideIndex(\
                     {name:?}) lets it be used"
                )
            } else {
                format!("the index {name} with the same keys has other options: drop it")
            };
            return Some((kind, remedy));
        }
        let namesake = existing.iter().find(|index| spec(index).name == self.name())?;
        let remedy = format!("drop or rename the index with the keys {}", namesake.keys);
        Some((FindingKind::OtherIndex, remedy))
    }

    /// Returns the documents that share a key of an index that is to be unique: those without any
    /// of its fields, and the others. Each with their number and some `_id`s.
    async fn duplicates(
        &self,
        database: &Database,
        earlier: &[Step],
    ) -> Result<Vec<(bool, i64, Vec<Bson>)>> {
        let wanted = spec(&self.model);
        if !wanted.unique {
            return Ok(Vec::new());
        }
        let mut fields: Vec<&str> = self.model.keys.keys().map(String::as_str).collect();
        fields.extend(wanted.filter.iter().flat_map(Document::keys).map(String::as_str));
        let fills = earlier.iter().filter_map(|step| match step {
            Step::Fill(fill) if fill.collection == self.collection => Some(fill),
            _ => None,
        });
        let mut pipeline = Vec::new();
        for fill in fills {
            if let Some(values) = fill.assigned()
                && values.keys().any(|field| fields.contains(&field.as_str()))
            {
                pipeline = changed_by(fill, &values, pipeline);
            }
        }
        pipeline.push(doc! { "$match": wanted.filter.unwrap_or_default() });
        if is_sparse(&self.model) {
            pipeline.push(doc! { "$match": has_any(&self.model.keys) });
        }
        let mut found = Vec::new();
        for group in shared_keys(database, self.collection, &self.model.keys, pipeline).await? {
            let is_missing = group.get_bool("_id").unwrap_or_default();
            let ids = group.get_array("ids").cloned().unwrap_or_default();
            found.push((is_missing, number(&group, "n"), ids));
        }
        found.sort_by_key(|(is_missing, ..)| *is_missing);
        Ok(found)
    }

    /// Returns a filter for documents in which two fields of the index are lists, which the server
    /// refuses (MongoDB manual, "Multikey Indexes").
    fn parallel_arrays(&self) -> Option<Document> {
        let fields: Vec<_> = self.model.keys.keys().filter(|field| *field != "_id").collect();
        let mut pairs = Vec::new();
        for (place, one) in fields.iter().enumerate() {
            for other in fields.iter().skip(place + 1) {
                let is_list = doc! { "$type": "array" };
                pairs.push(doc! { one.as_str(): is_list.clone(), other.as_str(): is_list });
            }
        }
        (!pairs.is_empty()).then(|| doc! { "$or": pairs })
    }
}

impl Fill {
    /// Returns the stage `$set` that changes documents as this does, if it is the same for all.
    fn assigned(&self) -> Option<Document> {
        match &self.assign {
            Assign::Values(values) => {
                let literal = |value: &Bson| Bson::from(doc! { "$literal": value.clone() });
                Some(values.iter().map(|(field, value)| (field.clone(), literal(value))).collect())
            }
            Assign::Expressions(expressions) => Some(expressions.clone()),
            Assign::Each(_) | Assign::Update(_) => None,
        }
    }

    /// Returns the unique indexes that would refuse what documents are to be changed to.
    pub(crate) async fn obstacles(
        &self,
        database: &Database,
        set_aside: &[SetAside],
    ) -> Result<Vec<Finding>> {
        let Some(values) = self.assigned() else { return Ok(Vec::new()) };
        let mut obstacles = Vec::new();
        for index in existing(database, self.collection).await? {
            let found = spec(&index);
            let is_written = |field: &String| values.contains_key(field);
            if !found.unique || !index.keys.keys().any(is_written) {
                continue;
            }
            let pending = Self { filter: self.pending(set_aside), ..self.clone() };
            let mut pipeline = changed_by(&pending, &values, Vec::new());
            pipeline.push(doc! { "$match": found.filter.clone().unwrap_or_default() });
            if is_sparse(&index) {
                pipeline.push(doc! { "$match": has_any(&index.keys) });
            }
            let groups = shared_keys(database, self.collection, &index.keys, pipeline).await?;
            if groups.is_empty() {
                continue;
            }
            let count = groups.iter().map(|group| number(group, "n")).sum();
            let ids = groups.iter().filter_map(|group| group.get_array("ids").ok()).flatten();
            obstacles.push(Finding {
                kind: FindingKind::UniqueIndex,
                what: self.what.clone(),
                count,
                documents: ids.take(EXAMPLES).cloned().collect(),
                remedy: format!(
                    "the unique index {name} on {collection} refuses documents that would have the \
                     same {keys}: db.{collection}.dropIndex({name:?})",
                    name = found.name,
                    collection = self.collection,
                    keys = index.keys.keys().cloned().collect::<Vec<_>>().join(", "),
                ),
            });
        }
        Ok(obstacles)
    }
}

/// Returns a pipeline whose output is the collection as it is after a fill; `before` is one whose
/// output is the collection as the fill finds it.
fn changed_by(fill: &Fill, values: &Document, before: Vec<Document>) -> Vec<Document> {
    let mut others = before.clone();
    others.push(doc! { "$match": { "$nor": [fill.filter.clone()] } });
    let mut pipeline = before;
    pipeline.push(doc! { "$match": fill.filter.clone() });
    pipeline.push(doc! { "$set": values.clone() });
    pipeline.push(doc! { "$unionWith": { "coll": fill.collection, "pipeline": others } });
    pipeline
}

/// Groups the output of a pipeline by the keys of an index. Returns one document for those whose
/// fields are all missing, with `_id: true`, and one for all others, each with the number `n` of
/// documents that share a key with another one and some of their `ids`.
async fn shared_keys(
    database: &Database,
    collection: &str,
    keys: &Document,
    mut pipeline: Vec<Document>,
) -> Result<Vec<Document>> {
    let key: Document = keys
        .keys()
        .enumerate()
        // To an index a field that is missing is null.
        .map(|(place, field)| {
            (format!("k{place}"), doc! { "$ifNull": [format!("${field}"), Bson::Null] }.into())
        })
        .collect();
    let nothing: Vec<_> =
        key.keys().map(|name| doc! { "$eq": [format!("$_id.{name}"), Bson::Null] }).collect();
    let some = i64::try_from(EXAMPLES).unwrap_or(i64::MAX);
    let nested = doc! { "input": "$groups", "initialValue": [], "in": {
        "$cond": [
            { "$lt": [{ "$size": "$$value" }, some] },
            { "$concatArrays": ["$$value", "$$this"] },
            "$$value",
        ]
    } };
    pipeline.extend([
        doc! { "$group": {
            "_id": key,
            "ids": { "$firstN": { "input": "$_id", "n": some } },
            "n": { "$sum": 1 },
        } },
        doc! { "$match": { "n": { "$gt": 1 } } },
        doc! { "$sort": { "_id": 1 } },
        doc! { "$group": {
            "_id": { "$and": nothing },
            "groups": { "$firstN": { "input": "$ids", "n": some } },
            "n": { "$sum": "$n" },
        } },
        doc! { "$project": { "n": 1, "ids": { "$slice": [{ "$reduce": nested }, some] } } },
    ]);
    let collection = database.collection::<Document>(collection);
    let groups = collection.aggregate(pipeline).allow_disk_use(true).await?;
    groups.try_collect().await
}

/// Returns a filter for documents that have any of these fields.
fn has_any(keys: &Document) -> Document {
    let has = keys.keys().map(|field| doc! { field: { "$exists": true } });
    doc! { "$or": has.collect::<Vec<_>>() }
}

/// A number of documents as the server counts them.
fn number(document: &Document, field: &str) -> i64 {
    match document.get(field) {
        Some(Bson::Int32(count)) => (*count).into(),
        Some(Bson::Int64(count)) => *count,
        _ => 0,
    }
}
