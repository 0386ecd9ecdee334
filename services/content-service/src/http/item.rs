//! One item.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use data_service::database_error;
use models::site_path::slug_spellings;
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    web::{conditional::json_response, error::ApiError, extract::NoQuery},
};

use super::{
    errors::no_item,
    sections::{Sections, unknown},
    tags::{Tags, stamp},
};
use crate::{
    domain::audience::Hidden,
    store::{
        content::ContentStore,
        kind::{Address, Kind},
    },
};

/// `GET /{kind}/slug/{slug}`: answers with the public item at an address.
pub(super) async fn by_address<K: Kind>(
    request: HttpRequest,
    address: Path<String>,
    _: NoQuery,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    tags: Data<Tags>,
) -> Result<HttpResponse, ApiError> {
    let hidden = sections.public(&**store).await?;
    let key = ItemKey { path: request.path(), hidden: &hidden, writes: store.writes() };
    if let Some(response) = tags.not_modified(&request, &key) {
        return Ok(response);
    }
    let stamp = stamp(&request, &**store).await?;
    let spellings = match K::ADDRESS {
        Address::Slug { .. } => slug_spellings(&address),
        Address::Field { .. } => vec![address.into_inner()],
    };
    let item = store.by_address(&spellings, &hidden).await.map_err(database_error)?;
    if item.is_none() && hidden == Hidden::AllOfSections {
        let in_any_section = store.by_address(&spellings, &Hidden::nothing()).await;
        if in_any_section.map_err(database_error)?.is_some() {
            return Err(unknown());
        }
    }
    let item = item.ok_or_else(|| ApiError::not_found(K::NAME))?;
    tags.respond(&request, &key, stamp, &item)
}

/// `GET /{kind}/{id}`: answers with the item with this id, drafts too, for callers with a token.
pub(super) async fn by_id<K: Kind>(
    request: HttpRequest,
    _: Authenticated<Caller, NoQuery>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
) -> Result<HttpResponse, ApiError> {
    let item = store.by_id(&id).await.map_err(database_error)?;
    json_response(&request, &item.map_err(no_item::<K>)?)
}

/// The key of an item's tag.
#[derive(Hash)]
struct ItemKey<'a> {
    path: &'a str,
    hidden: &'a Hidden,
    writes: u64,
}
