//! Webhooks: their settings, and their delivery to real servers.

use std::{collections::HashSet, time::Duration};

use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{Answer, Api, Behaviour, Provider, Receiver, TestDatabase, eventually};
use tokio::net::TcpListener;

use crate::support::{Site, content, created, day, section_id, story, user};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Settings with which a test can receive messages, and in which the two days are some seconds.
const HERE: [(&str, &str); 2] =
    [("webhooks.allow_private_networks", "true"), ("webhooks.retry_for_seconds", "20")];

struct Hooks {
    database: TestDatabase,
    site: Site,
    api: Api,
}

impl Hooks {
    async fn start(others: &[(&str, &str)]) -> Self {
        let database = TestDatabase::new().await;
        let site = Site::start_with(&database, others).await;
        let api = Api::new(site.content.url.clone());
        Self { database, site, api }
    }

    /// Adds a webhook and returns its answer.
    async fn add(&self, body: Value) -> Answer {
        let answer = self.api.call("POST", "/webhooks", body).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        answer
    }

    async fn get(&self, id: &str) -> Value {
        let answer = self.api.get(&format!("/webhooks/{id}")).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.body
    }

    async fn deliveries(&self, id: &str) -> Vec<Value> {
        let answer = self.api.get(&format!("/webhooks/{id}/deliveries?limit=50")).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.body["items"].as_array().unwrap().clone()
    }

    /// Waits for the first attempt of the only delivery of a webhook, and returns that.
    async fn first_attempt(&self, id: &str) -> Value {
        eventually("an attempt is recorded", async || {
            let all = self.deliveries(id).await;
            all.first().is_some_and(|one| one["attempt_count"] != 0)
        })
        .await;
        self.deliveries(id).await[0]["attempts"][0].clone()
    }

    async fn wait_for_status(&self, id: &str, status: &str) {
        eventually(status, async || self.get(id).await["status"] == status).await;
    }

    async fn story(&self, title: &str) -> Value {
        created(&self.site, "stories", json!({ "title": title, "content": "<p>x</p>" })).await
    }

    async fn patch_story(&self, id: &Value, body: Value) {
        let path = format!("/stories/{}", id.as_str().unwrap());
        let answer = self.api.call("PATCH", &path, body).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    }
}

