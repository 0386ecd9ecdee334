//! Sanitises HTML from editors before it is stored.
//!
//! HTML that formats a text is kept. HTML that executes, loads foreign code or changes the page around
//! the text is removed (docs/reference/html.md).
//!
//! The parser is html5ever. [`tree`] builds a tree within [`limits`]; [`clean`] serializes
//! the part that [`policy`] allows. Both are repeated until the result does not change, so that every
//! parser reads the stored text as the tree that was checked. `address`, `style` and `names` check
//! values. [`summary`] reads a stored text for cards.

mod address;
mod clean;
mod limits;
mod names;
mod plain_text;
mod policy;
mod removed;
mod style;
mod summary;
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

pub(crate) use plain_text::plain_text;
pub(crate) use removed::Removed;
pub(crate) use summary::Summary;

/// The maximum number of passes until a text must not change any more. A text of an editor does not
/// change after the first one; elements that are nested against the rules move by a level in each pass.
const MAX_PASSES: usize = 10;

/// The maximum number of texts that are sanitised at once. Each occupies a core and some memory.
const MAX_CONCURRENT: usize = 4;

/// A text that cannot be sanitised, or only at too high a cost. The message is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HtmlError {
    /// Elements are nested too deeply.
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
    /// The result changes each time it is sanitised.
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

/// Sanitises HTML. Clones share the limit of concurrent texts.
#[derive(Debug, Clone)]
pub(crate) struct Sanitiser {
    settings: Arc<settings::html::Html>,
    offload: Offload,
}

impl Sanitiser {
    /// Returns a sanitiser for the whole process.
    pub(crate) fn new(settings: &settings::html::Html) -> Self {
        Self { settings: Arc::new(settings.clone()), offload: Offload::new(MAX_CONCURRENT) }
    }

    /// Sanitises a text outside of the async workers, because a long text takes as long as many requests.
    ///
    /// Waits while too many others are sanitised. Returns the outer error if the process ends.
    pub(crate) async fn run(
        &self,
        html: String,
    ) -> Result<Result<Sanitized, HtmlError>, OffloadError> {
        let sanitiser = self.clone();
        self.offload.run(move || sanitiser.sanitise(&html)).await
    }

    /// Removes everything that is not allowed, in as many passes as the result takes to become stable.
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
