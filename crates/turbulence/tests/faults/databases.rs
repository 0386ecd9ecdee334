//! Sites that serve requests while a process is killed, a clock is wrong or the database is unavailable.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use local_mongod::{DataDir, LocalMongod, Options, ReplicaSet};
use mongodb::{
    Client,
    bson::{DateTime, Document, doc},
};
use serde_json::json;
use test_support::{Answer, Api, Link, TOKEN, eventually, skewed_clock};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    accounts::{Tally, is_long_run, rounds},
    servers::{FailPoints, own_mongod},
    sites::{Site, slowly, stories},
    support::Turbulence,
    traffic::{Clients, Traffic},
};

/// The longest time that a request waits for the database, and the same with some time for a busy
/// machine.
const MAX_WAIT: Duration = Duration::from_secs(5);
const MAX_WAIT_OF_SHORT_RUN: Duration = Duration::from_secs(7);

fn max_wait() -> Duration {
    if is_long_run() { MAX_WAIT } else { MAX_WAIT_OF_SHORT_RUN }
}

/// A running site.
struct Replica {
    process: Turbulence,
    api: Api,
}

impl Replica {
    /// Starts `turbulence up` at an address of the site's database.
    async fn start(site: &Site, uri: &str, environment: &[(&'static str, String)]) -> Self {
        let mut command = site.command_at(uri, &["up", "--port", "0"]);
        command.env("TURBULENCE__AUTH__STATIC_TOKEN", TOKEN);
        // All requests reach the services.
        command.env("TURBULENCE__CACHE__MAX_BYTES", "0");
        command.envs(environment.iter().map(|(name, value)| (*name, value)));
        let process = Turbulence::spawn(command);
        let address = process.ready().await.address;
        Self { process, api: Api::new(address) }
    }

    async fn post(&self, path: &str, key: &str, body: serde_json::Value) -> Answer {
        let headers = [("idempotency-key", key)];
        self.api.send("POST", path, &headers, Some(body.to_string())).await
    }
}

fn new_section(title: &str) -> serde_json::Value {
    json!({ "title": title, "content_type": "story" })
}

/// Runs a request and adds it to the traffic. A request with another status has failed.
async fn timed(status: u16, request: impl Future<Output = Answer>) -> (Traffic, Answer) {
    let began = Instant::now();
    let answer = request.await;
    let failed = u64::from(answer.status != status);
    if failed > 0 {
        eprintln!("not {status}: {answer:?}");
    }
    (Traffic { requests: 1, failed, longest_gap: began.elapsed() }, answer)
}

/// The requests in the middle of which a process is killed: the collection that it writes to, and the
/// requests of others that would wait for its locks.
#[derive(Debug, Clone, Copy)]
enum Killed {
    WhileItAddsAStory,
    WhileItChangesASection,
}

/// Returns `true` if a transaction with locks waits for its client.
async fn has_open_transaction(mongod: &LocalMongod) -> bool {
    let admin = Client::with_uri_str(mongod.uri()).await.unwrap().database("admin");
    let open = doc! { "transaction": { "$exists": true }, "active": false };
    let pipeline = [doc! { "$currentOp": { "idleSessions": true } }, doc! { "$match": open }];
    let mut found = admin.aggregate(pipeline).await.unwrap();
    found.advance().await.unwrap()
}

async fn kill(killed: Killed) -> Tally {
    let mongod = own_mongod().await;
    let site = Site::on(mongod.uri()).await;
    let link = Link::to(format!("127.0.0.1:{}", mongod.port())).await;
    let uri = format!("{}&appName=victim", link.mongodb_uri());
    let victim = Replica::start(&site, &uri, &[]).await;
    let survivor = Replica::start(&site, &site.uri, &[]).await;
    let [first, second] = ["First", "Second"].map(new_section);
    let section = survivor.post("/sections", "section", first).await;
    assert_eq!(section.status, 201, "{section:?}");

    // The victim has written, but does not learn of it, and is killed before it can commit.
    let fail_points = FailPoints::of(mongod.port()).await;
    let (command, collection) = match killed {
        Killed::WhileItAddsAStory => ("insert", "stories"),
        Killed::WhileItChangesASection => ("update", "sections"),
    };
    let namespace = format!("{}.{collection}", site.database.name());
    let held = doc! {
        "failCommands": [command], "namespace": namespace, "appName": "victim",
        "blockConnection": true, "blockTimeMS": 500,
    };
    let times = fail_points.fail(doc! { "times": 1 }, held).await + 1;
    let api = victim.api.clone();
    let story = json!({ "title": "Once", "content": "<p>Text.</p>" });
    let (body, path) = match killed {
        Killed::WhileItAddsAStory => (story.clone(), "/stories".to_owned()),
        Killed::WhileItChangesASection => {
            (json!({ "title": "Lost" }), format!("/sections/{}", section.id()))
        }
    };
    let method = if matches!(killed, Killed::WhileItAddsAStory) { "POST" } else { "PATCH" };
    let unanswered = tokio::spawn(async move {
        let headers = [("idempotency-key", "once")];
        api.send(method, &path, &headers, Some(body.to_string())).await
    });
    fail_points.reached("failCommand", times).await;
    link.cut();
    eventually("its transaction waits", async || has_open_transaction(&mongod).await).await;
    victim.process.signal("KILL");
    unanswered.abort();

    let mut traffic = Traffic::default();
    let (lost, doubled) = match killed {
        Killed::WhileItAddsAStory => {
            let (again, same_title) = (
                survivor.post("/stories", "once", story.clone()),
                survivor.post("/stories", "other", story.clone()),
            );
            let other =
                survivor.post("/stories", "third", json!({ "title": "Other", "content": "" }));
            let all = tokio::join!(timed(201, again), timed(201, same_title), timed(201, other));
            let answers = [all.0, all.1, all.2].map(|(one, answer)| {
                traffic += one;
                answer
            });
            let again = survivor.post("/stories", "once", story).await;
            assert_eq!(again.id(), answers[0].id());
            let found = site.count("stories", doc! { "title": "Once" }).await;
            ((2 - found).max(0), (found - 2).max(0))
        }
        Killed::WhileItChangesASection => {
            let path = format!("/sections/{}", section.id());
            let rename = survivor.api.call("PATCH", &path, json!({ "title": "Renamed" }));
            let add = survivor.post("/sections", "second", second);
            let (rename, add) = tokio::join!(timed(200, rename), timed(201, add));
            traffic += rename.0;
            traffic += add.0;
            let renamed = site.count("sections", doc! { "title": "Renamed" }).await;
            let added = site.count("sections", doc! { "title": "Second" }).await;
            ((2 - renamed - added).max(0), (added - 1).max(0))
        }
    };
    // The registration of the killed process is removed with its locks, and the survivor's when it is
    // idle.
    eventually("no process is registered", async || {
        site.count(mongo_kit::WRITERS, doc! {}).await == 0
    })
    .await;
    Tally::round(lost, doubled).with_traffic(traffic)
}

pub(crate) async fn the_locks_of_a_killed_process_are_released() -> Tally {
    let mut tally = Tally::default();
    for _ in rounds(1) {
        tally += kill(Killed::WhileItAddsAStory).await;
        tally += kill(Killed::WhileItChangesASection).await;
    }
    tally
}

/// Duration of a lease that still holds when a request would have been given up.
const LONG_LEASE: Duration = Duration::from_secs(15);

pub(crate) async fn the_locks_of_a_killed_migration_are_released() -> Tally {
    let count = 300;
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = Site::new().await.with_lease(LONG_LEASE);
        let survivor = Replica::start(&site, &site.uri, &[]).await;
        site.collection("stories").insert_many(stories(0..count)).await.unwrap();
        let held = site.start_held(&slowly("400"), "transaction_before_commit", 3);
        held.logged("\"failpoint\":").await;
        let unlinked = doc! { "section_id": { "$exists": false } };
        let locked = site.collection("stories").find_one(unlinked).sort(doc! { "_id": 1 }).await;
        let locked = locked.unwrap().unwrap().get_object_id("_id").unwrap();
        held.signal("KILL");
        held.ended().await;

        let path = format!("/stories/{locked}");
        let save = survivor.api.call("PATCH", &path, json!({ "title": "Saved" }));
        let (traffic, _) = timed(200, save).await;
        // No successor has ended the transaction.
        let holder = site.holder().await.unwrap();
        assert!(holder.remaining_ms > 0, "{holder:?}");
        let saved = site.count("stories", doc! { "_id": locked, "title": "Saved" }).await;
        site.run(&slowly("4000")).await.success();
        let linked = site.account(count.into()).await;
        tally += linked.beside(Tally::counted(1, saved)).with_traffic(traffic);
    }
    tally
}

/// Starts a site with some stories on a replica set.
async fn site_on(set: &ReplicaSet) -> (Site, Replica) {
    let site = Site::on(set.uri()).await;
    site.collection("stories").insert_many(stories(0..20)).await.unwrap();
    let replica = Replica::start(&site, &site.uri, &[]).await;
    for path in ["/sections", "/stories"] {
        assert_eq!(replica.api.get(path).await.status, 200);
    }
    (site, replica)
}

/// Paths that are answered without the database, and others for which it is read.
const FROM_MEMORY: [&str; 2] = ["/sections", "/sections/slug/blog"];
const FROM_DATABASE: [&str; 3] = ["/stories", "/stories/slug/story-1", "/resolve?path=/blog"];

/// Starts clients that read a path. A request that waits longer than any may fails the test.
fn readers(count: usize, api: &Api, path: &'static str) -> Clients {
    let api = api.clone();
    Clients::start(count, move || {
        let api = api.clone();
        async move {
            let began = Instant::now();
            let answer = api.get(path).await;
            assert!(began.elapsed() < max_wait(), "{path}: {:?} for {answer:?}", began.elapsed());
            assert!(matches!(answer.status, 200 | 503), "{path}: {answer:?}");
            answer.status == 200
        }
    })
}

/// Stops clients after one round of a fault.
async fn stop(readers: impl IntoIterator<Item = Clients>) -> Tally {
    let mut tally = Tally::round(0, 0);
    for readers in readers {
        tally.traffic += readers.stop().await;
    }
    tally
}

pub(crate) async fn while_the_primary_is_frozen_no_request_waits_longer_than_the_limit() -> Tally {
    let mut set = ReplicaSet::start(3, vec![]).await.unwrap();
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let (_site, replica) = site_on(&set).await;
        let paths = FROM_DATABASE.iter().chain(&FROM_MEMORY);
        let readers: Vec<_> = paths.map(|path| readers(2, &replica.api, path)).collect();
        let primary = set.primary().await.unwrap();
        set.signal(primary, "STOP").unwrap();
        eventually("stories are read from the new primary", async || {
            replica.api.get("/stories").await.status == 200
        })
        .await;
        tally += stop(readers).await;
        set.signal(primary, "CONT").unwrap();
    }
    tally
}

