//! Revisions in requests and answers, which are the same for everything that has revisions.

use std::{collections::BTreeSet, sync::LazyLock};

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, HeaderName},
    },
};
use models::{
    ErrorCode, FieldError,
    schema::{number, schema},
};
use mongodb::bson::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};
use service_kit::{runtime::offload::Offload, web::error::ApiError};
use utoipa::{IntoParams, ToSchema};

use super::{FieldChange, Revision, RevisionAction, differences};

/// The largest number of a change, which is more than a person makes.
pub const MAX_NUMBER: i64 = 2_147_483_647;

/// The largest number of changes of a page, as of other lists.
const MAX_LIMIT: u32 = 50;

/// The number of changes of a page unless the request has one.
const USUAL_LIMIT: u32 = 10;

/// The stored field and the member that every change changes.
const UPDATED: &str = "updatedDate";

/// The members whose differences are not shown: they follow from others, or every change has them.
const NOT_COMPARED: [&str; 4] = ["id", UPDATED, "author", "path"];

/// The header that keeps search engines away.
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// The differences that are made at once. Each occupies a core for up to 300 ms.
static DIFFERENCES: LazyLock<Offload> = LazyLock::new(|| Offload::new(2).with_low_priority());

/// The query of the list of revisions.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RevisionsQuery {
    /// The largest number of revisions of a page.
    #[serde(default)]
    #[param(value_type = PageLimit, required = false)]
    limit: PageLimit,
    /// A `next_cursor` of an earlier answer.
    #[param(value_type = String, required = false, pattern = "^[0-9]+$")]
    cursor: Option<Cursor>,
}

impl RevisionsQuery {
    /// Returns the largest number of changes of the page.
    pub fn limit(self) -> u32 {
        self.limit.0
    }

    /// Returns the number of the change after which the page begins; `None` for the newest.
    pub fn before(self) -> Option<i64> {
        self.cursor.map(|Cursor(number)| number)
    }
}

/// The largest number of changes of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct PageLimit(u32);

schema!(PageLimit as "Limit", number(1, MAX_LIMIT, USUAL_LIMIT));

impl Default for PageLimit {
    fn default() -> Self {
        Self(USUAL_LIMIT)
    }
}

impl TryFrom<u64> for PageLimit {
    type Error = String;

    fn try_from(limit: u64) -> Result<Self, Self::Error> {
        let limit = u32::try_from(limit).ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.map(Self).ok_or_else(|| format!("must be from 1 to {MAX_LIMIT}"))
    }
}

/// A place in the list: the number of the last revision.
#[derive(Debug, Clone, Copy)]
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
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RevisionQuery {
    /// The state with which the revision is compared: by default the one after the change.
    #[serde(default)]
    #[param(inline, required = false)]
    pub compare_with: ComparedState,
}

/// The state with which a revision is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComparedState {
    /// The state after the change.
    #[default]
    Next,
    /// The present state.
    Present,
}

/// The query of restoring a revision.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RevertQuery {
    /// The names of the members that get their earlier values, separated by commas; all unless it is
    /// given.
    #[param(required = false, nullable = false, example = "title")]
    fields: Option<String>,
}

impl RevertQuery {
    /// Returns the chosen names, which must be some of these, or all of them.
    pub fn chosen(&self, all: BTreeSet<String>) -> Result<BTreeSet<String>, ApiError> {
        let Some(names) = &self.fields else { return Ok(all) };
        let chosen: BTreeSet<_> = names.split(',').map(|name| name.trim().to_owned()).collect();
        if chosen.is_subset(&all) {
            return Ok(chosen);
        }
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        let message = format!("must be some of {}, separated by commas", all.join(", "));
        Err(ApiError::invalid(FieldError::invalid("fields", message)))
    }
}

/// A change that was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Revision)]
pub struct RevisionInfo {
    /// The number of the change, counted from 1.
    #[schema(minimum = 1)]
    number: i64,
    /// The time of the change.
    #[serde(serialize_with = "date")]
    #[schema(value_type = String, format = DateTime)]
    at: DateTime,
    /// The kind of the change.
    action: RevisionAction,
    /// The members that it changed.
    fields: Vec<String>,
    /// The id of the user who made it; null if it was made with the static token.
    #[schema(required = true)]
    user_id: Option<String>,
    /// The user who made it; null if the user is unknown or has no name.
    #[schema(required = true)]
    author: Option<RevisionAuthor>,
}

