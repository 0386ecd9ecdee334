//! Changing content. Admins change everything, authors what is theirs.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use chrono::{DateTime, TimeDelta, Utc};
use data_service::{
    changes::Answer,
    idempotency::{Created, IdempotencyKey},
};
use models::{Body, FieldError, ObjectId, Patch};
use serde::Serialize;
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    web::{
        body::{JsonBody, PatchBody},
        conditional::{ETag, IfMatch, write_response},
        error::ApiError,
        extract::NoQuery,
    },
};
use tokio::sync::OnceCell;
use utoipa::ToSchema;

use super::{
    errors::not_written,
    sections::{Sections, require_fitting, require_free_path},
};
use crate::{
    domain::{audience::Directory, html_content::HtmlContent, item_paths::ItemPaths},
    html::{Removed, Sanitiser},
    kinds::ContentCollection,
    store::{
        content::{Changed, ContentStore},
        kind::{Changes, Kind},
        write::NewItem,
    },
};

/// The latest date that an item may be given, counted from now: clocks and zones of editors differ
/// by hours.
const MAX_CREATED_AHEAD: TimeDelta = TimeDelta::days(1);

/// `POST /{kind}`: adds an item. It is published unless the body says otherwise, belongs to the
/// caller, and goes to the section of its kind unless the body names another one.
pub(super) async fn create<K: Kind>(
    request: HttpRequest,
    signed: Authenticated<Caller, (JsonBody<K::Create>, IdempotencyKey, NoQuery)>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    sanitiser: Data<Sanitiser>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(caller, (JsonBody(body), key, NoQuery)) = signed;
    let keyed = key.with(&caller, &request, &body)?;
    let mut changes = K::changes(body.into());
    let mut removed = Vec::new();
    if let Some(content) = changes.content.take() {
        let (content, what) = sanitised(&sanitiser, content).await?;
        (changes.content, removed) = (Some(content), what);
    }
    // Before the section is looked up: it may be deleted since, or sections-service unavailable.
    if let Some(keyed) = &keyed
        && let Some(created) = store.created(keyed).await.map_err(not_written::<K>)?
    {
        if removed.is_empty() {
            return created.try_into();
        }
        return created.complete("sanitized", &removed)?.try_into();
    }
    refuse_ahead(&changes, store.now())?;
    let (section, directory) = section(&sections, &changes, &**store).await?;
    changes.section = section;
    let guard = |slug: &str| match (section, &directory) {
        (Patch::Value(section), Some(directory)) => require_free_path(directory, section, slug),
        _ => Ok(()),
    };
    let user_id = caller.user_id().map(str::to_owned);
    let new = NewItem { changes, user_id };
    let paths = sections.paths_uncached(&**store, &answer).await?;
    let respond = |item: &K| {
        let item = &item.clone().at(&paths);
        let location = format!("{}/{}", request.path(), item.meta().id);
        let sanitized = removed.clone();
        Created::new(&Written { item, sanitized }, &ETag::of_json(item)?, location)
    };
    let created =
        store.create(new, keyed.as_ref(), &guard, respond).await.map_err(not_written::<K>)?;
    answer.add_keys(created.keys);
    created.value.try_into()
}

/// The answer to a write.
#[derive(Serialize, ToSchema)]
pub(super) struct Written<T> {
    // Not a doc comment: as a description it would wrap the schema of the item.
    #[serde(flatten)]
    #[schema(inline)]
    item: T,
    /// The elements and attributes that were removed from the text before it was stored; absent if
    /// there were none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    sanitized: Vec<Removed>,
}

impl<T: Serialize> Written<T> {
    /// Responds with the tag that a read of the item has.
    fn answer(&self, status: StatusCode) -> Result<HttpResponse, ApiError> {
        write_response(status, &ETag::of_json(&self.item)?, self)
    }
}

/// The request that changes an item.
type Change<T> = Authenticated<Caller, (PatchBody<T>, IfMatch, NoQuery)>;

