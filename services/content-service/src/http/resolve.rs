//! The content at a path of the site, in one request.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use data_service::{changes::Answer, database_error};
use models::{
    DisplayType, FieldError, PathResolution, ResolvedPath, Sort,
    site_path::{join, slug_spellings},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use service_kit::{
    auth::caller::Caller,
    web::{conditional::json_response, error::ApiError, extract::Query},
};
use utoipa::IntoParams;

use super::{
    error_sets::AddressErrors,
    errors::list_error,
    list::{CursorText, start_at},
    relocation::{Moved, Relocation},
    resolution::{Resolution, Resolved},
    sections::{Sections, audience, paths},
    tags::Tags,
};
use crate::{
    domain::{
        audience::{Audience, Directory},
        item_paths::ItemPaths,
        list::{Filter, Limit, Neighbour, Offset},
        pagination::{Cursor, Start},
        redirect::PATH_MAX_LENGTH,
    },
    kinds::{AnyItem, Collections, ContentCollection, ListedItem},
    store::{authors::USERS_KEY, list::PageRequest, redirects::RedirectStore},
};

/// The query of a path.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ResolveQuery {
    /// A path of the site, such as `/blog/first-light`, percent-encoded as in a browser's address or
    /// plain.
    #[param(pattern = r"^/[\s\S]*$", max_length = 2048)]
    path: String,
    /// The largest number of items of a page.
    #[serde(default)]
    #[param(value_type = Limit, required = false)]
    limit: Limit,
    /// A `next_cursor` or `previous_cursor` of the content of an earlier answer: for another page of the
    /// same section.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<CursorText>,
    /// `true` for sections and items that are not published as well. Needs a token.
    #[serde(default)]
    #[param(required = false)]
    include_drafts: bool,
}

/// The content at a path of the site.
///
/// One request for everything that a page of the site shows: the section with the longest path that
/// `path` begins with, the sections above it, and a page of its content; or, if the rest of `path` is the
/// slug of an item of the section, the item and those beside it in the list. The old path of something that was moved
/// is answered with the new one, and so is one with a redirect. `kind` tells these answers apart. With `include_drafts` and a token,
/// sections and items that are not published are found as well.
#[utoipa::path(
    get,
    path = "/resolve",
    tag = "content",
    params(
        ResolveQuery,
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The state that the caller has.")
    ),
    responses(
        (status = 200, description = "The section, the item, or its new path.", body = Resolution,
            headers(("ETag", description = "The state of the answer."))),
        (status = 304, description = "The answer has not changed."),
        AddressErrors
    ),
    security((), ("bearer" = []))
)]
pub(super) async fn resolve(
    request: HttpRequest,
    query: Query<ResolveQuery>,
    sections: Data<Sections>,
    tags: Data<Tags>,
    collections: Data<Collections>,
    redirects: Data<RedirectStore>,
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Query(ResolveQuery { path, limit, cursor, include_drafts }) = query;
    if include_drafts {
        Caller::of(&request).await?;
    }
    let invalid = |message: String| ApiError::invalid(FieldError::invalid("path", message));
    if !path.starts_with('/') {
        return Err(invalid("must begin with `/`".to_owned()));
    }
    if path.len() > PATH_MAX_LENGTH {
        return Err(invalid(format!("must have at most {PATH_MAX_LENGTH} bytes")));
    }
    let lookup = Lookup {
        request: &request,
        answer: &answer,
        path: &path,
        limit,
        cursor: cursor.map(|CursorText(cursor)| cursor),
        include_drafts,
        tags: &tags,
        collections: &collections,
        redirects: &redirects,
    };
    let latest = sections.latest(&answer).await?;
    if let Some(response) = lookup.answer(&latest).await? {
        return Ok(response);
    }
    // A section may have been created, published or moved a moment ago.
    let newest = sections.newest(&answer).await?;
    if newest.entries() != latest.entries()
        && let Some(response) = lookup.answer(&newest).await?
    {
        return Ok(response);
    }
    Err(ApiError::not_found("Path"))
}

