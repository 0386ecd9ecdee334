//! A section with its internal state.

use models::{ObjectId, Section};

/// The fields that decide who sees a section.
pub(crate) const VISIBILITY_FIELDS: [&str; 3] = ["is_published", "is_deleted", "parent_id"];

/// The fields that decide who sees a section and what it holds.
pub(crate) const DECISIVE_FIELDS: [&str; 4] =
    ["is_published", "is_deleted", "parent_id", "content_type"];

/// A section with the state that the API does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredSection {
    /// The section. If one of [`VISIBILITY_FIELDS`] cannot be read, the section is a draft.
    pub(crate) section: Section,
    /// `true` if the section is in the trash.
    pub(crate) is_deleted: bool,
    /// The id of the deletion that the section was part of. Sections that were deleted together are
    /// restored together.
    pub(crate) deletion: Option<ObjectId>,
    /// The names of the [`DECISIVE_FIELDS`] whose stored values have no plain meaning.
    pub(crate) unreadable: Vec<&'static str>,
    /// `true` if the section may have been meant to be public, and is a draft only because one of
    /// [`VISIBILITY_FIELDS`] cannot be read.
    pub(crate) is_withheld: bool,
}

impl StoredSection {
    /// Returns a section that is not deleted, and all of whose fields can be read.
    pub(crate) const fn live(section: Section) -> Self {
        let unreadable = Vec::new();
        Self { section, is_deleted: false, deletion: None, unreadable, is_withheld: false }
    }
}
