//! The facts that every page of the site shows.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use data_service::{Abort, changes::Answer, database_error};
use service_kit::{
    auth::extract::{Admin, Authenticated},
    web::{
        body::PatchBody,
        conditional::{ETag, IfMatch, json_response, write_response},
        error::ApiError,
        extract::NoQuery,
    },
};

use super::error_sets::{SiteChangeErrors, SiteReadErrors};
use crate::{
    domain::site::{Site, SitePatch},
    store::site::{SITE_KEY, SiteStore},
};

/// Returns the facts that every page of the site shows.
///
/// Title, description, logo, language and social links, as admins set them; null and an empty list until
/// then.
#[utoipa::path(
    get,
    operation_id = "site",
    path = "/site",
    tag = "site",
    params(
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The state that the caller has.")
    ),
    responses(
        (status = 200, description = "The facts.", body = Site,
            headers(("ETag", description = "The state of the facts, for `If-Match`."))),
        (status = 304, description = "The facts have not changed."),
        SiteReadErrors
    )
)]
pub(super) async fn get(
    request: HttpRequest,
    _: NoQuery,
    site: Data<SiteStore>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    answer.add_keys([SITE_KEY.to_owned()]);
    let read = site.get().await.map_err(database_error)?;
    answer.limit(read.revision);
    json_response(&request, &*read.value)
}

/// Changes facts that every page of the site shows.
///
/// For admins. Members that are absent from the body stay as they are; null empties them.
#[utoipa::path(
    patch,
    operation_id = "site_patch",
    path = "/site",
    tag = "site",
    params(
        ("If-Match" = Option<String>, Header, nullable = false,
            description = "The state of the facts that are changed.")
    ),
    request_body = SitePatch,
    responses(
        (status = 200, description = "The facts as they are now.", body = Site,
            headers(("ETag", description = "The state of the facts, for `If-Match`."))),
        SiteChangeErrors
    ),
    security(("bearer" = []))
)]
pub(super) async fn patch(
    signed: Authenticated<Admin, (PatchBody<SitePatch>, IfMatch, NoQuery)>,
    site: Data<SiteStore>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(_, (members, if_match, NoQuery)) = signed;
    let changed = site
        .change(|current| {
            if_match.check(current)?;
            let current = serde_json::to_value(current).map_err(ApiError::internal)?;
            members.changes_of(&current)
        })
        .await;
    let changed = changed.map_err(|abort| match abort {
        Abort::Database(error) => database_error(error),
        Abort::Refused(error) => error,
    })?;
    answer.add_keys([SITE_KEY.to_owned()]);
    write_response(StatusCode::OK, &ETag::of_json(&changed)?, &changed)
}
