//! Reads the indexes of a collection and compares them.

use futures_util::TryStreamExt;
use mongodb::{
    Database, IndexModel,
    bson::{Bson, Document},
    error::{Error, ErrorKind, Result},
};
use serde::{Deserialize, Serialize};

/// `listIndexes` of a collection that does not exist (MongoDB manual, "Error codes":
/// `NamespaceNotFound`).
const NAMESPACE_NOT_FOUND: i32 = 26;

/// The properties that identify an index, without those that the server adds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IndexSpec {
    pub(crate) name: String,
    /// In their order, which matters. Directions are 64-bit integers.
    pub(crate) keys: Vec<(String, Bson)>,
    pub(crate) unique: bool,
    pub(crate) filter: Option<Document>,
}

impl From<&IndexModel> for IndexSpec {
    fn from(index: &IndexModel) -> Self {
        let options = index.options.as_ref();
        let direction = |value: &Bson| match value {
            Bson::Double(number) => Bson::Int64(if *number < 0.0 { -1 } else { 1 }),
            Bson::Int32(number) => Bson::Int64((*number).into()),
            other => other.clone(),
        };
        Self {
            name: options.and_then(|options| options.name.clone()).unwrap_or_default(),
            keys: index.keys.iter().map(|(key, value)| (key.clone(), direction(value))).collect(),
            unique: is_unique(index),
            filter: options.and_then(|options| options.partial_filter_expression.clone()),
        }
    }
}

/// Returns the indexes of a collection, which need not exist.
pub(crate) async fn list(database: &Database, collection: &str) -> Result<Vec<IndexModel>> {
    match database.collection::<Document>(collection).list_indexes().await {
        Ok(cursor) => cursor.try_collect().await,
        Err(error) if is_namespace_not_found(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Returns the collation of the indexes and queries of a collection that name none. The index on
/// `_id` always has it (MongoDB manual, "Collation").
pub(crate) fn default_collation(existing: &[IndexModel]) -> Option<String> {
    let of_ids =
        existing.iter().find(|index| index.keys.len() == 1 && index.keys.contains_key("_id"));
    let collation = of_ids?.options.as_ref()?.collation.as_ref()?;
    Some(collation.locale.clone())
}

/// Returns the locale of the collation of an index.
fn collation(index: &IndexModel) -> Option<&str> {
    let collation = index.options.as_ref().and_then(|options| options.collation.as_ref());
    collation.map(|collation| collation.locale.as_str())
}

/// Returns `true` if queries do not use an index (MongoDB manual, "Hidden Indexes").
pub(crate) fn is_hidden(index: &IndexModel) -> bool {
    index.options.as_ref().and_then(|options| options.hidden).unwrap_or_default()
}

/// Returns `true` if no two documents can have the same key.
pub(crate) fn is_unique(index: &IndexModel) -> bool {
    index.options.as_ref().and_then(|options| options.unique).unwrap_or_default()
}

/// Returns `true` if an index has no entry for documents without its fields.
pub(crate) fn is_sparse(index: &IndexModel) -> bool {
    index.options.as_ref().and_then(|options| options.sparse).unwrap_or_default()
}

/// Returns `true` if two indexes have the same entries, whatever their names and other options are.
/// `default_collation` is that of the collection.
pub(crate) fn have_same_entries(
    existing: &IndexModel,
    wanted: &IndexModel,
    default_collation: Option<&str>,
) -> bool {
    let (found, needed) = (IndexSpec::from(existing), IndexSpec::from(wanted));
    found.keys == needed.keys
        && found.filter == needed.filter
        && is_sparse(existing) == is_sparse(wanted)
        && collation(existing) == collation(wanted).or(default_collation)
}

/// Returns `true` if an existing index serves the purpose of a wanted one, whatever its name: the
/// entries are the same. A unique index also finds what a plain one finds; an index without expiry
/// does not replace one with it. `default_collation` is that of the collection.
pub(crate) fn serves(
    existing: &IndexModel,
    wanted: &IndexModel,
    default_collation: Option<&str>,
) -> bool {
    let lifetime =
        |model: &IndexModel| model.options.as_ref().and_then(|options| options.expire_after);
    have_same_entries(existing, wanted, default_collation)
        && (is_unique(existing) || !is_unique(wanted))
        && (lifetime(wanted).is_none() || lifetime(existing) == lifetime(wanted))
        && !is_hidden(existing)
}

fn is_namespace_not_found(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == NAMESPACE_NOT_FOUND)
}
