//! What the tests share: migrations made of given steps, and engines for them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use migrations::{
    Assign, Definition, EachDocument, Engine, Fill, Kind, Migration, Step, StepsError,
};
use mongodb::{
    Client, ClientSession,
    bson::{Bson, DateTime, Document, doc},
    event::{EventHandler, command::CommandEvent},
    options::{ClientOptions, UpdateModifications},
};
use test_support::{TestDatabase, mongodb_uri};

/// The id of the migration of most tests.
pub(crate) const ID: &str = "0001_test";

type Steps = Arc<dyn Fn() -> Result<Vec<Step>, StepsError> + Send + Sync>;

/// A migration with these steps.
#[derive(Clone)]
pub(crate) struct Given {
    definition: Definition,
    steps: Steps,
}

impl Given {
    pub(crate) fn new<F>(steps: F) -> Self
    where
        F: Fn() -> Result<Vec<Step>, StepsError> + Send + Sync + 'static,
    {
        let definition = Definition {
            id: ID,
            kind: Kind::Backfill,
            blocking: false,
            revision: 1,
            summary: "for a test",
        };
        Self { definition, steps: Arc::new(steps) }
    }

    pub(crate) fn steps(steps: impl Into<Vec<Step>>) -> Self {
        let steps = steps.into();
        Self::new(move || Ok(steps.clone()))
    }

    pub(crate) fn blocking(mut self, blocking: bool) -> Self {
        self.definition.blocking = blocking;
        self
    }

    pub(crate) fn called(mut self, id: &'static str) -> Self {
        self.definition.id = id;
        self
    }
}

#[async_trait]
impl Migration for Given {
    fn definition(&self) -> Definition {
        self.definition.clone()
    }

    async fn steps(&self) -> Result<Vec<Step>, StepsError> {
        (self.steps)()
    }
}

/// An engine for these migrations, as another process would have it.
pub(crate) fn engine(database: &TestDatabase, migrations: &[Given]) -> Arc<Engine> {
    engine_of(database.connection().client(), database, migrations)
}

/// An engine that talks to the database through this client.
pub(crate) fn engine_of(
    client: &Client,
    database: &TestDatabase,
    migrations: &[Given],
) -> Arc<Engine> {
    let shared = |migration: &Given| Arc::new(migration.clone()) as Arc<dyn Migration>;
    let migrations = migrations.iter().map(shared).collect();
    Arc::new(Engine::new(client, &client.database(database.name()), "test", "1.2.3", migrations))
}

/// A client that tells `watch` of its commands.
pub(crate) async fn monitored(watch: impl Fn(&CommandEvent) + Send + Sync + 'static) -> Client {
    let uri = tokio::task::spawn_blocking(mongodb_uri).await.unwrap();
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.command_event_handler = Some(EventHandler::callback(move |event| watch(&event)));
    Client::with_options(options).unwrap()
}

/// Counts how often each document is changed: `n` grows, and `done` says that it was.
pub(crate) fn count_up() -> Step {
    Step::Fill(Fill {
        what: "items counted".to_owned(),
        collection: "items",
        filter: doc! { "done": { "$exists": false } },
        assign: Assign::Update(UpdateModifications::Document(
            doc! { "$set": { "done": true }, "$inc": { "n": 1 } },
        )),
    })
}

/// Inserts this many documents with ids from 0.
pub(crate) async fn insert_items(database: &TestDatabase, count: i32) {
    let items = (0..count).map(|id| doc! { "_id": id });
    database.collection("items").insert_many(items).await.unwrap();
}

/// Sets the same fields on each document, and calls `meanwhile` in the transaction.
pub(crate) fn each<F, R>(fields: Document, meanwhile: F) -> Step
where
    F: Fn(usize) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let meanwhile: Meanwhile = Box::new(move |batch| Box::pin(meanwhile(batch)));
    Step::Fill(Fill {
        what: "items set".to_owned(),
        collection: "items",
        filter: doc! { "by": { "$exists": false } },
        assign: Assign::Each(Arc::new(SetEach { fields, meanwhile, batches: Mutex::new(0) })),
    })
}

type Meanwhile =
    Box<dyn Fn(usize) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

struct SetEach {
    fields: Document,
    meanwhile: Meanwhile,
    batches: Mutex<usize>,
}

impl std::fmt::Debug for SetEach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SetEach({})", self.fields)
    }
}

#[async_trait]
impl EachDocument for SetEach {
    fn projection(&self) -> Document {
        doc! { "_id": 1 }
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
        (self.meanwhile)(batch).await;
        let set = |document: Document| (document.get("_id").unwrap().clone(), self.fields.clone());
        Ok(documents.into_iter().map(set).collect())
    }
}

/// The ledger's entry of the migration.
pub(crate) async fn entry(database: &TestDatabase) -> Document {
    database.one("test_migrations", doc! { "_id": ID }).await
}

/// Lets the lease expire, as the server's clock would.
pub(crate) async fn expire_lease(database: &TestDatabase) {
    let past = doc! { "$set": { "expires_at": DateTime::from_millis(0) } };
    let leases = database.collection("test_migration_lock");
    let expired = leases.update_one(doc! { "_id": "lease" }, past).await.unwrap();
    assert_eq!(expired.matched_count, 1);
}
