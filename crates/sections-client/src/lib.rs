//! A typed client of sections-service.
//!
//! It tells apart what its callers must treat differently: a section that does not exist, a
//! service that is away for a moment, and an address at which something else answers.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use models::{ErrorCode, PathResolution, Problem, Section, SectionEntry};
use reqwest::{Client, Response, StatusCode, Url, header::HeaderMap};
use serde::de::DeserializeOwned;
use service_kit::{runtime::settings::url::HttpUrl, web::http_client};
use tracing::Instrument;

/// How long the service may be silent. It answers from memory; one that takes longer is in
/// trouble.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one attempt may take as a whole.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The first pause before another attempt; the next ones are twice as long, all jittered.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How many further attempts a call makes. Whoever can wait longer repeats the call.
const FURTHER_ATTEMPTS: usize = 2;

/// A client of sections-service. Clones share their connections.
#[derive(Debug, Clone)]
pub struct SectionsClient {
    http: Client,
    base: HttpUrl,
}

/// Why sections-service could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing answers, or not in time.
    #[error("sections-service at {base} does not answer")]
    Unreachable {
        /// The configured address.
        base: HttpUrl,
        /// What happened.
        source: reqwest::Error,
    },
    /// It answers that it cannot serve now.
    #[error("sections-service at {base} answers {status}: {detail}")]
    Unavailable {
        /// The configured address.
        base: HttpUrl,
        /// The status of its answer.
        status: StatusCode,
        /// What it says.
        detail: String,
    },
    /// Something else answers at its address.
    #[error("what answers at {base} is no sections-service ({reason}): check `sections.url`")]
    NotSectionsService {
        /// The configured address.
        base: HttpUrl,
        /// How one can tell.
        reason: String,
    },
}

impl Error {
    /// Whether the next attempt can succeed without anybody changing anything.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unavailable { .. })
    }
}

impl SectionsClient {
    /// A client for the service at this address.
    pub fn new(base: HttpUrl) -> reqwest::Result<Self> {
        Ok(Self { http: http_client::service_client(READ_TIMEOUT)?, base })
    }

    /// The public section with this slug.
    pub async fn by_slug(&self, slug: &str) -> Result<Option<Section>, Error> {
        if matches!(slug, "." | "..") {
            // An address cannot have such a segment; `url` would leave it out.
            return Ok(None);
        }
        self.get(&["sections", "slug", slug], &[]).await
    }

    /// All sections, published, deleted or neither.
    pub async fn entries(&self) -> Result<Vec<SectionEntry>, Error> {
        let entries = self.get(&["internal", "sections"], &[]).await?;
        entries.ok_or_else(|| self.not_sections_service("no such route".to_owned()))
    }

    /// What stands at a path of the site, such as `/blog/first-light`; none where the public sees
    /// nothing there.
    pub async fn resolve(&self, path: &str) -> Result<Option<PathResolution>, Error> {
        self.get(&["internal", "resolve"], &[("path", path)]).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Option<T>, Error> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_times(FURTHER_ATTEMPTS)
            .with_jitter();
        (|| self.attempt(path, query)).retry(pauses).when(Error::is_transient).await
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Option<T>, Error> {
        let mut url: Url = self.base.url().clone();
        // Each part is one segment, whatever characters it has.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let span = tracing::info_span!(
            "call",
            otel.name = "GET sections-service",
            otel.kind = "client",
            url.full = %url
        );
        let mut headers = HeaderMap::new();
        http_client::inject_trace(&span, &mut headers);
        async {
            let unreachable = |source: reqwest::Error| Error::Unreachable {
                base: self.base.clone(),
                // The address is in the message already.
                source: source.without_url(),
            };
            let request = self.http.get(url).headers(headers).timeout(ATTEMPT_TIMEOUT);
            let response = request.send().await.map_err(unreachable)?;
            let status = response.status();
            let body = body(response).await.map_err(unreachable)?;
            self.read(status, &body)
        }
        .instrument(span)
        .await
    }

    /// Only an answer that has the shape of sections-service's is believed: a stranger's 404 must
    /// not be taken for "no such section".
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
                let detail = "no explanation".to_owned();
                Err(Error::Unavailable { base: self.base.clone(), status, detail })
            }
            Err(_) => Err(self.not_sections_service(format!("it answers {status}"))),
        }
    }

    fn not_sections_service(&self, reason: String) -> Error {
        Error::NotSectionsService { base: self.base.clone(), reason }
    }
}

async fn body(response: Response) -> reqwest::Result<Vec<u8>> {
    Ok(response.bytes().await?.to_vec())
}
