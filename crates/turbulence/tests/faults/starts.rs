//! Many processes that start at once, and one that starts when all is done.

use std::{collections::BTreeMap, time::Duration};

use futures_util::TryStreamExt;
use migrations::{Entry, State};
use mongodb::bson::{Document, doc};
use test_support::{SECTION_DIRECTORY, eventually};

use crate::{
    accounts::{Tally, rounds, signed},
    sites::{Site, stories},
    support::{Folder, Turbulence},
};

/// Longer than anything here takes: it is not about a lease that ends.
const LONG_LEASE: Duration = Duration::from_secs(60);

const REPLICAS: usize = 10;

/// The owner of each fence of each service, by what the server has written down of every change
/// of hands; fails where there are two, or a fence is missing.
async fn owners(site: &Site) -> BTreeMap<(String, i64), String> {
    let oplog = site.database.client().database("local").collection::<Document>("oplog.rs");
    let mut owners = BTreeMap::new();
    for service in ["sections", "content"] {
        let locks = format!("{}.{service}_migration_lock", site.database.name());
        let changes = oplog.find(doc! { "ns": locks, "op": "u" }).sort(doc! { "$natural": 1 });
        let changes: Vec<Document> = changes.await.unwrap().try_collect().await.unwrap();
        let mut last = 0;
        for change in changes {
            // What changed, or all of the document where that is shorter.
            let written = change.get_document("o").unwrap();
            let diff = written.get_document("diff").and_then(|diff| diff.get_document("u"));
            let fields = diff.unwrap_or(written);
            let (Ok(owner), Ok(fence)) = (fields.get_str("owner"), fields.get_i64("fence")) else {
                continue;
            };
            // A renewal changes neither, a release not the fence.
            if fence == last {
                assert_eq!(owners[&(service.to_owned(), fence)], owner, "a fence has one owner");
                continue;
            }
            assert_eq!(fence, last + 1, "the fences of {service} do not grow by one");
            last = fence;
            owners.insert((service.to_owned(), fence), owner.to_owned());
        }
        let lease = migrations::lease::holder(&site.database, service).await.unwrap().unwrap();
        assert_eq!(lease.fence, last, "the server has written down every change of hands");
    }
    owners
}

pub(crate) async fn ten_replicas_on_an_empty_database_give_the_result_of_one() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(2) {
        let site = Site::new().await.with_lease(LONG_LEASE);
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

        let owners = owners(&site).await;
        let migrations = site.migrations().await;
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
            .beside(Tally::counted(migrations, attempts));
    }
    tally
}

/// Returns the filter of writes. The profiler records commands by their names.
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
        // The first start keeps the sections that it reads.
        let up = site.start(&["up", "--port", "0"]);
        up.ready().await;
        eventually("the sections are kept", async || {
            site.count(SECTION_DIRECTORY, doc! {}).await > 0
        })
        .await;
        up.stop().await;
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
