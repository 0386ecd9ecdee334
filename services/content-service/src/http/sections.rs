//! What content-service knows of the sections.
//!
//! Reading asks sections-service once a second at most, however many requests there are. While it
//! does not answer, the last answer holds. Writing asks each time: what was created a moment ago
//! has to be there.

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

/// How long an answer is used without asking again: what becomes public or hidden does so within
/// this time.
const REMEMBERED: Duration = Duration::from_secs(1);

/// How long a reader waits for sections-service, which answers from memory. Who has waited so long
/// goes on with what is known, and those who come after do not wait at all.
const PATIENCE: Duration = Duration::from_secs(1);

/// For how many paths the answer is remembered.
const PATHS: u64 = 10_000;

/// When to try again after sections-service did not answer.
const RETRY_AFTER_SECONDS: u32 = 2;

/// A question that is under way, and all who wait for the answer.
type Flight = Shared<BoxFuture<'static, Option<Arc<Directory>>>>;

/// Asks sections-service, and remembers.
pub(crate) struct Sections {
    client: SectionsClient,
    state: Arc<Mutex<State>>,
    paths: Cache<String, Option<Arc<PathResolution>>>,
}

#[derive(Default)]
struct State {
    /// What was answered last, and when that was asked for.
    known: Option<(Instant, Arc<Directory>)>,
    flight: Option<(Instant, Flight)>,
    /// When the last question was asked, if it was not answered.
    failed: Option<Instant>,
}

impl Sections {
    pub(crate) fn new(client: SectionsClient) -> Self {
        let paths = Cache::builder().max_capacity(PATHS).time_to_live(REMEMBERED).build();
        Self { client, state: Arc::default(), paths }
    }

    /// What the public may see of a kind of content.
    ///
    /// Where nobody knows the sections, that is content without one, as long as there is no other:
    /// before the first link is made. After that nothing is shown rather than too much.
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

    /// The id of the section with this slug, as far as the audience sees it.
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
        let now = match self.asked().await {
            Some(directory) => directory,
            None => known.ok_or_else(unknown)?,
        };
        find(&now).ok_or_else(|| ApiError::not_found("Section"))
    }

    /// What stands at a path of the site; none where no section leads there.
    pub(super) async fn resolve(
        &self,
        path: &str,
    ) -> Result<Option<Arc<PathResolution>>, ApiError> {
        let asked = async { self.client.resolve(path).await.map(|found| found.map(Arc::new)) };
        let found = self.paths.try_get_with_by_ref(path, asked).await;
        found.map_err(|error: Arc<Error>| away(&error))
    }

    /// The path of a section that the public sees.
    pub(super) async fn path(&self, id: &str) -> Option<String> {
        let known = self.current().await?;
        known.path(id).map(str::to_owned)
    }

    /// The sections as they are now, for writing and for reports.
    pub(super) async fn now(&self) -> Result<Directory, ApiError> {
        let entries = self.client.entries().await.map_err(|error| away(&error))?;
        Ok(Directory::new(entries))
    }

    /// What is known of the sections: not older than a second, unless sections-service is away.
    async fn current(&self) -> Option<Arc<Directory>> {
        let (known, flight) = {
            let mut state = self.state();
            let known = state.known.as_ref().map(|(_, directory)| directory.clone());
            let is_recent = |at: Instant| at.elapsed() < REMEMBERED;
            if state.known.as_ref().is_some_and(|(asked, _)| is_recent(*asked)) {
                return known;
            }
            // Nobody waits for it again so soon, if there is something to go on with.
            if known.is_some() && state.failed.is_some_and(is_recent) {
                return known;
            }
            (known, self.flight(&mut state))
        };
        wait(flight).await.or(known)
    }

    /// What sections-service answers to a question that is under way or asked now.
    async fn asked(&self) -> Option<Arc<Directory>> {
        let flight = self.flight(&mut self.state());
        wait(flight).await
    }

    fn flight(&self, state: &mut State) -> (Instant, Flight) {
        if let Some((asked, flight)) = state.flight.as_ref().filter(|(_, one)| one.peek().is_none())
        {
            return (*asked, flight.clone());
        }
        let asked = Instant::now();
        let flight = tokio::spawn(ask(self.client.clone(), self.state.clone(), asked));
        // A task of its own: it goes on when those who wait for it lose patience.
        let flight = flight.map(|ended| ended.ok().flatten()).boxed().shared();
        state.flight = Some((asked, flight.clone()));
        (asked, flight)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn wait((asked, flight): (Instant, Flight)) -> Option<Arc<Directory>> {
    let patience = PATIENCE.saturating_sub(asked.elapsed());
    tokio::time::timeout(patience, flight).await.ok().flatten()
}

async fn ask(
    client: SectionsClient,
    state: Arc<Mutex<State>>,
    asked: Instant,
) -> Option<Arc<Directory>> {
    match client.entries().await {
        Ok(entries) => {
            let directory = Arc::new(Directory::new(entries));
            let mut state = lock(&state);
            state.known = Some((asked, directory.clone()));
            state.failed = None;
            Some(directory)
        }
        Err(error) => {
            tracing::warn!(%error, "the sections are not known");
            // From now on: the question itself may have taken long.
            lock(&state).failed = Some(Instant::now());
            None
        }
    }
}

fn unknown() -> ApiError {
    let detail = "Which sections are public cannot be looked up now.";
    ApiError::new(ErrorCode::UpstreamUnavailable, detail).retry_after_seconds(RETRY_AFTER_SECONDS)
}

fn away(error: &Error) -> ApiError {
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
