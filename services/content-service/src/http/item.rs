//! One item.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use data_service::database_error;
use models::site_path::slug_spellings;
use mongo_kit::Stamp;
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    web::{conditional::json_response, error::ApiError, extract::NoQuery},
};

use super::{
    Sections, Tags,
    errors::{found, no_item},
    tags::is_conditional,
};
use crate::{
    domain::Hidden,
    store::{ContentStore, Kind, Pages},
};

/// `GET /{kind}/slug/{slug}`: the public item with this slug.
pub(super) async fn by_slug<K: Kind>(
    request: HttpRequest,
    slug: Path<String>,
    _: NoQuery,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    tags: Data<Tags>,
) -> Result<HttpResponse, ApiError> {
    let hidden = sections.public(&store).await?;
    let key = ItemKey { path: request.path(), hidden: &hidden, writes: store.writes() };
    if let Some(response) = tags.not_modified(&request, &key) {
        return Ok(response);
    }
    let stamp = stamp(&request, &store).await?;
    let item = found::<K, _>(store.by_address(&slug_spellings(&slug), &hidden).await)?;
    tags.respond(&request, &key, stamp, &item)
}

/// `GET /{kind}/{id}`: the item with this id, drafts too, for callers with a token.
pub(super) async fn by_id<K: Kind>(
    request: HttpRequest,
    _: Authenticated<Caller, NoQuery>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
) -> Result<HttpResponse, ApiError> {
    let item = store.by_id(&id).await.map_err(database_error)?;
    json_response(&request, &item.map_err(no_item::<K>)?)
}

/// `GET /pages/type/{page_type}`: the public page of this type.
pub(super) async fn page_by_type(
    request: HttpRequest,
    page_type: Path<String>,
    _: NoQuery,
    store: Data<ContentStore<Pages>>,
    sections: Data<Sections>,
    tags: Data<Tags>,
) -> Result<HttpResponse, ApiError> {
    let hidden = sections.public(&store).await?;
    let key = ItemKey { path: request.path(), hidden: &hidden, writes: store.writes() };
    if let Some(response) = tags.not_modified(&request, &key) {
        return Ok(response);
    }
    let stamp = stamp(&request, &store).await?;
    let page = found::<Pages, _>(store.by_address(&[page_type.into_inner()], &hidden).await)?;
    tags.respond(&request, &key, stamp, &page)
}

/// The key of an item's tag.
#[derive(Hash)]
struct ItemKey<'a> {
    path: &'a str,
    hidden: &'a Hidden,
    writes: u64,
}

/// Only those who ask whether something has changed need to know when it does.
pub(super) async fn stamp<K: Kind>(
    request: &HttpRequest,
    store: &ContentStore<K>,
) -> Result<Option<Stamp>, ApiError> {
    if !is_conditional(request) {
        return Ok(None);
    }
    store.stamp().await.map(Some).map_err(database_error)
}
