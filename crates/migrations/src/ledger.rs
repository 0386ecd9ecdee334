//! The ledger: one document a migration, which tells the truth about it.
//!
//! Every time in it is the server's. Writes of a run carry its fence and owner, so that a process
//! that lost its lease, or whose migration was paused, matches nothing.

use mongodb::{
    Client, ClientSession, Collection, Database,
    bson::{self, Bson, Document, RawDocumentBuf, doc},
    options::WriteConcern,
};
use serde::Serialize;

use crate::{Definition, Entry, History, Part, State, StoredError};

/// How many earlier runs an entry remembers.
const HISTORY_LENGTH: i32 = 20;

/// How many documents a report names.
pub(crate) const EXAMPLES: usize = 10;

/// What is found where a migration's entry would be.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and most are entries")]
pub(crate) enum Found {
    /// It never ran or waited.
    Nothing,
    /// An entry of this revision or an earlier one.
    Entry(Entry),
    /// The entry of a newer program.
    Newer { revision: i32, app_version: String },
    /// Something that this program did not write.
    Unreadable { reason: String },
}

/// The ledger of one service.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    client: Client,
    entries: Collection<Document>,
    owner: String,
    app_version: &'static str,
}

/// Why the ledger could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// Another process has a newer lease.
    #[error("another process has taken over")]
    Fenced,
    /// An operator paused the migration.
    #[error("paused")]
    Paused,
    /// The database refused.
    #[error(transparent)]
    Database(#[from] mongodb::error::Error),
}

/// Carried by the driver's error out of a transaction whose entry does not match any more.
#[derive(Debug, Clone, Copy)]
struct Refused;

