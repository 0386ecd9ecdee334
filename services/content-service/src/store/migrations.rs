//! The migrations of content-service, in the order in which they run.

mod admin;
mod backfill;
mod dates;
pub(crate) mod indexes;
mod normalise;
mod report;
mod slugs;

use std::sync::Arc;

use migrations::{Definition, Index, Migration, MigrationKind, Step, Steps};
use mongo_kit::Connection;
use mongodb::{
    Database,
    bson::{Document, doc},
    options::IndexOptions,
};
use sections_client::SectionsClient;
use service_kit::runtime::{clock::Clock, settings};

pub use backfill::SECTION_BACKFILL;

/// Returns all migrations, in the order in which they run.
pub(crate) fn all(
    database: &Database,
    connection: &Connection,
    clock: Clock,
    admin: &settings::Admin,
    sections: &SectionsClient,
) -> Vec<Arc<dyn Migration>> {
    let admin = admin::Admin::new(database, clock, admin);
    vec![
        Arc::new(indexes::ListIndexes),
        Arc::new(normalise::PublishedFlag),
        Arc::new(normalise::StoryDates),
        Arc::new(slugs::StorySlugs::new(database)),
        Arc::new(admin::CreateAdminUser(admin.clone())),
        Arc::new(admin::UserId(admin)),
        Arc::new(backfill::BackfillSectionId::new(sections)),
        Arc::new(indexes::ContentIndexes),
        Arc::new(dates::ContentDates::new(database)),
        Arc::new(report::ContentReport::new(connection, sections)),
    ]
}

/// Returns a definition. None of the migrations keeps the service from being ready: it serves the
/// content as it is until it is migrated.
fn definition(id: &'static str, kind: MigrationKind, summary: &'static str) -> Definition {
    Definition { id, kind, blocking: false, requires: &[], revision: 1, summary }
}

/// Returns the specification of steps that are always the same.
fn declared(steps: &Steps) -> Document {
    doc! { "steps": steps.iter().map(|step| step.specification()).collect::<Vec<_>>() }
}

/// Returns an index of the documents without a field, and no others. It is nearly empty, and makes a
/// start that finds nothing to do quick on a large collection.
fn pending(collection: &'static str, field: &str) -> Arc<dyn Step> {
    let lacking = doc! { field: null };
    let options = IndexOptions::builder().partial_filter_expression(lacking).build();
    Arc::new(Index::new(collection, format!("pending_{field}"), doc! { field: 1 }, options))
}

/// Returns a filter for documents without a field. An explicit null is a decision and does not
/// match. The comparison with null changes nothing but lets the server use the index of pending
/// documents ([`indexes`]).
fn lacks(field: &str) -> Document {
    doc! { field: { "$eq": null, "$exists": false } }
}
