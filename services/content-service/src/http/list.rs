//! Lists.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use data_service::changes::Answer;
use models::{FieldError, Moment, ObjectId, Sort};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use service_kit::{
    auth::caller::Caller,
    web::{error::ApiError, extract::Query},
};
use utoipa::IntoParams;

use super::{
    errors::list_error,
    sections::{SectionOrder, Sections, unknown},
    tags::Tags,
    view::{self, View},
};
use crate::{
    domain::{
        audience::{Audience, Hidden},
        list::{Filter, Limit, List, Offset, Period},
        pagination::{Cursor, Position, Start},
    },
    store::{
        authors::USERS_KEY,
        content::ContentStore,
        keys::ContentKeys,
        kind::Kind,
        list::{Form, ListPage, PageRequest},
        page_memory::PageMemory,
    },
};

/// The member and the parameter of items that the site shows first.
pub(super) const FEATURED: &str = "is_featured";

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
    /// A `next_cursor` or `previous_cursor` of an earlier answer with the same `sort`; not together
    /// with `offset`.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<CursorText>,
    /// The field that the list is ordered by, with `-` before it if the highest value comes first.
    /// Unless it is given, it is the `sort_by` of the section, else `-createdDate`. Items without a value stand where the lowest value would.
    #[param(value_type = Sort, required = false)]
    sort: Option<Sort>,
    /// The id of a section: only its content. Not together with `section`.
    #[param(value_type = ObjectId, required = false)]
    section_id: Option<ObjectId>,
    /// The slug of a section: only its content.
    #[param(nullable = false)]
    section: Option<String>,
    /// Only items that were created at this moment or later. A date without a time is its beginning, in
    /// UTC.
    #[param(value_type = Moment, required = false)]
    created_after: Option<Moment>,
    /// Only items that were created before this moment.
    #[param(value_type = Moment, required = false)]
    created_before: Option<Moment>,
    /// Only items with this tag, whatever its capital letters.
    #[param(value_type = String, required = false, pattern = r"\S")]
    tag: Option<WantedTag>,
    /// `true` for items that the site shows first, `false` for the others.
    // Described for the kinds that have it.
    #[param(ignore)]
    is_featured: Option<bool>,
    /// `card` for items without `content`, with `excerpt` and `image_url` in its place; `full` for all
    /// members. Stories and pages are full unless it is given, and projects are without `content`.
    #[param(inline, required = false, nullable = false)]
    view: Option<View>,
    /// The names of the members that the items have, separated by commas.
    // Described by kind.
    #[param(ignore)]
    fields: Option<String>,
    /// `true` for drafts as well. Needs a token.
    include_drafts: bool,
}

/// A tag that is asked for.
#[derive(Debug)]
struct WantedTag(String);

impl<'de> Deserialize<'de> for WantedTag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tag = String::deserialize(deserializer)?;
        match tag.trim() {
            "" => Err(D::Error::custom("must be a tag; `GET /tags` lists them")),
            _ => Ok(Self(tag)),
        }
    }
}

/// A cursor in a query.
#[derive(Debug)]
pub(super) struct CursorText(pub(super) Cursor);

impl<'de> Deserialize<'de> for CursorText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let message = "must be a `next_cursor` or `previous_cursor` of an earlier answer";
        let cursor = String::deserialize(deserializer)?;
        Cursor::from_text(&cursor).map(Self).map_err(|_| D::Error::custom(message))
    }
}

