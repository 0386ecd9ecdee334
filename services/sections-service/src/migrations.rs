//! The migrations of sections-service, in the order in which they run.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use data_service::report::from_integrity;
use migrations::{
    Definition, Fill, Index, Insert, Inspect, Inspection, Kind, LeftOut, Migration, Step,
    StepsError,
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
    let inspection = SectionInspection(SectionStore::new(connection, clock.clone()));
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
            kind: Kind::Schema,
            blocking: true,
            requires: &[],
            revision: 1,
            summary: "unique slugs and the order of siblings",
        }
    }

    fn specification(&self) -> Document {
        doc! { "steps": Self::all().iter().map(Step::specification).collect::<Vec<_>>() }
    }

    async fn steps(&self) -> Result<Vec<Step>, StepsError> {
        Ok(Self::all().into())
    }
}

impl SectionIndexes {
    fn all() -> [Step; 3] {
        let without = doc! { "is_deleted": { "$exists": false } };
        // A partial index cannot say "not deleted or without the field", so the field comes first.
        let not_deleted = doc! { "is_deleted": false };
        let unique =
            IndexOptions::builder().unique(true).partial_filter_expression(not_deleted).build();
        let siblings = doc! { "parent_id": 1, "sort_order": 1 };
        [
            Fill::set(
                "sections without is_deleted → false",
                COLLECTION,
                without,
                doc! { "is_deleted": false },
            ),
            index("slug_1_not_deleted", doc! { "slug": 1 }, unique),
            index("parent_id_1_sort_order_1", siblings, IndexOptions::default()),
        ]
    }
}

fn index(name: &str, keys: Document, options: IndexOptions) -> Step {
    Step::Index(Index::new(COLLECTION, name, keys, options))
}

struct RedirectIndexes;

#[async_trait]
impl Migration for RedirectIndexes {
    fn definition(&self) -> Definition {
        Definition {
            id: "0003_section_redirects",
            kind: Kind::Schema,
            blocking: true,
            requires: &[],
            revision: 1,
            summary: "one redirect a path, and those of a section",
        }
    }

    fn specification(&self) -> Document {
        doc! { "steps": Self::all().iter().map(Step::specification).collect::<Vec<_>>() }
    }

    async fn steps(&self) -> Result<Vec<Step>, StepsError> {
        Ok(Self::all().into())
    }
}

impl RedirectIndexes {
    fn all() -> [Step; 2] {
        let unique = IndexOptions::builder().unique(true).build();
        let plain = IndexOptions::default();
        [
            Step::Index(Index::new(REDIRECTS, "path_1", doc! { "path": 1 }, unique)),
            Step::Index(Index::new(REDIRECTS, "section_id_1", doc! { "section_id": 1 }, plain)),
        ]
    }
}

/// Reports what is wrong with the sections. Changes nothing.
struct SectionReport(Arc<SectionInspection>);

/// Reads all sections and redirects.
#[derive(Debug)]
struct SectionInspection(SectionStore);

impl SectionReport {
    fn step(&self) -> Step {
        Step::Inspect(Inspection {
            what: "sections that something is wrong with".to_owned(),
            collections: &[COLLECTION, REDIRECTS],
            inspector: self.0.clone(),
        })
    }
}

#[async_trait]
impl Migration for SectionReport {
    fn definition(&self) -> Definition {
        Definition {
            id: "0004_section_report",
            kind: Kind::Schema,
            blocking: false,
            requires: &[],
            revision: 1,
            summary: "what is wrong with the sections is known",
        }
    }

    fn specification(&self) -> Document {
        doc! { "steps": [self.step().specification()] }
    }

    async fn steps(&self) -> Result<Vec<Step>, StepsError> {
        Ok(vec![self.step()])
    }
}

#[async_trait]
impl Inspect for SectionInspection {
    async fn inspect(&self) -> Result<Vec<LeftOut>, StepsError> {
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
            kind: Kind::Seed,
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

    async fn steps(&self) -> Result<Vec<Step>, StepsError> {
        Ok(vec![Step::Insert(Insert {
            what: "the sections blog, about, projects and contact".to_owned(),
            collection: COLLECTION,
            unless: doc! { "is_deleted": false },
            documents: initial_sections(self.clock.now()),
        })])
    }
}
