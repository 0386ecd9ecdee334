//! Builds an index and records in the journal that the engine built it.

use mongo_kit::{Work, Writer};
use mongodb::{
    ClientSession,
    bson::Document,
    error::{Error, Result as MongoResult},
};

use super::Index;
use crate::{
    error::{RunErrorKind, server_code},
    failpoint,
    indexes::IndexSpec,
    state::{
        journal::{Change, Record, Undo},
        ledger::add_journaled,
    },
    steps::StepContext,
};

impl Index {
    /// Builds the index if it does not exist. Returns the number of indexes built.
    pub(super) async fn build(
        &self,
        context: &StepContext,
        writer: &mut Writer,
    ) -> Result<i64, RunErrorKind> {
        self.adopt(context, writer).await?;
        if self.exists(&context.database).await? {
            return Ok(0);
        }
        // Written before the index is built: after a kill between the two, the journal would not
        // tell whose index it is.
        let record = self.announce(context, writer).await?;
        failpoint::at("index_before_build").await;
        let error = match self.create(context).await {
            Ok(()) if self.exists(&context.database).await? => return Ok(1),
            // The server regards it as equal to an existing one, such as a hidden one of this name.
            Ok(()) => Error::custom("an index with this name and these keys cannot be used"),
            Err(error) => error,
        };
        if mongo_kit::is_transient(&error) {
            // There is no conflict, and the server may still be building the index.
            return Err(error.into());
        }
        if server_code(&error).is_some() || error.get_custom::<&str>().is_some() {
            // The index was not built: one that another program builds in its place is not ours.
            let undo = Undo { journal: &context.journal, claim: &context.claim, record: &record };
            context.claim.transact(writer, &context.stop, undo).await?;
        }
        let obstacles = self.obstacles(&context.database, &[]).await.unwrap_or_default();
        Err(RunErrorKind::Index {
            index: self.name().to_owned(),
            collection: self.collection,
            obstacles: obstacles.iter().map(|one| format!("; {}", one.in_words())).collect(),
            source: error.into(),
        })
    }

    async fn create(&self, context: &StepContext) -> MongoResult<()> {
        let collection = context.database.collection::<Document>(self.collection);
        collection.create_index(self.model.clone()).await.map(drop)
    }

    /// Records that the index is about to be built, unless a run that was killed has recorded it
    /// already. Returns the record.
    async fn announce(
        &self,
        context: &StepContext,
        writer: &mut Writer,
    ) -> Result<Record, RunErrorKind> {
        let change = Change::Built(IndexSpec::from(&self.model));
        let step = format!("index {}", self.name());
        let record = Record::new(&context.claim, step, self.collection, 1, change);
        let announcement = Announcement { context, record: &record };
        context.claim.transact(writer, &context.stop, announcement).await
    }

    /// Takes the journal's record of the index over from a later migration that built it, or was
    /// about to, because its earlier revision declared the index. Otherwise rolling back the later
    /// migration would drop an index that this one needs.
    async fn adopt(&self, context: &StepContext, writer: &mut Writer) -> Result<(), RunErrorKind> {
        let change = Change::Built(IndexSpec::from(&self.model));
        let found = context.journal.find_of(&context.later, self.collection, &change).await?;
        let Some(record) = found else { return Ok(()) };
        let adoption = Adoption { context, record: &record };
        context.claim.transact(writer, &context.stop, adoption).await?;
        let (migration, from) = (context.claim.id, &record.migration);
        tracing::info!(
            migration,
            from,
            index = self.name(),
            "index adopted from a later migration"
        );
        Ok(())
    }
}

/// The transaction that records in the journal that an index is about to be built, unless a run that
/// was killed has recorded it already.
struct Announcement<'a> {
    context: &'a StepContext,
    record: &'a Record,
}

impl Work for Announcement<'_> {
    /// The record in the journal.
    type Output = Record;
    type Error = Error;

    async fn run(&mut self, session: &mut ClientSession) -> MongoResult<Record> {
        let Self { context: StepContext { journal, claim, .. }, record } = self;
        let earlier = journal.find_same_in(session, record).await?;
        if earlier.is_none() {
            journal.write_in(session, std::slice::from_ref(record)).await?;
        }
        let count = if earlier.is_none() { record.count } else { 0 };
        claim.update_in(session, add_journaled(count)).await?;
        Ok(earlier.unwrap_or_else(|| record.clone()))
    }
}

/// The transaction that moves a record of the journal from one migration to another, in the ledger
/// as well.
struct Adoption<'a> {
    context: &'a StepContext,
    record: &'a Record,
}

impl Work for Adoption<'_> {
    type Output = ();
    type Error = Error;

    async fn run(&mut self, session: &mut ClientSession) -> MongoResult<()> {
        let Self { context: StepContext { journal, claim, .. }, record } = self;
        if journal.hand_over_in(session, record, claim).await? {
            claim.uncount_in(session, &record.migration, record.count).await?;
            claim.update_in(session, add_journaled(record.count)).await?;
        }
        Ok(())
    }
}
