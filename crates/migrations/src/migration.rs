//! What a migration is.

use std::sync::Arc;

use async_trait::async_trait;
use mongodb::{
    ClientSession, IndexModel,
    bson::{Bson, Document, doc},
    options::{IndexOptions, UpdateModifications},
};

use crate::LeftOut;

/// Something that has to hold in a database, and how to make it so.
#[async_trait]
pub trait Migration: Send + Sync {
    /// What it is called and how it behaves.
    fn definition(&self) -> Definition;

    /// What it declares to do, whatever the data and the settings are: collections, filters, values,
    /// keys of indexes. The checksum in the ledger covers it together with id and revision, so that
    /// a released migration cannot change unnoticed. [`Step::specification`] helps.
    fn specification(&self) -> Document;

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
    /// The ids of migrations that have to be applied before this one may run. Others are no
    /// hindrance: where one of them waits or has failed, a service does what it can without it.
    pub requires: &'static [&'static str],
    /// From 1; raised when the specification of a released migration changes. The ledger's entry
    /// of a lower revision counts as pending, one of a higher revision belongs to a newer program.
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
    /// Something that went wrong earlier put right.
    Repair,
}

impl Kind {
    /// As the ledger has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Seed => "seed",
            Self::Backfill => "backfill",
            Self::Repair => "repair",
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
    /// Documents are reported that a filter cannot find.
    Inspect(Inspection),
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

/// How a [`Fill`] changes documents. All but the last can be rolled back: what was there before is
/// written to the journal in the transaction of the change.
#[derive(Debug, Clone)]
pub enum Assign {
    /// The same values everywhere, by the names of top-level fields.
    Values(Document),
    /// The values of expressions (MongoDB manual, "Aggregation Expressions"), by the names of
    /// top-level fields: `{ "createdDate": "$date" }`.
    Expressions(Document),
    /// Each in its own way.
    Each(Arc<dyn EachDocument>),
    /// Any update. It cannot be rolled back: nobody can say what was there before.
    Update(UpdateModifications),
}

/// Works out a change for each of some documents.
#[async_trait]
pub trait EachDocument: Send + Sync + std::fmt::Debug {
    /// The top-level fields that it needs to see.
    fn reads(&self) -> &'static [&'static str];

    /// The top-level fields that it sets.
    fn writes(&self) -> &[&'static str];

    /// The fields to set, by `_id`. What it reads from the database it reads in the session's
    /// transaction. A document that is not among the result stays as it is.
    async fn assign(
        &self,
        documents: Vec<Document>,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<Vec<(Bson, Document)>>;
}

/// An index that exists. Its model must have a name; [`Index::new`] gives it one.
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

/// A look at documents that takes more than a filter, such as reading each of them. It changes
/// nothing and keeps no migration from being applied; the ledger keeps what it found.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The name of the step, for a person.
    pub what: String,
    /// The collections that are read.
    pub collections: &'static [&'static str],
    /// Reads them.
    pub inspector: Arc<dyn Inspect>,
}

/// Reads collections and reports what a person should know about them.
#[async_trait]
pub trait Inspect: Send + Sync + std::fmt::Debug {
    /// Returns what was found, in the same order each time.
    async fn inspect(&self) -> Result<Vec<LeftOut>, StepsError>;
}

impl Fill {
    /// Sets the same values everywhere.
    pub fn set(
        what: impl Into<String>,
        collection: &'static str,
        filter: Document,
        values: Document,
    ) -> Step {
        Step::Fill(Self { what: what.into(), collection, filter, assign: Assign::Values(values) })
    }
}

impl Index {
    /// An index with this name, these keys and these options.
    pub fn new(
        collection: &'static str,
        name: impl Into<String>,
        keys: Document,
        mut options: IndexOptions,
    ) -> Self {
        options.name = Some(name.into());
        Self { collection, model: IndexModel::builder().keys(keys).options(options).build() }
    }

    /// What the index is called.
    pub fn name(&self) -> &str {
        let options = self.model.options.as_ref();
        options.and_then(|options| options.name.as_deref()).unwrap_or_default()
    }
}

impl Step {
    /// The collection that it is about, if any.
    pub(crate) fn collection(&self) -> Option<&'static str> {
        match self {
            Self::Fill(fill) => Some(fill.collection),
            Self::Index(index) => Some(index.collection),
            Self::Insert(insert) => Some(insert.collection),
            Self::LeaveOut(leave_out) => leave_out.documents.as_ref().map(|(name, _)| *name),
            // It changes nothing that others could wait for.
            Self::Inspect(_) => None,
        }
    }

    /// What the step declares, for [`Migration::specification`]: enough to notice a change. What
    /// [`Assign::Each`] computes is not visible here, nor are values that differ from run to run
    /// meant to be: a migration with such steps declares itself by hand.
    pub fn specification(&self) -> Document {
        match self {
            Self::Fill(Fill { what, collection, filter, assign }) => {
                let assign = match assign {
                    Assign::Values(values) => doc! { "values": values },
                    Assign::Expressions(expressions) => doc! { "expressions": expressions },
                    Assign::Each(each) => doc! { "each": each.writes().to_vec() },
                    Assign::Update(UpdateModifications::Pipeline(stages)) => {
                        doc! { "pipeline": stages.clone() }
                    }
                    Assign::Update(UpdateModifications::Document(update)) => {
                        doc! { "update": update }
                    }
                    Assign::Update(other) => doc! { "update": format!("{other:?}") },
                };
                doc! { "fill": what, "collection": collection, "filter": filter, "assign": assign }
            }
            Self::Index(index) => {
                let options = index.model.options.as_ref();
                let unique = options.and_then(|options| options.unique).unwrap_or_default();
                let filter = options.and_then(|options| options.partial_filter_expression.clone());
                doc! {
                    "index": index.name(), "collection": index.collection,
                    "keys": index.model.keys.clone(), "unique": unique, "filter": filter,
                }
            }
            Self::Insert(Insert { what, collection, unless, documents }) => doc! {
                "insert": what, "collection": collection, "unless": unless,
                "documents": documents.clone(),
            },
            Self::LeaveOut(LeaveOut { what, reason, documents }) => {
                let documents = documents.clone().map(|(collection, filter)| {
                    doc! { "collection": collection, "filter": filter }
                });
                doc! { "leave_out": what, "reason": reason, "documents": documents }
            }
            Self::Inspect(Inspection { what, collections, inspector: _ }) => {
                doc! { "inspect": what, "collections": collections.to_vec() }
            }
        }
    }
}
