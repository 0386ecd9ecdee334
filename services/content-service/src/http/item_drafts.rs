//! Drafts beside what is published: saving, reading, publishing and dropping them.

use std::{cell::Cell, collections::BTreeMap};

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use data_service::{changes::Answer, database_error};
use models::{Body, ErrorCode, FieldError};
use serde::Serialize;
use serde_json::{Map, Value};
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    web::{
        body::PatchBody,
        conditional::{ETag, IfMatch, WriteCondition, write_response},
        error::ApiError,
        extract::NoQuery,
    },
};
use tokio::sync::OnceCell;
use utoipa::ToSchema;

use super::{
    errors::{no_item, not_written},
    sections::Sections,
    write::{Written, changes, checked, current, guard, sanitised},
};
use crate::{
    domain::{
        content::Author,
        schedule::{PUBLISH_AT, UNPUBLISH_AT},
    },
    html::{Removed, Sanitiser},
    store::{
        authors::Names,
        content::{Changed, ContentStore},
        dates::from_bson,
        item_drafts::{Draft, NewDraft},
        kind::Kind,
    },
};

/// The member of a body that a draft does not have: publishing it sets that.
const IS_PUBLISHED: &str = "is_published";

/// The members of a body that belong to the item, whatever text it shows.
const OF_ITEM: [&str; 2] = [PUBLISH_AT, UNPUBLISH_AT];

/// An item as it will be once its draft is published. The members that no request can change are those
/// of the item as it is.
#[derive(Serialize, ToSchema)]
pub(super) struct Drafted<T> {
    // Not a doc comment: as a description it would wrap the schema of the item.
    #[serde(flatten)]
    #[schema(inline)]
    item: T,
    /// The facts about the draft.
    draft_state: DraftState,
    /// The elements and attributes that were removed from the text before it was stored; absent if
    /// there were none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    sanitized: Vec<Removed>,
}

/// The facts about a draft.
#[derive(Serialize, ToSchema)]
pub(super) struct DraftState {
    /// The time of the last save, on the clock of the database.
    #[serde(serialize_with = "date")]
    saved_at: DateTime<Utc>,
    /// The id of the user who saved it last; null for the static token without a user.
    #[schema(required = true)]
    user_id: Option<String>,
    /// The user who saved it last; null if the user is unknown or has no name.
    #[schema(required = true)]
    author: Option<Author>,
    /// `true` if the published text was changed since the draft was begun.
    is_outdated: bool,
}

fn date<S: serde::Serializer>(date: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    models::rfc3339::serialize(&Some(*date), serializer)
}

/// `GET /{kind}/{id}/draft`: answers with the item as it will be once its draft is published.
pub(super) async fn read<K: Kind>(
    Authenticated(caller, NoQuery): Authenticated<Caller, NoQuery>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let paths = sections.paths_uncached(&**store, &answer).await?;
    let names = store.names().await.map_err(database_error)?.value;
    let item = store.by_id(&id).await.map_err(database_error)?;
    let item = names.sign(item.map_err(no_item::<K>)?);
    caller.require_owner(item.meta().user_id.as_deref())?;
    let draft = store.draft(item.meta().id.as_str()).await.map_err(database_error)?;
    let draft = draft.ok_or_else(no_draft)?;
    respond(&draft, &item, current(&item, &paths)?, &names, Vec::new())
}

/// `PUT /{kind}/{id}/draft`: saves a draft without a change of the item. Members that the body leaves out
/// will stay as they are in the item.
pub(super) async fn save<K: Kind>(
    signed: Authenticated<Caller, (PatchBody<K::Replace>, WriteCondition, NoQuery)>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    sanitiser: Data<Sanitiser>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(caller, (members, condition, NoQuery)) = signed;
    let paths = sections.paths_uncached(&**store, &answer).await?;
    let names = store.names().await.map_err(database_error)?.value;
    // Once, however often the transaction is repeated.
    let clean = OnceCell::new();
    let new = async |item: &K, draft: Option<&Draft>| {
        caller.require_owner(item.meta().user_id.as_deref())?;
        let current = current(item, &paths)?;
        check(&condition, draft, item, &current, &names)?;
        let (mut body, patch) = members_of::<K>(&members, &current)?;
        if let Some(content) = checked(patch, item, &store, &sections).await?.content {
            let (content, _) = clean.get_or_try_init(|| sanitised(&sanitiser, content)).await?;
            body.insert("content".to_owned(), content.as_str().into());
        }
        let user_id = caller.user_id().map(str::to_owned);
        Ok(NewDraft { body, base: base(item)?, user_id })
    };
    let (item, draft) = store.save_draft(&id, new).await.map_err(not_written::<K>)?;
    let removed = clean.into_inner().map(|(_, removed)| removed).unwrap_or_default();
    respond(&draft, &item, current(&item, &paths)?, &names, removed)
}

/// Returns the members of a draft as they are stored, and the changes that they make to the item. A
/// member with the present value of the item is not looked at, whatever rules came after it was stored.
fn members_of<K: Kind>(
    members: &PatchBody<K::Replace>,
    current: &Value,
) -> Result<(Map<String, Value>, K::Patch), ApiError> {
    let body = members.changes_of(current)?;
    let Value::Object(mut fields) = serde_json::to_value(&body).map_err(ApiError::internal)? else {
        return Err(ApiError::internal("a body is no object"));
    };
    for name in OF_ITEM {
        if fields.contains_key(name) {
            let message = "is no part of a draft: change it with PATCH of the item";
            return Err(ApiError::invalid(FieldError::invalid(name, message)));
        }
    }
    for name in members.names() {
        if !fields.contains_key(name) {
            fields.insert(name.to_owned(), current[name].clone());
        }
    }
    fields.retain(|name, _| is_in_drafts(name));
    Ok((fields, body.into()))
}

