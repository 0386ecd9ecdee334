//! The time from an acknowledged write to the message at the target of a webhook.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::json;
use test_support::{Behaviour, Receiver, TOKEN};

use crate::{
    support::{FEW, connect, insert_stories},
    table::Table,
    up::Up,
};

const DATABASE: &str = "site_webhooks";

/// The number of writes, and the pause between them: an editor is slower, an import is a flood.
const WRITES: usize = 300;
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn webhooks(uri: &str, table: &mut Table) {
    let connection = connect(uri, DATABASE).await;
    insert_stories(&connection, "stories", FEW, 500).await;
    let environment = [
        ("RUST_LOG", "off"),
        ("TURBULENCE__AUTH__STATIC_TOKEN", TOKEN),
        ("TURBULENCE__WEBHOOKS__ALLOW_PRIVATE_NETWORKS", "true"),
    ];
    let up = Up::start_with(uri, DATABASE, &[], &environment);
    up.wait_until_ready();
    let api = test_support::Api::new(&up.address);
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let added = api.call("POST", "/webhooks", json!({ "url": receiver.url })).await;
    assert_eq!(added.status, 201, "{added:?}");
    let mut acknowledged = HashMap::new();
    for number in 0..WRITES {
        let story = json!({ "title": format!("Measured {number}"), "content": "<p>x</p>" });
        let written = api.call("POST", "/stories", story).await;
        assert_eq!(written.status, 201, "{written:?}");
        acknowledged.insert(written.id(), Instant::now());
        tokio::time::sleep(PAUSE).await;
    }
    let mut times: Vec<Duration> = Vec::new();
    for received in receiver.wait_for(WRITES).await {
        let id = received.json()["data"]["id"].as_str().map(str::to_owned);
        // The first one counts.
        if let Some(began) = id.and_then(|id| acknowledged.remove(&id)) {
            times.push(received.at.saturating_duration_since(began));
        }
    }
    assert!(acknowledged.is_empty(), "{} changes were not told", acknowledged.len());
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_millis();
    let (median, p99) = (at(50), at(99));
    table.row(
        "acknowledged write → webhook received, p99",
        format!("{p99} ms (median {median} ms)"),
        "≤ 1000 ms",
        p99 <= 1_000,
    );
}
