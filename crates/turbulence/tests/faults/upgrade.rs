//! The database and the processes of a site while this version of the program replaces an earlier one,
//! and the earlier one replaces it.
//!
//! `just upgrade` builds the earlier version and names it in `TURBULENCE_EARLIER_PROGRAM`. Without it,
//! these tests are ignored.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use futures_util::TryStreamExt;
use mongo_kit::WRITERS;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use test_support::{Api, SECTION_DIRECTORY, TOKEN, TestDatabase, mongodb_uri};

use crate::{
    accounts::{Tally, rounds},
    cluster::{Cluster, Kind},
    legacy,
    support::{Folder, PROGRAM, Turbulence},
};

/// The environment variable with the path of the earlier program.
const EARLIER: &str = "TURBULENCE_EARLIER_PROGRAM";

/// The number of requests between two steps of a rolling update.
const REQUESTS: u64 = 100;

/// Public answers that have to stay as they are.
const PATHS: [&str; 12] = [
    "/sections",
    "/sections/slug/blog",
    "/stories",
    "/stories?limit=2",
    "/stories?section=blog&limit=50",
    "/stories/slug/rules",
    "/projects",
    "/pages",
    "/pages/type/about",
    "/resolve?path=/blog",
    "/resolve?path=/blog/rules",
    "/resolve?path=/projects/folded-tides",
];

/// Returns the path of the earlier program, if there is one.
pub(crate) fn earlier_program() -> Option<PathBuf> {
    std::env::var_os(EARLIER).map(PathBuf::from)
}

/// The collections that a running process changes by itself: its heartbeats, the lease that it takes to
/// look for migrations, and the sections that it has read.
const CHANGED_BY_RUNNING: [&str; 4] =
    [WRITERS, SECTION_DIRECTORY, "sections_migration_lock", "content_migration_lock"];

/// A collection: its documents, byte for byte, and its indexes, by their ids and names.
#[derive(Debug, Default, PartialEq)]
struct Contents {
    documents: BTreeMap<String, Vec<u8>>,
    indexes: BTreeMap<String, String>,
}

/// Returns everything in a database: documents, indexes, ledgers and journals.
async fn contents(database: &TestDatabase) -> BTreeMap<String, Contents> {
    let mut all = BTreeMap::new();
    for name in database.database().list_collection_names().await.unwrap() {
        if CHANGED_BY_RUNNING.contains(&&*name) {
            continue;
        }
        let collection = database.collection(&name);
        let mut contents = Contents::default();
        let mut documents = collection.clone_with_type::<Document>().find(doc! {}).await.unwrap();
        while documents.advance().await.unwrap() {
            let document = documents.current();
            let id = format!("{:?}", document.get("_id").unwrap().unwrap());
            contents.documents.insert(id, document.as_bytes().to_vec());
        }
        let indexes: Vec<_> = collection.list_indexes().await.unwrap().try_collect().await.unwrap();
        for index in indexes {
            let name = index.options.clone().and_then(|options| options.name).unwrap();
            contents.indexes.insert(name, format!("{index:?}"));
        }
        all.insert(name, contents);
    }
    all
}

/// Fails unless everything is there that was there before, as it was. A later version may add more.
fn assert_kept(
    before: &BTreeMap<String, Contents>,
    after: &BTreeMap<String, Contents>,
    step: &str,
) {
    for (name, was) in before {
        let is = after.get(name).unwrap_or_else(|| panic!("{step}: {name} is gone"));
        for (id, document) in &was.documents {
            let now = is.documents.get(id);
            assert!(now == Some(document), "{step}: {name} {id}: {document:?}, now {now:?}");
        }
        for (index, definition) in &was.indexes {
            assert_eq!(is.indexes.get(index), Some(definition), "{step}: {name}");
        }
    }
}

/// Returns `true` if everything in an answer is also in a later one, which may have more members.
fn includes(later: &Value, earlier: &Value) -> bool {
    match (later, earlier) {
        (Value::Object(later), Value::Object(earlier)) => earlier
            .iter()
            .all(|(name, value)| later.get(name).is_some_and(|later| includes(later, value))),
        (Value::Array(later), Value::Array(earlier)) => {
            later.len() == earlier.len()
                && later.iter().zip(earlier).all(|(later, earlier)| includes(later, earlier))
        }
        _ => later == earlier,
    }
}

