//! Connections on which anything can be sent, as fast as over a network.

use std::{
    io,
    net::SocketAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::cluster::TOKEN;

/// The longest head of a response.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The bytes in a second of the link that all hostile clients share: one gigabit. Without a network
/// between them, they would send several times as much, and the copies alone would take both cores.
const LINK_BYTES_PER_SECOND: usize = 125_000_000;

/// The bytes that are sent at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Waits until the link is free for so many bytes.
async fn link(bytes: usize) {
    static FREE_FROM: Mutex<Option<Instant>> = Mutex::new(None);
    let nanoseconds = bytes as u64 * 1_000_000_000 / LINK_BYTES_PER_SECOND as u64;
    let start = {
        let (mut free_from, now) = (FREE_FROM.lock().unwrap(), Instant::now());
        let start = free_from.map_or(now, |free_from| free_from.max(now));
        *free_from = Some(start + Duration::from_nanos(nanoseconds));
        start
    };
    tokio::time::sleep_until(start.into()).await;
}

/// A connection to the gateway.
pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) async fn open(site: SocketAddr) -> io::Result<Self> {
        Ok(Self(TcpStream::connect(site).await?))
    }

    /// Sends bytes, whatever they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        for chunk in bytes.as_ref().chunks(CHUNK_BYTES) {
            link(chunk.len()).await;
            self.0.write_all(chunk).await?;
        }
        Ok(())
    }

    /// Reads the head of a response and returns its status. What follows is not read.
    pub(crate) async fn status(&mut self) -> io::Result<u16> {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
            if self.0.read_buf(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status =
            head.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        status.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Reads what arrives, a few bytes at a time. Returns `false` at the end.
    pub(crate) async fn read_little(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 16];
        Ok(self.0.read(&mut bytes).await? > 0)
    }

    /// Breaks the connection (RST).
    pub(crate) fn reset(self) -> io::Result<u16> {
        self.0.set_zero_linger()?;
        Err(io::ErrorKind::ConnectionReset.into())
    }

    /// Waits until the other side closes the connection.
    pub(crate) async fn closed(&mut self) {
        let mut bytes = [0; 4_096];
        while matches!(self.0.read(&mut bytes).await, Ok(1..)) {}
    }
}

/// Returns the head of a `GET` request.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: site.example\r\n\r\n")
}

/// The header of requests that the gateway does not answer from memory.
pub(crate) const PAST_MEMORY: (&str, &str) = ("range", "bytes=0-");

/// Returns the head of a `GET` request that reaches a service.
pub(crate) fn get_from_service(path: &str) -> String {
    let (name, value) = PAST_MEMORY;
    format!("GET {path} HTTP/1.1\r\nHost: site.example\r\n{name}: {value}\r\n\r\n")
}

/// Returns the head of a request of an editor with a JSON body, without the empty line at its end.
pub(crate) fn post(path: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: site.example\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\n"
    )
}

/// Returns a whole request of an editor.
pub(crate) fn post_with(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let head = post(path);
    format!("{head}{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
