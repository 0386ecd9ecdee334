//! What a command answers.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value, json};

/// What a command prints: text for a person, or an object with a member for each service.
#[derive(Default)]
pub(crate) struct Answer {
    text: String,
    json: Map<String, Value>,
}

impl Answer {
    pub(crate) fn add(&mut self, service: &str, text: &str, value: impl Serialize) {
        self.text += text;
        self.json.insert(service.to_owned(), json!(value));
    }

    /// What there is to say to a person besides.
    pub(crate) fn say(&mut self, text: &str) {
        self.text += text;
    }

    pub(crate) fn print(self, is_json: bool) {
        let text = match (is_json, self.json.is_empty()) {
            (false, _) => self.text,
            (true, false) => format!("{:#}\n", Value::Object(self.json)),
            // It came to nothing that there is anything to say about.
            (true, true) => return,
        };
        // A person may have seen enough and closed the pipe.
        let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    }
}
