//! Limits of the cost of a text. They count nodes and steps, so that they are the same on every machine.

use std::cell::Cell;

use super::HtmlError;
use crate::domain::html_content::HtmlContent;

/// The maximum depth of nested elements. Browsers stop at 512; texts of real sites have about twelve.
pub(super) const MAX_DEPTH: u32 = 500;

/// The maximum number of attributes of a tag.
pub(super) const MAX_TAG_ATTRIBUTES: usize = 100;

/// The number of nodes that every text may have, in addition to one for each byte of it. A tag has at
/// least three bytes, so only elements that the parser repeats can exceed the limit.
const MIN_NODES: usize = 1_000;

/// The number of attributes that every text may have, in addition to one for each two bytes of it.
const MIN_ATTRIBUTES: usize = 1_000;

/// The number of steps that every text may take, in all passes together.
const MIN_STEPS: u64 = 4_000_000;

/// The number of additional steps for each byte. Texts take about ten steps a byte in each of two
/// passes; a step takes a few nanoseconds.
const STEPS_PER_BYTE: u64 = 100;

/// The maximum length of a result in bytes: more than any content may have.
pub(super) const MAX_OUTPUT_BYTES: usize = 4 * HtmlContent::MAX_LENGTH;

/// Counts the cost of a text. Code that works on the text calls [`Limits::check`] between pieces.
pub(super) struct Limits {
    max_nodes: usize,
    max_attributes: usize,
    nodes: Cell<usize>,
    attributes: Cell<usize>,
    steps_left: Cell<u64>,
    steps_left_before_pass: Cell<u64>,
    error: Cell<Option<HtmlError>>,
}

impl Limits {
    /// Returns the limits for a text of this length in bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let steps = MIN_STEPS + STEPS_PER_BYTE * bytes as u64;
        Self {
            max_nodes: MIN_NODES + bytes,
            max_attributes: MIN_ATTRIBUTES + bytes / 2,
            nodes: Cell::new(0),
            attributes: Cell::new(0),
            steps_left: Cell::new(steps),
            steps_left_before_pass: Cell::new(steps),
            error: Cell::new(None),
        }
    }

    /// Sets the numbers of nodes and attributes to zero for the next pass. Steps are counted over all
    /// passes.
    pub(super) fn begin_pass(&self) {
        self.nodes.set(0);
        self.attributes.set(0);
        self.steps_left_before_pass.set(self.steps_left.get());
    }

    /// Returns an error if a text of this length in bytes may not cost twice the cost of the last pass:
    /// one pass sanitises it, a second one confirms that nothing changes.
    ///
    /// A result is shorter than its text and has lower limits. A stored text must be accepted if it is
    /// sent again.
    pub(super) fn check_twice(&self, bytes: usize) -> Result<(), HtmlError> {
        let limits = Self::new(bytes);
        limits.add_nodes(self.nodes.get(), self.attributes.get());
        limits.spend(2 * (self.steps_left_before_pass.get() - self.steps_left.get()));
        limits.check()
    }

    /// Counts a node with this number of attributes.
    pub(super) fn add_node(&self, attributes: usize) {
        self.add_nodes(1, attributes);
    }

    fn add_nodes(&self, nodes: usize, attributes: usize) {
        self.nodes.set(self.nodes.get() + nodes);
        self.attributes.set(self.attributes.get() + attributes);
        if self.nodes.get() > self.max_nodes {
            self.exceed(HtmlError::TooManyNodes);
        }
        if self.attributes.get() > self.max_attributes {
            self.exceed(HtmlError::TooManyAttributes);
        }
    }

    /// Counts steps of work.
    pub(super) fn spend(&self, steps: u64) {
        match self.steps_left.get().checked_sub(steps) {
            Some(left) => self.steps_left.set(left),
            None => self.exceed(HtmlError::TooComplex),
        }
    }

    /// Records that a limit is exceeded; the first one is reported.
    pub(super) fn exceed(&self, error: HtmlError) {
        if self.error.get().is_none() {
            self.error.set(Some(error));
        }
    }

    /// Returns an error as soon as a limit is exceeded.
    pub(super) fn check(&self) -> Result<(), HtmlError> {
        self.error.get().map_or(Ok(()), Err)
    }
}
