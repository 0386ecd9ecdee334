//! Counting lost and duplicate changes, and the history of the ledger.

use std::{
    collections::BTreeMap,
    fmt,
    ops::AddAssign,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::{StreamExt, TryStreamExt};
use migrations::{Entry, Progress, State};
use mongodb::{
    Database,
    bson::{self, Bson, Document, doc},
    options::FullDocumentType,
};
use test_support::eventually;
use tokio::task::JoinHandle;

use crate::traffic::Traffic;

/// The results of some rounds of a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) rounds: u32,
    /// Number of missing documents, indexes or records of them.
    pub(crate) lost: i64,
    /// Number of recorded changes or insertions beyond the expected ones.
    pub(crate) doubled: i64,
    /// The requests of clients during the fault, if there were any.
    pub(crate) traffic: Traffic,
}

impl Tally {
    /// One round.
    pub(crate) fn round(lost: i64, doubled: i64) -> Self {
        Self { rounds: 1, lost, doubled, ..Self::default() }
    }

    /// One round, in which there should be so many of something.
    pub(crate) fn counted(expected: i64, found: i64) -> Self {
        Self::round((expected - found).max(0), (found - expected).max(0))
    }

    /// The same round, looked at in another way: what is missing or too much in both is the same.
    pub(crate) fn and(self, other: Self) -> Self {
        let (lost, doubled) = (self.lost.max(other.lost), self.doubled.max(other.doubled));
        Self { lost, doubled, ..self }
    }

    /// The same round, as to something else.
    pub(crate) fn beside(self, other: Self) -> Self {
        Self { lost: self.lost + other.lost, doubled: self.doubled + other.doubled, ..self }
    }

    /// The same round, with the requests of clients during it.
    pub(crate) fn with_traffic(self, traffic: Traffic) -> Self {
        Self { traffic, ..self }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.rounds > 0
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.traffic += other.traffic;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, lost, doubled, traffic } = self;
        write!(f, "{lost} lost and {doubled} doubled in {rounds} rounds, {traffic}")
    }
}

/// Returns a number of repetitions: `count`, and more in a longer run.
pub(crate) fn rounds(count: u32) -> std::ops::Range<u32> {
    0..count * factor()
}

/// The number of rounds from which limits of time are exact. Shorter runs share their machine with
/// other tests.
const LONG_RUN: u32 = 3;

/// Returns `true` if limits of time are exact.
pub(crate) fn is_long_run() -> bool {
    factor() >= LONG_RUN
}

fn factor() -> u32 {
    let factor = std::env::var("TURBULENCE_FAULT_ROUNDS").ok();
    factor.map_or(1, |factor| factor.parse().unwrap())
}

/// Converts a number of documents of the driver.
pub(crate) fn signed(count: impl TryInto<i64, Error: fmt::Debug>) -> i64 {
    count.try_into().unwrap()
}

/// Returns the journal of a migration: the `_id`s in the order of the changes, each with the fence
/// under which it was changed.
pub(crate) async fn journaled(
    database: &Database,
    service: &str,
    migration: &str,
) -> Vec<(i64, Bson)> {
    let records = database.collection::<Document>(&format!("{service}_migration_journal"));
    let records = records.find(doc! { "migration": migration }).sort(doc! { "fence": 1, "_id": 1 });
    let records: Vec<Document> = records.await.unwrap().try_collect().await.unwrap();
    let mut all = Vec::new();
    for record in records {
        let fence = record.get_i64("fence").unwrap();
        let change = record.get_document("change").unwrap();
        let ids: Vec<Bson> = match change.iter().next().unwrap() {
            (kind, Bson::Document(added)) if kind == "added" => {
                added.get_array("ids").unwrap().clone()
            }
            (kind, Bson::Document(index)) if kind == "built" => {
                let name = index.get_str("name").unwrap();
                let collection = record.get_str("collection").unwrap();
                vec![Bson::from(format!("{collection}.{name}"))]
            }
            (kind, Bson::Array(documents)) => {
                let field = if kind == "set" { "id" } else { "_id" };
                let id = |one: &Bson| one.as_document().unwrap().get(field).unwrap().clone();
                documents.iter().map(id).collect()
            }
            other => panic!("a change of an unknown kind: {other:?}"),
        };
        assert_eq!(record.get_i64("count").unwrap(), signed(ids.len()), "{record}");
        all.extend(ids.into_iter().map(|id| (fence, id)));
    }
    all
}

/// Returns the number of repeated occurrences.
pub(crate) fn repeated(ids: &[(i64, Bson)]) -> i64 {
    let mut times = BTreeMap::<String, i64>::new();
    for (_, id) in ids {
        *times.entry(id.to_string()).or_default() += 1;
    }
    times.values().map(|times| times - 1).sum()
}

/// Everything that was ever in a collection, from a certain time on, write by write.
pub(crate) struct Recording {
    database: Database,
    collection: String,
    documents: Arc<Mutex<Vec<Document>>>,
    task: JoinHandle<()>,
}

impl Recording {
    /// Records a collection, which must exist, from now on.
    pub(crate) async fn start(database: &Database, collection: &str) -> Self {
        // The server keeps each version of a document (MongoDB manual, "Change Streams with
        // Document Pre- and Post-Images").
        let images =
            doc! { "collMod": collection, "changeStreamPreAndPostImages": { "enabled": true } };
        database.run_command(images).await.unwrap();
        let watched = database.collection::<Document>(collection);
        let changes = watched.watch().full_document(FullDocumentType::Required);
        let mut changes = changes.await.unwrap();
        let documents = Arc::new(Mutex::new(Vec::new()));
        let recorded = documents.clone();
        let task = tokio::spawn(async move {
            while let Some(Ok(change)) = changes.next().await {
                recorded.lock().unwrap().extend(change.full_document);
            }
        });
        let (database, collection) = (database.clone(), collection.to_owned());
        Self { database, collection, documents, task }
    }

    fn so_far(&self) -> MutexGuard<'_, Vec<Document>> {
        self.documents.lock().unwrap()
    }

    /// Every version of a document up to the present one.
    pub(crate) async fn versions<T: serde::de::DeserializeOwned>(&self, id: &str) -> Vec<T> {
        let of = |document: &Document| document.get_str("_id").is_ok_and(|found| found == id);
        let collection = self.database.collection::<Document>(&self.collection);
        let last = collection.find_one(doc! { "_id": id }).await.unwrap();
        eventually("the recording has come to the present", async || {
            self.so_far().iter().rfind(|document| of(document)) == last.as_ref()
        })
        .await;
        let versions = self.so_far().iter().filter(|document| of(document)).cloned().collect();
        let read = |version: Document| bson::deserialize_from_document(version).unwrap();
        Vec::into_iter(versions).map(read).collect()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Fails where the cursor of a migration went back within a pass, or its counts did.
pub(crate) fn assert_forward(versions: &[Entry]) {
    let mut before: Option<&Progress> = None;
    for version in versions {
        assert!(version.state != State::Applied || version.progress.is_none(), "{version:#?}");
        let Some(now) = &version.progress else { continue };
        if let Some(before) = before
            && (&before.step, &before.upper_id) == (&now.step, &now.upper_id)
        {
            let at = |progress: &Progress| progress.cursor.as_object_id().unwrap();
            assert!(at(now) >= at(before), "the cursor went from {before:#?} back to {now:#?}");
            assert!(now.modified >= before.modified, "from {before:#?} back to {now:#?}");
        }
        before = Some(now);
    }
}
