//! Making sure that an index exists.

use futures_util::TryStreamExt;
use mongodb::{
    Database, IndexModel,
    bson::{Bson, Document},
    error::{Error, ErrorKind, Result},
};

use crate::{Index, journal::IndexSpec};

/// `listIndexes` of a collection that does not exist (MongoDB manual, "Error codes":
/// `NamespaceNotFound`).
const NAMESPACE_NOT_FOUND: i32 = 26;

impl Index {
    /// Whether an index that does the same exists, whatever its name.
    pub(crate) async fn exists(&self, database: &Database) -> Result<bool> {
        let existing = existing(database, self.collection).await?;
        Ok(self.is_among(&existing))
    }

    /// Returns whether an index that does the same is among these of its collection.
    pub(crate) fn is_among(&self, existing: &[IndexModel]) -> bool {
        let standard = standard_collation(existing);
        existing.iter().any(|index| serves(index, &self.model, standard.as_deref()))
    }

    /// Builds the index. Safe to repeat: the server does nothing where it exists.
    pub(crate) async fn create(&self, database: &Database) -> Result<()> {
        let collection = database.collection::<Document>(self.collection);
        collection.create_index(self.model.clone()).await.map(drop)
    }
}

/// The indexes of a collection, which need not exist.
pub(crate) async fn existing(database: &Database, collection: &str) -> Result<Vec<IndexModel>> {
    match database.collection::<Document>(collection).list_indexes().await {
        Ok(cursor) => cursor.try_collect().await,
        Err(error) if is_namespace_not_found(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What an index is, without what the server adds. Directions of keys are numbers of one kind.
pub(crate) fn spec(index: &IndexModel) -> IndexSpec {
    let options = index.options.as_ref();
    let direction = |value: &Bson| match value {
        Bson::Double(number) => Bson::Int64(if *number < 0.0 { -1 } else { 1 }),
        Bson::Int32(number) => Bson::Int64((*number).into()),
        other => other.clone(),
    };
    IndexSpec {
        name: options.and_then(|options| options.name.clone()).unwrap_or_default(),
        keys: index.keys.iter().map(|(key, value)| (key.clone(), direction(value))).collect(),
        unique: options.and_then(|options| options.unique).unwrap_or_default(),
        filter: options.and_then(|options| options.partial_filter_expression.clone()),
    }
}

/// Returns the collation that the indexes and queries of a collection have that name none. That of
/// `_id` always has it (MongoDB manual, "Collation").
pub(crate) fn standard_collation(existing: &[IndexModel]) -> Option<String> {
    let of_ids =
        existing.iter().find(|index| index.keys.len() == 1 && index.keys.contains_key("_id"));
    let collation = of_ids?.options.as_ref()?.collation.as_ref()?;
    Some(collation.locale.clone())
}

/// The locale of an index's collation.
pub(crate) fn collation(index: &IndexModel) -> Option<&str> {
    let collation = index.options.as_ref().and_then(|options| options.collation.as_ref());
    collation.map(|collation| collation.locale.as_str())
}

/// Returns whether queries do not use an index (MongoDB manual, "Hidden Indexes").
pub(crate) fn is_hidden(index: &IndexModel) -> bool {
    index.options.as_ref().and_then(|options| options.hidden).unwrap_or_default()
}

/// Returns whether an index has no entry for documents without its fields.
pub(crate) fn is_sparse(index: &IndexModel) -> bool {
    index.options.as_ref().and_then(|options| options.sparse).unwrap_or_default()
}

/// Whether an index does what the wanted one is for: its keys, filter and collation are the same.
/// One that is unique as well finds what a plain one finds; one that keeps documents for ever does
/// not forget them. `standard` is the collation of the collection.
fn serves(existing: &IndexModel, wanted: &IndexModel, standard: Option<&str>) -> bool {
    let lifetime =
        |model: &IndexModel| model.options.as_ref().and_then(|options| options.expire_after);
    let (found, needed) = (spec(existing), spec(wanted));
    found.keys == needed.keys
        && found.filter == needed.filter
        && is_sparse(existing) == is_sparse(wanted)
        && collation(existing) == collation(wanted).or(standard)
        && (found.unique || !needed.unique)
        && (lifetime(wanted).is_none() || lifetime(existing) == lifetime(wanted))
        && !is_hidden(existing)
}

fn is_namespace_not_found(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == NAMESPACE_NOT_FOUND)
}
