//! Routes for the other services.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use data_service::changes::Answer;
use models::{FieldError, PathResolution, SectionEntry};
use serde::Deserialize;
use service_kit::web::{
    conditional::json_response,
    error::ApiError,
    extract::{NoQuery, Query},
};
use utoipa::IntoParams;

use super::{
    answers::{redirects, snapshot},
    error_sets::{EntryErrors, ResolveErrors},
};
use crate::store::SectionStore;

/// Lists all sections.
///
/// Drafts and deleted sections are among them.
#[utoipa::path(
    get,
    operation_id = "section_entries",
    path = "/internal/sections",
    tag = "internal",
    responses(
        (status = 200, description = "The sections.", body = Vec<SectionEntry>,
            headers(("ETag", description = "The entity tag of the list."))),
        (status = 304, description = "The list has not changed."),
        EntryErrors
    )
)]
pub(super) async fn entries(
    request: HttpRequest,
    _: NoQuery,
    store: Data<SectionStore>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let snapshot = snapshot(&answer, &store).await?;
    let redirects = redirects(&answer, &store).await?;
    json_response(&request, &snapshot.navigation.entries(&redirects))
}

/// The query of a resolution.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ResolveQuery {
    /// A path of the site, such as `/blog/first-light`, percent-encoded or not.
    #[param(pattern = "^/")]
    path: String,
}

/// Resolves a path of the site.
///
/// Returns the public section at the longest part of the path, and the rest of the path.
#[utoipa::path(
    get,
    operation_id = "resolve_section_path",
    path = "/internal/resolve",
    tag = "internal",
    params(ResolveQuery),
    responses(
        (status = 200, description = "The section, or its new path.", body = PathResolution),
        (status = 304, description = "The answer has not changed."),
        ResolveErrors
    )
)]
pub(super) async fn resolve(
    request: HttpRequest,
    query: Query<ResolveQuery>,
    store: Data<SectionStore>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let path = &query.0.path;
    if !path.starts_with('/') {
        let error = FieldError::invalid("path", "must begin with `/`");
        return Err(ApiError::invalid(error));
    }
    let snapshot = snapshot(&answer, &store).await?;
    let redirects = redirects(&answer, &store).await?;
    match snapshot.navigation.resolve(path, &redirects) {
        Some(resolution) => json_response(&request, &resolution),
        None => Err(ApiError::not_found("Path")),
    }
}
