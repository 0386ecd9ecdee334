//! The journal: what the engine changed, written in the transaction of the change, so that just
//! that can be undone.
//!
//! A record names the documents, says what was there before and what was written. Undoing touches
//! a document only where the written value still stands: what somebody changed since is theirs.

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mongodb::{
    ClientSession, Collection, Database,
    bson::{self, Bson, Document, RawDocumentBuf, doc, oid::ObjectId},
    error::{Error, Result},
};
use serde::{Deserialize, Serialize};

use crate::{
    Index, indexes,
    ledger::Ledger,
    transaction::{self, Work, encoded},
};

/// What one transaction did to one collection, or that an index was about to be built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(rename = "_id")]
    pub(crate) id: ObjectId,
    pub(crate) migration: String,
    pub(crate) step: String,
    pub(crate) fence: i64,
    pub(crate) collection: String,
    /// How many documents or indexes it is about.
    pub(crate) count: i64,
    pub(crate) change: Change,
}

/// A change, with what is needed to undo it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    /// Fields were added to documents that had none of them. `written` has expressions.
    Added { ids: Vec<Bson>, written: Document },
    /// Fields of documents were set, some of which had values.
    Set(Vec<Replaced>),
    /// Documents were inserted.
    Inserted(Vec<Document>),
    /// An index was built.
    Built(IndexSpec),
    /// Documents were changed in a way that says nothing of what was before.
    Unknown,
}

/// The fields of one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    pub(crate) id: Bson,
    /// The values before; a field that was missing is missing here.
    pub(crate) before: Document,
    /// The values that were written, as expressions.
    pub(crate) written: Document,
}

/// Enough of an index to know it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IndexSpec {
    pub(crate) name: String,
    /// In their order, which matters.
    pub(crate) keys: Vec<(String, Bson)>,
    pub(crate) unique: bool,
    pub(crate) filter: Option<Document>,
}

impl Change {
    pub(crate) fn of_index(index: &Index) -> Self {
        Self::Built(indexes::spec(&index.model))
    }
}

/// The journal of one service.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    database: Database,
    records: Collection<Record>,
}

impl Journal {
    pub(crate) fn new(database: &Database, service: &str) -> Self {
        let records = database.collection(&format!("{service}_migration_journal"));
        Self { database: database.clone(), records }
    }

    /// Writes records, in the session's transaction.
    pub(crate) async fn write_in(
        &self,
        session: &mut ClientSession,
        records: &[Record],
    ) -> Result<()> {
        if !records.is_empty() {
            let records: Vec<_> = records.iter().map(encoded).collect::<Result<_>>()?;
            let raw = self.records.clone_with_type::<RawDocumentBuf>();
            raw.insert_many(records).session(session).await?;
        }
        Ok(())
    }

    /// A record of the same change, in the session's transaction.
    pub(crate) async fn find_same_in(
        &self,
        session: &mut ClientSession,
        record: &Record,
    ) -> Result<Option<Record>> {
        let Record { migration, collection, change, .. } = record;
        let same = doc! {
            "migration": migration, "collection": collection,
            "change": bson::serialize_to_bson(change)?,
        };
        self.records.find_one(same).session(session).await
    }

    /// A record of this change to a collection by one of these migrations.
    pub(crate) async fn find_of(
        &self,
        migrations: &[&str],
        collection: &str,
        change: &Change,
    ) -> Result<Option<Record>> {
        if migrations.is_empty() {
            return Ok(None);
        }
        let same = doc! {
            "migration": { "$in": migrations }, "collection": collection,
            "change": bson::serialize_to_bson(change)?,
        };
        self.records.find_one(same).await
    }

    /// Makes a record another migration's, in the session's transaction, if it is still what it was.
    pub(crate) async fn hand_over_in(
        &self,
        session: &mut ClientSession,
        record: &Record,
        migration: &str,
        fence: i64,
    ) -> Result<bool> {
        let same = doc! { "_id": record.id, "migration": &record.migration };
        let update = doc! { "$set": { "migration": migration, "fence": fence } };
        let result = self.records.update_one(same, update).session(session).await?;
        Ok(result.matched_count == 1)
    }

    /// How many changes of a migration are on record.
    pub(crate) async fn count(&self, migration: &str) -> Result<i64> {
        let pipeline = [
            doc! { "$match": { "migration": migration } },
            doc! { "$group": { "_id": null, "count": { "$sum": "$count" } } },
        ];
        let mut sums = self.records.aggregate(pipeline).await?;
        let sum = sums.try_next().await?;
        Ok(sum.and_then(|sum| sum.get_i64("count").ok()).unwrap_or_default())
    }

    /// The records of a migration, the newest one first. They have no index, which would slow every
    /// run down for the sake of a roll-back: they are looked for once.
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

