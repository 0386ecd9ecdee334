//! `turbulence up` with a MongoDB of its own.

use std::{fs, net::TcpStream};

use test_support::eventually;

use crate::support::{Folder, Summary, Turbulence, own_mongod};

const UP: [&str; 3] = ["up", "--port=0", "--data-dir=data"];

fn up(folder: &Folder, others: &[&str]) -> Turbulence {
    Turbulence::spawn(folder.command(&[&UP, others].concat()))
}

/// Returns the processes that have this port in their command line: mongod and its supervisor.
fn processes(port: u16) -> Vec<String> {
    let argument = format!("--port={port}");
    let pids = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    pids.filter_map(|pid| pid.into_string().ok())
        .filter(|pid| {
            // A process may end between the two calls.
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.split(|byte| *byte == 0).any(|one| one == argument.as_bytes())
        })
        .collect()
}

fn is_listening(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

async fn assert_is_the_demo(summary: &Summary) {
    assert_eq!(summary.totals("stories").await, [Some(10), Some(12)]);
    assert_eq!(summary.totals("projects").await, [Some(5), Some(5)]);
    assert_eq!(summary.totals("pages").await, [Some(3), Some(4)]);
    let (_, blog) = summary.get("/stories?section=blog").await;
    assert_eq!(blog["total"], 8);
}

#[tokio::test]
async fn the_demo_is_kept_for_the_next_start() {
    let _turn = own_mongod().await;
    let folder = Folder::new();
    let turbulence = up(&folder, &["--demo"]);
    let first = turbulence.ready().await;
    assert_is_the_demo(&first).await;
    let port = first.mongodb_port();
    assert!(is_listening(port));
    assert!(!processes(port).is_empty());
    turbulence.stop().await;
    // The command has waited for its end.
    assert!(!is_listening(port));
    assert_eq!(processes(port), [""; 0]);

    let turbulence = up(&folder, &[]);
    let second = turbulence.ready().await;
    println!("from start to ready, with a MongoDB that has data: {:?}", turbulence.age());
    assert_is_the_demo(&second).await;
    assert_eq!(second.token, first.token);
    turbulence.stop().await;
}

#[tokio::test]
async fn a_killed_process_leaves_no_mongod_behind_and_its_data_can_be_used_again() {
    let _turn = own_mongod().await;
    let folder = Folder::new();
    let turbulence = up(&folder, &["--demo"]);
    let summary = turbulence.ready().await;
    let port = summary.mongodb_port();
    assert!(!processes(port).is_empty());
    turbulence.signal("KILL");
    turbulence.ended().await;
    eventually("mongod has ended", || std::future::ready(processes(port).is_empty())).await;
    assert!(!is_listening(port));

    // The folder can be used again.
    let turbulence = up(&folder, &["--demo"]);
    let summary = turbulence.ready().await;
    assert!(summary.text.contains("already has documents"), "{}", summary.text);
    assert_is_the_demo(&summary).await;
    turbulence.stop().await;
}

/// Returns the process id of the mongod with this port.
fn mongod(port: u16) -> Option<String> {
    let is_mongod = |pid: &String| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "mongod"
    };
    processes(port).into_iter().find(is_mongod)
}

fn kill(pid: &str) {
    let killed = std::process::Command::new("kill").args(["-KILL", pid]).status();
    assert!(killed.unwrap().success(), "{pid}");
}

#[tokio::test]
async fn a_mongod_that_ends_with_the_process_is_not_started_again() {
    let _turn = own_mongod().await;
    let folder = Folder::new();
    let turbulence = up(&folder, &["--demo"]);
    let port = turbulence.ready().await.mongodb_port();
    // As a supervisor does that signals all processes of a group.
    turbulence.signal("TERM");
    kill(&mongod(port).unwrap());
    let ended = turbulence.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert!(!ended.stderr.contains("is started again"), "{ended:#?}");
    assert_eq!(processes(port), [""; 0]);
}

#[tokio::test]
async fn a_mongod_that_ends_is_started_again_and_the_site_answers_again() {
    let _turn = own_mongod().await;
    let folder = Folder::new();
    let turbulence = up(&folder, &["--demo"]);
    let summary = turbulence.ready().await;
    let port = summary.mongodb_port();
    let first = mongod(port).unwrap();
    kill(&first);
    turbulence.logged("MongoDB runs again").await;
    assert_ne!(mongod(port).unwrap(), first);
    let drafts = "/stories?include_drafts=true";
    let answers = async || summary.get_as_editor(drafts).await.0 == 200;
    eventually("the site answers", answers).await;
    assert_is_the_demo(&summary).await;

    // Its data cannot be used for a while.
    let (data, away) = (folder.path("data/db"), folder.path("data/away"));
    fs::rename(&data, &away).unwrap();
    fs::write(&data, "").unwrap();
    kill(&mongod(port).unwrap());
    turbulence.logged("MongoDB cannot be started again").await;
    assert_eq!(summary.get_as_editor(drafts).await.0, 503);
    fs::remove_file(&data).unwrap();
    fs::rename(&away, &data).unwrap();
    eventually("the site answers", answers).await;
    assert_is_the_demo(&summary).await;

    let log = turbulence.log();
    let warnings: Vec<_> = log.iter().filter_map(|line| line["message"].as_str()).collect();
    let failed = warnings.iter().find(|line| line.starts_with("MongoDB cannot be")).unwrap();
    for words in ["mongod ended while it was starting", "mongod.log", "The next attempt follows in"]
    {
        assert!(failed.contains(words), "{words}: {failed}");
    }
    turbulence.stop().await;
    assert_eq!(processes(port), [""; 0]);
}

#[tokio::test]
async fn a_healthy_start_logs_no_warning_and_no_token() {
    let _turn = own_mongod().await;
    let folder = Folder::new();
    let turbulence = up(&folder, &[]);
    let summary = turbulence.ready().await;
    let ended = turbulence.stop().await;
    let warnings: Vec<_> = ended.log().into_iter().filter(|line| line["level"] != "INFO").collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
    assert_eq!(summary.token.len(), 32);
    for output in [&ended.stdout, &ended.stderr] {
        assert!(!output.contains(&summary.token), "{ended:#?}");
    }
}

#[tokio::test]
async fn a_data_folder_is_for_one_process_at_a_time() {
    let _turn = own_mongod().await;
    let folder = Folder::new();
    let first = up(&folder, &[]);
    let summary = first.ready().await;
    let second = up(&folder, &[]).ended().await;
    insta::assert_snapshot!(second.failure(1), @"turbulence: the data folder data is in use by another process: end that process, or choose another folder");
    assert_eq!(second.stdout, "");
    assert_eq!(summary.get("/sections").await.0, 200);
    first.stop().await;
}
