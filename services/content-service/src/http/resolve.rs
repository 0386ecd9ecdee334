//! The content at a path of the site, in one request.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use data_service::{changes::Answer, database_error};
use models::{
    DisplayType, FieldError, PathResolution, ResolvedPath,
    site_path::{canonical, join, slug_spellings},
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
    resolution::{Resolution, Resolved},
    sections::{Sections, audience, paths},
    tags::Tags,
};
use crate::{
    domain::{
        audience::{Audience, Directory},
        item_paths::ItemPaths,
        list::{Filter, Limit},
    },
    kinds::{AnyItem, Collections, ContentCollection},
    store::authors::USERS_KEY,
};

/// The largest length of a path in bytes: longer ones do not work in all browsers.
const PATH_MAX_LENGTH: usize = 2048;

/// The largest number of sections at the start of a path that may be gone.
const MAX_GONE_SECTIONS: usize = 8;

/// The query of a path.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ResolveQuery {
    /// A path of the site, such as `/blog/first-light`, percent-encoded as in a browser's address or
    /// plain.
    #[param(pattern = r"^/[\s\S]*$", max_length = 2048)]
    path: String,
    /// The largest number of items of the first page.
    #[serde(default)]
    #[param(value_type = Limit, required = false)]
    limit: Limit,
    /// `true` for sections and items that are not published as well. Needs a token.
    #[serde(default)]
    #[param(required = false)]
    include_drafts: bool,
}

/// The content at a path of the site.
///
/// One request for everything that a page of the site shows: the section with the longest path that
/// `path` begins with, the sections above it, and the first page of its content; or, if the rest of
/// `path` is the slug of an item of the section, the item. The old path of something that was moved
/// is answered with the new one. `kind` tells these answers apart. With `include_drafts` and a token,
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
    answer: Answer,
) -> Result<HttpResponse, ApiError> {
    let Query(ResolveQuery { path, limit, include_drafts }) = query;
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
        include_drafts,
        tags: &tags,
        collections: &collections,
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
    include_drafts: bool,
    tags: &'a Tags,
    collections: &'a Collections,
}

impl Lookup<'_> {
    /// Answers with what is at the path, or with its new path. Returns `None` if there is neither.
    async fn answer(&self, sections: &Arc<Directory>) -> Result<Option<HttpResponse>, ApiError> {
        let found = match sections.resolve(self.path, self.include_drafts) {
            Some(PathResolution::Moved { moved_to }) => return self.moved(moved_to).map(Some),
            Some(PathResolution::Found(found)) => Some(found),
            None => None,
        };
        if let Some(found) = &found
            && let Some(collection) = self.collections.of_section(&found.section)
        {
            let Self { request, answer, tags, limit, include_drafts, .. } = *self;
            let audience = audience(sections, collection, answer, include_drafts).await?;
            let paths = paths(Some(sections.clone()), collection, answer).await?;
            let context = ResolveContext { request, answer, tags, found, limit, paths };
            if let Some(response) = context.answer(collection, audience).await? {
                return Ok(Some(response));
            }
        }
        let Self { answer, collections, include_drafts, .. } = *self;
        let relocation = Relocation { answer, sections, collections, include_drafts };
        let moved_to = match &found {
            Some(found) => relocation.below(found).await?,
            None => {
                let segments: Vec<_> = self.path.trim_end_matches('/').split('/').skip(2).collect();
                relocation.of_any_kind(&slugs_at_end(&segments)).await?
            }
        };
        let moved_to = moved_to.filter(|moved_to| canonical(self.path) != *moved_to);
        moved_to.map(|moved_to| self.moved(moved_to)).transpose()
    }

    fn moved(&self, moved_to: String) -> Result<HttpResponse, ApiError> {
        json_response(self.request, &Resolution::Moved { moved_to })
    }
}

/// The search for the new path of an item that was moved.
struct Relocation<'a> {
    answer: &'a Answer,
    sections: &'a Arc<Directory>,
    collections: &'a Collections,
    include_drafts: bool,
}

