//! Drafts beside what is published, of every kind.

use futures_util::future::join_all;
use models::ContentType;
use mongodb::bson::{Bson, Document, doc, oid::ObjectId};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use test_support::{Provider, TestDatabase};

use crate::{
    changes::{Reader, short},
    support::{Site, ask, created, day, heard, section, send, send_raw, stored, story, user, with},
};

/// An item of a kind, at its address.
struct Item<'a> {
    site: &'a Site,
    collection: &'static str,
    item: Value,
}

impl<'a> Item<'a> {
    async fn new(site: &'a Site, kind: ContentType, mut body: Value) -> Self {
        for (member, value) in [("title", "First"), ("content", "<p>One</p>")] {
            if body.get(member).is_none() {
                body[member] = value.into();
            }
        }
        let collection = kind.collection();
        let item = created(site, collection, body).await;
        Self { site, collection, item }
    }

    fn id(&self) -> Bson {
        ObjectId::parse_str(self.item["id"].as_str().unwrap()).unwrap().into()
    }

    fn url(&self, end: &str) -> String {
        let id = self.item["id"].as_str().unwrap();
        format!("{}/{}/{id}{end}", self.site.content.url, self.collection)
    }

    async fn send(
        &self,
        method: &str,
        end: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (u16, HeaderMap, Value) {
        let (status, headers, answer) = send(method, &self.url(end), headers, body).await;
        (status.as_u16(), headers, answer)
    }

    /// Saves a draft, and returns its tag and the answer.
    async fn save(&self, body: &Value) -> (String, Value) {
        let (status, headers, answer) = self.send("PUT", "/draft", &[], body).await;
        assert_eq!(status, 200, "{}: {answer}", self.collection);
        (tag(&headers), answer)
    }

    /// Returns the status, or the code of an error, and the answer.
    async fn publish(&self, headers: &[(&str, &str)]) -> (String, Value) {
        let (status, _, answer) = self.send("POST", "/publish", headers, &Value::Null).await;
        let outcome = answer["code"].as_str().map_or_else(|| status.to_string(), str::to_owned);
        (outcome, answer)
    }

    async fn get(&self, end: &str) -> (u16, HeaderMap, Value) {
        self.send("GET", end, &[], &Value::Null).await
    }

    async fn stored(&self, database: &TestDatabase) -> Vec<u8> {
        stored(database, self.collection, &self.id()).await
    }
}

fn tag(headers: &HeaderMap) -> String {
    headers["etag"].to_str().unwrap().to_owned()
}

fn draft(title: &str) -> Value {
    json!({ "title": title, "content": format!("<p>{title}</p>") })
}

/// Returns a section for a kind.
async fn place(database: &TestDatabase, kind: ContentType, slug: &str) -> String {
    let display = serde_json::to_value(kind.usual_display()).unwrap();
    let fields = doc! {
        "content_type": kind.as_str(), "display_type": display.as_str().unwrap(),
    };
    section(database, slug, fields).await
}

#[tokio::test]
async fn a_draft_of_any_kind_is_seen_nowhere_until_it_is_published() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for kind in ContentType::ALL {
        let collection = kind.collection();
        let here = place(&database, kind, &format!("of-{collection}")).await;
        heard(&database, &site.content).await;
        let item = Item::new(&site, kind, json!({ "section_id": here })).await;
        let before = item.stored(&database).await;
        assert_eq!(item.get("/draft").await.2["detail"], "Draft not found", "{collection}");

        let unsafe_text = json!({
            "title": "Second", "content": "<p>Two</p><script>x()</script>", "is_published": false,
            "tags": ["New"],
        });
        let (first, mut saved) = item.save(&unsafe_text).await;
        assert_eq!(saved["sanitized"], json!([{ "element": "script", "count": 1 }]), "{saved}");
        saved.as_object_mut().unwrap().remove("sanitized");
        let state = saved.as_object_mut().unwrap().remove("draft_state").unwrap();
        assert!(state["saved_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{state}");
        let expected = json!({ "saved_at": state["saved_at"], "user_id": null, "author": null, "is_outdated": false });
        assert_eq!(state, expected);
        let mut expected = item.item.clone();
        for (member, value) in
            [("title", json!("Second")), ("content", json!("<p>Two</p>")), ("tags", json!(["New"]))]
        {
            expected[member] = value;
        }
        assert_eq!(saved, expected, "the rest is that of the item");

        let (status, headers, read) = item.get("/draft").await;
        assert_eq!((status, tag(&headers)), (200, first));
        assert!(!headers.contains_key("surrogate-key"), "no cache keeps it");
        // What was read can be sent back, and changes nothing the second time.
        let (etag, mut again) = item.save(&read).await;
        assert_eq!(item.save(&again).await, (etag, again.clone()));
        again["draft_state"]["saved_at"] = read["draft_state"]["saved_at"].clone();
        assert_eq!(again, read);

        assert_eq!(item.stored(&database).await, before, "{collection}");
        assert_eq!(item.get("").await.2, item.item);
        for path in [
            format!("/{collection}"),
            format!("/{collection}?include_drafts=true"),
            format!("/resolve?path=/of-{collection}"),
            "/search?q=Second".to_owned(),
            "/tags".to_owned(),
        ] {
            let (_, answer) = site.content.get_as_editor(&path).await;
            assert!(!answer.to_string().contains("Second"), "{path}: {answer}");
            assert!(!answer.to_string().contains("New"), "{path}: {answer}");
        }

        let (outcome, published) = item.publish(&[]).await;
        assert_eq!(outcome, "200", "{published}");
        for member in ["title", "content", "tags", "is_published", "createdDate", "section_id"] {
            assert_eq!(published[member], expected[member], "{collection} {member}");
        }
        assert_eq!(item.get("").await.2, published);
        assert_eq!(item.get("/draft").await.0, 404);
        let found = site.content.get("/search?q=Second").await.1;
        assert_eq!(found["items"][0]["id"], published["id"], "{found}");
        // Published once more, it stays as it is.
        let now = item.stored(&database).await;
        assert_eq!(item.publish(&[]).await, ("200".to_owned(), published));
        assert_eq!(item.stored(&database).await, now);
        assert_eq!(item.send("DELETE", "", &[], &Value::Null).await.0, 204);
    }
    site.stop().await;
}

#[tokio::test]
async fn an_item_that_is_not_published_is_published_with_or_without_a_draft() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for kind in ContentType::ALL {
        for has_draft in [false, true] {
            let item = Item::new(&site, kind, json!({ "is_published": false })).await;
            if has_draft {
                // Whatever it says: publishing it sets it.
                let (_, saved) = item.save(&draft("Second")).await;
                assert_eq!(saved["is_published"], false);
            }
            let (outcome, published) = item.publish(&[]).await;
            let title = if has_draft { "Second" } else { "First" };
            assert_eq!((&*outcome, &published["title"]), ("200", &title.into()), "{published}");
            assert_eq!(published["is_published"], true, "{published}");
            assert_eq!(item.send("DELETE", "", &[], &Value::Null).await.0, 204);
        }
    }
}

