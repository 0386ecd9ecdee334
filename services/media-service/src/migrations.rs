//! The migrations of media-service, one file each.

migrations::list! {
    /// Returns all migrations, in the order in which they run. New ones are appended, and none is ever
    /// moved.
    pub(crate) fn all(&Context):

    media_indexes,
}

/// The parts of the service that migrations use.
pub(crate) struct Context;
