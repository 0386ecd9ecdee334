//! The options that limit the speed of a fill, and the pace that follows from them.

use std::{num::NonZeroU32, ops::Range, time::Duration};

use super::{adaptive_size::AdaptiveSize, foreground::Foreground};

/// The time of a batch at full speed: long enough that its commit does not dominate, short enough
/// that a foreground write that meets it does not wait noticeably.
pub(super) const BATCH_TIME: Range<Duration> =
    Duration::from_millis(200)..Duration::from_millis(500);

/// The time of a batch at full speed if the pace changes as soon as the database is in use, which is
/// noticed between batches: a commit takes a twentieth of it.
pub(super) const ALERT_BATCH_TIME: Range<Duration> =
    Duration::from_millis(50)..Duration::from_millis(100);

/// The time of a gentle batch, without the pauses between its commands.
const GENTLE_BATCH_TIME: Range<Duration> = Duration::from_millis(10)..Duration::from_millis(40);

/// The time of one command of a gentle batch: less than the time slice of a processor (about 3 ms on
/// Linux), so that a request that shares one with the database continues at once.
const COMMAND_TIME: Range<Duration> = Duration::from_micros(500)..Duration::from_millis(1);

/// Documents in the first command of a gentle batch, and the size below which a command does not
/// shrink: its remaining time is the round trip to the server.
const MIN_COMMAND_SIZE: u64 = 8;

/// Documents in the first batch at full speed.
const FIRST_BATCH_SIZE: u64 = 1_000;

/// The size below which a batch does not shrink because of its time: the remaining time is mostly
/// that of the commit, which does not shrink either.
const MIN_BATCH_SIZE: u64 = 50;

/// The most documents in a batch. A document costs no less in a larger one, but two batches are held
/// in memory.
pub(super) const MAX_BATCH_SIZE: u64 = 4_000;

/// Documents in the first gentle batch, and the most in any. Its reads, its commit and the change
/// streams that read the commit are not divided into short commands: for 500 documents they take 2 to
/// 8 ms, for 100 at most 1.5 ms.
const MAX_GENTLE_BATCH_SIZE: u64 = 100;

/// Documents a second that a fill changes at full speed on two cores, roughly
/// (`docs/BENCHMARKS.md` of Turbulence).
const USUAL_RATE: f64 = 30_000.0;

/// Documents a second that a gentle fill changes in the time in which its commands run, between those
/// of a local and of a distant server.
const USUAL_GENTLE_RATE: f64 = 10_000.0;

/// The lower limit of [`Throttle::duty_cycle`].
const MIN_DUTY_CYCLE: f64 = 0.01;

/// Limits to the speed of changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttle {
    /// The most documents a second, or `None` for no limit.
    pub documents_per_second: Option<NonZeroU32>,
    /// The share of the time in which commands run that change documents while other clients use
    /// the database, from 0.01 to 1; values outside are clamped. Below 1, batches are then small and
    /// consist of short commands with pauses between them for foreground requests. While no other
    /// client uses the database, the share is 1. An engine that does not count its own operations
    /// ([`Options::operations`](crate::Options::operations)) cannot tell, and always pauses.
    pub duty_cycle: f64,
    /// `true` to pause while the server reports that its secondaries lag.
    pub heeds_flow_control: bool,
}

impl Throttle {
    /// As fast as the database allows.
    pub const OFF: Self =
        Self { documents_per_second: None, duty_cycle: 1.0, heeds_flow_control: true };

    /// For a database that is in use.
    pub const GENTLE: Self = Self { duty_cycle: 0.05, ..Self::OFF };

    /// Returns `true` if changes pause for other clients.
    pub(crate) fn is_gentle(&self) -> bool {
        self.duty_cycle < 1.0
    }

    /// Returns the throttle with its duty cycle clamped to the valid range.
    pub(crate) fn clamped(self) -> Self {
        // The minimum also takes the place of "not a number".
        let is_valid = self.duty_cycle > MIN_DUTY_CYCLE;
        let duty_cycle = if is_valid { self.duty_cycle.min(1.0) } else { MIN_DUTY_CYCLE };
        Self { duty_cycle, ..self }
    }

    /// Returns the documents a second to expect, on an idle database if the engine can tell.
    pub(crate) fn usual_rate(&self, can_tell: bool) -> f64 {
        let is_gentle = self.is_gentle() && !can_tell;
        let rate = if is_gentle { USUAL_GENTLE_RATE * self.duty_cycle } else { USUAL_RATE };
        self.documents_per_second.map_or(rate, |limit| rate.min(limit.get().into()))
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::GENTLE
    }
}

/// The present way of changing documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Full speed, whether or not other clients use the database.
    Unthrottled,
    /// Full speed, in batches short enough to notice in time that the database is in use.
    Alert,
    /// Short commands with pauses for other clients.
    Gentle,
}

impl Pace {
    /// Returns the pace of a gentle throttle while there is foreground work, or none.
    pub(super) fn during(foreground: Foreground) -> Self {
        match foreground {
            Foreground::Absent => Self::Alert,
            Foreground::Present | Foreground::Unknown => Self::Gentle,
        }
    }

    /// Returns the size of batches, which is at most `max`.
    pub(super) fn batch_size(self, max: u64) -> AdaptiveSize {
        let (first, largest, time) = match self {
            Self::Unthrottled => (FIRST_BATCH_SIZE, MAX_BATCH_SIZE, BATCH_TIME),
            Self::Alert => (FIRST_BATCH_SIZE, MAX_BATCH_SIZE, ALERT_BATCH_TIME),
            Self::Gentle => (MAX_GENTLE_BATCH_SIZE, MAX_GENTLE_BATCH_SIZE, GENTLE_BATCH_TIME),
        };
        AdaptiveSize::new(first, MIN_BATCH_SIZE..=largest.min(max), time)
    }

    /// Returns the size of the commands of a batch, or `None` if one command changes all of it.
    pub(super) fn command_size(self) -> Option<AdaptiveSize> {
        let limits = MIN_COMMAND_SIZE..=u64::MAX;
        (self == Self::Gentle).then(|| AdaptiveSize::new(MIN_COMMAND_SIZE, limits, COMMAND_TIME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duty_cycle_outside_of_its_range_is_clamped() {
        for (given, expected) in
            [(0.0, 0.01), (-1.0, 0.01), (f64::NAN, 0.01), (0.5, 0.5), (7.0, 1.0)]
        {
            let throttle = Throttle { duty_cycle: given, ..Throttle::OFF }.clamped();
            assert!((throttle.duty_cycle - expected).abs() < 1e-9, "{given}");
        }
    }
}
