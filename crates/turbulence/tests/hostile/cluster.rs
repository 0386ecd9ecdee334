//! A site of three processes, each with a limit of memory.

use std::{
    net::{SocketAddr, TcpListener},
    process::Command,
    time::{Duration, Instant},
};

use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use serde_json::Value;
use test_support::{TestDatabase, eventually, get, mongodb_uri};

use crate::{
    memory::{MemoryGroup, peak, reset_peak},
    provider,
    support::{Folder, Turbulence},
};

/// The token of an editor, which every process has seen.
pub(crate) const TOKEN: &str = "admin.0";

/// The number of editors besides the one with [`TOKEN`].
pub(crate) const EDITORS: usize = 12;

/// The number of stories, and the length of their texts: those of an existing site.
const STORIES: i64 = 1_000;
const TEXT_BYTES: usize = 9_000;

/// The number of the largest stories, which fill one page, and the length of their texts.
const LARGE_STORIES: i64 = 50;
const LARGE_TEXT_BYTES: usize = 480_000;

/// The longest time until a site answers after hostile clients have left.
const MAX_RECOVERY: Duration = Duration::from_secs(30);

/// A process of the site.
pub(crate) struct Process {
    name: &'static str,
    turbulence: Turbulence,
    url: String,
    group: Option<MemoryGroup>,
}

/// The processes of a site behind one gateway, with content and editors.
pub(crate) struct Cluster {
    /// In the order of the columns of the table.
    processes: [Process; 3],
    _database: TestDatabase,
    _folder: Folder,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let (database, folder) = (TestDatabase::new().await, Folder::new());
        fill(&database).await;
        let tokeninfo_url = provider::start();
        let shared = [
            ("TURBULENCE__MONGODB__URI", mongodb_uri()),
            ("TURBULENCE__MONGODB__DATABASE", database.name()),
            ("TURBULENCE__AUTH__MODE", "google"),
            ("TURBULENCE__AUTH__GOOGLE__AUDIENCE", "site"),
            ("TURBULENCE__AUTH__GOOGLE__TOKENINFO_URL", &tokeninfo_url),
            ("TURBULENCE__ADMIN__EMAIL", "admin@example.org"),
            ("RUST_LOG", "warn,service_kit::web::server=info"),
            ("TURBULENCE__INTERNAL__SECRET", "a-secret-of-the-processes"),
        ];
        // The two services need each other's address before they start.
        let reserved = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let content_url = format!("http://{reserved}");
        let others = [("TURBULENCE__CONTENT__URL", &*content_url)];
        let sections = Process::start(&folder, "sections", "0", &shared, &others).await;
        let others = [("TURBULENCE__SECTIONS__URL", &*sections.url)];
        let port = reserved.port().to_string();
        let content = Process::start(&folder, "content", &port, &shared, &others).await;
        let others = [
            ("TURBULENCE__UPSTREAMS__SECTIONS", &*sections.url),
            ("TURBULENCE__UPSTREAMS__CONTENT", &*content.url),
            // Behind an ingress, which names the addresses of the clients: each has limits of its
            // own, and none of its connections.
            ("TURBULENCE__SERVER__TRUSTED_PROXIES", "127.0.0.0/8"),
        ];
        let gateway = Process::start(&folder, "gateway", "0", &shared, &others).await;
        let processes = [gateway, sections, content];
        let cluster = Self { processes, _database: database, _folder: folder };
        let all = STORIES + LARGE_STORIES;
        eventually("the site is migrated", async || {
            cluster.get("/stories?limit=1").await["total"] == all
                && cluster.get("/resolve?path=/large").await["kind"] == "section"
        })
        .await;
        cluster.answers().await;
        cluster
    }

    /// Returns the address of the gateway.
    pub(crate) fn url(&self) -> &str {
        &self.processes[0].url
    }

    /// Returns the socket of the gateway.
    pub(crate) fn socket(&self) -> SocketAddr {
        self.url().strip_prefix("http://").unwrap().parse().unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        get(&format!("{}{path}", self.url()), None).await.1
    }

    /// Waits until the public and an editor are answered.
    pub(crate) async fn answers(&self) {
        eventually("the site answers", async || self.is_answering().await).await;
    }

    /// Returns `true` if the site answers soon after the hostile clients have left.
    pub(crate) async fn recovers(&mut self) -> bool {
        let began = Instant::now();
        while !self.is_answering().await {
            if began.elapsed() > MAX_RECOVERY || !self.killed().is_empty() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.killed().is_empty()
    }

    async fn is_answering(&self) -> bool {
        for (path, token) in [
            ("/stories?limit=10", None),
            ("/resolve?path=/blog", None),
            ("/stories?include_drafts=true", Some(TOKEN)),
        ] {
            if !get(&format!("{}{path}", self.url()), token).await.0.is_success() {
                return false;
            }
        }
        true
    }

    /// Returns `true` if the kernel limits the memory of every process.
    pub(crate) fn is_limited(&self) -> bool {
        self.processes.iter().all(|process| process.group.is_some())
    }

    pub(crate) fn reset_peaks(&self) {
        for process in &self.processes {
            reset_peak(process.turbulence.pid());
        }
    }

    /// Returns the most memory of each process since the last reset, in bytes; `None` for one that was
    /// killed.
    pub(crate) fn peaks(&mut self) -> [Option<u64>; 3] {
        self.processes.each_mut().map(|process| {
            let peak = peak(process.turbulence.pid());
            peak.filter(|_| process.turbulence.is_running())
        })
    }

    /// Returns the names of the processes that have ended.
    pub(crate) fn killed(&mut self) -> Vec<&'static str> {
        let ended = self.processes.iter_mut().filter_map(|process| {
            let is_running = process.turbulence.is_running();
            (!is_running).then_some(process.name)
        });
        ended.collect()
    }
}

