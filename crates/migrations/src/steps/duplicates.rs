//! Finds documents that share a key of a unique index.

use futures_util::TryStreamExt;
use mongodb::{
    Database, IndexModel,
    bson::{Bson, Document, doc},
    error::Result,
};

use crate::{
    indexes::{IndexSpec, is_sparse},
    state::entry::MAX_EXAMPLES,
};

/// Documents that share a key with other documents.
pub(super) struct Duplicates {
    /// `true` if the documents have none of the fields of the index.
    pub(super) are_missing: bool,
    /// Number of documents.
    pub(super) count: i64,
    /// Some of their `_id`s.
    pub(super) ids: Vec<Bson>,
}

/// Returns the documents that would share a key of an index if the collection were the output of a
/// pipeline: those with any of its fields first, then those without.
pub(super) async fn find(
    database: &Database,
    collection: &str,
    index: &IndexModel,
    mut pipeline: Vec<Document>,
) -> Result<Vec<Duplicates>> {
    pipeline.push(doc! { "$match": IndexSpec::from(index).filter.unwrap_or_default() });
    if is_sparse(index) {
        pipeline.push(doc! { "$match": has_any(&index.keys) });
    }
    let key: Document = index
        .keys
        .keys()
        .enumerate()
        // An index treats a missing field as null.
        .map(|(place, field)| {
            (format!("k{place}"), doc! { "$ifNull": [format!("${field}"), Bson::Null] }.into())
        })
        .collect();
    let all_missing: Vec<_> =
        key.keys().map(|name| doc! { "$eq": [format!("$_id.{name}"), Bson::Null] }).collect();
    let limit = i64::try_from(MAX_EXAMPLES).unwrap_or(i64::MAX);
    let flattened = doc! { "input": "$groups", "initialValue": [], "in": {
        "$cond": [
            { "$lt": [{ "$size": "$$value" }, limit] },
            { "$concatArrays": ["$$value", "$$this"] },
            "$$value",
        ]
    } };
    pipeline.extend([
        doc! { "$group": {
            "_id": key,
            "ids": { "$firstN": { "input": "$_id", "n": limit } },
            "n": { "$sum": 1_i64 },
        } },
        doc! { "$match": { "n": { "$gt": 1 } } },
        doc! { "$sort": { "_id": 1 } },
        doc! { "$group": {
            "_id": { "$and": all_missing },
            "groups": { "$firstN": { "input": "$ids", "n": limit } },
            "n": { "$sum": "$n" },
        } },
        doc! { "$project": { "n": 1, "ids": { "$slice": [{ "$reduce": flattened }, limit] } } },
        doc! { "$sort": { "_id": 1 } },
    ]);
    let collection = database.collection::<Document>(collection);
    let groups = collection.aggregate(pipeline).allow_disk_use(true).await?;
    let duplicates = groups.map_ok(|group| Duplicates {
        are_missing: group.get_bool("_id").unwrap_or_default(),
        count: group.get_i64("n").unwrap_or_default(),
        ids: group.get_array("ids").cloned().unwrap_or_default(),
    });
    duplicates.try_collect().await
}

/// Returns a filter for documents that have any of these fields.
fn has_any(keys: &Document) -> Document {
    let has = keys.keys().map(|field| doc! { field: { "$exists": true } });
    doc! { "$or": has.collect::<Vec<_>>() }
}
