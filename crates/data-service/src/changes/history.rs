//! The last messages of a feed, for those who were cut off for a moment.

use std::{collections::VecDeque, sync::Arc};

use models::changes::{FeedMessage, Revision};
use tokio::sync::broadcast;

/// The largest number of messages that are kept, and that a reader may be behind.
const MAX_MESSAGES: usize = 4_096;

/// The largest size of the messages that are kept, in bytes: three of usual keys take less than 256.
const MAX_BYTES: usize = 1024 * 1024;

/// A message as it is sent.
pub(super) type Text = Arc<str>;

/// The last messages, and their readers.
pub(super) struct History {
    messages: VecDeque<(Revision, Text)>,
    bytes: usize,
    /// The first state from which on all messages are kept, once there is one.
    complete_from: Option<Revision>,
    last: Revision,
    readers: broadcast::Sender<Text>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            complete_from: None,
            last: Revision::ZERO,
            readers: broadcast::Sender::new(MAX_MESSAGES),
        }
    }
}

impl History {
    /// Begins at a state, before which changes are unknown.
    pub(super) fn begin(&mut self, revision: Revision) {
        self.messages.clear();
        self.bytes = 0;
        (self.complete_from, self.last) = (Some(revision), revision);
    }

    /// Adds a message and sends it to the readers.
    pub(super) fn add(&mut self, message: &FeedMessage) {
        match message {
            FeedMessage::Changed { revision, .. } | FeedMessage::Reset { revision, .. } => {
                self.last = *revision;
            }
            _ => {}
        }
        let text = event(self.last, message);
        self.bytes += text.len();
        self.messages.push_back((self.last, text.clone()));
        while self.messages.len() > MAX_MESSAGES || self.bytes > MAX_BYTES {
            let Some((revision, text)) = self.messages.pop_front() else { break };
            self.bytes -= text.len();
            // Others of the same state may be gone with it.
            self.complete_from = Some(revision.next());
        }
        // Fails if there are no readers.
        let _ = self.readers.send(text);
    }

    /// Returns all messages since a state, or `None` if some of them are no longer kept.
    pub(super) fn since(&self, revision: Revision) -> Option<Vec<Text>> {
        self.complete_from.filter(|from| *from <= revision)?;
        let later = self.messages.iter().filter(|(at, _)| *at >= revision);
        Some(later.map(|(_, text)| text.clone()).collect())
    }

    /// Returns a receiver of all messages that are added from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Text> {
        self.readers.subscribe()
    }
}

/// Returns a message as a server-sent event.
pub(super) fn event(revision: Revision, message: &FeedMessage) -> Text {
    let json = serde_json::to_string(message).unwrap_or_default();
    format!("id: {revision}\ndata: {json}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(number: u64, key: &str) -> FeedMessage {
        FeedMessage::Changed { revision: Revision::new(number), keys: vec![key.to_owned()] }
    }

    fn since(history: &History, number: u64) -> Option<usize> {
        history.since(Revision::new(number)).map(|messages| messages.len())
    }

    #[test]
    fn messages_are_repeated_from_the_last_known_state_if_all_are_kept() {
        let mut history = History::default();
        assert_eq!(since(&history, 5), None, "nothing is known yet");
        history.begin(Revision::new(10));
        for number in [11, 12, 12, 13] {
            history.add(&changed(number, "stories"));
        }
        assert_eq!(since(&history, 9), None);
        // A state is repeated: the reader may have received a part of its messages.
        for (number, messages) in [(10, 4), (11, 4), (12, 3), (13, 1), (14, 0)] {
            assert_eq!(since(&history, number), Some(messages), "{number}");
        }
        history.begin(Revision::new(20));
        assert_eq!((since(&history, 13), since(&history, 20)), (None, Some(0)));
    }

    #[test]
    fn messages_are_bounded_in_number_and_size() {
        let mut history = History::default();
        history.begin(Revision::new(1));
        for number in 2..10_000 {
            history.add(&changed(number, "stories"));
        }
        assert_eq!(history.messages.len(), MAX_MESSAGES);
        let oldest = history.messages[0].0.number();
        assert_eq!(since(&history, oldest - 1), None);
        assert_eq!(since(&history, oldest), Some(MAX_MESSAGES));
        for number in 10_000..10_100 {
            history.add(&changed(number, &"x".repeat(100_000)));
        }
        assert!(history.bytes <= MAX_BYTES && history.messages.len() <= 10);
    }
}
