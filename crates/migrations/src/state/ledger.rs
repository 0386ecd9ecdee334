//! The ledger: one document for each migration.
//!
//! All times in it are the server's. The writes of a run carry its fence and owner, so that those of
//! a process that lost its lease, or whose migration was paused, match nothing.

use futures_util::TryStreamExt;
use mongo_kit::{Work, Writer, Writers};
use mongodb::{
    Client, ClientSession, Collection, Database,
    bson::{self, Bson, Document, RawDocumentBuf, doc},
    error::{Error, Result as MongoResult},
    options::WriteConcern,
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::entry::{Entry, History, State, StoredError};
use crate::{definition::Declaration, error::RunErrorKind, transaction::transact};

/// The number of earlier runs in an entry.
const HISTORY_LENGTH: i32 = 20;

/// The document in the place of a migration's entry. Neither field has a value if there is none: the
/// migration never ran or waited.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// An entry of this revision or an earlier one.
    pub(crate) entry: Option<Entry>,
    pub(crate) problem: Option<Problem>,
}

/// A disagreement of ledger and program about a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Problem {
    /// Another checksum for the same revision.
    Drift {
        /// The checksum in the ledger.
        found: String,
        /// The checksum of this program.
        expected: String,
    },
    /// A newer program has applied the migration.
    Newer {
        /// The applied revision.
        revision: i32,
        /// The version of the newer program.
        app_version: String,
    },
    /// An entry that no version of this program wrote.
    Unreadable {
        /// The fault of the entry.
        reason: String,
    },
}

/// The ledger of one service.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    client: Client,
    writers: Writers,
    entries: Collection<Document>,
    owner: String,
    app_version: &'static str,
}

/// Carried by the driver's error out of a transaction whose entry does not match any more.
#[derive(Debug, Clone, Copy)]
struct Refused;

impl Ledger {
    pub(crate) fn new(
        client: &Client,
        database: &Database,
        writers: &Writers,
        service: &str,
        owner: &str,
        app_version: &'static str,
    ) -> Self {
        let entries = database.collection(&super::ledger_name(service));
        let (client, writers) = (client.clone(), writers.clone());
        Self { client, writers, entries, owner: owner.to_owned(), app_version }
    }

    /// Starts a session for the transactions of a run.
    pub(crate) async fn start_session(&self) -> MongoResult<Writer> {
        self.writers.start_session_of(&self.client).await
    }

    pub(crate) fn name(&self) -> &str {
        self.entries.name()
    }

    /// Returns all documents of the ledger, by id.
    pub(crate) async fn documents(&self) -> MongoResult<Vec<RawDocumentBuf>> {
        let entries = self.entries.clone_with_type::<RawDocumentBuf>();
        entries.find(doc! {}).sort(doc! { "_id": 1 }).await?.try_collect().await
    }

    /// Returns the document of a migration.
    pub(crate) async fn find(&self, declaration: &Declaration) -> MongoResult<Found> {
        let entries = self.entries.clone_with_type::<RawDocumentBuf>();
        let document = entries.find_one(doc! { "_id": declaration.id() }).await?;
        Ok(document.map(|document| Found::read(&document, declaration)).unwrap_or_default())
    }

    /// Claims a migration under a lease: its state is `running`, and its entry carries the fence.
    /// `others` are further fields to set.
    pub(crate) async fn claim(
        &self,
        declaration: &Declaration,
        fence: i64,
        others: Document,
    ) -> Result<Claim, RunErrorKind> {
        let id = declaration.id();
        let claim = Claim { ledger: self.clone(), id, fence };
        let mut fields = self.describe(declaration);
        fields.extend(doc! { "state": State::Running, "fence": fence, "error": null });
        fields.extend(others);
        let update = doc! {
            "$set": fields,
            "$inc": { "attempts": 1_i64 },
            "$currentDate": { "started_at": true },
        };
        let filter = doc! {
            "_id": id,
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
            Ok(_) => Ok(claim),
            // The entry exists but carries a newer fence, or is paused.
            Err(error) if mongo_kit::is_duplicate_key(&error) => Err(claim.refusal().await?),
            Err(error) => Err(error.into()),
        }
    }

