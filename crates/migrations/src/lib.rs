//! A migration engine for MongoDB.
//!
//! A [`Migration`] says what has to hold in a database as a list of [`Step`]s: indexes that exist,
//! documents that are filled in, documents that are there. The [`Engine`] finds out what is
//! missing, does it, and checks it, in the order in which the migrations are listed.
//!
//! - **Convergent.** Every run looks at the data, not only at the ledger, so that what an old
//!   program wrote since is migrated too. Where nothing is missing, nothing is written and no
//!   lock is taken.
//! - **One at a time.** Work happens under a [lease](lease) on the server's clock with a fencing
//!   token. Every batch is one transaction that also moves the ledger's cursor under that token,
//!   so that a process that lost its lease without knowing cannot write.
//! - **Resumable.** A run that was killed goes on at its cursor.
//! - **Honest.** The ledger says what ran, when, by whom, how many documents were changed, and
//!   what was left out and why.
//!
//! To add a migration, implement [`Migration`] and append it to the list that the service gives to
//! [`Engine::new`]. Give it the next number; never change the steps of one that was released
//! without raising its revision.

mod engine;
mod error;
mod fill;
mod indexes;
mod insert;
pub mod lease;
mod ledger;
mod migration;
mod plan;
mod status;

pub use engine::{Engine, Patience};
pub use error::RunError;
pub use ledger::{Entry, History, LeftOut, Part, Progress, State, StoredError};
pub use migration::{
    Assign, Definition, EachDocument, Fill, Index, Insert, Kind, LeaveOut, Migration, Step,
    StepsError,
};
pub use plan::{Plan, PlannedStep};
pub use status::Status;
