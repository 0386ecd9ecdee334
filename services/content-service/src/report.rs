//! The findings about the stored content: the same for `doctor` and for the migrations.

use data_service::report::Unreachable;
use migrations::Skipped;
use models::{IntegrityFinding, IntegrityKind};
use mongodb::{Database, error::Result};

use crate::{
    domain::audience::Directory,
    kinds::Collections,
    store::{collections::USERS, users::UserStore},
};

const UNREADABLE_USERS: &str = "No token belongs to them: correct their fields.";

/// Reads all content and all users, and changes nothing.
pub(crate) struct DataReport {
    users: UserStore,
    collections: Collections,
}

impl DataReport {
    pub(crate) fn new(database: &Database, collections: Collections) -> Self {
        Self { users: UserStore::new(database), collections }
    }

    /// Returns everything that is wrong.
    pub(crate) async fn findings(&self, sections: &Directory) -> Result<Vec<IntegrityFinding>> {
        let (users, unreadable) = self.users.ids().await?;
        let mut findings = Vec::new();
        for collection in self.collections.iter() {
            findings.extend(collection.check_integrity(sections, &users).await?);
        }
        let kind = IntegrityKind::UnreadableDocument;
        findings.extend(IntegrityFinding::about_each(kind, USERS, unreadable, UNREADABLE_USERS));
        Ok(findings)
    }

    /// Returns the published items that neither a list nor a look-up finds.
    pub(crate) async fn unreachable(&self, sections: &Directory) -> Result<Vec<Unreachable>> {
        let mut unreachable = Vec::new();
        for collection in self.collections.iter() {
            unreachable.push(collection.unreachable(sections).await?);
        }
        Ok(unreachable)
    }

    /// Returns the groups of documents that an operator may want to know about although nothing is
    /// wrong with them. No index finds these documents. That is why they are not steps of the
    /// migrations to which they belong: each start would read whole collections.
    pub(crate) async fn notes(&self) -> Result<Vec<Skipped>> {
        let mut notes = Vec::new();
        for collection in self.collections.iter() {
            notes.extend(collection.notes().await?);
        }
        Ok(notes)
    }
}
