//! The changes of the site as the public may know them: by any program, in any order, and nothing of
//! drafts.

use std::time::{Duration, Instant};

use mongodb::bson::{Bson, DateTime, Document, doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{Api, Service, TestDatabase, settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use crate::support::{Site, content, page, project, section_id, story, with};

/// Everything that is hidden has this in its slug and title.
const SECRET: &str = "secret";

/// One who polls.
pub(crate) struct Reader {
    api: Api,
    cursor: String,
    query: &'static str,
}

impl Reader {
    pub(crate) async fn start(service: &Service) -> Self {
        Self::of(service, "").await
    }

    async fn of(service: &Service, query: &'static str) -> Self {
        let api = Api::new(service.url.clone()).sent_by(None);
        let mut this = Self { api, cursor: String::new(), query };
        assert_eq!(this.poll().await, [] as [Value; 0], "nothing has changed yet");
        this
    }

    async fn poll(&mut self) -> Vec<Value> {
        let path = format!("/changes?cursor={}{}", self.cursor, self.query);
        let answer = self.api.get(&path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.cursor = answer.body["cursor"].as_str().unwrap().to_owned();
        answer.body["changes"].as_array().unwrap().clone()
    }

    /// Polls until there are this many changes, and returns them.
    pub(crate) async fn next(&mut self, count: usize) -> Vec<Value> {
        let (mut all, began) = (Vec::new(), Instant::now());
        while all.len() < count {
            assert!(began.elapsed() < Duration::from_secs(60), "{count} changes: {all:#?}");
            all.extend(self.poll().await);
        }
        all
    }

    /// Returns the changes up to one that is made now, which is not among them.
    pub(crate) async fn until_now(&mut self, database: &TestDatabase) -> Vec<Value> {
        let mark = page("mark");
        let id = mark.get_object_id("_id").unwrap();
        database.insert("pages", [mark]).await;
        let (mut all, began) = (Vec::new(), Instant::now());
        loop {
            all.extend(self.poll().await);
            if let Some(place) = all.iter().position(|change| change["id"] == id.to_hex()) {
                all.truncate(place);
                return all;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "the mark: {all:#?}");
        }
    }
}

/// Returns the members of changes that the tests compare.
pub(crate) fn short(changes: &[Value]) -> Vec<(String, String, Option<String>, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let all = changes.iter().map(|change| {
        let word = |name: &str| change[name].as_str().unwrap_or("anything").to_owned();
        (word("kind"), word("event"), text(&change["path"]), text(&change["previous_path"]))
    });
    all.collect()
}

pub(crate) fn change(
    kind: &str,
    event: &str,
    path: Option<&str>,
    previous: Option<&str>,
) -> (String, String, Option<String>, Option<String>) {
    (kind.to_owned(), event.to_owned(), path.map(str::to_owned), previous.map(str::to_owned))
}

#[tokio::test]
async fn what_editors_do_is_told_with_the_place_before_and_after() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let (sections, api) = (Api::new(site.sections.url.clone()), Api::new(site.content.url.clone()));
    let mut reader = Reader::start(&site.content).await;
    let blog = section_id(&database, "blog").await;
    let news = json!({ "title": "News", "content_type": "story" });
    let news = sections.call("POST", "/sections", news).await.id();
    let told = reader.next(2).await;
    let expected = [
        change("sections", "created", Some("/news"), None),
        change("stories", "changed", Some("/news"), None),
    ];
    assert_eq!(short(&told), expected);
    assert_eq!((&told[0]["id"], &told[1]["section_id"]), (&json!(news), &json!(news)));

    let body = json!({ "title": "One", "content": "<p>Text.</p>", "section_id": blog });
    let created = api.call("POST", "/stories", body).await;
    let id = created.id();
    let path = format!("/stories/{id}");
    let edit = async |body: Value| {
        let answer = api.call("PATCH", &path, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let told = reader.next(1).await;
    assert_eq!(short(&told), [change("stories", "created", Some("/blog/one"), None)]);
    let time = DateTime::parse_rfc3339_str(told[0]["time"].as_str().unwrap()).unwrap();
    let age = DateTime::now().timestamp_millis() - time.timestamp_millis();
    assert!(age.abs() < 60_000, "{told:?}");
    for member in ["id", "section_id", "slug"] {
        let expected = if member == "id" { json!(id) } else { created.body[member].clone() };
        assert_eq!(told[0][member], expected, "{member}");
    }
    edit(json!({ "title": "Two" })).await;
    edit(json!({ "section_id": news })).await;
    edit(json!({ "is_published": false })).await;
    edit(json!({ "title": SECRET })).await;
    edit(json!({ "is_published": true })).await;
    for (method, path, status) in
        [("DELETE", path.clone(), 204), ("POST", format!("{path}/restore"), 200)]
    {
        assert_eq!(api.call(method, &path, json!(null)).await.status, status);
        // One after the other, so that no reader finds a later state at an earlier change.
        reader.api.get("/health").await;
    }
    let told = reader.until_now(&database).await;
    let events: Vec<_> = told.iter().filter(|change| change["id"] == *id).cloned().collect();
    assert_eq!(told.len(), events.len(), "{told:#?}");
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["path"]), (&json!("restored"), &json!("/news/one")));
    assert_eq!(last["slug"], "one");
    assert!(!json!(told).to_string().contains(SECRET), "{told:#?}");
    site.stop().await;
}

#[tokio::test]
async fn each_change_of_a_document_by_another_program_is_told() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let mut reader = Reader::start(&site.content).await;
    let [blog, about] = [section_id(&database, "blog").await, section_id(&database, "about").await];
    let stories = database.collection("stories");
    let item = with(story("one", crate::support::day(1)), doc! { "section_id": &blog });
    let filter = doc! { "_id": item.get("_id").unwrap() };
    let id = item.get_object_id("_id").unwrap().to_hex();
    database.insert("stories", [item.clone()]).await;
    let one = Some("/blog/one");
    assert_eq!(short(&reader.next(1).await), [change("stories", "created", one, None)]);
    let steps: [(Document, _); 8] = [
        (doc! { "$set": { "unknown": 1 } }, change("stories", "updated", one, None)),
        (doc! { "$set": { "slug": "two" } }, change("stories", "moved", Some("/blog/two"), one)),
        (doc! { "$set": { "slug": "one" } }, change("stories", "moved", one, Some("/blog/two"))),
        (
            doc! { "$set": { "is_published": "perhaps" } },
            change("stories", "unpublished", None, one),
        ),
        (doc! { "$set": { "is_published": 1 } }, change("stories", "published", one, None)),
        (doc! { "$unset": { "is_published": 1 } }, change("stories", "unpublished", None, one)),
        (doc! { "$set": { "is_published": true } }, change("stories", "published", one, None)),
        (doc! { "$set": { "deleted": "true" } }, change("stories", "deleted", None, one)),
    ];
    for (update, expected) in steps {
        stories.update_one(filter.clone(), update.clone()).await.unwrap();
        let told = reader.next(1).await;
        assert_eq!(short(&told), [expected], "{update}");
        assert_eq!(told[0]["id"], id);
    }
    stories.replace_one(filter.clone(), item.clone()).await.unwrap();
    assert_eq!(short(&reader.next(1).await), [change("stories", "restored", one, None)]);
    stories.delete_one(filter.clone()).await.unwrap();
    let told = reader.next(1).await;
    assert_eq!(short(&told), [change("stories", "deleted", None, one)]);
    assert_eq!((&told[0]["id"], &told[0]["previous_slug"]), (&json!(id), &json!("one")));

    let other = with(page("about"), doc! { "section_id": &about });
    database.insert("pages", [other]).await;
    assert_eq!(short(&reader.next(1).await), [change("pages", "created", Some("/about"), None)]);
    database.insert("projects", [project("no-section")]).await;
    assert_eq!(short(&reader.next(1).await), [change("projects", "created", None, None)]);
    site.stop().await;
}

#[tokio::test]
async fn nothing_of_drafts_is_told() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let sections = Api::new(site.sections.url.clone());
    let hidden = json!({ "title": SECRET, "content_type": "story", "is_published": false });
    let hidden = sections.call("POST", "/sections", hidden).await.id();
    let mut reader = Reader::start(&site.content).await;
    let blog = section_id(&database, "blog").await;
    let secret = |number: usize| story(&format!("{SECRET}-{number}"), crate::support::day(1));
    let here = |fields: Document| with(doc! { "section_id": &blog }, fields);
    let drafts = [
        here(doc! { "is_published": false }),
        here(doc! { "is_published": Bson::Null, "status": "draft" }),
        here(doc! { "is_published": "perhaps" }),
        here(doc! { "deleted": true }),
        here(doc! { "deleted": [true] }),
        here(doc! { "is_published": [true] }),
        doc! { "section_id": &hidden },
        doc! { "section_id": hidden.to_uppercase() },
        doc! { "section_id": format!(" {hidden}") },
        doc! { "section_id": [&hidden] },
        doc! { "section_id": hidden.parse::<ObjectId>().unwrap() },
    ];
    let stories = database.collection("stories");
    for (number, fields) in drafts.into_iter().enumerate() {
        let draft = with(secret(number), fields);
        let filter = doc! { "_id": draft.get("_id").unwrap() };
        database.insert("stories", [draft.clone()]).await;
        for set in [
            doc! { "title": "Other" },
            doc! { "slug": format!("{SECRET}-other-{number}") },
            doc! { "is_published": false },
            doc! { "section_id": &hidden },
            doc! { "deleted": true },
        ] {
            stories.update_one(filter.clone(), doc! { "$set": set }).await.unwrap();
        }
        let trash = with(draft, doc! { "deleted": true });
        stories.replace_one(filter.clone(), trash).await.unwrap();
        stories.delete_one(filter).await.unwrap();
    }
    // A draft section, its life and its content.
    let path = format!("/sections/{hidden}");
    for body in [json!({ "title": "Other" }), json!({ "slug": format!("{SECRET}-other") })] {
        assert_eq!(sections.call("PATCH", &path, body).await.status, 200);
    }
    let body = json!({ "title": SECRET, "content_type": "story", "parent_id": hidden });
    let below = sections.call("POST", "/sections", body).await.id();
    let trash = doc! { "$set": { "is_deleted": true } };
    for id in [below, hidden] {
        let filter = doc! { "_id": id.parse::<ObjectId>().unwrap() };
        database.collection("sections").update_one(filter, trash.clone()).await.unwrap();
    }
    let told = reader.until_now(&database).await;
    assert_eq!(told, [] as [Value; 0], "{told:#?}");
    site.stop().await;
}

