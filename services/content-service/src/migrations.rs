//! The migrations of content-service, one file each.
//!
//! Those in the list belong to the kinds of content that existing sites have ([`EXISTING`]): their
//! specifications are released. The migration of a later kind builds its indexes ([`KINDS`]).

mod admin;

use std::sync::Arc;

use migrations::{Definition, Index, Migration, MigrationKind, Step, StepsError};
use models::{ContentType, SectionEntry};
use mongodb::{
    Database,
    bson::{Document, doc},
    options::IndexOptions,
};
use sections_client::SectionsClient;
use service_kit::runtime::{clock::Clock, settings};

use crate::kinds::{Collections, KINDS};
use admin::Admin;

pub use backfill_section_id::SECTION_BACKFILL;

/// The kinds of content that existing sites have. Released specifications name their collections.
const EXISTING: [ContentType; 3] = [ContentType::Story, ContentType::Project, ContentType::Page];
const STORIES: &str = ContentType::Story.collection();
const PROJECTS: &str = ContentType::Project.collection();
const PAGES: &str = ContentType::Page.collection();
const CONTENT: [&str; 3] = [STORIES, PROJECTS, PAGES];

migrations::list! {
    /// Returns the migrations of existing sites, in the order in which they run.
    fn of_existing_sites(&Context<'_>):

    list_indexes,
    published_flag,
    story_dates,
    story_slugs,
    create_admin_user,
    user_id,
    backfill_section_id,
    content_indexes,
    content_dates,
    content_report,
    sort_indexes,
    search_index,
    page_slugs,
    tag_indexes,
    trash_indexes,
}

/// Returns all migrations, in the order in which they run, which is that of their ids.
pub(crate) fn all(context: &Context<'_>) -> Vec<Arc<dyn Migration>> {
    let mut all = of_existing_sites(context);
    all.extend(KINDS.iter().flat_map(|kind| kind.index_migration()));
    all
}

/// The parts of the service that migrations use.
pub(crate) struct Context<'a> {
    database: &'a Database,
    admin: Admin,
    sections: &'a SectionsClient,
    collections: &'a Collections,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        database: &'a Database,
        clock: Clock,
        admin: &settings::Admin,
        sections: &'a SectionsClient,
        collections: &'a Collections,
    ) -> Self {
        let admin = Admin::new(database, clock, admin);
        Self { database, admin, sections, collections }
    }
}

/// Returns the definition of a migration that does not keep the service from being ready: the service
/// answers with the content as it is until the migration has run.
fn definition(id: &'static str, kind: MigrationKind, summary: &'static str) -> Definition {
    Definition { id, kind, blocking: false, requires: &[], revision: 1, summary }
}

/// Returns an index of the documents without a field, and no others. It is nearly empty, and makes a
/// start that finds nothing to do quick on a large collection.
fn pending(collection: &'static str, field: &str) -> Arc<dyn Step> {
    let lacking = doc! { field: null };
    let options = IndexOptions::builder().partial_filter_expression(lacking).build();
    Arc::new(Index::new(collection, format!("pending_{field}"), doc! { field: 1 }, options))
}

/// Returns a filter for documents that lack a field. An explicit null is an editor's decision and does
/// not match. The comparison with null excludes nothing; it lets the server use the index of documents
/// that lack the field ([`pending`]).
fn lacks(field: &str) -> Document {
    doc! { field: { "$eq": null, "$exists": false } }
}

/// Returns the sections of the site. The migration waits while sections-service cannot be used.
async fn sections(client: &SectionsClient) -> Result<Vec<SectionEntry>, StepsError> {
    client.entries().await.map_err(|error| StepsError::Dependency {
        name: "sections-service".to_owned(),
        cause: error.into(),
    })
}
