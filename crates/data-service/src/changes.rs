//! The changes of a service: what it knows of them itself, and what it tells others.
//!
//! A task follows the change stream of the database ([`mongo_kit::feed`]) and names the keys that each
//! change concerns ([`Family`]). The service itself uses them for what it keeps in memory
//! ([`Cached`], [`Validity`]); others hear them on `GET /internal/changes` (`stream`); and each answer
//! says on which keys and on which state of the database it depends ([`Answer`]).

mod answer;
mod cached;
mod history;
mod stream;

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use models::changes::{FeedMessage, Revision, key_family};
use mongo_kit::{
    Connection,
    feed::{Change, FeedEvent, WatchedCollection, report_changes},
};
use service_kit::web::changes::{Generation, KeyClock, Keys, Revisions, key};
use tokio::sync::watch;

use self::history::History;
pub use self::{
    answer::Answer,
    cached::{Cached, Read},
};
pub(crate) use self::{
    answer::describe_answers,
    stream::{ChangesRoute, changes},
};
use crate::{Abort, server_clock};

/// The longest time that a request waits for the changes that its caller knows already. They arrive
/// every 25 ms.
const CATCH_UP_TIMEOUT: Duration = Duration::from_millis(50);

/// The largest distance of the clocks of two servers: a revision that is further ahead was made up.
const MAX_AHEAD_SECONDS: u64 = 2;

/// The second part of the key that changes if this process is behind what its callers know.
const BEHIND: &str = "behind";

/// The service whose changes they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// content-service.
    Content,
    /// sections-service.
    Sections,
    /// media-service.
    Media,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Sections => "sections",
            Self::Media => "media",
        }
    }

    /// Returns the state of this service. Answers of media-service depend on no state: the gateway
    /// keeps none of them.
    fn of(self, revisions: &mut Revisions) -> Option<&mut Option<Revision>> {
        match self {
            Self::Content => Some(&mut revisions.content),
            Self::Sections => Some(&mut revisions.sections),
            Self::Media => None,
        }
    }
}

/// A family of keys: those with the same first part.
#[derive(Debug, Clone)]
pub struct Family {
    /// The first part of the keys.
    pub name: &'static str,
    /// The collections whose changes concern the keys.
    pub collections: Vec<WatchedCollection>,
    /// Returns the keys that a change concerns.
    pub keys: fn(&Change) -> Vec<String>,
    /// Keys of which each public answer has one.
    pub public: Vec<String>,
}

/// The changes of a service. Clones share their state.
#[derive(Clone)]
pub struct Changes(Arc<Inner>);

struct Inner {
    source: Source,
    families: Vec<Family>,
    connection: Connection,
    clock: Arc<KeyClock>,
    history: Mutex<History>,
    confirmed: watch::Sender<Option<Confirmed>>,
    /// The collections whose changes are not reported for a while.
    suspended: Mutex<HashSet<&'static str>>,
}

/// A state up to which all changes were reported.
#[derive(Debug, Clone, Copy)]
struct Confirmed {
    revision: Revision,
    /// The moment at which that was so at the latest.
    since: Instant,
}

/// A moment, as a state of the database that everything that is read afterwards includes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    generation: Generation,
    revision: Revision,
}

/// The conditions under which a value is still the one that was read: no change of its keys since.
#[derive(Debug, Clone)]
pub struct Validity {
    keys: Option<Keys>,
    revision: Revision,
}

/// The knowledge about a value that was read earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// The value is the one of this state, which is the present one.
    Current(Revision),
    /// The value may have changed.
    Changed,
    /// No change is known, but one would not be: the changes are not heard.
    Unknown,
}

impl Changes {
    /// Returns the changes of a service that concern these keys. They are followed by
    /// [`follow`](Self::follow).
    pub fn new(source: Source, families: Vec<Family>, connection: &Connection) -> Self {
        Self::with_clock(source, families, connection, Arc::default())
    }

