//! The names of a service's collections.

use mongo_kit::WRITERS;

use crate::idempotency;

/// The collections of a service: the one list that its start, roll-backs and the removal of the
/// service use. A new collection is added here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collections {
    /// The name of the service in the names of the collections that every service has: `sections`,
    /// `content`.
    pub service: &'static str,
    /// The collections of an existing site that the service writes to.
    pub site: &'static [&'static str],
    /// The collections that the service creates for itself. Without its migrations, their documents
    /// have no meaning.
    pub own: &'static [&'static str],
    /// The collections with copies of documents of the site, from before a repair.
    pub copies: &'static [&'static str],
    /// Those of `own` whose documents an export leaves out: the service makes them from others, or
    /// they have a meaning for running processes only.
    pub derived: &'static [&'static str],
}

impl Collections {
    /// Returns the collections that lose their meaning when all migrations are rolled back.
    pub fn auxiliary(&self) -> Vec<String> {
        let own = self.own.iter().map(|name| (*name).to_owned());
        own.chain([idempotency::collection(self.service)]).collect()
    }

    /// Returns the collections that no site has before the service: the auxiliary ones, the copies,
    /// the registrations of writers, which all services share, and last those of the migration
    /// engine, which record the roll-back of everything else.
    pub fn created(&self) -> Vec<String> {
        let copies = self.copies.iter().map(|name| (*name).to_owned());
        let engine = migrations::collections(self.service);
        let others = copies.chain([WRITERS.to_owned()]).chain(engine);
        self.auxiliary().into_iter().chain(others).collect()
    }

    /// Returns the collections whose documents an export leaves out: the derived ones, the answers to
    /// repeated requests, and the registrations of writers. The document of the lease is kept, since it
    /// records the collections from before the first migration.
    pub fn transient(&self) -> Vec<String> {
        let derived = self.derived.iter().map(|name| (*name).to_owned());
        derived.chain([idempotency::collection(self.service), WRITERS.to_owned()]).collect()
    }

    /// Returns all collections.
    pub fn all(&self) -> Vec<String> {
        self.site.iter().map(|name| (*name).to_owned()).chain(self.created()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_removed_last() {
        let collections = Collections {
            service: "letters",
            site: &["letters"],
            own: &["stamps"],
            copies: &["repairs"],
            derived: &["stamps"],
        };
        assert_eq!(collections.auxiliary(), ["stamps", "letters_idempotency_keys"]);
        let all = collections.all();
        let others = ["letters", "stamps", "letters_idempotency_keys", "repairs", WRITERS];
        assert_eq!(all[..5], others);
        assert_eq!(all[5..], migrations::collections("letters"));
        assert_eq!(all.last().unwrap(), "letters_migrations");
        assert_eq!(collections.transient(), ["stamps", "letters_idempotency_keys", WRITERS]);
    }
}
