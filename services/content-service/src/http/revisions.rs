//! The earlier states of an item, for those who may change it.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use data_service::{
    changes::Answer,
    database_error,
    revisions::{
        RevertQuery, RevisionInfo, RevisionList, RevisionQuery, RevisionView, RevisionsQuery,
        parse_number,
    },
};
use models::{FieldError, ObjectId};
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    web::{conditional::IfMatch, error::ApiError, extract::Query},
};

use super::{
    errors::{no_item, not_written},
    sections::{Sections, require_fitting, require_free_path},
    write::{Written, guard},
};
use crate::store::{
    content::{Changed, ContentStore},
    kind::Kind,
    revisions::{Comparison, restorable_fields},
};

/// `GET /{kind}/{id}/revisions`: lists the changes of an item, newest first.
pub(super) async fn list<K: Kind>(
    Authenticated(caller, Query(query)): Authenticated<Caller, Query<RevisionsQuery>>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
) -> Result<HttpResponse, ApiError> {
    let found = store.revised(&id).await.map_err(database_error)?;
    let (document, item) = found.map_err(no_item::<K>)?;
    caller.require_owner(item.meta().user_id.as_deref())?;
    let page = store.revisions(&document, query.before(), query.limit()).await;
    let (page, has_more) = page.map_err(database_error)?;
    let names = store.names().await.map_err(database_error)?.value;
    let name_of = |id: &str| names.of(id).map(|author| author.name);
    let items = page.into_iter().map(|one| RevisionInfo::new(one, name_of)).collect();
    Ok(RevisionList::new(items, query, has_more).respond())
}

/// `GET /{kind}/{id}/revisions/{number}`: answers with an item as it was before a change.
pub(super) async fn read<K: Kind>(
    Authenticated(caller, Query(query)): Authenticated<Caller, Query<RevisionQuery>>,
    path: Path<(String, String)>,
    store: Data<ContentStore<K>>,
) -> Result<HttpResponse, ApiError> {
    let (id, number) = path.into_inner();
    let number = parse_number(&number)?;
    let found = store.revised(&id).await.map_err(database_error)?;
    let (document, item) = found.map_err(no_item::<K>)?;
    caller.require_owner(item.meta().user_id.as_deref())?;
    let compared = store.compare(&document, number, query.compare_with).await;
    let compared = compared.map_err(database_error)?;
    let Some(Comparison { revision, before, after }) = compared else {
        return Err(ApiError::not_found("Revision"));
    };
    let names = store.names().await.map_err(database_error)?.value;
    let revision = RevisionInfo::new(revision, |id| names.of(id).map(|author| author.name));
    let view = RevisionView::new(revision, before, &after, query.compare_with).await?;
    Ok(view.respond())
}

/// `POST /{kind}/{id}/revisions/{number}/restore`: gives an item the values that it had before a change.
pub(super) async fn restore<K: Kind>(
    signed: Authenticated<Caller, (IfMatch, Query<RevertQuery>)>,
    path: Path<(String, String)>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(caller, (if_match, Query(query))) = signed;
    let (id, number) = path.into_inner();
    let number = parse_number(&number)?;
    let chosen = query.chosen(restorable_fields::<K>())?;
    let paths = sections.paths_uncached(&**store, &answer).await?;
    let guard = guard::<K>(&caller, &if_match, &paths);
    let check =
        async |current: &K, target: &K| check_place(current, target, &sections, &store).await;
    let user_id = caller.signed_in_user();
    let reverted = store.revert(&id, number, &chosen, &guard, check, user_id).await;
    let Changed { value: item, keys } = reverted.map_err(not_written::<K>)?;
    answer.add_keys(keys);
    // Which item a static page shows may have changed with it. What is written is not undone by an error.
    let paths = sections.paths_uncached(&**store, &answer).await.unwrap_or_else(|_| paths.clone());
    Written { item: &item.at(&paths), sanitized: Vec::new() }.answer(StatusCode::OK)
}

/// Requires that an item can be at its earlier place, if that is another one.
async fn check_place<K: Kind>(
    current: &K,
    target: &K,
    sections: &Sections,
    store: &ContentStore<K>,
) -> Result<(), ApiError> {
    let is_moved = current.meta().section_id != target.meta().section_id;
    if !is_moved && current.slug() == target.slug() {
        return Ok(());
    }
    // A value that is no id was written by another program, and leads nowhere as before.
    let section = target.meta().section_id.as_deref().and_then(|id| id.parse::<ObjectId>().ok());
    let Some(section) = section else { return Ok(()) };
    let directory = sections.now().await?;
    if is_moved && directory.by_id(section).is_none_or(|entry| entry.is_deleted) {
        let message = "the section that the item had then does not exist: name the other members in \
                       the parameter `fields`";
        return Err(ApiError::invalid(FieldError::invalid("section_id", message)));
    }
    if is_moved {
        require_fitting(&directory, section, store)?;
    }
    require_free_path(&directory, section, target.slug())
}
