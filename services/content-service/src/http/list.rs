//! Lists.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use data_service::changes::Answer;
use models::{FieldError, ObjectId};
use serde::{Deserialize, Deserializer, de::Error as _};
use service_kit::{
    auth::caller::Caller,
    web::{error::ApiError, extract::Query},
};
use utoipa::IntoParams;

use super::{
    errors::list_error,
    sections::{Sections, unknown},
    tags::Tags,
};
use crate::{
    domain::{
        audience::{Audience, Hidden},
        list::{Filter, Limit, List, Offset},
        pagination::{Position, Start},
    },
    store::{
        content::ContentStore, keys::ContentKeys, kind::Kind, list::ListPage,
        page_memory::PageMemory,
    },
};

/// The query of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The largest number of items of a page.
    #[param(value_type = Limit, required = false)]
    limit: Limit,
    /// The number of items to skip.
    #[param(value_type = Offset, required = false)]
    offset: Option<Offset>,
    /// A `next_cursor` of an earlier answer; not together with `offset`.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<Cursor>,
    /// The id of a section: only its content. Not together with `section`.
    #[param(value_type = ObjectId, required = false)]
    section_id: Option<ObjectId>,
    /// The slug of a section: only its content.
    #[param(nullable = false)]
    section: Option<String>,
    /// `true` for drafts as well. Needs a token.
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

/// `GET /{kind}`: answers with a page of the list, newest first.
pub(super) async fn list<K: Kind>(
    request: HttpRequest,
    query: Query<ListQuery>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    tags: Data<Tags>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Query(query) = query;
    answer.add_keys([ContentKeys::of::<K>().list()]);
    let audience = if query.include_drafts {
        Caller::of(&request).await?;
        Audience::Editors
    } else {
        Audience::Public(sections.public(&**store, &answer).await?)
    };
    let section = match (query.section_id, query.section) {
        (Some(_), Some(_)) => return Err(only_one_of("section", "section_id")),
        (None, Some(slug)) => Some(sections.by_slug(&slug, &audience, &answer).await?),
        (id, None) => id,
    };
    if section.is_some() && audience == Audience::Public(Hidden::AllOfSections) {
        return Err(unknown());
    }
    let start = match (query.cursor, query.offset) {
        (Some(_), Some(_)) => return Err(only_one_of("cursor", "offset")),
        (Some(Cursor(position)), None) => Start::After(position),
        (None, offset) => Start::Offset(offset.unwrap_or_default()),
    };
    let filter = Filter { section, audience };
    let paths = sections.paths(&**store, &answer).await?;
    let (path, query_string) = (request.path(), request.query_string());
    let name = ListName { path, query: query_string, filter: &filter, paths: paths.digest() };
    if let Some(response) = tags.not_modified(&request, &answer, &name) {
        return Ok(response);
    }
    let page = store.list(&filter, &start, query.limit, &paths).await.map_err(list_error)?;
    answer.limit(page.revision);
    let (list, _memory) = into_list(page, &start, query.limit);
    tags.respond(&request, &answer, &name, &list, None)
}

/// Converts a page of a list into its answer, and the memory that it takes.
pub(super) fn into_list<T>(
    page: ListPage<T>,
    start: &Start,
    limit: Limit,
) -> (List<T>, PageMemory) {
    let offset = match start {
        Start::Offset(offset) => offset.get().into(),
        Start::After(_) => 0,
    };
    let list = List {
        items: page.items,
        total: page.total,
        limit: limit.get(),
        offset,
        next_cursor: page.next.as_ref().and_then(Position::to_cursor),
    };
    (list, page.memory)
}

/// The name of a list's tag.
#[derive(Hash)]
struct ListName<'a> {
    path: &'a str,
    query: &'a str,
    filter: &'a Filter,
    paths: Option<u64>,
}

fn only_one_of(field: &str, other: &str) -> ApiError {
    let message = format!("cannot be used together with `{other}`");
    ApiError::invalid(FieldError::invalid(field, message))
}
