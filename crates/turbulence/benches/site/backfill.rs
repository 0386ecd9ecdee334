//! The backfill of a large collection, and what requests notice of it.

use std::time::Instant;

use data_service::Migrate;
use migrations::{Status, WaitPolicy};
use mongodb::bson::{Document, doc, oid::ObjectId};
use service_kit::runtime::{clock::Clock, settings::url::local_url};
use test_support::migration_id;
use tokio_util::sync::CancellationToken;

pub(crate) use content_service::SECTION_BACKFILL as BACKFILL;

use crate::{
    steady::{Latencies, Load, latencies},
    support::{MANY, connect, insert_stories, resident_kib, settings, settled},
    table::Table,
    wrk::{self, median},
};

/// Documents a second that a backfill changed beside a site in use before it adapted its pace.
const RATE_BEFORE: f64 = 201.0;

/// The requests of the site in use.
const LIST: &str = "/stories?limit=10";
const LOAD: Load = Load { per_second: 200, seconds: 8 };

/// Number of measurements of requests with a throttled backfill and without one, in turn.
const ROUNDS: usize = 5;

/// Documents a second that one raw `updateMany` links.
async fn raw_rate(uri: &str) -> f64 {
    let raw = connect(uri, "raw").await;
    insert_stories(&raw, "stories", MANY, 500).await;
    let began = Instant::now();
    let unlinked = doc! { "section_id": { "$exists": false } };
    let link = doc! { "$set": { "section_id": ObjectId::new().to_hex() } };
    raw.database().collection::<Document>("stories").update_many(unlinked, link).await.unwrap();
    let rate = MANY as f64 / began.elapsed().as_secs_f64();
    raw.database().drop().await.unwrap();
    rate
}

/// The first backfill of a million documents, with the default settings on an idle machine, against
/// one raw `updateMany` of as many, which is
/// measured before and after it: the machine is not always as fast.
pub(crate) async fn backfill(uri: &str, table: &mut Table) {
    let connection = connect(uri, &format!("site_{MANY}")).await;
    let before = raw_rate(uri).await;
    insert_stories(&connection, "stories", MANY, 500).await;
    let shutdown = CancellationToken::new();
    let settings_of = |sections: Option<&str>| settings(uri, &format!("site_{MANY}"), sections);
    let sections = sections_service::bind(&settings_of(None)).await.unwrap();
    let url = local_url(sections.address()).parse().unwrap();
    let statuses = sections.statuses();
    tokio::spawn(sections.run(Migrate::AtStart, shutdown.clone()));
    settled(statuses).await;
    let settings = settings_of(None);
    let client = content_service::sections_client(&url, &settings.internal);
    let engine = content_service::engine(&connection, Clock::system(), &settings, &client);

    let mut statuses = engine.statuses();
    let memory = tokio::spawn(async move {
        // Resident memory when a tenth is done, and the most after that.
        let (mut first, mut most) = (0, 0);
        while statuses.changed().await.is_ok() {
            let all = statuses.borrow_and_update();
            let Some(progress) = all.iter().find_map(|status| status.progress.as_ref()) else {
                continue;
            };
            if progress.total > 0 && progress.modified * 10 > progress.total {
                let now = resident_kib("self");
                if first == 0 {
                    first = now;
                }
                most = most.max(now);
            }
        }
        (first, most)
    });
    engine.run(WaitPolicy::Bounded, &shutdown).await.unwrap();
    let report = engine.report().await.unwrap();
    drop(engine);
    let entry = report.migrations.into_iter().find(|one| one.id == BACKFILL).unwrap();
    let entry = entry.entry.unwrap();
    let millis = entry.finished_at.unwrap().timestamp_millis()
        - entry.started_at.unwrap().timestamp_millis();
    assert_eq!(entry.parts[0].modified, MANY as i64);
    let own_rate = MANY as f64 * 1000.0 / millis as f64;
    shutdown.cancel();
    let raw_rate = f64::midpoint(before, raw_rate(uri).await);
    table.row(
        "first backfill of 1,000,000 documents, default settings, idle ÷ one raw updateMany",
        format!("{:.2} ({own_rate:.0}/s ÷ {raw_rate:.0}/s)", own_rate / raw_rate),
        "≥ 0.75",
        own_rate / raw_rate >= 0.75,
    );
    let (first, most) = memory.await.unwrap();
    let grown = most as f64 / first as f64;
    table.row(
        "most resident memory in that backfill ÷ that when a tenth was done",
        format!("{grown:.2} ({} MiB ÷ {} MiB)", most / 1024, first / 1024),
        "constant: ≤ 1.1",
        grown <= 1.1,
    );
}

