//! Shared by the tests: migrations made of given steps, engines for them, and places at which work
//! stops.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use migrations::{
    Assign, Definition, EachDocument, Engine, Fill, Migration, MigrationKind, Options, RunError,
    RunErrorKind, State, Steps, StepsError, Throttle, WaitPolicy,
};
use mongo_kit::Connection;
use mongodb::{
    Client, ClientSession, Collection, Database,
    bson::{Bson, DateTime, Document, doc},
    event::{EventHandler, command::CommandEvent},
    options::ClientOptions,
};
use test_support::{TestDatabase, eventually, mongodb_uri};
use tokio::{
    runtime::Runtime,
    sync::{MutexGuard, Notify},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// The id of the migration of most tests.
pub(crate) const ID: &str = "0001_test";

/// The ledger of the migrations of all tests.
pub(crate) const LEDGER: &str = "test_migrations";

/// The collection with the lease of the migrations of all tests.
pub(crate) const LOCK: &str = "test_migration_lock";

/// The journal of the migrations of all tests.
pub(crate) const JOURNAL: &str = "test_migration_journal";

/// The time limit of operations that take a moment.
const DEADLINE: Duration = Duration::from_secs(60);

/// A step of a migration.
pub(crate) type Step = Arc<dyn migrations::Step>;

/// Makes a step that a migration can have.
pub(crate) fn arc(step: impl migrations::Step + 'static) -> Step {
    Arc::new(step)
}

type GetSteps = Arc<dyn Fn() -> BoxFuture<'static, Result<Steps, StepsError>> + Send + Sync>;

/// A migration with these steps.
#[derive(Clone)]
pub(crate) struct Given {
    definition: Definition,
    specification: Document,
    steps: GetSteps,
}

impl Given {
    /// Steps that are worked out each time.
    pub(crate) fn new<F, R>(steps: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Steps, StepsError>> + Send + 'static,
    {
        let definition = Definition {
            id: ID,
            kind: MigrationKind::Backfill,
            blocking: false,
            requires: &[],
            revision: 1,
            summary: "for a test",
        };
        let steps: GetSteps = Arc::new(move || Box::pin(steps()));
        Self { definition, specification: doc! {}, steps }
    }

    pub(crate) fn steps(steps: impl Into<Steps>) -> Self {
        let steps = steps.into();
        let declared: Vec<_> = steps.iter().map(|step| step.specification()).collect();
        let given = Self::new(move || std::future::ready(Ok(steps.clone())));
        given.declaring(doc! { "steps": declared })
    }

    pub(crate) fn blocking(mut self, blocking: bool) -> Self {
        self.definition.blocking = blocking;
        self
    }

    pub(crate) fn called(mut self, id: &'static str) -> Self {
        self.definition.id = id;
        self
    }

    pub(crate) fn requiring(mut self, requires: &'static [&'static str]) -> Self {
        self.definition.requires = requires;
        self
    }

    pub(crate) fn of_revision(mut self, revision: i32) -> Self {
        self.definition.revision = revision;
        self
    }

    pub(crate) fn declaring(mut self, specification: Document) -> Self {
        self.specification = specification;
        self
    }
}

#[async_trait]
impl Migration for Given {
    fn definition(&self) -> Definition {
        self.definition.clone()
    }

    fn specification(&self) -> Document {
        self.specification.clone()
    }

    async fn steps(&self) -> Result<Steps, StepsError> {
        (self.steps)().await
    }
}

/// As fast as the database can.
pub(crate) fn fast() -> Options {
    Options { throttle: Throttle::OFF, ..Options::default() }
}

/// An engine for these migrations, as another process would have it.
pub(crate) fn engine(database: &TestDatabase, migrations: &[Given]) -> Engine {
    engine_of(database.connection().client(), database, migrations, fast())
}

/// An engine that talks to the database through this client.
pub(crate) fn engine_of(
    client: &Client,
    database: &TestDatabase,
    migrations: &[Given],
    options: Options,
) -> Engine {
    new_engine(client, database.connection(), migrations, options)
}

fn new_engine(
    client: &Client,
    connection: &Connection,
    migrations: &[Given],
    options: Options,
) -> Engine {
    let shared = |migration: &Given| Arc::new(migration.clone()) as Arc<dyn Migration>;
    let migrations = migrations.iter().map(shared).collect();
    let database = client.database(connection.database().name());
    Engine::new(client, &database, connection.writers(), "test", "1.2.3", migrations, options)
}

/// Runs migrations as a command does.
pub(crate) async fn command(engine: &Engine) -> Result<(), RunError> {
    within("the run ends", engine.run(WaitPolicy::Bounded, &CancellationToken::new())).await
}

/// Runs one migration with these steps as a command does.
pub(crate) async fn run(database: &TestDatabase, steps: impl Into<Steps>) -> Result<(), RunError> {
    command(&engine(database, &[Given::steps(steps)])).await
}

/// Waits for something that takes a moment.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, future).await;
    done.unwrap_or_else(|_| panic!("it never happened that {what}"))
}

