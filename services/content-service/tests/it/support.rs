//! The fixtures of the tests: a site of both services, and documents as existing sites have them.

use std::{collections::HashMap, time::Duration};

use futures_util::TryStreamExt;
use migrations::Status;
use models::changes::Revision;
use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, doc, oid::ObjectId};
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;
use service_kit::web::changes::{REVISIONS, Revisions};
use test_support::{Api, Service, TOKEN, TestDatabase, eventually, settings};

/// Both services on one database, migrated.
pub(crate) struct Site {
    pub(crate) sections: Service,
    pub(crate) content: Service,
}

impl Site {
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, &[]).await
    }

    /// With further settings.
    pub(crate) async fn start_with(database: &TestDatabase, others: &[(&str, &str)]) -> Self {
        let (sections, content) = Service::both_with(database, others).await;
        Self { sections, content }
    }

    pub(crate) async fn stop(self) {
        self.content.stop().await.unwrap();
        self.sections.stop().await.unwrap();
    }
}

/// content-service alone, which looks for sections-service at this address.
pub(crate) async fn content(
    database: &TestDatabase,
    sections_url: &str,
    others: &[(&str, &str)],
) -> Service {
    let mut others = others.to_vec();
    others.push(("sections.url", sections_url));
    Service::content(&settings(database, &others)).await
}

/// Starts both services, waits until nothing is left to migrate, and stops them.
pub(crate) async fn migrate(database: &TestDatabase) -> Vec<Status> {
    let site = Site::start(database).await;
    let statuses = site.content.statuses();
    site.stop().await;
    statuses
}

/// The same with the admin's email configured.
pub(crate) async fn migrate_with_admin(database: &TestDatabase, email: &str) {
    Site::start_with(database, &[("admin.email", email)]).await.stop().await;
}

/// The migration that links content to its section.
pub(crate) use content_service::SECTION_BACKFILL as BACKFILL;

/// The status of a migration.
pub(crate) fn migration<'a>(all: &'a [Status], id: &str) -> &'a Status {
    all.iter().find(|status| status.id == id).unwrap()
}

/// A day of 2024, counted from 0.
pub(crate) fn day(number: i64) -> DateTime {
    DateTime::from_millis(1_704_067_200_000 + number * 86_400_000)
}

/// A story that lacks nothing but its section and its user.
pub(crate) fn story(slug: &str, created: impl Into<Bson>) -> Document {
    doc! {
        "_id": ObjectId::new(), "title": format!("Story {slug}"), "content": "<p>Text.</p>",
        "slug": slug, "is_published": true, "createdDate": created, "updatedDate": day(300),
    }
}

/// A project as existing sites have it.
pub(crate) fn project(slug: &str) -> Document {
    doc! {
        "_id": ObjectId::new(), "title": format!("Project {slug}"), "slug": slug,
        "content": "<p>Long.</p>", "technologies": ["Rust"], "createdDate": day(1),
    }
}

/// A published page.
pub(crate) fn page(page_type: impl Into<Bson>) -> Document {
    doc! {
        "_id": ObjectId::new(), "title": "Page", "content": "<p>Text.</p>",
        "page_type": page_type, "is_published": true, "createdDate": day(1),
    }
}

/// A document with other values of some fields.
pub(crate) fn with(mut document: Document, fields: Document) -> Document {
    document.extend(fields);
    document
}

/// A document without a field.
pub(crate) fn without(mut document: Document, field: &str) -> Document {
    document.remove(field).unwrap();
    document
}

/// A document exactly as it is stored.
pub(crate) async fn stored(database: &TestDatabase, collection: &str, id: &Bson) -> Vec<u8> {
    let collection = database.database().collection::<RawDocumentBuf>(collection);
    let document = collection.find_one(doc! { "_id": id }).await.unwrap().unwrap();
    document.as_bytes().to_vec()
}

/// All content, exactly as it is stored.
pub(crate) async fn all_content(database: &TestDatabase) -> Vec<RawDocumentBuf> {
    let mut all = Vec::new();
    for collection in ["stories", "projects", "pages"] {
        let collection = database.database().collection(collection);
        let documents = collection.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
        all.extend(documents.try_collect::<Vec<RawDocumentBuf>>().await.unwrap());
    }
    all
}

/// The id of the section with this slug that is not deleted.
pub(crate) async fn section_id(database: &TestDatabase, slug: &str) -> String {
    let section = database.one("sections", doc! { "slug": slug, "is_deleted": false }).await;
    section.get_object_id("_id").unwrap().to_hex()
}

/// The ledger's entry of a migration.
pub(crate) async fn entry(database: &TestDatabase, id: &str) -> Document {
    database.one("content_migrations", doc! { "_id": id }).await
}

/// Returns the number of changes of the last run of a migration, by step.
pub(crate) async fn changed(database: &TestDatabase, id: &str) -> HashMap<String, i64> {
    let entry = entry(database, id).await;
    let parts = entry.get_array("parts").unwrap().iter().map(|part| part.as_document().unwrap());
    parts
        .map(|part| (part.get_str("what").unwrap().to_owned(), part.get_i64("modified").unwrap()))
        .collect()
}