#[tokio::test]
async fn two_editors_of_a_draft_do_not_overwrite_each_other() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for kind in ContentType::ALL {
        let item = Item::new(&site, kind, json!({})).await;
        let first = ("if-none-match", "*");
        let bodies: Vec<_> = (0..6).map(|number| draft(&format!("Of {number}"))).collect();
        let saves = bodies.iter().map(async |body| {
            let (status, headers, answer) = item.send("PUT", "/draft", &[first], body).await;
            (status, headers.contains_key("etag").then(|| tag(&headers)), answer)
        });
        let mut saved = join_all(saves).await;
        saved.sort_by_key(|(status, ..)| *status);
        let statuses: Vec<_> = saved.iter().map(|(status, ..)| *status).collect();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412], "{saved:?}");
        let (_, etag, winner) = saved.swap_remove(0);
        let etag = etag.unwrap();
        assert_eq!(item.get("/draft").await.2, winner);

        let with = |tag: &str| [("if-match", tag.to_owned())];
        for (method, body) in [("PUT", draft("Other")), ("DELETE", Value::Null)] {
            let headers = with("\"other\"");
            let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
            let (status, _, answer) = item.send(method, "/draft", &headers, &body).await;
            assert_eq!((status, &answer["code"]), (412, &"precondition_failed".into()));
            assert_eq!(answer["current"], json!({ "etag": etag, "value": winner }));
        }
        let (status, headers, _) =
            item.send("PUT", "/draft", &[("if-match", &etag)], &draft("Third")).await;
        let third = tag(&headers);
        assert!(status == 200 && third != etag);
        // The tag of the item is not that of its draft.
        let of_item = tag(&item.get("").await.1);
        for old in [etag, of_item] {
            let headers = [("if-match", &*old)];
            assert_eq!(item.send("DELETE", "/draft", &headers, &Value::Null).await.0, 412);
        }
        assert_eq!(item.get("/draft").await.2["title"], "Third");
        let headers = [("if-match", &*third)];
        assert_eq!(item.send("DELETE", "/draft", &headers, &Value::Null).await.0, 204);
        assert_eq!(item.send("DELETE", "/draft", &[], &Value::Null).await.0, 404);
        let headers = [("if-match", "*")];
        assert_eq!(item.send("PUT", "/draft", &headers, &draft("Fourth")).await.0, 412);
        assert_eq!(item.get("").await.2, item.item);
    }
}

