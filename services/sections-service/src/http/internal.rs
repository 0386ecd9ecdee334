//! What the other services ask.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use data_service::database_error;
use models::{FieldError, PathResolution, SectionEntry};
use serde::Deserialize;
use service_kit::web::{
    conditional::json_response,
    error::ApiError,
    extract::{NoQuery, Query},
};
use utoipa::IntoParams;

use super::openapi::{EntryErrors, ResolveErrors};
use crate::store::SectionStore;

/// All sections.
///
/// Those that are not public and those that are deleted, too.
#[utoipa::path(
    get,
    operation_id = "section_entries",
    path = "/internal/sections",
    tag = "internal",
    responses(
        (status = 200, description = "The sections.", body = Vec<SectionEntry>,
            headers(("ETag", description = "The state of all sections."))),
        (status = 304, description = "All is as it was."),
        EntryErrors
    )
)]
pub(super) async fn entries(
    request: HttpRequest,
    _: NoQuery,
    store: Data<SectionStore>,
) -> Result<HttpResponse, ApiError> {
    let snapshot = store.all().await.map_err(database_error)?;
    let rules = store.rules().await.map_err(database_error)?;
    json_response(&request, &snapshot.sections.entries(&rules))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Where {
    /// A path of the site, such as `/blog/first-light`, percent-encoded or not.
    #[param(pattern = "^/")]
    path: String,
}

/// What the public finds at a path of the site.
///
/// The section with the longest path that it begins with, and what is left of the path.
#[utoipa::path(
    get,
    operation_id = "resolve_section_path",
    path = "/internal/resolve",
    tag = "internal",
    params(Where),
    responses(
        (status = 200, description = "The section, or where it is now.", body = PathResolution),
        (status = 304, description = "All is as it was."),
        ResolveErrors
    )
)]
pub(super) async fn resolve(
    request: HttpRequest,
    query: Query<Where>,
    store: Data<SectionStore>,
) -> Result<HttpResponse, ApiError> {
    let path = &query.0.path;
    if !path.starts_with('/') {
        let error = FieldError::invalid("path", "must begin with `/`");
        return Err(ApiError::invalid(error));
    }
    let snapshot = store.all().await.map_err(database_error)?;
    let rules = store.rules().await.map_err(database_error)?;
    match snapshot.sections.resolve(path, &rules) {
        Some(resolution) => json_response(&request, &resolution),
        None => Err(ApiError::not_found("Path")),
    }
}
