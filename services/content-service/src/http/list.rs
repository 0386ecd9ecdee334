//! Lists.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use data_service::database_error;
use models::{FieldError, Limit, List, ObjectId, Offset};
use mongo_kit::Stamp;
use serde::{Deserialize, Deserializer, de::Error as _};
use service_kit::{
    auth::caller::Caller,
    web::{error::ApiError, extract::Query},
};
use utoipa::IntoParams;

use super::{Sections, Tags, item::stamp};
use crate::{
    domain::{Audience, Position, Start},
    store::{ContentStore, Filter, Kind},
};

/// What a list can be asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// How many items a page has at most.
    #[param(value_type = Limit, required = false)]
    limit: Limit,
    /// How many items to pass over.
    #[param(value_type = Offset, required = false)]
    offset: Option<Offset>,
    /// A `next_cursor` of an earlier answer; not together with `offset`.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<Cursor>,
    /// Content of the section with this id alone; not together with `section`.
    #[param(value_type = ObjectId, required = false)]
    section_id: Option<ObjectId>,
    /// Content of the section with this slug alone.
    #[param(nullable = false)]
    section: Option<String>,
    /// Drafts as well. Needs a token.
    include_drafts: bool,
}

#[derive(Debug)]
struct Cursor(Position);

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let cursor = String::deserialize(deserializer)?;
        Position::from_cursor(&cursor)
            .map(Self)
            .map_err(|_| D::Error::custom("must be a `next_cursor` of an earlier answer"))
    }
}

/// `GET /{kind}`: a page of the list, newest first.
pub(super) async fn list<K: Kind>(
    request: HttpRequest,
    parameters: Query<Parameters>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    tags: Data<Tags>,
) -> Result<HttpResponse, ApiError> {
    let Query(parameters) = parameters;
    let audience = if parameters.include_drafts {
        Caller::of(&request).await?;
        Audience::Editors
    } else {
        Audience::Public(sections.public(&store).await?)
    };
    let section = match (parameters.section_id, parameters.section) {
        (Some(_), Some(_)) => return Err(only_one_of("section", "section_id")),
        (None, Some(slug)) => Some(sections.by_slug(&slug, &audience).await?),
        (id, None) => id,
    };
    let start = match (parameters.cursor, parameters.offset) {
        (Some(_), Some(_)) => return Err(only_one_of("cursor", "offset")),
        (Some(Cursor(position)), None) => Start::After(position),
        (None, offset) => Start::Offset(offset.unwrap_or_default()),
    };
    let filter = Filter { section, audience };
    let key = ListKey {
        path: request.path(),
        query: request.query_string(),
        filter: &filter,
        writes: store.writes(),
    };
    if let Some(response) = tags.not_modified(&request, &key) {
        return Ok(response);
    }
    let stamp = stamp(&request, &store).await?;
    let (list, total_stamp) = page(&store, &filter, &start, parameters.limit).await?;
    tags.respond(&request, &key, stamp.map(|stamp| stamp.and(total_stamp)), &list)
}

/// A page of a list, and since when its total has been the same.
pub(super) async fn page<K: Kind>(
    store: &ContentStore<K>,
    filter: &Filter,
    start: &Start,
    limit: Limit,
) -> Result<(List<K::Card>, Stamp), ApiError> {
    let listed = store.list(filter, start, limit).await.map_err(database_error)?;
    let offset = match start {
        Start::Offset(offset) => offset.get().into(),
        Start::After(_) => 0,
    };
    let list = List {
        items: listed.items,
        total: listed.total,
        limit: limit.get(),
        offset,
        next_cursor: listed.next.as_ref().and_then(Position::to_cursor),
    };
    Ok((list, listed.total_stamp))
}

/// The key of a list's tag.
#[derive(Hash)]
struct ListKey<'a> {
    path: &'a str,
    query: &'a str,
    filter: &'a Filter,
    writes: u64,
}

fn only_one_of(field: &str, other: &str) -> ApiError {
    let message = format!("cannot be used together with `{other}`");
    ApiError::invalid(FieldError::invalid(field, message))
}