/// A service that runs its migrations.
pub(crate) struct Service {
    engine: Engine,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
}

impl Service {
    pub(crate) fn start(engine: &Engine) -> Self {
        Self::with(engine, &CancellationToken::new())
    }

    pub(crate) fn with(engine: &Engine, stop: &CancellationToken) -> Self {
        let (engine, stop) = (engine.clone(), stop.clone());
        let running = tokio::spawn({
            let (engine, stop) = (engine.clone(), stop.clone());
            async move { engine.run(WaitPolicy::Forever, &stop).await }
        });
        Self { engine, stop, running }
    }

    /// Waits until a migration is in a state, and says what it is waiting for.
    pub(crate) async fn comes_to(&self, id: &str, state: State) -> Option<String> {
        let statuses = self.engine.statuses();
        let status = || statuses.borrow().iter().find(|status| status.id == id).cloned().unwrap();
        eventually(&format!("{id} is {state:?}"), async || status().state == state).await;
        status().message
    }

    /// Waits until nothing is left to do.
    pub(crate) async fn ends(self) {
        within("the service is done", self.running).await.unwrap().unwrap();
    }

    /// Tells it to end before it is done.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let end = within("the service ends", self.running).await.unwrap();
        assert!(matches!(end, Err(RunError { kind: RunErrorKind::Interrupted, .. })), "{end:?}");
    }
}

/// A service in a runtime of its own.
pub(crate) struct Process(Runtime);

impl Process {
    pub(crate) fn start(database: &TestDatabase, migrations: &[Given], options: Options) -> Self {
        let threads =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = threads.unwrap();
        let (database, migrations) = (database.name().to_owned(), migrations.to_vec());
        runtime.spawn(async move {
            let connection = Connection::new(mongodb_uri(), &database, "test").await.unwrap();
            let engine = new_engine(connection.client(), &connection, &migrations, options);
            engine.run(WaitPolicy::Forever, &CancellationToken::new()).await
        });
        Self(runtime)
    }

    /// Ends it as `kill -9` does: at any point, and without a message or a release.
    pub(crate) fn kill(self) {
        self.0.shutdown_background();
    }
}

/// A place at which work waits until the test lets it continue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(AtomicBool, Notify)>);

impl Gate {
    /// Waits until the gate is opened.
    pub(crate) async fn pass(&self) {
        self.0.0.store(true, Ordering::SeqCst);
        within("the gate is opened", self.0.1.notified()).await;
    }

    /// Waits until something waits here.
    pub(crate) async fn reached(&self) {
        eventually("work comes to the gate", async || self.0.0.load(Ordering::SeqCst)).await;
    }

    /// Lets the waiting work continue.
    pub(crate) fn open(&self) {
        self.0.1.notify_one();
    }
}

/// A client that tells `watch` of its commands.
pub(crate) async fn monitored(watch: impl Fn(&CommandEvent) + Send + Sync + 'static) -> Client {
    let uri = tokio::task::spawn_blocking(mongodb_uri).await.unwrap();
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.command_event_handler = Some(EventHandler::callback(move |event| watch(&event)));
    Client::with_options(options).unwrap()
}

