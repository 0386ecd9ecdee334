//! HTTP/1.1 read and written byte by byte, so that no library normalises it.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
};

use super::within_deadline;

/// The receive buffer of a client that reads slowly, in bytes: small, so that data that was sent ahead
/// accumulates where the test can measure it.
const SMALL_BUFFER: u32 = 64 * 1024;

/// A connection, from either end.
#[derive(Debug)]
pub(crate) struct Connection(BufReader<TcpStream>);

/// The first line and the headers of a message.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) first_line: String,
    headers: Vec<(String, String)>,
}

/// A response as it arrived.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Head {
    /// Returns all values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the value of a header that occurs at most once.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name}: {all:?}");
        all.first().copied()
    }

    pub(crate) fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Returns path and query of a request.
    pub(crate) fn target(&self) -> &str {
        self.first_line.split(' ').nth(1).unwrap()
    }

    fn is_chunked(&self) -> bool {
        self.get("transfer-encoding") == Some("chunked")
    }
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).await.unwrap())
    }

    /// Connects as a client with another address of this machine: any that begins with 127.
    pub(crate) async fn from(client: [u8; 4], address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((client, 0).into()).unwrap();
        Self::of(socket.connect(address).await.unwrap())
    }

    /// Connects as a client that will not read for a while.
    pub(crate) async fn slow_to(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(SMALL_BUFFER).unwrap();
        Self::of(socket.connect(address).await.unwrap())
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// Returns the address of the peer.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.0.get_ref().peer_addr().unwrap()
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within_deadline(self.0.write_all(bytes)).await.unwrap();
    }

    /// Writes bytes unless the peer has closed the connection.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        within_deadline(self.0.write_all(bytes)).await.is_ok()
    }

    /// Writes as many bytes as the peer takes without delay.
    pub(crate) async fn write_some(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes).await
    }

    /// Reads the next head. Returns `None` if the peer has closed the connection.
    pub(crate) async fn head(&mut self) -> Option<Head> {
        let first_line = self.line().await?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(Head { first_line, headers });
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Reads the body that belongs to a head. Returns an error if it is not complete.
    pub(crate) async fn body(&mut self, head: &Head) -> Result<Vec<u8>, &'static str> {
        if head.is_chunked() {
            let mut body = Vec::new();
            loop {
                let size = self.line().await.ok_or("the last chunk is missing")?;
                let size = usize::from_str_radix(&size, 16).unwrap();
                body.extend(self.bytes(size).await?);
                self.bytes(2).await?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        let length = head.get("content-length").map_or(0, |length| length.parse().unwrap());
        self.bytes(length).await
    }

    /// Reads a response with its body.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = within_deadline(self.head()).await.expect("the connection closed");
        let body = within_deadline(self.body(&head)).await.expect("the body is not complete");
        Answer { head, body }
    }

    /// Waits until the peer has closed the connection, and discards the rest.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset counts as closed, too.
        let _ = within_deadline(self.0.read_to_end(&mut rest)).await;
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await {
            Ok(length) if length > 0 => Some(line.trim_end_matches("\r\n").to_owned()),
            _ => None,
        }
    }

    async fn bytes(&mut self, length: usize) -> Result<Vec<u8>, &'static str> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).await.map_err(|_| "the body is truncated")?;
        Ok(bytes)
    }
}
