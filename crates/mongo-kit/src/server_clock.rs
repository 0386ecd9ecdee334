//! The time by the clock of the database server.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use mongodb::bson;

/// The longest round trip whose answer sets a clock that is already set: the answer does not say when
/// in between the server read its clock. The clocks of a replica set differ by more than half of it.
const MAX_ROUND_TRIP: Duration = Duration::from_millis(200);

/// The time by the clock of the database server, the same for all processes that write to it.
///
/// It is set by answers of the server that contain its time, and continues with the monotonic clock of
/// this machine in between. The wall clock of this machine has no influence.
#[derive(Debug, Clone, Default)]
pub struct ServerClock(Arc<RwLock<Option<Reading>>>);

#[derive(Debug, Clone, Copy)]
struct Reading {
    server_time: DateTime<Utc>,
    at: Instant,
}

impl ServerClock {
    /// Sets the clock by an answer that has just arrived, to a command sent at `sent`.
    pub(crate) fn set(&self, server_time: bson::DateTime, sent: Instant) {
        let millis = server_time.timestamp_millis();
        let Some(server_time) = DateTime::from_timestamp_millis(millis) else { return };
        let mut reading = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let round_trip = sent.elapsed();
        if reading.is_some() && round_trip > MAX_ROUND_TRIP {
            return;
        }
        let at = sent + round_trip / 2;
        *reading = Some(Reading { server_time, at });
    }

    /// Returns the time, or `None` before the first answer of the server.
    pub fn now(&self) -> Option<DateTime<Utc>> {
        let reading = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        reading.map(|Reading { server_time, at }| server_time + at.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_777_636_800_000;

    fn time(millis: i64) -> bson::DateTime {
        bson::DateTime::from_millis(millis)
    }

    /// Returns the time since noon that the clock shows, in milliseconds.
    fn since_noon(clock: &ServerClock) -> i64 {
        clock.now().unwrap().timestamp_millis() - NOON
    }

    #[test]
    fn a_clock_shows_the_time_of_the_server_and_continues() {
        let clock = ServerClock::default();
        assert_eq!(clock.now(), None);
        clock.set(time(NOON), Instant::now());
        let shown = since_noon(&clock);
        assert!((0..60_000).contains(&shown), "{shown}");
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        assert!(since_noon(&clock) > shown);
    }

    #[test]
    fn a_slow_answer_sets_a_clock_only_if_there_is_no_better_one() {
        let clock = ServerClock::default();
        let slow = Instant::now().checked_sub(MAX_ROUND_TRIP * 2).unwrap();
        clock.set(time(NOON), slow);
        // The server read its clock in the middle of the round trip.
        assert!(since_noon(&clock) >= 200);
        clock.set(time(0), slow);
        assert!(since_noon(&clock) >= 200);
        clock.set(time(0), Instant::now());
        assert!(since_noon(&clock) < 0);
    }
}
