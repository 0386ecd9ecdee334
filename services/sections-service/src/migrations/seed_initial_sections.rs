//! The four sections that the frontend used to list.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use migrations::{Definition, Insert, Migration, MigrationKind, Steps, StepsError};
use mongodb::bson::{Document, doc};
use service_kit::runtime::clock::Clock;

use super::{Context, section_indexes::SECTION_INDEXES};
use crate::store::{collections::COLLECTION, seed::initial_sections};

/// Inserts the initial sections into an empty collection.
pub(super) struct SeedInitialSections {
    clock: Clock,
}

pub(super) fn migration(context: &Context<'_>) -> SeedInitialSections {
    SeedInitialSections { clock: context.clock.clone() }
}

#[async_trait]
impl Migration for SeedInitialSections {
    fn definition(&self) -> Definition {
        Definition {
            id: "0002_seed_initial_sections",
            kind: MigrationKind::Seed,
            blocking: true,
            requires: &[SECTION_INDEXES],
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
