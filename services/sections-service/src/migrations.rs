//! The migrations of sections-service, in the order in which they run.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use data_service::report::from_integrity;
use migrations::{
    Definition, Fill, Index, Insert, Inspect, Inspection, Migration, MigrationKind, Skipped, Step,
    Steps, StepsError,
};
use mongo_kit::Connection;
use mongodb::{
    bson::{Document, doc},
    options::IndexOptions,
};
use service_kit::runtime::clock::Clock;

use crate::store::{
    SectionStore,
    collections::{COLLECTION, REDIRECTS},
    seed::initial_sections,
};

/// Returns all migrations. New ones are appended, and none is ever moved.
pub(crate) fn all(connection: &Connection, clock: Clock) -> Vec<Arc<dyn Migration>> {
    let inspection = SectionInspection(SectionStore::new(connection));
    vec![
        Arc::new(SectionIndexes),
        Arc::new(SeedInitialSections { clock }),
        Arc::new(RedirectIndexes),
        Arc::new(SectionReport(Arc::new(inspection))),
    ]
}

struct SectionIndexes;

#[async_trait]
impl Migration for SectionIndexes {
    fn definition(&self) -> Definition {
        Definition {
            id: "0001_section_indexes",
            kind: MigrationKind::Schema,
            blocking: true,
            requires: &[],
            revision: 1,
            summary: "unique slugs and the order of siblings",
        }
    }

    fn specification(&self) -> Document {
        declared(&Self::all())
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        Ok(Self::all())
    }
}

impl SectionIndexes {
    fn all() -> Steps {
        let without = doc! { "is_deleted": { "$exists": false } };
        // A partial index cannot say "not deleted or without the field", so the field comes first.
        let not_deleted = doc! { "is_deleted": false };
        let unique =
            IndexOptions::builder().unique(true).partial_filter_expression(not_deleted).build();
        let siblings = doc! { "parent_id": 1, "sort_order": 1 };
        vec![
            Arc::new(Fill::set(
                "sections without is_deleted → false",
                COLLECTION,
                without,
                doc! { "is_deleted": false },
            )),
            Arc::new(Index::new(COLLECTION, "slug_1_not_deleted", doc! { "slug": 1 }, unique)),
            Arc::new(Index::new(
                COLLECTION,
                "parent_id_1_sort_order_1",
                siblings,
                IndexOptions::default(),
            )),
        ]
    }
}

/// Returns the specification of steps that are always the same.
fn declared(steps: &Steps) -> Document {
    doc! { "steps": steps.iter().map(|step| step.specification()).collect::<Vec<_>>() }
}

struct RedirectIndexes;

#[async_trait]
impl Migration for RedirectIndexes {
    fn definition(&self) -> Definition {
        Definition {
            id: "0003_section_redirects",
            kind: MigrationKind::Schema,
            blocking: true,
            requires: &[],
            revision: 1,
            summary: "one redirect a path, and those of a section",
        }
    }

    fn specification(&self) -> Document {
        declared(&Self::all())
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        Ok(Self::all())
    }
}

impl RedirectIndexes {
    fn all() -> Steps {
        let unique = IndexOptions::builder().unique(true).build();
        let plain = IndexOptions::default();
        vec![
            Arc::new(Index::new(REDIRECTS, "path_1", doc! { "path": 1 }, unique)),
            Arc::new(Index::new(REDIRECTS, "section_id_1", doc! { "section_id": 1 }, plain)),
        ]
    }
}

/// Reports what is wrong with the sections. Changes nothing.
struct SectionReport(Arc<SectionInspection>);

/// Reads all sections and redirects.
#[derive(Debug)]
struct SectionInspection(SectionStore);

impl SectionReport {
    fn step(&self) -> Inspection {
        Inspection {
            key: "sections that something is wrong with".into(),
            collections: &[COLLECTION, REDIRECTS],
            inspector: self.0.clone(),
        }
    }
}

#[async_trait]
impl Migration for SectionReport {
    fn definition(&self) -> Definition {
        Definition {
            id: "0004_section_report",
            kind: MigrationKind::Schema,
            blocking: false,
            requires: &[],
            revision: 1,
            summary: "what is wrong with the sections is known",
        }
    }

    fn specification(&self) -> Document {
        doc! { "steps": [self.step().specification()] }
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        Ok(vec![Arc::new(self.step())])
    }
}

#[async_trait]
impl Inspect for SectionInspection {
    async fn inspect(&self) -> Result<Vec<Skipped>, StepsError> {
        Ok(from_integrity(self.0.check_integrity().await?, [self.0.unreachable().await?]))
    }
}

struct SeedInitialSections {
    clock: Clock,
}

#[async_trait]
impl Migration for SeedInitialSections {
    fn definition(&self) -> Definition {
        Definition {
            id: "0002_seed_initial_sections",
            kind: MigrationKind::Seed,
            blocking: true,
            requires: &["0001_section_indexes"],
            revision: 1,
            summary: "the four sections that the frontend used to list",
        }
    }

    fn specification(&self) -> Document {
        // Whenever they are inserted, they are the same but for their dates.
        doc! { "unless": { "is_deleted": false }, "sections": initial_sections(DateTime::default()) }
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        Ok(vec![Arc::new(Insert {
            key: "the sections blog, about, projects and contact".into(),
            collection: COLLECTION,
            unless: doc! { "is_deleted": false },
            documents: initial_sections(self.clock.now()),
        })])
    }
}