#[tokio::test]
async fn content_disappears_and_appears_with_its_sections() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let (sections, api) = (Api::new(site.sections.url.clone()), Api::new(site.content.url.clone()));
    let blog = section_id(&database, "blog").await;
    let below = json!({ "title": "Below", "content_type": "story", "parent_id": blog });
    let below = sections.call("POST", "/sections", below).await.id();
    let item = with(story("one", crate::support::day(1)), doc! { "section_id": &below });
    let id = item.get_object_id("_id").unwrap().to_hex();
    database.insert("stories", [item]).await;
    let mut reader = Reader::start(&site.content).await;
    let edit_section = async |body: Value| {
        let answer = sections.call("PATCH", &format!("/sections/{blog}"), body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    edit_section(json!({ "slug": "journal" })).await;
    let expected = [
        change("sections", "moved", Some("/journal"), Some("/blog")),
        change("sections", "moved", Some("/journal/below"), Some("/blog/below")),
        change("stories", "changed", Some("/journal"), Some("/blog")),
        change("stories", "changed", Some("/journal/below"), Some("/blog/below")),
    ];
    assert_eq!(short(&reader.next(4).await), expected);

    // An ancestor is hidden, and the content is changed at once: nothing is told of it.
    edit_section(json!({ "is_published": false })).await;
    let body = json!({ "title": SECRET });
    assert_eq!(api.call("PATCH", &format!("/stories/{id}"), body).await.status, 200);
    let told = reader.until_now(&database).await;
    let removed = |path: &str, kind: &str, event: &str| change(kind, event, None, Some(path));
    let expected = [
        removed("/journal", "sections", "unpublished"),
        removed("/journal/below", "sections", "unpublished"),
        removed("/journal", "stories", "changed"),
        removed("/journal/below", "stories", "changed"),
    ];
    assert_eq!(short(&told), expected);
    assert_eq!(told[0]["slug"], Value::Null);
    // It is moved to where everybody sees it.
    let news = json!({ "title": "News", "content_type": "story" });
    let news = sections.call("POST", "/sections", news).await.id();
    let body = json!({ "section_id": news, "title": "One" });
    assert_eq!(api.call("PATCH", &format!("/stories/{id}"), body).await.status, 200);
    let told = reader.until_now(&database).await;
    let of_item = told.iter().filter(|change| change["id"] == *id).cloned().collect::<Vec<_>>();
    assert_eq!(short(&of_item), [change("stories", "published", Some("/news/one"), None)]);
    edit_section(json!({ "is_published": true })).await;
    let told = reader.until_now(&database).await;
    let expected = [
        change("sections", "published", Some("/journal"), None),
        change("sections", "published", Some("/journal/below"), None),
        change("stories", "changed", Some("/journal"), None),
        change("stories", "changed", Some("/journal/below"), None),
    ];
    assert_eq!(short(&told), expected);
    assert!(!json!(told).to_string().contains(SECRET), "{told:#?}");
    site.stop().await;
}

#[tokio::test]
async fn a_flood_is_told_once() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let mut reader = Reader::start(&site.content).await;
    let stories = database.collection("stories");
    let blog = section_id(&database, "blog").await;
    let many = (0..5_000).map(|number| {
        with(story(&format!("many-{number}"), crate::support::day(1)), doc! { "section_id": &blog })
    });
    stories.insert_many(many).await.unwrap();
    database.insert("projects", [project("beside")]).await;
    let mut told = Vec::new();
    while !told.iter().any(|change: &Value| change["kind"] == "stories") {
        told.extend(reader.next(1).await);
    }
    told.extend(reader.until_now(&database).await);
    let of_stories: Vec<_> = told.iter().filter(|change| change["kind"] == "stories").collect();
    assert!((1..20).contains(&of_stories.len()), "{}", of_stories.len());
    assert!(of_stories.iter().any(|change| change["event"] == "changed" && change["id"].is_null()));
    assert!(
        told.iter().any(|change| change["previous_path"].is_null() && change["kind"] == "projects")
    );
    site.stop().await;
}

