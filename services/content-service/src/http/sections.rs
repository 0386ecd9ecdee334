//! The sections as requests need them: for readers, those of the feed, else those of this moment.

use std::{fmt::Display, sync::Arc};

use data_service::{changes::Answer, database_error};
use models::{
    ErrorCode, FieldError, ObjectId, Sort,
    changes::SECTIONS_KEY,
    section_paths::{Below, Obstacle},
};
use service_kit::web::error::ApiError;

use crate::{
    domain::{
        audience::{Audience, Directory, Hidden},
        item_paths::ItemPaths,
    },
    kinds::ContentCollection,
    sections_feed::{SectionsFeed, fetched::READ_TIMEOUT},
};

/// The value of `Retry-After` while sections-service does not respond.
const RETRY_AFTER_SECONDS: u32 = 2;

/// A section, and the order of its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct SectionOrder {
    pub(super) id: ObjectId,
    /// `None` for the usual one.
    pub(super) sort_by: Option<Sort>,
}

/// The sections of the site.
pub(crate) struct Sections(Arc<dyn SectionsFeed>);

impl Sections {
    pub(crate) fn new(feed: Arc<dyn SectionsFeed>) -> Self {
        Self(feed)
    }

    /// Returns the content of a kind that is hidden from the public. If no sections were ever known,
    /// it is everything that belongs to a section.
    pub(super) async fn public(
        &self,
        collection: &dyn ContentCollection,
        answer: &Answer,
    ) -> Result<Hidden, ApiError> {
        match self.last_known(answer).await {
            Some(directory) => hidden(&directory, collection, answer).await,
            None => Ok(Hidden::AllOfSections),
        }
    }

    /// Returns the reader of the content of a kind, who has a token if drafts are included.
    pub(super) async fn audience(
        &self,
        collection: &dyn ContentCollection,
        answer: &Answer,
        include_drafts: bool,
    ) -> Result<Audience, ApiError> {
        match include_drafts {
            true => Ok(Audience::Editors),
            false => self.public(collection, answer).await.map(Audience::Public),
        }
    }

    async fn last_known(&self, answer: &Answer) -> Option<Arc<Directory>> {
        let known = self.0.latest(answer.known_sections()).await;
        answer.add_keys([SECTIONS_KEY.to_owned()]);
        answer.limit_sections(known.as_ref().and_then(|known| known.revision));
        known.map(|known| known.directory)
    }

    /// Returns everything that the paths of items of a kind depend on.
    pub(super) async fn paths(
        &self,
        collection: &dyn ContentCollection,
        answer: &Answer,
    ) -> Result<ItemPaths, ApiError> {
        let directory = match self.0.is_unavailable() {
            // Items are answered without their paths rather than late.
            true => None,
            false => self.last_known(answer).await,
        };
        paths(directory, collection, answer).await
    }

    /// Returns the same for an answer that no cache keeps: a preview, or the answer to a write, which has
    /// the keys that it changed alone.
    pub(super) async fn paths_uncached(
        &self,
        collection: &dyn ContentCollection,
        answer: &Answer,
    ) -> Result<ItemPaths, ApiError> {
        let known = match self.0.is_unavailable() {
            true => None,
            false => self.0.latest(answer.known_sections()).await,
        };
        paths(known.map(|known| known.directory), collection, &Answer::default()).await
    }

    /// Returns the order of the content of a section, if it has one of its own.
    pub(super) async fn sort_by(&self, id: ObjectId, answer: &Answer) -> Option<Sort> {
        self.last_known(answer).await?.by_id(id)?.section.sort_by
    }

    /// Returns the section with this slug, if the audience sees it.
    pub(super) async fn by_slug(
        &self,
        slug: &str,
        audience: &Audience,
        answer: &Answer,
    ) -> Result<SectionOrder, ApiError> {
        let find = |directory: &Directory| {
            let section = &directory.by_slug(slug, audience)?.section;
            Some(SectionOrder { id: section.id, sort_by: section.sort_by })
        };
        if let Some(id) = self.last_known(answer).await.as_deref().and_then(find) {
            return Ok(id);
        }
        // It may have been created or published a moment ago.
        find(&*self.newest(answer).await?).ok_or_else(|| ApiError::not_found("Section"))
    }

    /// Returns the last known sections: the present ones while changes are heard, and else at most a
    /// second old ones if sections-service responds.
    pub(super) async fn latest(&self, answer: &Answer) -> Result<Arc<Directory>, ApiError> {
        self.last_known(answer).await.ok_or_else(unknown)
    }

