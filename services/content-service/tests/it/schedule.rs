//! Items that are published and unpublished at their moments, by any replica.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use models::ContentType;
use mongodb::bson::{self, Bson, doc};
use serde_json::{Value, json};
use test_support::{Service, TestDatabase, eventually};

use crate::{
    changes::{Reader, change, short},
    support::{Site, content, created, day, section, send, story, with},
};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(bson::DateTime::now().timestamp_millis()).unwrap()
}

/// A moment after some milliseconds, in the form of answers.
fn after(millis: i64) -> String {
    let moment = now() + TimeDelta::milliseconds(millis);
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The numbers of items of the public list of a section, on each of these replicas.
async fn totals(replicas: [&Service; 2], kind: &str, section: &str) -> [u64; 2] {
    let path = format!("/{kind}?section_id={section}");
    let [first, second] = replicas.map(|service| service.get(&path));
    [first.await.1, second.await.1].map(|list| list["total"].as_u64().unwrap())
}

/// Waits until the public lists of both replicas have this many items; fails if one of them has it before
/// the moment.
async fn wait_for(
    replicas: [&Service; 2],
    (kind, section): (&str, &str),
    total: u64,
    moment: &Value,
) {
    let moment: DateTime<Utc> = moment.as_str().unwrap().parse().unwrap();
    let began = Instant::now();
    loop {
        let found = totals(replicas, kind, section).await;
        let is_due = now() >= moment;
        assert!(is_due || !found.contains(&total), "{kind}: {found:?} before {moment}");
        if found == [total; 2] {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{kind}: {found:?} after {moment}");
    }
}

#[tokio::test]
async fn items_of_every_kind_are_published_and_unpublished_on_every_replica() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let other = content(&database, &site.sections.url, &[]).await;
    let replicas = [&site.content, &other];
    for kind in ContentType::ALL {
        let collection = kind.collection();
        let of_kind = doc! { "content_type": kind.as_str() };
        let section = section(&database, &format!("of-{collection}"), of_kind).await;
        let place = (collection, &*section);
        let mut reader = Reader::start(&other).await;
        let body = json!({
            "title": "x", "content": "", "slug": "x", "section_id": section, "publish_at": after(1_500),
        });
        let item = created(&site, collection, body.clone()).await;
        assert_eq!(
            (&item["is_published"], &item["publish_at"]),
            (&false.into(), &body["publish_at"])
        );
        wait_for(replicas, place, 1, &item["publish_at"]).await;
        let url = format!("{}/{collection}/{}", site.content.url, item["id"].as_str().unwrap());
        let (_, _, published) = send("PATCH", &url, &[], &json!({})).await;
        assert_eq!(published["publish_at"], Value::Null, "{published}");
        assert_eq!(published["updatedDate"], item["updatedDate"]);
        let end = json!({ "unpublish_at": after(1_500) });
        let (_, _, ending) = send("PATCH", &url, &[], &end).await;
        assert_eq!(
            (&ending["is_published"], &ending["unpublish_at"]),
            (&true.into(), &end["unpublish_at"])
        );
        wait_for(replicas, place, 0, &end["unpublish_at"]).await;
        // Once, although two processes look for what is due.
        let told = reader.until_now(&database).await;
        let told: Vec<_> = told.into_iter().filter(|one| one["id"] == item["id"]).collect();
        let path = item["path"].as_str();
        let expected = [
            change(collection, "published", path, None),
            change(collection, "updated", path, None),
            change(collection, "unpublished", None, path),
        ];
        assert_eq!(short(&told), expected);
        assert_eq!(database.count("content_schedule", doc! {}).await, 0);
    }
    other.stop().await.unwrap();
    site.stop().await;
}

#[tokio::test]
async fn wrong_moments_are_refused_with_the_reason() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let draft = json!({ "title": "Draft", "content": "", "is_published": false });
    let public = json!({ "title": "Public", "content": "" });
    let draft = created(&site, "stories", draft).await;
    let public = created(&site, "stories", public).await;
    let [past, soon, later] = [-60_000, 3_600_000, 7_200_000].map(after);
    for (item, changes, member) in [
        (&draft, json!({ "publish_at": past }), "publish_at"),
        (&draft, json!({ "publish_at": "tomorrow" }), "publish_at"),
        (&draft, json!({ "publish_at": { "$gt": "" } }), "publish_at"),
        (&draft, json!({ "publish_at": soon, "is_published": true }), "publish_at"),
        (&draft, json!({ "publish_at": later, "unpublish_at": soon }), "unpublish_at"),
        (&draft, json!({ "publish_at": soon, "unpublish_at": soon }), "unpublish_at"),
        (&public, json!({ "publish_at": soon }), "publish_at"),
        (&public, json!({ "unpublish_at": past }), "unpublish_at"),
    ] {
        let id = item["id"].as_str().unwrap();
        let url = format!("{}/stories/{id}", site.content.url);
        for method in ["PATCH", "PUT"] {
            let mut body = changes.clone();
            if method == "PUT" {
                body["title"] = item["title"].clone();
                body["content"] = "".into();
            }
            let (status, _, answer) = send(method, &url, &[], &body).await;
            assert_eq!(status, 422, "{body}: {answer}");
            assert_eq!(answer["errors"][0]["field"], *member, "{body}: {answer}");
        }
        assert_eq!(send("PATCH", &url, &[], &json!({})).await.2, *item);
    }
    for body in [
        json!({ "title": "x", "content": "", "is_published": true, "publish_at": soon }),
        json!({ "title": "x", "content": "", "unpublish_at": past }),
    ] {
        let url = format!("{}/stories", site.content.url);
        assert_eq!(send("POST", &url, &[], &body).await.0, 422, "{body}");
    }
    assert_eq!(database.count("content_schedule", doc! {}).await, 0);
    site.stop().await;
}

