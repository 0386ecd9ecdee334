//! Every status of the contract's table, for each family of routes, with all of its body.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gateway::Timeouts;
use mongodb::bson::{doc, oid::ObjectId};
use serde_json::{Value, json};
use test_support::{Answer, Api, Provider, Service, TestDatabase, eventually, settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::front::{Front, Gate};

/// An address without a listener.
const NOWHERE: &str = "http://127.0.0.1:1";

const NOBODY: &str = "ffffffffffffffffffffffff";

const KINDS: [&str; 3] = ["stories", "projects", "pages"];

/// The statuses of `resolve`, which takes no id, no token and no body.
const OF_RESOLVE: [u16; 5] = [404, 422, 502, 503, 504];

/// The statuses of moving content. Failures of others are those of the content itself.
const OF_MOVE: [u16; 6] = [400, 401, 403, 413, 415, 422];

/// The statuses of the other families. 429 is tested with the limits.
const OF_THE_REST: [u16; 14] =
    [400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 500, 502, 503, 504];

/// The answers by status, family and description.
#[derive(Default)]
struct Answers(BTreeMap<u16, BTreeMap<String, Value>>);

impl Answers {
    fn add(&mut self, family: &str, what: &str, status: u16, answer: &Answer) {
        assert_eq!(answer.status, status, "{family}, {what}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/json", "{family}, {what}");
        assert_eq!(answer.body["trace_id"].as_str().map(str::len), Some(32), "{answer:?}");
        let known = self.0.entry(status).or_default();
        let is_new = known.insert(format!("{family}: {what}"), answer.shown()).is_none();
        assert!(is_new, "{family}: {what}");
    }

    fn of(&self, family: &str) -> BTreeSet<u16> {
        let begin = format!("{family}: ");
        let of_family =
            |known: &BTreeMap<String, Value>| known.keys().any(|key| key.starts_with(&begin));
        self.0.iter().filter(|(_, known)| of_family(known)).map(|(status, _)| *status).collect()
    }
}

fn body(family: &str) -> Value {
    match family {
        "sections" => json!({ "title": "Notes", "content_type": "story" }),
        _ => json!({ "title": "A day", "content": "<p>Text</p>" }),
    }
}

/// A server that only answers that it is ready, and may then disconnect.
async fn silent(leaves: bool) -> String {
    async fn answer(mut connection: TcpStream, leaves: bool) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await?);
        }
        if head.starts_with(b"GET /health/ready ") {
            let ready = "{\"status\":\"ready\"}";
            let length = ready.len();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            return connection.write_all(format!("{head}{ready}").as_bytes()).await;
        }
        if leaves { Ok(()) } else { std::future::pending().await }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(answer(connection, leaves));
        }
    });
    url
}

