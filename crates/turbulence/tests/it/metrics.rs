//! The metrics that Prometheus reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use mongodb::bson::{DateTime, doc};
use reqwest::Method;
use test_support::{TestDatabase, eventually};

use crate::{
    services::{Process, settings},
    support::{Folder, Site, Turbulence},
};

/// The table of the documentation.
const REFERENCE: &str = include_str!("../../../../docs/reference/metrics.md");

/// The content of `/metrics`.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    types: BTreeMap<String, String>,
    /// The samples by series, such as `process_uptime_seconds` or `x{a="b"}`.
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    /// Parses the text format of Prometheus, version 0.0.4. Panics at the first deviation.
    fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        assert!(text.ends_with('\n'), "the last line has no end");
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let [keyword, name, rest] = [(); 3].map(|()| words.next().unwrap());
                if keyword == "TYPE" {
                    assert!(["counter", "gauge", "histogram"].contains(&rest), "{line}");
                    let is_new = metrics.types.insert(name.to_owned(), rest.to_owned()).is_none();
                    assert!(is_new, "a second type: {line}");
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let name = metrics.family(series);
            assert!(is_name(&name), "{line}");
            if let Some(labels) = series.strip_prefix(series.split('{').next().unwrap()) {
                assert_labels(labels, line);
            }
            let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(metrics.samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
        metrics
    }

    /// Returns the name of the metric that a series belongs to, whose type comes before it.
    fn family(&self, series: &str) -> String {
        let name = series.split('{').next().unwrap();
        let ends = ["_bucket", "_sum", "_count"];
        let mut of_histogram = ends.iter().filter_map(|end| name.strip_suffix(end));
        let is_histogram = |name: &&str| self.types.get(*name).is_some_and(|is| is == "histogram");
        let family = of_histogram.find(is_histogram).unwrap_or(name);
        assert!(self.types.contains_key(family), "no type before {series}");
        family.to_owned()
    }

    pub(crate) fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {self:#?}"))
    }

    /// Returns the sum of all series of a name that have these labels.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_name = self.samples.iter().filter(|(series, _)| {
            series.split('{').next() == Some(name) && labels.iter().all(|one| series.contains(one))
        });
        of_name.map(|(_, value)| value).sum()
    }
}

fn is_name(name: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit())
}

/// Asserts that labels are pairs of a name and a quoted value with the escapes of the format.
fn assert_labels(labels: &str, line: &str) {
    let Some(mut rest) = labels.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return assert_eq!(labels, "", "{line}");
    };
    loop {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(is_name(name) && !name.contains(':'), "{line}");
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next().unwrap_or_else(|| panic!("{line}")) {
                (_, '\\') => {
                    let (_, escaped) = characters.next().unwrap_or_else(|| panic!("{line}"));
                    assert!(['\\', '"', 'n'].contains(&escaped), "{line}");
                }
                (end, '"') => break end,
                _ => {}
            }
        };
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return assert_eq!(rest, "", "{line}"),
        }
    }
}

/// Returns the address at which a process serves its metrics.
pub(crate) async fn address(turbulence: &Turbulence) -> String {
    turbulence.logged("serving metrics").await;
    let log = turbulence.log();
    let line = log.iter().find(|line| line["message"] == "serving metrics").unwrap();
    format!("http://{}", line["address"].as_str().unwrap())
}

fn client() -> reqwest::Client {
    service_kit::web::http_client::service_client(Duration::from_secs(30)).unwrap()
}

pub(crate) async fn scrape(address: &str) -> Metrics {
    let answer = client().get(format!("{address}/metrics")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    Metrics::parse(&answer.text().await.unwrap())
}

/// Returns the documented names in Prometheus, with their types.
pub(crate) fn documented() -> BTreeMap<String, String> {
    let rows = REFERENCE.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [_, name, kind, ..] = cells.as_slice() else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), (*kind).to_owned()))
    });
    rows.filter(|(_, kind)| ["counter", "gauge", "histogram"].contains(&&**kind)).collect()
}

/// A site with items that cannot be read or changed, so that all metrics have a value.
async fn damaged_site() -> Site {
    let site = Site::new().await;
    let stories = [
        doc! { "title": "A", "content": "", "createdDate": "soon", "is_published": true },
        doc! { "_id": "letter", "title": "B", "content": "", "is_published": true },
        doc! { "title": "C", "deleted": true, "deleted_at": DateTime::MIN, "deleted_by": null },
    ];
    site.database.insert("stories", stories).await;
    let rule =
        doc! { "$or": [{ "_id": { "$ne": "letter" } }, { "section_id": { "$exists": false } }] };
    let change = doc! { "collMod": "stories", "validator": rule };
    site.database.database().run_command(change).await.unwrap();
    site
}

