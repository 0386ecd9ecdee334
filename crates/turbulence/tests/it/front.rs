//! A whole site in the process of the test: the services behind the gateway, and the routes of their
//! descriptions.

use std::ops::Deref;

use gateway::{Gateway, Timeouts};
use serde_json::Value;
use service_kit::runtime::settings::url::local_url;
use tempfile::TempDir;
use test_support::{Api, Service, TestDatabase, settings};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A site with the client of an editor.
pub(crate) struct Front {
    pub(crate) sections: Service,
    pub(crate) content: Service,
    media: Service,
    pub(crate) gate: Gate,
    _files: TempDir,
}

/// A gateway with the client of an editor.
pub(crate) struct Gate {
    api: Api,
    _stops_at_the_end: DropGuard,
}

impl Deref for Gate {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Deref for Front {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.gate
    }
}

impl Front {
    pub(crate) async fn start(database: &TestDatabase, others: &[(&str, &str)]) -> Self {
        let (sections, content) = Service::both_with(database, others).await;
        let files = tempfile::tempdir().unwrap();
        let store = files.path().display().to_string();
        let of_media =
            [others, &[("media.store", &*store), ("content.url", &content.url)]].concat();
        let media = Service::media(&settings(database, &of_media)).await;
        media.migrated().await;
        let upstreams = [
            ("upstreams.sections", &*sections.url),
            ("upstreams.content", &content.url),
            ("upstreams.media", &media.url),
        ];
        let gate = Gate::before(database, &upstreams, Timeouts::default()).await;
        Self { sections, content, media, gate, _files: files }
    }

    /// Returns all public routes that the services describe.
    pub(crate) async fn routes(&self) -> Vec<Route> {
        let mut routes = Vec::new();
        for service in [&self.sections, &self.content, &self.media] {
            let (status, document) = service.get("/internal/openapi.json").await;
            assert_eq!(status, 200);
            let paths = document["paths"].as_object().unwrap();
            for (path, operations) in paths.iter().filter(|(path, _)| is_public(path)) {
                for (method, operation) in operations.as_object().unwrap() {
                    routes.push(Route::new(&document, path, method, operation));
                }
            }
        }
        routes
    }
}

fn is_public(path: &str) -> bool {
    !path.starts_with("/internal/")
}

impl Gate {
    pub(crate) async fn start(
        database: &TestDatabase,
        sections: &str,
        content: &str,
        timeouts: Timeouts,
    ) -> Self {
        let upstreams = [("upstreams.sections", sections), ("upstreams.content", content)];
        Self::before(database, &upstreams, timeouts).await
    }

    async fn before(
        database: &TestDatabase,
        upstreams: &[(&str, &str)],
        timeouts: Timeouts,
    ) -> Self {
        let gateway = Gateway::bind_with(&settings(database, upstreams), timeouts).await.unwrap();
        let api = Api::new(local_url(gateway.address()));
        let shutdown = CancellationToken::new();
        tokio::spawn(gateway.run(shutdown.clone()));
        Self { api, _stops_at_the_end: shutdown.drop_guard() }
    }
}

/// One operation of a description.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// In capital letters.
    pub(crate) method: String,
    /// With `{parameters}`.
    pub(crate) path: String,
    pub(crate) parameters: Vec<Parameter>,
    /// The members of its JSON, or `None` without JSON.
    pub(crate) body: Option<Vec<String>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// `path`, `query` or `header`.
    pub(crate) place: String,
    pub(crate) is_required: bool,
}

impl Route {
    fn new(document: &Value, path: &str, method: &str, operation: &Value) -> Self {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let parameters = parameters.map(|parameter| Parameter {
            name: parameter["name"].as_str().unwrap().to_owned(),
            place: parameter["in"].as_str().unwrap().to_owned(),
            is_required: parameter["required"] == true,
        });
        let content = &operation["requestBody"]["content"];
        let schema = &content["application/json"]["schema"];
        let body = schema["$ref"].as_str().map(|reference| {
            let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
            schema["properties"].as_object().unwrap().keys().cloned().collect()
        });
        let is_form = content["multipart/form-data"].is_object();
        assert_eq!(body.is_some() || is_form, content.is_object(), "{method} {path}");
        let method = method.to_uppercase();
        Self { method, path: path.to_owned(), parameters: parameters.collect(), body }
    }

    pub(crate) fn of(&self, place: &str) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(move |parameter| parameter.place == place)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter.name == name)
    }
}

/// Percent-encodes a text for an address.
pub(crate) fn encoded(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().fold(String::new(), |encoded, byte| {
        encoded
            + &(if unreserved(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            })
    })
}
