//! Where the migrations of a running process stand.

use serde::Serialize;

use crate::{Definition, Entry, LeftOut, Part, Progress, State};

/// Where one migration stands, as far as this process knows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The migration's id.
    pub id: &'static str,
    /// What it does, for a person.
    pub summary: &'static str,
    /// Whether the service waits for it.
    pub blocking: bool,
    /// Where it stands.
    pub state: State,
    /// Whether this process has looked at it and found nothing left to do.
    pub is_settled: bool,
    /// What it waits for, or why it failed.
    pub message: Option<String>,
    /// How far the running step has come.
    pub progress: Option<Progress>,
    /// What each step changed in this process; empty where nothing was left to do.
    pub parts: Vec<Part>,
    /// What was left out, and why.
    pub left_out: Vec<LeftOut>,
}

impl Status {
    pub(crate) fn new(definition: &Definition) -> Self {
        Self {
            id: definition.id,
            summary: definition.summary,
            blocking: definition.blocking,
            state: State::Pending,
            is_settled: false,
            message: None,
            progress: None,
            parts: Vec::new(),
            left_out: Vec::new(),
        }
    }

    pub(crate) fn settle(&mut self, entry: &Entry) {
        self.state = entry.state;
        self.is_settled = true;
        self.message = None;
        self.progress = None;
        self.left_out.clone_from(&entry.left_out);
    }
}