#[tokio::test]
async fn every_documented_metric_is_served_on_a_port_of_its_own() {
    let site = damaged_site().await;
    let environment = [
        ("TURBULENCE__METRICS__PORT", "0"),
        ("TURBULENCE__WEBHOOKS__ALLOW_PRIVATE_NETWORKS", "true"),
        ("TURBULENCE__TRASH__EMPTY_AFTER_DAYS", "1"),
    ];
    let turbulence = site.up_with(&[], &environment);
    let address = address(&turbulence).await;
    let summary = turbulence.ready().await;
    assert_eq!(summary.get("/stories").await.0, 200);
    // A target that fails.
    let send = async |path: &str| {
        let request = client().post(format!("{}{path}", summary.address));
        let body = serde_json::json!({ "url": "http://127.0.0.1:9/" });
        let answer = request.bearer_auth(&summary.token).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        answer.json::<serde_json::Value>().await.unwrap()
    };
    let webhook = send("/webhooks").await;
    send(&format!("/webhooks/{}/test", webhook["id"].as_str().unwrap())).await;
    let attempts = "turbulence_webhook_attempts_total{outcome=\"failed\"}";
    // An item without an address. At the start, it would keep the first sections from being created.
    site.database.insert("sections", [doc! { "_id": "odd", "title": "Odd" }]).await;
    let unreadable = "turbulence_documents_unreadable_total{db_collection_name=\"sections\"}";
    let (at, site_at) = (&address, &summary);
    let removed = "turbulence_trash_removed_total{db_collection_name=\"stories\"}";
    eventually("an unreadable item, an attempt and an old item are counted", || async move {
        site_at.get("/sections").await;
        let samples = scrape(at).await.samples;
        [unreadable, attempts, removed].iter().all(|series| samples.contains_key(*series))
    })
    .await;
    // Both services and the gateway, in one process.
    let metrics = scrape(&address).await;
    let duration = "http_server_request_duration_seconds_count";
    for route in ["/stories/{rest}*", "/stories", "/internal/sections"] {
        let label = format!("http_route=\"{route}\"");
        assert!(metrics.sum(duration, &[&label]) >= 1.0, "{route}: {metrics:#?}");
    }
    let undocumented: BTreeSet<_> = metrics.types.keys().cloned().collect();
    let documented = documented();
    let names: BTreeSet<_> = documented.keys().cloned().collect();
    // Those of the certificate have no value without one.
    let without_tls = names.iter().filter(|name| !name.contains("_tls_")).cloned().collect();
    assert_eq!(undocumented, without_tls);
    for (name, kind) in &metrics.types {
        assert_eq!(kind, &documented[name], "{name}");
        let prefix = |series: &String| metrics.family(series) == *name;
        assert!(metrics.samples.keys().any(prefix), "{name} has no value");
    }
    assert!(metrics.value("process_memory_usage_bytes") > 1_000_000.0);
    assert!(metrics.sum("target_info", &[env!("CARGO_PKG_VERSION")]) == 1.0, "{metrics:#?}");
    // Nothing but the metrics, and the metrics nowhere else.
    let status = async |url: String| client().get(url).send().await.unwrap().status();
    for path in ["/", "/sections", "/health", "/metrics/x"] {
        assert_eq!(status(format!("{address}{path}")).await, 404, "{path}");
    }
    for path in ["/metrics", "/metrics/", "/internal/metrics", "/docs/metrics", "/stories/metrics"]
    {
        let (status, body) = summary.get(path).await;
        assert!([401, 404].contains(&status.as_u16()), "{path}: {status} {body}");
    }
    turbulence.stop().await;
}

#[tokio::test]
async fn requests_of_any_path_and_method_add_no_series() {
    let site = Site::new().await;
    let turbulence = site.up_with(&[], &[("TURBULENCE__METRICS__PORT", "0")]);
    let address = address(&turbulence).await;
    let summary = turbulence.ready().await;
    let send = async |round: usize| {
        for n in 0..round {
            let id = uuid::Uuid::new_v4().simple().to_string();
            let (method, path) = match n % 7 {
                0 => (Method::GET, format!("/{id}")),
                1 => (Method::GET, format!("/stories/slug/{id}")),
                2 => (Method::GET, format!("/resolve?path=/{id}/{id}")),
                3 => (Method::GET, format!("/stories/{id}/{id}?{id}={id}")),
                4 => (Method::DELETE, format!("/sections/{id}")),
                5 => (Method::from_bytes(id.as_bytes()).unwrap(), format!("/sections/{id}")),
                _ => (Method::from_bytes(id.as_bytes()).unwrap(), format!("/{id}")),
            };
            let url = format!("{}{path}", summary.address);
            client().request(method, url).send().await.unwrap();
        }
    };
    send(14).await;
    // A service records the metric of a request after its answer.
    let (address, last) = (&address, &AtomicUsize::new(0));
    eventually("all series are there", || async move {
        let series = scrape(address).await.samples.len();
        last.swap(series, Ordering::Relaxed) == series
    })
    .await;
    let before = last.load(Ordering::Relaxed);
    send(1_000).await;
    let metrics = scrape(address).await;
    assert_eq!(metrics.samples.len(), before, "{metrics:#?}");
    let others = ["http_request_method=\"_OTHER\""];
    assert!(metrics.sum("http_server_request_duration_seconds_count", &others) >= 280.0);
    turbulence.stop().await;
}

#[tokio::test]
async fn each_process_serves_its_metrics_and_names_the_setting_of_a_port_in_use() {
    let (database, folder) = (TestDatabase::new().await, Folder::new());
    let environment = [&settings(&database)[..], &[("TURBULENCE__METRICS__PORT", "0")]].concat();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (command, name) in
        [("sections", "sections-service"), ("content", "content-service"), ("gateway", "gateway")]
    {
        let process = Process::start(&folder, &[command, "--port", "0"], &environment).await;
        let metrics = scrape(&address(&process.turbulence).await).await;
        let service = format!("service_name=\"{name}\"");
        assert!(metrics.sum("target_info", &[&service]) == 1.0, "{metrics:#?}");
        process.turbulence.stop().await;
        let mut other = folder.command(&[command, "--port", "0"]);
        other.env("TURBULENCE__METRICS__PORT", &port);
        let ended = Turbulence::spawn(other).ended().await;
        let line = ended.failure(1);
        let expected = "is in use: stop what listens there, or choose another port with \
                        TURBULENCE__METRICS__PORT";
        assert!(line.starts_with(name) && line.ends_with(expected), "{line}");
    }
}
