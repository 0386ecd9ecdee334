//! A typed client of sections-service.
//!
//! It distinguishes the failures that callers treat differently: a section that does not exist, a
//! service that cannot be reached for a moment, and a server that is no sections-service.

use std::{sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use models::{ErrorCode, Problem, Section, SectionEntry, changes::Revision};
use serde::de::DeserializeOwned;
use service_kit::{
    runtime::settings::url::Replicas,
    web::{
        changes::{KeyClock, Revisions},
        internal::InternalSecret,
        upstream::{CallError, HeaderMap, ServiceClient, StatusCode},
    },
};
use tokio::task::JoinSet;
use url::{Position, Url};

/// The name of the service in messages and traces.
const SERVICE: &str = "sections-service";

/// Maximum size of a response in bytes: a thousand times the sections of an ordinary site.
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;

/// The pause before the second attempt. Each further pause is twice as long; all have jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Maximum number of retries of a call. Callers that can wait longer repeat the call.
const MAX_RETRIES: usize = 2;

/// A client of sections-service. Clones share their connections.
#[derive(Debug, Clone)]
pub struct SectionsClient {
    service: ServiceClient,
    base: Replicas,
}

/// A call of sections-service has failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No response has arrived in time.
    #[error("sections-service at {base} does not answer")]
    Unreachable {
        /// The configured addresses.
        base: Replicas,
        /// The cause.
        source: CallError,
    },
    /// The service has answered that it is unavailable.
    #[error("sections-service at {base} answers {status}: {detail}")]
    Unavailable {
        /// The configured addresses.
        base: Replicas,
        /// The HTTP status.
        status: StatusCode,
        /// The detail of the error.
        detail: String,
    },
    /// Another server answers at the address.
    #[error("the server at {base} is no sections-service ({reason}): check `sections.url`")]
    NotSectionsService {
        /// The configured addresses.
        base: Replicas,
        /// The unexpected property of the response.
        reason: String,
    },
}

impl Error {
    /// Returns `true` if a further attempt may succeed without a change of the configuration.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unavailable { .. })
    }
}

impl SectionsClient {
    /// Creates a client of the service at these addresses, which has the same secret.
    pub fn new(base: Replicas, secret: InternalSecret) -> Self {
        Self { service: ServiceClient::new(SERVICE, base.clone(), secret), base }
    }

    /// Returns the public section with this slug.
    pub async fn by_slug(&self, slug: &str) -> Result<Option<Section>, Error> {
        if matches!(slug, "." | "..") {
            // A URL cannot have such a segment; `url` would omit it.
            return Ok(None);
        }
        self.get(&["sections", "slug", slug]).await
    }

    /// Returns all sections. Drafts and deleted ones are among them.
    pub async fn entries(&self) -> Result<Vec<SectionEntry>, Error> {
        self.entries_since(None).await.map(|(entries, _)| entries)
    }

    /// Returns all sections as they are in a known state or later, and their state. The state is `None`
    /// if the service does not hear of its changes, or is an earlier version.
    pub async fn entries_since(
        &self,
        known: Option<Revision>,
    ) -> Result<(Vec<SectionEntry>, Option<Revision>), Error> {
        let path = &["internal", "sections"];
        let (entries, revisions) = self.get_since(path, known).await?;
        let entries =
            entries.ok_or_else(|| self.not_sections_service("no such route".to_owned()))?;
        Ok((entries, revisions.sections))
    }

    /// Keeps a clock up to date by the changes that the service reports, until the returned set is
    /// dropped.
    pub fn listen(&self, clock: &Arc<KeyClock>) -> JoinSet<()> {
        self.service.listen(clock)
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Option<T>, Error> {
        self.get_since(path, None).await.map(|(found, _)| found)
    }

    async fn get_since<T: DeserializeOwned>(
        &self,
        path: &[&str],
        known: Option<Revision>,
    ) -> Result<(Option<T>, Revisions), Error> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_times(MAX_RETRIES)
            .with_jitter();
        (|| self.attempt(path, known)).retry(pauses).when(Error::is_transient).await
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        path: &[&str],
        known: Option<Revision>,
    ) -> Result<(Option<T>, Revisions), Error> {
        let target = self.target(path);
        let mut headers = HeaderMap::new();
        Revisions { sections: known, ..Revisions::default() }.add_to(&mut headers);
        let (head, body) = self
            .service
            .get_with_headers(&target, headers, MAX_RESPONSE_BYTES)
            .await
            .map_err(|source| Error::Unreachable { base: self.base.clone(), source })?;
        let revisions = Revisions::of_headers(&head.headers).unwrap_or_default();
        Ok((self.read(head.status, &body)?, revisions))
    }

    /// Returns the path of a target. Each part is one segment: its slashes are encoded.
    fn target(&self, path: &[&str]) -> String {
        let mut url: Url = self.base.first().url().clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url[Position::BeforePath..Position::AfterPath].to_owned()
    }

    /// Reads a response. The 404 of another server is not taken for a section that does not exist: only
    /// the errors of sections-service have a code.
    fn read<T: DeserializeOwned>(
        &self,
        status: StatusCode,
        body: &[u8],
    ) -> Result<Option<T>, Error> {
        if status.is_success() {
            return serde_json::from_slice(body)
                .map(Some)
                .map_err(|error| self.not_sections_service(format!("{status}, but {error}")));
        }
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) if problem.code == ErrorCode::NotFound => Ok(None),
            Ok(Problem { detail, .. }) if status.is_server_error() => {
                Err(Error::Unavailable { base: self.base.clone(), status, detail })
            }
            Ok(problem) => Err(self.not_sections_service(problem.detail)),
            Err(_) if status.is_server_error() => {
                let detail = "without a detail".to_owned();
                Err(Error::Unavailable { base: self.base.clone(), status, detail })
            }
            Err(_) => Err(self.not_sections_service(format!("it answers {status}"))),
        }
    }

    fn not_sections_service(&self, reason: String) -> Error {
        Error::NotSectionsService { base: self.base.clone(), reason }
    }
}
