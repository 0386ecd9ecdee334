//! The output of a command.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::lines::{self, Lines};

/// The output of a command in both forms: text for a person, and a JSON object with a member for
/// each service.
pub(crate) struct Output {
    text: Lines,
    has_results: bool,
    json: Map<String, Value>,
}

impl Output {
    /// Returns an output whose text begins with a heading.
    pub(crate) fn new(heading: Lines) -> Self {
        Self { text: heading, has_results: false, json: Map::new() }
    }

    /// Adds the result of a service.
    pub(crate) fn add(&mut self, service: &str, text: &Lines, value: impl Serialize) {
        self.add_text(text);
        self.json.insert(service.to_owned(), json!(value));
    }

    /// Adds text that has no counterpart in JSON.
    pub(crate) fn add_text(&mut self, text: &Lines) {
        self.has_results |= !text.is_empty();
        self.text.append(text);
    }

    /// Prints the output in one of the two forms. A command without a result prints nothing.
    pub(crate) fn print(self, is_json: bool) {
        if !is_json {
            if self.has_results {
                self.text.print();
            }
        } else if !self.json.is_empty() {
            lines::print_json(&format!("{:#}", Value::Object(self.json)));
        }
    }
}
