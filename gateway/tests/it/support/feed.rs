//! The feed of changes of a service behind the gateway.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use models::changes::{FeedMessage, Revision};
use tokio::sync::broadcast;

use super::raw::Connection;

/// The path of the feed.
pub(crate) const PATH: &str = "/internal/changes";

/// The pause between two heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(20);

/// A feed whose changes a test makes. Until it has families, the service has none.
#[derive(Debug)]
pub(crate) struct Feed {
    families: Mutex<Vec<String>>,
    revision: AtomicU64,
    is_silent: AtomicBool,
    messages: broadcast::Sender<FeedMessage>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            families: Mutex::default(),
            revision: AtomicU64::new(1_000 << 32),
            is_silent: AtomicBool::new(false),
            messages: broadcast::Sender::new(1_000),
        }
    }
}

impl Feed {
    /// Begins to report the changes of these families.
    pub(crate) fn report(&self, families: &[&str]) {
        *self.families.lock().unwrap() = families.iter().map(|one| (*one).to_owned()).collect();
    }

    /// Returns the present state.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    /// Changes keys without a message yet. Returns the new state.
    pub(crate) fn advance(&self) -> u64 {
        self.revision.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Reports a change of keys.
    pub(crate) fn change(&self, keys: &[&str]) {
        let revision = Revision::new(self.advance());
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        // Nothing may listen.
        let _ = self.messages.send(FeedMessage::Changed { revision, keys });
    }

    /// Sends a message.
    pub(crate) fn send(&self, message: FeedMessage) {
        let _ = self.messages.send(message);
    }

    /// Stops or resumes the heartbeat.
    pub(crate) fn silence(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(self: Arc<Self>, mut connection: Connection) {
        let families = self.families.lock().unwrap().clone();
        if families.is_empty() {
            connection.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
            return;
        }
        let mut messages = self.messages.subscribe();
        let service = String::new();
        let hello =
            FeedMessage::Hello { service, families, revision: Revision::new(self.revision()) };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        connection.write(head.as_bytes()).await;
        let mut next = Some(hello);
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        loop {
            if let Some(message) = next.take() {
                let json = serde_json::to_string(&message).unwrap();
                if !connection.try_write(format!("data: {json}\n\n").as_bytes()).await {
                    return;
                }
            }
            let revision = Revision::new(self.revision());
            tokio::select! {
                biased;
                message = messages.recv() => next = Some(message.unwrap()),
                _ = heartbeat.tick() => {
                    if !self.is_silent.load(Ordering::SeqCst) {
                        next = Some(FeedMessage::Watermark { revision, age_ms: 0 });
                    }
                }
            }
        }
    }
}
