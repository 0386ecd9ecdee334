//! The processes that write, and the release of the locks of those that were killed.
//!
//! An open transaction locks its documents. If its process is killed, MongoDB keeps it open until
//! `transactionLifetimeLimitSeconds` (60 s by default) are over. Every process therefore registers the
//! sessions of its transactions, with a heartbeat by the server's clock. A process that is kept from
//! writing ends the sessions of those whose heartbeat has stopped. A live transaction is never ended
//! because of its age ([ADR 0020](../../../docs/adr/0020-locks-of-dead-processes.md)).
//!
//! A process has a heartbeat only while it writes: it removes its registration after a few seconds
//! without a transaction, so that an idle site writes nothing.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::TryStreamExt;
use mongodb::{
    Client, ClientSession, Collection, Database,
    bson::{self, Bson, Document, doc, oid::ObjectId},
    error::{Error, ErrorKind, Result},
    options::ReturnDocument,
};
use tokio::{
    runtime::Handle,
    sync::{Mutex as AsyncMutex, OnceCell},
};

use crate::{
    DatabaseError, ServerClock,
    feed::cluster_time,
    transaction::{self, Work},
    with_time_limit,
};

/// The collection of registrations. The prefix keeps it apart from a site's own collections.
pub const WRITERS: &str = "turbulence_writers";

/// The age from which a heartbeat counts as stopped: four times its interval.
const MAX_HEARTBEAT_AGE: Duration = Duration::from_secs(2);

/// The interval of heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// The age from which a heartbeat is renewed before a transaction begins: half of what counts as
/// stopped, for a process that did not run for a while.
const RENEWED_AFTER: Duration = Duration::from_secs(1);

/// The time without a transaction after which a registration is removed. An editor who saves every few
/// seconds is registered once.
const IDLE_AFTER: Duration = Duration::from_secs(5);

/// The time limit of a command about registrations. A write that has to wait longer continues without.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// The time after which a transaction that is kept from writing looks for processes that were killed
/// in the middle of theirs: longer than a busy document takes.
const LOOKS_FOR_STOPPED_AFTER: Duration = Duration::from_millis(300);

/// The shortest time between two searches for stopped processes, however many writes wait.
const SEARCH_INTERVAL: Duration = Duration::from_millis(250);

/// The number of registered sessions above which those without a transaction are forgotten: far above
/// the number of connections. The driver reuses sessions, and replaces one that was unused for half
/// an hour.
const MAX_SESSIONS: usize = 1_000;

/// The registration of this process in a database, and the sessions of its transactions.
#[derive(Clone)]
pub struct Writers(Arc<Inner>);

struct Inner {
    client: Client,
    database: Database,
    registrations: Collection<Document>,
    /// The `_id` of the registration.
    process: ObjectId,
    /// The users of the database as whom this process is authenticated.
    users: OnceCell<Bson>,
    clock: ServerClock,
    activity: Mutex<Activity>,
    registered: AsyncMutex<Registered>,
    searched_at: AsyncMutex<Option<Instant>>,
    /// The time of the newest transaction of this process, as in [`crate::feed`].
    newest_commit: AtomicU64,
    /// Set once a warning was logged that sessions cannot be ended or registered.
    has_warned: AtomicBool,
    /// The runtime of the heartbeats: a thread that handles requests may be busy.
    runtime: Handle,
}

/// The transactions of this process.
struct Activity {
    /// The sessions with a transaction.
    open: HashSet<bson::Uuid>,
    last_used_at: Instant,
}

/// The registration as it was written last.
#[derive(Default)]
struct Registered {
    sessions: HashSet<bson::Uuid>,
    written_at: Option<Instant>,
    has_heartbeat: bool,
}

/// A session for transactions, which others end if this process is killed.
pub struct Writer {
    session: ClientSession,
    id: bson::Uuid,
    writers: Writers,
}

/// The work of a transaction, after its session is registered.
struct RegisteredWork<W> {
    work: W,
    session: bson::Uuid,
    writers: Writers,
    began: Instant,
}

impl Writer {
    /// Returns the id of the session, for [`end_sessions`].
    pub fn session_id(&self) -> Bson {
        self.id.into()
    }