/// Does something to a collection before this returns, called from where nothing can be awaited.
pub(crate) fn concurrently(
    database: &str,
    collection: &str,
    change: impl AsyncFnOnce(Collection<Document>) + Send,
) {
    std::thread::scope(|threads| {
        let changing = threads.spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let client = Client::with_uri_str(mongodb_uri()).await.unwrap();
                change(client.database(database).collection(collection)).await;
            });
        });
        changing.join().unwrap();
    });
}

/// Commands that a client has sent.
#[derive(Clone, Default)]
pub(crate) struct Commands(Arc<Mutex<Vec<Document>>>);

impl Commands {
    /// A client whose commands are kept.
    pub(crate) async fn of_a_client() -> (Client, Self) {
        let commands = Self::default();
        let kept = commands.clone();
        let client = monitored(move |event| {
            if let CommandEvent::Started(event) = event {
                kept.0.lock().unwrap().push(event.command.clone());
            }
        });
        (client.await, commands)
    }

    pub(crate) fn all(&self) -> Vec<Document> {
        self.0.lock().unwrap().clone()
    }

    /// Commands of this name for this collection.
    pub(crate) fn of(&self, name: &str, collection: &str) -> Vec<Document> {
        let all = self.all();
        all.into_iter().filter(|command| command.get(name) == Some(&collection.into())).collect()
    }

    /// The names of all commands but those that only read.
    pub(crate) fn writes(&self) -> Vec<String> {
        let reads =
            ["hello", "aggregate", "find", "getMore", "listIndexes", "explain", "endSessions"];
        let names = self.all().into_iter().filter_map(|command| command.keys().next().cloned());
        names.filter(|name| !reads.contains(&name.as_str())).collect()
    }
}

/// Lets commands fail in the server, until it is dropped. The server has one such setting, so that
/// tests which need it wait for each other; others are not hit where `data` names a namespace of
/// the test's own database.
pub(crate) struct FailCommand {
    admin: Database,
    is_on: bool,
    _alone: MutexGuard<'static, ()>,
}

impl FailCommand {
    pub(crate) async fn set(
        database: &TestDatabase,
        mode: impl Into<Bson>,
        data: Document,
    ) -> Self {
        static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let alone = ALONE.lock().await;
        let admin = database.connection().client().database("admin");
        let set = doc! { "configureFailPoint": "failCommand", "mode": mode.into(), "data": data };
        admin.run_command(set).await.unwrap();
        Self { admin, is_on: true, _alone: alone }
    }

    /// Commands succeed again.
    pub(crate) async fn off(mut self) {
        self.is_on = false;
        let off = doc! { "configureFailPoint": "failCommand", "mode": "off" };
        self.admin.run_command(off).await.unwrap();
    }
}

impl Drop for FailCommand {
    fn drop(&mut self) {
        assert!(!self.is_on || std::thread::panicking(), "the fail point is still on");
    }
}

/// Counts the changes of each document in `n`, and sets `done`.
pub(crate) fn count_up() -> Step {
    let n = doc! { "$add": [{ "$ifNull": ["$n", 0] }, 1] };
    arc(Fill {
        key: "items counted".into(),
        collection: "items",
        filter: doc! { "done": { "$exists": false } },
        assign: Assign::Expressions(doc! { "done": { "$literal": true }, "n": n }),
    })
}

/// Sets `by` where it is missing.
pub(crate) fn set_by(by: &str) -> Step {
    arc(Fill::set("items set", "items", doc! { "by": { "$exists": false } }, doc! { "by": by }))
}

/// Inserts this many documents with ids from 0.
pub(crate) async fn insert_items(database: &TestDatabase, count: i32) {
    let items = (0..count).map(|id| doc! { "_id": id });
    database.collection("items").insert_many(items).await.unwrap();
}

