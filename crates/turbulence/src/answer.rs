//! What a command answers.

use crate::lines::{self, Lines};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What a command prints: text for a person, or an object with a member for each service.
#[derive(Default)]
pub(crate) struct Answer {
    text: Lines,
    json: Map<String, Value>,
}

impl Answer {
    pub(crate) fn add(&mut self, service: &str, text: &Lines, value: impl Serialize) {
        self.text.append(text);
        self.json.insert(service.to_owned(), json!(value));
    }

    /// What there is to say to a person besides.
    pub(crate) fn say(&mut self, text: &Lines) {
        self.text.append(text);
    }

    pub(crate) fn print(self, is_json: bool) {
        match (is_json, self.json.is_empty()) {
            (false, _) => self.text.print(),
            (true, false) => lines::print_json(&format!("{:#}", Value::Object(self.json))),
            // It came to nothing that there is anything to say about.
            (true, true) => {}
        }
    }
}
