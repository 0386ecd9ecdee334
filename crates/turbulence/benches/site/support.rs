//! Databases full of stories, and the services on them.

use std::fs;

use data_service::Migrate;
use migrations::Status;
use mongo_kit::Connection;
use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use service_kit::runtime::settings::{Settings, Sources, url::local_url};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) const MANY: usize = 1_000_000;
pub(crate) const FEW: usize = 10_000;

pub(crate) fn settings(uri: &str, database: &str, sections: Option<&str>) -> Settings {
    let mut sources = Sources::default();
    sources.command_line.push(("server.port", "0".to_owned()));
    sources.command_line.push(("mongodb.uri", uri.to_owned()));
    // One client sends all that a service can take.
    sources.command_line.push(("rate_limit.requests_per_second", "0".to_owned()));
    sources.command_line.push(("mongodb.database", database.to_owned()));
    sources.command_line.extend(sections.map(|url| ("sections.url", url.to_owned())));
    Settings::load(0, &sources).unwrap()
}

pub(crate) async fn connect(uri: &str, database: &str) -> Connection {
    Connection::new(uri, database, "bench").await.unwrap()
}

/// The date of a story.
pub(crate) fn created(number: usize) -> DateTime {
    DateTime::from_millis(1_500_000_000_000 + number as i64 * 1_000)
}

pub(crate) fn story(number: usize, content_bytes: usize) -> Document {
    let date = created(number);
    doc! {
        "_id": ObjectId::new(),
        "title": format!("Story {number}"),
        "slug": format!("story-{number}"),
        "content": "<p>Lorem ipsum.</p>".repeat(content_bytes / 19 + 1),
        "is_published": !number.is_multiple_of(50),
        "date": date, "createdDate": date, "updatedDate": date,
    }
}

pub(crate) async fn insert_stories(
    connection: &Connection,
    collection: &str,
    count: usize,
    bytes: usize,
) {
    let stories = connection.database().collection::<Document>(collection);
    let mut number = 0;
    while number < count {
        let until = (number + 5_000).min(count);
        stories.insert_many((number..until).map(|n| story(n, bytes))).await.unwrap();
        number = until;
    }
}

/// Both services on a database, migrated.
pub(crate) struct Services {
    pub(crate) content: String,
    pub(crate) shutdown: CancellationToken,
}

impl Services {
    pub(crate) async fn start(uri: &str, database: &str) -> Self {
        Self::start_with(uri, database, |_| {}).await
    }

    /// Like [`Self::start`], with other settings.
    pub(crate) async fn start_with(
        uri: &str,
        database: &str,
        change: impl Fn(&mut Settings),
    ) -> Self {
        let shutdown = CancellationToken::new();
        let changed = |sections: Option<&str>| {
            let mut settings = settings(uri, database, sections);
            change(&mut settings);
            settings
        };
        let sections = sections_service::bind(&changed(None)).await.unwrap();
        let url = local_url(sections.address());
        let content = content_service::bind(&changed(Some(&url))).await.unwrap();
        let address = local_url(content.address());
        let (one, two) = (sections.statuses(), content.statuses());
        tokio::spawn(sections.run(Migrate::AtStart, shutdown.clone()));
        tokio::spawn(content.run(Migrate::AtStart, shutdown.clone()));
        settled(one).await;
        settled(two).await;
        Self { content: address, shutdown }
    }
}

pub(crate) async fn settled(mut statuses: watch::Receiver<Vec<Status>>) {
    statuses.wait_for(|all| all.iter().all(|status| status.is_settled)).await.unwrap();
}

pub(crate) fn resident_kib(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
