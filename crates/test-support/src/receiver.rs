//! A target of webhooks: a real server that records what it receives and misbehaves as it is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::eventually;

/// The answers of a target of webhooks.
#[derive(Debug, Clone, PartialEq)]
pub enum Behaviour {
    /// The same status for every message.
    Status(u16),
    /// Another status for messages about an item.
    StatusFor(u16, String),
    /// A redirect to an address.
    Redirect(String),
    /// Never answers.
    Hang,
    /// Answers when the target behaves in another way, in that way.
    Hold,
    /// Answers 500 with 10 MB.
    Large,
    /// Answers with something that is not HTTP.
    Garbage,
}

/// A message as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The headers, with names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: String,
    /// The time of its arrival.
    pub at: Instant,
}

impl Received {
    /// Returns the message.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Returns the type of the message.
    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    /// Returns the id of the message.
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Returns `true` if one of the signatures is that of a secret, as a receiver finds out.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let bytes = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let content = [self.id(), &self.headers["webhook-timestamp"], &self.body].join(".");
        let signatures = self.headers["webhook-signature"].split(' ');
        signatures
            .filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok())
            .any(|signature| hmac::verify(&key, content.as_bytes(), &signature).is_ok())
    }
}

/// A running target. It stops when it is dropped.
pub struct Receiver {
    /// The address for a webhook.
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    behaviour: watch::Sender<Behaviour>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Starts a target on a free port.
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=in-the-url", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let behaviour = watch::Sender::new(behaviour);
        let (all, behaves) = (Arc::clone(&received), behaviour.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&all), behaves.subscribe()));
            }
        });
        Self { url, received, behaviour, task }
    }

    /// Answers in another way from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    /// Returns all messages in the order of their arrival.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits until a number of messages has arrived, and returns all.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        eventually("the messages have arrived", async || self.received().len() >= count).await;
        self.received()
    }
}

async fn serve(
    mut stream: TcpStream,
    all: Arc<Mutex<Vec<Received>>>,
    mut behaviour: watch::Receiver<Behaviour>,
) {
    let Some(received) = read(&mut stream).await else { return };
    all.lock().unwrap().push(received.clone());
    // An error means that the target has stopped.
    let Ok(behaviour) =
        behaviour.wait_for(|one| *one != Behaviour::Hold).await.map(|one| one.clone())
    else {
        return;
    };
    let status = |status: u16| {
        format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 3\r\n\r\nyes")
    };
    let answer = match behaviour {
        Behaviour::Status(code) => status(code).into_bytes(),
        Behaviour::StatusFor(code, item) if received.body.contains(&item) => {
            status(code).into_bytes()
        }
        Behaviour::StatusFor(..) => {
            status(204).replace("content-length: 3", "x: y").replace("yes", "").into_bytes()
        }
        Behaviour::Redirect(to) => format!(
            "HTTP/1.1 307 X\r\nlocation: {to}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
        .into_bytes(),
        Behaviour::Hang | Behaviour::Hold => std::future::pending().await,
        Behaviour::Large => {
            let mut large = b"HTTP/1.1 500 X\r\ncontent-length: 10000000\r\n\r\n".to_vec();
            large.resize(10_000_000, b'x');
            large
        }
        Behaviour::Garbage => b"\x00\x01\xff nonsense\r\n\r\n".to_vec(),
    };
    let _ = stream.write_all(&answer).await;
}

/// Reads a request with its body.
async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk).await.ok()?;
        if count == 0 {
            return None;
        }
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let headers: HashMap<_, _> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length").and_then(|length| length.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(Received { headers, body: body.to_owned(), at: Instant::now() });
        }
    }
}
