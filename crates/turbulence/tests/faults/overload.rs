//! A site that gets twice as many requests as it can process.

use std::time::Duration;

use test_support::get;

use crate::{
    accounts::{Tally, is_long_run, rounds},
    cluster::Cluster,
    load::Load,
    sites::stories,
    traffic::Traffic,
};

/// The number of stories of the site.
const STORIES: u32 = 200;

/// The path that readers request.
const PATH: &str = "/stories?limit=20";

/// The number of clients whose requests measure the capacity: enough for two processors, and few
/// enough that none waits for long.
const CLIENTS: usize = 16;

/// The requests per second of editors, and of probes.
const EDITORS_RATE: f64 = 5.0;

/// The least share of the capacity that has to be answered within a second. Other work on a machine
/// takes some of it between the two measurements.
const MIN_GOODPUT: f64 = 0.9;
const MIN_GOODPUT_OF_SHORT_RUN: f64 = 0.6;

/// The time within which half of the refusals have to be sent, and 99 of 100. The site, its database and
/// its clients compete for the same processors, and so a tenth of a second passes now and then.
const MAX_REFUSAL: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];
const MAX_REFUSAL_OF_SHORT_RUN: [Duration; 2] =
    [Duration::from_millis(500), Duration::from_secs(1)];

pub(crate) async fn at_twice_the_capacity_nearly_all_of_it_is_of_use() -> Tally {
    let cluster = Cluster::start().await;
    let collection = cluster.database.collection("stories");
    collection.insert_many(stories(0..STORIES)).await.unwrap();
    let gateway = cluster.gateway().await;
    let (min_goodput, max_refusal, seconds) = if is_long_run() {
        (MIN_GOODPUT, MAX_REFUSAL, 20)
    } else {
        (MIN_GOODPUT_OF_SHORT_RUN, MAX_REFUSAL_OF_SHORT_RUN, 8)
    };
    let time = Duration::from_secs(seconds);
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let load = Load::new(&gateway.url, PATH, false);
        // The first requests fill caches and open connections.
        load.capacity(CLIENTS, time / 8).await;
        let capacity = load.capacity(CLIENTS, time / 2).await;
        let (readers, editors, probes) = tokio::join!(
            load.at_rate(capacity * 2.0, time),
            Load::new(&gateway.url, PATH, true).at_rate(EDITORS_RATE, time),
            Load::new(&gateway.url, "/health/ready", false).at_rate(EDITORS_RATE, time),
        );
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let goodput = readers.good() as f64 / time.as_secs_f64() / capacity;
        let refused_within = [0.5, 0.99].map(|share| readers.refused_within(share));
        eprintln!(
            "overload: a capacity of {capacity:.0}/s; of {} requests in {time:?}, {} were answered \
             within 1 s ({:.0} % of the capacity; half of them within {:.0?}, 99 % within {:.0?}) \
             and {} failed; half of the refusals took {:.0?}, 99 % {:.0?}; of {} requests of \
             editors, {} were answered within 1 s (99 % within {:.0?}), and of {} probes, {} (99 % \
             within {:.0?})",
            readers.count(),
            readers.good(),
            goodput * 100.0,
            readers.answered_within(0.5),
            readers.answered_within(0.99),
            readers.failed(),
            refused_within[0],
            refused_within[1],
            editors.count(),
            editors.good(),
            editors.answered_within(0.99),
            probes.count(),
            probes.good(),
            probes.answered_within(0.99),
        );
        assert!(goodput >= min_goodput, "{goodput}");
        for (time, max) in refused_within.iter().zip(max_refusal) {
            assert!(*time <= max, "{refused_within:?}");
        }
        assert_eq!((editors.failed(), probes.failed()), (0, 0));
        assert_eq!((editors.good(), probes.good()), (editors.count(), probes.count()));
        // Both replicas are in use.
        let (_, ready) = get(&format!("{}/health/ready", gateway.url), None).await;
        let replicas = ready["checks"]["content-service"]["replicas"].as_array().unwrap();
        assert_eq!(replicas.len(), 2);
        assert!(replicas.iter().all(|replica| replica["status"] == "healthy"), "{replicas:#?}");
        let count = |count: usize| u64::try_from(count).unwrap();
        tally += Tally::round(0, 0).with_traffic(Traffic {
            requests: count(readers.count()),
            failed: count(readers.failed()),
            longest_gap: readers.answered_within(1.0),
        });
    }
    tally
}