pub(crate) async fn without_a_primary_sections_are_answered_from_memory() -> Tally {
    let mut set = ReplicaSet::start(3, vec![]).await.unwrap();
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let (_site, replica) = site_on(&set).await;
        let api = &replica.api;
        let readers = FROM_MEMORY.map(|path| readers(1, api, path));
        let primary = set.primary().await.unwrap();
        let secondary = set.ports().into_iter().find(|port| *port != primary).unwrap();
        let killed = [primary, secondary];
        for port in killed {
            set.kill(port).await.unwrap();
        }
        eventually("the primary is missed", async || api.get("/health/ready").await.status == 503)
            .await;
        // For as long as the driver looks for a primary, twice.
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(6) {
            assert_eq!(api.get("/health/ready").await.status, 503);
        }
        for port in killed {
            set.restart(port).await.unwrap();
        }
        eventually("it is ready again", async || api.get("/health/ready").await.status == 200)
            .await;
        tally += stop(readers).await;
    }
    tally
}

/// Sends requests to a service on connections of their own, waits until they have reached the slow
/// database, and resets the connections.
async fn tear_off(count: usize, service: &str, fail_points: &FailPoints, held: &Document) {
    let times = fail_points.fail("alwaysOn", held.clone()).await;
    let address = service.trim_start_matches("http://");
    let connections = (0..count).map(async |number| {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /stories/slug/none-{number} HTTP/1.1\r\nhost: h\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        connection
    });
    let connections = join_all(connections).await;
    fail_points.reached("failCommand", times + 50).await;
    for connection in connections {
        connection.set_zero_linger().unwrap();
    }
    fail_points.heal().await;
}