/// A site of a million stories while its first backfill runs with the default settings: how much
/// slower the slowest hundredth of requests in the foreground gets, how fast the backfill is, and how
/// many lists eight clients get during it and after it.
pub(crate) async fn foreground(uri: &str, table: &mut Table) {
    let name = "foreground";
    let connection = connect(uri, name).await;
    insert_stories(&connection, "stories", MANY, 500).await;
    let shutdown = CancellationToken::new();
    let sections = sections_service::bind(&settings(uri, name, None)).await.unwrap();
    let sections_url = local_url(sections.address());
    let statuses = sections.statuses();
    tokio::spawn(sections.run(Migrate::AtStart, shutdown.clone()));
    settled(statuses).await;
    let settings = settings(uri, name, Some(&sections_url));
    let content = content_service::bind(&settings).await.unwrap();
    let address = local_url(content.address());
    let list = format!("{address}{LIST}");
    tokio::spawn(content.run(Migrate::Never, shutdown.clone()));
    let client =
        content_service::sections_client(&sections_url.parse().unwrap(), &settings.internal);
    let engine = || content_service::engine(&connection, Clock::system(), &settings, &client);
    engine().run_to(migration_id("user_id"), WaitPolicy::Bounded, &shutdown).await.unwrap();

    let linked = doc! { "section_id": { "$exists": true } };
    let stories = connection.database().collection::<Document>("stories");
    let linked = async || stories.count_documents(linked.clone()).await.unwrap() as f64;
    let (mut idle, mut busy) = (Latencies::new(), Latencies::new());
    let (mut changed, mut during) = (Vec::new(), Vec::new());
    latencies(&address, LIST, LOAD).await;
    for _ in 0..ROUNDS {
        idle.extend(latencies(&address, LIST, LOAD).await);
        // Requests begin before the backfill and continue, as on a site in use.
        let leading = tokio::spawn({
            let address = address.clone();
            async move { latencies(&address, LIST, LOAD).await }
        });
        let engine = engine();
        let stop = CancellationToken::new();
        let mut statuses = engine.statuses();
        let mut running = tokio::spawn({
            let (engine, stop) = (engine.clone(), stop.clone());
            async move { engine.run(WaitPolicy::Bounded, &stop).await }
        });
        let is_busy = |all: &Vec<Status>| {
            let throttled = |status: &Status| status.progress.as_ref()?.throttled_by;
            all.iter().any(|status| throttled(status).is_some())
        };
        tokio::select! {
            busy = statuses.wait_for(is_busy) => drop(busy.unwrap()),
            ended = &mut running => panic!("the backfill left no room for others: {ended:?}"),
        }
        leading.await.unwrap();
        let (before, began) = (linked().await, Instant::now());
        busy.extend(latencies(&address, LIST, LOAD).await);
        let elapsed = began.elapsed().as_secs_f64();
        assert!(!running.is_finished(), "the backfill was over before the measurement");
        changed.push((linked().await - before) / elapsed);
        during.push(wrk::rate(&list));
        assert!(!running.is_finished(), "the backfill was over before the measurement");
        stop.cancel();
        // The run is interrupted at a checkpoint and continues in the next round.
        running.await.unwrap().unwrap_err();
    }
    let (idle, busy, rate) = (idle.percentile(99), busy.percentile(99), median(changed));
    table.row(
        "p99 of 200 lists a second during a backfill, default settings ÷ that without one",
        format!("{:.2} ({busy:.2} ms ÷ {idle:.2} ms)", busy / idle),
        "≤ 1.2",
        busy / idle <= 1.2,
    );
    table.row(
        "documents a second of that backfill ÷ those before it adapted its pace (201/s)",
        format!("{:.1} ({rate:.0}/s)", rate / RATE_BEFORE),
        "≥ 2",
        rate / RATE_BEFORE >= 2.0,
    );
    engine().run(WaitPolicy::Bounded, &shutdown).await.unwrap();
    let after = median((0..ROUNDS).map(|_| wrk::rate(&list)).collect());
    let during = median(during);
    shutdown.cancel();
    table.row(
        "time of a list of 10 during that backfill ÷ after it, eight clients",
        format!("{:.2} ({during:.0}/s, {after:.0}/s)", after / during),
        "≤ 1.3",
        after / during <= 1.3,
    );
}