#[tokio::test]
async fn a_cursor_continues_at_another_replica_and_an_unknown_place_is_anything() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let mut reader = Reader::of(&site.content, "&kind=projects,%20pages").await;
    let early = reader.cursor.clone();
    let other = content(&database, &site.sections.url, &[]).await;
    database.insert("stories", [story("one", crate::support::day(1))]).await;
    database.insert("projects", [project("a")]).await;
    assert_eq!(short(&reader.next(1).await), [change("projects", "created", None, None)]);
    database.insert("projects", [project("b")]).await;
    let api = Api::new(other.url.clone()).sent_by(None);
    let mut elsewhere = Reader { api, cursor: reader.cursor.clone(), query: "" };
    let told = elsewhere.next(1).await;
    let last = told.last().unwrap();
    // The other process does not know what the sections were.
    assert!(last["slug"] == "b" || last["kind"].is_null(), "{told:#?}");
    let told = Reader { cursor: early, ..reader }.next(2).await;
    let slugs: Vec<_> = told.iter().map(|change| change["slug"].clone()).collect();
    assert_eq!(slugs, ["a", "b"]);

    let api = Api::new(site.content.url.clone()).sent_by(None);
    for long_ago in ["1-1", "0-0", "7000000000000000000-1"] {
        let answer = api.get(&format!("/changes?cursor={long_ago}")).await;
        let told = answer.body["changes"].as_array().unwrap().clone();
        assert_eq!(short(&told), [change("anything", "changed", None, None)], "{long_ago}");
    }
    for wrong in ["x", "1", "1-", "1-2-3", "%20", "1-18446744073709551616", "-1-1"] {
        let answer = api.get(&format!("/changes?cursor={wrong}")).await;
        assert_eq!(answer.code(), (422, "validation_failed"), "{wrong}");
        assert_eq!(answer.body["errors"][0]["field"], "cursor");
    }
    for wrong in ["users", "stories,", "", "Stories"] {
        let answer = api.get(&format!("/changes?cursor=&kind={wrong}")).await;
        assert_eq!(answer.code(), (422, "validation_failed"), "{wrong}");
        assert_eq!(answer.body["errors"][0]["field"], "kind");
    }
    other.stop().await.unwrap();
    site.stop().await;
}

