//! The journal: the changes of the engine, recorded in the same transactions, so that exactly these
//! can be rolled back.
//!
//! A record has the `_id`s of the documents and their values before and after. A roll-back changes a
//! document only if it still has the value that the engine wrote; later changes by others stay.

use futures_util::TryStreamExt;
use mongo_kit::Work;
use mongodb::{
    ClientSession, Collection, Database,
    bson::{self, Bson, Document, RawDocumentBuf, doc, oid::ObjectId},
    error::{Error, Result},
};
use serde::{Deserialize, Serialize};

use super::ledger::Claim;
use crate::{
    indexes::{self, IndexSpec},
    transaction::{self, encode},
};

/// The change of one collection in one transaction, or an index that was about to be built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(rename = "_id")]
    pub(crate) id: ObjectId,
    pub(crate) migration: String,
    pub(crate) step: String,
    pub(crate) fence: i64,
    pub(crate) collection: String,
    /// Number of documents or indexes.
    pub(crate) count: i64,
    pub(crate) change: Change,
}

impl Record {
    pub(crate) fn new(
        claim: &Claim,
        step: String,
        collection: &str,
        count: i64,
        change: Change,
    ) -> Self {
        Self {
            id: ObjectId::new(),
            migration: claim.id.to_owned(),
            step,
            fence: claim.fence,
            collection: collection.to_owned(),
            count,
            change,
        }
    }
}

/// A change, with the values that are needed to undo it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    /// Fields were added to documents that had none of them. The values are expressions.
    Added { ids: Vec<Bson>, written: Document },
    /// Fields of documents were set, some of which had values.
    Set(Vec<Replaced>),
    /// Documents were inserted.
    Inserted(Vec<Document>),
    /// An index was built.
    Built(IndexSpec),
}

/// The fields of one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    pub(crate) id: Bson,
    /// The earlier values, without fields that were missing.
    pub(crate) before: Document,
    /// The values that were written, as expressions.
    pub(crate) written: Document,
}

/// The journal of one service.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    database: Database,
    records: Collection<Record>,
}

impl Journal {
    pub(crate) fn new(database: &Database, service: &str) -> Self {
        let records = database.collection(&super::journal_name(service));
        Self { database: database.clone(), records }
    }

    /// Writes records in the transaction of the session.
    pub(crate) async fn write_in(
        &self,
        session: &mut ClientSession,
        records: &[Record],
    ) -> Result<()> {
        if !records.is_empty() {
            let records: Vec<_> = records.iter().map(encode).collect::<Result<_>>()?;
            let raw = self.records.clone_with_type::<RawDocumentBuf>();
            raw.insert_many(records).session(session).await?;
        }
        Ok(())
    }

    /// Finds a record of the same change, in the transaction of the session.
    pub(crate) async fn find_same_in(
        &self,
        session: &mut ClientSession,
        record: &Record,
    ) -> Result<Option<Record>> {
        let Record { migration, collection, change, .. } = record;
        let same = of_change(&[migration], collection, change)?;
        self.records.find_one(same).session(session).await
    }

    /// Finds a record of this change to a collection by one of these migrations.
    pub(crate) async fn find_of(
        &self,
        migrations: &[&str],
        collection: &str,
        change: &Change,
    ) -> Result<Option<Record>> {
        if migrations.is_empty() {
            return Ok(None);
        }
        self.records.find_one(of_change(migrations, collection, change)?).await
    }

    /// Assigns a record to the claimed migration, in the transaction of the session. Returns `false`
    /// if another process was first.
    pub(crate) async fn hand_over_in(
        &self,
        session: &mut ClientSession,
        record: &Record,
        claim: &Claim,
    ) -> Result<bool> {
        let same = doc! { "_id": record.id, "migration": &record.migration };
        let update = doc! { "$set": { "migration": claim.id, "fence": claim.fence } };
        let result = self.records.update_one(same, update).session(session).await?;
        Ok(result.matched_count == 1)
    }