impl Relocation<'_> {
    /// Returns the present path of an item that once was below this section.
    async fn below(&self, found: &ResolvedPath) -> Result<Option<String>, ApiError> {
        let Some((_, below)) = found.rest.split_first() else { return Ok(None) };
        // The whole rest of the path is the slug of an item that was directly below the section: an
        // item of the section's kind.
        let slugs = slug_spellings(&found.rest.join("/"));
        let Some(collection) = self.collections.of_section(&found.section) else { return Ok(None) };
        match self.of_kind(collection, &slugs).await? {
            None => self.of_any_kind(&slugs_at_end(below)).await,
            found => Ok(found),
        }
    }

    /// Returns the present path of an item of any kind that has one of these slugs. The kind of an
    /// item is unknown if the path leads to no section: the section may be in the trash, and the
    /// answer must not differ from that for a section that never was.
    async fn of_any_kind(&self, slugs: &[String]) -> Result<Option<String>, ApiError> {
        for collection in self.collections.iter() {
            let found = self.of_kind(&**collection, slugs).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns the present path of the public item that has the first of these slugs that any has, or
    /// else had.
    async fn of_kind(
        &self,
        collection: &dyn ContentCollection,
        slugs: &[String],
    ) -> Result<Option<String>, ApiError> {
        let Self { sections, answer, include_drafts, .. } = *self;
        let audience = audience(sections, collection, answer, include_drafts).await?;
        let keys = collection.kind().keys();
        self.answer.add_keys(keys.slug_lookup(slugs));
        let paths = paths(Some(sections.clone()), collection, answer).await?;
        let present = collection.by_slug(None, slugs, &audience, &paths).await;
        let item = match present.map_err(database_error)? {
            None => collection.by_former_slug(slugs, &audience, &paths).await,
            present => Ok(present),
        };
        let Some(item) = item.map_err(database_error)? else { return Ok(None) };
        self.answer.add_keys([keys.item(&item.id)]);
        let draft_path = || sections.draft_path(item.section.as_deref()?, &item.slug);
        Ok(item.path.clone().or_else(|| draft_path().filter(|_| include_drafts)))
    }
}

/// Returns the slugs that a path can end in, the longest first.
fn slugs_at_end<S: AsRef<str>>(segments: &[S]) -> Vec<String> {
    let segments: Vec<_> = segments.iter().map(AsRef::as_ref).collect();
    let starts = 0..segments.len().min(MAX_GONE_SECTIONS);
    let ends = starts.map(|start| segments[start..].join("/"));
    ends.filter(|end| !end.is_empty()).flat_map(|end| slug_spellings(&end)).collect()
}

/// A section at a path, and the request for it.
struct ResolveContext<'a> {
    request: &'a HttpRequest,
    answer: &'a Answer,
    tags: &'a Tags,
    found: &'a ResolvedPath,
    limit: Limit,
    paths: ItemPaths,
}

/// The name of a resolution's tag.
#[derive(Hash)]
struct ResolutionName<'a> {
    found: &'a ResolvedPath,
    limit: u32,
    audience: Audience,
    paths: Option<u64>,
}

/// The target of a path.
enum ResolveTarget {
    /// The section.
    Section,
    /// An item, and its own path.
    Item(Box<RawValue>, String),
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
        let (limit, paths) = (self.limit.get(), self.paths.digest());
        let audience_then = audience.clone();
        let name = ResolutionName { found: self.found, limit, audience: audience_then, paths };
        if let Some(response) = self.tags.not_modified(self.request, self.answer, &name) {
            return Ok(Some(response));
        }
        let resolution = match self.target(collection, &audience).await? {
            ResolveTarget::Nothing => return Ok(None),
            ResolveTarget::Item(item, path) => Resolution::Item(self.resolved(path, item)),
            ResolveTarget::Section => {
                let filter = Filter::new(Some(self.found.section.id), audience);
                let sort = self.found.section.sort_by.unwrap_or_default();
                let page = collection.first_page(&filter, sort, self.limit, &self.paths);
                let page = page.await.map_err(list_error)?;
                self.answer.add_keys([collection.kind().keys().list(), USERS_KEY.to_owned()]);
                self.answer.limit(page.revision);
                Resolution::Section(self.resolved(self.found.path.clone(), page.json))
            }
        };
        self.tags.respond(self.request, self.answer, &name, &resolution, None).map(Some)
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
                    ResolveTarget::Item(item.json, item.path.unwrap_or_else(|| path.clone()))
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
                    let own_path = item.path.unwrap_or_else(|| join(path, &rest.join("/")));
                    ResolveTarget::Item(item.json, own_path)
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
        Resolved { section, breadcrumbs, canonical_path, display_type, content }
    }
}
