//! What the tests share: a site of both services, documents as existing sites have them, and a
//! server that is not always a sections-service.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, doc, oid::ObjectId};
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;
use test_support::{Service, TestDatabase, settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Both services on one database, migrated.
pub(crate) struct Site {
    pub(crate) sections: Service,
    pub(crate) content: Service,
}

impl Site {
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, &[]).await
    }

    /// With further settings of content-service.
    pub(crate) async fn start_with(database: &TestDatabase, others: &[(&str, &str)]) -> Self {
        let sections = Service::sections(&settings(database, &[])).await;
        sections.migrated().await;
        let content = content(database, &sections.url, others).await;
        content.migrated().await;
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
pub(crate) async fn migrate(database: &TestDatabase) {
    Site::start(database).await.stop().await;
}

/// The same with the admin's email configured.
pub(crate) async fn migrate_with_admin(database: &TestDatabase, email: &str) {
    Site::start_with(database, &[("admin.email", email)]).await.stop().await;
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

/// The id of the section with this slug that is not deleted.
pub(crate) async fn section_id(database: &TestDatabase, slug: &str) -> String {
    let section = database.one("sections", doc! { "slug": slug, "is_deleted": false }).await;
    section.get_object_id("_id").unwrap().to_hex()
}

/// The ledger's entry of a migration.
pub(crate) async fn entry(database: &TestDatabase, id: &str) -> Document {
    database.one("content_migrations", doc! { "_id": id }).await
}

/// What the last run of a migration changed, by step.
pub(crate) async fn changed(database: &TestDatabase, id: &str) -> HashMap<String, i64> {
    let entry = entry(database, id).await;
    let parts = entry.get_array("parts").unwrap().iter().map(|part| part.as_document().unwrap());
    parts
        .map(|part| (part.get_str("what").unwrap().to_owned(), part.get_i64("modified").unwrap()))
        .collect()
}

/// What the last run of a migration left out: reason and count, by what it is.
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
    database.database().run_command(doc! { "profile": level }).await.unwrap();
}

/// What the server wrote down.
pub(crate) async fn profiled(database: &TestDatabase, filter: Document) -> Vec<Document> {
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
    let client = service_kit::http::client(Duration::from_secs(30)).unwrap();
    let request = headers
        .iter()
        .fold(client.get(url), |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.text().await.unwrap();
    (status, headers, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

/// How something at the address of sections-service behaves while it is not well.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It answers this status and body.
    Answers(&'static str, &'static str),
    /// It dies in the middle of an answer.
    IsCut,
    /// It takes requests and says nothing.
    IsSilent,
}

/// Stands at an address of its own and passes requests on to sections-service when it is well.
pub(crate) struct Unreliable {
    pub(crate) url: String,
    is_well: Arc<AtomicBool>,
    faults: Arc<AtomicUsize>,
}

impl Unreliable {
    /// Answers the first requests well and is at fault from then on.
    pub(crate) async fn after(well: usize, fault: Fault, sections_url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (is_well, faults) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let this = Self { url, is_well: is_well.clone(), faults: faults.clone() };
        let sections_url = sections_url.to_owned();
        tokio::spawn(async move {
            let mut answered = 0;
            while let Ok((connection, _)) = listener.accept().await {
                answered += 1;
                let fault = (answered > well && !is_well.load(Ordering::SeqCst)).then_some(fault);
                if fault.is_some() {
                    faults.fetch_add(1, Ordering::SeqCst);
                }
                tokio::spawn(answer(connection, fault, sections_url.clone()));
            }
        });
        this
    }

    /// At fault from the first request.
    pub(crate) async fn start(fault: Fault, sections_url: &str) -> Self {
        Self::after(0, fault, sections_url).await
    }

    /// How many requests were not answered well.
    pub(crate) fn faults(&self) -> usize {
        self.faults.load(Ordering::SeqCst)
    }

    /// From now on every request is passed on.
    pub(crate) fn heal(&self) {
        self.is_well.store(true, Ordering::SeqCst);
    }
}

/// One request on a connection.
async fn answer(mut connection: TcpStream, fault: Option<Fault>, sections_url: String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let (status, body) = match fault {
        None => {
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            let (status, _, body) = ask(&format!("{sections_url}{path}"), &[]).await;
            (status.to_string(), body.to_string())
        }
        Some(Fault::Answers(status, body)) => (status.to_owned(), body.to_owned()),
        Some(Fault::IsCut) => {
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n[{").await;
            return;
        }
        Some(Fault::IsSilent) => return std::future::pending().await,
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    // Who asked may have left.
    let _ = connection.write_all(format!("{head}{body}").as_bytes()).await;
}
