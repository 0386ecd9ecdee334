//! Shutting down without aborting requests.

use std::time::Duration;

use mongodb::bson::doc;
use reqwest::Response;
use serde_json::Value;
use test_support::{TestDatabase, eventually};

use crate::{
    legacy,
    services::{Process, settings},
    support::{Folder, Site, Summary, Turbulence},
};

/// A list of one story of 15 MB: more than the buffers of the sockets on its way hold.
const STORY_BYTES: usize = 15_000_000;

/// Starts a site, and reads only the beginning of a large response.
async fn with_a_slow_reader() -> (Site, Turbulence, Summary, Response, Vec<u8>) {
    let site = Site::new().await;
    let content = "x".repeat(STORY_BYTES);
    site.database.insert("stories", [doc! { "_id": 1, "content": &content }]).await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let client = service_kit::web::http_client::service_client(Duration::from_secs(30)).unwrap();
    let list = format!("{}/stories", summary.address);
    let mut answer = client.get(list).send().await.unwrap();
    let read = answer.chunk().await.unwrap().unwrap().to_vec();
    (site, turbulence, summary, answer, read)
}

#[tokio::test]
async fn a_request_in_flight_is_finished() {
    let (_site, mut turbulence, summary, mut answer, mut read) = with_a_slow_reader().await;
    turbulence.signal("TERM");
    let address = summary.address.trim_start_matches("http://");
    eventually("new connections are refused", || {
        std::future::ready(std::net::TcpStream::connect(address).is_err())
    })
    .await;
    assert!(turbulence.is_running());

    while let Some(chunk) = answer.chunk().await.unwrap() {
        read.extend_from_slice(&chunk);
    }
    let list: Value = serde_json::from_slice(&read).unwrap();
    let items = list["items"].as_array().unwrap();
    let lengths: Vec<_> =
        items.iter().map(|item| item["content"].as_str().unwrap().len()).collect();
    assert_eq!(lengths, [STORY_BYTES]);
    let ended = turbulence.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.messages());
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let (_site, mut turbulence, ..) = with_a_slow_reader().await;
    turbulence.signal("TERM");
    turbulence.logged("stopping").await;
    assert!(turbulence.is_running());
    turbulence.signal("TERM");
    assert_eq!(turbulence.ended().await.status.code(), Some(130));
}

#[tokio::test]
async fn sigint_stops_the_process_as_sigterm_does() {
    let site = Site::new().await;
    let turbulence = site.up(&[]);
    turbulence.ready().await;
    turbulence.signal("INT");
    assert_eq!(turbulence.ended().await.status.code(), Some(0));
}

#[tokio::test]
async fn a_start_that_is_interrupted_says_what_was_reached_and_the_next_one_continues() {
    let site = Site::new().await;
    legacy::write(&site.folder);
    // The first two stories are linked at once, the others at one per second.
    let slow = [("TURBULENCE__MIGRATIONS__DOCUMENTS_PER_SECOND", "1")];
    let interrupted = async |signal: &str, arguments: &[&str]| {
        let turbulence = site.up_with(arguments, &slow);
        turbulence.logged("\"eta_seconds\"").await;
        turbulence.signal(signal);
        turbulence.ended().await
    };
    let ended = interrupted("INT", &["--import", legacy::FOLDER]).await;
    let line = ended.failure(130);
    let begin = "turbulence: interrupted before all migrations were applied: content ";
    assert!(line.starts_with(begin), "{line}");
    assert!(line.contains("0006_backfill_section_id ("), "{line}");
    assert!(line.ends_with("; the next start continues there"), "{line}");
    // For a supervisor, every stop is a success.
    let ended = interrupted("TERM", &[]).await;
    assert_eq!((ended.status.code(), ended.messages().len()), (Some(0), 0), "{ended:#?}");
    let turbulence = site.up(&[]);
    turbulence.ready().await;
    let linked = doc! { "section_id": { "$exists": true } };
    assert_eq!(site.database.count("projects", linked).await, 3);
    turbulence.signal("INT");
    assert_eq!(turbulence.ended().await.status.code(), Some(0));
}

#[tokio::test]
async fn waiting_for_an_unreachable_database_can_be_interrupted() {
    let folder = Folder::new();
    let away = ["--mongodb-uri", "mongodb://127.0.0.1:1/?replicaSet=rs0"];
    for (command, code) in [(&["up", "--port=0"][..], 0), (&["migrate", "status"], 130)] {
        let turbulence = Turbulence::spawn(folder.command(&[command, &away].concat()));
        turbulence.handles_signals().await;
        turbulence.signal("TERM");
        let ended = turbulence.ended().await;
        assert_eq!(ended.status.code(), Some(code), "{ended:#?}");
        // Without the signal it would give up after twelve seconds.
        assert!(ended.took < Duration::from_secs(10), "{ended:#?}");
        assert_eq!(ended.stdout, "");
    }
}

#[tokio::test]
async fn a_process_that_drains_answers_and_closes_its_connections() {
    let (folder, database) = (Folder::new(), TestDatabase::new().await);
    let environment = [&settings(&database)[..], &[("TURBULENCE__SERVER__DRAIN_SECONDS", "5")]];
    let arguments = ["content", "--port", "0"];
    let process = Process::start(&folder, &arguments, &environment.concat()).await;
    process.ready().await;
    let client = service_kit::web::http_client::service_client(Duration::from_secs(10)).unwrap();
    let connection = async |path: &str| {
        let response = client.get(format!("{}{path}", process.url)).send().await.unwrap();
        let header = response.headers().get("connection").map(|value| value.as_bytes().to_vec());
        (response.status().as_u16(), header)
    };
    assert_eq!(connection("/stories").await, (200, None));
    process.turbulence.signal("TERM");
    eventually("the process drains", async || {
        connection("/health/ready").await == (503, Some(b"close".to_vec()))
    })
    .await;
    assert_eq!(connection("/stories").await, (200, Some(b"close".to_vec())));
}