/// Returns the documents that the last run of a migration left out: reason and count, by group.
pub(crate) async fn left_out(
    database: &TestDatabase,
    id: &str,
) -> HashMap<String, (String, i64, Vec<Bson>)> {
    let entry = entry(database, id).await;
    let left = entry.get_array("left_out").unwrap().iter().map(|left| left.as_document().unwrap());
    left.map(|left| {
        let reason = left.get_str("reason").unwrap().to_owned();
        let examples = left.get_array("examples").unwrap().clone();
        let what = left.get_str("what").unwrap().to_owned();
        (what, (reason, left.get_i64("count").unwrap(), examples))
    })
    .collect()
}

/// From now on the server writes down how it does each command; with 0 no longer.
pub(crate) async fn profile(database: &TestDatabase, level: i32) {
    if level > 0 {
        // Room for all commands of a start: the collection that the server itself makes forgets the
        // first of them. It may be there already.
        let room = doc! { "create": "system.profile", "capped": true, "size": 16 * 1024 * 1024 };
        let _ = database.database().run_command(room).await;
    }
    database.database().run_command(doc! { "profile": level }).await.unwrap();
}

/// Returns the profiled commands, without those that add words to the search beside the requests.
pub(crate) async fn profiled(database: &TestDatabase, mut filter: Document) -> Vec<Document> {
    filter.insert("command.comment", doc! { "$ne": "words of the search" });
    let commands = database.collection("system.profile").find(filter).await.unwrap();
    commands.try_collect().await.unwrap()
}

/// One member of every item of a list.
pub(crate) fn each<'a>(list: &'a Value, member: &str) -> Vec<&'a str> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    items.iter().map(|item| item[member].as_str().unwrap()).collect()
}

/// The slugs of all items of a list, by following its cursors.
pub(crate) async fn walk(service: &Service, path: &str) -> Vec<String> {
    let separator = if path.contains('?') { '&' } else { '?' };
    let mut slugs = Vec::new();
    let mut page = path.to_owned();
    loop {
        let (status, body) = service.get(&page).await;
        assert_eq!(status, 200, "{page}: {body}");
        slugs.extend(each(&body, "slug").into_iter().map(str::to_owned));
        assert!(slugs.len() < 10_000, "the walk does not end");
        let Some(cursor) = body["next_cursor"].as_str() else { return slugs };
        page = format!("{path}{separator}cursor={cursor}");
    }
}

/// Status, headers and body of an answer to a request with these headers.
pub(crate) async fn ask(url: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Value) {
    let client = service_kit::web::http_client::service_client(Duration::from_secs(30)).unwrap();
    let request = headers
        .iter()
        .fold(client.get(url), |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.text().await.unwrap();
    (status, headers, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

/// Sends a body with the token of the tests and these headers.
pub(crate) async fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> (StatusCode, HeaderMap, Value) {
    let bearer = format!("Bearer {TOKEN}");
    let mut all = vec![("content-type", "application/json")];
    if !headers.iter().any(|(name, _)| *name == "authorization") {
        all.push(("authorization", &bearer));
    }
    all.extend(headers);
    send_raw(method, url, &all, body.to_string().into_bytes()).await
}

/// Sends these bytes with these headers and no others.
pub(crate) async fn send_raw(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (StatusCode, HeaderMap, Value) {
    let client = service_kit::web::http_client::service_client(Duration::from_secs(30)).unwrap();
    let request = client.request(method.parse().unwrap(), url).body(body);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.text().await.unwrap();
    (status, headers, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

/// Adds an item with the token of the tests, and answers it.
pub(crate) async fn created(site: &Site, kind: &str, body: Value) -> Value {
    let url = format!("{}/{kind}", site.content.url);
    let (status, _, item) = send("POST", &url, &[], &body).await;
    assert_eq!(status, 201, "{item}");
    item
}

/// A user whose address is the name at `example.org`; the id.
pub(crate) async fn user(database: &TestDatabase, name: &str, role: &str) -> String {
    let id = ObjectId::new();
    let email = format!("{name}@Example.org");
    database
        .insert("users", [doc! { "_id": id, "email": email, "name": name, "role": role }])
        .await;
    id.to_hex()
}

/// A section as the database has it; its id.
pub(crate) async fn section(database: &TestDatabase, slug: &str, fields: Document) -> String {
    let id = ObjectId::new();
    let section = doc! {
        "_id": id, "title": slug, "slug": slug, "parent_id": null, "display_type": "feed",
        "content_type": "story", "nav_visibility": "main", "sort_order": 9, "is_published": true,
        "is_deleted": false, "createdDate": day(1), "updatedDate": day(1),
    };
    database.insert("sections", [with(section, fields)]).await;
    id.to_hex()
}

/// Waits until content-service has heard of all changes of the database so far.
pub(crate) async fn heard(database: &TestDatabase, service: &Service) {
    let ping = database.database().run_command(doc! { "ping": 1 }).await.unwrap();
    let time = ping.get_timestamp("operationTime").unwrap();
    let now = Revision::new((u64::from(time.time) << 32) | u64::from(time.increment));
    let api = Api::new(service.url.clone()).sent_by(None);
    eventually("the changes are heard", async || {
        let answer = api.get("/stories").await;
        let revisions: Revisions = answer.header(REVISIONS).parse().unwrap_or_default();
        revisions.content.is_some_and(|revision| revision >= now)
    })
    .await;
}
