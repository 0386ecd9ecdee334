//! One item.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use data_service::{changes::Answer, database_error};
use models::site_path::slug_spellings;
use serde::Deserialize;
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    web::{
        conditional::json_response,
        error::ApiError,
        extract::{NoQuery, Query},
    },
};
use utoipa::IntoParams;

use super::{
    errors::no_item,
    sections::{Sections, unknown},
    tags::Tags,
};
use crate::{
    domain::audience::{Audience, Hidden},
    store::{
        authors::{Names, USERS_KEY},
        content::ContentStore,
        keys::ContentKeys,
        kind::{Address, Kind},
    },
};

/// The query of a look-up.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct LookUpQuery {
    /// `true` to find drafts as well. Needs a token.
    include_drafts: bool,
}

/// `GET /{kind}/slug/{slug}`: answers with the item at an address: a public one, or with drafts and a
/// token any that is not deleted.
pub(super) async fn by_address<K: Kind>(
    request: HttpRequest,
    address: Path<String>,
    query: Query<LookUpQuery>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    tags: Data<Tags>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    if query.0.include_drafts {
        Caller::of(&request).await?;
    }
    let audience = sections.audience(&**store, &answer, query.0.include_drafts).await?;
    let paths = sections.paths(&**store, &answer).await?;
    let name = ItemName { path: request.path(), audience: &audience, paths: paths.digest() };
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
    let found = look_up(&store, &spellings, &audience).await?;
    if found.is_none() && audience == Audience::Public(Hidden::AllOfSections) {
        let anyone = Audience::Public(Hidden::nothing());
        let in_any_section = look_up(&store, &spellings, &anyone).await?;
        if in_any_section.is_some() {
            return Err(unknown());
        }
    }
    let (item, is_former) = found.ok_or_else(|| ApiError::not_found(K::NAME))?;
    let item = names.sign(item);
    answer.add_keys([keys.item(item.meta().id.as_str())]);
    let item = item.at(&paths);
    let location = is_former.then(|| format!("/{}", keys.slug(item.slug())));
    tags.respond(&request, &answer, &name, &item, location)
}

/// Returns the item at an address, and `true` if the address is a former one.
async fn look_up<K: Kind>(
    store: &ContentStore<K>,
    addresses: &[String],
    audience: &Audience,
) -> Result<Option<(K, bool)>, ApiError> {
    if let Some(item) = store.by_address(addresses, audience).await.map_err(database_error)? {
        return Ok(Some((item, false)));
    }
    if !K::ADDRESS.is_slug() {
        return Ok(None);
    }
    let item = store.by_former_slug(addresses, audience).await.map_err(database_error)?;
    Ok(item.map(|item| (item, true)))
}

/// `GET /{kind}/{id}`: answers with the item with this id, drafts too, for callers with a token.
pub(super) async fn by_id<K: Kind>(
    request: HttpRequest,
    _: Authenticated<Caller, NoQuery>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let names = names(&store, &answer).await?;
    let item = store.by_id(&id).await.map_err(database_error)?;
    let item = names.sign(item.map_err(no_item::<K>)?);
    let paths = sections.paths(&**store, &answer).await?;
    json_response(&request, &item.at(&paths))
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
    audience: &'a Audience,
    paths: Option<u64>,
}
