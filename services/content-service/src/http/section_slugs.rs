//! From a section's slug to its id.

use std::{sync::Arc, time::Duration};

use models::{ErrorCode, ObjectId};
use moka::future::Cache;
use sections_client::{Error, SectionsClient};
use service_kit::ApiError;

/// How long an answer is used again: a busy list asks once a second, and a renamed section is
/// found by its new name at once and by its old one for a second.
const REMEMBERED: Duration = Duration::from_secs(1);

/// For how many slugs an answer is remembered.
const CAPACITY: u64 = 1_000;

/// Asks sections-service for the public sections by their slugs.
pub(crate) struct SectionSlugs {
    client: SectionsClient,
    ids: Cache<String, ObjectId>,
}

impl SectionSlugs {
    pub(crate) fn new(client: SectionsClient) -> Self {
        let ids = Cache::builder().max_capacity(CAPACITY).time_to_live(REMEMBERED).build();
        Self { client, ids }
    }

    /// The id of the public section with this slug.
    pub(super) async fn id(&self, slug: &str) -> Result<ObjectId, ApiError> {
        if !is_segment(slug) {
            return Err(ApiError::not_found("Section"));
        }
        let id = self.ids.try_get_with_by_ref(slug, async {
            match self.client.by_slug(slug).await {
                Ok(Some(section)) => Ok(section.id),
                Ok(None) => Err(None),
                Err(error) => Err(Some(error)),
            }
        });
        id.await.map_err(|failure: Arc<Option<Error>>| match &*failure {
            None => ApiError::not_found("Section"),
            Some(error) => {
                let detail = "Sections cannot be looked up now; `section_id` works without.";
                ApiError::new(ErrorCode::UpstreamUnavailable, detail)
                    .retry_after_seconds(2)
                    .because(error.to_string())
            }
        })
    }
}

/// Whether the text can be a part of an address. What cannot is no section's slug, and to ask for
/// it would be to ask for something else: addresses drop `..` and line ends.
fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.chars().any(char::is_control)
}