/// A path to resolve, and the request for it.
struct Lookup<'a> {
    request: &'a HttpRequest,
    answer: &'a Answer,
    path: &'a str,
    limit: Limit,
    cursor: Option<Cursor>,
    include_drafts: bool,
    tags: &'a Tags,
    collections: &'a Collections,
    redirects: &'a RedirectStore,
}

impl Lookup<'_> {
    /// Answers with what is at the path, or with its new path. Returns `None` if there is neither.
    ///
    /// A query matters if a slug or a redirect has it.
    async fn answer(&self, sections: &Arc<Directory>) -> Result<Option<HttpResponse>, ApiError> {
        if let Some(response) = self.content(sections, self.path).await? {
            return Ok(Some(response));
        }
        let Self { answer, collections, redirects, include_drafts, .. } = *self;
        let relocation = Relocation { answer, sections, collections, redirects, include_drafts };
        let moved = match self.path.split_once('?') {
            None => relocation.of(self.path).await?,
            Some((path, _)) => match relocation.of_query(self.path).await? {
                None => match self.content(sections, path).await? {
                    None => match relocation.of(path).await? {
                        Some(moved) if moved.is_found => Some(moved),
                        // It may be a part of the slug of something that was moved.
                        moved => relocation.of(self.path).await?.or(moved),
                    },
                    response => return Ok(response),
                },
                moved => moved,
            },
        };
        let Some(Moved { to, status, .. }) = moved else { return Ok(None) };
        json_response(self.request, &Resolution::Moved { moved_to: to, status }).map(Some)
    }

    /// Answers with the section or the item at a path.
    async fn content(
        &self,
        sections: &Arc<Directory>,
        path: &str,
    ) -> Result<Option<HttpResponse>, ApiError> {
        let found = match sections.resolve(path, self.include_drafts) {
            Some(PathResolution::Found(found)) => found,
            Some(PathResolution::Moved { .. }) | None => return Ok(None),
        };
        let found = &*found;
        let collection = self.collections.of(found.section.content_type);
        let Self { request, answer, tags, limit, include_drafts, .. } = *self;
        let audience = audience(sections, collection, answer, include_drafts).await?;
        let paths = paths(Some(sections.clone()), collection, answer).await?;
        let cursor = self.cursor.as_ref();
        let context = ResolveContext { request, answer, tags, found, limit, cursor, paths };
        context.answer(collection, audience).await
    }
}

/// A section at a path, and the request for it.
struct ResolveContext<'a> {
    request: &'a HttpRequest,
    answer: &'a Answer,
    tags: &'a Tags,
    found: &'a ResolvedPath,
    limit: Limit,
    cursor: Option<&'a Cursor>,
    paths: ItemPaths,
}

/// The name of a resolution's tag.
#[derive(Hash)]
struct ResolutionName<'a> {
    found: &'a ResolvedPath,
    query: &'a str,
    audience: Audience,
    paths: Option<u64>,
}

/// The target of a path.
enum ResolveTarget {
    /// The section.
    Section,
    /// An item, and its own path.
    Item(AnyItem, String),
    /// Nothing.
    Nothing,
}

