//! The times at which a delivery is repeated.

use std::time::Duration;

use mongodb::bson::oid::ObjectId;

/// The first and the largest pause as shares of the time for which a delivery is repeated: 5 s and an
/// hour of two days. A restart of the target is bridged at once, and a target that is repaired gets
/// its messages within the hour.
const FIRST_PAUSE_SHARE: u32 = 34_560;
const MAX_PAUSE_SHARE: u32 = 48;

/// The smallest pause.
const MIN_PAUSE: Duration = Duration::from_millis(50);

/// The share of a pause that differs between deliveries, so that those that failed together do not all
/// come at the same time again.
const SPREAD: f64 = 0.1;

/// The times at which deliveries are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The time for which a delivery is repeated.
    pub(crate) retry_for: Duration,
}

impl Schedule {
    /// Returns the pause after a failed attempt, with the number of failed ones before it.
    pub(super) fn pause(self, delivery: ObjectId, failed_before: i64) -> Duration {
        let first = (self.retry_for / FIRST_PAUSE_SHARE).max(MIN_PAUSE);
        let max = (self.retry_for / MAX_PAUSE_SHARE).max(first);
        let doublings = u32::try_from(failed_before).unwrap_or(u32::MAX).min(31);
        let pause = first.saturating_mul(1 << doublings).min(max);
        let [.., last] = delivery.bytes();
        pause.mul_f64(1.0 + SPREAD * f64::from(last) / 256.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_within_two_days() {
        let schedule = Schedule { retry_for: Duration::from_secs(2 * 24 * 60 * 60) };
        let id = ObjectId::from_bytes([0; 12]);
        let pauses: Vec<_> = (0..11).map(|failed| schedule.pause(id, failed).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]);
        assert_eq!(schedule.pause(id, i64::MAX).as_secs(), 3600);
        let other = ObjectId::from_bytes([255; 12]);
        let spread = schedule.pause(other, 3).as_secs_f64();
        assert!((43.0..44.0).contains(&spread), "{spread}");
    }

    #[test]
    fn short_times_have_short_pauses() {
        let schedule = Schedule { retry_for: Duration::from_secs(10) };
        let id = ObjectId::from_bytes([0; 12]);
        assert_eq!(schedule.pause(id, 0), MIN_PAUSE);
        assert_eq!(schedule.pause(id, 40).as_millis(), 208);
    }
}
