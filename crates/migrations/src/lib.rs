//! A migration engine for MongoDB.
//!
//! A [`Migration`] declares conditions that must hold in a database as a list of [`Step`]s: indexes
//! that exist, documents that have certain fields, documents that exist. The [`Engine`] finds what
//! is missing, changes it, and verifies it, in the order in which the migrations are listed.
//!
//! - **Convergent.** Every run reads the data, not only the ledger, so that documents that an old
//!   program wrote later are migrated too. If nothing is missing, nothing is written and no lock is
//!   taken.
//! - **Exclusive.** A process works under a [lease] on the server's clock with a fencing
//!   token. Every batch is one transaction that also moves the cursor in the ledger under that
//!   token, so that a process that lost its lease without noticing cannot write.
//! - **Resumable.** A run that was killed or paused continues at its cursor.
//! - **Considerate.** Batches follow the time that they take, and leave time to other clients
//!   ([`Throttle`]).
//! - **Reversible.** A journal records the values before and after each change, so that exactly
//!   these changes can be undone ([`Engine::down`]).
//! - **Accountable.** The ledger records each run: its time, its process, the number of changed
//!   documents, and the documents that were skipped or quarantined with the reason. A migration that
//!   differs from the applied one is refused.
//!
//! To add a migration, return a [`FixedMigration`] or implement [`Migration`], and append it to the
//! list that the service passes to [`Engine::new`] (see [`list!`]). Give it the next number. Never change the specification of a released migration
//! without raising its revision.
//!
//! The code has three parts, each of which uses only those below it: `engine` (order, retries,
//! operations of operators), `steps` (one file for each kind of step) and `state` (lease, ledger and
//! journal in the database).
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use migrations::{Definition, Fill, FixedMigration, Migration, MigrationKind};
//! use mongodb::bson::doc;
//!
//! /// Sets the language of articles that have none to English.
//! fn article_language() -> FixedMigration {
//!     let definition = Definition {
//!         id: "0001_article_language",
//!         kind: MigrationKind::Backfill,
//!         blocking: false,
//!         requires: &[],
//!         revision: 1,
//!         summary: "articles have a language",
//!     };
//!     let without_language = doc! { "language": { "$exists": false } };
//!     let english = doc! { "language": "en" };
//!     let key = "articles without language → en";
//!     let fill = Fill::set(key, "articles", without_language, english);
//!     FixedMigration::new(definition, vec![Arc::new(fill)])
//! }
//!
//! let specification = article_language().specification();
//! assert_eq!(specification.get_array("steps").unwrap().len(), 1);
//! ```

mod definition;
mod engine;
mod error;
mod failpoint;
mod indexes;
mod metrics;
mod migration;
mod state;
mod steps;
mod transaction;

pub use definition::{Definition, MigrationKind};
pub use engine::{
    Engine, LedgerReport, MigrationReport, OperateError, Options, Plan, Repaired, RollBackError,
    RolledBack, Status, Verification, WaitPolicy,
};
pub use error::{RunError, RunErrorKind, StepsError};
pub use migration::{FixedMigration, Migration};
pub use state::{
    collections,
    entry::{
        Entry, History, Part, Progress, Quarantined, Skipped, State, StoredError, ThrottledBy,
        Verified,
    },
    lease,
    ledger::Problem,
    step_key::StepKey,
};
pub use steps::{
    Assign, EachDocument, Fill, Index, Insert, Inspect, Inspection, PlannedStep, Skip, Step, Steps,
    Violation, ViolationKind,
    fill::{foreground::OperationCounter, throttle::Throttle},
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
