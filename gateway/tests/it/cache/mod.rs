//! The answers that the gateway keeps: true ones, and no others.

mod codings;
mod faults;
mod keeping;
mod sharing;
mod writes;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Semaphore;

use crate::support::{Answer, Exchange, Head, Setup, TestGateway, Upstream, eventually};

/// The path and keys of most answers.
const PATH: &str = "/stories/slug/a";
const KEYS: &str = "stories/slug/a stories/1 sections";

/// A gateway before two services that report their changes.
struct Site {
    gateway: TestGateway,
    content: Upstream,
    sections: Upstream,
    answers: Arc<Answers>,
}

/// The answers of content-service, and the number of requests for them.
struct Answers {
    /// The heads and bodies by the targets of requests; in a head, `{content}` and `{sections}` are the
    /// present states.
    known: Mutex<HashMap<String, (String, String)>>,
    count: AtomicUsize,
    /// A permit for each answer for [`PATH`].
    permits: Semaphore,
}

impl Answers {
    /// Sets an answer with a tag and these keys.
    fn set(&self, target: &str, keys: &str, body: &str) {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let tag = hasher.finish();
        let head = format!(
            "200 OK\r\ncontent-type: application/json\r\netag: \"{tag}\"\r\n\
             vary: authorization\r\ncache-control: no-cache\r\nx-request-id: of-the-service\r\n\
             x-turbulence-revisions: content={{content}},sections={{sections}}\r\n\
             surrogate-key: {keys}"
        );
        self.set_raw(target, &head, body);
    }

    /// Sets an answer with this status and these headers.
    fn set_raw(&self, target: &str, head: &str, body: &str) {
        self.known.lock().unwrap().insert(target.to_owned(), (head.to_owned(), body.to_owned()));
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Stops to answer requests for [`PATH`] until there are permits.
    fn hold(&self) {
        self.permits.forget_permits(Semaphore::MAX_PERMITS);
    }
}

impl Site {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a site with these settings, and waits until the changes of both services are heard.
    async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        let site = Self::start_unheard(settings, true).await;
        site.heard().await;
        site
    }

    async fn start_unheard(settings: &[(&'static str, &str)], has_feeds: bool) -> Self {
        let known = Mutex::default();
        let permits = Semaphore::new(Semaphore::MAX_PERMITS);
        let answers = Arc::new(Answers { known, count: AtomicUsize::new(0), permits });
        let sections = Upstream::answering("HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n").await;
        let feeds: Arc<Mutex<Option<[Arc<_>; 2]>>> = Arc::default();
        let (known, of_both) = (Arc::clone(&answers), Arc::clone(&feeds));
        let content = Upstream::start(move |mut exchange: Exchange| {
            let (answers, feeds) = (Arc::clone(&known), Arc::clone(&of_both));
            async move {
                exchange.body().await.ok()?;
                let target = exchange.head.target().to_owned();
                let known = answers.known.lock().unwrap().get(&target).cloned();
                let (mut head, body) =
                    known.unwrap_or_else(|| ("404 Not Found".to_owned(), String::new()));
                // The state is that before the content is read.
                let revisions = feeds.lock().unwrap().as_ref().map(
                    |[content, sections]: &[Arc<crate::support::Feed>; 2]| {
                        [content.revision(), sections.revision()]
                    },
                );
                let [content, sections] = revisions.unwrap_or_default();
                head = head.replace("{content}", &content.to_string());
                head = head.replace("{sections}", &sections.to_string());
                answers.count.fetch_add(1, Ordering::SeqCst);
                if target == PATH {
                    answers.permits.acquire().await.unwrap().forget();
                }
                let tag = exchange.head.get("if-none-match");
                let is_known = tag.is_some_and(|tag| head.contains(&format!("etag: {tag}\r\n")));
                let is_head = exchange.head.first_line.starts_with("HEAD");
                let answer = if head.is_empty() {
                    return None;
                } else if is_known {
                    let (_, headers) = head.split_once("\r\n").unwrap();
                    format!("HTTP/1.1 304 Not Modified\r\n{headers}\r\n\r\n")
                } else {
                    let sent = if is_head { "" } else { &body };
                    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{sent}", body.len())
                };
                exchange.reply(answer).await
            }
        })
        .await;
        *feeds.lock().unwrap() = Some([Arc::clone(&content.feed), Arc::clone(&sections.feed)]);
        if has_feeds {
            content.feed.report(&["stories", "projects", "pages"]);
            sections.feed.report(&["sections"]);
        }
        let mut setup = Setup::new(&sections, &content);
        setup.others = settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let gateway = setup.start().await;
        answers.set(PATH, KEYS, "\"first\"");
        Self { gateway, content, sections, answers }
    }

    /// Waits until the changes of both services are heard: an answer is kept.
    async fn heard(&self) {
        self.answers.set("/projects", "projects sections", "[]");
        eventually(async || {
            let answer = self.get("/projects").await;
            (answer.head.get("cache-status") == Some("turbulence; hit")).then_some(())
        })
        .await;
        self.answers.count.store(0, Ordering::SeqCst);
    }

    async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, "").await
    }

    async fn send(&self, method: &str, target: &str, headers: &str) -> Answer {
        let request = format!("{method} {target} HTTP/1.1\r\nhost: h\r\n{headers}\r\n");
        let mut connection = self.gateway.connect().await;
        connection.write(request.as_bytes()).await;
        if method != "HEAD" {
            return connection.answer().await;
        }
        let head = connection.head().await.unwrap();
        Answer { head, body: Vec::new() }
    }

    /// Returns the body of an answer that has to come from memory.
    async fn hit(&self, target: &str) -> Vec<u8> {
        let before = self.answers.count();
        let answer = self.get(target).await;
        assert_eq!(status(&answer.head), "turbulence; hit", "{target}");
        assert_eq!(self.answers.count(), before, "{target}");
        answer.body
    }

    /// Returns the body of an answer that has to come from the service.
    async fn miss(&self, target: &str) -> Vec<u8> {
        let before = self.answers.count();
        let answer = self.get(target).await;
        assert_ne!(status(&answer.head), "turbulence; hit", "{target}");
        assert_eq!(self.answers.count(), before + 1, "{target}");
        answer.body
    }

    /// Waits until an answer comes from the service.
    async fn missed(&self, target: &str) -> Answer {
        eventually(async || {
            let answer = self.get(target).await;
            (status(&answer.head) != "turbulence; hit").then_some(answer)
        })
        .await
    }
}

fn status(head: &Head) -> &str {
    head.get("cache-status").expect("no cache-status")
}
