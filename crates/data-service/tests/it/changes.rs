//! The changes that services report, and the headers of their answers.

use std::{collections::HashSet, time::Duration};

use futures_util::StreamExt;
use models::changes::{FeedMessage, Revision};
use mongodb::bson::{doc, oid::ObjectId};
use serde_json::json;
use service_kit::web::changes::{REVISIONS, Revisions, SURROGATE_KEY};
use test_support::{Answer, Api, Service, TestDatabase, eventually, settings};
use tokio::time::timeout;

/// The longest wait for a message.
const DEADLINE: Duration = Duration::from_secs(60);

/// A connection to the feed of a service.
struct Feed {
    response: futures_util::stream::BoxStream<'static, reqwest::Result<Vec<u8>>>,
    unread: String,
}

impl Feed {
    async fn open(service: &Service, last: Option<&str>) -> Self {
        let client = service_kit::web::http_client::service_client(DEADLINE).unwrap();
        Self::open_with(&client, service, last).await
    }

    async fn open_with(client: &reqwest::Client, service: &Service, last: Option<&str>) -> Self {
        let mut request = client.get(format!("{}/internal/changes", service.url));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let bytes = response.bytes_stream().map(|bytes| bytes.map(|bytes| bytes.to_vec()));
        Self { response: bytes.boxed(), unread: String::new() }
    }

