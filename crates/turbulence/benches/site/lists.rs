//! Lists against look-ups.

use crate::{
    support::{FEW, Services, connect, insert_stories},
    table::Table,
    wrk::{ROUNDS, median, rate},
};

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
