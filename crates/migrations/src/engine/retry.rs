//! The times at which a migration is tried again.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::error::RunErrorKind;

/// The first pause before a migration is tried again.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause before a migration is tried again.
const MAX_PAUSE: Duration = Duration::from_secs(15);

/// The time between two checks whether an operator has changed the ledger.
const OPERATOR_PAUSE: Duration = Duration::from_secs(2);

/// Returns pauses that double from [`FIRST_PAUSE`] to `max`. Each of them is shortened at random by
/// up to a half, so that replicas do not try at the same time.
pub(super) fn backoff(max: Duration) -> ExponentialBackoff {
    // The jitter adds up to the whole pause.
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE / 2)
        .with_max_delay(max / 2)
        .without_max_times()
        .with_jitter()
        .build()
}

/// The time of the next attempt of a migration.
#[derive(Debug)]
pub(super) struct RetryState {
    due: Instant,
    pauses: ExponentialBackoff,
    /// `true` after an error that does not disappear by itself: the migration is tried again when
    /// its entry in the ledger has changed.
    waits_for_operator: bool,
}

impl RetryState {
    /// Returns the state of a migration that has not been tried.
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now, pauses: backoff(MAX_PAUSE), waits_for_operator: false }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }

    pub(super) fn waits_for_operator(&self) -> bool {
        self.waits_for_operator
    }

    /// Postpones the attempt because the entry has not changed.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.due = now + OPERATOR_PAUSE;
    }

    /// Decides the time of the next attempt after an error.
    pub(super) fn schedule_after(&mut self, now: Instant, error: &RunErrorKind) {
        self.waits_for_operator = false;
        match error {
            // Its time is that of the migration that it waits for.
            RunErrorKind::Requires(_) => {}
            RunErrorKind::Paused | RunErrorKind::RolledBack => self.due = now + OPERATOR_PAUSE,
            error if error.is_transient() => {
                self.due = now + self.pauses.next().unwrap_or(MAX_PAUSE);
            }
            _ => {
                self.waits_for_operator = true;
                self.due = now + OPERATOR_PAUSE;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSIENT: RunErrorKind = RunErrorKind::TakenOver;

    /// Returns the pauses after these errors.
    fn pauses(state: &mut RetryState, errors: &[RunErrorKind]) -> Vec<Duration> {
        let now = Instant::now();
        let pause = |error| {
            state.schedule_after(now, error);
            state.due().saturating_duration_since(now)
        };
        errors.iter().map(pause).collect()
    }

    #[test]
    fn a_new_migration_is_due() {
        let now = Instant::now();
        let state = RetryState::new(now);
        assert!(state.is_due(now) && !state.waits_for_operator());
    }

    #[test]
    fn pauses_after_transient_errors_double_up_to_a_limit() {
        let mut state = RetryState::new(Instant::now());
        let pauses = pauses(&mut state, &[TRANSIENT; 12]);
        let mut longest = FIRST_PAUSE;
        for pause in &pauses {
            assert!((longest / 2..longest).contains(pause), "{pause:?} of {longest:?}");
            longest = (longest * 2).min(MAX_PAUSE);
        }
        assert!(!state.waits_for_operator());
    }

    #[test]
    fn other_errors_wait_for_an_operator() {
        let mut state = RetryState::new(Instant::now());
        let fatal = RunErrorKind::NotProvable(String::new());
        assert_eq!(pauses(&mut state, &[fatal]), [OPERATOR_PAUSE]);
        assert!(state.waits_for_operator());
        pauses(&mut state, &[TRANSIENT]);
        assert!(!state.waits_for_operator());
    }

    #[test]
    fn what_an_operator_stopped_is_checked_without_growing_pauses() {
        let mut state = RetryState::new(Instant::now());
        let stopped = [RunErrorKind::Paused, RunErrorKind::RolledBack, RunErrorKind::Paused];
        assert_eq!(pauses(&mut state, &stopped), [OPERATOR_PAUSE; 3]);
        assert!(!state.waits_for_operator());
    }
}
