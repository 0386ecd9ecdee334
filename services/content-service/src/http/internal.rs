//! What sections-service asks. The gateway knows none of these routes.

use actix_web::web::{Data, Json};
use data_service::database_error;
use models::{ContentCounts, FieldError, Ids, ObjectId, User};
use serde::Deserialize;
use service_kit::web::{error::ApiError, extract::Query};
use utoipa::IntoParams;

use super::openapi;
use crate::store::{ContentStore, Pages, Projects, Stories, UserStore};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    /// An e-mail address, in any case of its letters.
    email: String,
}

/// The user with this e-mail address.
///
/// Tells the other services what the holder of a token may do.
#[utoipa::path(
    get,
    path = "/internal/users",
    tag = "internal",
    params(Whose),
    responses((status = 200, description = "The user.", body = User), openapi::LookUpErrors)
)]
pub(super) async fn user(
    query: Query<Whose>,
    users: Data<UserStore>,
) -> Result<Json<User>, ApiError> {
    let user = users.by_email(&query.0.email).await.map_err(database_error)?;
    user.map(Json).ok_or_else(|| ApiError::not_found("User"))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The ids of sections, separated by commas.
    section_ids: String,
}

/// How much content belongs to sections.
///
/// Counts all that is not deleted, of every kind.
#[utoipa::path(
    get,
    path = "/internal/content/counts",
    tag = "internal",
    params(Which),
    responses((status = 200, description = "The count of each section that was asked for.",
        body = std::collections::BTreeMap<String, u64>), openapi::InternalErrors)
)]
pub(super) async fn counts(
    query: Query<Which>,
    stories: Data<ContentStore<Stories>>,
    projects: Data<ContentStore<Projects>>,
    pages: Data<ContentStore<Pages>>,
) -> Result<Json<ContentCounts>, ApiError> {
    let sections = ids(&query.0.section_ids)?;
    let mut counts: ContentCounts = sections.iter().map(|section| (*section, 0)).collect();
    stories.count_in(&sections, &mut counts).await.map_err(database_error)?;
    projects.count_in(&sections, &mut counts).await.map_err(database_error)?;
    pages.count_in(&sections, &mut counts).await.map_err(database_error)?;
    Ok(Json(counts))
}

fn ids(text: &str) -> Result<Vec<ObjectId>, ApiError> {
    let invalid = || {
        let message = format!("must be from 1 to {} ids, separated by commas", Ids::MAX);
        ApiError::invalid(FieldError::invalid("section_ids", message))
    };
    let ids: Result<Vec<ObjectId>, _> = text.split(',').map(|id| id.trim().parse()).collect();
    ids.ok().filter(|ids| ids.len() <= Ids::MAX).ok_or_else(invalid)
}