impl ResolveContext<'_> {
    /// Answers with the section or the item, or returns `None` if nothing is at the path.
    async fn answer(
        &self,
        collection: &dyn ContentCollection,
        audience: Audience,
    ) -> Result<Option<HttpResponse>, ApiError> {
        let (query, paths) = (self.request.query_string(), self.paths.digest());
        let audience_then = audience.clone();
        let name = ResolutionName { found: self.found, query, audience: audience_then, paths };
        if let Some(response) = self.tags.not_modified(self.request, self.answer, &name) {
            return Ok(Some(response));
        }
        let target = self.target(collection, &audience).await?;
        let filter = Filter::new(Some(self.found.section.id), audience);
        let resolution = match target {
            ResolveTarget::Nothing => return Ok(None),
            ResolveTarget::Item(item, path) => {
                if self.cursor.is_some() {
                    let message =
                        "is for the content of a section, and the path is that of an item";
                    return Err(ApiError::invalid(FieldError::invalid("cursor", message)));
                }
                let [previous, next] = self.neighbours(collection, &filter, &item).await?;
                let resolved = self.resolved(path, item.json);
                Resolution::Item(Resolved {
                    previous: Some(previous),
                    next: Some(next),
                    ..resolved
                })
            }
            ResolveTarget::Section => {
                let sort = self.sort();
                let start = match self.cursor {
                    None => Start::Offset(Offset::default()),
                    Some(cursor) => start_at(cursor.clone(), sort)?,
                };
                let request =
                    PageRequest { sort, start: &start, limit: self.limit, paths: &self.paths };
                let page = collection.page(&filter, request).await.map_err(list_error)?;
                self.answer.add_keys([collection.kind().keys().list(), USERS_KEY.to_owned()]);
                self.answer.limit(page.revision);
                Resolution::Section(self.resolved(self.found.path.clone(), page.json))
            }
        };
        self.tags.respond(self.request, self.answer, &name, &resolution, None).map(Some)
    }

    /// Returns the order of the section's content.
    fn sort(&self) -> Sort {
        self.found.section.sort_by.unwrap_or_default()
    }

    /// Returns the items before and after an item in the list of its section. A section that shows one item
    /// alone has no list.
    async fn neighbours(
        &self,
        collection: &dyn ContentCollection,
        filter: &Filter,
        item: &AnyItem,
    ) -> Result<[Option<Neighbour>; 2], ApiError> {
        let ResolvedPath { section, path, .. } = self.found;
        if section.display_type == DisplayType::StaticPage {
            return Ok([None, None]);
        }
        let (sort, keys) = (self.sort(), collection.kind().keys());
        let read = collection.neighbours(filter, sort, &item.id, &self.paths).await;
        let read = read.map_err(list_error)?;
        self.answer.add_keys([keys.order_in_sections(sort.field())]);
        self.answer.limit(read.revision);
        let is_editor = filter.audience == Audience::Editors;
        Ok(read.value.map(|items| {
            items.into_iter().find_map(|ListedItem { id, title, slug, path: own_path }| {
                self.answer.add_keys([keys.item(&id)]);
                let draft_path = || (is_editor && !slug.is_empty()).then(|| join(path, &slug));
                Some(Neighbour { title, path: own_path.or_else(draft_path)? })
            })
        }))
    }

    async fn target(
        &self,
        collection: &dyn ContentCollection,
        audience: &Audience,
    ) -> Result<ResolveTarget, ApiError> {
        let ResolvedPath { section, path, rest, .. } = self.found;
        let keys = collection.kind().keys();
        match rest.as_slice() {
            [] if section.display_type == DisplayType::StaticPage => {
                let item = collection.first_in(section.id, audience, &self.paths).await;
                let item = item.map_err(database_error)?;
                // Any other may be the first one next.
                self.answer.add_keys([keys.list()]);
                self.depends_on(item.as_ref());
                // A section without a page is answered as an empty section.
                Ok(item.map_or(ResolveTarget::Section, |item| {
                    let own_path = item.path.clone().unwrap_or_else(|| path.clone());
                    ResolveTarget::Item(item, own_path)
                }))
            }
            [] => Ok(ResolveTarget::Section),
            rest => {
                let slugs = slug_spellings(&rest.join("/"));
                let item = collection.by_slug(Some(section.id), &slugs, audience, &self.paths);
                let item = item.await.map_err(database_error)?;
                self.answer.add_keys(keys.slug_lookup(&slugs));
                self.answer.add_keys(item.iter().map(|item| keys.item(&item.id)));
                self.depends_on(item.as_ref());
                Ok(item.map_or(ResolveTarget::Nothing, |item| {
                    let own_path = item.path.clone();
                    let own_path = own_path.unwrap_or_else(|| join(path, &rest.join("/")));
                    ResolveTarget::Item(item, own_path)
                }))
            }
        }
    }

    /// Records that the answer has the author of an item.
    fn depends_on(&self, item: Option<&AnyItem>) {
        if let Some(item) = item {
            self.answer.add_keys([USERS_KEY.to_owned()]);
            self.answer.limit(item.revision);
        }
    }

    fn resolved(&self, canonical_path: String, content: Box<RawValue>) -> Resolved {
        let ResolvedPath { section, breadcrumbs, .. } = self.found.clone();
        let display_type = section.display_type;
        let (previous, next) = (None, None);
        Resolved { section, breadcrumbs, canonical_path, display_type, content, previous, next }
    }
}