pub(crate) async fn requests_that_are_torn_off_leave_no_work_behind() -> Tally {
    let mongod = own_mongod().await;
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let site = Site::on(mongod.uri()).await;
        site.collection("stories").insert_many(stories(0..20)).await.unwrap();
        let mut command = site.folder.command(&["content", "--port", "0"]);
        command
            .env("TURBULENCE__MONGODB__URI", format!("{}&appName=torn", mongod.uri()))
            .env("TURBULENCE__MONGODB__DATABASE", site.database.name())
            // No service listens there.
            .env("TURBULENCE__SECTIONS__URL", "http://127.0.0.1:1");
        let process = Turbulence::spawn(command);
        let service = process.listens().await;
        let api = Api::new(&*service).sent_by(None);
        eventually("it is ready", async || api.get("/health/ready").await.status == 200).await;
        let fail_points = FailPoints::of(mongod.port()).await;
        let held = doc! {
            "failCommands": ["find", "aggregate", "getMore"], "appName": "torn",
            "namespace": format!("{}.stories", site.database.name()),
            "blockConnection": true, "blockTimeMS": 1_000,
        };
        for count in [100, 300, 600] {
            tear_off(count, &service, &fail_points, &held).await;
            for path in ["/health/live", "/stories", "/stories/slug/story-1"] {
                let began = Instant::now();
                // The requests that were torn off keep their places until they end.
                eventually("it is answered", async || {
                    let answer = api.get(path).await;
                    let is_refused = answer.code() == (503, "overloaded");
                    assert!(answer.status == 200 || is_refused, "{answer:?}");
                    !is_refused
                })
                .await;
                let longest_gap = began.elapsed();
                tally.traffic += Traffic { requests: 1, failed: 0, longest_gap };
            }
            tally += Tally::round(0, 0);
        }
    }
    tally
}