/// Requests that are invalid whatever the state of the site.
async fn mistakes(answers: &mut Answers, api: &Api, family: &str, existing: &str) {
    let list = format!("/{family}");
    let (own, nobody) = (format!("{list}/{existing}"), format!("{list}/{NOBODY}"));
    let body = body(family);
    let (valid, json) = (body.to_string(), [("content-type", "application/json")]);
    let mut odd = body.clone();
    odd["colour"] = "red".into();
    odd["title"] = json!({ "$gt": "" });
    for (what, status, answer) in [
        ("an id that is none", 400, api.call("PATCH", &format!("{list}/x"), json!({})).await),
        ("no JSON", 400, api.send("POST", &list, &json, Some("{".to_owned())).await),
        ("no body", 400, api.send("POST", &list, &json, Some(String::new())).await),
        ("a path with two meanings", 400, api.get(&format!("{list}/%00")).await),
        (
            "an empty token",
            401,
            api.clone().sent_by(Some("")).call("POST", &list, body.clone()).await,
        ),
        ("no token", 401, api.clone().sent_by(None).call("DELETE", &own, Value::Null).await),
        (
            "by a stranger",
            403,
            api.clone().sent_by(Some("stranger")).call("PUT", &own, body.clone()).await,
        ),
        (
            "by an author",
            403,
            api.clone().sent_by(Some("ann")).call("DELETE", &own, Value::Null).await,
        ),
        ("nobody", 404, api.call("PUT", &nobody, body.clone()).await),
        (
            "nobody to restore",
            404,
            api.call("POST", &format!("{nobody}/restore"), Value::Null).await,
        ),
        ("no route", 404, api.get(&format!("{list}/a/b/c/d")).await),
        (
            "another state",
            412,
            api.send("PATCH", &own, &[("if-match", "\"old\"")], Some("{}".to_owned())).await,
        ),
        (
            "another state to delete",
            412,
            api.send("DELETE", &own, &[("if-match", "\"old\"")], None).await,
        ),
        ("too large", 413, api.send("PUT", &own, &json, Some("x".repeat(10_000_000))).await),
        (
            "no JSON type",
            415,
            api.send("POST", &list, &[("content-type", "text/plain")], Some(valid)).await,
        ),
        ("odd members", 422, api.call("POST", &list, odd).await),
        ("an odd parameter", 422, api.get(&format!("{list}?colour=red&limit=0")).await),
    ] {
        answers.add(family, what, status, &answer);
    }
    let key = [("idempotency-key", family)];
    let first = api.send("POST", &list, &key, Some(body.to_string())).await;
    assert_eq!(first.status, 201, "{first:?}");
    let mut other = body;
    other["title"] = "Other".into();
    let again = api.send("POST", &list, &key, Some(other.to_string())).await;
    answers.add(family, "a key of another request", 422, &again);
}

/// Moves of a story that are refused.
async fn moves(answers: &mut Answers, database: &TestDatabase, api: &Api, story: &str) {
    let section = async |slug: &str| {
        let section = database.one("sections", doc! { "slug": slug }).await;
        section.get_object_id("_id").unwrap().to_hex()
    };
    let (blog, about) = (section("blog").await, section("about").await);
    let to = |content: &str, section: &str| json!({ "content_type": "story", "content": { "ids": [content] }, "section_id": section });
    let (path, valid, json) =
        ("/content/move", to(story, &blog), [("content-type", "application/json")]);
    let by = |token: Option<&'static str>| api.clone().sent_by(token);
    let odd =
        json!({ "content_type": "song", "content": { "ids": [{ "$gt": "" }] }, "colour": "red" });
    for (what, status, answer) in [
        ("no JSON", 400, api.send("POST", path, &json, Some("{".to_owned())).await),
        ("no token", 401, by(None).call("POST", path, valid.clone()).await),
        ("by a stranger", 403, by(Some("stranger")).call("POST", path, valid.clone()).await),
        ("by an author", 403, by(Some("ann")).call("POST", path, valid.clone()).await),
        ("nobody", 422, api.call("POST", path, to(NOBODY, &blog)).await),
        ("too large", 413, api.send("POST", path, &json, Some("x".repeat(10_000_000))).await),
        (
            "no JSON type",
            415,
            api.send("POST", path, &[("content-type", "text/plain")], Some(valid.to_string()))
                .await,
        ),
        ("odd members", 422, api.call("POST", path, odd).await),
        ("no such section", 422, api.call("POST", path, to(story, NOBODY)).await),
        ("a section of another type", 422, api.call("POST", path, to(story, &about)).await),
    ] {
        answers.add("move", what, status, &answer);
    }
}

