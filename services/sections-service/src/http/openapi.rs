//! The description of the routes (OpenAPI 3.1), made from their code.

use actix_web::web::Json;
use data_service::integrity;
use models::{
    ErrorCode, FieldError, IntegrityRepair, IntegrityReport, PathResolution, Problem,
    ReadOnlyMembers, Section, SectionCreate, SectionEntry, SectionNode, SectionOrder, SectionPatch,
    SectionReplace,
};
use service_kit::{
    error_responses,
    web::{extract::NoQuery, openapi::Bearer},
};
use utoipa::OpenApi;

use super::{internal, read, write};

#[derive(OpenApi)]
#[openapi(
    info(title = "sections-service", description = "The site's navigation as data."),
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
        internal::entries,
        internal::resolve,
        integrity::report,
        integrity::repair
    ),
    components(schemas(
        ErrorCode, FieldError, IntegrityRepair, IntegrityReport, PathResolution, Problem, Section,
        SectionCreate, SectionEntry, SectionNode, SectionOrder, SectionPatch, SectionReplace
    )),
    tags(
        (name = "sections", description = "The entries of the navigation."),
        (name = "internal", description = "For the other services and for operators.")
    ),
    modifiers(&ReadOnlyMembers, &Bearer)
)]
struct Document;

/// The description of the service.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Answers the document.
pub(super) async fn document(_: NoQuery) -> Json<utoipa::openapi::OpenApi> {
    Json(openapi())
}

error_responses! {
    /// Of a list.
    ListErrors = Unauthorized | Forbidden | ValidationFailed | AuthUnavailable;
    /// Of a section by its slug.
    SlugErrors = Unauthorized | Forbidden | NotFound | ValidationFailed | AuthUnavailable;
    /// Of a section by its id.
    ReadErrors = InvalidId | Unauthorized | Forbidden | NotFound | ValidationFailed
        | UnreadableDocument | AuthUnavailable;
    /// Of all sections, for the other services.
    EntryErrors = ValidationFailed;
    /// Of a path.
    ResolveErrors = NotFound | ValidationFailed;
    /// Of adding.
    CreateErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | SlugTaken
        | PayloadTooLarge | UnsupportedMediaType | TooDeep | IdempotencyKeyReused
        | ValidationFailed | AuthUnavailable;
    /// Of changing.
    ChangeErrors = InvalidId | MalformedJson | BadRequest | Unauthorized | Forbidden | NotFound
        | SlugTaken | HasContent | Conflict | PreconditionFailed | PayloadTooLarge
        | UnsupportedMediaType | Cycle | TooDeep | ValidationFailed | PreconditionRequired
        | UnreadableDocument | UpstreamUnavailable | AuthUnavailable;
    /// Of deleting.
    DeleteErrors = InvalidId | Unauthorized | Forbidden | NotFound | HasChildren | HasContent
        | Conflict | PreconditionFailed | ValidationFailed | PreconditionRequired
        | UnreadableDocument | UpstreamUnavailable | AuthUnavailable;
    /// Of restoring.
    RestoreErrors = InvalidId | Unauthorized | Forbidden | NotFound | SlugTaken | Conflict
        | TooDeep | ValidationFailed | UnreadableDocument | AuthUnavailable;
    /// Of ordering.
    OrderErrors = MalformedJson | BadRequest | Unauthorized | Forbidden | OrderMismatch
        | PayloadTooLarge | UnsupportedMediaType | ValidationFailed | AuthUnavailable;
}