/// `GET /{kind}`: answers with a page of the list.
pub(super) async fn list<K: Kind>(
    request: HttpRequest,
    query: Query<ListQuery>,
    store: Data<ContentStore<K>>,
    sections: Data<Sections>,
    tags: Data<Tags>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Query(query) = query;
    answer.add_keys([ContentKeys::of::<K>().list(), USERS_KEY.to_owned()]);
    if query.include_drafts {
        Caller::of(&request).await?;
    }
    let audience = sections.audience(&**store, &answer, query.include_drafts).await?;
    let section = match (query.section_id, query.section) {
        (Some(_), Some(_)) => return Err(only_one_of("section", "section_id")),
        (None, Some(slug)) => Some(sections.by_slug(&slug, &audience, &answer).await?),
        (Some(id), None) => Some(SectionOrder { id, sort_by: sections.sort_by(id, &answer).await }),
        (None, None) => None,
    };
    let sort_by = section.and_then(|section| section.sort_by);
    let section = section.map(|section| section.id);
    if section.is_some() && audience == Audience::Public(Hidden::AllOfSections) {
        return Err(unknown());
    }
    let form = view::form::<K>(query.view, query.fields.as_deref())?;
    let sort = query.sort.or(sort_by).unwrap_or_default();
    let start = match (query.cursor, query.offset) {
        (Some(_), Some(_)) => return Err(only_one_of("cursor", "offset")),
        (Some(CursorText(cursor)), None) => start_at(cursor, sort)?,
        (None, offset) => Start::Offset(offset.unwrap_or_default()),
    };
    let created = Period { from: query.created_after, until: query.created_before };
    let is_featured = query.is_featured;
    if is_featured.is_some() && !view::has_member::<K>(FEATURED) {
        let message = format!("{} are not featured", K::TYPE.collection());
        return Err(ApiError::invalid(FieldError::unknown(FEATURED, message)));
    }
    let tag = match &query.tag {
        Some(WantedTag(tag)) => {
            let found = store.spellings(tag).await.map_err(list_error)?;
            answer.limit(found.revision);
            Some(found.value)
        }
        None => None,
    };
    let filter = Filter { created, tag, is_featured, ..Filter::new(section, audience) };
    let paths = sections.paths(&**store, &answer).await?;
    let (path, query_text) = (request.path(), request.query_string());
    let paths_digest = paths.digest();
    let name = ListName { path, query: query_text, filter: &filter, sort, paths: paths_digest };
    if let Some(response) = tags.not_modified(&request, &answer, &name) {
        return Ok(response);
    }
    let wanted = PageRequest { sort, start: &start, limit: query.limit, paths: &paths };
    let read = ListRead { store: &store, filter: &filter, wanted, answer: &answer };
    match form {
        Some(form) => {
            let (list, _memory) = read.list(&form).await?;
            tags.respond(&request, &answer, &name, &list, None)
        }
        None => {
            let (list, _memory) = read.list(&Form::usual()).await?;
            tags.respond(&request, &answer, &name, &list, None)
        }
    }
}

/// A page of a list that is to be read.
struct ListRead<'a, K: Kind> {
    store: &'a ContentStore<K>,
    filter: &'a Filter,
    wanted: PageRequest<'a>,
    answer: &'a Answer,
}

impl<K: Kind> ListRead<'_, K> {
    async fn list<T: Serialize + Send>(
        &self,
        form: &Form<K, T>,
    ) -> Result<(List<T>, PageMemory), ApiError> {
        let page = self.store.list(self.filter, self.wanted, form).await.map_err(list_error)?;
        self.answer.limit(page.revision);
        Ok(into_list(page, self.wanted))
    }
}

/// Returns the start of the page that a cursor leads to, if the cursor is of a list in this order.
pub(super) fn start_at(cursor: Cursor, sort: Sort) -> Result<Start, ApiError> {
    if cursor.sort == sort {
        return Ok(cursor.into_start());
    }
    let message = format!(
        "is of a list with `sort={}`, and this one has `sort={}`; send the cursor with its own order, or \
         leave it out to begin",
        cursor.sort.as_str(),
        sort.as_str()
    );
    Err(ApiError::invalid(FieldError::invalid("cursor", message)))
}

/// Converts a page of a list into its answer, and the memory that it takes.
pub(super) fn into_list<T>(page: ListPage<T>, wanted: PageRequest<'_>) -> (List<T>, PageMemory) {
    let PageRequest { sort, start, limit, .. } = wanted;
    let offset = match start {
        Start::Offset(offset) => offset.get().into(),
        Start::After(_) | Start::Before(_) => 0,
    };
    let cursor = |position: Option<Position>, is_backward| {
        Cursor { sort, is_backward, position: position? }.to_text()
    };
    let list = List {
        items: page.items,
        total: page.total,
        limit: limit.get(),
        offset,
        next_cursor: cursor(page.next, false),
        previous_cursor: cursor(page.previous, true),
    };
    (list, page.memory)
}

/// The name of a list's tag.
#[derive(Hash)]
struct ListName<'a> {
    path: &'a str,
    query: &'a str,
    filter: &'a Filter,
    /// That of the section, unless the query has one.
    sort: Sort,
    paths: Option<u64>,
}

fn only_one_of(field: &str, other: &str) -> ApiError {
    let message = format!("cannot be used together with `{other}`");
    ApiError::invalid(FieldError::invalid(field, message))
}