#[tokio::test]
async fn a_text_that_was_published_since_is_not_overwritten_by_an_older_draft() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for kind in ContentType::ALL {
        let item = Item::new(&site, kind, json!({})).await;
        item.save(&draft("Draft")).await;
        let change = async |body: Value| {
            let (status, headers, answer) = item.send("PATCH", "", &[], &body).await;
            assert_eq!(status, 200, "{answer}");
            tag(&headers)
        };
        let is_outdated = async || item.get("/draft").await.2["draft_state"]["is_outdated"].clone();
        let old = change(json!({ "title": "Of another editor" })).await;
        assert_eq!(is_outdated().await, true);
        // A later save does not make it a draft of the new text.
        item.save(&draft("Draft, continued")).await;
        for headers in [&[][..], &[("if-match", "*")]] {
            let (outcome, answer) = item.publish(headers).await;
            assert_eq!(outcome, "draft_outdated");
            assert_eq!(answer["current"], json!({ "etag": old, "value": item.get("").await.2 }));
        }

        // Neither what was undone nor what is no text.
        let back = change(json!({ "title": "First", "is_published": false })).await;
        assert_eq!(is_outdated().await, false);
        assert_eq!(item.publish(&[("if-match", &old)]).await.0, "precondition_failed");
        let newest = change(json!({ "content": "<p>Of another editor</p>" })).await;
        for stale in [&old, &back] {
            assert_eq!(item.publish(&[("if-match", stale)]).await.0, "precondition_failed");
        }
        let present = item.get("").await.2;
        assert_eq!((&present["title"], &present["is_published"]), (&"First".into(), &false.into()));
        let (outcome, published) = item.publish(&[("if-match", &newest)]).await;
        assert_eq!(outcome, "200", "{published}");
        assert_eq!(published["title"], "Draft, continued");
        assert_eq!(published["content"], "<p>Draft, continued</p>");
    }
}

#[tokio::test]
async fn a_publication_that_fails_keeps_the_draft_and_the_item() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for kind in ContentType::ALL {
        let collection = kind.collection();
        let slug = format!("taken-{collection}");
        Item::new(&site, kind, json!({ "slug": slug })).await;
        let item = Item::new(&site, kind, json!({ "slug": format!("own-{collection}") })).await;
        let mut body = draft("Second");
        body["slug"] = slug.into();
        let (_, saved) = item.save(&body).await;
        let before = item.stored(&database).await;
        assert_eq!(item.publish(&[]).await.0, "slug_taken", "{collection}");
        assert_eq!(item.get("/draft").await.2, saved);

        let here = place(&database, kind, &format!("of-{collection}")).await;
        heard(&database, &site.content).await;
        body["slug"] = format!("free-{collection}").into();
        body["section_id"] = here.as_str().into();
        let (_, saved) = item.save(&body).await;
        let filter = doc! { "_id": ObjectId::parse_str(&here).unwrap() };
        let is_deleted = |is_deleted: bool| doc! { "$set": { "is_deleted": is_deleted } };
        let sections = database.collection("sections");
        sections.update_one(filter.clone(), is_deleted(true)).await.unwrap();
        let (outcome, answer) = item.publish(&[]).await;
        assert_eq!(outcome, "validation_failed", "{answer}");
        assert_eq!(answer["errors"][0]["field"], "section_id");
        assert_eq!(item.get("/draft").await.2, saved);
        assert_eq!(item.stored(&database).await, before);

        sections.update_one(filter, is_deleted(false)).await.unwrap();
        let (outcome, published) = item.publish(&[]).await;
        assert_eq!((&*outcome, &published["section_id"]), ("200", &here.into()), "{published}");
        assert_eq!(published["slug"], format!("free-{collection}"));
    }
}

