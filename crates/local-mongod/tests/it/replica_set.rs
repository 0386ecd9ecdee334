//! Tests of sets that lose some of their nodes.

use std::{env, fs, io::Write, path::Path};

use local_mongod::{Error, ReplicaSet};
use mongodb::{
    Client, Collection,
    bson::{Document, doc},
};

use crate::{OWNED_DATA, is_empty, start_and_kill_owner, until};

async fn start() -> ReplicaSet {
    ReplicaSet::start(3, vec![]).await.unwrap()
}

/// Returns a collection. By default, writes wait for the majority.
async fn stories(set: &ReplicaSet) -> Collection<Document> {
    let client = Client::with_uri_str(set.uri()).await.unwrap();
    client.database("test").collection("stories")
}

/// Returns a client of one node only.
async fn node_client(port: u16) -> Client {
    let uri = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
    Client::with_uri_str(uri).await.unwrap()
}

async fn is_secondary(port: u16) -> bool {
    let admin = node_client(port).await.database("admin");
    admin.run_command(doc! { "hello": 1 }).await.unwrap().get_bool("secondary").unwrap()
}

async fn secondaries(set: &ReplicaSet) -> Vec<u16> {
    let mut secondaries = vec![];
    for port in set.ports() {
        if is_secondary(port).await {
            secondaries.push(port);
        }
    }
    secondaries
}

#[tokio::test]
async fn a_killed_primary_is_replaced_and_returns_as_a_secondary() {
    let mut set = start().await;
    let stories = stories(&set).await;
    let first = set.primary().await.unwrap();
    let others: Vec<_> = set.ports().into_iter().filter(|port| *port != first).collect();
    assert_eq!(others.len(), 2);
    assert_eq!(secondaries(&set).await, others);
    stories.insert_one(doc! { "_id": "before" }).await.unwrap();

    set.kill(first).await.unwrap();
    let second = set.primary().await.unwrap();
    assert_ne!(second, first);
    stories.insert_one(doc! { "_id": "without it" }).await.unwrap();

    set.restart(first).await.unwrap();
    assert!(is_secondary(first).await);
    assert_eq!(set.primary().await.unwrap(), second);
    // Its own data, not a copy of another node's.
    let startups = node_client(first).await.database("local").collection::<Document>("startup_log");
    assert_eq!(startups.count_documents(doc! {}).await.unwrap(), 2);

    // Now it is one of the majority.
    let third = others.into_iter().find(|port| *port != second).unwrap();
    set.kill(third).await.unwrap();
    stories.insert_one(doc! { "_id": "with it" }).await.unwrap();
    assert_eq!(stories.count_documents(doc! {}).await.unwrap(), 3);
}

#[tokio::test]
async fn a_primary_that_steps_down_or_is_stopped_is_replaced() {
    let mut set = start().await;
    let stories = stories(&set).await;
    let first = set.primary().await.unwrap();

    set.step_down().await.unwrap();
    let second = set.primary().await.unwrap();
    assert_ne!(second, first);
    stories.insert_one(doc! {}).await.unwrap();

    set.signal(second, "STOP").unwrap();
    let third = set.primary().await.unwrap();
    assert_ne!(third, second);
    set.signal(second, "CONT").unwrap();
    // Even if the old primary still reports itself as one.
    assert_eq!(set.primary().await.unwrap(), third);
    stories.insert_one(doc! {}).await.unwrap();

    assert!(matches!(set.kill(1).await, Err(Error::NoSuchNode { port: 1 })));
    set.stop().await.unwrap();
}

#[tokio::test]
async fn killing_the_owner_of_a_set_leaves_no_process_and_no_folder() {
    let tmp = tempfile::tempdir().unwrap();
    start_and_kill_owner("replica_set::owner", "", tmp.path());

    // Supervisors and mongods have the folder on their command lines.
    until("all processes have ended", || !is_in_use(tmp.path())).await;
    until("the temporary folders are removed", || is_empty(tmp.path())).await;
}

fn is_in_use(dir: &Path) -> bool {
    fs::read_dir("/proc").unwrap().any(|process| {
        let command_line = fs::read(process.unwrap().path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command_line).contains(dir.to_str().unwrap())
    })
}

#[tokio::test]
#[ignore = "the other process of the test that kills one; does nothing by itself"]
async fn owner() {
    if env::var(OWNED_DATA).is_err() {
        return;
    }
    let mut set = start().await;
    let [again, dead, stopped] = set.ports()[..] else { panic!("{:?}", set.ports()) };
    set.restart(again).await.unwrap();
    set.kill(dead).await.unwrap();
    set.signal(stopped, "STOP").unwrap();
    writeln!(std::io::stdout(), "mongod=0").unwrap();
    std::future::pending::<()>().await;
}
