//! The migrations of content-service, in the order in which they run.

mod admin;
mod backfill;
mod dates;
pub(crate) mod indexes;
mod normalise;
mod report;
mod slugs;

use std::sync::Arc;

use migrations::{Definition, Kind, Migration, Step};
use mongo_kit::Connection;
use mongodb::{
    Database,
    bson::{Document, doc},
};
use sections_client::SectionsClient;
use service_kit::runtime::{clock::Clock, settings};

/// All migrations, in the order in which they run. The ids say the same.
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

/// None of them keeps the service from being ready: it serves content as it is meanwhile.
fn definition(id: &'static str, kind: Kind, summary: &'static str) -> Definition {
    Definition { id, kind, blocking: false, requires: &[], revision: 1, summary }
}

/// What steps that are always the same declare.
fn declared(steps: &[Step]) -> Document {
    doc! { "steps": steps.iter().map(Step::specification).collect::<Vec<_>>() }
}

/// Matches documents that lack a field. An explicit null is somebody's decision and does not
/// match. The comparison with null adds nothing but lets the server use the index of what is
/// pending ([`indexes`]).
fn lacks(field: &str) -> Document {
    doc! { field: { "$eq": null, "$exists": false } }
}
