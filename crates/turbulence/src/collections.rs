//! The collections of a site.

use crate::cli::Service;

/// Returns the collections of a site that a service owns, or those of all services.
pub(crate) fn collections(only: Option<Service>) -> Vec<&'static str> {
    let sections = sections_service::COLLECTIONS.iter();
    let content = content_service::COLLECTIONS.iter();
    match only {
        Some(Service::Sections) => sections.copied().collect(),
        Some(Service::Content) => content.copied().collect(),
        None => sections.chain(content).copied().collect(),
    }
}
