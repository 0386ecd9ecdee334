//! HTML from editors, made safe before it is stored.
//!
//! The HTML that a text needs survives. HTML that executes, loads foreign code or changes the page
//! around the text does not (docs/reference/html.md).
//!
//! The parser is html5ever. [`tree`] builds a tree within [`limits`]; [`clean`] writes what
//! [`policy`] keeps of it. That is repeated until the result stays as it is: what is stored is read
//! by every parser as the tree that was checked. `address`, `style` and `names` judge values.

mod address;
mod clean;
mod limits;
mod names;
mod policy;
mod removed;
mod style;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;

use service_kit::runtime::{
    offload::{Offload, OffloadError},
    settings,
};

use self::{
    limits::{Limits, MAX_DEPTH, MAX_TAG_ATTRIBUTES},
    removed::RemovedCounts,
};

pub(crate) use removed::Removed;

/// The most passes until a text has to stay as it is. What an editor makes does after one; elements
/// nested against the rules move when they are read again, a level each time.
const MAX_PASSES: usize = 10;

/// The most texts that are sanitised at once. Each may take a core for a moment, and some memory.
const MAX_CONCURRENT: usize = 4;

/// A text cannot be made safe, or only at too high a cost. The message is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HtmlError {
    /// Too many elements in one another.
    #[error("must not have more than {MAX_DEPTH} elements in one another")]
    TooDeep,
    /// The parser makes more elements than the text has tags for.
    #[error(
        "has elements that are not closed and would be repeated too often: close `<b>`, `<i>`, \
         `<font>` and the like"
    )]
    TooManyNodes,
    /// The parser repeats more attributes than the text has.
    #[error(
        "has too many attributes, or attributes of elements that are not closed and would be \
         repeated too often"
    )]
    TooManyAttributes,
    /// A tag has too many attributes.
    #[error("must not have more than {MAX_TAG_ATTRIBUTES} attributes in one tag")]
    TooManyTagAttributes,
    /// The parser needs too many steps.
    #[error("is too complex: close its elements, and nest them less deeply")]
    TooComplex,
    /// The result is longer than any content may be.
    #[error("is too long when it is written as valid HTML")]
    TooLong,
    /// It means something else each time it is read.
    #[error("must not have elements nested against the rules of HTML")]
    Unstable,
}

/// A safe text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sanitized {
    /// The text. Sanitising it again changes nothing.
    pub(crate) html: String,
    /// The elements and attributes of the text that `html` does not have, sorted by name.
    pub(crate) removed: Vec<Removed>,
}

/// Makes HTML safe. Clones share one limit of texts at once.
#[derive(Debug, Clone)]
pub(crate) struct Sanitiser {
    settings: Arc<settings::html::Html>,
    offload: Offload,
}

impl Sanitiser {
    /// Makes a sanitiser for the whole process.
    pub(crate) fn new(settings: &settings::html::Html) -> Self {
        Self { settings: Arc::new(settings.clone()), offload: Offload::new(MAX_CONCURRENT) }
    }

    /// Sanitises a text off the async workers: a long one takes as long as many requests.
    ///
    /// Waits while too many others are sanitised. The outer error tells that the process ends.
    pub(crate) async fn run(
        &self,
        html: String,
    ) -> Result<Result<Sanitized, HtmlError>, OffloadError> {
        let sanitiser = self.clone();
        self.offload.run(move || sanitiser.sanitise(&html)).await
    }

    /// Removes what may do harm. The result is what every reader of it sees, not something that is
    /// read differently the next time.
    pub(crate) fn sanitise(&self, html: &str) -> Result<Sanitized, HtmlError> {
        let limits = Limits::new(html.len());
        let (mut current, mut removed) = self.pass(html, &limits)?;
        for _ in 1..MAX_PASSES {
            let (next, removed_next) = self.pass(&current, &limits)?;
            if next == current && removed_next.is_empty() {
                limits.check_twice(current.len())?;
                return Ok(Sanitized { html: current, removed: removed.into_list() });
            }
            current = next;
            removed.merge(removed_next);
        }
        Err(HtmlError::Unstable)
    }

    fn pass(&self, html: &str, limits: &Limits) -> Result<(String, RemovedCounts), HtmlError> {
        let nodes = tree::Nodes::new();
        let mut removed = RemovedCounts::default();
        let root = tree::parse(html, &nodes, limits, &mut removed)?;
        let html = clean::write(root, &self.settings, limits, &mut removed)?;
        Ok((html, removed))
    }
}