    /// Returns the number of changes of a migration.
    pub(crate) async fn count(&self, migration: &str) -> Result<i64> {
        let pipeline = [
            doc! { "$match": { "migration": migration } },
            doc! { "$group": { "_id": null, "count": { "$sum": "$count" } } },
        ];
        let mut sums = self.records.aggregate(pipeline).await?;
        let sum = sums.try_next().await?;
        Ok(sum.and_then(|sum| sum.get_i64("count").ok()).unwrap_or_default())
    }

    /// Returns the records of a migration, the newest first. There is no index for it, which would
    /// slow down every run for the sake of a roll-back.
    pub(crate) async fn newest_first(&self, migration: &str) -> Result<Vec<ObjectId>> {
        #[derive(Deserialize)]
        struct Id {
            #[serde(rename = "_id")]
            id: ObjectId,
        }
        let pipeline = [
            doc! { "$match": { "migration": migration } },
            doc! { "$project": { "fence": 1 } },
            // Fences grow from one process to the next, ids within one.
            doc! { "$sort": { "fence": -1, "_id": -1 } },
        ];
        let ids = self.records.aggregate(pipeline).allow_disk_use(true).with_type::<Id>().await?;
        ids.map_ok(|Id { id }| id).try_collect().await
    }

    /// Returns a record, or `None` if it was undone.
    pub(crate) async fn find(&self, record: ObjectId) -> Result<Option<Record>> {
        self.records.find_one(doc! { "_id": record }).await
    }

    /// Returns the `_id`s of the documents that a migration inserted.
    pub(crate) async fn inserted(&self, migration: &str) -> Result<Vec<Bson>> {
        let inserted = doc! { "migration": migration, "change.inserted": { "$exists": true } };
        self.records.distinct("change.inserted._id", inserted).await
    }

    /// Returns the reason why the insertions of a migration cannot be undone exactly, or `None` if
    /// they can.
    pub(crate) async fn unprovable(&self, migration: &str) -> Result<Option<String>> {
        let inserted = doc! { "migration": migration, "change.inserted": { "$exists": true } };
        let mut records = self.records.find(inserted).await?;
        while let Some(record) = records.try_next().await? {
            let Change::Inserted(documents) = &record.change else { continue };
            let collection = self.database.collection::<Document>(&record.collection);
            for document in documents {
                if collection.count_documents(exactly(document)).await? == 0 {
                    let id = document.get("_id").unwrap_or(&Bson::Null);
                    return Ok(Some(format!(
                        "the document {id} of {}, inserted by `{}`, was changed or deleted later",
                        record.collection, record.step
                    )));
                }
            }
        }
        Ok(None)
    }

    /// Drops an index if it is still the one that was built. Returns the number of dropped indexes.
    async fn drop_index(&self, collection: &str, spec: &IndexSpec) -> Result<i64> {
        let existing = indexes::list(&self.database, collection).await?;
        if !existing.iter().any(|index| IndexSpec::from(index) == *spec) {
            return Ok(0);
        }
        self.database.collection::<Document>(collection).drop_index(&spec.name).await?;
        Ok(1)
    }
}

/// The transaction that undoes one record: the documents, the journal and the ledger.
pub(crate) struct Undo<'a> {
    pub(crate) journal: &'a Journal,
    /// The claim of the process that rolls back.
    pub(crate) claim: &'a Claim,
    pub(crate) record: &'a Record,
}

impl Undo<'_> {
    /// Undoes changes that are not possible in a transaction. Returns their number.
    pub(crate) async fn prepare(&self) -> Result<i64> {
        let Self { journal, record, .. } = self;
        match &record.change {
            Change::Built(spec) => journal.drop_index(&record.collection, spec).await,
            Change::Added { .. } | Change::Set(_) | Change::Inserted(_) => Ok(0),
        }
    }
}