    /// Records that a migration which is not applied waits for another service. Needs no lease: an
    /// entry that another process runs is not changed.
    pub(crate) async fn wait(
        &self,
        declaration: &Declaration,
        error: StoredError,
    ) -> MongoResult<()> {
        let mut fields = self.describe(declaration);
        fields.extend(doc! { "state": State::WaitingDependency, "error": to_bson(error)? });
        let idle =
            [State::Pending, State::WaitingDependency, State::FailedRetryable, State::FailedFatal];
        let filter =
            doc! { "_id": declaration.id(), "state": { "$in": idle.map(Bson::from).to_vec() } };
        match self.entries.update_one(filter, doc! { "$set": fields }).upsert(true).await {
            Ok(_) => Ok(()),
            // The entry exists in another state: applied before, or running elsewhere.
            Err(error) if mongo_kit::is_duplicate_key(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Changes an entry without a lease, as operators do. The values are expressions. Returns
    /// `false` if no entry matches.
    pub(crate) async fn change(&self, filter: Document, fields: Document) -> MongoResult<bool> {
        let update = self.entries.update_one(filter, vec![doc! { "$set": fields }]);
        Ok(update.write_concern(WriteConcern::majority()).await?.matched_count == 1)
    }

    /// Replaces a document if it has not changed since it was read, or inserts one if there was
    /// none. Returns `false` if another client was first.
    pub(crate) async fn replace(
        &self,
        before: Option<&RawDocumentBuf>,
        after: Document,
    ) -> MongoResult<bool> {
        let majority = WriteConcern::majority();
        let Some(before) = before else {
            return match self.entries.insert_one(after).write_concern(majority).await {
                Ok(_) => Ok(true),
                Err(error) if mongo_kit::is_duplicate_key(&error) => Ok(false),
                Err(error) => Err(error),
            };
        };
        let before = Document::try_from(before.as_ref()).map_err(Error::custom)?;
        let id = before.get("_id").cloned();
        let unchanged = doc! { "$eq": ["$$ROOT", { "$literal": before }] };
        let replaced = self.entries.replace_one(doc! { "_id": id, "$expr": unchanged }, after);
        Ok(replaced.write_concern(majority).await?.matched_count == 1)
    }

    /// Returns the fields that describe the migration and this process.
    pub(crate) fn describe(&self, declaration: &Declaration) -> Document {
        let Declaration { definition, checksum } = declaration;
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

/// A migration that this process has claimed under a lease. All writes of a run go through it.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    ledger: Ledger,
    /// The id of the migration.
    pub(crate) id: &'static str,
    /// The fencing token of the lease.
    pub(crate) fence: i64,
}

impl Claim {
    pub(crate) fn client(&self) -> &Client {
        &self.ledger.client
    }

    /// Returns the filter of the entry while this process may write it.
    fn filter(&self) -> Document {
        let unpaused = doc! { "$ne": State::Paused };
        doc! {
            "_id": self.id, "fence": self.fence, "owner": &self.ledger.owner, "state": unpaused,
        }
    }

    /// Changes the entry. The values are expressions.
    pub(crate) async fn update(&self, fields: Document) -> Result<(), RunErrorKind> {
        let update = vec![doc! { "$set": fields }];
        let update = self.ledger.entries.update_one(self.filter(), update);
        let result = update.write_concern(WriteConcern::majority()).await?;
        if result.matched_count == 1 { Ok(()) } else { Err(self.refusal().await?) }
    }

    /// Changes the entry in the transaction of the session. The values are expressions.
    ///
    /// This write is the fence of the data: it conflicts with a claim by another process and with a
    /// pause, and matches nothing after one.
    pub(crate) async fn update_in(
        &self,
        session: &mut ClientSession,
        fields: Document,
    ) -> MongoResult<()> {
        let update = vec![doc! { "$set": fields }];
        let update = self.ledger.entries.update_one(self.filter(), update);
        let result = update.session(session).await?;
        if result.matched_count == 1 { Ok(()) } else { Err(Error::custom(Refused)) }
    }

    /// Subtracts changes from the journal of another migration, in the transaction of the session.
    /// That migration need not be claimed.
    pub(crate) async fn uncount_in(
        &self,
        session: &mut ClientSession,
        id: &str,
        journaled: i64,
    ) -> MongoResult<()> {
        let update = doc! { "$inc": { "journaled": -journaled } };
        let update = self.ledger.entries.update_one(doc! { "_id": id }, update);
        update.session(session).await.map(drop)
    }

    /// Records the end of a run, with further fields as expressions.
    pub(crate) async fn finish(
        &self,
        state: State,
        modified: i64,
        fields: Document,
    ) -> Result<(), RunErrorKind> {
        let (owner, fence) = (self.ledger.owner.clone(), self.fence);
        let run = literal(History { ended_at: None, owner, fence, state, modified })?;
        let run = doc! { "$mergeObjects": [run, { "ended_at": "$$NOW" }] };
        let history = doc! { "$concatArrays": [{ "$ifNull": ["$history", []] }, [run]] };
        let mut all = doc! {
            "state": state,
            "finished_at": "$$NOW",
            "history": { "$slice": [history, -HISTORY_LENGTH] },
        };
        all.extend(fields);
        self.update(all).await
    }

    /// Does work in a transaction.
    pub(crate) async fn transact<W: Work<Error = Error>>(
        &self,
        writer: &mut Writer,
        stop: &CancellationToken,
        work: W,
    ) -> Result<W::Output, RunErrorKind> {
        match transact(writer, stop, work).await {
            Ok(output) => Ok(output),
            Err(error) => Err(self.classify_error(error).await),
        }
    }

    /// Classifies the error of a transaction.
    pub(crate) async fn classify_error(&self, error: Error) -> RunErrorKind {
        match error.get_custom::<Refused>() {
            Some(Refused) => self.refusal().await.unwrap_or_else(RunErrorKind::from),
            None => error.into(),
        }
    }

    /// Returns the reason why the entry does not match any more.
    async fn refusal(&self) -> MongoResult<RunErrorKind> {
        let fence = doc! { "$lte": self.fence };
        let paused = doc! { "_id": self.id, "fence": fence, "state": State::Paused };
        let is_paused = self.ledger.entries.find_one(paused).await?.is_some();
        Ok(if is_paused { RunErrorKind::Paused } else { RunErrorKind::TakenOver })
    }
}

impl Found {
    /// Reads the document of a migration.
    pub(crate) fn read(document: &RawDocumentBuf, declaration: &Declaration) -> Self {
        let expected = declaration.definition.revision;
        // First, because a newer program may write entries that this one cannot read.
        if let Ok(revision) = document.get_i32("revision")
            && revision > expected
        {
            let app_version = document.get_str("app_version").unwrap_or_default().to_owned();
            return Problem::Newer { revision, app_version }.into();
        }
        match bson::deserialize_from_slice::<Entry>(document.as_bytes()) {
            // The revision may be another type of number.
            Ok(Entry { revision, app_version, .. }) if revision > expected => {
                Problem::Newer { revision, app_version }.into()
            }
            Ok(entry) => {
                let (found, expected) = (entry.checksum.clone(), declaration.checksum.clone());
                let has_drifted =
                    entry.revision == declaration.definition.revision && found != expected;
                let problem = has_drifted.then_some(Problem::Drift { found, expected });
                Self { entry: Some(entry), problem }
            }
            Err(error) => Problem::Unreadable { reason: reason(document, error) }.into(),
        }
    }
}

impl From<Problem> for Found {
    fn from(problem: Problem) -> Self {
        Self { entry: None, problem: Some(problem) }
    }
}

/// Returns the reason why an entry cannot be read, with the name of the field.
fn reason(document: &RawDocumentBuf, error: bson::error::Error) -> String {
    let message = |error: bson::error::Error| {
        let message = error.message.unwrap_or_else(|| error.kind.to_string());
        message.trim_end_matches('.').to_owned()
    };
    // Slower, and therefore only after a failure: its errors have the path of the field.
    let Ok(document) = Document::try_from(document.as_ref()) else { return message(error) };
    let deserializer = bson::Deserializer::new(Bson::Document(document));
    match serde_path_to_error::deserialize::<_, Entry>(deserializer) {
        Ok(_) => message(error),
        Err(found) => {
            let field = found.path().to_string();
            format!("`{field}`: {}", message(found.into_inner()))
        }
    }
}

fn to_bson<T: Serialize>(value: T) -> MongoResult<Bson> {
    bson::serialize_to_bson(&value).map_err(Error::from)
}

/// Returns an expression with the value itself, whatever dollar signs it contains.
pub(crate) fn literal<T: Serialize>(value: T) -> MongoResult<Document> {
    Ok(doc! { "$literal": to_bson(value)? })
}

/// Returns the field with the number of changes in the journal, increased by `count`.
pub(crate) fn add_journaled(count: i64) -> Document {
    doc! { "journaled": { "$add": [{ "$ifNull": ["$journaled", 0_i64] }, count] } }
}
