//! The report about the sections.

use std::sync::Arc;

use async_trait::async_trait;
use data_service::report::from_integrity;
use migrations::{
    Definition, FixedMigration, Inspect, Inspection, MigrationKind, Skipped, StepsError,
};

use super::Context;
use crate::store::{
    SectionStore,
    collections::{COLLECTION, REDIRECTS},
};

/// Reports what is wrong with the sections. Changes nothing.
pub(super) fn migration(context: &Context<'_>) -> FixedMigration {
    let definition = Definition {
        id: "0004_section_report",
        kind: MigrationKind::Schema,
        blocking: false,
        requires: &[],
        revision: 1,
        summary: "what is wrong with the sections is known",
    };
    let store = SectionStore::open_alone(context.connection);
    let inspection = Inspection {
        key: "sections that something is wrong with".into(),
        collections: &[COLLECTION, REDIRECTS],
        inspector: Arc::new(SectionInspection(store)),
    };
    FixedMigration::new(definition, vec![Arc::new(inspection)])
}

/// Reads all sections and redirects.
#[derive(Debug)]
struct SectionInspection(SectionStore);

#[async_trait]
impl Inspect for SectionInspection {
    async fn inspect(&self) -> Result<Vec<Skipped>, StepsError> {
        Ok(from_integrity(self.0.check_integrity().await?, [self.0.unreachable().await?]))
    }
}
