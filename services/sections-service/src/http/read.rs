//! Reading sections.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use data_service::database_error;
use models::{
    ContentType, NavVisibility, ObjectId, Section, SectionNode, site_path::slug_spellings,
};
use serde::{Deserialize, Deserializer, de::Error as _};
use service_kit::{
    auth::caller::Caller,
    web::{
        conditional::{ETag, not_modified, tagged_json_response},
        error::ApiError,
        extract::{Query, object_id},
    },
};
use utoipa::IntoParams;

use super::{
    openapi::{ListErrors, ReadErrors, SlugErrors},
    unreadable,
};
use crate::{
    domain::Audience,
    store::{SectionStore, Snapshot},
};

/// What every read accepts: drafts are for callers with a token.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Drafts {
    /// Whether to answer drafts too; true needs a token.
    include_drafts: bool,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Filters {
    /// Sections for this kind of content alone.
    #[param(inline, nullable = false)]
    content_type: Option<ContentType>,
    /// Sections that the navigation shows there alone.
    #[param(inline, nullable = false)]
    nav_visibility: Option<NavVisibility>,
    /// Sections directly below this one, or at the top.
    #[param(value_type = Option<String>, nullable = false, pattern = "^([0-9a-fA-F]{24}|null)$")]
    parent_id: Option<Parent>,
    /// Whether to answer drafts too; true needs a token.
    include_drafts: bool,
}

/// `parent_id` of a query: an id, or `null` for the sections at the top.
#[derive(Debug, PartialEq)]
struct Parent(Option<ObjectId>);

impl<'de> Deserialize<'de> for Parent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "null" => Ok(Self(None)),
            id => id.parse().map(|id| Self(Some(id))).map_err(|_| {
                D::Error::custom("must be 24 hexadecimal digits, or `null` for the top")
            }),
        }
    }
}

