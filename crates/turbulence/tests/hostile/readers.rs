//! The readers beside the hostile clients, and the hostile clients' own thread.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::RequestBuilder;
use serde_json::Value;
use service_kit::{runtime::error_chain::one_line, web::http_client::service_client};

use crate::{cluster::EDITORS, raw::PAST_MEMORY};

/// The pages that readers read: one of each service, and one for which content-service needs the
/// sections. Each is read from the memory of the gateway and from the service in turn, so that the
/// slowest of a hundred are those from the service.
const PAGES: [&str; 3] = ["/stories?limit=10", "/sections", "/resolve?path=/blog"];

/// The number of readers, and the pause between the requests of each: some hundred requests in a
/// second, of which the processes can answer several times as many.
const READERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(10);

/// The pause of an editor between two sign-ins.
const EDITORS_PAUSE: Duration = Duration::from_millis(500);

/// The time after which a reader has left.
const PATIENCE: Duration = Duration::from_secs(10);

/// The people beside whom hostile clients are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Readers of the site.
    Public,
    /// Editors who sign in: each request has a token that no process has seen.
    Editors,
}

/// The requests of readers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// The times of the answered requests, in order.
    times: Vec<Duration>,
    pub(crate) failed: usize,
    /// The failures, by what happened.
    pub(crate) failures: BTreeMap<String, usize>,
}

impl Reading {
    pub(crate) fn requests(&self) -> usize {
        self.times.len() + self.failed
    }

    /// Returns the time within which 99 of 100 requests were answered.
    pub(crate) fn p99(&self) -> Duration {
        self.times.get(self.times.len() * 99 / 100).copied().unwrap_or(PATIENCE)
    }
}

impl Readers {
    /// Reads for a time.
    pub(crate) async fn read(self, url: &str, time: Duration) -> Reading {
        let end = Instant::now() + time;
        let count = if self == Self::Public { READERS } else { EDITORS };
        let readings = join_all((0..count).map(|number| self.read_one(url, number, end))).await;
        let mut all = Reading::default();
        for reading in readings {
            all.times.extend(reading.times);
            all.failed += reading.failed;
            for (what, count) in reading.failures {
                *all.failures.entry(what).or_default() += count;
            }
        }
        all.times.sort_unstable();
        all
    }

    async fn read_one(self, url: &str, number: usize, end: Instant) -> Reading {
        static TOKENS: AtomicUsize = AtomicUsize::new(0);
        let client = service_client(PATIENCE).unwrap();
        let mut reading = Reading::default();
        for turn in number.. {
            let page = PAGES[turn % PAGES.len()];
            let (page, token) = match self {
                Self::Public => (page, None),
                Self::Editors => {
                    let nonce = TOKENS.fetch_add(1, Ordering::Relaxed);
                    ("/stories?include_drafts=true", Some(format!("editor{number}.{nonce}")))
                }
            };
            let mut request = client.get(format!("{url}{page}"));
            request = request.header("x-forwarded-for", format!("198.51.100.{number}"));
            if turn / PAGES.len() % 2 == 1 {
                request = request.header(PAST_MEMORY.0, PAST_MEMORY.1);
            }
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            let began = Instant::now();
            match failure(request).await {
                None => reading.times.push(began.elapsed()),
                Some(failure) => {
                    reading.failed += 1;
                    *reading.failures.entry(failure).or_default() += 1;
                }
            }
            if Instant::now() >= end {
                break;
            }
            tokio::time::sleep(if self == Self::Public { PAUSE } else { EDITORS_PAUSE }).await;
        }
        reading
    }
}

/// Sends a request. Returns the reason if it is not answered as it should be.
async fn failure(request: RequestBuilder) -> Option<String> {
    let read = async {
        let response = request.send().await?;
        let status = response.status();
        Ok::<_, reqwest::Error>((status, response.bytes().await?))
    };
    match read.await {
        Ok((status, _)) if status.is_success() => None,
        Ok((status, body)) => {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            Some(format!("{} {}", status.as_u16(), body["code"]))
        }
        Err(error) => Some(one_line(&error)),
    }
}

/// The answers to hostile clients, by status, and the connections that were closed without one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcomes(Arc<Mutex<BTreeMap<String, usize>>>);

impl Outcomes {
    pub(crate) fn add(&self, outcome: &impl ToString) {
        *self.0.lock().unwrap().entry(outcome.to_string()).or_default() += 1;
    }
}

impl std::fmt::Display for Outcomes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outcomes = self.0.lock().unwrap();
        let shown: Vec<_> =
            outcomes.iter().map(|(outcome, count)| format!("{count} × {outcome}")).collect();
        f.write_str(if shown.is_empty() { "none was answered" } else { "" })?;
        f.write_str(&shown.join(", "))
    }
}

/// Runs hostile clients for a time, on a thread of their own. If the times of readers are measured, the
/// thread has the lowest priority: on other machines, hostile clients would not take processor time from
/// the site, or from its readers.
pub(crate) fn run_hostile<F>(
    time: Duration,
    is_measured: bool,
    clients: impl FnOnce() -> F + Send + 'static,
) -> thread::JoinHandle<()>
where
    F: Future<Output = ()>,
{
    thread::spawn(move || {
        if is_measured {
            let thread = fs::read_link("/proc/thread-self").unwrap();
            let mut renice = Command::new("renice");
            renice.args(["-n", "19", "-p"]).arg(thread.file_name().unwrap());
            // Without it, the readers wait a little longer.
            let _ = renice.stdout(Stdio::null()).status();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(async { tokio::time::timeout(time, clients()).await });
    })
}
