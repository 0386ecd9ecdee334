//! Clients that send requests at a constant rate, whether they are answered or not (open loop).

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use test_support::TOKEN;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// The longest time for a response that is of use.
const GOOD: Duration = Duration::from_secs(1);

/// A request that is sent again and again, on connections that are kept. It costs much less than the
/// requests of an ordinary client, as it shares the processors with the site.
pub(crate) struct Load {
    address: SocketAddr,
    request: Vec<u8>,
    idle: Mutex<Vec<TcpStream>>,
}

/// A response, or its absence.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// The status, and `true` if there is a header `Retry-After`. `None` without a response.
    response: Option<(u16, bool)>,
    latency: Duration,
}

/// The responses to a load.
#[derive(Debug, Default)]
pub(crate) struct Responses(Vec<Sample>);

impl Load {
    /// Creates a load of requests for a path of a site, by readers or by an editor.
    pub(crate) fn new(url: &str, path: &str, is_editor: bool) -> Arc<Self> {
        let address = url.trim_start_matches("http://");
        let token =
            if is_editor { format!("authorization: Bearer {TOKEN}\r\n") } else { String::new() };
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{token}\r\n").into_bytes();
        let address = address.parse().unwrap();
        Arc::new(Self { address, request, idle: Mutex::default() })
    }

    /// Returns the number of requests per second that so many clients get answered with 200, each of
    /// which sends the next request when it has the response (closed loop).
    pub(crate) async fn capacity(self: &Arc<Self>, clients: usize, time: Duration) -> f64 {
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
        for _ in 0..clients {
            let (load, stop) = (Arc::clone(self), Arc::clone(&stop));
            running.spawn(async move {
                let mut answered = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    let sample = load.send(Instant::now()).await;
                    assert!(matches!(sample.response, Some((200, _))), "{sample:?}");
                    answered += 1;
                }
                answered
            });
        }
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
        let answered: u32 = running.join_all().await.into_iter().sum();
        f64::from(answered) / time.as_secs_f64()
    }

    /// Sends requests at a constant rate per second for some time, and waits for all responses.
    /// Latencies count from the time at which a request was due.
    pub(crate) async fn at_rate(self: Arc<Self>, rate: f64, time: Duration) -> Responses {
        let began = Instant::now();
        let mut running = JoinSet::new();
        for number in 0.. {
            let due = Duration::from_secs_f64(f64::from(number) / rate);
            if due >= time {
                break;
            }
            tokio::time::sleep_until((began + due).into()).await;
            let load = Arc::clone(&self);
            running.spawn(async move { load.send(began + due).await });
        }
        Responses(running.join_all().await)
    }

    async fn send(&self, due: Instant) -> Sample {
        let response = self.exchange().await.ok();
        Sample { response, latency: due.elapsed() }
    }

    async fn exchange(&self) -> io::Result<(u16, bool)> {
        let idle = self.idle.lock().unwrap().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => TcpStream::connect(self.address).await?,
        };
        connection.set_nodelay(true)?;
        connection.write_all(&self.request).await?;
        let mut read = Vec::with_capacity(16 * 1024);
        let head = loop {
            if connection.read_buf(&mut read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
        let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let length = header("content-length: ").and_then(|length| length.parse::<usize>().ok());
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (Some(length), Some(status)) = (length, status) else {
            return Err(io::Error::other(text));
        };
        while read.len() < head + length {
            if connection.read_buf(&mut read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if header("connection: close").is_none() {
            self.idle.lock().unwrap().push(connection);
        }
        Ok((status, header("retry-after: ").is_some()))
    }
}

impl Responses {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the number of responses with 200 within a second.
    pub(crate) fn good(&self) -> usize {
        self.0.iter().filter(|sample| sample.is_good()).count()
    }

    /// Returns the number of requests that were neither answered within a second nor refused with 503
    /// and `Retry-After`.
    pub(crate) fn failed(&self) -> usize {
        self.0.iter().filter(|sample| !sample.is_good() && !sample.is_refusal()).count()
    }

    /// Returns the time within which this share of the refusals was sent.
    pub(crate) fn refused_within(&self, share: f64) -> Duration {
        percentile(self.0.iter().filter(|sample| sample.is_refusal()), share)
    }

    /// Returns the time within which this share of the good responses was sent.
    pub(crate) fn answered_within(&self, share: f64) -> Duration {
        percentile(self.0.iter().filter(|sample| sample.is_good()), share)
    }
}

impl Sample {
    fn is_good(&self) -> bool {
        matches!(self.response, Some((200, _))) && self.latency <= GOOD
    }

    fn is_refusal(&self) -> bool {
        self.response == Some((503, true))
    }
}

fn percentile<'a>(samples: impl Iterator<Item = &'a Sample>, share: f64) -> Duration {
    let mut latencies: Vec<_> = samples.map(|sample| sample.latency).collect();
    latencies.sort_unstable();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some thousands"
    )]
    let place = (latencies.len() as f64 * share) as usize;
    latencies.get(place.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
}
