//! Requests at a steady rate, as a site in use receives them, independent of the response times.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

const PER_SECOND: u32 = 200;
const SECONDS: u32 = 8;

/// The durations of requests.
#[derive(Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// The time in milliseconds that 99 of 100 requests keep to.
    pub(crate) fn p99(&mut self) -> f64 {
        self.0.sort_unstable();
        self.0[self.0.len() * 99 / 100].as_secs_f64() * 1000.0
    }

    pub(crate) fn extend(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }
}

/// Measures requests that are sent at the steady rate.
///
/// It counts from the moment at which a request was to be sent, so that one which had to wait for
/// the one before is slow, too (G. Tene, "How NOT to Measure Latency", 2013). The client has a
/// thread of its own.
pub(crate) async fn latencies(url: &str) -> Latencies {
    let url = url.to_owned();
    let measured = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(request(&url))
    });
    Latencies(measured.await.unwrap())
}

async fn request(url: &str) -> Vec<Duration> {
    let client = service_kit::web::http_client::service_client(Duration::from_secs(10)).unwrap();
    let mut ticks = interval(Duration::from_secs(1) / PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = JoinSet::new();
    for _ in 0..PER_SECOND * SECONDS {
        let due = ticks.tick().await;
        let request = client.get(url);
        requests.spawn(async move {
            let answer = request.send().await.unwrap().error_for_status().unwrap();
            answer.bytes().await.unwrap();
            Instant::now() - due
        });
    }
    requests.join_all().await
}
