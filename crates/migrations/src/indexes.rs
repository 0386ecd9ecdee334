//! Making sure that an index exists.

use futures_util::TryStreamExt;
use mongodb::{
    Database, IndexModel,
    bson::Document,
    error::{Error, ErrorKind},
    options::IndexOptions,
};

use crate::Index;

/// `listIndexes` of a collection that does not exist (MongoDB manual, "Error codes":
/// `NamespaceNotFound`).
const NAMESPACE_NOT_FOUND: i32 = 26;

impl Index {
    /// What the index is called.
    pub(crate) fn name(&self) -> String {
        name(&self.model).to_owned()
    }

    /// Whether an index with these keys and options exists, whatever its name.
    pub(crate) async fn exists(&self, database: &Database) -> mongodb::error::Result<bool> {
        let existing = match database.collection::<Document>(self.collection).list_indexes().await {
            Ok(cursor) => cursor.try_collect::<Vec<_>>().await?,
            Err(error) if is_namespace_not_found(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(existing.iter().any(|index| is_equivalent(index, &self.model)))
    }

    /// Builds the index. Safe to repeat: the server does nothing where it exists.
    pub(crate) async fn create(&self, database: &Database) -> mongodb::error::Result<()> {
        let collection = database.collection::<Document>(self.collection);
        collection.create_index(self.model.clone()).await.map(drop)
    }
}

fn name(model: &IndexModel) -> &str {
    model.options.as_ref().and_then(|options| options.name.as_deref()).unwrap_or_default()
}

/// Two indexes do the same when their keys, uniqueness and filters are the same.
fn is_equivalent(a: &IndexModel, b: &IndexModel) -> bool {
    fn essence(options: Option<&IndexOptions>) -> (bool, bool, Option<&Document>) {
        let Some(options) = options else { return (false, false, None) };
        let is_set = |flag: Option<bool>| flag.unwrap_or_default();
        let filter = options.partial_filter_expression.as_ref();
        (is_set(options.unique), is_set(options.sparse), filter)
    }
    let keys = |model: &IndexModel| -> Vec<(String, Option<i64>)> {
        let direction = |value: &mongodb::bson::Bson| match value {
            mongodb::bson::Bson::Double(number) => Some(if *number < 0.0 { -1 } else { 1 }),
            value => value.as_i64().or_else(|| value.as_i32().map(i64::from)),
        };
        model.keys.iter().map(|(key, value)| (key.clone(), direction(value))).collect()
    };
    keys(a) == keys(b) && essence(a.options.as_ref()) == essence(b.options.as_ref())
}

fn is_namespace_not_found(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == NAMESPACE_NOT_FOUND)
}