/// The user who made a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct RevisionAuthor {
    /// The name.
    name: String,
}

/// A page of changes, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RevisionList {
    /// The changes of this page.
    items: Vec<RevisionInfo>,
    /// The largest number of items of a page.
    limit: u32,
    /// The value of `cursor` that returns the next page; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A thing as it was before a change.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RevisionView<T> {
    /// The change.
    revision: RevisionInfo,
    /// The state before it. Its `path` is null: the path depends on the sections of that time.
    item: T,
    /// The state with which it is compared.
    compared_with: ComparedState,
    /// The members that differ: `before` is the value in `item`.
    changes: Vec<FieldChange>,
}

fn date<S: Serializer>(date: &DateTime, serializer: S) -> Result<S::Ok, S::Error> {
    let date = chrono::DateTime::from_timestamp_millis(date.timestamp_millis());
    models::rfc3339::serialize(&date, serializer)
}

impl RevisionInfo {
    /// Returns the answered form of a change. `name_of` returns the name of a user.
    pub fn new(revision: Revision, name_of: impl Fn(&str) -> Option<String>) -> Self {
        let Revision { number, at, user_id, action, mut fields } = revision;
        fields.retain(|field| field != UPDATED);
        let author = user_id.as_deref().and_then(name_of).map(|name| RevisionAuthor { name });
        Self { number, at, action, fields, user_id, author }
    }
}

impl RevisionList {
    /// Returns a page, after which there are more or not.
    pub fn new(items: Vec<RevisionInfo>, query: RevisionsQuery, has_more: bool) -> Self {
        let next_cursor = items.last().filter(|_| has_more).map(|last| last.number.to_string());
        Self { items, limit: query.limit(), next_cursor }
    }

    /// Responds with the page.
    pub fn respond(&self) -> HttpResponse {
        private(self)
    }
}

impl<T: Serialize> RevisionView<T> {
    /// Returns the state before a change, compared with another one.
    pub async fn new(
        revision: RevisionInfo,
        item: T,
        other: &T,
        compared_with: ComparedState,
    ) -> Result<Self, ApiError> {
        let (before, after) = (members(&item)?, members(other)?);
        let changes = DIFFERENCES.run(move || differences(&before, &after, &NOT_COMPARED)).await;
        let changes = changes.map_err(ApiError::internal)?;
        Ok(Self { revision, item, compared_with, changes })
    }

    /// Responds with the view.
    pub fn respond(&self) -> HttpResponse {
        private(self)
    }
}

/// Returns the members of a value as it is answered.
pub fn members(value: &impl Serialize) -> Result<Map<String, Value>, ApiError> {
    match serde_json::to_value(value).map_err(ApiError::internal)? {
        Value::Object(members) => Ok(members),
        _ => Ok(Map::new()),
    }
}

/// Parses the number of a change in a path.
pub fn parse_number(text: &str) -> Result<i64, ApiError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let detail = "Invalid revision number: it is a whole number from 1, such as `3`.";
        return Err(ApiError::new(ErrorCode::InvalidId, detail));
    }
    // No change has a number beyond.
    Ok(text.parse().unwrap_or(i64::MAX))
}

/// Responds with a value that no cache and no search engine is to get: it may have what was removed.
fn private(value: &impl Serialize) -> HttpResponse {
    HttpResponse::build(StatusCode::OK)
        .insert_header((CACHE_CONTROL, "private, no-store"))
        .insert_header((ROBOTS, "noindex, nofollow"))
        .json(value)
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

    #[test]
    fn fields_are_chosen_by_name() {
        let all = || BTreeSet::from(["content", "title"].map(str::to_owned));
        let chosen = |fields: Option<&str>| {
            let query = RevertQuery { fields: fields.map(str::to_owned) };
            query.chosen(all()).map(|names| names.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(chosen(None).unwrap(), ["content", "title"]);
        assert_eq!(chosen(Some(" title,title")).unwrap(), ["title"]);
        for wrong in ["", "title,", "is_published", "title;content", "$set"] {
            let error = chosen(Some(wrong)).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ValidationFailed, "{wrong}");
        }
    }
}