#[tokio::test]
async fn moments_follow_what_editors_do_with_the_item() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let entries = || database.count("content_schedule", doc! {});
    let [soon, later] = [3_600_000, 7_200_000].map(after);
    let item =
        created(&site, "projects", json!({ "title": "x", "content": "", "publish_at": soon }))
            .await;
    let url = format!("{}/projects/{}", site.content.url, item["id"].as_str().unwrap());
    let edit = async |body: Value| {
        let (status, _, item) = send("PATCH", &url, &[], &body).await;
        assert_eq!(status, 200, "{item}");
        [&item["is_published"], &item["publish_at"], &item["unpublish_at"]].map(Clone::clone)
    };
    assert_eq!(
        edit(json!({ "unpublish_at": later })).await,
        [json!(false), json!(soon), json!(later)]
    );
    assert_eq!(entries().await, 2);
    // What was read can be sent back.
    let (_, _, read) = send("PATCH", &url, &[], &json!({})).await;
    assert_eq!(send("PUT", &url, &[], &read).await.2, read);
    assert_eq!(
        edit(json!({ "publish_at": null })).await,
        [json!(false), json!(null), json!(later)]
    );
    assert_eq!(
        edit(json!({ "publish_at": soon })).await,
        [json!(false), json!(soon), json!(later)]
    );
    // Published before its time.
    assert_eq!(
        edit(json!({ "is_published": true })).await,
        [json!(true), json!(null), json!(later)]
    );
    assert_eq!(entries().await, 1);
    let hidden = json!({ "is_published": false, "publish_at": soon });
    assert_eq!(edit(hidden).await, [json!(false), json!(soon), json!(later)]);
    // In the trash, nothing happens by itself.
    assert_eq!(send("DELETE", &url, &[], &json!(null)).await.0, 204);
    assert_eq!(entries().await, 0);
    let (_, _, restored) = send("POST", &format!("{url}/restore"), &[], &json!(null)).await;
    assert_eq!(restored["publish_at"], Value::Null, "{restored}");
    assert_eq!(edit(json!({})).await, [json!(false), json!(null), json!(null)]);
    site.stop().await;
}

#[tokio::test]
async fn fields_of_the_former_site_publish_nothing() {
    let database = TestDatabase::new().await;
    let fields = doc! {
        "is_published": false, "publish_at": day(1), "unpublish_at": "2015-02-01", "section_id": null,
    };
    let former = with(story("former", day(1)), fields);
    let id = former.get("_id").unwrap().clone();
    database.insert("stories", [former.clone()]).await;
    let site = Site::start(&database).await;
    // Another program has removed one item, and put another one into the trash.
    let moment = after(500);
    let [gone, binned, last] = ["gone", "binned", "last"]
        .map(|title| json!({ "title": title, "content": "", "publish_at": moment }));
    let [gone, binned] =
        [created(&site, "stories", gone).await, created(&site, "stories", binned).await];
    let ids = [&gone, &binned].map(|item| item["slug"].as_str().unwrap().to_owned());
    let stories = database.collection("stories");
    stories.delete_one(doc! { "slug": &ids[0] }).await.unwrap();
    let deleted = doc! { "$set": { "deleted": true } };
    stories.update_one(doc! { "slug": &ids[1] }, deleted).await.unwrap();
    let mut last = last;
    last["publish_at"] = after(1_000).into();
    created(&site, "stories", last).await;
    eventually("the last one is published", async || {
        site.content.get("/stories/slug/last").await.0 == 200
    })
    .await;
    let stored = database.one("stories", doc! { "_id": &id }).await;
    assert_eq!(stored.get("publish_at"), former.get("publish_at"));
    let published = doc! { "slug": { "$in": ["former", "binned"] }, "is_published": true };
    assert_eq!(database.count("stories", published).await, 0);
    assert_eq!(database.count("content_schedule", doc! {}).await, 0);
    assert_eq!(stored.get("is_published"), Some(&Bson::Boolean(false)));
    site.stop().await;
}

#[tokio::test]
async fn what_was_due_while_no_process_ran_is_done_at_the_next_start() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let moment = after(1_000);
    let body = json!({ "title": "x", "content": "", "publish_at": moment });
    created(&site, "stories", body).await;
    site.stop().await;
    let moment: DateTime<Utc> = moment.parse().unwrap();
    eventually("the moment is past", async || now() > moment).await;
    let site = Site::start(&database).await;
    eventually("the story is published", async || {
        site.content.get("/stories/slug/x").await.0 == 200
    })
    .await;
    site.stop().await;
}
