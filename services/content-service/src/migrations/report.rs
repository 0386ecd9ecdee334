//! The report about the content, once everything else is done.

use std::sync::Arc;

use async_trait::async_trait;
use data_service::report::from_integrity;
use migrations::{
    Definition, Inspect, Inspection, Migration, MigrationKind, Skipped, Step, Steps, StepsError,
};
use models::IntegrityKind;
use mongodb::{
    Database,
    bson::{Document, doc},
};
use sections_client::SectionsClient;

use super::{PAGES, PROJECTS, STORIES, definition};
use crate::{
    domain::audience::Directory,
    kinds::Collections,
    report::DataReport,
    store::collections::{SITE, USERS},
};

/// The collections in the specification, which is released. The report is about all kinds of content.
const SPECIFIED: &[&str] = &[STORIES, PROJECTS, PAGES, USERS];

/// Reports what is wrong with the content. Changes nothing.
pub(super) struct ContentReport(Arc<ContentInspection>);

/// Reads all content.
struct ContentInspection {
    data: DataReport,
    sections: SectionsClient,
}

impl ContentReport {
    pub(super) fn new(
        database: &Database,
        content: Collections,
        sections: &SectionsClient,
    ) -> Self {
        let data = DataReport::new(database, content);
        Self(Arc::new(ContentInspection { data, sections: sections.clone() }))
    }

    fn step(&self, collections: &'static [&'static str]) -> Inspection {
        Inspection {
            key: "content that something is wrong with".into(),
            collections,
            inspector: self.0.clone(),
        }
    }
}

#[async_trait]
impl Migration for ContentReport {
    fn definition(&self) -> Definition {
        definition(
            "0009_content_report",
            MigrationKind::Schema,
            "what is wrong with the content is known",
        )
    }

    fn specification(&self) -> Document {
        doc! { "steps": [self.step(SPECIFIED).specification()] }
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        // Before the migration is claimed: waiting for another service does not count as an attempt.
        self.0.sections().await?;
        Ok(vec![Arc::new(self.step(SITE))])
    }
}

impl ContentInspection {
    async fn sections(&self) -> Result<Directory, StepsError> {
        let entries = self.sections.entries().await.map_err(|error| StepsError::Dependency {
            name: "sections-service".to_owned(),
            cause: error.into(),
        })?;
        Ok(Directory::new(entries))
    }
}

#[async_trait]
impl Inspect for ContentInspection {
    async fn inspect(&self) -> Result<Vec<Skipped>, StepsError> {
        let sections = self.sections().await?;
        let mut findings = self.data.findings(&sections).await?;
        findings.retain(|finding| !is_reported_by_backfill(finding.kind));
        let mut report = self.data.notes().await?;
        report.extend(from_integrity(findings, self.data.unreachable(&sections).await?));
        Ok(report)
    }
}

/// Returns whether the migration that links content to sections reports this already.
fn is_reported_by_backfill(kind: IntegrityKind) -> bool {
    matches!(
        kind,
        IntegrityKind::MissingSection | IntegrityKind::DeletedSection | IntegrityKind::WrongType
    )
}

impl std::fmt::Debug for ContentInspection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContentInspection").finish_non_exhaustive()
    }
}
