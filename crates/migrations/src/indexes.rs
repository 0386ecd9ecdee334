//! Making sure that an index exists.

use futures_util::TryStreamExt;
use mongodb::{
    Database, IndexModel,
    bson::{Bson, Document, doc},
    error::{Error, ErrorKind, Result},
    options::IndexOptions,
};

use crate::{Index, journal::IndexSpec, ledger::EXAMPLES};

/// `listIndexes` of a collection that does not exist (MongoDB manual, "Error codes":
/// `NamespaceNotFound`).
const NAMESPACE_NOT_FOUND: i32 = 26;

impl Index {
    /// Whether an index that does the same exists, whatever its name.
    pub(crate) async fn exists(&self, database: &Database) -> Result<bool> {
        let existing = existing(database, self.collection).await?;
        Ok(existing.iter().any(|index| serves(index, &self.model)))
    }

    /// What to do about an index of this name that is another one, if there is one.
    pub(crate) async fn obstacle(&self, database: &Database) -> Result<Option<String>> {
        let existing = existing(database, self.collection).await?;
        let impostor = existing
            .iter()
            .find(|index| spec(index).name == self.name() && !serves(index, &self.model));
        Ok(impostor.map(|index| format!("drop or rename the index with the keys {}", index.keys)))
    }

    /// Builds the index. Safe to repeat: the server does nothing where it exists.
    pub(crate) async fn create(&self, database: &Database) -> Result<()> {
        let collection = database.collection::<Document>(self.collection);
        collection.create_index(self.model.clone()).await.map(drop)
    }

    /// Documents that share a key of an index that is to be unique: `_id`s, group by group.
    pub(crate) async fn duplicates(&self, database: &Database) -> Result<Vec<Vec<Bson>>> {
        let spec = spec(&self.model);
        if !spec.unique {
            return Ok(Vec::new());
        }
        let key: Document = (spec.keys.iter().enumerate())
            .map(|(place, (field, _))| {
                // To an index a field that is missing is null.
                let value = doc! { "$ifNull": [format!("${field}"), Bson::Null] };
                (format!("k{place}"), Bson::from(value))
            })
            .collect();
        let limit = i64::try_from(EXAMPLES).unwrap_or(i64::MAX);
        let pipeline = [
            doc! { "$match": spec.filter.unwrap_or_default() },
            doc! { "$group": { "_id": key, "ids": { "$push": "$_id" }, "n": { "$sum": 1 } } },
            doc! { "$match": { "n": { "$gt": 1 } } },
            doc! { "$limit": limit },
            doc! { "$project": { "ids": { "$slice": ["$ids", limit] } } },
        ];
        let collection = database.collection::<Document>(self.collection);
        let groups = collection.aggregate(pipeline).allow_disk_use(true).await?;
        let groups: Vec<Document> = groups.try_collect().await?;
        let ids = |group: &Document| group.get_array("ids").cloned().unwrap_or_default();
        Ok(groups.iter().map(ids).collect())
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

/// Whether an index does what the wanted one is for: its keys, filter and collation are the same.
/// One that is unique as well finds what a plain one finds; one that keeps documents for ever does
/// not forget them.
fn serves(existing: &IndexModel, wanted: &IndexModel) -> bool {
    fn essence(options: Option<&IndexOptions>) -> (bool, Option<&str>) {
        let Some(options) = options else { return (false, None) };
        let collation = options.collation.as_ref().map(|collation| collation.locale.as_str());
        (options.sparse.unwrap_or_default(), collation)
    }
    let is_hidden = |model: &IndexModel| {
        model.options.as_ref().and_then(|options| options.hidden).unwrap_or_default()
    };
    let lifetime =
        |model: &IndexModel| model.options.as_ref().and_then(|options| options.expire_after);
    let (found, needed) = (spec(existing), spec(wanted));
    found.keys == needed.keys
        && found.filter == needed.filter
        && essence(existing.options.as_ref()) == essence(wanted.options.as_ref())
        && (found.unique || !needed.unique)
        && (lifetime(wanted).is_none() || lifetime(existing) == lifetime(wanted))
        && !is_hidden(existing)
}

fn is_namespace_not_found(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == NAMESPACE_NOT_FOUND)
}
