//! A site on whose database the program runs, and documents for it.

use std::{process::Command, time::Duration};

use migrations::{Entry, lease::Holder};
use mongodb::{
    Client, Collection, Database,
    bson::{DateTime, Document, doc, oid::ObjectId},
};
use test_support::{TestDatabase, eventually, migration_id, mongodb_uri};

use crate::{
    accounts::{Tally, journaled, repeated, signed},
    support::{Ended, Folder, Turbulence},
};

/// Duration of a lease in these tests, for which other processes wait after a kill.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Maximum time between the end of a killed process's lease and its acquisition by another process.
pub(crate) const TAKEOVER: Duration = Duration::from_secs(2);

/// The migration whose runs are disturbed.
pub(crate) use content_service::SECTION_BACKFILL as BACKFILL;

/// The backfill with so many documents in a second, in ten batches. It leaves no time to others
/// besides, which would take long on a busy machine.
pub(crate) fn slowly(documents_per_second: &str) -> [&str; 7] {
    let limit = "--documents-per-second";
    ["migrate", "up", "--to", BACKFILL, "--no-throttle", limit, documents_per_second]
}

/// The same for a service, as environment variables.
pub(crate) fn slow_service(documents_per_second: &str) -> [(&str, &str); 2] {
    [
        ("TURBULENCE__MIGRATIONS__THROTTLE", "off"),
        ("TURBULENCE__MIGRATIONS__DOCUMENTS_PER_SECOND", documents_per_second),
    ]
}

/// A line of the log of a process that does not get the lease.
pub(crate) const WAITS: &str = "waiting for the lease of another process";

/// A folder to run the program in, and a database.
pub(crate) struct Site {
    pub(crate) folder: Folder,
    pub(crate) uri: String,
    pub(crate) database: Database,
    lease: Duration,
    /// Dropped at the end of the test.
    _shared: Option<TestDatabase>,
}

impl Site {
    /// On the MongoDB that all tests share.
    pub(crate) async fn new() -> Self {
        let shared = TestDatabase::new().await;
        let database = shared.database().clone();
        let (folder, uri) = (Folder::new(), mongodb_uri().to_owned());
        Self { folder, uri, database, lease: LEASE, _shared: Some(shared) }
    }

    /// On another one.
    pub(crate) async fn on(uri: &str) -> Self {
        let name = format!("test_{}", ObjectId::new());
        let database = Client::with_uri_str(uri).await.unwrap().database(&name);
        Self { folder: Folder::new(), uri: uri.to_owned(), database, lease: LEASE, _shared: None }
    }

