//! Routes for the other services. The gateway does not route their paths.

use actix_web::web::{Data, Json};
use data_service::database_error;
use models::{ContentCounts, FieldError, Ids, ObjectId, User};
use serde::Deserialize;
use service_kit::web::{error::ApiError, extract::Query};
use utoipa::IntoParams;

use super::error_sets::{InternalErrors, LookUpErrors};
use crate::{kinds::Collections, store::users::UserStore};

/// The query of a user.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UserQuery {
    /// The e-mail address; upper and lower case are the same.
    email: String,
}

/// The user with this e-mail address.
///
/// The other services read from it what the holder of a token may do.
#[utoipa::path(
    get,
    path = "/internal/users",
    tag = "internal",
    params(UserQuery),
    responses((status = 200, description = "The user.", body = User), LookUpErrors)
)]
pub(super) async fn user(
    query: Query<UserQuery>,
    users: Data<UserStore>,
) -> Result<Json<User>, ApiError> {
    let user = users.by_email(&query.0.email).await.map_err(database_error)?;
    user.map(Json).ok_or_else(|| ApiError::not_found("User"))
}

/// The query of the numbers of items.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CountsQuery {
    /// The ids of sections, separated by commas.
    section_ids: String,
}

/// The numbers of items of sections.
///
/// Items of every kind count, unless they are deleted.
#[utoipa::path(
    get,
    path = "/internal/content/counts",
    tag = "internal",
    params(CountsQuery),
    responses((status = 200, description = "The number of items of each section in the query.",
        body = std::collections::BTreeMap<String, u64>), InternalErrors)
)]
pub(super) async fn counts(
    query: Query<CountsQuery>,
    collections: Data<Collections>,
) -> Result<Json<ContentCounts>, ApiError> {
    let sections = ids(&query.0.section_ids)?;
    let mut counts: ContentCounts = sections.iter().map(|section| (*section, 0)).collect();
    for collection in collections.iter() {
        collection.count_in(&sections, &mut counts).await.map_err(database_error)?;
    }
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
