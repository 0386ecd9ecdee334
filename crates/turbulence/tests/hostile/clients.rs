//! The hostile clients: each function is one, with all its connections, and is cancelled after its
//! time. To add one, write a function and add it to the list in `main.rs`.

use std::{
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use reqwest::{Client, RequestBuilder};
use service_kit::web::http_client::service_client;

use crate::{
    cluster::TOKEN,
    raw::{Connection, PAST_MEMORY, get, get_from_service, post, post_with},
    readers::Outcomes,
};

/// The size of a body a little below the limit.
const LARGE_BODY_BYTES: usize = 4_000_000;

/// The longest time that a hostile client waits for a response.
const PATIENCE: Duration = Duration::from_secs(120);

/// The time after which a client repeats what it did, if it was answered or cut: as fast as one that
/// is refused is told to.
const PAUSE: Duration = Duration::from_secs(1);

/// The site, and the answers of the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) socket: SocketAddr,
    pub(crate) outcomes: Outcomes,
}

impl Target {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.socket)
    }

    /// Runs as many clients at once, each of which repeats what it does.
    async fn repeat<F>(&self, clients: usize, act: impl Fn(usize) -> F)
    where
        F: Future<Output = io::Result<u16>>,
    {
        let act = &act;
        join_all((0..clients).map(|client| async move {
            loop {
                match act(client).await {
                    Ok(status) => self.outcomes.add(&status),
                    Err(_) => self.outcomes.add(&"closed"),
                }
                // Otherwise clients that are refused at once would be a test of speed.
                tokio::time::sleep(PAUSE).await;
            }
        }))
        .await;
    }

    /// Sends the same bytes on each connection and reads the status of the answer.
    async fn repeat_bytes(&self, clients: usize, bytes: Vec<u8>) {
        let bytes = &bytes;
        self.repeat(clients, |_| async move {
            let mut connection = Connection::open(self.socket).await?;
            connection.send(bytes).await?;
            connection.status().await
        })
        .await;
    }

    /// Sends requests, each made for its number, one after the other, and a pause after a refusal.
    async fn requests(&self, clients: usize, request: impl Fn(&Client, u64) -> RequestBuilder) {
        let (request, number) = (&request, &AtomicU64::new(0));
        join_all((0..clients).map(|_| async move {
            let client = service_client(PATIENCE).unwrap();
            loop {
                let request = request(&client, number.fetch_add(1, Ordering::Relaxed));
                match read(request).await {
                    Ok(status) => {
                        self.outcomes.add(&status);
                        if matches!(status, 429 | 503) {
                            tokio::time::sleep(PAUSE / 10).await;
                        }
                    }
                    Err(_) => {
                        self.outcomes.add(&"closed");
                        tokio::time::sleep(PAUSE / 10).await;
                    }
                }
            }
        }))
        .await;
    }

    /// Opens connections, sends bytes on each that it does not finish, and waits for the end of each.
    async fn unfinished(&self, connections: usize, bytes: Vec<u8>) {
        let bytes = &bytes;
        self.repeat(connections, |_| async move {
            let mut connection = Connection::open(self.socket).await?;
            connection.send(bytes).await?;
            connection.closed().await;
            Err(io::ErrorKind::ConnectionAborted.into())
        })
        .await;
    }
}

async fn read(request: RequestBuilder) -> reqwest::Result<u16> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    response.bytes().await?;
    Ok(status)
}

/// Returns a request that reaches a service.
fn from_service(request: RequestBuilder) -> RequestBuilder {
    let (name, value) = PAST_MEMORY;
    request.header(name, value)
}

