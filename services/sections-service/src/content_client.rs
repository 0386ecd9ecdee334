//! What sections-service asks of content-service: whether content still belongs to a section, and
//! who has an e-mail address.

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
    },
};
use tokio::sync::watch;
use tracing::Instrument;

/// How long content-service may be silent. Counting takes it milliseconds.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest answer that is read: the counts of [`SECTIONS_A_REQUEST`] sections are far below.
const LARGEST_ANSWER: usize = 64 * 1024;

/// How many sections are asked for at once, so that the address stays below the 8 KiB that servers
/// take.
const SECTIONS_A_REQUEST: usize = 200;

/// When to try again after content-service did not answer.
const RETRY_AFTER_SECONDS: u32 = 2;

/// A client of content-service.
#[derive(Debug, Clone)]
pub(crate) struct ContentClient {
    http: Client,
    /// It may become known later: the services of one process need each other's.
    address: watch::Receiver<HttpUrl>,
}

/// Why content-service could not be asked.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("content-service at {base} does not answer")]
    Unreachable { base: HttpUrl, source: reqwest::Error },
    #[error("content-service at {base} answers {status}")]
    Refused { base: HttpUrl, status: StatusCode },
    #[error("what answers at {base} is no content-service")]
    Unreadable { base: HttpUrl, source: ReadJsonError },
    #[error("content-service says nothing about section {0}")]
    Uncounted(ObjectId),
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        let detail = "content-service, which has to be asked for this, does not answer. Nothing was \
                      changed.";
        Self::new(ErrorCode::UpstreamUnavailable, detail)
            .retry_after_seconds(RETRY_AFTER_SECONDS)
            .because(error)
    }
}

impl ContentClient {
    pub(crate) fn new(address: watch::Receiver<HttpUrl>) -> reqwest::Result<Self> {
        Ok(Self { http: http_client::service_client(READ_TIMEOUT)?, address })
    }

    /// How many items belong to each of these sections; those with none are left out.
    pub(crate) async fn counts(
        &self,
        sections: &[ObjectId],
    ) -> Result<HashMap<ObjectId, u64>, ApiError> {
        let mut counts = HashMap::new();
        for some in sections.chunks(SECTIONS_A_REQUEST) {
            let ids: Vec<_> = some.iter().map(ToString::to_string).collect();
            let query = [("section_ids", ids.join(","))];
            let found: Option<ContentCounts> =
                self.get(&["internal", "content", "counts"], &query).await?;
            let found = found.unwrap_or_default();
            for id in some {
                // A stranger's answer must not be taken for "nothing belongs to it".
                match found.get(id).ok_or(CallError::Uncounted(*id))? {
                    0 => {}
                    count => drop(counts.insert(*id, *count)),
                }
            }
        }
        Ok(counts)
    }

    /// None where the answer is that there is no such thing.
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
        async {
            let request = self.http.get(url).query(query).headers(headers);
            let response = request.send().await.map_err(|source| CallError::Unreachable {
                base: base.clone(),
                // The address holds what was asked for.
                source: source.without_url(),
            })?;
            let status = response.status();
            let unreadable = |source| CallError::Unreadable { base: base.clone(), source };
            if status.is_success() {
                return http_client::read_json(response, LARGEST_ANSWER)
                    .await
                    .map(Some)
                    .map_err(unreadable);
            }
            if status == StatusCode::NOT_FOUND {
                let problem: Problem =
                    http_client::read_json(response, LARGEST_ANSWER).await.map_err(unreadable)?;
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
            let detail = "Who the token stands for cannot be looked up at the moment. Try again in a \
                          moment.";
            ApiError::new(ErrorCode::AuthUnavailable, detail)
                .retry_after_seconds(RETRY_AFTER_SECONDS)
                .because(error)
        })
    }
}
