//! The source of the sections of the site.
//!
//! [`SectionsFeed`] is all that the routes know of it. [`fetched`] implements it with requests to
//! sections-service, which reports when they are needed.

pub(crate) mod fetched;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use models::changes::Revision;
use sections_client::Error;
use service_kit::web::health::CheckResult;

use crate::domain::audience::Directory;

/// The age from which readiness reports that sections-service does not respond.
const OUTDATED: Duration = Duration::from_secs(5);

/// The reason why the sections cannot be fetched.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum FetchError {
    /// The request has failed.
    #[error(transparent)]
    Client(#[from] Arc<Error>),
    /// The task of the request has ended without a result.
    #[error("the request for the sections was aborted")]
    Aborted,
}

/// Sections of the site.
#[derive(Debug, Clone)]
pub(crate) struct KnownSections {
    pub(crate) directory: Arc<Directory>,
    /// The state of the database of sections-service that they include, if it is known.
    pub(crate) revision: Option<Revision>,
}

/// A source of the sections of the site.
#[async_trait]
pub(crate) trait SectionsFeed: Send + Sync {
    /// Returns the last known sections, which include a state that the caller knows. They are at most a
    /// second old if sections-service responds. Returns `None` if no sections were ever known.
    async fn latest(&self, known: Option<Revision>) -> Option<KnownSections>;

    /// Returns the sections as they are at this call or later, which include a state that the caller
    /// knows.
    async fn fetch(&self, known: Option<Revision>) -> Result<KnownSections, FetchError>;

    /// Returns the time since the last known sections were those of sections-service.
    fn age(&self) -> Option<Duration>;

    /// Returns `true` if no sections were ever known, and the last attempt to fetch them has failed.
    fn is_unavailable(&self) -> bool;
}

/// Describes the last known sections in the readiness of the service. Without them the service still
/// answers for content that belongs to no section, so that it stays ready.
///
/// Fetches the sections in the background, so that a service without readers knows them too.
pub(crate) fn check(feed: &Arc<impl SectionsFeed + 'static>) -> CheckResult {
    let age = feed.age();
    let feed = feed.clone();
    tokio::spawn(async move { feed.latest(None).await });
    let Some(age) = age else {
        return CheckResult::ok()
            .with("detail", "the sections are unknown: content of sections is hidden");
    };
    let result = CheckResult::ok().with("age_seconds", age.as_secs());
    if age < OUTDATED {
        return result;
    }
    result.with("detail", "sections-service does not respond: the last known sections are used")
}
