//! Moving content between sections.

use actix_web::web::{Data, Json};
use models::{ContentMove, ContentMoved, ContentType};
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    web::{body::JsonBody, error::ApiError, extract::NoQuery},
};

use super::{Sections, errors::not_moved, write::require_fitting};
use crate::{
    domain::Directory,
    store::{ContentStore, Kind, Pages, Projects, Stories},
};

/// `POST /content/move`: moves content to a section, all of it or none. An author moves what is
/// theirs.
pub(super) async fn move_content(
    signed: Authenticated<Caller, (JsonBody<ContentMove>, NoQuery)>,
    sections: Data<Sections>,
    stories: Data<ContentStore<Stories>>,
    projects: Data<ContentStore<Projects>>,
    pages: Data<ContentStore<Pages>>,
) -> Result<Json<ContentMoved>, ApiError> {
    let Authenticated(caller, (JsonBody(body), NoQuery)) = signed;
    let directory = sections.now().await?;
    let moved = match body.content_type {
        ContentType::Story => moved(&stories, &directory, &caller, &body).await,
        ContentType::Project => moved(&projects, &directory, &caller, &body).await,
        ContentType::Page => moved(&pages, &directory, &caller, &body).await,
    };
    Ok(Json(ContentMoved { moved: moved? }))
}

async fn moved<K: Kind>(
    store: &ContentStore<K>,
    directory: &Directory,
    caller: &Caller,
    body: &ContentMove,
) -> Result<u64, ApiError> {
    require_fitting::<K>(directory, body.section_id)?;
    let may = |owner: Option<&str>| caller.require_owner(owner);
    store.move_to(&body.content, body.section_id, &may).await.map_err(not_moved)
}