/// Requests that conflict with the state of the site.
async fn conflicts(
    answers: &mut Answers,
    database: &TestDatabase,
    api: &Api,
    own: &BTreeMap<&str, String>,
) {
    let section = &own["sections"];
    let path = format!("/sections/{section}");
    let child = json!({ "title": "Child", "content_type": "story", "parent_id": section });
    let child = api.call("POST", "/sections", child).await.id();
    let taken = json!({ "title": "x", "content_type": "page", "slug": "about" });
    let order = json!({ "ids": [section] });
    for (what, answer) in [
        ("a slug that is taken", api.call("POST", "/sections", taken).await),
        ("sections below", api.call("DELETE", &path, Value::Null).await),
        ("not all siblings", api.call("PUT", "/sections/order", order).await),
    ] {
        answers.add("sections", what, 409, &answer);
    }
    let filled = json!({ "title": "In it", "content": "", "section_id": child });
    let filled = api.call("POST", "/stories", filled).await.id();
    let child = format!("/sections/{child}");
    answers.add("sections", "content in it", 409, &api.call("DELETE", &child, Value::Null).await);
    assert_eq!(api.call("DELETE", &format!("/stories/{filled}"), Value::Null).await.status, 204);
    assert_eq!(api.call("DELETE", &child, Value::Null).await.status, 204);
    assert_eq!(api.call("DELETE", &path, Value::Null).await.status, 204);
    let restored = api.call("POST", &format!("{child}/restore"), Value::Null).await;
    answers.add("sections", "below one in the trash", 409, &restored);
    assert_eq!(api.call("POST", &format!("{path}/restore"), Value::Null).await.status, 200);

    for family in ["stories", "projects"] {
        let id = ObjectId::new();
        let twin = doc! { "_id": id, "title": "", "content": "", "slug": "a-day", "deleted": true };
        database.insert(family, [twin]).await;
        let restored = api.call("POST", &format!("/{family}/{id}/restore"), Value::Null).await;
        answers.add(family, "a slug that is taken by now", 409, &restored);
    }
}

/// A section that cannot be read. Content always can.
async fn unreadable(answers: &mut Answers, database: &TestDatabase, api: &Api) {
    let odd = doc! {
        "_id": "odd", "title": "Odd", "slug": "odd", "is_published": true, "is_deleted": false,
        "content_type": "story",
    };
    database.insert("sections", [odd]).await;
    let section = "/sections/odd?include_drafts=true";
    eventually("the section is known", async || api.get(section).await.status == 500).await;
    answers.add("sections", "unreadable", 500, &api.get(section).await);
}

/// One read and one write of each family.
async fn probe(answers: &mut Answers, api: &Api, what: &str, status: u16, families: &[&str]) {
    for family in families {
        let (reading, writing) = (format!("reading, {what}"), format!("writing, {what}"));
        if *family == "resolve" {
            let answer = api.get("/resolve?path=/blog").await;
            answers.add(family, &reading, status, &answer);
            continue;
        }
        let list = format!("/{family}?include_drafts=true");
        answers.add(family, &reading, status, &api.get(&list).await);
        let answer = api.call("POST", &format!("/{family}"), body(family)).await;
        answers.add(family, &writing, status, &answer);
    }
}

