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
//! To add a migration, implement [`Migration`] and append it to the list that the service passes to
//! [`Engine::new`]. Give it the next number. Never change the specification of a released migration
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
//! use async_trait::async_trait;
//! use migrations::{Definition, Fill, Migration, MigrationKind, Step, Steps, StepsError};
//! use mongodb::bson::{Document, doc};
//!
//! /// Sets the language of articles that have none to English.
//! struct ArticleLanguage;
//!
//! impl ArticleLanguage {
//!     fn step() -> Fill {
//!         let without_language = doc! { "language": { "$exists": false } };
//!         let english = doc! { "language": "en" };
//!         Fill::set("articles without language → en", "articles", without_language, english)
//!     }
//! }
//!
//! #[async_trait]
//! impl Migration for ArticleLanguage {
//!     fn definition(&self) -> Definition {
//!         Definition {
//!             id: "0001_article_language",
//!             kind: MigrationKind::Backfill,
//!             blocking: false,
//!             requires: &[],
//!             revision: 1,
//!             summary: "articles have a language",
//!         }
//!     }
//!
//!     fn specification(&self) -> Document {
//!         Self::step().specification()
//!     }
//!
//!     async fn steps(&self) -> Result<Steps, StepsError> {
//!         Ok(vec![Arc::new(Self::step())])
//!     }
//! }
//!
//! let specification = ArticleLanguage.specification();
//! assert_eq!(specification.get_str("collection").unwrap(), "articles");
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
    Engine, LedgerReport, MigrationReport, OperateError, Options, Plan, Problem, Repaired,
    RollBackError, RolledBack, Status, Verification, WaitPolicy,
};
pub use error::{RunError, RunErrorKind, StepsError};
pub use migration::Migration;
pub use state::{
    collections,
    entry::{
        Entry, History, Part, Progress, Quarantined, Skipped, State, StoredError, ThrottledBy,
        Verified,
    },
    lease,
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
