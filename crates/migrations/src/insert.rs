//! Inserting documents, all or none, once.

use futures_util::FutureExt;
use mongodb::{
    Database,
    bson::{Document, doc},
};

use crate::{
    Insert,
    ledger::{Ledger, LedgerError, ledger_error},
};

impl Insert {
    /// Whether the documents are missing.
    pub(crate) async fn is_pending(&self, database: &Database) -> mongodb::error::Result<bool> {
        let collection = database.collection::<Document>(self.collection);
        Ok(collection.find_one(self.unless.clone()).projection(doc! { "_id": 1 }).await?.is_none())
    }

    /// Inserts the documents unless they are there: one transaction with the ledger.
    pub(crate) async fn run(
        &self,
        database: &Database,
        ledger: &Ledger,
        migration: &str,
        fence: i64,
    ) -> Result<i64, LedgerError> {
        let mut session = ledger.client().start_session().await?;
        let context = (self, database.collection::<Document>(self.collection), ledger, migration);
        session
            .start_transaction()
            .and_run(context, |session, (step, collection, ledger, migration)| {
                async move {
                    let found = collection.find_one(step.unless.clone()).session(&mut *session);
                    if found.await?.is_some() {
                        return Ok(0);
                    }
                    let inserted =
                        collection.insert_many(&step.documents).session(&mut *session).await?;
                    let touch = doc! { "$currentDate": { "progress_at": true } };
                    ledger.update_in(session, migration, fence, touch).await?;
                    Ok(i64::try_from(inserted.inserted_ids.len()).unwrap_or(i64::MAX))
                }
                .boxed()
            })
            .await
            .map_err(ledger_error)
    }
}
