//! Building an index, so that it is known later whose it is.

use async_trait::async_trait;
use mongodb::{ClientSession, bson::oid::ObjectId, error::Error};
use tokio_util::sync::CancellationToken;

use crate::{
    Engine, Index, RunError,
    engine::Inner,
    error::server_code,
    failpoint,
    insert::journaled,
    journal::{Change, Journal, Record, Undo},
    ledger::Ledger,
    transaction::{Work, transact},
};

impl Engine {
    /// Builds an index that does not exist; whether it was built, as a number.
    pub(super) async fn build(
        &self,
        id: &'static str,
        fence: i64,
        index: &Index,
        session: &mut ClientSession,
        stop: &CancellationToken,
    ) -> Result<i64, RunError> {
        let Inner { database, ledger, journal, .. } = &*self.0;
        let of_database = |source| RunError::of_database(id, source);
        self.adopt(id, fence, index, session, stop).await?;
        if index.exists(database).await.map_err(of_database)? {
            return Ok(0);
        }
        // Before it is built: after a kill in between nobody could prove whose it is.
        let record = Record {
            id: ObjectId::new(),
            migration: id.to_owned(),
            step: format!("index {}", index.name()),
            fence,
            collection: index.collection.to_owned(),
            count: 1,
            change: Change::of_index(index),
        };
        let intent = Intent { ledger, journal, record: &record };
        let written = transact(session, stop, &intent).await;
        let record = self.told_apart(id, fence, written).await?;
        failpoint::at("index_before_build").await;
        let source = match index.create(database).await {
            Ok(()) if index.exists(database).await.map_err(of_database)? => return Ok(1),
            // The server takes it for one that it has, such as a hidden one of this name.
            Ok(()) => Error::custom("an index of this name and these keys cannot be used"),
            Err(source) => source,
        };
        if mongo_kit::is_transient(&source) {
            // Nothing is in its way, and the server may go on building it.
            return Err(of_database(source));
        }
        if server_code(&source).is_some() || source.get_custom::<&str>().is_some() {
            // It was not built, so that one which somebody builds in its place is not ours.
            let undo = Undo { journal, ledger, record: &record, fence };
            let unsaid = transact(session, stop, &undo).await;
            self.told_apart(id, fence, unsaid).await?;
        }
        let obstacles = index.obstacles(database, &[]).await.unwrap_or_default();
        let obstacles = obstacles.iter().map(|found| format!("; {}", found.in_words()));
        let documents = obstacles.collect();
        let (index, collection) = (index.name().to_owned(), index.collection);
        Err(RunError::Index { id, index, collection, documents, source: source.into() })
    }
}

impl Engine {
    /// Takes over what the journal says of an index if a later migration built it, or was about to,
    /// whose earlier revision declared it: rolling that one back must not drop what this one needs.
    async fn adopt(
        &self,
        id: &'static str,
        fence: i64,
        index: &Index,
        session: &mut ClientSession,
        stop: &CancellationToken,
    ) -> Result<(), RunError> {
        let Inner { ledger, journal, .. } = &*self.0;
        let ids = self.0.migrations.iter().map(|migration| migration.definition().id);
        let later: Vec<_> = ids.skip_while(|other| *other != id).skip(1).collect();
        let change = Change::of_index(index);
        let found = journal.find_of(&later, index.collection, &change).await;
        let found = found.map_err(|source| RunError::of_database(id, source))?;
        let Some(record) = found else { return Ok(()) };
        let adoption = Adoption { ledger, journal, id, fence, record: &record };
        let adopted = transact(session, stop, &adoption).await;
        self.told_apart(id, fence, adopted).await?;
        let from = record.migration;
        tracing::info!(migration = id, from, index = index.name(), "index taken over");
        Ok(())
    }
}

/// Moves a record of the journal from one migration to another, in the ledger as well.
struct Adoption<'a> {
    ledger: &'a Ledger,
    journal: &'a Journal,
    /// The migration that takes it over.
    id: &'a str,
    fence: i64,
    record: &'a Record,
}

#[async_trait]
impl Work for Adoption<'_> {
    type Output = ();

    async fn run(&self, session: &mut ClientSession) -> mongodb::error::Result<()> {
        let Self { ledger, journal, id, fence, record } = self;
        if journal.hand_over_in(session, record, id, *fence).await? {
            ledger.give_up_in(session, &record.migration, record.count).await?;
            ledger.update_in(session, id, *fence, journaled(record.count)).await?;
        }
        Ok(())
    }
}

/// Says in the journal that an index is about to be built, unless a run has said so that was
/// killed before it built it.
struct Intent<'a> {
    ledger: &'a Ledger,
    journal: &'a Journal,
    record: &'a Record,
}

#[async_trait]
impl Work for Intent<'_> {
    /// The record that says so.
    type Output = Record;

    async fn run(&self, session: &mut ClientSession) -> mongodb::error::Result<Record> {
        let Self { ledger, journal, record } = self;
        let said = journal.find_same_in(session, record).await?;
        if said.is_none() {
            journal.write_in(session, std::slice::from_ref(record)).await?;
        }
        let count = if said.is_none() { record.count } else { 0 };
        ledger.update_in(session, &record.migration, record.fence, journaled(count)).await?;
        Ok(said.unwrap_or_else(|| (*record).clone()))
    }
}
