//! The earlier states of an item, for those who may change it.

use std::{collections::BTreeSet, sync::LazyLock};

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use data_service::{
    changes::Answer,
    database_error,
    revisions::{FieldChange, Revision, RevisionAction, differences},
};
use models::{ErrorCode, FieldError, ObjectId};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use service_kit::{
    auth::{caller::Caller, extract::Authenticated},
    runtime::offload::Offload,
    web::{conditional::IfMatch, error::ApiError, extract::Query},
};
use utoipa::{IntoParams, ToSchema};

use super::{
    errors::{no_item, not_written},
    preview::private,
    sections::{Sections, require_fitting, require_free_path},
    write::{Written, guard},
};
use crate::{
    domain::{content::Author, list::Limit},
    store::{
        authors::Names,
        content::{Changed, ContentStore},
        dates::from_bson,
        kind::Kind,
        revisions::{ComparedState, Comparison, members, restorable_fields},
    },
};

/// The largest number of a change, which is more than a person makes.
pub(super) const MAX_NUMBER: i64 = 2_147_483_647;

/// The members whose differences are not shown: they follow from others, or every change has them.
const NOT_COMPARED: [&str; 4] = ["id", "updatedDate", "author", "path"];

/// The differences that are made at once. Each occupies a core for up to 300 ms.
static DIFFERENCES: LazyLock<Offload> = LazyLock::new(|| Offload::new(2).with_low_priority());

/// The query of the list of revisions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RevisionsQuery {
    /// The largest number of revisions of a page.
    #[serde(default)]
    #[param(value_type = Limit, required = false)]
    limit: Limit,
    /// A `next_cursor` of an earlier answer.
    #[param(value_type = String, required = false, pattern = "^[0-9]+$")]
    cursor: Option<Cursor>,
}

/// A place in the list: the number of the last revision.
#[derive(Debug)]
struct Cursor(i64);

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        let message = "must be a `next_cursor` of an earlier answer";
        number.map(Self).ok_or_else(|| D::Error::custom(message))
    }
}

/// The query of a revision.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RevisionQuery {
    /// The state with which the revision is compared: by default the one after the change.
    #[serde(default)]
    #[param(inline, required = false)]
    compare_with: CompareWith,
}

/// The state with which a revision is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum CompareWith {
    /// The state after the change.
    #[default]
    Next,
    /// The present state.
    Present,
}

/// The query of restoring a revision.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RevertQuery {
    /// The names of the members that get their earlier values, separated by commas; all unless it is
    /// given.
    #[param(required = false, nullable = false, example = "title,content")]
    fields: Option<String>,
}

/// A change of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Revision)]
pub(super) struct RevisionInfo {
    /// The number of the change, counted for each item from 1.
    #[schema(minimum = 1)]
    number: i64,
    /// The time of the change.
    #[serde(serialize_with = "date")]
    at: DateTime<Utc>,
    /// The kind of the change.
    action: RevisionAction,
    /// The members that it changed.
    fields: Vec<String>,
    /// The id of the user who made it; null if it was made with the static token.
    #[schema(required = true)]
    user_id: Option<String>,
    /// The user who made it; null if it is unknown or has no name.
    #[schema(required = true)]
    author: Option<Author>,
}

/// A page of the changes of an item, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct RevisionList {
    /// The changes of this page.
    items: Vec<RevisionInfo>,
    /// The largest number of items of a page.
    limit: u32,
    /// The value of `cursor` that returns the next page; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// An item as it was before a change.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct RevisionView<T> {
    /// The change.
    revision: RevisionInfo,
    /// The item before it. Its `path` is null: the path depends on the sections of that time.
    item: T,
    /// The state with which it is compared.
    compared_with: CompareWith,
    /// The members that differ: `before` is the value in `item`.
    changes: Vec<FieldChange>,
}

fn date<S: serde::Serializer>(date: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    models::rfc3339::serialize(&Some(*date), serializer)
}

impl RevisionInfo {
    fn new(revision: Revision, names: &Names) -> Self {
        let Revision { number, at, user_id, action, mut fields } = revision;
        fields.retain(|field| !NOT_COMPARED.contains(&field.as_str()));
        let author = user_id.as_deref().and_then(|id| names.of(id));
        Self { number, at: from_bson(at), action, fields, user_id, author }
    }
}