    /// With leases that hold for longer or shorter.
    pub(crate) fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// The program on this site's database.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_at(&self.uri, arguments)
    }

    /// The same by way of another address.
    pub(crate) fn command_at(&self, uri: &str, arguments: &[&str]) -> Command {
        let mut command = self.folder.command(arguments);
        command.args(["--mongodb-uri", uri, "--database", self.database.name()]);
        // The other databases of the shared MongoDB are sites of other tests.
        command.arg("--create");
        let lease = self.lease.as_secs().to_string();
        command.env("TURBULENCE__MIGRATIONS__LEASE_SECONDS", lease);
        command
    }

    /// Starts a command.
    pub(crate) fn start(&self, arguments: &[&str]) -> Turbulence {
        Turbulence::spawn(self.command(arguments))
    }

    /// Starts a command that is held at a place for ever once it has passed it `times` times.
    pub(crate) fn start_held(&self, arguments: &[&str], place: &str, times: u32) -> Turbulence {
        let mut command = self.command(arguments);
        command.env("FAILPOINTS", format!("{place}={times}*off->return"));
        Turbulence::spawn(command)
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).ended().await
    }

    /// Returns the number of migrations of both services.
    pub(crate) async fn migrations(&self) -> i64 {
        let ended = self.run(&["migrate", "status", "--json"]).await;
        let status: serde_json::Value = serde_json::from_str(ended.success()).unwrap();
        let of = |service: &str| status[service]["migrations"].as_array().unwrap().len();
        i64::try_from(of("sections") + of("content")).unwrap()
    }

    /// Applies everything up to a migration, that included.
    pub(crate) async fn migrate_to(&self, migration: &str) {
        self.run(&["migrate", "up", "--to", migration]).await.success();
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    pub(crate) async fn count(&self, collection: &str, filter: Document) -> i64 {
        signed(self.collection(collection).count_documents(filter).await.unwrap())
    }

    /// The hash of every collection, ledgers and leases included, except for those that a running
    /// service writes by itself.
    pub(crate) async fn hash(&self) -> String {
        test_support::hash(&self.database).await
    }

    /// Returns the ledger entry of a migration of content, if there is one.
    pub(crate) async fn find_entry(&self, migration: &str) -> Option<Entry> {
        self.find_entry_of("content", migration).await
    }

    /// The same for any service.
    pub(crate) async fn find_entry_of(&self, service: &str, migration: &str) -> Option<Entry> {
        let entries = self.database.collection::<Entry>(&format!("{service}_migrations"));
        entries.find_one(doc! { "_id": migration }).await.unwrap()
    }

    /// Returns the ledger entry of a migration of content.
    pub(crate) async fn entry(&self, migration: &str) -> Entry {
        self.find_entry(migration).await.unwrap()
    }

    /// Waits until the cursor of the backfill has moved, and returns the entry.
    pub(crate) async fn backfill_moves(&self) -> Entry {
        let before = self.find_entry(BACKFILL).await.and_then(|entry| entry.progress);
        let before = before.map(|progress| progress.cursor);
        eventually("the cursor moves", async || {
            let entry = self.find_entry(BACKFILL).await;
            let now = entry.and_then(|entry| entry.progress).map(|progress| progress.cursor);
            now.is_some() && now != before
        })
        .await;
        self.entry(BACKFILL).await
    }

    /// Returns the holder of the lease of content.
    pub(crate) async fn holder(&self) -> Option<Holder> {
        migrations::lease::holder(&self.database, "content").await.unwrap()
    }

    /// The id of the section with this slug.
    pub(crate) async fn section(&self, slug: &str) -> String {
        let filter = doc! { "slug": slug, "is_deleted": false };
        let section = self.collection("sections").find_one(filter).await.unwrap().unwrap();
        section.get_object_id("_id").unwrap().to_hex()
    }

    /// Compares stories, ledger and journal after the backfill: `count` stories had to be linked,
    /// each once.
    pub(crate) async fn account(&self, count: i64) -> Tally {
        let blog = self.section("blog").await;
        let linked = self.count("stories", doc! { "section_id": blog }).await;
        let entry = self.entry(BACKFILL).await;
        let changes = journaled(&self.database, "content", BACKFILL).await;
        let in_parts: i64 = entry.parts.iter().map(|part| part.modified).sum();
        Tally::counted(count, linked)
            .and(Tally::counted(count, signed(changes.len())))
            .and(Tally::counted(count, entry.journaled))
            .and(Tally::counted(count, in_parts))
            .and(Tally::round(0, repeated(&changes)))
    }
}

/// Stories that lack nothing but their section, with ids in the order of their numbers.
pub(crate) fn stories(numbers: std::ops::Range<u32>) -> impl Iterator<Item = Document> {
    numbers.map(|number| {
        let mut id = [0x65; 12];
        id[8..].copy_from_slice(&number.to_be_bytes());
        let date = DateTime::from_millis(1_704_067_200_000 + i64::from(number) * 60_000);
        doc! {
            "_id": ObjectId::from_bytes(id), "title": format!("Story {number}"),
            "content": "<p>Text.</p>", "slug": format!("story-{number}"), "is_published": true,
            "createdDate": date, "updatedDate": date, "user_id": "6158913c04f8996da763b7a9",
        }
    })
}

/// A site with so many stories on which everything is applied that comes before the backfill.
pub(crate) async fn ready_for_backfill(site: Site, count: u32) -> Site {
    if count > 0 {
        site.collection("stories").insert_many(stories(0..count)).await.unwrap();
    }
    site.migrate_to(migration_id("user_id")).await;
    site
}