#[tokio::test]
async fn a_draft_is_for_those_who_may_change_the_item() {
    let database = TestDatabase::new().await;
    let provider = Provider::start();
    let ann = user(&database, "ann", "author").await;
    user(&database, "bob", "author").await;
    let mut settings = provider.settings().to_vec();
    settings.push(("internal.secret", "a secret of the tests"));
    let site = Site::start_with(&database, &settings).await;
    let (ann_s, bob_s) = (("authorization", "Bearer ann"), ("authorization", "Bearer bob"));
    for kind in ContentType::ALL {
        let url = format!("{}/{}", site.content.url, kind.collection());
        let own = send("POST", &url, &[ann_s], &draft("Of Ann")).await.2;
        let item = Item { site: &site, collection: kind.collection(), item: own };
        let (status, _, saved) = item.send("PUT", "/draft", &[ann_s], &draft("Draft")).await;
        assert_eq!(status, 200, "{saved}");
        assert_eq!(saved["draft_state"]["user_id"], ann.as_str());
        assert_eq!(saved["draft_state"]["author"], json!({ "name": "ann" }));
        for (method, end) in
            [("GET", "/draft"), ("PUT", "/draft"), ("DELETE", "/draft"), ("POST", "/publish")]
        {
            let (status, _, answer) = item.send(method, end, &[bob_s], &draft("Of Bob")).await;
            assert_eq!((status, &answer["code"]), (403, &"forbidden".into()), "{method} {end}");
            let body = draft("Of nobody").to_string().into_bytes();
            let (status, _, answer) = send_raw(method, &item.url(end), &[], body).await;
            assert_eq!(status, 401, "{method} {end}: {answer}");
            assert!(!answer.to_string().contains("Draft"), "{answer}");
        }
        let preview =
            json!({ "content_type": kind.as_str(), "id": item.item["id"], "draft": true });
        let previews = format!("{}/preview", site.content.url);
        assert_eq!(send("POST", &previews, &[bob_s], &preview).await.0, 403);
        let link = send("POST", &previews, &[ann_s], &preview).await.2;
        let address = format!("{}{}", site.content.url, link["path"].as_str().unwrap());
        assert_eq!(ask(&address, &[]).await.2["item"]["title"], "Draft");
        let mut plain = preview;
        plain["draft"] = false.into();
        let link = send("POST", &previews, &[bob_s], &plain).await.2;
        let published = format!("{}{}", site.content.url, link["path"].as_str().unwrap());
        assert_eq!(ask(&published, &[]).await.2["item"], item.item);
        assert_eq!(item.send("DELETE", "/draft", &[ann_s], &Value::Null).await.0, 204);
        assert_eq!(ask(&address, &[]).await.2["item"], item.item, "there is none any more");
    }
}

#[tokio::test]
async fn an_item_in_the_trash_keeps_its_draft() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for kind in ContentType::ALL {
        let item = Item::new(&site, kind, json!({})).await;
        let (_, saved) = item.save(&draft("Draft")).await;
        assert_eq!(item.send("DELETE", "", &[], &Value::Null).await.0, 204);
        for (method, end) in
            [("GET", "/draft"), ("PUT", "/draft"), ("DELETE", "/draft"), ("POST", "/publish")]
        {
            assert_eq!(item.send(method, end, &[], &draft("Other")).await.0, 404, "{method} {end}");
        }
        assert_eq!(item.send("POST", "/restore", &[], &Value::Null).await.0, 200);
        let mut read = item.get("/draft").await.2;
        read["updatedDate"] = saved["updatedDate"].clone();
        assert_eq!(read, saved);
        assert_eq!(item.publish(&[]).await.1["title"], "Draft");
    }
}

#[tokio::test]
async fn nothing_of_a_draft_is_told_before_it_is_published() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let mut reader = Reader::start(&site.content).await;
    for kind in ContentType::ALL {
        let collection = kind.collection();
        let here = place(&database, kind, &format!("of-{collection}")).await;
        let item = Item::new(&site, kind, json!({ "section_id": here })).await;
        // Its creation is told.
        reader.until_now(&database).await;
        item.save(&draft("Dropped")).await;
        item.send("DELETE", "/draft", &[], &Value::Null).await;
        item.save(&draft("Published")).await;
        assert_eq!(reader.until_now(&database).await, [] as [Value; 0]);
        let (_, published) = item.publish(&[]).await;
        let told = short(&reader.next(1).await);
        let path = published["path"].as_str().map(str::to_owned);
        assert_eq!(told, [(collection.to_owned(), "updated".to_owned(), path, None)]);
    }
}

