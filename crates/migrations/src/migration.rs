//! The definition of a migration.

use std::sync::Arc;

use async_trait::async_trait;
use mongodb::bson::{Document, doc};
use sha2::{Digest, Sha256};

use crate::steps::Steps;

/// A condition that must hold in a database, and the steps that establish it.
#[async_trait]
pub trait Migration: Send + Sync {
    /// Returns the id of the migration and its properties.
    fn definition(&self) -> Definition;

    /// Returns the declared behaviour of the migration, independent of data and settings:
    /// collections, filters, values, keys of indexes. The checksum in the ledger covers it together
    /// with id and revision, so that a released migration cannot change unnoticed.
    /// [`Step::specification`](crate::Step::specification) returns the part of one step.
    fn specification(&self) -> Document;

    /// Returns the steps, which may depend on settings, on the data and on other services. Must not
    /// write.
    async fn steps(&self) -> Result<Steps, StepsError>;
}

/// The id of a migration and its properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// A number and a name, such as `0003_story_slugs`. The key in the ledger.
    pub id: &'static str,
    /// The kind of change.
    pub kind: MigrationKind,
    /// `true` if the service is not ready before the migration is applied.
    pub blocking: bool,
    /// The ids of migrations that must be applied first. While one of them waits or has failed, a
    /// service runs the migrations that do not require it.
    pub requires: &'static [&'static str],
    /// The revision of the specification, from 1. Raise it when the specification of a released
    /// migration changes: an entry of a lower revision in the ledger counts as pending, an entry of
    /// a higher revision belongs to a newer program.
    pub revision: i32,
    /// A short description for people.
    pub summary: &'static str,
}

/// The kind of change that a migration makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MigrationKind {
    /// Indexes and their prerequisites.
    Schema,
    /// Documents that a service needs.
    Seed,
    /// Missing fields of existing documents.
    Backfill,
    /// The correction of earlier damage.
    Repair,
}

impl MigrationKind {
    /// Returns the name that the ledger stores.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Seed => "seed",
            Self::Backfill => "backfill",
            Self::Repair => "repair",
        }
    }
}

/// The reason why the steps of a migration are not available, or an inspection failed.
#[derive(Debug, thiserror::Error)]
pub enum StepsError {
    /// A required service is unavailable or answers with an error. The migration waits for it.
    #[error("waiting for {name}")]
    Dependency {
        /// The name of the service.
        name: String,
        /// The reason why it cannot be used.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database cannot be read.
    #[error("the database cannot be read")]
    Database(#[from] mongodb::error::Error),
}

/// A migration of an engine, with its definition and checksum, which do not change at run time.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) migration: Arc<dyn Migration>,
    pub(crate) definition: Definition,
    /// SHA-256 over id, revision and specification, never over source text.
    pub(crate) checksum: String,
}

impl Registered {
    pub(crate) fn new(migration: Arc<dyn Migration>) -> Self {
        let definition = migration.definition();
        let declared = doc! {
            "id": definition.id, "revision": definition.revision,
            "specification": migration.specification(),
        };
        let digest = Sha256::digest(declared.to_vec().unwrap_or_default());
        let checksum = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { migration, definition, checksum }
    }

    pub(crate) fn id(&self) -> &'static str {
        self.definition.id
    }
}