impl Process {
    async fn start(
        folder: &Folder,
        name: &'static str,
        port: &str,
        shared: &[(&str, &str)],
        others: &[(&str, &str)],
    ) -> Self {
        let mut command = folder.command(&[name, "--port", port]);
        if let Some(program) = std::env::var_os("TURBULENCE_HOSTILE_PROGRAM") {
            let built = command;
            command = Command::new(program);
            command.args(built.get_args()).current_dir(built.get_current_dir().unwrap());
        }
        command.envs(shared.iter().chain(others).copied());
        let group = MemoryGroup::create(name);
        let command = match &group {
            Some(group) => group.command(&command),
            None => command,
        };
        let turbulence = Turbulence::spawn(command);
        turbulence.logged("listening").await;
        let log = turbulence.log();
        let line = log.iter().find(|line| line["message"] == "listening").unwrap();
        let url = format!("http://{}", line["address"].as_str().unwrap());
        Self { name, turbulence, url, group }
    }
}

/// Fills a database with content and editors.
async fn fill(database: &TestDatabase) {
    let (blog, large) = (ObjectId::new(), ObjectId::new());
    let now = DateTime::now();
    let section = |id: ObjectId, slug: &str, sort_order: i32| {
        doc! {
            "_id": id, "title": slug, "slug": slug, "parent_id": null, "display_type": "feed",
            "content_type": "story", "nav_visibility": "main", "sort_order": sort_order,
            "is_published": true, "is_deleted": false, "createdDate": now, "updatedDate": now,
        }
    };
    database.insert("sections", [section(blog, "blog", 0), section(large, "large", 1)]).await;
    let story = |number: i64, section: ObjectId, length: usize| -> Document {
        // The large ones are the oldest, on no page that others read.
        let date = DateTime::from_millis(1_700_000_000_000 - number * 60_000);
        doc! {
            "title": format!("Story {number}"), "slug": format!("story-{number}"),
            "content": format!("<p>{}</p>", "x".repeat(length)), "is_published": true,
            "date": date, "createdDate": date, "updatedDate": date, "deleted": false,
            "user_id": ObjectId::new().to_hex(), "section_id": section.to_hex(),
        }
    };
    let stories = database.collection("stories");
    let usual = (0..STORIES).map(|number| story(number, blog, TEXT_BYTES));
    stories.insert_many(usual).await.unwrap();
    let largest = STORIES..STORIES + LARGE_STORIES;
    let largest = largest.map(|number| story(number, large, LARGE_TEXT_BYTES));
    stories.insert_many(largest).await.unwrap();
    let editor =
        |number: usize| doc! { "email": format!("editor{number}@example.org"), "role": "author" };
    database.collection("users").insert_many((0..EDITORS).map(editor)).await.unwrap();
}
