//! Inserting documents, all or none, once.

use async_trait::async_trait;
use mongodb::{
    ClientSession, Database,
    bson::{Bson, Document, doc, oid::ObjectId},
    error::Result,
};

use crate::{
    Insert,
    journal::{self, Change, Journal, Record},
    ledger::Ledger,
    transaction::Work,
};

impl Insert {
    /// Whether the documents are missing.
    pub(crate) async fn is_pending(&self, database: &Database) -> Result<bool> {
        let collection = database.collection::<Document>(self.collection);
        Ok(collection.find_one(self.unless.clone()).projection(doc! { "_id": 1 }).await?.is_none())
    }

    /// The documents as they are stored: `_id` first.
    fn stored(&self) -> Vec<Document> {
        let stored = |document: &Document| {
            let mut document = document.clone();
            let id = document.remove("_id").unwrap_or_else(|| ObjectId::new().into());
            let mut stored = doc! { "_id": id };
            stored.extend(document);
            stored
        };
        self.documents.iter().map(stored).collect()
    }
}

/// Inserts the documents unless they are there: one transaction with journal and ledger.
pub(crate) struct Insertion<'a> {
    pub(crate) insert: &'a Insert,
    pub(crate) database: &'a Database,
    pub(crate) ledger: &'a Ledger,
    pub(crate) journal: &'a Journal,
    pub(crate) migration: &'static str,
    pub(crate) fence: i64,
}

#[async_trait]
impl Work for Insertion<'_> {
    /// How many documents were inserted.
    type Output = i64;

    async fn run(&self, session: &mut ClientSession) -> Result<i64> {
        let Self { insert, database, ledger, journal, migration, fence } = self;
        let collection = database.collection::<Document>(insert.collection);
        if collection.find_one(insert.unless.clone()).session(&mut *session).await?.is_some() {
            return Ok(0);
        }
        let documents = insert.stored();
        let count = journal::count(documents.len())?;
        collection.insert_many(&documents).session(&mut *session).await?;
        let record = Record {
            id: ObjectId::new(),
            migration: (*migration).to_owned(),
            step: insert.what.clone(),
            fence: *fence,
            collection: insert.collection.to_owned(),
            count,
            change: Change::Inserted(documents),
        };
        journal.write_in(session, &[record]).await?;
        ledger.update_in(session, migration, *fence, journaled(count)).await?;
        Ok(count)
    }
}

/// The ledger's field that says how much is in the journal, after so many more changes.
pub(crate) fn journaled(count: i64) -> Document {
    let earlier = doc! { "$ifNull": ["$journaled", 0_i64] };
    doc! { "journaled": Bson::from(doc! { "$add": [earlier, count] }) }
}
