//! The sections, as sections-service returns them.
//!
//! Reads fetch the sections once a second at most, for any number of requests. If that fails, the last
//! ones are used. Writes fetch them each time, since a section may have been created a moment ago.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use data_service::database_error;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use models::{ErrorCode, FieldError, ObjectId, PathResolution};
use moka::future::Cache;
use sections_client::{Error, SectionsClient};
use service_kit::web::error::ApiError;

use crate::{
    domain::audience::{Audience, Directory, Hidden},
    kinds::ContentCollection,
};

/// The time for which the sections are used without fetching them again: a change of visibility takes
/// effect within it.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The time that a read waits for sections-service, which responds from memory. After it the read uses
/// the last sections, and the reads that follow do not wait at all.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of paths whose resolution is cached.
const PATHS: u64 = 10_000;

/// The value of `Retry-After` while sections-service does not respond.
const RETRY_AFTER_SECONDS: u32 = 2;

/// A request to sections-service that several callers await.
type SharedFetch = Shared<BoxFuture<'static, Option<Arc<Directory>>>>;

/// Fetches and caches the sections.
pub(crate) struct Sections {
    client: SectionsClient,
    state: Arc<Mutex<State>>,
    paths: Cache<String, Option<Arc<PathResolution>>>,
}

#[derive(Default)]
struct State {
    /// The last sections, and the time of their request.
    known: Option<(Instant, Arc<Directory>)>,
    shared: Option<(Instant, SharedFetch)>,
    /// The time of the last failure, if the last request failed.
    failed: Option<Instant>,
}

impl Sections {
    pub(crate) fn new(client: SectionsClient) -> Self {
        let paths = Cache::builder().max_capacity(PATHS).time_to_live(MAX_AGE).build();
        Self { client, state: Arc::default(), paths }
    }

    /// Returns the content of a kind that is hidden from the public.
    ///
    /// If the sections are unavailable, the public sees content without a section as long as no item
    /// has one. Once an item has a section, the request fails rather than show too much.
    pub(super) async fn public(
        &self,
        collection: &dyn ContentCollection,
    ) -> Result<Hidden, ApiError> {
        if let Some(directory) = self.current().await {
            return Ok(directory.hidden());
        }
        if collection.is_linked().await.map_err(database_error)? {
            return Err(unknown());
        }
        Ok(Hidden::AllOfSections)
    }

    /// Returns the id of the section with this slug, if the audience sees it.
    pub(super) async fn by_slug(
        &self,
        slug: &str,
        audience: &Audience,
    ) -> Result<ObjectId, ApiError> {
        let find = |directory: &Directory| Some(directory.by_slug(slug, audience)?.id);
        let known = self.current().await;
        if let Some(id) = known.as_deref().and_then(find) {
            return Ok(id);
        }
        // It may have been created or published a moment ago.
        let now = match self.fetch_now().await {
            Some(directory) => directory,
            None => known.ok_or_else(unknown)?,
        };
        find(&now).ok_or_else(|| ApiError::not_found("Section"))
    }

    /// Resolves a path of the site. Returns `None` if it leads to no section.
    pub(super) async fn resolve(
        &self,
        path: &str,
    ) -> Result<Option<Arc<PathResolution>>, ApiError> {
        let fetch = async { self.client.resolve(path).await.map(|found| found.map(Arc::new)) };
        let found = self.paths.try_get_with_by_ref(path, fetch).await;
        found.map_err(|error: Arc<Error>| unavailable(&error))
    }

    /// Returns the path of a section, if the public sees it.
    pub(super) async fn path(&self, id: &str) -> Option<String> {
        let known = self.current().await?;
        known.path(id).map(str::to_owned)
    }

    /// Fetches the sections, for writes and reports.
    pub(super) async fn now(&self) -> Result<Directory, ApiError> {
        let entries = self.client.entries().await.map_err(|error| unavailable(&error))?;
        Ok(Directory::new(entries))
    }

    /// Returns the sections, not older than a second unless sections-service is unavailable.
    async fn current(&self) -> Option<Arc<Directory>> {
        let (known, fetch) = {
            let mut state = self.state();
            let known = state.known.as_ref().map(|(_, directory)| directory.clone());
            let is_recent = |at: Instant| at.elapsed() < MAX_AGE;
            if state.known.as_ref().is_some_and(|(started, _)| is_recent(*started)) {
                return known;
            }
            // No second wait so soon after a failure, as long as there are sections to use.
            if known.is_some() && state.failed.is_some_and(is_recent) {
                return known;
            }
            (known, self.start_or_join(&mut state))
        };
        wait(fetch).await.or(known)
    }

    /// Fetches the sections, or awaits a fetch that has started already.
    async fn fetch_now(&self) -> Option<Arc<Directory>> {
        let fetch = self.start_or_join(&mut self.state());
        wait(fetch).await
    }

    fn start_or_join(&self, state: &mut State) -> (Instant, SharedFetch) {
        if let Some((started, fetch)) =
            state.shared.as_ref().filter(|(_, one)| one.peek().is_none())
        {
            return (*started, fetch.clone());
        }
        let started = Instant::now();
        let task = tokio::spawn(fetch(self.client.clone(), self.state.clone(), started));
        // The task continues after the callers have timed out.
        let fetch = task.map(|ended| ended.ok().flatten()).boxed().shared();
        state.shared = Some((started, fetch.clone()));
        (started, fetch)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn wait((started, fetch): (Instant, SharedFetch)) -> Option<Arc<Directory>> {
    let time_left = READ_TIMEOUT.saturating_sub(started.elapsed());
    tokio::time::timeout(time_left, fetch).await.ok().flatten()
}

async fn fetch(
    client: SectionsClient,
    state: Arc<Mutex<State>>,
    started: Instant,
) -> Option<Arc<Directory>> {
    match client.entries().await {
        Ok(entries) => {
            let directory = Arc::new(Directory::new(entries));
            let mut state = lock(&state);
            state.known = Some((started, directory.clone()));
            state.failed = None;
            Some(directory)
        }
        Err(error) => {
            tracing::warn!(%error, "the sections cannot be fetched");
            // Not the time of the request, which may have taken long.
            lock(&state).failed = Some(Instant::now());
            None
        }
    }
}

fn unknown() -> ApiError {
    let detail = "Which sections are public cannot be looked up now.";
    ApiError::new(ErrorCode::UpstreamUnavailable, detail).retry_after_seconds(RETRY_AFTER_SECONDS)
}

fn unavailable(error: &Error) -> ApiError {
    let detail = "Sections cannot be looked up now. Nothing was changed.";
    ApiError::new(ErrorCode::UpstreamUnavailable, detail)
        .retry_after_seconds(RETRY_AFTER_SECONDS)
        .because(error.to_string())
}

/// Requires that a section exists and that it is for content of this kind.
pub(super) fn require_fitting(
    directory: &Directory,
    section: ObjectId,
    collection: &dyn ContentCollection,
) -> Result<(), ApiError> {
    let invalid = |message| Err(ApiError::invalid(FieldError::invalid("section_id", message)));
    match directory.by_id(section).filter(|section| !section.is_deleted) {
        None => invalid("there is no such section".to_owned()),
        Some(section) if section.content_type != collection.kind().content_type() => {
            let kind = collection.kind().name().to_lowercase();
            invalid(format!("the section `{}` is for other content than a {kind}", section.slug))
        }
        Some(_) => Ok(()),
    }
}
