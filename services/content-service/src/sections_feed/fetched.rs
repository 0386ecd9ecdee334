//! Sections that are fetched from sections-service after they have changed.
//!
//! sections-service reports its changes: as long as they are heard and there is none, reads use the
//! sections in memory. Otherwise, such as with an earlier version of sections-service, reads fetch them
//! once a second at most, for any number of requests. If that fails, the last known ones are used. They
//! are kept in the database of this service, for a process that starts while sections-service is
//! unavailable.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use models::{
    SectionEntry,
    changes::{Revision as StateOfSections, SECTIONS_KEY},
};
use mongo_kit::{DatabaseError, Flight, SingleFlight};
use opentelemetry::global;
use sections_client::{Error, SectionsClient};
use service_kit::web::changes::{KeyClock, Keys};
use tokio::task::JoinSet;

use super::{FetchError, KnownSections, SectionsFeed};
use crate::{
    domain::audience::Directory,
    store::section_directory::{DirectoryStore, Replaced, Revision},
};

/// The time for which sections are used without fetching them again if changes are not heard. A change
/// of visibility takes effect within it.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The time that a read waits for sections-service, which responds from memory. After it the read uses
/// the last known sections, and for [`MAX_AGE`] further reads do not wait at all.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of requests after which sections are used although sections-service is behind what the
/// caller knows: it has read them from its database then.
const MAX_REQUESTS: usize = 3;

/// The time to wait for the kept sections, which are read once. A slow database must not delay reads
/// that sections-service can answer.
const LOAD_TIMEOUT: Duration = Duration::from_secs(1);

/// The interval at which unchanged sections are confirmed in the database: the age that a starting
/// process reports is too large by this time at most.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(60);

/// The sections, fetched from sections-service on demand. Clones share their state.
#[derive(Clone)]
pub(crate) struct FetchedSections(Arc<Inner>);

/// The result of a request for the sections.
type Fetched = Result<Known, Arc<Error>>;

struct Inner {
    client: SectionsClient,
    store: DirectoryStore,
    /// The changes of sections-service.
    clock: Arc<KeyClock>,
    _listening: JoinSet<()>,
    state: Mutex<State>,
    requests: SingleFlight<Fetched>,
}

#[derive(Default)]
struct State {
    /// The sections of the last request that succeeded.
    fetched: Option<Known>,
    /// The time of the last failure, if the last request failed.
    failed_at: Option<Instant>,
    /// The sections in the database, unless they have to be read (again).
    kept: Option<Kept>,
}

impl State {
    fn last_known(&self) -> Option<&Known> {
        self.fetched.as_ref().or_else(|| self.kept.as_ref()?.known.as_ref())
    }
}

/// Sections that sections-service has returned at some time.
#[derive(Clone)]
struct Known {
    directory: Arc<Directory>,
    /// The age at `since`: zero unless they come from the database.
    age_then: Duration,
    since: Instant,
    /// Their state, and the keys whose change makes them outdated, if sections-service has named it.
    state: Option<(StateOfSections, Option<Keys>)>,
}

impl Known {
    fn new(entries: Vec<SectionEntry>, age_then: Duration, since: Instant) -> Self {
        Self { directory: Arc::new(Directory::new(entries)), age_then, since, state: None }
    }

    fn into_sections(self) -> KnownSections {
        let revision = self.state.map(|(revision, _)| revision);
        KnownSections { directory: self.directory, revision }
    }

    fn age(&self) -> Duration {
        self.age_then + self.since.elapsed()
    }
}

/// The sections in the database.
#[derive(Clone)]
struct Kept {
    revision: Revision,
    known: Option<Known>,
}

impl Kept {
    /// Returns `true` if the database need not be told that these are the sections now.
    fn is_current(&self, now: &Directory) -> bool {
        self.known.as_ref().is_some_and(|kept| {
            kept.directory.entries() == now.entries() && kept.age() < CONFIRM_INTERVAL
        })
    }
}

