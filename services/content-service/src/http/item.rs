//! One item.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use data_service::{changes::Answer, database_error};
use models::site_path::slug_spellings;
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    web::{conditional::json_response, error::ApiError, extract::NoQuery},
};

use super::{
    errors::no_item,
    sections::{Sections, unknown},
    tags::Tags,
};
use crate::{
    domain::audience::Hidden,
    store::{
        authors::{Names, USERS_KEY},
        content::ContentStore,
        keys::ContentKeys,
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
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let hidden = sections.public(&**store, &answer).await?;
    let name = ItemName { path: request.path(), hidden: &hidden };
    if let Some(response) = tags.not_modified(&request, &answer, &name) {
        return Ok(response);
    }
    let spellings = match K::ADDRESS {
        Address::Slug { .. } => slug_spellings(&address),
        Address::Field { .. } => vec![address.into_inner()],
    };
    let keys = ContentKeys::of::<K>();
    answer.add_keys(keys.lookup(&spellings));
    let names = names(&store, &answer).await?;
    let item = store.by_address(&spellings, &hidden).await.map_err(database_error)?;
    if item.is_none() && hidden == Hidden::AllOfSections {
        let in_any_section = store.by_address(&spellings, &Hidden::nothing()).await;
        if in_any_section.map_err(database_error)?.is_some() {
            return Err(unknown());
        }
    }
    let item = names.sign(item.ok_or_else(|| ApiError::not_found(K::NAME))?);
    answer.add_keys([keys.item(item.meta().id.as_str())]);
    tags.respond(&request, &answer, &name, &item)
}

/// `GET /{kind}/{id}`: answers with the item with this id, drafts too, for callers with a token.
pub(super) async fn by_id<K: Kind>(
    request: HttpRequest,
    _: Authenticated<Caller, NoQuery>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let names = names(&store, &answer).await?;
    let item = store.by_id(&id).await.map_err(database_error)?;
    json_response(&request, &names.sign(item.map_err(no_item::<K>)?))
}

/// Returns the names of users, of which an answer has some.
async fn names<K: Kind>(store: &ContentStore<K>, answer: &Answer) -> Result<Arc<Names>, ApiError> {
    let names = store.names().await.map_err(database_error)?;
    answer.add_keys([USERS_KEY.to_owned()]);
    answer.limit(names.revision);
    Ok(names.value)
}

/// The name of an item's tag.
#[derive(Hash)]
struct ItemName<'a> {
    path: &'a str,
    hidden: &'a Hidden,
}
