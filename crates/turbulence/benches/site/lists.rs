//! Lists against look-ups.

use reqwest::StatusCode;

use crate::{
    api::get,
    support::{FEW, Services, connect, insert_stories},
    table::Table,
    wrk::{Get, ROUNDS, median, rate, rates},
};

/// The bytes of an article: the stories of an existing site have 9 kB on average.
const ARTICLE_BYTES: usize = 9_000;

/// Lists of cards against lists of full stories.
pub(crate) async fn cards(uri: &str, table: &mut Table) {
    let database = "site_cards";
    let connection = connect(uri, database).await;
    insert_stories(&connection, "stories", 1_000, ARTICLE_BYTES).await;
    let services = Services::start(uri, database).await;
    let full = format!("{}/stories?limit=10", services.content);
    let cards = format!("{full}&view=card");
    let mut bytes = [0.0; 2];
    for (bytes, url) in bytes.iter_mut().zip([&full, &cards]) {
        *bytes = get(url, None, StatusCode::OK).await.bytes().await.unwrap().len() as f64;
    }
    let [of_full, of_cards] = bytes;
    let [full, cards] = [&full, &cards].map(|url| Get { url, header: None });
    let [full, cards] = rates([full, cards]);
    services.shutdown.cancel();
    table.row(
        "bytes of a list of cards ÷ of full stories",
        format!("{:.2} ({of_cards:.0}, {of_full:.0})", of_cards / of_full),
        "≤ 0.5",
        of_cards / of_full <= 0.5,
    );
    table.row(
        "rate of lists of cards ÷ of full stories",
        format!("{:.2} ({cards:.0}/s, {full:.0}/s)", cards / full),
        "≥ 1.5",
        cards / full >= 1.5,
    );
}

/// The rate of lists of 10 over that of look-ups by slug.
pub(crate) async fn lists(uri: &str, count: usize, table: &mut Table) -> f64 {
    let database = format!("site_{count}");
    let connection = connect(uri, &database).await;
    if count == FEW {
        insert_stories(&connection, "stories", count, 500).await;
    }
    let services = Services::start(uri, &database).await;
    let list = format!("{}/stories?limit=10", services.content);
    let slug = format!("{}/stories/slug/story-{}", services.content, count / 2 + 1);
    let (mut lists, mut slugs) = (Vec::new(), Vec::new());
    rate(&list);
    for _ in 0..ROUNDS {
        slugs.push(rate(&slug));
        lists.push(rate(&list));
    }
    services.shutdown.cancel();
    let (lists, slugs) = (median(lists), median(slugs));
    let ratio = lists / slugs;
    table.row(
        &format!("list of 10 of {count} stories ÷ look-up by slug"),
        format!("{ratio:.2} ({lists:.0}/s ÷ {slugs:.0}/s)"),
        if count == FEW { "≥ 0.5" } else { "–" },
        count != FEW || ratio >= 0.5,
    );
    ratio
}