    /// Returns the sections as they are now, or the last known ones if sections-service does not
    /// respond.
    pub(super) async fn newest(&self, answer: &Answer) -> Result<Arc<Directory>, ApiError> {
        match tokio::time::timeout(READ_TIMEOUT, self.0.fetch(answer.known_sections())).await {
            Ok(Ok(known)) => {
                answer.add_keys([SECTIONS_KEY.to_owned()]);
                answer.limit_sections(known.revision);
                Ok(known.directory)
            }
            Ok(Err(_)) | Err(_) => self.latest(answer).await,
        }
    }

    /// Returns the sections as they are now, for writes that name a section.
    pub(super) async fn now(&self) -> Result<Arc<Directory>, ApiError> {
        let known = self.0.fetch(None).await.map_err(unavailable)?;
        Ok(known.directory)
    }
}

/// Returns the reader of the content of a kind.
pub(super) async fn audience(
    sections: &Directory,
    collection: &dyn ContentCollection,
    answer: &Answer,
    include_drafts: bool,
) -> Result<Audience, ApiError> {
    match include_drafts {
        true => Ok(Audience::Editors),
        false => hidden(sections, collection, answer).await.map(Audience::Public),
    }
}

/// Returns the content of a kind that these sections hide from the public.
pub(super) async fn hidden(
    directory: &Directory,
    collection: &dyn ContentCollection,
    answer: &Answer,
) -> Result<Hidden, ApiError> {
    if !directory.hides_sections() {
        return Ok(Hidden::nothing());
    }
    let odd_references = collection.odd_references().await.map_err(database_error)?;
    answer.limit(odd_references.revision);
    Ok(directory.hidden(&odd_references.value))
}

/// Returns everything that the paths of items of a kind depend on, with these sections.
pub(super) async fn paths(
    directory: Option<Arc<Directory>>,
    collection: &dyn ContentCollection,
    answer: &Answer,
) -> Result<ItemPaths, ApiError> {
    let content_type = collection.kind().content_type();
    let static_pages = directory.as_deref().map(|one| one.static_pages(content_type));
    let static_pages = static_pages.unwrap_or_default();
    let mut shown = Arc::default();
    if !static_pages.is_empty() {
        let read = collection.shown_items(static_pages).await.map_err(database_error)?;
        answer.limit(read.revision);
        // Any other may be shown next.
        answer.add_keys([collection.kind().keys().list()]);
        shown = read.value;
    }
    Ok(ItemPaths { directory, shown, content_type })
}

/// Refuses to answer for content of sections while it is unknown which sections are public.
pub(super) fn unknown() -> ApiError {
    let detail = "Which sections are public cannot be looked up now.";
    ApiError::new(ErrorCode::UpstreamUnavailable, detail).retry_after_seconds(RETRY_AFTER_SECONDS)
}

/// Refuses to answer because the sections of this moment cannot be fetched.
pub(super) fn unavailable(error: impl Display) -> ApiError {
    let detail = "Sections cannot be looked up now. Nothing was changed.";
    ApiError::new(ErrorCode::UpstreamUnavailable, detail)
        .retry_after_seconds(RETRY_AFTER_SECONDS)
        .because(error.to_string())
}

/// Requires that a path of the section leads to an item with this slug, once both are published.
pub(super) fn require_free_path(
    directory: &Directory,
    section: ObjectId,
    slug: &str,
) -> Result<(), ApiError> {
    require_free_path_below(&directory.below(section), slug)
}

/// The same for one of several items, with the paths below the section.
pub(super) fn require_free_path_below(below: &Below<'_>, slug: &str) -> Result<(), ApiError> {
    let detail = match below.obstacle(slug) {
        None => return Ok(()),
        Some(Obstacle::Section(section)) => format!(
            "The section {:?} with the slug `{}` is at the path of an item with the slug `{slug}`.",
            section.title, section.slug
        ),
        Some(Obstacle::Redirect(path)) => format!(
            "A redirect leads from `{path}`, the path of an item with the slug `{slug}`, to a section."
        ),
    };
    let detail = format!("{detail} Choose another slug.");
    Err(ApiError::new(ErrorCode::SlugTaken, detail))
}

/// Requires that a section exists and that it is for content of this kind.
pub(super) fn require_fitting(
    directory: &Directory,
    section: ObjectId,
    collection: &dyn ContentCollection,
) -> Result<(), ApiError> {
    let invalid = |message| Err(ApiError::invalid(FieldError::invalid("section_id", message)));
    match directory.by_id(section).filter(|entry| !entry.is_deleted) {
        None => invalid("there is no such section".to_owned()),
        Some(entry) if entry.section.is_link() => invalid(format!(
            "the section `{}` is a link, which holds no content",
            entry.section.slug
        )),
        Some(entry) if entry.section.content_type != collection.kind().content_type() => {
            let kind = collection.kind().name().to_lowercase();
            invalid(format!(
                "the section `{}` is for other content than a {kind}",
                entry.section.slug
            ))
        }
        Some(_) => Ok(()),
    }
}
