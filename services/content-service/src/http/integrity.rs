//! What is wrong with the stored content, for operators. A repair would do nothing about it: to
//! which section an item belongs, and which of two keeps an address, an editor decides.

use async_trait::async_trait;
use data_service::{database_error, integrity::Inspect};
use models::{IntegrityFinding, IntegrityKind};
use mongo_kit::Connection;
use sections_client::SectionsClient;
use service_kit::{ApiError, clock::Clock};

use super::Sections;
use crate::store::{ContentStore, Pages, Projects, Stories, USERS, UserStore};

const UNREADABLE_USERS: &str = "They are taken for nobody: correct what is wrong with them.";

/// Looks at all content, and asks sections-service for what it belongs to.
pub(crate) struct Inspector {
    sections: Sections,
    users: UserStore,
    stories: ContentStore<Stories>,
    projects: ContentStore<Projects>,
    pages: ContentStore<Pages>,
}

impl Inspector {
    pub(crate) fn new(connection: &Connection, sections: &SectionsClient) -> Self {
        Self {
            sections: Sections::new(sections.clone()),
            users: UserStore::new(connection.database()),
            stories: ContentStore::new(connection, Clock::system()),
            projects: ContentStore::new(connection, Clock::system()),
            pages: ContentStore::new(connection, Clock::system()),
        }
    }
}

#[async_trait(?Send)]
impl Inspect for Inspector {
    async fn inspect(&self) -> Result<Vec<IntegrityFinding>, ApiError> {
        let sections = self.sections.now().await?;
        let (users, broken) = self.users.ids().await.map_err(database_error)?;
        let kind = IntegrityKind::UnreadableDocument;
        let broken = IntegrityFinding::about_each(kind, USERS, broken, UNREADABLE_USERS);
        let mut findings = self.stories.faults(&sections, &users).await.map_err(database_error)?;
        findings.extend(self.projects.faults(&sections, &users).await.map_err(database_error)?);
        findings.extend(self.pages.faults(&sections, &users).await.map_err(database_error)?);
        findings.extend(broken);
        Ok(findings)
    }
}
