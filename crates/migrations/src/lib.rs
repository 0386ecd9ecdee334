//! A migration engine for MongoDB.
//!
//! A [`Migration`] says what has to hold in a database as a list of [`Step`]s: indexes that exist,
//! documents that are filled in, documents that are there. The [`Engine`] finds out what is
//! missing, does it, and checks it, in the order in which the migrations are listed.
//!
//! - **Convergent.** Every run looks at the data, not only at the ledger, so that what an old
//!   program wrote since is migrated too. Where nothing is missing, nothing is written and no
//!   lock is taken.
//! - **One at a time.** Work happens under a [lease] on the server's clock with a fencing
//!   token. Every batch is one transaction that also moves the ledger's cursor under that token,
//!   so that a process that lost its lease without knowing cannot write.
//! - **Resumable.** A run that was killed goes on at its cursor; one that was paused, when it is
//!   told to.
//! - **Considerate.** Batches follow the time that they take, and leave room for others as the
//!   [`Throttle`] says.
//! - **Reversible.** A journal says what was written, so that just that can be undone
//!   ([`Engine::down`]).
//! - **Honest.** The ledger says what ran, when, by whom, how many documents were changed, and
//!   what was left out or set aside and why. A migration that is not what was applied is refused.
//!
//! To add a migration, implement [`Migration`] and append it to the list that the service gives to
//! [`Engine::new`]. Give it the next number; never change the specification of one that was
//! released without raising its revision.
//!
//! A request goes `engine` (order, waiting) → `run` (one migration) → `fill`, `insert`, `indexes`
//! (its steps) → `transaction`, which writes data, `journal` and `ledger` together. `operate` and
//! `rollback` are what operators do; `plan` looks without writing.

mod engine;
mod entry;
mod error;
mod failpoint;
mod fill;
mod foreground;
mod indexes;
mod insert;
mod inspect;
mod journal;
pub mod lease;
mod ledger;
mod metrics;
mod migration;
mod obstacles;
mod operate;
mod plan;
mod rollback;
mod run;
mod status;
mod throttle;
mod transaction;

pub use engine::{Engine, Options, Patience};
pub use entry::{
    Entry, History, LeftOut, Part, Progress, SetAside, State, StoredError, ThrottledBy, Verified,
};
pub use error::RunError;
pub use foreground::OperationCounter;
pub use migration::{
    Assign, Definition, EachDocument, Fill, Index, Insert, Inspect, Inspection, Kind, LeaveOut,
    Migration, Step, StepsError,
};
pub use operate::{OperateError, Repaired};
pub use plan::{Finding, FindingKind, Plan, PlannedStep, Verification};
pub use rollback::{RollBackError, RolledBack};
pub use status::{MigrationReport, Problem, Report, Status};
pub use throttle::Throttle;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
