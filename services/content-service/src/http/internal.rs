//! Routes for the other services. The gateway does not route their paths.

use actix_web::web::{Data, Json};
use data_service::{changes::Answer, database_error};
use models::{ContentCounts, FieldError, Ids, ItemAtPath, ObjectId, User, media::MediaUses};
use serde::Deserialize;
use service_kit::web::{error::ApiError, extract::Query};
use utoipa::IntoParams;

use super::{
    error_sets::{InternalErrors, LookUpErrors},
    sections::Sections,
};
use crate::{
    kinds::Collections,
    store::{
        media::{sections_that_show, site_that_shows},
        site::SiteStore,
        users::UserStore,
    },
};

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

/// The query of the item at a path.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AtPathQuery {
    /// The id of a section.
    section_id: ObjectId,
    /// The slug of a section below it.
    slug: String,
}

/// The item that a section below another one would hide.
///
/// Items of every kind count, drafts too, unless they are deleted.
#[utoipa::path(
    get,
    path = "/internal/content/at-path",
    tag = "internal",
    operation_id = "item_at_path",
    params(AtPathQuery),
    responses((status = 200, description = "An item of the section at the path.", body = ItemAtPath),
        InternalErrors)
)]
pub(super) async fn at_path(
    query: Query<AtPathQuery>,
    collections: Data<Collections>,
) -> Result<Json<ItemAtPath>, ApiError> {
    let Query(AtPathQuery { section_id, slug }) = query;
    let mut item = None;
    for collection in collections.iter() {
        item = collection.hidden_by(section_id, &slug).await.map_err(database_error)?;
        if item.is_some() {
            break;
        }
    }
    Ok(Json(ItemAtPath { section_id, slug, item }))
}

/// The most files of a request.
const MAX_FILES: usize = 50;

/// The most items for each file.
const MAX_PLACES: usize = 20;

/// The query of the places of files.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PlacesQuery {
    /// The names of files, separated by commas.
    names: String,
    /// The most items for each file, up to 20.
    limit: usize,
}

/// The places that show files.
///
/// Items of every kind and sections count, those in the trash too, and the logo of the site.
#[utoipa::path(
    get,
    path = "/internal/content/media-places",
    tag = "internal",
    params(PlacesQuery),
    responses((status = 200, description = "The places that show each file. Files that none shows are \
        left out.", body = MediaUses), InternalErrors)
)]
pub(super) async fn media_places(
    query: Query<PlacesQuery>,
    collections: Data<Collections>,
    sections: Data<Sections>,
    site: Data<SiteStore>,
) -> Result<Json<MediaUses>, ApiError> {
    let names: Vec<String> = query.0.names.split(',').map(str::to_owned).collect();
    // They become part of a regular expression.
    let is_name = |name: &String| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        !name.is_empty() && name.bytes().all(is_allowed)
    };
    if names.len() > MAX_FILES || !names.iter().all(is_name) {
        let message = format!("must be from 1 to {MAX_FILES} names of files, separated by commas");
        return Err(ApiError::invalid(FieldError::invalid("names", message)));
    }
    let limit = query.0.limit.min(MAX_PLACES);
    let mut uses = MediaUses::new();
    for collection in collections.iter() {
        let added = collection.places_of(&names, limit, &mut uses);
        added.await.map_err(database_error)?;
    }
    let directory = sections.newest(&Answer::default()).await?;
    sections_that_show(directory.entries(), &names, limit, &mut uses);
    let site = site.get().await.map_err(database_error)?.value;
    site_that_shows(&site, &names, limit, &mut uses);
    Ok(Json(uses))
}

fn ids(text: &str) -> Result<Vec<ObjectId>, ApiError> {
    let invalid = || {
        let message = format!("must be from 1 to {} ids, separated by commas", Ids::MAX);
        ApiError::invalid(FieldError::invalid("section_ids", message))
    };
    let ids: Result<Vec<ObjectId>, _> = text.split(',').map(|id| id.trim().parse()).collect();
    ids.ok().filter(|ids| ids.len() <= Ids::MAX).ok_or_else(invalid)
}
