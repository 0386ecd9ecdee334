//! Webhooks of processes that are killed, and of the gateway.

use std::collections::HashSet;

use serde_json::{Value, json};
use test_support::{Api, Behaviour, Receiver, TestDatabase, eventually};

use crate::{
    services::{Process, settings},
    support::Folder,
};

#[tokio::test]
async fn another_process_delivers_what_a_killed_one_has_begun() {
    let (database, folder) = (TestDatabase::new().await, Folder::new());
    let sections =
        Process::start(&folder, &["sections", "--port", "0"], &settings(&database)).await;
    let others = [
        ("TURBULENCE__SECTIONS__URL", &*sections.url),
        ("TURBULENCE__WEBHOOKS__ALLOW_PRIVATE_NETWORKS", "true"),
    ];
    let environment = [&settings(&database)[..], &others].concat();
    let content = ["content", "--port", "0"];
    let first = Process::start(&folder, &content, &environment).await;
    let upstreams = [
        ("TURBULENCE__UPSTREAMS__SECTIONS", &*sections.url),
        ("TURBULENCE__UPSTREAMS__CONTENT", &*first.url),
    ];
    let gateway = Process::start(&folder, &["gateway", "--port", "0"], &upstreams).await;
    gateway.ready().await;

    // Through the gateway, which passes no internal route on.
    let api = Api::new(&gateway.url);
    let receiver = Receiver::start(Behaviour::Hang).await;
    let added = api.call("POST", "/webhooks", json!({ "url": receiver.url })).await;
    assert_eq!(added.status, 201, "{added:?}");
    let secret = added.body["secret"].as_str().unwrap().to_owned();
    let story = async |api: &Api, title: &str| {
        let added = api.call("POST", "/stories", json!({ "title": title, "content": "" })).await;
        assert_eq!(added.status, 201, "{added:?}");
    };
    story(&api, "In flight").await;
    receiver.wait_for(1).await;
    // The only process is killed in the middle of an attempt, and right after another change.
    story(&api, "Queued or not").await;
    let second = Process::start(&folder, &content, &environment).await;
    first.turbulence.signal("KILL");
    receiver.behave(Behaviour::Status(200));
    second.ready().await;
    let api = Api::new(&second.url);
    story(&api, "Afterwards").await;
    let slugs = || {
        let all = receiver.received();
        let slugs =
            all.iter().map(|one| one.json()["data"]["slug"].as_str().unwrap_or("").to_owned());
        slugs.collect::<HashSet<_>>()
    };
    eventually("all are told", async || slugs().len() == 3).await;
    assert!(receiver.received().iter().all(|one| one.is_signed_with(&secret)));
    let path = format!("/webhooks/{}", added.id());
    eventually("nothing waits", async || api.get(&path).await.body["waiting"] == 0).await;
    let delivered = api.get(&format!("{path}/deliveries")).await.body;
    // One that was queued and not recorded is queued again.
    let delivered = delivered["items"].as_array().unwrap();
    assert!((3..=4).contains(&delivered.len()), "{delivered:?}");
    // Neither the secret nor the address is in a log.
    let log = Value::from(second.turbulence.log()).to_string();
    assert!(!log.contains(&secret) && !log.contains("in-the-url"));
    for process in [gateway, second, sections] {
        process.turbulence.stop().await;
    }
    first.turbulence.ended().await;
}
