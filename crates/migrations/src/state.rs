//! The state of migrations in the database: lease, ledger and journal.

pub(crate) mod entry;
pub(crate) mod journal;
pub mod lease;
pub(crate) mod ledger;
pub(crate) mod step_key;