impl FetchedSections {
    pub(crate) fn new(client: SectionsClient, store: DirectoryStore) -> Self {
        let clock = Arc::new(KeyClock::default());
        let _listening = client.listen(&clock);
        let (state, requests) = (Mutex::default(), SingleFlight::new());
        let inner = Arc::new(Inner { client, store, clock, _listening, state, requests });
        report_age(Arc::downgrade(&inner));
        tokio::spawn(fetch_after_changes(Arc::downgrade(&inner)));
        Self(inner)
    }

    /// Returns the sections in memory with their present state, if they are known to be the present ones.
    fn present(&self) -> Option<KnownSections> {
        let clock = &self.0.clock;
        let fetched = self.state().fetched.clone()?;
        let (revision, keys) = fetched.state?;
        // Before the comparison: a change after it may belong to a later state.
        let watermark = clock.watermark();
        let is_present = clock.is_current(&keys?, revision) && clock.is_live();
        let revision = Some(revision.max(watermark));
        is_present.then_some(KnownSections { directory: fetched.directory, revision })
    }

    /// Joins the request that is under way, or sends one.
    fn request(&self, known: Option<StateOfSections>) -> Flight<Fetched> {
        self.0.requests.join_or_start(self.clone().run(known)).0
    }

    async fn run(self, known: Option<StateOfSections>) -> Fetched {
        // Before the request: sections that another process keeps after it are not replaced by the
        // older ones of the response.
        let kept = self.kept().await;
        let since = Instant::now();
        let clock = &self.0.clock;
        let (generation, known) = (clock.generation(), known.max(clock.newest_change()));
        match self.0.client.entries_since(known).await {
            Ok((entries, revision)) => {
                let mut known = Known::new(entries, Duration::ZERO, since);
                known.state =
                    revision.map(|revision| (revision, clock.keys(generation, [SECTIONS_KEY])));
                {
                    let mut state = self.state();
                    state.fetched = Some(known.clone());
                    state.failed_at = None;
                }
                let directory = known.directory.clone();
                if let Some(kept) = kept.filter(|kept| !kept.is_current(&directory)) {
                    tokio::spawn(self.keep(kept.revision, known.clone()));
                }
                Ok(known)
            }
            Err(error) => {
                // Both services may have started at the same time.
                if self.state().fetched.is_none() {
                    tracing::info!(%error, "the sections cannot be fetched yet");
                } else {
                    tracing::warn!(%error, "the sections cannot be fetched");
                }
                // Not the time of the request, which may have taken long.
                self.state().failed_at = Some(Instant::now());
                Err(Arc::new(error))
            }
        }
    }

    /// Returns the sections in the database. Returns `None` if they cannot be read now.
    async fn kept(&self) -> Option<Kept> {
        if let Some(kept) = self.state().kept.clone() {
            return Some(kept);
        }
        // On a task of its own: the driver must not be cancelled.
        let this = self.clone();
        let load = tokio::spawn(async move { this.0.store.load().await });
        let stored = match tokio::time::timeout(LOAD_TIMEOUT, load).await {
            Ok(Ok(Ok(stored))) => stored,
            Ok(Ok(Err(error))) => {
                let error = DatabaseError::from(error);
                tracing::warn!(%error, "the last known sections cannot be read from the database");
                return None;
            }
            Ok(Err(_)) | Err(_) => return None,
        };
        let now = Instant::now();
        let known = stored.sections.map(|(entries, age)| Known::new(entries, age, now));
        let kept = Kept { revision: stored.revision, known };
        self.state().kept = Some(kept.clone());
        Some(kept)
    }

