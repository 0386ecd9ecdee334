//! The age of answers: none is old at the gateway through which the change was made, and soon at none.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use ::gateway::Gateway;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    DATABASE, SECRET, SLUG, json as read, service_address, start,
    writer::{item_path, write},
};
use crate::{
    connection::{Answer, Connection},
    steady::Latencies,
    support::settings,
    table::Table,
};

/// The editors that write at the same time and read what they have written, and their rounds.
const EDITORS: usize = 10;
const ROUNDS: usize = 1_000;

/// The number of changes of each kind that another gateway has to hear of.
const CHANGES: usize = 200;

/// The longest time in which it does, for 99 of 100 changes, in milliseconds.
const MAX_AGE: f64 = 50.0;

/// A change, and the answer that shows it.
struct Change {
    what: &'static str,
    method: &'static str,
    path: String,
    /// The body of the request with this number.
    body: fn(usize) -> Value,
    shown_at: fn(usize) -> String,
    is_shown: fn(usize, &Answer) -> bool,
}

/// Both rows.
pub(super) async fn freshness(uri: &str, table: &mut Table) {
    let up = start(uri, &[]);
    let shutdown = CancellationToken::new();
    let other = start_gateway(uri, &up.address, shutdown.clone()).await;
    let address = up.address.clone();
    let measured = tokio::task::spawn_blocking(move || {
        let stale = stale_after_own_writes(&address);
        let changes = changes(&address);
        let ages: Vec<_> =
            changes.iter().map(|change| (change.what, ages(&address, &other, change))).collect();
        (stale, ages)
    });
    let (stale, ages) = measured.await.unwrap();
    shutdown.cancel();
    table.row(
        &format!("stale answers of {} reads after writes, same gateway", 2 * EDITORS * ROUNDS),
        stale.to_string(),
        "0",
        stale == 0,
    );
    for (what, mut ages) in ages {
        let [p50, p99] = [50, 99].map(|percent| ages.percentile(percent));
        table.row(
            &format!("age of answers of another gateway after a change is confirmed, {what}, p99"),
            format!("{p99:.1} ms (p50: {p50:.1} ms)"),
            &format!("≤ {MAX_AGE} ms"),
            p99 <= MAX_AGE,
        );
    }
}

/// Starts another gateway before the same services. Returns its address.
async fn start_gateway(uri: &str, first: &str, shutdown: CancellationToken) -> String {
    let mut settings = settings(uri, DATABASE, None);
    settings.internal.secret = Some(SECRET.parse().unwrap());
    settings.upstreams.content = service_address(first, "content-service").parse().unwrap();
    settings.upstreams.sections = service_address(first, "sections-service").parse().unwrap();
    let gateway = Gateway::bind(&settings).await.unwrap();
    let address = gateway.local_url();
    tokio::spawn(gateway.run(shutdown));
    address
}

/// Changes stories of the first page, and reads each of them by slug and in the list. Returns the
/// number of answers without the change.
fn stale_after_own_writes(address: &str) -> usize {
    let list = read(address, "/stories?limit=10");
    let stories = list["items"].as_array().unwrap();
    assert_eq!(stories.len(), EDITORS);
    let stale = AtomicUsize::new(0);
    thread::scope(|scope| {
        for story in stories {
            let [id, slug] = ["id", "slug"].map(|name| story[name].as_str().unwrap());
            let (path, look_up) = (format!("/stories/{id}"), format!("/stories/slug/{slug}"));
            let (mut connection, stale) = (Connection::open(address), &stale);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let title = format!("\"{slug} in round {round}\"");
                    let body = json!({ "title": title.trim_matches('"') });
                    write(&mut connection, "PATCH", &path, &body);
                    for read in [&look_up, "/stories?limit=10"] {
                        let is_stale = !connection.get(read).contains(&title);
                        stale.fetch_add(usize::from(is_stale), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    stale.into_inner()
}

fn changes(address: &str) -> Vec<Change> {
    let story = item_path(address, "stories", SLUG);
    let list = read(address, "/stories?limit=1");
    let newest = format!("/stories/{}", list["items"][0]["id"].as_str().unwrap());
    let section = item_path(address, "sections", "/sections/slug/blog");
    let title: fn(usize) -> Value = |number| json!({ "title": format!("change {number}.") });
    let shows_title: fn(usize, &Answer) -> bool =
        |number, answer| answer.contains(&format!("change {number}."));
    vec![
        Change {
            what: "slug",
            method: "PATCH",
            path: story,
            body: title,
            shown_at: |_| SLUG.to_owned(),
            is_shown: shows_title,
        },
        Change {
            what: "list",
            method: "PATCH",
            path: newest,
            body: title,
            shown_at: |_| "/stories?limit=10".to_owned(),
            is_shown: shows_title,
        },
        Change {
            what: "total",
            method: "POST",
            path: "/stories".to_owned(),
            body: |number| json!({ "title": format!("One more {number}"), "content": "", "is_published": true }),
            // A list that shows none of the items.
            shown_at: |_| "/stories?limit=1&offset=5000".to_owned(),
            is_shown: |number, answer| {
                let total = usize::try_from(answer.json()["total"].as_u64().unwrap()).unwrap();
                total == crate::support::FEW / 50 * 49 + number + 1
            },
        },
        Change {
            what: "tree",
            method: "PATCH",
            path: section.clone(),
            body: title,
            shown_at: |_| "/sections/tree".to_owned(),
            is_shown: shows_title,
        },
        Change {
            what: "resolve",
            method: "PATCH",
            path: section.clone(),
            body: |number| json!({ "slug": format!("renamed-{number}") }),
            shown_at: |number| format!("/resolve?path=/renamed-{number}"),
            is_shown: |_, answer| answer.status == 200,
        },
        Change {
            what: "section visibility",
            method: "PATCH",
            path: section,
            body: |number| json!({ "is_published": number % 2 == 1 }),
            shown_at: |_| SLUG.to_owned(),
            is_shown: |number, answer| answer.status == if number % 2 == 1 { 200 } else { 404 },
        },
    ]
}

/// Makes a change again and again at one gateway, and reads it at the other one. Returns the times
/// from the confirmation of each change to the last answer without it.
fn ages(address: &str, other: &str, change: &Change) -> Latencies {
    let (mut one, mut other) = (Connection::open(address), Connection::open(other));
    let mut ages = Latencies::new();
    for number in 0..CHANGES {
        let shown_at = (change.shown_at)(number);
        // What is known of it is in memory.
        for _ in 0..2 {
            let before = other.get(&shown_at);
            assert!(!(change.is_shown)(number, &before), "{} {number}", change.what);
        }
        write(&mut one, change.method, &change.path, &(change.body)(number));
        let confirmed = Instant::now();
        let mut age = Duration::ZERO;
        while !(change.is_shown)(number, &other.get(&shown_at)) {
            age = confirmed.elapsed();
            assert!(age < Duration::from_secs(5), "{} {number} is not shown", change.what);
        }
        ages.push(age);
    }
    ages
}
