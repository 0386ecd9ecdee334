//! Tests with a real mongod, found or downloaded as for users.

#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod replica_set;

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use local_mongod::{DataDir, Error, LocalMongod, Options};
use mongodb::{
    Client,
    bson::{Document, doc},
};

/// The longest wait for a condition: long enough for a busy machine, and only a failing test waits so
/// long.
const DEADLINE: Duration = Duration::from_secs(40);

fn options(data: DataDir) -> Options {
    Options { data, server_parameters: vec![], cache_mb: None }
}

fn persistent(dir: &Path) -> Options {
    options(DataDir::Persistent(dir.to_owned()))
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

fn is_empty(dir: &Path) -> bool {
    dir.read_dir().unwrap().next().is_none()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    let mut poll = tokio::time::interval(Duration::from_millis(10));
    while !condition() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        poll.tick().await;
    }
}

#[tokio::test]
async fn it_supports_transactions_and_server_parameters() {
    let mut options = options(DataDir::Temporary);
    options.server_parameters = vec![("ttlMonitorSleepSecs".to_owned(), "7".to_owned())];
    let mongod = LocalMongod::start(options).await.unwrap();
    let client = Client::with_uri_str(mongod.uri()).await.unwrap();
    let stories = client.database("test").collection::<Document>("stories");

    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    stories.insert_one(doc! { "_id": 1 }).session(&mut session).await.unwrap();
    assert_eq!(stories.count_documents(doc! {}).await.unwrap(), 0, "not committed yet");
    session.commit_transaction().await.unwrap();
    assert_eq!(stories.count_documents(doc! {}).await.unwrap(), 1);

    let command = doc! { "getParameter": 1, "ttlMonitorSleepSecs": 1 };
    let answer = client.database("admin").run_command(command).await.unwrap();
    assert_eq!(answer.get_i32("ttlMonitorSleepSecs").unwrap(), 7);

    let pid = mongod.pid();
    mongod.stop().await.unwrap();
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_data_folder_in_use_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let first = LocalMongod::start(persistent(dir.path())).await.unwrap();

    let error = LocalMongod::start(persistent(dir.path())).await.unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");

    drop(first);
    LocalMongod::start(persistent(dir.path())).await.unwrap();
}

#[tokio::test]
async fn a_mongod_that_ends_while_starting_is_reported_at_once_with_its_message() {
    let mut options = options(DataDir::Temporary);
    options.server_parameters = vec![("noSuchParameter".to_owned(), "1".to_owned())];

    let started = Instant::now();
    let error = LocalMongod::start(options).await.unwrap_err();

    assert!(error.to_string().contains("noSuchParameter"), "{error}");
    assert!(started.elapsed() < DEADLINE, "it waited for the whole timeout");
}

#[tokio::test]
async fn dropping_it_ends_the_process() {
    let mongod = LocalMongod::start(options(DataDir::Temporary)).await.unwrap();
    let pid = mongod.pid();
    assert!(is_alive(pid));

    drop(mongod);

    assert!(!is_alive(pid));
}

#[tokio::test]
async fn killing_its_owner_leaves_no_process_and_no_temporary_folder() {
    let tmp = tempfile::tempdir().unwrap();
    let pid = start_and_kill_owner("owner", "", tmp.path());

    until("mongod has ended", || !is_alive(pid)).await;
    until("the temporary folder is removed", || is_empty(tmp.path())).await;
}

#[tokio::test]
async fn after_its_owner_was_killed_a_data_folder_can_be_used_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let pid = start_and_kill_owner("owner", dir.path().to_str().unwrap(), &env::temp_dir());

    LocalMongod::start(persistent(dir.path())).await.unwrap();

    assert!(!is_alive(pid));
}

const OWNED_DATA: &str = "LOCAL_MONGOD_TEST_OWNED_DATA";

/// Runs one of the tests named `owner` in a separate process, kills the process after its mongod has
/// started, and returns the pid of the mongod.
fn start_and_kill_owner(test: &str, data: &str, tmp: &Path) -> u32 {
    let mut owner = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(OWNED_DATA, data)
        .env("TMPDIR", tmp)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = BufReader::new(owner.stdout.take().unwrap())
        .lines()
        .find_map(|line| line.unwrap().rsplit_once("mongod=")?.1.parse().ok());
    owner.kill().unwrap();
    owner.wait().unwrap();
    pid.unwrap()
}

#[tokio::test]
#[ignore = "the other process of the tests that kill one; does nothing by itself"]
async fn owner() {
    let Ok(data) = env::var(OWNED_DATA) else { return };
    let data = match data.as_str() {
        "" => DataDir::Temporary,
        dir => DataDir::Persistent(dir.into()),
    };
    let mongod = LocalMongod::start(options(data)).await.unwrap();
    writeln!(std::io::stdout(), "mongod={}", mongod.pid()).unwrap();
    std::future::pending::<()>().await;
}
