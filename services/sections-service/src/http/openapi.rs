//! The OpenAPI 3.1 document of the routes, generated from their code.

use actix_web::web::Json;
use data_service::{integrity, revisions::PageLimit};
use models::{
    ErrorCode, FieldError, IntegrityRepair, IntegrityReport, PathResolution, Problem, Section,
    SectionEntry, body::add_read_only_members,
};
use service_kit::web::{extract::NoQuery, openapi::Bearer};
use utoipa::{Modify, OpenApi};

use super::{internal, read, revisions, write};
use crate::domain::{
    navigation::SectionNode,
    section_body::{SectionCreate, SectionOrder, SectionPatch, SectionReplace},
};

#[derive(OpenApi)]
#[openapi(
    info(title = "sections-service", description = "The navigation of the site as data."),
    paths(
        read::list,
        read::tree,
        read::by_slug,
        read::by_id,
        write::create,
        write::replace,
        write::patch,
        write::delete,
        write::restore,
        write::order,
        revisions::list,
        revisions::read,
        revisions::restore,
        internal::entries,
        internal::resolve,
        integrity::report,
        integrity::repair
    ),
    components(schemas(
        ErrorCode, FieldError, IntegrityRepair, IntegrityReport, PageLimit, PathResolution, Problem, Section,
        SectionCreate, SectionEntry, SectionNode, SectionOrder, SectionPatch, SectionReplace
    )),
    tags(
        (name = "sections", description = "The entries of the navigation."),
        (name = "internal", description = "For the other services and for operators.")
    ),
    modifiers(&ReadOnlyMembers, &Bearer)
)]
struct Document;

/// Adds the read-only members of bodies to their schemas.
struct ReadOnlyMembers;

impl Modify for ReadOnlyMembers {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        add_read_only_members::<SectionReplace>(openapi);
        add_read_only_members::<SectionPatch>(openapi);
    }
}

/// Returns the OpenAPI document of the service.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Serves the document.
pub(super) async fn document(_: NoQuery) -> Json<utoipa::openapi::OpenApi> {
    Json(openapi())
}