    /// Returns changes that are never heard, for a process that serves no requests: everything is read
    /// when it is needed.
    pub fn unheard(source: Source, connection: &Connection) -> Self {
        // It is large, and never written to but for own writes.
        static CLOCK: LazyLock<Arc<KeyClock>> = LazyLock::new(Arc::default);
        Self::with_clock(source, Vec::new(), connection, CLOCK.clone())
    }

    fn with_clock(
        source: Source,
        families: Vec<Family>,
        connection: &Connection,
        clock: Arc<KeyClock>,
    ) -> Self {
        Self(Arc::new(Inner {
            source,
            families,
            connection: connection.clone(),
            clock,
            history: Mutex::default(),
            confirmed: watch::Sender::new(None),
            suspended: Mutex::default(),
        }))
    }

    /// Follows the changes for as long as the future is polled.
    pub async fn follow(&self) {
        if self.0.families.is_empty() {
            return std::future::pending().await;
        }
        let database = self.0.connection.database().clone();
        let collections: Vec<_> =
            self.0.families.iter().flat_map(|family| family.collections.clone()).collect();
        report_changes(database, &collections, |event| self.handle(event)).await;
    }

    /// Returns a state of the database that everything that is read from now on includes.
    pub fn revision(&self) -> Revision {
        // What this process has committed is on the primary, which is where it reads.
        self.0.clock.watermark().max(Revision::new(self.0.connection.writers().newest_commit()))
    }

    /// Returns `true` if a change would be known.
    pub fn is_live(&self) -> bool {
        self.0.clock.is_live()
    }

    /// Returns the present moment, for values that are read after this call.
    pub(crate) fn moment(&self) -> Moment {
        let generation = self.0.clock.generation();
        Moment { generation, revision: self.revision() }
    }

    /// Returns the validity of a value that depends on these keys and is read after this call.
    pub fn validity<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Validity {
        self.validity_since(self.moment(), keys)
    }

    /// Returns the validity of a value that depends on these keys and was read after a moment. Keys of
    /// other services do not count.
    fn validity_since<'a>(
        &self,
        Moment { generation, revision }: Moment,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Validity {
        let is_own = |one: &&str| self.0.families.iter().any(|own| own.name == key_family(one));
        let keys: Vec<_> = keys.into_iter().filter(is_own).collect();
        let behind: HashSet<_> = keys.iter().map(|one| behind(key_family(one))).collect();
        let all = keys.into_iter().chain(behind.iter().map(String::as_str));
        Validity { keys: self.0.clock.keys(generation, all), revision }
    }

    /// Returns the knowledge about a value with this validity.
    pub fn knowledge(&self, validity: &Validity) -> Knowledge {
        let clock = &self.0.clock;
        // Before the comparison: a change after it may belong to a later state.
        let state = clock.watermark().max(validity.revision);
        match &validity.keys {
            Some(keys) if !clock.is_current(keys, validity.revision) => Knowledge::Changed,
            Some(_) if clock.is_live() => Knowledge::Current(state),
            _ => Knowledge::Unknown,
        }
    }

    /// Records that a transaction of this process has changed what these keys name, unless it was
    /// refused. If its outcome is unknown, anything may have changed.
    pub fn record<T, E>(&self, keys: &[String], result: &Result<T, Abort<E>>) {
        match result {
            Ok(_) => {
                let revision = Revision::new(self.0.connection.writers().newest_commit());
                self.0.clock.raise(keys.iter().map(String::as_str), revision);
            }
            Err(Abort::Database(_)) => self.record_unknown(),
            Err(Abort::Refused(_)) => {}
        }
    }

    /// Records that this process may have changed something.
    pub fn record_unknown(&self) {
        self.0.clock.raise_families(None);
    }