    /// Does `work` in a transaction of the session, and returns when the majority of the replica set
    /// has committed it. While other transactions keep it from writing, it ends those of processes
    /// that were killed.
    ///
    /// `next_pause` returns the pause before the next attempt after a transient error, such as a
    /// conflict with another writer or an election, or `None` to give up. A commit whose outcome is
    /// unknown is repeated, which is harmless, until `commit_timeout` has passed since it was first
    /// tried.
    ///
    /// # Errors
    ///
    /// The error of the last attempt. For a commit whose outcome remained unknown,
    /// [`is_unknown_commit`](crate::is_unknown_commit) returns `true`.
    pub async fn transact<W: Work>(
        &mut self,
        commit_timeout: Duration,
        next_pause: impl FnMut(&Error) -> Option<Duration>,
        work: W,
    ) -> std::result::Result<W::Output, W::Error> {
        let (session, writers) = (self.id, self.writers.clone());
        let work = RegisteredWork { work, session, writers, began: Instant::now() };
        let result =
            transaction::transact(&mut self.session, commit_timeout, next_pause, work).await;
        self.writers.record_commit(&self.session);
        result
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut activity = self.writers.activity();
        activity.open.remove(&self.id);
        activity.last_used_at = Instant::now();
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<W: Work> Work for RegisteredWork<W> {
    type Output = W::Output;
    type Error = W::Error;

    async fn run(
        &mut self,
        session: &mut ClientSession,
    ) -> std::result::Result<W::Output, W::Error> {
        if self.began.elapsed() >= LOOKS_FOR_STOPPED_AFTER {
            self.writers.end_stopped_processes().await;
        }
        self.writers.register(self.session).await?;
        self.work.run(session).await
    }
}

impl std::fmt::Debug for Writers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writers").field("process", &self.0.process).finish_non_exhaustive()
    }
}

impl Writers {
    /// Returns the writers of this process. Must be called within the runtime that is to keep the
    /// heartbeat.
    pub(crate) fn new(client: &Client, database: &Database, clock: ServerClock) -> Self {
        let activity = Activity { open: HashSet::new(), last_used_at: Instant::now() };
        Self(Arc::new(Inner {
            client: client.clone(),
            database: database.clone(),
            registrations: database.collection(WRITERS),
            process: ObjectId::new(),
            users: OnceCell::new(),
            clock,
            activity: Mutex::new(activity),
            registered: AsyncMutex::default(),
            searched_at: AsyncMutex::default(),
            newest_commit: AtomicU64::new(0),
            has_warned: AtomicBool::new(false),
            runtime: Handle::current(),
        }))
    }

    /// Starts a session for transactions.
    pub async fn start_session(&self) -> Result<Writer> {
        self.start_session_of(&self.0.client).await
    }

    /// Starts a session for transactions of another client of this process, which has the same
    /// database user.
    pub async fn start_session_of(&self, client: &Client) -> Result<Writer> {
        let session = client.start_session().await?;
        let id = match session.id().get("id") {
            Some(Bson::Binary(id)) => id.to_uuid().map_err(Error::custom)?,
            _ => return Err(Error::custom("the session has no id")),
        };
        self.activity().open.insert(id);
        Ok(Writer { session, id, writers: self.clone() })
    }

    /// Records that a transaction of a session has ended.
    fn record_commit(&self, session: &ClientSession) {
        let time = session.operation_time().map(cluster_time).unwrap_or_default();
        self.0.newest_commit.fetch_max(time, Ordering::AcqRel);
    }

    /// Returns a time at which all transactions of this process that have ended were committed, as in
    /// [`crate::feed`].
    pub fn newest_commit(&self) -> u64 {
        self.0.newest_commit.load(Ordering::Acquire)
    }

    /// Ends the transactions of processes whose heartbeat has stopped. Does nothing if that was tried
    /// a moment ago.
    pub async fn end_stopped_processes(&self) {
        let Ok(mut searched_at) = self.0.searched_at.try_lock() else { return };
        if searched_at.is_some_and(|at| at.elapsed() < SEARCH_INTERVAL) {
            return;
        }
        let this = self.clone();
        let ended = with_time_limit(COMMAND_TIMEOUT, async move { this.end_stopped().await });
        if let Err(error) = ended.await {
            self.warn(
                "the transactions of a killed process cannot be ended; their locks remain until \
                 `transactionLifetimeLimitSeconds`",
                error,
            );
        }
        *searched_at = Some(Instant::now());
    }