/// `PUT /{kind}/{id}`: replaces an item. Members that the body leaves out stay as they are.
pub(super) async fn replace<K: Kind>(
    signed: Change<K::Replace>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    sanitiser: Data<Sanitiser>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    change(signed, &id, &store, &sections, &sanitiser, &answer).await
}

/// `PATCH /{kind}/{id}`: changes some fields of an item.
pub(super) async fn patch<K: Kind>(
    signed: Change<K::Patch>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    sanitiser: Data<Sanitiser>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    change(signed, &id, &store, &sections, &sanitiser, &answer).await
}

async fn change<K: Kind, T: Body + Into<K::Patch>>(
    Authenticated(caller, (members, if_match, NoQuery)): Change<T>,
    id: &str,
    store: &ContentStore<K>,
    sections: &Sections,
    sanitiser: &Sanitiser,
    answer: &Answer,
) -> Result<HttpResponse, ApiError> {
    let paths = sections.paths_uncached(store, answer).await?;
    let guard = guard::<K>(&caller, &if_match, &paths);
    // Once, however often the transaction is repeated, and only if the text is another one.
    let clean = OnceCell::new();
    let changes = async |item: &K| {
        let mut changes = changes(&members, item, store, sections, &paths).await?;
        if let Some(content) = changes.content.take() {
            let (content, _) = clean.get_or_try_init(|| sanitised(sanitiser, content)).await?;
            changes.content = Some(content.clone());
        }
        Ok(changes)
    };
    let Changed { value: item, keys } =
        store.update(id, &guard, changes).await.map_err(not_written::<K>)?;
    answer.add_keys(keys);
    let sanitized = clean.into_inner().map(|(_, removed)| removed).unwrap_or_default();
    // Which item a static page shows may have changed with it. What is written is not undone by an error.
    let paths = sections.paths_uncached(store, answer).await.unwrap_or_else(|_| paths.clone());
    Written { item: &item.at(&paths), sanitized }.answer(StatusCode::OK)
}

/// Returns the changes that a body makes to an item as it is now, before its text is sanitised. What
/// a `GET` answered can be sent back: a member with its present value is not looked at, whatever
/// rules came after it was stored.
async fn changes<K: Kind, T: Body + Into<K::Patch>>(
    members: &PatchBody<T>,
    item: &K,
    store: &ContentStore<K>,
    sections: &Sections,
    paths: &ItemPaths,
) -> Result<Changes, ApiError> {
    let mut current = serde_json::to_value(item).map_err(ApiError::internal)?;
    current["path"] = paths.path(item.meta(), item.slug()).into();
    let changes = K::changes(members.changes_of(&current)?.into());
    if let Patch::Value(section) = changes.section {
        require_fitting(&*sections.now().await?, section, store)?;
    }
    if let Some((section, slug)) = new_place(&changes, item) {
        require_free_path(&*sections.now().await?, section, slug)?;
    }
    refuse_ahead(&changes, store.now())?;
    Ok(changes)
}

/// Returns the section and the slug of an item, if one of them changes.
fn new_place<'a, K: Kind>(changes: &'a Changes, item: &'a K) -> Option<(ObjectId, &'a str)> {
    if changes.section.is_absent() && changes.slug.is_absent() {
        return None;
    }
    let section = match changes.section {
        Patch::Absent => item.meta().section_id.as_deref()?.parse().ok(),
        Patch::Null => None,
        Patch::Value(section) => Some(section),
    };
    let slug = match &changes.slug {
        Patch::Absent => item.slug(),
        Patch::Null => "",
        Patch::Value(slug) => slug.as_str(),
    };
    Some((section?, slug))
}

/// Refuses a date of creation that is more than a day ahead.
fn refuse_ahead(changes: &Changes, now: DateTime<Utc>) -> Result<(), ApiError> {
    let latest = now + MAX_CREATED_AHEAD;
    if changes.created_date.is_some_and(|date| DateTime::from(date) > latest) {
        let message = "must not be more than a day ahead";
        return Err(ApiError::invalid(FieldError::invalid("createdDate", message)));
    }
    Ok(())
}

