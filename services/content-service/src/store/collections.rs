//! The names of collections.

use data_service::Collections;
use models::ContentType;

use super::{editing, former_slugs, item_drafts, redirects, revisions, schedule, search, slugs};

pub(crate) const USERS: &str = "users";

/// All collections of the service.
pub const COLLECTIONS: Collections = Collections {
    service: SERVICE,
    site: SITE,
    own: &[
        slugs::LOCKS,
        former_slugs::FORMER_SLUGS,
        item_drafts::DRAFTS,
        editing::EDITING,
        redirects::REDIRECTS,
        revisions::REVISIONS,
        schedule::SCHEDULE,
        SECTION_DIRECTORY,
        search::SEARCH,
        SITE_SETTINGS,
        WEBHOOKS,
        DELIVERIES,
        DISPATCH,
        TRASH_LEASE,
    ],
    copies: &[],
    // Locks, a copy of a response, the words of items, the lease of webhooks with a position in the
    // history of this server, the editors who have items open, and the lease of the trash.
    derived: &[
        slugs::LOCKS,
        SECTION_DIRECTORY,
        search::SEARCH,
        DISPATCH,
        editing::EDITING,
        TRASH_LEASE,
    ],
};

/// The collections of an existing site that this service writes to: those of the kinds of content,
/// and the users.
pub(crate) const SITE: &[&str] = &{
    let mut all = [USERS; ContentType::ALL.len() + 1];
    let mut place = 0;
    while place < ContentType::ALL.len() {
        all[place] = ContentType::ALL[place].collection();
        place += 1;
    }
    all
};

/// The collection of the last known sections of sections-service.
pub(crate) const SECTION_DIRECTORY: &str = "content_section_directory";

/// The collection of what every page of the site shows: one document.
pub(crate) const SITE_SETTINGS: &str = "content_site";

/// The collection of webhooks.
pub(crate) const WEBHOOKS: &str = "webhooks";

/// The collection of messages to the targets of webhooks.
pub(crate) const DELIVERIES: &str = "webhook_deliveries";

/// The collection of the lease of the process that delivers them.
pub(crate) const DISPATCH: &str = "webhook_dispatch";

/// The collection of the lease of the process that empties the trash.
pub(crate) const TRASH_LEASE: &str = "content_trash";

/// The name of the service in the names of its own collections.
pub(crate) const SERVICE: &str = "content";
