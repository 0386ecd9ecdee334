//! Requests at a steady rate, as a site in use receives them, independent of the response times.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::connection::Connection;

/// The number of connections: the requests that can be under way at a time.
const CONNECTIONS: u32 = 64;

/// Requests that are sent at a steady rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) per_second: u32,
    pub(crate) seconds: u32,
}

/// The durations of requests.
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The time in milliseconds that this share of the requests keeps to.
    pub(crate) fn percentile(&mut self, percent: usize) -> f64 {
        self.0.sort_unstable();
        self.0[self.0.len() * percent / 100].as_secs_f64() * 1000.0
    }

    pub(crate) fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub(crate) fn extend(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }
}

/// Measures requests for a path that are sent at the steady rate.
///
/// It counts from the moment at which a request was to be sent, so that one which had to wait for
/// the one before is slow, too (G. Tene, "How NOT to Measure Latency", 2013). Each connection has a
/// thread of its own, which sleeps until its next request is due.
pub(crate) async fn latencies(address: &str, path: &str, load: Load) -> Latencies {
    let (address, path) = (address.to_owned(), path.to_owned());
    let measured = tokio::task::spawn_blocking(move || {
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| Connection::open(&address)).collect();
        let began = Instant::now() + Duration::from_millis(100);
        thread::scope(|scope| {
            let senders: Vec<_> = (0..)
                .zip(connections)
                .map(|(first, connection)| {
                    let path = &path;
                    scope.spawn(move || send(connection, path, load, first, began))
                })
                .collect();
            let mut latencies = Latencies::new();
            for sender in senders {
                latencies.extend(sender.join().unwrap());
            }
            latencies
        })
    });
    measured.await.unwrap()
}

/// Sends the requests of one connection.
fn send(
    mut connection: Connection,
    path: &str,
    load: Load,
    first: u32,
    began: Instant,
) -> Latencies {
    let mut latencies = Latencies::new();
    for number in (first..load.per_second * load.seconds).step_by(CONNECTIONS as usize) {
        let due = began + Duration::from_secs(1) * number / load.per_second;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        assert_eq!(connection.get(path).status, 200, "{path}");
        latencies.push(due.elapsed());
    }
    latencies
}
