//! The properties of a migration that do not depend on data.

use mongodb::bson::{Document, doc};
use ring::digest::{SHA256, digest};

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

/// The definition of a migration and its checksum, which do not change at run time.
#[derive(Debug, Clone)]
pub(crate) struct Declaration {
    pub(crate) definition: Definition,
    /// SHA-256 over id, revision and specification, never over source text.
    pub(crate) checksum: String,
}

impl Declaration {
    pub(crate) fn new(definition: Definition, specification: Document) -> Self {
        let declared = doc! {
            "id": definition.id, "revision": definition.revision, "specification": specification,
        };
        let digest = digest(&SHA256, &declared.to_vec().unwrap_or_default());
        let checksum = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { definition, checksum }
    }

    pub(crate) fn id(&self) -> &'static str {
        self.definition.id
    }
}
