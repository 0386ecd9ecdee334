//! From a path of the site to what stands there, in one request.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use models::{
    ContentType, DisplayType, FieldError, Limit, Offset, PathResolution, Resolution, Resolved,
    ResolvedContent, ResolvedPath,
};
use mongo_kit::Stamp;
use serde::Deserialize;
use service_kit::{ApiError, conditional::json, extract::Query};
use utoipa::IntoParams;

use super::{Sections, Tags, errors::read, item::stamp, list::page, tags::key};
use crate::{
    domain::{Audience, Hidden, Start},
    store::{ContentStore, Filter, Kind, Pages, Projects, Stories},
};

/// The longest path that is looked at, in bytes: longer ones do not work in all browsers.
const PATH_MAX_LENGTH: usize = 2048;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Where {
    /// A path of the site, such as `/blog/first-light`.
    #[param(pattern = "^/", max_length = 2048)]
    path: String,
    /// How many items the first page has at most.
    #[serde(default)]
    #[param(value_type = Limit, required = false)]
    limit: Limit,
}

/// `GET /resolve?path=`: the section or the item at a path, or where it is now.
pub(super) async fn resolve(
    request: HttpRequest,
    query: Query<Where>,
    sections: Data<Sections>,
    tags: Data<Tags>,
    stories: Data<ContentStore<Stories>>,
    projects: Data<ContentStore<Projects>>,
    pages: Data<ContentStore<Pages>>,
) -> Result<HttpResponse, ApiError> {
    let Query(Where { path, limit }) = query;
    let invalid = |message: String| ApiError::invalid(FieldError::invalid("path", message));
    if !path.starts_with('/') {
        return Err(invalid("must begin with `/`".to_owned()));
    }
    if path.len() > PATH_MAX_LENGTH {
        return Err(invalid(format!("must have at most {PATH_MAX_LENGTH} bytes")));
    }
    let resolution = sections.resolve(&path).await?;
    let at = match &*resolution {
        PathResolution::Moved { moved_to } => {
            return json(&request, &Resolution::Moved { moved_to: moved_to.clone() });
        }
        PathResolution::Found(found) => {
            At { request: &request, sections: &sections, tags: &tags, found, limit }
        }
    };
    match at.found.section.content_type {
        ContentType::Story => at.answer(&stories).await,
        ContentType::Project => at.answer(&projects).await,
        ContentType::Page => at.answer(&pages).await,
    }
}

/// A section at a path, and who asks.
struct At<'a> {
    request: &'a HttpRequest,
    sections: &'a Sections,
    tags: &'a Tags,
    found: &'a ResolvedPath,
    limit: Limit,
}

impl At<'_> {
    async fn answer<K: Kind>(&self, store: &ContentStore<K>) -> Result<HttpResponse, ApiError> {
        let hidden = self.sections.public(store).await?;
        let (found, limit) = (format!("{:?}", self.found), self.limit.get());
        let (audience, writes) = (format!("{hidden:?}"), store.writes());
        let key = key([
            &b"resolve"[..],
            found.as_bytes(),
            &limit.to_be_bytes(),
            audience.as_bytes(),
            &writes.to_be_bytes(),
        ]);
        if let Some(response) = self.tags.not_modified(self.request, &key) {
            return Ok(response);
        }
        let (resolution, stamp) = match self.item(store, &hidden).await? {
            Some((item, canonical_path, stamp)) => {
                let item = self.resolved(canonical_path, K::single(item));
                (Resolution::Item(item), stamp)
            }
            None => {
                let audience = Audience::Public(hidden);
                let filter = Filter { section: Some(self.found.section.id), audience };
                let start = Start::Offset(Offset::default());
                let (list, stamp) = page(store, &filter, &start, self.limit).await?;
                let section = self.resolved(self.found.path.clone(), K::listed(list));
                (Resolution::Section(section), Some(stamp))
            }
        };
        self.tags.answer(self.request, key, stamp, &resolution)
    }

    /// The item that the path leads to, its own path, and since when it is as it is; none where
    /// the path leads to the section.
    async fn item<K: Kind>(
        &self,
        store: &ContentStore<K>,
        hidden: &Hidden,
    ) -> Result<Option<(K::Item, String, Option<Stamp>)>, ApiError> {
        let ResolvedPath { section, path, rest, .. } = self.found;
        let stamp = stamp(self.request, store).await?;
        match rest.as_slice() {
            [] if section.display_type == DisplayType::StaticPage => {
                let item = read::<K, _>(store.first_in(section.id, hidden).await)?;
                // One that has no page yet is answered as the empty section that it is.
                Ok(item.map(|item| (item, path.clone(), stamp)))
            }
            [] => Ok(None),
            [slug] if K::UNTITLED.is_some() => {
                let item = read::<K, _>(store.by_slug_in(section.id, slug, hidden).await)?;
                let item = item.ok_or_else(|| ApiError::not_found("Path"))?;
                Ok(Some((item, format!("{path}/{slug}"), stamp)))
            }
            _ => Err(ApiError::not_found("Path")),
        }
    }

    fn resolved(&self, canonical_path: String, content: ResolvedContent) -> Box<Resolved> {
        let ResolvedPath { section, breadcrumbs, .. } = self.found.clone();
        let display_type = section.display_type;
        Box::new(Resolved { section, breadcrumbs, canonical_path, display_type, content })
    }
}