#[tokio::test]
async fn changes_during_a_cut_are_told_afterwards() {
    let database = TestDatabase::new().await;
    let sections = Service::sections(&settings(&database, &[])).await;
    sections.migrated().await;
    let link = database.link().await;
    let uri = link.mongodb_uri();
    let service = content(&database, &sections.url, &[("mongodb.uri", &uri)]).await;
    service.migrated().await;
    let mut reader = Reader::start(&service).await;
    link.reset();
    link.cut();
    database.insert("projects", [project("during")]).await;
    link.restore();
    let told = reader.next(1).await;
    assert_eq!((&told[0]["slug"], told.len()), (&json!("during"), 1));
    service.stop().await.unwrap();
    sections.stop().await.unwrap();
}

#[tokio::test]
async fn without_sections_service_and_with_an_earlier_version_of_it_changes_are_told() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let blog = section_id(&database, "blog").await;
    let mut reader = Reader::start(&site.content).await;
    site.sections.stop().await.unwrap();
    let item = with(story("one", crate::support::day(1)), doc! { "section_id": &blog });
    database.insert("stories", [item]).await;
    let told = reader.next(1).await;
    assert_eq!(short(&told), [change("stories", "created", Some("/blog/one"), None)]);
    site.content.stop().await.unwrap();
}

