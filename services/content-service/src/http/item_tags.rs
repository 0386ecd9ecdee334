//! The tags of all items, with their numbers.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use data_service::{changes::Answer, database_error};
use models::{
    ContentType,
    schema::{number, schema},
};
use serde::{Deserialize, Serialize};
use service_kit::{
    auth::caller::Caller,
    web::{conditional::json_response, error::ApiError, extract::Query},
};
use utoipa::{IntoParams, ToSchema};

use super::{error_sets::TagErrors, sections::Sections};
use crate::{kinds::Collections, store::item_tags::TagCounts};

/// The query of the tags.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct TagsQuery {
    /// Only the items of this kind.
    #[param(value_type = ContentType, required = false)]
    content_type: Option<ContentType>,
    /// The largest number of tags.
    #[param(value_type = TagLimit, required = false)]
    limit: TagLimit,
    /// `true` for the tags of drafts as well. Needs a token.
    include_drafts: bool,
}

/// The largest number of tags of an answer: 1 to 1000, by default 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct TagLimit(u32);

schema!(TagLimit, number(1, TagLimit::MAX, TagLimit::default().0));

/// A limit out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be from 1 to {}", TagLimit::MAX)]
pub(super) struct InvalidTagLimit;

impl TagLimit {
    /// More tags than any page shows.
    const MAX: u32 = 1_000;
}

impl Default for TagLimit {
    fn default() -> Self {
        Self(100)
    }
}

impl TryFrom<u64> for TagLimit {
    type Error = InvalidTagLimit;

    fn try_from(limit: u64) -> Result<Self, Self::Error> {
        match u32::try_from(limit) {
            Ok(limit @ 1..=Self::MAX) => Ok(Self(limit)),
            _ => Err(InvalidTagLimit),
        }
    }
}

/// The tags of the site, those of most items first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TagList {
    /// The tags, as many as the limit allows.
    items: Vec<TagItem>,
    /// The number of all tags.
    total: usize,
}

/// A tag.
#[derive(Debug, Serialize, ToSchema)]
struct TagItem {
    /// The tag, in the spelling that most items have.
    tag: String,
    /// The number of items that have it.
    count: u64,
}

/// The tags of the site, and how many items have each.
///
/// Those of most items come first. Without a token they are those of the items that the public sees.
/// Capital letters do not make another tag.
#[utoipa::path(
    get,
    path = "/tags",
    operation_id = "tags",
    tag = "content",
    params(
        TagsQuery,
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The state that the caller has.")
    ),
    responses(
        (status = 200, description = "The tags.", body = TagList,
            headers(("ETag", description = "The state of the answer."))),
        (status = 304, description = "The answer has not changed."),
        TagErrors
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn tags(
    request: HttpRequest,
    query: Query<TagsQuery>,
    sections: Data<Sections>,
    collections: Data<Collections>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Query(query) = query;
    if query.include_drafts {
        Caller::of(&request).await?;
    }
    let mut all = TagCounts::new();
    for collection in collections.iter() {
        let kind = collection.kind();
        if query.content_type.is_some_and(|wanted| wanted != kind.content_type()) {
            continue;
        }
        let audience = sections.audience(&**collection, &answer, query.include_drafts).await?;
        answer.add_keys([kind.keys().list()]);
        let counts = collection.tag_counts(&audience).await.map_err(database_error)?;
        answer.limit(counts.revision);
        for (key, count) in &*counts.value {
            all.entry(key.clone()).or_default().add(count);
        }
    }
    let total = all.len();
    let mut items: Vec<_> = all.into_iter().map(|(key, count)| (count.into_tag(), key)).collect();
    items.sort_unstable_by(|((_, one), key), ((_, other), other_key)| {
        other.cmp(one).then_with(|| key.cmp(other_key))
    });
    items.truncate(query.limit.0 as usize);
    let items = items.into_iter().map(|((tag, count), _)| TagItem { tag, count });
    json_response(&request, &TagList { items: items.collect(), total })
}