pub(crate) async fn a_commit_of_unknown_outcome_is_answered_in_time_and_done_once() -> Tally {
    let mut set = ReplicaSet::start(3, vec![]).await.unwrap();
    let mut tally = Tally::default();
    for _ in rounds(1) {
        let (site, replica) = site_on(&set).await;
        let story = json!({ "title": "Unknown", "content": "<p>Text.</p>" });
        let primary = set.primary().await.unwrap();
        let others: Vec<u16> = set.ports().into_iter().filter(|port| *port != primary).collect();
        // The primary cannot replicate the commit, and steps down.
        for port in &others {
            set.signal(*port, "STOP").unwrap();
        }
        let began = Instant::now();
        let answers = join_all((0..3).map(|key| {
            let key = format!("unknown-{key}");
            let (replica, story) = (&replica, story.clone());
            async move { replica.post("/stories", &key, story).await }
        }));
        let answers = answers.await;
        let longest_gap = began.elapsed();
        assert!(longest_gap < max_wait(), "{longest_gap:?}: {answers:?}");
        for answer in &answers {
            assert_eq!(answer.code(), (503, "database_unavailable"), "{answer:?}");
            assert_ne!(answer.header("retry-after"), "");
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains("not known whether it was made"), "{detail}");
            assert!(detail.contains("Idempotency-Key"), "{detail}");
        }
        for port in &others {
            set.signal(*port, "CONT").unwrap();
        }
        set.primary().await.unwrap();
        for key in 0..3 {
            let key = format!("unknown-{key}");
            eventually("the request is done", async || {
                replica.post("/stories", &key, story.clone()).await.status == 201
            })
            .await;
        }
        let found = site.count("stories", doc! { "title": "Unknown" }).await;
        let traffic = Traffic { requests: 3, failed: 0, longest_gap };
        tally += Tally::counted(3, found).with_traffic(traffic);
    }
    tally
}