impl Work for Undo<'_> {
    /// The number of restored documents.
    type Output = i64;
    type Error = Error;

    async fn run(&mut self, session: &mut ClientSession) -> Result<i64> {
        let Self { journal, claim, record } = self;
        let (database, collection) = (&journal.database, &record.collection);
        let undone = match &record.change {
            Change::Added { ids, written } => {
                let unset: Document = written.keys().map(|key| (key.clone(), "".into())).collect();
                let statement = doc! {
                    "q": { "_id": { "$in": ids }, "$expr": has_values(written) },
                    "u": { "$unset": unset },
                    "multi": true,
                };
                transaction::update(database, collection, vec![statement], session).await?.matched
            }
            Change::Set(documents) => {
                let statements = documents.iter().map(restore).collect();
                transaction::update(database, collection, statements, session).await?.matched
            }
            Change::Inserted(documents) => {
                let collection = database.collection::<Document>(collection);
                let mut undone = 0;
                for document in documents {
                    let deleted = collection.delete_one(exactly(document)).session(&mut *session);
                    undone += i64::try_from(deleted.await?.deleted_count).unwrap_or(i64::MAX);
                }
                undone
            }
            Change::Built(_) => 0,
        };
        journal.records.delete_one(doc! { "_id": record.id }).session(&mut *session).await?;
        let journaled = doc! { "$subtract": ["$journaled", record.count] };
        claim.update_in(session, doc! { "journaled": journaled }).await?;
        Ok(undone)
    }
}

/// Returns a filter for the records of this change to a collection by one of these migrations.
fn of_change(migrations: &[&str], collection: &str, change: &Change) -> Result<Document> {
    let change = bson::serialize_to_bson(change)?;
    Ok(doc! {
        "migration": { "$in": migrations }, "collection": collection, "change": change,
    })
}

/// Returns an expression that is true for documents with these values.
fn has_values(written: &Document) -> Document {
    let equal = written
        .iter()
        .map(|(field, value)| doc! { "$eq": [format!("${field}"), value.clone()] })
        .collect::<Vec<_>>();
    doc! { "$and": equal }
}

/// Returns the update statement that restores the earlier values of a document.
fn restore(document: &Replaced) -> Document {
    let Replaced { id, before, written } = document;
    let missing: Document = written
        .keys()
        .filter(|field| !before.contains_key(field))
        .map(|field| (field.clone(), Bson::from("")))
        .collect();
    let mut update = Document::new();
    if !before.is_empty() {
        update.insert("$set", before.clone());
    }
    if !missing.is_empty() {
        update.insert("$unset", missing);
    }
    doc! { "q": { "_id": id, "$expr": has_values(written) }, "u": update }
}

/// Returns a filter for the document if not a single byte of it has changed.
fn exactly(document: &Document) -> Document {
    let whole = doc! { "$eq": ["$$ROOT", { "$literal": document }] };
    doc! { "_id": document.get("_id").cloned(), "$expr": whole }
}

/// Returns expressions with the values themselves.
pub(crate) fn literals(values: &Document) -> Result<Document> {
    let literal = |(field, value): (&String, &Bson)| {
        Ok((field.clone(), Bson::from(doc! { "$literal": value.clone() })))
    };
    values.iter().map(literal).collect::<Result<_>>()
}

/// Returns a number of documents in the type that BSON has.
pub(crate) fn count(documents: usize) -> Result<i64> {
    i64::try_from(documents).map_err(Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_fields_are_removed_and_others_get_their_earlier_values() {
        let replaced = Replaced {
            id: 1.into(),
            before: doc! { "a": null },
            written: literals(&doc! { "a": "x", "b": "$y" }).unwrap(),
        };
        let statement = restore(&replaced);
        let update = statement.get_document("u").unwrap();
        assert_eq!(update, &doc! { "$set": { "a": null }, "$unset": { "b": "" } });
        let equal = statement.get_document("q").unwrap().get_document("$expr").unwrap();
        let expected = doc! { "$and": [
            { "$eq": ["$a", { "$literal": "x" }] }, { "$eq": ["$b", { "$literal": "$y" }] },
        ] };
        assert_eq!(equal, &expected);
    }
}
