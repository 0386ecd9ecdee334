//! The OpenAPI 3.1 document of the routes, generated from their code.

use actix_web::web::Json;
use models::{ErrorCode, FieldError, Problem, body::add_read_only_members, media::MediaPlace};
use service_kit::web::{extract::NoQuery, openapi::Bearer};
use utoipa::{Modify, OpenApi};

use super::{media, serve, upload};

#[derive(OpenApi)]
#[openapi(
    info(title = "media-service", description = "The pictures and videos of the site."),
    paths(
        upload::upload,
        serve::file,
        media::list,
        media::by_id,
        media::patch,
        media::delete
    ),
    components(schemas(
        ErrorCode, FieldError, MediaPlace, Problem, media::MediaAlt, media::MediaDetail,
        media::MediaItem, media::MediaList, media::MediaPatch, media::MediaTitle, media::PageLimit,
        media::SearchText, upload::Dimensions, upload::UploadForm, upload::Uploaded
    )),
    tags((name = "media", description = "Pictures and videos.")),
    modifiers(&ReadOnlyMembers, &Bearer)
)]
struct Document;

/// Adds the read-only members of bodies to their schemas.
struct ReadOnlyMembers;

impl Modify for ReadOnlyMembers {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        add_read_only_members::<media::MediaPatch>(openapi);
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
