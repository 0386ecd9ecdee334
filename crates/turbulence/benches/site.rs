//! How fast the system is, in ratios within one run: `just bench`.
//!
//! A real MongoDB, the services as they are, and `wrk` as the client. Prints a table in Markdown.
//! Needs `wrk` on the PATH and about 3 GB of disk in the temporary folder; takes about ten minutes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops where it fails")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use data_service::Migrate;
use local_mongod::{DataDir, LocalMongod, Options};
use migrations::{Patience, Status};
use mongo_kit::Connection;
use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use service_kit::{
    Settings,
    clock::Clock,
    server::local_url,
    settings::{Sources, Throttle},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long one measurement of a rate takes, and how often it is repeated, in turn with the one
/// that it is compared with.
const WRK_SECONDS: &str = "4s";
const ROUNDS: usize = 3;

const BACKFILL: &str = "0006_backfill_section_id";

/// How many documents wait for a throttled backfill in each round: more than it comes to.
const WAITING: usize = 100_000;

const MANY: usize = 1_000_000;
const FEW: usize = 10_000;

#[tokio::main]
async fn main() {
    assert!(Command::new("wrk").arg("-v").output().is_ok(), "`wrk` is needed on the PATH");
    let options =
        Options { data: DataDir::Temporary, server_parameters: Vec::new(), cache_mb: Some(2048) };
    let mongod = LocalMongod::start(options).await.expect("a MongoDB");
    let uri = mongod.uri().to_owned();
    let mut table = Table::default();

    memory(&uri, &mut table).await;
    let few = lists(&uri, FEW, &mut table).await;
    backfill(&uri, &mut table).await;
    let many = lists(&uri, MANY, &mut table).await;
    table.row(
        "list ÷ look-up at 1,000,000, of the same at 10,000",
        format!("{:.2}", many / few),
        "≥ 0.8",
        many / few >= 0.8,
    );
    second_start(&uri, &mut table).await;
    foreground(&uri, &mut table).await;
    takeover(&uri, &mut table).await;
    ready(&uri, &mut table).await;
    mongod.stop().await.unwrap();
    table.print();
}

#[derive(Default)]
struct Table(Vec<(String, String, String, bool)>);

impl Table {
    fn row(&mut self, what: &str, measured: String, wanted: &str, is_met: bool) {
        eprintln!("{what}: {measured} (wanted: {wanted})");
        self.0.push((what.to_owned(), measured, wanted.to_owned(), is_met));
    }

    fn print(&self) {
        println!("| what | measured | wanted | met |\n|---|---|---|---|");
        for (what, measured, wanted, is_met) in &self.0 {
            println!("| {what} | {measured} | {wanted} | {} |", if *is_met { "yes" } else { "no" });
        }
    }
}

fn settings(uri: &str, database: &str, sections: Option<&str>) -> Settings {
    let mut sources = Sources::default();
    sources.command_line.push(("server.port", "0".to_owned()));
    sources.command_line.push(("mongodb.uri", uri.to_owned()));
    sources.command_line.push(("mongodb.database", database.to_owned()));
    sources.command_line.extend(sections.map(|url| ("sections.url", url.to_owned())));
    Settings::load(0, &sources).unwrap()
}

/// As fast as the database can.
fn unthrottled(mut settings: Settings) -> Settings {
    settings.migrations.throttle = Throttle::Off;
    settings
}

async fn connect(uri: &str, database: &str) -> Connection {
    Connection::new(uri, database, "bench").await.unwrap()
}

fn story(number: usize, content_bytes: usize) -> Document {
    let date = DateTime::from_millis(1_500_000_000_000 + number as i64 * 1_000);
    doc! {
        "_id": ObjectId::new(),
        "title": format!("Story {number}"),
        "slug": format!("story-{number}"),
        "content": "<p>Lorem ipsum.</p>".repeat(content_bytes / 19 + 1),
        "is_published": !number.is_multiple_of(50),
        "date": date, "createdDate": date, "updatedDate": date,
    }
}

async fn insert_stories(connection: &Connection, collection: &str, count: usize, bytes: usize) {
    let stories = connection.database().collection::<Document>(collection);
    let mut number = 0;
    while number < count {
        let until = (number + 5_000).min(count);
        stories.insert_many((number..until).map(|n| story(n, bytes))).await.unwrap();
        number = until;
    }
}

/// Both services on a database, migrated.
struct Services {
    content: String,
    shutdown: CancellationToken,
}

impl Services {
    async fn start(uri: &str, database: &str) -> Self {
        let shutdown = CancellationToken::new();
        let sections = sections_service::bind(&settings(uri, database, None)).await.unwrap();
        let url = local_url(sections.address());
        let content = content_service::bind(&settings(uri, database, Some(&url))).await.unwrap();
        let address = local_url(content.address());
        let (one, two) = (sections.statuses(), content.statuses());
        tokio::spawn(sections.run(Migrate::AtStart, shutdown.clone()));
        tokio::spawn(content.run(Migrate::AtStart, shutdown.clone()));
        settled(one).await;
        settled(two).await;
        Self { content: address, shutdown }
    }
}

async fn settled(mut statuses: watch::Receiver<Vec<Status>>) {
    statuses.wait_for(|all| all.iter().all(|status| status.is_settled)).await.unwrap();
}

/// Requests a second, by `wrk` with eight connections.
fn rate(url: &str) -> f64 {
    let arguments = ["-t", "1", "-c", "8", "-d", WRK_SECONDS, url];
    let output = Command::new("wrk").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("Non-2xx"), "{text}");
    let line = text.lines().find(|line| line.starts_with("Requests/sec:")).expect(&text);
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The rate of lists of 10 over that of look-ups by slug.
async fn lists(uri: &str, count: usize, table: &mut Table) -> f64 {
    let database = format!("site_{count}");
    let connection = connect(uri, &database).await;
    if count == FEW {
        insert_stories(&connection, "stories", count, 500).await;
    }
    let services = Services::start(uri, &database).await;
    let list = format!("{}/stories?limit=10", services.content);
    let slug = format!("{}/stories/slug/story-{}", services.content, count / 2 + 1);
    let (mut lists, mut slugs) = (Vec::new(), Vec::new());
    rate(&list);
    for _ in 0..ROUNDS {
        slugs.push(rate(&slug));
        lists.push(rate(&list));
    }
    services.shutdown.cancel();
    let (lists, slugs) = (median(lists), median(slugs));
    let ratio = lists / slugs;
    table.row(
        &format!("list of 10 of {count} stories ÷ look-up by slug"),
        format!("{ratio:.2} ({lists:.0}/s ÷ {slugs:.0}/s)"),
        if count == FEW { "≥ 0.5" } else { "–" },
        count != FEW || ratio >= 0.5,
    );
    ratio
}

/// The first backfill of a million documents against one raw `updateMany` of as many.
async fn backfill(uri: &str, table: &mut Table) {
    let connection = connect(uri, &format!("site_{MANY}")).await;
    let raw = connect(uri, "raw").await;
    insert_stories(&raw, "stories", MANY, 500).await;
    let began = Instant::now();
    let unlinked = doc! { "section_id": { "$exists": false } };
    let link = doc! { "$set": { "section_id": ObjectId::new().to_hex() } };
    raw.database().collection::<Document>("stories").update_many(unlinked, link).await.unwrap();
    let raw_rate = MANY as f64 / began.elapsed().as_secs_f64();
    raw.database().drop().await.unwrap();

    insert_stories(&connection, "stories", MANY, 500).await;
    let shutdown = CancellationToken::new();
    let settings_of = |sections: Option<&str>| settings(uri, &format!("site_{MANY}"), sections);
    let sections = sections_service::bind(&settings_of(None)).await.unwrap();
    let url = local_url(sections.address()).parse().unwrap();
    let statuses = sections.statuses();
    tokio::spawn(sections.run(Migrate::AtStart, shutdown.clone()));
    settled(statuses).await;
    let client = content_service::sections_client(&url).unwrap();
    let settings = unthrottled(settings_of(None));
    let engine = content_service::engine(&connection, Clock::system(), &settings, &client);

    let mut statuses = engine.statuses();
    let memory = tokio::spawn(async move {
        // Resident memory when a tenth is done, and the most after that.
        let (mut first, mut most) = (0, 0);
        while statuses.changed().await.is_ok() {
            let all = statuses.borrow_and_update();
            let Some(progress) = all.iter().find_map(|status| status.progress.as_ref()) else {
                continue;
            };
            if progress.modified * 10 > progress.total {
                let now = resident_kib("self");
                if first == 0 {
                    first = now;
                }
                most = most.max(now);
            }
        }
        (first, most)
    });
    engine.run(Patience::Command, &shutdown).await.unwrap();
    let report = engine.report().await.unwrap();
    drop(engine);
    let entry = report.migrations.into_iter().find(|one| one.id == BACKFILL).unwrap();
    let entry = entry.entry.unwrap();
    let millis = entry.finished_at.unwrap().timestamp_millis()
        - entry.started_at.unwrap().timestamp_millis();
    assert_eq!(entry.parts[0].modified, MANY as i64);
    let own_rate = MANY as f64 * 1000.0 / millis as f64;
    shutdown.cancel();
    table.row(
        "first backfill of 1,000,000 documents ÷ one raw updateMany",
        format!("{:.2} ({own_rate:.0}/s ÷ {raw_rate:.0}/s)", own_rate / raw_rate),
        "≥ 0.75",
        own_rate / raw_rate >= 0.75,
    );
    let (first, most) = memory.await.unwrap();
    let grown = most as f64 / first as f64;
    table.row(
        "most resident memory in that backfill ÷ that when a tenth was done",
        format!("{grown:.2} ({} MiB ÷ {} MiB)", most / 1024, first / 1024),
        "constant: ≤ 1.1",
        grown <= 1.1,
    );
}

/// What a start spends in migrations where nothing is left to do, service by service.
async fn second_start(uri: &str, table: &mut Table) {
    let name = format!("site_{MANY}");
    let connection = connect(uri, &name).await;
    connection.check_deployment().await.unwrap();
    let shutdown = CancellationToken::new();
    let sections = sections_service::bind(&settings(uri, &name, None)).await.unwrap();
    let url = local_url(sections.address()).parse().unwrap();
    tokio::spawn(sections.run(Migrate::Never, shutdown.clone()));
    let (client, settings) =
        (content_service::sections_client(&url).unwrap(), settings(uri, &name, None));
    let fence = async |service| {
        let holder = migrations::lease::holder(connection.database(), service).await.unwrap();
        holder.map(|holder| holder.fence)
    };
    let before = [fence("sections").await, fence("content").await];
    let (mut sections, mut content) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let of_sections = sections_service::engine(&connection, Clock::system(), &settings);
        let of_content = content_service::engine(&connection, Clock::system(), &settings, &client);
        for (engine, times) in [(of_sections, &mut sections), (of_content, &mut content)] {
            let began = Instant::now();
            engine.run(Patience::Command, &shutdown).await.unwrap();
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    shutdown.cancel();
    assert_eq!([fence("sections").await, fence("content").await], before, "no lease was taken");
    for (service, times) in [("sections-service", sections), ("content-service", content)] {
        let time = median(times);
        table.row(
            &format!("migrations of {service} in a second start on 1,000,000 linked documents"),
            format!("{time:.0} ms, no lease taken"),
            "< 20 ms",
            time < 20.0,
        );
    }
}

/// How much slower the slowest hundredth of requests in the foreground gets while a backfill leaves
/// room for them.
async fn foreground(uri: &str, table: &mut Table) {
    let name = "foreground";
    let connection = connect(uri, name).await;
    insert_stories(&connection, "stories", FEW, 500).await;
    // With all indexes, as where an old program has added stories since.
    let services = Services::start(uri, name).await;
    insert_stories(&connection, "stories", 3 * WAITING, 500).await;
    let list = format!("{}/stories?limit=10", services.content);
    let sections = sections_service::bind(&settings(uri, name, None)).await.unwrap();
    let url = local_url(sections.address()).parse().unwrap();
    tokio::spawn(sections.run(Migrate::Never, services.shutdown.clone()));
    let client = content_service::sections_client(&url).unwrap();
    let settings = settings(uri, name, None);

    let linked = doc! { "section_id": { "$exists": true } };
    let stories = connection.database().collection::<Document>("stories");
    let (mut idle, mut busy, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    p99(&list).await;
    for _ in 0..ROUNDS {
        idle.push(p99(&list).await);
        let engine = content_service::engine(&connection, Clock::system(), &settings, &client);
        let stop = CancellationToken::new();
        let before = stories.count_documents(linked.clone()).await.unwrap();
        let mut statuses = engine.statuses();
        let running = tokio::spawn({
            let (engine, stop) = (engine.clone(), stop.clone());
            async move { engine.run(Patience::Command, &stop).await }
        });
        let is_busy = |all: &Vec<Status>| all.iter().any(|status| status.progress.is_some());
        statuses.wait_for(is_busy).await.unwrap();
        let began = Instant::now();
        busy.push(p99(&list).await);
        assert!(!running.is_finished(), "the backfill was over before the measurement");
        stop.cancel();
        // It is interrupted at a checkpoint, and goes on in the next round.
        running.await.unwrap().unwrap_err();
        let after = stories.count_documents(linked.clone()).await.unwrap();
        changed.push((after - before) as f64 / began.elapsed().as_secs_f64());
    }
    services.shutdown.cancel();
    let (idle, busy, rate) = (median(idle), median(busy), median(changed));
    table.row(
        "p99 of lists during a throttled backfill ÷ that without one",
        format!("{:.2} ({busy:.2} ms ÷ {idle:.2} ms; {rate:.0} documents/s)", busy / idle),
        "≤ 1.2",
        busy / idle <= 1.2,
    );
}

/// The time in milliseconds that 99 of 100 requests keep to, with two clients that ask without a
/// pause.
async fn p99(url: &str) -> f64 {
    let arguments = ["-t", "1", "-c", "2", "-d", WRK_SECONDS, "--latency", url];
    let output = tokio::process::Command::new("wrk").args(arguments).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("Non-2xx"), "{text}");
    let line = text.lines().find(|line| line.trim_start().starts_with("99%")).expect(&text);
    let value = line.split_whitespace().nth(1).unwrap();
    let (number, unit) = value.split_at(value.find(|c: char| c.is_alphabetic()).unwrap());
    let number: f64 = number.parse().unwrap();
    match unit {
        "us" => number / 1000.0,
        "ms" => number,
        "s" => number * 1000.0,
        other => panic!("{other}"),
    }
}

/// From `kill -9` of the process that migrates to the moment in which another has its lease.
async fn takeover(uri: &str, table: &mut Table) {
    let name = "takeover";
    let connection = connect(uri, name).await;
    insert_stories(&connection, "stories", 50_000, 500).await;
    let migrate = |others: &[&str]| {
        let data_dir = tempfile::tempdir().unwrap();
        Command::new(env!("CARGO_BIN_EXE_turbulence"))
            .args(["migrate", "up", "--mongodb-uri", uri, "--database", name])
            .arg("--data-dir")
            .arg(data_dir.path())
            .args(others)
            .env("RUST_LOG", "off")
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let holder = async || {
        let holder = migrations::lease::holder(connection.database(), "content").await.unwrap();
        holder.filter(|holder| holder.owner.is_some())
    };
    let mut first = migrate(&["--documents-per-second", "500"]);
    let stories = connection.database().collection::<Document>("stories");
    while stories.count_documents(doc! { "section_id": { "$exists": true } }).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let fence = holder().await.unwrap().fence;
    let mut second = migrate(&["--no-throttle"]);
    first.kill().unwrap();
    first.wait().unwrap();
    let began = Instant::now();
    while holder().await.is_none_or(|holder| holder.fence == fence) {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody takes over");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let time = began.elapsed().as_secs_f64();
    assert!(second.wait().unwrap().success());
    let limit = migrations::lease::DURATION.as_secs_f64() + 2.0;
    table.row(
        "takeover after kill -9 of the process that migrates (lease: 30 s)",
        format!("{time:.1} s"),
        "≤ 32 s",
        time <= limit,
    );
}

/// From the start of the process to the first 200 of its readiness, with MongoDB up.
async fn ready(uri: &str, table: &mut Table) {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let up = Up::start(uri, &format!("site_{FEW}"), &[]);
        let url = format!("{}/health/ready", up.address);
        let client = service_kit::http::client(Duration::from_secs(1)).unwrap();
        loop {
            let answer = client.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let time = median(times);
    table.row("start to ready", format!("{time:.0} ms"), "< 1000 ms", time < 1000.0);
}

/// Resident memory of the whole system after a site was imported and read through once.
async fn memory(uri: &str, table: &mut Table) {
    let folder = tempfile::tempdir().unwrap();
    // As large as a real site: a few hundred long stories, one of them very long, many projects.
    let stories = (0..752).map(|n| story(n, if n == 7 { 170_000 } else { 9_000 }));
    let projects = (0..1_693).map(|n| {
        let mut project = story(n, 300);
        project.insert("summary", "A project.".repeat(10));
        project
    });
    write_lines(&folder.path().join("stories.jsonl"), stories);
    write_lines(&folder.path().join("projects.jsonl"), projects);

    let up = Up::start(uri, "memory", &["--import", folder.path().to_str().unwrap()]);
    up.wait_until_ready();
    let client = service_kit::http::client(Duration::from_secs(10)).unwrap();
    let get = async |path: String| -> serde_json::Value {
        let answer = client.get(format!("{}{path}", up.address)).send().await.unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    };
    for kind in ["stories", "projects"] {
        let mut offset = 0;
        loop {
            let page = get(format!("/{kind}?limit=50&offset={offset}")).await;
            let items = page["items"].as_array().unwrap();
            for item in items {
                get(format!("/{kind}/slug/{}", item["slug"].as_str().unwrap())).await;
            }
            offset += items.len();
            if page["next_cursor"].is_null() {
                break;
            }
        }
        assert!(offset > 700, "{offset}");
    }
    let mebibytes = resident_kib(&up.child.id().to_string()) / 1024;
    table.row(
        "resident memory of all three services after the import was read through once",
        format!("{mebibytes} MiB"),
        "< 60 MB",
        mebibytes * 1024 * 1024 < 60_000_000,
    );
}

fn write_lines(path: &std::path::Path, documents: impl Iterator<Item = Document>) {
    let lines = documents
        .map(|document| mongodb::bson::Bson::from(document).into_canonical_extjson().to_string());
    fs::write(path, lines.collect::<Vec<_>>().join("\n")).unwrap();
}

fn resident_kib(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// `turbulence up`, ended with this value.
struct Up {
    child: Child,
    address: String,
    output: std::sync::Mutex<BufReader<std::process::ChildStdout>>,
    _data_dir: tempfile::TempDir,
}

impl Up {
    fn start(uri: &str, database: &str, arguments: &[&str]) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(env!("CARGO_BIN_EXE_turbulence"))
            .args(["up", "--mongodb-uri", uri, "--database", database])
            .args(["--port", &port.to_string()])
            .arg("--data-dir")
            .arg(data_dir.path())
            .args(arguments)
            .env("RUST_LOG", "off")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = std::sync::Mutex::new(BufReader::new(child.stdout.take().unwrap()));
        Self { child, address: format!("http://127.0.0.1:{port}"), output, _data_dir: data_dir }
    }

    fn wait_until_ready(&self) {
        let mut output = self.output.lock().unwrap();
        let mut line = String::new();
        while !line.contains("Ctrl-C") {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the process ended");
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}
