//! The state of migrations in the database: lease, ledger and journal.

pub(crate) mod entry;
pub(crate) mod journal;
pub mod lease;
pub(crate) mod ledger;
pub(crate) mod step_key;

/// Returns the names of the collections of a service's engine: lease, journal and ledger. The ledger
/// is last, since it records the removal of everything else.
pub fn collections(service: &str) -> [String; 3] {
    [lock_name(service), journal_name(service), ledger_name(service)]
}

pub(crate) fn ledger_name(service: &str) -> String {
    format!("{service}_migrations")
}

pub(crate) fn lock_name(service: &str) -> String {
    format!("{service}_migration_lock")
}

pub(crate) fn journal_name(service: &str) -> String {
    format!("{service}_migration_journal")
}