/// Returns `true` if a draft can have a member.
fn is_in_drafts(name: &str) -> bool {
    name != IS_PUBLISHED && !OF_ITEM.contains(&name)
}

/// `DELETE /{kind}/{id}/draft`: drops a draft. The item stays as it is.
pub(super) async fn drop_draft<K: Kind>(
    signed: Authenticated<Caller, (WriteCondition, NoQuery)>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(caller, (condition, NoQuery)) = signed;
    let paths = sections.paths_uncached(&**store, &answer).await?;
    let names = store.names().await.map_err(database_error)?.value;
    let guard = |item: &K, draft: Option<&Draft>| {
        caller.require_owner(item.meta().user_id.as_deref())?;
        let draft = draft.ok_or_else(no_draft)?;
        check(&condition, Some(draft), item, &current(item, &paths)?, &names)
    };
    store.drop_draft(&id, guard).await.map_err(not_written::<K>)?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /{kind}/{id}/publish`: publishes an item, with the text of its draft if it has one.
pub(super) async fn publish<K: Kind>(
    Authenticated(caller, (if_match, NoQuery)): Authenticated<Caller, (IfMatch, NoQuery)>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    sanitiser: Data<Sanitiser>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let paths = sections.paths_uncached(&**store, &answer).await?;
    let guard = guard::<K>(&caller, &if_match, &paths);
    let removed = Cell::new(Vec::new());
    let changes = async |item: &K, draft: Option<&Draft>| {
        if let Some(draft) = draft
            && !if_match.is_given()
            && draft.base != base(item)?
        {
            let current = current(item, &paths)?;
            return Err(outdated().with_current(ETag::of_json(&current)?.state_of(current)));
        }
        let mut body = draft.map(|draft| draft.body.clone()).unwrap_or_default();
        body.insert(IS_PUBLISHED.to_owned(), true.into());
        let body = serde_json::to_string(&body).map_err(ApiError::internal)?;
        let body = PatchBody::<K::Patch>::from_text(body)?;
        let mut changes = changes(&body, item, &store, &sections, &paths).await?;
        if let Some(content) = changes.content.take() {
            let (content, what) = sanitised(&sanitiser, content).await?;
            removed.set(what);
            changes.content = Some(content);
        }
        Ok(changes)
    };
    let Changed { value: item, keys } = store
        .publish(&id, &guard, changes, caller.signed_in_user())
        .await
        .map_err(not_written::<K>)?;
    answer.add_keys(keys);
    // Which item a static page shows may have changed with it. What is written is not undone by an error.
    let paths = sections.paths_uncached(&**store, &answer).await.unwrap_or_else(|_| paths.clone());
    Written { item: &item.at(&paths), sanitized: removed.take() }.answer(StatusCode::OK)
}

/// Refuses with 412 unless the caller expects the present draft.
fn check<K: Kind>(
    condition: &WriteCondition,
    draft: Option<&Draft>,
    item: &K,
    current: &Value,
    names: &Names,
) -> Result<(), ApiError> {
    let tag = draft.map(ETag::of_json).transpose()?;
    condition.check(tag.as_ref(), || {
        let draft = draft.ok_or_else(no_draft)?;
        let drafted = Drafted::new(draft, item, current.clone(), names, Vec::new())?;
        serde_json::to_value(drafted).map_err(ApiError::internal)
    })
}

/// Responds with the item as it will be once the draft is published, and the tag of the draft: it stays
/// as it is when the item changes. No route answers 304 for it.
fn respond<K: Kind>(
    draft: &Draft,
    item: &K,
    current: Value,
    names: &Names,
    sanitized: Vec<Removed>,
) -> Result<HttpResponse, ApiError> {
    let drafted = Drafted::new(draft, item, current, names, sanitized)?;
    write_response(StatusCode::OK, &ETag::of_json(draft)?, &drafted)
}

impl Drafted<Value> {
    fn new<K: Kind>(
        draft: &Draft,
        item: &K,
        current: Value,
        names: &Names,
        sanitized: Vec<Removed>,
    ) -> Result<Self, ApiError> {
        let draft_state = DraftState {
            saved_at: from_bson(draft.updated_date),
            user_id: draft.user_id.clone(),
            author: draft.user_id.as_deref().and_then(|id| names.of(id)),
            is_outdated: draft.base != base(item)?,
        };
        Ok(Self { item: drafted(current, draft), draft_state, sanitized })
    }
}

/// Returns an item, as a `GET` answers it, with the members of its draft.
pub(super) fn drafted(mut current: Value, draft: &Draft) -> Value {
    if let Value::Object(members) = &mut current {
        members.extend(draft.body.clone());
    }
    current
}

/// Returns the state of what a draft of the item would change: its members that a request can change.
/// Those without a value do not count, so that a new kind of member makes no draft outdated.
fn base<K: Kind>(item: &K) -> Result<String, ApiError> {
    let Value::Object(members) = serde_json::to_value(item).map_err(ApiError::internal)? else {
        return Err(ApiError::internal("an item is no object"));
    };
    let is_writable = |name: &str| is_in_drafts(name) && !K::Replace::READ_ONLY.contains(&name);
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => false,
    };
    let members = members.into_iter().filter(|(name, value)| is_writable(name) && !is_empty(value));
    ETag::of_json(&members.collect::<BTreeMap<_, _>>()).map(|tag| tag.to_string())
}

fn no_draft() -> ApiError {
    ApiError::not_found("Draft")
}

fn outdated() -> ApiError {
    let detail = "The published text was changed since the draft was begun. Read the item, show both \
                  texts, and publish again with the `ETag` of the item in `If-Match`.";
    ApiError::new(ErrorCode::DraftOutdated, detail)
}
