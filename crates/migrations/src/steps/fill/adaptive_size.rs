//! A size that follows the time that the work takes.

use std::{
    ops::{Range, RangeInclusive},
    time::Duration,
};

/// A number of documents that doubles while the work takes less time than intended, and halves
/// while it takes more.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AdaptiveSize {
    size: u64,
    /// The sizes between which the time decides.
    limits: RangeInclusive<u64>,
    /// The intended time.
    time: Range<Duration>,
}

impl AdaptiveSize {
    pub(super) fn new(size: u64, limits: RangeInclusive<u64>, time: Range<Duration>) -> Self {
        Self { size: size.min(*limits.end()), limits, time }
    }

    /// Returns the size for the next piece of work.
    pub(super) fn get(&self) -> u64 {
        self.size
    }

    /// Adapts the size after work of `size` took `taken`.
    pub(super) fn observe(&mut self, size: u64, taken: Duration) {
        if taken < self.time.start {
            self.size = size.saturating_mul(2).min(*self.limits.end());
        } else if taken > self.time.end {
            self.shrink(size);
        }
    }

    /// Halves the size after work of `size` took too long, down to the lower limit.
    pub(super) fn shrink(&mut self, size: u64) {
        if size > *self.limits.start() {
            self.size = (size / 2).max(*self.limits.start());
        }
    }

    /// Halves the size, if need be below the lower limit, because the server refused the work.
    pub(super) fn halve(&mut self) {
        self.size = (self.size / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn size() -> AdaptiveSize {
        AdaptiveSize::new(100, 50..=500, 10 * MILLI..40 * MILLI)
    }

    #[test]
    fn it_grows_while_the_work_is_quick_and_shrinks_while_it_is_slow() {
        let mut size = size();
        let mut after = |taken| {
            size.observe(size.get(), taken);
            size.get()
        };
        assert_eq!([9, 9, 9].map(|taken| after(taken * MILLI)), [200, 400, 500]);
        assert_eq!([10, 40].map(|taken| after(taken * MILLI)), [500, 500]);
        assert_eq!([41, 41, 41, 41].map(|taken| after(taken * MILLI)), [250, 125, 62, 50]);
    }

    #[test]
    fn it_starts_at_no_more_than_its_upper_limit() {
        assert_eq!(AdaptiveSize::new(100, 50..=80, MILLI..MILLI).get(), 80);
    }

    #[test]
    fn a_refusal_halves_it_below_its_lower_limit_and_slowness_does_not() {
        let mut size = size();
        for expected in [50, 25, 12, 6, 3, 1, 1] {
            size.halve();
            assert_eq!(size.get(), expected);
        }
        size.observe(1, 100 * MILLI);
        assert_eq!(size.get(), 1);
        size.observe(1, MILLI);
        assert_eq!(size.get(), 2);
    }
}
