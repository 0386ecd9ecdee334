//! The search, and the sitemap, of a site with many stories.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use mongo_kit::Connection;
use mongodb::bson::{Document, doc};
use reqwest::Client;
use service_kit::web::http_client::service_client;

use crate::{
    support::{Services, connect, story},
    table::Table,
};

const DATABASE: &str = "site_finding";

/// The number of stories, and of the words of each.
const STORIES: usize = 100_000;
const WORDS: usize = 150;

/// The number of different words of a language that texts use.
const VOCABULARY: usize = 20_000;

/// The number of stories that have the same rare word.
const HITS: usize = 1_000;

/// The searches of a measurement, and the interval between them: 20 a second.
const SEARCHES: u32 = 300;
const INTERVAL: Duration = Duration::from_millis(50);

pub(crate) async fn finding(uri: &str, table: &mut Table) {
    let connection = connect(uri, DATABASE).await;
    insert(&connection).await;
    let url = "https://site.example".parse();
    let services = Services::start_with(uri, DATABASE, |settings| {
        settings.site.url = url.clone().ok();
    })
    .await;
    let client = service_client(Duration::from_secs(60)).unwrap();
    sitemap(&client, &services.content, table).await;
    let words = connection.database().collection::<Document>("content_search");
    let began = Instant::now();
    while words.count_documents(doc! {}).await.unwrap() < STORIES as u64 {
        assert!(began.elapsed() < Duration::from_secs(1_800), "the words are not added");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    eprintln!("the words of {STORIES} stories were added in {:.0?}", began.elapsed());
    for (what, words, limit) in [
        ("a word of 1,000", "rare7", 50),
        ("two words of 1,000", "rare7 everywhere", 50),
        ("a word of all", "everywhere", 500),
        ("two words of all", "everywhere always", 500),
    ] {
        let p99 = search(&client, &services.content, words).await.as_millis();
        table.row(
            &format!("search for {what} of {STORIES} stories at 20/s, p99"),
            format!("{p99} ms"),
            &format!("≤ {limit} ms"),
            p99 <= limit,
        );
    }
    services.shutdown.cancel();
}

/// Inserts stories of random words; a few words are in all of them, and each rare one is in 1,000.
async fn insert(connection: &Connection) {
    let stories = connection.database().collection::<Document>("stories");
    let mut random = test_support::Random(1);
    for block in 0..STORIES / 5_000 {
        let stories_of_block = (block * 5_000..(block + 1) * 5_000).map(|number| {
            let words = (0..WORDS).map(|_| {
                // Common words are used more often than rare ones.
                let word = random.below(VOCABULARY) * random.below(VOCABULARY) / VOCABULARY;
                format!("word{word}")
            });
            let text = words.collect::<Vec<_>>().join(" ");
            let rare = number % (STORIES / HITS);
            let mut story = story(number, 0);
            story.insert("content", format!("<p>everywhere {text} rare{rare} always</p>"));
            story
        });
        stories.insert_many(stories_of_block.collect::<Vec<_>>()).await.unwrap();
    }
}

async fn sitemap(client: &Client, content: &str, table: &mut Table) {
    let began = Instant::now();
    let index = text(client, &format!("{content}/sitemap.xml")).await;
    let mut count = 0;
    for part in index.split("<loc>").skip(1) {
        let path = part.split("</loc>").next().unwrap().replace("https://site.example", content);
        count += text(client, &path).await.matches("<url>").count();
    }
    let taken = began.elapsed();
    assert!(count > STORIES / 10 * 9, "{count}");
    table.row(
        &format!("sitemap of {STORIES} stories, index and all parts, cold"),
        format!("{:.2} s", taken.as_secs_f64()),
        "≤ 2 s",
        taken <= Duration::from_secs(2),
    );
}

/// Returns the 99th percentile of the times of searches that begin at fixed times.
async fn search(client: &Client, content: &str, words: &str) -> Duration {
    let url: Arc<str> = format!("{content}/search?q={}", words.replace(' ', "+")).into();
    let first = text(client, &url).await;
    assert!(first.contains("\"path\":\"/blog/"), "{first}");
    let mut requests = Vec::new();
    let began = Instant::now();
    for number in 0..SEARCHES {
        tokio::time::sleep_until((began + INTERVAL * number).into()).await;
        let (client, url) = (client.clone(), Arc::clone(&url));
        requests.push(tokio::spawn(async move {
            let began = Instant::now();
            text(&client, &url).await;
            began.elapsed()
        }));
    }
    let mut times: Vec<_> = join_all(requests).await.into_iter().map(Result::unwrap).collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

async fn text(client: &Client, url: &str) -> String {
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{url}");
    answer.text().await.unwrap()
}