/// Has the server refuse documents of `items` that match.
pub(crate) async fn refuse_items(database: &TestDatabase, refused: Document) {
    let validator = doc! { "$nor": [refused] };
    let rule = doc! { "collMod": "items", "validator": validator };
    database.database().run_command(rule).await.unwrap();
}

/// Sets the same fields on each document, and calls `concurrently` in the transaction with the number
/// of the batch.
pub(crate) fn each<F, R>(fields: Document, concurrently: F) -> Step
where
    F: Fn(usize) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let concurrently: Concurrently = Box::new(move |batch| Box::pin(concurrently(batch)));
    arc(Fill {
        key: "items set".into(),
        collection: "items",
        filter: doc! { "by": { "$exists": false } },
        assign: Assign::Each(Arc::new(SetEach { fields, concurrently, batches: Mutex::new(0) })),
    })
}

/// Sets `by` on each document, and stands still in this batch. The first is one document, the
/// second a thousand.
pub(crate) fn each_with_gate(by: &str, gate: &Gate, at: usize) -> Step {
    let gate = gate.clone();
    each(doc! { "by": by }, move |batch| {
        let gate = gate.clone();
        async move {
            if batch == at {
                gate.pass().await;
            }
        }
    })
}

type Concurrently = Box<dyn Fn(usize) -> BoxFuture<'static, ()> + Send + Sync>;

struct SetEach {
    fields: Document,
    concurrently: Concurrently,
    batches: Mutex<usize>,
}

impl std::fmt::Debug for SetEach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SetEach({})", self.fields)
    }
}

#[async_trait]
impl EachDocument for SetEach {
    fn reads(&self) -> &'static [&'static str] {
        &[]
    }

    fn writes(&self) -> &'static [&'static str] {
        &["by"]
    }

    async fn assign(
        &self,
        documents: Vec<Document>,
        _: &mut ClientSession,
    ) -> mongodb::error::Result<Vec<(Bson, Document)>> {
        let batch = {
            let mut batches = self.batches.lock().unwrap();
            *batches += 1;
            *batches
        };
        (self.concurrently)(batch).await;
        let set = |document: Document| (document.get("_id").unwrap().clone(), self.fields.clone());
        Ok(documents.into_iter().map(set).collect())
    }
}

/// The ledger's entry of the migration.
pub(crate) async fn entry(database: &TestDatabase) -> Document {
    entry_of(database, ID).await
}

/// The ledger's entry of a migration.
pub(crate) async fn entry_of(database: &TestDatabase, id: &str) -> Document {
    database.one(LEDGER, doc! { "_id": id }).await
}

/// A document has these fields with these values, whatever else it has.
#[track_caller]
pub(crate) fn assert_has(document: &Document, expected: Document) {
    for (field, value) in expected {
        assert_eq!(document.get(&field), Some(&value), "{field} of {document}");
    }
}

/// Returns the state of the migration in the ledger.
pub(crate) async fn state(database: &TestDatabase) -> String {
    entry(database).await.get_str("state").unwrap().to_owned()
}

/// Changes the entry as an operator with a shell would.
pub(crate) async fn edit_entry(database: &TestDatabase, update: Document) {
    let ledger = database.collection(LEDGER);
    let edited = ledger.update_one(doc! { "_id": ID }, update).await.unwrap();
    assert_eq!(edited.matched_count, 1);
}

/// Returns the changes of the steps of the migration in the ledger.
pub(crate) async fn parts(database: &TestDatabase) -> Vec<(String, i64)> {
    let entry = entry(database).await;
    let parts = entry.get_array("parts").unwrap().iter().map(|part| part.as_document().unwrap());
    parts
        .map(|part| (part.get_str("what").unwrap().to_owned(), part.get_i64("modified").unwrap()))
        .collect()
}

/// Lets the lease expire, as the server's clock would.
pub(crate) async fn expire_lease(database: &TestDatabase) {
    let past = doc! { "$set": { "expires_at": DateTime::from_millis(0) } };
    let leases = database.collection(LOCK);
    let expired = leases.update_one(doc! { "_id": "lease" }, past).await.unwrap();
    assert_eq!(expired.matched_count, 1);
}
