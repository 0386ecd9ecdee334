//! The migrations of sections-service, one file each.

use mongo_kit::Connection;
use service_kit::runtime::clock::Clock;

migrations::list! {
    /// Returns all migrations, in the order in which they run. New ones are appended, and none is ever
    /// moved.
    pub(crate) fn all(&Context<'_>):

    section_indexes,
    seed_initial_sections,
    section_redirects,
    section_report,
}

/// The parts of the service that migrations use.
pub(crate) struct Context<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) clock: Clock,
}
