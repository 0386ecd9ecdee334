//! Benchmarks of the system, as ratios within one run: `just bench`. Only lists of cards: `just bench cards`. Only the API: `just bench api`,
//! with the number of documents in `TURBULENCE_BENCH_DOCUMENTS`. Only the gateway: `just bench gateway`,
//! or parts of that: `just bench gateway cached`, `writes`, `passed-on`, `freshness`, `memory`. Only the
//! search and the sitemap: `just bench finding`. Only the migrations: `just bench migrations`, or of parts
//! of them, `first-start` and `foreground`.
//!
//! A real MongoDB, the services as they are, and `wrk` as the client. Prints a table in Markdown.
//! Needs `wrk` on the PATH and about 3 GB of disk in the temporary folder; takes about ten minutes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops where it fails")]

mod api;
mod backfill;
mod connection;
mod finding;
mod gateway;
mod lists;
mod memory;
mod starts;
mod steady;
mod support;
mod table;
mod up;
mod webhooks;
mod wrk;

use std::process::Command;

use local_mongod::{DataDir, LocalMongod, Options};

use crate::{
    support::{FEW, MANY, connect, insert_stories},
    table::Table,
};

#[tokio::main]
async fn main() {
    assert!(Command::new("wrk").arg("-v").output().is_ok(), "`wrk` is needed on the PATH");
    let options =
        Options { data: DataDir::Temporary, server_parameters: Vec::new(), cache_mb: Some(2048) };
    let mongod = LocalMongod::start(options).await.expect("a MongoDB");
    let uri = mongod.uri().to_owned();
    let mut table = Table::default();

    let is_asked = |part: &str| std::env::args().any(|argument| argument == part);
    if is_asked("api") {
        let count = std::env::var("TURBULENCE_BENCH_DOCUMENTS").map_or(MANY, |count| {
            count.parse().expect("`TURBULENCE_BENCH_DOCUMENTS` is the number of stories")
        });
        let connection = connect(&uri, &format!("site_{count}")).await;
        insert_stories(&connection, "stories", count, 500).await;
        api::api(&uri, count, &mut table).await;
    } else if is_asked("cards") {
        lists::cards(&uri, &mut table).await;
    } else if is_asked("gateway") {
        gateway::gateway(&uri, is_asked, &mut table).await;
    } else if is_asked("finding") {
        finding::finding(&uri, &mut table).await;
    } else if is_asked("webhooks") {
        webhooks::webhooks(&uri, &mut table).await;
    } else if is_asked("migrations") {
        starts::first_start(&uri, &mut table).await;
        backfill::backfill(&uri, &mut table).await;
        starts::second_start(&uri, &mut table).await;
        backfill::foreground(&uri, &mut table).await;
    } else if is_asked("first-start") {
        starts::first_start(&uri, &mut table).await;
    } else if is_asked("foreground") {
        backfill::foreground(&uri, &mut table).await;
    } else if is_asked("memory-of-site") {
        memory::memory(&uri, &mut table);
    } else {
        everything(&uri, &mut table).await;
    }
    mongod.stop().await.unwrap();
    table.print();
}

async fn everything(uri: &str, table: &mut Table) {
    memory::memory(uri, table);
    starts::first_start(uri, table).await;
    let few = lists::lists(uri, FEW, table).await;
    backfill::backfill(uri, table).await;
    let many = lists::lists(uri, MANY, table).await;
    table.row(
        "list ÷ look-up at 1,000,000, of the same at 10,000",
        format!("{:.2}", many / few),
        "≥ 0.8",
        many / few >= 0.8,
    );
    lists::cards(uri, table).await;
    api::api(uri, MANY, table).await;
    gateway::gateway(uri, |_| false, table).await;
    finding::finding(uri, table).await;
    webhooks::webhooks(uri, table).await;
    starts::second_start(uri, table).await;
    backfill::foreground(uri, table).await;
    starts::takeover(uri, table).await;
    starts::ready(uri, table).await;
}
