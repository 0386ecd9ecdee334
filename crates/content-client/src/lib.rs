//! The client of content-service: numbers of items, and look-ups of users.

use std::collections::HashMap;

use async_trait::async_trait;
use models::{
    ContentCounts, ErrorCode, ItemAtPath, ObjectId, PlacedItem, Problem, User, media::MediaUses,
};
use serde::de::DeserializeOwned;
use service_kit::{
    auth::authenticator::Users,
    runtime::settings::url::Replicas,
    web::{
        error::ApiError,
        internal::InternalSecret,
        upstream::{self, ServiceClient, StatusCode},
    },
};
use tokio::sync::watch;
use url::form_urlencoded::Serializer;

/// The name of the service in messages and traces.
const SERVICE: &str = "content-service";

/// Maximum size of a response. The counts of [`MAX_SECTIONS_PER_REQUEST`] sections are far smaller.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Maximum number of sections in a request, so that its URL stays below the usual limit of 8 KiB.
const MAX_SECTIONS_PER_REQUEST: usize = 200;

/// Delay before a caller should try again after content-service did not answer.
const RETRY_AFTER_SECONDS: u32 = 2;

/// A client of content-service.
#[derive(Debug, Clone)]
pub struct ContentClient {
    service: ServiceClient,
    /// The addresses may become known later: two services in one process need each other's.
    addresses: watch::Receiver<Replicas>,
}

/// A call of content-service has failed.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("content-service at {base} does not answer")]
    Unreachable { base: Replicas, source: upstream::CallError },
    #[error("content-service at {base} answers {status}")]
    Refused { base: Replicas, status: StatusCode },
    #[error("the server at {base} is no content-service")]
    Unreadable { base: Replicas, source: serde_json::Error },
    #[error("content-service does not answer which items show a file")]
    MissingPlaces,
    #[error("content-service does not answer which item is at a path")]
    MissingItem,
    #[error("content-service answers no count for section {0}")]
    MissingCount(ObjectId),
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        let detail = "content-service is needed for this and does not answer. Nothing was changed.";
        Self::new(ErrorCode::UpstreamUnavailable, detail)
            .retry_after_seconds(RETRY_AFTER_SECONDS)
            .because(error)
    }
}

impl ContentClient {
    /// Returns a client of the service at these addresses.
    pub fn new(addresses: watch::Receiver<Replicas>, secret: InternalSecret) -> Self {
        let service = ServiceClient::new(SERVICE, addresses.borrow().clone(), secret);
        Self { service, addresses }
    }

    /// Returns the number of items of each of these sections. Sections without any are omitted.
    pub async fn counts(&self, sections: &[ObjectId]) -> Result<HashMap<ObjectId, u64>, ApiError> {
        let mut counts = HashMap::new();
        for some in sections.chunks(MAX_SECTIONS_PER_REQUEST) {
            let ids: Vec<_> = some.iter().map(ToString::to_string).collect();
            let found: Option<ContentCounts> =
                self.get("/internal/content/counts", &[("section_ids", &ids.join(","))]).await?;
            let found = found.unwrap_or_default();
            for id in some {
                // The answer of another server must not be taken for "no content".
                match found.get(id).ok_or(CallError::MissingCount(*id))? {
                    0 => {}
                    count => drop(counts.insert(*id, *count)),
                }
            }
        }
        Ok(counts)
    }

    /// Returns an item that a section with this slug below another one would hide.
    pub async fn item_at(
        &self,
        section: ObjectId,
        slug: &str,
    ) -> Result<Option<PlacedItem>, ApiError> {
        let query = [("section_id", &*section.to_string()), ("slug", slug)];
        let found: Option<ItemAtPath> = self.get("/internal/content/at-path", &query).await?;
        // The answer of another server must not be taken for "no item".
        let found = found.filter(|found| found.section_id == section && found.slug == slug);
        Ok(found.ok_or(CallError::MissingItem)?.item)
    }

    /// Returns the items that show these files, at most `limit` for each file. Files that no item shows
    /// are omitted.
    pub async fn media_uses<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        limit: usize,
    ) -> Result<MediaUses, ApiError> {
        let names = names.into_iter().collect::<Vec<_>>().join(",");
        let query = [("names", &*names), ("limit", &*limit.to_string())];
        let found: Option<MediaUses> = self.get("/internal/content/media-places", &query).await?;
        // Another server must not be taken for one that knows no places.
        Ok(found.ok_or(CallError::MissingPlaces)?)
    }

    /// Returns `None` if the answer is `not_found`.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, CallError> {
        let base = self.update_addresses();
        let query = Serializer::new(String::new()).extend_pairs(query).finish();
        let target = format!("{path}?{query}");
        let (status, body) = self
            .service
            .get(&target, MAX_RESPONSE_BYTES)
            .await
            .map_err(|source| CallError::Unreachable { base: base.clone(), source })?;
        let unreadable = |source| CallError::Unreadable { base: base.clone(), source };
        if status.is_success() {
            return serde_json::from_slice(&body).map(Some).map_err(unreadable);
        }
        if status == StatusCode::NOT_FOUND {
            let problem: Problem = serde_json::from_slice(&body).map_err(unreadable)?;
            if problem.code == ErrorCode::NotFound {
                return Ok(None);
            }
        }
        Err(CallError::Refused { base, status })
    }

    /// Returns the addresses, after passing new ones on.
    fn update_addresses(&self) -> Replicas {
        let addresses = self.addresses.borrow().clone();
        let upstream = self.service.upstream();
        if upstream.addresses() != addresses {
            upstream.set_addresses(addresses.clone());
        }
        addresses
    }
}

#[async_trait]
impl Users for ContentClient {
    async fn by_email(&self, email: &str) -> Result<Option<User>, ApiError> {
        let user = self.get("/internal/users", &[("email", email)]).await;
        user.map_err(|error| {
            let detail = "The user of the token cannot be looked up now. Try again in a moment.";
            ApiError::new(ErrorCode::AuthUnavailable, detail)
                .retry_after_seconds(RETRY_AFTER_SECONDS)
                .because(error)
        })
    }
}