impl Ledger {
    pub(crate) fn new(
        client: &Client,
        database: &Database,
        service: &str,
        owner: &str,
        app_version: &'static str,
    ) -> Self {
        let entries = database.collection(&format!("{service}_migrations"));
        Self { client: client.clone(), entries, owner: owner.to_owned(), app_version }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn name(&self) -> &str {
        self.entries.name()
    }

    /// Every document of the ledger, by id, whoever wrote it.
    pub(crate) async fn documents(&self) -> mongodb::error::Result<Vec<RawDocumentBuf>> {
        use futures_util::TryStreamExt;
        let entries = self.entries.clone_with_type::<RawDocumentBuf>();
        entries.find(doc! {}).sort(doc! { "_id": 1 }).await?.try_collect().await
    }

    /// What the ledger has of a migration.
    pub(crate) async fn find(&self, definition: &Definition) -> mongodb::error::Result<Found> {
        let entries = self.entries.clone_with_type::<RawDocumentBuf>();
        let document = entries.find_one(doc! { "_id": definition.id }).await?;
        Ok(document.map_or(Found::Nothing, |document| Found::read(&document, definition)))
    }

    /// Takes a migration under a lease: its state is `running`, and it carries the fence from now
    /// on. `others` are further fields to set.
    pub(crate) async fn claim(
        &self,
        definition: &Definition,
        checksum: &str,
        fence: i64,
        others: Document,
    ) -> Result<(), LedgerError> {
        let mut fields = self.describe(definition, checksum);
        fields.extend(doc! { "state": State::Running, "fence": fence, "error": null });
        fields.extend(others);
        let update = doc! {
            "$set": fields,
            "$inc": { "attempts": 1_i64 },
            "$currentDate": { "started_at": true },
        };
        let filter = doc! {
            "_id": definition.id,
            "state": { "$ne": State::Paused },
            "$or": [{ "fence": { "$lte": fence } }, { "fence": { "$exists": false } }],
        };
        let claimed = self
            .entries
            .update_one(filter, update)
            .upsert(true)
            .write_concern(WriteConcern::majority())
            .await;
        match claimed {
            Ok(_) => Ok(()),
            // The entry exists but carries a newer fence, or is paused.
            Err(error) if mongo_kit::is_duplicate_key(&error) => {
                Err(self.refusal(definition.id, fence).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Changes the entry of a claimed migration, in the transaction of the session.
    ///
    /// This is the fence at the data: it conflicts with a claim by another process and with a
    /// pause, and matches nothing after one.
    pub(crate) async fn update_in(
        &self,
        session: &mut ClientSession,
        id: &str,
        fence: i64,
        fields: Document,
    ) -> mongodb::error::Result<()> {
        let update = vec![doc! { "$set": fields }];
        let result = self.entries.update_one(self.mine(id, fence), update).session(session).await?;
        if result.matched_count == 1 { Ok(()) } else { Err(mongodb::error::Error::custom(Refused)) }
    }

    /// Counts changes no longer as a migration's, in the session's transaction. That migration need
    /// not be claimed: it is another one's turn.
    pub(crate) async fn give_up_in(
        &self,
        session: &mut ClientSession,
        id: &str,
        journaled: i64,
    ) -> mongodb::error::Result<()> {
        let update = doc! { "$inc": { "journaled": -journaled } };
        self.entries.update_one(doc! { "_id": id }, update).session(session).await.map(drop)
    }

    /// Changes the entry of a claimed migration. The values are expressions.
    pub(crate) async fn update(
        &self,
        id: &str,
        fence: i64,
        fields: Document,
    ) -> Result<(), LedgerError> {
        let update = vec![doc! { "$set": fields }];
        let update = self.entries.update_one(self.mine(id, fence), update);
        let result = update.write_concern(WriteConcern::majority()).await?;
        if result.matched_count == 1 { Ok(()) } else { Err(self.refusal(id, fence).await?) }
    }

    /// Changes entries without a lease, as operators do. The values are expressions.
    pub(crate) async fn change(
        &self,
        filter: Document,
        fields: Document,
    ) -> mongodb::error::Result<bool> {
        let update = self.entries.update_one(filter, vec![doc! { "$set": fields }]);
        Ok(update.write_concern(WriteConcern::majority()).await?.matched_count == 1)
    }

    /// Puts a document in the place of the one with this `_id`, if it is still what it was; where
    /// there is none, makes one.
    pub(crate) async fn replace(
        &self,
        before: Option<&RawDocumentBuf>,
        after: Document,
    ) -> mongodb::error::Result<bool> {
        let majority = WriteConcern::majority();
        let Some(before) = before else {
            return match self.entries.insert_one(after).write_concern(majority).await {
                Ok(_) => Ok(true),
                Err(error) if mongo_kit::is_duplicate_key(&error) => Ok(false),
                Err(error) => Err(error),
            };
        };
        let before = Document::try_from(before.as_ref()).map_err(mongodb::error::Error::custom)?;
        let id = before.get("_id").cloned();
        let unchanged = doc! { "$eq": ["$$ROOT", { "$literal": before }] };
        let replaced = self.entries.replace_one(doc! { "_id": id, "$expr": unchanged }, after);
        Ok(replaced.write_concern(majority).await?.matched_count == 1)
    }

    /// The entry while this process may write it.
    fn mine(&self, id: &str, fence: i64) -> Document {
        let unpaused = doc! { "$ne": State::Paused };
        doc! { "_id": id, "fence": fence, "owner": &self.owner, "state": unpaused }
    }

    /// Why the entry does not match any more.
    async fn refusal(&self, id: &str, fence: i64) -> mongodb::error::Result<LedgerError> {
        let paused = doc! { "_id": id, "fence": { "$lte": fence }, "state": State::Paused };
        let is_paused = self.entries.find_one(paused).await?.is_some();
        Ok(if is_paused { LedgerError::Paused } else { LedgerError::Fenced })
    }

    /// The error of a transaction, told apart.
    pub(crate) async fn explain(
        &self,
        id: &str,
        fence: i64,
        error: mongodb::error::Error,
    ) -> LedgerError {
        match error.get_custom::<Refused>() {
            Some(Refused) => self.refusal(id, fence).await.unwrap_or_else(LedgerError::Database),
            None => LedgerError::Database(error),
        }
    }

    /// Records what the steps have changed that are done; the next one begins at its beginning.
    pub(crate) async fn step_done(
        &self,
        id: &str,
        fence: i64,
        parts: &[Part],
    ) -> Result<(), LedgerError> {
        self.update(id, fence, doc! { "parts": literal(parts)?, "progress": null }).await
    }

    /// Says that a migration which is not applied waits for another service. Needs no lease: it
    /// takes nothing from a process that runs it.
    pub(crate) async fn wait(
        &self,
        definition: &Definition,
        checksum: &str,
        error: StoredError,
    ) -> Result<(), LedgerError> {
        let mut fields = self.describe(definition, checksum);
        fields.extend(doc! { "state": State::WaitingDependency, "error": bson(error)? });
        let idle =
            [State::Pending, State::WaitingDependency, State::FailedRetryable, State::FailedFatal];
        let filter =
            doc! { "_id": definition.id, "state": { "$in": idle.map(Bson::from).to_vec() } };
        match self.entries.update_one(filter, doc! { "$set": fields }).upsert(true).await {
            Ok(_) => Ok(()),
            // The entry exists in another state: applied before, or running elsewhere.
            Err(error) if mongo_kit::is_duplicate_key(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Records the end of a run, with further fields as expressions.
    pub(crate) async fn finish(
        &self,
        id: &str,
        fence: i64,
        state: State,
        modified: i64,
        fields: Document,
    ) -> Result<(), LedgerError> {
        let owner = self.owner.clone();
        let run = literal(History { ended_at: None, owner, fence, state, modified })?;
        let run = doc! { "$mergeObjects": [run, { "ended_at": "$$NOW" }] };
        let history = doc! { "$concatArrays": [{ "$ifNull": ["$history", []] }, [run]] };
        let mut all = doc! {
            "state": state,
            "finished_at": "$$NOW",
            "history": { "$slice": [history, -HISTORY_LENGTH] },
        };
        all.extend(fields);
        self.update(id, fence, all).await
    }

    /// The fields that say what the migration is.
    pub(crate) fn describe(&self, definition: &Definition, checksum: &str) -> Document {
        doc! {
            "kind": definition.kind.as_str(),
            "blocking": definition.blocking,
            "requires": definition.requires.to_vec(),
            "revision": definition.revision,
            "checksum": checksum,
            "owner": &self.owner,
            "app_version": self.app_version,
        }
    }
}

impl Found {
    /// What a document of the ledger is to a program with this definition.
    pub(crate) fn read(document: &RawDocumentBuf, definition: &Definition) -> Self {
        // First, since a newer program may write what this one cannot read.
        if let Ok(revision) = document.get_i32("revision")
            && revision > definition.revision
        {
            let app_version = document.get_str("app_version").unwrap_or_default().to_owned();
            return Self::Newer { revision, app_version };
        }
        match bson::deserialize_from_slice::<Entry>(document.as_bytes()) {
            // As another type of number.
            Ok(Entry { revision, app_version, .. }) if revision > definition.revision => {
                Self::Newer { revision, app_version }
            }
            Ok(entry) => Self::Entry(entry),
            Err(error) => Self::Unreadable { reason: reason(document, error) },
        }
    }
}

/// Why an entry cannot be read, with the field that is wrong.
fn reason(document: &RawDocumentBuf, error: bson::error::Error) -> String {
    let words = |error: bson::error::Error| {
        let message = error.message.unwrap_or_else(|| error.kind.to_string());
        message.trim_end_matches('.').to_owned()
    };
    // Slower, and so only now: it knows where it is.
    let Ok(document) = Document::try_from(document.as_ref()) else { return words(error) };
    let deserializer = bson::Deserializer::new(Bson::Document(document));
    match serde_path_to_error::deserialize::<_, Entry>(deserializer) {
        Ok(_) => words(error),
        Err(found) => {
            let field = found.path().to_string();
            format!("`{field}`: {}", words(found.into_inner()))
        }
    }
}

pub(crate) fn bson<T: Serialize>(value: T) -> mongodb::error::Result<Bson> {
    mongodb::bson::serialize_to_bson(&value).map_err(mongodb::error::Error::from)
}

/// A value in the place of an expression, whatever dollar signs it has.
pub(crate) fn literal<T: Serialize>(value: T) -> mongodb::error::Result<Document> {
    Ok(doc! { "$literal": bson(value)? })
}