    /// Returns the next message with its id, or `None` at the end.
    async fn next(&mut self) -> Option<(String, FeedMessage)> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let (id, data) = event.split_once('\n').unwrap();
                let id = id.strip_prefix("id: ").unwrap().to_owned();
                let message = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                self.unread = rest.to_owned();
                return Some((id, message));
            }
            let bytes = timeout(DEADLINE, self.response.next()).await.unwrap()?;
            self.unread.push_str(std::str::from_utf8(&bytes.ok()?).unwrap());
        }
    }

    /// Returns the keys of all changes until a revision is confirmed.
    async fn keys_until(&mut self, revision: Revision) -> HashSet<String> {
        let mut all = HashSet::new();
        loop {
            match self.next().await.unwrap().1 {
                FeedMessage::Changed { keys, .. } => all.extend(keys),
                FeedMessage::Watermark { revision: confirmed, age_ms } => {
                    assert!(age_ms < 100, "{age_ms}");
                    if confirmed >= revision {
                        return all;
                    }
                }
                FeedMessage::Hello { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The families of keys of content-service.
const CONTENT_FAMILIES: [&str; 7] =
    ["content_site", "pages", "projects", "redirects", "search", "stories", "users"];

fn story(title: &str) -> serde_json::Value {
    json!({ "title": title, "content": "<p>Text.</p>" })
}

fn revisions(answer: &Answer) -> Revisions {
    answer.header(REVISIONS).parse().unwrap()
}

/// Returns the keys of an answer, without those of slugs with a slash, which are looked up too.
fn keys(answer: &Answer) -> HashSet<String> {
    let keys = answer.header(SURROGATE_KEY).split(' ').filter(|key| !key.contains("%2F"));
    keys.map(str::to_owned).collect()
}

fn set<const N: usize>(keys: [&str; N]) -> HashSet<String> {
    keys.map(str::to_owned).into()
}

/// Waits until both services send the headers.
async fn heard(sections: &Service, content: &Service) {
    for path in [(&sections.url, "/sections"), (&content.url, "/stories")] {
        let api = Api::new(path.0.clone()).sent_by(None);
        eventually("the answer says what it depends on", async || {
            let headers = api.get(path.1).await.headers;
            headers.get(REVISIONS).is_some_and(|value| {
                let text = value.to_str().unwrap();
                text.contains("sections=") && (path.1 == "/sections" || text.contains("content="))
            })
        })
        .await;
    }
}

#[tokio::test]
async fn changes_are_sent_whoever_makes_them() {
    let database = TestDatabase::new().await;
    let (sections, content) = Service::both(&database).await;
    heard(&sections, &content).await;
    let mut of_content = Feed::open(&content, None).await;
    let mut of_sections = Feed::open(&sections, None).await;
    let (_, hello) = of_content.next().await.unwrap();
    let FeedMessage::Hello { service, families, .. } = hello else { panic!("{hello:?}") };
    assert_eq!((&*service, families.into_iter().collect()), ("content", set(CONTENT_FAMILIES)));
    let api = Api::new(content.url.clone());
    let story = json!({ "title": "First light", "content": "<p>Text.</p>" });
    let created = api.call("POST", "/stories", story).await;
    let id = created.id();
    let told = keys(&created);
    let expected = set([
        "stories",
        &format!("stories/{id}"),
        "stories/slug/first-light",
        "stories/listed",
        "stories/listed/section",
    ]);
    assert_eq!(told, expected);
    let heard = of_content.keys_until(revisions(&created).content.unwrap()).await;
    assert!(told.is_subset(&heard), "{heard:?}");
    // As another program does it.
    let filter = doc! { "_id": id.parse::<ObjectId>().unwrap() };
    let hide = doc! { "$set": { "is_published": false } };
    database.collection("stories").update_one(filter, hide).await.unwrap();
    let text = doc! { "$set": { "title": "Home" } };
    database.collection("sections").update_one(doc! { "slug": "blog" }, text).await.unwrap();
    let renamed = json!({ "slug": "journal" });
    let about = Api::new(sections.url.clone()).get("/sections/slug/about").await.id();
    let renamed =
        Api::new(sections.url.clone()).call("PATCH", &format!("/sections/{about}"), renamed).await;
    assert_eq!((renamed.status, keys(&renamed)), (200, set(["sections"])));
    let now = revisions(&renamed).sections.unwrap();
    assert_eq!(of_sections.keys_until(now).await, set(["sections"]));
    let heard = of_content.keys_until(now).await;
    assert!(heard.contains("stories/slug") && heard.contains(&format!("stories/{id}")));
}

#[tokio::test]
async fn a_listener_gets_the_changes_that_it_missed_or_hears_that_it_missed_some() {
    let database = TestDatabase::new().await;
    let (sections, content) = Service::both(&database).await;
    heard(&sections, &content).await;
    let api = Api::new(content.url.clone());
    let create = async |title: &str| {
        let created = api.call("POST", "/stories", story(title)).await;
        revisions(&created).content.unwrap()
    };
    let first = create("one").await;
    let mut feed = Feed::open(&content, None).await;
    feed.keys_until(first).await;
    drop(feed);
    let second = create("two").await;
    for (last, is_complete) in
        [(first.to_string(), true), (second.to_string(), true), ("1".to_owned(), false)]
    {
        let mut feed = Feed::open(&content, Some(&last)).await;
        let (_, hello) = feed.next().await.unwrap();
        assert!(matches!(hello, FeedMessage::Hello { .. }), "{hello:?}");
        if is_complete {
            let heard = feed.keys_until(second).await;
            assert!(heard.contains("stories/slug/two"), "{last}");
        } else {
            let (_, reset) = feed.next().await.unwrap();
            let FeedMessage::Reset { families, revision } = reset else { panic!("{reset:?}") };
            assert_eq!(families.into_iter().collect::<HashSet<_>>(), set(CONTENT_FAMILIES));
            assert!(revision >= second);
        }
    }
    // It makes no sense: as for a new listener.
    let mut feed = Feed::open(&content, Some("yesterday")).await;
    feed.keys_until(second).await;
}

#[tokio::test]
async fn a_feed_ends_when_its_service_stops() {
    let database = TestDatabase::new().await;
    let sections = Service::sections(&settings(&database, &[])).await;
    sections.migrated().await;
    let mut feed = Feed::open(&sections, None).await;
    feed.next().await.unwrap();
    let stopping = tokio::spawn(sections.stop());
    while feed.next().await.is_some() {}
    stopping.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_number_of_listeners_is_bounded() {
    let database = TestDatabase::new().await;
    let sections = Service::sections(&settings(&database, &[])).await;
    let client = service_kit::web::http_client::service_client(DEADLINE).unwrap();
    let mut feeds = Vec::new();
    for _ in 0..64 {
        feeds.push(Feed::open_with(&client, &sections, None).await);
    }
    let url = format!("{}/internal/changes", sections.url);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 503);
    feeds.pop();
    eventually("there is a place again", async || {
        client.get(&url).send().await.unwrap().status() == 200
    })
    .await;
}

#[tokio::test]
async fn answers_say_what_they_depend_on() {
    let database = TestDatabase::new().await;
    let (sections, content) = Service::both(&database).await;
    heard(&sections, &content).await;
    let editor = Api::new(content.url.clone());
    let story = editor.call("POST", "/stories", story("A")).await;
    let id = format!("stories/{}", story.id());
    let lookup = |slug: &str| ["stories/slug".to_owned(), format!("stories/slug/{slug}")];
    let of = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<HashSet<_>>();
    let found: HashSet<_> =
        lookup("a").into_iter().chain(of(&["sections", "users", &id])).collect();
    let with_neighbours = &found | &of(&["stories/listed/section"]);
    let missed: HashSet<_> = lookup("b").into_iter().chain(of(&["sections", "users"])).collect();
    let reader = Api::new(content.url.clone()).sent_by(None);
    for (path, status, expected) in [
        ("/stories", 200, of(&["stories", "sections", "users"])),
        ("/stories?section=blog", 200, of(&["stories", "sections", "users"])),
        ("/stories/slug/a", 200, found.clone()),
        ("/stories/slug/b", 404, missed),
        ("/pages/type/b", 404, of(&["pages", "pages/type", "pages/type/b", "sections", "users"])),
        ("/resolve?path=/blog", 200, of(&["stories", "sections", "users"])),
        ("/resolve?path=/blog/a", 200, with_neighbours),
    ] {
        let answer = reader.get(path).await;
        assert_eq!((answer.status, keys(&answer)), (status, expected), "{path}");
        let now = revisions(&answer);
        assert!(now.content >= revisions(&story).content && now.sections.is_some(), "{path}");
        // The confirmation of an answer says the same.
        let tag = answer.header("etag").to_owned();
        for _ in 0..3 {
            if status == 200 {
                let again = reader.send("GET", path, &[("if-none-match", &tag)], None).await;
                assert_eq!((again.status, keys(&again)), (304, keys(&answer)), "{path}");
                assert!(revisions(&again).content >= now.content, "{path}");
            }
        }
    }
    // An item of another section is found by its slug, and where it is now.
    let moved = reader.get("/resolve?path=/projects/x/a").await;
    assert_eq!(moved.body["kind"], "moved");
    assert!(keys(&moved).is_superset(&of(&["stories/slug/a", &id, "sections"])), "{moved:?}");
    let of_sections = Api::new(sections.url.clone()).sent_by(None);
    for (path, status) in [
        ("/sections", 200),
        ("/sections/tree", 200),
        ("/sections/slug/blog", 200),
        ("/sections/slug/nothing", 404),
        ("/internal/sections", 200),
    ] {
        let answer = of_sections.get(path).await;
        assert_eq!((answer.status, keys(&answer)), (status, of(&["sections"])), "{path}");
        let now = revisions(&answer);
        assert!(now.sections.is_some() && now.content.is_none());
    }
    // Refusals of input depend on nothing.
    for path in ["/stories?limit=0", "/unknown", "/resolve?path=x"] {
        assert_eq!(reader.get(path).await.header(SURROGATE_KEY), "", "{path}");
    }
}

#[tokio::test]
async fn a_write_says_which_fields_matter_to_whom() {
    let database = TestDatabase::new().await;
    let (sections, content) = Service::both(&database).await;
    heard(&sections, &content).await;
    let api = Api::new(content.url.clone());
    let id = api.call("POST", "/stories", story("A")).await.id();
    let (path, key) = (format!("/stories/{id}"), format!("stories/{id}"));
    let text = api.call("PATCH", &path, json!({ "content": "<p>New.</p>" })).await;
    assert_eq!(keys(&text), set(["stories", &key]));
    let same = api.call("PATCH", &path, json!({ "content": "<p>New.</p>" })).await;
    assert_eq!((same.status, same.header(SURROGATE_KEY)), (200, ""));
    let hidden = api.call("PATCH", &path, json!({ "is_published": false })).await;
    let all = set(["stories", &key, "stories/slug", "stories/listed", "stories/listed/section"]);
    assert_eq!(keys(&hidden), all);
    assert_eq!(keys(&api.call("DELETE", &path, json!(null)).await), all);
    assert_eq!(keys(&api.call("POST", &format!("{path}/restore"), json!(null)).await), all);
    let refused = api.call("PATCH", &path, json!({ "unknown": 1 })).await;
    assert_eq!((refused.status, refused.header(SURROGATE_KEY)), (422, ""));
}

#[tokio::test]
async fn a_replica_that_is_behind_reads_what_its_caller_knows() {
    let database = TestDatabase::new().await;
    let (sections, content) = Service::both(&database).await;
    let link = database.link().await;
    let uri = link.mongodb_uri();
    let others = [("mongodb.uri", &*uri), ("sections.url", &*sections.url)];
    let behind = Service::content(&settings(&database, &others)).await;
    behind.migrated().await;
    heard(&sections, &behind).await;
    heard(&sections, &content).await;
    let (editor, reader) = (Api::new(content.url.clone()), Api::new(behind.url.clone()));
    let reader = reader.sent_by(None);
    for number in 1..=20 {
        let title = format!("Story {number}");
        let created = editor.call("POST", "/stories", story(&title)).await;
        let known = created.header(REVISIONS).to_owned();
        let list = reader.send("GET", "/stories", &[(REVISIONS, &known)], None).await;
        assert_eq!(
            (&list.body["total"], &list.body["items"][0]["title"]),
            (&json!(number), &json!(title))
        );
    }
    // A state that no database has reached is not waited for, and does not harm.
    let future = format!("content={}", u64::MAX);
    for known in [&*future, "content=", "nonsense", "sections=5"] {
        let list = reader.send("GET", "/stories", &[(REVISIONS, known)], None).await;
        assert_eq!((list.status, &list.body["total"]), (200, &json!(20)), "{known}");
    }
    heard(&sections, &behind).await;
}

#[tokio::test]
async fn without_a_database_nothing_is_promised() {
    let database = TestDatabase::new().await;
    let link = database.link().await;
    let uri = link.mongodb_uri();
    let sections = Service::sections(&settings(&database, &[("mongodb.uri", &uri)])).await;
    sections.migrated().await;
    let reader = Api::new(sections.url.clone()).sent_by(None);
    let has_headers = async || !reader.get("/sections").await.header(REVISIONS).is_empty();
    eventually("changes are heard", has_headers).await;
    link.cut();
    eventually("changes are not heard", async || !has_headers().await).await;
    assert_eq!(reader.get("/sections").await.status, 200);
    link.restore();
    eventually("changes are heard again", has_headers).await;
}
