//! From a path of the site to what stands there, in one request.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use data_service::database_error;
use models::{
    ContentType, DisplayType, FieldError, Limit, Offset, PathResolution, Resolution, Resolved,
    ResolvedContent, ResolvedPath,
    site_path::{canonical, join, slug_spellings},
};
use serde::Deserialize;
use service_kit::web::{conditional::json_response, error::ApiError, extract::Query};
use utoipa::IntoParams;

use super::{Sections, Tags, item::stamp, list::page};
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
    /// A path of the site, such as `/blog/first-light`, as a browser has it (percent-encoded) or as
    /// it reads.
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
    let moved = |moved_to| json_response(&request, &Resolution::Moved { moved_to });
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
    let moved_to = match found {
        Some(found) => moved_below(found, &sections, &stories, &projects).await?,
        None => {
            let segments: Vec<_> = path.trim_end_matches('/').split('/').skip(2).collect();
            any_with(&slugs_at_end(&segments), &sections, &stories, &projects).await?
        }
    };
    let moved_to = moved_to.filter(|moved_to| canonical(&path) != *moved_to);
    moved_to.map_or_else(|| Err(ApiError::not_found("Path")), moved)
}

/// Where an item stands now that once stood below this section.
async fn moved_below(
    found: &ResolvedPath,
    sections: &Sections,
    stories: &ContentStore<Stories>,
    projects: &ContentStore<Projects>,
) -> Result<Option<String>, ApiError> {
    let Some((_, below)) = found.rest.split_first() else { return Ok(None) };
    // All that is left of the path is the slug of an item that stood directly below: of the
    // section's kind.
    let slugs = slug_spellings(&found.rest.join("/"));
    let direct = match found.section.content_type {
        ContentType::Story => own_path(sections, stories, &slugs).await?,
        ContentType::Project => own_path(sections, projects, &slugs).await?,
        ContentType::Page => None,
    };
    match direct {
        None => any_with(&slugs_at_end(below), sections, stories, projects).await,
        found => Ok(found),
    }
}

/// Where an item of any kind stands that has one of these slugs. Of a path that leads to no section
/// nobody knows the kind: its section may be in the trash, and the answer must not tell that from
/// one that never was.
async fn any_with(
    slugs: &[String],
    sections: &Sections,
    stories: &ContentStore<Stories>,
    projects: &ContentStore<Projects>,
) -> Result<Option<String>, ApiError> {
    match own_path(sections, stories, slugs).await? {
        None => own_path(sections, projects, slugs).await,
        found => Ok(found),
    }
}

/// How many sections, one below the other, a path may begin with that are gone.
const GONE_SECTIONS: usize = 8;

/// The slugs that a path can end in, the longest first.
fn slugs_at_end<S: AsRef<str>>(segments: &[S]) -> Vec<String> {
    let segments: Vec<_> = segments.iter().map(AsRef::as_ref).collect();
    let starts = 0..segments.len().min(GONE_SECTIONS);
    let ends = starts.map(|start| segments[start..].join("/"));
    ends.filter(|end| !end.is_empty()).flat_map(|end| slug_spellings(&end)).collect()
}

/// Where the public item stands that has the first of these slugs that any has.
async fn own_path<K: Kind>(
    sections: &Sections,
    store: &ContentStore<K>,
    slugs: &[String],
) -> Result<Option<String>, ApiError> {
    let hidden = sections.public(store).await?;
    let Some(item) = store.by_address(slugs, &hidden).await.map_err(database_error)? else {
        return Ok(None);
    };
    let Some(section) = K::common(&item).section_id.as_deref() else { return Ok(None) };
    Ok(sections.path(section).await.map(|path| join(&path, K::slug(&item))))
}

/// A section at a path, and who asks.
struct At<'a> {
    request: &'a HttpRequest,
    sections: &'a Sections,
    tags: &'a Tags,
    found: &'a ResolvedPath,
    limit: Limit,
}

/// The key of a resolution's tag.
#[derive(Hash)]
struct ResolutionKey<'a> {
    found: &'a ResolvedPath,
    limit: u32,
    hidden: Hidden,
    writes: u64,
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
        let key = ResolutionKey {
            found: self.found,
            limit: self.limit.get(),
            hidden: hidden.clone(),
            writes: store.writes(),
        };
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
        self.tags.respond(self.request, &key, stamp, &resolution).map(Some)
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
            rest if K::UNTITLED.is_some() => {
                let slugs = slug_spellings(&rest.join("/"));
                let item =
                    store.by_slug_in(section.id, &slugs, hidden).await.map_err(database_error)?;
                Ok(item.map_or(What::Nothing, |item| {
                    let own_path = join(path, K::slug(&item));
                    What::Item(item, own_path)
                }))
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
