//! Writes of editors through a gateway.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{TOKEN, json};
use crate::connection::{Answer, Connection};

/// Sends a request of an editor.
pub(super) fn write(connection: &mut Connection, method: &str, path: &str, body: &Value) -> Answer {
    let headers = format!("authorization: Bearer {TOKEN}\r\n");
    let answer = connection.send(method, path, &headers, &body.to_string());
    assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text());
    answer
}

/// Returns the path of the item that another path shows.
pub(super) fn item_path(address: &str, collection: &str, shown_at: &str) -> String {
    let id = json(address, shown_at)["id"].as_str().expect("an item with an id").to_owned();
    format!("/{collection}/{id}")
}

/// Writes at a steady rate, until this value is dropped.
pub(super) struct Writer {
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts to change the title of an item.
    pub(super) fn start(address: &str, path: &str, per_second: u32) -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (stopped, path) = (Arc::clone(&is_stopped), path.to_owned());
        let mut connection = Connection::open(address);
        let began = Instant::now();
        let thread = thread::spawn(move || {
            for number in 0_u32.. {
                let due = began + Duration::from_secs(1) * number / per_second;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let title = format!("Title {number} of {began:?}");
                write(&mut connection, "PATCH", &path, &serde_json::json!({ "title": title }));
            }
        });
        Self { is_stopped, thread: Some(thread) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}