#[tokio::test]
async fn a_picture_of_a_draft_is_in_use() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    for kind in ContentType::ALL {
        let item = Item::new(&site, kind, json!({})).await;
        let name = format!("{}.webp", kind.collection());
        let text = format!("<p><img src=\"/uploads/{name}\" alt=\"\"></p>");
        item.save(&json!({ "title": "Draft", "content": text })).await;
        let places = async || {
            let path = format!("/internal/content/media-places?names={name}&limit=20");
            site.content.get(&path).await.1[&name].clone()
        };
        let expected = json!([{
            "content_type": kind.as_str(), "id": item.item["id"], "title": "First", "deleted": false,
        }]);
        assert_eq!(places().await, expected);
        let referenced = content_service::referenced_files(database.database()).await.unwrap();
        assert!(referenced.contains(&name), "{referenced:?}");
        // Of the item and of its draft.
        item.publish(&[]).await;
        item.save(&json!({ "title": "Draft", "content": text })).await;
        assert_eq!(places().await.as_array().map(Vec::len), Some(1));
        let none = json!({ "title": "Draft", "content": "" });
        item.save(&none).await;
        item.publish(&[]).await;
        assert_eq!(places().await, Value::Null);
    }
}

#[tokio::test]
async fn a_draft_keeps_values_of_the_item_whatever_rules_came_after_them() {
    let database = TestDatabase::new().await;
    let odd = doc! {
        "title": "Ü".repeat(300), "content": "<script>old()</script>", "views": 7,
        "section_id": "ffffffffffffffffffffffff",
    };
    let before: Document = with(story("old", day(1)), odd);
    database.insert("stories", [before.clone()]).await;
    let site = Site::start(&database).await;
    let id = before.get_object_id("_id").unwrap();
    let read = site.content.get_as_editor(&format!("/stories/{id}")).await.1;
    let item = Item { site: &site, collection: "stories", item: read.clone() };
    let mut body = read;
    body["description"] = "A sentence.".into();
    let (_, saved) = item.save(&body).await;
    assert_eq!((&saved["title"], &saved["content"]), (&body["title"], &body["content"]));
    let (outcome, published) = item.publish(&[]).await;
    assert_eq!((&*outcome, &published["description"]), ("200", &"A sentence.".into()));
    let after = database.one("stories", doc! { "_id": id }).await;
    for (field, value) in before.iter().filter(|(field, _)| *field != "updatedDate") {
        assert_eq!(after.get(field), Some(value), "{field}");
    }

    // Dates of forms, and tags twice: as they will be stored.
    let mut body = draft("Dates");
    body["date"] = "2026-05-01T09:30".into();
    body["tags"] = json!(["Rust", "rust"]);
    let (_, saved) = item.save(&body).await;
    assert_eq!(saved["date"], "2026-05-01T09:30:00.000Z");
    let (_, published) = item.publish(&[]).await;
    for member in ["title", "content", "date", "tags"] {
        assert_eq!(published[member], saved[member], "{member}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_draft_is_said_when_it_is_saved() {
    let database = TestDatabase::new().await;
    let site = Site::start_with(&database, &[("server.require_if_match", "true")]).await;
    for kind in ContentType::ALL {
        let item = Item::new(&site, kind, json!({})).await;
        let first = [("if-none-match", "*")];
        for (member, value) in [
            ("views", json!(1)),
            ("title", json!("")),
            ("title", json!({ "$gt": "" })),
            ("content", json!("x".repeat(500_001))),
            ("section_id", json!("ffffffffffffffffffffffff")),
            ("createdDate", json!("2999-01-01T00:00:00Z")),
            ("id", json!("ffffffffffffffffffffffff")),
        ] {
            let mut body = draft("Draft");
            body[member] = value;
            let (status, _, answer) = item.send("PUT", "/draft", &first, &body).await;
            assert_eq!((status, &answer["code"]), (422, &"validation_failed".into()), "{member}");
            assert_eq!(answer["errors"][0]["field"], member);
        }
        let title = json!({ "title": "Draft" });
        let (_, _, answer) = item.send("PUT", "/draft", &first, &title).await;
        assert_eq!(answer["errors"][0]["code"], "missing", "{answer}");
        for (method, end) in [("PUT", "/draft"), ("DELETE", "/draft"), ("POST", "/publish")] {
            assert_eq!(item.send(method, end, &[], &draft("Draft")).await.0, 428, "{method}");
        }
        let list = format!("{}/{}", site.content.url, kind.collection());
        for (id, status) in [("ffffffffffffffffffffffff", 404), ("none", 400)] {
            for end in ["draft", "publish"] {
                let method = if end == "draft" { "PUT" } else { "POST" };
                let url = format!("{list}/{id}/{end}");
                let headers = [("if-match", "*")];
                let (answered, _, answer) = send(method, &url, &headers, &draft("Draft")).await;
                assert_eq!(answered, status, "{method} {url}: {answer}");
            }
        }
        assert_eq!(item.send("PUT", "/draft", &first, &draft("Draft")).await.0, 200);
        let present = tag(&item.get("").await.1);
        assert_eq!(item.publish(&[("if-match", &present)]).await.1["title"], "Draft");
    }
}
