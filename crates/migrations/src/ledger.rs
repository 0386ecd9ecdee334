//! The ledger: one document a migration, which tells the truth about it.

use mongodb::{
    Client, ClientSession, Collection, Database,
    bson::{Bson, DateTime, Document, doc},
    options::WriteConcern,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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
    /// Another service is needed and away.
    WaitingDependency,
    /// It ran, and the data is being checked.
    Verifying,
    /// The data was checked: all that has to hold holds, but for what is listed as left out.
    Applied,
    /// It failed for a reason that can pass.
    FailedRetryable,
    /// It failed for a reason that somebody has to remove.
    FailedFatal,
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
    /// The revision of its steps that ran last.
    pub revision: i32,
    /// SHA-256 over its definition, in hexadecimal.
    pub checksum: String,
    /// Where it stands.
    pub state: State,
    /// The fencing token of the lease under which it ran last.
    #[serde(default)]
    pub fence: i64,
    /// The process that ran it last.
    #[serde(default)]
    pub owner: Option<String>,
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
    /// What the last run left out, and why.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// Why it failed or what it waits for.
    #[serde(default)]
    pub error: Option<StoredError>,
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
    /// How many documents were changed.
    pub modified: i64,
    /// How many there were to change when the step began.
    pub total: i64,
}

/// What a step changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which step it is.
    pub what: String,
    /// How many documents were changed or inserted, or indexes built.
    pub modified: i64,
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

/// Why a migration failed or waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredError {
    /// What happened, with its causes.
    pub message: String,
    /// Whether it can pass by itself.
    pub retryable: bool,
}

