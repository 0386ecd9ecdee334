//! Making sure that an index exists.

use futures_util::TryStreamExt;
use mongodb::{
    Database, IndexModel,
    bson::{Bson, Document},
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

    /// Whether an index that does the same exists, whatever its name.
    pub(crate) async fn exists(&self, database: &Database) -> mongodb::error::Result<bool> {
        let existing = match database.collection::<Document>(self.collection).list_indexes().await {
            Ok(cursor) => cursor.try_collect::<Vec<_>>().await?,
            Err(error) if is_namespace_not_found(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(existing.iter().any(|index| serves(index, &self.model)))
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

/// Whether an index does what the wanted one is for: its keys, filter and collation are the same.
/// One that is unique as well finds what a plain one finds.
fn serves(existing: &IndexModel, wanted: &IndexModel) -> bool {
    fn essence(options: Option<&IndexOptions>) -> (bool, Option<&Document>, Option<&str>) {
        let Some(options) = options else { return (false, None, None) };
        let filter = options.partial_filter_expression.as_ref();
        let collation = options.collation.as_ref().map(|collation| collation.locale.as_str());
        (options.sparse.unwrap_or_default(), filter, collation)
    }
    let is_unique = |model: &IndexModel| {
        model.options.as_ref().and_then(|options| options.unique).unwrap_or_default()
    };
    let is_hidden = |model: &IndexModel| {
        model.options.as_ref().and_then(|options| options.hidden).unwrap_or_default()
    };
    let keys = |model: &IndexModel| -> Vec<(String, Option<i64>)> {
        let direction = |value: &Bson| match value {
            Bson::Double(number) => Some(if *number < 0.0 { -1 } else { 1 }),
            value => value.as_i64().or_else(|| value.as_i32().map(i64::from)),
        };
        model.keys.iter().map(|(key, value)| (key.clone(), direction(value))).collect()
    };
    keys(existing) == keys(wanted)
        && essence(existing.options.as_ref()) == essence(wanted.options.as_ref())
        && (is_unique(existing) || !is_unique(wanted))
        && !is_hidden(existing)
}

fn is_namespace_not_found(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == NAMESPACE_NOT_FOUND)
}
