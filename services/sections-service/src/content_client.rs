//! The client of content-service: counts of the content of sections, and look-ups of users.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use models::{ContentCounts, ErrorCode, ObjectId, Problem, User};
use reqwest::{Client, StatusCode, header::HeaderMap};
use serde::de::DeserializeOwned;
use service_kit::{
    auth::authenticator::Users,
    runtime::settings::url::HttpUrl,
    web::{
        error::ApiError,
        http_client::{self, ReadJsonError, inject_trace},
        internal::InternalSecret,
    },
};
use tokio::sync::watch;
use tracing::Instrument;

/// Maximum time between two reads from content-service. It counts within milliseconds.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum size of a response. The counts of [`MAX_SECTIONS_PER_REQUEST`] sections are far smaller.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Maximum number of sections in a request, so that its URL stays below the usual limit of 8 KiB.
const MAX_SECTIONS_PER_REQUEST: usize = 200;

/// Delay before a caller should try again after content-service did not answer.
const RETRY_AFTER_SECONDS: u32 = 2;

/// A client of content-service.
#[derive(Debug, Clone)]
pub(crate) struct ContentClient {
    http: Client,
    /// The address may become known later: two services in one process need each other's.
    address: watch::Receiver<HttpUrl>,
    secret: InternalSecret,
}

/// A call of content-service has failed.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("content-service at {base} does not answer")]
    Unreachable { base: HttpUrl, source: reqwest::Error },
    #[error("content-service at {base} answers {status}")]
    Refused { base: HttpUrl, status: StatusCode },
    #[error("the server at {base} is no content-service")]
    Unreadable { base: HttpUrl, source: ReadJsonError },
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
    pub(crate) fn new(
        address: watch::Receiver<HttpUrl>,
        secret: InternalSecret,
    ) -> reqwest::Result<Self> {
        Ok(Self { http: http_client::service_client(READ_TIMEOUT)?, address, secret })
    }

    /// Returns the number of items of each of these sections. Sections without any are omitted.
    pub(crate) async fn counts(
        &self,
        sections: &[ObjectId],
    ) -> Result<HashMap<ObjectId, u64>, ApiError> {
        let mut counts = HashMap::new();
        for some in sections.chunks(MAX_SECTIONS_PER_REQUEST) {
            let ids: Vec<_> = some.iter().map(ToString::to_string).collect();
            let query = [("section_ids", ids.join(","))];
            let found: Option<ContentCounts> =
                self.get(&["internal", "content", "counts"], &query).await?;
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

    /// Returns `None` if the answer is `not_found`.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Option<T>, CallError> {
        let base = self.address.borrow().clone();
        let mut url = base.url().clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let span = tracing::info_span!(
            "call",
            otel.name = "GET content-service",
            otel.kind = "client",
            url.path = url.path()
        );
        let mut headers = HeaderMap::new();
        inject_trace(&span, &mut headers);
        self.secret.add_to(&mut headers);
        async {
            let request = self.http.get(url).query(query).headers(headers);
            let response = request.send().await.map_err(|source| CallError::Unreachable {
                base: base.clone(),
                // The URL has the ids or the e-mail address.
                source: source.without_url(),
            })?;
            let status = response.status();
            let unreadable = |source| CallError::Unreadable { base: base.clone(), source };
            if status.is_success() {
                return http_client::read_json(response, MAX_RESPONSE_BYTES)
                    .await
                    .map(Some)
                    .map_err(unreadable);
            }
            if status == StatusCode::NOT_FOUND {
                let problem: Problem = http_client::read_json(response, MAX_RESPONSE_BYTES)
                    .await
                    .map_err(unreadable)?;
                if problem.code == ErrorCode::NotFound {
                    return Ok(None);
                }
            }
            Err(CallError::Refused { base: base.clone(), status })
        }
        .instrument(span)
        .await
    }
}

#[async_trait]
impl Users for ContentClient {
    async fn by_email(&self, email: &str) -> Result<Option<User>, ApiError> {
        let query = [("email", email.to_owned())];
        let user = self.get(&["internal", "users"], &query).await;
        user.map_err(|error| {
            let detail = "The user of the token cannot be looked up now. Try again in a moment.";
            ApiError::new(ErrorCode::AuthUnavailable, detail)
                .retry_after_seconds(RETRY_AFTER_SECONDS)
                .because(error)
        })
    }
}