/// An earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When it ended, on the machine's clock of the process that ran it.
    pub ended_at: DateTime,
    /// The process that ran it.
    pub owner: String,
    /// How it ended.
    pub state: State,
    /// How many documents it changed.
    pub modified: i64,
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
    /// The database refused.
    #[error(transparent)]
    Database(#[from] mongodb::error::Error),
}

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

    /// All entries, by id.
    pub(crate) async fn entries(&self) -> mongodb::error::Result<Vec<Entry>> {
        use futures_util::TryStreamExt;
        let entries = self.entries.clone_with_type::<Entry>();
        entries.find(doc! {}).sort(doc! { "_id": 1 }).await?.try_collect().await
    }

    /// The entry of a migration, if it ever ran or waited.
    pub(crate) async fn entry(&self, id: &str) -> mongodb::error::Result<Option<Entry>> {
        self.entries.clone_with_type::<Entry>().find_one(doc! { "_id": id }).await
    }

    /// Takes a migration under a lease: its state is `running` and carries the fence from now on.
    /// The progress of a run that was interrupted stays, and `parts` is what that run has done.
    pub(crate) async fn claim(
        &self,
        definition: &Definition,
        fence: i64,
        parts: &[Part],
    ) -> Result<(), LedgerError> {
        let mut fields = self.describe(definition);
        fields.extend(doc! {
            "state": bson(State::Running)?, "fence": fence, "parts": bson(parts)?, "error": null,
        });
        let update = doc! {
            "$set": fields,
            "$inc": { "attempts": 1_i64 },
            "$currentDate": { "started_at": true },
        };
        let filter = doc! {
            "_id": definition.id,
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
            // The entry exists but carries a newer fence.
            Err(error) if mongo_kit::is_duplicate_key(&error) => Err(LedgerError::Fenced),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes the entry of a claimed migration, in the transaction of the session.
    ///
    /// This is the fence at the data: it conflicts with a claim by another process, and matches
    /// nothing after one.
    pub(crate) async fn update_in(
        &self,
        session: &mut ClientSession,
        id: &str,
        fence: i64,
        update: Document,
    ) -> mongodb::error::Result<()> {
        let filter = doc! { "_id": id, "fence": fence, "owner": &self.owner };
        let result = self.entries.update_one(filter, update).session(session).await?;
        if result.matched_count == 1 { Ok(()) } else { Err(mongodb::error::Error::custom(Fenced)) }
    }

    /// Changes the entry of a claimed migration.
    pub(crate) async fn update(
        &self,
        id: &str,
        fence: i64,
        update: Document,
    ) -> Result<(), LedgerError> {
        let filter = doc! { "_id": id, "fence": fence, "owner": &self.owner };
        let result =
            self.entries.update_one(filter, update).write_concern(WriteConcern::majority()).await?;
        if result.matched_count == 1 { Ok(()) } else { Err(LedgerError::Fenced) }
    }

    /// Records what the steps have changed that are done; the next one begins at its beginning.
    pub(crate) async fn step_done(
        &self,
        id: &str,
        fence: i64,
        parts: &[Part],
    ) -> Result<(), LedgerError> {
        let done = doc! { "$set": { "parts": bson(parts)?, "progress": null } };
        self.update(id, fence, done).await
    }

    /// Says that a migration which is not applied waits for another service. Needs no lease: it
    /// takes nothing from a process that runs it.
    pub(crate) async fn wait(
        &self,
        definition: &Definition,
        reason: &str,
    ) -> Result<(), LedgerError> {
        let mut fields = self.describe(definition);
        let error = StoredError { message: reason.to_owned(), retryable: true };
        fields.extend(doc! { "state": bson(State::WaitingDependency)?, "error": bson(error)? });
        let idle = [
            bson(State::Pending)?,
            bson(State::WaitingDependency)?,
            bson(State::FailedRetryable)?,
            bson(State::FailedFatal)?,
        ];
        let filter = doc! { "_id": definition.id, "state": { "$in": idle.to_vec() } };
        match self.entries.update_one(filter, doc! { "$set": fields }).upsert(true).await {
            Ok(_) => Ok(()),
            // The entry exists in another state: applied before, or running elsewhere.
            Err(error) if mongo_kit::is_duplicate_key(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Records the end of a run. One that failed keeps what it has done for the next one.
    pub(crate) async fn finish(
        &self,
        definition: &Definition,
        fence: i64,
        state: State,
        parts: &[Part],
        left_out: &[LeftOut],
        error: Option<StoredError>,
    ) -> Result<(), LedgerError> {
        let run = History {
            ended_at: DateTime::now(),
            owner: self.owner.clone(),
            state,
            modified: parts.iter().map(|part| part.modified).sum(),
        };
        let mut fields = doc! { "state": bson(state)?, "error": bson(error)? };
        if state == State::Applied {
            fields.extend(doc! {
                "parts": bson(parts)?, "left_out": bson(left_out)?, "progress": null,
            });
        }
        let update = doc! {
            "$set": fields,
            "$currentDate": { "finished_at": true },
            "$push": { "history": { "$each": [bson(run)?], "$slice": -HISTORY_LENGTH } },
        };
        self.update(definition.id, fence, update).await
    }

    fn describe(&self, definition: &Definition) -> Document {
        doc! {
            "kind": definition.kind.as_str(),
            "blocking": definition.blocking,
            "revision": definition.revision,
            "checksum": checksum(definition),
            "owner": &self.owner,
            "app_version": self.app_version,
        }
    }
}

/// Carried by the driver's error out of a transaction whose fence does not hold any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fenced;

/// The error of a transaction, told apart.
pub(crate) fn ledger_error(error: mongodb::error::Error) -> LedgerError {
    match error.get_custom::<Fenced>() {
        Some(Fenced) => LedgerError::Fenced,
        None => LedgerError::Database(error),
    }
}

pub(crate) fn bson<T: Serialize>(value: T) -> mongodb::error::Result<Bson> {
    mongodb::bson::serialize_to_bson(&value).map_err(mongodb::error::Error::from)
}

/// SHA-256 over what a migration declares, never over its source text.
fn checksum(definition: &Definition) -> String {
    let Definition { id, kind, blocking, revision, summary: _ } = definition;
    let declared = format!("{id}\n{kind:?}\n{blocking}\n{revision}");
    Sha256::digest(declared).iter().map(|byte| format!("{byte:02x}")).collect()
}
