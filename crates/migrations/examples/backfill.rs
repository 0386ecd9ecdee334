//! A migration from start to end: every article gets a language, and an index to find it by.
//!
//! ```console
//! $ cargo run -p migrations --example backfill -- 'mongodb://127.0.0.1:27017/?replicaSet=rs0' blog
//! ```
//!
//! Run it twice: the second time there is nothing to do.

use std::{env, error::Error, sync::Arc};

use async_trait::async_trait;
use migrations::{
    Definition, Engine, Fill, Index, Kind, Migration, Options, Patience, Report, Step, StepsError,
};
use mongodb::{
    Client,
    bson::{Document, doc},
    options::IndexOptions,
};
use tokio_util::sync::CancellationToken;

/// Articles from before there were languages are in English.
struct ArticleLanguage;

impl ArticleLanguage {
    /// What has to hold afterwards, and how to make it so.
    fn both() -> [Step; 2] {
        let without_language = doc! { "language": { "$exists": false } };
        let english = doc! { "language": "en" };
        let index =
            Index::new("articles", "language_1", doc! { "language": 1 }, IndexOptions::default());
        [
            Fill::set("articles without language → en", "articles", without_language, english),
            Step::Index(index),
        ]
    }
}

#[async_trait]
impl Migration for ArticleLanguage {
    fn definition(&self) -> Definition {
        Definition {
            id: "0001_article_language",
            kind: Kind::Backfill,
            blocking: false,
            requires: &[],
            revision: 1,
            summary: "articles have a language",
        }
    }

    fn specification(&self) -> Document {
        doc! { "steps": Self::both().map(|step| step.specification()).to_vec() }
    }

    async fn steps(&self) -> Result<Vec<Step>, StepsError> {
        Ok(Self::both().into())
    }
}

/// Applies the migrations to a database, and says where they stand.
pub(crate) async fn migrate(uri: &str, database: &str) -> Result<Report, Box<dyn Error>> {
    let client = Client::with_uri_str(uri).await?;
    let migrations: Vec<Arc<dyn Migration>> = vec![Arc::new(ArticleLanguage)];
    let engine = Engine::new(
        &client,
        &client.database(database),
        "articles",
        env!("CARGO_PKG_VERSION"),
        migrations,
        Options::default(),
    );
    // Cancelled, it stops after the batch that is under way, and the next run goes on there.
    let shutdown = CancellationToken::new();
    engine.run(Patience::Command, &shutdown).await?;
    Ok(engine.report().await?)
}

/// The report in a few lines.
pub(crate) fn print(report: &Report) {
    for migration in &report.migrations {
        println!("{}: {}", migration.id, migration.state.as_str());
        let Some(entry) = &migration.entry else { continue };
        for part in &entry.parts {
            println!("  {}: {}", part.what, part.modified);
        }
        for aside in &entry.set_aside {
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
