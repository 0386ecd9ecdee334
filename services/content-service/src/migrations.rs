//! The migrations of content-service, in the order in which they run.
//!
//! Those up to `0009` belong to the kinds of content that existing sites have ([`EXISTING`]): their
//! specifications are released. The migration of a later kind builds its indexes ([`KINDS`]).

mod admin;
mod backfill;
mod dates;
mod indexes;
mod normalise;
mod report;
mod slugs;

use std::sync::Arc;

use migrations::{Definition, Index, Migration, MigrationKind, Step, Steps};
use models::ContentType;
use mongodb::{
    Database,
    bson::{Document, doc},
    options::IndexOptions,
};
use sections_client::SectionsClient;
use service_kit::runtime::{clock::Clock, settings};

use crate::kinds::{Collections, KINDS};

pub use backfill::SECTION_BACKFILL;

/// The kinds of content that existing sites have. Released specifications name their collections.
const EXISTING: [ContentType; 3] = [ContentType::Story, ContentType::Project, ContentType::Page];
const STORIES: &str = ContentType::Story.collection();
const PROJECTS: &str = ContentType::Project.collection();
const PAGES: &str = ContentType::Page.collection();
const CONTENT: [&str; 3] = [STORIES, PROJECTS, PAGES];

/// Returns all migrations, in the order in which they run, which is that of their ids.
pub(crate) fn all(
    database: &Database,
    clock: Clock,
    admin: &settings::Admin,
    sections: &SectionsClient,
    collections: &Collections,
) -> Vec<Arc<dyn Migration>> {
    let admin = admin::Admin::new(database, clock, admin);
    let mut all: Vec<Arc<dyn Migration>> = vec![
        Arc::new(indexes::ListIndexes),
        Arc::new(normalise::PublishedFlag),
        Arc::new(normalise::StoryDates),
        Arc::new(slugs::StorySlugs::new(database)),
        Arc::new(admin::CreateAdminUser(admin.clone())),
        Arc::new(admin::UserId(admin)),
        Arc::new(backfill::BackfillSectionId::new(sections)),
        Arc::new(indexes::ContentIndexes),
        Arc::new(dates::ContentDates::new(database)),
        Arc::new(report::ContentReport::new(database, collections.clone(), sections)),
    ];
    all.extend(KINDS.iter().flat_map(|kind| kind.index_migration()));
    all
}

/// Returns the definition of a migration that does not keep the service from being ready: the service
/// answers with the content as it is until the migration has run.
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

/// Returns a filter for documents that lack a field. An explicit null is an editor's decision and does not match.
/// The comparison with null excludes nothing; it lets the server use the index of documents that lack
/// the field ([`pending`]).
fn lacks(field: &str) -> Document {
    doc! { field: { "$eq": null, "$exists": false } }
}
