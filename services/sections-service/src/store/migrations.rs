//! The migrations of sections-service, in the order in which they run.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use migrations::{Definition, Fill, Index, Insert, Kind, Migration, Step, StepsError};
use mongodb::{
    IndexModel,
    bson::{self, Document, doc},
    options::IndexOptions,
};
use service_kit::clock::Clock;

use super::COLLECTION;

/// All migrations. Append; never reorder.
pub(crate) fn all(clock: Clock) -> Vec<Arc<dyn Migration>> {
    vec![Arc::new(SectionIndexes), Arc::new(SeedInitialSections { clock })]
}

struct SectionIndexes;

#[async_trait]
impl Migration for SectionIndexes {
    fn definition(&self) -> Definition {
        Definition {
            id: "0001_section_indexes",
            kind: Kind::Schema,
            blocking: true,
            revision: 1,
            summary: "unique slugs and the order of siblings",
        }
    }

    async fn steps(&self) -> Result<Vec<Step>, StepsError> {
        let without = doc! { "is_deleted": { "$exists": false } };
        // A partial index cannot say "not deleted or without the field", so the field comes first.
        let not_deleted = doc! { "is_deleted": false };
        let unique_slug = IndexOptions::builder()
            .name("slug_1_not_deleted".to_owned())
            .unique(true)
            .partial_filter_expression(not_deleted)
            .build();
        let siblings = IndexOptions::builder().name("parent_id_1_sort_order_1".to_owned()).build();
        Ok(vec![
            Fill::set(
                "sections without is_deleted → false",
                COLLECTION,
                without,
                doc! { "is_deleted": false },
            ),
            index(doc! { "slug": 1 }, unique_slug),
            index(doc! { "parent_id": 1, "sort_order": 1 }, siblings),
        ])
    }
}

fn index(keys: Document, options: IndexOptions) -> Step {
    let model = IndexModel::builder().keys(keys).options(options).build();
    Step::Index(Index { collection: COLLECTION, model })
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
            revision: 1,
            summary: "the four sections that the frontend used to list",
        }
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

/// The sections that the frontend used to list.
pub(super) fn initial_sections(now: DateTime<Utc>) -> Vec<Document> {
    let now = bson::DateTime::from_millis(now.timestamp_millis());
    [
        ("Blog", "blog", "feed", "story"),
        ("About", "about", "static-page", "page"),
        ("Projects", "projects", "card-grid", "project"),
        ("Contact", "contact", "static-page", "page"),
    ]
    .into_iter()
    .zip(0_i32..)
    .map(|((title, slug, display_type, content_type), sort_order)| {
        doc! {
            "title": title,
            "slug": slug,
            "parent_id": null,
            "display_type": display_type,
            "content_type": content_type,
            "nav_visibility": "main",
            "sort_order": sort_order,
            "is_published": true,
            "is_deleted": false,
            "createdDate": now,
            "updatedDate": now,
        }
    })
    .collect()
}
