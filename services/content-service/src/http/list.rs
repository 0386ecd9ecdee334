//! Lists.

use actix_web::{
    HttpRequest,
    web::{Data, Json},
};
use data_service::database_error;
use models::{FieldError, Limit, List, ObjectId, Offset};
use serde::{Deserialize, Deserializer, de::Error as _};
use service_kit::{ApiError, auth::Authenticated, extract::Query};

use super::SectionSlugs;
use crate::{
    domain::{Position, Start},
    store::{ContentStore, Filter, Kind},
};

/// What a list can be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Parameters {
    limit: Limit,
    offset: Option<Offset>,
    cursor: Option<Cursor>,
    section_id: Option<ObjectId>,
    section: Option<String>,
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
    slugs: Data<SectionSlugs>,
) -> Result<Json<List<K::Card>>, ApiError> {
    let Query(parameters) = parameters;
    if parameters.include_drafts {
        Authenticated::check(&request)?;
    }
    let section = match (parameters.section_id, parameters.section) {
        (Some(_), Some(_)) => return Err(only_one_of("section", "section_id")),
        (None, Some(slug)) => Some(slugs.id(&slug).await?),
        (id, None) => id,
    };
    let start = match (parameters.cursor, parameters.offset) {
        (Some(_), Some(_)) => return Err(only_one_of("cursor", "offset")),
        (Some(Cursor(position)), None) => Start::After(position),
        (None, offset) => Start::Offset(offset.unwrap_or_default()),
    };
    let filter = Filter { section, include_drafts: parameters.include_drafts };
    let limit = parameters.limit;
    let listed = store.list(&filter, &start, limit).await.map_err(database_error)?;
    let offset = match start {
        Start::Offset(offset) => offset.get().into(),
        Start::After(_) => 0,
    };
    Ok(Json(List {
        items: listed.items,
        total: listed.total,
        limit: limit.get(),
        offset,
        next_cursor: listed.next.as_ref().and_then(Position::to_cursor),
    }))
}

fn only_one_of(field: &str, other: &str) -> ApiError {
    ApiError::invalid(FieldError {
        field: field.to_owned(),
        code: "invalid".to_owned(),
        message: format!("cannot be used together with `{other}`"),
    })
}
