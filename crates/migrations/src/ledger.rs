//! The ledger: one document a migration, which tells the truth about it.
//!
//! Every time in it is the server's. Writes of a run carry its fence and owner, so that a process
//! that lost its lease, or whose migration was paused, matches nothing.

use mongodb::{
    Client, ClientSession, Collection, Database,
    bson::{self, Bson, DateTime, Document, RawDocumentBuf, doc},
    options::WriteConcern,
};
use serde::{Deserialize, Serialize};

use crate::{Definition, Kind, LeaveOut};

/// How many earlier runs an entry remembers.
const HISTORY_LENGTH: i32 = 20;

/// How many documents a report names.
pub(crate) const EXAMPLES: usize = 10;

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It never ran.
    Pending,
    /// It is running; under an expired lease it was interrupted and will be resumed.
    Running,
    /// An operator paused it; its cursor stands.
    Paused,
    /// Another service is needed and away.
    WaitingDependency,
    /// It ran, and the data is being checked.
    Verifying,
    /// The data was checked: all that has to hold holds, but for what is listed as left out or set
    /// aside.
    Applied,
    /// It failed for a reason that can pass.
    FailedRetryable,
    /// It failed for a reason that somebody has to remove.
    FailedFatal,
    /// What it wrote is being undone.
    RollingBack,
    /// What it wrote was undone. A service leaves it so; a run on demand applies it again.
    RolledBack,
}

impl State {
    /// As the ledger has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::WaitingDependency => "waiting_dependency",
            Self::Verifying => "verifying",
            Self::Applied => "applied",
            Self::FailedRetryable => "failed_retryable",
            Self::FailedFatal => "failed_fatal",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
        }
    }
}

impl From<State> for Bson {
    fn from(state: State) -> Self {
        state.as_str().into()
    }
}

/// What the ledger says about a migration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The migration's id.
    #[serde(rename = "_id")]
    pub id: String,
    /// What kind of change it is.
    pub kind: Kind,
    /// Whether the service waits for it.
    pub blocking: bool,
    /// What has to be applied before it.
    #[serde(default)]
    pub requires: Vec<String>,
    /// The revision of its specification that ran last.
    pub revision: i32,
    /// SHA-256 over id, revision and specification, in hexadecimal.
    pub checksum: String,
    /// Where it stands.
    pub state: State,
    /// The fencing token of the lease under which it ran last.
    #[serde(default)]
    pub fence: i64,
    /// The process that ran it last.
    #[serde(default)]
    pub owner: Option<String>,
    /// The server session of the run that claimed it last, so that a successor can end its
    /// transaction.
    #[serde(default)]
    pub session: Option<Bson>,
    /// How often it was started.
    #[serde(default)]
    pub attempts: i64,
    /// When it was started last, on the server's clock.
    #[serde(default)]
    pub started_at: Option<DateTime>,
    /// When it finished last, on the server's clock.
    #[serde(default)]
    pub finished_at: Option<DateTime>,
    /// The version of the program that ran it last.
    #[serde(default)]
    pub app_version: String,
    /// How far the running step has come; none between runs.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// What each step of the last run changed, so far as it came.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Documents that could not be changed, and why.
    #[serde(default)]
    pub set_aside: Vec<SetAside>,
    /// What the last run left out, and why.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// What the last look at the data after a run found.
    #[serde(default)]
    pub verify: Option<Verified>,
    /// Why it failed or what it waits for.
    #[serde(default)]
    pub error: Option<StoredError>,
    /// How many changes of this migration are in the journal, and so can be undone.
    #[serde(default)]
    pub journaled: i64,
    /// Earlier runs, oldest first.
    #[serde(default)]
    pub history: Vec<History>,
}

/// How far a step has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Which step it is.
    pub what: String,
    /// The last `_id` that is done.
    pub cursor: Bson,
    /// The last `_id` of this pass; documents that come later wait for the next one.
    pub upper_id: Bson,
    /// How many documents were found to need a change.
    #[serde(default)]
    pub matched: i64,
    /// How many documents were changed.
    pub modified: i64,
    /// How many somebody else changed or deleted before their turn came.
    #[serde(default)]
    pub skipped: i64,
    /// How many could not be changed and were set aside.
    #[serde(default)]
    pub failed: i64,
    /// How many there were to change when the step began.
    pub total: i64,
    /// Documents changed a second, lately.
    #[serde(default)]
    pub rate: f64,
    /// What keeps it from being faster, if that is not the work itself.
    #[serde(default)]
    pub throttled_by: Option<ThrottledBy>,
    /// When this was written, on the server's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime>,
}

/// What slows a backfill down on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThrottledBy {
    /// The configured number of documents a second.
    RateLimit,
    /// The share of time that is left to others.
    DutyCycle,
    /// The server says that its secondaries lag (MongoDB manual, "Flow Control").
    FlowControl,
    /// Commits wait for the majority of the replica set.
    Replication,
}

impl ThrottledBy {
    /// In words for a person.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate limit",
            Self::DutyCycle => "leaves time to others",
            Self::FlowControl => "flow control of the server",
            Self::Replication => "waits for replicas",
        }
    }
}

/// What a step changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which step it is.
    pub what: String,
    /// How many documents were changed or inserted, or indexes built.
    pub modified: i64,
}

/// A document that could not be changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetAside {
    /// The step that was to change it.
    pub what: String,
    /// Its `_id`.
    pub document: Bson,
    /// What the server said.
    pub reason: String,
}

/// What was left out, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What it is.
    pub what: String,
    /// Why it was left.
    pub reason: String,
    /// How many documents.
    pub count: i64,
    /// Some of their `_id`s.
    pub examples: Vec<Bson>,
}

impl LeftOut {
    /// Whether this is about what that leaves, for the same reason.
    pub(crate) fn is_of(&self, leave_out: &LeaveOut) -> bool {
        self.what == leave_out.what && self.reason == leave_out.reason
    }
}

/// What a look at the data after a run found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When, on the server's clock.
    #[serde(default)]
    pub at: Option<DateTime>,
    /// How many documents, indexes and insertions were left to do, without what was set aside.
    pub remaining: i64,
    /// Whether that is none.
    pub ok: bool,
}

/// Why a migration failed or waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredError {
    /// What kind of error: `database`, `dependency`, `document`, `index`, `verification`, `ledger`
    /// or `engine`.
    #[serde(default)]
    pub class: String,
    /// The server's number of the error, if it is the server's.
    #[serde(default)]
    pub code: Option<i32>,
    /// What happened, with its causes.
    pub message: String,
    /// Whether it can pass by itself.
    pub retryable: bool,
}

/// An earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When it ended, on the server's clock.
    #[serde(default)]
    pub ended_at: Option<DateTime>,
    /// The process that ran it.
    pub owner: String,
    /// Under which fencing token.
    #[serde(default)]
    pub fence: i64,
    /// How it ended.
    pub state: State,
    /// How many documents it changed.
    pub modified: i64,
}

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