#[tokio::test]
async fn a_webhook_is_created_read_changed_and_deleted() {
    let hooks = Hooks::start(&HERE).await;
    let names = hooks.database.database().list_collection_names().await.unwrap();
    assert!(!names.iter().any(|name| name.starts_with("webhook")), "{names:?}");

    let body = json!({ "url": "http://127.0.0.1:9/hook", "kinds": ["stories"] });
    let added = hooks.add(body).await;
    let id = added.id();
    assert_eq!(added.header("location"), format!("/webhooks/{id}"));
    assert_eq!(added.header("cache-control"), "private, no-store");
    let secret = added.body["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    let mut expected = added.body.clone();
    expected.as_object_mut().unwrap().remove("secret");
    assert_eq!(hooks.get(&id).await, expected);
    assert_eq!(expected["kinds"], json!(["stories"]));
    assert_eq!(
        (&expected["events"], &expected["description"], &expected["status_reason"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!((&expected["status"], &expected["waiting"]), (&json!("active"), &json!(0)));
    let listed = hooks.api.get("/webhooks").await.body;
    assert_eq!(listed, json!({ "items": [expected] }));
    let every_answer = listed.to_string() + &hooks.get(&id).await.to_string();
    assert!(!every_answer.contains("whsec_"), "{every_answer}");

    // An answer can be sent back with a change.
    let mut changed = expected.clone();
    changed["description"] = "The site".into();
    changed["kinds"] = Value::Null;
    changed["events"] = json!(["published", "unpublished"]);
    changed["is_enabled"] = false.into();
    let path = format!("/webhooks/{id}");
    let patched = hooks.api.call("PATCH", &path, changed.clone()).await;
    assert_eq!(patched.status, 200, "{:?}", patched.body);
    assert!(patched.body.get("secret").is_none());
    changed["status"] = "disabled".into();
    changed["updatedDate"] = patched.body["updatedDate"].clone();
    assert_eq!(patched.body, changed);
    // A new secret is answered once.
    let rotated = hooks.api.call("PATCH", &path, json!({ "secret": null })).await.body;
    assert_ne!(rotated["secret"], added.body["secret"]);
    let rotated = hooks.api.call("PATCH", &path, json!({ "secret": SECRET })).await.body;
    assert_eq!(rotated["secret"], SECRET);

    let read = |method: &'static str, path: String| {
        let api = hooks.api.clone();
        async move { api.call(method, &path, Value::Null).await }
    };
    assert_eq!(read("DELETE", path.clone()).await.status, 204);
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("POST", format!("{path}/test")),
        ("GET", format!("{path}/deliveries")),
        ("GET", format!("{path}/deliveries/{id}")),
        ("POST", format!("{path}/deliveries/{id}/redeliver")),
    ] {
        assert_eq!(read(method, path.clone()).await.code(), (404, "not_found"), "{method} {path}");
    }
    for (method, path) in [
        ("GET", "/webhooks/7"),
        ("POST", "/webhooks/7/test"),
        ("GET", "/webhooks/7/deliveries"),
        ("POST", "/webhooks/7/deliveries/8/redeliver"),
    ] {
        let answer = read(method, path.to_owned()).await;
        assert_eq!(answer.code(), (400, "invalid_id"), "{method} {path}");
        assert_eq!(answer.body["detail"], "Invalid webhook ID format");
    }
    let patched = hooks.api.call("PATCH", &path, json!({ "is_enabled": true })).await;
    assert_eq!(patched.code(), (404, "not_found"));
    hooks.site.stop().await;
}

#[tokio::test]
async fn only_admins_have_webhooks() {
    let provider = Provider::start();
    let hooks = Hooks::start(&provider.settings()).await;
    user(&hooks.database, "ann", "author").await;
    let id = ObjectId::new();
    for (method, path) in [
        ("GET", "/webhooks".to_owned()),
        ("POST", "/webhooks".to_owned()),
        ("GET", format!("/webhooks/{id}")),
        ("PATCH", format!("/webhooks/{id}")),
        ("DELETE", format!("/webhooks/{id}")),
        ("POST", format!("/webhooks/{id}/test")),
        ("GET", format!("/webhooks/{id}/deliveries")),
        ("GET", format!("/webhooks/{id}/deliveries/{id}")),
        ("POST", format!("/webhooks/{id}/deliveries/{id}/redeliver")),
    ] {
        let stranger = hooks.api.clone().sent_by(None);
        let answer = stranger.call(method, &path, Value::Null).await;
        assert_eq!(answer.code(), (401, "unauthorized"), "{method} {path}");
        let author = hooks.api.clone().sent_by(Some("ann"));
        let answer = author.send(method, &path, &[], Some("{".to_owned())).await;
        assert_eq!(answer.code(), (403, "forbidden"), "{method} {path}");
    }
    hooks.site.stop().await;
}

#[tokio::test]
async fn each_wrong_field_is_named_with_its_remedy() {
    let hooks = Hooks::start(&[]).await;
    let url = "https://8.8.8.8/hook";
    for (body, field, message) in [
        (json!({}), "url", "is missing"),
        (json!({ "url": null }), "url", "invalid type: null"),
        (json!({ "url": "example.com" }), "url", "must be an http:// or https:// address"),
        (json!({ "url": "ftp://example.com" }), "url", "must be an http:// or https:// address"),
        (json!({ "url": "https://me:pw@example.com" }), "url", "must be an http:// or https://"),
        (json!({ "url": "http://8.8.8.8/hook" }), "url", "must begin with https://"),
        (json!({ "url": "https://127.0.0.1/" }), "url", "webhooks.allow_private_networks"),
        (json!({ "url": "https://localhost/" }), "url", "in a private or special network"),
        (json!({ "url": "https://169.254.169.254/" }), "url", "in a private or special network"),
        (json!({ "url": "https://[::ffff:10.0.0.1]/" }), "url", "in a private or special network"),
        (json!({ "url": "https://0x7f000001/" }), "url", "in a private or special network"),
        (json!({ "url": "https://nothing.invalid/" }), "url", "cannot be resolved"),
        (json!({ "url": url, "secret": "hunter2" }), "secret", "must begin with `whsec_`"),
        (json!({ "url": url, "secret": "whsec_c2hvcnQ=" }), "secret", "from 24 to 64 bytes"),
        (json!({ "url": url, "secret": "whsec_%%%" }), "secret", "must be base64"),
        (json!({ "url": url, "kinds": [] }), "kinds", "null stands for all"),
        (json!({ "url": url, "kinds": ["story"] }), "kinds[0]", "stories"),
        (json!({ "url": url, "events": ["publish"] }), "events[0]", "published"),
        (json!({ "url": url, "description": "" }), "description", "must not be blank"),
        (json!({ "url": url, "is_enabled": 1 }), "is_enabled", "invalid type"),
        (json!({ "url": url, "enabled": true }), "enabled", "is_enabled"),
    ] {
        let answer = hooks.api.call("POST", "/webhooks", body.clone()).await;
        assert_eq!(answer.code(), (422, "validation_failed"), "{body}: {:?}", answer.body);
        let errors = answer.body["errors"].as_array().unwrap();
        assert_eq!(errors[0]["field"], field, "{body}: {errors:?}");
        let text = errors[0]["message"].as_str().unwrap();
        assert!(text.contains(message), "{body}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let added = hooks.add(json!({ "url": url, "secret": SECRET })).await;
    assert_eq!(added.body["secret"], SECRET);
    let path = format!("/webhooks/{}", added.id());
    for (body, field) in [
        (json!({ "url": null }), "url"),
        (json!({ "url": "https://10.0.0.1/" }), "url"),
        (json!({ "is_enabled": null }), "is_enabled"),
        (json!({ "secret": "whsec_" }), "secret"),
        (json!({ "id": "626e3e0035b0bc65bb5e1545" }), "id"),
        (json!({ "kinds": ["users"] }), "kinds[0]"),
    ] {
        let answer = hooks.api.call("PATCH", &path, body.clone()).await;
        assert_eq!(answer.code(), (422, "validation_failed"), "{body}: {:?}", answer.body);
        assert_eq!(answer.body["errors"][0]["field"], field, "{body}");
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("state=done", "state"),
        ("offset=1", "offset"),
    ] {
        let answer = hooks.api.get(&format!("{path}/deliveries?{query}")).await;
        assert_eq!(answer.code(), (422, "validation_failed"), "{query}");
        assert_eq!(answer.body["errors"][0]["field"], field, "{query}: {:?}", answer.body);
    }
    let more = (1..20).map(|number| json!({ "url": format!("https://8.8.8.8/{number}") }));
    for body in more {
        hooks.add(body).await;
    }
    let answer = hooks.api.call("POST", "/webhooks", json!({ "url": url })).await;
    assert_eq!(answer.code(), (409, "conflict"));
    hooks.site.stop().await;
}

#[tokio::test]
async fn what_becomes_public_is_told_in_signed_messages_and_drafts_are_not() {
    let hooks = Hooks::start(&HERE).await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let body = json!({ "url": receiver.url, "secret": SECRET, "kinds": ["stories"] });
    let id = hooks.add(body).await.id();

    let draft = json!({ "title": "A secret plan", "content": "<p>x</p>", "is_published": false });
    let draft = created(&hooks.site, "stories", draft).await;
    hooks.patch_story(&draft["id"], json!({ "title": "A better plan" })).await;
    let page = json!({ "title": "P", "content": "<p>x</p>", "page_type": "imprint" });
    created(&hooks.site, "pages", page).await;
    let story = hooks.story("First light").await;
    let first = receiver.wait_for(1).await.remove(0);
    assert!(first.is_signed_with(SECRET), "{first:?}");
    assert!(!first.is_signed_with("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    assert_eq!(first.headers["content-type"], "application/json");
    let message = first.json();
    assert_eq!(message["type"], "stories.created");
    assert!(message["timestamp"].as_str().unwrap().ends_with('Z'));
    let data = &message["data"];
    assert_eq!((&data["id"], &data["slug"]), (&story["id"], &json!("first-light")));
    assert_eq!((&data["path"], &data["kind"]), (&json!("/blog/first-light"), &json!("stories")));
    assert_eq!(data["section_id"], story["section_id"]);
    assert!(data.get("cursor").is_none() && data.get("title").is_none());

    // With a new secret, the former one is valid for a day.
    let new = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let path = format!("/webhooks/{id}");
    assert_eq!(hooks.api.call("PATCH", &path, json!({ "secret": new })).await.status, 200);
    hooks.patch_story(&story["id"], json!({ "is_published": false })).await;
    let second = receiver.wait_for(2).await.remove(1);
    assert!(second.is_signed_with(SECRET) && second.is_signed_with(new), "{second:?}");
    assert_eq!(second.kind(), "stories.unpublished");
    hooks.patch_story(&draft["id"], json!({ "is_published": true })).await;
    let third = receiver.wait_for(3).await.remove(2);
    assert_eq!(
        (third.kind().as_str(), &third.json()["data"]["id"]),
        ("stories.published", &draft["id"])
    );
    let ids: HashSet<_> = receiver.received().iter().map(|one| one.id().to_owned()).collect();
    assert_eq!(ids.len(), 3);

    eventually("all are recorded", async || hooks.get(&id).await["waiting"] == 0).await;
    let deliveries = hooks.deliveries(&id).await;
    assert_eq!(deliveries.len(), 3);
    for (delivery, received) in deliveries.iter().rev().zip(receiver.received()) {
        assert_eq!(delivery["message_id"], received.id());
        assert_eq!(
            (&delivery["state"], &delivery["body"]),
            (&json!("delivered"), &received.json())
        );
        let attempt = &delivery["attempts"][0];
        assert_eq!((&attempt["status"], &attempt["response"]), (&json!(200), &json!("yes")));
    }
    // Pages lead to all of them.
    let first = hooks.api.get(&format!("{path}/deliveries?limit=2")).await.body;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = hooks.api.get(&format!("{path}/deliveries?limit=2&cursor={cursor}")).await.body;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));
    let pending = hooks.api.get(&format!("{path}/deliveries?state=pending")).await.body;
    assert_eq!(pending["items"], json!([]));
    // One of them again, with the same id.
    let again = deliveries[1]["id"].as_str().unwrap();
    let again = format!("{path}/deliveries/{again}/redeliver");
    let again = hooks.api.call("POST", &again, Value::Null).await;
    assert_eq!((again.status, &again.body["state"]), (202, &json!("pending")));
    assert_eq!(again.header("location"), format!("{path}/deliveries/{}", again.id()));
    let fourth = receiver.wait_for(4).await.remove(3);
    assert_eq!(fourth.id(), second.id());
    hooks.site.stop().await;
}

#[tokio::test]
async fn a_delivery_that_is_requested_during_an_attempt_is_sent_again() {
    let hooks = Hooks::start(&HERE).await;
    let receiver = Receiver::start(Behaviour::Hold).await;
    let id = hooks.add(json!({ "url": receiver.url })).await.id();
    hooks.story("Short").await;
    receiver.wait_for(1).await;
    let delivery = hooks.deliveries(&id).await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/webhooks/{id}/deliveries/{delivery}");
    let requested = hooks.api.call("POST", &format!("{path}/redeliver"), Value::Null).await;
    assert_eq!(requested.status, 202, "{:?}", requested.body);
    receiver.behave(Behaviour::Status(204));
    let both = receiver.wait_for(2).await;
    assert_eq!(both[0].id(), both[1].id());
    eventually("both attempts are recorded", async || {
        hooks.deliveries(&id).await[0]["attempt_count"] == 2
    })
    .await;
    assert_eq!(hooks.deliveries(&id).await[0]["state"], "delivered");
    hooks.site.stop().await;
}

/// A process that was suspended until another one has the lease must not add deliveries: they would be
/// in the queue after newer ones.
#[tokio::test]
async fn a_process_that_has_lost_the_lease_adds_no_delivery() {
    let hooks = Hooks::start(&HERE).await;
    let receiver = Receiver::start(Behaviour::Status(204)).await;
    hooks.add(json!({ "url": receiver.url })).await;
    hooks.story("Before").await;
    receiver.wait_for(1).await;
    // Another process takes the lease, and this one has not noticed it yet.
    let leases = hooks.database.database().collection::<Document>("webhook_dispatch");
    let ten_minutes = doc! { "$add": ["$$NOW", 600_000_i64] };
    let taken = vec![doc! { "$set": {
        "owner": "another", "fence": { "$add": ["$fence", 1_i64] }, "expires_at": ten_minutes,
    } }];
    let taken = leases.update_one(doc! { "_id": "lease" }, taken).await.unwrap();
    assert_eq!(taken.modified_count, 1);
    eventually("the changes can be read", async || {
        hooks.api.get("/changes?cursor=").await.status == 200
    })
    .await;
    let cursor = hooks.api.get("/changes?cursor=").await.body["cursor"].clone();
    let path = format!("/changes?cursor={}", cursor.as_str().unwrap());
    hooks.story("After").await;
    eventually("the change is told", async || {
        hooks.api.get(&path).await.body.to_string().contains("\"after\"")
    })
    .await;
    let free = doc! { "$set": { "owner": null, "expires_at": DateTime::from_millis(0) } };
    leases.update_one(doc! { "_id": "lease" }, free).await.unwrap();
    receiver.wait_for(2).await;
    hooks.story("Last").await;
    let slugs = || {
        let all = receiver.received().into_iter().map(|one| one.json()["data"]["slug"].clone());
        all.collect::<Vec<_>>()
    };
    eventually("the last one arrives", async || slugs().contains(&"last".into())).await;
    // The place after the first one may not have been recorded yet.
    let slugs: Vec<_> = slugs().into_iter().filter(|slug| slug != "before").collect();
    assert_eq!(slugs, ["after", "last"]);
    hooks.site.stop().await;
}

#[tokio::test]
async fn a_webhook_is_told_of_the_events_that_it_chose() {
    let hooks = Hooks::start(&HERE).await;
    let (some, all) = (
        Receiver::start(Behaviour::Status(204)).await,
        Receiver::start(Behaviour::Status(200)).await,
    );
    hooks.add(json!({ "url": some.url, "kinds": ["stories"], "events": ["deleted"] })).await;
    hooks.add(json!({ "url": all.url })).await;
    let story = hooks.story("Short").await;
    all.wait_for(1).await;
    let path = format!("/stories/{}", story["id"].as_str().unwrap());
    assert_eq!(hooks.api.call("DELETE", &path, Value::Null).await.status, 204);
    all.wait_for(2).await;
    let told = some.wait_for(1).await;
    assert_eq!((told.len(), told[0].kind().as_str()), (1, "stories.deleted"));
    assert_eq!(told[0].json()["data"]["previous_path"], "/blog/short");
    hooks.site.stop().await;
}

#[tokio::test]
async fn each_kind_of_failure_is_recorded_with_its_reason_and_repeated() {
    let hooks = Hooks::start(&HERE).await;
    let elsewhere = Receiver::start(Behaviour::Status(200)).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut webhooks = Vec::new();
    for (behaviour, status, error) in [
        (Behaviour::Status(500), json!(500), "HTTP 500"),
        (Behaviour::Status(404), json!(404), "HTTP 404"),
        (Behaviour::Redirect(elsewhere.url.clone()), json!(307), "are not followed"),
        (Behaviour::Large, json!(500), "HTTP 500"),
        (Behaviour::Garbage, json!(null), "error"),
    ] {
        let receiver = Receiver::start(behaviour).await;
        let id = hooks.add(json!({ "url": receiver.url, "kinds": ["stories"] })).await.id();
        webhooks.push((Some(receiver), id, status, error));
    }
    let url = format!("http://{closed}/");
    let id = hooks.add(json!({ "url": url, "kinds": ["stories"] })).await.id();
    webhooks.push((None, id, json!(null), "refused"));
    // One that never answers delays no other.
    let hanging = Receiver::start(Behaviour::Hang).await;
    let hanging_id = hooks.add(json!({ "url": hanging.url })).await.id();
    let live = Receiver::start(Behaviour::Status(200)).await;
    hooks.add(json!({ "url": live.url, "kinds": ["stories"] })).await;

    hooks.story("Storm").await;
    live.wait_for(1).await;
    hanging.wait_for(1).await;
    assert_eq!(hooks.get(&hanging_id).await["waiting"], 1);
    for (receiver, id, status, error) in &webhooks {
        let attempt = hooks.first_attempt(id).await;
        assert_eq!(&attempt["status"], status, "{attempt}");
        assert!(attempt["error"].as_str().unwrap().contains(error), "{error}: {attempt}");
        assert!(!attempt["error"].as_str().unwrap().contains("in-the-url") || *status == 307);
        let response = attempt["response"].as_str().unwrap_or_default();
        assert!(response.len() <= 1_000, "{}", response.len());
        if let Some(receiver) = receiver {
            let received = receiver.wait_for(2).await;
            assert_eq!(received[0].id(), received[1].id());
            receiver.behave(Behaviour::Status(200));
        }
    }
    for (receiver, id, ..) in &webhooks {
        if receiver.is_some() {
            eventually("it is delivered at last", async || {
                hooks.deliveries(id).await[0]["state"] == "delivered"
            })
            .await;
        }
    }
    assert_eq!(elsewhere.received().len(), 0);
    assert_eq!(live.received().len(), 1);
    hooks.site.stop().await;
}

#[tokio::test]
async fn messages_about_an_item_are_in_order_and_wait_for_no_other_item() {
    let hooks = Hooks::start(&HERE).await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let id = hooks.add(json!({ "url": receiver.url, "kinds": ["stories"] })).await.id();
    let (first, second) = (hooks.story("One").await, hooks.story("Two").await);
    receiver.wait_for(2).await;
    let first_id = first["id"].as_str().unwrap();
    receiver.behave(Behaviour::StatusFor(503, first_id.to_owned()));
    for number in 0..5 {
        let text = json!({ "content": format!("<p>{number}</p>") });
        hooks.patch_story(&first["id"], text.clone()).await;
        hooks.patch_story(&second["id"], text).await;
    }
    let of = |id: &Value| {
        let received = receiver.received().into_iter().skip(2);
        received.filter(|one| one.json()["data"]["id"] == *id).collect::<Vec<_>>()
    };
    // It is queued after all of them.
    let third = hooks.story("Three").await;
    eventually("other items are told", async || !of(&third["id"]).is_empty()).await;
    eventually("the second one is told", async || !of(&second["id"]).is_empty()).await;
    eventually("the first one is tried again", async || of(&first["id"]).len() >= 2).await;
    let tried: HashSet<_> = of(&first["id"]).iter().map(|one| one.id().to_owned()).collect();
    assert_eq!(tried.len(), 1, "later messages of the item were sent");
    receiver.behave(Behaviour::Status(200));
    eventually("nothing waits", async || hooks.get(&id).await["waiting"] == 0).await;
    for item in [&first["id"], &second["id"]] {
        let mut told: Vec<String> = of(item).iter().map(|one| one.id().to_owned()).collect();
        told.dedup();
        let deliveries = hooks.deliveries(&id).await;
        let of_item = deliveries.iter().filter(|one| one["body"]["data"]["id"] == *item);
        let mut queued: Vec<_> =
            of_item.map(|one| one["message_id"].as_str().unwrap().to_owned()).collect();
        queued.reverse();
        // Without the message about its creation.
        assert!(queued.len() > 2, "{queued:?}");
        assert_eq!(told, queued[1..], "{item}");
    }
    hooks.site.stop().await;
}

#[tokio::test]
async fn a_target_that_fails_for_too_long_is_failing_until_it_is_resumed() {
    let others = [HERE[0], ("webhooks.retry_for_seconds", "1")];
    let hooks = Hooks::start(&others).await;
    let receiver = Receiver::start(Behaviour::Status(500)).await;
    let id = hooks.add(json!({ "url": receiver.url, "kinds": ["stories"] })).await.id();
    let story = hooks.story("Unheard").await;
    hooks.wait_for_status(&id, "failing").await;
    let reason = hooks.get(&id).await["status_reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("HTTP 500"), "{reason}");
    assert_eq!(hooks.deliveries(&id).await[0]["state"], "pending");
    // Nothing is sent, and a test is sent once.
    let count = receiver.received().len();
    hooks.patch_story(&story["id"], json!({ "content": "<p>y</p>" })).await;
    eventually("the change is noted", async || {
        let stored = hooks.database.one("webhooks", doc! {}).await;
        stored.get_array("missed").unwrap().len() == 1
    })
    .await;
    let path = format!("/webhooks/{id}");
    let test = hooks.api.call("POST", &format!("{path}/test"), Value::Null).await;
    assert_eq!((test.status, &test.body["type"]), (202, &json!("webhook.test")));
    let test = format!("{path}/deliveries/{}", test.id());
    eventually("the test has failed", async || {
        hooks.api.get(&test).await.body["state"] == "failed"
    })
    .await;
    assert_eq!(receiver.received().len(), count + 1);
    hooks.wait_for_status(&id, "failing").await;
    // A test that is accepted resumes it. The message that waits is sent, and what was not queued.
    receiver.behave(Behaviour::Status(200));
    hooks.api.call("POST", &format!("{path}/test"), Value::Null).await;
    hooks.wait_for_status(&id, "active").await;
    let received = receiver.wait_for(count + 4).await;
    let mut kinds: Vec<_> = received[count + 2..].iter().map(|one| one.kind().to_owned()).collect();
    kinds.sort();
    assert_eq!(kinds, ["stories.changed", "stories.created"]);

    receiver.behave(Behaviour::Status(500));
    hooks.patch_story(&story["id"], json!({ "content": "<p>z</p>" })).await;
    hooks.wait_for_status(&id, "failing").await;
    receiver.behave(Behaviour::Status(200));
    let count = receiver.received().len();
    // A change of the webhook resumes it, and what was delivered can be sent again.
    assert_eq!(hooks.api.call("PATCH", &path, json!({})).await.body["status"], "active");
    let received = receiver.wait_for(count + 1).await;
    assert_eq!(received[count].kind(), "stories.updated");
    let delivered = hooks.deliveries(&id).await;
    let updated = delivered.iter().find(|one| one["type"] == "stories.updated").unwrap();
    let again = format!("{path}/deliveries/{}/redeliver", updated["id"].as_str().unwrap());
    hooks.api.call("POST", &again, Value::Null).await;
    let received = receiver.wait_for(count + 2).await;
    assert_eq!(received[count + 1].kind(), "stories.updated");
    hooks.site.stop().await;
}

#[tokio::test]
async fn a_target_that_is_gone_disables_its_webhook() {
    let hooks = Hooks::start(&HERE).await;
    let receiver = Receiver::start(Behaviour::Status(410)).await;
    let id = hooks.add(json!({ "url": receiver.url })).await.id();
    hooks.story("Gone").await;
    hooks.wait_for_status(&id, "disabled").await;
    let webhook = hooks.get(&id).await;
    assert_eq!(webhook["is_enabled"], false);
    assert!(webhook["status_reason"].as_str().unwrap().contains("410"), "{webhook}");
    assert_eq!(receiver.received().len(), 1);
    receiver.behave(Behaviour::Status(200));
    let path = format!("/webhooks/{id}");
    let enabled = hooks.api.call("PATCH", &path, json!({ "is_enabled": true })).await.body;
    assert_eq!((&enabled["status"], &enabled["status_reason"]), (&json!("active"), &Value::Null));
    hooks.story("Back").await;
    let received = receiver.wait_for(3).await;
    let slug = |number: usize| received[number].json()["data"]["slug"].clone();
    let mut slugs = [slug(1), slug(2)].map(|slug| slug.as_str().unwrap().to_owned());
    slugs.sort();
    assert_eq!(slugs, ["back", "gone"]);
    hooks.site.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_by_a_restart_and_another_process_takes_over() {
    let hooks = Hooks::start(&HERE).await;
    let receiver = Receiver::start(Behaviour::Status(500)).await;
    let id = hooks.add(json!({ "url": receiver.url, "kinds": ["stories"] })).await.id();
    hooks.story("Before").await;
    receiver.wait_for(1).await;
    let Hooks { database, site: Site { sections, content: first }, .. } = hooks;
    first.stop().await.unwrap();
    // While no process delivers, another program writes.
    let blog = section_id(&database, "blog").await;
    let mut between = story("between", day(9));
    between.insert("section_id", blog);
    database.insert("stories", [between]).await;
    receiver.behave(Behaviour::Status(200));
    let (one, two) = (
        content(&database, &sections.url, &HERE).await,
        content(&database, &sections.url, &HERE).await,
    );
    let api = Api::new(two.url.clone());
    let slugs = || -> HashSet<String> {
        let all = receiver.received();
        all.iter().map(|one| one.json()["data"]["slug"].as_str().unwrap_or("").to_owned()).collect()
    };
    eventually("both are told", async || slugs().len() == 2).await;
    assert_eq!(slugs(), HashSet::from(["before".to_owned(), "between".to_owned()]));
    eventually("nothing waits", async || {
        api.get(&format!("/webhooks/{id}")).await.body["waiting"] == 0
    })
    .await;
    // One of them delivers: each change is told once.
    let count = receiver.received().len();
    let site = Site { sections, content: two };
    created(&site, "stories", json!({ "title": "After", "content": "<p>x</p>" })).await;
    receiver.wait_for(count + 1).await;
    // An attempt that is cut off before it is recorded is made again.
    eventually("the attempt is recorded", async || {
        api.get(&format!("/webhooks/{id}")).await.body["waiting"] == 0
    })
    .await;
    one.stop().await.unwrap();
    created(&site, "stories", json!({ "title": "Later", "content": "<p>x</p>" })).await;
    let received = receiver.wait_for(count + 2).await;
    let last: Vec<_> =
        received[count..].iter().map(|one| one.json()["data"]["slug"].clone()).collect();
    assert_eq!(last, ["after", "later"]);
    // A webhook that is deleted leaves nothing.
    let path = format!("/webhooks/{id}");
    assert_eq!(api.call("DELETE", &path, Value::Null).await.status, 204);
    for collection in ["webhooks", "webhook_deliveries"] {
        let rest = database.collection(collection).count_documents(Document::new()).await;
        assert_eq!(rest.unwrap(), 0, "{collection}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_collection_of_another_program_with_the_same_name_is_left_alone() {
    let database = TestDatabase::new().await;
    let theirs = doc! { "_id": 7, "url": "https://example.com", "secret": "theirs" };
    database.insert("webhooks", [theirs.clone()]).await;
    let site = Site::start_with(&database, &HERE).await;
    let api = Api::new(site.content.url.clone());
    assert_eq!(api.get("/webhooks").await.body, json!({ "items": [] }));
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    let added = api.call("POST", "/webhooks", json!({ "url": receiver.url })).await;
    assert_eq!(added.status, 201);
    let tested = api.call("POST", &format!("/webhooks/{}/test", added.id()), Value::Null).await;
    assert_eq!(tested.status, 202);
    let received = receiver.wait_for(1).await.remove(0);
    assert_eq!(received.kind(), "webhook.test");
    assert!(received.is_signed_with(added.body["secret"].as_str().unwrap()));
    assert_eq!(database.one("webhooks", doc! { "_id": 7 }).await, theirs);
    site.stop().await;
}

#[tokio::test]
async fn a_change_is_told_within_a_few_seconds_on_a_busy_machine() {
    let hooks = Hooks::start(&HERE).await;
    let receiver = Receiver::start(Behaviour::Status(200)).await;
    hooks.add(json!({ "url": receiver.url, "kinds": ["stories"] })).await;
    let story = hooks.story("Ready").await;
    receiver.wait_for(1).await;
    let began = std::time::Instant::now();
    hooks.patch_story(&story["id"], json!({ "content": "<p>now</p>" })).await;
    let told = receiver.wait_for(2).await.remove(1);
    // Exact figures belong to the benchmark.
    assert!(told.at - began < Duration::from_secs(10), "{:?}", told.at - began);
    hooks.site.stop().await;
}
