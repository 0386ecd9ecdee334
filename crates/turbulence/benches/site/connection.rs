//! A connection of a client that costs as little as possible: one request at a time, by a thread.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// A connection to a server.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    /// Opens a connection to an address like `http://127.0.0.1:5001`.
    pub(crate) fn open(address: &str) -> Self {
        let host = address.strip_prefix("http://").unwrap().to_owned();
        let stream = TcpStream::connect(&host).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::with_capacity(64 * 1024, stream), host }
    }

    /// Waits until a server accepts connections.
    pub(crate) fn await_server(address: &str) {
        let (host, began) = (address.strip_prefix("http://").unwrap(), Instant::now());
        while TcpStream::connect(host).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "{address} does not answer");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", "")
    }

    /// Sends a request with these header lines, each with its line break, and a body of JSON.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let host = &self.host;
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len())
        };
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}{length}\r\n{body}");
        self.stream.get_mut().write_all(head.as_bytes()).unwrap();
        self.receive()
    }

    fn receive(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(
                self.stream.read_line(&mut head).unwrap() > 0,
                "the connection ended: {head:?}"
            );
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(&head);
        let mut answer = Answer { status, head, body: Vec::new() };
        assert!(answer.header("transfer-encoding").is_none(), "{}", answer.head);
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body.resize(length, 0);
        self.stream.read_exact(&mut answer.body).unwrap();
        answer
    }
}

impl Answer {
    /// Returns the value of a header, whose name is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns `true` if the body contains a text.
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|part| part == text.as_bytes())
    }
}