/// Starts a version of the program on a database, and waits until all migrations are applied. Returns
/// its API for editors.
async fn start(
    program: &Path,
    arguments: &[&str],
    folder: &Folder,
    database: &TestDatabase,
) -> (Turbulence, Api) {
    let command = |arguments: &[&str]| {
        let mut command = folder.command_of(program, arguments);
        command.args(["--mongodb-uri", mongodb_uri(), "--database", database.name(), "--create"]);
        command.env("TURBULENCE__AUTH__STATIC_TOKEN", TOKEN);
        command
    };
    let turbulence = Turbulence::spawn(command(&[&["up", "--port", "0"], arguments].concat()));
    let api = Api::new(turbulence.ready().await.address);
    let check = Turbulence::spawn(command(&["migrate", "status", "--check"])).ended().await;
    check.success();
    (turbulence, api)
}

/// Runs a version of the program on a database. Returns the public answers, and what is in the database
/// afterwards.
async fn run(
    program: &Path,
    arguments: &[&str],
    folder: &Folder,
    database: &TestDatabase,
) -> (Vec<Value>, BTreeMap<String, Contents>) {
    let (turbulence, api) = start(program, arguments, folder, database).await;
    let api = api.sent_by(None);
    let mut answers = Vec::new();
    for path in PATHS {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answers.push(answer.body);
    }
    turbulence.stop().await;
    database.leases_released().await;
    (answers, contents(database).await)
}

/// Lets each version read and change what the other one has written.
async fn edit_in_turn(this: &Path, earlier: &Path, folder: &Folder, database: &TestDatabase) {
    let mut last: Option<(String, Value)> = None;
    for (number, program) in [this, earlier, this].into_iter().enumerate() {
        let (turbulence, api) = start(program, &[], folder, database).await;
        if let Some((path, written)) = last.take() {
            let read = api.get(&path).await.body;
            assert!(includes(&read, &written) || includes(&written, &read), "{written}, {read}");
            let content = json!({ "content": "<p>Changed by another version.</p>" });
            assert_eq!(api.call("PATCH", &path, content).await.status, 200, "{path}");
        }
        let story = json!({ "title": format!("Version {number}"), "content": "<p>New.</p>" });
        let created = api.call("POST", "/stories", story).await;
        assert_eq!(created.status, 201, "{created:?}");
        let path = format!("/stories/{}", created.id());
        let written = api.get(&path).await.body;
        last = Some((path, written));
        turbulence.stop().await;
    }
    let changed = doc! { "content": "<p>Changed by another version.</p>" };
    assert_eq!(database.count("stories", changed).await, 2);
}

pub(crate) async fn a_database_serves_the_next_version_and_the_earlier_one_again() -> Tally {
    let (earlier, this) = (earlier_program().unwrap(), PathBuf::from(PROGRAM));
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let (folder, database) = (Folder::new(), TestDatabase::new().await);
        legacy::write(&folder);
        let import = ["--import", legacy::FOLDER];
        let (answers, before) = run(&earlier, &import, &folder, &database).await;
        let (of_this, upgraded) = run(&this, &[], &folder, &database).await;
        assert_kept(&before, &upgraded, "the upgrade");
        for ((path, earlier), later) in PATHS.iter().zip(&answers).zip(&of_this) {
            assert!(includes(later, earlier), "{path}: {earlier}, now {later}");
        }
        // Neither the way back nor the second upgrade writes anything.
        let (of_earlier, back) = run(&earlier, &[], &folder, &database).await;
        assert_eq!(back, upgraded, "the way back");
        assert_eq!(of_earlier, answers);
        let (again, at_the_end) = run(&this, &[], &folder, &database).await;
        assert_eq!(at_the_end, upgraded, "the second upgrade");
        assert_eq!(again, of_this);
        edit_in_turn(&this, &earlier, &folder, &database).await;
        tally += Tally::round(0, 0);
    }
    tally
}

pub(crate) async fn no_read_fails_while_replicas_of_two_versions_serve() -> Tally {
    let mut cluster = Cluster::start_with(earlier_program().unwrap()).await;
    let earlier_gateway = cluster.gateway().await;
    let mut tally = Tally::default();
    for _ in rounds(1) {
        // Forward in the order of the manual; back in the same order, so that each service also meets
        // the other version of the other one.
        for program in [PathBuf::from(PROGRAM), earlier_program().unwrap()] {
            cluster.use_program(program);
            let gateway = cluster.gateway().await;
            let readers = [gateway.read(), earlier_gateway.read()];
            for kind in Kind::BOTH {
                for _ in 0..2 {
                    cluster.replace(&[kind]).await;
                    for readers in &readers {
                        readers.answered(REQUESTS).await;
                    }
                }
            }
            tally += Tally::round(0, 0);
            for readers in readers {
                tally.traffic += readers.stop().await;
            }
        }
    }
    tally
}
