//! A real MongoDB for the tests of a process, and a database for each of them.

use std::{sync::OnceLock, thread};

use local_mongod::{DataDir, LocalMongod, Options};
use mongo_kit::{Connection, WRITERS};
use mongodb::{
    Collection, Database,
    bson::{Document, doc},
    options::ClientOptions,
};
use uuid::Uuid;

use crate::{Link, eventually};

/// The collection in which content-service keeps the sections that it has read.
pub const SECTION_DIRECTORY: &str = "content_section_directory";

/// Returns the connection string of the MongoDB that all tests of this process share.
pub fn mongodb_uri() -> &'static str {
    static URI: OnceLock<String> = OnceLock::new();
    URI.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        // The server outlives the runtimes of the tests: it runs on a thread of its own until the
        // process ends.
        thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
                async {
                    let options = Options {
                        data: DataDir::Temporary,
                        server_parameters: vec![("enableTestCommands".into(), "1".into())],
                        cache_mb: Some(256),
                    };
                    let mongod = LocalMongod::start(options).await.expect("MongoDB starts");
                    sender.send(mongod.uri().to_owned()).unwrap();
                    std::future::pending::<()>().await;
                },
            );
        });
        receiver.recv().expect("MongoDB started")
    })
}

/// A database for one test, dropped at its end.
pub struct TestDatabase {
    connection: Connection,
    name: String,
}

impl TestDatabase {
    /// Creates an empty database.
    pub async fn new() -> Self {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let uri = tokio::task::spawn_blocking(mongodb_uri).await.unwrap();
        let connection = Connection::new(uri, &name, "test").await.unwrap();
        Self { connection, name }
    }

    /// Returns the name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns a connection to the database.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the database.
    pub fn database(&self) -> &Database {
        self.connection.database()
    }

    /// Returns a collection of the database.
    pub fn collection(&self, name: &str) -> Collection<Document> {
        self.database().collection(name)
    }

    /// Returns a link to MongoDB that can be cut.
    pub async fn link(&self) -> Link {
        let options = ClientOptions::parse(mongodb_uri()).await.unwrap();
        Link::to(options.hosts[0].to_string()).await
    }

    /// Inserts documents.
    pub async fn insert<const N: usize>(&self, collection: &str, documents: [Document; N]) {
        self.collection(collection).insert_many(documents).await.unwrap();
    }

    /// Returns the only document that matches the filter.
    pub async fn one(&self, collection: &str, filter: Document) -> Document {
        let collection = self.collection(collection);
        assert_eq!(collection.count_documents(filter.clone()).await.unwrap(), 1, "{filter}");
        collection.find_one(filter).await.unwrap().unwrap()
    }

    /// Returns the number of documents that match the filter.
    pub async fn count(&self, collection: &str, filter: Document) -> u64 {
        self.collection(collection).count_documents(filter).await.unwrap()
    }

    /// Waits until no process holds the lease of a service. A process releases it shortly after its last
    /// migration is settled, so that a [`hash`](Self::hash) before that may change.
    pub async fn leases_released(&self) {
        eventually("the leases are released", async || {
            for lock in ["sections_migration_lock", "content_migration_lock"] {
                if self.count(lock, doc! { "owner": { "$ne": null } }).await > 0 {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Returns the [`hash`] of this database.
    pub async fn hash(&self) -> String {
        hash(self.database()).await
    }
}

/// Returns the hash that the server computes over all documents of all collections, except for those
/// that a running service writes by itself: its heartbeats, the sections that it has read, and the words
/// of items.
pub async fn hash(database: &Database) -> String {
    let answer = database.run_command(doc! { "dbHash": 1 }).await.unwrap();
    let mut hashes = answer.get_document("collections").unwrap().clone();
    hashes.remove(WRITERS);
    hashes.remove(SECTION_DIRECTORY);
    hashes.remove("content_search");
    hashes.to_string()
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let name = self.name.clone();
        let dropped = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let connection = Connection::new(mongodb_uri(), &name, "test").await.unwrap();
                connection.database().drop().await
            })
        });
        // The panic of a failed test is not replaced by another one.
        if !thread::panicking() {
            dropped.join().unwrap().unwrap();
        }
    }
}
