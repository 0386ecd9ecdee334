//! From a path of the site to what stands there, in one request.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use data_service::database_error;
use models::{
    ContentType, DisplayType, FieldError, Limit, Offset, PathResolution, Resolution, Resolved,
    ResolvedContent, ResolvedPath,
};
use serde::Deserialize;
use service_kit::{ApiError, conditional::json, extract::Query};
use utoipa::IntoParams;

use super::{Sections, Tags, item::stamp, list::page, tags::key};
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
    #[param(pattern = r"^/[\s\S]*$", max_length = 2048)]
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
    let moved = |moved_to| json(&request, &Resolution::Moved { moved_to });
    let resolution = sections.resolve(&path).await?;
    let found = match resolution.as_deref() {
        Some(PathResolution::Moved { moved_to }) => return moved(moved_to.clone()),
        Some(PathResolution::Found(found)) => Some(&**found),
        None => None,
    };
    if let Some(found) = found {
        let at = At { request: &request, sections: &sections, tags: &tags, found, limit };
        let answer = match found.section.content_type {
            ContentType::Story => at.answer(&stories).await,
            ContentType::Project => at.answer(&projects).await,
            ContentType::Page => at.answer(&pages).await,
        };
        if let Some(response) = answer? {
            return Ok(response);
        }
    }
    let moved_to = match (last_segment(&path), kind_below(found)) {
        (None, _) => None,
        (Some(slug), Some(ContentType::Story)) => own_path(&sections, &stories, slug).await?,
        (Some(slug), Some(ContentType::Project)) => own_path(&sections, &projects, slug).await?,
        (Some(_), Some(ContentType::Page)) => None,
        (Some(slug), None) => match own_path(&sections, &stories, slug).await? {
            None => own_path(&sections, &projects, slug).await?,
            found => found,
        },
    };
    moved_to.map_or_else(|| Err(ApiError::not_found("Path")), moved)
}

/// What may be the slug of an item that once stood at this path.
fn last_segment(path: &str) -> Option<&str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (above, slug) = path.rsplit_once('/')?;
    (!above.is_empty() && !slug.is_empty()).then_some(slug)
}

/// Of which kind an item was that stood directly below this section. Elsewhere nobody knows: its
/// section may be in the trash, and what is said must not tell that from one that never was.
fn kind_below(found: Option<&ResolvedPath>) -> Option<ContentType> {
    found.filter(|found| found.rest.len() == 1).map(|found| found.section.content_type)
}

/// Where the public item with this slug stands.
async fn own_path<K: Kind>(
    sections: &Sections,
    store: &ContentStore<K>,
    slug: &str,
) -> Result<Option<String>, ApiError> {
    let hidden = sections.public(store).await?;
    let item = store.by_address(slug, &hidden).await.map_err(database_error)?;
    let section = item.as_ref().and_then(|item| K::common(item).section_id.as_deref());
    let Some(section) = section else { return Ok(None) };
    Ok(sections.path(section).await.map(|path| format!("{path}/{slug}")))
}

/// A section at a path, and who asks.
struct At<'a> {
    request: &'a HttpRequest,
    sections: &'a Sections,
    tags: &'a Tags,
    found: &'a ResolvedPath,
    limit: Limit,
}

/// What a path leads to.
enum What<T> {
    /// The section.
    Section,
    /// An item, and its own path.
    Item(T, String),
    Nothing,
}

impl At<'_> {
    /// None where nothing stands there.
    async fn answer<K: Kind>(
        &self,
        store: &ContentStore<K>,
    ) -> Result<Option<HttpResponse>, ApiError> {
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
            return Ok(Some(response));
        }
        let stamp = stamp(self.request, store).await?;
        let (resolution, stamp) = match self.item(store, &hidden).await? {
            What::Nothing => return Ok(None),
            What::Item(item, canonical_path) => {
                let item = self.resolved(canonical_path, K::single(item));
                (Resolution::Item(item), stamp)
            }
            What::Section => {
                let audience = Audience::Public(hidden);
                let filter = Filter { section: Some(self.found.section.id), audience };
                let start = Start::Offset(Offset::default());
                let (list, total_stamp) = page(store, &filter, &start, self.limit).await?;
                let section = self.resolved(self.found.path.clone(), K::listed(list));
                (Resolution::Section(section), stamp.map(|stamp| stamp.and(total_stamp)))
            }
        };
        self.tags.answer(self.request, key, stamp, &resolution).map(Some)
    }

    async fn item<K: Kind>(
        &self,
        store: &ContentStore<K>,
        hidden: &Hidden,
    ) -> Result<What<K::Item>, ApiError> {
        let ResolvedPath { section, path, rest, .. } = self.found;
        match rest.as_slice() {
            [] if section.display_type == DisplayType::StaticPage => {
                let item = store.first_in(section.id, hidden).await.map_err(database_error)?;
                // One that has no page yet is answered as the empty section that it is.
                Ok(item.map_or(What::Section, |item| What::Item(item, path.clone())))
            }
            [] => Ok(What::Section),
            [slug] if K::UNTITLED.is_some() => {
                let item =
                    store.by_slug_in(section.id, slug, hidden).await.map_err(database_error)?;
                let own_path = format!("{path}/{slug}");
                Ok(item.map_or(What::Nothing, |item| What::Item(item, own_path)))
            }
            _ => Ok(What::Nothing),
        }
    }

    fn resolved(&self, canonical_path: String, content: ResolvedContent) -> Box<Resolved> {
        let ResolvedPath { section, breadcrumbs, .. } = self.found.clone();
        let display_type = section.display_type;
        Box::new(Resolved { section, breadcrumbs, canonical_path, display_type, content })
    }
}
