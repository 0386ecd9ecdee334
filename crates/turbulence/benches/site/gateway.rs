//! The way through the gateway: answers from memory against a bare server and against nginx, and
//! answers of a service against those without the gateway.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use reqwest::{Client, StatusCode, header::ETAG};
use service_kit::web::http_client;

use crate::{
    support::{FEW, Services, connect, insert_stories},
    table::Table,
    up::Up,
    wrk::{Get, median, rate_with},
};

/// The database, the number of connections, and the rounds in which the sides take turns.
const DATABASE: &str = "site_gateway";
const CONNECTIONS: u32 = 32;
const ROUNDS: usize = 5;

/// The reads of a site that count most.
const PATHS: [&str; 4] =
    ["/sections", "/stories?limit=10", "/stories/slug/story-1", "/resolve?path=/blog"];

/// All of it.
pub(crate) async fn gateway(uri: &str, table: &mut Table) {
    let connection = connect(uri, DATABASE).await;
    insert_stories(&connection, "stories", FEW, 500).await;
    // A log as in production, which is discarded.
    let up = Up::start_with(uri, DATABASE, &[], &[("RUST_LOG", "info")]);
    up.wait_until_ready();
    let nginx = Nginx::start(&up.address);
    for path in PATHS {
        cached(&up.address, path, nginx.as_ref(), table).await;
    }
    drop((nginx, up));
    passed_on(uri, table).await;
}

/// An answer from memory, as 200 and as 304.
async fn cached(gateway: &str, path: &str, nginx: Option<&Nginx>, table: &mut Table) {
    let client = http_client::service_client(Duration::from_secs(60)).unwrap();
    let url = format!("{gateway}{path}");
    let (tag, length) = kept(&client, &url).await;
    let header = format!("If-None-Match: {tag}");
    let hello = hello(length);
    let mut gets = vec![
        Get { url: &hello, header: None },
        Get { url: &url, header: None },
        Get { url: &url, header: Some(&header) },
    ];
    let through_nginx = nginx.map(|nginx| format!("{}{path}", nginx.address));
    gets.extend(through_nginx.as_deref().map(|url| Get { url, header: None }));
    let medians = medians(&gets);
    let [hello, hit, unchanged] = [medians[0], medians[1], medians[2]];
    let against_hello = format!("{:.2} ({hit:.0}/s, {hello:.0}/s)", hit / hello);
    let what = format!("{path} from memory ÷ a bare server with a body of {length} bytes");
    table.row(&what, against_hello, "≥ 0.5", hit / hello >= 0.5);
    let against_hello = format!("{:.2} ({unchanged:.0}/s)", unchanged / hello);
    table.row(
        &format!("304 of {path} ÷ the same"),
        against_hello,
        "≥ 0.5",
        unchanged / hello >= 0.5,
    );
    if let Some(nginx) = medians.get(3) {
        let against_nginx = format!("{:.2} ({nginx:.0}/s)", hit / nginx);
        let what = format!("{path} from memory ÷ `proxy_cache` of nginx");
        table.row(&what, against_nginx, "≥ 1.0", hit / nginx >= 1.0);
    }
}

/// Answers of content-service with and without the gateway before it.
async fn passed_on(uri: &str, table: &mut Table) {
    let services = Services::start(uri, DATABASE).await;
    let environment = [("RUST_LOG", "off"), ("TURBULENCE__CACHE__MAX_BYTES", "0")];
    let up = Up::start_with(uri, DATABASE, &[], &environment);
    up.wait_until_ready();
    for path in ["/stories/slug/story-1", "/stories?limit=10"] {
        let urls = [&services.content, &up.address].map(|address| format!("{address}{path}"));
        let medians =
            medians(&[Get { url: &urls[0], header: None }, Get { url: &urls[1], header: None }]);
        let [direct, through] = [medians[0], medians[1]];
        table.row(
            &format!("{path} through the gateway, not from memory ÷ at the service"),
            format!("{:.2} ({through:.0}/s, {direct:.0}/s)", through / direct),
            "≥ 0.9",
            through / direct >= 0.9,
        );
    }
    services.shutdown.cancel();
}

/// Waits until an answer comes from memory. Returns its tag and length.
async fn kept(client: &Client, url: &str) -> (String, usize) {
    let began = Instant::now();
    loop {
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{url}");
        let headers = answer.headers().clone();
        let status = headers.get("cache-status").map(|status| status.to_str().unwrap().to_owned());
        let length = answer.bytes().await.unwrap().len();
        if status.as_deref() == Some("turbulence; hit") {
            return (headers[ETAG].to_str().unwrap().to_owned(), length);
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{url} is not kept: {status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns the median rates of requests that take turns.
fn medians(gets: &[Get<'_>]) -> Vec<f64> {
    let mut measured = vec![Vec::new(); gets.len()];
    for _ in 0..ROUNDS {
        for (rates, get) in measured.iter_mut().zip(gets) {
            rates.push(rate_with(CONNECTIONS, *get));
        }
    }
    measured.into_iter().map(median).collect()
}

/// Starts a server that answers each request with a body of so many bytes. Returns its address.
fn hello(length: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let body = web::Bytes::from(vec![b'x'; length]);
    let app = move || {
        let body = body.clone();
        let respond = move || {
            let body = body.clone();
            async move { HttpResponse::Ok().content_type("application/json").body(body) }
        };
        App::new().default_service(web::to(respond))
    };
    tokio::spawn(HttpServer::new(app).disable_signals().listen(listener).unwrap().run());
    address
}

/// nginx with a cache before the gateway, ended with this value.
struct Nginx {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Nginx {
    /// Starts it if it is installed.
    fn start(gateway: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().display();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let configuration = format!(
            r#"daemon off; worker_processes auto; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  log_format json escape=json '{{"time":"$time_iso8601","id":"$request_id","client":"$remote_addr","method":"$request_method","path":"$uri","status":$status,"duration":$request_time}}';
  access_log /dev/null json;
  limit_req_zone $binary_remote_addr zone=one:10m rate=1000000r/s;
  proxy_cache_path {folder}/cache keys_zone=answers:64m;
  proxy_temp_path {folder}/proxy; client_body_temp_path {folder}/body;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream gateway {{ server {server}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024; keepalive_requests 100000000;
    location / {{
      limit_req zone=one burst=1000000 nodelay;
      proxy_pass http://gateway; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Request-Id $request_id; add_header X-Request-Id $request_id;
      proxy_ignore_headers Cache-Control; proxy_cache answers; proxy_cache_valid 200 10m;
    }}
  }}
}}"#,
            server = gateway.trim_start_matches("http://"),
        );
        let path = directory.path().join("nginx.conf");
        fs::write(&path, configuration).unwrap();
        let started = Command::new("nginx").arg("-c").arg(&path).stderr(Stdio::null()).spawn();
        let process = started.inspect_err(|_| eprintln!("nginx is not installed")).ok()?;
        let address = format!("http://127.0.0.1:{port}");
        Some(Self { process, address, _directory: directory })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}