    pub(crate) async fn find(&self, record: ObjectId) -> Result<Option<Record>> {
        self.records.find_one(doc! { "_id": record }).await
    }

    /// The `_id`s of the documents that a migration inserted.
    pub(crate) async fn inserted(&self, migration: &str) -> Result<Vec<Bson>> {
        let inserted = doc! { "migration": migration, "change.inserted": { "$exists": true } };
        self.records.distinct("change.inserted._id", inserted).await
    }

    /// Why something of a migration could not be undone exactly; none where everything can.
    pub(crate) async fn unprovable(&self, migration: &str) -> Result<Option<String>> {
        let unknown = doc! { "migration": migration, "change": "unknown" };
        if let Some(record) = self.records.find_one(unknown).await? {
            return Ok(Some(format!(
                "nobody knows what `{}` changed in {} documents of {}",
                record.step, record.count, record.collection
            )));
        }
        let inserted = doc! { "migration": migration, "change.inserted": { "$exists": true } };
        let mut records = self.records.find(inserted).await?;
        while let Some(record) = records.try_next().await? {
            let Change::Inserted(documents) = &record.change else { continue };
            let collection = self.database.collection::<Document>(&record.collection);
            for document in documents {
                if collection.count_documents(exactly(document)).await? == 0 {
                    let id = document.get("_id").unwrap_or(&Bson::Null);
                    return Ok(Some(format!(
                        "the document {id} of {}, inserted by `{}`, was changed or deleted since",
                        record.collection, record.step
                    )));
                }
            }
        }
        Ok(None)
    }

    /// Drops an index if it is still the one that was built; how many were dropped.
    async fn drop_index(&self, record: &Record, spec: &IndexSpec) -> Result<i64> {
        let database = &self.database;
        let existing = indexes::existing(database, &record.collection).await?;
        let is_ours = |index: &&mongodb::IndexModel| indexes::spec(index) == *spec;
        if existing.iter().find(is_ours).is_none() {
            return Ok(0);
        }
        database.collection::<Document>(&record.collection).drop_index(&spec.name).await?;
        Ok(1)
    }
}

/// Undoes one record: a transaction of the documents, the journal and the ledger.
pub(crate) struct Undo<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) ledger: &'a Ledger,
    pub(crate) record: &'a Record,
    /// The fence of the process that rolls back.
    pub(crate) fence: i64,
}

impl Undo<'_> {
    /// What has no place in a transaction; how much was undone.
    pub(crate) async fn prepare(&self) -> Result<i64> {
        match &self.record.change {
            Change::Built(spec) => self.journal.drop_index(self.record, spec).await,
            _ => Ok(0),
        }
    }
}

#[async_trait]
impl Work for Undo<'_> {
    /// How many documents got back what they had.
    type Output = i64;

    async fn run(&self, session: &mut ClientSession) -> Result<i64> {
        let Self { journal, ledger, record, fence } = self;
        let (database, collection) = (&journal.database, &record.collection);
        let undone = match &record.change {
            Change::Added { ids, written } => {
                let unset: Document = written.keys().map(|key| (key.clone(), "".into())).collect();
                let statement = doc! {
                    "q": { "_id": { "$in": ids }, "$expr": still(written) },
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
            Change::Built(_) | Change::Unknown => 0,
        };
        journal.records.delete_one(doc! { "_id": record.id }).session(&mut *session).await?;
        let journaled = doc! { "$subtract": ["$journaled", record.count] };
        ledger
            .update_in(session, &record.migration, *fence, doc! { "journaled": journaled })
            .await?;
        Ok(undone)
    }
}

/// Holds where the values that were written still stand.
fn still(written: &Document) -> Document {
    let equal = written
        .iter()
        .map(|(field, value)| doc! { "$eq": [format!("${field}"), value.clone()] })
        .collect::<Vec<_>>();
    doc! { "$and": equal }
}

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
    doc! { "q": { "_id": id, "$expr": still(written) }, "u": update }
}

/// The document, unless a single byte of it has changed.
fn exactly(document: &Document) -> Document {
    let whole = doc! { "$eq": ["$$ROOT", { "$literal": document }] };
    doc! { "_id": document.get("_id").cloned(), "$expr": whole }
}

/// Values as expressions that stand for themselves.
pub(crate) fn literals(values: &Document) -> Result<Document> {
    let literal = |(field, value): (&String, &Bson)| {
        Ok((field.clone(), Bson::from(doc! { "$literal": value.clone() })))
    };
    values.iter().map(literal).collect::<Result<_>>()
}

/// A record whose count does not fit what it names is a mistake of ours.
pub(crate) fn count(documents: usize) -> Result<i64> {
    i64::try_from(documents).map_err(Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_were_missing_are_removed_and_others_get_their_values_back() {
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
