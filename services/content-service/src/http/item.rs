//! One item.

use actix_web::web::{Data, Json, Path};
use data_service::database_error;
use models::{ErrorCode, Page};
use service_kit::{
    ApiError,
    auth::Authenticated,
    extract::{NoQuery, object_id},
};

use crate::store::{ContentStore, Kind, Pages, ReadError};

/// `GET /{kind}/slug/{slug}`: the published item with this slug.
pub(super) async fn by_slug<K: Kind>(
    slug: Path<String>,
    _: NoQuery,
    store: Data<ContentStore<K>>,
) -> Result<Json<K::Item>, ApiError> {
    found::<K, _>(store.by_slug(&slug).await)
}

/// `GET /{kind}/{id}`: the item with this id, drafts too, for callers with a token.
pub(super) async fn by_id<K: Kind>(
    _: Authenticated,
    id: Path<String>,
    _: NoQuery,
    store: Data<ContentStore<K>>,
) -> Result<Json<K::Item>, ApiError> {
    let id = object_id(&id, K::NAME)?;
    found::<K, _>(store.by_id(id).await)
}

/// `GET /pages/type/{page_type}`: the published page of this type.
pub(super) async fn page_by_type(
    page_type: Path<String>,
    _: NoQuery,
    store: Data<ContentStore<Pages>>,
) -> Result<Json<Page>, ApiError> {
    found::<Pages, _>(store.by_type(&page_type).await)
}

fn found<K: Kind, T>(item: Result<Option<T>, ReadError>) -> Result<Json<T>, ApiError> {
    match item {
        Ok(Some(item)) => Ok(Json(item)),
        Ok(None) => Err(ApiError::not_found(K::NAME)),
        Err(ReadError::Database(error)) => Err(database_error(error)),
        Err(ReadError::Unreadable(error)) => {
            let detail = format!(
                "{} is stored in a shape that cannot be read. The trace id leads to the log.",
                K::NAME
            );
            Err(ApiError::new(ErrorCode::UnreadableDocument, detail).because(error))
        }
    }
}
