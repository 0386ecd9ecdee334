//! Reading sections.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use data_service::changes::Answer;
use models::{NavVisibility, ObjectId, Section, SectionType, site_path::slug_spellings};
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
    answers::snapshot,
    error_sets::{ListErrors, ReadErrors, SlugErrors},
    section_id::section_id,
};
use crate::{
    domain::navigation::{Audience, SectionNode},
    store::{SectionStore, snapshot::Snapshot},
};

/// The query of reads that have no other parameter.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct DraftsQuery {
    /// `true` includes drafts; it needs a token.
    include_drafts: bool,
}

/// The query of the list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only sections for this type of content, or only links.
    #[param(inline, nullable = false)]
    content_type: Option<SectionType>,
    /// Only sections with this visibility.
    #[param(inline, nullable = false)]
    nav_visibility: Option<NavVisibility>,
    /// Only sections directly below this one, or `null` for those at the top.
    #[param(value_type = Option<String>, nullable = false, pattern = "^([0-9a-fA-F]{24}|null)$")]
    parent_id: Option<Parent>,
    /// `true` includes drafts; it needs a token.
    include_drafts: bool,
}

/// The value of `parent_id` in a query: an id, or `null` for the sections at the top.
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

/// Lists sections.
///
/// A flat list by `sort_order`. It has the public sections; with `include_drafts` and a token, drafts
/// too.
#[utoipa::path(
    get,
    operation_id = "sections_list",
    path = "/sections",
    tag = "sections",
    params(ListQuery, ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The entity tag of a known answer.")),
    responses(
        (status = 200, description = "The sections.", body = Vec<Section>,
            headers(("ETag", description = "The entity tag of the list."))),
        (status = 304, description = "The list has not changed."),
        ListErrors
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn list(
    request: HttpRequest,
    filters: Query<ListQuery>,
    store: Data<SectionStore>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Query(filters) = filters;
    let audience = audience(&request, filters.include_drafts).await?;
    let snapshot = snapshot(&answer, &store).await?;
    let tag = list_tag(&request, audience, &snapshot);
    if let Some(response) = not_modified(&request, &tag) {
        return Ok(response);
    }
    let is_wanted = |section: &&Section| {
        filters.content_type.is_none_or(|wanted| section.content_type == wanted)
            && filters.nav_visibility.is_none_or(|wanted| section.nav_visibility == wanted)
            && filters.parent_id.as_ref().is_none_or(|wanted| section.parent_id == wanted.0)
    };
    let sections: Vec<_> = snapshot.navigation.visible_to(audience).filter(is_wanted).collect();
    tagged_json_response(&request, &tag, &sections)
}

/// Returns the sections as a tree.
///
/// Sections with their `children`, each list by `sort_order`. The tree has the public sections; with
/// `include_drafts` and a token, drafts too.
#[utoipa::path(
    get,
    operation_id = "sections_tree",
    path = "/sections/tree",
    tag = "sections",
    params(DraftsQuery, ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The entity tag of a known answer.")),
    responses(
        (status = 200, description = "The sections at the top.", body = Vec<SectionNode>,
            headers(("ETag", description = "The entity tag of the tree."))),
        (status = 304, description = "The tree has not changed."),
        ListErrors
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn tree(
    request: HttpRequest,
    drafts: Query<DraftsQuery>,
    store: Data<SectionStore>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let audience = audience(&request, drafts.0.include_drafts).await?;
    let snapshot = snapshot(&answer, &store).await?;
    let tag = list_tag(&request, audience, &snapshot);
    if let Some(response) = not_modified(&request, &tag) {
        return Ok(response);
    }
    tagged_json_response(&request, &tag, &snapshot.navigation.tree(audience))
}

/// Returns the section with this slug.
///
/// Percent-encode characters that a URL cannot have; the slug is decoded once. With `include_drafts`
/// and a token, drafts are found too.
#[utoipa::path(
    get,
    operation_id = "sections_by_slug",
    path = "/sections/slug/{slug}",
    tag = "sections",
    params(
        ("slug" = String, Path, pattern = "^[^\\u0000-\\u001F\\u007F]+$", description = "The slug of the section."),
        DraftsQuery,
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The entity tag of a known answer.")
    ),
    responses(
        (status = 200, description = "The section.", body = Section,
            headers(("ETag", description = "The entity tag of the section, for `If-Match`."))),
        (status = 304, description = "The section has not changed."),
        SlugErrors
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn by_slug(
    request: HttpRequest,
    slug: Path<String>,
    drafts: Query<DraftsQuery>,
    store: Data<SectionStore>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let audience = audience(&request, drafts.0.include_drafts).await?;
    let snapshot = snapshot(&answer, &store).await?;
    for slug in slug_spellings(&slug) {
        if let Some(found) = find(&request, &snapshot, audience, |section| section.slug == slug)? {
            return Ok(found);
        }
    }
    Err(ApiError::not_found("Section"))
}

/// Returns the section with this id.
///
/// With `include_drafts` and a token, drafts are found too.
#[utoipa::path(
    get,
    operation_id = "sections_by_id",
    path = "/sections/{id}",
    tag = "sections",
    params(
        ("id" = ObjectId, Path, description = "The id of the section."),
        DraftsQuery,
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The entity tag of a known answer.")
    ),
    responses(
        (status = 200, description = "The section.", body = Section,
            headers(("ETag", description = "The entity tag of the section, for `If-Match`."))),
        (status = 304, description = "The section has not changed."),
        ReadErrors
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn by_id(
    request: HttpRequest,
    id: Path<String>,
    drafts: Query<DraftsQuery>,
    store: Data<SectionStore>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let audience = audience(&request, drafts.0.include_drafts).await?;
    let id = match audience {
        Audience::Public => object_id(&id, "Section")?,
        Audience::Editors => section_id(&id, &store).await?,
    };
    let snapshot = snapshot(&answer, &store).await?;
    let found = find(&request, &snapshot, audience, |section| section.id == id)?;
    found.ok_or_else(|| ApiError::not_found("Section"))
}

fn find(
    request: &HttpRequest,
    snapshot: &Snapshot,
    audience: Audience,
    is_wanted: impl Fn(&Section) -> bool,
) -> Result<Option<HttpResponse>, ApiError> {
    let found = snapshot.navigation.visible_to(audience).find(|section| is_wanted(section));
    let found = found.and_then(|section| Some((snapshot.tag_of(section.id)?, section)));
    found.map(|(tag, section)| tagged_json_response(request, tag, section)).transpose()
}

/// Returns the entity tag of an answer with several sections, which depend on its URL.
fn list_tag(request: &HttpRequest, audience: Audience, snapshot: &Snapshot) -> ETag {
    let state = snapshot.tag().to_string();
    let audience: &[u8] = match audience {
        Audience::Public => b"public",
        Audience::Editors => b"editors",
    };
    let (path, query) = (request.path().as_bytes(), request.query_string().as_bytes());
    ETag::of_parts([state.as_bytes(), audience, path, query])
}

/// Returns the audience of a request. Drafts need a token.
async fn audience(request: &HttpRequest, include_drafts: bool) -> Result<Audience, ApiError> {
    if include_drafts {
        Caller::of(request).await.map(|_| Audience::Editors)
    } else {
        Ok(Audience::Public)
    }
}
