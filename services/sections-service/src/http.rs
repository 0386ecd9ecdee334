//! The routes of sections-service.

use actix_web::{
    HttpRequest,
    web::{Data, Json, Path, ServiceConfig},
};
use data_service::database_error;
use models::{ContentType, NavVisibility, ObjectId, Section, SectionEntry, SectionNode};
use serde::{Deserialize, Deserializer, de::Error as _};
use service_kit::{
    ApiError,
    auth::Authenticated,
    extract::{Query, object_id},
    server::read,
};

use crate::{
    domain::{Audience, Sections},
    store::SectionStore,
};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(read("/sections", list))
        .service(read("/sections/tree", tree))
        .service(read("/sections/slug/{slug}", by_slug))
        .service(read("/sections/{id}", by_id))
        // For the other services; the gateway does not know this route.
        .service(read("/internal/sections", entries));
}

/// What every read accepts: drafts are for callers with a token.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Drafts {
    include_drafts: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Filters {
    content_type: Option<ContentType>,
    nav_visibility: Option<NavVisibility>,
    parent_id: Option<Parent>,
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

async fn list(
    request: HttpRequest,
    filters: Query<Filters>,
    store: Data<SectionStore>,
) -> Result<Json<Vec<Section>>, ApiError> {
    let Query(filters) = filters;
    let audience = audience(&request, filters.include_drafts)?;
    let sections = store.all().await.map_err(database_error)?;
    let is_wanted = |section: &&Section| {
        filters.content_type.is_none_or(|wanted| section.content_type == wanted)
            && filters.nav_visibility.is_none_or(|wanted| section.nav_visibility == wanted)
            && filters.parent_id.as_ref().is_none_or(|wanted| section.parent_id == wanted.0)
    };
    let visible = sections.visible_to(audience).into_iter();
    Ok(Json(visible.filter(is_wanted).cloned().collect()))
}

async fn tree(
    request: HttpRequest,
    drafts: Query<Drafts>,
    store: Data<SectionStore>,
) -> Result<Json<Vec<SectionNode>>, ApiError> {
    let audience = audience(&request, drafts.0.include_drafts)?;
    Ok(Json(store.all().await.map_err(database_error)?.tree(audience)))
}

async fn by_slug(
    request: HttpRequest,
    slug: Path<String>,
    drafts: Query<Drafts>,
    store: Data<SectionStore>,
) -> Result<Json<Section>, ApiError> {
    let audience = audience(&request, drafts.0.include_drafts)?;
    let sections = store.all().await.map_err(database_error)?;
    find(&sections, audience, |section| section.slug == *slug)
}

async fn by_id(
    request: HttpRequest,
    id: Path<String>,
    drafts: Query<Drafts>,
    store: Data<SectionStore>,
) -> Result<Json<Section>, ApiError> {
    let id = object_id(&id, "Section")?;
    let audience = audience(&request, drafts.0.include_drafts)?;
    let sections = store.all().await.map_err(database_error)?;
    find(&sections, audience, |section| section.id == id)
}

async fn entries(store: Data<SectionStore>) -> Result<Json<Vec<SectionEntry>>, ApiError> {
    let sections = store.all().await.map_err(database_error)?;
    let entry = |section: &Section| SectionEntry {
        id: section.id,
        slug: section.slug.clone(),
        content_type: section.content_type,
    };
    Ok(Json(sections.all().iter().map(entry).collect()))
}

fn find(
    sections: &Sections,
    audience: Audience,
    is_wanted: impl Fn(&Section) -> bool,
) -> Result<Json<Section>, ApiError> {
    let found = sections.visible_to(audience).into_iter().find(|section| is_wanted(section));
    found.cloned().map(Json).ok_or_else(|| ApiError::not_found("Section"))
}

/// Drafts are shown to callers who ask for them and have a token.
fn audience(request: &HttpRequest, include_drafts: bool) -> Result<Audience, ApiError> {
    if include_drafts {
        Authenticated::check(request).map(|_| Audience::Editors)
    } else {
        Ok(Audience::Public)
    }
}