/// Failures of the database, of another service or of the identity provider.
async fn faults(answers: &mut Answers, database: &TestDatabase, provider: &Provider) {
    let all = ["sections", "stories", "projects", "pages", "resolve"];
    let written = &all[..4];
    for (what, status, upstream) in [
        ("the service broke off", 502, silent(true).await),
        ("the service is away", 503, NOWHERE.to_owned()),
        ("the service is silent", 504, silent(false).await),
    ] {
        let response_head = Duration::from_millis(200);
        let timeouts = Timeouts { response_head, ..Timeouts::default() };
        let gate = Gate::start(database, &upstream, &upstream, timeouts).await;
        probe(answers, &gate, what, status, &all).await;
    }

    let mut others = provider.settings();
    others[2].1 = NOWHERE;
    let front = Front::start(database, &others).await;
    let anybody = Api::new(&*front.gate.url).sent_by(Some("admin"));
    probe(answers, &anybody, "the provider is away", 503, written).await;

    let link = database.link().await;
    let uri = format!("{}&serverSelectionTimeoutMS=300", link.mongodb_uri());
    let front = Front::start(database, &[("mongodb.uri", &uri)]).await;
    drop(link);
    // Not through the gateway, which leaves a service alone that is not ready.
    let (sections, content) = (Api::new(&*front.sections.url), Api::new(&*front.content.url));
    let answer = sections.call("POST", "/sections", body("sections")).await;
    answers.add("sections", "writing, the database is away", 503, &answer);
    for kind in KINDS {
        let answer = content.get(&format!("/{kind}?include_drafts=true")).await;
        answers.add(kind, "reading, the database is away", 503, &answer);
        let answer = content.call("DELETE", &format!("/{kind}/{NOBODY}"), Value::Null).await;
        answers.add(kind, "writing, the database is away", 503, &answer);
    }

    // A database in which no sections were ever known.
    let database = TestDatabase::new().await;
    let content = Service::content(&settings(&database, &[("sections.url", NOWHERE)])).await;
    content.wait_for("it is migrated", |all| all[4].is_settled).await;
    let gate = Gate::start(&database, NOWHERE, &content.url, Timeouts::default()).await;
    answers.add("resolve", "sections are away", 503, &gate.get("/resolve?path=/blog").await);
    for kind in KINDS {
        let mut linked = body(kind);
        linked["section_id"] = NOBODY.into();
        let answer = gate.call("POST", &format!("/{kind}"), linked).await;
        answers.add(kind, "sections are away", 503, &answer);
        let answer = gate.get(&format!("/{kind}?section=blog")).await;
        answers.add(kind, "reading, sections are away", 503, &answer);
    }
}

#[tokio::test]
async fn every_status_has_its_body() {
    let database = TestDatabase::new().await;
    let provider = Provider::start();
    for (name, role) in [("admin", "admin"), ("ann", "author")] {
        let email = format!("{name}@example.org");
        database.insert("users", [doc! { "email": email, "name": name, "role": role }]).await;
    }
    let front = Front::start(&database, &provider.settings()).await;
    let admin = Api::new(&*front.gate.url).sent_by(Some("admin"));
    let mut answers = Answers::default();

    let mut own = BTreeMap::new();
    for family in ["sections"].into_iter().chain(KINDS) {
        let created = admin.call("POST", &format!("/{family}"), body(family)).await;
        assert_eq!(created.status, 201, "{created:?}");
        own.insert(family, created.id());
        mistakes(&mut answers, &admin, family, &own[family]).await;
    }
    for (what, status, query) in [
        ("nothing is there", 404, "?path=/nope/x"),
        ("no path", 422, ""),
        ("a relative path", 422, "?path=blog"),
        ("an odd parameter", 422, "?path=/blog&limit=0&colour=red"),
    ] {
        answers.add("resolve", what, status, &admin.get(&format!("/resolve{query}")).await);
    }
    moves(&mut answers, &database, &admin, &own["stories"]).await;
    conflicts(&mut answers, &database, &admin, &own).await;
    unreadable(&mut answers, &database, &admin).await;
    drop(front);
    let strict = [&provider.settings()[..], &[("server.require_if_match", "true")]].concat();
    let strict = Front::start(&database, &strict).await;
    let admin = Api::new(&*strict.gate.url).sent_by(Some("admin"));
    for (family, id) in &own {
        let answer = admin.call("PATCH", &format!("/{family}/{id}"), json!({})).await;
        answers.add(family, "without a state", 428, &answer);
    }
    drop(strict);
    faults(&mut answers, &database, &provider).await;

    assert_eq!(answers.of("sections"), OF_THE_REST.into());
    // Content is answered however it is stored.
    let of_content = OF_THE_REST.into_iter().filter(|status| *status != 500);
    for family in ["stories", "projects"] {
        assert_eq!(answers.of(family), of_content.clone().collect(), "{family}");
    }
    // Pages have no slugs that could be taken.
    assert_eq!(answers.of("pages"), of_content.filter(|status| *status != 409).collect());
    assert_eq!(answers.of("resolve"), OF_RESOLVE.into());
    assert_eq!(answers.of("move"), OF_MOVE.into());
    for (status, answers) in answers.0 {
        insta::assert_json_snapshot!(format!("status_{status}"), answers);
    }
}