    /// Waits for the changes up to a state that the caller knows. If they do not arrive soon, nothing
    /// that was read before is used.
    async fn catch_up(&self, known: Revision) {
        if known <= self.revision() || self.is_made_up(known) {
            return;
        }
        let mut confirmed = self.0.confirmed.subscribe();
        let caught_up = confirmed
            .wait_for(|confirmed| confirmed.is_some_and(|confirmed| confirmed.revision >= known));
        if tokio::time::timeout(CATCH_UP_TIMEOUT, caught_up).await.is_err() {
            let behind: Vec<_> = self.0.families.iter().map(|family| behind(family.name)).collect();
            self.0.clock.raise(behind.iter().map(String::as_str), known);
        }
    }

    /// Returns `true` for a state that the database cannot have reached.
    fn is_made_up(&self, revision: Revision) -> bool {
        let now = server_clock(&self.0.connection).now().timestamp();
        revision.number() >> 32 > u64::try_from(now).unwrap_or_default() + MAX_AHEAD_SECONDS
    }

    fn suspended(&self) -> MutexGuard<'_, HashSet<&'static str>> {
        self.0.suspended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn suspended_families(&self) -> Vec<String> {
        let suspended: Vec<_> = self.suspended().iter().copied().collect();
        names(self.families_of(&suspended))
    }

    fn families_of(&self, collections: &[&'static str]) -> Vec<&Family> {
        let is_of =
            |family: &&Family| family.collections.iter().any(|one| collections.contains(&one.name));
        self.0.families.iter().filter(is_of).collect()
    }

    fn handle(&self, event: FeedEvent) {
        match event {
            FeedEvent::Changed(change) => {
                let [family] = self.families_of(&[change.collection])[..] else { return };
                let (revision, keys) = (Revision::new(change.at), (family.keys)(&change));
                self.publish(&FeedMessage::Changed { revision, keys });
            }
            FeedEvent::Reset { at, collections } => {
                let revision = Revision::new(at);
                let families = self.families_of(&collections);
                if families.len() == self.0.families.len() {
                    self.begin(revision);
                }
                self.publish(&FeedMessage::Reset { revision, families: names(families) });
                self.suspended().retain(|collection| !collections.contains(collection));
                // A family may have another collection.
                let families = self.suspended_families();
                if !families.is_empty() {
                    self.publish(&FeedMessage::Suspended { families });
                }
            }
            FeedEvent::Suspended { collection } => {
                tracing::debug!(collection, "too many changes: they are not reported for a moment");
                self.suspended().insert(collection);
                let families = names(self.families_of(&[collection]));
                self.publish(&FeedMessage::Suspended { families });
            }
            FeedEvent::Confirmed { at, since } => {
                let revision = Revision::new(at);
                let confirmed = FeedMessage::Watermark { revision, age_ms: 0 };
                if self.0.clock.apply(&confirmed, since).is_err() {
                    self.begin(revision);
                }
                self.0.confirmed.send_replace(Some(Confirmed { revision, since }));
            }
        }
    }

    /// Begins, also again: the database may have been replaced by an earlier state of itself.
    fn begin(&self, revision: Revision) {
        let service = self.0.source.name().to_owned();
        let hello = FeedMessage::Hello { service, families: names(&self.0.families), revision };
        // A greeting is never out of order.
        let _ = self.0.clock.apply(&hello, Instant::now());
        self.history().begin(revision);
    }

    /// Takes over a message and sends it to all who listen.
    fn publish(&self, message: &FeedMessage) {
        if self.0.clock.apply(message, Instant::now()).is_err() {
            tracing::debug!(?message, "a change of an earlier state of the database");
        }
        self.history().add(message);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changes").field("source", &self.0.source).finish_non_exhaustive()
    }
}

fn names<'a>(families: impl IntoIterator<Item = &'a Family>) -> Vec<String> {
    families.into_iter().map(|family| family.name.to_owned()).collect()
}

/// Returns the key that changes if this process is behind what its callers know of a family.
fn behind(family: &str) -> String {
    key([family, BEHIND])
}
