//! Requests of every method, and what is answered to them.

use std::time::Duration;

use reqwest::{Client, Method, header::HeaderMap};
use serde_json::{Value, json};

use crate::TOKEN;

/// How long an answer may take: longer than anything may that answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer of a service.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; as text where it is no JSON.
    pub body: Value,
}

impl Answer {
    /// A header; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The id of what is answered.
    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id: {self:?}")).to_owned()
    }

    /// Status and code.
    pub fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }

    /// Status and body, without what differs from run to run.
    pub fn shown(&self) -> Value {
        let mut body = self.body.clone();
        if let Some(trace) = body.get_mut("trace_id") {
            *trace = "[trace]".into();
        }
        let retry_after = self.headers.get("retry-after").map(|value| value.to_str().unwrap());
        json!({ "status": self.status, "retry-after": retry_after, "body": body })
    }
}

/// Somebody who calls a service, with a token or without.
#[derive(Debug, Clone)]
pub struct Api {
    /// The address of the service.
    pub url: String,
    client: Client,
    token: Option<&'static str>,
}

impl Api {
    /// Somebody with the token of the tests.
    pub fn new(url: impl Into<String>) -> Self {
        let client = service_kit::web::http_client::service_client(PATIENCE).unwrap();
        Self { url: url.into(), client, token: Some(TOKEN) }
    }

    /// Somebody with another token, or with none.
    pub fn sent_by(mut self, token: Option<&'static str>) -> Self {
        self.token = token;
        self
    }

    /// Sends a request with these headers; a body is said to be JSON unless they say otherwise.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(token) = self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            let has_type = headers.iter().any(|(name, _)| *name == "content-type");
            if !has_type {
                request = request.header("content-type", "application/json");
            }
            request = request.body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.text().await.unwrap();
        let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
        Answer { status, headers, body }
    }

    /// Sends a body, or none where it is null.
    pub async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = (!body.is_null()).then(|| body.to_string());
        self.send(method, path, &[], body).await
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).await
    }
}