/// Returns a number that looks random, the same for the same number.
fn scattered(number: u64) -> u64 {
    // SplitMix64.
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Returns one of many addresses of clients.
fn address(number: u64) -> String {
    let [a, b, ..] = scattered(number).to_be_bytes();
    format!("203.0.{a}.{b}")
}

pub(crate) async fn bodies_of_unknown_members(target: Target) {
    let mut body = String::with_capacity(LARGE_BODY_BYTES + 16);
    for number in 0..400_000 {
        body.push(if number == 0 { '{' } else { ',' });
        write!(body, "\"{number:x}\":1").unwrap();
    }
    body.push('}');
    target.repeat_bytes(100, post_with("/stories", "", &body)).await;
}

pub(crate) async fn bodies_of_nested_arrays(target: Target) {
    let deep = "[".repeat(LARGE_BODY_BYTES / 2);
    target.repeat_bytes(50, post_with("/stories", "", &format!("{{\"title\":{deep}"))).await;
}

pub(crate) async fn bodies_of_long_lists(target: Target) {
    let ids = vec!["\"0123456789abcdef01234567\""; LARGE_BODY_BYTES / 27].join(",");
    let order = post_with("/sections/order", "", &format!("{{\"ids\":[{ids}]}}"));
    let order = [b"PUT", &order[4..]].concat();
    let items = vec![r#"{"type":"story","id":"0123456789abcdef01234567"}"#; LARGE_BODY_BYTES / 49];
    let moved = format!("{{\"section_id\":null,\"items\":[{}]}}", items.join(","));
    let moved = post_with("/content/move", "", &moved);
    tokio::join!(target.repeat_bytes(25, order), target.repeat_bytes(25, moved));
}

pub(crate) async fn bodies_of_much_markup(target: Target) {
    let markup = "<b><i a=b>".repeat(99_000 / 10);
    let body = format!("{{\"title\":\"Markup\",\"content\":\"{markup}\"}}");
    target.repeat_bytes(50, post_with("/stories", "", &body)).await;
}

pub(crate) async fn chunked_bodies(target: Target) {
    let head = format!("{}Transfer-Encoding: chunked\r\n\r\n", post("/stories"));
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let bytes = [head, chunk.repeat(LARGE_BODY_BYTES / 0x10000)].concat().into_bytes();
    target.unfinished(100, bytes).await;
}

pub(crate) async fn bodies_byte_by_byte(target: Target) {
    let head = format!("{}Content-Length: {LARGE_BODY_BYTES}\r\n\r\n", post("/stories"));
    let head = &head;
    let socket = target.socket;
    target
        .repeat(500, |_| async move {
            let mut connection = Connection::open(socket).await?;
            connection.send(head).await?;
            loop {
                connection.send(" ").await?;
                tokio::time::sleep(PAUSE / 2).await;
            }
        })
        .await;
}

pub(crate) async fn half_heads_after_a_request(target: Target) {
    let bytes = format!("{}GET /stories HTTP/1.1\r\nHost: si", get("/health"));
    target.unfinished(1_000, bytes.into_bytes()).await;
}

pub(crate) async fn heads_without_an_end(target: Target) {
    let socket = target.socket;
    target
        .repeat(200, |_| async move {
            let mut connection = Connection::open(socket).await?;
            connection.send("GET /stories HTTP/1.1\r\nHost: site.example\r\n").await?;
            let header = format!("X-Filler: {}\r\n", "x".repeat(1_000));
            for _ in 0..1_000 {
                connection.send(&header).await?;
            }
            connection.status().await
        })
        .await;
}

pub(crate) async fn pipelined_requests_that_are_not_read(target: Target) {
    let bytes = get_from_service("/stories?limit=50").repeat(30).into_bytes();
    target.unread(150, bytes).await;
}

pub(crate) async fn lists_that_are_not_read(target: Target) {
    target.unread(1_000, get_from_service("/stories?limit=50").into_bytes()).await;
}

pub(crate) async fn lists_from_memory_that_are_not_read(target: Target) {
    target.unread(1_000, get("/stories?limit=50").into_bytes()).await;
}

pub(crate) async fn large_pages_that_are_not_read(target: Target) {
    target.unread(300, get_from_service("/stories?section=large&limit=50").into_bytes()).await;
}

impl Target {
    /// Sends requests, and keeps the connections open without reading.
    async fn unread(&self, connections: usize, bytes: Vec<u8>) {
        let bytes = &bytes;
        join_all((0..connections).map(|_| async move {
            let opened = async {
                let mut connection = Connection::open(self.socket).await?;
                connection.send(bytes).await?;
                io::Result::Ok(connection)
            };
            self.outcomes.add(&if opened.await.is_ok() { "unread" } else { "closed" });
            std::future::pending::<()>().await;
        }))
        .await;
    }
}

pub(crate) async fn lists_that_are_read_byte_by_byte(target: Target) {
    let socket = target.socket;
    target
        .repeat(300, |_| async move {
            let mut connection = Connection::open(socket).await?;
            connection.send(get_from_service("/stories?limit=50")).await?;
            while connection.read_little().await? {
                tokio::time::sleep(PAUSE / 10).await;
            }
            Err(io::ErrorKind::ConnectionAborted.into())
        })
        .await;
}

pub(crate) async fn large_pages(target: Target) {
    let url = target.url("/stories?section=large&limit=50");
    target.requests(40, |client, _| from_service(client.get(&url))).await;
}

pub(crate) async fn offsets(target: Target) {
    let url = target.url("/stories?limit=50&offset=");
    target
        .requests(40, |client, number| match number % 2 {
            0 => client.get(format!("{url}2147483647")),
            _ => from_service(client.get(format!("{url}{}", scattered(number) % 10_000))),
        })
        .await;
}

/// Each answer is kept by the gateway, with the codings that clients have asked for.
pub(crate) async fn lists_that_are_kept(target: Target) {
    let url = target.url("/stories?limit=50&offset=");
    target
        .requests(40, |client, number| {
            let coding = ["identity", "gzip", "br", "gzip, br"][(number % 4) as usize];
            let request = client.get(format!("{url}{}", scattered(number) % 950));
            request.header("accept-encoding", coding)
        })
        .await;
}

pub(crate) async fn warmups(target: Target) {
    let url = target.url("/warmup");
    target.requests(64, |client, _| client.get(&url)).await;
}

pub(crate) async fn many_addresses_of_items(target: Target) {
    let url = target.url("");
    target
        .requests(40, |client, number| {
            let random = format!("{:024x}", u128::from(scattered(number)));
            let path = match number % 6 {
                0 => format!("/stories/slug/{random}"),
                1 => format!("/stories?section_id={random}"),
                2 => format!("/stories?section={random}"),
                3 => format!("/resolve?path=/blog/{random}"),
                4 => format!("/sections?parent_id={random}"),
                _ => format!("/{random}?{random}={random}"),
            };
            client.get(format!("{url}{path}")).header("x-forwarded-for", address(number))
        })
        .await;
}

pub(crate) async fn many_keys(target: Target) {
    let url = target.url("/stories");
    target
        .requests(20, |client, number| {
            let body =
                format!("{{\"title\":\"Key {number}\",\"content\":\"{}\"}}", "x".repeat(100_000));
            let key = format!("key-{:x}", scattered(number));
            let request = client.post(&url).bearer_auth(TOKEN).header("idempotency-key", key);
            request
                .header("x-forwarded-for", address(number))
                .header("content-type", "application/json")
                .body(body)
        })
        .await;
}

pub(crate) async fn conditions_and_ranges(target: Target) {
    let url = target.url("/stories?limit=50");
    let ranges = (0..1_000).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(",");
    let tags = (0..1_000).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",");
    let (ranges, tags) = (Arc::new(format!("bytes={ranges}")), Arc::new(tags));
    target
        .requests(40, |client, number| {
            let request = client.get(&url).header("x-forwarded-for", address(number));
            request
                .header("range", ranges.as_str())
                .header("if-none-match", tags.as_str())
                .header("accept-encoding", "gzip, br, zstd")
        })
        .await;
}

pub(crate) async fn compressed_bodies(target: Target) {
    // A body that says of itself that it is compressed, whatever is in it.
    let body = "\u{1f}".repeat(1_000_000);
    target.repeat_bytes(50, post_with("/stories", "Content-Encoding: gzip\r\n", &body)).await;
}

pub(crate) async fn connections_that_break(target: Target) {
    let socket = target.socket;
    let request = get_from_service("/stories?limit=50");
    let request = &request;
    target
        .repeat(500, |_| async move {
            let mut connection = Connection::open(socket).await?;
            connection.send(request).await?;
            connection.reset()
        })
        .await;
}

pub(crate) async fn made_up_tokens(target: Target) {
    target.made_up_tokens(|_| "203.0.113.1".to_owned()).await;
}

pub(crate) async fn made_up_tokens_of_many_addresses(target: Target) {
    target.made_up_tokens(|number| address(number % 400)).await;
}

impl Target {
    async fn made_up_tokens(&self, address: impl Fn(u64) -> String) {
        let url = self.url("/stories?include_drafts=true");
        self.requests(400, |client, number| {
            let token = format!("made-up-{:x}", scattered(number));
            client.get(&url).bearer_auth(token).header("x-forwarded-for", address(number))
        })
        .await;
    }
}