    /// Replaces the sections in the database, unless another process has replaced them since the
    /// revision was read.
    async fn keep(self, revision: Revision, known: Known) {
        let replaced = self.0.store.replace(&revision, known.directory.entries()).await;
        let is_raced = matches!(replaced, Ok(Replaced::Raced));
        self.state().kept = match replaced {
            Ok(Replaced::By(revision)) => Some(Kept { revision, known: Some(known) }),
            Ok(Replaced::Raced) => None,
            Err(error) => {
                let error = DatabaseError::from(error);
                tracing::warn!(%error, "the sections cannot be kept in the database");
                None
            }
        };
        if is_raced {
            // The sections that the other process has kept may be older.
            drop(self.request(None));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SectionsFeed for FetchedSections {
    async fn latest(&self, known: Option<StateOfSections>) -> Option<KnownSections> {
        let includes = |sections: &KnownSections| known <= sections.revision;
        if let Some(present) = self.present().filter(includes) {
            return Some(present);
        }
        let is_live = self.0.clock.is_live();
        {
            let state = self.state();
            if let Some(last) = state.last_known() {
                // No second wait so soon after a failure.
                let has_failed = state.failed_at.is_some_and(|at| at.elapsed() < MAX_AGE);
                let sections = last.clone().into_sections();
                let is_recent = !is_live && last.age() < MAX_AGE;
                if has_failed || (is_recent && (known.is_none() || includes(&sections))) {
                    return Some(sections);
                }
            }
        }
        // If changes are heard, the sections have changed or the caller knows that: a request that was
        // sent before does not do.
        let wait = async {
            match is_live || known.is_some() {
                true => self.fetch(known).await.ok(),
                false => self.request(known).await?.ok().map(Known::into_sections),
            }
        };
        if let Ok(Some(sections)) = tokio::time::timeout(READ_TIMEOUT, wait).await {
            return Some(sections);
        }
        Some(self.state().last_known()?.clone().into_sections())
    }

    async fn fetch(&self, known: Option<StateOfSections>) -> Result<KnownSections, FetchError> {
        let called_at = Instant::now();
        let mut attempts = 0;
        loop {
            let request = self.request(known);
            let started_at = request.started_at();
            let sections = request.await.ok_or(FetchError::Aborted)??.into_sections();
            attempts += 1;
            // The sections may have changed since a request was sent for another caller.
            let is_recent = started_at >= called_at;
            let includes = sections.revision.is_none() || known <= sections.revision;
            if is_recent && (includes || attempts >= MAX_REQUESTS) {
                return Ok(sections);
            }
        }
    }

    fn age(&self) -> Option<Duration> {
        if self.present().is_some() {
            return Some(Duration::ZERO);
        }
        self.state().last_known().map(Known::age)
    }

    fn is_unavailable(&self) -> bool {
        let state = self.state();
        state.last_known().is_none() && state.failed_at.is_some()
    }
}

/// Fetches the sections after each change, before a read needs them, and once in a while to confirm
/// those in the database, until they are dropped.
async fn fetch_after_changes(sections: Weak<Inner>) {
    let Some(mut changed) = sections.upgrade().map(|inner| inner.clock.subscribe()) else { return };
    loop {
        // Not an error: the clock lives as long as the sections.
        let changed = tokio::time::timeout(CONFIRM_INTERVAL, changed.changed()).await;
        let Some(sections) = sections.upgrade().map(FetchedSections) else { return };
        let is_known = sections.state().fetched.is_some();
        if is_known && (changed.is_err() || sections.present().is_none()) {
            let _ = sections.fetch(None).await;
        }
    }
}

/// Reports the age of the last known sections as a metric, until they are dropped.
fn report_age(inner: Weak<Inner>) {
    global::meter("content-service")
        .f64_observable_gauge("turbulence.sections.age")
        .with_unit("s")
        .with_description("The time since the last known sections were those of sections-service")
        .with_callback(move |age| {
            if let Some(seconds) = inner.upgrade().and_then(|inner| FetchedSections(inner).age()) {
                age.observe(seconds.as_secs_f64(), &[]);
            }
        })
        .build();
}
