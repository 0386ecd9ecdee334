//! An old program without sections that writes while the backfill runs.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::TryStreamExt;
use migrations::State;
use mongodb::{
    Collection,
    bson::{Bson, Document, doc, oid::ObjectId},
    options::ReturnDocument,
};
use tokio::task::JoinHandle;

use crate::{
    accounts::{Recording, Tally, assert_forward, journaled, rounds, signed},
    sites::{BACKFILL, Site, ready_for_backfill, slowly, stories},
};

const STORIES: u32 = 600;

/// A program from before there were sections. It reads, changes and writes documents, in the ways
/// in which such programs do, and remembers all of it.
struct OldProgram {
    stories: Collection<Document>,
    /// Its last write to each story, by number; `None` if it deleted the story.
    written: BTreeMap<u32, Option<Written>>,
    /// Number of times that it overwrote the section of a linked story without reading it.
    unlinked: i64,
    /// Number of linked stories that it deleted.
    deleted_linked: i64,
    next_number: u32,
}

#[derive(Debug, Clone, PartialEq)]
struct Written {
    version: i64,
    section: Section,
}

/// The section in a write of the old program.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Section {
    /// Nothing: the backfill is to link the story.
    Unknown,
    /// An editor decided that the story has none.
    None,
    /// An editor chose another one.
    Chosen,
}

/// A section that the backfill does not know.
const CHOSEN: &str = "ffffffffffffffffffffffff";

fn id(number: u32) -> ObjectId {
    let story = stories(number..number + 1).next().unwrap();
    story.get_object_id("_id").unwrap()
}

impl OldProgram {
    fn new(stories: Collection<Document>) -> Self {
        let written = Written { version: 0, section: Section::Unknown };
        let written = (0..STORIES).map(|number| (number * 2, Some(written.clone()))).collect();
        Self { stories, written, unlinked: 0, deleted_linked: 0, next_number: 2 * STORIES }
    }

    /// Writes until `stop` is set.
    async fn run(mut self, stop: Arc<AtomicBool>) -> Self {
        let mut step = 0;
        while !stop.load(Ordering::SeqCst) {
            // All over the collection, in an order that looks random and is not.
            let place = step * 7919 % self.written.len();
            let number = *self.written.keys().nth(place).unwrap();
            match (step % 10, self.written[&number].clone()) {
                (0, _) => self.insert_after_all().await,
                (1, _) => self.insert_between(number).await,
                (_, None) => {}
                (2, _) => self.delete(number).await,
                (3, Some(written)) => self.replace(number, written).await,
                (4, Some(written)) => self.decide(number, written, Section::None).await,
                (5, Some(written)) => self.decide(number, written, Section::Chosen).await,
                (_, Some(written)) => self.update(number, written).await,
            }
            step += 1;
        }
        self
    }

    async fn insert(&mut self, number: u32) {
        let mut story = stories(number..number + 1).next().unwrap();
        story.insert("version", 0_i64);
        self.stories.insert_one(story).await.unwrap();
        self.written.insert(number, Some(Written { version: 0, section: Section::Unknown }));
    }

    async fn insert_after_all(&mut self) {
        self.insert(self.next_number).await;
        self.next_number += 2;
    }

    /// Between two stories: behind the cursor or before it.
    async fn insert_between(&mut self, number: u32) {
        if !self.written.contains_key(&(number | 1)) {
            self.insert(number | 1).await;
        }
    }

    async fn delete(&mut self, number: u32) {
        let deleted = self.stories.find_one_and_delete(doc! { "_id": id(number) }).await.unwrap();
        let was_linked = is_linked(&deleted.unwrap());
        self.deleted_linked += i64::from(was_linked);
        self.written.insert(number, None);
    }

    async fn update(&mut self, number: u32, mut written: Written) {
        written.version += 1;
        let change = doc! { "$inc": { "version": 1_i64 } };
        let updated = self.stories.find_one_and_update(doc! { "_id": id(number) }, change);
        let updated = updated.return_document(ReturnDocument::After).await.unwrap().unwrap();
        assert_eq!(updated.get_i64("version").unwrap(), written.version, "a write was lost");
        self.written.insert(number, Some(written));
    }

