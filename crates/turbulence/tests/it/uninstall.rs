//! `turbulence uninstall`: nothing of the services is left, and nothing of the site is lost.

use std::{collections::BTreeMap, time::Duration};

use data_service::Collections;
use futures_util::TryStreamExt;
use mongodb::{
    IndexModel,
    bson::{Document, RawDocumentBuf, doc, oid::ObjectId},
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use service_kit::web::http_client::service_client;

use crate::{
    legacy, media,
    support::{Site, Turbulence},
};

const ADMIN: (&str, &str) = ("TURBULENCE__ADMIN__EMAIL", "admin@example.com");

/// A collection: its description, its indexes, and the SHA-256 of its documents in order.
#[derive(Debug, PartialEq)]
struct Collection {
    description: Document,
    indexes: Vec<Document>,
    documents: Vec<String>,
}

/// Returns everything in the database.
async fn everything(site: &Site) -> BTreeMap<String, Collection> {
    let database = site.database.database();
    let list = database.run_cursor_command(doc! { "listCollections": 1 }).await.unwrap();
    let descriptions: Vec<Document> = list.try_collect().await.unwrap();
    let mut all = BTreeMap::new();
    for description in descriptions {
        let name = description.get_str("name").unwrap().to_owned();
        let list = doc! { "listIndexes": &name };
        let indexes = database.run_cursor_command(list).await.unwrap().try_collect().await.unwrap();
        let documents = database.collection::<RawDocumentBuf>(&name);
        let documents = documents.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
        let documents: Vec<_> = documents.try_collect().await.unwrap();
        let documents = documents
            .iter()
            .map(|document| format!("{:?}", digest(&SHA256, document.as_bytes())))
            .collect();
        all.insert(name, Collection { description, indexes, documents });
    }
    all
}

/// Creates a site from before the sections, with an index of its own and an empty collection.
pub(crate) async fn legacy_site() -> Site {
    let site = Site::new().await;
    legacy::write(&site.folder);
    site.run(&["import", legacy::FOLDER]).await.success();
    let database = site.database.database();
    let theirs = IndexModel::builder().keys(doc! { "title": 1 }).build();
    site.database.collection("stories").create_index(theirs).await.unwrap();
    database.collection::<Document>("users").drop().await.unwrap();
    database.create_collection("users").await.unwrap();
    database.create_collection("letters").await.unwrap();
    site
}

/// Serves the site and uses everything that makes a service write to collections of its own. The
/// documents themselves are removed again, as if they had never been written.
pub(crate) async fn use_everything(site: &Site) {
    let turbulence = site.up_with(&[], &[ADMIN]);
    let summary = turbulence.ready().await;
    let token = std::fs::read_to_string(site.folder.path(".turbulence/token")).unwrap();
    let client = service_client(Duration::from_secs(60)).unwrap();
    let call = async |method: reqwest::Method, path: &str, body: Value| {
        let request = client.request(method, format!("{}{path}", summary.address));
        let request = request.bearer_auth(token.trim()).header("idempotency-key", path);
        let answer = request.json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let section = json!({
        "title": "Notes", "slug": "notes", "display_type": "feed", "content_type": "story",
        "nav_visibility": "main", "is_published": true,
    });
    let section = call(reqwest::Method::POST, "/sections", section).await;
    let renamed = json!({ "slug": "remarks" });
    call(reqwest::Method::PATCH, &format!("/sections/{section}"), renamed).await;
    let webhook = json!({ "url": "https://8.8.8.8/", "is_enabled": false });
    call(reqwest::Method::POST, "/webhooks", webhook).await;
    let facts = client.patch(format!("{}/site", summary.address)).bearer_auth(token.trim());
    let facts = facts.json(&json!({ "title": "Tides" })).send().await.unwrap();
    assert!(facts.status().is_success(), "{facts:?}");
    let redirect = json!({ "from": "/old", "to": { "address": "/blog" } });
    let redirect = client
        .post(format!("{}/redirects", summary.address))
        .bearer_auth(token.trim())
        .json(&redirect);
    let redirect = redirect.send().await.unwrap();
    assert!(redirect.status().is_success(), "{redirect:?}");
    let story = json!({ "title": "New", "content": "", "publish_at": "2099-01-01T00:00:00Z" });
    let story = call(reqwest::Method::POST, "/stories", story).await;
    let draft = json!({ "title": "Newer", "content": "" });
    call(reqwest::Method::PUT, &format!("/stories/{story}/draft"), draft).await;
    let changed = json!({ "title": "Newer" });
    call(reqwest::Method::PATCH, &format!("/stories/{story}"), changed).await;
    let (status, uploaded) = media::upload_picture(&summary).await;
    assert_eq!(status, 200, "{uploaded}");
    turbulence.stop().await;
    for (collection, id) in [("sections", section), ("stories", story)] {
        let written = doc! { "_id": ObjectId::parse_str(id).unwrap() };
        let deleted = site.database.collection(collection).delete_one(written).await.unwrap();
        assert_eq!(deleted.deleted_count, 1, "{collection}");
    }
    // Removes the redirect, after a copy.
    site.run(&["doctor", "--repair", "--yes"]).await;
}

#[tokio::test]
async fn a_collection_media_of_another_program_stays() {
    let site = Site::new().await;
    site.database.insert("media", [doc! { "title": "Theirs" }]).await;
    let before = everything(&site).await;
    let turbulence = site.up(&[]);
    let summary = turbulence.ready().await;
    let (status, uploaded) = media::upload_picture(&summary).await;
    assert_eq!(status, 200, "{uploaded}");
    turbulence.stop().await;
    let ours = doc! { "name": { "$exists": true } };
    let deleted = site.database.collection("media").delete_many(ours).await.unwrap();
    assert_eq!(deleted.deleted_count, 1);
    site.run(&["uninstall", "--yes"]).await.success();
    let after = everything(&site).await;
    assert_eq!(after["media"], before["media"]);
    assert!(!after.keys().any(|name| name.starts_with("media_")), "{after:?}");
}

#[tokio::test]
async fn nothing_of_the_services_is_left_and_the_site_is_as_it_was() {
    let site = legacy_site().await;
    let before = everything(&site).await;
    use_everything(&site).await;

    // Every collection is in the lists of the services, or the site had it before.
    let listed =
        [sections_service::COLLECTIONS, content_service::COLLECTIONS, media_service::COLLECTIONS];
    let listed: Vec<_> = listed.iter().flat_map(Collections::all).collect();
    let used = everything(&site).await;
    for name in used.keys() {
        assert!(listed.contains(name) || before.contains_key(name), "{name}");
    }
    for name in [
        "section_redirects",
        "section_repairs",
        "section_revisions",
        "section_tree",
        "content_slugs",
        "media",
        "content_drafts",
        "content_redirects",
        "content_revisions",
        "content_schedule",
        "content_search",
        "content_site",
        "webhooks",
        "webhook_deliveries",
        "webhook_dispatch",
    ] {
        assert!(used.contains_key(name), "{name}");
    }

    let ended = site.run(&["uninstall"]).await;
    let text = ended.success();
    for words in [
        "roll back 0006_backfill_section_id",
        "remove    content_slugs",
        "remove    section_redirects",
        "remove    sections_migrations",
        "remove, if it is empty then: sections",
        "Nothing was changed. Stop the services, then run `turbulence uninstall --yes`.",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(everything(&site).await, used);

    let ended = site.run(&["uninstall", "--yes"]).await;
    let text = ended.success();
    assert!(text.ends_with("Nothing of Turbulence is left in the database.\n"), "{text}");
    assert_eq!(everything(&site).await, before);

    let ended = site.run(&["uninstall"]).await;
    assert!(ended.success().contains("nothing to remove"), "{ended:#?}");
    site.run(&["uninstall", "--yes"]).await.success();
    assert_eq!(everything(&site).await, before);
    // It can begin again.
    site.run(&["migrate", "up"]).await.success();
}

#[tokio::test]
async fn after_a_roll_back_of_everything_only_the_record_of_it_is_left_to_remove() {
    let site = legacy_site().await;
    let before = everything(&site).await;
    use_everything(&site).await;
    site.run(&["migrate", "down"]).await.success();
    let left = everything(&site).await;
    let is_record = |name: &&String| {
        name.contains("_migration")
            || ["section_repairs", mongo_kit::WRITERS].contains(&name.as_str())
    };
    let others: Vec<_> = left.keys().filter(|name| !is_record(name)).collect();
    let expected: Vec<_> = before.keys().map(String::as_str).chain(["sections"]).collect();
    let is_expected = |name: &&&String| expected.contains(&name.as_str());
    assert_eq!(others.iter().filter(is_expected).count(), others.len(), "{others:?}");
    let ended = site.run(&["uninstall", "--yes", "--json"]).await;
    let answer: Value = serde_json::from_str(ended.success()).unwrap();
    assert_eq!(answer["content"]["roll_back"], json!([]));
    assert_eq!(answer["content"]["dry_run"], false);
    assert_eq!(everything(&site).await, before);
}

#[tokio::test]
async fn a_database_that_no_migration_has_seen_is_left_as_it_is() {
    let site = Site::new().await;
    let database = site.database.database();
    for name in ["users", "pages", "letters"] {
        database.create_collection(name).await.unwrap();
    }
    let before = everything(&site).await;
    site.run(&["uninstall", "--yes"]).await.success();
    assert_eq!(everything(&site).await, before);
}

#[tokio::test]
async fn a_database_that_a_service_writes_to_is_left_as_it_is() {
    let site = Site::new().await;
    site.run(&["migrate", "up"]).await.success();
    let before = everything(&site).await;
    // A heartbeat that stays recent for the whole test.
    let heartbeat = mongodb::bson::DateTime::from_system_time(
        std::time::SystemTime::now() + Duration::from_secs(86_400),
    );
    let writer = doc! { "_id": 1, "users": [], "heartbeat": heartbeat, "sessions": [] };
    site.database.insert(mongo_kit::WRITERS, [writer]).await;
    let ended = site.run(&["uninstall", "--yes"]).await;
    assert!(ended.failure(1).contains("another process writes to the database"), "{ended:#?}");
    let registrations = site.database.collection(mongo_kit::WRITERS);
    let removed = registrations.delete_one(doc! { "_id": 1 }).await.unwrap();
    assert_eq!(removed.deleted_count, 1);
    assert_eq!(everything(&site).await, before);
}

#[tokio::test]
async fn what_an_editor_has_changed_since_is_not_denied() {
    let site = legacy_site().await;
    site.run(&["migrate", "up"]).await.success();
    let blog = site.database.one("sections", doc! { "slug": "blog" }).await;
    let linked = doc! { "section_id": blog.get_object_id("_id").unwrap().to_hex() };
    let other = doc! { "$set": { "section_id": ObjectId::new().to_hex() } };
    let changed = site.database.collection("stories").update_one(linked, other).await.unwrap();
    assert_eq!(changed.modified_count, 1);
    let ended = site.run(&["uninstall", "--yes"]).await;
    let text = ended.success();
    assert!(text.ends_with(
        "1 change stays, because the values were changed again since. Nothing else of Turbulence is \
         left in the database.\n"
    ), "{text}");
}

#[tokio::test]
async fn a_link_that_an_editor_has_changed_to_another_section_keeps_the_sections() {
    let site = legacy_site().await;
    site.run(&["migrate", "up"]).await.success();
    let [blog, about] = ["blog", "about"].map(|slug| doc! { "slug": slug });
    let blog = site.database.one("sections", blog).await.get_object_id("_id").unwrap().to_hex();
    let about = site.database.one("sections", about).await.get_object_id("_id").unwrap().to_hex();
    let moved = doc! { "$set": { "section_id": &about } };
    let stories = site.database.collection("stories");
    let changed = stories.update_one(doc! { "section_id": &blog }, moved).await.unwrap();
    assert_eq!(changed.modified_count, 1);
    let ended = site.run(&["uninstall", "--yes"]).await;
    insta::assert_snapshot!(ended.failure(1), @"turbulence: the sections were not rolled back, because content belongs to those that would be deleted (number of items: 1); migrations of content that are listed above were rolled back. To roll back the rest, move that content to other sections first, then run the same command again");
    assert_eq!(site.database.count("stories", doc! { "section_id": &blog }).await, 0);
    assert_eq!(site.database.count("stories", doc! { "section_id": &about }).await, 1);
    // After the remedy, the same command continues.
    stories
        .update_one(doc! { "section_id": &about }, doc! { "$unset": { "section_id": "" } })
        .await
        .unwrap();
    site.run(&["uninstall", "--yes"]).await.success();
    assert_eq!(site.database.count(mongo_kit::WRITERS, doc! {}).await, 0);
}

#[tokio::test]
async fn a_site_whose_sections_are_in_use_is_left_as_it_is() {
    let site = legacy_site().await;
    let mut command = site.command(&["migrate", "up"]);
    command.envs([ADMIN]);
    Turbulence::spawn(command).ended().await.success();
    let blog = site.database.one("sections", doc! { "slug": "blog" }).await;
    let blog = blog.get_object_id("_id").unwrap().to_hex();
    site.database.insert("stories", [doc! { "_id": "new", "section_id": blog }]).await;
    let before = everything(&site).await;
    for arguments in [&["uninstall"][..], &["uninstall", "--yes"], &["migrate", "down"]] {
        let ended = site.run(arguments).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(ended.failure(1), @"turbulence: nothing was rolled back, because content belongs to the sections that would be deleted (number of items: 1); move that content to other sections first");
        }
        assert_eq!(everything(&site).await, before, "{arguments:?}");
    }
}
