//! The present addresses of paths at which no content is: those of what was moved, and redirects.

use std::{collections::HashSet, sync::Arc};

use data_service::{changes::Answer, database_error};
use models::{
    PathResolution, ResolvedPath,
    site_path::{canonical, join, slug_spellings},
};
use service_kit::web::error::ApiError;

use super::sections::{audience, paths};
use crate::{
    domain::{
        audience::Directory,
        redirect::{
            Destination, OldPath, RedirectItem, RedirectSection, RedirectStatus, RedirectTarget,
            SitePath,
        },
    },
    kinds::{Collections, ContentCollection},
    store::redirects::{RedirectStore, StoredRedirect, all_redirects, redirect_key},
};

/// The largest number of sections at the start of a path that may be gone.
const MAX_GONE_SECTIONS: usize = 8;

/// The most redirects that are followed in a row, as many as browsers follow.
pub(super) const MAX_HOPS: usize = 20;

/// An address that answers a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    /// A path of the site, percent-encoded, or an address elsewhere.
    pub(super) to: String,
    pub(super) status: RedirectStatus,
    /// `false` if it is below the former path of a section, and nothing is known to be there.
    pub(super) is_found: bool,
}

/// The search for the present address of a path.
///
/// A redirect that an admin made comes before a former path or slug. A redirect whose target is gone or
/// not public is as if it did not exist.
pub(super) struct Relocation<'a> {
    pub(super) answer: &'a Answer,
    pub(super) sections: &'a Arc<Directory>,
    pub(super) collections: &'a Collections,
    pub(super) redirects: &'a RedirectStore,
    pub(super) include_drafts: bool,
}

/// A step from one path to the next.
enum Step {
    /// The address is that of content, or elsewhere.
    Arrived(String),
    /// Something else may be at this path, to which a redirect leads.
    Continued(SitePath),
    /// The same below the present path of a section.
    Former(SitePath),
}

