//! Many processes that start at once, and one that starts when all is done.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt};
use migrations::{Entry, State};
use mongodb::{
    Database,
    bson::{Document, doc},
    change_stream::event::OperationType,
};
use test_support::eventually;
use tokio::task::JoinHandle;

use crate::{
    accounts::{Tally, rounds, signed},
    sites::{Site, stories},
    support::{Folder, Turbulence},
};

/// Longer than anything here takes: it is not about a lease that ends.
const LONG_LEASE: Duration = Duration::from_secs(60);

const REPLICAS: usize = 10;

/// All migrations of both services.
const MIGRATIONS: i64 = 9;

/// Who got the lease of a service under which fence.
struct Hands {
    events: Arc<Mutex<Vec<(String, i64, String)>>>,
    task: JoinHandle<()>,
}

impl Hands {
    /// Watches all leases of a database from now on.
    async fn watch(database: &Database) -> Self {
        let mut changes = database.watch().await.unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = events.clone();
        let task = tokio::spawn(async move {
            while let Some(Ok(change)) = changes.next().await {
                let Some(updated) = change.update_description else { continue };
                let collection = change.ns.and_then(|ns| ns.coll).unwrap_or_default();
                let fields = updated.updated_fields;
                let is_update = matches!(change.operation_type, OperationType::Update);
                // A renewal changes neither, a release not the fence.
                if is_update
                    && let (Ok(owner), Ok(fence)) =
                        (fields.get_str("owner"), fields.get_i64("fence"))
                    && let Some(service) = collection.strip_suffix("_migration_lock")
                {
                    seen.lock().unwrap().push((service.to_owned(), fence, owner.to_owned()));
                }
            }
        });
        Self { events, task }
    }

    /// The owner of each fence of each service so far; fails where there are two, or a fence is
    /// missing.
    async fn owners(&self, site: &Site) -> BTreeMap<(String, i64), String> {
        for service in ["sections", "content"] {
            let lease = migrations::lease::holder(&site.database, service).await.unwrap().unwrap();
            let is_last =
                |(of, fence, _): &(String, i64, String)| of == service && *fence == lease.fence;
            eventually("the last lease was seen", async || {
                self.events.lock().unwrap().iter().any(is_last)
            })
            .await;
        }
        let mut owners = BTreeMap::new();
        let mut last = BTreeMap::new();
        for (service, fence, owner) in self.events.lock().unwrap().clone() {
            let before = last.insert(service.clone(), fence).unwrap_or_default();
            assert_eq!(fence, before + 1, "the fences of {service} do not grow by one");
            assert_eq!(owners.insert((service, fence), owner), None);
        }
        owners
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn ten_replicas_on_an_empty_database_give_the_result_of_one() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(2) {
        let site = Site::new().await.with_lease(LONG_LEASE);
        let hands = Hands::watch(&site.database).await;
        let folders: Vec<_> = (0..REPLICAS).map(|_| Folder::new()).collect();
        let start = |folder: &Folder| {
            let mut command = site.command(&["up", "--port", "0"]);
            command.current_dir(folder.path(""));
            command.env("TURBULENCE__ADMIN__EMAIL", "admin@example.com");
            Turbulence::spawn(command)
        };
        let replicas: Vec<_> = folders.iter().map(start).collect();
        for replica in &replicas {
            let summary = replica.ready().await;
            assert_eq!(summary.get("/health/ready").await.0, 200);
        }

        let owners = hands.owners(&site).await;
        let mut attempts = 0;
        for service in ["sections", "content"] {
            let entries = site.database.collection::<Entry>(&format!("{service}_migrations"));
            let entries: Vec<Entry> =
                entries.find(doc! {}).await.unwrap().try_collect().await.unwrap();
            for entry in entries {
                assert_eq!(entry.state, State::Applied, "{entry:#?}");
                attempts += entry.attempts;
                let [run] = entry.history.as_slice() else { panic!("{entry:#?}") };
                assert_eq!(owners[&(service.to_owned(), run.fence)], run.owner, "{entry:#?}");
            }
        }
        tally += Tally::counted(4, site.count("sections", doc! {}).await)
            .beside(Tally::counted(1, site.count("users", doc! {}).await))
            .beside(Tally::counted(MIGRATIONS, attempts));
    }
    tally
}

/// What writes. The profiler writes down commands by their names.
fn writes() -> Document {
    let commands = ["createIndexes", "dropIndexes", "findAndModify", "create", "collMod"];
    let command = commands.map(|name| doc! { format!("command.{name}"): { "$exists": true } });
    let mut any = vec![doc! { "op": { "$in": ["insert", "update", "remove"] } }];
    any.extend(command);
    doc! { "$or": any, "ns": { "$not": { "$regex": "system.profile$" } } }
}

pub(crate) async fn a_run_after_success_writes_nothing() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = Site::new().await;
        site.collection("stories").insert_many(stories(0..50)).await.unwrap();
        site.collection("pages").insert_one(doc! { "page_type": "imprint" }).await.unwrap();
        site.run(&["migrate", "up"]).await.success();
        let before = site.hash().await;

        site.database.run_command(doc! { "profile": 2 }).await.unwrap();
        site.run(&["migrate", "up"]).await.success();
        let up = site.start(&["up", "--port", "0"]);
        up.ready().await;
        up.stop().await;
        site.database.run_command(doc! { "profile": 0 }).await.unwrap();

        let profile = site.collection("system.profile");
        assert!(profile.count_documents(doc! { "op": "query" }).await.unwrap() > 0);
        let written = signed(profile.count_documents(writes()).await.unwrap());
        profile.drop().await.unwrap();
        assert_eq!(site.hash().await, before);
        tally += Tally::round(0, written);
    }
    tally
}
