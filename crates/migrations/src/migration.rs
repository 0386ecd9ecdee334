//! What a migration is.

use std::sync::Arc;

use async_trait::async_trait;
use mongodb::{
    ClientSession, IndexModel,
    bson::{Bson, Document},
    options::UpdateModifications,
};

/// Something that has to hold in a database, and how to make it so.
#[async_trait]
pub trait Migration: Send + Sync {
    /// What it is called and how it behaves.
    fn definition(&self) -> Definition;

    /// What has to hold, worked out now: it may depend on settings, on the data and on other
    /// services. Reads only.
    async fn steps(&self) -> Result<Vec<Step>, StepsError>;
}

/// What a migration is called and how it behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// A number and a name, such as `0003_story_slugs`. The key in the ledger.
    pub id: &'static str,
    /// What kind of change it is.
    pub kind: Kind,
    /// Whether the service is not ready before this is done.
    pub blocking: bool,
    /// Raised when the steps of a released migration change.
    pub revision: i32,
    /// What it does, for a person, in a few words.
    pub summary: &'static str,
}

/// What kind of change a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Indexes and what they need.
    Schema,
    /// Documents that a service cannot do without.
    Seed,
    /// Existing documents filled in.
    Backfill,
}

impl Kind {
    /// As the ledger has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Seed => "seed",
            Self::Backfill => "backfill",
        }
    }
}

/// The steps cannot be worked out now.
#[derive(Debug, thiserror::Error)]
pub enum StepsError {
    /// Another service is needed and does not answer as it should. The migration waits for it.
    #[error("waiting for {name}")]
    Dependency {
        /// What is needed.
        name: String,
        /// Why it cannot be used.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database cannot be read.
    #[error("the database cannot be read")]
    Database(#[from] mongodb::error::Error),
}

/// One thing that has to hold.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a migration has a handful of them")]
pub enum Step {
    /// Documents are filled in.
    Fill(Fill),
    /// An index exists.
    Index(Index),
    /// Documents are there.
    Insert(Insert),
    /// Something is left as it is, which the report mentions.
    LeaveOut(LeaveOut),
}

/// Changes all documents that a filter matches, in batches.
#[derive(Debug, Clone)]
pub struct Fill {
    /// What is done, for a person. Names the step in the ledger, so that a run that was killed
    /// finds its cursor again.
    pub what: String,
    /// The collection to change.
    pub collection: &'static str,
    /// What remains to be done. A document that was changed must not match any more.
    pub filter: Document,
    /// How a document is changed.
    pub assign: Assign,
}

/// How a [`Fill`] changes documents.
#[derive(Debug, Clone)]
pub enum Assign {
    /// All in the same way.
    Update(UpdateModifications),
    /// Each in its own way.
    Each(Arc<dyn EachDocument>),
}

/// Works out a change for each of some documents.
#[async_trait]
pub trait EachDocument: Send + Sync + std::fmt::Debug {
    /// The fields that it needs to see, as a MongoDB projection.
    fn projection(&self) -> Document;

    /// The fields to set, by `_id`. What it reads from the database it reads in the session's
    /// transaction.
    async fn assign(
        &self,
        documents: Vec<Document>,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<Vec<(Bson, Document)>>;
}

/// An index that exists. Its model must have a name.
#[derive(Debug, Clone)]
pub struct Index {
    /// The collection that has it.
    pub collection: &'static str,
    /// Its keys and options.
    pub model: IndexModel,
}

/// Inserts documents, all or none, unless there is one that says that this was done.
#[derive(Debug, Clone)]
pub struct Insert {
    /// What is inserted, for a person.
    pub what: String,
    /// The collection that they go to.
    pub collection: &'static str,
    /// A document that matches this stops the insertion.
    pub unless: Document,
    /// What to insert.
    pub documents: Vec<Document>,
}

/// Something that is left as it is.
#[derive(Debug, Clone)]
pub struct LeaveOut {
    /// What is left, for a person.
    pub what: String,
    /// Why, for a person.
    pub reason: String,
    /// The documents that are left; none where it is not about documents.
    pub documents: Option<(&'static str, Document)>,
}

impl Fill {
    /// Sets the same fields everywhere.
    pub fn set(
        what: impl Into<String>,
        collection: &'static str,
        filter: Document,
        fields: Document,
    ) -> Step {
        let mut update = Document::new();
        update.insert("$set", fields);
        let assign = Assign::Update(UpdateModifications::Document(update));
        Step::Fill(Self { what: what.into(), collection, filter, assign })
    }
}
