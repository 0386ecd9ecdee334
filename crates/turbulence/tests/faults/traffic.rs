//! Clients that send requests during a fault, and the limits for what they see.

use std::{
    fmt,
    ops::AddAssign,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use test_support::eventually;
use tokio::task::JoinHandle;

/// The requests of clients during a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// The longest time for which a client had no successful response, whether its requests failed or
    /// waited.
    pub(crate) longest_gap: Duration,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.longest_gap = self.longest_gap.max(other.longest_gap);
    }
}

impl Traffic {
    /// Returns the cells of the table: requests, failed ones, and the longest gap.
    pub(crate) fn cells(&self) -> [String; 3] {
        if self.requests == 0 {
            return Default::default();
        }
        let gap = format!("{:.1} s", self.longest_gap.as_secs_f64());
        [self.requests.to_string(), self.failed.to_string(), gap]
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, failed, longest_gap } = self;
        write!(f, "{failed} of {requests} requests failed, the longest gap was {longest_gap:.1?}")
    }
}

/// The most that clients may notice of a fault. Nothing may ever be lost or doubled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// The most requests that may fail, in per cent.
    failed_percent: u32,
    longest_gap: Duration,
}

impl Limit {
    /// The limit of a fault during which no client sends requests.
    pub(crate) const NO_REQUESTS: Self = Self::new(0, 0);

    /// Returns a limit of failed requests, in per cent, and of the longest gap, in seconds.
    pub(crate) const fn new(failed_percent: u32, longest_gap_seconds: u64) -> Self {
        Self { failed_percent, longest_gap: Duration::from_secs(longest_gap_seconds) }
    }

    pub(crate) fn allows(&self, traffic: &Traffic) -> bool {
        traffic.failed * 100 <= traffic.requests * u64::from(self.failed_percent)
            && traffic.longest_gap <= self.longest_gap
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failed_percent, longest_gap } = self;
        if longest_gap.is_zero() {
            return f.write_str("nothing lost or doubled");
        }
        write!(f, "{failed_percent} % failed, gap {} s", longest_gap.as_secs())
    }
}

/// Clients that send a request as soon as they have the response to the one before.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    traffic: Arc<Mutex<Traffic>>,
    clients: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Starts so many clients. `send` returns `true` if the response is as it would be without the
    /// fault.
    pub(crate) fn start<F, R>(count: usize, send: F) -> Self
    where
        F: Fn() -> R + Clone + Send + 'static,
        R: Future<Output = bool> + Send + 'static,
    {
        let (stop, traffic) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Traffic>>::default());
        let clients = (0..count)
            .map(|_| tokio::spawn(client(stop.clone(), traffic.clone(), send.clone())))
            .collect();
        Self { stop, traffic, clients }
    }

    /// Waits until so many more requests have a response.
    pub(crate) async fn answered(&self, more: u64) {
        let count = || self.traffic.lock().unwrap().requests;
        let before = count();
        eventually("requests are answered", || std::future::ready(count() >= before + more)).await;
    }

    /// Stops all clients and returns their requests.
    pub(crate) async fn stop(self) -> Traffic {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
        *self.traffic.lock().unwrap()
    }
}

async fn client<R: Future<Output = bool>>(
    stop: Arc<AtomicBool>,
    traffic: Arc<Mutex<Traffic>>,
    send: impl Fn() -> R,
) {
    let mut last_success = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        let is_success = send().await;
        *traffic.lock().unwrap() += Traffic {
            requests: 1,
            failed: u64::from(!is_success),
            longest_gap: last_success.elapsed(),
        };
        if is_success {
            last_success = Instant::now();
        } else {
            // A failure at once is no reason to send thousands.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
