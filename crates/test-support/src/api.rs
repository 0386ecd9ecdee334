//! Requests to a service and their responses.

use std::time::{Duration, Instant};

use mongodb::bson::oid::ObjectId;
use reqwest::{Client, Method, header::HeaderMap};
use serde_json::{Value, json};

use crate::TOKEN;

/// Maximum wait for a response, longer than any service may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The response of a service.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; a text if it is not JSON.
    pub body: Value,
}

impl Answer {
    /// Returns a header, or `""` if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the id in the body.
    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id: {self:?}")).to_owned()
    }

    /// Returns the status and the error code.
    pub fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }

    /// Returns the status and body without the parts that differ between runs, for a snapshot.
    pub fn shown(&self) -> Value {
        let mut body = self.body.clone();
        if let Some(trace) = body.get_mut("trace_id") {
            *trace = "[trace]".into();
        }
        if let Some(current) = body.get_mut("current") {
            *current = "[current]".into();
        }
        let retry_after = self.headers.get("retry-after").map(|value| value.to_str().unwrap());
        json!({ "status": self.status, "retry-after": retry_after, "body": body })
    }
}

/// A client of a service, with a token or without.
#[derive(Debug, Clone)]
pub struct Api {
    /// The address of the service.
    pub url: String,
    client: Client,
    token: Option<&'static str>,
}

impl Api {
    /// Creates a client with the token of the tests.
    pub fn new(url: impl Into<String>) -> Self {
        let client = service_kit::web::http_client::service_client(TIMEOUT).unwrap();
        Self { url: url.into(), client, token: Some(TOKEN) }
    }

    /// Sets another token, or none.
    pub fn sent_by(mut self, token: Option<&'static str>) -> Self {
        self.token = token;
        self
    }

    /// Sends a request with these headers. The media type of a body is JSON unless they have another.
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

    /// Sends a request with a JSON body, or with none if it is null.
    pub async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = (!body.is_null()).then(|| body.to_string());
        self.send(method, path, &[], body).await
    }

    /// Creates something once: sends the request again with the same key while its answer is that the
    /// outcome is unknown, as an API client does on a busy machine.
    ///
    /// # Panics
    ///
    /// If the outcome stays unknown.
    pub async fn create_once(&self, path: &str, body: &Value) -> Answer {
        let key = ObjectId::new().to_hex();
        let began = Instant::now();
        loop {
            let headers = [("idempotency-key", &*key)];
            let answer = self.send("POST", path, &headers, Some(body.to_string())).await;
            if answer.body["code"] != "database_unavailable" {
                return answer;
            }
            assert!(began.elapsed() < crate::DEADLINE, "{answer:?}");
        }
    }

    /// Sends a GET request.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).await
    }
}
