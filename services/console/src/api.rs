//! The client of the gateway.

use std::time::Duration;

use reqwest::{
    Body, Client, Method, RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, ETAG, IF_MATCH},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use service_kit::{runtime::error_chain::one_line, web::http_client::read_json};

/// The longest time for a whole answer: someone is looking at an empty page.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The longest time for an upload: that of the largest video at a megabit a second.
pub(crate) const UPLOAD_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The largest answer, in bytes: a page of a list has 4 MiB, and 10,000 sections some 5.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The routes of the API, at the gateway.
pub(crate) struct Api {
    client: Client,
    /// The client of uploads, which waits for the end of a file.
    uploads: Client,
    /// The address of the gateway, without a slash at its end.
    gateway: String,
}

/// A value with its entity tag.
pub(crate) struct Tagged<T> {
    pub(crate) value: T,
    /// The value of `If-Match` for a change; empty if the API sent none.
    pub(crate) tag: String,
}

/// A request without the wanted answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The token is not valid, or is not valid any more.
    SignedOut,
    /// The API refused the request.
    Refused(Problem),
    /// There is no answer, or none that can be read. A change may have been made or not.
    Unreachable,
}

/// An error of the API.
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) detail: String,
    #[serde(default)]
    pub(crate) errors: Vec<FieldError>,
}

/// A wrong field of a request.
#[derive(Debug, Deserialize)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Api {
    pub(crate) fn new(client: Client, uploads: Client, gateway: &str) -> Self {
        Self { client, uploads, gateway: gateway.trim_end_matches('/').to_owned() }
    }

    /// Returns a caller with this token.
    pub(crate) fn with<'a>(&'a self, token: &'a str) -> Caller<'a> {
        Caller { api: self, token }
    }
}

/// Requests with the token of a person.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    api: &'a Api,
    token: &'a str,
}

impl Caller<'_> {
    /// Reads a path with a query.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Tagged<T>, Failure> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Reads the state of the gateway and the services. It is an answer if the site is not ready, too.
    pub(crate) async fn health(&self) -> Result<Value, Failure> {
        let sent = self.request(Method::GET, "/health/ready").send().await;
        let response = sent.map_err(|_| Failure::Unreachable)?;
        read_json(response, MAX_BYTES).await.map_err(|_| Failure::Unreachable)
    }

    /// Sends JSON, with the entity tag of what it changes unless that is empty.
    pub(crate) async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        tag: &str,
        body: &Value,
    ) -> Result<Tagged<T>, Failure> {
        let mut request = self.request(method, path).json(body);
        if !tag.is_empty() {
            request = request.header(IF_MATCH, tag);
        }
        self.send(request).await
    }

    /// Sends a text of another media type.
    pub(crate) async fn send_text<T: DeserializeOwned>(
        &self,
        path: &str,
        media_type: &'static str,
        body: String,
    ) -> Result<Tagged<T>, Failure> {
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, media_type).body(body);
        self.send(request).await
    }

    /// Uploads the files of a form.
    pub(crate) async fn upload(&self, media_type: &str, body: Body) -> Result<(), Failure> {
        let url = format!("{}/uploads", self.api.gateway);
        let request = self.api.uploads.post(url).bearer_auth(self.token).timeout(UPLOAD_TIMEOUT);
        self.answer(request.header(CONTENT_TYPE, media_type).body(body)).await.map(drop)
    }

    /// Creates something. A repetition with the same key creates nothing more.
    pub(crate) async fn create<T: DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<Tagged<T>, Failure> {
        let request = self.request(Method::POST, path).header("idempotency-key", key).json(body);
        self.send(request).await
    }

    /// Deletes something that has this entity tag.
    pub(crate) async fn delete(&self, path: &str, tag: &str) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, path).header(IF_MATCH, tag);
        self.answer(request).await.map(drop)
    }

    /// Sends a request whose answer has no body that matters.
    pub(crate) async fn act(&self, method: Method, path: &str) -> Result<(), Failure> {
        let response = self.answer(self.request(method, path)).await?;
        drop(response);
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.api.gateway);
        self.api.client.request(method, url).bearer_auth(self.token).timeout(TIMEOUT)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Tagged<T>, Failure> {
        let response = self.answer(request).await?;
        let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
        let tag = tag.unwrap_or_default().to_owned();
        match read_json(response, MAX_BYTES).await {
            Ok(value) => Ok(Tagged { value, tag }),
            Err(error) => {
                tracing::warn!(cause = one_line(&error), "an answer of the gateway is unreadable");
                Err(Failure::Unreachable)
            }
        }
    }

    /// Returns the response to a request that succeeded.
    async fn answer(&self, request: RequestBuilder) -> Result<reqwest::Response, Failure> {
        let response = request.send().await.map_err(|error| {
            let error = error.without_url();
            tracing::warn!(cause = one_line(&error), "the gateway does not answer");
            Failure::Unreachable
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problem = read_json::<Problem>(response, MAX_BYTES).await.ok();
        match (status, problem) {
            (StatusCode::UNAUTHORIZED, _) => Err(Failure::SignedOut),
            (_, Some(problem)) => Err(Failure::Refused(problem)),
            (_, None) => Err(Failure::Unreachable),
        }
    }
}
