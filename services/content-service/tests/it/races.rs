//! Concurrent and repeated requests.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::{App, HttpResponse, HttpServer, web};
use mongodb::bson::doc;
use serde_json::{Value, json};
use test_support::{Api, Service, TestDatabase, eventually, migration_id};

use crate::support::{
    Site, content, day, migration, profile, profiled, section, send, story, with, without,
};

/// Stands before sections-service. Once it is told to, a section is deleted while the answer that
/// still has it is on its way.
struct Meanwhile {
    url: String,
    is_armed: Arc<AtomicBool>,
}

impl Meanwhile {
    fn start(sections: Api, section: String) -> Self {
        let is_armed = Arc::new(AtomicBool::new(false));
        let armed = is_armed.clone();
        let answer = move || {
            let (sections, section) = (sections.clone(), section.clone());
            let armed = armed.clone();
            async move {
                let entries = sections.get("/internal/sections").await;
                if armed.swap(false, Ordering::SeqCst) {
                    let deleted = sections.call("DELETE", &section, Value::Null).await;
                    assert_eq!(deleted.status, 204, "{deleted:?}");
                }
                HttpResponse::Ok().json(entries.body)
            }
        };
        let app = move || {
            let answer = answer.clone();
            App::new().route("/internal/sections", web::get().to(answer))
        };
        let server = HttpServer::new(app).workers(1).disable_signals();
        let server = server.bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        tokio::spawn(server.run());
        Self { url, is_armed }
    }
}

#[tokio::test]
async fn content_of_a_section_that_is_deleted_meanwhile_is_hidden_reported_and_can_be_moved() {
    let database = TestDatabase::new().await;
    let (sections, usual) = Service::both(&database).await;
    let sections = Api::new(&*sections.url);
    let notes = json!({ "title": "Notes", "content_type": "story" });
    let notes = sections.call("POST", "/sections", notes).await.id();
    let between = Meanwhile::start(sections.clone(), format!("/sections/{notes}"));
    let content = content(&database, &between.url, &[]).await;
    // Its migrations fetch the sections too.
    content.wait_for("it is migrated", |all| all.iter().all(|one| one.is_settled)).await;
    let url = format!("{}/stories", content.url);
    between.is_armed.store(true, Ordering::SeqCst);
    let body = json!({ "title": "Late", "content": "", "section_id": notes });
    let (status, _, late) = send("POST", &url, &[], &body).await;
    assert_eq!((status.as_u16(), &late["section_id"]), (201, &notes.as_str().into()), "{late}");
    assert!(!between.is_armed.load(Ordering::SeqCst));

    for service in [&content, &usual] {
        eventually("it is hidden", async || service.get("/stories/slug/late").await.0 == 404).await;
        let list = service.get("/stories").await.1;
        assert_eq!((&list["total"], &list["items"]), (&0.into(), &json!([])));
    }
    let report = async || usual.get_as_editor("/internal/integrity").await.1["findings"].clone();
    let findings = report().await;
    let finding = findings.as_array().unwrap().iter().find(|one| one["kind"] == "deleted_section");
    assert_eq!(finding.unwrap()["ids"], json!([late["id"]]), "{findings}");
    let body = json!({ "title": "Other", "content_type": "story" });
    let other = sections.call("POST", "/sections", body).await.id();
    let from = json!({ "section_id": notes });
    let to = json!({ "content_type": "story", "content": from, "section_id": other });
    let moved = Api::new(&*usual.url).call("POST", "/content/move", to).await;
    assert_eq!(moved.body, json!({ "moved": 1 }));
    assert!(!report().await.to_string().contains("deleted_section"));
}

#[tokio::test]
async fn what_was_answered_once_is_answered_again_when_its_section_or_the_service_is_gone() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let notes = section(&database, "notes", doc! {}).await;
    let url = format!("{}/stories", site.content.url);
    let body = json!({ "title": "Once", "content": "", "section_id": notes });
    eventually("the section is known", async || {
        site.sections.get("/sections/slug/notes").await.0 == 200
    })
    .await;
    let key = [("idempotency-key", "8e03978e")];
    let (status, first, item) = send("POST", &url, &key, &body).await;
    assert_eq!(status, 201, "{item}");
    let again = async || {
        let (status, headers, answer) = send("POST", &url, &key, &body).await;
        assert_eq!((status.as_u16(), &answer), (201, &item));
        assert_eq!((&first["location"], &first["etag"]), (&headers["location"], &headers["etag"]));
    };
    let delete = doc! { "$set": { "is_deleted": true } };
    database.collection("sections").update_one(doc! { "slug": "notes" }, delete).await.unwrap();
    eventually("the section is gone", async || send("POST", &url, &[], &body).await.0 == 422).await;
    again().await;
    site.sections.stop().await.unwrap();
    again().await;
    // Who has a new request waits, and a key stands for one request here, too.
    assert_eq!(send("POST", &url, &[("idempotency-key", "other")], &body).await.0, 503);
    let other = json!({ "title": "Other", "content": "" });
    let (status, _, answer) = send("POST", &url, &key, &other).await;
    assert_eq!((status.as_u16(), &answer["code"]), (422, &"idempotency_key_reused".into()));
    let stored = doc! { "title": "Once", "section_id": &notes };
    assert_eq!(database.count("stories", stored).await, database.count("stories", doc! {}).await);
}

#[tokio::test]
async fn a_slug_that_somebody_takes_at_this_moment_is_not_given_by_the_migration_too() {
    let database = TestDatabase::new().await;
    Site::start(&database).await.stop().await;
    let untitled = with(without(story("x", day(1)), "slug"), doc! { "title": "News" });
    database.insert("stories", [untitled]).await;
    database.database().create_collection("content_slugs").await.unwrap();
    profile(&database, 2).await;
    // As the API does it, up to the commit.
    let mut session = database.connection().client().start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let lock = doc! { "_id": { "collection": "stories", "slug": "news" } };
    let decided = doc! { "$inc": { "decisions": 1 } };
    let locks = database.collection("content_slugs");
    locks.update_one(lock, decided).upsert(true).session(&mut session).await.unwrap();
    let stories = database.collection("stories");
    stories.insert_one(story("news", day(2))).session(&mut session).await.unwrap();

    let content = content(&database, "http://127.0.0.1:1", &[]).await;
    let met =
        doc! { "ns": format!("{}.content_slugs", database.name()), "errName": "WriteConflict" };
    let slugs =
        |content: &Service| migration(&content.statuses(), migration_id("story_slugs")).clone();
    eventually("the migration meets the other or has passed by", async || {
        slugs(&content).is_settled || !profiled(&database, met.clone()).await.is_empty()
    })
    .await;
    assert!(!slugs(&content).is_settled, "{:?}", slugs(&content));
    session.commit_transaction().await.unwrap();
    content
        .wait_for("the slugs are given", |all| {
            migration(all, migration_id("story_slugs")).is_settled
        })
        .await;
    profile(&database, 0).await;
    let slugs: HashSet<_> = crate::support::all_content(&database)
        .await
        .iter()
        .map(|story| story.get_str("slug").unwrap().to_owned())
        .collect();
    assert_eq!(slugs, HashSet::from(["news".to_owned(), "news-2".to_owned()]));
}
