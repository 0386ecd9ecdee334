//! The report about the content, once everything else is done.

use std::sync::Arc;

use async_trait::async_trait;
use data_service::report::from_integrity;
use migrations::{
    Definition, Inspect, Inspection, Migration, MigrationKind, Skipped, Steps, StepsError,
};
use models::IntegrityKind;
use mongodb::bson::{Document, doc};
use sections_client::SectionsClient;

use super::{Context, PAGES, PROJECTS, STORIES, definition, sections};
use crate::{
    domain::audience::Directory,
    report::DataReport,
    store::collections::{SITE, USERS},
};

/// The collections in the specification, which is released. The report is about all kinds of content.
const SPECIFIED: &[&str] = &[STORIES, PROJECTS, PAGES, USERS];

/// The key of the step.
const KEY: &str = "content that something is wrong with";

/// Reports what is wrong with the content. Changes nothing.
pub(super) struct ContentReport {
    data: Arc<DataReport>,
    sections: SectionsClient,
}

pub(super) fn migration(context: &Context<'_>) -> ContentReport {
    let data = DataReport::new(context.database, context.collections.clone());
    ContentReport { data: Arc::new(data), sections: context.sections.clone() }
}

/// Reads all content, for the sections of one moment.
struct ContentInspection {
    data: Arc<DataReport>,
    sections: Directory,
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
        doc! { "steps": [{ "inspect": KEY, "collections": SPECIFIED.to_vec() }] }
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        // Before the migration is claimed: waiting for another service does not count as an attempt.
        let sections = Directory::new(sections(&self.sections).await?);
        let inspector = Arc::new(ContentInspection { data: self.data.clone(), sections });
        Ok(vec![Arc::new(Inspection { key: KEY.into(), collections: SITE, inspector })])
    }
}

#[async_trait]
impl Inspect for ContentInspection {
    async fn inspect(&self) -> Result<Vec<Skipped>, StepsError> {
        let Self { data, sections } = self;
        let mut findings = data.findings(sections).await?;
        findings.retain(|finding| !is_reported_by_backfill(finding.kind));
        let mut report = data.notes().await?;
        report.extend(from_integrity(findings, data.unreachable(sections).await?));
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
