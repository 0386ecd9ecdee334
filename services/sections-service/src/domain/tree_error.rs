//! Reasons for which a change of the tree is refused.

/// The tree of sections cannot be changed in this way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TreeError {
    /// There is no such section.
    NotFound,
    /// The new parent does not exist or is deleted.
    NoSuchParent,
    /// The new parent cannot be reached from the top.
    ParentUnreachable,
    /// The section would be below itself.
    Cycle,
    /// The tree would have too many levels.
    TooDeep,
    /// The given text is no slug, for the reason that the text states.
    InvalidSlug(String),
    /// Another section has the slug.
    SlugTaken(String),
    /// The member with this name does not fit a link, or fits links alone, for the reason that the text
    /// states.
    InvalidLink(&'static str, &'static str),
    /// The new date of creation is too far in the future.
    CreatedTooLate,
    /// This number of sections is below the section.
    HasChildren(usize),
    /// The given ids are not exactly those of the sibling sections.
    OrderMismatch {
        /// Number of given ids that are no siblings.
        unknown: usize,
        /// Number of siblings that are not among the given ids.
        missing: usize,
    },
    /// The parent, which has this title, was deleted in another deletion.
    ParentDeleted(String),
    /// The parent does not exist any more.
    ParentGone,
}
