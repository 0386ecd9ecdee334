//! Support for the tests of sections-service: the service with a client, and a double of
//! content-service and of an identity provider.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Mutex},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use mongodb::bson::{Document, doc, oid::ObjectId};
use serde_json::{Map, Value, json};
use test_support::{Answer, Service, TestDatabase, settings};

/// A running service with a client.
pub(crate) struct Api {
    pub(crate) service: Service,
    api: test_support::Api,
}

impl Deref for Api {
    type Target = test_support::Api;

    fn deref(&self) -> &test_support::Api {
        &self.api
    }
}

impl Api {
    /// Starts the service on this database, with the neighbour as its content-service.
    pub(crate) async fn start(database: &TestDatabase, neighbour: &Neighbour) -> Self {
        Self::with(database, &[("content.url", &neighbour.url)]).await
    }

    pub(crate) async fn with(database: &TestDatabase, others: &[(&str, &str)]) -> Self {
        let service = Service::sections(&settings(database, others)).await;
        service.migrated().await;
        database.leases_released().await;
        Self::of(service)
    }

    pub(crate) fn of(service: Service) -> Self {
        let api = test_support::Api::new(&*service.url);
        Self { service, api }
    }

    pub(crate) fn sent_by(self, token: Option<&'static str>) -> Self {
        Self { api: self.api.sent_by(token), ..self }
    }

    /// Adds a section for stories.
    pub(crate) async fn add(&self, title: &str, parent: Option<&str>) -> Answer {
        let body = json!({ "title": title, "content_type": "story", "parent_id": parent });
        let answer = self.call("POST", "/sections", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer
    }

    /// Fails to add a section.
    pub(crate) async fn add_refused(&self) -> Answer {
        let body = json!({ "title": "x", "content_type": "story" });
        self.call("POST", "/sections", body).await
    }

    /// Resolves a path: returns the answer, or the status of an error.
    pub(crate) async fn resolve(&self, path: &str) -> Value {
        let answer = self.get(&format!("/internal/resolve?path={path}")).await;
        if answer.status == 200 { answer.body } else { answer.status.into() }
    }
}

/// A double of content-service and of an identity provider. It has the number of items of each
/// section, and answers look-ups of users.
pub(crate) struct Neighbour {
    pub(crate) url: String,
    counts: Arc<Mutex<HashMap<String, u64>>>,
}

impl Neighbour {
    pub(crate) fn start() -> Self {
        let counts: Arc<Mutex<HashMap<String, u64>>> = Arc::default();
        let data = web::Data::new(counts.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .route("/internal/content/counts", web::get().to(count))
                .route("/internal/content/at-path", web::get().to(at_path))
                .route("/internal/users", web::get().to(user))
                .route("/tokeninfo", web::get().to(token_info))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        tokio::spawn(server.run());
        Self { url, counts }
    }

    /// Sets the number of items of a section.
    pub(crate) fn has(&self, section: &str, count: u64) {
        self.counts.lock().unwrap().insert(section.to_owned(), count);
    }
}

/// Answers that no item is at any path.
async fn at_path(query: web::Query<HashMap<String, String>>) -> HttpResponse {
    let (section, slug) = (&query["section_id"], &query["slug"]);
    HttpResponse::Ok().json(json!({ "section_id": section, "slug": slug, "item": null }))
}

async fn count(
    counts: web::Data<Arc<Mutex<HashMap<String, u64>>>>,
    query: web::Query<HashMap<String, String>>,
) -> HttpResponse {
    let counts = counts.lock().unwrap();
    let ids = query["section_ids"].split(',');
    let answer = ids.map(|id| (id.to_owned(), counts.get(id).copied().unwrap_or_default().into()));
    HttpResponse::Ok().json(answer.collect::<Map<String, Value>>())
}

/// Answers that every e-mail address is that of an author, except the stranger's.
async fn user(query: web::Query<HashMap<String, String>>) -> HttpResponse {
    if query["email"].starts_with("stranger") {
        return HttpResponse::NotFound().json(json!({
            "type": "urn:turbulence:error:not_found", "title": "Not found", "status": 404,
            "detail": "User not found", "code": "not_found",
        }));
    }
    let id = ObjectId::new().to_hex();
    HttpResponse::Ok()
        .json(json!({ "id": id, "email": query["email"], "name": null, "role": "author" }))
}

/// Answers that a token is the name of its user.
async fn token_info(query: web::Query<HashMap<String, String>>) -> HttpResponse {
    let email = format!("{}@site.example", query["access_token"]);
    HttpResponse::Ok().json(json!({
        "aud": "site", "scope": "email", "expires_in": "3000", "email": email,
        "email_verified": "true",
    }))
}

/// Returns the document of a section.
pub(crate) fn stored(slug: &str, parent: Option<ObjectId>, is_published: bool) -> Document {
    doc! {
        "_id": ObjectId::new(), "title": slug.to_uppercase(), "slug": slug,
        "parent_id": parent.map(ObjectId::to_hex), "display_type": "feed",
        "content_type": "story", "nav_visibility": "main", "sort_order": 10,
        "is_published": is_published, "is_deleted": false,
    }
}

pub(crate) fn id(section: &Document) -> ObjectId {
    section.get_object_id("_id").unwrap()
}