    /// Replaces the whole document by the one of this program, which has no section.
    async fn replace(&mut self, number: u32, mut written: Written) {
        if written.section != Section::Unknown {
            return;
        }
        written.version += 1;
        let mut story = stories(number..number + 1).next().unwrap();
        story.insert("version", written.version);
        let replaced = self.stories.find_one_and_replace(doc! { "_id": id(number) }, story).await;
        let before = replaced.unwrap().unwrap();
        assert_eq!(before.get_i64("version").unwrap(), written.version - 1, "a write was lost");
        self.unlinked += i64::from(is_linked(&before));
        self.written.insert(number, Some(written));
    }

    async fn decide(&mut self, number: u32, mut written: Written, section: Section) {
        written.version += 1;
        written.section = section;
        let value = if section == Section::Chosen { Bson::from(CHOSEN) } else { Bson::Null };
        let change = doc! { "$inc": { "version": 1_i64 }, "$set": { "section_id": value } };
        let updated = self.stories.find_one_and_update(doc! { "_id": id(number) }, change);
        let before = updated.await.unwrap().unwrap();
        self.unlinked += i64::from(is_linked(&before));
        self.written.insert(number, Some(written));
    }

    /// Compares what it wrote with what is there: how many writes were lost.
    async fn lost(&self, blog: &str) -> i64 {
        let all: Vec<Document> =
            self.stories.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        let mut found: BTreeMap<ObjectId, Document> = BTreeMap::new();
        for story in all {
            found.insert(story.get_object_id("_id").unwrap(), story);
        }
        let mut lost = 0;
        for (number, written) in &self.written {
            let story = found.remove(&id(*number));
            let is_right = match (written, &story) {
                (None, None) => true,
                (Some(written), Some(story)) => {
                    let section = story.get("section_id");
                    let is_right = match written.section {
                        Section::Unknown => section == Some(&Bson::from(blog)),
                        Section::None => section == Some(&Bson::Null),
                        Section::Chosen => section == Some(&Bson::from(CHOSEN)),
                    };
                    is_right && story.get_i64("version").ok() == Some(written.version)
                }
                _ => false,
            };
            if !is_right {
                lost += 1;
                eprintln!("story {number}: {written:?} was written, but there is {story:?}");
            }
        }
        assert!(found.is_empty(), "nobody wrote {found:?}");
        lost
    }

    /// Returns the expected number of changes of the backfill: stories that are or were linked.
    fn changes(&self) -> i64 {
        let is_linked = |written: &&Option<Written>| {
            written.as_ref().is_some_and(|written| written.section == Section::Unknown)
        };
        let linked = self.written.values().filter(is_linked).count();
        signed(linked) + self.unlinked + self.deleted_linked
    }
}

/// Returns `true` if the backfill has linked the story.
fn is_linked(story: &Document) -> bool {
    story.get_str("section_id").is_ok_and(|section| section != CHOSEN)
}

pub(crate) async fn an_old_program_that_writes_meanwhile_loses_nothing() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(2) {
        let site = ready_for_backfill(Site::new().await, 0).await;
        let every_second = stories(0..2 * STORIES).step_by(2).map(|mut story| {
            story.insert("version", 0_i64);
            story
        });
        site.collection("stories").insert_many(every_second).await.unwrap();
        let recording = Recording::start(&site.database, "content_migrations").await;

        let stop = Arc::new(AtomicBool::new(false));
        let program = OldProgram::new(site.collection("stories")).run(stop.clone());
        let program: JoinHandle<OldProgram> = tokio::spawn(program);
        let backfill = site.start(&slowly("300"));
        // It writes from before the first batch until most is done.
        loop {
            let progress = site.backfill_moves().await.progress.unwrap();
            if progress.modified > i64::from(STORIES) * 3 / 4 {
                break;
            }
        }
        stop.store(true, Ordering::SeqCst);
        let program = program.await.unwrap();
        backfill.ended().await.success();

        let entry = site.entry(BACKFILL).await;
        assert_eq!((entry.state, entry.attempts), (State::Applied, 1), "{entry:#?}");
        assert_forward(&recording.versions(BACKFILL).await);
        let blog = site.section("blog").await;
        let changes = journaled(&site.database, "content", BACKFILL).await;
        let kinds = [program.unlinked, program.deleted_linked];
        assert!(kinds.iter().all(|count| *count > 0), "it did not get in the way: {kinds:?}");
        tally += Tally::round(program.lost(&blog).await, 0)
            .beside(Tally::counted(program.changes(), signed(changes.len())))
            .and(Tally::counted(program.changes(), entry.journaled));
    }
    tally
}
