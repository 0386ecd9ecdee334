//! The migrations of content-service, in the order in which they run.

mod admin;
mod backfill;
pub(crate) mod indexes;
mod normalise;
mod slugs;

use std::sync::Arc;

use migrations::{Definition, Kind, Migration};
use mongodb::{Database, bson::doc};
use sections_client::SectionsClient;
use service_kit::{clock::Clock, settings};

/// All migrations. Append; never reorder.
pub(crate) fn all(
    database: &Database,
    clock: Clock,
    admin: &settings::Admin,
    sections: &SectionsClient,
) -> Vec<Arc<dyn Migration>> {
    let admin = admin::Admin::new(database, clock, admin);
    vec![
        Arc::new(normalise::PublishedFlag),
        Arc::new(normalise::StoryDates),
        Arc::new(slugs::StorySlugs::new(database)),
        Arc::new(admin::CreateAdminUser(admin.clone())),
        Arc::new(admin::UserId(admin)),
        Arc::new(backfill::BackfillSectionId::new(sections)),
        Arc::new(indexes::ContentIndexes),
    ]
}

/// None of them keeps the service from being ready: it serves content as it is meanwhile.
fn definition(id: &'static str, kind: Kind, summary: &'static str) -> Definition {
    Definition { id, kind, blocking: false, revision: 1, summary }
}

/// Matches documents that lack a field. An explicit null is somebody's decision and does not
/// match. The comparison with null adds nothing but lets the server use the index of what is
/// pending ([`indexes`]).
fn lacks(field: &str) -> mongodb::bson::Document {
    doc! { field: { "$eq": null, "$exists": false } }
}
