//! Random numbers that can be repeated.

/// A sequence of numbers that is the same for a seed (a linear congruential generator, by Knuth).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// Returns the next number, which is less than the bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    /// Returns `true` in half of the cases.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}