/// `DELETE /{kind}/{id}`: puts an item into the trash.
pub(super) async fn delete<K: Kind>(
    Authenticated(caller, (if_match, NoQuery)): Authenticated<Caller, (IfMatch, NoQuery)>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let paths = sections.paths_uncached(&**store, &answer).await?;
    let guard = guard::<K>(&caller, &if_match, &paths);
    let deleted = store.delete(&id, caller.user_id(), &guard).await.map_err(not_written::<K>)?;
    answer.add_keys(deleted.keys);
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /{kind}/{id}/restore`: takes an item out of the trash. Without `If-Match`: items in the
/// trash cannot be read.
pub(super) async fn restore<K: Kind>(
    Authenticated(caller, NoQuery): Authenticated<Caller, NoQuery>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    // Sections that were changed a moment ago are known, unless sections-service does not respond.
    let directory = sections.newest(&Answer::default()).await.ok();
    let guard = |item: &K| {
        caller.require_owner(item.meta().user_id.as_deref())?;
        let meta = item.meta();
        let section = meta.section_id.as_deref().filter(|_| meta.deleted);
        let section = section.and_then(|section| section.parse().ok());
        match (section, &directory) {
            (Some(section), Some(directory)) => require_free_path(directory, section, item.slug()),
            _ => Ok(()),
        }
    };
    let paths = sections.paths_uncached(&**store, &answer).await?;
    let Changed { value: item, keys } =
        store.restore(&id, &guard).await.map_err(not_written::<K>)?;
    answer.add_keys(keys);
    let paths = sections.paths_uncached(&**store, &answer).await.unwrap_or(paths);
    Written { item: &item.at(&paths), sanitized: Vec::new() }.answer(StatusCode::OK)
}

/// Returns the check that the caller may change the item, and that `If-Match` names its state.
fn guard<K: Kind>(
    caller: &Caller,
    if_match: &IfMatch,
    paths: &ItemPaths,
) -> impl Fn(&K) -> Result<(), ApiError> + Sync {
    |item| {
        caller.require_owner(item.meta().user_id.as_deref())?;
        if !if_match.is_given() {
            return Ok(());
        }
        if_match.check(&ETag::of_json(&item.clone().at(paths))?)
    }
}

/// Returns the sanitised content, and the elements and attributes that were removed from it.
async fn sanitised(
    sanitiser: &Sanitiser,
    content: HtmlContent,
) -> Result<(HtmlContent, Vec<Removed>), ApiError> {
    let invalid = |message| ApiError::invalid(FieldError::invalid("content", message));
    let safe = sanitiser.run(content.into()).await.map_err(ApiError::internal)?;
    let safe = safe.map_err(|error| invalid(error.to_string()))?;
    let content = HtmlContent::try_from(safe.html).map_err(|error| invalid(error.to_string()))?;
    Ok((content, safe.removed))
}

/// Returns the section of a new item, and all sections if it has one: the one in its body, or the default
/// section of its kind. On a site without a default section the item gets none, and the backfill links it
/// once there is one.
async fn section(
    sections: &Sections,
    changes: &Changes,
    collection: &dyn ContentCollection,
) -> Result<(Patch<ObjectId>, Option<Arc<Directory>>), ApiError> {
    match (changes.section, changes.default_section) {
        (Patch::Null, _) => Ok((Patch::Null, None)),
        (Patch::Value(section), _) => {
            let directory = sections.now().await?;
            require_fitting(&directory, section, collection)?;
            Ok((Patch::Value(section), Some(directory)))
        }
        (Patch::Absent, None) => Ok((Patch::Absent, None)),
        (Patch::Absent, Some(slug)) => {
            // The answer to a write has the keys that it changed alone.
            let directory = sections.newest(&Answer::default()).await?;
            let default = directory.default(slug, collection.kind().content_type());
            let section = default.map_or(Patch::Absent, |section| Patch::Value(section.id));
            Ok((section, Some(directory)))
        }
    }
}
