//! Sections that are fetched from sections-service when they are needed.
//!
//! Reads fetch them once a second at most, for any number of requests. If that fails, the last known
//! ones are used. They are kept in the database of this service, for a process that starts while
//! sections-service is unavailable.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use models::SectionEntry;
use mongo_kit::{DatabaseError, Flight, SingleFlight};
use opentelemetry::global;
use sections_client::{Error, SectionsClient};

use super::{FetchError, SectionsFeed};
use crate::{
    domain::audience::Directory,
    store::section_directory::{DirectoryStore, Replaced, Revision},
};

/// The time for which sections are used without fetching them again. A change of visibility takes
/// effect within it.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The time that a read waits for sections-service, which responds from memory. After it the read uses
/// the last known sections, and for [`MAX_AGE`] further reads do not wait at all.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// The time to wait for the kept sections, which are read once. A slow database must not delay reads
/// that sections-service can answer.
const LOAD_TIMEOUT: Duration = Duration::from_secs(1);

/// The interval at which unchanged sections are confirmed in the database: the age that a starting
/// process reports is too large by this time at most.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(60);

/// The sections, fetched from sections-service on demand. Clones share their state.
#[derive(Clone)]
pub(crate) struct PolledSections(Arc<Inner>);

/// The result of a poll.
type Fetched = Result<Arc<Directory>, Arc<Error>>;

struct Inner {
    client: SectionsClient,
    store: DirectoryStore,
    state: Mutex<State>,
    polls: SingleFlight<Fetched>,
}

#[derive(Default)]
struct State {
    /// The sections of the last poll that succeeded.
    fetched: Option<Known>,
    /// The time of the last failure, if the last poll failed.
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
}

impl Known {
    fn new(entries: Vec<SectionEntry>, age_then: Duration, since: Instant) -> Self {
        Self { directory: Arc::new(Directory::new(entries)), age_then, since }
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

impl PolledSections {
    pub(crate) fn new(client: SectionsClient, store: DirectoryStore) -> Self {
        let inner =
            Arc::new(Inner { client, store, state: Mutex::default(), polls: SingleFlight::new() });
        report_age(Arc::downgrade(&inner));
        Self(inner)
    }

    /// Joins the poll that is under way, or starts one. Returns `true` if it was started.
    fn poll(&self) -> (Flight<Fetched>, bool) {
        let (poll, unused) = self.0.polls.join_or_start(self.clone().run());
        (poll, unused.is_none())
    }

    async fn run(self) -> Fetched {
        // Before the request: sections that another process keeps after it are not replaced by the
        // older ones of the response.
        let kept = self.kept().await;
        let since = Instant::now();
        match self.0.client.entries().await {
            Ok(entries) => {
                let known = Known::new(entries, Duration::ZERO, since);
                {
                    let mut state = self.state();
                    state.fetched = Some(known.clone());
                    state.failed_at = None;
                }
                let directory = known.directory.clone();
                if let Some(kept) = kept.filter(|kept| !kept.is_current(&directory)) {
                    tokio::spawn(self.keep(kept.revision, known));
                }
                Ok(directory)
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
            drop(self.poll());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SectionsFeed for PolledSections {
    async fn latest(&self) -> Option<Arc<Directory>> {
        {
            let state = self.state();
            if let Some(known) = state.last_known() {
                // No second wait so soon after a failure.
                let has_failed = state.failed_at.is_some_and(|at| at.elapsed() < MAX_AGE);
                if has_failed || known.age() < MAX_AGE {
                    return Some(known.directory.clone());
                }
            }
        }
        let (poll, _) = self.poll();
        let time_left = READ_TIMEOUT.saturating_sub(poll.started_at().elapsed());
        if let Ok(Some(Ok(directory))) = tokio::time::timeout(time_left, poll).await {
            return Some(directory);
        }
        Some(self.state().last_known()?.directory.clone())
    }

    async fn fetch(&self) -> Result<Arc<Directory>, FetchError> {
        let (mut poll, is_own) = self.poll();
        if !is_own {
            // The sections may have changed since it began. The poll after it is recent enough.
            poll.await;
            (poll, _) = self.poll();
        }
        Ok(poll.await.ok_or(FetchError::Aborted)??)
    }

    fn age(&self) -> Option<Duration> {
        self.state().last_known().map(Known::age)
    }
}

/// Reports the age of the last known sections as a metric, until they are dropped.
fn report_age(inner: Weak<Inner>) {
    global::meter("content-service")
        .f64_observable_gauge("turbulence.sections.age")
        .with_unit("s")
        .with_description("The time since the last known sections were those of sections-service")
        .with_callback(move |age| {
            if let Some(seconds) = inner.upgrade().and_then(|inner| PolledSections(inner).age()) {
                age.observe(seconds.as_secs_f64(), &[]);
            }
        })
        .build();
}
