//! How fast the system is, in ratios within one run: `just bench`.
//!
//! A real MongoDB, the services as they are, and `wrk` as the client. Prints a table in Markdown.
//! Needs `wrk` on the PATH and about 3 GB of disk in the temporary folder; takes about ten minutes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops where it fails")]

mod backfill;
mod lists;
mod memory;
mod starts;
mod support;
mod table;
mod up;
mod wrk;

use std::process::Command;

use local_mongod::{DataDir, LocalMongod, Options};

use crate::{
    support::{FEW, MANY},
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

    memory::memory(&uri, &mut table).await;
    let few = lists::lists(&uri, FEW, &mut table).await;
    backfill::backfill(&uri, &mut table).await;
    let many = lists::lists(&uri, MANY, &mut table).await;
    table.row(
        "list ÷ look-up at 1,000,000, of the same at 10,000",
        format!("{:.2}", many / few),
        "≥ 0.8",
        many / few >= 0.8,
    );
    starts::second_start(&uri, &mut table).await;
    backfill::foreground(&uri, &mut table).await;
    starts::takeover(&uri, &mut table).await;
    starts::ready(&uri, &mut table).await;
    mongod.stop().await.unwrap();
    table.print();
}
