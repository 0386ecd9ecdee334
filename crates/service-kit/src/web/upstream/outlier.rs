//! The detection of replicas that fail much more often than the others.

use std::time::{Duration, Instant};

/// The time over which failures are counted, in seconds (Envoy's `interval` of outlier detection).
const WINDOW_SECONDS: u64 = 10;

/// The number of failures below which a replica is never an outlier (Envoy's `consecutive_5xx`).
const MIN_FAILURES: u32 = 5;

/// The share of failures, as one in so many requests, below which a replica is never an outlier.
const MIN_SHARE: u64 = 5;

/// The factor by which the share of failures has to exceed that of the other replicas. A fault that all
/// of them share, such as a database that is down, makes none an outlier.
const MIN_FACTOR: u64 = 2;

/// The first exclusion; each further one is twice as long.
const FIRST_EJECTION: Duration = Duration::from_secs(5);

/// The longest exclusion (Envoy's `max_ejection_time`).
const MAX_EJECTION: Duration = Duration::from_secs(300);

/// Requests and failures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) requests: u32,
    pub(super) failures: u32,
}

impl Counts {
    pub(super) fn add(self, other: Self) -> Self {
        Self { requests: self.requests + other.requests, failures: self.failures + other.failures }
    }

    /// Returns `true` if a replica with these counts fails much more often than the others.
    pub(super) fn is_outlier(self, others: Self) -> bool {
        let [requests, failures] = [self.requests, self.failures].map(u64::from);
        let [other_requests, other_failures] = [others.requests, others.failures].map(u64::from);
        self.failures >= MIN_FAILURES
            && failures * MIN_SHARE >= requests
            && failures * other_requests >= MIN_FACTOR * other_failures * requests
    }
}

/// The counts of the last seconds.
#[derive(Debug)]
pub(super) struct Window {
    start: Instant,
    /// The second that each element is about, since `start`, and its counts.
    seconds: [(u64, Counts); WINDOW_SECONDS as usize],
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self { start: now, seconds: [(0, Counts::default()); WINDOW_SECONDS as usize] }
    }

    pub(super) fn count(&mut self, is_failure: bool, now: Instant) {
        let second = self.second(now);
        let (of, counts) = &mut self.seconds[(second % WINDOW_SECONDS) as usize];
        if *of != second {
            (*of, *counts) = (second, Counts::default());
        }
        counts.requests = counts.requests.saturating_add(1);
        counts.failures = counts.failures.saturating_add(is_failure.into());
    }

    pub(super) fn counts(&self, now: Instant) -> Counts {
        let second = self.second(now);
        let is_recent = |of: u64| of + WINDOW_SECONDS > second;
        let recent = self.seconds.iter().filter(|(of, _)| is_recent(*of));
        recent.map(|(_, counts)| *counts).fold(Counts::default(), Counts::add)
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs()
    }
}

/// The exclusions of a replica.
#[derive(Debug, Default)]
pub(super) struct Ejections {
    last: Option<Ejection>,
}

#[derive(Debug, Clone, Copy)]
struct Ejection {
    end: Instant,
    length: Duration,
}

impl Ejections {
    /// Starts an exclusion: twice as long as the last one, unless the replica did well since then for
    /// longer than that.
    pub(super) fn start(&mut self, now: Instant) -> Duration {
        let length = match self.last {
            Some(last) if now.saturating_duration_since(last.end) <= last.length => {
                (last.length * 2).min(MAX_EJECTION)
            }
            _ => FIRST_EJECTION,
        };
        self.last = Some(Ejection { end: now + length, length });
        length
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now < last.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(requests: u32, failures: u32) -> Counts {
        Counts { requests, failures }
    }

    #[test]
    fn a_replica_that_fails_more_often_than_the_others_is_an_outlier() {
        for (own, others) in [
            (counts(10, 5), counts(10, 0)),
            (counts(5, 5), counts(0, 0)),
            (counts(1000, 200), counts(1000, 100)),
        ] {
            assert!(own.is_outlier(others), "{own:?} {others:?}");
        }
        for (own, others) in [
            (counts(4, 4), counts(100, 0)),
            (counts(1000, 199), counts(1000, 0)),
            // A fault that all share.
            (counts(100, 100), counts(100, 100)),
            (counts(100, 60), counts(100, 31)),
        ] {
            assert!(!own.is_outlier(others), "{own:?} {others:?}");
        }
    }

    #[test]
    fn only_the_last_ten_seconds_count() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut window = Window::new(start);
        for second in 0..20 {
            window.count(second < 8, at(second));
        }
        assert_eq!(window.counts(at(19)), counts(10, 0));
        window.count(true, at(20));
        assert_eq!(window.counts(at(20)), counts(10, 1));
        assert_eq!(window.counts(at(29)), counts(1, 1));
        assert_eq!(window.counts(at(30)), counts(0, 0));
    }

    #[test]
    fn exclusions_get_longer_until_the_replica_does_well() {
        let start = Instant::now();
        let mut ejections = Ejections::default();
        let mut now = start;
        let mut lengths = Vec::new();
        for _ in 0..8 {
            lengths.push(ejections.start(now).as_secs());
            assert!(ejections.is_ejected(now));
            now += Duration::from_secs(*lengths.last().unwrap());
            assert!(!ejections.is_ejected(now));
        }
        assert_eq!(lengths, [5, 10, 20, 40, 80, 160, 300, 300]);
        now += Duration::from_secs(301);
        assert_eq!(ejections.start(now).as_secs(), 5);
    }
}
