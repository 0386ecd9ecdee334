//! The duration of starts, and the delay that a crashed process causes for others.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use data_service::Migrate;
use migrations::WaitPolicy;
use mongodb::bson::{Document, doc};
use service_kit::runtime::{clock::Clock, settings::url::local_url};
use test_support::migration_id;
use tokio_util::sync::CancellationToken;

use crate::{
    support::{FEW, MANY, connect, insert_stories, settings},
    table::Table,
    up::Up,
    wrk::{ROUNDS, median},
};

/// Measures the time that a start spends in migrations if nothing is pending, for each service.
pub(crate) async fn second_start(uri: &str, table: &mut Table) {
    let name = format!("site_{MANY}");
    let connection = connect(uri, &name).await;
    connection.check_deployment().await.unwrap();
    let shutdown = CancellationToken::new();
    let sections = sections_service::bind(&settings(uri, &name, None)).await.unwrap();
    let url = local_url(sections.address()).parse().unwrap();
    tokio::spawn(sections.run(Migrate::Never, shutdown.clone()));
    let settings = settings(uri, &name, None);
    let client = content_service::sections_client(&url, &settings.internal);
    let fence = async |service| {
        let holder = migrations::lease::holder(connection.database(), service).await.unwrap();
        holder.map(|holder| holder.fence)
    };
    let before = [fence("sections").await, fence("content").await];
    let (mut sections, mut content) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let of_sections = sections_service::engine(&connection, Clock::system(), &settings);
        let of_content = content_service::engine(&connection, Clock::system(), &settings, &client);
        for (engine, times) in [(of_sections, &mut sections), (of_content, &mut content)] {
            let began = Instant::now();
            // As a service does: a command also reads the content for its report again.
            engine.run(WaitPolicy::Forever, &shutdown).await.unwrap();
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    shutdown.cancel();
    assert_eq!([fence("sections").await, fence("content").await], before, "no lease was taken");
    for (service, times) in [("sections-service", sections), ("content-service", content)] {
        let time = median(times);
        table.row(
            &format!("migrations of {service} in a second start on 1,000,000 linked documents"),
            format!("{time:.0} ms, no lease taken"),
            "< 20 ms",
            time < 20.0,
        );
    }
}

/// From `kill -9` of the process that migrates to the moment in which another has its lease.
pub(crate) async fn takeover(uri: &str, table: &mut Table) {
    let name = "takeover";
    let connection = connect(uri, name).await;
    insert_stories(&connection, "stories", 50_000, 500).await;
    let migrate = |others: &[&str]| {
        let data_dir = tempfile::tempdir().unwrap();
        Command::new(env!("CARGO_BIN_EXE_turbulence"))
            .args(["migrate", "up", "--mongodb-uri", uri, "--database", name, "--create"])
            .arg("--data-dir")
            .arg(data_dir.path())
            .args(others)
            .env("RUST_LOG", "off")
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let holder = async || {
        let holder = migrations::lease::holder(connection.database(), "content").await.unwrap();
        holder.filter(|holder| holder.owner.is_some())
    };
    let mut first = migrate(&["--documents-per-second", "500"]);
    let stories = connection.database().collection::<Document>("stories");
    while stories.count_documents(doc! { "section_id": { "$exists": true } }).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let fence = holder().await.unwrap().fence;
    let mut second = migrate(&["--no-throttle"]);
    first.kill().unwrap();
    first.wait().unwrap();
    let began = Instant::now();
    while holder().await.is_none_or(|holder| holder.fence == fence) {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody takes over");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let time = began.elapsed().as_secs_f64();
    assert!(second.wait().unwrap().success());
    let limit = migrations::lease::DURATION.as_secs_f64() + 2.0;
    table.row(
        "takeover after kill -9 of the process that migrates (lease: 30 s)",
        format!("{time:.1} s"),
        "≤ 32 s",
        time <= limit,
    );
}

/// From the start of the process on a legacy database to its content being linked and indexed.
pub(crate) async fn first_start(uri: &str, table: &mut Table) {
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("first_{round}");
        let connection = connect(uri, &name).await;
        insert_stories(&connection, "stories", FEW, 500).await;
        let ledger = connection.database().collection::<Document>("content_migrations");
        let applied = doc! { "_id": migration_id("content_indexes"), "state": "applied" };
        let began = Instant::now();
        let up = Up::start(uri, &name, &[]);
        while ledger.count_documents(applied.clone()).await.unwrap() == 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "it does not come to an end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times.push(began.elapsed().as_secs_f64() * 1000.0);
        let stories = connection.database().collection::<Document>("stories");
        let linked = doc! { "section_id": { "$exists": true } };
        assert_eq!(stories.count_documents(linked).await.unwrap(), FEW as u64);
        drop(up);
    }
    let time = median(times);
    table.row(
        "start to 10,000 stories linked and indexed, default settings",
        format!("{time:.0} ms"),
        "≤ 2000 ms",
        time <= 2000.0,
    );
}

/// From the start of the process to the first 200 of its readiness, with MongoDB up.
pub(crate) async fn ready(uri: &str, table: &mut Table) {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let up = Up::start(uri, &format!("site_{FEW}"), &[]);
        let url = format!("{}/health/ready", up.address);
        let client = service_kit::web::http_client::service_client(Duration::from_secs(1)).unwrap();
        loop {
            let answer = client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let time = median(times);
    table.row("start to ready", format!("{time:.0} ms"), "< 1000 ms", time < 1000.0);
}
