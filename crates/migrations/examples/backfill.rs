//! A migration from start to end: every article gets a language, and an index to find it by.
//!
//! ```console
//! $ cargo run -p migrations --example backfill -- 'mongodb://127.0.0.1:27017/?replicaSet=rs0' blog
//! ```
//!
//! Run it twice: the second time there is nothing to do.

use std::{env, error::Error, sync::Arc};

use migrations::{
    Definition, Engine, Fill, FixedMigration, Index, LedgerReport, Migration, MigrationKind,
    Options, WaitPolicy,
};
use mongo_kit::Connection;
use mongodb::{bson::doc, options::IndexOptions};
use tokio_util::sync::CancellationToken;

/// Sets the language of articles that have none to English.
fn article_language() -> FixedMigration {
    let definition = Definition {
        id: "0001_article_language",
        kind: MigrationKind::Backfill,
        blocking: false,
        requires: &[],
        revision: 1,
        summary: "articles have a language",
    };
    let without_language = doc! { "language": { "$exists": false } };
    let english = doc! { "language": "en" };
    let key = "articles without language → en";
    let fill = Fill::set(key, "articles", without_language, english);
    let index =
        Index::new("articles", "language_1", doc! { "language": 1 }, IndexOptions::default());
    FixedMigration::new(definition, vec![Arc::new(fill), Arc::new(index)])
}

/// Applies the migrations to a database and returns their states.
pub(crate) async fn migrate(uri: &str, database: &str) -> Result<LedgerReport, Box<dyn Error>> {
    let connection = Connection::new(uri, database, "articles").await?;
    let migrations: Vec<Arc<dyn Migration>> = vec![Arc::new(article_language())];
    let engine = Engine::new(
        connection.client(),
        connection.database(),
        connection.writers(),
        "articles",
        env!("CARGO_PKG_VERSION"),
        migrations,
        Options::default(),
    );
    // If it is cancelled, the run stops after the present batch, and the next run continues there.
    let shutdown = CancellationToken::new();
    engine.run(WaitPolicy::Bounded, &shutdown).await?;
    let report = engine.report().await?;
    connection.close().await;
    Ok(report)
}

/// Prints a report in a few lines.
pub(crate) fn print(report: &LedgerReport) {
    for migration in &report.migrations {
        println!("{}: {}", migration.id, migration.state.as_str());
        let Some(entry) = &migration.entry else { continue };
        for part in &entry.parts {
            println!("  {}: {}", part.step, part.modified);
        }
        for aside in &entry.quarantined {
            println!("  could not change {}: {}", aside.document, aside.reason);
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(uri), Some(database)) = (arguments.next(), arguments.next()) else {
        return Err("usage: backfill CONNECTION_STRING DATABASE".into());
    };
    print(&migrate(&uri, &database).await?);
    Ok(())
}