fn client() -> reqwest::Client {
    service_kit::web::http_client::service_client(Duration::from_secs(60)).unwrap()
}

/// Server-sent events, as a browser reads them.
struct Events {
    response: reqwest::Response,
    buffer: String,
}

impl Events {
    async fn open(service: &Service, query: &str, last: Option<&str>) -> Self {
        let request = client().get(format!("{}/changes{query}", service.url));
        let request = request.header("accept", "text/event-stream");
        let request = match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        };
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: String::new() }
    }

    /// Returns the next block of lines, or `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let block = block.to_owned();
                self.buffer = rest.to_owned();
                return Some(block);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.response.chunk());
            let chunk = chunk.await.unwrap().unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Returns the next change and the id of its event.
    async fn next(&mut self) -> Option<(Value, String)> {
        loop {
            let block = self.block().await?;
            let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(data), Some(id)) = (line("data: "), line("id: ")) {
                return Some((serde_json::from_str(data).unwrap(), id.to_owned()));
            }
        }
    }

    /// Waits until it listens, and returns the place.
    async fn begun(&mut self) -> String {
        loop {
            let block = self.block().await.unwrap();
            if let Some(id) = block.lines().find_map(|line| line.strip_prefix("id: ")) {
                return id.to_owned();
            }
        }
    }
}