    async fn end_stopped(&self) -> Result<()> {
        let registrations = &self.0.registrations;
        let first = self.stopped().await?;
        if first.is_empty() {
            return Ok(());
        }
        // A heartbeat may be late once: of a live process, the next one follows.
        tokio::time::sleep(HEARTBEAT_INTERVAL).await;
        let second = self.stopped().await?;
        let is_same = |one: &Document, other: &Document| {
            one.get("_id") == other.get("_id") && one.get("heartbeat") == other.get("heartbeat")
        };
        let stopped = |one: &Document| first.iter().any(|other| is_same(one, other));
        for registration in second.into_iter().filter(stopped) {
            let sessions = registration.get_array("sessions").into_iter().flatten().cloned();
            end_sessions(&self.0.database, sessions).await?;
            tracing::warn!(
                process = ?registration.get("_id"),
                "the transactions of a process that does not answer any more were ended"
            );
            // Unless it has begun to answer again.
            let mut same = doc! { "heartbeat": registration.get("heartbeat") };
            same.insert("_id", registration.get("_id"));
            registrations.delete_one(same).await?;
        }
        Ok(())
    }

    /// Returns the registrations of other processes whose heartbeat has stopped, by the server's
    /// clock. Those of other database users are left out: their sessions cannot be ended, although
    /// the server answers that they were.
    async fn stopped(&self) -> Result<Vec<Document>> {
        let filter = doc! {
            "_id": { "$ne": self.0.process },
            "users": self.users().await?,
            "$expr": { "$lte": ["$heartbeat", latest_stopped()] },
        };
        self.0.registrations.find(filter).await?.try_collect().await
    }

    /// Returns the users of the database as whom this process is authenticated.
    async fn users(&self) -> Result<Bson> {
        let users = self.0.users.get_or_try_init(|| async {
            let status = self.0.database.run_command(doc! { "connectionStatus": 1 }).await?;
            let users = status.get_document("authInfo").ok();
            let users = users.and_then(|info| info.get("authenticatedUsers").cloned());
            Ok::<_, Error>(users.unwrap_or_else(|| Bson::Array(Vec::new())))
        });
        Ok(users.await?.clone())
    }

    /// Returns `true` if another process has a heartbeat now, that is, if it writes or has just
    /// written.
    ///
    /// # Errors
    ///
    /// Errors of the database.
    pub async fn have_others(&self) -> Result<bool> {
        let live = doc! {
            "_id": { "$ne": self.0.process },
            "$expr": { "$gt": ["$heartbeat", latest_stopped()] },
        };
        Ok(self.0.registrations.find_one(live).await?.is_some())
    }

