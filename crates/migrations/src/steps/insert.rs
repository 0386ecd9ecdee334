//! Documents that are inserted once, all or none.

use async_trait::async_trait;
use mongo_kit::{Work, Writer};
use mongodb::{
    ClientSession,
    bson::{Document, doc, oid::ObjectId},
    error::{Error, Result as MongoResult},
};

use super::{Data, PlanContext, PlannedStep, Step, StepContext, Violation, ViolationKind, exists};
use crate::{
    error::{RunErrorKind, StepsError},
    state::{
        journal::{self, Change, Record},
        ledger::add_journaled,
        step_key::StepKey,
    },
};

/// A step that inserts documents, all or none, unless an existing document shows that this was
/// done.
#[derive(Debug, Clone)]
pub struct Insert {
    /// The stable key of the step.
    pub key: StepKey,
    /// The collection to insert into.
    pub collection: &'static str,
    /// A filter. A document that matches it prevents the insertion.
    pub unless: Document,
    /// The documents to insert.
    pub documents: Vec<Document>,
}

impl Insert {
    /// Returns the documents in the form that is stored, with the `_id` first.
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

/// The transaction that inserts the documents and their record in the journal.
struct Insertion<'a> {
    insert: &'a Insert,
    context: &'a StepContext,
}

impl Work for Insertion<'_> {
    /// The number of documents inserted.
    type Output = i64;
    type Error = Error;

    async fn run(&mut self, session: &mut ClientSession) -> MongoResult<i64> {
        let Self { insert, context } = self;
        let collection = context.database.collection::<Document>(insert.collection);
        if collection.find_one(insert.unless.clone()).session(&mut *session).await?.is_some() {
            return Ok(0);
        }
        let documents = insert.stored();
        let count = journal::count(documents.len())?;
        collection.insert_many(&documents).session(&mut *session).await?;
        let (step, change) = (insert.key.to_string(), Change::Inserted(documents));
        let record = Record::new(&context.claim, step, insert.collection, count, change);
        context.journal.write_in(session, &[record]).await?;
        context.claim.update_in(session, add_journaled(count)).await?;
        Ok(count)
    }
}

#[async_trait]
impl Step for Insert {
    fn key(&self) -> StepKey {
        self.key.clone()
    }

    fn specification(&self) -> Document {
        doc! {
            "insert": &self.key, "collection": self.collection, "unless": &self.unless,
            "documents": self.documents.clone(),
        }
    }

    fn collection(&self) -> Option<&'static str> {
        Some(self.collection)
    }

    async fn remaining(&self, data: Data<'_>) -> MongoResult<i64> {
        let is_pending = self.is_pending(data).await?;
        if is_pending { journal::count(self.documents.len()) } else { Ok(0) }
    }

    async fn is_pending(&self, data: Data<'_>) -> MongoResult<bool> {
        Ok(!exists(data.database, self.collection, self.unless.clone()).await?)
    }

    async fn apply(&self, context: StepContext, writer: &mut Writer) -> Result<i64, RunErrorKind> {
        let insertion = Insertion { insert: self, context: &context };
        context.claim.transact(writer, &context.stop, insertion).await
    }

    async fn plan(&self, context: PlanContext<'_>) -> Result<Vec<PlannedStep>, StepsError> {
        Ok(vec![PlannedStep::new(self.key(), self.remaining(context.data).await?)])
    }

    async fn verify(&self, data: Data<'_>) -> Result<Vec<Violation>, StepsError> {
        let (kind, step) = (ViolationKind::NotInserted, self.key());
        let (count, documents) = (self.remaining(data).await?, Vec::new());
        let remedy = format!("`up` inserts them into {}", self.collection);
        let violation = Violation { kind, step, count, documents, remedy };
        Ok((count > 0).then_some(violation).into_iter().collect())
    }
}