/// `GET /{kind}/{id}/revisions`: lists the changes of an item, newest first.
pub(super) async fn list<K: Kind>(
    signed: Authenticated<Caller, Query<RevisionsQuery>>,
    id: Path<String>,
    store: Data<ContentStore<K>>,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(caller, Query(RevisionsQuery { limit, cursor })) = signed;
    let (document, item) =
        store.revised(&id).await.map_err(database_error)?.map_err(no_item::<K>)?;
    caller.require_owner(item.meta().user_id.as_deref())?;
    let before = cursor.map(|Cursor(number)| number);
    let page = store.revisions(&document, before, limit.get()).await;
    let (page, has_more) = page.map_err(database_error)?;
    let next_cursor = page.last().filter(|_| has_more).map(|last| last.number.to_string());
    let names = store.names().await.map_err(database_error)?.value;
    let items = page.into_iter().map(|one| RevisionInfo::new(one, &names)).collect();
    Ok(private(StatusCode::OK, &RevisionList { items, limit: limit.get(), next_cursor }))
}

/// `GET /{kind}/{id}/revisions/{number}`: answers with an item as it was before a change.
pub(super) async fn read<K: Kind>(
    signed: Authenticated<Caller, Query<RevisionQuery>>,
    path: Path<(String, String)>,
    store: Data<ContentStore<K>>,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(caller, Query(RevisionQuery { compare_with })) = signed;
    let (id, number) = path.into_inner();
    let number = parse_number(&number)?;
    let (document, item) =
        store.revised(&id).await.map_err(database_error)?.map_err(no_item::<K>)?;
    caller.require_owner(item.meta().user_id.as_deref())?;
    let with = match compare_with {
        CompareWith::Next => ComparedState::Next,
        CompareWith::Present => ComparedState::Present,
    };
    let compared = store.compare(&document, number, with).await.map_err(database_error)?;
    let Some(Comparison { revision, before: item, after }) = compared else {
        return Err(ApiError::not_found("Revision"));
    };
    let before = members(&item).map_err(ApiError::internal)?;
    let after = members(&after).map_err(ApiError::internal)?;
    let changes = DIFFERENCES.run(move || differences(&before, &after, &NOT_COMPARED)).await;
    let changes = changes.map_err(ApiError::internal)?;
    let names = store.names().await.map_err(database_error)?.value;
    let revision = RevisionInfo::new(revision, &names);
    let view = RevisionView { revision, item, compared_with: compare_with, changes };
    Ok(private(StatusCode::OK, &view))
}

/// `POST /{kind}/{id}/revisions/{number}/restore`: gives an item the values that it had before a change.
pub(super) async fn restore<K: Kind>(
    signed: Authenticated<Caller, (IfMatch, Query<RevertQuery>)>,
    path: Path<(String, String)>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Authenticated(caller, (if_match, Query(RevertQuery { fields }))) = signed;
    let (id, number) = path.into_inner();
    let number = parse_number(&number)?;
    let chosen = chosen::<K>(fields.as_deref())?;
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

/// Returns the names of the members that are restored.
fn chosen<K: Kind>(names: Option<&str>) -> Result<BTreeSet<String>, ApiError> {
    let all = restorable_fields::<K>();
    let Some(names) = names else { return Ok(all) };
    let chosen: BTreeSet<_> = names.split(',').map(|name| name.trim().to_owned()).collect();
    if chosen.is_subset(&all) {
        return Ok(chosen);
    }
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let message = format!("must be some of {}, separated by commas", all.join(", "));
    Err(ApiError::invalid(FieldError::invalid("fields", message)))
}

/// Parses the number of a change.
fn parse_number(text: &str) -> Result<i64, ApiError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let detail = "Invalid revision number: it is a whole number from 1, such as `3`.";
        return Err(ApiError::new(ErrorCode::InvalidId, detail));
    }
    // No change has a number beyond.
    Ok(text.parse().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_in_digits() {
        assert_eq!(parse_number("3").unwrap(), 3);
        assert_eq!(parse_number("99999999999999999999").unwrap(), i64::MAX);
        for wrong in ["", "-1", "+1", "1.0", " 1", "0x1", "{\"$gt\":0}", "١"] {
            let error = parse_number(wrong).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidId, "{wrong}");
        }
    }
}