    /// Registers the session before a transaction, and renews a heartbeat that is not recent.
    ///
    /// # Errors
    ///
    /// Only that there is no primary. Without a registration a transaction is as good as before, but
    /// its locks remain longer if this process is killed.
    async fn register(&self, session: bson::Uuid) -> Result<()> {
        match self.renew(session).await {
            Err(error) if matches!(&*error.kind, ErrorKind::ServerSelection { .. }) => Err(error),
            Err(error) => {
                self.warn("the sessions of this process cannot be registered", error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn renew(&self, session: bson::Uuid) -> Result<()> {
        let mut registered = self.0.registered.lock().await;
        let is_recent = registered.written_at.is_some_and(|at| at.elapsed() < RENEWED_AFTER);
        if !is_recent || !registered.sessions.contains(&session) {
            self.write(&mut registered).await?;
        }
        if !registered.has_heartbeat {
            registered.has_heartbeat = true;
            self.0.runtime.spawn(self.clone().beat());
        }
        Ok(())
    }

    /// Renews the heartbeat until this process has been idle for a while.
    async fn beat(self) {
        // Removes the registrations of killed processes that no write has met.
        self.end_stopped_processes().await;
        loop {
            tokio::time::sleep(HEARTBEAT_INTERVAL).await;
            let mut registered = self.0.registered.lock().await;
            if !registered.has_heartbeat {
                return;
            }
            if self.is_idle() {
                self.end_stopped_processes().await;
                return self.remove(&mut registered).await;
            }
            // Without an answer the next heartbeat, or the next transaction, tries again.
            if let Err(error) = self.write(&mut registered).await {
                let error = DatabaseError::from(error);
                tracing::debug!(%error, "no heartbeat");
            }
        }
    }

    /// Ends the transactions of this process that are still open, and removes its registration. If they
    /// cannot be ended, the registration stays, for other processes. The next transaction registers the
    /// process again.
    pub async fn unregister(&self) {
        let mut registered = self.0.registered.lock().await;
        let sessions = registered.sessions.iter().map(|id| Bson::from(*id)).collect::<Vec<_>>();
        let database = self.0.database.clone();
        let ended = async move { end_sessions(&database, sessions).await };
        match with_time_limit(COMMAND_TIMEOUT, ended).await {
            Ok(()) => self.remove(&mut registered).await,
            Err(error) => {
                self.warn("the open transactions of this process cannot be ended", error);
                *registered = Registered::default();
            }
        }
    }

    async fn remove(&self, registered: &mut Registered) {
        if registered.written_at.is_some() {
            let (registrations, id) = (self.0.registrations.clone(), self.0.process);
            let removed = async move { registrations.delete_one(doc! { "_id": id }).await };
            // One that stays because of an error does no harm: it has no transaction.
            let _ = with_time_limit(COMMAND_TIMEOUT, removed).await;
        }
        *registered = Registered::default();
    }

    fn is_idle(&self) -> bool {
        let activity = self.activity();
        activity.open.is_empty() && activity.last_used_at.elapsed() >= IDLE_AFTER
    }

    /// Writes the registration with all sessions and a new heartbeat, and sets the server clock.
    async fn write(&self, registered: &mut Registered) -> Result<()> {
        let mut sessions = self.activity().open.clone();
        if registered.sessions.len() < MAX_SESSIONS {
            sessions.extend(&registered.sessions);
        }
        let ids: Vec<Bson> = sessions.iter().map(|id| Bson::from(*id)).collect();
        let (this, id) = (self.clone(), self.0.process);
        let users = with_time_limit(COMMAND_TIMEOUT, async move { this.users().await }).await?;
        let update = vec![doc! { "$set": {
            "heartbeat": "$$NOW", "users": { "$literal": users }, "sessions": { "$literal": ids },
        } }];
        let registrations = self.0.registrations.clone();
        let sent = Instant::now();
        let write = async move {
            let write = registrations.find_one_and_update(doc! { "_id": id }, update).upsert(true);
            let heartbeat = doc! { "heartbeat": 1 };
            write.return_document(ReturnDocument::After).projection(heartbeat).await
        };
        let written = with_time_limit(COMMAND_TIMEOUT, write).await?;
        if let Some(now) = written.as_ref().and_then(|one| one.get_datetime("heartbeat").ok()) {
            self.0.clock.set(*now, sent);
        }
        // From when it was sent: the server may have written it at once and answered late.
        *registered = Registered { sessions, written_at: Some(sent), ..*registered };
        Ok(())
    }

    fn activity(&self) -> std::sync::MutexGuard<'_, Activity> {
        self.0.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs a warning, once: a database user without the right would cause one for each write.
    fn warn(&self, message: &'static str, error: Error) {
        let error = DatabaseError::from(error);
        if self.0.has_warned.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, message);
        } else {
            tracing::warn!(%error, message);
        }
    }
}

/// Returns the expression of the latest heartbeat that counts as stopped, by the server's clock.
fn latest_stopped() -> Document {
    let age = i64::try_from(MAX_HEARTBEAT_AGE.as_millis()).unwrap_or(i64::MAX);
    doc! { "$subtract": ["$$NOW", age] }
}

/// Ends sessions by their ids, with their transactions. Every user may end sessions of their own
/// (MongoDB manual, "killSessions").
pub async fn end_sessions(
    database: &Database,
    sessions: impl IntoIterator<Item = Bson>,
) -> Result<()> {
    let sessions: Vec<Bson> = sessions.into_iter().map(|id| doc! { "id": id }.into()).collect();
    // Without any, the command would end all sessions of the user.
    if sessions.is_empty() {
        return Ok(());
    }
    database.run_command(doc! { "killSessions": sessions }).await.map(drop)
}