impl Relocation<'_> {
    /// Returns the address that answers a path at which no content is, after all redirects that follow.
    pub(super) async fn of(&self, path: &str) -> Result<Option<Moved>, ApiError> {
        let first = self.step(path, &OldPath::candidates(path)).await?;
        self.follow(path, first).await
    }

    /// Returns the address that answers a path with a query, of which a redirect has all parameters.
    pub(super) async fn of_query(&self, path: &str) -> Result<Option<Moved>, ApiError> {
        let first = self.redirected(with_query(&OldPath::candidates(path))).await?;
        self.follow(path, first).await
    }

    async fn follow(
        &self,
        path: &str,
        first: Option<(Step, RedirectStatus)>,
    ) -> Result<Option<Moved>, ApiError> {
        let Some((mut step, mut status)) = first else { return Ok(None) };
        let mut visited: HashSet<_> = OldPath::candidates(path).into_iter().take(1).collect();
        for _ in 0..MAX_HOPS {
            let (at, is_found) = match step {
                Step::Arrived(to) => return Ok(Some(Moved { to, status, is_found: true })),
                Step::Continued(at) => (at, true),
                Step::Former(at) => (at, false),
            };
            let candidates = OldPath::candidates(&at.requested());
            if !candidates.iter().take(1).all(|one| visited.insert(one.clone())) {
                tracing::warn!(path, "redirects lead in a circle");
                return Ok(None);
            }
            let next = match self.redirected(with_query(&candidates)).await? {
                None => match self.present(&at.path).await? {
                    Some(present) => {
                        let to = at.at(&present);
                        return Ok(Some(Moved { to, status, is_found: true }));
                    }
                    None => self.step(&at.path, &candidates).await?,
                },
                next => next,
            };
            match next {
                None => return Ok(Some(Moved { to: at.to_string(), status, is_found })),
                Some((next, of_next)) => (step, status) = (next, status.and(of_next)),
            }
        }
        let to = match step {
            Step::Arrived(to) => to,
            Step::Continued(at) | Step::Former(at) => at.to_string(),
        };
        Ok(Some(Moved { to, status, is_found: true }))
    }

    /// Returns the address that a redirect leads to, after all redirects that follow.
    pub(super) async fn of_redirect(
        &self,
        redirect: &StoredRedirect,
    ) -> Result<Option<String>, ApiError> {
        Ok(match self.target(&redirect.to).await? {
            None => None,
            Some(Step::Arrived(to)) => Some(to),
            // The path leads to the same redirect again.
            Some(Step::Continued(_) | Step::Former(_)) => {
                self.of(redirect.from.as_str()).await?.map(|moved| moved.to)
            }
        })
    }

    /// Returns the next place after a path at which no content is.
    async fn step(
        &self,
        path: &str,
        redirects: &[OldPath],
    ) -> Result<Option<(Step, RedirectStatus)>, ApiError> {
        if let Some(step) = self.redirected(redirects).await? {
            return Ok(Some(step));
        }
        let step = self.former(path).await?;
        Ok(step.map(|step| (step, RedirectStatus::Permanent)))
    }

    /// Returns the target of the redirect of the first of these paths that has one.
    async fn redirected(
        &self,
        redirects: &[OldPath],
    ) -> Result<Option<(Step, RedirectStatus)>, ApiError> {
        if redirects.is_empty() {
            return Ok(None);
        }
        self.answer.add_keys([all_redirects()]);
        self.answer.add_keys(redirects.iter().map(|one| redirect_key(one.as_str())));
        let redirect = self.redirects.first(redirects, None).await.map_err(database_error)?;
        let Some(StoredRedirect { to, status, .. }) = redirect else { return Ok(None) };
        Ok(self.target(&to).await?.map(|step| (step, status)))
    }

    /// Returns the present place of the target of a redirect, or `None` if it is gone or not public.
    async fn target(&self, target: &RedirectTarget) -> Result<Option<Step>, ApiError> {
        Ok(match target {
            RedirectTarget::Address(address) => {
                Some(match address.destination(self.redirects.site_url()) {
                    Destination::Elsewhere(url) => Step::Arrived(url),
                    Destination::Path(path) => Step::Continued(path),
                })
            }
            RedirectTarget::Section(RedirectSection { id }) => {
                self.sections.path_to(*id, self.include_drafts).map(Step::Arrived)
            }
            RedirectTarget::Item(item) => self.item_path(item).await?.map(Step::Arrived),
        })
    }

    async fn item_path(&self, item: &RedirectItem) -> Result<Option<String>, ApiError> {
        let Self { sections, answer, include_drafts, .. } = *self;
        let collection = self.collections.of(item.kind);
        let audience = audience(sections, collection, answer, include_drafts).await?;
        let paths = paths(Some(sections.clone()), collection, answer).await?;
        answer.add_keys([collection.kind().keys().item(&item.id)]);
        let item = collection.visible(&item.id, &audience, &paths).await.map_err(database_error)?;
        let Some(item) = item else { return Ok(None) };
        let draft_path = || sections.draft_path(item.section.as_deref()?, &item.slug);
        Ok(item.path.clone().or_else(|| draft_path().filter(|_| include_drafts)))
    }

    /// Returns the one path of the section or the item that is at a path.
    pub(super) async fn present(&self, path: &str) -> Result<Option<String>, ApiError> {
        let Self { sections, answer, include_drafts, .. } = *self;
        let Some(PathResolution::Found(found)) = sections.resolve(path, include_drafts) else {
            return Ok(None);
        };
        if path == "/" {
            return Ok(Some(path.to_owned()));
        }
        if found.rest.is_empty() {
            return Ok(Some(found.path));
        }
        let collection = self.collections.of(found.section.content_type);
        let audience = audience(sections, collection, answer, include_drafts).await?;
        let paths = paths(Some(sections.clone()), collection, answer).await?;
        let slugs = slug_spellings(&found.rest.join("/"));
        let keys = collection.kind().keys();
        answer.add_keys(keys.slug_lookup(&slugs));
        let item = collection.by_slug(Some(found.section.id), &slugs, &audience, &paths).await;
        let Some(item) = item.map_err(database_error)? else { return Ok(None) };
        answer.add_keys([keys.item(&item.id)]);
        Ok(Some(item.path.unwrap_or_else(|| join(&found.path, &found.rest.join("/")))))
    }

    /// Returns the place of the section or the item that once was at a path.
    async fn former(&self, path: &str) -> Result<Option<Step>, ApiError> {
        let moved_to = match self.sections.resolve(path, self.include_drafts) {
            Some(PathResolution::Moved { moved_to }) => {
                return Ok(Some(Step::Former(SitePath::new(&moved_to))));
            }
            Some(PathResolution::Found(found)) => self.below(&found).await?,
            None => {
                let segments: Vec<_> = path.trim_end_matches('/').split('/').skip(2).collect();
                self.of_any_kind(&slugs_at_end(&segments)).await?
            }
        };
        Ok(moved_to.filter(|moved_to| canonical(path) != *moved_to).map(Step::Arrived))
    }

    /// Returns the present path of an item that once was below this section.
    async fn below(&self, found: &ResolvedPath) -> Result<Option<String>, ApiError> {
        let Some((_, below)) = found.rest.split_first() else { return Ok(None) };
        // The whole rest of the path is the slug of an item that was directly below the section: an
        // item of the section's kind.
        let slugs = slug_spellings(&found.rest.join("/"));
        let collection = self.collections.of(found.section.content_type);
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

/// Returns those of the candidates of a path that have its query.
fn with_query(candidates: &[OldPath]) -> &[OldPath] {
    candidates.split_last().map_or(&[], |(_, others)| others)
}

/// Returns the slugs that a path can end in, the longest first.
fn slugs_at_end<S: AsRef<str>>(segments: &[S]) -> Vec<String> {
    let segments: Vec<_> = segments.iter().map(AsRef::as_ref).collect();
    let starts = 0..segments.len().min(MAX_GONE_SECTIONS);
    let ends = starts.map(|start| segments[start..].join("/"));
    ends.filter(|end| !end.is_empty()).flat_map(|end| slug_spellings(&end)).collect()
}
