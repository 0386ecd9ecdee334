//! The limits of what a text may cost, as counts: the same on every machine.

use std::cell::Cell;

use super::HtmlError;
use crate::domain::html_content::HtmlContent;

/// The most elements in one another. Browsers stop at 512; texts have a dozen.
pub(super) const MAX_DEPTH: u32 = 500;

/// The most attributes of one tag.
pub(super) const MAX_TAG_ATTRIBUTES: usize = 100;

/// The nodes that any text may have; a node more for each byte of it. A tag has at least three
/// bytes, so only elements that the parser repeats reach this.
const MIN_NODES: usize = 1_000;

/// The attributes that any text may have; one more for each two bytes of it.
const MIN_ATTRIBUTES: usize = 1_000;

/// The steps of the parser that any text may take, in all passes together.
const MIN_STEPS: u64 = 4_000_000;

/// The steps for each byte more. Texts take about ten a byte in each of two passes; a step takes
/// a few nanoseconds.
const STEPS_PER_BYTE: u64 = 100;

/// The longest result, in bytes. Longer than any content may be.
pub(super) const MAX_OUTPUT_BYTES: usize = 4 * HtmlContent::MAX_LENGTH;

/// Counts what a text costs. Whoever works on the text looks at [`Limits::check`] between pieces.
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
    /// Returns the limits for a text of so many bytes.
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

    /// Forgets the nodes and attributes of the last pass. The steps of all passes count.
    pub(super) fn begin_pass(&self) {
        self.nodes.set(0);
        self.attributes.set(0);
        self.steps_left_before_pass.set(self.steps_left.get());
    }

    /// Returns an error if a text of so many bytes may not cost what the last pass cost, twice: the
    /// one that changes nothing, and the one that finds that.
    ///
    /// A result is shorter than its text and has less to spend. What is stored must be accepted when
    /// it is sent back.
    pub(super) fn check_twice(&self, bytes: usize) -> Result<(), HtmlError> {
        let limits = Self::new(bytes);
        limits.add_nodes(self.nodes.get(), self.attributes.get());
        limits.spend(2 * (self.steps_left_before_pass.get() - self.steps_left.get()));
        limits.check()
    }

    /// Counts a node with so many attributes.
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