pub(crate) async fn a_wrong_clock_neither_forgets_a_key_nor_dates_a_story() -> Tally {
    // Expired documents are deleted every second instead of every minute.
    let server_parameters = vec![("ttlMonitorSleepSecs".to_owned(), "1".to_owned())];
    let options = Options { data: DataDir::Temporary, server_parameters, cache_mb: None };
    let mongod = LocalMongod::start(options).await.unwrap();
    let mut tally = Tally::default();
    for _ in rounds(1) {
        for skew in [-25 * 60 * 60, 40 * 24 * 60 * 60] {
            let site = Site::on(mongod.uri()).await;
            let wrong = Replica::start(&site, &site.uri, &skewed_clock(skew)).await;
            let right = Replica::start(&site, &site.uri, &[]).await;
            let story = json!({ "title": "Once", "content": "<p>Text.</p>" });
            let first = wrong.post("/stories", "key", story.clone()).await;
            assert_eq!(first.status, 201, "{first:?}");
            // A key that expires at once marks the end of a search for expired documents.
            let expired = doc! { "_id": "expired", "createdDate": DateTime::from_millis(0) };
            let keys = site.collection("content_idempotency_keys");
            keys.insert_one(expired).await.unwrap();
            eventually("expired keys are deleted", async || {
                site.count("content_idempotency_keys", doc! { "_id": "expired" }).await == 0
            })
            .await;
            let second = right.post("/stories", "key", story).await;
            assert_eq!((second.status, &second.body), (201, &first.body));
            let path = format!("/stories/{}", first.id());
            let changed = wrong.api.call("PATCH", &path, json!({ "title": "Twice" })).await;
            assert_eq!(changed.status, 200, "{changed:?}");
            let section = wrong.post("/sections", "section", new_section("New")).await;
            assert_eq!(section.status, 201, "{section:?}");

            let found = site.collection("stories").find_one(doc! {}).await.unwrap().unwrap();
            let new = doc! { "title": "New" };
            let new = site.collection("sections").find_one(new).await.unwrap().unwrap();
            for (document, field) in
                [(&found, "createdDate"), (&found, "updatedDate"), (&new, "createdDate")]
            {
                let date = *document.get_datetime(field).unwrap();
                let off = DateTime::now().saturating_duration_since(date);
                assert!(off < Duration::from_secs(120), "{field} is off by {off:?}");
                assert!(date <= DateTime::now(), "{field}: {date}");
            }
            // The answer has the date that is stored.
            let stored =
                found.get_datetime("updatedDate").unwrap().try_to_rfc3339_string().unwrap();
            let shown = changed.body["updatedDate"].as_str().unwrap();
            let date = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap();
            assert_eq!(date(shown), date(&stored));
            // A date that is more than a day ahead by the server's clock is refused.
            let ahead =
                DateTime::from_millis(DateTime::now().timestamp_millis() + 30 * 60 * 60 * 1000);
            let ahead = ahead.try_to_rfc3339_string().unwrap();
            let ahead = json!({ "title": "Ahead", "content": "", "createdDate": ahead });
            let refused = wrong.post("/stories", "ahead", ahead).await;
            assert_eq!(refused.code(), (422, "validation_failed"), "{refused:?}");
            tally += Tally::counted(1, site.count("stories", doc! {}).await);
        }
    }
    tally
}