#[tokio::test]
async fn events_continue_after_the_last_one_and_end_with_the_service() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let mut events = Events::open(&site.content, "", None).await;
    assert_eq!(events.block().await.unwrap(), "retry: 2000");
    let begin = events.begun().await;
    let mut of_pages = Events::open(&site.content, "?kind=pages", None).await;
    of_pages.begun().await;
    database.insert("projects", [project("a")]).await;
    let (first, id) = events.next().await.unwrap();
    assert_eq!((&first["slug"], &first["cursor"]), (&json!("a"), &json!(id)));
    drop(events);
    database.insert("projects", [project("b")]).await;
    database.insert("pages", [page("about")]).await;
    for (query, last, expected) in [
        ("", Some(id.as_str()), vec!["b", "about"]),
        ("", Some(begin.as_str()), vec!["a", "b", "about"]),
        (&*format!("?cursor={begin}&kind=pages"), None, vec!["about"]),
        // The header is newer than the address, which stays the same when a browser connects again.
        (&*format!("?cursor={begin}"), Some(id.as_str()), vec!["b", "about"]),
    ] {
        let mut events = Events::open(&site.content, query, last).await;
        for slug in expected {
            assert_eq!(events.next().await.unwrap().0["slug"], slug, "{query} {last:?}");
        }
    }
    assert_eq!(of_pages.next().await.unwrap().0["slug"], "about");
    let client = client();
    let url = format!("{}/changes", site.content.url);
    let wrong = client.get(&url).header("last-event-id", "x").send().await.unwrap();
    assert_eq!(wrong.status(), 422);
    let head = client.head(&url).header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.text().await.unwrap()), (200, String::new()));
    site.content.stop().await.unwrap();
    while of_pages.next().await.is_some() {}
    site.sections.stop().await.unwrap();
}

#[tokio::test]
async fn a_listener_that_does_not_read_is_cut_and_others_are_not_delayed() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let blog = section_id(&database, "blog").await;
    let address = site.content.url.trim_start_matches("http://").to_owned();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut idle = socket.connect(address.parse().unwrap()).await.unwrap();
    let request = "GET /changes HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\
                   connection: close\r\n\r\n";
    idle.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let mut reader = Reader::start(&site.content).await;
    // More than fits into the buffers of the connection and those of the process, at a rate at which each
    // change is told.
    let (count, batch) = (2_400, 40);
    for number in 0..count / batch {
        let stories = (0..batch).map(|place| {
            let slug = format!("{}-{number}-{place}", "x".repeat(1_900));
            with(story(&slug, crate::support::day(1)), doc! { "section_id": &blog })
        });
        database.collection("stories").insert_many(stories).await.unwrap();
        assert!(!reader.next(1).await.is_empty());
    }
    // What was sent before is read, and then the answer ends.
    let mut all = Vec::new();
    let read = idle.read_to_end(&mut all);
    tokio::time::timeout(Duration::from_secs(60), read).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&all).matches("\"event\":\"created\"").count();
    assert!((1..count).contains(&told), "{told}");
    site.stop().await;
}

#[tokio::test]
async fn redirects_and_facts_of_the_site_are_told_without_what_they_say() {
    let database = TestDatabase::new().await;
    let site = Site::start(&database).await;
    let api = Api::new(site.content.url.clone());
    let mut reader = Reader::start(&site.content).await;
    let mut some = Reader::of(&site.content, "&kind=pages,redirects").await;
    let redirect = json!({ "from": format!("/{SECRET}"), "to": { "address": "/blog" } });
    let answer = api.call("POST", "/redirects", redirect).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let redirects = change("redirects", "changed", None, None);
    let told = reader.next(1).await;
    assert_eq!(short(&told), std::slice::from_ref(&redirects));
    assert_eq!(told[0]["id"], Value::Null);
    // By another program, a hundred at once.
    let now = DateTime::now();
    let others: [_; 100] = std::array::from_fn(|number| {
        let to = doc! { "address": "/blog" };
        doc! { "_id": format!("/{number}"), "to": to, "status": 301, "createdDate": now, "updatedDate": now }
    });
    database.insert("content_redirects", others).await;
    assert_eq!(short(&reader.next(1).await)[0], redirects);
    let told = reader.until_now(&database).await;
    assert!(short(&told).iter().all(|one| *one == redirects), "{told:#?}");
    let answer = api.call("PATCH", "/site", json!({ "title": SECRET })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = reader.next(1).await;
    let anything = change("anything", "changed", None, None);
    assert_eq!(short(&told), std::slice::from_ref(&anything), "{told:#?}");
    let told = some.until_now(&database).await;
    let told = short(&told);
    assert_eq!((told.first(), told.last()), (Some(&redirects), Some(&anything)));
    assert!(!json!(told).to_string().contains(SECRET), "{told:#?}");
    site.stop().await;
}