/// The sections in order.
///
/// A flat list by `sort_order`. Without a token it has what the public sees; with `include_drafts`
/// and a token also what is not published.
#[utoipa::path(
    get,
    operation_id = "sections_list",
    path = "/sections",
    tag = "sections",
    params(Filters, ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "A tag that is known.")),
    responses(
        (status = 200, description = "The sections.", body = Vec<Section>,
            headers(("ETag", description = "The state of the list."))),
        (status = 304, description = "The list is as it was."),
        ListErrors
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn list(
    request: HttpRequest,
    filters: Query<Filters>,
    store: Data<SectionStore>,
) -> Result<HttpResponse, ApiError> {
    let Query(filters) = filters;
    let audience = audience(&request, filters.include_drafts).await?;
    let snapshot = store.all().await.map_err(database_error)?;
    let tag = list_tag(&request, audience, &snapshot);
    if let Some(response) = not_modified(&request, &tag) {
        return Ok(response);
    }
    let is_wanted = |section: &&Section| {
        filters.content_type.is_none_or(|wanted| section.content_type == wanted)
            && filters.nav_visibility.is_none_or(|wanted| section.nav_visibility == wanted)
            && filters.parent_id.as_ref().is_none_or(|wanted| section.parent_id == wanted.0)
    };
    let sections: Vec<_> = snapshot.sections.visible_to(audience).filter(is_wanted).collect();
    tagged_json_response(&request, &tag, &sections)
}

/// The sections in order, each with those below it.
///
/// What a navigation shows, nested. Without a token it has what the public sees; with
/// `include_drafts` and a token also what is not published.
#[utoipa::path(
    get,
    operation_id = "sections_tree",
    path = "/sections/tree",
    tag = "sections",
    params(Drafts, ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "A tag that is known.")),
    responses(
        (status = 200, description = "The sections at the top.", body = Vec<SectionNode>,
            headers(("ETag", description = "The state of the tree."))),
        (status = 304, description = "The tree is as it was."),
        ListErrors
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn tree(
    request: HttpRequest,
    drafts: Query<Drafts>,
    store: Data<SectionStore>,
) -> Result<HttpResponse, ApiError> {
    let audience = audience(&request, drafts.0.include_drafts).await?;
    let snapshot = store.all().await.map_err(database_error)?;
    let tag = list_tag(&request, audience, &snapshot);
    if let Some(response) = not_modified(&request, &tag) {
        return Ok(response);
    }
    tagged_json_response(&request, &tag, &snapshot.sections.tree(audience))
}

/// The section with this slug.
///
/// A slug with characters that an address cannot have is percent-encoded; it is decoded once. With
/// `include_drafts` and a token, sections that are not published are found too.
#[utoipa::path(
    get,
    operation_id = "sections_by_slug",
    path = "/sections/slug/{slug}",
    tag = "sections",
    params(
        ("slug" = String, Path, pattern = "^[^\\u0000-\\u001F\\u007F]+$", description = "Its slug."),
        Drafts,
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "A tag that is known.")
    ),
    responses(
        (status = 200, description = "The section.", body = Section,
            headers(("ETag", description = "Its state, for `If-Match`."))),
        (status = 304, description = "It is as it was."),
        SlugErrors
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn by_slug(
    request: HttpRequest,
    slug: Path<String>,
    drafts: Query<Drafts>,
    store: Data<SectionStore>,
) -> Result<HttpResponse, ApiError> {
    let audience = audience(&request, drafts.0.include_drafts).await?;
    let snapshot = store.all().await.map_err(database_error)?;
    for slug in slug_spellings(&slug) {
        if let Some(found) = find(&request, &snapshot, audience, |section| section.slug == slug)? {
            return Ok(found);
        }
    }
    Err(ApiError::not_found("Section"))
}

/// The section with this id.
///
/// With `include_drafts` and a token, sections that are not published are found too.
#[utoipa::path(
    get,
    operation_id = "sections_by_id",
    path = "/sections/{id}",
    tag = "sections",
    params(
        ("id" = ObjectId, Path, description = "Its id."),
        Drafts,
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "A tag that is known.")
    ),
    responses(
        (status = 200, description = "The section.", body = Section,
            headers(("ETag", description = "Its state, for `If-Match`."))),
        (status = 304, description = "It is as it was."),
        ReadErrors
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn by_id(
    request: HttpRequest,
    id: Path<String>,
    drafts: Query<Drafts>,
    store: Data<SectionStore>,
) -> Result<HttpResponse, ApiError> {
    let id = object_id(&id, "Section")?;
    let audience = audience(&request, drafts.0.include_drafts).await?;
    let snapshot = store.all().await.map_err(database_error)?;
    match find(&request, &snapshot, audience, |section| section.id == id)? {
        Some(response) => Ok(response),
        // Whether it is public cannot be read either.
        None if audience == Audience::Editors && snapshot.is_unreadable(id) => Err(unreadable()),
        None => Err(ApiError::not_found("Section")),
    }
}

fn find(
    request: &HttpRequest,
    snapshot: &Snapshot,
    audience: Audience,
    is_wanted: impl Fn(&Section) -> bool,
) -> Result<Option<HttpResponse>, ApiError> {
    let found = snapshot.sections.visible_to(audience).find(|section| is_wanted(section));
    let found = found.and_then(|section| Some((snapshot.tag_of(section.id)?, section)));
    found.map(|(tag, section)| tagged_json_response(request, tag, section)).transpose()
}

/// The state of an answer made of many sections. Its address says which of them it has.
fn list_tag(request: &HttpRequest, audience: Audience, snapshot: &Snapshot) -> ETag {
    let state = snapshot.tag().to_string();
    let audience: &[u8] = match audience {
        Audience::Public => b"public",
        Audience::Editors => b"editors",
    };
    let (path, query) = (request.path().as_bytes(), request.query_string().as_bytes());
    ETag::of_parts([state.as_bytes(), audience, path, query])
}

/// Drafts are shown to callers who ask for them and have a token.
async fn audience(request: &HttpRequest, include_drafts: bool) -> Result<Audience, ApiError> {
    if include_drafts {
        Caller::of(request).await.map(|_| Audience::Editors)
    } else {
        Ok(Audience::Public)
    }
}
