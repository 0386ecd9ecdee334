//! The last public changes of a process, for all who listen to it.
//!
//! One projector runs while there are listeners, and for some time after the last one, so that those who
//! poll find all changes since. It begins some time before the first listener: a listener that was
//! connected to another process continues here.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use models::{PublicChange, PublicKind, changes::Revision};
use mongo_kit::DatabaseError;
use tokio::{
    runtime::Handle,
    sync::{broadcast, watch},
    time::sleep,
};

use super::{
    position::Position,
    projector::{Checkpoint, MAX_LAG, Projector, Source, changed},
};

/// The time before its beginning of which the hub knows the changes: as long as MongoDB keeps former
/// states of documents by default (`minSnapshotHistoryWindowInSeconds`). Who was away for longer is told
/// that anything may have changed.
const BEFORE_SECONDS: u64 = 300;

/// The time for which it continues without listeners: as long.
const LINGER: Duration = Duration::from_secs(BEFORE_SECONDS);

/// The largest number of changes that are kept, and their size as events. One has some hundred bytes.
const MAX_CHANGES: usize = 4_096;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The number of changes that a listener may be behind: those of many seconds.
const MAX_BEHIND: usize = 1_024;

/// The pause after a failure to reach the database.
const PAUSE: Duration = Duration::from_millis(500);

/// The changes of this process. Clones share their state.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Inner>);

struct Inner {
    source: Source,
    /// The threads of requests end before those of the process.
    runtime: Handle,
    state: Mutex<State>,
    /// `true` while the changes are known.
    is_ready: watch::Sender<bool>,
    readers: broadcast::Sender<Arc<Told>>,
}

struct State {
    is_running: bool,
    used_at: Instant,
    changes: VecDeque<Arc<Told>>,
    bytes: usize,
    /// The place from which on all changes are kept, once it is known.
    complete_from: Option<Position>,
    /// The place after all changes.
    position: Position,
}

impl State {
    fn keep(&mut self, told: Arc<Told>) {
        self.bytes += told.event.len();
        self.changes.push_back(told);
        while self.changes.len() > MAX_CHANGES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= oldest.event.len();
            if let Some(complete_from) = &mut self.complete_from {
                *complete_from = oldest.state;
            }
        }
    }

    fn forget(&mut self) {
        self.changes.clear();
        self.bytes = 0;
    }
}

/// A change, and the states of the databases that include it.
#[derive(Debug)]
pub(crate) struct Told {
    state: Position,
    pub(crate) change: PublicChange,
    /// The event of it (HTML standard, §9.2).
    pub(crate) event: String,
}

impl Told {
    fn new(state: Position, change: PublicChange) -> Self {
        let json = serde_json::to_string(&change).unwrap_or_default();
        let event = format!("id: {}\ndata: {json}\n\n", change.cursor);
        Self { state, change, event }
    }

    /// Returns `true` if a reader of these kinds is told of it.
    pub(crate) fn concerns(&self, kinds: Option<&[PublicKind]>) -> bool {
        match (kinds, self.change.kind) {
            (Some(kinds), Some(kind)) => kinds.contains(&kind),
            _ => true,
        }
    }
}

/// The changes after a place, and the later ones.
pub(crate) struct Since {
    pub(crate) changes: Vec<Arc<Told>>,
    /// The place after them.
    pub(crate) position: Position,
    pub(crate) later: broadcast::Receiver<Arc<Told>>,
}

impl Hub {
    pub(crate) fn new(source: Source) -> Self {
        let state = State {
            is_running: false,
            used_at: Instant::now(),
            changes: VecDeque::new(),
            bytes: 0,
            complete_from: None,
            position: Position::default(),
        };
        Self(Arc::new(Inner {
            source,
            runtime: Handle::current(),
            state: Mutex::new(state),
            is_ready: watch::Sender::new(false),
            readers: broadcast::Sender::new(MAX_BEHIND),
        }))
    }

    /// Returns the changes after a place, or those from now on. Waits until they are known.
    pub(crate) async fn since(&self, place: Option<Position>) -> Since {
        loop {
            self.start();
            let mut is_ready = self.0.is_ready.subscribe();
            // Not an error: the sender lives as long as this.
            let _ = is_ready.wait_for(|is_ready| *is_ready).await;
            let state = self.state();
            // It may have ended since.
            let Some(complete_from) = state.complete_from else { continue };
            let later = self.0.readers.subscribe();
            let position = state.position;
            let changes = match place {
                None => Vec::new(),
                Some(place)
                    if place.is_before(&complete_from) || place.is_beyond(&position, MAX_LAG) =>
                {
                    let anything = changed(None).at(&position, self.0.source.time());
                    vec![Arc::new(Told::new(position, anything))]
                }
                Some(place) => {
                    let later = state.changes.iter().filter(|told| place.is_before(&told.state));
                    later.cloned().collect()
                }
            };
            return Since { changes, position, later };
        }
    }

    /// Returns the place after all changes so far.
    pub(crate) fn position(&self) -> Position {
        self.state().position
    }

    /// Starts the projector unless it runs.
    fn start(&self) {
        let mut state = self.state();
        state.used_at = Instant::now();
        if !state.is_running {
            state.is_running = true;
            self.0.runtime.spawn(self.clone().run());
        }
    }

    async fn run(self) {
        let now = loop {
            match self.0.source.now().await {
                Ok(now) => break now,
                Err(error) => {
                    let error = DatabaseError::from(error);
                    tracing::debug!(%error, "the time of the database is unknown");
                    sleep(PAUSE).await;
                }
            }
        };
        let before = Revision::new(now.number().saturating_sub(BEFORE_SECONDS << 32));
        let position = Position { content: before, sections: Revision::ZERO };
        let from = Checkpoint { position, sections: None };
        let mut projector = Projector::new(self.0.source.clone(), Some(from));
        loop {
            let changes = projector.next().await;
            let included = projector.state();
            let mut state = self.state();
            if included.content < state.position.content {
                // The database is an earlier state of itself.
                state.forget();
                state.complete_from = state.complete_from.map(|_| included);
            }
            state.position = projector.position();
            for change in changes {
                let told = Arc::new(Told::new(included, change));
                state.keep(told.clone());
                // Fails if there are no listeners.
                let _ = self.0.readers.send(told);
            }
            if state.complete_from.is_none() && included.content >= now {
                let sections = included.sections;
                state.complete_from = Some(Position { content: before, sections });
                self.0.is_ready.send_replace(true);
            }
            let is_used = self.0.readers.receiver_count() > 0 || state.used_at.elapsed() < LINGER;
            if !is_used {
                self.0.is_ready.send_replace(false);
                state.is_running = false;
                state.complete_from = None;
                state.forget();
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
