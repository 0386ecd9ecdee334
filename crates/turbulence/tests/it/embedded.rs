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
